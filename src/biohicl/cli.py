"""The command line: one subcommand a stage, each of which the workflow calls and a person can run by hand.

Stages are imported only when called: polars, torch and transformers take seconds to load.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import biohicl
from biohicl.arguments import Places, numbers, positive, settings
from biohicl.errors import BioHiCLError

Command = Callable[[argparse.Namespace], None]


def run() -> None:
    """The console script."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0, or 2 with one line on standard error for bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _limit_threads(options.threads)
    # A terminated stage cleans up like an interrupted one: temporary files go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        options.run(options)
    except BioHiCLError as error:
        print(f"biohicl {options.command}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"biohicl {options.command}: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except Exception as error:
        # Libraries that read tables raise errors of their own for a file that is damaged or of another kind.
        if not type(error).__module__.startswith(("polars", "pyarrow")):
            raise
        given = [str(value) for value in vars(options).values() if isinstance(value, Path) and value.exists()]
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(
            f"biohicl {options.command}: error: a table cannot be read: {reason}. Is one of these damaged, or of "
            f"another stage: {', '.join(given)}?",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"biohicl {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _limit_threads(threads: int | None) -> None:
    """Before the libraries are loaded, since they read these once. Polars ignores OMP_NUM_THREADS."""
    if threads is not None:
        for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # tokenizers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="biohicl",
        description="Dense biomedical retrieval trained from MeSH labels. Each subcommand is one stage.",
    )
    parser.add_argument("--version", action="version", version=f"biohicl {biohicl.__version__}")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads to use (default: all cores)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _sample_commands,
        _list_commands,
        _fetch_commands,
        _table_commands,
        _training_commands,
        _evaluation_commands,
        _report_commands,
    ):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Command, summary: str, detail: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary}. {detail}".strip()
    )
    parser.set_defaults(run=run)
    return parser


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, or cuda")


# --- the sample -------------------------------------------------------------------------------------


