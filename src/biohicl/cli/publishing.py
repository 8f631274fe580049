"""The subcommands that give a model to others."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, settings
from biohicl.fetch.lock import LOCK


def add_commands(commands: Subcommands) -> None:
    """Adds describe, export-onnx, push."""
    _add_describe(commands)

    def export_onnx(options: argparse.Namespace) -> None:
        from biohicl.publishing.onnx_export import export_onnx as export

        export(options.model, options.output)

    parser = command(
        commands,
        "export-onnx",
        export_onnx,
        "Write a model as ONNX, with pooling and normalisation inside",
        "It is checked in onnxruntime against the model itself, to 1e-5; where it differs, nothing is written.",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="model folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    _add_push(commands)


def _add_push(commands: Subcommands) -> None:
    def push(options: argparse.Namespace) -> None:
        from biohicl.publishing.push import push as send

        ways = {name: getattr(options, name) for name in ("private", "revision", "onnx", "snapshots")}
        print(send(options.model, options.name, **ways))

    parser = command(
        commands,
        "push",
        push,
        "Upload a described model to a model hub, in one commit",
        "The token is that of HF_TOKEN or of `hf auth login`; HF_ENDPOINT names another hub.",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="model folder with its card")
    parser.add_argument("name", metavar="OWNER/NAME", help="what it is called there; made where it is not there")
    parser.add_argument("--private", action="store_true", help="for nobody else to see")
    parser.add_argument("--revision", metavar="BRANCH", help="a branch, made where it is not there (default: main)")
    parser.add_argument("--onnx", type=Path, metavar="DIR", help="what export-onnx wrote of it, to onnx/")
    parser.add_argument("--snapshots", action="store_true", help="with the weights on the way")


def _add_describe(commands: Subcommands) -> None:
    def describe(options: argparse.Namespace) -> None:
        from biohicl.publishing.card import describe as write
        from biohicl.publishing.facts import Sources

        given = {field.name: getattr(options, field.name) for field in fields(Sources) if field.name != "folder"}
        write(Sources(options.model, **given), options.output)

    parser = command(
        commands,
        "describe",
        describe,
        "Write a model's card and the checksums of its files into its folder",
        "What is not given here the card says to be unknown; the workflow gives everything.",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="model folder")
    parser.add_argument("--about", type=settings, default={}, help="JSON: what config.yaml says of backbone and texts")
    parser.add_argument("--nodes", type=Path, nargs="*", default=[], metavar="DIR", help="what it is made from")
    parser.add_argument("--backbone", type=Path, metavar="DIR", help="folder of its backbone")
    parser.add_argument("--release", type=Path, metavar="DIR", help="the training release")
    for name, what in (("selections", "texts"), ("excluded", "what was left out of them"), ("overlaps", "benchmarks")):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], metavar="TABLE", help=f"tables of {what}")
    parser.add_argument("--summary", type=Path, metavar="TABLE", help="the table of scores")
    parser.add_argument("--times", type=Path, metavar="DIR", help="Snakemake's records of trainings")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="checkpoints of trainings, whose logs tell of energy")
    parser.add_argument("--lock", type=Path, default=LOCK, metavar="JSON", help=f"commits that came (default: {LOCK})")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the card there too")
