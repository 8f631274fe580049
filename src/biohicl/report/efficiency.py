"""What each system costs, side by side.

Goes in: the tables that :mod:`biohicl.evaluation.efficiency` wrote, one a system and device. Comes out: one table, and
the same as text for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from biohicl.report.columns import Table, in_columns
from biohicl.storage import whole_files, write_parquet

# Column of the table, heading, and how a value is written.
SHOWN = {
    "parameters": ("parameters", "{:,.0f}"),
    "dimension": ("dimension", "{:,.0f}"),
    "index_bytes": ("index bytes/document", "{:,.0f}"),
    "texts_per_second": ("texts/s", "{:,.1f}"),
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
    "latency_p50": ("query p50 ms", "{:,.2f}"),
    "latency_p95": ("query p95 ms", "{:,.2f}"),
    "search_p50": ("of it search ms", "{:,.2f}"),
    "peak_memory_mb": ("peak MB", "{:,.0f}"),
}
SECONDS = ("latency_p50", "latency_p95", "search_p50")


def write_efficiency(measured: Sequence[Path], output: Path, text: Path) -> None:
    """Writes the joint table and its text."""
    table = pl.concat([pl.read_parquet(file) for file in measured])
    with whole_files(output, text) as (table_file, text_file):
        write_parquet(table, table_file)
        text_file.write_text(efficiency_text(table) + "\n", encoding="utf-8")


def efficiency_text(table: pl.DataFrame) -> str:
    """The table in columns, under what it was measured on."""
    about, shown = efficiency_table(table)
    return "\n".join([about, "", in_columns(shown.header, shown.rows, shown.left)])


def efficiency_table(table: pl.DataFrame) -> tuple[str, Table]:
    """What it was measured on, and a row a system and device."""
    rows = []
    for row in table.iter_rows(named=True):
        values = (row[name] if name not in SECONDS or row[name] is None else 1000 * row[name] for name in SHOWN)
        cells = (
            how.format(value) if value is not None else "-"
            for value, (_, how) in zip(values, SHOWN.values(), strict=True)
        )
        rows.append([row["system"], row["device"], str(row["threads"]), *cells])
    header = ["system", "device", "threads", *(heading for heading, _ in SHOWN.values())]
    machines = "; ".join(table["machine"].unique(maintain_order=True).to_list())
    first = table.row(0, named=True)
    about = (
        f"{machines}. Documents and queries of {first['benchmark']}; each query among {first['documents']:,} documents."
    )
    return about, Table(header, rows, left=2)
