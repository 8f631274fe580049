"""What the machine has for a job: its memory, and GPUs that no other job of this user works on."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from biohicl.errors import BioHiCLError
from biohicl.progress import say

# Control groups, by which a container or a batch system limits its processes, and which of them this one is in.
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# Open files whose locks say that a GPU is taken: they end with the process and all that it started, whatever ends it.
_taken: list[int] = []


class GPU(NamedTuple):
    """A GPU that this process may use."""

    # As CUDA_VISIBLE_DEVICES names it.
    name: str
    # The same whatever the process sees.
    identity: str
    used_bytes: int


def memory_mb() -> int:
    """The memory of this machine or, where that is less, of the control group, in MB of 10^6 bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _cgroup_limits():
        # Version 2 says "max" where there is no limit.
        with suppress(OSError, ValueError):
            total = min(total, int(path.read_text()))
    return total // 1_000_000


def _cgroup_limits() -> list[Path]:
    """The files with limits of memory of this process's control group and of all that it lies in, which hold as well.

    A container may see its own as the topmost one, whatever its name outside is.
    """
    limits = [CGROUPS / "memory.max", CGROUPS / "memory/memory.limit_in_bytes"]
    with suppress(OSError, ValueError):
        for line in OWN_CGROUPS.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers:
                top, file = CGROUPS, "memory.max"
            elif "memory" in controllers.split(","):
                top, file = CGROUPS / "memory", "memory.limit_in_bytes"
            else:
                continue
            own = PurePosixPath(name.strip("/"))
            limits += [top / group / file for group in (own, *own.parents)]
    return limits


def visible_gpus() -> list[GPU]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, or all; none where the driver cannot be asked."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        names = [str(number) for number in range(count)] if named is None else [n.strip() for n in named.split(",")]
        found = []
        for name in filter(None, names):
            by_number = name.isdigit()
            card = pynvml.nvmlDeviceGetHandleByIndex(int(name)) if by_number else pynvml.nvmlDeviceGetHandleByUUID(name)
            found.append(GPU(name, pynvml.nvmlDeviceGetUUID(card), pynvml.nvmlDeviceGetMemoryInfo(card).used))
        return found
    except Exception:
        # No GPU, no driver, or no package that asks it: torch will say what it finds.
        return []


def take_gpus(count: int, folder: Path | None = None) -> None:
    """Leaves ``count`` GPUs visible to this process and what it starts, which no other process took this way.

    To be called before CUDA starts. Locks of files in ``folder`` (None: one of this user's beside other temporary
    files) keep several jobs of a machine apart; of free GPUs those with the least memory in use come first. Where one
    is visible, or none, there is nothing to choose. Raises BioHiCLError where several are wanted and fewer are free;
    where all are taken and one is wanted, it is shared, and that is said, as where no lock can be had.
    """
    gpus = visible_gpus()
    if len(gpus) <= 1:
        return
    # Cards are numbered as the driver numbers them, which identities were asked by.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    by_use = [gpu.name for gpu in sorted(gpus, key=lambda one: one.used_bytes)]
    identities = {gpu.name: gpu.identity for gpu in gpus}
    taken: list[str] = []
    try:
        folder = folder or Path(tempfile.gettempdir()) / f"biohicl-gpus-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in by_use:
            if len(taken) < count and _locked(folder / identities[name]):
                taken.append(name)
    except OSError as error:
        # No reason not to compute.
        say(f"warning: {error}; no lock keeps other jobs off this one's GPUs")
        taken = by_use[:count]
    if len(taken) < count:
        if count > 1:
            raise BioHiCLError(
                f"{count} GPUs are wanted, and of {len(gpus)} here other jobs left {len(taken)}: {folder} has their "
                "locks. Wait, end the other jobs (fuser tells which), or allow fewer: --resources gpu=N"
            )
        taken = by_use[:1]
        say(f"warning: all {len(gpus)} GPUs are taken by other jobs; shares GPU {taken[0]} with one of them")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_as_given(taken, gpus))


def _as_given(names: Sequence[str], gpus: Sequence[GPU]) -> list[str]:
    """In the order that they were visible in."""
    return [gpu.name for gpu in gpus if gpu.name in names]


def _locked(path: Path) -> bool:
    """Whether this process has the lock now; what it starts has it as well, and keeps it."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return False
    os.set_inheritable(opened, True)
    _taken.append(opened)
    return True
