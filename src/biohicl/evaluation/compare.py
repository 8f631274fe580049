"""All systems on one benchmark: how sure each score is, who differs from whom, and what leaked documents are worth.

Goes in: the evaluations of one benchmark, and which of its documents each model was trained on. Comes out, under
``output``:

estimates.parquet    system, condition, metric: value with its 95 % interval over queries or pairs
differences.parquet  system minus reference, by condition and metric: with interval and p-value
rank_changes.parquet what compressing a system's embeddings does to its runs
seeds.parquet        models that differ in their seed alone, together, minus what the first is compared with

Besides the conditions of :mod:`biohicl.evaluation.evaluate` there is ``without documents of SELECTION`` for the models
that were trained on it, their backbones and BM25, where it holds documents of the benchmark: these are taken from the
run and from the judgements, and queries that have no relevant document left are not counted. Where labelled pairs hold
queries of the benchmark, these are not counted either, and it is ``without documents and queries of SELECTION``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration.systems import LEXICAL
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import read_benchmark
from biohicl.evaluation.fusion import read_run
from biohicl.evaluation.metrics import per_query
from biohicl.evaluation.retrieval import HEADLINE_CONDITION, Run
from biohicl.evaluation.seeds import gain_over_seeds
from biohicl.evaluation.significance import Mean, Statistic, difference, estimate, mean_difference, value_of
from biohicl.evaluation.similarity import statistics_of
from biohicl.evaluation.sources import Pairs, Qrels
from biohicl.progress import say
from biohicl.storage import whole_files, write_parquet

KEY = [("benchmark", pa.string()), ("system", pa.string()), ("condition", pa.string()), ("metric", pa.string())]
INTERVAL = [("low", pa.float64()), ("high", pa.float64())]
ESTIMATES = pa.schema([*KEY, ("value", pa.float64()), *INTERVAL, ("n", pa.int64())])
DIFFERENCES = pa.schema(
    [*KEY, ("reference", pa.string()), ("difference", pa.float64()), *INTERVAL, ("p", pa.float64()), ("n", pa.int64())]
)
RANK_CHANGES = pa.schema(
    [
        ("benchmark", pa.string()),
        ("system", pa.string()),
        ("reference", pa.string()),
        ("queries", pa.int64()),
        ("same_first", pa.int64()),  # queries with the same document at rank 1
        ("same_ten", pa.int64()),  # with the same ten documents, in any order
        ("same_order", pa.int64()),  # with the same ten in the same order
        ("overlap_of_ten", pa.float64()),  # mean share of the reference's ten that is kept
    ]
)
SEEDS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("recipe", pa.string()),
        ("models", pa.list_(pa.string())),
        ("metric", pa.string()),
        ("reference", pa.string()),
        ("difference", pa.float64()),  # the mean over the models
        *INTERVAL,  # over other queries (or pairs) and other seeds together
        ("detectable", pa.float64()),  # what would be told from 0 in 8 of 10 tries
        ("of_queries", pa.float64()),  # standard errors
        ("of_seeds", pa.float64()),
    ]
)
# The scores of units by metric: of queries, with a mean; of pairs, with the statistics that need what people said.
Units = dict[str, tuple[Statistic, dict[str, float]]]


class Leaked(NamedTuple):
    """What of a benchmark a selection holds: documents (or sentences) and queries, by their ids."""

    documents: set[str]
    queries: set[str]


@dataclass(frozen=True)
class Evaluated:
    """One system's evaluation. ``against``, ``backbone``: the systems it is compared with, beside BM25. ``of``: the one
    whose embeddings it compresses. ``selections``: what it was trained on."""

    folder: Path
    against: str | None = None
    backbone: str | None = None
    of: str | None = None
    selections: Sequence[str] = ()


def compare(
    benchmark: Path,
    systems: Mapping[str, Evaluated],
    overlaps: Mapping[str, Path],
    output: Path,
    draws: int,
    seed: int,
    seeds: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Writes the tables. ``overlaps``: of each selection, the documents of the benchmark that it holds. ``seeds``: the
    systems that differ in their seed alone, by the name of the first."""
    content = read_benchmark(benchmark, with_texts=False)
    scored = {name: system for name, system in systems.items() if _has_scores(system.folder)}
    leaks = {selection: leaked for selection, file in overlaps.items() if any(leaked := _leaked(file))}
    if isinstance(content, Pairs):
        conditions, variants = _pair_conditions(scored, leaks, content), []
    else:
        conditions = _query_conditions(scored, leaks, content.qrels)
        variants = [name for name, system in scored.items() if system.of in scored]
    estimates, differences = [], []
    for condition, units in conditions.items():
        for name, metric in [(name, metric) for name, metrics in units.items() for metric in metrics]:
            key = {"benchmark": benchmark.name, "system": name, "condition": condition, "metric": metric}
            statistic, values = units[name][metric]
            found = list(values.values())
            if not _is_defined(statistic, found):
                say(f"{name}, {condition}: has no {metric}; {statistic.needs}")
                continue
            sure = estimate(statistic, found, draws, seed)
            estimates.append(key | {"value": sure.value, "low": sure.low, "high": sure.high, "n": sure.n})
            for reference in dict.fromkeys((scored[name].against, scored[name].backbone, LEXICAL)):
                if reference not in units or reference == name:
                    continue
                theirs = [units[reference][metric][1][unit] for unit in values]
                if not _is_defined(statistic, theirs):
                    continue
                told = difference(statistic, found, theirs, draws, seed)
                told_of = {"difference": told.value, "low": told.low, "high": told.high, "p": told.p, "n": told.n}
                differences.append(key | {"reference": reference} | told_of)
    changes = [_rank_changes(benchmark.name, name, scored) for name in variants]
    gains = [
        {"benchmark": benchmark.name, "recipe": recipe} | row
        for recipe, models in (seeds or {}).items()
        for row in _gains([name for name in models if name in scored], scored, conditions, draws, seed)
    ]
    tables = {
        "estimates.parquet": pa.Table.from_pylist(estimates, ESTIMATES),
        "differences.parquet": pa.Table.from_pylist(differences, DIFFERENCES),
        "rank_changes.parquet": pa.Table.from_pylist(changes, RANK_CHANGES),
        "seeds.parquet": pa.Table.from_pylist(gains, SEEDS),
    }
    with whole_files(*(output / name for name in tables)) as temporaries:
        for table, temporary in zip(tables.values(), temporaries, strict=True):
            write_parquet(table, temporary)


