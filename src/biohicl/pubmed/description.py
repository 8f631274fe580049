"""What the corpus is: its current citations by year, language, number of headings and category of the tree.

Goes in: ``current.parquet``, the articles of its files, and the hierarchy for the categories of headings. Comes out:
``description.parquet``, a row a count (:data:`biohicl.pubmed.schema.DESCRIPTION`).

One file's articles are in memory at a time; beside them stand 8 bytes for each citation, 320 MB for PubMed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.pubmed.current import read_current
from biohicl.pubmed.schema import DESCRIPTION, METADATA
from biohicl.storage import write_parquet

# Kinds of rows, in the table's order.
KINDS = ("citations", "year", "language", "headings", "category")
# What a citation is counted under that has none: no year, no language, headings that the hierarchy does not know.
UNKNOWN = "unknown"
POSITION_BITS = 31
Counts = dict[str, Counter[str]]


def write_description(current: Path, pubmed: Path, hierarchy: Path, output: Path) -> None:
    """Writes the table. ``pubmed``: the folder with articles/."""
    categories = pl.read_parquet(hierarchy, columns=["descriptor_ui", "categories"])
    counts: Counts = {kind: Counter() for kind in KINDS}
    for articles in _current_articles(current, pubmed):
        _add(counts, articles, categories)
    rows = [
        {"kind": kind, "value": value, "citations": counts[kind][value]}
        for kind in KINDS
        for value in _ordered(counts[kind])
    ]
    write_parquet(pa.Table.from_pylist(rows, DESCRIPTION.with_metadata(METADATA)), output)
    say(f"{counts['citations']['all']:,} citations described")


def _ordered(of_kind: Counter[str]) -> list[str]:
    """Numbers ascend, other values come by how many have them; what is not known stands last."""

    def place(value: str) -> tuple[bool, int, str]:
        return value == UNKNOWN, int(value) if value.lstrip("-").isdecimal() else -of_kind[value], value

    return sorted(of_kind, key=place)


def _add(counts: Counts, articles: pl.DataFrame, categories: pl.DataFrame) -> None:
    # Not added up by +, which forgets what is 0.
    counts["citations"].update(
        {
            "all": articles.height,
            "with an abstract": int(articles["has_abstract"].sum()),
            "with MeSH headings": int((articles["uis"].list.len() > 0).sum()),
            "retracted": int(articles["retracted"].sum()),
            "books": int(articles["is_book"].sum()),
        }
    )
    languages = articles.select("languages").with_row_index()
    languages = languages.explode("languages", keep_nulls=True, empty_as_null=True).unique()
    found = {
        "year": articles["year"],
        "language": languages["languages"],
        "headings": articles["uis"].list.len(),
        "category": _categories(articles, categories),
    }
    for kind, values in found.items():
        named = values.cast(pl.String).fill_null(UNKNOWN)
        counts[kind].update(dict(named.value_counts().iter_rows()))


def _categories(articles: pl.DataFrame, categories: pl.DataFrame) -> pl.Series:
    """Each category of each citation once, over all its headings; null where the hierarchy does not know a heading.

    Male and Female stand nowhere in the tree, and are of no category.
    """
    headings = articles.select(descriptor_ui="uis").with_row_index()
    headings = headings.explode("descriptor_ui", keep_nulls=True, empty_as_null=False)
    found = headings.join(categories, on="descriptor_ui", how="left").select("index", "categories")
    return found.explode("categories", keep_nulls=True, empty_as_null=False).unique()["categories"]


def _current_articles(current: Path, pubmed: Path) -> Iterator[pl.DataFrame]:
    """The current records of each file that has some, a frame a file."""
    names, records = _records(current)
    starts = np.searchsorted(records, np.arange(len(names) + 1) << POSITION_BITS)
    read = ["position", "year", "languages", "retracted", "is_book"]
    for rank, name in track(enumerate(names), len(names), "describing", "files"):
        path = pubmed / "articles" / f"{name}.parquet"
        if not path.is_file():
            raise BioHiCLError(f"{path}: no such file; parse it first (biohicl parse-pubmed --help)")
        positions = records[starts[rank] : starts[rank + 1]] & ((1 << POSITION_BITS) - 1)
        articles = (
            pl.scan_parquet(path)
            .select(
                *read,
                has_abstract=pl.col("abstract").is_not_null(),
                uis=pl.col("mesh_headings").list.eval(pl.element().struct.field("descriptor_ui")),
            )
            .collect()
        )
        is_current = np.isin(articles["position"].to_numpy(), positions)
        if int(is_current.sum()) != len(positions):
            raise BioHiCLError(f"{path}: is not the file that {current} was made from; run `snakemake corpus`")
        yield articles.filter(pl.Series(is_current))


def _records(current: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The names of the files in order, and of each citation its file's rank and its position in one number, sorted."""
    ranks: dict[str, int] = {}
    packed = np.empty(pq.read_metadata(current).num_rows, dtype=np.int64)
    done = 0
    for of_file, batch in read_current(current, ranks, ["position"]):
        packed[done : done + len(of_file)] = (of_file << POSITION_BITS) | batch["position"].to_numpy()
        done += len(of_file)
    packed.sort()
    return list(ranks), packed
