"""What the search knows of the records of one PubMed file, beside their vectors: a function of the file's tables alone.

Goes in: its articles and MeSH headings. Comes out, both a row a record, in the file's order:

records    what people are shown, as Arrow's IPC in batches of few rows, so that one record is read quickly
postings   which records have a term (for BM25), a heading or a publication type; PMIDs, years, lengths
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.lexical import terms_of
from biohicl.progress import say
from biohicl.search import TEXTS_WAY
from biohicl.search.postings import Postings
from biohicl.search.tensors import write_tensors
from biohicl.storage import whole_files

BATCH_ROWS = 64
HEADING = pa.struct([("descriptor_ui", pa.string()), ("name", pa.string()), ("major", pa.bool_())])
AUTHOR = pa.struct([("last_name", pa.string()), ("initials", pa.string()), ("collective_name", pa.string())])
RECORDS = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("journal", pa.string()),
        ("journal_iso", pa.string()),
        ("publication_date", pa.string()),
        ("year", pa.int16()),
        ("authors", pa.list_(AUTHOR)),  # without those that an erratum has corrected
        ("doi", pa.string()),
        ("pmc_id", pa.string()),
        ("languages", pa.list_(pa.string())),
        ("publication_types", pa.list_(pa.string())),
        ("headings", pa.list_(HEADING)),  # by name
        ("retracted", pa.bool_()),
    ]
)
NO_YEAR = -1


def heading_key(descriptor_ui: str) -> str:
    """The key of the records that have a heading."""
    return f"heading {descriptor_ui}"


def heading_name_key(name: str) -> str:
    """The same of files before 2015, whose headings have names alone."""
    return f"heading name {name.lower()}"


def type_key(name: str) -> str:
    """The key of the records that are of a publication type."""
    return f"type {name.lower()}"


def write_texts(articles: Path, headings: Path, records: Path, postings: Path) -> None:
    """Writes both files of the records of ``articles``, whose headings are in ``headings``."""
    for file in (articles, headings):
        if not file.is_file():
            raise BioHiCLError(f"{file}: no such file; parse it first (biohicl parse-pubmed --help)")
    table = pl.read_parquet(articles, columns=[*_columns()]).sort("position")
    if not np.array_equal(table["position"].to_numpy(), np.arange(table.height)):
        raise BioHiCLError(f"{articles}: its positions are not 0 to {table.height - 1:,}; parse the file again")
    of_headings = pl.read_parquet(headings, columns=["position", "descriptor_ui", "descriptor_name", "major"])
    shown = _records(table, of_headings)
    tensors, types = _postings(shown, of_headings)
    with whole_files(records, postings) as (records_file, postings_file):
        # A batch is compressed by itself.
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(records_file), "wb") as sink, pa.ipc.new_file(sink, RECORDS, options=options) as writer:
            writer.write_table(shown, max_chunksize=BATCH_ROWS)
        said = {"way": TEXTS_WAY, "rows": shown.num_rows, "publication_types": types}
        write_tensors(tensors, said, postings_file)
    say(f"{articles.stem}: {shown.num_rows:,} records, {len(tensors['terms.keys']):,} terms")


def _columns() -> list[str]:
    return [*(name for name in RECORDS.names if name != "headings"), "position"]


def _records(table: pl.DataFrame, headings: pl.DataFrame) -> pa.Table:
    field = pl.element().struct.field
    # Null was there before the attribute was.
    authors = pl.col("authors").list.eval(pl.element().filter(field("valid").fill_null(value=True)))
    grouped = headings.sort("position", "descriptor_name", "descriptor_ui").group_by("position", maintain_order=True)
    of_record = grouped.agg(
        headings=pl.struct("descriptor_ui", pl.col("descriptor_name").alias("name"), "major"),
    )
    shown = table.join(of_record, on="position", how="left", maintain_order="left").with_columns(
        authors=authors.list.eval(
            pl.struct(field("last_name"), field("initials"), field("collective_name")),
        ),
        publication_types=pl.col("publication_types").list.eval(field("name")).list.drop_nulls(),
        headings=pl.col("headings").fill_null([]),
    )
    return shown.select(RECORDS.names).to_arrow().cast(RECORDS)


def _postings(shown: pa.Table, headings: pl.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """The arrays, and the names of the publication types."""
    pairs = zip(shown["title"].to_pylist(), shown["abstract"].to_pylist(), strict=True)
    texts = [f"{title or ''} {abstract or ''}".strip() for title, abstract in pairs]
    terms, lengths = _terms(texts)
    listed = pl.DataFrame({"publication_types": pl.from_arrow(shown["publication_types"])})
    of_types = listed.with_row_index("row").explode("publication_types").drop_nulls()
    names = sorted(set(of_types["publication_types"]))
    has_ui = pl.col("descriptor_ui").is_not_null()
    keyed = headings.select(
        "position",
        key=pl.when(has_ui)
        .then(pl.col("descriptor_ui").map_elements(heading_key, return_dtype=pl.String))
        .otherwise(pl.col("descriptor_name").map_elements(heading_name_key, return_dtype=pl.String)),
    ).drop_nulls()
    tensors = {
        "pmids": shown["pmid"].to_numpy().astype(np.int32),
        "years": shown["year"].fill_null(NO_YEAR).to_numpy().astype(np.int16),
        "has_text": np.array([bool(text) for text in texts], dtype=np.uint8),
        "lengths": lengths,
        **terms.arrays("terms"),
        **_keyed(of_types["row"], of_types["publication_types"], type_key).arrays("types"),
        **_keyed(keyed["position"], keyed["key"], str).arrays("headings"),
    }
    return tensors, names


def _keyed(rows: pl.Series, names: pl.Series, key: Any) -> Postings:
    # Names that differ in the case of letters alone have one key.
    keys = {name: key(name) for name in sorted(set(names))}
    places = {key: place for place, key in enumerate(dict.fromkeys(keys.values()))}
    return Postings.of([*places], rows.to_numpy(), [places[keys[name]] for name in names])


def _terms(texts: Sequence[str]) -> tuple[Postings, Any]:
    """The terms of the texts, and how many each text has."""
    places: dict[str, int] = {}
    numbers: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int32)
    for row, found in enumerate(terms_of(texts)):
        numbers += [places.setdefault(term, len(places)) for term in found]
        lengths[row] = len(found)
    rows = np.repeat(np.arange(len(texts)), lengths)
    return Postings.of([*places], rows, numbers, with_counts=True), lengths


class Records:
    """The records of one PubMed file, read a batch at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            # A batch is small: to share it out among threads takes twice as long as to unpack it.
            alone = pa.ipc.IpcReadOptions(use_threads=False)
            self._reader = pa.ipc.open_file(pa.memory_map(str(file)), options=alone)
        except FileNotFoundError:
            raise BioHiCLError(f"{file}: no such file; make it with: snakemake --cores 2 index") from None
        except pa.ArrowInvalid as error:
            raise self._damaged(error) from None

    def __getitem__(self, row: int) -> dict[str, Any]:
        batch, place = divmod(row, BATCH_ROWS)
        try:
            found: dict[str, Any] = self._reader.get_batch(batch).slice(place, 1).to_pylist()[0]
        except (pa.ArrowInvalid, OSError, IndexError) as error:
            raise self._damaged(error) from None
        return found

    def _damaged(self, error: Exception) -> BioHiCLError:
        return BioHiCLError(f"{self._file}: is damaged ({error}); remove it, and make it again: snakemake index")
