"""A training release: the corpus and the hierarchy, frozen under a name.

Goes in: ``current.parquet``, ``hierarchy.parquet``, MeSH's ``terms.parquet`` and the records of what was fetched. Comes
out: copies of the three tables and ``release.json``, which lists the PubMed files that the release refers to. Training
reads the release alone, so that a daily update of the corpus changes nothing for it; that goes by
:func:`articles_of_release`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import read_json, sha256_of, whole_files, write_json


def freeze_release(current: Path, hierarchy: Path, terms: Path, mesh_record: Path, output: Path) -> None:
    """Freezes under ``output``: citations.parquet, hierarchy.parquet, terms.parquet, release.json."""
    files = pl.scan_parquet(current).select(pl.col("file").unique().sort()).collect()["file"].to_list()
    mesh = read_json(mesh_record).get("name")
    if not mesh:
        raise BioHiCLError(f"{mesh_record}: names no MeSH file; it has to be the record that list-mesh made")
    names = ("citations.parquet", "hierarchy.parquet", "terms.parquet", "release.json")
    with whole_files(*(output / name for name in names)) as (citations_copy, hierarchy_copy, terms_copy, record):
        shutil.copyfile(current, citations_copy)
        shutil.copyfile(hierarchy, hierarchy_copy)
        shutil.copyfile(terms, terms_copy)
        count = pl.scan_parquet(citations_copy).select(pl.len()).collect().item()
        write_json(
            {
                "citations": count,
                "mesh": mesh,
                "sha256": {
                    "citations": sha256_of(citations_copy),
                    "hierarchy": sha256_of(hierarchy_copy),
                    "terms": sha256_of(terms_copy),
                },
                "files": files,
            },
            record,
        )
    say(f"training release '{output.name}': {count:,} current citations of {len(files)} files, frozen")


def articles_of_release(release: Path, pubmed: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The current citations of a training release, a frame a file: pmid, version, position, and ``columns``.

    ``pubmed`` is the folder with articles/. An error where a table is missing, or is not the one that was frozen.
    """
    key = ["pmid", "version", "position"]
    record = read_json(release / "release.json")
    if not isinstance(record, dict) or not record.get("files"):
        raise BioHiCLError(f"{release / 'release.json'}: lists no files; it has to be what biohicl freeze made")
    files = record["files"]
    frozen = (record.get("sha256") or {}).get("citations")
    if frozen and sha256_of(release / "citations.parquet") != frozen:
        raise BioHiCLError(
            f"{release / 'citations.parquet'}: is not the table that was frozen (its SHA-256 is another than "
            "release.json says). Name a new training.release in config.yaml"
        )
    citations = pl.read_parquet(release / "citations.parquet").partition_by("file", as_dict=True, include_key=False)
    unlisted = sorted({name for (name,) in citations} - set(files))
    if unlisted:
        raise BioHiCLError(
            f"{release / 'release.json'}: does not list {unlisted[0]}, of which citations.parquet has some"
        )
    for name in track(files, len(files), "reading articles", "files"):
        path = pubmed / "articles" / f"{name}.parquet"
        wanted = citations.pop((name,), None)
        if wanted is None:
            continue
        if not path.is_file():
            raise BioHiCLError(
                f"{path}: no such file, but the training release refers to it. Parse that file again, or name a new "
                "training.release in config.yaml to freeze the corpus as it is now"
            )
        articles = pl.scan_parquet(path).select(*key, *columns)
        frame = articles.join(wanted.lazy(), on=key, how="semi").collect()
        if frame.height != wanted.height:
            raise BioHiCLError(
                f"{path}: has {frame.height:,} of the {wanted.height:,} records that the training release refers to: "
                "it is not the file that was frozen. Name a new training.release in config.yaml"
            )
        yield frame


def headings_of(articles: pl.DataFrame) -> pl.DataFrame:
    """``articles`` with its mesh_headings as two lists: descriptor_uis, and majors (on the heading or a qualifier)."""
    headings = pl.col("mesh_headings").list
    return articles.with_columns(
        descriptor_uis=headings.eval(pl.element().struct.field("descriptor_ui")),
        majors=headings.eval(
            pl.element().struct.field("major")
            | pl.element().struct.field("qualifiers").list.eval(pl.element().struct.field("major")).list.any()
        ),
    ).drop("mesh_headings")
