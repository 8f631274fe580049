"""Which parameters train: LoRA adapters around frozen weights, or all of the model; and the merge at the end."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from biohicl.errors import BioHiCLError
from biohicl.storage import read_json, write_json
from biohicl.training.losses import LOSSES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Layers that carry no text's meaning of their own and never get an adapter.
NOT_ADAPTED = ("pooler",)
# Where the libraries' models name a layer's number.
LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|block)\.(\d+)(?:\.|$)")


class Trainable:
    """A model with the parameters that train.

    ``model`` is the transformer itself, with adapters in place of its layers where the method is ``lora``. Its own
    dropout stays off: it would blur SimE, which the losses compare with exact targets.
    """

    def __init__(self, model: PreTrainedModel, trainable: Mapping[str, Any], losses: Mapping[str, Any]) -> None:
        self.model = model
        self.total = sum(parameter.numel() for parameter in model.parameters())
        self.adapted: Any = None
        lowest = _lowest_layer(model, trainable.get("layers"))
        if trainable["method"] == "lora":
            self.adapted = _with_adapters(model, trainable, lowest)
        elif lowest > 0:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(_layer_of(name) >= lowest)
        self.learned = {
            name: {
                scalar: torch.nn.Parameter(torch.tensor(start, device=model.device))
                for scalar, start in LOSSES[name].learned.items()
            }
            for name in losses
            if LOSSES[name].learned
        }
        self.dropout(True)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Those of the model that train."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @property
    def scalars(self) -> list[torch.nn.Parameter]:
        """What the losses learn."""
        return [scalar for scalars in self.learned.values() for scalar in scalars.values()]

    def dropout(self, on: bool) -> None:
        """Switches the adapters' dropout; everything else stays in evaluation mode."""
        self.model.eval()
        for name, module in self.model.named_modules():
            if on and "lora_dropout" in name:
                module.train()

    def state(self) -> dict[str, torch.Tensor]:
        """What trains, by name: plain tensors on the CPU."""
        tensors = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        tensors |= {f"loss.{name}.{key}": value for name, own in self.learned.items() for key, value in own.items()}
        return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts back what :meth:`state` gave."""
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                if value.requires_grad:
                    value.copy_(state[name])
            for name, own in self.learned.items():
                for key, value in own.items():
                    value.copy_(state[f"loss.{name}.{key}"])

    def merged(self) -> PreTrainedModel:
        """A copy of the model as it is now, adapters merged; the model itself trains on."""
        if self.adapted is None:
            return copy.deepcopy(self.model)
        merged: PreTrainedModel = copy.deepcopy(self.adapted).merge_and_unload()
        return merged

    def save(self, folder: Path, start: str) -> PreTrainedModel:
        """Writes the merged model, and the adapter in ``adapter/``; the model trains no more after it."""
        merged: Any = self.model
        if self.adapted is not None:
            # The adapter names the folder that it was trained on by path; nobody else has that path.
            settings = self.adapted.peft_config["default"]
            settings.base_model_name_or_path = start
            # Whole embedding tables do not belong to an adapter, and peft would ask the hub about them.
            self.adapted.save_pretrained(folder / "adapter", save_embedding_layers=False)
            (folder / "adapter" / "README.md").unlink(missing_ok=True)
            # Peft holds a set, whose order is another in each process.
            written = folder / "adapter" / "adapter_config.json"
            config = read_json(written)
            write_json(config | {"target_modules": sorted(config["target_modules"])}, written)
            merged = self.adapted.merge_and_unload()
        merged.save_pretrained(folder)
        # Safetensors lets nobody but the owner read; a model is as readable as the files beside it.
        mode = (folder / "config.json").stat().st_mode
        for path in folder.rglob("*.safetensors"):
            path.chmod(mode)
        return merged


def _layer_of(name: str) -> int:
    """The number of the layer that a weight or a module is of; -1 below the first (embeddings) and beside them."""
    found = LAYER.search(name)
    return int(found[1]) if found else -1


def _lowest_layer(model: PreTrainedModel, wanted: int | None) -> int:
    """The first layer that trains where the last ``wanted`` do; -1, with the embeddings, where all do."""
    if wanted is None:
        return -1
    layers = 1 + max((_layer_of(name) for name, _ in model.named_modules()), default=-1)
    if wanted > layers:
        raise BioHiCLError(f"trainable.layers is {wanted}, and the model has {layers} layers; null trains all")
    return layers - wanted


def _with_adapters(model: PreTrainedModel, settings: Mapping[str, Any], lowest: int) -> Any:
    from peft import LoraConfig, get_peft_model

    if settings["rank"] < 1:
        raise BioHiCLError(f"trainable.rank is {settings['rank']}; an adapter has a rank of at least 1")
    layers = {
        name: isinstance(module, torch.nn.Linear)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
        and not any(part in name for part in NOT_ADAPTED)
        and _layer_of(f"{name}.") >= lowest
    }
    if settings["targets"] == "all-linear":
        targets = [name for name, is_linear in layers.items() if is_linear]
    else:
        known = {name.rpartition(".")[2] for name in layers}
        for target in settings["targets"]:
            if target not in known:
                raise BioHiCLError(
                    f"trainable.targets: the model has no layer '{target}'; it has {', '.join(sorted(known))}, "
                    "or use all-linear"
                )
        targets = [name for name in layers if name.rpartition(".")[2] in settings["targets"]]
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=targets,
        bias="none",
        task_type="FEATURE_EXTRACTION",
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that this is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, config)
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # Under autocast peft would make fp32 of what comes in, for autocast to make bf16 of it again.
            module.cast_input_dtype_enabled = False
    return adapted
