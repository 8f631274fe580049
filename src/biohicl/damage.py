"""Files of the workflow that were cut off: by a power cut, by a copy that was stopped, by a full disk.

Snakemake looks at the times of files alone, and what was made of one stays as it is. So each run looks at the ends of
what is there first, and names what is damaged before anything is made of it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from biohicl.errors import BioHiCLError
from biohicl.storage import mapped_array, read_json, safetensors_header

# What a whole file of a kind begins and ends with.
ENDS = {".parquet": (b"PAR1", b"PAR1"), ".arrow": (b"ARROW1\0\0", b"ARROW1")}
RELEASES = "training/releases"
# Folders of folders that are one result each: the job that makes one makes all of it.
WHOLE_FOLDERS = ("models", "onnx", RELEASES)
# A training looks at its checkpoints itself.
NOT_LOOKED_INTO = "training/checkpoints"
# Of downloads, beside which somebody's own files may lie. A backbone is one result too, of which weights alone are
# looked at: what else a stranger calls JSON may be none.
BACKBONES = "backbones"
DOWNLOADED = ("pubmed", "mesh", "benchmarks", BACKBONES)
NAMED = 10


def is_cut_off(path: Path) -> bool:
    """Whether a file is no whole one of the kind that its name says: a table, arrays or JSON. Of other kinds: no.

    Reads its ends or its header: what is damaged in between is not seen. Raises OSError where it cannot be read.
    """
    # Gone since it was listed; or a pipe, which would hang.
    if not path.is_file():
        return False
    try:
        if path.suffix in ENDS:
            return not _has_ends(path, *ENDS[path.suffix])
        if path.suffix == ".safetensors":
            with open(path, "rb") as stream:
                safetensors_header(stream)
        elif path.suffix == ".npy":
            mapped_array(path)
        elif path.suffix == ".json":
            read_json(path)
    except FileNotFoundError:
        return False
    except (BioHiCLError, ValueError):
        return True
    return False


def _has_ends(path: Path, first: bytes, last: bytes) -> bool:
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size < len(first) + len(last):
            return False
        begins = stream.read(len(first)) == first
        stream.seek(-len(last), os.SEEK_END)
        return begins and stream.read() == last


def refuse_cut_off(results: Path, downloads: Path) -> None:
    """Raises BioHiCLError, with what to do, where a file below these folders is cut off, or cannot be read."""
    found: list[Path] = []
    for folder in (results, *(downloads / name for name in DOWNLOADED)):
        for path in _finished(folder, results / NOT_LOOKED_INTO):
            try:
                is_ours = not path.is_relative_to(downloads / BACKBONES) or path.suffix == ".safetensors"
                if is_ours and is_cut_off(path):
                    found.append(path)
            except OSError as error:
                raise BioHiCLError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not found:
        return
    found.sort()
    more = f" (and {len(found) - 1} others)" if len(found) > 1 else ""
    units = list(dict.fromkeys(_made_as(path, results, downloads) for path in found))
    listed = " ".join(shlex.quote(str(path)) for path in units[:NAMED]) + (" ..." if len(units) > NAMED else "")
    words = (
        f"{found[0]}{more}: cut off, or no file of its kind. Remove it, and the same command makes it anew: "
        f"rm -r {listed}"
    )
    if any(path.is_relative_to(results / RELEASES) for path in found):
        words += (
            f"\nWhat lies in {results / RELEASES} is frozen: without it the corpus as it is now is frozen under that "
            "name, and all models are trained anew. A copy of the damaged file, if you have one, avoids that"
        )
    raise BioHiCLError(words)


def _finished(top: Path, left_out: Path) -> Iterator[Path]:
    """The files below a folder, but not below another, those of folders that lie elsewhere and are linked to included.

    Hidden files and folders are not finished: somebody writes them, or did when the machine stopped.
    """
    entered = set()
    for place, folders, files in os.walk(top, followlinks=True):
        is_new = (real := os.path.realpath(place)) not in entered
        entered.add(real)
        inner = [name for name in folders if is_new and not name.startswith(".")]
        folders[:] = sorted(name for name in inner if Path(place, name) != left_out)
        yield from (Path(place, name) for name in files if is_new and not name.startswith("."))


def _made_as(path: Path, results: Path, downloads: Path) -> Path:
    """What the job makes that a file is a part of."""
    for folder in (*(results / name for name in WHOLE_FOLDERS), downloads / BACKBONES):
        if path.is_relative_to(folder):
            return folder / path.relative_to(folder).parts[0]
    return path
