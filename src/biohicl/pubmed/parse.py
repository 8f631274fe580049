"""One PubMed XML file to its tables: articles, MeSH headings, deleted citations.

Goes in: ``pubmedYYnNNNN.xml.gz``, or what a user saved from PubMed, packed or plain. Comes out: Parquet files as
:mod:`biohicl.pubmed.schema` describes them, all of them or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from biohicl.errors import BioHiCLError
from biohicl.nlm_xml.reading import Reading, Skipped
from biohicl.progress import say
from biohicl.pubmed.columns import Citations
from biohicl.pubmed.schema import ARTICLES, DELETED, MESH_HEADINGS, METADATA, QUARANTINE
from biohicl.storage import parquet_writer, whole_files


def parse_pubmed_file(
    source: Path,
    articles: Path,
    mesh_headings: Path,
    deleted: Path,
    quarantine: Path,
    skip_bad_citations: bool = False,
) -> dict[str, int]:
    """Parses ``source`` and writes its tables; returns how many rows each has.

    Raises :class:`BioHiCLError` naming the file, the place, and the last good PMID, and then writes nothing. With
    ``skip_bad_citations``, a citation that cannot be read is left out and written to ``quarantine`` (which is empty
    otherwise); a file that breaks off, or is no PubMed file, is an error all the same.
    """
    citations = Citations()
    targets = [articles, mesh_headings, deleted, quarantine]
    if len({path.resolve() for path in [source, *targets]}) <= len(targets):
        raise BioHiCLError("each table needs a file of its own: two of the paths are the same")
    headings: list[pa.RecordBatch] = []
    deletes: list[pa.RecordBatch] = []
    with Reading(source, citations, skip_bad=skip_bad_citations) as reading, whole_files(*targets) as temporaries:
        with parquet_writer(temporaries[0], ARTICLES, METADATA) as writer:
            for batch in reading.tables():
                writer.write(batch.articles)
                headings.append(batch.mesh_headings)
                deletes.append(batch.deleted)
        rest = {
            "mesh_headings": _headings_table(headings),
            "deleted": _deleted_table(deletes),
            "quarantine": _quarantine_table(reading.skipped()),
        }
        for temporary, table in zip(temporaries[1:], rest.values(), strict=True):
            with parquet_writer(temporary, table.schema, METADATA) as writer:
                writer.write(table)
    counts = {"articles": citations.position} | {name: table.num_rows for name, table in rest.items()}
    say(
        f"{source.name}: {counts['articles']:,} articles, {counts['mesh_headings']:,} MeSH headings, "
        f"{counts['deleted']:,} deletes" + (f", {counts['quarantine']:,} left out" if skip_bad_citations else "")
    )
    return counts


def _headings_table(batches: list[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(batches, MESH_HEADINGS).combine_chunks()
    if not table.num_rows:
        return table
    # Positions ascend already, and a file has some ten thousand descriptors: so their ranks are sorted, stably.
    uis = table["descriptor_ui"].chunk(0).dictionary_encode(null_encoding="encode")
    rank = pc.rank(uis.dictionary).to_numpy().astype(np.uint32)  # null is last
    return table.take(pa.array(np.argsort(rank[uis.indices.to_numpy()], kind="stable")))


def _deleted_table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, DELETED).sort_by([("pmid", "ascending"), ("version", "ascending")])


def _quarantine_table(skipped: list[Skipped]) -> pa.Table:
    rows = [
        {
            "pmid": int(record.key) if record.key and record.key.isdigit() and 0 < int(record.key) < 2**31 else None,
            "byte": record.byte,
            "line": record.line,
            "reason": record.reason,
            "xml": record.written.decode("utf-8", "replace"),
        }
        for record in skipped
    ]
    return pa.Table.from_pylist(rows, QUARANTINE)
