"""The study's figure: every combination's AUC, a panel for each kind of evidence."""

from __future__ import annotations

import io

import polars as pl

# Okabe and Ito's colours, told apart by colour-blind readers too; and marks for print.
COLOURS = {"cosine": "#0072B2", "flat_cosine": "#D55E00", "simgic": "#009E73", "best_match": "#CC79A7"}
MARKS = {"keep": "o", "half": "D", "drop": "^"}


def auc_figure(table: pl.DataFrame) -> str:
    """SVG text. ``table`` as the study writes it; minor topics as they are. A row a weight, a colour a similarity, a
    mark for what becomes of check tags; lines are the intervals."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # The same numbers give the same figure: no date, and ids drawn from a fixed salt.
    matplotlib.rcParams["svg.hashsalt"] = "biohicl"
    matplotlib.rcParams["svg.fonttype"] = "none"
    plain = table.filter(pl.col("minor_topics") == "keep")
    kinds = plain["evidence"].unique(maintain_order=True).to_list()
    weights = plain["weight"].unique().sort().to_list()
    figure = Figure(figsize=(3.4 * len(kinds) + 1.2, 0.95 * len(weights) + 1.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    styles = [(similarity, tags) for similarity in COLOURS for tags in MARKS]
    for panel, kind in zip(panels, kinds, strict=True):
        for row in plain.filter(pl.col("evidence") == kind).iter_rows(named=True):
            step = styles.index((row["similarity"], row["check_tags"])) - (len(styles) - 1) / 2
            height = weights.index(row["weight"]) + step * 0.8 / len(styles)
            colour = COLOURS[row["similarity"]]
            panel.plot([row["low"], row["high"]], [height, height], color=colour, lw=0.8, alpha=0.6)
            panel.plot(row["auc"], height, MARKS[row["check_tags"]], color=colour, ms=3.5)
        panel.set_title(f"{kind}\n{plain.filter(pl.col('evidence') == kind)['units'][0]:,} units", fontsize=9)
        panel.set_xlabel("AUC")
        panel.set_yticks(range(len(weights)), weights)
        panel.set_ylim(len(weights) - 0.5, -0.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="x", lw=0.3)
    handles = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in COLOURS.items()]
    handles += [
        Line2D([], [], color="#444444", marker=mark, ls="", ms=4, label=f"check tags: {name}")
        for name, mark in MARKS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
