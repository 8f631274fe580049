"""The subcommands that make and ask the DuckDB catalog."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, listed_files, positive, project_path


def add_commands(commands: Subcommands) -> None:
    """Adds catalog, sql."""

    def catalog(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import write_catalog

        names = {
            "file": [file["name"] for file in listed_files(options.release)],
            "selection": options.selections,
            "release": options.releases,
            "counted": options.counted,
            "node": options.nodes,
            "retrieval": options.retrieval,
            "similarity": options.similarity,
            "collection": options.collections,
            "pair_set": options.pair_sets,
            "benchmark": [*options.collections, *options.pair_sets],
            "overlap": options.overlaps,
        }
        write_catalog(names, options.output)

    parser = command(
        commands, "catalog", catalog, "Write the DuckDB catalog", "Run it in the project's root, where results/ lies."
    )
    parser.add_argument("--release", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument("--selections", nargs="*", default=[], help="names of selections")
    parser.add_argument("--releases", nargs="*", default=[], help="names of training releases")
    parser.add_argument("--counted", nargs="*", default=[], help="those of them that count-labels was run on")
    parser.add_argument("--nodes", nargs="*", default=[], help="names of models")
    parser.add_argument("--retrieval", nargs="*", default=[], help="evaluations as system/benchmark")
    parser.add_argument("--similarity", nargs="*", default=[], help="evaluations as system/benchmark")
    parser.add_argument("--collections", nargs="*", default=[], help="names of retrieval benchmarks")
    parser.add_argument("--pair-sets", nargs="*", default=[], help="names of similarity benchmarks")
    parser.add_argument("--overlaps", nargs="*", default=[], help="what was compared, as selection/benchmark")
    parser.add_argument("--output", type=Path, required=True)

    def sql(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import CATALOG, query

        catalog = options.catalog or project_path(CATALOG, "snakemake --cores 2 catalog, or use --catalog")
        relation = query(options.query, catalog)
        if relation is None:
            return
        if options.csv:
            relation.write_csv("/dev/stdout")
        else:
            relation.show(max_rows=options.rows)

    parser = command(
        commands,
        "sql",
        sql,
        "Ask the catalog",
        'For example: biohicl sql "select year, count(*) from citations group by year"',
    )
    parser.add_argument("query", metavar="SQL")
    parser.add_argument("--catalog", type=Path, help="results/biohicl.duckdb of another project (default: this one's)")
    parser.add_argument("--rows", type=positive, default=40, help="rows shown at most (default: 40)")
    parser.add_argument("--csv", action="store_true", help="print all rows as CSV")
