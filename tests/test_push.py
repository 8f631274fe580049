"""A model goes to a hub (a stand-in on loopback, through the hub's own client) as it was described, or not at all."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from biohicl.encoder.embed import Encoder
from biohicl.publishing.card import describe
from biohicl.publishing.facts import Sources
from conftest import clean_environment
from encoders import letters_tokenizer, save_encoder, small_model
from hub_stand_in import Hub
from test_model_card import manifest, write

TOKEN = "hf_secret" + "x" * 20


@pytest.fixture
def hub():
    hub = Hub()
    hub.tokens[TOKEN] = {"me"}
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    place = tmp_path_factory.mktemp("described")
    folder = save_encoder(small_model("bert", layers=1), letters_tokenizer(place / "letters"), place / "one")
    write(folder, manifest("one"))
    (folder / "snapshots/3").mkdir(parents=True)
    (folder / "snapshots/3/model.safetensors").write_bytes(b"halfway")
    (folder / "training_log.parquet").write_bytes(b"PAR1")
    (folder / ".snakemake_timestamp").touch()
    describe(Sources(folder))
    return folder


@pytest.fixture
def model(described, tmp_path):
    return shutil.copytree(described, tmp_path / "one")


@pytest.fixture
def push(hub, model, tmp_path):
    def push(*words, folder=model, name="me/one", token=TOKEN, **environment):
        environment = {
            **clean_environment(),
            **{"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"},
            **{"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"},
            **({"HF_TOKEN": token} if token else {}),
            **environment,
        }  # fmt: skip
        command = [sys.executable, "-m", "biohicl", "push", folder, name, *words]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done

    return push


def visible(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if not path.name.startswith(".")}


def test_what_arrives_is_the_folder(hub, push, model, tmp_path):
    done = push()
    assert done.returncode == 0, done.stderr
    there = hub.files("me/one")
    assert done.stdout.strip() == hub.heads["me/one", "main"]
    wanted = {name: body for name, body in visible(model).items() if not name.startswith("snapshots/")}
    for name in wanted.keys() - {"checksums.sha256"}:
        assert there[name] == wanted[name], name
    assert there.keys() == wanted.keys() | {".gitattributes"}
    assert "me/one" not in hub.private
    # Large ones went by LFS, and the sums are of what is there.
    assert sum("lfs-store" in path for path in hub.sent) == 2
    lines = dict(line.split("  ")[::-1] for line in there["checksums.sha256"].decode().splitlines())
    assert lines == {
        name: hashlib.sha256(body).hexdigest()
        for name, body in there.items()
        if name not in ("checksums.sha256", ".gitattributes")
    }
    # Who fetches it gets the same vectors.
    (tmp_path / "back/1_Pooling").mkdir(parents=True)
    (tmp_path / "back/2_Normalize").mkdir()
    for name, body in there.items():
        (tmp_path / "back" / name).write_bytes(body)
    texts = ["a text", ""]
    assert (Encoder(tmp_path / "back", "cpu").encode(texts) == Encoder(model, "cpu").encode(texts)).all()


def test_a_second_push_takes_away_what_the_first_brought(hub, push, model):
    """And nothing else: neither what others put there, nor another branch."""
    assert push("--snapshots").returncode == 0
    first = hub.files("me/one")
    assert first["snapshots/3/model.safetensors"] == b"halfway"
    hub.add("me/one", "e" * 40, first | {"LICENSE": b"mine", "checksums.sha256.sig": b"x"})
    (model / "training_log.parquet").unlink()
    describe(Sources(model))
    sent = len(hub.objects)
    assert push("--revision", "second").returncode == 0
    assert hub.files("me/one") == first | {"LICENSE": b"mine", "checksums.sha256.sig": b"x"}
    second = hub.files("me/one", "second")
    assert first.keys() - second.keys() == {"training_log.parquet", "snapshots/3/model.safetensors"}
    assert second.keys() - first.keys() == {"LICENSE", "checksums.sha256.sig"}
    assert len(hub.objects) == sent, "what is there already is not sent again"
    # The same again is no commit, or one of the same.
    assert push("--revision", "second").returncode == 0
    assert hub.files("me/one", "second") == second


def test_onnx_goes_along_where_it_is_of_this_model(hub, push, model, tmp_path):
    onnx = tmp_path / "onnx"
    onnx.mkdir()
    done = push("--onnx", onnx)
    assert done.returncode == 2
    assert "has no onnx.json; make it with biohicl export-onnx" in done.stderr
    (onnx / "onnx.json").write_text(json.dumps({"made_from": {"model.safetensors": "f" * 64}}))
    done = push("--onnx", onnx)
    assert "is made from other weights than those of" in done.stderr
    assert hub.sent == []
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    (onnx / "onnx.json").write_text(json.dumps({"made_from": {"model.safetensors": digest}}))
    (onnx / "notes.txt").symlink_to("/etc/hostname")
    assert "notes.txt: is a link, and what it leads to would be published" in push("--onnx", onnx).stderr
    assert hub.sent == []
    (onnx / "notes.txt").unlink()
    (onnx / "model.onnx").write_bytes(b"graph")
    assert push("--onnx", onnx, "--private").returncode == 0
    assert hub.files("me/one")["onnx/model.onnx"] == b"graph"
    assert "  onnx/model.onnx\n" in hub.files("me/one")["checksums.sha256"].decode()
    assert hub.private == {"me/one"}


def test_what_was_not_described_is_not_sent(hub, push, model):
    card = (model / "README.md").read_text()
    # A person may write more into the card.
    (model / "README.md").write_text(card + "\nMore.\n")
    assert push().returncode == 0
    assert hub.files("me/one")["README.md"].endswith(b"\nMore.\n")
    hub.sent.clear()
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    done = push()
    assert done.returncode == 2
    assert "is not what was described: model.safetensors is another; describe it again: snakemake" in done.stderr
    (model / "README.md").unlink()
    done = push()
    assert "has no model card or no checksums.sha256; describe it: snakemake" in done.stderr
    (model / "notes.txt").symlink_to("/etc/hostname")
    assert "notes.txt: is a link, and what it leads to would be published" in push().stderr
    (model / "notes.txt").unlink()
    (model / "config.json").unlink()
    assert "is no model: it has no config.json; models are in results/models/" in push().stderr
    assert hub.sent == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token": None}, "no token for the hub: make one there that may write"),
        ({"token": "hf_wrong"}, "me/one: the hub does not accept the token: make a new one there"),
        ({"name": "others/one"}, "others/one: the token has no right to write there"),
        ({"name": "one"}, "one: not a name on a hub; write owner/name"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so nothing can be sent"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "me/one: could not be sent to http://127.0.0.1:9 ("),
    ],
)
def test_what_stands_in_the_way_is_told_in_a_line(hub, push, given, said):
    done = push(**given)
    assert done.returncode == 2
    assert said in done.stderr, done.stderr
    assert hub.commits == {}


@pytest.mark.parametrize(
    ("part", "status", "said"),
    [
        ("repos/create", 500, "me/one: the hub fails (500): try again later"),
        ("commit/main", 409, "me/one: the hub is busy with another change of it: try again"),
        ("lfs-store", 400, "me/one: the hub refuses it (400)"),
    ],
)
def test_a_hub_that_fails_has_no_half_of_a_model(hub, push, part, status, said):
    hub.fail(part, status)
    done = push()
    assert done.returncode == 2
    assert said in done.stderr, done.stderr
    assert all(files.keys() <= {".gitattributes"} for files in hub.commits.values())
    assert push().returncode == 0, "and the next try brings all"
    assert "model.safetensors" in hub.files("me/one")


def test_a_public_model_is_not_taken_for_a_private_one(hub, push, model):
    hub.add("me/one", "a" * 40, {})
    done = push("--private")
    assert done.returncode == 2
    assert "me/one: is there already, and public; make it private on the hub, or leave out --private" in done.stderr
    assert hub.files("me/one") == {}
