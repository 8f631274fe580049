"""The index and the search in it: against searches written out, through updates, and with bad input."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biohicl.encoder.embed import Encoder
from biohicl.errors import BioHiCLError
from biohicl.lexical import LexicalIndex, terms_of
from biohicl.search import STORAGES
from biohicl.search import retriever as retriever_module
from biohicl.search.filters import mask_of
from biohicl.search.postings import Postings, hash_of
from biohicl.search.ranking import best_by_terms, best_by_vector
from biohicl.search.retriever import LONGEST_QUERY, MASKS_KEPT, Retriever
from biohicl.search.shards import Shard, stored
from biohicl.search.tensors import TensorFile, write_tensors
from biohicl.storage import write_parquet
from conftest import ROOT, clean_environment
from nlm_records import NOTED, slice_of
from search_index import BM25, Project, citation, small_project

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return small_project(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def current(project):
    """The current records with their text, straight from the tables."""
    articles = pl.concat(
        pl.read_parquet(project.table("articles", name)).with_columns(file=pl.lit(name)) for name in project.names
    )
    corpus = pl.read_parquet(project.root / "results/corpus/current.parquet")
    return articles.join(corpus, on=["pmid", "version", "file", "position"], how="semi").sort("pmid")


def clustered(count, dimension, seed=0):
    """Vectors of length 1, in groups, as texts' are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(count // 20, 1), dimension))
    rows = centres[rng.integers(0, len(centres), count)] + 0.7 * rng.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def shard_of(rows, storage, folder):
    said = {"storage": storage, "encoder": "x", "rows": len(rows), "dimension": rows.shape[1]}
    write_tensors(stored(storage, rows), said, folder / f"{storage}.safetensors")
    return Shard(folder / f"{storage}.safetensors")


# --- shards ------------------------------------------------------------------------------------------------------


def test_a_shard_holds_the_encoders_own_vectors_of_every_record(project):
    name = project.names[1]
    rows = pl.read_parquet(project.table("articles", name)).sort("position")
    texts = list(zip(rows["title"].fill_null(""), rows["abstract"].fill_null(""), strict=True))
    expected = Encoder(project.model, "cpu").encode_documents(texts)
    shard = Shard(project.shard(name))
    assert shard.rows == rows.height == len(expected)
    assert np.array_equal(np.stack([shard.vector(row) for row in range(shard.rows)]), expected)


@pytest.mark.parametrize("dimension", [24, 64, 100])
def test_signs_and_codes_are_those_of_the_vectors(tmp_path, dimension):
    rows = clustered(300, dimension)
    rows[7] = 0
    shard = shard_of(rows, "binary", tmp_path)
    back = np.stack([shard.vector(row) for row in range(len(rows))])
    assert np.all(np.abs(back - rows) <= np.abs(rows).max(axis=1, keepdims=True) / 254 + 1e-7)
    assert not back[7].any()
    query = rows[3]
    found, scores = shard.best(query, len(rows), None)
    equal = ((rows[found] > 0) == (query > 0)).sum(axis=1)
    assert np.array_equal(scores, 2 * equal - dimension)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {storage: shard_of(clustered(400, 32, seed=1), storage, folder) for storage in STORAGES}


@QUIET
@given(
    storage=st.sampled_from(STORAGES),
    count=st.integers(1, 60),
    share=st.sampled_from([0.0, 0.01, 0.05, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_a_shard_gives_as_many_as_the_mask_lets_through_and_no_others(shards, storage, count, share, seed):
    rows, shard = clustered(400, 32, seed=1), shards[storage]
    mask = np.random.default_rng(seed).random(400) < share
    query = clustered(1, 32, seed=seed + 5)[0]
    found, scores = shard.best(query, count, mask)
    assert mask[found].all()
    assert len(set(found.tolist())) == len(found) == len(scores) == min(count, mask.sum())
    if storage == "exact":
        products = rows @ query
        best = np.sort(products[mask])[::-1][: len(found)]
        assert np.allclose(np.sort(scores)[::-1], best, atol=1e-6)
        assert np.allclose(scores, products[found], atol=1e-6)


@pytest.mark.parametrize("storage", STORAGES)
def test_of_equal_scores_the_earlier_rows_are_given_and_none_is_lost(tmp_path, storage):
    """Thousands of citations say no more than "Editorial."; a graph has no way from all of them to the others."""
    rows = np.repeat(clustered(2, 32), [1000, 200], axis=0)
    shard = shard_of(rows, storage, tmp_path)
    mask = np.arange(1200) >= 300
    for count, allowed in [(10, None), (900, None), (1100, None), (10, mask), (650, mask), (1100, mask)]:
        found, _ = shard.best(rows[0], count, allowed)
        expected = np.arange(1200) if allowed is None else np.flatnonzero(allowed)
        assert len(set(found.tolist())) == min(count, len(expected)), (count, allowed is None)
        if storage != "usearch":
            assert sorted(found.tolist()) == expected[:count].tolist()


@pytest.mark.parametrize(("storage", "least"), [("binary", 0.95), ("usearch", 0.95)])
def test_what_is_approximate_finds_nearly_all_of_the_best(tmp_path, storage, least):
    rows = clustered(3000, 128)
    # As questions are to what answers them: nearer to some than to others.
    queries = rows[::60] + 0.5 * clustered(50, 128, seed=3)
    shard = shard_of(rows, storage, tmp_path)
    hits = 0
    for query in queries:
        expected = set(np.argsort(-(rows @ query))[:10].tolist())
        found, scores = shard.best(query, 200 if storage == "binary" else 10, None)
        if storage == "binary":
            scores = shard.scores(query, found)
            assert np.allclose(scores, rows[found] @ query, atol=0.02)
        best = found[np.argsort(-scores)][:10]
        hits += len(expected & set(best.tolist()))
    assert hits / 500 >= least


def test_the_same_tables_give_the_same_bytes(tmp_path):
    one, other = (small_project(tmp_path / name, "binary", files=2, records=30) for name in ("one", "other"))
    files = [file.relative_to(one.root) for file in sorted((one.root / "results").rglob("*")) if file.is_file()]
    assert sum(file.suffix in (".arrow", ".safetensors") for file in files) >= 7
    for file in files:
        assert (one.root / file).read_bytes() == (other.root / file).read_bytes(), file


# --- ranking -----------------------------------------------------------------------------------------------------


def test_dense_search_is_the_best_of_all_current_records(project, current):
    encoder = Encoder(project.model, "cpu")
    texts = list(zip(current["title"].fill_null(""), current["abstract"].fill_null(""), strict=True))
    vectors = encoder.encode_documents(texts)
    retriever = project.retriever()
    for query in ("statin cancer risk", "rat liver", "insulin"):
        scores = vectors @ encoder.encode_queries([query])[0]
        hits = retriever.search(query, 20, mode="dense")
        assert np.allclose([hit.score for hit in hits], np.sort(scores)[::-1][:20], atol=1e-6)
        by_pmid = dict(zip(current["pmid"], scores, strict=True))
        assert all(abs(by_pmid[hit.pmid] - hit.score) < 1e-6 for hit in hits)


def test_bm25_is_that_of_the_evaluation_over_the_current_records(project, current):
    texts = [
        f"{title or ''} {abstract or ''}".strip() for title, abstract in current.select("title", "abstract").rows()
    ]
    reference = LexicalIndex(texts, BM25)
    retriever = project.retriever()
    for query in ("statin cancer risk in the heart", "rat rat liver", f"serum {current['pmid'][5]}", "nothing known"):
        scores = dict(zip(current["pmid"], reference.scores(terms_of([query])[0]), strict=True))
        expected = sorted((score for score in scores.values() if score > 0), reverse=True)
        hits = retriever.search(query, 1000, mode="bm25")
        assert len(hits) == len(expected)
        assert np.allclose([hit.score for hit in hits], expected, rtol=1e-4)
        assert np.allclose([scores[hit.pmid] for hit in hits], [hit.score for hit in hits], rtol=1e-4)


def test_filters_change_who_is_found_and_not_how_words_are_weighed(project):
    retriever = project.retriever()
    scores = {hit.pmid: hit.score for hit in retriever.search("statin serum", 1000, mode="bm25")}
    hits = retriever.search("statin serum", 1000, mode="bm25", first_year=2010)
    assert 0 < len(hits) < len(scores)
    assert all(scores[hit.pmid] == hit.score and hit.year >= 2010 for hit in hits)


@pytest.mark.parametrize("storage", STORAGES)
def test_threads_change_nothing(tmp_path, storage):
    """Of one query shared out among threads nothing; of queries that are encoded together the last digits alone."""
    project = small_project(tmp_path, storage, records=40)
    alone, several = project.retriever(), project.retriever(threads=3)
    queries = ["heart", "lung dose", "gene cell trial", "stroke"] * 3
    with ThreadPoolExecutor(3) as pool:
        for query in queries[:4]:
            vector, terms = alone.encode(query), terms_of([query])[0]
            mask = alone.index.current
            for one, other in (
                [best_by_vector(alone.index, vector, 15, mask, threads) for threads in (None, pool)],
                [best_by_terms(alone.index, terms, 15, mask, threads) for threads in (None, pool)],
            ):
                assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    expected = [[hit.score for hit in alone.search(query, 15)] for query in queries]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda query: [hit.score for hit in several.search(query, 15)], queries))
    # A number next to 0 may change its sign.
    np.testing.assert_allclose(found, expected, atol=0.02 if storage == "binary" else 1e-4)


@QUIET
@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abcdefg")), max_size=80),
    st.lists(st.sampled_from("abcdefghi"), unique=True),
)
def test_postings_are_the_rows_that_have_a_key(pairs, asked):
    keys = sorted({key for _, key in pairs})
    postings = Postings.of(keys, [row for row, _ in pairs], [keys.index(key) for _, key in pairs], with_counts=True)
    for key in "abcdefghi":
        span = postings.span(hash_of(key))
        expected = sorted({row for row, other in pairs if other == key})
        assert postings.rows[span].tolist() == expected
        assert postings.counts[span].tolist() == [pairs.count((row, key)) for row in expected]
    any_of = {row for row, key in pairs if key in asked}
    assert set(postings.rows_of_any(hash_of(key) for key in asked).tolist()) == any_of


# --- filters -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_sample(sample, mesh, tmp_path_factory):
    """The sample's own files, parsed, beside its MeSH."""
    project = Project(tmp_path_factory.mktemp("sample-index"))
    (project.root / "results/mesh").symlink_to(mesh)
    for file in sorted((sample / "pubmed").glob("*/*.xml.gz")):
        name = file.name.removesuffix(".xml.gz")
        project.parse(file, name)
    project.index()
    return project


def test_headings_find_what_stands_below_them_and_nothing_else(of_sample, mesh):
    hierarchy = pl.read_parquet(mesh / "hierarchy.parquet")
    corpus = pl.read_parquet(of_sample.root / "results/corpus/current.parquet")
    headings = pl.concat(
        pl.read_parquet(of_sample.table("mesh_headings", name)).with_columns(file=pl.lit(name))
        for name in of_sample.names
    ).join(corpus, on=["pmid", "version", "file", "position"], how="semi")
    # One of the sample's citations has no text.
    without = {
        pmid
        for name in of_sample.names
        for pmid, *texts in pl.read_parquet(of_sample.table("articles", name))
        .select("pmid", "title", "abstract")
        .rows()
        if texts == [None, None]
    }
    assert len(without) == 1
    retriever = of_sample.retriever()

    def expected(ui):
        below = hierarchy.filter((pl.col("descriptor_ui") == ui) | pl.col("ancestors").list.contains(ui))
        return set(headings.filter(pl.col("descriptor_ui").is_in(below["descriptor_ui"].implode()))["pmid"]) - without

    neoplasms, heart = (
        hierarchy.filter(pl.col("name") == name)["descriptor_ui"][0] for name in ("Neoplasms", "Heart Diseases")
    )
    assert len(expected(neoplasms)) > 100
    found = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", headings=["neoplasms"])}
    assert found == expected(neoplasms)
    both = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", headings=["Neoplasms", heart])}
    assert both == expected(neoplasms) & expected(heart)
    assert 0 < len(both) < len(found)


