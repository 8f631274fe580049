"""The subcommand that says beforehand what a run will cost."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, positive, print_json, project_path


def add_commands(commands: Subcommands) -> None:
    """Adds estimate."""

    def estimate(options: argparse.Namespace) -> None:
        from biohicl import configuration
        from biohicl.estimate import RATES, Machine, Prices, make_plan, plan_json, plan_text, read_rates

        prices = Prices(options.core_hour, options.gpu_hour, options.gb_month, options.currency)
        rates = read_rates(options.rates or RATES)
        project = project_path(Path("config.yaml"), "git clone of the project").parent
        files = [project / "config.yaml", *options.configfile]
        config = configuration.load(files, project / "workflow/schemas/config.schema.yaml")
        gpus = options.gpus if options.gpus is not None else int(config["gpu"] != "never")
        machine = Machine(options.cores, gpus, options.gpu_speed)
        # Where Snakemake runs, which may be beside the project.
        folder = Path.cwd() if Path("resources").is_dir() else project
        plan = make_plan(config, folder, rates, machine, options.index)
        if options.json:
            print_json(plan_json(plan, prices))
        else:
            print(plan_text(plan, prices))

    parser = command(
        commands,
        "estimate",
        estimate,
        "What a full run will cost: downloads, core-hours, GPU-hours, disk and money",
        "Computed from measured rates and config.yaml, without a network. NLM's listing, backbones and benchmarks that "
        "are here already are taken as they are.",
    )
    parser.add_argument(
        "--configfile", type=Path, nargs="+", action="extend", default=[], metavar="OVERLAY", help="over config.yaml"
    )
    parser.add_argument("--cores", type=positive, default=32, metavar="N", help="of the machine (default: 32)")
    parser.add_argument(
        "--gpus", type=_count, metavar="N", help="0 computes without (default: 1, or 0 with gpu: never in config.yaml)"
    )
    parser.add_argument(
        "--gpu-speed", type=float, default=1.0, metavar="X", help="of a GPU beside one NVIDIA H200 (default: 1)"
    )
    parser.add_argument("--core-hour", type=float, metavar="PRICE", help="of one core for an hour")
    parser.add_argument("--gpu-hour", type=float, metavar="PRICE", help="of one GPU for an hour")
    parser.add_argument("--gb-month", type=float, metavar="PRICE", help="of a GB on disk for a month")
    parser.add_argument("--currency", default="USD", help="what prices are in (default: USD)")
    parser.add_argument("--index", action="store_true", help="with `snakemake index`, which is no part of all")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="your own, as in src/biohicl/estimate/rates.yaml")
    parser.add_argument("--json", action="store_true", help="everything, for a program")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 0")
    return int(text)
