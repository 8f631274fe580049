"""A selection: the citations that a model is trained on, with their text and headings.

Goes in: a frozen training release, the articles tables it refers to, and texts of benchmarks to leave out. Comes out:
one Parquet file, a row a citation, sorted by PMID: pmid, version, year, title, abstract, doi, descriptor_uis, majors;
and one of the citations that are left out for being a benchmark's document.

Which citations: those that pass every filter, in the order of a hash of their PMID, the first so many. A larger
number therefore contains the smaller, and a citation's place does not depend on what else there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.leakage.benchmark_texts import BenchmarkTexts
from biohicl.progress import say
from biohicl.storage import read_json, sha256_of, whole_files, write_parquet
from biohicl.training.draw import pmid_hash
from biohicl.training.release import articles_of_release, headings_of

SELECTION = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("year", pa.int16()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("doi", pa.string()),
        ("descriptor_uis", pa.list_(pa.string())),  # in the record's order
        ("majors", pa.list_(pa.bool_())),  # on the descriptor or any of its qualifiers, in the same order
    ]
)


EXCLUDED = {
    "pmid": pl.Int32,
    "benchmark": pl.String,
    "document_id": pl.String,
    "reason": pl.String,  # pmid, doi, title, near duplicate or sentence (biohicl.leakage)
    "similarity": pl.Float32,
}


# In the metadata of the table of excluded citations: which texts were looked for, and what the caller said of them.
TEXTS_KEY, GIVEN_KEY = "biohicl.texts", "biohicl.given"


def write_selection(
    release: Path,
    pubmed: Path,
    settings: Mapping[str, Any],
    benchmarks: Path,
    output: Path,
    excluded: Path,
    given: str = "",
) -> int:
    """Draws the selection that ``settings`` (a block of training.selections) describes; returns its size.

    ``benchmarks``: the folder with the tables of those that ``exclude_benchmarks`` names. ``excluded``: the table of
    citations that would have been drawn, and are left out for being a benchmark's document, a row for each of these.
    ``given``: kept in that table's metadata, for :func:`texts_given`.

    Raises :class:`BioHiCLError` where fewer than two citations pass, with how many each filter left; and where a
    benchmark to exclude could not be had.
    """
    filters = _filters(settings)
    files = texts_to_exclude(settings["exclude_benchmarks"], benchmarks, f"training.selections.{output.stem}")
    texts = BenchmarkTexts(files)
    wanted = None if settings["citations"] == "all" else int(settings["citations"])
    left = dict.fromkeys(["current citations", *filters], 0)
    kept: list[pl.DataFrame] = []
    leaked: list[pl.DataFrame] = []
    last_hash: int | None = None
    columns = ["year", "title", "abstract", "doi", "languages", "mesh_headings"]
    for articles in articles_of_release(release, pubmed, columns):
        frame = articles
        left["current citations"] += frame.height
        for said, condition in filters.items():
            frame = frame.filter(condition)
            left[said] += frame.height
        frame = frame.with_columns(_hash=pl.Series(pmid_hash(frame["pmid"].to_numpy(), settings["seed"])))
        if last_hash is not None:
            # What comes too late to be drawn need not be looked up.
            frame = frame.filter(pl.col("_hash") < last_hash)
        found = texts.find(frame)
        leaked.append(found.join(frame.select("pmid", "_hash"), on="pmid"))
        kept.append(_compact(frame.filter(~pl.col("pmid").is_in(found["pmid"].implode()))))
        if wanted is not None and sum(part.height for part in kept) > 2 * wanted:
            # Never hold more than twice what is wanted: memory does not grow with the number of files.
            kept = [_compact(pl.concat(kept).sort("_hash", "pmid").head(wanted))]
            last_hash = kept[0]["_hash"][-1]
    chosen = pl.concat(kept) if kept else pl.DataFrame(schema={"_hash": pl.UInt64})
    if wanted is not None:
        chosen = chosen.sort("_hash", "pmid").head(wanted)
        last_hash = chosen["_hash"][-1] if chosen.height == wanted else None
    left_out = _left_out(leaked, last_hash)
    for said, count in left.items():
        say(f"{count:>12,}  {said}")
    if settings["exclude_benchmarks"]:
        reasons = left_out.unique("pmid", keep="first", maintain_order=True)["reason"].value_counts().sort("reason")
        how = "".join(f"; {count:,} by {reason}" for reason, count in reasons.iter_rows())
        named = ", ".join(settings["exclude_benchmarks"])
        say(f"{left_out['pmid'].n_unique():>12,}  of those drawn are documents of {named}, and left out{how}")
    if chosen.height < 2:
        steps = "; ".join(f"{count:,} {said}" for said, count in left.items())
        raise BioHiCLError(
            f"selection '{output.stem}': {chosen.height} citations are left to train on, at least 2 are needed. "
            f"What each filter left: {steps}. "
            f"Loosen training.selections.{output.stem} in config.yaml"
        )
    if wanted is not None and chosen.height < wanted:
        say(f"note: {wanted:,} citations were asked for, {chosen.height:,} pass the filters")
    table = headings_of(chosen.drop("_hash").sort("pmid")).select(SELECTION.names)
    with whole_files(output, excluded) as (selection_file, excluded_file):
        write_parquet(table.to_arrow().cast(SELECTION), selection_file)
        write_parquet(left_out, excluded_file, {TEXTS_KEY: texts_hash(files.values()), GIVEN_KEY: given})
    say(f"selection '{output.stem}': {table.height:,} citations")
    return table.height


def _compact(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with memory of their own: rows that are chosen of a frame keep the texts of all its others."""
    return cast(pl.DataFrame, pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest())))