def test_years_types_and_names_alone(tmp_path, mesh):
    project = Project(tmp_path)
    (tmp_path / "results/mesh").symlink_to(mesh)
    project.add(
        "pubmed26n0001",
        [
            citation(1, "one", year=1999, types=["Review", "Journal Article"]),
            citation(2, "two", year=2005, headings=[(None, "Atrial Fibrillation", True)]),
            citation(3, "three", year=None, types=["REVIEW"], headings=[("D001281", "Atrial Fibrillation", False)]),
            citation(4, "four", year=2005, types=[]),
            citation(5, None, None, year=2005),
        ],
    )
    project.index()
    retriever = project.retriever()

    def found(**filters):
        return sorted(hit.pmid for hit in retriever.search("x", 100, mode="dense", **filters))

    # The fifth has no text, and is found by nothing.
    assert found() == [1, 2, 3, 4]
    assert found(first_year=2000) == found(first_year=2005, last_year=2005) == [2, 4]
    assert found(last_year=2000) == [1]
    assert found(publication_types=["review"]) == [1, 3]
    assert found(publication_types=["Review", "Journal Article"]) == [1, 2, 3]
    # Files before 2015 give names alone; what stands above finds them, too.
    assert found(headings=["Atrial Fibrillation"]) == found(headings=["Heart Diseases"]) == [2, 3]
    assert found(headings=["Heart Diseases"], publication_types=["Review"], last_year=2000) == []


def test_the_last_filters_are_kept_and_no_more(project, monkeypatch):
    made = []
    monkeypatch.setattr(retriever_module, "mask_of", lambda *given: made.append(given[1]) or mask_of(*given))
    retriever = project.retriever()
    for _ in range(3):
        for year in range(2000, 2000 + MASKS_KEPT):
            hits = retriever.search("heart", 1000, mode="dense", first_year=year)
            assert all(hit.year >= year for hit in hits)
    assert len(made) == MASKS_KEPT
    for year in range(1990, 2020):
        retriever.search("heart", 1, first_year=year)
    assert len(retriever._masks) == MASKS_KEPT


# --- updates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_update_supersede_delete_and_re_add(tmp_path, storage):
    project = Project(tmp_path, storage)
    project.add("pubmed26n0001", [citation(n, f"old heart {n}", "serum " * n) for n in range(1, 31)])
    project.index()
    before = {name: project.shard(name).read_bytes() for name in project.names}
    project.add(
        "pubmed26n0002",
        [citation(3, "new stroke 3"), citation(4, "second heart 4", version=2), citation(40, "added lung 40")],
        deleted=[5, 6],
    )
    project.index()
    # The first file's part is as it was: nothing of it was encoded again.
    assert project.shard("pubmed26n0001").read_bytes() == before["pubmed26n0001"]
    retriever = project.retriever()

    def titles(query="heart", **options):
        return {
            hit.pmid: hit.title
            for mode in ("dense", "bm25")
            for hit in retriever.search(query, 1000, mode=mode, **options)
        }

    found = titles()
    assert found[3] == "new stroke 3"
    assert found[4] == "second heart 4"
    assert found[40] == "added lung 40"
    assert not {5, 6} & found.keys()
    assert len(found) == 29
    # As many as were asked for come, though the nearest are old versions.
    assert len(retriever.search("old heart", 29, mode="dense")) == 29
    with pytest.raises(BioHiCLError, match="PMID 5 is not among the current citations"):
        retriever.similar(5)
    project.add("pubmed26n0003", [citation(5, "again heart 5")], deleted=[3])
    project.index()
    retriever = project.retriever()
    found = titles()
    assert found[5] == "again heart 5"
    assert 3 not in found
    assert [hit.title for hit in retriever.search("again", 5, mode="bm25")] == ["again heart 5"]
    # Old words of a new record find nothing.
    assert 3 not in {hit.pmid for hit in retriever.search("stroke", 5, mode="bm25")}


