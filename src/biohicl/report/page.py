"""``results/report.html``: one page that opens from disk, without the network.

Goes in: the score summary, training logs, corpus and hierarchy. Comes out: HTML with its figures inside; each
section names the files that its numbers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

import biohicl
from biohicl.errors import BioHiCLError
from biohicl.figures import COLOURS, svg_text
from biohicl.progress import say
from biohicl.pubmed.quarantine import quarantined
from biohicl.report import made
from biohicl.report.leaks import leaks
from biohicl.report.summary import legend_of, score_rows, variant_rows
from biohicl.storage import read_json, whole_files

# For print, beside the colours.
STYLES = ("-", "--", "-.", ":")
ANOMALIES_SHOWN = 20


def write_report(
    summary: Path,
    nodes: Sequence[Path],
    current: Path,
    corpus_anomalies: Path,
    pubmed: Path,
    mesh: Path,
    pubmed_record: Path,
    excluded: Sequence[Path],
    overlaps: Sequence[Path],
    output: Path,
) -> None:
    """Writes the page. ``nodes``: model folders; ``pubmed``, ``mesh``: the folders of their tables; ``excluded``: the
    citations that each selection leaves out; ``overlaps``: what selections share with benchmarks all the same."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("biohicl.report"), autoescape=True, undefined=StrictUndefined)
    header, rows = score_rows(summary)
    release = read_json(pubmed_record)
    if not nodes:
        raise BioHiCLError("no models to report on")
    # A choice holds the log of the chosen one, which is that one's.
    trained = [node for node in nodes if step_of(node) == "train"]
    by_file = pl.scan_parquet(current).group_by("file").agg(citations=pl.len()).sort("file").collect(engine="streaming")
    hierarchy = pl.read_parquet(mesh / "hierarchy.parquet")
    html = environment.get_template("report.html.j2").render(
        version=biohicl.__version__,
        header=header,
        rows=rows,
        legend=legend_of(summary),
        full=pl.read_parquet(summary).to_dicts(),
        variants=variant_rows(summary.with_name("variants.parquet")),
        seeds=pl.read_parquet(summary.with_name("seeds.parquet")).to_dicts(),
        left_out=pl.read_parquet(summary.with_name("left_out.parquet")).to_dicts(),
        leaks=leaks(excluded, overlaps),
        release=release,
        citations=by_file["citations"].sum(),
        files=by_file.to_dicts(),
        corpus_anomalies=pl.read_parquet(corpus_anomalies).to_dicts(),
        quarantined=quarantined([file["name"] for file in release["files"]], pubmed).to_dicts(),
        shown=ANOMALIES_SHOWN,
        descriptors=hierarchy.height,
        several_parents=hierarchy.filter(pl.col("parents").list.len() > 1).height,
        deepest=hierarchy["depth_max"].max(),
        anomalies=pl.read_parquet(mesh / "anomalies.parquet").to_dicts(),
        nodes=[_node(node) for node in trained],
        curves=_training_curves(trained),
        untrained=[untrained(node) for node in nodes if node not in trained],
        sources={
            "summary": summary,
            "variants": summary.with_name("variants.parquet"),
            "left_out": summary.with_name("left_out.parquet"),
            "excluded": excluded,
            "overlaps": overlaps,
            "current": current,
            "numbering": corpus_anomalies,
            "quarantine": pubmed / "quarantine",
            "mesh": mesh,
            "pubmed": pubmed_record,
        },
    )
    with whole_files(output) as (temporary,):
        temporary.write_text(html, encoding="utf-8")
    say(f"{output}: written")


def _node(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / "manifest.json")
    log = pl.read_parquet(folder / "training_log.parquet")
    return {"folder": folder, "manifest": manifest, "first": log["loss"][0], "last": log["loss"][-1]}


def step_of(folder: Path) -> str:
    """How a node was made."""
    return made.step_of(read_json(folder / "manifest.json"))


def untrained(folder: Path) -> dict[str, Any]:
    """An average or a choice: what it is made from, and how."""
    manifest = read_json(folder / "manifest.json")
    return {"folder": folder, "step": manifest["settings"]["step"], "how": made.how_joined(manifest)}


def _training_curves(nodes: Sequence[Path]) -> str:
    """The loss of each trained node by step, as SVG text; empty without any."""
    from matplotlib.figure import Figure

    if not nodes:
        return ""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for place, node in enumerate(nodes):
        log = pl.read_parquet(node / "training_log.parquet")
        # Losses of different recipes have different scales: each is shown as a share of its first step's.
        share = log["loss"] / (log["loss"][0] or 1.0)
        axes.plot(
            log["step"],
            share,
            STYLES[place % len(STYLES)],
            color=COLOURS[place % len(COLOURS)],
            label=node.name,
            lw=1.5,
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss, as a share of the first step's")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return svg_text(figure)
