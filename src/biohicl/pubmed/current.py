"""The corpus: which record of each citation is the current one.

Goes in: the articles and deleted tables of a release's files. Comes out: ``current.parquet``, a row a PMID:
version, file and position of its current record.

The rule is NLM's: load the baseline, then the updates in ascending order. So for each PMID the record of the
highest (year, file number, version) is current, and within one file and version the later one; a delete
removes the PMID, in all its versions, unless a later file brings it back (a delete wins over the records of its
own file). In what order the files are named, and how often, never matters.

How: the files are replayed in that order into an array with a place for each PMID, one file in memory at a time.
It holds 8 bytes for each PMID up to the highest, 340 MB for PubMed, however many files there are. PMIDs above
67 million are left to further passes over the files, so that no PMID can ask for more than 512 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.fetch.release import parse_name
from biohicl.progress import say, track
from biohicl.pubmed.schema import CURRENT, METADATA
from biohicl.storage import parquet_writer, whole_files

# A place of the array: the file's rank from 1, version and position of the record, in one number; 0 is no record.
# All of int16 and int32 fits; more files than the 17 bits left over (131,071) are an OverflowError.
VERSION_BITS, POSITION_BITS = 15, 31
# PMIDs that one pass over the files serves: 2^26. NLM gives out less than 2 million a year, and is at 42 million.
SPAN_BITS = 26
# PMIDs that are made rows at a time, and a row group: small enough to find one of them quickly.
BLOCK = 1 << 17

Numbers = npt.NDArray[np.int64]


def write_current(names: Sequence[str], pubmed: Path, output: Path) -> None:
    """Writes the current records of the files ``names`` to ``output``, and says how many there are."""
    count = 0
    with (
        whole_files(output) as (temporary,),
        parquet_writer(temporary, CURRENT, METADATA, row_group_rows=BLOCK) as writer,
    ):
        for rows in current_citations(names, pubmed):
            writer.write(rows)
            count += rows.num_rows
    say(f"{count:,} current citations from {len(set(names)):,} files")


def current_citations(names: Sequence[str], pubmed: Path) -> Iterator[pa.Table]:
    """The current records of the files ``names`` (such as pubmed26n0001), whose tables lie under ``pubmed``.

    Yields tables of :data:`biohicl.pubmed.schema.CURRENT` in ascending order of PMIDs; none is empty.
    """
    if not names:
        raise BioHiCLError("no PubMed files: nothing to merge")
    # By name too, for the day that two of them have the same number: n0001 and n00001.
    ordered = sorted(set(names), key=lambda name: (parse_name(name), name))
    file_of_rank = pa.array(["", *ordered], pa.string())
    span: int | None = 0
    while span is not None:
        records, following = _replayed(ordered, pubmed, span)
        for start in range(0, len(records), BLOCK):
            block = records[start : start + BLOCK]
            (places,) = block.nonzero()
            if len(places):
                yield _rows(places + start + (span << SPAN_BITS), block[places], file_of_rank)
        del records, block  # before the next pass makes its own
        span = following


def read_current(
    current: Path, ranks: dict[str, int], columns: Sequence[str]
) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
    """Some rows of ``current.parquet`` at a time: the rank of each row's file, and ``columns``.

    ``ranks``: of files by name, 0, 1 ...; a file that is not among them gets the next one, and is added.
    """
    if not current.is_file():
        raise BioHiCLError(f"{current}: no such file; make it with: snakemake --cores 2 corpus")
    with pq.ParquetFile(current, read_dictionary=["file"]) as table:
        for batch in table.iter_batches(columns=["file", *columns]):
            files = batch.column("file")
            of_name = [ranks.setdefault(name, len(ranks)) for name in files.dictionary.to_pylist()]
            yield np.array(of_name, dtype=np.int64)[files.indices.to_numpy()], batch.select(list(columns))


def _replayed(ordered: Sequence[str], pubmed: Path, span: int) -> tuple[Numbers, int | None]:
    """The packed record of each PMID of ``span`` (PMID >> SPAN_BITS) after all files, by the PMID's low bits.

    Returned beside it is the next span that has PMIDs, or None. Since the files come in ascending order, a later
    record simply replaces an earlier one.
    """
    # Zeros that were never written take no memory.
    records = np.zeros(1 << SPAN_BITS, np.int64)
    following: int | None = None
    ranked = enumerate(ordered, start=1)
    for rank, name in track(ranked, len(ordered), f"merging PMIDs from {span << SPAN_BITS:,}", "files"):
        articles = _read(pubmed / "articles" / f"{name}.parquet", ["pmid", "version", "position"])
        # Of places given twice in an assignment, numpy keeps the last value: here the highest version's last record.
        pmid, version, position = (
            articles.sort("version", "position")[column].to_numpy().astype(np.int64) for column in articles.columns
        )
        packed = (rank << (VERSION_BITS + POSITION_BITS)) | (version << POSITION_BITS) | position
        spans = pmid >> SPAN_BITS
        here = spans == span
        records[_place(pmid[here])] = packed[here]
        later = spans[spans > span]
        if len(later):
            following = min(int(later.min()), following if following is not None else int(later.min()))
        deleted = _read(pubmed / "deleted" / f"{name}.parquet", ["pmid"])["pmid"].to_numpy().astype(np.int64)
        records[_place(deleted[deleted >> SPAN_BITS == span])] = 0
    return records, following


def _place(pmid: Numbers) -> Numbers:
    return pmid & ((1 << SPAN_BITS) - 1)


def _rows(pmid: Numbers, packed: Numbers, file_of_rank: pa.Array) -> pa.Table:
    """Packed records as rows."""
    version = (packed >> POSITION_BITS) & ((1 << VERSION_BITS) - 1)
    position = packed & ((1 << POSITION_BITS) - 1)
    columns = [
        pa.array(pmid.astype(np.int32)),
        pa.array(version.astype(np.int16)),
        file_of_rank.take(pa.array(packed >> (VERSION_BITS + POSITION_BITS))),
        pa.array(position.astype(np.int32)),
    ]
    return pa.Table.from_arrays(columns, schema=CURRENT)


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    if not path.is_file():
        raise BioHiCLError(f"{path}: no such file; parse it first (biohicl parse-pubmed --help)")
    found = (pq.read_metadata(path).metadata or {}).get(b"biohicl.schema", b"none").decode()
    if found != METADATA["biohicl.schema"]:
        raise BioHiCLError(
            f"{path}: its schema is {found}, and {METADATA['biohicl.schema']} is needed; parse the file again"
        )
    return pl.read_parquet(path, columns=columns)
