"""Memory of a machine and of a control group, and GPUs shared out between processes; the driver is a stand-in."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from biohicl import machine
from conftest import ROOT

# What nvidia-ml-py tells of four cards; the third one is in use by somebody who takes no locks.
DRIVER = """
from types import SimpleNamespace
USED = [10, 20, 70_000_000_000, 5]
nvmlInit = lambda: None
nvmlDeviceGetCount = lambda: len(USED)
def nvmlDeviceGetHandleByIndex(number):
    return range(len(USED))[number]
def nvmlDeviceGetHandleByUUID(name):
    return int(name.removeprefix("GPU-"))
nvmlDeviceGetUUID = lambda card: f"GPU-{card}"
nvmlDeviceGetMemoryInfo = lambda card: SimpleNamespace(used=USED[card])
"""
# Takes GPUs, tells which, and keeps them until its input ends.
TAKES = "import os, sys; from biohicl.machine import take_gpus; take_gpus(int(sys.argv[1])); "
TELLS = "print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); sys.stdin.read()"


@pytest.fixture
def driver(tmp_path):
    (tmp_path / "pynvml.py").write_text(DRIVER)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def environment(driver, visible=None):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA", "LOCAL_RANK"))}
    paths = [str(driver), str(ROOT / "src")]
    kept |= {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(driver / "tmp")}
    return kept | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})


@contextmanager
def holding(driver, count, visible=None, code=TAKES + TELLS):
    """What a process sees that took so many GPUs, while it has them."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(count)],
        env=environment(driver, visible),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=20)


def test_each_job_sees_a_gpu_of_its_own(driver):
    with holding(driver, 1) as first, holding(driver, 1) as second, holding(driver, 2) as pair:
        # The least used first; in the order of their numbers, if several.
        assert (first, second, pair) == ("3", "0", "1,2")
        done = on_gpus(driver, 2)
        assert done.returncode == 2
        assert "2 GPUs are wanted, and of 4 here other jobs left 0" in done.stderr
    with holding(driver, 1) as again:
        assert again == "3"


def test_where_all_are_taken_one_is_shared_and_that_is_said(driver):
    with holding(driver, 4):
        done = subprocess.run(
            [sys.executable, "-c", TAKES + TELLS, "1"],
            env=environment(driver),
            input="",
            capture_output=True,
            text=True,
        )
    assert done.stdout.strip() == "3"
    assert "all 4 GPUs are taken by other jobs; shares GPU 3" in done.stderr


@pytest.mark.parametrize(("count", "seen"), [(1, "3"), (2, "0,3")])
def test_where_no_lock_can_be_had_the_least_used_are_taken(driver, count, seen):
    (driver / f"tmp/biohicl-gpus-{os.getuid()}").write_text("somebody's")
    done = on_gpus(driver, count)
    assert (done.returncode, done.stdout.strip()) == (0, seen)
    assert re.search(r"File exists: '.*'; no lock keeps other jobs off", done.stderr)
    assert "Traceback" not in done.stderr
    assert on_gpus(driver, 5).returncode == 2


@pytest.mark.parametrize(("visible", "seen"), [("2", "2"), ("", ""), ("GPU-1,GPU-2", "GPU-1"), ("1,0", "0")])
def test_what_a_batch_system_allots_is_kept_to(driver, visible, seen):
    with holding(driver, 1, visible) as found:
        assert found == seen


def test_a_gpu_is_taken_until_all_that_uses_it_has_ended(driver):
    """A workflow that is killed leaves its jobs; their GPU is not free."""
    starts_another = (
        "import os, subprocess, sys; from biohicl.machine import take_gpus; take_gpus(1); "
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(child.pid, flush=True); os._exit(1)"
    )
    process = subprocess.run(
        [sys.executable, "-c", starts_another], env=environment(driver), capture_output=True, text=True
    )
    child = int(process.stdout)
    try:
        with holding(driver, 1) as other:
            assert other == "0"
    finally:
        os.kill(child, 9)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with holding(driver, 1) as freed:
            if freed == "3":
                return
    raise AssertionError("the lock outlived all that had it")


def on_gpus(driver, count, *words):
    words = words or (sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    command = [sys.executable, "-m", "biohicl", "on-gpus", str(count), *words]
    return subprocess.run(command, env=environment(driver), capture_output=True, text=True, timeout=60)


def test_torchruns_processes_see_what_was_taken_for_them(driver):
    assert on_gpus(driver, 2).stdout.split() == ["0,3"]
    done = on_gpus(driver, 2, sys.executable, "-c", "import sys; print(sys.argv[1:])", "--start", "x")
    assert done.stdout.strip() == "['--start', 'x']"
    done = on_gpus(driver, 1, "nonesuch")
    assert (done.returncode, done.stderr) == (2, "biohicl on-gpus: error: nonesuch: no such command\n")


def test_a_command_takes_a_gpu_before_cuda_starts(driver, monkeypatch):
    """The command line does, once for each command that computes on one; torchrun's processes do not."""
    (driver / "driver_first.py").write_text("")
    code = (
        "import os, sys; from biohicl.cli.main import main; "
        "status = main(['encode', 'nowhere', 'nothing', '--output', 'x', *sys.argv[1:]]); "
        "print(os.environ.get('CUDA_VISIBLE_DEVICES'), 'torch' in sys.modules)"
    )
    for words, rank, seen in (([], None, "3"), (["--device", "cpu"], None, "None"), ([], "0", "None")):
        given = environment(driver) | ({} if rank is None else {"LOCAL_RANK": rank})
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=given, capture_output=True, text=True, cwd=driver
        )
        assert done.stdout.split()[0] == seen, done.stderr