def _sample_commands(commands: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from biohicl.sample.make import make_sample

        make_sample(options.directory)

    parser = _command(
        commands,
        "make-sample",
        run,
        "Write a small generated copy of NLM's server, two benchmarks and a tiny backbone",
        "The same bytes each time; nothing is fetched.",
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="folder to make; an existing sample there is replaced"
    )


# --- list and fetch ------------------------------------------------------------------------------------------


def _list_commands(commands: Any) -> None:
    def list_pubmed(options: argparse.Namespace) -> None:
        from biohicl.fetch.release import pubmed_release
        from biohicl.pubmed.numbering import numbering_anomalies, refuse_anomalies

        release = pubmed_release(options.mirrors, options.release, options.baseline, options.updates)
        if options.strict_sequence:
            refuse_anomalies(numbering_anomalies(release["files"], options.baseline, options.updates))
        _record_release(release, options.output, f"PubMed {release['year']}, {len(release['files'])} files")

    parser = _command(
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

    parser = _command(commands, "list-mesh", list_mesh, "Ask a server for its newest MeSH, and record the answer")
    _mirror_option(parser)
    parser.add_argument("--release", default="current", help="year, or current")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; what is new in it is printed")


def _fetch_commands(commands: Any) -> None:
    def fetch_pubmed(options: argparse.Namespace) -> None:
        from biohicl.fetch.download import fetch_pubmed_file

        fetch_pubmed_file(options.mirrors, options.kind, options.name, options.output)

    parser = _command(commands, "fetch-pubmed", fetch_pubmed, "Bring one PubMed file, compared with NLM's MD5")
    _mirror_option(parser)
    parser.add_argument("--kind", choices=("baseline", "updatefiles"), required=True)
    parser.add_argument("--name", required=True, help="such as pubmed26n0001")
    parser.add_argument("--output", type=Path, required=True)

    def fetch_mesh(options: argparse.Namespace) -> None:
        from biohicl.fetch.download import fetch_mesh_file

        fetch_mesh_file(options.mirrors, options.name, options.output)

    parser = _command(
        commands, "fetch-mesh", fetch_mesh, "Bring one MeSH descriptor file, and write its SHA-256 beside it"
    )
    _mirror_option(parser)
    parser.add_argument("--name", required=True, help="such as desc2026")
    parser.add_argument("--output", type=Path, required=True)

    def fetch_benchmark(options: argparse.Namespace) -> None:
        from biohicl.evaluation.benchmarks import files_of
        from biohicl.fetch.download import fetch_benchmark

        block = options.settings
        files = files_of(block["kind"], block["split"])
        fetch_benchmark(block["url"], block["path"], block["sha256"], files, options.output)

    parser = _command(
        commands, "fetch-benchmark", fetch_benchmark, "Bring a benchmark's files from an archive or a folder"
    )
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--output", type=Path, required=True, help="folder")

    def fetch_backbone(options: argparse.Namespace) -> None:
        from biohicl.encoder.folder import prepare_backbone
        from biohicl.fetch.download import fetch_backbone
        from biohicl.storage import whole_directory

        block = options.settings
        names = ("pooling", "normalize", "max_length", "query_instruction", "passage_instruction")
        overrides = {name: block[name] for name in names}
        with whole_directory(options.output) as folder:
            fetch_backbone(block["hub"], block["path"], block["revision"], folder)
            prepare_backbone(folder, **overrides)

    parser = _command(
        commands,
        "fetch-backbone",
        fetch_backbone,
        "Bring a text encoder from the hub or a folder, checked and completed",
    )
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--output", type=Path, required=True, help="folder")


def _listed_files(record: Path) -> list[dict[str, Any]]:
    """The files that list-pubmed recorded, each with name, kind, year and number."""
    from biohicl.storage import read_json

    content = read_json(record)
    if not isinstance(content, dict) or "files" not in content:
        raise BioHiCLError(f"{record}: lists no files; it has to be the record that list-pubmed made")
    return list(content["files"])


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


# --- PubMed and MeSH tables ---------------------------------------------------------------------------


def _table_commands(commands: Any) -> None:
    def parse_pubmed(options: argparse.Namespace) -> None:
        from biohicl.pubmed.parse import parse_pubmed_file

        tables = (options.articles, options.mesh_headings, options.deleted, options.quarantine)
        parse_pubmed_file(options.file, *tables, skip_bad_citations=options.skip_bad_citations)

    parser = _command(commands, "parse-pubmed", parse_pubmed, "One PubMed XML file to Parquet tables")
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

    def parse_mesh(options: argparse.Namespace) -> None:
        from biohicl.mesh.parse import parse_mesh_file

        parse_mesh_file(options.file, options.output)

    parser = _command(commands, "parse-mesh", parse_mesh, "MeSH descriptor XML to Parquet tables")
    parser.add_argument("file", type=Path, metavar="FILE", help="descYYYY.gz, or plain XML")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="for descriptors, concepts, scope_notes, terms, tree_numbers and allowed_qualifiers .parquet",
    )

    def hierarchy(options: argparse.Namespace) -> None:
        from biohicl.mesh.hierarchy import write_hierarchy

        write_hierarchy(options.mesh, options.output, options.anomalies)

    parser = _command(commands, "hierarchy", hierarchy, "Parents, ancestors and depth of each MeSH descriptor")
    parser.add_argument(
        "--mesh", type=Path, required=True, metavar="DIR", help="folder of the tables that parse-mesh made"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--anomalies", type=Path, required=True, help="what is odd in the tree, also said in the log")

    def corpus(options: argparse.Namespace) -> None:
        from biohicl.pubmed.current import write_current
        from biohicl.pubmed.numbering import numbering_anomalies, refuse_anomalies, write_anomalies
        from biohicl.pubmed.quarantine import check_quarantine

        files = _listed_files(options.release)
        names = [file["name"] for file in files]
        anomalies = numbering_anomalies(files, options.baseline, options.updates)
        if options.strict_sequence:
            refuse_anomalies(anomalies)
        check_quarantine(names, options.pubmed, allowed=options.skip_bad_citations)
        write_current(names, options.pubmed, options.output)
        write_anomalies(anomalies, options.anomalies)

    parser = _command(
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


# --- training -----------------------------------------------------------------------------------------


def _training_commands(commands: Any) -> None:
    def freeze(options: argparse.Namespace) -> None:
        from biohicl.training.release import freeze_release

        freeze_release(options.current, options.hierarchy, options.mesh_record, options.output)

    parser = _command(commands, "freeze", freeze, "Freeze corpus and hierarchy as a training release")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--mesh-record", type=Path, required=True, help="the record that list-mesh made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")

    def select(options: argparse.Namespace) -> None:
        from biohicl.training.selection import write_selection

        write_selection(options.release, options.pubmed, options.settings, options.output)

    parser = _command(commands, "select", select, "Draw the citations to train on from a training release")
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--output", type=Path, required=True)

    def labels(options: argparse.Namespace) -> None:
        from biohicl.training.labels import write_labels

        write_labels(options.selection, options.hierarchy, options.output)

    parser = _command(commands, "labels", labels, "Label ids of a selection, direct and with all ancestors")
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)

    def tokens(options: argparse.Namespace) -> None:
        from biohicl.training.tokens import write_tokens

        write_tokens(options.selection, options.encoder, options.max_length, options.output)

    parser = _command(commands, "tokens", tokens, "Tokens of a selection for one backbone and one length")
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="the backbone's folder")
    parser.add_argument("--max-length", type=positive, required=True)
    parser.add_argument("--output", type=Path, required=True)

    def train(options: argparse.Namespace) -> None:
        from biohicl.training.train import train

        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        train(
            options.start,
            options.tokens,
            options.labels,
            options.hierarchy,
            options.settings,
            options.output,
            options.device,
        )

    parser = _command(commands, "train", train, "One phase of training: from an encoder folder to a new one")
    parser.add_argument("--start", type=Path, required=True, metavar="DIR", help="backbone or node to start from")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument(
        "--settings", type=settings, required=True, help="the node's block of config.yaml, as JSON or a file"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    _device_option(parser)


# --- evaluation ---------------------------------------------------------------------------------------


def _evaluation_commands(commands: Any) -> None:
    def evaluate(options: argparse.Namespace) -> None:
        from biohicl.evaluation.evaluate import evaluate

        metrics = evaluate(
            options.model,
            options.benchmark,
            options.output,
            split=options.split,
            system=options.system,
            batch_size=options.batch_size,
            run_depth=options.run_depth,
            bm25={"k1": options.bm25_k1, "b": options.bm25_b},
            device=options.device,
        )
        if options.json:
            first = metrics[0]
            shown = {key: first[key] for key in ("system", "benchmark", "kind", "split", "n")}
            print(json.dumps(shown | {"metrics": {row["metric"]: row["value"] for row in metrics}}))
        else:
            for row in metrics:
                print(f"{row['system']}  {row['benchmark']}  {row['metric']}  {row['value']:.4f}  (n = {row['n']})")

    parser = _command(commands, "evaluate", evaluate, "Score one model on one benchmark, and print the metrics")
    parser.add_argument("model", metavar="MODEL", help="a model's folder, a name on the hub (owner/name), or bm25")
    parser.add_argument("benchmark", type=Path, metavar="BENCHMARK_DIR", help="a BEIR folder, or one with pairs.jsonl")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for run, per_query and metrics .parquet"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--split", default="test", help="which qrels file (default: test)")
    parser.add_argument("--system", help="the model's name in the tables (default: its folder's)")
    parser.add_argument("--batch-size", type=positive, default=64, help="texts encoded at a time (default: 64)")
    parser.add_argument("--run-depth", type=positive, default=1000, help="documents kept a query (default: 1000)")
    parser.add_argument("--bm25-k1", type=float, default=1.5, help="term frequency saturation (default: 1.5)")
    parser.add_argument("--bm25-b", type=float, default=0.75, help="length normalisation (default: 0.75)")
    _device_option(parser)


# --- what people look at --------------------------------------------------------------------------------


def _report_commands(commands: Any) -> None:
    def summary(options: argparse.Namespace) -> None:
        from biohicl.report.summary import write_summary

        write_summary(options.metrics, options.roles, options.output)

    parser = _command(commands, "summary", summary, "Join the metrics of all evaluations")
    parser.add_argument("metrics", nargs="*", type=Path, metavar="METRICS", help="metrics.parquet files")
    parser.add_argument(
        "--roles", type=settings, required=True, help="JSON: system to lexical, backbone or model, in order"
    )
    parser.add_argument("--output", type=Path, required=True)

    def scores(options: argparse.Namespace) -> None:
        from biohicl.report.summary import score_text

        print(score_text(options.summary))

    parser = _command(commands, "scores", scores, "Print the score table")
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

    parser = _command(commands, "report", report, "Write the report page")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--nodes", type=Path, nargs="+", required=True, metavar="DIR", help="model folders")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--anomalies", type=Path, required=True, help="the table of that name that corpus made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with quarantine/")
    parser.add_argument("--mesh", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pubmed-record", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument("--output", type=Path, required=True)

    def catalog(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import write_catalog

        names = {
            "file": [file["name"] for file in _listed_files(options.release)],
            "selection": options.selections,
            "node": options.nodes,
            "retrieval": options.retrieval,
            "similarity": options.similarity,
        }
        write_catalog(names, options.output)

    parser = _command(
        commands, "catalog", catalog, "Write the DuckDB catalog", "Run it in the project's root, where results/ lies."
    )
    parser.add_argument("--release", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument("--selections", nargs="*", default=[], help="names of selections")
    parser.add_argument("--nodes", nargs="*", default=[], help="names of models")
    parser.add_argument("--retrieval", nargs="*", default=[], help="evaluations as system/benchmark")
    parser.add_argument("--similarity", nargs="*", default=[], help="evaluations as system/benchmark")
    parser.add_argument("--output", type=Path, required=True)

    def sql(options: argparse.Namespace) -> None:
        from biohicl.report.catalog import query

        relation = query(options.query, options.catalog)
        if relation is None:
            return
        if options.csv:
            relation.write_csv("/dev/stdout")
        else:
            relation.show(max_rows=options.rows)

    parser = _command(
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


if __name__ == "__main__":
    sys.exit(main())