@pytest.mark.parametrize("storage", STORAGES)
def test_files_that_only_delete(tmp_path, storage):
    project = Project(tmp_path, storage)
    project.add("pubmed26n0001", [], deleted=[77])
    project.add("pubmed26n0002", [citation(n, f"heart {n}") for n in range(1, 6)])
    project.add("pubmed26n0003", [], deleted=[1, 2])
    project.index()
    for mode in ("dense", "bm25", "hybrid"):
        assert {hit.pmid for hit in project.retriever().search("heart", 9, mode=mode)} == {3, 4, 5}
    assert {hit.pmid for hit in project.retriever().similar(3, 9, first_year=1990)} == {4, 5}
    project.add("pubmed26n0004", [], deleted=[3, 4, 5])
    project.index()
    retriever = project.retriever(threads=2)
    for mode in ("dense", "bm25", "hybrid"):
        assert retriever.search("heart", 9, mode=mode) == []


def test_what_is_alike_is_no_reason_to_encode(project, capfd):
    name = project.names[0]
    before = project.shard(name).stat().st_mtime_ns, project.shard(name).read_bytes()
    project.write_parts(name)
    assert "is there already, of the same model and texts; nothing is encoded" in capfd.readouterr().err
    assert project.shard(name).stat().st_mtime_ns > before[0]
    assert project.shard(name).read_bytes() == before[1]


def test_a_text_that_changed_is_encoded_again(tmp_path):
    project = Project(tmp_path)
    project.add("pubmed26n0001", [citation(1, "heart"), citation(2, "lung")])
    project.add("pubmed26n0001", [citation(1, "heart"), citation(2, "liver")])
    expected = Encoder(project.model, "cpu").encode_documents([("heart", ""), ("liver", "")])
    shard = Shard(project.shard("pubmed26n0001"))
    assert np.allclose([shard.vector(0), shard.vector(1)], expected, atol=1e-6)


def test_similar_leaves_the_citation_itself_out(project):
    retriever = project.retriever()
    (first,) = retriever.search("heart", 1)
    near = retriever.similar(first.pmid, 1000)
    assert first.pmid not in {hit.pmid for hit in near}
    assert len(near) == retriever.index.about["citations"] - 1
    assert retriever.citation(first.pmid).title == first.title


def test_an_open_index_goes_on_while_a_new_one_is_written(tmp_path):
    project = small_project(tmp_path, records=30)
    retriever = project.retriever()
    before = [hit.title for hit in retriever.search("heart", 5)]
    project.add("pubmed26n0009", [citation(9, "heart heart heart")])
    project.index()
    assert [hit.title for hit in retriever.search("heart", 5)] == before
    assert "heart heart heart" in [hit.title for hit in project.retriever().search("heart", 5, mode="bm25")]


# --- bad input ---------------------------------------------------------------------------------------------------


