"""The study's figure: every combination's AUC, a panel for each kind of evidence."""

from __future__ import annotations

from typing import Any

import polars as pl

from biohicl.figures import COLOURS
from biohicl.mesh.similarity import METHODS
from biohicl.study.combinations import PUBLISHED_COLUMNS

COLOUR_OF = dict(zip(METHODS, COLOURS, strict=False))
MARKS = {"keep": "o", "half": "D", "drop": "^"}


def auc_figure(table: pl.DataFrame) -> Any:
    """A matplotlib figure. ``table`` as the study writes it; of what becomes of minor topics the best is taken. A row
    a weight, a colour a similarity, a mark for what becomes of check tags; lines are intervals of the AUC itself, not
    of differences. A ring marks each panel's best, a square the published weighting."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # The table has the best first.
    plain = table.unique(["evidence", "similarity", "weight", "check_tags"], keep="first", maintain_order=True)
    exactly = (pl.col(name) == value for name, value in PUBLISHED_COLUMNS.items())
    published = dict(table.filter(*exactly).select("evidence", "auc").iter_rows())
    kinds = plain["evidence"].unique(maintain_order=True).to_list()
    weights = plain["weight"].unique().sort().to_list()
    figure = Figure(figsize=(3.4 * len(kinds) + 1.2, 0.95 * len(weights) + 1.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    styles = [(similarity, tags) for similarity in COLOUR_OF for tags in MARKS]
    for panel, kind in zip(panels, kinds, strict=True):
        for row in plain.filter(pl.col("evidence") == kind).iter_rows(named=True):
            step = styles.index((row["similarity"], row["check_tags"])) - (len(styles) - 1) / 2
            height = weights.index(row["weight"]) + step * 0.8 / len(styles)
            colour = COLOUR_OF[row["similarity"]]
            panel.plot([row["low"], row["high"]], [height, height], color=colour, lw=0.8, alpha=0.6)
            panel.plot(row["auc"], height, MARKS[row["check_tags"]], color=colour, ms=3.5)
            if row["behind_best"] == 0:
                panel.plot(row["auc"], height, "o", color="black", mfc="none", ms=9)
            if all(row[name] == PUBLISHED_COLUMNS[name] for name in ("similarity", "weight", "check_tags")):
                panel.plot(published[row["evidence"]], height, "s", color="black", mfc="none", ms=9)
        panel.set_title(f"{kind}\n{plain.filter(pl.col('evidence') == kind)['units'][0]:,} units", fontsize=9)
        panel.set_xlabel("AUC")
        panel.set_yticks(range(len(weights)), weights)
        panel.set_ylim(len(weights) - 0.5, -0.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="x", lw=0.3)
    handles = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in COLOUR_OF.items()]
    handles += [
        Line2D([], [], color="#444444", marker=mark, ls="", ms=4, label=f"check tags: {name}")
        for name, mark in MARKS.items()
    ]
    handles += [
        Line2D([], [], color="black", marker=mark, mfc="none", ls="", ms=8, label=name)
        for mark, name in (("o", "best"), ("s", "as published"))
    ]
    figure.suptitle("Each label weighting on related and unrelated pairs of citations (minor topics: the best)")
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure
