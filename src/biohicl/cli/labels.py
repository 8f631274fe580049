"""The subcommands that make label ids of headings, and compare their weightings."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, settings, share


def add_commands(commands: Subcommands) -> None:
    """Adds labels, count-labels, label-study, ablations."""

    def labels(options: argparse.Namespace) -> None:
        from biohicl.training.labels import write_labels

        write_labels(options.selection, options.hierarchy, options.max_unknown, options.output, options.unknown)

    parser = command(commands, "labels", labels, "Label ids of a selection, direct and with all ancestors")
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("--hierarchy", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--unknown", type=Path, required=True, metavar="PATH", help="for the headings that the hierarchy does not know"
    )
    _unknown_option(parser)

    def count(options: argparse.Namespace) -> None:
        from biohicl.training.labels import count_labels

        count_labels(options.release, options.pubmed, options.max_unknown, options.output)

    parser = command(
        commands,
        "count-labels",
        count,
        "How many citations of a training release have each descriptor, or one below it",
        "Corpus information content is made of it.",
    )
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--output", type=Path, required=True)
    _unknown_option(parser)

    def label_study(options: argparse.Namespace) -> None:
        from biohicl.study.label_study import write_label_study

        write_label_study(
            options.release,
            options.pubmed,
            options.label_counts,
            options.screening,
            options.settings,
            options.output,
        )

    parser = command(
        commands,
        "label-study",
        label_study,
        "How well each label weighting tells related citations from unrelated ones",
    )
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="the folder that freeze made")
    parser.add_argument("--pubmed", type=Path, required=True, metavar="DIR", help="folder with articles/")
    parser.add_argument("--label-counts", type=Path, required=True, help="the table that count-labels made")
    parser.add_argument(
        "--screening",
        type=Path,
        help="tab-separated pmid, review, included_on_full_text (I: included); without it, only citations between "
        "articles are evidence",
    )
    parser.add_argument(
        "--settings", type=settings, required=True, help="label_study of config.yaml, as JSON or a file"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for auc, units, zeros .parquet, auc.svg and auc.txt"
    )
    _add_ablations(commands)


def _add_ablations(commands: Subcommands) -> None:
    def ablations(options: argparse.Namespace) -> None:
        from biohicl.study.ablations import write_ablations

        write_ablations(
            options.cells, options.scores, options.models, options.retrieval, options.similarity, options.output
        )

    parser = command(commands, "ablations", ablations, "What each part of a recipe is worth, from finished trainings")
    parser.add_argument("--cells", type=settings, required=True, help="by cell, its nodes by seed, as JSON or a file")
    parser.add_argument("--scores", type=Path, required=True, metavar="DIR", help="folder of <node>/<benchmark>/")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="folder of the nodes")
    parser.add_argument("--retrieval", nargs="*", default=[], metavar="NAME", help="development.retrieval")
    parser.add_argument("--similarity", nargs="*", default=[], metavar="NAME", help="development.similarity")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for ablations, trainings .parquet, .svg and .txt"
    )


def _unknown_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-unknown",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="the largest share of headings that the hierarchy may lack (default: 0.05)",
    )
