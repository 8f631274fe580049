"""What the parser makes of a file, as the tables that it writes."""

import pyarrow.parquet as pq

from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.pubmed.schema import ARTICLES, DELETED, MESH_HEADINGS, QUARANTINE

NAMES = ("articles", "mesh_headings", "deleted")


def parsed(source, folder, skip_bad=False):
    """(articles, mesh_headings, deleted), and with ``skip_bad`` the quarantine too, written under ``folder``."""
    outputs = [folder / f"{name}.parquet" for name in (*NAMES, "quarantine")]
    for output in outputs:
        output.unlink(missing_ok=True)
    counts = parse_pubmed_file(source, *outputs[:3], **({"quarantine": outputs[3]} if skip_bad else {}))
    tables = tuple(pq.read_table(output) for output in outputs[: 4 if skip_bad else 3])
    for table, schema in zip(tables, (ARTICLES, MESH_HEADINGS, DELETED, QUARANTINE), strict=False):
        assert table.schema.equals(schema), f"{table.schema.to_string()}\n\nis not\n\n{schema.to_string()}"
    assert {name: counts[name] for name in NAMES} == {
        name: table.num_rows for name, table in zip(NAMES, tables, strict=False)
    }
    return tables


def rows(tables):
    return tuple(table.to_pylist() for table in tables)
