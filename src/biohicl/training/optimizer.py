"""AdamW, its rate at each step, and its state as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from biohicl.training.trainable import Trainable

# The scalars that losses learn have a rate of their own: at the model's they would not arrive within a training.
RATE_OF_SCALARS = 0.01


def new_optimizer(trainable: Trainable, schedule: Mapping[str, Any]) -> torch.optim.AdamW:
    """Over what trains in the model, and what the losses learn."""
    groups: list[dict[str, Any]] = [
        {
            "params": trainable.parameters,
            "peak": schedule["learning_rate"],
            "weight_decay": schedule["weight_decay"],
        }
    ]
    if trainable.scalars:
        groups.append({"params": trainable.scalars, "peak": RATE_OF_SCALARS, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=schedule["learning_rate"])


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Its tensors by "number of the parameter.name", on the CPU."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value.detach().cpu().contiguous().clone()
        for number, own in state.items()
        for name, value in own.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what :func:`optimizer_state` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def set_rate(optimizer: torch.optim.Optimizer, schedule: Mapping[str, Any], step: int, steps: int) -> float:
    """Sets the rate of ``step``, counted from 1, and returns the model's.

    Up over the first ``warmup`` of the ``steps``, then down to 0, in straight lines.
    """
    rising = max(1, round(steps * schedule["warmup"]))
    done = step - 1
    factor = (done + 1) / rising if done < rising else (steps - done) / max(1, steps - rising)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return float(schedule["learning_rate"] * factor)
