"""Whether a release's files are one unbroken sequence.

Goes in: the files of the release record. Comes out: ``results/corpus/anomalies.parquet``
(:data:`biohicl.pubmed.schema.CORPUS_ANOMALIES`) and one warning, or, where that is asked for, an error.

Within a year NLM numbers its files in one sequence: the baseline from 1, then the updates. A corpus with a number
missing lacks citations, revisions and deletes without a sign of it, whether the server did not list the file or
config.yaml did not choose it; both are rows, of kinds of their own:

=========================  ===================================================================================
mixed years                files of several years: a year's baseline replaces all of the year before
number twice               a baseline and an update file of the same number (the baseline's is read)
updates without baseline   a year's updates, with no baseline file of that year
gap                        numbers that are not listed, below the highest
chosen gap                 the same, where pubmed.baseline and pubmed.updates do not ask for these numbers
=========================  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from biohicl.configuration import file_numbers
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.pubmed.schema import CORPUS_ANOMALIES, METADATA
from biohicl.storage import write_parquet

Chosen = str | Sequence[int | str]
Row = dict[str, str]
SHOWN = 3


def numbering_anomalies(
    files: Sequence[Mapping[str, Any]], baseline: Chosen = "all", updates: Chosen = "all"
) -> list[Row]:
    """The rows of the anomalies table for a release's ``files`` (each with kind, year and number), mixed years first.

    ``baseline`` and ``updates``: the numbers that config.yaml asks for (all, none, or a list of numbers and ranges).
    """
    years = sorted({file["year"] for file in files})
    rows = []
    if len(years) > 1:
        detail = "files of several years in one release: a year's baseline replaces all of the year before"
        rows.append({"kind": "mixed years", "subject": " and ".join(map(str, years)), "detail": detail})
    for year in years:
        numbers = {
            kind: sorted({file["number"] for file in files if file["year"] == year and file["kind"] == kind})
            for kind in ("baseline", "updatefiles")
        }
        rows += _twice(year, numbers)
        if not numbers["baseline"]:
            rows.append(_no_baseline(year, numbers["updatefiles"], baseline))
        rows += _gaps(year, numbers, {"baseline": baseline, "updatefiles": updates})
    return rows


def refuse_anomalies(rows: Sequence[Row]) -> None:
    """Raises :class:`BioHiCLError` where there are any: what pubmed.strict_sequence asks for."""
    if rows:
        choose = ""
        if any(row["kind"] == "chosen gap" for row in rows):
            choose = "ask for all files in pubmed.baseline and pubmed.updates, "
        raise BioHiCLError(
            f"the release is not one unbroken sequence of files: {_in_words(rows)}. Complete the mirror and ask it "
            f"again (snakemake refresh), {choose}or set pubmed.strict_sequence: false in config.yaml to go on so"
        )


def write_anomalies(rows: Sequence[Row], output: Path) -> None:
    """Writes ``rows`` to ``output``; where there are any, says so in one line."""
    write_parquet(pa.Table.from_pylist(list(rows), CORPUS_ANOMALIES), output, METADATA)
    if rows:
        say(f"warning: the release is not one unbroken sequence of files: {_in_words(rows)}. All of it: {output}")


def _twice(year: int, numbers: Mapping[str, Sequence[int]]) -> list[Row]:
    detail = "both a baseline and an update file have this number; the baseline's is read"
    both = set(numbers["baseline"]) & set(numbers["updatefiles"])
    return [{"kind": "number twice", "subject": _name(year, number), "detail": detail} for number in sorted(both)]


def _no_baseline(year: int, updates: Sequence[int], baseline: Chosen) -> Row:
    choice = "; pubmed.baseline in config.yaml asks for none" if file_numbers(baseline) == [] else ""
    return {
        "kind": "updates without baseline",
        "subject": _names(year, updates[0], updates[-1]),
        "detail": f"{_count(len(updates))} of updates, and no baseline file of {year}{choice}",
    }


def _gaps(year: int, numbers: Mapping[str, Sequence[int]], chosen: Mapping[str, Chosen]) -> list[Row]:
    """The numbers missing below the highest, in runs; from 1 where there is a baseline, else from the first update."""
    present = sorted({*numbers["baseline"], *numbers["updatefiles"]})
    if numbers["baseline"]:
        present = [0, *present]
    wanted = {kind: file_numbers(spec) for kind, spec in chosen.items()}
    rows = []
    for before, after in pairwise(present):
        missing = range(before + 1, after)
        for asked, run in groupby(missing, lambda number: _is_asked_for(number, numbers, wanted)):
            found = list(run)
            rows.append(
                {
                    "kind": "gap" if asked else "chosen gap",
                    "subject": _names(year, found[0], found[-1]),
                    "detail": f"{_count(len(found))} missing: "
                    + ("not listed by the server" if asked else "not asked for in config.yaml"),
                }
            )
    return rows


def _is_asked_for(
    number: int, numbers: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[range] | None]
) -> bool:
    """Whether config.yaml asks for a number that is not there.

    Below the last baseline file it would be one of the baseline, above the first update an update. In between
    nobody can tell; there a list of numbers says more than the word all.
    """
    named = {kind: ranges is None or any(number in span for span in ranges) for kind, ranges in wanted.items()}
    if numbers["baseline"] and number < numbers["baseline"][-1]:
        return named["baseline"]
    if numbers["updatefiles"] and number > numbers["updatefiles"][0]:
        return named["updatefiles"]
    lists = [kind for kind, ranges in wanted.items() if ranges is not None]
    return any(named[kind] for kind in lists) if lists else True


def _in_words(rows: Sequence[Row]) -> str:
    shown = "; ".join(f"{row['kind']}, {row['subject']}: {row['detail']}" for row in rows[:SHOWN])
    return shown + (f"; and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else "")


def _name(year: int, number: int) -> str:
    return f"pubmed{year % 100:02d}n{number:04d}"


def _names(year: int, first: int, last: int) -> str:
    return _name(year, first) + (f" to {_name(year, last)}" if last > first else "")


def _count(files: int) -> str:
    return f"{files:,} file{'s' if files > 1 else ''}"
