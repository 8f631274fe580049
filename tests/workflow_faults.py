"""What may happen to a run of the workflow, done on purpose; and what has to be there afterwards.

A fault takes the :class:`conftest.Workflow` of a folder and a ``random.Random``, and does its harm; when it returns nothing
of it runs any more, orphans of a killed Snakemake aside. ``recover`` then does what the README says, and no more.
"""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

# One model and one benchmark, as short as can be, and an index.
SHORT = {
    "models": ["default"],
    "nodes": {"default": {"schedule": {"epochs": 1}, "development": {"citations": 50}}},
    "evaluation": {"benchmarks": ["sample-retrieval"], "draws": 200},
}
TARGETS = ("all", "index")
# A run of it takes about so many seconds on two cores: moments are drawn from these.
RUNS_SECONDS = 75
ENDS_SECONDS = 400

# What tells when and how fast something was made, or is no result.
DIFFERENT = re.compile(
    r"""
    results/training/checkpoints/ | results/biohicl\.duckdb$ | /\.snakemake_timestamp$
    """,
    re.VERBOSE,
)


def results(folder):
    """The bytes of each file that the workflow has made, by name."""
    found = {}
    for top in ("results", "resources"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not name.startswith("resources/sample/") and not DIFFERENT.search(name):
                found[name] = path.read_bytes()
    return found


def processes(folder):
    """The processes that work in ``folder``: pid to command."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def wait_for_orphans(folder):
    until = time.monotonic() + ENDS_SECONDS
    while processes(folder):
        assert time.monotonic() < until, f"still there: {processes(folder)}"
        time.sleep(0.2)


def recover(workflow):
    """`snakemake --unlock`, then the same command; once more where that said what to do first, and this did it."""
    workflow.snakemake("--unlock")
    done = workflow.snakemake(*TARGETS, check=False)
    if done.returncode:
        follow(done.output, workflow.folder)
        workflow.snakemake("--unlock")
        done = workflow.snakemake(*TARGETS)
    return done.output


def follow(said, folder):
    """Does what an error says that names what to do; nothing else is allowed."""
    assert "Traceback" not in said, said[-4000:]
    if removes := re.search(r"makes it anew: (rm -r .+)", said):
        subprocess.run(shlex.split(removes[1]), cwd=folder, check=True)
    elif "another training" in said:
        wait_for_orphans(folder)
    else:
        raise AssertionError(said[-6000:])


# ---- at some moment of a run


def running(workflow, draw):
    """A run, some time after its beginning."""
    started = workflow.start(*TARGETS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        started.wait(timeout=draw.uniform(0.5, RUNS_SECONDS))
    return started


def ended(started):
    started.wait(timeout=ENDS_SECONDS)


def kill_all(workflow, draw):
    """kill -9 of the workflow and all of its jobs, as by a power cut."""
    started = running(workflow, draw)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    ended(started)


def kill_snakemake(workflow, draw):
    """kill -9 of Snakemake alone: its jobs go on, and write, while the same command is given again."""
    started = running(workflow, draw)
    started.kill()
    ended(started)


def kill_jobs(workflow, draw):
    """kill -9 of what runs at that moment; the workflow ends by itself."""
    started = running(workflow, draw)
    jobs = [pid for pid, words in processes(workflow.folder).items() if " biohicl " in words and pid != started.pid]
    for pid in jobs:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended(started)


def interrupt(workflow, draw):
    """Ctrl-C, which reaches all processes of a terminal."""
    started = running(workflow, draw)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGINT)
    ended(started)


def terminate(workflow, draw):
    """SIGTERM to Snakemake, as a batch system or a shutdown sends it."""
    started = running(workflow, draw)
    started.terminate()
    ended(started)


MOMENTS = (kill_all, kill_snakemake, kill_jobs, interrupt, terminate)


# ---- to what a run has made


def made_files(folder, suffixes=None):
    """Files that the workflow has made, those of checkpoints aside."""
    names = [Path(name) for name in results(folder)]
    return [folder / name for name in names if suffixes is None or name.suffix in suffixes]


def move_times(workflow, draw):
    """os.utime: some files seem old, others new."""
    now = time.time()
    for path in draw.sample(made_files(workflow.folder), 15):
        moved = now + draw.choice([-1e6, -100, 100, 1e6])
        os.utime(path, (moved, moved))


def delete(workflow, draw):
    """Some files are gone, models and what was fetched among them; of a folder that one job makes, the folder."""
    for path in draw.sample(made_files(workflow.folder), 8):
        parts = path.relative_to(workflow.folder).parts
        if parts[:2] in (("results", "models"), ("resources", "backbones"), ("results", "figures")):
            shutil.rmtree(workflow.folder.joinpath(*parts[:3]) if parts[1] != "figures" else path.parent, True)
        else:
            path.unlink(missing_ok=True)


KINDS_LOOKED_AT = (".parquet", ".safetensors", ".npy", ".arrow", ".json")


def truncate(workflow, draw):
    """Some tables and arrays are cut off, some of them to nothing, and their times tell nothing of it."""
    for path in draw.sample(made_files(workflow.folder, KINDS_LOOKED_AT), 4):
        before = path.stat()
        if path.name != "release.json" or "training" not in path.parts:
            os.truncate(path, draw.choice([0, before.st_size // 2, before.st_size - 1]))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


HARMS = (move_times, delete, truncate)


# ---- surroundings


@contextmanager
def small_disk(folder, megabytes):
    """results/ on a file system of this size; grows when the context asks."""
    place = folder / "results"
    place.mkdir()

    def mount(*options):
        subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)

    mount("-t", "tmpfs", "-o", f"size={megabytes}m", "small")
    try:
        yield lambda more: mount("-o", f"remount,size={more}m")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def limits(**given):
    """For subprocess: resource limits by name (FSIZE, AS), of all that is started."""

    def set_limits():
        for name, value in given.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    return set_limits
