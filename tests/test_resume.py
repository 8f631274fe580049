"""A training that is killed, interrupted, or run by several processes ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from biohicl.errors import BioHiCLError
from biohicl.training.checkpoints import Checkpoint, Checkpoints
from biohicl.training.train import Options
from conftest import clean_environment
from test_trainer import EVERY_LOSS
from trainings import command, inputs_of, node

FILES = (
    "model.safetensors",
    "training_log.parquet",
    "development.parquet",
    "manifest.json",
    "adapter/adapter_model.safetensors",
)


def block_of(made, **over):
    """Dropout, scalars that losses learn, and a chosen checkpoint: all that a checkpoint has to hold."""
    changes = {"losses": EVERY_LOSS, "trainable__dropout": 0.2, "schedule__max_steps": 26, "schedule__related": 0.3}
    block = node(made[1], **changes | over)
    block["development"] |= {"every": 5, "model": "mrr"}
    return block


def started(made, tmp_path, name, *options, threads=2, block=None):
    settings = tmp_path / f"{name}.json"
    settings.write_text(json.dumps(block or block_of(made)))
    words = command(
        made,
        tmp_path / name / "node",
        settings,
        "--checkpoints",
        str(tmp_path / name / "checkpoints"),
        *options,
        threads=threads,
    )
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=clean_environment())


def ended(process, expected=0):
    _, said = process.communicate(timeout=200)
    assert process.returncode == expected, said
    return said


def wait_for_steps(process, log, wanted):
    """Until so many steps are logged."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if log.is_file() and log.read_text().count('"kind": "step"') >= wanted:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    raise AssertionError("no step in two minutes")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def uninterrupted(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    ended(started(made, folder, "whole"))
    assert not list((folder / "whole/checkpoints").glob("*-0*")), "nothing is left of checkpoints"
    return folder / "whole/node"


def test_killed_again_and_again_it_ends_with_the_same_bits(made, tmp_path, uninterrupted):
    """kill -9 at four moments, each wherever it then was: in a step, in a measure, or writing a checkpoint."""
    log = tmp_path / "killed/checkpoints/log.jsonl"
    seen = []
    for wanted in (1, 5, 11, 20):
        process = started(made, tmp_path, "killed", "--checkpoint-minutes", "0")
        wait_for_steps(process, log, wanted)
        process.kill()
        process.communicate(timeout=60)
        assert not (tmp_path / "killed/node").exists()
        seen.append(len(list((tmp_path / "killed/checkpoints").glob("step-*"))))
    assert max(seen) <= 2
    said = ended(started(made, tmp_path, "killed", "--checkpoint-minutes", "0"))
    assert "going on after step" in said
    assert contents(tmp_path / "killed/node") == contents(uninterrupted)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 27))
    assert not [path for path in log.parent.iterdir() if path.name.startswith(("step-", "best-", "."))]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_writes_a_checkpoint_and_goes_on(made, tmp_path, uninterrupted, number, status):
    process = started(made, tmp_path, "stopped")
    wait_for_steps(process, tmp_path / "stopped/checkpoints/log.jsonl", 4)
    process.send_signal(number)
    said = ended(process, status)
    assert "the same command goes on from" in said
    (checkpoint,) = (tmp_path / "stopped/checkpoints").glob("step-*")
    step = int(checkpoint.name.removeprefix("step-"))
    assert 4 <= step < 26
    assert f"going on after step {step}" in ended(started(made, tmp_path, "stopped"))
    assert contents(tmp_path / "stopped/node") == contents(uninterrupted)


@pytest.fixture
def interrupted(made, tmp_path):
    """A folder with a checkpoint of two threads."""
    process = started(made, tmp_path, "stopped", "--checkpoint-minutes", "0")
    wait_for_steps(process, tmp_path / "stopped/checkpoints/log.jsonl", 3)
    process.kill()
    process.communicate(timeout=60)
    return tmp_path


def test_another_thread_count_is_refused_and_other_settings_begin_anew(made, interrupted):
    before = sorted(path.name for path in (interrupted / "stopped/checkpoints").glob("[!.]*"))
    said = ended(started(made, interrupted, "stopped", threads=1), 2)
    assert "was made with threads 2, now it is 1" in said
    assert "Go on with 2, or remove that folder" in said
    assert sorted(path.name for path in (interrupted / "stopped/checkpoints").glob("[!.]*")) == before
    other = block_of(made, schedule__learning_rate=1e-3, schedule__max_steps=3)
    said = ended(started(made, interrupted, "stopped", block=other))
    assert "is of other settings.schedule.learning_rate, settings.schedule.max_steps, plan; from the beginning" in said
    assert len(pq.read_table(interrupted / "stopped/node/training_log.parquet")) == 3


