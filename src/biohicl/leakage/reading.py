"""Tables whose texts are compared, in one form.

Goes in: a benchmark's Parquet file, or a table of citations. Comes out: the columns that are needed, checked.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError

_DOCUMENTS = pl.Schema(
    {"document_id": pl.String(), "title": pl.String(), "text": pl.String(), "pmid": pl.Int32(), "doi": pl.String()}
)
_PAIRS = pl.Schema({"pair_id": pl.String(), "sentence1": pl.String(), "sentence2": pl.String()})
_CITATIONS = pl.Schema({"pmid": pl.Int32(), "doi": pl.String(), "title": pl.String(), "abstract": pl.String()})


def read_texts(file: Path) -> pl.DataFrame:
    """document_id, title, text, pmid, doi, sentence: a row a document, whose sentence is null; or, of a file with the
    columns pair_id, sentence1 and sentence2, a row a sentence, named '<pair_id>/1' or '/2', whose other columns are."""
    if not file.is_file():
        raise BioHiCLError(f"{file}: no such file; prepare the benchmark first")
    try:
        table = pl.read_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise BioHiCLError(f"{file}: cannot be read as Parquet ({error}); prepare the benchmark again") from None
    if "pair_id" not in table.columns:
        documents = _columns(table, _DOCUMENTS, str(file), key="document_id")
        _once(documents["document_id"], str(file))
        return documents.with_columns(sentence=pl.lit(None, pl.String))
    pairs = _columns(table, _PAIRS, str(file), key="pair_id")
    _once(pairs["pair_id"], str(file))
    name = pl.col("pair_id")
    sentences = [pairs.select(document_id=name + f"/{place}", sentence=f"sentence{place}") for place in (1, 2)]
    return pl.concat([pl.DataFrame(schema=_DOCUMENTS), *sentences], how="diagonal")


def citation_texts(citations: pl.DataFrame) -> pl.DataFrame:
    """pmid, doi, title, abstract of a table of citations, in its order."""
    return _columns(citations, _CITATIONS, "citations", key="pmid")


def _columns(table: pl.DataFrame, schema: pl.Schema, where: str, key: str) -> pl.DataFrame:
    """The columns of ``schema``, in its types; ``key`` is nowhere null."""
    absent = [name for name in schema if name not in table.columns]
    if absent:
        raise BioHiCLError(
            f"{where}: has no column {', '.join(absent)}; needed are {', '.join(schema)}, "
            f"and there are {', '.join(table.columns)}"
        )
    try:
        columns = table.select(schema.names()).cast(schema)
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{name} {kind}" for name, kind in schema.items())
        raise BioHiCLError(f"{where}: columns are not of the types {types}: {error}") from None
    if columns[key].null_count():
        raise BioHiCLError(f"{where}: rows without {key} ({columns[key].null_count():,}); it names what is found")
    return columns


def _once(names: pl.Series, where: str) -> None:
    twice = names.filter(names.is_duplicated())
    if len(twice):
        raise BioHiCLError(f"{where}: the {names.name} '{twice[0]}' stands there twice; it is to name one text")
