"""`make bench-similarity`: how long SimL of a batch takes, on one CPU core, and on a GPU where there is one.

Of real citations under MeSH 2024 where ../shared is there, else of label sets drawn like theirs in a generated tree
of MeSH's size and depth; in both cases batches of about 70 labels. On a CPU 512 sets, beside one plain sparse product,
interleaved; on a GPU 4,096. The generated half needs neither polars nor lxml, so that it runs on a bare GPU image.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from biohicl.mesh.label_sets import LabelSets, closed_labels
from biohicl.mesh.nodes import Nodes
from biohicl.mesh.similarity import METHODS, OVERLAPS
from biohicl.mesh.weights import LabelCounts, weighting
from biohicl.ragged import Ragged
from biohicl.training.targets import dense_similarity

SHARED = Path(__file__).resolve().parents[2] / "shared"
DESCRIPTORS = 30_764
SETTINGS = {"depth": "min", "roots": "none", "smoothing": 1.0, "check_tags": 1.0, "minor_topics": 1.0}


def tree(draw):
    """A forest of MeSH's size: each descriptor under one or two others that came before it, at depths like MeSH's."""
    parents = [[]] * 118
    above = [{number} for number in range(118)]
    for number in range(118, DESCRIPTORS):
        # Some 6 ancestors and a depth of 5, as in MeSH.
        chosen = {int(number * draw.random() ** 2) for _ in range(1 + (draw.random() < 0.15))}
        parents.append(sorted(chosen))
        above.append({number}.union(*(above[parent] for parent in chosen)))
    closures = [
        np.array([*sorted(one), DESCRIPTORS + number % 16, DESCRIPTORS + 16]) for number, one in enumerate(above)
    ]
    offsets = np.cumsum([0, *map(len, closures)]).astype(np.int64)
    closure = Ragged(np.concatenate(closures).astype(np.int32), offsets)
    depths = np.array([len(one) / 2 for one in closures] + [0.0] * 16 + [-1.0])
    return Nodes(
        [f"D{number:06d}" for number in range(DESCRIPTORS)],
        list("ABCDEFGHIJKLMNVZ"),
        closure,
        dict.fromkeys(("min", "mean", "max"), depths),
    )


def label_sets(nodes, draw, count, wanted):
    """Closed sets of which the mean is about ``wanted`` ids: frequent headings are very frequent, as Zipf says."""
    ranks = draw.permutation(DESCRIPTORS)
    chance = 1 / (np.argsort(ranks) + 20.0) ** 0.9
    chance /= chance.sum()
    headings = 2
    while True:
        rows = [np.unique(draw.choice(DESCRIPTORS, headings, p=chance)) for _ in range(count)]
        offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        values = np.concatenate(rows).astype(np.int32)
        direct = LabelSets(Ragged(values, offsets), np.ones(len(values), dtype=np.uint8))
        closed = closed_labels(direct, nodes)
        if closed.ids.lengths().mean() >= wanted:
            return direct, closed
        headings += 1


def real_sets(count, wanted):
    """Nodes of MeSH 2024, counts, and sets of ``count`` citations that have the most labels of all, near ``wanted``."""
    import tempfile

    import polars as pl

    from biohicl.mesh.hierarchy import write_hierarchy
    from biohicl.mesh.nodes import read_nodes
    from biohicl.mesh.parse import parse_mesh_file
    from biohicl.pubmed.parse import parse_pubmed_file
    from biohicl.training.labels import labels_of
    from biohicl.training.release import headings_of

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parse_mesh_file(SHARED / "data/nlm/mesh/desc2024.gz", folder)
        write_hierarchy(folder, *(folder / file for file in ("hierarchy.parquet", "a.parquet", "d.graphml")))
        nodes = read_nodes(folder / "hierarchy.parquet")
        tables = [folder / f"{table}.parquet" for table in "ahdq"]
        parse_pubmed_file(SHARED / "data/nlm/pubmed/baseline/pubmed20n9001.xml.gz", *tables)
        direct, _ = labels_of(headings_of(pl.read_parquet(tables[0], columns=["mesh_headings"])), nodes)
    closed = closed_labels(direct, nodes)
    counts = LabelCounts(len(closed), np.bincount(closed.ids.values, minlength=nodes.count))
    lengths = closed.ids.lengths()
    order = np.argsort(np.abs(lengths - wanted), kind="stable")[: 4 * count]
    some = np.random.default_rng(1).choice(order, count, replace=False)
    return nodes, counts, direct.take(some), closed.take(some)


def generated_sets(count, wanted):
    """The same, drawn."""
    draw = np.random.default_rng(1)
    nodes = tree(draw)
    direct, closed = label_sets(nodes, draw, count, wanted)
    return nodes, LabelCounts(len(closed), np.bincount(closed.ids.values, minlength=nodes.count)), direct, closed


def plain_product(sets, weighed):
    """The cosine by one sparse product, as the textbook has it."""
    from scipy.sparse import csr_array

    values = weighed.nodes.astype(np.float64)[sets.ids.values]
    owner = np.repeat(np.arange(len(sets)), sets.ids.lengths())
    norms = np.sqrt(np.bincount(owner, weights=values**2, minlength=len(sets)))
    matrix = csr_array(
        (values / norms[owner], sets.ids.values, sets.ids.offsets), shape=(len(sets), len(weighed.nodes))
    )
    return (matrix @ matrix.T).toarray().astype(np.float32)


def timed(ways, rounds, finish=lambda: None):
    """Milliseconds of each way: median and lowest of ``rounds`` interleaved ones, after one to warm up."""
    times = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            finish()
            if number:
                times[name].append((time.perf_counter() - started) * 1e3)
    for name, values in times.items():
        print(f"  {name:<34} median {statistics.median(values):7.2f} ms   lowest {min(values):7.2f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=float, default=70, help="ids of a closed set, on the mean")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    is_real = (SHARED / "data").is_dir()
    nodes, counts, direct, closed = (real_sets if is_real else generated_sets)(512, options.labels)
    print("real citations" if is_real else "generated label sets")
    weighed = weighting(nodes, SETTINGS | {"weight": "corpus"}, counts)
    half = weighting(nodes, SETTINGS | {"weight": "corpus", "minor_topics": 0.5}, counts)
    of = {"direct": direct, "closed": closed}
    ways = {"cosine, one sparse product": lambda: plain_product(closed, weighed)}
    for name, method in METHODS.items():
        ways[name] = lambda method=method: method.similarity(of[method.labels], of[method.labels], weighed)
    ways["simgic, minor topics 0.5"] = lambda: METHODS["simgic"].similarity(closed, closed, half)
    print(
        f"CPU, one core: 512 sets of {closed.ids.lengths().mean():.0f} labels ({direct.ids.lengths().mean():.0f} direct)"
    )
    timed(ways, options.rounds)
    if not torch.cuda.is_available():
        print("GPU: there is none here")
        return
    _, _, direct, closed = (real_sets if is_real else generated_sets)(4096, options.labels)
    of = {"direct": direct, "closed": closed}
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}: 4,096 sets of {closed.ids.lengths().mean():.0f} labels")
    ways = {
        name: lambda name=name, overlap=overlap: dense_similarity(overlap, of[METHODS[name].labels], weighed, device)
        for name, overlap in OVERLAPS.items()
    }
    timed(ways, options.rounds, torch.cuda.synchronize)
    for name, overlap in OVERLAPS.items():
        sets = of[METHODS[name].labels].take(np.arange(1024))
        expected = METHODS[name].similarity(sets, sets, weighed)
        found = dense_similarity(overlap, sets, weighed, device).cpu().numpy()
        zeros = "the same zeros" if ((found == 0) == (expected == 0)).all() else "OTHER ZEROS"
        print(f"  {name:<34} largest difference to the CPU's {np.abs(found - expected).max():.1e}, {zeros}")


if __name__ == "__main__":
    main()
