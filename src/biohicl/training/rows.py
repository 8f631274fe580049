"""The rows of a selection, of whichever kind, and the queries that each of them has.

Goes in: the columns of a table. Comes out: which of them name a row. A selection is of citations, of descriptions of
MeSH's concepts, or of documents with labelled queries; what is made of it (queries, tokens, labels, hard negatives) has
a row for each of its rows, in its order, and begins with the same key columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration.derived import OWN_QUERIES
from biohicl.errors import BioHiCLError

# By kind of selection: what names a row.
KEYS: dict[str, pa.Schema] = {
    "citations": pa.schema([("pmid", pa.int32()), ("version", pa.int16())]),
    "concepts": pa.schema([("descriptor_ui", pa.string()), ("description_kind", pa.string())]),
    "pairs": pa.schema([("source", pa.string()), ("document_id", pa.string())]),
}
# The column of a selection of pairs with the rows that are wrong answers to a row's queries.
GIVEN = "wrong_answers"
# What a query is. Their numbers in tables of tokens: 0, 1, 2 and so on, in this order.
# conclusion, section: words of a citation; name, synonym: of a descriptor; labelled: one that people gave the document.
QUERY_KINDS = tuple(kind for kinds in OWN_QUERIES.values() for kind in kinds)
QUERY = pa.struct(
    [
        ("kind", pa.string()),  # one of QUERY_KINDS
        ("text", pa.string()),
        # Where it stands in `title + " " + abstract`, in characters from 0, `end` not included; null where it is not
        # taken from there.
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("task", pa.string()),  # what it asks, for encoders whose instruction has a place for it
    ]
)


def kind_of(columns: Iterable[str], file: Path) -> str:
    """The kind of the selection that a table with these columns is (of): citations, concepts or pairs."""
    known = set(columns)
    for kind, key in KEYS.items():
        if known.issuperset(key.names):
            return kind
    named = "; ".join(f"{', '.join(key.names)} ({kind})" for kind, key in KEYS.items())
    raise BioHiCLError(f"{file}: has none of the columns that name the rows of a selection: {named}")


def key_of(file: Path) -> pa.Schema:
    """The columns that name the rows of a Parquet file, with their types."""
    return KEYS[kind_of(pq.read_schema(file).names, file)]


def with_key(key: pa.Schema, *fields: tuple[str, pa.DataType]) -> pa.Schema:
    """The schema of a table that has ``fields`` for each row of a selection."""
    return pa.schema([*key, *fields])


def check_same_rows(one: pa.Table, one_file: Path, other: pa.Table, other_file: Path) -> None:
    """An error where two tables are not of the same rows in the same order, by the key columns of the first."""
    for name in KEYS[kind_of(one.column_names, one_file)].names:
        if name not in other.column_names or not one[name].equals(other[name]):
            raise BioHiCLError(
                f"{one_file} and {other_file} are not of the same selection: their {name} columns differ; make the "
                "later one again"
            )


def queries_table(key: pa.Table, queries: Sequence[Sequence[dict[str, Any]]]) -> pa.Table:
    """``key``'s columns, and the queries (:data:`QUERY`) of each row."""
    schema = with_key(KEYS[kind_of(key.column_names, Path("queries"))], ("queries", pa.list_(QUERY)))
    columns = {name: key[name] for name in schema.names[:-1]}
    return pa.table({**columns, "queries": pa.array(queries, pa.list_(QUERY))}, schema=schema)
