"""The command ``biohicl``: its parser, and what is said where a subcommand fails."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import biohicl
from biohicl.cli import (
    catalog,
    evaluation,
    fetching,
    labels,
    mesh,
    publishing,
    report,
    sample,
    search,
    serving,
    tables,
    training,
)
from biohicl.cli.arguments import limit_threads, positive
from biohicl.errors import BioHiCLError


def run() -> None:
    """The console script."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0, or 2 with one line on standard error for bad input."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal's encoding lacks is shown as "?".
        sys.stdout.reconfigure(errors="replace")
    parser = _parser()
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="biohicl",
        description="Dense biomedical retrieval trained from MeSH labels. Each subcommand is one stage.",
    )
    parser.add_argument("--version", action="version", version=f"biohicl {biohicl.__version__}")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads to use (default: all cores)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        sample.add_commands,
        fetching.add_listing,
        fetching.add_fetching,
        tables.add_commands,
        mesh.add_commands,
        training.add_commands,
        labels.add_commands,
        evaluation.add_commands,
        report.add_commands,
        catalog.add_commands,
        publishing.add_commands,
        search.add_commands,
        serving.add_commands,
    ):
        add(commands)
    return parser
