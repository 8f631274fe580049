"""The score table: every system on every benchmark, how sure each score is, and what differs by more than chance.

Goes in: the metrics of each evaluation, the comparisons of each benchmark, and what config.yaml says of systems and
benchmarks. Comes out: ``summary.parquet``, ``variants.parquet`` (what smaller embeddings cost), ``seeds.parquet`` (how
far models that differ in their seed lie apart), ``left_out.parquet`` (what could not be had, and why), and the table as
text or rows for a person.

p-values are adjusted by Holm's method over the benchmarks: for each system and reference together those of the metrics
that the score table shows, and those of each other metric by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from biohicl.configuration.systems import LEXICAL
from biohicl.encoder.fetching import why_unavailable
from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.evaluation.significance import holm
from biohicl.report.columns import in_columns
from biohicl.storage import read_json, whole_files, write_parquet

SIGNIFICANT = 0.05
# Above and below the system's reference, above and below BM25.
MARKS = {("reference", 1): "▲", ("reference", -1): "▼", (LEXICAL, 1): "△", (LEXICAL, -1): "▽"}
LEGEND = (
    "[ ]: 95 % interval over queries or pairs.",
    "▲ ▼: above, below its reference: a model's backbone (a peer's: the first), the model that a hybrid is made of.",
    "△ ▽: above, below BM25.",
    "Marks are given at 5 %, by a paired randomisation test, with Holm's method over the benchmarks.",
)
SEEN = "*"
LEGEND_SEEN = f"{SEEN}: trained on this benchmark's own training queries, over the same documents."
KEY = ["benchmark", "system", "condition", "metric"]
SEEDS: dict[str, Any] = {"recipe": pl.String, "models": pl.List(pl.String), "benchmark": pl.String, "metric": pl.String}
SEEDS |= dict.fromkeys(("mean", "standard_deviation", "lowest", "highest"), pl.Float64)
# The mean minus that of the reference: interval over other queries (or pairs) and other seeds together, and what would
# be told from 0 in 8 of 10 tries.
GAINS: dict[str, Any] = {"reference": pl.String}
GAINS |= dict.fromkeys(("difference", "low", "high", "detectable"), pl.Float64)
SEEDS |= GAINS
LEFT_OUT = {"kind": pl.String, "name": pl.String, "reason": pl.String}


@dataclass(frozen=True)
class About:
    """What config.yaml says. ``systems``: name to role and against, in the table's order; ``benchmarks``: name to
    headline and texts, in order; ``seeds``: models that differ in nothing but seeds, by the first's name."""

    systems: Mapping[str, Mapping[str, Any]]
    benchmarks: Mapping[str, Mapping[str, Any]]
    seeds: Mapping[str, Sequence[str]]


def write_summary(
    metrics: Sequence[Path],
    comparisons: Sequence[Path],
    about: About,
    records: Mapping[str, Path],
    encoders: Mapping[str, Path],
    output: Path,
) -> None:
    """Writes the four tables into the folder ``output``. ``comparisons``: folders that compare wrote. ``records``: the
    benchmark.json of each benchmark. ``encoders``: folders of the encoders that may not be there."""
    if not metrics:
        raise BioHiCLError("no metrics files: nothing to sum up")
    rows = pl.concat([pl.read_parquet(file) for file in metrics])
    unknown = sorted(set(rows["system"]) - about.systems.keys())
    if unknown:
        raise BioHiCLError(f"no role is given for {', '.join(unknown)}")
    estimates = pl.concat([pl.read_parquet(folder / "estimates.parquet") for folder in comparisons])
    differences = pl.concat([pl.read_parquet(folder / "differences.parquet") for folder in comparisons])
    headlines = {name: block["headline"] for name, block in about.benchmarks.items()}
    whole = rows.filter(pl.col("condition") == HEADLINE_CONDITION)
    whole = whole.select("benchmark", "system", "metric", "kind", "split", "index_bytes")
    # The values are the comparisons': they have conditions that no evaluation knows, without a pool of their own.
    table = estimates.join(whole, on=["benchmark", "system", "metric"], how="left")
    table = table.join(rows.select(*KEY, "own_document", "pool"), on=KEY, how="left").with_columns(
        role=pl.col("system").replace_strict({name: row["role"] for name, row in about.systems.items()}),
        texts=pl.col("benchmark").replace_strict({name: row["texts"] for name, row in about.benchmarks.items()}),
        headline=pl.col("metric") == pl.col("benchmark").replace_strict(headlines),
        # Trained on queries of the benchmark; not on those that score.
        seen=pl.struct("system", "benchmark").map_elements(
            lambda row: row["benchmark"] in about.systems[row["system"]].get("seen", ()), return_dtype=pl.Boolean
        ),
    )
    against = {name: row["against"] for name, row in about.systems.items()}
    adjusted = _adjusted(differences, headlines)
    for prefix, references in (("reference", against), (LEXICAL, dict.fromkeys(against, LEXICAL))):
        of_them = adjusted.filter(pl.col("reference") == pl.col("system").replace_strict(references))
        named = {"difference": f"{prefix}_difference", "low": f"{prefix}_low", "high": f"{prefix}_high"}
        named |= {"p": f"{prefix}_p", "p_holm": f"{prefix}_p_holm"}
        columns = [*KEY, *named] if prefix == LEXICAL else [*KEY, "reference", *named]
        table = table.join(of_them.select(columns).rename(named), on=KEY, how="left")
    places = {name: place for names in (about.systems, about.benchmarks) for place, name in enumerate(names)}
    table = table.sort(
        pl.col("system").replace_strict(places), pl.col("benchmark").replace_strict(places), "condition", "metric"
    )
    first = [
        "system",
        "role",
        "benchmark",
        "kind",
        "split",
        "texts",
        "pool",
        "condition",
        "own_document",
        "metric",
        "headline",
        "seen",
    ]
    table = table.select(*first, pl.exclude(first))
    tables = {
        "summary.parquet": table,
        "variants.parquet": _variants(table, comparisons),
        "seeds.parquet": _seeds(table, about.seeds, comparisons),
        "left_out.parquet": _left_out(records, encoders, table, headlines),
    }
    with whole_files(*(output / name for name in tables)) as temporaries:
        for frame, temporary in zip(tables.values(), temporaries, strict=True):
            write_parquet(frame, temporary)


