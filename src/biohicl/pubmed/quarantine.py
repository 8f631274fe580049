"""The citations that pubmed.skip_bad_citations left out of the corpus.

Goes in: the quarantine tables of a release's files. Comes out: how many there are, for the log and the report; or an
error, where none may be left out any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.progress import say


def quarantined(names: Sequence[str], pubmed: Path) -> pl.DataFrame:
    """A row a citation left out: file, pmid, line and reason, in the order of ``names`` and of the files."""
    paths = [pubmed / "quarantine" / f"{name}.parquet" for name in names]
    for path in paths:
        if not path.is_file():
            raise BioHiCLError(f"{path}: no such file; parse it first (biohicl parse-pubmed --help)")
    columns = ["pmid", "line", "reason"]
    # Nearly all of them are empty.
    tables = [
        pl.read_parquet(path, columns=columns).select(pl.lit(name).alias("file"), *columns)
        for path, name in zip(paths, names, strict=True)
        if pq.read_metadata(path).num_rows
    ]
    empty = pl.DataFrame(schema={"file": pl.String, "pmid": pl.Int32, "line": pl.Int64, "reason": pl.String})
    return pl.concat([empty, *tables])


def check_quarantine(names: Sequence[str], pubmed: Path, allowed: bool) -> None:
    """Says how many citations were left out; raises :class:`BioHiCLError` where that is not ``allowed``."""
    found = quarantined(names, pubmed)
    if not found.height:
        return
    file, pmid, line, reason = found.row(0)
    files = found["file"].n_unique()
    what = (
        f"{found.height:,} citations of {files:,} files were left out, the first PMID {pmid} at line {line} of {file}"
    )
    if allowed:
        say(f"warning: {what}: {reason}. All of them: {pubmed / 'quarantine'}")
        return
    raise BioHiCLError(
        f"{what}: {reason}. They were parsed with pubmed.skip_bad_citations: true. Set it again in config.yaml; or "
        f"remove {pubmed / 'quarantine' / f'{file}.parquet'} and those like it, and run again to parse these files anew"
    )
