"""How often something optional was tried, so that each run of the workflow tries again what could not be had.

Goes in: where it lies, the number of the attempt, how that ended. Comes out: the number of the next one, which is
another one as long as the thing is not there, and stays once it is.
"""

from __future__ import annotations

from pathlib import Path

from biohicl.errors import BioHiCLError
from biohicl.storage import read_json, write_json


def record_attempt(folder: Path, number: int, available: bool) -> None:
    """Writes how attempt ``number`` to bring ``folder`` ended."""
    write_json({"attempt": number, "available": available}, _record(folder))


def next_attempt(folder: Path) -> int:
    """The number that a run has to give: 0 where nothing was tried, or what was written of that is damaged."""
    try:
        last = read_json(_record(folder))
        return int(last["attempt"]) + (not last["available"])
    except (BioHiCLError, LookupError, TypeError, ValueError):
        return 0


def _record(folder: Path) -> Path:
    # Beside it: what Snakemake removes before a job makes its outputs anew must not take this along.
    return folder.with_name(f".{folder.name}.attempt.json")
