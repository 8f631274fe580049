"""``results/report.html``: one page that opens from disk, without the network.

Goes in: the files of :class:`~biohicl.report.sources.Sources`. Comes out: HTML with its figures inside, in which each
section names the files that its numbers come from; beside it the figures as SVG files and the score table as CSV.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq

import biohicl
from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.progress import say
from biohicl.pubmed.invented import is_invented
from biohicl.pubmed.quarantine import quarantined
from biohicl.report.columns import Table
from biohicl.report.corpus_drawings import corpus_drawings
from biohicl.report.development import development_table
from biohicl.report.drawings import Drawing, drawing, scores_drawing, similarity_drawing, training_drawing
from biohicl.report.efficiency import efficiency_table
from biohicl.report.job_figure import job_figure
from biohicl.report.job_graph import JobGraph, recorded_graph
from biohicl.report.leakage import leaks
from biohicl.report.made import manifest_of, step_of
from biohicl.report.sources import Sources
from biohicl.report.summary import legend_of, score_rows, variant_rows
from biohicl.report.training_tables import similarities, trainings, untrained
from biohicl.storage import whole_directory, whole_files
from biohicl.study.ablations import ablation_figure, ablation_rows

if TYPE_CHECKING:
    from jinja2 import Environment

ANOMALIES_SHOWN = 20
# The rule that makes the page.
RULE = "write_report"


def write_report(sources: Sources, output: Path, scores: Path | None = None, figures: Path | None = None) -> None:
    """Writes the page; ``scores``: for the score table as CSV; ``figures``: a folder for the figures as SVG."""
    if not sources.nodes:
        raise BioHiCLError("no models to report on")
    drawn: dict[str, Drawing] = {}
    content = {
        **_scores(sources, drawn),
        **_training(sources, drawn),
        **_beside(sources, drawn),
        **_corpus(sources, drawn),
        **_jobs(sources, drawn),
        "leaks": leaks(sources.excluded, sources.overlaps),
        "shown": ANOMALIES_SHOWN,
        "sources": sources,
        "version": biohicl.__version__,
    }
    html = templates().get_template("report.html.j2").render(**content, drawn=drawn)
    table: Table = content["scores"]
    if figures is not None:
        with whole_directory(figures) as folder:
            for one in drawn.values():
                (folder / f"{one.name}.svg").write_text(one.svg, encoding="utf-8")
    targets = [output, *([scores] if scores is not None else [])]
    with whole_files(*targets) as (page, *beside):
        page.write_text(html, encoding="utf-8")
        for file in beside:
            with file.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows([table.header, *table.rows])
    say(f"{output}: written, with {len(drawn)} figures")


def templates() -> Environment:
    """The page's templates. Whatever is put into them is text: names and notes are of benchmarks and files, too."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("biohicl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _keep(drawn: dict[str, Drawing], *made: Drawing) -> None:
    drawn.update({one.name: one for one in made if one.svg})


def _scores(sources: Sources, drawn: dict[str, Drawing]) -> dict[str, Any]:
    header, rows = score_rows(sources.summary)
    summary = pl.read_parquet(sources.summary)
    headline = pl.col("headline") & (pl.col("condition") == HEADLINE_CONDITION) & (pl.col("role") != "variant")
    shown, seeds = summary.filter(headline), pl.read_parquet(sources.beside("seeds"))
    _keep(drawn, scores_drawing(shown))
    conditions = [
        [
            *(row[name] for name in ("system", "benchmark", "condition", "metric")),
            *(f"{row['value']:.4f}", f"{row['low']:.4f} to {row['high']:.4f}", f"{row['n']:,}"),
        ]
        for row in summary.iter_rows(named=True)
    ]
    full = ["system", "benchmark", "condition", "metric", "value", "95 % interval", "queries or pairs"]
    return {
        "scores": Table(header, rows, left=2),
        "legend": legend_of(sources.summary),
        "full": Table(full, conditions, left=4),
        "variants": Table(*variant_rows(sources.beside("variants")), left=3),
        "seeds": _seeds(seeds.join(shown, on=["benchmark", "metric"], how="semi", maintain_order="left")),
        "all_seeds": _seeds(seeds),
        "left_out": pl.read_parquet(sources.beside("left_out")).to_dicts(),
    }


def _seeds(table: pl.DataFrame) -> Table:
    header = ["first model", "benchmark", "metric", "against", "seeds", "mean", "standard deviation", "lowest"]
    header += ["highest", "difference", "95 % interval, other seeds too"]
    rows = []
    for row in table.iter_rows(named=True):
        gain = ["", ""]
        if row["reference"]:
            gain = [f"{row['difference']:+.4f}", f"{row['low']:+.4f} to {row['high']:+.4f}"]
        spread = (f"{row[name]:.4f}" for name in ("mean", "standard_deviation", "lowest", "highest"))
        named = row["recipe"], row["benchmark"], row["metric"], row["reference"] or ""
        rows.append([*named, str(len(row["models"])), *spread, *gain])
    return Table(header, rows, left=4)


