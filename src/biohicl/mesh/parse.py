"""MeSH descriptor XML to tables: descriptors, concepts, scope notes, terms, tree numbers, allowed qualifiers.

Goes in: ``descYYYY.gz`` (or plain XML). Comes out: a Parquet file a table in one folder, as
:mod:`biohicl.mesh.schema` describes them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.columns import Descriptors
from biohicl.mesh.schema import KEYS, METADATA, TABLES
from biohicl.nlm_xml.reading import Reading
from biohicl.progress import say
from biohicl.storage import parquet_writer, whole_files


def parse_mesh_file(source: Path, output: Path) -> dict[str, int]:
    """Parses ``source`` into ``output/<table>.parquet`` for each of ``TABLES``; returns their row counts.

    Raises :class:`BioHiCLError` naming file, line and last good descriptor, and then writes nothing.
    """
    batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in TABLES}
    for tables in Reading(source, Descriptors()).tables():
        for name, batch in tables.items():
            batches[name].append(batch)
    _check_uis(source, batches["descriptors"])
    counts = {}
    with whole_files(*(output / f"{name}.parquet" for name in TABLES)) as temporaries:
        for (name, schema), temporary in zip(TABLES.items(), temporaries, strict=True):
            table = pa.Table.from_batches(batches.pop(name), schema)
            counts[name] = table.num_rows
            with parquet_writer(temporary, schema, METADATA) as writer:
                writer.write(table.sort_by([(key, "ascending") for key in KEYS[name]]))
    say(f"{source.name}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return counts


def _check_uis(source: Path, descriptors: list[pa.RecordBatch]) -> None:
    uis = [ui for batch in descriptors for ui in batch["descriptor_ui"].to_pylist()]
    if not uis:
        raise BioHiCLError(f"{source}: holds no descriptors")
    if len(set(uis)) < len(uis):
        twice = sorted(ui for ui, count in Counter(uis).items() if count > 1)
        raise BioHiCLError(f"{source}: the same descriptor UI stands there twice: {', '.join(twice[:5])}")
