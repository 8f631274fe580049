"""What the parser makes of a file, as the tables that it writes."""

from contextlib import contextmanager
from unittest import mock

import pyarrow.parquet as pq

from biohicl.nlm_xml import stream, values
from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.pubmed.schema import ARTICLES, DELETED, MESH_HEADINGS, QUARANTINE

NAMES = ("articles", "mesh_headings", "deleted")


def parsed(source, folder, skip_bad=False):
    """(articles, mesh_headings, deleted), and with ``skip_bad`` the quarantine too, written under ``folder``."""
    outputs = [folder / f"{name}.parquet" for name in (*NAMES, "quarantine")]
    for output in outputs:
        output.unlink(missing_ok=True)
    counts = parse_pubmed_file(source, *outputs, skip_bad_citations=skip_bad)
    tables = tuple(pq.read_table(output) for output in outputs)
    for table, schema in zip(tables, (ARTICLES, MESH_HEADINGS, DELETED, QUARANTINE), strict=True):
        assert table.schema.equals(schema), f"{table.schema.to_string()}\n\nis not\n\n{schema.to_string()}"
    assert [counts[name] for name in NAMES] == [table.num_rows for table in tables[:3]]
    assert skip_bad or tables[3].num_rows == 0
    return tables if skip_bad else tables[:3]


@contextmanager
def in_pieces(size):
    """The parser takes a file in pieces of about ``size`` bytes, so that they end anywhere; as it likes where 0.

    What it remembers of repeated elements is soon forgotten, too.
    """
    if not size:
        yield
        return
    pieces = {"BLOCK_BYTES": size, "READ_BYTES": size // 3, "UNPACKED_BYTES": size // 2, "CHECKED_BYTES": size}
    pieces["SMALLEST_PIECE_BYTES"] = 1
    with (
        mock.patch.multiple(stream, **{name: max(1, count) for name, count in pieces.items()}),
        mock.patch.object(values, "MOST_REMEMBERED", size // 1000),
    ):
        yield
