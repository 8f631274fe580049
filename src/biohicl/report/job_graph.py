"""Which rules made what the page shows, and which rule took what from which: as Snakemake recorded it.

Goes in: files that the page shows, and Snakemake's records (``.snakemake/metadata``: a JSON file for each output, named
by the base64 of its path, that has the job's rule, inputs and log). Comes out: a :class:`JobGraph`.

The records say what happened: a rule that is added stands in the next graph, and what was frozen once is shown with the
jobs that made it. What lies behind the configured targets alone (a dry run's plan) is another question.

They also tell which outputs were not seen to their end (:func:`unfinished_outputs`), for the workflow to make again.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biohicl.storage import write_json

STATE = Path(".snakemake")
RECORDS = STATE / "metadata"
# Longer names are cut into folders of that length, each marked by an @; as snakemake/persistence/file.py has it.
LONGEST_NAME = 255
# What Snakemake puts into folders that its jobs made.
TIMESTAMP = ".snakemake_timestamp"
# A time may be rounded on its way through a file system.
CLOCK_SECONDS = 1e-3


@dataclass
class JobGraph:
    """``jobs``: how many jobs of each rule; ``edges``: by (rule, rule that reads its outputs) how often a file is read;
    ``depth``: of each rule, how many jobs stand in a row above its first one at most. Of jobs there is no circle, of
    rules there may be one: a model is trained, chosen, and another one is trained from it."""

    jobs: dict[str, int] = field(default_factory=dict)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)
    depth: dict[str, int] = field(default_factory=dict)


def recorded_graph(files: Iterable[str | Path], end: str, records: Path = RECORDS) -> JobGraph:
    """All that stands above ``files``, and they themselves; they are read by one job of the rule ``end``.

    Files without a record (a user's own) are no part of it; without any record the graph is empty.
    """
    graph = JobGraph()
    of_rule: dict[str, set[tuple[str, ...]]] = {}
    # Of each file its rule, and how many jobs stand above it; no longer chain than the workflow has.
    known: dict[str, tuple[str | None, int]] = {}

    def visit(file: str, reader: str) -> int:
        if file not in known:
            record = _record(file, records) or {}
            rule = record.get("rule")
            known[file] = rule, 0
            above = [visit(name, rule) for name in (record.get("input") or []) if rule]
            known[file] = rule, 1 + max(above, default=-1)
            if rule:
                of_rule.setdefault(rule, set()).add(tuple(record.get("log") or [file]))
                graph.depth[rule] = min(graph.depth.get(rule, known[file][1]), known[file][1])
        rule, depth = known[file]
        if rule and rule != reader:
            graph.edges[rule, reader] += 1
        return depth if rule else -1

    deepest = max((visit(str(file), end) for file in files), default=-1)
    if of_rule:
        graph.depth[end] = deepest + 1
        graph.jobs = {rule: len(jobs) for rule, jobs in sorted(of_rule.items()) if rule != end} | {end: 1}
    return graph


def recorded_outputs(records: Path) -> Iterator[str]:
    """The outputs that a folder of Snakemake's, of records or of marks, has a file of."""
    for path in records.rglob("*"):
        if path.is_file():
            # What is no such name is a file of another kind.
            with suppress(ValueError):
                parts = path.relative_to(records).parts
                yield urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()


def unfinished_outputs(folder: Path = Path()) -> set[str]:
    """The outputs of jobs that were running when Snakemake was killed, and that no job has made since.

    ``folder`` is the one that Snakemake works in. Its own marks (``incomplete``) go when the next try of such a job
    fails, while an orphan of the first may still be writing. So they are kept, in ``unfinished.json`` beside them, and
    put back.
    """
    state = folder / STATE
    kept = state / "unfinished.json"
    marked = set(recorded_outputs(state / "incomplete"))
    try:
        before = {str(file) for file in json.loads(kept.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        before = set()
    # A record beside a mark is that of a job before.
    unfinished = marked | {file for file in before if not _is_made(folder, file)}
    # Where this cannot be written Snakemake can run nothing either, and says so.
    with suppress(OSError):
        if unfinished != before:
            write_json(sorted(unfinished), kept)
        for file in unfinished - marked:
            mark = _place(file, state / "incomplete")
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text('{"external_jobid": null}')
    return unfinished


def _is_made(folder: Path, file: str) -> bool:
    """Whether the job that was recorded made the file. Jobs that failed are recorded, too, and what an orphan writes
    after that is newer than its record says."""
    path = folder / file
    try:
        # Of what its jobs made Snakemake takes this time, and writes it into their records.
        dated = path / TIMESTAMP if path.is_dir() else path
        return dated.stat().st_mtime <= (_record(file, folder / RECORDS) or {})["endtime"] + CLOCK_SECONDS
    except (OSError, LookupError, TypeError):
        return False


def _record(file: str, records: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(_place(file, records).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _place(file: str, records: Path) -> Path:
    """Where Snakemake keeps what it knows of an output."""
    name = urlsafe_b64encode(file.encode()).decode()
    size = LONGEST_NAME - 1
    parts = [name[start : start + size] for start in range(0, len(name), size)]
    return records.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