MACHINE_HAS = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


@pytest.mark.parametrize(
    ("groups", "limits", "found"),
    [
        ("0::/\n", {"memory.max": "2000000000\n"}, 2000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        # As SLURM and systemd have it: the group itself says nothing, one that it lies in does.
        (
            "0::/system.slice/job_7/step_0/task_0\n",
            {"system.slice/job_7/step_0/task_0/memory.max": "max\n", "system.slice/job_7/memory.max": "400000000\n"},
            400,
        ),
        # Version 1, whose limit of all memory is a number too; others of its controllers say nothing of memory.
        (
            "9:name=systemd:/\n4:cpuset,memory:/batch/7\n2:cpu:/x:y\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/batch/7/memory.limit_in_bytes": "300000000",
            },
            300,
        ),
        # A container's name outside, which it has no folder for.
        ("4:memory:/docker/abc\n", {"memory/memory.limit_in_bytes": "200000000\n"}, 200),
        ("nonsense\n", {"memory.max": "200000000\n"}, 200),
        (None, {}, None),
    ],
)
def test_memory_is_what_the_control_groups_leave(tmp_path, monkeypatch, groups, limits, found):
    assert 100 < machine.memory_mb() <= MACHINE_HAS
    if groups is not None:
        (tmp_path / "own").write_text(groups)
    for name, limit in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(limit)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    assert machine.memory_mb() == (MACHINE_HAS if found is None else found)


def test_polars_keeps_to_the_threads_that_snakemake_gives():
    """Snakemake sets OMP_NUM_THREADS for its jobs, which polars does not read; --threads goes before it."""
    code = (
        "import sys; from biohicl.cli.arguments import limit_threads; "
        "limit_threads(int(sys.argv[1]) if sys.argv[1:] else None); import polars; print(polars.thread_pool_size())"
    )
    given = {name: value for name, value in os.environ.items() if "THREADS" not in name} | {"OMP_NUM_THREADS": "3"}
    for words, threads in (([], 3), (["2"], 2)):
        done = subprocess.run([sys.executable, "-c", code, *words], env=given, capture_output=True, text=True)
        assert int(done.stdout) == threads, done.stderr


def test_an_allotted_gpu_that_torch_lacks_is_said(monkeypatch, capsys):
    import torch

    from biohicl.encoder.embed import pick_device

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for given, said in (("0,1", "gives this job GPU 0,1, but torch"), ("", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert pick_device().type == "cpu"
        found = capsys.readouterr().err
        assert said in found
        assert bool(found) == bool(said)


def test_a_gpu_that_torch_cannot_use_is_said(driver):
    """As where torch is built for CPUs, or for a newer driver: nobody set CUDA_VISIBLE_DEVICES there."""
    code = (
        "import torch; torch.cuda.is_available = lambda: False; from biohicl.encoder.embed import pick_device; "
        "print(pick_device())"
    )
    for visible, said in ((None, "warning: the driver has GPU 0, 1, 2, 3, but torch"), ("", "")):
        given = environment(driver, visible)
        done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)
        assert done.stdout == "cpu\n", done.stderr
        assert said in done.stderr
        assert bool(done.stderr) == bool(said)


@pytest.mark.long(40)
def test_gpus_that_are_never_to_be_used_are_hidden_from_jobs(driver, sample):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    (driver / "resources").mkdir()
    (driver / "resources/sample").symlink_to(sample)
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "1"]
    command += ["results/vectors/sample-bert/sample-pairs/sentences.npy"]
    command += ["--configfile", ROOT / "workflow/configs/tests.yaml"]
    log = driver / "logs/embed/sample-bert/sample-pairs/sentences.log"
    # Nothing in the log but what was encoded: of its four cards this job took none, and missed none.
    for wanted, taken in (("never", False), ("always", True)):
        done = subprocess.run(
            [*command, "--forcerun", "embed_sentences", "--config", f"gpu={wanted}"],
            env=environment(driver),
            capture_output=True,
            text=True,
            cwd=driver,
        )
        assert done.returncode == 0, done.stderr
        assert ("gives this job GPU 3, but torch" in log.read_text()) is taken
        assert ("warning" in log.read_text()) is taken
