"""Search, metrics and what is made of runs: by hand, against plain sorting, and against outside witnesses."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_folders import simple_folder
from biohicl.encoder.vectors import UnitRows
from biohicl.errors import BioHiCLError
from biohicl.evaluation import retrieval
from biohicl.evaluation.benchmarks import read_benchmark
from biohicl.evaluation.compression import Compression, compressed_runs, nearest_bfloat16, signs, stored_as
from biohicl.evaluation.evaluate import Naming, evaluate, evaluate_hybrid, write_run_scores
from biohicl.evaluation.fusion import joint, read_run, tune
from biohicl.evaluation.metrics import per_query
from biohicl.evaluation.retrieval import bm25_runs, both_ways, dense_runs, ranked, with_own, without_own
from biohicl.evaluation.significance import Spearman, value_of


def whole(runs):
    """Blocks of runs as one."""
    return {query: pairs for run in runs for query, pairs in run.items()}


def dense_run(query_ids, queries, document_ids, documents, depth):
    return without_own(whole(dense_runs(query_ids, queries, document_ids, documents, depth)), depth)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_of_a_toy_benchmark_by_hand():
    qrels = {"q1": {"a": 2, "b": 1, "z": 0}, "q2": {"c": 1}, "q3": {"a": 1}}
    run = {"q1": [("z", 3.0), ("b", 2.0), ("a", 1.0)], "q2": [("c", 0.1)], "q3": []}
    values = per_query(run, qrels)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["nDCG@10"]["q1"] == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert values["MAP"]["q1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert values["MRR@10"]["q1"] == values["MRR"]["q1"] == 0.5
    assert values["Recall@1"] == {"q1": 0, "q2": 1, "q3": 0}
    assert values["Recall@100"] == {"q1": 1, "q2": 1, "q3": 0}
    assert {metric: of_query["q2"] for metric, of_query in values.items()} == dict.fromkeys(values, 1)
    assert {metric: of_query["q3"] for metric, of_query in values.items()} == dict.fromkeys(values, 0)


def test_each_metric_has_its_depth():
    run = {"q": [(f"d{n:03d}", 200.0 - n) for n in range(120)]}
    at = {
        rank: {metric: of["q"] for metric, of in per_query(run, {"q": {f"d{rank - 1:03d}": 1}}).items()}
        for rank in (1, 2, 10, 11, 101)
    }
    assert at[2]["Recall@1"] == 0 < at[1]["Recall@1"]
    assert (at[10]["nDCG@10"], at[10]["MRR@10"]) == pytest.approx((1 / math.log2(11), 0.1))
    assert (at[11]["nDCG@10"], at[11]["MRR@10"], at[11]["Recall@100"]) == (0, 0, 1)
    assert (at[11]["MRR"], at[11]["MAP"]) == pytest.approx((1 / 11, 1 / 11))
    assert (at[101]["Recall@100"], at[101]["MRR"]) == pytest.approx((0, 1 / 101))


def test_a_query_without_a_relevant_document_scores_nothing_and_counts():
    values = per_query({"q": [("a", 1.0)], "r": [("a", 1.0)]}, {"q": {"a": 1}, "r": {"a": 0}})
    assert {metric: of["r"] for metric, of in values.items()} == dict.fromkeys(values, 0)
    assert set(values["MAP"]) == {"q", "r"}


def test_ties_are_scored_in_the_order_of_the_run():
    """pytrec_eval orders equal scores by falling id, as our runs do, whatever order it is given."""
    run = {"q": ranked({"a": 0.5, "b": 0.5, "c": 0.5}, 3)}
    assert [document for document, _ in run["q"]] == ["c", "b", "a"]
    assert per_query(run, {"q": {"c": 1}})["MRR"]["q"] == 1
    assert per_query({"q": run["q"][::-1]}, {"q": {"c": 1}})["MRR"]["q"] == 1


# --- search -----------------------------------------------------------------------------------------------------------


def by_sorting(scores, ids, query, depth):
    """trec_eval's order: falling score, then falling id; the query's own document left out."""
    pairs = sorted(((float(s), i.encode()) for s, i in zip(scores, ids, strict=True) if i != query), reverse=True)
    return [(i.decode(), s) for s, i in pairs[:depth]]


@settings(max_examples=200, deadline=None)
@given(
    scores=st.lists(st.sampled_from([-0.5, -0.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30),
    depth=st.integers(1, 12),
    block=st.integers(1, 7),
    order=st.randoms(use_true_random=False),
)
def test_ties_are_cut_and_ordered_as_trec_eval_does(scores, depth, block, order):
    """Whatever the order of the corpus, and in however many blocks it is searched."""
    ids = [f"d{n}" for n in range(len(scores))]
    order.shuffle(ids)
    vectors = np.array(scores, dtype=np.float32)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK_VECTORS_BYTES", 4 * block)
        run = dense_run(["d3", "q"], np.ones((2, 1), dtype=np.float32), ids, vectors, depth)
    for query in ("d3", "q"):
        assert run[query] == by_sorting(scores, ids, query, depth)


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    queries, documents = (random.standard_normal((n, 8)).astype(np.float32) for n in (17, 400))
    ids, names = [f"d{n}" for n in range(400)], [f"q{n}" for n in range(17)]
    at_once = dense_run(names, queries, ids, documents, 10)
    monkeypatch.setattr(retrieval, "BLOCK_KEYS_BYTES", 8 * 5 * 37)
    monkeypatch.setattr(retrieval, "QUERIES_OF_A_BLOCK", 5)
    parts = dense_run(names, queries, ids, documents, 10)
    assert {q: [d for d, _ in run] for q, run in at_once.items()} == {
        q: [d for d, _ in run] for q, run in parts.items()
    }


def test_search_reads_a_large_corpus_from_its_file_block_by_block(tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((5000, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", vectors)
    asked = []

    class Rows:
        shape = vectors.shape

        def __len__(self):
            return len(vectors)

        def __getitem__(self, rows):
            found = np.load(tmp_path / "x.npy", mmap_mode="r")[rows]
            asked.append(len(found))
            return found

    monkeypatch.setattr(retrieval, "BLOCK_VECTORS_BYTES", 4 * 16 * 700)
    ids = [str(n) for n in range(5000)]
    found = dense_run(["q"], vectors[:1], ids, Rows(), 5)
    assert found == dense_run(["q"], vectors[:1], ids, vectors, 5)
    assert max(asked) == 700
    assert sum(asked) == 5000


def test_vectors_of_two_models_do_not_go_together():
    with pytest.raises(BioHiCLError, match="queries have 3 dimensions and documents 4: they were encoded by different"):
        next(dense_runs(["q"], np.ones((1, 3), np.float32), ["d"], np.ones((1, 4), np.float32), 1))


def test_unit_rows_are_cosines_and_zero_stays():
    rows = UnitRows(np.array([[3, 4], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(rows[0:2], [[0.6, 0.8], [0, 0]], atol=1e-7)


def test_the_own_document_is_dropped_or_kept():
    vectors = np.array([[1.0], [0.9], [0.8], [0.7]], dtype=np.float32)
    (run,) = dense_runs(["a", "x"], np.ones((2, 1), np.float32), ["a", "b", "c", "d"], vectors, 2)
    assert [d for d, _ in without_own(run, 2)["a"]] == ["b", "c"]
    assert [d for d, _ in with_own(run, 2)["a"]] == ["a", "b"]
    assert without_own(run, 2)["x"] == with_own(run, 2)["x"]


def test_both_ways_are_scored_where_they_differ(tmp_path):
    folder = simple_folder(tmp_path / "x", {"1": "a", "2": "b"}, {"1": "a", "q": "b"}, [("1", "2", 1), ("q", "2", 1)])
    content = read_benchmark(folder)
    run = {"1": [("1", 1.0), ("2", 0.5)], "q": [("2", 1.0), ("1", 0.2)]}
    naming = Naming("s", "x", "test", "test")
    for own, other, value in (("dropped", "kept", 1.0), ("kept", "dropped", 0.75)):
        rows = write_run_scores(both_ways([run], 10), content, naming, tmp_path / own, own)
        told = {(row["condition"], row["metric"]): row for row in rows}
        assert told["headline", "MRR@10"]["value"] == value
        assert told["headline", "MRR@10"]["own_document"] == own
        assert told[f"own document {other}", "MRR@10"]["value"] == 1.75 - value
        assert told[f"own document {other}", "MRR@10"]["own_document"] == other
        kept = pl.read_parquet(tmp_path / own / "run.parquet").filter(query_id="1")
        runs = {condition: kept.filter(condition=condition)["document_id"].to_list() for condition in kept["condition"]}
        ways = {"dropped": ["2"], "kept": ["1", "2"]}
        assert runs == {"headline": ways[own], f"own document {other}": ways[other]}
        assert read_run(tmp_path / own / "run.parquet")["1"] == [pair for pair in run["1"] if pair[0] in ways[own]]
        trec = (tmp_path / own / "run.trec").read_text().splitlines()
        assert [line.split()[2] for line in trec if line.startswith("1 ")] == ways[own]
    rows = write_run_scores(
        both_ways([{"q": run["q"]}], 10),
        read_benchmark(simple_folder(tmp_path / "y", {"1": "a", "2": "b"}, {"q": "b"}, [("q", "2", 1)])),
        naming,
        tmp_path / "z",
    )
    assert {(row["condition"], row["own_document"]) for row in rows} == {("headline", None)}


@pytest.mark.parametrize("own", ["dropped", "kept"])
def test_a_hybrid_is_joined_either_way(tmp_path, own):
    """Ranks of the joint run follow from runs that both have, or both lack, the query's own document."""
    folder = simple_folder(
        tmp_path / "x", {"1": "a", "2": "b", "3": "c"}, {"1": "a", "q": "b"}, [("1", "2", 1), ("q", "3", 1)]
    )
    content, naming = read_benchmark(folder), Naming("s", "x", "test", "test")
    dense = {"1": [("1", 1.0), ("3", 0.9), ("2", 0.3)], "q": [("2", 1.0), ("3", 0.2)]}
    lexical = {"1": [("1", 9.0), ("2", 4.0)], "q": [("3", 7.0)]}
    for name, run in (("dense", dense), ("lexical", lexical)):
        write_run_scores(both_ways([run], 10), content, naming, tmp_path / name, own)
    (tmp_path / "tuned.json").write_text('{"convex": {"parameter": 0.25}}')
    files = (tmp_path / name / "run.parquet" for name in ("dense", "lexical"))
    rows = evaluate_hybrid(*files, tmp_path / "tuned.json", "convex", folder, tmp_path / "joint", naming, 10, own)
    names = {"dropped": "own document dropped", "kept": "own document kept"} | {own: "headline"}
    # Kept: 1 has 0.25 + 0.75, 3 has 0.25 x 6/7, 2 nothing. Dropped: 3 is the best dense one, 2 the only lexical one.
    wanted = {"kept": {"1": 1.0, "3": 0.25 * 6 / 7, "2": 0.0}, "dropped": {"2": 0.75, "3": 0.25}}
    for way, condition in names.items():
        assert dict(read_run(tmp_path / "joint/run.parquet", condition)["1"]) == pytest.approx(wanted[way], abs=1e-6)
        found = next(row for row in rows if (row["condition"], row["metric"]) == (condition, "MRR@10"))
        assert found["value"] == pytest.approx(((1 if way == "dropped" else 1 / 3) + 1) / 2)
        assert found["own_document"] == way


def test_bm25_stems_skips_stop_words_and_leaves_out_what_shares_no_term():
    texts = ["Patients treated with statins", "The cats of the house", "A statin trial"]
    queries = {"q": "treating by statin", "r": "the of", "s": "zebra"}
    run = whole(bm25_runs(queries, ["1", "2", "3"], texts, {"k1": 1.5, "b": 0.75}, 10))
    assert [d for d, _ in run["q"]] == ["1", "3"]
    assert (run["r"], run["s"]) == ([], [])
    assert whole(bm25_runs({"q": "zebra"}, ["1"], ["the of"], {"k1": 1.5, "b": 0.75}, 10)) == {"q": []}


def test_bm25_equals_lucenes_formula():
    texts = ["alpha beta beta", "alpha gamma", "gamma delta epsilon zeta"]
    run = dict(whole(bm25_runs({"q": "beta gamma"}, ["1", "2", "3"], texts, {"k1": 1.2, "b": 0.6}, 10))["q"])

    def score(frequency, length, containing):
        inverse = math.log(1 + (3 - containing + 0.5) / (containing + 0.5))
        return inverse * frequency / (frequency + 1.2 * (1 - 0.6 + 0.6 * length / 3))

    assert run == pytest.approx({"1": score(2, 3, 1), "2": score(1, 2, 2), "3": score(1, 4, 2)}, rel=1e-5)


