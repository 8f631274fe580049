"""Time and memory of what reads all of PubMed's tables: `make bench-corpus` (half an hour, 16 GB of disk).

Generates the tables of 1,334 baseline and 300 update files with 46 million records (40 million PMIDs; invented dates,
languages, texts and some ten headings of the sample's MeSH each, as long as real ones), and measures the stages that go
through all of them, then questions to DuckDB with so much memory and no more: seconds, CPU seconds and peak resident MB.

    python tests/bench_corpus.py [--quick] [--threads 2] [--memory 4GB] [--keep DIR]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from big_corpus import KEYS, generate, measured

FILES = 1334
# Rows of one drawing, of which each file has a part.
DRAWN = 60_000
SETTINGS = {"citations": 80_000, "years": None, "languages": ["eng"], "min_abstract_characters": 200, "min_headings": 3}
SETTINGS |= {"exclude_benchmarks": [], "seed": 1}
QUESTIONS = {
    "citations by decade": "select year // 10 * 10 as decade, count(*), avg(len(mesh_headings)) from citations group by all",
    "by language": "select language, count(*) from citations, unnest(languages) as of_citation(language) group by all",
    "most frequent headings": "select descriptor_ui, count(*) as citations, count(*) filter (major) from mesh_headings "
    "join current using (pmid, version, file, position) group by all order by citations desc limit 10",
    "below a heading": "select count(distinct pmid) from hierarchy as above join hierarchy as h "
    "on h.descriptor_ui = above.descriptor_ui or list_contains(h.ancestors, above.descriptor_ui) "
    "join mesh_headings as m on m.descriptor_ui = h.descriptor_ui "
    "join current using (pmid, version, file, position) where above.name = 'Neoplasms'",
    "one PMID": "select * from articles where pmid = 20000001",
    "one current citation": "select * from citations where pmid = 20000001",
}


def drawn_rows(mesh):
    """Invented columns of citations, as long as real ones."""
    import numpy as np
    import polars as pl
    import pyarrow as pa

    from biohicl.pubmed.schema import ARTICLES

    draw = np.random.default_rng(2)
    uis = pl.read_parquet(mesh / "hierarchy.parquet")["descriptor_ui"].to_list()
    words = [f"word{number}" for number in range(5000)]
    texts = [" ".join(draw.choice(words, draw.integers(60, 250))) for _ in range(2000)]
    titles = [" ".join(draw.choice(words, 12)) for _ in range(2000)]

    def headings():
        return [
            {"descriptor_ui": str(ui), "major": bool(draw.random() < 0.3), "qualifiers": []}
            for ui in draw.choice(uis, draw.integers(0, 20), replace=False)
        ]

    lists = [headings() for _ in range(3000)]
    given = {
        "title": [titles[place] for place in draw.integers(0, len(titles), DRAWN)],
        "abstract": [texts[place] if draw.random() < 0.7 else None for place in draw.integers(0, len(texts), DRAWN)],
        "year": draw.integers(1950, 2026, DRAWN).tolist(),
        "languages": [["eng"] if draw.random() < 0.85 else ["ger"] for _ in range(DRAWN)],
        "mesh_headings": [lists[place] for place in draw.integers(0, len(lists), DRAWN)],
        "retracted": (draw.random(DRAWN) < 0.001).tolist(),
        "is_book": [False] * DRAWN,
        "publication_types": [[{"ui": "D016428", "name": "Journal Article"}]] * DRAWN,
    }
    return pa.table({name: pa.array(values, ARTICLES.field(name).type) for name, values in given.items()})


def prepare(folder, files, keys):
    """MeSH of the sample, the articles, and the tables of headings that the parser makes beside them."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    from biohicl.mesh.hierarchy import write_hierarchy
    from biohicl.mesh.parse import parse_mesh_file
    from biohicl.pubmed.schema import MESH_HEADINGS, METADATA
    from biohicl.report.views import views
    from biohicl.sample.make import make_sample

    make_sample(folder / "sample")
    mesh = folder / "results/mesh"
    mesh.mkdir(parents=True)
    parse_mesh_file(next((folder / "sample/mesh").glob("*.gz")), mesh)
    write_hierarchy(mesh, *(mesh / name for name in ("hierarchy.parquet", "anomalies.parquet", "descriptors.graphml")))
    (mesh / "release.json").write_text(json.dumps({"name": "desc2099"}))
    pubmed = folder / "results/pubmed"
    pubmed.mkdir(parents=True)
    generate(pubmed, files, keys, drawn_rows(mesh))
    (pubmed / "mesh_headings").mkdir()
    names = pl.read_parquet(mesh / "hierarchy.parquet").select("descriptor_ui", descriptor_name="name")
    for path in sorted((pubmed / "articles").iterdir()):
        heading = pl.col("mesh_headings").struct
        table = (
            pl.read_parquet(path, columns=["pmid", "version", "position", "mesh_headings"])
            .explode("mesh_headings", empty_as_null=False)
            .with_columns(descriptor_ui=heading.field("descriptor_ui"), major=heading.field("major"))
            .join(names, on="descriptor_ui", how="left")
            .with_columns(qualifier_uis=pl.lit([], pl.List(pl.String)))
            .sort("descriptor_ui", "position")
        )
        arrow = table.select(MESH_HEADINGS.names).to_arrow().cast(MESH_HEADINGS).replace_schema_metadata(METADATA)
        pq.write_table(arrow, pubmed / "mesh_headings" / path.name, compression="zstd", row_group_size=10_000)
    # What else the catalog has views of.
    files = {"file": [path.stem for path in (pubmed / "articles").iterdir()]}
    for file in (folder / name for view in views().values() for name in view.files(files)):
        if not file.exists() and file.parent not in (
            pubmed / "articles",
            pubmed / "mesh_headings",
            folder / "results/corpus",
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"nothing": pa.array([], pa.int8())}), file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the files, to try the script")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--memory", default="4GB", help="what DuckDB may take")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    parser.add_argument("--only", choices=("prepare",), help=argparse.SUPPRESS)
    options = parser.parse_args()
    files, keys = (FILES // 100, KEYS // 100) if options.quick else (FILES, KEYS)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="biohicl-bench-"))
    if options.only:
        return prepare(folder, files, keys)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not (folder / "results/pubmed/mesh_headings").exists():
            again = [*(["--quick"] if options.quick else []), "--only", "prepare", "--keep", folder]
            subprocess.run([sys.executable, __file__, *again], check=True)
        measure(folder, options)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def measure(folder, options):
    results = folder / "results"
    size = sum(path.stat().st_size for path in (results / "pubmed").rglob("*.parquet")) / 1e9
    print(f"{os.cpu_count()} cores, {options.threads} threads; the tables take {size:.1f} GB")
    print(f"{'':<26} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}", flush=True)
    pubmed, mesh, corpus = results / "pubmed", results / "mesh", results / "corpus"
    release = results / "release"
    current, hierarchy = corpus / "current.parquet", mesh / "hierarchy.parquet"
    stages = {
        "merge_citations": [
            "corpus",
            "--release",
            pubmed / "release.json",
            "--pubmed",
            pubmed,
            "--anomalies",
            corpus / "anomalies.parquet",
            "--output",
            current,
        ],
        "describe_corpus": [
            "describe-corpus",
            "--current",
            current,
            "--pubmed",
            pubmed,
            "--hierarchy",
            hierarchy,
            "--output",
            corpus / "description.parquet",
        ],
        "freeze_release": [
            "freeze",
            "--current",
            current,
            "--hierarchy",
            hierarchy,
            "--terms",
            mesh / "terms.parquet",
            "--mesh-record",
            mesh / "release.json",
            "--output",
            release,
        ],
        "count_labels": [
            "count-labels",
            "--release",
            release,
            "--pubmed",
            pubmed,
            "--max-unknown",
            "0.5",
            "--output",
            results / "counts.parquet",
        ],
        "select": [
            "select",
            "--release",
            release,
            "--pubmed",
            pubmed,
            "--benchmarks",
            folder,
            "--settings",
            json.dumps(SETTINGS),
            "--excluded",
            results / "excluded.parquet",
            "--output",
            results / "selection.parquet",
        ],
        "write_catalog": ["catalog", "--record", pubmed / "release.json", "--output", results / "biohicl.duckdb"],
    }
    for name, words in stages.items():
        report(name, measured(["-m", "biohicl", "--threads", options.threads, *words], cwd=folder))
    limit = f"SET memory_limit = '{options.memory}'; SET threads = {options.threads}; "
    for name, question in QUESTIONS.items():
        words = ["sql", "--catalog", results / "biohicl.duckdb", "--csv", limit + question]
        report(f"sql: {name}", measured(["-m", "biohicl", *words], cwd=folder))


def report(name, found):
    print(f"{name:<26} {found[0]:>8.1f} {found[1]:>8.1f} {found[2]:>8,.0f}", flush=True)


if __name__ == "__main__":
    main()
