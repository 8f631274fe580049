"""Which files a release has: NLM's listing, filtered by config.yaml, recorded as JSON.

Goes in: mirrors, the release wanted, file numbers. Comes out: a record such as::

    {"mirror": "https://...", "year": 2026,
     "files": [{"name": "pubmed26n0001", "kind": "baseline", "year": 2026, "number": 1,
                "md5": "6f0c...", "listed": "2026-01-05 14:02 19M"}, ...]}

A release is the newest year's baseline (or the one asked for) and the update files of that year or later:
a new year's baseline replaces everything of the old year. ``md5`` tells whether a file is the same as before,
whatever mirror it comes from; ``listed`` is what the listing says of it, so that only the checksums of files that look
new there are read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from biohicl.configuration import file_numbers
from biohicl.errors import BioHiCLError
from biohicl.fetch.checksums import all_md5_beside
from biohicl.fetch.places import first_that_serves, issue_of, joined, list_directory
from biohicl.storage import read_json

Kind = Literal["baseline", "updatefiles"]
KINDS: tuple[Kind, Kind] = ("baseline", "updatefiles")
_PUBMED_FILE = re.compile(r"(pubmed(\d\d)n(\d{4,5}))\.xml\.gz", re.ASCII)
_MESH_FILE = re.compile(r"(desc(\d{4}))\.gz", re.ASCII)


def parse_name(name: str) -> tuple[int, int]:
    """(year, number) of a PubMed file's name: ``pubmed26n0001`` gives (2026, 1)."""
    match = _PUBMED_FILE.fullmatch(name + ".xml.gz")
    if not match:
        raise BioHiCLError(f"{name}: not the name of a PubMed file (pubmedYYnNNNN)")
    return 2000 + int(match[2]), int(match[3])


