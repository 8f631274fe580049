"""Small indexes for tests: PubMed tables written as the parser would, a random encoder, and what the stages make of them."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.pubmed.current import write_current
from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.pubmed.schema import ARTICLES, DELETED, MESH_HEADINGS, METADATA
from biohicl.search.contents import INDEXES, texts_files, write_index
from biohicl.search.retriever import Retriever
from biohicl.search.shards import write_shard
from biohicl.search.texts import write_texts
from biohicl.storage import write_json, write_parquet
from encoders import letters_tokenizer, save_encoder, small_model

MODEL = "small"
BM25 = {"k1": 1.5, "b": 0.75}
WORDS = "heart lung liver statin risk cancer trial rat dose cell gene serum insulin blood stroke"


def citation(pmid, title=None, abstract=None, version=1, year=2000, headings=(), types=("Journal Article",), **others):
    """A record; ``headings``: (UI or None, name, major)."""
    return {
        "pmid": pmid,
        "version": version,
        "title": title,
        "abstract": abstract,
        "year": year,
        "headings": list(headings),
        "types": list(types),
        "authors": [],
        **others,
    }


def drawn_text(rng, words=12):
    return " ".join(rng.choice(WORDS.split(), words))


class Project:
    """A folder with tables of PubMed files and an index over them. ``storage``: of its vectors."""

    def __init__(self, root: Path, storage="exact", seed=0):
        self.root = root
        self.storage = storage
        self.names = []
        self.model = root / "results/models" / MODEL
        if not self.model.is_dir():
            tokenizer = letters_tokenizer(root / "tokenizer")
            save_encoder(small_model("bert", seed=seed), tokenizer, self.model)

    @property
    def folder(self):
        return self.root / INDEXES / MODEL

    def table(self, kind, name):
        return self.root / f"results/pubmed/{kind}/{name}.parquet"

    def add(self, name, records, deleted=()):
        """The tables of a PubMed file, and its parts of the index."""
        rows, headings = [], []
        for position, record in enumerate(records):
            row = {field.name: [] if pa.types.is_list(field.type) else None for field in ARTICLES}
            known = {key: value for key, value in record.items() if key in row}
            row |= known | {"position": position, "retracted": record.get("retracted", False)}
            row["publication_types"] = [{"ui": None, "name": kind} for kind in record["types"]]
            rows.append(row)
            for ui, heading, major in record["headings"]:
                key = {name: record[name] for name in ("pmid", "version")} | {"position": position}
                headings.append(
                    key | {"descriptor_ui": ui, "descriptor_name": heading, "major": major, "qualifier_uis": []}
                )
        for kind, schema, content in (
            ("articles", ARTICLES, rows),
            ("mesh_headings", MESH_HEADINGS, headings),
            ("deleted", DELETED, [{"pmid": pmid, "version": 1} for pmid in deleted]),
        ):
            write_parquet(pa.Table.from_pylist(content, schema), self.table(kind, name), METADATA)
        if name not in self.names:
            self.names.append(name)
        self.write_parts(name)

    def parse(self, xml, name):
        """The tables of a file of NLM's XML, and its parts of the index."""
        tables = [self.table(kind, name) for kind in ("articles", "mesh_headings", "deleted", "quarantine")]
        for table in tables:
            table.parent.mkdir(parents=True, exist_ok=True)
        parse_pubmed_file(xml, *tables)
        self.names.append(name)
        self.write_parts(name)

    def write_parts(self, name):
        write_texts(self.table("articles", name), self.table("mesh_headings", name), *texts_files(self.root, name))
        write_shard(self.model, self.table("articles", name), self.shard(name), self.storage)

    def shard(self, name):
        return self.folder / self.storage / f"{name}.safetensors"

    def index(self):
        """Merges the files and writes the index; returns its file."""
        current = self.root / "results/corpus/current.parquet"
        write_current(self.names, self.root / "results/pubmed", current)
        return self.assemble()

    def assemble(self):
        """The same without the merge."""
        write_json({"year": 2026}, self.root / "release.json")
        write_json({"convex": {"parameter": 0.4}}, self.root / "tuned.json")
        write_index(
            self.model,
            self.root / "results/corpus/current.parquet",
            self.root / "release.json",
            [self.shard(name) for name in self.names],
            BM25,
            self.root / "tuned.json",
            self.folder / "index.safetensors",
            root=self.root,
        )
        return self.folder / "index.safetensors"

    def retriever(self, **options):
        return Retriever(self.folder, device="cpu", **options)


def small_project(root, storage="exact", files=3, records=60, seed=0):
    """Some files of drawn records; the later ones bring some of the earlier ones again, and delete some."""
    rng = np.random.default_rng(seed)
    project = Project(root, storage)
    known: list[int] = []
    for number in range(1, files + 1):
        new = [1000 * number + place for place in range(records)]
        again = rng.choice(known, 10, replace=False).tolist() if known else []
        gone = rng.choice(known, 5, replace=False).tolist() if known else []
        rows = [
            citation(
                pmid,
                f"{drawn_text(rng, 5)} {pmid}",
                drawn_text(rng, int(rng.integers(1, 40))) if rng.random() < 0.8 else None,
                year=int(rng.integers(1990, 2025)),
            )
            for pmid in sorted([*new, *again])
        ]
        project.add(f"pubmed26n{number:04d}", rows, gone)
        known += new
    project.index()
    return project


# One of the sample's baseline and its update, which brings new versions and deletes.
NAMES = ("pubmed99n0001", "pubmed99n0003")


def sample_project(root, sample, mesh, names=NAMES, changed=None):
    """A project of some of the sample's files, its backbone and its MeSH. ``sample``, ``mesh``: the fixtures.

    ``changed``: of a name and its articles (polars) makes those that are indexed.
    """
    shutil.copytree(mesh, root / "results/mesh")
    shutil.copytree(sample / "backbone", root / "results/models" / MODEL)
    project = Project(root)
    for name in names:
        (source,) = (sample / "pubmed").glob(f"*/{name}.xml.gz")
        project.parse(source, name)
        if changed is not None:
            file = project.table("articles", name)
            articles = pq.read_table(file)
            pq.write_table(changed(name, pl.from_arrow(articles)).to_arrow().cast(articles.schema), file)
            project.write_parts(name)
    project.index()
    return project
