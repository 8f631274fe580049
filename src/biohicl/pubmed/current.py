"""The corpus: which record of each citation is the current one.

Goes in: the articles and deleted tables of a release's files. Comes out: ``current.parquet``, a row a PMID:
version, file and position of its current record.

The rule is NLM's: load the baseline, then the updates in ascending order. So for each PMID the record of the
highest (year, file number, version) is current, and within one file and version the later one; a delete
removes the PMID unless a later file brings it back. A file order of its own therefore never matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.fetch.release import parse_name
from biohicl.progress import say
from biohicl.pubmed.schema import CURRENT, METADATA
from biohicl.storage import write_parquet

# (file's rank, version, position) packed into one int64, so that a plain maximum finds the current record.
VERSION_BITS, POSITION_BITS = 15, 25


def current_citations(names: Sequence[str], pubmed: Path) -> pl.DataFrame:
    """The current records of the files ``names`` (such as pubmed26n0001), whose tables lie under ``pubmed``.

    Returns columns pmid, version, file, position (:data:`biohicl.pubmed.schema.CURRENT`), sorted by pmid.
    """
    if not names:
        raise BioHiCLError("no PubMed files: nothing to merge")
    ordered = sorted(set(names), key=parse_name)
    records, deletes = [], []
    for rank, name in enumerate(ordered):
        packed = (
            pl.lit(rank, pl.Int64) * (1 << (VERSION_BITS + POSITION_BITS))
            + pl.col("version").cast(pl.Int64) * (1 << POSITION_BITS)
            + pl.col("position").cast(pl.Int64)
        )
        records.append(_scan(pubmed / "articles" / f"{name}.parquet").select("pmid", packed.alias("record")))
        deletes.append(
            _scan(pubmed / "deleted" / f"{name}.parquet").select("pmid", pl.lit(rank, pl.Int64).alias("deleted_in"))
        )
    latest = pl.concat(records).group_by("pmid").agg(pl.col("record").max())
    deleted = pl.concat(deletes).group_by("pmid").agg(pl.col("deleted_in").max())
    rank_of = pl.col("record") // (1 << (VERSION_BITS + POSITION_BITS))
    files = pl.DataFrame({"rank": range(len(ordered)), "file": ordered}, schema={"rank": pl.Int64, "file": pl.String})
    return (
        latest.join(deleted, on="pmid", how="left")
        .filter(pl.col("deleted_in").is_null() | (rank_of > pl.col("deleted_in")))
        .with_columns(
            rank=rank_of,
            version=(pl.col("record") // (1 << POSITION_BITS) % (1 << VERSION_BITS)).cast(pl.Int16),
            position=(pl.col("record") % (1 << POSITION_BITS)).cast(pl.Int32),
        )
        .join(files.lazy(), on="rank")
        .select("pmid", "version", "file", "position")
        .sort("pmid")
        .collect(engine="streaming")
    )


def write_current(names: Sequence[str], pubmed: Path, output: Path) -> None:
    """Writes :func:`current_citations` to ``output`` and says how many there are, by file."""
    current = current_citations(names, pubmed)
    write_parquet(current.to_arrow().cast(CURRENT), output, METADATA)
    say(f"{current.height:,} current citations from {len(set(names)):,} files")


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise BioHiCLError(f"{path}: no such file; parse it first (biohicl parse-pubmed --help)")
    return pl.scan_parquet(path)