def pubmed_release(
    mirrors: Sequence[str],
    release: str | int,
    baseline: str | Sequence[int | str],
    updates: str | Sequence[int | str],
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of the first mirror that has what is wanted.

    ``before`` is the last record, if there is one: the checksums in it need not be read again.
    """
    wanted = {"baseline": file_numbers(baseline), "updatefiles": file_numbers(updates)}

    def ask(base: str) -> dict[str, Any]:
        record = _pubmed_release_of(base, release, wanted)
        _add_checksums(record, before or {})
        return record

    return first_that_serves(mirrors, ask)


def _add_checksums(record: dict[str, Any], before: Mapping[str, Any]) -> None:
    """The ``md5`` of each file of ``record``, from ``before`` where the same mirror lists it as it did then."""
    known = {}
    if before.get("mirror") == record["mirror"]:
        known = {(file["name"], file["listed"]): file.get("md5") for file in before["files"] if file.get("listed")}
    new = []
    for file in record["files"]:
        file["md5"] = known.get((file["name"], file["listed"]))
        if file["md5"] is None:
            new.append(file)
    if not new:
        return
    urls = [joined(record["mirror"], file["kind"], f"{file['name']}.xml.gz") for file in new]
    for file, md5 in zip(new, all_md5_beside(urls), strict=True):
        file["md5"] = md5


def _pubmed_release_of(base: str, release: str | int, wanted: dict[str, list[range] | None]) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for kind in KINDS:
        there = list_directory(joined(base, kind)) if wanted[kind] != [] else {}
        for file_name, listing in there.items():
            if match := _PUBMED_FILE.fullmatch(file_name):
                year, number = parse_name(match[1])
                listed.append({"name": match[1], "kind": kind, "year": year, "number": number, "listed": listing})
    if not listed:
        raise BioHiCLError(f"{base}: lists no PubMed files (pubmedYYnNNNN.xml.gz under baseline/ or updatefiles/)")

    baseline_years = {file["year"] for file in listed if file["kind"] == "baseline"}
    years = baseline_years or {file["year"] for file in listed}
    if release == "current":
        year = max(years)
    elif int(release) in years:
        year = int(release)
    else:
        shown = ", ".join(str(known) for known in sorted(years))
        raise BioHiCLError(f"{base}: has no release {release}; it has {shown}. Change pubmed.release in config.yaml")

    files = []
    for file in listed:
        current = file["year"] == year if file["kind"] == "baseline" else file["year"] >= year
        ranges = wanted[file["kind"]]
        if current and (ranges is None or any(file["number"] in span for span in ranges)):
            files.append(file)
    _check_all_there(base, year, wanted, files)
    if not files:
        raise BioHiCLError(f"{base}: none of the files wanted by pubmed.baseline and pubmed.updates is listed")
    files.sort(key=lambda file: (file["year"], file["number"], file["kind"]))
    return {"mirror": base, "year": year, "files": files}


def _check_all_there(
    base: str, year: int, wanted: dict[str, list[range] | None], files: Sequence[dict[str, Any]]
) -> None:
    """A number asked for by name but not listed is an error; a range may reach beyond what there is so far."""
    for kind, ranges in wanted.items():
        here = {file["number"] for file in files if file["kind"] == kind}
        for span in ranges or ():
            if not here.intersection(span):
                shown = str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}"
                key = "updates" if kind == "updatefiles" else kind
                raise BioHiCLError(
                    f"{joined(base, kind)}: no file numbered {shown} in release {year}. "
                    f"Change pubmed.{key} in config.yaml"
                )


def mesh_release(mirrors: Sequence[str], release: str | int) -> dict[str, Any]:
    """The descriptor file of the year wanted: ``{"mirror": ..., "year": 2026, "name": "desc2026", "issue": {...}}``.

    ``issue`` is what changes when NLM replaces the file within a year: its date and length (or, in a folder, its hash).
    """

    def ask(base: str) -> dict[str, Any]:
        years = sorted(int(match[2]) for file in list_directory(base) if (match := _MESH_FILE.fullmatch(file)))
        if not years:
            raise BioHiCLError(f"{base}: lists no MeSH descriptor file (descYYYY.gz)")
        year = years[-1] if release == "current" else int(release)
        if year not in years:
            shown = ", ".join(str(known) for known in years)
            raise BioHiCLError(f"{base}: has no desc{year}.gz; it has {shown}. Change mesh.release in config.yaml")
        name = f"desc{year}"
        return {"mirror": base, "year": year, "name": name, "issue": issue_of(joined(base, f"{name}.gz"))}

    return first_that_serves(mirrors, ask)


def describe_news(new: dict[str, Any], record: Path) -> list[str]:
    """What ``new`` has that the recorded release has not, one line each, for a person."""
    if not record.exists():
        return ["first listing"]
    old = read_json(record)
    lines = []
    if old.get("year") != new["year"]:
        lines.append(f"release {new['year']} replaces {old.get('year')}")
    if "files" in new:
        before = {file["name"]: file.get("md5") for file in old.get("files", ())}
        after = {file["name"]: file.get("md5") for file in new["files"]}
        lines += [f"new: {name}" for name in sorted(after.keys() - before.keys())]
        lines += [
            f"{name} was re-issued (MD5 {before[name]} -> {after[name]})"
            for name in sorted(after.keys() & before.keys())
            if before[name] != after[name]
        ]
        lines += [f"no longer listed: {name}" for name in sorted(before.keys() - after.keys())]
    elif old.get("name") == new.get("name"):
        lines += _news_of_issue(f"{new.get('name')}.gz", old.get("issue") or {}, new.get("issue") or {})
    return lines or ["nothing new since the last listing"]


def _news_of_issue(file: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """That a file was replaced under its name, as far as the two records can be compared."""
    words = {"sha256": "SHA-256", "last_modified": "Last-Modified", "etag": "ETag", "bytes": "length"}
    changes = [
        f"{word} {old[key]} -> {new[key]}"
        for key, word in words.items()
        if key in old.keys() & new.keys() and old[key] != new[key]
    ]
    if changes:
        return [f"{file} was re-issued ({', '.join(changes)})"]
    return [f"{file} may be another issue: it is fetched again"] if old != new else []