def test_spearman_gives_ties_their_mean_rank():
    wanted = [10, 20, 30, 40]
    assert value_of(Spearman(wanted), [1, 2, 2, 4]) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1])


# --- hybrids ----------------------------------------------------------------------------------------------------------

DENSE, LEXICAL = [("a", 0.9), ("b", 0.7), ("c", 0.5)], [("c", 12.0), ("d", 8.0)]


def test_reciprocal_ranks_by_hand():
    found = joint(DENSE, LEXICAL, "rrf", 60)
    assert found == pytest.approx({"a": 1 / 61, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 62})


def test_convex_scores_by_hand():
    assert joint(DENSE, LEXICAL, "convex", 0.25) == pytest.approx({"a": 0.25, "b": 0.125, "c": 0.75, "d": 0.0})
    # Where all are alike each is the best, and what has nothing gets nothing.
    assert joint([("a", 0.5), ("b", 0.5)], [], "convex", 0.5) == {"a": 0.5, "b": 0.5}


def test_the_parameter_is_chosen_on_the_queries_it_is_given(tmp_path):
    """ "one" is the best of one side and far down the other, "both" stands third on both: which of them is relevant
    says how steep the ranks have to count, and which side."""
    rest = [(f"d{n}", 0.4 - n / 100) for n in range(20)]
    top = [("one", 1.0), ("d20", 0.9), ("both", 0.5), *rest]
    down = [("x", 1.0), ("d21", 0.9), ("both", 0.9 - 1e-6), *rest, ("one", 0.0)]
    for name, pairs in (("top", top), ("down", down)):
        rows = [{"query_id": "q", "condition": "headline", "document_id": d, "score": s} for d, s in pairs]
        pl.DataFrame(rows).write_parquet(tmp_path / f"{name}.parquet")
    assert read_run(tmp_path / "top.parquet") == {"q": top}

    def chosen(dense, lexical, relevant):
        files = tmp_path / f"{dense}.parquet", tmp_path / f"{lexical}.parquet"
        found = tune({"a": files}, {"a": {"q": {relevant: 1}}}, 30)
        for row in found.values():
            assert row["tuned_on"] == ["a"]
            best = max(tried["mean"] for tried in row["tried"])
            assert row["parameter"] == next(tried["parameter"] for tried in row["tried"] if tried["mean"] == best)
        return {method: row["parameter"] for method, row in found.items()}

    # 1 / (k + 1) + 1 / (k + 24) is above 2 / (k + 3) for k = 1 alone of the grid; a above 0.37 a + 0.9 (1 - a), where 0.37
    # is the place of 0.5 between 0.21 and 1, from 0.6 on.
    assert chosen("top", "down", "one") == {"rrf": 1, "convex": 0.6}
    # What both know is first from k = 2 on, and while the other side weighs the more: not at 0, where "x" is.
    assert chosen("top", "down", "both")["rrf"] == 2
    assert chosen("down", "top", "one")["convex"] == 0.0


