"""Files that are whole or absent, and what is left of them where their writer is killed."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from biohicl.storage import locked, whole_directory, whole_files, write_json
from conftest import ROOT

# Writes half of a file or folder, says so, and waits.
WRITES = """
import sys
from pathlib import Path
from biohicl.storage import whole_directory, whole_files
kind, target = sys.argv[1:]
with whole_files(target) if kind == "file" else whole_directory(target) as given:
    place = given[0] if kind == "file" else given / "inner.txt"
    place.write_text("half")
    print("writes", flush=True)
    sys.stdin.read()
    place.write_text("whole")
"""


def begin(kind, target):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES, kind, target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert writer.stdout.readline() == b"writes\n"
    return writer


def write(kind, target):
    if kind == "file":
        target.parent.mkdir(exist_ok=True)
        write_json("mine", target)
    else:
        with whole_directory(target) as folder:
            (folder / "inner.txt").write_text("mine")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path, kind):
    target = tmp_path / "out/a[1].b"
    killed, alive = begin(kind, target), begin(kind, target)
    killed.kill()
    killed.communicate()
    # What is another's, or none of ours.
    (tmp_path / "out/.other.1-2.tmp").mkdir()
    (tmp_path / "out/.a[1].b.note").touch()
    assert len(names(tmp_path / "out")) == 4
    write(kind, target)
    assert names(tmp_path / "out")[1:] == [".a[1].b.note", ".other.1-2.tmp", "a[1].b"]
    # One that goes on writing keeps its own, and its result is the later one.
    alive.communicate()
    assert alive.returncode == 0
    assert names(tmp_path / "out") == [".a[1].b.note", ".other.1-2.tmp", "a[1].b"]
    assert (target if kind == "file" else target / "inner.txt").read_text() == "whole"


def test_a_folder_that_is_taken_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another process may take a new one for what was left: in the moment before it has its lock."""
    lock, taken = fcntl.flock, []

    def late(opened, operation):
        if len(taken) < 2:
            taken.append(Path(f"/proc/self/fd/{opened}").readlink().parent)
            shutil.rmtree(taken[-1])
        lock(opened, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_json("content", tmp_path / "a.json")
    assert len(set(taken)) == 2 and names(tmp_path) == ["a.json"]


def test_a_lock_that_its_holder_removed_is_none(tmp_path, monkeypatch):
    """Of three that want it: the second opens the file, the first removes it, and the third makes another."""
    flock, seen = fcntl.flock, []

    def after_it_was_removed(opened, operation):
        if not seen:
            seen.append("second")
            (tmp_path / "lock").unlink()
            with locked(tmp_path / "lock"), pytest.raises(BlockingIOError):
                seen.append("third")
                flock(opened, operation)
                # As the second goes on: with a file that no longer has the name.
                with locked(tmp_path / "lock"):
                    pass
        else:
            flock(opened, operation)

    monkeypatch.setattr(fcntl, "flock", after_it_was_removed)
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()
        with pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
            pass
    assert seen == ["second", "third"] and names(tmp_path) == []


def test_without_locks_it_works_and_takes_nothing_away(tmp_path, monkeypatch):
    def none(opened, operation):
        raise OSError(95, "Operation not supported")

    (tmp_path / ".a.json.1-2.tmp").mkdir()
    monkeypatch.setattr(fcntl, "flock", none)
    write_json("content", tmp_path / "a.json")
    assert names(tmp_path) == [".a.json.1-2.tmp", "a.json"]


def test_a_failure_leaves_what_was_there(tmp_path):
    targets = [tmp_path / "a", tmp_path / "b"]
    for target in targets:
        target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_files(*targets) as temporaries:
        temporaries[0].write_text("new")
        1 / 0  # noqa: B018
    # One that was not written is a failure of all.
    with pytest.raises(FileNotFoundError), whole_files(*targets) as temporaries:
        temporaries[0].write_text("new")
    assert [target.read_text() for target in targets] == ["old", "old"]
    assert names(tmp_path) == ["a", "b"]
