"""What selections share with benchmarks, counted: what was left out for it, and what is there all the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl


def leaks(excluded: Sequence[Path], overlaps: Sequence[Path]) -> list[dict[str, Any]]:
    """Of each selection and benchmark: citations left out, by reason, and documents that are in it all the same."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def row(selection: str, benchmark: str) -> dict[str, Any]:
        blank = {"left_out": 0, "reasons": "", "shared": None, "queries": 0}
        return rows.setdefault((selection, benchmark), {"selection": selection, "benchmark": benchmark, **blank})

    for file in excluded:
        for (benchmark,), part in pl.read_parquet(file).group_by(["benchmark"], maintain_order=True):
            counts = (
                part.unique("pmid", keep="first", maintain_order=True)["reason"].value_counts().sort("reason").rows()
            )
            reasons = ", ".join(f"{count} by {reason}" for reason, count in counts)
            row(file.stem, str(benchmark)).update(left_out=part["pmid"].n_unique(), reasons=reasons)
    for file in overlaps:
        # Of labelled pairs some rows are of queries, and have no document.
        table = pl.read_parquet(file)
        shared, queries = (
            table[name].drop_nulls().n_unique() if name in table.columns else 0 for name in ("document_id", "query_id")
        )
        row(file.parent.name, file.stem).update(shared=shared, queries=queries)
    return list(rows.values())