def test_a_damaged_log_is_an_error_that_says_what_to_do(made, interrupted):
    log = interrupted / "stopped/checkpoints/log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"step": 2,' not in line))
    assert "lacks steps before the checkpoint" in ended(started(made, interrupted, "stopped"), 2)


def test_a_half_written_checkpoint_is_none(tmp_path):
    """What a killed process leaves: a hidden folder, and the checkpoint before it."""
    checkpoints = Checkpoints(tmp_path)
    tensors = {"a": torch.arange(3)}
    for step in (4, 9):
        checkpoints.save(Checkpoint(step, tensors, tensors, tensors, {"step": step}))
    (tmp_path / ".step-00000012.1-aa.tmp").mkdir()
    (tmp_path / ".step-00000012.1-aa.tmp/weights.safetensors").write_bytes(b"half")
    assert checkpoints.last().step == 9
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000009"]


def test_the_best_that_the_last_checkpoint_knows_is_kept(tmp_path):
    """A better one may come after it; killed then, the training still needs the one before."""
    checkpoints = Checkpoints(tmp_path)
    for step in (5, 10, 15):
        checkpoints.save_best(step, {"a": torch.tensor([step])})
    checkpoints.drop_best(10)
    assert checkpoints.best(10)["a"].item() == 10
    assert [path.name for path in tmp_path.iterdir()] == ["best-00000010"]


# --- several processes ----------------------------------------------------------------------------------------


def together(job, folder, world):
    """Runs the processes to their end; an error of one ends the others."""
    words = [sys.executable, str(Path(__file__).with_name("rank_of_two.py")), str(job)]
    environment = clean_environment() | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*words, str(rank), str(world)], stderr=subprocess.PIPE, text=True, env=environment)
        for rank in range(world)
    ]
    try:
        for process in processes:
            ended(process)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return [load_file(folder / f"gradients-{rank}-of-{world}.safetensors") for rank in range(world)]


@pytest.mark.parametrize("chunk_tokens", [None, 600])
def test_two_processes_train_the_model_of_one(made, tmp_path, chunk_tokens):
    """First-step gradients to 1e-6, twenty losses to 1e-4, of every loss at once; dropout is each process's own."""
    block = node(made[1], losses=EVERY_LOSS, schedule__max_steps=20, schedule__batch_size=24)
    block["development"] |= {"every": 10, "model": "mrr"}
    inputs = {name: str(path) for name, path in asdict(inputs_of(made)).items()}
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps(
            {
                "folder": str(tmp_path),
                "settings": block,
                "inputs": inputs,
                "chunk_tokens": chunk_tokens,
                "checkpoint_minutes": 0,
            }
        )
    )
    (alone,), both = (together(job, tmp_path, world) for world in (1, 2))
    assert len(alone) > 20
    for gradients in both:
        assert gradients.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(gradients[name], gradient, atol=1e-6, rtol=1e-5, msg=name)
    logs = [pq.read_table(tmp_path / f"node-of-{world}/training_log.parquet") for world in (1, 2)]
    assert len(logs[0]) == 20
    assert logs[1]["loss"].to_pylist() == pytest.approx(logs[0]["loss"].to_pylist(), rel=1e-4)
    assert logs[1]["tokens"].equals(logs[0]["tokens"])
    manifests = [json.loads((tmp_path / f"node-of-{world}/manifest.json").read_text()) for world in (1, 2)]
    assert [manifest["processes"] for manifest in manifests] == [1, 2]
    assert manifests[0]["plan"] == manifests[1]["plan"]


def test_a_checkpoint_of_other_processes_is_refused(made, tmp_path, interrupted):
    state = next((interrupted / "stopped/checkpoints").glob("step-*")) / "state.json"
    content = json.loads(state.read_text())
    content["made_by"]["processes"] = 4
    state.write_text(json.dumps(content))
    with pytest.raises(BioHiCLError, match="was made with processes 4, now it is 1"):
        from biohicl.training.train import train

        torch.set_num_threads(2)
        train(
            inputs_of(made),
            block_of(made),
            tmp_path / "other",
            interrupted / "stopped/checkpoints",
            Options(device="cpu"),
        )


def test_processes_that_share_one_gpu_are_refused(monkeypatch):
    from biohicl.training.ranks import Ranks

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setitem(os.environ, name, value)
    with pytest.raises(BioHiCLError, match="2 processes and 1 GPUs"):
        Ranks.start("auto")
