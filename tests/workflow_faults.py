"""What may happen to a run of the workflow, done on purpose; and what has to be there afterwards.

A fault takes a :class:`Trial` and a ``random.Random``, and does its harm; when it returns nothing of the workflow runs any
more, orphans of a killed Snakemake aside. ``recover`` then does what the README says, and no more.
"""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from conftest import Workflow

# One model and one benchmark, as short as can be.
SHORT = {
    "models": ["default"],
    "nodes": {"default": {"schedule": {"epochs": 1}, "development": {"citations": 50}}},
    "evaluation": {"benchmarks": ["sample-retrieval"], "draws": 200, "hybrids": {"rrf": None}},
}
ENDS_SECONDS = 500
# What its last job takes, and its own end.
LAST_SECONDS = 10
# No results: what a training keeps until it has ended, and what Snakemake does for itself.
NOT_COMPARED = re.compile(r"results/training/checkpoints/|/\.snakemake_timestamp$|resources/sample/")
# Said in records and not the same twice: when, how fast, by what.
TIMES = ("seconds", "commit", "resumed")


@dataclass
class Trial:
    """A workflow in a folder of its own, what is asked of it, and how long that takes where nothing is there."""

    workflow: Workflow
    targets: tuple[str, ...]
    seconds: float

    @property
    def folder(self):
        return self.workflow.folder


def results(folder):
    """The bytes of each file that the workflow has made, by name; of records without times."""
    found = {}
    for top in ("results", "resources"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not NOT_COMPARED.search(name):
                found[name] = comparable(name, path.read_bytes())
    return found


def comparable(name, content):
    """The content without what may differ: times in JSON records; the commit on a card, and so the card's checksum."""
    if name.endswith(".json"):
        with suppress(ValueError):
            return timeless(json.loads(content))
    if name.endswith(".md"):
        # Who made it, and the table of how long each node took.
        return re.sub(rb"(?m)^\| (made by \|.*|\S+ \| [\d.,]+ (s|min|h) \|.*)$", b"", content)
    if name.endswith("checksums.sha256"):
        return re.sub(rb"(?m)^.* (README\.md|manifest\.json)$", b"", content)
    return content


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def processes(folder):
    """The processes that work in ``folder``: pid to command."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return {pid: words for pid, words in found.items() if words}


def wait_for_orphans(folder):
    until = time.monotonic() + ENDS_SECONDS
    while left := processes(folder):
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.2)


def recover(trial):
    """`snakemake --unlock`, then the same command; once more where that said what to do first, and this did it."""
    trial.workflow.snakemake("--unlock", check=False)
    done = trial.workflow.snakemake(*trial.targets, check=False)
    if done.returncode:
        follow(done.output, trial.folder)
        trial.workflow.snakemake("--unlock")
        done = trial.workflow.snakemake(*trial.targets)
    return done.output


def follow(said, folder):
    """Does what an error says that names what to do; anything else is a failure."""
    assert "Traceback" not in said, said[-4000:]
    if removes := re.search(r"makes it anew: (rm -r .+)", said):
        subprocess.run(shlex.split(removes[1]), cwd=folder, check=True)
    elif "another training is at work there; wait for it" in said:
        wait_for_orphans(folder)
    else:
        raise AssertionError(said[-6000:])


# ---- at some moment of a run


def stopped(trial, draw, stop, ends=True):
    """A run that ``stop`` is called on some time after its beginning; it may have ended before.

    ``ends``: the run cannot come to its end all the same.
    """
    started = trial.workflow.start(*trial.targets, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        started.wait(timeout=draw.uniform(0.5, trial.seconds))
    stopped_at = time.monotonic()
    with suppress(ProcessLookupError):
        stop(started.pid)
    started.wait(timeout=ENDS_SECONDS)
    # In its last moments it may be too late; but of a run that heard nothing there would be nothing to recover from.
    assert not ends or started.returncode or time.monotonic() - stopped_at < LAST_SECONDS, "it was not stopped"


def kill_all(trial, draw):
    """kill -9 of the workflow and all of its jobs, as by a power cut."""
    stopped(trial, draw, lambda pid: os.killpg(pid, signal.SIGKILL))


def kill_snakemake(trial, draw):
    """kill -9 of Snakemake alone: its jobs go on, and write, while the same command is given again."""
    stopped(trial, draw, lambda pid: os.kill(pid, signal.SIGKILL))


def kill_jobs(trial, draw):
    """kill -9 of the jobs that run at that moment; the workflow ends by itself."""

    def of_workflow(pid):
        for job, words in processes(trial.folder).items():
            if " biohicl " in words and job != pid:
                with suppress(ProcessLookupError):
                    os.kill(job, signal.SIGKILL)

    # Between two jobs there is none.
    stopped(trial, draw, of_workflow, ends=False)


def interrupt(trial, draw):
    """Ctrl-C, which reaches all processes of a terminal."""
    stopped(trial, draw, lambda pid: os.killpg(pid, signal.SIGINT))


def terminate(trial, draw):
    """SIGTERM to Snakemake, as a batch system or a shutdown sends it."""
    stopped(trial, draw, lambda pid: os.kill(pid, signal.SIGTERM))


MOMENTS = (kill_all, kill_snakemake, kill_jobs, interrupt, terminate)


# ---- to what a run has made


def made_files(folder, suffixes=None):
    """Files that the workflow has made, those of checkpoints aside."""
    names = [name for name in results(folder) if suffixes is None or name.endswith(suffixes)]
    return [folder / name for name in names]


def move_times(trial, draw):
    """os.utime: some files seem older than they are, others newer."""
    now = time.time()
    for path in draw.sample(made_files(trial.folder), 15):
        moved = now + draw.choice([-1e6, -100, 100, 1e6])
        os.utime(path, (moved, moved))


# What is made as a folder, and has no parts that could be made alone.
FOLDERS = re.compile(r"results/models/[^/]+|results/training/releases/[^/]+|resources/backbones/[^/]+|results/figures")


def delete(trial, draw):
    """Some files are gone, models and what was fetched among them; of a folder that one job makes, the whole folder."""
    for path in draw.sample(made_files(trial.folder), 8):
        if whole := FOLDERS.match(path.relative_to(trial.folder).as_posix()):
            shutil.rmtree(trial.folder / whole[0], ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def truncate(trial, draw):
    """Some tables and arrays are cut off, some of them to nothing, and their times tell nothing of it."""
    kinds = (".parquet", ".safetensors", ".npy", ".arrow")
    for path in draw.sample([path for path in made_files(trial.folder, kinds) if "results" in path.parts], 4):
        before = path.stat()
        os.truncate(path, draw.choice([0, before.st_size // 2, before.st_size - 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


HARMS = (move_times, delete, truncate)


# ---- surroundings


@contextmanager
def small_disk(place, megabytes):
    """A file system of this size at ``place``; what it yields makes it larger."""
    place.mkdir()

    def mount(*options):
        subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)

    mount("-t", "tmpfs", "-o", f"size={megabytes}m", "small")
    try:
        yield lambda more: mount("-o", f"remount,size={more}m")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


@contextmanager
def read_only(place):
    """A folder that nobody can write into; root would not be kept from it by its mode."""
    if os.getuid():
        place.chmod(0o555)
    else:
        subprocess.run(["mount", "--bind", place, place], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    try:
        yield
    finally:
        if os.getuid():
            place.chmod(0o755)
        else:
            subprocess.run(["umount", place], check=True)


def limits(**given):
    """For subprocess: resource limits by name (FSIZE, AS), of all that is started."""

    def set_limits():
        for name, value in given.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    return set_limits
