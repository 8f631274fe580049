"""The subcommands that make and ask the DuckDB catalog."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biohicl.cli.arguments import Subcommands, command, listed_files, positive, project_path

# What the catalog has views of, by what it is called there.
LISTS = {
    "selection": "names of selections of citations",
    "concept_selection": "names of selections of concepts",
    "pair_selection": "names of selections of labelled pairs",
    "queried": "selections of citations that synthesize was run on",
    "release": "names of training releases",
    "counted": "those of them that count-labels was run on",
    "node": "names of models that were trained",
    "compared": "those of them that similarities was run on",
    "retrieval": "evaluations as system/benchmark",
    "similarity": "evaluations of pairs as system/benchmark",
    "developed": "evaluations on development splits as system/benchmark",
    "collection": "names of retrieval benchmarks",
    "pair_set": "names of similarity benchmarks",
    "overlap": "what was compared, as selection/benchmark",
    "overlap_of_pairs": "the same of selections of labelled pairs",
}


def add_commands(commands: Subcommands) -> None:
    """Adds catalog, sql."""

    def catalog(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import write_catalog

        beside = dict(options.beside)
        names = {
            "file": [file["name"] for file in listed_files(options.record)],
            **{name: getattr(options, name) for name in LISTS},
            "labelled": [*options.selection, *options.concept_selection],
            "benchmark": [*options.collection, *options.pair_set],
            **{name: [path] for name, path in beside.items()},
        }
        write_catalog(names, options.output)

    parser = command(
        commands, "catalog", catalog, "Write the DuckDB catalog", "Run it in the project's root, where results/ lies."
    )
    parser.add_argument("--record", type=Path, required=True, help="the record that list-pubmed made")
    for name, about in LISTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="*", default=[], metavar="NAME", help=about)
    parser.add_argument(
        "--beside",
        nargs="*",
        type=_named,
        default=[],
        metavar="NAME=FILE",
        help="tables of targets beside `all`: ablations, trainings, efficiency, development, label_study",
    )
    parser.add_argument("--output", type=Path, required=True)

    def sql(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import CATALOG, columns_of, in_words, listed, query

        catalog = options.catalog or project_path(CATALOG, "snakemake --cores 2 catalog, or use --catalog")
        if options.describe:
            rows = columns_of(options.describe, catalog)
            _print_fitted(["column", "type", "what it holds"], rows)
            return
        if options.views or options.query is None:
            _print_fitted(["view", "what it holds"], listed(catalog))
            return
        relation = query(options.query, catalog)
        if relation is None:
            return
        with in_words():
            if options.csv:
                _print_csv(relation)
            else:
                relation.show(max_rows=options.rows)

    parser = command(
        commands,
        "sql",
        sql,
        "Ask the catalog",
        'For example: biohicl sql "select year, count(*) from citations group by year". Without a query: the views',
    )
    parser.add_argument("query", nargs="?", metavar="SQL")
    parser.add_argument("--views", action="store_true", help="list the views, and what each holds")
    parser.add_argument("--describe", metavar="VIEW", help="list the columns of a view, and what each holds")
    parser.add_argument("--catalog", type=Path, help="results/biohicl.duckdb of another project (default: this one's)")
    parser.add_argument("--rows", type=positive, default=40, help="rows shown at most (default: 40)")
    parser.add_argument("--csv", action="store_true", help="print all rows as CSV")


def _print_fitted(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """On a terminal in lines that fit; a file or a pipe gets a line a row."""
    from biohicl.report.columns import folded, in_columns

    fitting = folded(header, rows, shutil.get_terminal_size().columns) if sys.stdout.isatty() else rows
    print(in_columns(header, fitting, left=len(header)))


def _named(text: str) -> tuple[str, str]:
    """NAME=FILE."""
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILE")
    return name, file


def _print_csv(relation: Any) -> None:
    """All rows, through a file of its own: opened anew, standard output would lose what stands there (as with >>)."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        relation.write_csv(file.name)
        sys.stdout.flush()
        with open(file.name, "rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)
        sys.stdout.buffer.flush()
