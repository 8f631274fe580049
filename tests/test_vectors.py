"""Vectors on disk: the same as encoding at once, after a kill too, and nothing is encoded twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import ClassVar

import numpy as np
import pytest

from biohicl.encoder import vectors
from biohicl.encoder.embed import Encoder
from biohicl.encoder.fetching import UNAVAILABLE
from biohicl.encoder.vectors import Vectors, fingerprint, write_vectors
from biohicl.errors import BioHiCLError
from conftest import clean_environment

TITLES = [f"Title {n}" for n in range(50)]
DOCUMENTS = [(title, "words " * (n % 13)) for n, title in enumerate(TITLES)]


@pytest.fixture
def backbone(sample, tmp_path):
    return shutil.copytree(sample / "backbone", tmp_path / "backbone")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(vectors, "TEXTS_OF_A_SHARD", 8)


def blocks_of(texts, size=8):
    return lambda: (texts[start : start + size] for start in range(0, len(texts), size))


class Counted(Encoder):
    """Which texts were encoded."""

    tokenized: ClassVar[list] = []

    def embed_tokens(self, tokens, *words, **options):
        Counted.tokenized.append(len(tokens))
        return super().embed_tokens(tokens, *words, **options)


@pytest.fixture
def counted(monkeypatch):
    Counted.tokenized = []
    monkeypatch.setattr(vectors, "Encoder", Counted)
    return Counted.tokenized


def test_shards_give_what_encoding_at_once_gives(backbone, tmp_path):
    found = write_vectors(backbone, "documents", blocks_of(DOCUMENTS), tmp_path / "x.npy", device="cpu")
    np.testing.assert_allclose(found.array, Encoder(backbone, "cpu").encode_documents(DOCUMENTS), atol=1e-6)
    record = json.loads((tmp_path / "x.json").read_text())
    assert (record["rows"], record["dimension"], record["similarity"]) == (50, 128, "cosine")
    assert record["encoded"]["texts"] == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone", "x.json", "x.npy"]


def test_the_same_texts_are_not_encoded_again(backbone, tmp_path, counted):
    make = lambda texts: write_vectors(backbone, "queries", blocks_of(texts), tmp_path / "x.npy", device="cpu")  # noqa: E731
    make(TITLES)
    assert sum(counted) == 50
    written = (tmp_path / "x.npy").stat().st_mtime_ns
    make(TITLES)
    assert sum(counted) == 50
    assert (tmp_path / "x.npy").stat().st_mtime_ns == written
    make([*TITLES[:49], "another"])
    assert sum(counted) == 100


def test_vectors_of_the_same_model_and_texts_are_copied(backbone, tmp_path, counted):
    """A chosen model is one of its candidates; another model's, another text's and torn vectors are not taken."""
    other, output, chosen = tmp_path / "other.npy", tmp_path / "x.npy", tmp_path / "chosen"
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), other, device="cpu")
    shutil.copytree(backbone, chosen)
    (chosen / "choice.json").write_text("{}")
    counted.clear()
    make = lambda texts, *others: write_vectors(  # noqa: E731
        chosen, "documents", blocks_of(texts), output, device="cpu", others=others
    )
    made = make(DOCUMENTS, tmp_path / "not there.npy", other)
    assert not counted
    assert made.record == json.loads(other.with_suffix(".json").read_text())
    assert output.read_bytes() == other.read_bytes()
    make(DOCUMENTS[::-1], other)
    assert sum(counted) == 50
    output.unlink()
    other.write_bytes(other.read_bytes()[:-40])
    made = make(DOCUMENTS, other)
    assert sum(counted) == 100
    assert made.array.shape == (50, 128)
    (chosen / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    make(DOCUMENTS, output)
    assert sum(counted) == 150


def test_another_model_instruction_or_side_is_encoded_anew(backbone, tmp_path, counted):
    output = tmp_path / "x.npy"
    write_vectors(backbone, "queries", blocks_of(TITLES), output, device="cpu")
    write_vectors(backbone, "sentences", blocks_of(TITLES), output, device="cpu")
    assert sum(counted) == 100
    documents, before = tmp_path / "documents.npy", fingerprint(backbone)
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), documents, device="cpu")
    assert sum(counted) == 150
    settings = json.loads((backbone / "config_sentence_transformers.json").read_text())
    settings["prompts"]["query"] = "Find: "
    (backbone / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert fingerprint(backbone) == before
    write_vectors(backbone, "queries", blocks_of(TITLES), output, device="cpu")
    assert sum(counted) == 200
    # Of documents nothing has changed, and a manifest tells of training alone.
    (backbone / "manifest.json").write_text("{}")
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), documents, device="cpu")
    write_vectors(backbone, "queries", blocks_of(TITLES), output, device="cpu")
    assert sum(counted) == 200
    shorter = json.loads((backbone / "sentence_bert_config.json").read_text()) | {"max_seq_length": 9}
    (backbone / "sentence_bert_config.json").write_text(json.dumps(shorter))
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), documents, device="cpu")
    assert sum(counted) == 250


def test_another_precision_is_encoded_anew(backbone, tmp_path, counted):
    output = tmp_path / "x.npy"
    make = lambda precision: write_vectors(  # noqa: E731
        backbone, "documents", blocks_of(DOCUMENTS), output, device="cpu", precision=precision
    )
    exact = make(None).array.copy()
    # What a CPU computes in unasked.
    assert make("float32").record["dtype"] == "float32"
    assert sum(counted) == 50
    found = make("bfloat16")
    assert sum(counted) == 100
    assert found.record["dtype"] == "bfloat16"
    assert found.array.dtype == np.float32
    assert 1e-6 < np.abs(found.array - exact).max() < 3e-2, "another precision, and not another model"
    # Weights of 16 bits compute as they are, whatever is asked.
    own = {"dtype": "bfloat16", "document_form": "joined", "append_eos": False}
    (backbone / "biohicl_encoder.json").write_text(json.dumps(own))
    as_they_are = make(None).array.copy()
    assert make("float32").record["dtype"] == "bfloat16"
    assert sum(counted) == 150
    np.testing.assert_array_equal(
        Encoder(backbone, "cpu", "float32").encode_documents(DOCUMENTS[:8], batch_size=8), as_they_are[:8]
    )


def test_killed_between_vectors_and_record_nothing_old_is_believed(backbone, tmp_path, monkeypatch):
    """Vectors of B under their name, and the kill before B's record: asked for A again, A is made."""
    output = tmp_path / "x.npy"
    first = write_vectors(backbone, "queries", blocks_of(TITLES), output, device="cpu").array.copy()
    replaced = os.replace

    def killed(source, target):
        replaced(source, target)
        if str(target).endswith("x.npy"):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_vectors(backbone, "queries", blocks_of(TITLES[::-1]), output, device="cpu")
    monkeypatch.setattr(os, "replace", replaced)
    assert not np.array_equal(np.load(output), first)
    np.testing.assert_array_equal(
        write_vectors(backbone, "queries", blocks_of(TITLES), output, device="cpu").array, first
    )


