"""The subcommands from tables to a model."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from biohicl.cli.arguments import (
    Subcommands,
    command,
    device_option,
    encoding,
    encoding_options,
    minutes,
    positive,
    settings,
)
from biohicl.configuration.derived import VIEWS
from biohicl.encoder.folder import PRECISIONS
from biohicl.errors import BioHiCLError


def add_commands(commands: Subcommands) -> None:
    """Adds what comes before a training (freeze, select ... negatives), train, similarities, average, encode."""
    _add_preparation(commands)
    _add_other_selections(commands)
    _add_queries(commands)
    _add_train(commands)
    _add_on_gpus(commands)
    _add_similarities(commands)
    _add_average(commands)
    _add_encode(commands)


def _add_preparation(commands: Subcommands) -> None:
    def freeze(options: argparse.Namespace) -> None:
        from biohicl.training.release import freeze_release

        given = {"scope_notes": options.scope_notes, "allowed_qualifiers": options.allowed_qualifiers}
        optional = {name: path for name, path in given.items() if path is not None}
        tables = options.current, options.hierarchy, options.terms
        freeze_release(*tables, options.mesh_record, options.output, optional)

    parser = command(commands, "freeze", freeze, "Freeze corpus and hierarchy as a training release")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--terms", type=Path, required=True, help="the table of terms that parse-mesh made")
    for table in ("scope-notes", "allowed-qualifiers"):
        parser.add_argument(f"--{table}", type=Path, help="the table that parse-mesh made, for concepts to train on")
    parser.add_argument("--mesh-record", type=Path, required=True, help="the record that list-mesh made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")

    def select(options: argparse.Namespace) -> None:
        from biohicl.training.selection import write_selection

        paths = options.benchmarks, options.output, options.excluded
        write_selection(options.release, options.pubmed, options.settings, *paths, options.given)

    parser = command(commands, "select", select, "Draw the citations to train on from a training release")
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--benchmarks", type=Path, required=True, metavar="DIR", help="folder of benchmarks' tables")
    parser.add_argument(
        "--excluded", type=Path, required=True, help="for the citations that are a benchmark's document"
    )
    parser.add_argument("--given", default="", help="a word that the workflow keeps in that table's metadata")
    parser.add_argument("--output", type=Path, required=True)

    def overlap(options: argparse.Namespace) -> None:
        from biohicl.training.pairs import write_pairs_overlap
        from biohicl.training.selection import write_overlap

        if options.queries is None:
            write_overlap(options.selection, options.benchmark, options.texts, options.output)
            return
        benchmark = options.benchmark, options.texts, options.scored
        write_pairs_overlap(options.selection, options.queries, *benchmark, options.output)

    parser = command(
        commands,
        "overlap",
        overlap,
        "Find the texts of a benchmark that a selection holds; of a selection of pairs, the benchmark's queries too",
    )
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--queries", type=Path, help="of a selection of pairs: the table of its queries")
    parser.add_argument("--benchmark", required=True, help="its name")
    parser.add_argument("--texts", type=Path, required=True, help="its documents.parquet or pairs.parquet")
    parser.add_argument("--scored", type=Path, help="its queries that are scored; for a selection of pairs")
    parser.add_argument("--output", type=Path, required=True)

    def tokens(options: argparse.Namespace) -> None:
        from biohicl.training.tokens import write_tokens

        write_tokens(options.selection, options.encoder, options.max_length, options.output, options.task)

    parser = command(commands, "tokens", tokens, "Tokens of a selection for one backbone and one length")
    _reading_options(parser)


def _add_other_selections(commands: Subcommands) -> None:
    def concepts(options: argparse.Namespace) -> None:
        from biohicl.training.concepts import write_concepts

        write_concepts(options.release, options.settings, options.output, options.queries)

    parser = command(
        commands,
        "select-concepts",
        concepts,
        "MeSH descriptors with texts that describe them, and their names as queries, from a training release",
    )
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    _selection_options(parser)

    def pairs(options: argparse.Namespace) -> None:
        from biohicl.training.pairs import write_pairs

        paths = options.output, options.queries, options.excluded
        write_pairs(options.settings, options.benchmarks, options.tasks, *paths, options.given)

    parser = command(
        commands, "select-pairs", pairs, "Documents with labelled queries, of benchmarks and of files of JSON lines"
    )
    parser.add_argument("--benchmarks", type=Path, required=True, metavar="DIR", help="folder of benchmarks' tables")
    parser.add_argument(
        "--tasks", type=settings, default={}, help="a benchmark's name to its own task, as JSON or a file"
    )
    parser.add_argument("--excluded", type=Path, required=True, help="for the texts of files that are a benchmark's")
    parser.add_argument("--given", default="", help="a word that the workflow keeps in that table's metadata")
    _selection_options(parser)


def _add_queries(commands: Subcommands) -> None:
    def synthesize(options: argparse.Namespace) -> None:
        from biohicl.training.synthesis import write_synthesis

        write_synthesis(options.selection, options.output, options.task, options.release, options.pubmed)

    parser = command(
        commands, "synthesize", synthesize, "Queries cut out of a selection's citations: conclusions and sections"
    )
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--release", type=Path, metavar="DIR", help="the folder that freeze made; with --pubmed")
    parser.add_argument(
        "--pubmed", type=Path, metavar="DIR", help="folder with articles/, which know how abstracts are divided"
    )
    _task_option(parser)
    parser.add_argument("--output", type=Path, required=True)

    def query_tokens(options: argparse.Namespace) -> None:
        from biohicl.training.tokens import write_query_tokens

        paths = options.selection, options.queries, options.encoder
        write_query_tokens(*paths, options.max_length, options.output, options.task)

    parser = command(
        commands,
        "query-tokens",
        query_tokens,
        "Tokens of the queries of a selection's rows, and where these stand in the texts",
    )
    parser.add_argument("--queries", type=Path, required=True, help="the selection's table of queries")
    _reading_options(parser)

    def negatives(options: argparse.Namespace) -> None:
        from biohicl.training.negatives import write_negatives

        write_negatives(options.selection, options.output, options.hierarchy, options.queries)

    parser = command(
        commands, "negatives", negatives, "Hard negatives of a selection's rows: near by words, and no right answer"
    )
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, help="the release's; needed where the rows have headings")
    parser.add_argument("--queries", type=Path, help="the selection's table of queries; needed for labelled ones")
    parser.add_argument("--output", type=Path, required=True)


def _selection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True, help="for the queries of each row")


def _reading_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="the backbone's folder")
    parser.add_argument("--max-length", type=positive, required=True)
    _task_option(parser)
    parser.add_argument("--output", type=Path, required=True)


def _task_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", default="", metavar="TEXT", help="what is asked, for encoders whose instruction has a place for it"
    )


def _add_train(commands: Subcommands) -> None:
    def train(options: argparse.Namespace) -> None:
        from biohicl.training.data import Inputs
        from biohicl.training.train import Options, train

        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        named = {
            name: getattr(options, name)
            for name in (
                *("start", "tokens", "labels", "hierarchy", "label_counts", "terms"),
                *("queries", "negatives", "teacher", "teacher_views"),
            )
        }
        how = ("device", "chunk_tokens", "compiled", "deterministic", "precision", "checkpoint_minutes")
        train(
            Inputs(**named),
            _checked(options.settings),
            options.output,
            options.checkpoints or options.output.with_name(f"{options.output.name}.checkpoints"),
            Options(**{name: getattr(options, name) for name in how}),
        )

    parser = command(
        commands,
        "train",
        train,
        "One phase of training: from an encoder folder to a new one",
        "Goes on from its last checkpoint where one is there. For several GPUs: torchrun --nproc-per-node N -m -- "
        "biohicl train ... Ctrl-C writes a checkpoint and leaves (torchrun gives it 30 seconds for that).",
    )
    parser.add_argument("--start", type=Path, required=True, metavar="DIR", help="backbone or node to start from")
    parser.add_argument("--tokens", type=Path, required=True, help="the table that biohicl tokens made")
    parser.add_argument("--labels", type=Path, help="the table that biohicl labels made; for losses that read labels")
    parser.add_argument("--hierarchy", type=Path, help="the release's hierarchy, that the labels are of")
    parser.add_argument("--label-counts", type=Path, help="the table that count-labels made; for labels.weight corpus")
    parser.add_argument("--terms", type=Path, help="the release's table of MeSH terms; for losses.heading_abstract")
    parser.add_argument("--queries", type=Path, help="the table that query-tokens made; for losses.query_text")
    parser.add_argument("--negatives", type=Path, help="the table that biohicl negatives made; for negatives")
    parser.add_argument(
        "--teacher", type=Path, metavar="DIR", help="the folder that biohicl encode made; for losses.teacher_vectors"
    )
    parser.add_argument(
        "--teacher-views",
        nargs="+",
        choices=VIEWS,
        metavar="VIEW",
        help="which of its views are read: document, query, passage (default: all that are there)",
    )
    parser.add_argument(
        "--settings",
        type=settings,
        required=True,
        help="a node's block as in config.yaml, as JSON or a file; what it does not name has its default",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the model's folder; replaced if there"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="for checkpoints while it lasts, and log.jsonl and TensorBoard's files (default: OUTPUT.checkpoints)",
    )
    parser.add_argument(
        "--checkpoint-minutes", type=minutes, default=10.0, metavar="N", help="between two (10); 0: after each step"
    )
    parser.add_argument(
        "--chunk-tokens",
        type=positive,
        metavar="N",
        help="tokens in memory at a time: larger batches are read in chunks, twice (default: whole)",
    )
    parser.add_argument(
        "--compile",
        dest="compiled",
        action=argparse.BooleanOptionalAction,
        help="have torch compile the model (default: on a GPU)",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="the same bits each time on a GPU too; on a CPU they always are"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="what the model computes in; weights, pooling and losses are float32 (default: bfloat16 on a GPU)",
    )
    device_option(parser)


def _add_on_gpus(commands: Subcommands) -> None:
    def on_gpus(options: argparse.Namespace) -> None:
        from biohicl.machine import take_gpus

        if not options.words:
            raise BioHiCLError("names no command; as in: biohicl on-gpus 2 torchrun --nproc-per-node 2 ...")
        take_gpus(options.count)
        try:
            os.execvp(options.words[0], options.words)
        except FileNotFoundError:
            raise BioHiCLError(f"{options.words[0]}: no such command") from None

    parser = command(
        commands,
        "on-gpus",
        on_gpus,
        "Run a command that sees so many GPUs, which no other command of this package works on",
        "Where one GPU is visible, or none, the command is run as it is. Commands of this package that use one GPU "
        "take a free one by themselves.",
    )
    parser.add_argument("count", type=positive, metavar="N")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="with its own options")


def _add_similarities(commands: Subcommands) -> None:
    tables = ("start", "tokens", "labels", "hierarchy", "label_counts", "terms", "queries")

    def similarities(options: argparse.Namespace) -> None:
        from biohicl.training.data import Inputs
        from biohicl.training.similarities import write_similarities

        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        inputs = Inputs(**{name: getattr(options, name) for name in tables})
        how = options.device, options.precision
        write_similarities(inputs, options.model, _checked(options.settings), options.output, *how)

    parser = command(
        commands,
        "similarities",
        similarities,
        "SimE of a training's held-out texts against SimL, by its start and by the model",
        "Takes the tables and settings that the model was trained with.",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="the model's folder")
    parser.add_argument("--start", type=Path, required=True, metavar="DIR", help="the folder that it was trained from")
    parser.add_argument("--tokens", type=Path, required=True, help="the table that biohicl tokens made")
    for table in tables[2:]:
        needed = table in ("labels", "hierarchy")
        parser.add_argument(
            f"--{table.replace('_', '-')}", type=Path, required=needed, help="as for train" if needed else "likewise"
        )
    parser.add_argument("--settings", type=settings, required=True, help="the node's block, as for train")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, help="what the encoders compute in, as for embed")
    device_option(parser)


def _add_average(commands: Subcommands) -> None:
    def average(options: argparse.Namespace) -> None:
        from biohicl.training.averaging import write_average

        write_average(options.of, options.output, options.other, options.share, options.snapshots)

    parser = command(
        commands,
        "average",
        average,
        "The mean of several models' weights, perhaps mixed with another's",
        "Weights become SHARE x mean of --of + (1 - SHARE) x --with. All are of one architecture and read texts alike. "
        "A share of as many as are averaged adds to --with all that each of them has learned from it.",
    )
    parser.add_argument("--of", type=Path, nargs="+", required=True, metavar="DIR", help="backbones or nodes")
    parser.add_argument("--with", dest="other", type=Path, metavar="DIR", help="the one that the mean is mixed with")
    parser.add_argument("--share", type=float, default=1.0, help="of the mean, 0 to the number of --of (default: 1)")
    parser.add_argument(
        "--snapshots", action="store_true", help="the snapshots of --of are in the mean too, each as a model of its own"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the model's folder; replaced if there"
    )


def _add_encode(commands: Subcommands) -> None:
    def encode(options: argparse.Namespace) -> None:
        from biohicl.encoder.vectors import record_of
        from biohicl.training.teacher import write_teacher

        write_teacher(options.encoder, options.tokens, options.views, options.output, **encoding(options))
        for view in options.views:
            # Looked at just now, and found right: newer than what they were made from.
            file = options.output / f"{view}.npy"
            file.touch()
            record_of(file).touch()

    parser = command(
        commands,
        "encode",
        encode,
        "Encode a selection's tokens, for a training that has this encoder as its teacher",
        "A killed run goes on where it was; the same tokens are not encoded twice.",
    )
    parser.add_argument("encoder", type=Path, metavar="ENCODER_DIR")
    parser.add_argument("tokens", type=Path, metavar="TOKENS", help="the table that biohicl tokens made with it")
    parser.add_argument(
        "--views",
        nargs="+",
        choices=VIEWS,
        default=["query", "passage"],
        help="columns of that table (default: query passage)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for VIEW.npy and its record, VIEW.json"
    )
    encoding_options(parser)


def _checked(block: dict[str, Any]) -> dict[str, Any]:
    """A node's settings, completed and checked as in the workflow; as they are where jsonschema is not installed."""
    from importlib.util import find_spec

    from biohicl.configuration import node_settings, resolve_node

    schema = Path(__file__).resolve().parents[3] / "workflow/schemas/config.schema.yaml"
    if find_spec("jsonschema") is None or not schema.is_file():
        return block
    return node_settings(resolve_node(block, schema))