def score_rows(summary: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the score table: a row a system, a column a benchmark; values to four places, with interval
    and marks (:data:`MARKS`). Variants have a table of their own (:func:`variant_rows`)."""
    if not summary.is_file():
        raise BioHiCLError(f"{summary}: no such file; evaluate first (snakemake evaluate)")
    table = pl.read_parquet(summary).filter(
        pl.col("headline"), pl.col("condition") == HEADLINE_CONDITION, pl.col("role") != "variant"
    )
    columns = table.sort("kind", "benchmark").select("benchmark", "metric").unique(maintain_order=True).rows()
    cells = {(row["system"], row["benchmark"]): _cell(row) for row in table.iter_rows(named=True)}
    rows = [
        [system, role, *(cells.get((system, benchmark), "-") for benchmark, _ in columns)]
        for system, role in table.select("system", "role").unique(maintain_order=True).iter_rows()
    ]
    return ["system", "role", *(f"{benchmark} {metric}" for benchmark, metric in columns)], rows


def score_text(summary: Path) -> str:
    """The score table in columns, for a terminal; below, what is left out, how far seeds lie apart, and a legend."""
    header, rows = score_rows(summary)
    parts = [in_columns(header, rows, left=len(header))]
    for kind, name, reason in pl.read_parquet(summary.with_name("left_out.parquet")).iter_rows():
        parts.append(f"left out: {kind} {name}: {reason}")
    parts += ["", *_variant_lines(summary.with_name("variants.parquet"))]
    seeds = pl.read_parquet(summary.with_name("seeds.parquet"))
    for row in seeds.iter_rows(named=True):
        parts.append(
            f"{row['recipe']}, {len(row['models'])} seeds, {row['benchmark']} {row['metric']}: mean {row['mean']:.4f}, "
            f"standard deviation {row['standard_deviation']:.4f}, {row['lowest']:.4f} to {row['highest']:.4f}"
            + (_gain(row) if row["difference"] is not None else "")
        )
    return "\n".join([*parts, "", *legend_of(summary)])


def legend_of(summary: Path) -> list[str]:
    """What the table's marks mean, of those that may stand there."""
    return [*LEGEND, *([LEGEND_SEEN] if pl.read_parquet(summary, columns=["seen"])["seen"].any() else [])]


def _gain(row: Mapping[str, Any]) -> str:
    return f"; against {row['reference']} {row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"


def variant_rows(variants: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what smaller embeddings cost."""
    header = ["variant", "benchmark", "metric", "bytes/document", "score", "difference", "95 % interval"]
    header += ["same first", "same ten"]
    rows = [
        [
            *(row["system"], row["benchmark"], row["metric"], f"{row['index_bytes']:,.0f}", f"{row['value']:.4f}"),
            *(f"{row['difference']:+.4f}", f"[{row['low']:+.4f}, {row['high']:+.4f}]"),
            *(f"{row[name]:,} of {row['queries']:,}" for name in ("same_first", "same_ten")),
        ]
        for row in pl.read_parquet(variants).iter_rows(named=True)
    ]
    return header, rows


def _variant_lines(variants: Path) -> list[str]:
    header, rows = variant_rows(variants)
    about = "Beside the same vectors in float32: the score, and queries with the same first document or the same ten."
    return [in_columns(header, rows, left=3), about, ""] if rows else []


def _cell(row: Mapping[str, Any]) -> str:
    marks = (SEEN if row["seen"] else "") + "".join(
        MARKS[prefix, 1 if row[f"{prefix}_difference"] > 0 else -1]
        for prefix in ("reference", LEXICAL)
        if row[f"{prefix}_p_holm"] is not None and row[f"{prefix}_p_holm"] < SIGNIFICANT
    )
    return f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}] {marks}".rstrip()


def _adjusted(differences: pl.DataFrame, headlines: Mapping[str, str]) -> pl.DataFrame:
    """With p_holm, null but for the condition that tables show."""
    is_headline = pl.col("metric") == pl.col("benchmark").replace_strict(headlines)
    family = pl.when(is_headline).then(pl.lit("score table")).otherwise("metric")
    whole = differences.filter(pl.col("condition") == HEADLINE_CONDITION).with_columns(family=family)
    parts = [
        part.with_columns(p_holm=pl.Series(holm(part["p"].to_list()), dtype=pl.Float64))
        for part in whole.partition_by("system", "reference", "family")
    ]
    others = differences.filter(pl.col("condition") != HEADLINE_CONDITION).with_columns(p_holm=pl.lit(None, pl.Float64))
    return pl.concat([*(part.drop("family") for part in parts), others])


def _variants(table: pl.DataFrame, comparisons: Sequence[Path]) -> pl.DataFrame:
    """Of each variant and benchmark, by the score table's metric: bytes, loss, and what changes in the runs."""
    changes = pl.concat([pl.read_parquet(folder / "rank_changes.parquet") for folder in comparisons])
    shown = table.filter(pl.col("headline"), pl.col("condition") == HEADLINE_CONDITION, pl.col("role") == "variant")
    loss = {f"reference_{name}": name for name in ("difference", "low", "high", "p", "p_holm")}
    facts = shown.select("system", "benchmark", "metric", "index_bytes", "value", *loss).rename(loss)
    return facts.join(changes, on=["system", "benchmark"], how="left", maintain_order="left")


def _seeds(table: pl.DataFrame, seeds: Mapping[str, Sequence[str]], comparisons: Sequence[Path]) -> pl.DataFrame:
    whole = table.filter(pl.col("condition") == HEADLINE_CONDITION)
    rows: list[dict[str, Any]] = []
    for recipe, models in seeds.items():
        of_models = whole.filter(pl.col("system").is_in(list(models)))
        for (benchmark, metric), part in of_models.group_by(["benchmark", "metric"], maintain_order=True):
            value = part["value"]
            rows.append(
                {"recipe": recipe, "models": list(models), "benchmark": benchmark, "metric": metric}
                | {
                    "mean": value.mean(),
                    "standard_deviation": value.std(),
                    "lowest": value.min(),
                    "highest": value.max(),
                }
            )
    on = ["recipe", "benchmark", "metric"]
    gains = pl.concat([pl.read_parquet(folder / "seeds.parquet") for folder in comparisons])
    spread = pl.DataFrame(rows, schema={name: dtype for name, dtype in SEEDS.items() if name not in GAINS})
    return spread.join(gains.select(*on, *GAINS), on=on, how="left", maintain_order="left").select(*SEEDS)


def _left_out(
    records: Mapping[str, Path], encoders: Mapping[str, Path], table: pl.DataFrame, headlines: Mapping[str, str]
) -> pl.DataFrame:
    reasons = [("benchmark", name, read_json(file)["reason"]) for name, file in records.items()]
    measured = {name: set(part["metric"]) for (name,), part in table.group_by(["benchmark"])}
    reasons += [
        ("benchmark", name, f"has no {headlines[name]}: choose another headline of {', '.join(sorted(metrics))}")
        for name, metrics in measured.items()
        if headlines[name] not in metrics
    ]
    reasons += [("system", name, why_unavailable(folder)) for name, folder in encoders.items()]
    return pl.DataFrame([row for row in reasons if row[2]], schema=LEFT_OUT, orient="row")
