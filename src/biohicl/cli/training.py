"""The subcommands from tables to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, device_option, positive, settings


def add_commands(commands: Subcommands) -> None:
    """Adds freeze, select, tokens, train."""

    def freeze(options: argparse.Namespace) -> None:
        from biohicl.training.release import freeze_release

        freeze_release(options.current, options.hierarchy, options.mesh_record, options.output)

    parser = command(commands, "freeze", freeze, "Freeze corpus and hierarchy as a training release")
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--mesh-record", type=Path, required=True, help="the record that list-mesh made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")

    def select(options: argparse.Namespace) -> None:
        from biohicl.training.selection import write_selection

        write_selection(options.release, options.pubmed, options.settings, options.output)

    parser = command(commands, "select", select, "Draw the citations to train on from a training release")
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--settings", type=settings, required=True, help="its block of config.yaml, as JSON or a file")
    parser.add_argument("--output", type=Path, required=True)

    def tokens(options: argparse.Namespace) -> None:
        from biohicl.training.tokens import write_tokens

        write_tokens(options.selection, options.encoder, options.max_length, options.output)

    parser = command(commands, "tokens", tokens, "Tokens of a selection for one backbone and one length")
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
            options.label_counts,
            options.settings,
            options.output,
            options.device,
        )

    parser = command(commands, "train", train, "One phase of training: from an encoder folder to a new one")
    parser.add_argument("--start", type=Path, required=True, metavar="DIR", help="backbone or node to start from")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--label-counts", type=Path, help="the table that count-labels made; for labels.weight corpus")
    parser.add_argument(
        "--settings", type=settings, required=True, help="the node's block of config.yaml, as JSON or a file"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    device_option(parser)
