"""What each part of a recipe is worth: small trainings that differ from a base in one thing (or in combinations).

Goes in: for each training its folder and its scores on the development sets. Comes out: ablations.parquet (a row a
cell), trainings.parquet (a row a training), ablations.svg, and ablations.txt, as a person reads it.

A cell's gain is the mean, over seeds and development sets, of its nDCG@10 minus that of the base with the same seed,
with an error of other queries and other seeds (:mod:`biohicl.evaluation.seeds`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.evaluation.seeds import Gain, gain_over_seeds
from biohicl.figures import COLOURS, svg_text
from biohicl.progress import say
from biohicl.storage import whole_files, write_parquet

Values = npt.NDArray[np.float64]
METRIC = "nDCG@10"
# Draws of the queries; the error of a bootstrap's variance is about 1 % then.
DRAWS = 5_000
TRAININGS = {
    "cell": pl.String,
    "seed": pl.Int64,
    "node": pl.String,
    "benchmark": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}


def gain_of(gains: Mapping[str, Values], seed: int = 0) -> Gain:
    """``gains``: by development set, (S, Q) differences of a cell and the base by seed and query. Sets count alike."""
    generator = np.random.Generator(np.random.PCG64(seed))
    by_seed = np.mean([values.mean(axis=1) for values in gains.values()], axis=0)
    drawn = np.zeros(DRAWS)
    for values in gains.values():
        of_query = values.mean(axis=0)
        picks = generator.integers(0, len(of_query), size=(DRAWS, len(of_query)))
        drawn += of_query[picks].mean(axis=1) / len(gains)
    return gain_over_seeds(by_seed, drawn, min(values.shape[1] for values in gains.values()))


def write_ablations(
    cells: Mapping[str, Mapping[str, str]],
    scores: Path,
    models: Path,
    retrieval: Sequence[str],
    similarity: Sequence[str],
    output: Path,
) -> None:
    """``cells``: by cell, its nodes by seed; the first is the base. ``scores``: folder of <node>/<benchmark>/."""
    if not cells:
        raise BioHiCLError("ablations.of names no node, so there is nothing to compare; see `ablations` in config.yaml")
    if not retrieval:
        raise BioHiCLError("ablations are compared on development.retrieval, and that names no benchmark")
    base = next(iter(cells))
    queries = {node: _by_query(scores, node, retrieval) for nodes in cells.values() for node in nodes.values()}
    rows: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    for cell, nodes in cells.items():
        means: dict[str, list[float]] = {}
        for seed, node in nodes.items():
            of_node = _measures(scores, models, node, queries[node], similarity)
            trainings += [
                {"cell": cell, "seed": int(seed), "node": node, "benchmark": name, "metric": metric, "value": value}
                for (name, metric), value in of_node.items()
            ]
            for (name, metric), value in of_node.items():
                means.setdefault(f"{name} {metric}", []).append(value)
        row: dict[str, Any] = {"cell": cell, "seeds": len(nodes)}
        mean = np.mean([np.mean(means[f"{name} {METRIC}"]) for name in retrieval])
        row["development"] = float(mean)
        if cell != base:
            gains = {
                name: np.stack(
                    [_paired(queries[node], queries[cells[base][seed]], name) for seed, node in nodes.items()]
                )
                for name in retrieval
            }
            row |= vars(gain_of(gains))
        row |= {name: float(np.mean(values)) for name, values in means.items()}
        rows.append(row)
    table = pl.DataFrame(rows, infer_schema_length=None)
    files = [output / name for name in ("ablations.parquet", "trainings.parquet", "ablations.svg", "ablations.txt")]
    with whole_files(*files) as (table_file, trainings_file, figure_file, text_file):
        write_parquet(table, table_file)
        write_parquet(pl.DataFrame(trainings, schema=TRAININGS), trainings_file)
        figure_file.write_text(svg_text(ablation_figure(table)), encoding="utf-8")
        text_file.write_text(ablation_text(table, retrieval), encoding="utf-8")
    say(f"{table.height} cells of {table['seeds'].sum()} trainings: {output / 'ablations.txt'}")


def _by_query(scores: Path, node: str, retrieval: Sequence[str]) -> dict[str, dict[str, float]]:
    found = {}
    for name in retrieval:
        file = scores / node / name / "per_query.parquet"
        if not file.is_file():
            raise BioHiCLError(f"{file}: no such file; run the workflow's target ablations, which makes it")
        table = pl.read_parquet(file).filter(pl.col("metric") == METRIC, pl.col("condition") == HEADLINE_CONDITION)
        if table.is_empty():
            raise BioHiCLError(
                f"{file}: has no {METRIC}: the development split of {name} could not be had. Bring it, or take it out "
                "of development.retrieval"
            )
        found[name] = dict(table.select("query_id", "value").iter_rows())
    return found


def _paired(one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]], name: str) -> Values:
    if one[name].keys() != other[name].keys():
        raise BioHiCLError(f"{name}: two trainings were scored on different queries; remove both scores, and run again")
    return np.array([value - other[name][query] for query, value in one[name].items()])


def _measures(
    scores: Path, models: Path, node: str, queries: Mapping[str, Mapping[str, float]], similarity: Sequence[str]
) -> dict[tuple[str, str], float]:
    """By development set and metric: of retrieval, of pairs, and what the training measured on held-out citations."""
    found = {(name, METRIC): float(np.mean(list(values.values()))) for name, values in queries.items()}
    for name in similarity:
        table = pl.read_parquet(scores / node / name / "metrics.parquet").filter(pl.col("metric") == "AP")
        if not table.is_empty():
            found[name, "AP"] = float(table["value"][0])
    last = pl.read_parquet(models / node / "development.parquet").tail(1)
    for metric in ("mrr", "correlation", "mean_similarity"):
        if last.height and last[metric][0] is not None:
            found["held-out citations", metric] = float(last[metric][0])
    return found


def ablation_text(table: pl.DataFrame, retrieval: Sequence[str]) -> str:
    """The table as a person reads it."""
    explained = (
        f"development: the mean {METRIC} of {' and '.join(retrieval)}, over all seeds. gain: against the base with the "
        "same seed, with the 95 % interval over other queries and other seeds together; detectable: the gain that an "
        "experiment of this size would tell from 0 in 8 of 10 tries. Intervals are of one comparison each; of many, "
        "some miss by chance."
    )
    width = max(len(cell) for cell in table["cell"])
    others = [name for name in table.columns if " " in name and name.rpartition(" ")[0] not in retrieval]
    lines = ["What is worth what?", "", *textwrap.wrap(explained, 110), ""]
    lines.append(
        f"{'':<{width}} seeds  development  {'gain':<26}  detectable  " + "  ".join(f"{name}" for name in others)
    )
    for row in table.iter_rows(named=True):
        gain, detectable = " " * 26, " " * 10
        if row.get("value") is not None:
            gain = f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]".ljust(26)
            detectable = f"{row['detectable']:>10.4f}"
        shown = (f"{row[name]:>{len(name)}.4f}" if row[name] is not None else " " * len(name) for name in others)
        lines.append(
            f"{row['cell']:<{width}} {row['seeds']:>5}  {row['development']:>11.4f}  {gain}  {detectable}  "
            + "  ".join(shown)
        )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def ablation_rows(table: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows for a page: all of the table but where its errors come from."""
    measured = [name for name in table.columns if " " in name]
    rows = []
    for row in table.iter_rows(named=True):
        gain = ["", "", ""]
        if row.get("value") is not None:
            gain = [f"{row['value']:+.4f}", f"{row['low']:+.4f} to {row['high']:+.4f}", f"{row['detectable']:.4f}"]
        values = [f"{row[name]:.4f}" if row[name] is not None else "-" for name in ("development", *measured)]
        rows.append([row["cell"], str(row["seeds"]), values[0], *gain, *values[1:]])
    return ["cell", "seeds", "development", "gain", "95 % interval", "detectable", *measured], rows


def ablation_figure(table: pl.DataFrame) -> Any:
    """A matplotlib figure: each cell's gain over the base, with its interval."""
    from matplotlib.figure import Figure

    shown = [row for row in table.iter_rows(named=True) if row.get("value") is not None]
    figure = Figure(figsize=(6.4, 0.8 + 0.3 * max(len(shown), 1)), layout="constrained")
    panel = figure.subplots()
    for place, row in enumerate(shown):
        is_told = row["low"] > 0 or row["high"] < 0
        colour = COLOURS[0] if is_told else "#777777"
        panel.plot([row["low"], row["high"]], [place, place], color=colour, lw=1.6)
        panel.plot(row["value"], place, "o" if is_told else "D", color=colour, ms=5)
    panel.axvline(0, color="black", lw=0.8)
    panel.set_yticks(range(len(shown)), [row["cell"] for row in shown])
    panel.set_ylim(len(shown) - 0.5, -0.5)
    panel.set_xlabel(f"gain in development {METRIC} over the base ({table['development'][0]:.4f})")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", lw=0.3)
    return figure
