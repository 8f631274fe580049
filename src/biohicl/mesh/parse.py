"""MeSH descriptor XML to tables: descriptors, concepts, scope notes, terms, tree numbers, allowed qualifiers.

Goes in: ``descYYYY.gz`` (or plain XML). Comes out: a Parquet file a table in one folder, as
:mod:`biohicl.mesh.schema` describes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.mesh.columns import Batches, Descriptors
from biohicl.mesh.schema import KEYS, METADATA, TABLES
from biohicl.nlm_xml.reading import Reading
from biohicl.progress import say
from biohicl.storage import parquet_writer, whole_files


def parse_mesh_file(source: Path, output: Path) -> dict[str, int]:
    """Parses ``source`` into ``output/<table>.parquet`` for each of ``TABLES``; returns their row counts.

    Raises :class:`BioHiCLError` naming file, line and last good descriptor, and then writes nothing.
    """
    targets = [output / f"{name}.parquet" for name in TABLES]
    with Reading(source, Descriptors()) as reading, whole_files(*targets) as temporaries:
        paths = dict(zip(TABLES, temporaries, strict=True))
        counts, uis = _write_as_they_come(reading, paths)
        _check_uis(source, uis)
        # NLM's file is in the order of UIs; another one is put into it.
        if uis != sorted(uis):
            for name, path in paths.items():
                table = _by_key(name, pq.read_table(path, schema=TABLES[name]))
                with parquet_writer(path, TABLES[name], METADATA) as writer:
                    writer.write(table)
    say(f"{source.name}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return counts


def _write_as_they_come(reading: Reading[Batches], paths: Mapping[str, Path]) -> tuple[dict[str, int], list[str]]:
    """Writes the tables block by block, each sorted by its key within a block; returns row counts and all UIs."""
    counts = dict.fromkeys(paths, 0)
    uis: list[str] = []
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(parquet_writer(path, TABLES[name], METADATA)) for name, path in paths.items()
        }
        for tables in reading.tables():
            uis += tables["descriptors"]["descriptor_ui"].to_pylist()
            for name, batch in tables.items():
                writers[name].write(_by_key(name, pa.Table.from_batches([batch])))
                counts[name] += batch.num_rows
    return counts, uis


def _by_key(name: str, table: pa.Table) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in KEYS[name]])


def _check_uis(source: Path, uis: list[str]) -> None:
    if not uis:
        raise BioHiCLError(f"{source}: holds no descriptors")
    if len(set(uis)) < len(uis):
        twice = sorted(ui for ui, count in Counter(uis).items() if count > 1)
        raise BioHiCLError(f"{source}: the same descriptor UI stands there twice: {', '.join(twice[:5])}")