def texts_hash(files: Iterable[Path]) -> str:
    """SHA-256 over these tables, in their order."""
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


def texts_given(excluded: Path, files: Sequence[Path]) -> str:
    """What the workflow has to give :func:`write_selection`: what it gave before, as long as the texts are the same.

    A benchmark that is fetched anew and has the same documents selects, and trains, nothing anew.
    """
    if not excluded.is_file() or not all(file.is_file() for file in files):
        return ""
    held = {key.decode(): value.decode() for key, value in (pq.read_metadata(excluded).metadata or {}).items()}
    now = texts_hash(files)
    return held.get(GIVEN_KEY, "") if held.get(TEXTS_KEY) == now else now


def write_overlap(selection: Path, benchmark: str, texts: Path, output: Path) -> int:
    """Which texts of a benchmark (its documents.parquet or pairs.parquet) a selection holds; returns how many.

    Writes a table as that of the excluded citations.
    """
    citations = pl.read_parquet(selection, columns=["pmid", "doi", "title", "abstract"])
    found = BenchmarkTexts({benchmark: texts}).find(citations)
    write_parquet(found.with_columns(pl.col("reason").cast(pl.String)).select(*EXCLUDED), output)
    documents = found["document_id"].n_unique()
    say(f"{benchmark}: {documents:,} of its texts are among the {citations.height:,} citations of {selection.stem}")
    return documents


def texts_to_exclude(names: Sequence[str], benchmarks: Path, key: str) -> dict[str, Path]:
    """By name, the table of the texts of each of these benchmarks; an error, naming ``key`` of config.yaml, where one
    could not be had."""
    files: dict[str, Path] = {}
    for name in names:
        there = [file for file in ("documents.parquet", "pairs.parquet") if (benchmarks / name / file).is_file()]
        if not there:
            raise BioHiCLError(f"{benchmarks / name}: no such benchmark; fetch it first")
        file = benchmarks / name / there[0]
        if pl.scan_parquet(file).select(pl.len()).collect().item() == 0:
            reason = read_json(benchmarks / name / "benchmark.json").get("reason")
            raise BioHiCLError(
                f"{key} leaves out the documents of {name}, and these could not be had: {reason}. "
                f"Bring it, or take it out of {key}.exclude_benchmarks in config.yaml"
            )
        files[name] = file
    return files


def _left_out(leaked: Sequence[pl.DataFrame], last_hash: int | None) -> pl.DataFrame:
    """Of the citations found to be a benchmark's those that would have been drawn."""
    found = pl.concat(leaked) if leaked else pl.DataFrame(schema=EXCLUDED | {"_hash": pl.UInt64})
    if last_hash is not None:
        found = found.filter(pl.col("_hash") < last_hash)
    return (
        found.with_columns(pl.col("reason").cast(pl.String)).select(*EXCLUDED).sort("pmid", "benchmark", "document_id")
    )


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
