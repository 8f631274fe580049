"""The score table: every system on every benchmark.

Goes in: metrics.parquet of each evaluation. Comes out: ``results/summary.parquet`` (the same rows, with the
system's role), and the table as text or rows for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.evaluation.metrics import HEADLINE
from biohicl.storage import write_parquet


def write_summary(metrics: Sequence[Path], roles: Mapping[str, str], output: Path) -> None:
    """Joins the ``metrics`` files; ``roles`` gives each system's (lexical, backbone or model), in the table's order."""
    if metrics:
        rows = pl.concat([pl.read_parquet(file) for file in metrics])
    else:
        raise BioHiCLError("no metrics files: nothing to sum up")
    unknown = sorted(set(rows["system"]) - roles.keys())
    if unknown:
        raise BioHiCLError(f"no role is given for {', '.join(unknown)}")
    order = {system: place for place, system in enumerate(roles)}
    rows = rows.with_columns(
        role=pl.col("system").replace_strict(dict(roles)), _place=pl.col("system").replace_strict(order)
    )
    rows = rows.sort("_place", "benchmark", "metric").select(
        "system", "role", "benchmark", "kind", "split", "metric", "value", "n"
    )
    write_parquet(rows, output)


def score_rows(summary: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the headline table: a row a system, a column a benchmark, values to four places."""
    if not summary.is_file():
        raise BioHiCLError(f"{summary}: no such file; evaluate first (snakemake evaluate)")
    table = pl.read_parquet(summary)
    table = table.filter(pl.col("metric") == pl.col("kind").replace_strict(HEADLINE))
    columns = {(row["benchmark"], row["metric"]): None for row in table.sort("kind", "benchmark").iter_rows(named=True)}
    values = {(row["system"], row["benchmark"]): row["value"] for row in table.iter_rows(named=True)}
    header = ["system", "role", *(f"{benchmark} {metric}" for benchmark, metric in columns)]
    rows = []
    for system, role in table.select("system", "role").unique(maintain_order=True).iter_rows():
        scores = (values.get((system, benchmark)) for benchmark, _ in columns)
        rows.append([system, role, *("-" if score is None else f"{score:.4f}" for score in scores)])
    return header, rows


def score_text(summary: Path) -> str:
    """The headline table in columns, for a terminal."""
    header, rows = score_rows(summary)
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])
