"""Hard negatives: for each row of a selection other rows that share words with it, and are no right answer.

Goes in: a selection, the release's hierarchy where it has headings, the queries of pairs. Comes out: the key columns,
and for each row rows of the selection, counted from 0, nearest first:

bm25      those that BM25 finds, among all titles with abstracts, for the row's title (where it has none, for its text);
          of pairs, for the row's labelled queries
siblings  of the nearest 300 of these, those that lack one of the row's headings, and have another under the same parent
given     of pairs, those that a file names as wrong answers to the row's queries, in no order

Left out are the row itself, rows of the same descriptor, and rows that a labelled query of the row is a query of too.
Memory is that of the index and of one row's scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from biohicl.configuration.derived import NEGATIVES_BY
from biohicl.errors import BioHiCLError
from biohicl.lexical import LexicalIndex, terms_of
from biohicl.mesh.label_sets import MAJOR_CHECK_TAG, MINOR_CHECK_TAG, LabelSets
from biohicl.mesh.nodes import read_nodes
from biohicl.progress import say, track
from biohicl.ragged import Ragged
from biohicl.storage import write_parquet
from biohicl.training.labels import labels_of
from biohicl.training.rows import GIVEN, KEYS, kind_of, with_key

# BM25's saturation and length normalisation, as config.yaml has them for evaluation; not taken from there, so that what
# is scored otherwise trains nothing anew.
BM25 = {"k1": 1.5, "b": 0.75}
NEGATIVES = 30  # of each kind, at most
LOOKED_AT = 300  # of the nearest, for siblings
TITLES_AT_ONCE = 1_000
Rows = npt.NDArray[np.int64]


def write_negatives(selection: Path, output: Path, hierarchy: Path | None = None, queries: Path | None = None) -> None:
    """Writes the hard negatives of each row of ``selection``.

    ``hierarchy``: the release's; without it no row has siblings. ``queries``: the table of the selection's queries, for
    pairs, whose documents are asked for by them, and may answer the same one.
    """
    table = pl.read_parquet(selection)
    kind = kind_of(table.columns, selection)
    key = KEYS[kind]
    titles, abstracts = table["title"].to_list(), table["abstract"].to_list()
    texts = [f"{title} {abstract}" for title, abstract in zip(titles, abstracts, strict=True)]
    siblings = None
    if "descriptor_uis" in table.columns:
        if hierarchy is None:
            raise BioHiCLError(f"{selection}: its rows have headings; name their hierarchy with --hierarchy")
        siblings = Siblings.of(table.select("descriptor_uis", "majors"), hierarchy)
    words = _queries_of_pairs(table, queries) if kind == "pairs" else None
    together = _together(table, kind, words)
    found: list[npt.NDArray[np.int32]] = []
    beside: list[npt.NDArray[np.int32]] = []
    given: list[npt.NDArray[np.int32]] = []
    named = table[GIVEN].to_list() if GIVEN in table.columns else [[]] * table.height
    asked = [title if title.strip() else abstract for title, abstract in zip(titles, abstracts, strict=True)]
    if words is not None:
        # Who is not asked for needs no wrong answers.
        asked = [" ".join(own) for own in words]
    for row, near in enumerate(track(nearest(asked, texts), len(asked), f"negatives of {selection.stem}", "rows")):
        others = near[(near != row) & ~np.isin(near, together.get(row, ()))][:LOOKED_AT]
        found.append(others[:NEGATIVES].astype(np.int32))
        kept = others[siblings.are(row, others)] if siblings else others[:0]
        beside.append(kept[:NEGATIVES].astype(np.int32))
        wrong = np.array(named[row], dtype=np.int32)
        given.append(wrong[(wrong != row) & ~np.isin(wrong, together.get(row, ()))][:NEGATIVES])
    schema = with_key(key, *((source, pa.list_(pa.int32())) for source in NEGATIVES_BY))
    columns = {name: table[name].to_arrow().cast(key.field(name).type) for name in key.names}
    write_parquet(pa.table({**columns, "bm25": found, "siblings": beside, "given": given}, schema=schema), output)
    means = [np.mean([len(rows) for rows in lists]) for lists in (found, beside, given)]
    say(
        f"{table.height:,} rows: {means[0]:.1f} negatives by BM25 each, {means[1]:.1f} with a heading beside their "
        f"own, {means[2]:.1f} that are given"
    )


def nearest(queries: Sequence[str], texts: Sequence[str]) -> Iterator[Rows]:
    """For each query the rows of ``texts`` that share a word with it, nearest by BM25 first, at equal scores by row.

    No more than twice as many as are looked at: what is left out of them is a row's own, and few others.
    """
    index = LexicalIndex(texts, BM25)
    most = 2 * LOOKED_AT
    for start in range(0, len(queries), TITLES_AT_ONCE):
        for terms in terms_of(queries[start : start + TITLES_AT_ONCE]):
            scores = index.scores(terms)
            best = np.argpartition(-scores, most)[:most] if len(scores) > most else np.arange(len(scores))
            # Those as near as the last of these are as good as it: take all, so that rows decide, not the partition.
            if len(scores) > most:
                best = np.flatnonzero(scores >= scores[best].min()) if scores[best].min() > 0 else best
            best = best[scores[best] > 0]
            yield best[np.lexsort((best, -scores[best]))][:most]


@dataclass(frozen=True)
class Siblings:
    """Which rows have a heading beside one of a row's own.

    ``headings``: the descriptors of each row, check tags left out; ``above``: the parents of all of these; ``parents``:
    those of each descriptor of the hierarchy.
    """

    headings: Ragged
    above: Ragged
    parents: Ragged

    @classmethod
    def of(cls, headings: pl.DataFrame, hierarchy: Path) -> Siblings:
        """From the columns descriptor_uis and majors of a selection; headings that the hierarchy lacks do not count."""
        nodes = read_nodes(hierarchy)
        direct, _ = labels_of(headings, nodes)
        known = {ui: row for row, ui in enumerate(nodes.uis)}
        rows = pl.read_parquet(hierarchy, columns=["parents"])["parents"]
        lists = [[known[ui] for ui in above] for above in rows.to_list()]
        lengths = np.array([len(above) for above in lists], dtype=np.int64)
        parents = Ragged(
            np.array([row for above in lists for row in above], dtype=np.int32), np.concatenate([[0], lengths.cumsum()])
        )
        own = _without_tags(direct)
        above = parents.take(own.values)
        return cls(own, Ragged(above.values, above.offsets[own.offsets]), parents)

    def are(self, row: int, others: Rows) -> npt.NDArray[np.bool_]:
        """(len(others),): which of these rows lack a heading of ``row`` and have another under one of its parents."""
        own = self.headings.rows(np.array([row]))[0]
        parents = self.parents.take(own)
        if not len(parents.values) or not len(others):
            return np.zeros(len(others), dtype=bool)
        different, place = np.unique(parents.values, return_inverse=True)
        # (parents, own headings): which stands under which.
        under = np.zeros((len(different), len(own)), dtype=bool)
        under[place, np.repeat(np.arange(len(own)), parents.lengths())] = True
        has = _marked(self.headings.take(others), own)
        has_parent = _marked(self.above.take(others), different)
        beside = has_parent.astype(np.float32) @ under.astype(np.float32) > 0.5
        return np.logical_or.reduce(beside & ~has, axis=1, dtype=bool)


def _marked(lists: Ragged, wanted: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """(len(lists), len(wanted)): which list has which of the different numbers ``wanted``."""
    order = np.argsort(wanted)
    places = np.minimum(np.searchsorted(wanted, lists.values, sorter=order), len(wanted) - 1)
    columns = order[places]
    hit = wanted[columns] == lists.values
    marks = np.zeros((len(lists), len(wanted)), dtype=bool)
    marks[np.repeat(np.arange(len(lists)), lists.lengths())[hit], columns[hit]] = True
    return marks


def _without_tags(direct: LabelSets) -> Ragged:
    kept = (direct.kinds & (MINOR_CHECK_TAG | MAJOR_CHECK_TAG)) == 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return Ragged(direct.ids.values[kept], before[direct.ids.offsets])


def _queries_of_pairs(table: pl.DataFrame, queries: Path | None) -> list[list[str]]:
    """The labelled queries of each row."""
    if queries is None:
        raise BioHiCLError("several documents may answer one labelled query; name the table with --queries")
    asked = pl.read_parquet(queries)
    if not asked.select(KEYS["pairs"].names).equals(table.select(KEYS["pairs"].names)):
        raise BioHiCLError(f"{queries}: is not of the same selection; make it again: biohicl select-pairs")
    return [[query["text"] for query in own] for own in asked["queries"].to_list()]


def _together(table: pl.DataFrame, kind: str, queries: list[list[str]] | None) -> dict[int, Rows]:
    """For a row the others that answer what it answers: of the same descriptor, or of the same labelled query."""
    if kind == "citations":
        return {}
    if kind == "concepts":
        named = table.select("descriptor_ui").with_row_index("row")
        groups = named.group_by("descriptor_ui").agg("row")["row"].to_list()
    else:
        holders: dict[str, list[int]] = {}
        for row, own in enumerate(queries or ()):
            for query in dict.fromkeys(own):
                holders.setdefault(query, []).append(row)
        groups = list(holders.values())
    found: dict[int, set[int]] = {}
    for rows in groups:
        for row in rows if len(rows) > 1 else ():
            found.setdefault(row, set()).update(rows)
    return {row: np.array(sorted(others), dtype=np.int64) for row, others in found.items()}