def _training(sources: Sources, drawn: dict[str, Drawing]) -> dict[str, Any]:
    # A choice holds the log of the chosen one, which is that one's.
    trained = [node for node in sources.nodes if step_of(manifest_of(node)) == "train"]
    others = [node for node in sources.nodes if node not in trained]
    tables = {file.stem: pl.read_parquet(file) for file in sources.similarities}
    _keep(drawn, training_drawing(trained), similarity_drawing(tables))
    return {
        "trained": trained,
        "trainings": trainings(trained),
        "others": others,
        "untrained": untrained(others),
        "similarities": similarities(tables),
    }


def _beside(sources: Sources, drawn: dict[str, Drawing]) -> dict[str, Any]:
    """What targets beside `all` made, where they were run."""
    found: dict[str, Any] = {"ablations": None, "efficiency": None, "development": None}
    if sources.ablations is not None:
        table = pl.read_parquet(sources.ablations)
        found["ablations"] = Table(*ablation_rows(table))
        if "value" in table.columns:
            told = "; ".join(
                f"{row['cell']} {row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
                for row in table.drop_nulls("value").iter_rows(named=True)
            )
            alt = f"Dots with 95 % intervals: the gain of each variant over the base. {told}."
            _keep(drawn, drawing("ablations", ablation_figure(table), alt))
    if sources.efficiency is not None:
        found["efficiency"] = efficiency_table(pl.read_parquet(sources.efficiency))
    if sources.development is not None:
        found["development"] = development_table(pq.read_table(sources.development))
    return found


def _corpus(sources: Sources, drawn: dict[str, Drawing]) -> dict[str, Any]:
    release = sources.release()
    current = pl.scan_parquet(sources.current)
    by_file = current.group_by("file").agg(citations=pl.len()).sort("file").collect(engine="streaming")
    description = pl.read_parquet(sources.description)
    counts = {(row["kind"], row["value"]): row["citations"] for row in description.iter_rows(named=True)}
    total = counts["citations", "all"]
    _keep(drawn, *corpus_drawings(description))
    languages = description.filter(pl.col("kind") == "language")
    hierarchy = pl.read_parquet(sources.mesh / "hierarchy.parquet")
    return {
        "release": release,
        "invented": is_invented(file["name"] for file in release["files"]),
        "citations": total,
        "files": Table(["file", "current citations"], [[name, f"{count:,}"] for name, count in by_file.iter_rows()]),
        "counts": counts,
        "languages": Table(
            ["language", "citations", "share"],
            [
                [row["value"], f"{row['citations']:,}", f"{row['citations'] / total:.2%}"]
                for row in languages.iter_rows(named=True)
            ],
        ),
        "corpus_anomalies": _anomalies(sources.corpus_anomalies),
        "quarantined": Table(
            ["file", "PMID", "why", "line"],
            [
                [row["file"], str(row["pmid"] or "unknown"), row["reason"], f"{row['line']:,}"]
                for row in quarantined([file["name"] for file in release["files"]], sources.pubmed).iter_rows(
                    named=True
                )
            ],
            left=3,
        ),
        "descriptors": hierarchy.height,
        "several_parents": hierarchy.filter(pl.col("parents").list.len() > 1).height,
        "deepest": hierarchy["depth_max"].max(),
        "anomalies": _anomalies(sources.mesh / "anomalies.parquet"),
    }


def _anomalies(file: Path) -> Table:
    rows = pl.read_parquet(file, columns=["kind", "subject", "detail"]).rows()
    return Table(["anomaly", "where", "what"], rows, left=3)


def _jobs(sources: Sources, drawn: dict[str, Drawing]) -> dict[str, Any]:
    graph = recorded_graph(sources.files(), RULE, sources.records)
    if graph.jobs:
        _keep(drawn, drawing("rules", job_figure(graph), _told(graph)))
    return {"graph": graph, "read_by": _read_by(graph)}


def _told(graph: JobGraph) -> str:
    first: Sequence[str] = [rule for rule in graph.jobs if all(rule != other for _, other in graph.edges)]
    return (
        f"A graph of {len(graph.jobs)} rules in layers, from {', '.join(first)} at its top down to {RULE}. The table "
        "below lists what each rule reads."
    )


def _read_by(graph: JobGraph) -> Table:
    """A row a rule, and the rules whose outputs it reads: the graph for who does not see it."""
    rows = [
        [rule, ", ".join(sorted(one for one, other in graph.edges if other == rule)) or "-", f"{count:,}"]
        for rule, count in sorted(graph.jobs.items(), key=lambda item: (graph.depth[item[0]], item[0]))
    ]
    return Table(["rule", "reads what these made", "jobs"], rows, left=2)
