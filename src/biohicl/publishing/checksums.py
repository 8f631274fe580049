"""``checksums.sha256``: what every file of a model folder has to be, as ``sha256sum -c`` reads it.

Goes in: a folder. Comes out: that file in it, a line a file, and what has changed since it was written.
"""

from __future__ import annotations

import re
from pathlib import Path

from biohicl.errors import BioHiCLError
from biohicl.storage import sha256_of, whole_files

CARD, CHECKSUMS = "README.md", "checksums.sha256"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_checksums(folder: Path) -> None:
    """Writes the file anew, over all other files of the folder; hidden ones are Snakemake's, or half written.

    An error, and nothing written, for a name that is more than a line, or that would be read as another one.
    """
    names = files_of(folder)
    if odd := [name for name in names if not LINE.fullmatch(f"{'0' * 64}  {name}") or len(name.splitlines()) > 1]:
        raise BioHiCLError(f"{folder}: holds a file that no line of checksums can name: {odd[0]!r}; rename it")
    with whole_files(folder / CHECKSUMS) as (temporary,):
        temporary.write_text(checksum_text({name: sha256_of(folder / name) for name in names}), "utf-8")


def checksum_text(sums: dict[str, str]) -> str:
    """The lines for the SHA-256 of each file, by its name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def read_checksums(text: str, where: str) -> dict[str, str]:
    """The SHA-256 by name; an error that names ``where`` for a line that is none."""
    lines = [line for line in text.splitlines() if line]
    found = [LINE.fullmatch(line) for line in lines]
    for line, match in zip(lines, found, strict=True):
        if match is None:
            raise BioHiCLError(f"{where}: not a line of checksums: {line[:80]!r}")
    return {match[2]: match[1] for match in found if match}


def files_of(folder: Path) -> list[str]:
    """The names, with ``/``, of all files that have a checksum."""
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    visible = (path for path in inside if not any(part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in visible if path.as_posix() != CHECKSUMS)


def changes(folder: Path) -> list[str]:
    """What is otherwise than ``checksums.sha256`` says, in words; an error where the folder has none."""
    file = folder / CHECKSUMS
    if not file.is_file():
        raise BioHiCLError(f"{folder}: has no {CHECKSUMS}")
    wanted = read_checksums(file.read_text("utf-8"), str(file))
    here = files_of(folder)
    return [
        *(f"{name} is missing" for name in sorted(wanted.keys() - set(here))),
        *(f"{name} came later" for name in here if name not in wanted),
        *(f"{name} is another" for name in here if name in wanted and sha256_of(folder / name) != wanted[name]),
    ]
