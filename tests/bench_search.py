"""Bytes, recall and time of the ways to store an index, on shards of 30,000 vectors as PubMed's files give them.

Vectors are those of the files given (.npy, or shards of an exact index), or drawn. Where more are wanted than are given,
others are made of them: each the sum of one and a part of the difference of two others, brought to length 1, so that
they spread as the given ones do. Queries are those of --queries, or such sums too. Recall: the share of the ten best by
float32 that are among the ten that are found.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from biohicl.encoder.vectors import of_unit_length
from biohicl.search import STORAGES
from biohicl.search.contents import INDEX_FILE, INDEXES, Contents
from biohicl.search.ranking import best_by_vector
from biohicl.search.shards import stored
from biohicl.search.tensors import TensorFile, write_tensors

FILE_ROWS = 30_000
BEST = 10
PUBMED = 40_000_000


def given(files):
    """The vectors of some files, (n, d)."""
    parts = [np.load(file) if file.suffix == ".npy" else TensorFile(file)["vectors"] for file in files]
    return of_unit_length(np.concatenate(parts).astype(np.float32))


def drawn(count, dimension, rng):
    centres = rng.normal(size=(2_000, dimension))
    rows = centres[rng.integers(0, len(centres), count)] + 0.8 * rng.normal(size=(count, dimension))
    return of_unit_length(rows.astype(np.float32))


def spread(vectors, count, rng):
    """(count, d): the vectors, and such as are made of them."""
    parts, lacking = [vectors[:count]], count - len(vectors)
    while lacking > 0:
        number = min(lacking, 100_000)
        one, other, third = (vectors[rng.integers(0, len(vectors), number)] for _ in range(3))
        share = rng.uniform(0.2, 0.6, size=(number, 1)).astype(np.float32)
        parts.append(of_unit_length(one + share * (other - third)))
        lacking -= number
    return np.concatenate(parts)


def write(vectors, storage, folder):
    """An index of these vectors, all current; returns it, its bytes a vector, and the seconds it took."""
    files, size, started = [], 0, time.perf_counter()
    for number, first in enumerate(range(0, len(vectors), FILE_ROWS), start=1):
        rows = vectors[first : first + FILE_ROWS]
        name = f"pubmed26n{number:04d}"
        file = folder / storage / f"{name}.safetensors"
        said = {"storage": storage, "encoder": "", "rows": len(rows), "dimension": rows.shape[1]}
        write_tensors(stored(storage, rows), said, file)
        size += file.stat().st_size
        files.append({"name": name, "rows": len(rows)})
    took = time.perf_counter() - started
    mask = np.packbits(np.ones(len(vectors), dtype=bool))
    write_tensors({"current": mask}, {"files": files, "storage": storage, "encoder": ""}, folder / INDEX_FILE)
    return Contents(folder / INDEX_FILE), size / len(vectors), took


def asked(index, queries, mask, pool):
    """What each query finds, and the milliseconds that it took."""
    found, times = [], []
    for query in [queries[0], *queries]:
        started = time.perf_counter()
        rows, _ = best_by_vector(index, query, BEST, mask, pool)
        times.append(1000 * (time.perf_counter() - started))
        found.append(set(rows.tolist()))
    # The first opened the files.
    return found[1:], times[1:]


def recall(expected, found):
    return sum(len(one & other) / max(len(one), 1) for one, other in zip(expected, found, strict=True)) / len(expected)


def compared(vectors, queries, folder, threads, rng):
    """A line of figures for each storage."""
    few = rng.random(len(vectors)) < 0.01
    lines, expected = [], {}
    # The same pool for all; each storage is asked with one thread and with several.
    with ThreadPoolExecutor(threads) as pool:
        for storage in STORAGES:
            index, size, took = write(vectors, storage, folder)
            found, times = asked(index, queries, index.current, None)
            _, parallel = asked(index, queries, index.current, pool)
            filtered, filtered_times = asked(index, queries, few, None)
            expected.setdefault("all", found)
            expected.setdefault("few", filtered)
            times_of = [np.percentile(times, 50), np.percentile(times, 95), np.percentile(parallel, 50)]
            figures = [size, recall(expected["all"], found), *times_of]
            figures += [recall(expected["few"], filtered), np.percentile(filtered_times, 50), took]
            lines.append((storage, figures))
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--vectors", type=Path, nargs="+", help=".npy files, or shards of an exact index")
    parser.add_argument("--queries", type=Path, nargs="+", help=".npy files")
    parser.add_argument("--count", type=int, default=100, help="queries asked (default: 100)")
    parser.add_argument("--dimension", type=int, default=384, help="of drawn vectors")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    start = given(options.vectors) if options.vectors else drawn(min(options.sizes), options.dimension, rng)
    if options.queries:
        queries = given(options.queries)
        queries = queries[rng.permutation(len(queries))[: options.count]]
    else:
        queries = spread(start[:2], options.count + 2, rng)[2:]
    print(f"{len(start):,} given vectors of {start.shape[1]} numbers, {len(queries)} queries")
    header = ("bytes", "recall@10", "ms", "p95 ms", f"ms, {options.threads} threads", "recall, 1 %", "ms", "built s")
    for size in options.sizes:
        print(f"\n{size:,} vectors\n{'':<8}" + "".join(f"{name:>16}" for name in header))
        with tempfile.TemporaryDirectory() as folder:
            lines = compared(spread(start, size, rng), queries, Path(folder, INDEXES, "bench"), options.threads, rng)
        for storage, (width, found, *times) in lines:
            cells = [f"{width:,.0f}", f"{found:.3f}", *(f"{value:,.1f}" for value in times[:3])]
            cells += [f"{times[3]:.3f}", *(f"{value:,.1f}" for value in times[4:])]
            print(f"{storage:<8}" + "".join(f"{cell:>16}" for cell in cells))
        if size == max(options.sizes):
            print(f"\nBy proportion, {PUBMED:,} vectors (usearch: of graphs of one file each):")
            for storage, (width, _, middle, *_) in lines:
                gigabytes, seconds = width * PUBMED / 1e9, middle * PUBMED / size / 1000
                print(f"{storage:<8} {gigabytes:,.0f} GB, {seconds:,.2f} s a query on one thread")


if __name__ == "__main__":
    main()
