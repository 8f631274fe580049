"""The subcommands that make what people look at."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, settings


def add_commands(commands: Subcommands) -> None:
    """Adds summary, scores, report."""

    def summary(options: argparse.Namespace) -> None:
        from biohicl.report.summary import write_summary

        write_summary(options.metrics, options.roles, options.output)

    parser = command(commands, "summary", summary, "Join the metrics of all evaluations")
    parser.add_argument("metrics", nargs="*", type=Path, metavar="METRICS", help="metrics.parquet files")
    parser.add_argument(
        "--roles", type=settings, required=True, help="JSON: system to lexical, backbone or model, in order"
    )
    parser.add_argument("--output", type=Path, required=True)

    def scores(options: argparse.Namespace) -> None:
        from biohicl.report.summary import score_text

        print(score_text(options.summary))

    parser = command(commands, "scores", scores, "Print the score table")
    parser.add_argument("summary", nargs="?", type=Path, default=Path("results/summary.parquet"))

    def report(options: argparse.Namespace) -> None:
        from biohicl.report.page import write_report

        write_report(
            options.summary,
            options.nodes,
            options.current,
            options.anomalies,
            options.pubmed,
            options.mesh,
            options.pubmed_record,
            options.output,
        )

    parser = command(commands, "report", report, "Write the report page")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--nodes", type=Path, nargs="+", required=True, metavar="DIR", help="model folders")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--anomalies", type=Path, required=True, help="the table of that name that corpus made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with quarantine/")
    parser.add_argument("--mesh", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pubmed-record", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument("--output", type=Path, required=True)
