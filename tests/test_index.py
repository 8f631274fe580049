"""The index: what its parts hold, what updates leave of it, and parts that are damaged or do not belong together."""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biohicl.encoder.embed import Encoder
from biohicl.errors import BioHiCLError
from biohicl.search import STORAGES
from biohicl.search.postings import Postings, hash_of, hashes_of
from biohicl.search.retriever import Retriever
from biohicl.search.shards import Shard, stored
from biohicl.search.tensors import TensorFile, write_tensors
from biohicl.storage import write_parquet
from search_index import Project, citation, small_project

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return small_project(tmp_path_factory.mktemp("index"))


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
    assert set(postings.rows_of_any(hashes_of(asked)).tolist()) == any_of


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
