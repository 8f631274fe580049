"""The subcommand that scores a model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, device_option, positive


def add_commands(commands: Subcommands) -> None:
    """Adds evaluate."""

    def evaluate(options: argparse.Namespace) -> None:
        from biohicl.evaluation.evaluate import evaluate

        metrics = evaluate(
            options.model,
            options.benchmark,
            options.output,
            split=options.split,
            system=options.system,
            batch_size=options.batch_size,
            run_depth=options.run_depth,
            bm25={"k1": options.bm25_k1, "b": options.bm25_b},
            device=options.device,
        )
        if options.json:
            first = metrics[0]
            shown = {key: first[key] for key in ("system", "benchmark", "kind", "split", "n")}
            print(json.dumps(shown | {"metrics": {row["metric"]: row["value"] for row in metrics}}))
        else:
            for row in metrics:
                print(f"{row['system']}  {row['benchmark']}  {row['metric']}  {row['value']:.4f}  (n = {row['n']})")

    parser = command(commands, "evaluate", evaluate, "Score one model on one benchmark, and print the metrics")
    parser.add_argument("model", metavar="MODEL", help="a model's folder, a name on the hub (owner/name), or bm25")
    parser.add_argument("benchmark", type=Path, metavar="BENCHMARK_DIR", help="a BEIR folder, or one with pairs.jsonl")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for run, per_query and metrics .parquet"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--split", default="test", help="which qrels file (default: test)")
    parser.add_argument("--system", help="the model's name in the tables (default: its folder's)")
    parser.add_argument("--batch-size", type=positive, default=64, help="texts encoded at a time (default: 64)")
    parser.add_argument("--run-depth", type=positive, default=1000, help="documents kept a query (default: 1000)")
    parser.add_argument("--bm25-k1", type=float, default=1.5, help="term frequency saturation (default: 1.5)")
    parser.add_argument("--bm25-b", type=float, default=0.75, help="length normalisation (default: 0.75)")
    device_option(parser)
