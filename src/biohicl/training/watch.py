"""What one sees of a training: a line or a bar, lines of JSON, and TensorBoard.

Times, memory, energy and pace are told here and nowhere else: what stays in the model's folder is the same each time.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

import torch

from biohicl.progress import SECONDS_BETWEEN_LINES, say
from biohicl.training.checkpoints import Checkpoints
from biohicl.training.energy import EnergyMeter

MATRIX_SIZE = {"cuda": 8192, "cpu": 1024}
SECONDS_OF_MATRICES = 0.2
# What a step's line in log.jsonl has beside what is the same each time.
SEEN_ONLY = ("kind", "seconds", "waited", "target_seconds", "citations_a_second", "matrix_share", "memory_mb", "joules")


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product, here and now: bf16 on a GPU, fp32 on a CPU."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    size = MATRIX_SIZE[kind]
    dtype = torch.bfloat16 if kind == "cuda" else torch.float32
    one, other = (torch.randn(size, size, device=device, generator=_own(device)).to(dtype) for _ in range(2))

    def seconds(times: int) -> float:
        _finish(device)
        started = time.perf_counter()
        for _ in range(times):
            one @ other
        _finish(device)
        return time.perf_counter() - started

    seconds(2)
    times = max(1, int(SECONDS_OF_MATRICES / max(seconds(1), 1e-6)))
    return 2 * size**3 * times / seconds(times)


def _own(device: torch.device) -> torch.Generator:
    # The training's own generator must not notice.
    return torch.Generator(device).manual_seed(0)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations(model: torch.nn.Module, cached: bool) -> int:
    """Floating-point operations that training spends on a token, in the model's matrix products; attention left out.

    Each product costs twice its weights forward, as much for the gradient of what goes in, and again for that of the
    weights where these train; ``cached``: forward twice.
    """
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "pooler" not in name:
            total += 2 * module.weight.numel() * (2 + cached + module.weight.requires_grad)
    return total


class Watch:
    """Tells of steps and measures as they come."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        device: torch.device,
        processes: int,
        steps: int,
        done: int,
        operations: int,
    ) -> None:
        """``device``: one like it for each of the ``processes``; ``operations``: a token's."""
        self.device, self.processes, self.steps, self.first = device, processes, steps, done + 1
        self.operations = operations
        # Of the matrix product, on all devices together.
        self.rate = 0.0
        self._measure_rate()
        self.meter = EnergyMeter(_all(device, processes))
        self.started: float | None = None
        self.said = 0.0
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        self.lines: IO[str] = checkpoints.log.open("a", encoding="utf-8")
        self.board = _tensorboard(checkpoints, done)
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=steps, initial=done, desc="training", unit="step", dynamic_ncols=True)

    def step(self, row: Mapping[str, Any], times: Mapping[str, float]) -> None:
        """``row``: what is the same each time; ``times``: seconds of the whole step, of waiting, of the targets."""
        now = time.monotonic()
        if self.started is None:
            self.started = now - times["seconds"]
        pace = row["citations"] / times["seconds"]
        share = row["tokens"] * self.operations / times["seconds"] / self.rate
        seen = {**times, "citations_a_second": pace, "matrix_share": share, "memory_mb": self.memory()}
        joules = self.meter.joules()
        if joules is not None:
            # With those of the measures since the last step.
            seen["joules"] = joules
        self._write("step", {**row, **seen})
        left = (self.steps - row["step"]) * (now - self.started) / max(row["step"] - self.first + 1, 1)
        words = f"loss {row['loss']:.4f}, {pace:.1f} citations/s, {share:.0%} of the matrix rate"
        words += f", {seen['memory_mb']:,.0f} MB"
        if self.bar is not None:
            self.bar.set_postfix_str(words)
            self.bar.update()
        elif now - self.said >= SECONDS_BETWEEN_LINES or row["step"] in (self.first, self.steps):
            self.said = now
            say(f"step {row['step']} of {self.steps}: {words}, {left:.0f} s left")

    def measures(self, row: Mapping[str, Any], words: str) -> None:
        """What was found on held-out citations."""
        if self.device.type == "cpu":
            # A GPU has no others at work on it, and no half gigabyte to spare for this.
            self._measure_rate()
        self._write("measures", row)
        say(f"held out, after step {row['step']}: {words}")

    def _measure_rate(self) -> None:
        """The highest so far: who shares the machine's cores may have been at work the first time."""
        self.rate = max(self.rate, matrix_rate(self.device) * self.processes)

    def memory(self) -> float:
        """The most so far, in MB: of the GPU's memory, or of this process's."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    def close(self) -> None:
        """Ends what is open."""
        self.lines.close()
        if self.bar is not None:
            self.bar.close()
        if self.board is not None:
            self.board.close()

    def _write(self, kind: str, row: Mapping[str, Any]) -> None:
        self.lines.write(json.dumps({"kind": kind, **row}) + "\n")
        self.lines.flush()
        if self.board is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self.board.add_scalar(f"{kind}/{name}", value, row["step"])


def _all(device: torch.device, processes: int) -> list[torch.device]:
    """The devices of all processes, as torchrun deals them out on one machine."""
    if device.type == "cpu" or processes == 1:
        return [device]
    return [torch.device(device.type, index) for index in range(processes)]


def _tensorboard(checkpoints: Checkpoints, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed: its files are left out")
        return None
    return SummaryWriter(str(checkpoints.tensorboard), purge_step=done + 1 if done else None)
