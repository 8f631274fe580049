"""A small project with an index, made without the workflow: some of the sample's files, and the sample's backbone."""

import shutil

import polars as pl
import pyarrow.parquet as pq

from biohicl.pubmed.current import write_current
from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.search.contents import INDEX_FILE, INDEXES, texts_files, write_index
from biohicl.search.shards import write_shard
from biohicl.search.texts import write_texts
from biohicl.storage import write_json

MODEL = "small"
# One of the baseline and an update, which brings new versions and deletes.
NAMES = ("pubmed99n0001", "pubmed99n0003")


def small_project(root, sample, mesh, names=NAMES, storage="exact", changed=None):
    """Makes a project in the folder ``root``; returns the index's folder.

    ``sample`` and ``mesh``: the fixtures. ``changed``: of a name and its articles (polars) makes those that are indexed.
    """
    results = root / "results"
    shutil.copytree(mesh, results / "mesh", dirs_exist_ok=True)
    shutil.copytree(sample / "backbone", results / "models" / MODEL, dirs_exist_ok=True)
    write_json({"year": 2099, "files": []}, root / "release.json")
    write_json({"convex": {"parameter": 0.5}}, root / "hybrids.json")
    for name in names:
        tables = [results / "pubmed" / kind / f"{name}.parquet" for kind in ("articles", "mesh_headings", "deleted")]
        for table in tables:
            table.parent.mkdir(parents=True, exist_ok=True)
        (source,) = (sample / "pubmed").glob(f"*/{name}.xml.gz")
        parse_pubmed_file(source, *tables, root / "quarantine.parquet", skip_bad_citations=False)
        if changed is not None:
            articles = pq.read_table(tables[0])
            pq.write_table(changed(name, pl.from_arrow(articles)).to_arrow().cast(articles.schema), tables[0])
        write_parts(root, name, storage)
    return write_small_index(root, names, storage)


def write_parts(root, name, storage="exact"):
    """What the index has of one file, from its tables."""
    articles, headings = (root / "results/pubmed" / kind / f"{name}.parquet" for kind in ("articles", "mesh_headings"))
    records, postings = texts_files(root, name)
    records.parent.mkdir(parents=True, exist_ok=True)
    write_texts(articles, headings, records, postings)
    shard = shard_of(root, name, storage)
    shard.parent.mkdir(parents=True, exist_ok=True)
    write_shard(root / "results/models" / MODEL, articles, shard, storage, device="cpu")


def write_small_index(root, names=NAMES, storage="exact"):
    """The index over the parts of some files; returns its folder."""
    current = root / "results/corpus/current.parquet"
    current.parent.mkdir(parents=True, exist_ok=True)
    write_current(list(names), root / "results/pubmed", current)
    folder = root / INDEXES / MODEL
    write_index(
        root / "results/models" / MODEL,
        current,
        root / "release.json",
        [shard_of(root, name, storage) for name in names],
        {"k1": 1.5, "b": 0.75},
        root / "hybrids.json",
        folder / INDEX_FILE,
        root=root,
    )
    return folder


def shard_of(root, name, storage="exact"):
    return root / INDEXES / MODEL / storage / f"{name}.safetensors"
