"""A selection: the citations that a model is trained on, with their text and headings.

Goes in: a frozen training release and the articles tables it refers to. Comes out: one Parquet file, a row a
citation, sorted by PMID: pmid, version, year, title, abstract, descriptor_uis, majors.

Which citations: those that pass every filter, in the order of a hash of their PMID, the first so many. A larger
number therefore contains the smaller, and a citation's place does not depend on what else there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import write_parquet
from biohicl.training.draw import pmid_hash
from biohicl.training.release import articles_of_release, headings_of

SELECTION = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("year", pa.int16()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("descriptor_uis", pa.list_(pa.string())),  # in the record's order
        ("majors", pa.list_(pa.bool_())),  # on the descriptor or any of its qualifiers, in the same order
    ]
)


def write_selection(release: Path, pubmed: Path, settings: Mapping[str, Any], output: Path) -> int:
    """Draws the selection that ``settings`` (a block of training.selections) describes; returns its size.

    Raises :class:`BioHiCLError` where fewer than two citations pass, with how many each filter left.
    """
    filters = _filters(settings)
    left = dict.fromkeys(["current citations", *filters], 0)
    kept: list[pl.DataFrame] = []
    columns = ["year", "title", "abstract", "languages", "mesh_headings"]
    for articles in articles_of_release(release, pubmed, columns):
        frame = articles
        left["current citations"] += frame.height
        for said, condition in filters.items():
            frame = frame.filter(condition)
            left[said] += frame.height
        kept.append(frame.with_columns(_hash=pl.Series(pmid_hash(frame["pmid"].to_numpy(), settings["seed"]))))
        if settings["citations"] != "all":
            # Never hold more than are wanted: memory does not grow with the number of files.
            kept = [pl.concat(kept).sort("_hash", "pmid").head(settings["citations"])]
    for said, count in left.items():
        say(f"{count:>12,}  {said}")
    chosen = pl.concat(kept).drop("_hash").sort("pmid") if kept else pl.DataFrame()
    if chosen.height < 2:
        steps = "; ".join(f"{count:,} {said}" for said, count in left.items())
        raise BioHiCLError(
            f"selection '{output.stem}': {chosen.height} citations are left to train on, at least 2 are needed. "
            f"What each filter left: {steps}. "
            f"Loosen training.selections.{output.stem} in config.yaml"
        )
    if settings["citations"] != "all" and chosen.height < settings["citations"]:
        say(f"note: {settings['citations']:,} citations were asked for, {chosen.height:,} pass the filters")
    table = headings_of(chosen).select(SELECTION.names)
    write_parquet(table.to_arrow().cast(SELECTION), output)
    say(f"selection '{output.stem}': {table.height:,} citations")
    return table.height


def _filters(settings: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """What a citation must have, in words and as a condition, in the order in which they are applied."""
    filters = {
        "with title": pl.col("title").is_not_null(),
        f"with an abstract of {settings['min_abstract_characters']} characters or more": (
            pl.col("abstract").str.len_chars() >= settings["min_abstract_characters"]
        ),
        f"with {settings['min_headings']} MeSH headings or more": (
            pl.col("mesh_headings").list.len() >= settings["min_headings"]
        ),
        f"in {', '.join(settings['languages'])}": (
            pl.col("languages").list.set_intersection(settings["languages"]).list.len() > 0
        ),
    }
    if settings["years"]:
        first, last = settings["years"]
        filters[f"published {first} to {last}"] = pl.col("year").is_between(first, last)
    return filters