def test_an_index_of_another_model_is_refused(tmp_path):
    project = small_project(tmp_path, files=1)
    other = Project(tmp_path / "other", seed=1)
    with pytest.raises(BioHiCLError, match=r"index\.safetensors: was made by another model .* snakemake"):
        Retriever(project.folder, other.model)
    # Weights that a new training put there.
    (project.model / "model.safetensors").write_bytes((other.model / "model.safetensors").read_bytes())
    with pytest.raises(BioHiCLError, match="was made by another model"):
        project.retriever()
    with pytest.raises(BioHiCLError, match="was encoded by another model"):
        project.assemble()


def test_parts_made_anew_after_the_index_are_named(tmp_path, capfd):
    project = Project(tmp_path)
    project.add("pubmed26n0001", [citation(n, f"heart {n}") for n in range(1, 9)])
    project.index()
    project.retriever()
    assert "the corpus has changed" not in capfd.readouterr().err
    project.add("pubmed26n0001", [citation(n, f"heart {n}") for n in range(1, 10)])
    for mode, part in (("dense", "exact/pubmed26n0001.safetensors"), ("bm25", "pubmed26n0001.postings.safetensors")):
        with pytest.raises(BioHiCLError, match=f"{part}: was made anew after the index was"):
            project.retriever().search("heart", 3, mode=mode)
    corpus = tmp_path / "results/corpus/current.parquet"
    corpus.write_bytes(corpus.read_bytes() + b" ")
    project.retriever()
    assert "the corpus has changed since; what is new is found after: snakemake" in capfd.readouterr().err


def test_parts_of_different_issues_of_a_file_are_refused(tmp_path):
    project = Project(tmp_path)
    project.add("pubmed26n0001", [citation(n, f"heart {n}") for n in range(1, 9)])
    project.index()
    old = project.shard("pubmed26n0001").read_bytes()
    project.add("pubmed26n0001", [citation(n, f"heart {n}") for n in range(1, 10)])
    project.shard("pubmed26n0001").write_bytes(old)
    with pytest.raises(BioHiCLError, match="has 8 records, and .* 9: they are of different issues"):
        project.index()
    project.add("pubmed26n0001", [citation(n, f"heart {n}") for n in range(11, 20)])
    with pytest.raises(BioHiCLError, match=r"current\.parquet: does not fit pubmed26n0001"):
        project.assemble()
    corpus = pl.read_parquet(tmp_path / "results/corpus/current.parquet")
    write_parquet(corpus.with_columns(file=pl.lit("pubmed26n0007")), tmp_path / "results/corpus/current.parquet")
    with pytest.raises(BioHiCLError, match="has citations of pubmed26n0007, which has no shard"):
        project.assemble()


