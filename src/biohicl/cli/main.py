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
    estimate,
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
from biohicl.cli.arguments import Parser, limit_threads, positive
from biohicl.errors import BioHiCLError
from biohicl.machine import take_gpus
from biohicl.progress import spelled


def run() -> None:
    """The console script."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0, or 2 with one line on standard error for bad input."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal's encoding lacks is shown as "?".
        sys.stdout.reconfigure(errors="replace")
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.of_commands[options.command].refuse(unknown)
    limit_threads(options.threads)
    if getattr(options, "device", "cpu") in ("auto", "cuda") and "LOCAL_RANK" not in os.environ:
        # Processes that torchrun started share the GPUs that on-gpus took for them.
        take_gpus(1)
    # A terminated stage cleans up like an interrupted one: temporary files go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        options.run(options)
    except BioHiCLError as error:
        return _said(options, str(error))
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _said(options, f"{where}{error.strerror or error}")
    except Exception as error:
        if type(error).__name__ == "AcceleratorError":
            # Torch's own, known by name: torch is imported by the subcommands that need it.
            _said(options, _device_error(error))
            # Freeing what lies on a GPU that is gone would abort the process, with a dump.
            os._exit(2)
        # Libraries that read and write files raise errors of their own: tables that are damaged, arrays on a full disk.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if type(error).__name__ == "SafetensorError":
            words = f"weights cannot be written or read: {reason}"
        elif type(error).__module__.startswith(("polars", "pyarrow")):
            given = [str(value) for value in vars(options).values() if isinstance(value, Path) and value.exists()]
            asked = f"Is one of these damaged, or of another stage: {', '.join(given)}?"
            words = f"a table cannot be read: {reason}. {asked}"
        else:
            raise
        return _said(options, words)
    except KeyboardInterrupt:
        print(f"biohicl {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _said(options: argparse.Namespace, words: str) -> int:
    print(spelled(f"biohicl {options.command}: error: {words}"), file=sys.stderr, flush=True)
    return 2


def _device_error(error: Exception) -> str:
    """A GPU that fails takes the whole process's work on it along, and tells of it late, at another operation."""
    said = (str(error).strip().splitlines() or [""])[0]
    return (
        f"the GPU stopped with '{said}'. Start again: trainings and encodings go on from what they saved. If it "
        "comes again at the same place, CUDA_LAUNCH_BLOCKING=1 in the environment gives the operation that is at fault "
        "(in a traceback); if at others, look for errors of the card: nvidia-smi, dmesg"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="biohicl",
        description="Dense biomedical retrieval trained from MeSH labels. What a run will cost: estimate. To look at "
        "what is there: search, serve, sql, scores, mesh, evaluate; to give it to others: export-onnx, push. The other "
        "commands are the workflow's stages, which snakemake calls.",
    )
    parser.add_argument("--version", action="version", version=f"biohicl {biohicl.__version__}")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads to use (default: all cores)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        sample.add_commands,
        estimate.add_commands,
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
    parser.of_commands = commands.choices
    return parser
