"""Two passes over the articles of a training release, for the citations that the study looks at.

Goes in: the release with its articles tables, and screening decisions. Comes out: :class:`Gathered`. However many files
there are, few citations are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from biohicl.training.draw import pmid_hash
from biohicl.training.release import articles_of_release, headings_of

# Citations share so many references to be called related; one in common is often a method (Lowry's protein assay).
SHARED_REFERENCES = 2
# Partners of an anchor that are looked at, so that a much cited anchor does not fill the pool.
PARTNERS = 3


@dataclass(frozen=True)
class Gathered:
    """What two passes over the articles found; each frame has pmid, descriptor_uis, majors, and is sorted by PMID.

    ``screened``: those of the screening table. ``sample``: a draw from all with headings. ``pool``: anchors and their
    partners, with ``references`` and ``is_anchor``. ``commented``: citations of ``comments`` (pmid, other).
    """

    screened: pl.DataFrame
    sample: pl.DataFrame
    pool: pl.DataFrame
    commented: pl.DataFrame
    comments: pl.DataFrame


def gather(release: Path, pubmed: Path, screening: pl.DataFrame, citations: int, sample: int, seed: int) -> Gathered:
    """Two passes over the release's articles. ``citations``: how many anchors with references, drawn by a hash of the
    PMID; ``sample``: how many of all. Memory does not grow with the number of files."""
    columns = ["mesh_headings", "references", "comments_corrections"]
    wanted = screening["pmid"].unique()
    screened, anchors, drawn, comments = _Kept(None), _Kept(citations), _Kept(sample), _Kept(citations)
    for articles in articles_of_release(release, pubmed, columns):
        labelled = _labelled(articles)
        screened.add(labelled.filter(pl.col("pmid").is_in(wanted.implode())))
        anchors.add(labelled.filter(pl.col("references").list.len() > 0), seed)
        drawn.add(labelled, seed + 1)
        comments.add(_comments(labelled), seed)
    pairs = comments.frame()
    others = pl.concat([pairs["pmid"], pairs["other"]]).unique() if pairs.height else pl.Series([], dtype=pl.Int32)
    commented = _Kept(None)
    partners: list[pl.DataFrame] = []
    seek = _partner_search(anchors.frame())
    for articles in articles_of_release(release, pubmed, columns):
        labelled = _labelled(articles)
        commented.add(labelled.filter(pl.col("pmid").is_in(others.implode())))
        partners = [_few_partners(pl.concat([*partners, seek(labelled)]))]
    return Gathered(
        screened=screened.frame(),
        sample=drawn.frame(),
        pool=_pool(anchors.frame(), pl.concat(partners)),
        commented=commented.frame(),
        comments=pairs,
    )


class _Kept:
    """Frames of many files, of which the ``most`` with the lowest hash of the PMID stay (None: all)."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._frames: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame, seed: int = 0) -> None:
        if self._most is None:
            self._frames.append(frame)
            return
        hashed = frame.with_columns(_hash=pl.Series(pmid_hash(frame["pmid"].to_numpy(), seed)))
        rows = pl.concat([*self._frames, hashed])
        # A citation may stand in several rows: its other numbers decide then.
        order = ["_hash", *(name for name, kind in rows.schema.items() if kind.is_integer() and name != "_hash")]
        self._frames = [rows.sort(order).head(self._most)]

    def frame(self) -> pl.DataFrame:
        rows = pl.concat(self._frames)
        return rows.drop("_hash", strict=False).sort("pmid")


def _labelled(articles: pl.DataFrame) -> pl.DataFrame:
    """Those with headings: pmid, descriptor_uis, majors, references, comments_corrections."""
    with_headings = articles.filter(pl.col("mesh_headings").list.len() > 0)
    return headings_of(with_headings).drop("version", "position")


def _comments(labelled: pl.DataFrame) -> pl.DataFrame:
    """(pmid, other): a citation, and one that it comments on."""
    entry = pl.col("comments_corrections").struct
    return (
        labelled.select("pmid", "comments_corrections")
        .explode("comments_corrections")
        .select("pmid", other=entry.field("pmid"), kind=entry.field("type"))
        .filter((pl.col("kind") == "CommentOn") & pl.col("other").is_not_null() & (pl.col("other") != pl.col("pmid")))
        .select("pmid", "other")
        .unique()
        .sort("pmid", "other")
    )


def _partner_search(anchors: pl.DataFrame) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A function that finds, among citations, those that share references with an anchor, cite it, or are cited."""
    cited = anchors.select("pmid", reference="references").explode("reference").drop_nulls().unique()
    cited = cited.rename({"pmid": "anchor"})
    own = anchors["pmid"].implode()

    def seek(labelled: pl.DataFrame) -> pl.DataFrame:
        references = labelled.select("pmid", reference="references").explode("reference").drop_nulls().unique()
        sharing = (
            references.join(cited, on="reference")
            .filter(pl.col("pmid") != pl.col("anchor"))
            .group_by("pmid", "anchor")
            .len()
            .filter(pl.col("len") >= SHARED_REFERENCES)
            .select("pmid", "anchor")
        )
        citing = references.filter(pl.col("reference").is_in(own)).select("pmid", anchor="reference")
        cited_by = cited.join(labelled.select("pmid"), left_on="reference", right_on="pmid")
        cited_by = cited_by.select(pmid="reference", anchor="anchor")
        found = pl.concat([sharing, citing, cited_by]).unique().filter(pl.col("pmid") != pl.col("anchor"))
        return labelled.join(_few_partners(found), on="pmid")

    return seek


def _few_partners(found: pl.DataFrame) -> pl.DataFrame:
    """Of each anchor the ``PARTNERS`` with the lowest hash, which differs from anchor to anchor."""
    hashes = pmid_hash(found["pmid"].to_numpy().astype(np.int64) ^ found["anchor"].to_numpy().astype(np.int64), 0)
    ordered = found.with_columns(_hash=pl.Series(hashes)).sort("_hash", "pmid", "anchor")
    return ordered.group_by("anchor", maintain_order=True).head(PARTNERS).select(found.columns)


def _pool(anchors: pl.DataFrame, partners: pl.DataFrame) -> pl.DataFrame:
    columns = ["pmid", "descriptor_uis", "majors", "references"]
    return (
        pl.concat([anchors.select(columns), partners.select(columns)])
        .unique("pmid", keep="first", maintain_order=True)
        .with_columns(is_anchor=pl.col("pmid").is_in(anchors["pmid"].implode()))
        .sort("pmid")
    )
