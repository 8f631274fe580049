"""Several processes that train one model together, as torchrun starts them; or one, alone.

Every process knows the whole batch and who computes what of it, so that messages carry numbers alone. Gradients are
added up, not averaged: each process contributes what flows through its own texts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biohicl.errors import BioHiCLError


@dataclass(frozen=True)
class Ranks:
    """This process is number ``rank`` of ``world``."""

    rank: int
    world: int

    @classmethod
    def start(cls, device: str) -> Ranks:
        """As the environment says (torchrun sets it); waits until all are there."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls(0, 1)
        from torch import distributed

        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu and torch.cuda.device_count() < int(os.environ.get("LOCAL_WORLD_SIZE", world)):
            raise BioHiCLError(
                f"{os.environ.get('LOCAL_WORLD_SIZE')} processes and {torch.cuda.device_count()} GPUs: one GPU each is "
                "needed (torchrun --nproc-per-node), or --device cpu"
            )
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not distributed.is_initialized():
            # Flags and objects go by gloo, from one process's memory to another's: no GPU is waited for.
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        return cls(distributed.get_rank(), world)

    def device(self, wanted: str) -> str:
        """The GPU of this process, where there are several and GPUs are ``wanted``."""
        if self.world > 1 and wanted != "cpu" and torch.cuda.is_available():
            return f"cuda:{os.environ['LOCAL_RANK']}"
        return wanted

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def gathered(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows (``counts[rank]``, d) of every process, one after the other, without gradients."""
        rows = rows.detach()
        if self.world == 1:
            return rows
        from torch import distributed

        most = max(counts)
        mine = rows.new_zeros(most, rows.shape[1])
        mine[: len(rows)] = rows
        everyones = [torch.empty_like(mine) for _ in counts]
        distributed.all_gather(everyones, mine)
        return torch.cat([part[:count] for part, count in zip(everyones, counts, strict=True)])

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by the sum over all processes, in one message."""
        if self.world == 1 or not tensors:
            return
        from torch import distributed

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether one of the processes says so."""
        if self.world == 1:
            return flag
        from torch import distributed

        said = torch.tensor([float(flag)])
        distributed.all_reduce(said)
        return bool(said.item() > 0)

    def agreed(self, value: Any) -> Any:
        """What the first process says."""
        if self.world == 1:
            return value
        from torch import distributed

        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        """Until all processes are here."""
        self.all_of(None)

    def all_of(self, value: Any) -> list[Any]:
        """What each process says, by rank."""
        if self.world == 1:
            return [value]
        from torch import distributed

        said: list[Any] = [None] * self.world
        distributed.all_gather_object(said, value)
        return said

    def stop(self) -> None:
        """Leaves the others."""
        if self.world > 1:
            from torch import distributed

            distributed.destroy_process_group()
