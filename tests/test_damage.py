"""Files that were cut off are found before anything is made of them, and nothing else is."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from biohicl.damage import is_cut_off, refuse_cut_off
from biohicl.errors import BioHiCLError
from biohicl.fetch.attempts import next_attempt, record_attempt
from biohicl.storage import whole_directory, whole_files


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pl.DataFrame({"a": range(1000)}).write_parquet(path)
    elif path.suffix == ".arrow":
        table = pa.table({"a": list(range(1000))})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".safetensors":
        save_file({"a": np.arange(1000), "none": np.zeros((0, 3))}, path)
    elif path.suffix == ".npy":
        np.save(path, np.arange(1000, dtype=np.float32).reshape(10, 100))
    else:
        path.write_text('{"a": [1, 2]}\n')
    return path


def refused(results, downloads=Path("/nowhere")):
    return refuse_cut_off(results, downloads)


KINDS = ["a.parquet", "a.arrow", "a.safetensors", "a.npy", "a.json"]


@pytest.mark.parametrize("name", KINDS)
def test_every_length_but_the_whole_one_is_cut_off(tmp_path, name):
    path = write(tmp_path / name)
    assert not is_cut_off(path)
    whole = path.read_bytes()
    lengths = {0, 1, 7, 8, 9, len(whole) // 3, len(whole) // 2, len(whole) - 9, len(whole) - 2}
    for length in lengths:
        path.write_bytes(whole[:length])
        # A line break at the end of JSON is none that matters.
        assert is_cut_off(path), length
    # As a power cut may leave it: the length is right, and the content is not there.
    path.write_bytes(bytes(len(whole)))
    assert is_cut_off(path)


def test_a_table_of_no_rows_and_an_array_of_none_are_whole(tmp_path):
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "a.parquet")
    np.save(tmp_path / "a.npy", np.zeros((0, 384), dtype=np.float32))
    refused(tmp_path)


def test_what_is_damaged_is_named_with_what_to_remove(tmp_path):
    results = tmp_path / "res ults"
    refused(results)
    for name in ("corpus/current.parquet", "models/my node/model.safetensors", "pubmed/articles/x.parquet"):
        os.truncate(write(results / name), 100)
    # Not finished, not ours to judge, or looked at by the training itself.
    for name in ("pubmed/.x.parquet.1-2.tmp", "pubmed/.hidden.parquet", "training/checkpoints/default/a.json"):
        os.truncate(write(results / name), 3)
    (results / "notes.txt").write_text("")
    with pytest.raises(BioHiCLError) as stop:
        refused(results)
    said = str(stop.value)
    assert said.startswith(f"{results}/corpus/current.parquet (and 2 others): cut off")
    listed = f"'{results}/corpus/current.parquet' '{results}/models/my node' '{results}/pubmed/articles/x.parquet'"
    assert said.endswith(f"rm -r {listed}")
    os.truncate(write(results / "training/releases/2026/citations.parquet"), 3)
    with pytest.raises(BioHiCLError, match=r"rm -r .*training/releases/2026'(?s:.*)is frozen: without it the corpus"):
        refused(results)


def test_bytes_reach_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    """Or a power cut leaves the name without them; the order of system calls is all that can be seen of it here."""
    events = []
    sync, rename = os.fsync, os.replace

    def synced(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def renamed(source, target):
        events.append(f"to {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with whole_files(tmp_path / "a", tmp_path / "b") as temporaries:
        for path in temporaries:
            path.write_text("content")
    with whole_directory(tmp_path / "folder") as folder:
        (folder / "inner").mkdir()
        for name in ("one.json", "inner/two.npy"):
            (folder / name).write_text("content")
    assert events == ["a", "b", "to a", "to b", "two.npy", "one.json", "to folder"]


ODD = {
    "deep.safetensors": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "long.safetensors": (1 << 63).to_bytes(8, "little") + b"{}",
    # What numpy's reader of headers stumbles over, each time with another error.
    "brackets.npy": b"\x93NUMPY\x01\x00" + (64).to_bytes(2, "little") + b"{'descr': '<f4', ((((".ljust(64),
    "zeros.npy": b"\x93NUMPY\x01\x00" + (64).to_bytes(2, "little") + b"{'descr'".ljust(64, b"\0"),
    "deep.json": b"[" * 200_000,
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_a_damaged_file_holds_it_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(ODD[name])
    with pytest.raises(BioHiCLError, match=rf"{name}: cut off, or no file of its kind"):
        refused(tmp_path)


def test_a_header_without_end_is_not_read(tmp_path, monkeypatch):
    """Of weights that nobody loads: those that are loaded the library refuses when they come."""
    path = write(tmp_path / "a.safetensors")
    refused(tmp_path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    monkeypatch.setattr("biohicl.storage.LARGEST_HEADER_BYTES", length - 1)
    with pytest.raises(BioHiCLError, match=r"a.safetensors: cut off"):
        refused(tmp_path)


def test_what_a_killed_job_was_writing_is_no_damage(tmp_path):
    """A folder of a model, half written; snakemake makes the one that is missing."""
    try:
        with whole_directory(tmp_path / "models/default") as folder:
            os.truncate(write(folder / "inner/model.safetensors"), 100)
            refused(tmp_path)
            # As a kill leaves it.
            folder.parent.rename(tmp_path / "models/.default.1-2.tmp")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (tmp_path / "models/.default.1-2.tmp/default/inner/model.safetensors").exists()
    refused(tmp_path)


def test_folders_on_another_disk_are_looked_into(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    damaged = write(tmp_path / "disk/articles/x.parquet")
    (results / "pubmed").symlink_to(tmp_path / "disk")
    # In a circle, to nowhere, and to itself.
    (tmp_path / "disk/back").symlink_to(results)
    (results / "lost.json").symlink_to(tmp_path / "nothing")
    (results / "self.json").symlink_to(results / "self.json")
    os.mkfifo(results / "pipe.json")
    refused(results)
    os.truncate(damaged, 100)
    with pytest.raises(BioHiCLError, match=rf"^{results}/pubmed/articles/x.parquet: cut off"):
        refused(results)


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path / "a.json")
    monkeypatch.setattr("biohicl.damage.read_json", closed)
    with pytest.raises(BioHiCLError, match=r"a.json: cannot be read \(Permission denied\)$"):
        refused(tmp_path)


def test_downloads_are_looked_at_too(tmp_path):
    """A cut-off listing was a traceback of Snakemake's. What somebody put beside them is left alone."""
    downloads = tmp_path / "resources"
    for name in ("lock.json", "mine/a.json", "benchmarks/.x.attempt.json", "backbones/b/odd.json"):
        os.truncate(write(downloads / name), 3)
    refused(tmp_path / "results", downloads)
    damaged = ["backbones/b/passage/model.safetensors", "benchmarks/x/test/qrels.parquet", "pubmed/release.json"]
    for name in damaged:
        os.truncate(write(downloads / name), 3)
    with pytest.raises(BioHiCLError, match=r"\(and 2 others\)") as stop:
        refused(tmp_path / "results", downloads)
    named = str(stop.value).partition("rm -r ")[2].split()
    assert named == [str(downloads / name) for name in ("backbones/b", *damaged[1:])]


@pytest.mark.parametrize("content", ["", '{"attempt"', "[]", "{}", '{"attempt": "many", "available": true}'])
def test_a_damaged_record_of_attempts_is_none(tmp_path, content):
    assert next_attempt(tmp_path / "x") == 0
    record_attempt(tmp_path / "x", 6, available=False)
    assert next_attempt(tmp_path / "x") == 7
    (tmp_path / ".x.attempt.json").write_text(content)
    assert next_attempt(tmp_path / "x") == 0
