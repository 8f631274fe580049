"""The page's figures of scores and training: drawn by matplotlib, readable in grey and by colour-blind readers.

Goes in: the tables of the summary, of trainings and of similarities. Comes out: a :class:`Drawing` each, with words for
who does not see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from biohicl.figures import COLOURS, svg_text

# For print, beside the colours.
STYLES = ("-", "--", "-.", ":")
# By role of a system: colour and marker.
ROLES = {
    "lexical": ("#000000", "s"),
    "backbone": (COLOURS[1], "D"),
    "model": (COLOURS[0], "o"),
    "hybrid": (COLOURS[2], "^"),
    "peer": (COLOURS[3], "v"),
}
WIDTH = 7.0
SMALL = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
# Panels of similarities beside each other.
BESIDE = 2
# Steps that losses are averaged over: at least so many points are left of a long training.
POINTS = 200


@dataclass(frozen=True)
class Drawing:
    """``alt``: what is seen, in words. ``svg`` is empty where there is nothing to draw."""

    name: str
    svg: str
    alt: str


def drawing(name: str, figure: Any, alt: str) -> Drawing:
    """A figure as SVG that says what is seen. Ids are the name's own: a page holds several figures."""
    from html import escape

    svg = svg_text(figure)
    for before in ('id="', 'href="#', "url(#"):
        svg = svg.replace(before, f"{before}{name}-")
    return Drawing(name, svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1), alt)


