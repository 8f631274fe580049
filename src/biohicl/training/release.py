"""A training release: the corpus and the hierarchy, frozen under a name.

Goes in: ``current.parquet``, ``hierarchy.parquet`` and the records of what was fetched. Comes out: copies of the
two tables and ``release.json``, which lists the PubMed files that the release refers to. Training reads the
release alone, so that a daily update of the corpus changes nothing for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import read_json, sha256_of, whole_files, write_json


def freeze_release(current: Path, hierarchy: Path, mesh_record: Path, output: Path) -> None:
    """Freezes under ``output``: citations.parquet, hierarchy.parquet, release.json."""
    files = pl.scan_parquet(current).select(pl.col("file").unique().sort()).collect()["file"].to_list()
    mesh = read_json(mesh_record).get("name")
    if not mesh:
        raise BioHiCLError(f"{mesh_record}: names no MeSH file; it has to be the record that list-mesh made")
    with whole_files(output / "citations.parquet", output / "hierarchy.parquet", output / "release.json") as (
        citations_copy,
        hierarchy_copy,
        record,
    ):
        shutil.copyfile(current, citations_copy)
        shutil.copyfile(hierarchy, hierarchy_copy)
        count = pl.scan_parquet(citations_copy).select(pl.len()).collect().item()
        write_json(
            {
                "citations": count,
                "mesh": mesh,
                "sha256": {"citations": sha256_of(citations_copy), "hierarchy": sha256_of(hierarchy_copy)},
                "files": files,
            },
            record,
        )
    say(f"training release '{output.name}': {count:,} current citations of {len(files)} files, frozen")
