"""The subcommands that make what people look at."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, project_path, settings


def add_commands(commands: Subcommands) -> None:
    """Adds summary, scores, efficiency, report."""

    def summary(options: argparse.Namespace) -> None:
        from biohicl.report.summary import About, write_summary

        records = {path.parent.name: path for path in options.records}
        encoders = {folder.name: folder for folder in options.encoders}
        write_summary(options.metrics, options.comparisons, About(**options.about), records, encoders, options.output)

    parser = command(commands, "summary", summary, "Join the metrics of all evaluations with how sure they are")
    parser.add_argument("metrics", nargs="*", type=Path, metavar="METRICS", help="metrics.parquet files")
    parser.add_argument("--comparisons", nargs="*", type=Path, default=[], metavar="DIR", help="what compare wrote")
    parser.add_argument("--about", type=settings, required=True, help="JSON: systems, benchmarks and seeds, in order")
    parser.add_argument("--records", nargs="*", type=Path, default=[], metavar="JSON", help="benchmark.json files")
    parser.add_argument(
        "--encoders", nargs="*", type=Path, default=[], metavar="DIR", help="encoders that may be absent"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")

    def scores(options: argparse.Namespace) -> None:
        from biohicl.report.summary import score_text

        table = Path("results/summary.parquet")
        print(score_text(options.summary or project_path(table, "snakemake --cores 2 evaluate, or name the table")))

    parser = command(commands, "scores", scores, "Print the score table")
    parser.add_argument("summary", nargs="?", type=Path, help="default: this project's")

    def efficiency(options: argparse.Namespace) -> None:
        from biohicl.report.efficiency import write_efficiency

        write_efficiency(options.measured, options.output, options.text)

    parser = command(commands, "efficiency", efficiency, "Join what measure wrote, as a table and as text")
    parser.add_argument("measured", nargs="+", type=Path, metavar="MEASURED", help="tables that measure wrote")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="for the same as text")

    _add_report(commands)


def _add_report(commands: Subcommands) -> None:
    read = (
        *("summary", "nodes", "current", "description", "pubmed", "mesh", "pubmed_record", "excluded", "overlaps"),
        *("similarities", "ablations", "efficiency", "development", "records"),
    )

    def report(options: argparse.Namespace) -> None:
        from biohicl.report.page import write_report
        from biohicl.report.sources import Sources

        given = {name: getattr(options, name) for name in read}
        sources = Sources(corpus_anomalies=options.anomalies, **given)
        write_report(sources, options.output, options.scores, options.figures)

    parser = command(commands, "report", report, "Write the report page")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--nodes", type=Path, nargs="+", required=True, metavar="DIR", help="model folders")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--description", type=Path, required=True, help="the table that describe-corpus made")
    parser.add_argument("--anomalies", type=Path, required=True, help="the table of that name that corpus made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with quarantine/")
    parser.add_argument("--mesh", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pubmed-record", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument(
        "--excluded", type=Path, nargs="*", default=[], help="what select left out, a table a selection"
    )
    parser.add_argument("--overlaps", type=Path, nargs="*", default=[], help="tables that overlap made")
    parser.add_argument("--similarities", type=Path, nargs="*", default=[], help="tables of that name, one a node")
    for table in ("ablations", "efficiency", "development"):
        parser.add_argument(f"--{table}", type=Path, help="the table of that target, where it was run")
    parser.add_argument(
        "--records", type=Path, default=Path(".snakemake/metadata"), metavar="DIR", help="Snakemake's, for its graph"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scores", type=Path, help="for the score table as CSV")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="for the figures as SVG; replaced if there")
