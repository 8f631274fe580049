"""What a card says of a model's scores, from the summary: values, intervals, and what they allow to claim.

Goes in: ``summary.parquet`` and ``seeds.parquet`` beside it. Comes out: a row a benchmark, by the score table's metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from biohicl.configuration.systems import LEXICAL
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.report.summary import SIGNIFICANT

Row = dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """``rows``: of the model, with its reference's and BM25's values. ``without``: the same without documents that a
    selection shares with the benchmark. ``seeds``: of the recipe, where the model is one of several seeds."""

    rows: list[Row]
    without: list[Row]
    seeds: list[Row]

    def told(self, against: str, sign: int) -> list[str]:
        """The benchmarks on which the model is above (1) or below (-1) its ``reference`` or ``bm25``, by more than
        chance."""
        return [row["benchmark"] for row in self.rows if row[f"{against}_sign"] == sign]

    def untold(self, against: str) -> list[str]:
        """Those on which it is compared, and no difference was shown."""
        return [row["benchmark"] for row in self.rows if row[f"{against}_sign"] == 0]


def scores_of(summary: Path | None, system: str) -> Scores:
    """The scores of ``system``; none where there is no summary, or none of it there."""
    if summary is None:
        return Scores([], [], [])
    table = pl.read_parquet(summary).filter("headline")
    whole = table.filter(pl.col("condition") == HEADLINE_CONDITION)
    values = {(row["system"], row["benchmark"]): row for row in whole.iter_rows(named=True)}
    own = table.filter(pl.col("system") == system)
    rows = [_row(row, values) for row in own.filter(pl.col("condition") == HEADLINE_CONDITION).iter_rows(named=True)]
    without = own.filter(pl.col("condition").str.starts_with("without ")).to_dicts()
    seeds = pl.read_parquet(summary.with_name("seeds.parquet")).filter(pl.col("models").list.contains(system))
    shown = {(row["benchmark"], row["metric"]) for row in rows}
    return Scores(rows, without, [row for row in seeds.to_dicts() if (row["benchmark"], row["metric"]) in shown])


def _row(row: Row, values: dict[tuple[str, str], Row]) -> Row:
    signs = {f"{against}_sign": _sign(row, against) for against in ("reference", LEXICAL)}
    others = {
        f"{against}_value": values.get((name, row["benchmark"]), {}).get("value")
        for against, name in (("reference", row["reference"]), (LEXICAL, LEXICAL))
    }
    return {**row, **signs, **others}


def _sign(row: Row, against: str) -> int | None:
    """1 above, -1 below, 0 not told apart; None where it is not compared.

    A claim needs both: the test at 5 % after Holm's method, and an interval that leaves 0 out. Where samples are small
    or ties many, one of them may say what the other does not.
    """
    p, low, high = (row[f"{against}_{name}"] for name in ("p_holm", "low", "high"))
    if p is None:
        return None
    is_told = p < SIGNIFICANT and not low <= 0 <= high
    return 0 if not is_told else 1 if row[f"{against}_difference"] > 0 else -1


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
