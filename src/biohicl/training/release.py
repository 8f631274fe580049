"""A training release: the corpus and the hierarchy, frozen under a name.

Goes in: ``current.parquet``, ``hierarchy.parquet``, MeSH's ``terms.parquet``, perhaps its scope notes and allowed
qualifiers, and the records of what was fetched. Comes out: copies of the tables and ``release.json``, which lists the
PubMed files that the release refers to. Training reads the release alone, so that a daily update of the corpus changes
nothing for it; that goes by :func:`articles_of_release`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import read_json, sha256_of, whole_files, write_json

# What a release may have of MeSH beside hierarchy and terms; releases of earlier versions have neither.
OPTIONAL = ("scope_notes", "allowed_qualifiers")


def freeze_release(
    current: Path,
    hierarchy: Path,
    terms: Path,
    mesh_record: Path,
    output: Path,
    optional: Mapping[str, Path] | None = None,
) -> None:
    """Freezes under ``output``: citations.parquet, hierarchy.parquet, terms.parquet, release.json.

    ``optional``: by name (of :data:`OPTIONAL`), further tables of MeSH, frozen under these names.
    """
    files = pl.scan_parquet(current).select(pl.col("file").unique().sort()).collect()["file"].to_list()
    mesh = read_json(mesh_record).get("name")
    if not mesh:
        raise BioHiCLError(f"{mesh_record}: names no MeSH file; it has to be the record that list-mesh made")
    sources = {"citations": current, "hierarchy": hierarchy, "terms": terms, **(optional or {})}
    tables = [output / f"{name}.parquet" for name in sources]
    with whole_files(*tables, output / "release.json") as (*copies, record):
        for source, copy in zip(sources.values(), copies, strict=True):
            shutil.copyfile(source, copy)
        count = pl.scan_parquet(copies[0]).select(pl.len()).collect().item()
        hashes = {name: sha256_of(copy) for name, copy in zip(sources, copies, strict=True)}
        write_json({"citations": count, "mesh": mesh, "sha256": hashes, "files": files}, record)
    say(f"training release '{output.name}': {count:,} current citations of {len(files)} files, frozen")


def articles_of_release(release: Path, pubmed: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The current citations of a training release, a frame a file: pmid, version, position, and ``columns``.

    ``pubmed`` is the folder with articles/. An error where a table is missing, or is not the one that was frozen.
    """
    key = ["pmid", "version", "position"]
    record = read_json(release / "release.json")
    if not isinstance(record, dict) or not record.get("files"):
        raise BioHiCLError(f"{release / 'release.json'}: lists no files; it has to be what biohicl freeze made")
    files = list(dict.fromkeys(record["files"]))
    frozen = (record.get("sha256") or {}).get("citations")
    if frozen and sha256_of(release / "citations.parquet") != frozen:
        raise BioHiCLError(
            f"{release / 'citations.parquet'}: is not the table that was frozen (its SHA-256 is another than "
            "release.json says). Name a new training.release in config.yaml"
        )
    citations, rows = _by_file(release / "citations.parquet", files)
    for name in track(files, len(files), "reading articles", "files"):
        path = pubmed / "articles" / f"{name}.parquet"
        if name not in rows:
            continue
        wanted = citations.slice(*rows[name])
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


def _by_file(table: Path, files: Sequence[str]) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
    """The rows of a frozen ``citations.parquet``, those of a file together: first row and number of rows of each file.

    Of names kept as numbers, and not a frame for each name, all of PubMed takes a quarter of the memory.
    """
    rank = pl.col("file").cast(pl.Enum(files), strict=False)
    citations = pl.scan_parquet(table).with_columns(rank).sort("file").collect()
    if citations["file"].null_count():
        unlisted = pl.scan_parquet(table).select(pl.col("file").filter(rank.is_null()).min()).collect().item()
        raise BioHiCLError(f"{table.parent / 'release.json'}: does not list {unlisted}, of which {table.name} has some")
    counts = citations.group_by("file", maintain_order=True).len()
    starts = counts["len"].cum_sum() - counts["len"]
    rows = dict(zip(counts["file"], zip(starts, counts["len"], strict=True), strict=True))
    return citations.drop("file"), rows


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