def _gains(
    models: Sequence[str],
    systems: Mapping[str, Evaluated],
    conditions: Mapping[str, Mapping[str, Units]],
    draws: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The rows of the models together, by metric, of all documents."""
    units = conditions.get(HEADLINE_CONDITION, {})
    reference = systems[models[0]].against if len(models) > 1 else None
    if reference is None or reference not in units:
        return
    for metric, (statistic, theirs) in units[reference].items():
        found = [[units[name][metric][1][unit] for unit in theirs] for name in models]
        if not all(_is_defined(statistic, scores) for scores in (*found, list(theirs.values()))):
            continue
        by_seed, drawn = mean_difference(statistic, found, list(theirs.values()), draws, seed)
        gain = vars(gain_over_seeds(by_seed, drawn, len(theirs)))
        told = {"models": list(models), "metric": metric, "reference": reference, "difference": gain.pop("value")}
        yield told | gain


def _is_defined(statistic: Statistic, found: Sequence[float]) -> bool:
    """Whether there is such a statistic: of equal similarities, say, there is no correlation."""
    try:
        value_of(statistic, found)
    except BioHiCLError:
        return False
    return True


def _query_conditions(
    systems: Mapping[str, Evaluated], leaks: Mapping[str, Leaked], qrels: Qrels
) -> dict[str, dict[str, Units]]:
    """Condition to system to its values."""
    conditions: dict[str, dict[str, Units]] = {}
    for name, system in systems.items():
        for condition, units in _query_units(system.folder).items():
            conditions.setdefault(condition, {})[name] = units
    for selection, leaked in leaks.items():
        conditions[_without_name(selection, leaked)] = {
            name: _without(read_run(systems[name].folder / "run.parquet"), qrels, leaked)
            for name in _concerned(systems, selection)
        }
    return conditions


def _pair_conditions(
    systems: Mapping[str, Evaluated], leaks: Mapping[str, Leaked], pairs: Pairs
) -> dict[str, dict[str, Units]]:
    found = {name: _pair_scores(system.folder) for name, system in systems.items()}
    conditions = {HEADLINE_CONDITION: {name: _pair_units(scores, pairs, set()) for name, scores in found.items()}}
    for selection, leaked in leaks.items():
        concerned = _concerned(systems, selection)
        without = {name: _pair_units(found[name], pairs, leaked.documents) for name in concerned}
        conditions[_without_name(selection, leaked)] = without
    return conditions


def _without_name(selection: str, leaked: Leaked) -> str:
    return f"without documents{' and queries' if leaked.queries else ''} of {selection}"


def _leaked(file: Path) -> Leaked:
    """Of a table of what a selection shares with the benchmark; only of labelled pairs it has a column of queries."""
    columns = [name for name in pq.read_schema(file).names if name in ("document_id", "query_id")]
    table = pq.read_table(file, columns=columns).to_pydict()
    return Leaked(*(set(table.get(name, ())) - {None} for name in ("document_id", "query_id")))


def _concerned(systems: Mapping[str, Evaluated], selection: str) -> list[str]:
    """Models that were trained on a selection, and what they are compared with."""
    models = [name for name, system in systems.items() if selection in system.selections]
    named = dict.fromkeys([LEXICAL, *(systems[name].against for name in models), *models])
    return [name for name in named if name is not None and name in systems]


def _has_scores(folder: Path) -> bool:
    return pq.read_metadata(folder / "metrics.parquet").num_rows > 0


def _query_units(folder: Path) -> dict[str, Units]:
    """Condition to metric to the values of the queries."""
    units: dict[str, Units] = {}
    table = pq.read_table(folder / "per_query.parquet")
    for query, condition, metric, value in zip(*(column.to_pylist() for column in table.columns), strict=True):
        units.setdefault(condition, {}).setdefault(metric, (Mean(), {}))[1][query] = value
    return units


def _pair_scores(folder: Path) -> dict[str, float]:
    table = pq.read_table(folder / "run.parquet")
    return dict(zip(table["pair_id"].to_pylist(), table["similarity"].to_pylist(), strict=True))


def _pair_units(found: Mapping[str, float], pairs: Pairs, leaked: set[str]) -> Units:
    kept = [place for place, identifier in enumerate(pairs.ids) if not leaked & {f"{identifier}/1", f"{identifier}/2"}]
    scores = [pairs.scores[place] for place in kept]
    if len(set(scores)) < 2:
        return {}
    values = {pairs.ids[place]: found[pairs.ids[place]] for place in kept}
    return {metric: (statistic, values) for metric, statistic in statistics_of(scores).items()}


def _without(run: Run, qrels: Qrels, leaked: Leaked) -> Units:
    """Values of the queries that did not leak, and have a relevant document beside the leaked ones."""
    left = {
        query: {document: grade for document, grade in judged.items() if document not in leaked.documents}
        for query, judged in qrels.items()
        if query not in leaked.queries
    }
    # A query that never had one stays, as it counts in the whole too.
    kept = {
        query: judged
        for query, judged in left.items()
        if max(judged.values(), default=0) > 0 or max(qrels[query].values()) <= 0
    }
    reduced = {query: [pair for pair in run.get(query, ()) if pair[0] not in leaked.documents] for query in kept}
    return {metric: (Mean(), values) for metric, values in per_query(reduced, kept).items()} if kept else {}


def _rank_changes(benchmark: str, name: str, systems: Mapping[str, Evaluated]) -> dict[str, Any]:
    reference = systems[name].of
    assert reference is not None
    here, there = (read_run(systems[system].folder / "run.parquet") for system in (name, reference))
    tens = [
        ([document for document, _ in here.get(query, [])[:10]], [document for document, _ in pairs[:10]])
        for query, pairs in there.items()
    ]
    return {
        "benchmark": benchmark,
        "system": name,
        "reference": reference,
        "queries": len(tens),
        "same_first": sum(one[:1] == other[:1] for one, other in tens),
        "same_ten": sum(set(one) == set(other) for one, other in tens),
        "same_order": sum(one == other for one, other in tens),
        "overlap_of_ten": sum(len(set(one) & set(other)) / len(other) for one, other in tens) / len(tens),
    }