@pytest.mark.parametrize("harm", ["cut", "emptied", "noise", "gone", "header"])
@pytest.mark.parametrize("part", ["index", "shard", "postings", "records"])
def test_damaged_files_are_named(tmp_path, part, harm):
    project = small_project(tmp_path, files=1, records=20)
    texts = {"records": ".records.arrow", "postings": ".postings.safetensors"}
    file = {"index": project.folder / "index.safetensors", "shard": project.shard(project.names[0])}.get(part)
    file = file or project.root / "results/texts" / f"{project.names[0]}{texts[part]}"
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        contents = {
            "cut": whole[: len(whole) // 2],
            "emptied": b"",
            "noise": b"\x00" * 200,
            "header": b"\xff" * 16 + whole,
        }
        file.write_bytes(contents[harm])
    with pytest.raises(BioHiCLError, match=r"(no such file|damaged|cannot be read).*") as error:
        project.retriever().search("heart", 3)
    assert file.name in str(error.value)


@given(st.binary(max_size=200))
@QUIET
def test_any_bytes_are_a_file_of_tensors_or_an_error(tmp_path, content):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(BioHiCLError, match=r"x\.safetensors"):
        TensorFile(file)


HOSTILE = [
    "'; DROP TABLE articles; --",
    "<script>alert(1)</script>",
    "🫀🧬 👩‍⚕️",
    "سرطان الثدي وخطر الستاتين",
    "\x00\x1b[2J\u202eabc",
    "heart " * 800,
    "%s %n {0} ${x} `id`",
    "a",
]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("query", HOSTILE)
def test_any_query_is_a_query(project, query, mode):
    hits = project.retriever().search(query, 5, mode=mode)
    assert len(hits) == 5 or mode == "bm25"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"query": " \n"}, "the query is empty"),
        ({"query": "a" * 100_000}, "the query has 100,000 characters, and at most 5,000"),
        ({"query": None}, "the query is no text"),
        ({"query": "x", "headings": "Heart Diseases"}, r"a list of names is needed, such as \['Heart Diseases'\]"),
        ({"query": "x", "publication_types": "Review"}, r"a list of names is needed, such as \['Review'\]"),
        ({"query": "half \ud800"}, "half of a character"),
        ({"query": "x", "k": 0}, "0 citations are asked for"),
        ({"query": "x", "k": 100_000}, "from 1 to 1,000 can be given"),
        ({"query": "x", "mode": "magic"}, "choose among hybrid, dense, bm25"),
        ({"query": "x", "first_year": 2010, "last_year": 2000}, "no year is from 2010 to 2000"),
        ({"query": "x", "headings": ["Hart Diseases"]}, "did you mean 'Heart Diseases'"),
        ({"query": "x", "headings": ["y" * 9_999]}, "a heading of 9,999 characters"),
        ({"query": "x", "headings": [""]}, "is no UI"),
        ({"query": "x", "publication_types": ["Journal Artikle"]}, "did you mean 'Journal Article'"),
    ],
)
def test_what_cannot_be_answered_is_said(of_sample, words, said):
    with pytest.raises(BioHiCLError, match=said):
        of_sample.retriever().search(**words)
    assert LONGEST_QUERY == 5_000


def test_no_index_several_indexes_and_no_model(tmp_path, project):
    with pytest.raises(BioHiCLError, match="has no index; make one with: snakemake"):
        Retriever.of_project(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "results/index" / name).mkdir(parents=True)
        (tmp_path / "results/index" / name / "index.safetensors").write_bytes(
            (project.folder / "index.safetensors").read_bytes()
        )
    with pytest.raises(BioHiCLError, match=r"several indexes \(one, two\)"):
        Retriever.of_project(tmp_path)
    without = Retriever.of_project(tmp_path, "one")
    with pytest.raises(BioHiCLError, match=r"is not in .*: name its folder \(--model\), or search by words"):
        without.encode("heart")


# --- the command -------------------------------------------------------------------------------------------------


def test_search_as_a_command(of_sample, run_biohicl):
    first = run_biohicl("search", "heart failure", "-k", "3", "--device", "cpu", cwd=of_sample.root)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("https://pubmed.ncbi.nlm.nih.gov/9900") == 3
    words = ["--json", "--year", "2005-", "--heading", "heart diseases", "--index", of_sample.folder, "-k", "4"]
    hits = json.loads(run_biohicl("search", "heart failure", *words).stdout)
    assert len(hits) == 4
    assert all(hit["year"] >= 2005 and hit["link"].endswith(f"/{hit['pmid']}/") for hit in hits)
    assert {"descriptor_ui", "name", "major"} == set(hits[0]["headings"][0])
    near = json.loads(
        run_biohicl("search", "--like", str(hits[0]["pmid"]), "--json", "--index", of_sample.folder).stdout
    )
    assert hits[0]["pmid"] not in [hit["pmid"] for hit in near]


