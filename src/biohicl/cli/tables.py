"""The subcommands from PubMed's XML to tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, listed_files, numbers


def add_commands(commands: Subcommands) -> None:
    """Adds parse-pubmed, corpus, describe-corpus."""

    def parse_pubmed(options: argparse.Namespace) -> None:
        from biohicl.pubmed.parse import parse_pubmed_file

        tables = (options.articles, options.mesh_headings, options.deleted, options.quarantine)
        parse_pubmed_file(options.file, *tables, skip_bad_citations=options.skip_bad_citations)

    parser = command(commands, "parse-pubmed", parse_pubmed, "One PubMed XML file to Parquet tables")
    parser.add_argument("file", type=Path, metavar="FILE", help="pubmedYYnNNNN.xml.gz, or plain .xml")
    parser.add_argument("--articles", type=Path, required=True, metavar="PATH", help="a row a record")
    parser.add_argument(
        "--mesh-headings", type=Path, required=True, metavar="PATH", help="a row a heading, sorted by descriptor"
    )
    parser.add_argument("--deleted", type=Path, required=True, metavar="PATH", help="a row a deleted PMID")
    parser.add_argument(
        "--quarantine", type=Path, required=True, metavar="PATH", help="a row a citation that was left out, and why"
    )
    parser.add_argument(
        "--skip-bad-citations",
        action="store_true",
        help="leave out citations that cannot be read; without it the first one is an error",
    )

    def corpus(options: argparse.Namespace) -> None:
        from biohicl.pubmed.current import write_current
        from biohicl.pubmed.numbering import numbering_anomalies, refuse_anomalies, write_anomalies
        from biohicl.pubmed.quarantine import check_quarantine

        files = listed_files(options.release)
        names = [file["name"] for file in files]
        anomalies = numbering_anomalies(files, options.baseline, options.updates)
        if options.strict_sequence:
            refuse_anomalies(anomalies)
        check_quarantine(names, options.pubmed, allowed=options.skip_bad_citations)
        write_current(names, options.pubmed, options.output)
        write_anomalies(anomalies, options.anomalies)

    parser = command(
        commands,
        "corpus",
        corpus,
        "The current record of each citation: latest file, then version; deletes applied",
    )
    parser.add_argument("--release", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument(
        "--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/, deleted/ and quarantine/"
    )
    parser.add_argument(
        "--skip-bad-citations", action="store_true", help="go on where some were left out; else that is an error"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--anomalies",
        type=Path,
        required=True,
        help="gaps and mixed years in the files' numbering, also said",
    )
    parser.add_argument("--strict-sequence", action="store_true", help="end with an error where there are any")
    for kind in ("baseline", "updates"):
        parser.add_argument(
            f"--{kind}", type=numbers, default="all", help="the numbers that list-pubmed was asked for (default: all)"
        )

    def describe(options: argparse.Namespace) -> None:
        from biohicl.pubmed.description import write_description

        write_description(options.current, options.pubmed, options.hierarchy, options.output)

    parser = command(
        commands, "describe-corpus", describe, "Count citations by year, language, headings and category of the tree"
    )
    parser.add_argument("--current", type=Path, required=True, help="the table of that name that corpus made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--hierarchy", type=Path, required=True, help="for the categories of headings")
    parser.add_argument("--output", type=Path, required=True)
