"""What a plan consists of: jobs of one rule of the workflow, and the machine that they are to run on."""

from __future__ import annotations

from dataclasses import dataclass

from biohicl.errors import BioHiCLError


@dataclass(frozen=True)
class Machine:
    """``gpu_speed``: of each GPU, where that of the rates is 1."""

    cores: int = 32
    gpus: int = 1
    gpu_speed: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gpu_speed < float("inf"):
            raise BioHiCLError(f"--gpu-speed is {self.gpu_speed:g}, and has to be above 0: 0.5 is half as fast")

    @property
    def speed(self) -> float | None:
        """Of a GPU; None where there is none."""
        return self.gpu_speed if self.gpus else None


@dataclass(frozen=True)
class Part:
    """Jobs of one rule, all together: core-seconds, seconds of GPUs, bytes. ``threads``: cores that each may use."""

    rule: str
    jobs: int
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    downloaded: float = 0.0
    disk: float = 0.0
    threads: int = 1

    def seconds(self, machine: Machine) -> float:
        """Until the last of them ends, if nothing else runs."""
        return (self.core_seconds + self.gpu_seconds) / min(self.slots(machine), max(self.jobs, 1)) / self.used(machine)

    def slots(self, machine: Machine) -> int:
        """How many such jobs run at a time."""
        return max(machine.gpus, 1) if self.gpu_seconds else max(machine.cores // self.used(machine), 1)

    def used(self, machine: Machine) -> int:
        """Cores that one such job uses; what a GPU does is not shared among cores."""
        return 1 if self.gpu_seconds else min(self.threads, machine.cores)
