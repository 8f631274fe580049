"""The development scores as text, for a person who decides.

Goes in: the table of :mod:`biohicl.evaluation.development`. Comes out: columns, a row a system.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from biohicl.evaluation.choosing import PAIR_METRIC, RETRIEVAL_METRIC
from biohicl.evaluation.development import MEAN
from biohicl.report.columns import Table, in_columns

LEGEND = (
    "On development splits and sets, which score nothing else. [ ]: 95 % paired bootstrap interval of the difference "
    "to the model's backbone, over queries or pairs; * where it leaves out 0."
)
TRAINED = " (t): trained on that split, which says nothing of the model then."
CHOSEN = " (c): chosen by these scores, which are somewhat too good then; the test sets are what says how good."


def development_text(table: pa.Table) -> str:
    """The table in columns, a legend below."""
    shown, legend = development_table(table)
    return "\n".join([in_columns(shown.header, shown.rows, shown.left), "", legend])


def development_table(table: pa.Table) -> tuple[Table, str]:
    """A row a system, and a legend; differences of single sets are in the Parquet file alone."""
    rows = table.to_pylist()
    shown = list(dict.fromkeys((row["metric"], row["benchmark"]) for row in rows))
    # Of one set the mean is that set.
    of_metric = {
        metric: [name for other, name in shown if other == metric] for metric in (RETRIEVAL_METRIC, PAIR_METRIC)
    }
    found = {(row["system"], row["metric"], row["benchmark"]): row for row in rows}
    header, columns = ["system"], []
    for metric, names in of_metric.items():
        for name in names:
            if name != MEAN or len(names) > 2:
                header.append(f"{name} {metric}")
                columns.append((metric, name, False))
        if names:
            header.append(f"to backbone, {metric}")
            columns.append((metric, MEAN, True))
    lines = []
    for system in dict.fromkeys(row["system"] for row in rows):
        cells = (found[system, metric, name] for metric, name, _ in columns)
        lines.append(
            [system, *(_cell(row, is_difference) for row, (_, _, is_difference) in zip(cells, columns, strict=True))]
        )
    legend = LEGEND
    legend += TRAINED if any(row["trained_on"] for row in rows) else ""
    legend += CHOSEN if any(row["chosen_on"] for row in rows) else ""
    return Table(header, lines), legend


def _cell(row: dict[str, Any], is_difference: bool) -> str:
    if not is_difference:
        return f"{row['value']:.4f}" + (" (t)" if row["trained_on"] else "") + (" (c)" if row["chosen_on"] else "")
    if row["difference"] is None:
        return "-"
    if row["low"] is None:
        return f"{row['difference']:+.4f}"
    told = "*" if row["low"] > 0 or row["high"] < 0 else " "
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]{told}"