def test_the_readmes_lines_of_python(of_sample, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(from biohicl import Retriever\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    monkeypatch.chdir(of_sample.root)
    exec(compile(lines, "README.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5
    assert all(re.match(r"9900\d+ 20(1[5-9]|2\d) \S", line) for line in shown)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "the query is empty"),
        ([], "the query is empty"),
        (["x", "--year", "2010-2000"], "write 2000-2010"),
        (["x", "--year", "soon"], "neither a year nor a range"),
        (["x", "--heading", "Neoplasmz"], "did you mean 'Neoplasms'"),
        (["--like", "1"], "PMID 1 is not among"),
        (["heart", "--like", "1"], "--like goes without query"),
        (["--like", "1", "--mode", "bm25"], "--like goes without query"),
        (["x", "--index", "nowhere"], "nowhere/index.safetensors: no such file"),
    ],
)
def test_the_command_says_what_is_wrong(of_sample, run_biohicl, words, said):
    done = run_biohicl("search", *words, cwd=of_sample.root)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_shown_cannot_move_the_terminal(tmp_path, run_biohicl):
    project = Project(tmp_path)
    headings = [("D1", "a \x9b2J heading", False)]
    project.add("pubmed26n0001", [citation(1, "a \x1b[2J title\x07", "an \x9b31m abstract", headings=headings)])
    project.index()
    shown = run_biohicl("search", "title", "--abstracts", "--index", project.folder).stdout
    assert "title" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_shows_what_it_can(tmp_path, encoding):
    project = Project(tmp_path)
    project.add("pubmed26n0001", [citation(1, "naïve 東京 title")])
    project.index()
    command = ["search", "title", "--mode", "bm25", "--index", str(project.folder)]
    environment = {**clean_environment(), "PYTHONIOENCODING": encoding}
    for words in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-m", "biohicl", *command, *words], capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        shown = done.stdout.decode(encoding)
        if words:
            assert json.loads(shown)[0]["title"] == "naïve 東京 title"
        else:
            assert "naïve 東京 title".encode(encoding, "replace").decode(encoding) in shown


# --- real records ------------------------------------------------------------------------------------------------


def test_nlms_own_records_are_shown_and_filtered_as_they_are(shared, mesh, tmp_path):
    """Slices of three files: old headings with names alone, groups as authors, retractions, books."""
    project = Project(tmp_path)
    (tmp_path / "results/mesh").symlink_to(mesh)
    for place, noted in NOTED.items():
        name = place.rpartition("/")[2]
        source = slice_of(shared / f"data/nlm/pubmed/{place}.xml.gz", tmp_path / f"{name}.xml.gz", 300, noted)
        project.parse(source, name)
    project.index()
    retriever = project.retriever()
    corpus = pl.read_parquet(tmp_path / "results/corpus/current.parquet")
    checked = 0
    for name in project.names:
        articles = pl.read_parquet(project.table("articles", name))
        headings = pl.read_parquet(project.table("mesh_headings", name))
        of_file = corpus.filter(pl.col("file") == name)
        for record in articles.filter(pl.col("position").is_in(of_file["position"].implode())).iter_rows(named=True):
            if record["title"] is None and record["abstract"] is None:
                continue
            hit = retriever.citation(record["pmid"])
            assert (hit.title, hit.abstract) == (record["title"] or "", record["abstract"] or "")
            assert (hit.year, hit.doi, hit.retracted) == (record["year"], record["doi"], record["retracted"])
            authors = [author for author in record["authors"] if author["valid"] is not False]
            names = [author["last_name"] or author["collective_name"] or "" for author in authors]
            assert [last for last, _ in hit.authors] == names
            assert list(hit.publication_types) == [kind["name"] for kind in record["publication_types"]]
            own = headings.filter(pl.col("position") == record["position"])
            rows = own.select("descriptor_ui", "descriptor_name", "major").rows()
            assert sorted(hit.headings, key=str) == sorted(rows, key=str)
            checked += 1
    assert checked > 800
    assert retriever.index.about["citations"] == checked
    reviews = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", publication_types=["review"])}
    for pmid in reviews:
        assert "Review" in retriever.citation(pmid).publication_types
    assert len(reviews) == retriever.index.about["publication_types"]["Review"] > 10
