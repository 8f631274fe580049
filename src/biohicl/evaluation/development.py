"""Every model on the development sets, beside its backbone: what decisions are read from.

Goes in: the evaluations of the models on the development splits (results/development). Comes out: one table, a row for
each system and set and for their means, with the difference to a reference and its 95 % paired bootstrap interval over
queries or pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.evaluation.choosing import PAIR_METRIC, RETRIEVAL_METRIC, Scores, Sets, check_same_sets, read_scores
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.evaluation.significance import AveragePrecision, Difference, Mean, MeanOfSets, Statistic, difference

# In place of a benchmark: the mean over all of that metric, each as much as the others.
MEAN = "mean"
TABLE = pa.schema(
    [
        ("system", pa.string()),
        ("benchmark", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),  # queries or pairs
        ("reference", pa.string()),
        ("difference", pa.float64()),  # the system's value minus the reference's
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),  # of the paired randomisation test, not adjusted for the number of rows
        ("trained_on", pa.bool_()),  # whether the system was trained on it: then it tells nothing
        ("chosen_on", pa.bool_()),  # whether it, or what it is made of, was chosen by it: then it is somewhat too good
    ]
)


@dataclass(frozen=True)
class _Units:
    """What one system got for each query of each retrieval set, and for each pair of each set of pairs."""

    queries: Mapping[str, Mapping[str, float]]
    pairs: Mapping[str, Mapping[str, tuple[float, float]]]  # similarity, and what people said


def development_table(
    folder: Path,
    systems: Mapping[str, str | None],
    sets: Sets,
    draws: int = 10_000,
    seed: int = 1,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    chosen: Sequence[str] = (),
) -> pa.Table:
    """``systems``: name to that of its reference (None: it is compared with nothing). ``folder``: of their evaluations.

    The mean's interval is of draws from the queries of all sets together. An average precision over several sets of
    pairs has a value alone. ``trained_on``: by system, the sets whose development split it was trained on. ``chosen``:
    the systems that were chosen by these scores. Raises :class:`BioHiCLError` where a set has no score.
    """
    names = list(dict.fromkeys([*systems, *(name for name in systems.values() if name is not None)]))
    if not names or not (sets.retrieval or sets.similarity):
        raise BioHiCLError("nothing to compare: name systems, and benchmarks of development.retrieval or .similarity")
    scores = {name: read_scores(folder, name, sets) for name in names}
    check_same_sets(scores)
    units = {name: _units(folder, name, sets) for name in names}
    rows: list[dict[str, Any]] = []
    for name, reference in systems.items():
        for row in _values(name, scores[name]):
            of_metric = sets.retrieval if row["metric"] == RETRIEVAL_METRIC else sets.similarity
            if row["benchmark"] == MEAN and len(of_metric) == 1:
                # That set's row is the last one: not drawn again, which takes minutes for thousands of pairs.
                rows.append({**rows[-1], "benchmark": MEAN})
                continue
            against: dict[str, Any] = {}
            if reference is not None and reference != name:
                against = {"reference": reference}
                told = _difference(units[name], units[reference], row["benchmark"], row["metric"], sets, draws, seed)
                if told is not None:
                    against |= {"difference": told.value, "low": told.low, "high": told.high, "p": told.p}
                else:
                    against |= {"difference": _value_of(scores[name], row) - _value_of(scores[reference], row)}
            known = (trained_on or {}).get(name, ())
            # A model may be trained on the split of a benchmark that is not compared by.
            behind = sets.retrieval if row["benchmark"] == MEAN else [row["benchmark"]]
            seen = any(benchmark in known for benchmark in behind)
            marks = {"trained_on": seen and row["metric"] == RETRIEVAL_METRIC, "chosen_on": name in chosen}
            rows.append({"system": name, **row, **against, **marks})
    return pa.Table.from_pylist(rows, TABLE)


def _values(name: str, scores: Scores) -> list[dict[str, Any]]:
    rows = []
    for metric, of_sets in ((RETRIEVAL_METRIC, scores.retrieval), (PAIR_METRIC, scores.similarity)):
        for benchmark, value in of_sets.items():
            rows.append({"benchmark": benchmark, "metric": metric, "value": value, "n": scores.counts[benchmark]})
        if of_sets:
            mean, count = float(np.mean(list(of_sets.values()))), sum(scores.counts[name] for name in of_sets)
            rows.append({"benchmark": MEAN, "metric": metric, "value": mean, "n": count})
    return rows


def _value_of(scores: Scores, row: Mapping[str, Any]) -> float:
    of_sets = scores.retrieval if row["metric"] == RETRIEVAL_METRIC else scores.similarity
    return float(np.mean(list(of_sets.values()))) if row["benchmark"] == MEAN else of_sets[row["benchmark"]]


def _units(folder: Path, system: str, sets: Sets) -> _Units:
    queries, pairs = {}, {}
    for benchmark in sets.retrieval:
        table = _read(folder / system / benchmark / "per_query.parquet", ["query_id", "condition", "metric", "value"])
        queries[benchmark] = {
            row["query_id"]: row["value"]
            for row in table.to_pylist()
            if (row["condition"], row["metric"]) == (HEADLINE_CONDITION, RETRIEVAL_METRIC)
        }
    for benchmark in sets.similarity:
        table = _read(folder / system / benchmark / "run.parquet", ["pair_id", "similarity", "score"])
        pairs[benchmark] = {row["pair_id"]: (row["similarity"], row["score"]) for row in table.to_pylist()}
    return _Units(queries, pairs)


def _read(file: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(file, columns=columns)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise BioHiCLError(f"{file}: not a table of an evaluation: {str(error).splitlines()[0]}") from None


def _difference(
    one: _Units, other: _Units, benchmark: str, metric: str, sets: Sets, draws: int, seed: int
) -> Difference | None:
    """Of the same queries or pairs; None where there is no interval: of a mean over several sets of pairs."""
    statistic: Statistic
    if metric == PAIR_METRIC:
        if benchmark == MEAN:
            return None
        mine, theirs = one.pairs[benchmark], other.pairs[benchmark]
        _check_same(mine, theirs, benchmark)
        statistic = AveragePrecision([wanted for _, wanted in mine.values()])
        found = [similarity for similarity, _ in mine.values()]
        return difference(statistic, found, [theirs[pair][0] for pair in mine], draws, seed)
    names = list(sets.retrieval) if benchmark == MEAN else [benchmark]
    for name in names:
        _check_same(one.queries[name], other.queries[name], name)
    of_units = [(place, name, query) for place, name in enumerate(names) for query in one.queries[name]]
    statistic = MeanOfSets([place for place, _, _ in of_units]) if benchmark == MEAN else Mean()
    found = [one.queries[name][query] for _, name, query in of_units]
    reference = [other.queries[name][query] for _, name, query in of_units]
    return difference(statistic, found, reference, draws, seed)


def _check_same(one: Mapping[str, Any], other: Mapping[str, Any], benchmark: str) -> None:
    if one.keys() != other.keys():
        raise BioHiCLError(f"{benchmark}: two systems were measured on different queries or pairs; evaluate both again")
