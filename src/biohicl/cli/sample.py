"""The subcommand that makes the sample."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command


def add_commands(commands: Subcommands) -> None:
    """Adds make-sample."""

    def run(options: argparse.Namespace) -> None:
        from biohicl.sample.make import make_sample

        make_sample(options.directory)

    parser = command(
        commands,
        "make-sample",
        run,
        "Write a small generated copy of NLM's server, two benchmarks, screening decisions and a tiny backbone",
        "The same bytes each time; nothing is fetched.",
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="folder to make; an existing sample there is replaced"
    )
