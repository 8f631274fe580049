"""The page's tables of models: trainings, what no training made, and how SimE follows SimL.

Goes in: model folders, and tables of similarities. Comes out: :class:`~biohicl.report.columns.Table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from biohicl.report.columns import Table
from biohicl.report.made import how_joined, manifest_of


def trainings(nodes: Sequence[Path]) -> Table:
    """A row a trained node."""
    header = ["model", "start", "losses", "citations", "steps", "first loss", "last loss"]
    rows = []
    for folder in nodes:
        manifest = manifest_of(folder)
        settings, loss = manifest["settings"], pl.read_parquet(folder / "training_log.parquet")["loss"]
        counts = f"{manifest['citations']:,}", f"{manifest['steps']:,}"
        rows.append(
            [
                folder.name,
                settings["start"],
                ", ".join(settings["losses"]),
                *counts,
                f"{loss[0]:.4f}",
                f"{loss[-1]:.4f}",
            ]
        )
    return Table(header, rows, left=3)


def untrained(nodes: Sequence[Path]) -> Table:
    """A row a model that was averaged or chosen: what it is made from, and how."""
    rows = []
    for folder in nodes:
        manifest = manifest_of(folder)
        rows.append([folder.name, manifest["settings"]["step"], how_joined(manifest)])
    return Table(["model", "step", "made from"], rows, left=3)


def similarities(tables: Mapping[str, pl.DataFrame]) -> Table:
    """A row a node and encoder: the correlation, and SimE of the least and the most similar pairs by their labels."""
    header = ["model", "encoder", "texts", "pairs", "correlation", "SimE at SimL 0", "quartiles"]
    header += ["SimE at the highest SimL", "which"]
    rows = []
    for name, table in tables.items():
        for encoder, words in (("start", "before"), ("model", "after")):
            part = table.filter(pl.col("encoder") == encoder)
            low, high = part.row(0, named=True), part.row(-1, named=True)
            at_zero = [f"{low['p50']:.3f}", f"{low['p25']:.3f} to {low['p75']:.3f}"] if low["high"] == 0 else ["-", "-"]
            all_pairs = f"{low['texts']:,}", f"{part['pairs'].sum():,}", f"{low['correlation']:.3f}"
            at_most = f"{high['p50']:.3f}", f"{high['low']:.1f} to {high['high']:.1f} ({high['pairs']:,} pairs)"
            rows.append([name, words, *all_pairs, *at_zero, *at_most])
    return Table(header, rows, left=2)