def test_what_lies_there_from_a_run_that_ended_is_taken_up(backbone, tmp_path, counted, monkeypatch, capsys):
    output, whole = tmp_path / "x.npy", tmp_path / "whole.npy"
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), whole, device="cpu")
    saved = vectors._save
    monkeypatch.setattr(vectors, "_save", lambda *words: saved(*words) if len(counted) < 7 + 4 else exit_now())
    with pytest.raises(KeyboardInterrupt):
        write_vectors(backbone, "documents", blocks_of(DOCUMENTS), output, device="cpu")
    assert not output.exists()
    (torn, *_) = sorted((tmp_path / ".x.shards").iterdir())
    torn.write_bytes(torn.read_bytes()[:-40])
    monkeypatch.setattr(vectors, "_save", saved)
    counted.clear()
    write_vectors(backbone, "documents", blocks_of(DOCUMENTS), output, device="cpu")
    # Seven shards; three were whole, one of them is torn.
    assert "2 of 7 shards are there" in capsys.readouterr().err
    assert len(counted) == 5
    np.testing.assert_array_equal(np.load(output), np.load(whole))


def exit_now():
    raise KeyboardInterrupt


@pytest.mark.long(16)
def test_killed_at_any_moment_it_goes_on(sample, tmp_path):
    table = tmp_path / "documents.parquet"
    import polars as pl

    rows = {"title": [f"Title {n}" for n in range(4200)], "text": ["some words"] * 4200}
    pl.DataFrame(rows).write_parquet(table)
    command = [sys.executable, "-m", "biohicl", "--threads", "1", "embed", str(sample / "backbone"), str(table)]
    command += ["--as", "documents", "--device", "cpu", "--output"]

    def start(output):
        return subprocess.Popen([*command, str(output)], stderr=subprocess.PIPE, text=True, env=clean_environment())

    running = start(tmp_path / "x.npy")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / ".x.shards").glob("*.npy")):
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=30)
    assert not (tmp_path / "x.npy").exists()
    again = start(tmp_path / "x.npy")
    told = again.communicate(timeout=200)[1]
    assert again.returncode == 0, told
    assert "going on; " in told
    at_once = start(tmp_path / "y.npy")
    assert at_once.communicate(timeout=200) and at_once.returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy"))
    assert not (tmp_path / ".x.shards").exists()


def test_vectors_that_are_no_numbers_name_the_text(backbone, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(backbone / "model.safetensors")
    name = next(name for name in weights if "word_embeddings" in name)
    weights[name][:] = np.nan
    save_file(weights, backbone / "model.safetensors", metadata={"format": "pt"})
    ids = [f"S{n:02d}" for n in range(50)]
    with pytest.raises(BioHiCLError, match=r"NaN or infinite.*document 'S\d\d'"):
        write_vectors(backbone, "documents", blocks_of(DOCUMENTS), tmp_path / "x.npy", device="cpu", ids=ids)
    assert not (tmp_path / "x.npy").exists()


def test_no_texts_and_no_encoder_give_no_rows(backbone, tmp_path):
    assert write_vectors(backbone, "queries", blocks_of([]), tmp_path / "x.npy", device="cpu").array.shape == (0, 0)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / UNAVAILABLE).write_text('{"reason": "gone"}')
    found = write_vectors(tmp_path / "lost", "queries", blocks_of(TITLES), tmp_path / "y.npy")
    assert (found.array.shape, found.record["unavailable"]) == ((0, 0), "gone")


def test_files_that_are_no_vectors(tmp_path):
    with pytest.raises(BioHiCLError, match="x.npy: no such vectors"):
        Vectors(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"torn")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BioHiCLError, match="x.npy: not a whole file of vectors"):
        Vectors(tmp_path / "x.npy").array  # noqa: B018