def scores_drawing(shown: pl.DataFrame) -> Drawing:
    """Each system's headline score with its interval, a panel a benchmark. ``shown``: rows of the summary."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if shown.is_empty():
        return Drawing("scores", "", "")
    benchmarks = shown.sort("kind", "benchmark").select("benchmark", "metric").unique(maintain_order=True).rows()
    systems = shown["system"].unique(maintain_order=True).to_list()
    rows = -(-len(benchmarks) // BESIDE)
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, rows * (0.7 + 0.17 * len(systems)) + 0.4), layout="constrained")
        panels = figure.subplots(rows, BESIDE, sharey=True, squeeze=False).ravel()
        for panel, (benchmark, metric) in zip(panels, benchmarks, strict=False):
            for row in shown.filter(pl.col("benchmark") == benchmark).iter_rows(named=True):
                colour, mark = ROLES[row["role"]]
                height = systems.index(row["system"])
                panel.plot([row["low"], row["high"]], [height, height], color=colour, lw=1.2)
                panel.plot(row["value"], height, mark, color=colour, ms=4.5)
            panel.set_title(f"{benchmark}, {metric}", fontsize=9)
            panel.grid(axis="x", lw=0.3)
        for panel in panels[len(benchmarks) :]:
            panel.axis("off")
        panels[0].set_yticks(range(len(systems)), systems)
        panels[0].set_ylim(len(systems) - 0.5, -0.5)
        roles = shown["role"].unique(maintain_order=True).to_list()
        handles = [Line2D([], [], color=ROLES[role][0], marker=ROLES[role][1], ms=4.5, label=role) for role in roles]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(roles))
    best = shown.sort("value", descending=True).unique("benchmark", keep="first", maintain_order=True).sort("benchmark")
    told = "; ".join(
        f"{row['benchmark']}: {row['system']} is highest, {row['value']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
        for row in best.iter_rows(named=True)
    )
    return drawing("scores", figure, f"Dots with 95 % intervals, a panel a benchmark, a row a system. {told}.")


def training_drawing(nodes: Sequence[Path]) -> Drawing:
    """By step, of each trained node: the loss, and what was measured on held-out citations."""
    import matplotlib
    from matplotlib.figure import Figure

    if not nodes:
        return Drawing("training", "", "")
    panels_of = {
        "loss": "loss, as a share\nof the first step's",
        "mrr": "MRR of title → abstract,\nheld out",
        "correlation": "correlation of SimE\nand SimL, held out",
    }
    told = []
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, 6.4 + 0.2 * (len(nodes) // 3)), layout="constrained")
        panels = dict(zip(panels_of, figure.subplots(3, 1), strict=True))
        for place, node in enumerate(nodes):
            # Neighbours differ in colour and style, and no two of 24 are alike; the next 24 are thin, with other dots.
            style = STYLES[(place + place // 12) % len(STYLES)]
            more = min(place // 24, 1)
            line = {"color": COLOURS[place % len(COLOURS)], "ls": style, "lw": (1.4, 0.7)[more]}
            log = pl.read_parquet(node / "training_log.parquet")
            measured = pl.read_parquet(node / "development.parquet")
            # Losses of different recipes have different scales.
            share = _averaged(log.select("step", loss=pl.col("loss") / (log["loss"][0] or 1.0)))
            panels["loss"].plot(share["step"], share["loss"], label=node.name, **line)
            for name in ("mrr", "correlation"):
                known = measured.filter(pl.col(name).is_not_null())
                panels[name].plot(known["step"], known[name], marker=".^"[more], ms=(6, 3)[more], **line)
            told.append(_told(node.name, log, measured))
        for name, panel in panels.items():
            panel.set_ylabel(panels_of[name])
            panel.grid(axis="y", lw=0.3)
        panels["correlation"].set_xlabel("step")
        figure.legend(loc="outside lower center", ncols=3)
    return drawing("training", figure, f"Lines by training step, three panels, a line a model. {' '.join(told)}")


def _averaged(log: pl.DataFrame) -> pl.DataFrame:
    """Means of as many steps as leave :data:`POINTS` points: a page of 20 trainings stays small."""
    size = max(log.height // POINTS, 1)
    return log.group_by(pl.int_range(pl.len()) // size, maintain_order=True).mean().select("step", "loss")


def _told(name: str, log: pl.DataFrame, measured: pl.DataFrame) -> str:
    told = f"{name}: the loss goes from {log['loss'][0]:.3f} to {log['loss'][-1]:.3f} in {log.height:,} steps"
    for column, words in (("mrr", "MRR"), ("correlation", "correlation with SimL")):
        known = measured[column].drop_nulls()
        if len(known):
            told += f", {words} from {known[0]:.3f} to {known[-1]:.3f}"
    return f"{told}."


def similarity_drawing(tables: Mapping[str, pl.DataFrame]) -> Drawing:
    """SimE of held-out texts by their SimL, before and after training, a panel a node."""
    import matplotlib
    from matplotlib.figure import Figure

    if not tables:
        return Drawing("similarities", "", "")
    rows = -(-len(tables) // BESIDE)
    told = []
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, 2.7 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, BESIDE, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (name, table) in zip(panels, tables.items(), strict=False):
            for encoder, label, colour, line in (
                ("start", "before", COLOURS[1], "s--"),
                ("model", "after", COLOURS[0], "o-"),
            ):
                part = table.filter(pl.col("encoder") == encoder)
                middle = (part["low"] + part["high"]) / 2
                panel.fill_between(middle, part["p25"], part["p75"], color=colour, alpha=0.2, lw=0)
                panel.vlines(middle, part["p05"], part["p95"], color=colour, lw=0.7)
                panel.plot(middle, part["p50"], line, color=colour, ms=3.5, lw=1.4, label=label)
            panel.set_title(name, fontsize=9)
            panel.grid(lw=0.3)
            told.append(f"{name}: {_of_node(table)}")
        for panel in panels[len(tables) :]:
            panel.axis("off")
        figure.supxlabel("SimL, of the labels", fontsize=9)
        figure.supylabel("SimE, cosine of the embeddings", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    seen = "Medians of SimE by SimL with quartiles as a band, before and after training, a panel a model."
    return drawing("similarities", figure, f"{seen} {' '.join(told)}")


def _of_node(table: pl.DataFrame) -> str:
    parts = {name: table.filter(pl.col("encoder") == name) for name in ("start", "model")}
    spans = [f"{part['p50'][0]:.2f} to {part['p50'][-1]:.2f}" for part in parts.values()]
    found = [part["correlation"][0] for part in parts.values()]
    return (
        f"from the lowest SimL to the highest the median SimE goes from {spans[0]} before and from {spans[1]} after; "
        f"the correlation goes from {found[0]:.3f} to {found[1]:.3f}."
    )
