"""The energy that a training took, by the counters of its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch


class EnergyMeter:
    """Reads joules from the GPUs' own counters, which drivers keep since Volta: whole cards, whoever works on them."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        """``devices``: those that train. A CPU has no counter that everybody may read, nor has a part of a GPU."""
        self._cards: list[Any] = []
        self._before: float | None = None
        if any(device.type != "cuda" for device in devices):
            return
        # Without the driver's library, or the package that calls it, energy is not known, and training goes on.
        with suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            # By identity: CUDA_VISIBLE_DEVICES numbers the cards for torch, and not for the driver.
            names = [f"GPU-{torch.cuda.get_device_properties(device).uuid}" for device in devices]
            self._cards = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
            self._before = self._read()

    def joules(self) -> float | None:
        """Since the last time, or since the beginning; None where no counter can be read."""
        if self._before is None:
            return None
        try:
            now = self._read()
        except Exception:
            # A driver that is gone takes the reading with it, and not the training.
            self._before = None
            return None
        since, self._before = now - self._before, now
        return since

    def _read(self) -> float:
        import pynvml

        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in self._cards) / 1000
