"""Which PubMed files a run has, without asking a server: as listed before, as they lie in a folder, or as assumed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from biohicl.configuration import file_numbers
from biohicl.errors import BioHiCLError
from biohicl.estimate.rates import Rates
from biohicl.storage import read_json

RECORD = Path("resources/pubmed/release.json")
MB = 1e6
# Of a listing by a web server: 19M, 2.1G.
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)", re.ASCII)
_FILE = re.compile(r"pubmed(\d\d)n(\d{4,5})\.xml\.gz", re.ASCII)
KEYS = {"baseline": "baseline", "updatefiles": "updates"}


@dataclass(frozen=True)
class Files:
    """How many files, of how many bytes, with how many records; ``current``: citations that are left of these.

    ``source``: where that is from, for people.
    """

    baseline: int
    updates: int
    bytes: float
    records: float
    current: float
    source: str

    @property
    def count(self) -> int:
        return self.baseline + self.updates


@dataclass(frozen=True)
class _Listed:
    kind: str
    year: int
    number: int
    bytes: float | None


def pubmed_files(config: Mapping[str, Any], folder: Path, rates: Rates) -> Files:
    """What pubmed.baseline and pubmed.updates take of what is there: see the module."""
    mirrors = config["pubmed"]["mirrors"]
    answered, listed = _recorded(folder / RECORD) if (folder / RECORD).is_file() else (None, [])
    # A listing of another server, as of the sample's after `make demo`, is asked again by the run.
    if answered in [_address(mirror, folder) for mirror in mirrors]:
        source = f"{RECORD}"
    elif found := _in_folders(mirrors, folder):
        listed, source = found
    else:
        first = int(rates["baseline_files"])
        last = first + int(rates["update_files"])
        listed = [_Listed("baseline", 0, number, None) for number in range(1, first + 1)]
        listed += [_Listed("updatefiles", 0, number, None) for number in range(first + 1, last + 1)]
        source = f"{RECORD} lists another server's files" if answered else f"no {RECORD} yet"
        source += f", so {first:,} baseline and {last - first:,} update files are assumed"
    kept = {kind: _wanted(listed, kind, config["pubmed"][key]) for kind, key in KEYS.items()}
    known = [file.bytes for files in kept.values() for file in files if file.bytes is not None]
    size = sum(known)
    for kind, files in kept.items():
        if missing := sum(file.bytes is None for file in files):
            size += missing * rates["baseline_file" if kind == "baseline" else "update_file"] * MB
    count = sum(map(len, kept.values()))
    source += f"; {len(known):,} of {count:,} sizes are known, the others are assumed" if len(known) < count else ""
    baseline = len(kept["baseline"]) * rates["baseline_records"] if kept["baseline"] else 0
    updated = len(kept["updatefiles"]) * rates["update_records"] if kept["updatefiles"] else 0
    # Updates mostly revise; what they bring anew is within what the baseline's number is rounded by.
    current = baseline or updated
    return Files(len(kept["baseline"]), len(kept["updatefiles"]), size, baseline + updated, current, source)


def _recorded(record: Path) -> tuple[str, list[_Listed]]:
    """The address that answered, and its files."""
    content = read_json(record)
    try:
        return content["mirror"], [
            _Listed(file["kind"], int(file["year"]), int(file["number"]), _size_in(file.get("listed")))
            for file in content["files"]
        ]
    except (KeyError, TypeError, ValueError):
        raise BioHiCLError(f"{record}: lists no files; it has to be the record that list-pubmed made") from None


def _address(mirror: str, folder: Path) -> str:
    """A mirror as the record names it: a folder by its file:// address."""
    return mirror.rstrip("/") if "://" in mirror else (folder / Path(mirror).expanduser()).resolve().as_uri()


def _size_in(listing: Any) -> float | None:
    """Bytes, of what the listing said beside the name: its last word, behind a time."""
    words = str(listing or "").split()
    found = _SIZE.fullmatch(words[-1]) if len(words) > 1 else None
    return float(found[1]) * _UNITS[found[2]] if found else None


def _in_folders(mirrors: Iterable[str], folder: Path) -> tuple[list[_Listed], str] | None:
    """The files of the first mirror that is a folder here: of the newest baseline's year, and later updates."""
    for mirror in mirrors:
        parts = urlsplit(mirror)
        if parts.scheme not in ("", "file"):
            continue
        place = folder / (unquote(parts.path) if parts.scheme else mirror)
        listed = [
            _Listed(kind, int(found[1]), int(found[2]), path.stat().st_size)
            for kind in KEYS
            for path in sorted((place / kind).glob("*.xml.gz"))
            if (found := _FILE.fullmatch(path.name))
        ]
        if listed:
            year = max((file.year for file in listed if file.kind == "baseline"), default=0)
            kept = [file for file in listed if file.year == year or (file.kind != "baseline" and file.year > year)]
            return kept, f"the files in {mirror}"
    return None


def _wanted(listed: Iterable[_Listed], kind: str, spec: Any) -> list[_Listed]:
    """Those of a kind that the numbers name; one that is named alone counts, listed or not."""
    of_kind = [file for file in listed if file.kind == kind]
    ranges = file_numbers(spec)
    if ranges is None:
        return of_kind
    kept = {file.number: file for file in of_kind if any(file.number in span for span in ranges)}
    for span in ranges:
        if len(span) == 1:
            kept.setdefault(span[0], _Listed(kind, 0, span[0], None))
    return list(kept.values())
