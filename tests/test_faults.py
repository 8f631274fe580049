"""Whatever happens to a run, the documented recovery ends with the results of a run that nothing happened to.

The whole of it is `make test-faults`; what is not marked is tried on the corpus and MeSH alone, which takes seconds.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from base64 import urlsafe_b64encode

import pytest

from conftest import ROOT, Workflow, overlay
from workflow_faults import (
    HARMS,
    MOMENTS,
    SHORT,
    Trial,
    interrupt,
    kill_jobs,
    kill_snakemake,
    limits,
    processes,
    read_only,
    recover,
    results,
    small_disk,
    truncate,
    wait_for_orphans,
)

WHOLE = ("all", "index")
TABLES = ("corpus", "mesh", "results/corpus/description.parquet")


def pytest_generate_tests(metafunc):
    if "attempt" in metafunc.fixturenames:
        metafunc.parametrize("attempt", range(metafunc.config.getoption("--tries")))


def trial_in(folder, sample, targets, seconds=0.0):
    (folder / "resources").mkdir(parents=True, exist_ok=True)
    if not (folder / "resources/sample").exists():
        (folder / "resources/sample").symlink_to(sample)
    return Trial(Workflow(folder, overlay(folder, SHORT)), targets, seconds)


def undisturbed(sample, folder, targets):
    """A run that nothing happens to: its trial, with how long it took."""
    trial = trial_in(folder, sample, targets)
    started = time.monotonic()
    trial.workflow.snakemake(*targets)
    trial.seconds = time.monotonic() - started
    return trial


@pytest.fixture(scope="session")
def whole(sample, tmp_path_factory):
    return undisturbed(sample, tmp_path_factory.mktemp("whole"), WHOLE)


@pytest.fixture(scope="session")
def tables(sample, tmp_path_factory):
    return undisturbed(sample, tmp_path_factory.mktemp("tables"), TABLES)


# What is not part of `all` itself: to make a selection again, say, would train again.
ON_THE_WAY = re.compile(r"results/(vectors|training|development)/|resources/(?!lock\.json)")


def again(trial, sample, folder):
    """A folder where the same is to be run from the beginning."""
    return trial_in(folder, sample, trial.targets, trial.seconds)


def copied(trial, folder):
    """A folder where it has run."""
    subprocess.run(["cp", "-a", f"{trial.folder}/.", str(folder)], check=True)
    return Trial(Workflow(folder, folder / "overlay.yaml"), trial.targets, trial.seconds)


def recovers(trial, reference):
    """Recovered as documented it has all that the other has, byte by byte, no scraps, and nothing to do."""
    recover(trial)
    wait_for_orphans(trial.folder)
    found, wanted = results(trial.folder), results(reference.folder)
    if missing := sorted(wanted.keys() - found.keys()):
        # Snakemake makes what is only on the way to something when that has to be made.
        assert [name for name in missing if not ON_THE_WAY.match(name)] == []
        trial.workflow.snakemake(*sorted({re.sub(r"(/backbones/[^/]+)/.*", r"\1", name) for name in missing}))
        trial.workflow.snakemake(*trial.targets)
        found = results(trial.folder)
    assert sorted(found) == sorted(wanted)
    assert [name for name, content in found.items() if content != wanted[name]] == []
    assert [path for path in trial.folder.rglob("*.tmp") if ".snakemake" not in path.parts] == []
    assert "Nothing to be done" in trial.workflow.snakemake("--dry-run", *trial.targets).output


# ---- a slice: the tables, which take seconds


@pytest.mark.parametrize(
    "fault",
    [kill_snakemake, *(pytest.param(fault, marks=pytest.mark.long(40)) for fault in (kill_jobs, interrupt))],
    ids=lambda fault: fault.__name__,
)
def test_tables_after_a_run_that_was_stopped(tables, sample, tmp_path, fault):
    trial = again(tables, sample, tmp_path)
    fault(trial, random.Random(1))
    recovers(trial, tables)


def test_tables_after_some_were_cut_off(tables, tmp_path):
    trial = copied(tables, tmp_path)
    truncate(trial, random.Random(2))
    said = trial.workflow.snakemake("--dry-run", *TABLES, check=False)
    assert said.returncode != 0
    assert re.search(r"Damaged file: results/\S+ .*cut off, or no file of its kind", said.output)
    recovers(trial, tables)


@pytest.mark.parametrize(
    "file",
    [
        "resources/pubmed/baseline/pubmed99n0001.xml.gz",
        pytest.param("results/pubmed/articles/pubmed99n0002.parquet", marks=pytest.mark.long(15)),
        pytest.param("resources/mesh/desc2099.gz", marks=pytest.mark.long(15)),
    ],
)
def test_what_an_orphaned_job_made_is_made_again(tables, tmp_path, file):
    """Snakemake knows that it began, and nothing of its parameters: a change of these would pass unseen."""
    trial = copied(tables, tmp_path)
    assert (tmp_path / file).is_file()
    name = urlsafe_b64encode(file.encode()).decode()
    (tmp_path / f".snakemake/metadata/{name}").unlink()
    mark = tmp_path / f".snakemake/incomplete/{name}"
    mark.write_text('{"external_jobid": null}')
    for _ in range(2):
        said = trial.workflow.snakemake("--dry-run", *TABLES).output
        assert re.search(rf"output: {file}(?s:.*?)reason: Forced execution", said), said[-3000:]
        # Of a job that was tried again and failed, Snakemake forgets that it ever began.
        mark.unlink(missing_ok=True)
    recovers(trial, tables)
    assert "Forced execution" not in trial.workflow.snakemake("--dry-run", *TABLES).output


# ---- all of it


def trained_a_while(trial):
    """A run that trains for some steps already, and the log of these."""
    checkpoints = trial.folder / "results/training/checkpoints/default"
    shutil.rmtree(checkpoints, ignore_errors=True)
    started = trial.workflow.start(*WHOLE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = checkpoints / "log.jsonl"
    until = time.monotonic() + 120
    while not log.is_file() or log.read_text().count('"kind": "step"') < 3:
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    return started, log


@pytest.mark.faults
@pytest.mark.parametrize("fault", MOMENTS, ids=lambda fault: fault.__name__)
def test_stopped_at_some_moment(whole, sample, tmp_path, fault, attempt):
    trial = again(whole, sample, tmp_path)
    fault(trial, random.Random(f"{fault.__name__} {attempt}"))
    recovers(trial, whole)


@pytest.mark.faults
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_harmed_afterwards(whole, tmp_path, harm, attempt):
    trial = copied(whole, tmp_path)
    harm(trial, random.Random(f"{harm.__name__} {attempt}"))
    recovers(trial, whole)


@pytest.mark.faults
def test_stopped_again_and_again(whole, sample, tmp_path):
    """Five times within one run, each time by another fault, and recovered without patience."""
    trial = again(whole, sample, tmp_path)
    trial.seconds /= 3
    for fault in MOMENTS:
        fault(trial, random.Random(fault.__name__))
        trial.workflow.snakemake("--unlock")
    recovers(trial, whole)


@pytest.mark.faults
@pytest.mark.parametrize("share", [0.15, 0.4, 0.7])
def test_a_full_disk(whole, sample, tmp_path, share):
    if os.getuid():
        pytest.skip("a small file system can be mounted by root alone")
    trial = again(whole, sample, tmp_path)
    sizes = sum(path.stat().st_size for path in (whole.folder / "results").rglob("*") if path.is_file()) / 1e6
    with small_disk(tmp_path / "results", round(sizes * share)) as grow:
        done = trial.workflow.snakemake(*WHOLE, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.output, done.output[-4000:]
        assert re.search(r"[Nn]o space left|disk full|is the disk full", done.output), done.output[-4000:]
        grow(round(sizes * 5))
        recovers(trial, whole)


@pytest.mark.faults
@pytest.mark.parametrize("limit", [{"FSIZE": 150_000}, {"AS": 1_300_000_000}], ids=["size of a file", "memory"])
def test_a_limit_that_is_too_low(whole, sample, tmp_path, limit):
    trial = again(whole, sample, tmp_path)
    done = trial.workflow.snakemake(*WHOLE, check=False, preexec_fn=limits(**limit))
    assert done.returncode != 0
    recovers(trial, whole)


@pytest.mark.faults
def test_a_folder_that_cannot_be_written(whole, sample, tmp_path):
    trial = again(whole, sample, tmp_path)
    place = tmp_path / "results/pubmed"
    place.mkdir(parents=True)
    with read_only(place):
        done = trial.workflow.snakemake(*WHOLE, check=False)
    assert done.returncode != 0
    assert re.search(r"Read-only file system|Permission denied", done.output), done.output[-4000:]
    recovers(trial, whole)


@pytest.mark.faults
def test_two_workflows_at_once(whole, sample, tmp_path):
    """The second one is refused, and does the first one no harm."""
    trial = again(whole, sample, tmp_path)
    first = trial.workflow.start(*WHOLE)
    try:
        until = time.monotonic() + 60
        while not list((tmp_path / ".snakemake/locks").glob("*")):
            assert first.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        second = trial.workflow.snakemake(*WHOLE, check=False)
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.output
        _, said = first.communicate(timeout=500)
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
    assert first.returncode == 0, said[-4000:]
    recovers(trial, whole)


@pytest.mark.faults
def test_a_loss_that_is_no_number(whole, tmp_path):
    trial = copied(whole, tmp_path)
    wild = overlay(tmp_path, {"nodes": {"default": {"losses": {"soft_targets": {"weight": 1.0e39}}}}}, "wild.yaml")
    done = trial.workflow.snakemake(*WHOLE, overlays=[wild], check=False)
    assert done.returncode != 0
    assert re.search(r"the loss is (nan|inf)|gives NaN", done.output), done.output[-4000:]
    assert "PMIDs" in done.output or "after step" in done.output
    recovers(trial, whole)


@pytest.mark.faults
def test_a_try_beside_an_orphaned_training(whole, tmp_path):
    """It is refused. Snakemake records it as if it had made what the orphan writes later, by other settings."""
    trial = copied(whole, tmp_path)
    shutil.rmtree(tmp_path / "results/models/default")
    started, log = trained_a_while(trial)
    os.kill(started.pid, signal.SIGKILL)
    started.wait(timeout=60)
    # It would end before the other begins.
    orphans = [pid for pid, words in processes(tmp_path).items() if " train --" in words]
    for pid in orphans:
        os.kill(pid, signal.SIGSTOP)
    before = log.read_text()
    other = overlay(tmp_path, {"nodes": {"default": {"schedule": {"learning_rate": 0.002}}}}, "other.yaml")
    trial.workflow.snakemake("--unlock")
    done = trial.workflow.snakemake(*WHOLE, overlays=[other], check=False)
    assert "another training is at work there" in done.output, done.output[-4000:]
    for pid in orphans:
        os.kill(pid, signal.SIGCONT)
    wait_for_orphans(tmp_path)
    manifest = tmp_path / "results/models/default/manifest.json"
    assert manifest.is_file() and log.read_text().startswith(before)
    trial.workflow.snakemake("--unlock")
    trial.workflow.snakemake("results/models/default", overlays=[other])
    assert json.loads(manifest.read_text())["settings"]["schedule"]["learning_rate"] == 0.002
    recovers(trial, whole)


@pytest.mark.faults
@pytest.mark.parametrize("harm", ["cut off", "other bytes", "gone"])
def test_a_damaged_checkpoint(whole, tmp_path, harm):
    trial = copied(whole, tmp_path)
    shutil.rmtree(tmp_path / "results/models/default")
    started, log = trained_a_while(trial)
    checkpoints = log.parent
    # Ctrl-C writes one.
    os.killpg(started.pid, signal.SIGINT)
    started.wait(timeout=120)
    files = sorted(checkpoints.rglob("*.safetensors"))
    assert files, sorted(map(str, checkpoints.rglob("*")))
    for path in files:
        if harm == "cut off":
            os.truncate(path, path.stat().st_size // 2)
        elif harm == "gone":
            path.unlink()
        else:
            path.write_bytes(os.urandom(path.stat().st_size))
    trial.workflow.snakemake("--unlock")
    done = trial.workflow.snakemake(*WHOLE, check=False)
    if done.returncode:
        assert "Traceback" not in done.output
        assert f"remove {checkpoints.relative_to(tmp_path)}" in done.output, done.output[-4000:]
        shutil.rmtree(checkpoints)
    recovers(trial, whole)


@pytest.mark.faults
def test_other_constraints_make_the_environment_anew_and_nothing_else(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".mypy_cache", "tests"))
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (root / ".venv").mkdir()
    (root / ".venv/installed").write_text(f"{root / '.venv'}\n")
    installs = ["make", "--dry-run", "install"]
    constraints = root / "constraints.txt"
    for versions, expected in ((constraints.read_text(), False), ("tqdm==9\n", True)):
        if expected:
            constraints.write_text(versions)
        plan = subprocess.run(installs, cwd=root, capture_output=True, text=True, check=True).stdout
        assert ("pip install" in plan) == expected
    (tmp_path / "project").mkdir()
    trial = copied(whole, tmp_path / "project")
    trial.workflow.root = root
    assert "Nothing to be done" in trial.workflow.snakemake("--dry-run", *WHOLE).output
