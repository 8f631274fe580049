"""The subcommands that give a model to others."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command


def add_commands(commands: Subcommands) -> None:
    """Adds export-onnx."""

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
