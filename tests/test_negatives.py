"""Hard negatives: the nearest by BM25, and those of them that are siblings in the tree."""

import numpy as np
import polars as pl

from biohicl.mesh.nodes import check_tags
from biohicl.training.concepts import write_concepts
from biohicl.training.negatives import LOOKED_AT, NEGATIVES, Siblings, nearest, write_negatives
from recipe_tables import CONCEPTS


def test_siblings_are_what_their_definition_says(corpus, tmp_path):
    """Beside a plain reading with sets, over the nearest of every citation."""
    selection, release, _ = corpus
    hierarchy = release / "hierarchy.parquet"
    write_negatives(selection, tmp_path / "negatives.parquet", hierarchy)
    table, found = pl.read_parquet(selection), pl.read_parquet(tmp_path / "negatives.parquet")
    assert found.select("pmid", "version").equals(table.select("pmid", "version"))
    parents = dict(pl.read_parquet(hierarchy).select("descriptor_ui", "parents").iter_rows())
    headings = [{ui for ui in uis if ui in parents} - check_tags() for uis in table["descriptor_uis"].to_list()]
    texts = [f"{title} {abstract}" for title, abstract in table.select("title", "abstract").iter_rows()]
    near = list(nearest(table["title"].to_list(), texts))
    for row, (bm25, siblings) in enumerate(found.select("bm25", "siblings").iter_rows()):
        others = [int(other) for other in near[row] if other != row][:LOOKED_AT]
        assert bm25 == others[:NEGATIVES]
        expected = [
            other
            for other in others
            if any(
                own not in headings[other] and any(set(parents[own]) & set(parents[one]) for one in headings[other])
                for own in headings[row]
            )
        ]
        assert siblings == expected[:NEGATIVES]
    lengths = found["siblings"].list.len()
    assert lengths.max() > 5
    assert lengths.min() < NEGATIVES


def test_the_nearest_are_those_that_bm25_scores_highest():
    from biohicl.lexical import LexicalIndex, terms_of
    from biohicl.training.negatives import BM25

    # Many texts are alike, so that scores are equal around the cut.
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice([f"w{n}" for n in range(9)], 3)) for _ in range(2_000)]
    index = LexicalIndex(texts, BM25)
    for query, near in zip(["w1 w2", "", "nothing", "w3"], nearest(["w1 w2", "", "nothing", "w3"], texts), strict=True):
        scores = index.scores(terms_of([query])[0])
        plain = sorted((row for row in range(2_000) if scores[row] > 0), key=lambda row: (-scores[row], row))
        assert near.tolist() == plain[: 2 * LOOKED_AT]


def test_rows_that_answer_the_same_are_no_negatives_of_each_other(corpus, tmp_path):
    _, release, _ = corpus
    hierarchy = release / "hierarchy.parquet"
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    write_negatives(tmp_path / "mesh.parquet", tmp_path / "negatives.parquet", hierarchy)
    found = pl.read_parquet(tmp_path / "negatives.parquet")
    uis = found["descriptor_ui"].to_list()
    for row, lists in enumerate(found.select("bm25", "siblings").iter_rows()):
        assert all(uis[other] != uis[row] for rows in lists for other in rows)
    assert found["bm25"].list.len().mean() > 5


def test_headings_that_the_hierarchy_lacks_and_check_tags_do_not_count(mesh):
    names = dict(pl.read_parquet(mesh / "hierarchy.parquet").select("name", "descriptor_ui").iter_rows())
    rows = [[names["Humans"], names["Mice"], "D999999999", None], [names["Biguanides"]], []]
    frame = pl.DataFrame({"descriptor_uis": rows, "majors": [[False] * len(row) for row in rows]})
    made = Siblings.of(frame, mesh / "hierarchy.parquet")
    assert made.headings.lengths().tolist() == [0, 1, 0]
    for row in range(3):
        assert made.are(row, np.arange(3)).tolist() == [False] * 3
