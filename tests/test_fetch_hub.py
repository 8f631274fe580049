"""Encoders from a hub (a stand-in on loopback): the commit that came first is kept, and another one is not taken."""

import json
import shutil
import subprocess
import sys

import pytest

from biohicl.encoder.embed import Encoder
from biohicl.encoder.fetching import SETTINGS
from biohicl.encoder.folder import passage_folder, read_settings
from conftest import clean_environment
from hub_stand_in import Hub

ONE, TWO = "1" * 40, "2" * 40
PLACES = ("hub", "path", "revision", "passage_hub", "passage_path", "passage_revision")


@pytest.fixture
def hub(sample):
    hub = Hub()
    hub.put("sample/bert", ONE, sample / "backbone")
    yield hub
    hub.close()


@pytest.fixture
def fetch(hub, tmp_path):
    def fetch(output="out", *words, **block):
        settings = dict.fromkeys((*PLACES, *SETTINGS)) | block
        command = [
            sys.executable,
            "-m",
            "biohicl",
            "fetch-backbone",
            "--name",
            "bert",
            "--lock",
            tmp_path / "lock.json",
        ]
        command += ["--settings", json.dumps(settings), "--output", tmp_path / output, *words]
        environment = clean_environment() | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
        }
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
        )

    return fetch


def changed_weights(folder):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_first_commit_is_recorded_and_taken_from_then_on(hub, fetch, sample, tmp_path):
    done = fetch(hub="sample/bert", pooling="cls", query_instruction="Q: ")
    assert done.returncode == 0, done.stderr
    assert f"bert: sample/bert, commit {ONE}" in done.stderr
    assert (read_settings(tmp_path / "out").pooling, read_settings(tmp_path / "out").query_instruction) == (
        "cls",
        "Q: ",
    )
    held = json.loads((tmp_path / "lock.json").read_text())["encoders"]["bert"]
    assert (held["source"], held["revision"], list(held["weights"])) == ("sample/bert", ONE, ["model.safetensors"])
    assert not (tmp_path / "out/.cache").exists()

    # The hub moves on: the recorded commit is still the one that is fetched.
    hub.put("sample/bert", TWO, changed_weights(shutil.copytree(sample / "backbone", tmp_path / "new")))
    assert fetch("again", hub="sample/bert").returncode == 0
    first, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert first == again
    # A revision of one's own is another source.
    assert f"commit {TWO}" in fetch("two", hub="sample/bert", revision=TWO).stderr
    assert (tmp_path / "two/model.safetensors").read_bytes() != first


def test_other_weights_under_the_recorded_commit_are_refused(hub, fetch, sample, tmp_path):
    assert fetch(hub="sample/bert").returncode == 0
    hub.put("sample/bert", ONE, changed_weights(shutil.copytree(sample / "backbone", tmp_path / "new")))
    done = fetch("again", hub="sample/bert")
    assert done.returncode == 2
    assert (
        "sample/bert: its weights are not those recorded; if the new one is wanted, take encoders.bert out of"
        in done.stderr
    )
    assert not (tmp_path / "again").exists()
    assert fetch("again", "--optional", hub="sample/bert").returncode == 0
    assert "not those recorded" in (tmp_path / "again/unavailable.json").read_text()


def test_two_encoders_make_one_folder(hub, fetch, sample, tmp_path):
    hub.put("sample/articles", TWO, changed_weights(shutil.copytree(sample / "backbone", tmp_path / "articles")))
    done = fetch(
        hub="sample/bert", passage_hub="sample/articles", similarity="dot", document_form="pair", normalize=False
    )
    assert done.returncode == 0, done.stderr
    lock = json.loads((tmp_path / "lock.json").read_text())["encoders"]
    assert {name: entry["revision"] for name, entry in lock.items()} == {"bert": ONE, "bert/passage": TWO}
    encoder = Encoder(tmp_path / "out", "cpu")
    assert encoder.passages.folder == passage_folder(tmp_path / "out") == tmp_path / "out/passage"
    queries, documents = encoder.encode_queries(["a text"]), encoder.encode_documents([("a", "text")])
    assert queries.shape == documents.shape
    assert abs(queries - documents).max() > 1e-3


def test_no_network_is_told_in_a_line_and_leaves_out_what_is_optional(hub, fetch, tmp_path):
    hub.close()
    done = fetch(hub="sample/bert")
    assert done.returncode == 2
    assert "sample/bert: cannot be had from the hub" in done.stderr
    assert "Traceback" not in done.stderr
    assert fetch("out", "--optional", hub="sample/bert").returncode == 0
    assert "cannot be had from the hub" in (tmp_path / "out/unavailable.json").read_text()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"hub": "sample/none"}, "sample/none: no such model on the hub; check the name"),
        ({"hub": "sample/bert", "revision": "3" * 40}, "sample/bert: the hub has no such revision; check `revision`"),
        ({"hub": "sample/pickled"}, "out: has no model.safetensors; weights in other formats are not read"),
    ],
)
def test_what_the_hub_has_not_is_told_in_a_line(hub, fetch, sample, tmp_path, block, said):
    pickled = shutil.copytree(sample / "backbone", tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    hub.put("sample/pickled", ONE, pickled)
    done = fetch(**block)
    assert done.returncode == 2
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
