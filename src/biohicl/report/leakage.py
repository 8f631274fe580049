"""What selections left out for being a benchmark's text, and what they share with benchmarks all the same.

Goes in: the tables that select and overlap wrote, of citations and of labelled pairs. Comes out: a row a selection and
benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from biohicl.report.columns import Table


def counted_leaks(excluded: Sequence[Path], overlaps: Sequence[Path]) -> list[dict[str, Any]]:
    """Of each selection and benchmark: texts left out, by reason, and the benchmark's documents and queries that are in
    it all the same; None where that was not counted."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def row(selection: str, benchmark: str) -> dict[str, Any]:
        return rows.setdefault(
            (selection, benchmark), {"left_out": 0, "reasons": "", "documents": None, "queries": None}
        )

    for file in excluded:
        table = pl.read_parquet(file)
        # Citations, or documents of a user's own pairs.
        key = ["pmid"] if "pmid" in table.columns else ["source", "document_id"]
        for (benchmark,), part in table.group_by(["benchmark"], maintain_order=True):
            texts = part.unique(key, keep="first", maintain_order=True)
            reasons = ", ".join(
                f"{count:,} by {reason}" for reason, count in texts["reason"].value_counts().sort("reason").rows()
            )
            row(file.stem, str(benchmark)).update(left_out=texts.height, reasons=reasons)
    for file in overlaps:
        # Of labelled pairs some rows are of queries, and have no document.
        table = pl.read_parquet(file)
        shared = {
            name: table[column].drop_nulls().n_unique()
            for name, column in (("documents", "document_id"), ("queries", "query_id"))
            if column in table.columns
        }
        row(file.parent.name, file.stem).update(shared)
    return [{"selection": selection, "benchmark": benchmark, **found} for (selection, benchmark), found in rows.items()]


def leaks(excluded: Sequence[Path], overlaps: Sequence[Path]) -> Table:
    """The same as a table."""
    header = ["selection", "benchmark", "how they were found", "texts left out", "documents in the selection"]
    header += ["queries in the selection"]
    rows = [
        [
            *(row[name] for name in ("selection", "benchmark", "reasons")),
            *(_count(row[name]) for name in ("left_out", "documents", "queries")),
        ]
        for row in counted_leaks(excluded, overlaps)
    ]
    return Table(header, rows, left=3)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
