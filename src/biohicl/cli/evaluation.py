"""The subcommands that encode texts, score systems, and compare them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from biohicl.cli.arguments import Subcommands, command, encoding, encoding_options, positive, settings, share


def add_commands(commands: Subcommands) -> None:
    """Adds embed, evaluate, evaluate-vectors, tune-hybrids, evaluate-hybrid, choose, development, compare, measure."""
    for add in (
        _add_embed,
        _add_evaluate,
        _add_evaluate_vectors,
        _add_tune_hybrids,
        _add_evaluate_hybrid,
        _add_choose,
        _add_development,
        _add_compare,
        _add_measure,
    ):
        add(commands)


def _add_embed(commands: Subcommands) -> None:
    def embed(options: argparse.Namespace) -> None:
        from biohicl.encoder.vectors import record_of, write_vectors
        from biohicl.evaluation.benchmarks import blocks_of_texts

        made = write_vectors(
            options.encoder,
            options.kind,
            lambda: blocks_of_texts(options.table, options.kind),
            options.output,
            task=options.task,
            **encoding(options),
            others=options.others,
        )
        # Looked at just now, and found right: newer than what they were made from.
        for file in (made.file, record_of(made.file)):
            file.touch()

    parser = command(
        commands,
        "embed",
        embed,
        "Encode the texts of a benchmark's table",
        "A killed run goes on where it was; the same texts are not encoded twice.",
    )
    parser.add_argument("encoder", type=Path, metavar="ENCODER_DIR")
    parser.add_argument("table", type=Path, metavar="TABLE", help="documents, queries or pairs .parquet")
    parser.add_argument("--as", dest="kind", choices=("documents", "queries", "sentences"), required=True)
    parser.add_argument("--task", default="", help="what is asked, for instructions with a place for it")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npy", help="and its record, FILE.json")
    parser.add_argument(
        "--others",
        type=Path,
        nargs="*",
        default=[],
        metavar="OTHER.npy",
        help="copied where they are of the same encoder and texts; those that are not there are passed over",
    )
    encoding_options(parser)


def _add_evaluate(commands: Subcommands) -> None:
    def evaluate(options: argparse.Namespace) -> None:
        from biohicl.evaluation.evaluate import evaluate

        metrics = evaluate(
            options.model,
            options.benchmark,
            options.output,
            split=options.split,
            system=options.system,
            run_depth=options.run_depth,
            bm25={"k1": options.bm25_k1, "b": options.bm25_b},
            own_document=options.own_document,
            task=options.task,
            **encoding(options),
        )
        _print_metrics(metrics, options.json)

    parser = command(
        commands,
        "evaluate",
        evaluate,
        "Score one model on one benchmark, and print the metrics",
        "Vectors are kept in DIR/vectors: a second run encodes nothing anew.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model's folder, a name on the hub (owner/name), or bm25")
    parser.add_argument("benchmark", type=Path, metavar="BENCHMARK_DIR", help="a BEIR folder, or one with pairs.jsonl")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for run, per_query, metrics, vectors"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--split", default="test", help="which qrels file (default: test)")
    parser.add_argument("--system", help="the model's name in the tables (default: its folder's)")
    parser.add_argument("--task", default="", help="what is asked, for instructions with a place for it")
    _run_options(parser)
    _lexical_options(parser)
    encoding_options(parser)


def _add_evaluate_vectors(commands: Subcommands) -> None:
    def evaluate_vectors(options: argparse.Namespace) -> None:
        from biohicl.evaluation.compression import Compression
        from biohicl.evaluation.evaluate import evaluate_vectors, naming_of

        naming = naming_of(options.system, options.benchmark, options.split)
        how = Compression(**{key: value for key, value in options.variant.items() if key != "of"})
        vectors, benchmark, output = options.vectors, options.benchmark, options.output
        own = options.own_document
        _print_metrics(evaluate_vectors(vectors, benchmark, output, naming, options.run_depth, own, how), False)

    parser = command(commands, "evaluate-vectors", evaluate_vectors, "Score vectors that embed wrote")
    parser.add_argument("vectors", type=Path, nargs="+", metavar="FILE.npy", help="documents and queries, or sentences")
    parser.add_argument("--benchmark", type=Path, required=True, metavar="DIR", help="the folder of its tables")
    parser.add_argument("--variant", type=settings, default={}, help="a block of evaluation.variants, as JSON")
    _named_options(parser)
    _run_options(parser)


def _add_tune_hybrids(commands: Subcommands) -> None:
    def tune_hybrids(options: argparse.Namespace) -> None:
        from biohicl.evaluation.benchmarks import read_qrels
        from biohicl.evaluation.fusion import tune
        from biohicl.storage import write_json

        if not len(options.dense) == len(options.lexical) == len(options.qrels):
            parser.error("--dense, --lexical and --qrels take one file for each benchmark, in the same order")
        names = [file.parent.name for file in options.dense]
        runs = dict(zip(names, zip(options.dense, options.lexical, strict=True), strict=True))
        qrels = {name: read_qrels(file) for name, file in zip(names, options.qrels, strict=True)}
        chosen = tune(runs, qrels, options.run_depth)
        write_json(chosen, options.output)
        for method, row in chosen.items():
            where = ", ".join(row["tuned_on"]) or "nothing (no development split): the usual value"
            print(f"{method}: {row['parameter']:g}, chosen on {where}")

    parser = command(
        commands, "tune-hybrids", tune_hybrids, "Choose how to join a dense system with BM25, on development queries"
    )
    parser.add_argument(
        "--dense", type=Path, nargs="*", default=[], metavar="RUN", help="its run.parquet, a benchmark each"
    )
    parser.add_argument("--lexical", type=Path, nargs="*", default=[], metavar="RUN", help="BM25's, in the same order")
    parser.add_argument("--qrels", type=Path, nargs="*", default=[], metavar="QRELS", help="qrels.parquet, likewise")
    parser.add_argument("--run-depth", type=positive, default=1000, help="documents of a joint run (default: 1000)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")


def _add_evaluate_hybrid(commands: Subcommands) -> None:
    def evaluate_hybrid(options: argparse.Namespace) -> None:
        from biohicl.evaluation.evaluate import evaluate_hybrid, naming_of

        metrics = evaluate_hybrid(
            options.dense,
            options.lexical,
            options.tuned,
            options.method,
            options.benchmark,
            options.output,
            naming_of(options.system, options.benchmark, options.split),
            options.run_depth,
            options.own_document,
        )
        _print_metrics(metrics, False)

    parser = command(commands, "evaluate-hybrid", evaluate_hybrid, "Score a dense system's run joined with BM25's")
    parser.add_argument("--dense", type=Path, required=True, metavar="RUN", help="the dense system's run.parquet")
    parser.add_argument("--lexical", type=Path, required=True, metavar="RUN", help="BM25's")
    parser.add_argument("--tuned", type=Path, required=True, metavar="JSON", help="what tune-hybrids wrote")
    parser.add_argument("--method", choices=("rrf", "convex"), required=True)
    parser.add_argument("--benchmark", type=Path, required=True, metavar="DIR", help="the folder of its tables")
    _named_options(parser)
    _run_options(parser)


def _add_choose(commands: Subcommands) -> None:
    def choose(options: argparse.Namespace) -> None:
        from biohicl.evaluation.choosing import Sets, write_choice

        choice = write_choice(
            options.candidates,
            options.against,
            options.scores,
            Sets(options.retrieval, options.similarity),
            options.max_loss,
            options.output,
        )
        print(choice.chosen)

    parser = command(
        commands,
        "choose",
        choose,
        "Take the best of several models on development sets, and print its name",
        "The highest mean nDCG@10 of those that keep the average precision of --against but for --max-loss; where none "
        "does, the one that loses least; the first of equal ones.",
    )
    parser.add_argument("candidates", nargs="+", type=Path, metavar="DIR", help="folders of backbones or nodes")
    parser.add_argument("--against", type=Path, required=True, metavar="DIR", help="whose precision is to be kept")
    _development_options(parser)
    parser.add_argument("--max-loss", type=share, default=0.005, help="of average precision (default: 0.005)")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for a copy of the chosen; replaced if there"
    )


def _add_development(commands: Subcommands) -> None:
    def development(options: argparse.Namespace) -> None:
        from biohicl.evaluation.choosing import Sets
        from biohicl.evaluation.development import development_table
        from biohicl.report.development import development_text
        from biohicl.storage import write_parquet

        pairs = (system.partition("=") for system in options.systems)
        systems = {name: reference or None for name, _, reference in pairs}
        sets = Sets(options.retrieval, options.similarity)
        known: dict[str, list[str]] = {}
        for system, _, benchmark in (given.partition("=") for given in options.trained_on):
            known.setdefault(system, []).append(benchmark)
        table = development_table(options.scores, systems, sets, options.draws, options.seed, known, options.chosen)
        write_parquet(table, options.output)
        print(development_text(table))

    parser = command(
        commands,
        "development",
        development,
        "Development scores of models beside their backbones, as a table and as text",
        "What decisions are read from: nothing of it scores anything.",
    )
    parser.add_argument(
        "systems", nargs="+", metavar="SYSTEM[=BACKBONE]", help="its name, and that of what it is compared with"
    )
    _development_options(parser)
    parser.add_argument(
        "--trained-on",
        nargs="*",
        default=[],
        metavar="SYSTEM=BENCHMARK",
        help="a system that was trained on the development split of a benchmark; marked",
    )
    parser.add_argument(
        "--chosen", nargs="+", default=[], metavar="SYSTEM", help="one that was chosen by these scores; marked"
    )
    parser.add_argument("--draws", type=positive, default=10_000, help="of each interval (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the draws (default: 1)")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file")


def _development_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scores",
        type=Path,
        default=Path("results/development"),
        metavar="DIR",
        help="with SYSTEM/BENCHMARK/metrics.parquet (default: results/development)",
    )
    parser.add_argument("--retrieval", nargs="*", default=[], metavar="BENCHMARK", help="of nDCG@10")
    parser.add_argument("--similarity", nargs="*", default=[], metavar="BENCHMARK", help="of average precision")


def _add_compare(commands: Subcommands) -> None:
    def compare(options: argparse.Namespace) -> None:
        from biohicl.evaluation.compare import Evaluated, compare

        systems = {name: Evaluated(Path(row.pop("folder")), **row) for name, row in options.systems.items()}
        overlaps = {name: Path(path) for name, path in options.overlaps.items()}
        together = {name: list(models) for name, models in options.seeds.items()}
        compare(options.benchmark, systems, overlaps, options.output, options.draws, options.seed, together)

    parser = command(
        commands, "compare", compare, "Intervals of all systems on one benchmark, and which differ by more than chance"
    )
    parser.add_argument("--benchmark", type=Path, required=True, metavar="DIR", help="the folder of its tables")
    parser.add_argument(
        "--systems", type=settings, required=True, help="JSON: system to folder, against, of, selections"
    )
    parser.add_argument(
        "--overlaps", type=settings, default={}, help="JSON: selection to the table of shared documents"
    )
    parser.add_argument(
        "--seeds", type=settings, default={}, help="JSON: systems that differ in their seed alone, by the first's name"
    )
    parser.add_argument("--draws", type=positive, default=10_000, help="of each interval and test (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the draws (default: 1)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")


def _add_measure(commands: Subcommands) -> None:
    def measure(options: argparse.Namespace) -> None:
        from biohicl.evaluation.efficiency import measure

        measure(
            options.model,
            options.system,
            options.benchmark,
            options.vectors,
            options.output,
            texts=options.texts,
            queries=options.queries,
            task=options.task,
            bm25={"k1": options.bm25_k1, "b": options.bm25_b},
            **encoding(options),
        )

    parser = command(
        commands,
        "measure",
        measure,
        "What a system costs on this machine: size, pace, latency, memory",
        "Nothing else should run meanwhile.",
    )
    parser.add_argument("model", metavar="MODEL", help="an encoder's folder, or bm25")
    parser.add_argument("--system", required=True, help="its name in the table")
    parser.add_argument("--benchmark", type=Path, required=True, metavar="DIR", help="the folder of its tables")
    parser.add_argument("--vectors", type=Path, metavar="FILE.npy", help="of the documents, which embed wrote")
    parser.add_argument("--texts", type=positive, default=256, help="documents whose encoding is timed (default: 256)")
    parser.add_argument("--task", default="", help="what is asked, for instructions with a place for it")
    parser.add_argument("--queries", type=positive, default=100, help="queries that are timed (default: 100)")
    _lexical_options(parser)
    parser.add_argument("--output", type=Path, required=True)
    encoding_options(parser)


def _lexical_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bm25-k1", type=float, default=1.5, help="term frequency saturation (default: 1.5)")
    parser.add_argument("--bm25-b", type=float, default=0.75, help="length normalisation (default: 0.75)")


def _named_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", required=True, help="its name in the tables")
    parser.add_argument("--split", default="test", help="test or development (default: test)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for run, per_query and metrics")


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-depth", type=positive, default=1000, help="documents kept a query (default: 1000)")
    parser.add_argument(
        "--own-document",
        choices=("dropped", "kept"),
        default="dropped",
        help="what becomes of a document with the query's own id (default: dropped, as in BEIR)",
    )


def _print_metrics(metrics: list[dict[str, Any]], as_json: bool) -> None:
    headline = [row for row in metrics if row["condition"] == "headline"]
    if as_json:
        first = headline[0] if headline else {}
        shown = {key: first.get(key) for key in ("system", "benchmark", "kind", "split", "n", "pool", "own_document")}
        others: dict[str, dict[str, float]] = {}
        for row in metrics:
            if row["condition"] != "headline":
                others.setdefault(row["condition"], {})[row["metric"]] = row["value"]
        values = {row["metric"]: row["value"] for row in headline}
        print(json.dumps(shown | {"metrics": values} | ({"others": others} if others else {})))
        return
    for row in metrics:
        condition = "" if row["condition"] == "headline" else f"  ({row['condition']})"
        print(f"{row['system']}  {row['benchmark']}  {row['metric']}  {row['value']:.4f}  (n = {row['n']}){condition}")
    if not metrics:
        print("nothing was scored: the benchmark or the system could not be had")
