"""`make bench-evaluate`: a model on a benchmark by `biohicl evaluate` and by sentence-transformers with mteb, interleaved.

Each round runs both as processes of their own on the same threads, one after the other, with the import of everything
and the loading of the model; then ours once more, with the vectors that it kept. Needs ../shared, or --model and
--benchmark; --documents takes a slice.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmark_folders import slice_of_beir
from mteb_witness import mteb_scores

SHARED = Path(__file__).resolve().parents[2] / "shared"


def timed(work):
    """Seconds by the clock, CPU seconds of child processes, and what came."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = work()
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def ours(model, benchmark, output, threads, batch_size):
    command = [sys.executable, "-m", "biohicl", "--threads", str(threads), "evaluate", str(model), str(benchmark)]
    command += ["--output", str(output), "--batch-size", str(batch_size), "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["metrics"]["nDCG@10"]


def theirs(model, benchmark, batch_size):
    return mteb_scores(benchmark, model, batch_size=batch_size)["scores"]["ndcg_at_10"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHARED / "encoders/all-MiniLM-L6-v2")
    parser.add_argument("--benchmark", type=Path, default=SHARED / "data/benchmarks/scifact")
    parser.add_argument("--documents", type=int, help="a slice of so many documents (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        benchmark = options.benchmark
        if options.documents:
            benchmark = slice_of_beir(benchmark, Path(scratch) / "slice", options.documents // 12, options.documents)
        times = {"biohicl evaluate": [], "sentence-transformers and mteb": [], "biohicl evaluate, again": []}
        for number in range(options.rounds):
            output = Path(scratch) / f"round{number}"
            size = options.batch_size
            work = {
                "biohicl evaluate": partial(ours, options.model, benchmark, output, options.threads, size),
                "sentence-transformers and mteb": partial(theirs, options.model, benchmark, size),
            }
            order = list(work) if number % 2 == 0 else list(work)[::-1]
            for name in order:
                times[name].append(timed(work[name]))
            times["biohicl evaluate, again"].append(timed(work["biohicl evaluate"]))
    print(f"{benchmark.name}, {options.threads} threads, medians of {options.rounds}")
    for name, rounds in times.items():
        clock, cpu = (statistics.median(part) for part in list(zip(*rounds, strict=True))[:2])
        print(f"{name:32s} {clock:8.1f} s {cpu:8.1f} CPU s   nDCG@10 {rounds[0][2]:.5f}")


if __name__ == "__main__":
    main()
