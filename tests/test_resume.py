"""A training that is killed, interrupted, or run by several processes ends as if nothing had happened."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from biohicl.configuration import node_settings
from biohicl.errors import BioHiCLError
from biohicl.training.checkpoints import Checkpoint, Checkpoints
from biohicl.training.interruption import Interruption
from biohicl.training.ranks import Ranks
from biohicl.training.train import Options, Training
from conftest import ROOT, clean_environment
from trainings import BACKBONE, EVERY_LOSS, command, inputs_of, node, training

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
        try:
            logged = log.read_text()
        except FileNotFoundError:
            # Not there yet, or removed by a training that begins anew.
            logged = ""
        if logged.count('"kind": "step"') >= wanted:
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


@pytest.mark.long(60)
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


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long(30))],
)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_is_one(made, tmp_path, number):
    """A scheduler sends it to every process, and torchrun hands on its own."""
    process = started(made, tmp_path, "stopped")
    wait_for_steps(process, tmp_path / "stopped/checkpoints/log.jsonl", 4)
    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.02)
    said = ended(process, 128 + number)
    assert said.count("stopping after this step") == 1
    assert "the same command goes on from" in said
    assert list((tmp_path / "stopped/checkpoints").glob("step-*"))


def test_a_second_signal_later_stops_at_once(monkeypatch):
    heard = Interruption()
    heard._heard(signal.SIGINT, None)
    heard._heard(signal.SIGINT, None)
    monkeypatch.setattr("biohicl.training.interruption.SAME", 0.0)
    with pytest.raises(KeyboardInterrupt):
        heard._heard(signal.SIGINT, None)


def test_batches_that_taught_nothing_are_counted_across_an_interruption(made, tmp_path):
    """Two before it and one after it are three in a row."""
    block = node(made[1], schedule__batch_size=2, schedule__max_steps=4)
    one = training(made, block, tmp_path)
    one.log = [{"step": step} for step in (1, 2)]
    one.checkpoints.folder.mkdir(parents=True)
    one.checkpoints.log.write_text("".join(json.dumps({"kind": "step", "step": step}) + "\n" for step in (1, 2)))
    one.idle = 2
    one._save(2)
    again = training(made, block, tmp_path)
    with pytest.raises(BioHiCLError, match="there is nothing to learn: 3 batches in a row"):
        again.run()
    rows = [json.loads(line) for line in one.checkpoints.log.read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2]


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
    assert "Go on with 2 (--threads; in the workflow training.threads" in said
    assert sorted(path.name for path in (interrupted / "stopped/checkpoints").glob("[!.]*")) == before
    other = block_of(made, schedule__learning_rate=1e-3, schedule__max_steps=3)
    said = ended(started(made, interrupted, "stopped", block=other))
    differing = re.search("is of other (.*); it is set aside in previous/", said)[1].split(", ")
    assert sorted(differing) == ["plan", "settings.schedule.learning_rate", "settings.schedule.max_steps"]
    assert list((interrupted / "stopped/checkpoints/previous").glob("step-*/weights.safetensors"))
    assert len(pq.read_table(interrupted / "stopped/node/training_log.parquet")) == 3


def test_a_damaged_log_is_an_error_that_says_what_to_do(made, interrupted):
    log = interrupted / "stopped/checkpoints/log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"step": 2,' not in line))
    assert "lacks steps before the checkpoint" in ended(started(made, interrupted, "stopped"), 2)


STATE = {"made_from": {}, "made_by": {}, "how": {}, "changed": [], "measures": []}


def saved(folder, *steps):
    checkpoints, tensors = Checkpoints(folder), {"a": torch.arange(3)}
    for step in steps:
        checkpoints.save(Checkpoint(step, tensors, tensors, tensors, STATE | {"step": step}))
    return checkpoints


def test_a_half_written_checkpoint_is_none(tmp_path):
    """What a killed process leaves: a hidden folder, and the checkpoint before it. What a user adds is no checkpoint."""
    checkpoints = saved(tmp_path, 4, 9)
    (tmp_path / ".step-00000012.1-aa.tmp").mkdir()
    (tmp_path / ".step-00000012.1-aa.tmp/weights.safetensors").write_bytes(b"half")
    (tmp_path / "step-mine").mkdir()
    with checkpoints.alone():
        assert checkpoints.last().step == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-mine"]


@pytest.mark.parametrize(
    "file", ["weights.safetensors", "optimizer.safetensors", "generators.safetensors", "state.json"]
)
@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path, file, damage):
    checkpoints = saved(tmp_path, 9)
    path = tmp_path / "step-00000009" / file
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(
        BioHiCLError, match=r"this checkpoint cannot be read \(.*\); remove .* to train from the beginning"
    ) as stop:
        checkpoints.last()
    assert "\n" not in str(stop.value)


def test_lost_best_weights_are_found_out_at_the_start(tmp_path):
    with pytest.raises(BioHiCLError, match="the best weights so far cannot be read"):
        Checkpoints(tmp_path).best(5)


def test_two_trainings_do_not_share_a_folder(tmp_path):
    with Checkpoints(tmp_path).alone(), pytest.raises(BioHiCLError, match="another training is at work there"):
        Checkpoints(tmp_path).alone().__enter__()
    with Checkpoints(tmp_path).alone():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(tmp_path):
    """RLIMIT_FSIZE stands in for the disk."""
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_resume import saved\n"
        "from biohicl.training.checkpoints import Checkpoint\n"
        "from biohicl.errors import BioHiCLError\n"
        "checkpoints = saved(Path(sys.argv[1]), 4)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "large = {'a': torch.zeros(100_000)}\n"
        "try:\n"
        "    checkpoints.save(Checkpoint(9, large, large, large, {'step': 9}))\n"
        "except BioHiCLError as error:\n"
        "    print('said:', error)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "c"), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "said: " in done.stdout, done.stderr
    assert "a checkpoint cannot be written there" in done.stdout
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["step-00000004"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"trainable__method": "full", "trainable__dropout": 0.0}, marks=pytest.mark.long(25)),
        pytest.param({"patience": 2}, marks=pytest.mark.long(25)),
    ],
)
def test_other_kinds_of_training_resume_to_the_same_bits(made, tmp_path, changes):
    """All weights instead of adapters; and a training that ends early, its patience restored."""
    block = block_of(made, schedule__max_steps=12, **{key: value for key, value in changes.items() if "__" in key})
    block["development"] |= {"every": 2, "patience": changes.get("patience"), "min_mrr": None}
    ended(started(made, tmp_path, "whole", block=block))
    process = started(made, tmp_path, "killed", "--checkpoint-minutes", "0", block=block)
    wait_for_steps(process, tmp_path / "killed/checkpoints/log.jsonl", 3)
    process.kill()
    process.communicate(timeout=60)
    ended(started(made, tmp_path, "killed", block=block))
    for name in FILES[:4]:
        assert (tmp_path / "killed/node" / name).read_bytes() == (tmp_path / "whole/node" / name).read_bytes(), name


def test_compiling_does_not_move_the_generator(made, tmp_path):
    """Its trial run draws dropout; a resumed training has to go on with the numbers of its checkpoint."""
    one = Training(
        inputs_of(made),
        block_of(made),
        "node",
        Checkpoints(tmp_path),
        Options(device="cpu", compiled=True),
        Ranks(0, 1),
    )
    tried = []
    one.model.compile = lambda sample: tried.append(torch.rand(7))
    before = torch.get_rng_state()
    one._compiled()
    assert tried
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.long(22)
def test_what_changed_on_the_way_is_said_and_noted(made, interrupted):
    said = ended(started(made, interrupted, "stopped", "--chunk-tokens", "300"))
    assert "note: chunk_tokens None until step" in said
    (changed,) = json.loads((interrupted / "stopped/node/manifest.json").read_text())["changed"]
    assert changed.endswith(", then 300")


def test_another_pooling_is_another_training(made, tmp_path):
    """The weights of the start are the same, and how they are read is not."""
    from biohicl.encoder.folder import read_settings, write_settings

    start = shutil.copytree(made[0] / BACKBONE, tmp_path / "start")
    before = inputs_of(made, start=start).hashes()
    settings = read_settings(start)
    write_settings(replace(settings, pooling="cls"), start, 128)
    after = inputs_of(made, start=start).hashes()
    assert {name for name in before if before[name] != after[name]} == {"start_settings"}


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


@pytest.mark.parametrize("chunk_tokens", [pytest.param(None, marks=pytest.mark.long(30)), 600])
@pytest.mark.long(40)
def test_two_processes_train_the_model_of_one(made, tmp_path, chunk_tokens):
    """First-step gradients to 1e-6, twenty losses to 1e-4, of every loss at once; dropout is each process's own."""
    block = node(made[1], losses=EVERY_LOSS, schedule__max_steps=20, schedule__batch_size=24)
    block["development"] |= {"every": 10, "model": "mrr"}
    inputs = {name: str(path) for name, path in asdict(inputs_of(made)).items() if path}
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