def test_without_development_queries_the_usual_parameters_are_taken():
    assert {name: (row["parameter"], row["tuned_on"]) for name, row in tune({}, {}, 10).items()} == {
        "rrf": (60, []),
        "convex": (0.5, []),
    }


# --- smaller embeddings -----------------------------------------------------------------------------------------------


def vectors_of(count, width, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compressed(how, depth=10, documents=300, width=64):
    queries, corpus = vectors_of(20, width, 1), vectors_of(documents, width)
    ids, names = [f"d{n:03d}" for n in range(documents)], [f"q{n}" for n in range(20)]
    return whole(compressed_runs(names, queries, ids, corpus, how, depth, unit=True)), queries, corpus


def test_bfloat16_is_torchs():
    torch = pytest.importorskip("torch")
    values = np.concatenate([vectors_of(50, 40).ravel(), np.float32([0, -0.0, 1, 3e38, 1e-40])])
    theirs = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(nearest_bfloat16(values), theirs)


def test_int8_is_half_a_step_away_at_most():
    corpus = vectors_of(300, 16)
    corpus[:, 3] = 0.25
    stored = stored_as("int8", corpus)(corpus)
    step = (corpus.max(axis=0) - corpus.min(axis=0)) / 255
    assert (np.abs(stored - corpus) <= step / 2 + 1e-6).all()
    assert max(len(np.unique(stored[:, dimension])) for dimension in range(16)) <= 256
    np.testing.assert_allclose(stored[:, 3], 0.25, atol=1e-7)


def test_binary_counts_equal_signs():
    run, queries, corpus = compressed(Compression(precision="binary"))
    for row, pairs in enumerate(run.values()):
        agree = (np.sign(queries[row]) == np.sign(corpus)).sum(axis=1)
        assert [score for _, score in pairs] == sorted((2 * agree - 64).tolist(), reverse=True)[: len(pairs)]


def test_rescoring_with_enough_documents_is_the_finer_search():
    """Binary, with all scored again by int8, is int8; and some scored again lie between the two."""
    all_again, *_ = compressed(Compression(precision="binary", rescore=300))
    int8, *_ = compressed(Compression(precision="int8"))
    for query, pairs in int8.items():
        assert [d for d, _ in all_again[query][:10]] == [d for d, _ in pairs[:10]]
    binary, some = (compressed(Compression(precision="binary", rescore=count))[0] for count in (0, 40))
    truth, *_ = compressed(Compression())

    def kept(run):
        return sum(len({d for d, _ in run[q][:10]} & {d for d, _ in pairs[:10]}) for q, pairs in truth.items())

    assert kept(binary) < kept(some) <= kept(all_again)
    assert all([s for _, s in pairs] == sorted((s for _, s in pairs), reverse=True) for pairs in some.values())


def test_fewer_dimensions_are_compared_by_cosine_again():
    run, queries, corpus = compressed(Compression(dimensions=8))
    cut = corpus[:, :8] / np.linalg.norm(corpus[:, :8], axis=1, keepdims=True)
    for row, pairs in enumerate(run.values()):
        cosines = cut @ (queries[row, :8] / np.linalg.norm(queries[row, :8]))
        assert [d for d, _ in pairs[:5]] == [f"d{n:03d}" for n in np.argsort(-cosines)[:5]]
    with pytest.raises(BioHiCLError, match="65 dimensions are wanted of vectors that have 64"):
        compressed(Compression(dimensions=65))


def test_bytes_of_an_index():
    assert Compression().index_bytes(384) == 1536
    assert Compression(dimensions=128).index_bytes(384) == 512
    assert Compression(precision="bfloat16").index_bytes(384) == 768
    assert Compression(precision="int8").index_bytes(384) == 384
    assert Compression(precision="binary").index_bytes(384) == 48
    assert Compression(precision="binary", rescore=100).index_bytes(384) == 48 + 384
    assert Compression(precision="int8", rescore=100).index_bytes(384) == 384 + 1536
    assert signs(np.float32([[0.5, -2, 0]])).tolist() == [[1, -1, -1]]


# --- evaluations ------------------------------------------------------------------------------------------------------


def test_evaluation_writes_runs_that_give_its_numbers_again(finished):
    import pytrec_eval

    place = finished.folder / "results/evaluation/default/sample-retrieval"
    run = {}
    for query, condition, document, rank, score in pl.read_parquet(place / "run.parquet").iter_rows():
        assert condition == "headline"
        run.setdefault(query, {})[document] = score
        assert rank == len(run[query])
    qrels = {}
    for line in (
        (finished.folder / "resources/sample/benchmarks/sample-retrieval/qrels/test.tsv").read_text().splitlines()[1:]
    ):
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    mean = sum(value["ndcg_cut_10"] for value in values.values()) / len(qrels)
    metrics = pl.read_parquet(place / "metrics.parquet")
    assert metrics.filter(metric="nDCG@10")["value"][0] == pytest.approx(mean, abs=1e-9)
    assert set(metrics["n"]) == {len(qrels)}
    assert set(metrics["pool"]) == {500}
    trec = {}
    for line in (place / "run.trec").read_text().splitlines():
        query, _, document, rank, score, system = line.split()
        trec.setdefault(query, {})[document] = float(np.float32(score))
        assert (int(rank), system) == (len(trec[query]), "default")
    assert trec == run
    kept = pl.read_parquet(place / "per_query.parquet").filter(metric="nDCG@10")
    assert kept["value"].mean() == pytest.approx(mean, abs=1e-9)


def test_bm25_has_no_similarity_of_two_sentences(sample, tmp_path):
    with pytest.raises(BioHiCLError, match="it gives no similarity"):
        evaluate("bm25", sample / "benchmarks/sample-pairs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_metrics(sample, tmp_path, run_biohicl):
    done = run_biohicl(
        "evaluate", "bm25", sample / "benchmarks/sample-retrieval", "--output", tmp_path / "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["system"] == "bm25"
    assert set(answer["metrics"]) == {"nDCG@10", "Recall@1", "Recall@100", "MRR@10", "MRR", "MAP"}
    assert answer["pool"] == 500
    assert (tmp_path / "out/run.parquet").is_file()
    missing = run_biohicl(
        "evaluate", tmp_path / "nothing", sample / "benchmarks/sample-pairs", "--output", tmp_path / "o"
    )
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "no such model folder" in missing.stderr
