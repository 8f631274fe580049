"""The subcommands that list and bring files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from biohicl.cli.arguments import Places, Subcommands, command, numbers, settings


def add_listing(commands: Subcommands) -> None:
    """Adds list-pubmed and list-mesh."""

    def list_pubmed(options: argparse.Namespace) -> None:
        from biohicl.fetch.release import pubmed_release
        from biohicl.pubmed.numbering import numbering_anomalies, refuse_anomalies
        from biohicl.storage import read_json

        before = read_json(options.output) if options.output.exists() else None
        release = pubmed_release(options.mirrors, options.release, options.baseline, options.updates, before)
        if options.strict_sequence:
            refuse_anomalies(numbering_anomalies(release["files"], options.baseline, options.updates))
        _record_release(release, options.output, f"PubMed {release['year']}, {len(release['files'])} files")

    parser = command(
        commands, "list-pubmed", list_pubmed, "Ask a server which PubMed files a release has, and record the answer"
    )
    _mirror_option(parser)
    parser.add_argument("--release", default="current", help="year of the baseline, or current")
    parser.add_argument("--baseline", type=numbers, default="all", help="all, none, or numbers such as 1,7,20-29")
    parser.add_argument("--updates", type=numbers, default="all", help="all, none, or numbers such as 1335-1340")
    parser.add_argument("--strict-sequence", action="store_true", help="refuse a release with gaps or of several years")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; what is new in it is printed")

    def list_mesh(options: argparse.Namespace) -> None:
        from biohicl.fetch.release import mesh_release

        release = mesh_release(options.mirrors, options.release)
        _record_release(release, options.output, f"MeSH {release['year']}")

    parser = command(commands, "list-mesh", list_mesh, "Ask a server for its newest MeSH, and record the answer")
    _mirror_option(parser)
    parser.add_argument("--release", default="current", help="year, or current")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; what is new in it is printed")


def add_fetching(commands: Subcommands) -> None:
    """Adds fetch-pubmed, fetch-mesh, fetch-benchmark, fetch-backbone."""

    def fetch_pubmed(options: argparse.Namespace) -> None:
        from biohicl.fetch.download import fetch_pubmed_file

        fetch_pubmed_file(options.mirrors, options.kind, options.name, options.output)

    parser = command(commands, "fetch-pubmed", fetch_pubmed, "Bring one PubMed file, compared with NLM's MD5")
    _mirror_option(parser)
    parser.add_argument("--kind", choices=("baseline", "updatefiles"), required=True)
    parser.add_argument("--name", required=True, help="such as pubmed26n0001")
    parser.add_argument("--output", type=Path, required=True)

    def fetch_mesh(options: argparse.Namespace) -> None:
        from biohicl.fetch.download import fetch_mesh_file

        fetch_mesh_file(options.mirrors, options.name, options.output)

    parser = command(
        commands, "fetch-mesh", fetch_mesh, "Bring one MeSH descriptor file, and write its SHA-256 beside it"
    )
    _mirror_option(parser)
    parser.add_argument("--name", required=True, help="such as desc2026")
    parser.add_argument("--output", type=Path, required=True)

    def fetch_benchmark(options: argparse.Namespace) -> None:
        from biohicl.evaluation.benchmarks import bring_benchmark

        bring_benchmark(options.name, options.settings, options.output, options.lock, options.attempt)

    parser = command(
        commands,
        "fetch-benchmark",
        fetch_benchmark,
        "Bring a benchmark from an archive or a folder, read it, and write its tables",
        "One that cannot be had is no error: its record, benchmark.json, says why, and its tables are empty.",
    )
    _block_options(parser)

    def fetch_backbone(options: argparse.Namespace) -> None:
        from biohicl.encoder.fetching import bring_encoder

        where = options.output, options.lock
        bring_encoder(options.name, options.settings, *where, options.optional, options.attempt)

    parser = command(
        commands,
        "fetch-backbone",
        fetch_backbone,
        "Bring a text encoder from the hub or a folder, checked and completed",
    )
    _block_options(parser)
    parser.add_argument(
        "--optional", action="store_true", help="one that cannot be had is no error: the folder says why"
    )


def _block_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="its name in config.yaml")
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--lock", type=Path, required=True, help="JSON file that keeps what came first, to be enforced")
    parser.add_argument("--attempt", type=int, default=0, help="number to write beside the folder (default: 0)")
    parser.add_argument("--output", type=Path, required=True, help="folder")


def _record_release(release: dict[str, Any], output: Path, what: str) -> None:
    from biohicl.fetch.release import describe_news
    from biohicl.storage import write_json

    news = describe_news(release, output)
    write_json(release, output)
    print(f"{what}, from {release['mirror']}")
    for line in news:
        print(f"  {line}")


def _mirror_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mirrors",
        nargs="+",
        action=Places,
        required=True,
        metavar="PLACE",
        help="https://..., file:///... or folders, tried in order (or all of them as one JSON list)",
    )