def test_torchrun_takes_the_launchers_line(made):
    """What config.yaml's training.gpus makes of the rule's line: torchrun must leave the options of biohicl alone."""
    from torch.distributed.run import get_args_parser

    text = (ROOT / "rules/common.smk").read_text()
    functions = {}
    exec("def training_launcher" + text.split("def training_launcher")[1].split("\n\n\n")[0], functions)
    taken, line = functions["training_launcher"](2).split(" torchrun ")
    assert taken == "python -m biohicl on-gpus 2"
    words = line.split()
    line = [*words, "biohicl", "--threads", "1", "train", "--start", "x", "--tokens", "y", "--output", "z"]
    parsed = get_args_parser().parse_args(line)
    assert (parsed.module, parsed.training_script, parsed.nproc_per_node) == (True, "biohicl", "2")
    assert parsed.training_script_args == line[len(words) + 1 :]
    assert functions["training_launcher"](1) == "python -m"


@pytest.mark.long(15)
def test_a_collapse_ends_all_processes_with_its_line(made, tmp_path):
    """Only the first one measures; the others must neither hang nor speak of something else."""
    block = node(made[1], schedule__max_steps=20, schedule__batch_size=24, schedule__learning_rate=0.5)
    block["development"] |= {"every": 2, "max_mean_similarity": 0.0, "min_mrr": 1.0}
    block["trainable"] = {"method": "full"}
    inputs = {name: str(path) for name, path in asdict(inputs_of(made)).items() if path is not None}
    job = {"folder": str(tmp_path), "settings": block, "inputs": inputs, "chunk_tokens": None, "checkpoint_minutes": 10}
    (tmp_path / "job.json").write_text(json.dumps(job))
    words = [sys.executable, str(Path(__file__).with_name("rank_of_two.py")), str(tmp_path / "job.json")]
    environment = clean_environment() | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*words, str(rank), "2"], stderr=subprocess.PIPE, text=True, env=environment)
        for rank in (0, 1)
    ]
    try:
        for process in processes:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 1
            assert "BioHiCLError: the training" in said.strip().splitlines()[-1], said
    finally:
        for process in processes:
            process.kill()
            process.wait()


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
            node_settings(block_of(made)),
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
