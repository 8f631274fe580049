"""Benchmarks, search and metrics: by hand, against trec_eval's own order, and against outside witnesses."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import read_benchmark
from biohicl.evaluation.evaluate import evaluate
from biohicl.evaluation.metrics import per_query, spearman
from biohicl.evaluation.retrieval import bm25_run, dense_run

NAN = float("nan")


def folder(tmp_path, corpus, queries, qrels):
    (tmp_path / "qrels").mkdir(parents=True)
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (tmp_path / "qrels/test.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_metrics_of_a_toy_benchmark_by_hand():
    qrels = {"q1": {"a": 2, "b": 1, "z": 0}, "q2": {"c": 1}, "q3": {"a": 1}}
    run = {"q1": [("z", 3.0), ("b", 2.0), ("a", 1.0)], "q2": [("c", 0.1)], "q3": []}
    values = per_query(run, qrels)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["nDCG@10"]["q1"] == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert values["nDCG@10"]["q2"] == 1
    assert values["nDCG@10"]["q3"] == 0
    assert values["Recall@100"] == {"q1": 1, "q2": 1, "q3": 0}


def test_the_eleventh_document_counts_for_recall_only():
    run = {"q": [(f"d{n:02d}", 20.0 - n) for n in range(12)]}
    values = per_query(run, {"q": {"d10": 1}})
    assert (values["nDCG@10"]["q"], values["Recall@100"]["q"]) == (0, 1)


def by_sorting(scores, ids, query, depth):
    """trec_eval's order: falling score, then falling id; the query's own document left out."""
    pairs = sorted(((float(s), i.encode()) for s, i in zip(scores, ids, strict=True) if i != query), reverse=True)
    return [(i.decode(), s) for s, i in pairs[:depth]]


@settings(max_examples=200, deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30),
    depth=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_ties_are_cut_and_ordered_as_trec_eval_does(scores, depth, order):
    ids = [f"d{n}" for n in range(len(scores))]
    order.shuffle(ids)
    vectors = np.array(scores, dtype=np.float32)[:, None]
    run = dense_run(["d3", "q"], np.ones((2, 1), dtype=np.float32), ids, vectors, depth)
    for query in ("d3", "q"):
        assert run[query] == by_sorting(scores, ids, query, depth)


def test_blocks_of_queries_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    queries, documents = (random.standard_normal((n, 8)).astype(np.float32) for n in (17, 40))
    ids = [f"d{n}" for n in range(40)]
    names = [f"q{n}" for n in range(17)]
    whole = dense_run(names, queries, ids, documents, 10)
    monkeypatch.setattr("biohicl.evaluation.retrieval.BLOCK_BYTES", 4 * 40 * 3)
    parts = dense_run(names, queries, ids, documents, 10)
    assert {q: [d for d, _ in run] for q, run in whole.items()} == {q: [d for d, _ in run] for q, run in parts.items()}


def test_bm25_stems_skips_stop_words_and_leaves_out_what_shares_no_term():
    documents = {"1": "Patients treated with statins", "2": "The cats of the house", "3": "A statin trial"}
    run = bm25_run({"q": "treating by statin", "r": "the of", "s": "zebra"}, documents, {"k1": 1.5, "b": 0.75}, 10)
    assert [d for d, _ in run["q"]] == ["1", "3"]
    assert (run["r"], run["s"]) == ([], [])


def test_bm25_equals_lucenes_formula():
    documents = {"1": "alpha beta beta", "2": "alpha gamma", "3": "gamma delta epsilon zeta"}
    run = dict(bm25_run({"q": "beta gamma"}, documents, {"k1": 1.2, "b": 0.6}, 10)["q"])

    def score(frequency, length, containing):
        inverse = math.log(1 + (3 - containing + 0.5) / (containing + 0.5))
        return inverse * frequency / (frequency + 1.2 * (1 - 0.6 + 0.6 * length / 3))

    assert run == pytest.approx({"1": score(2, 3, 1), "2": score(1, 2, 2), "3": score(1, 4, 2)}, rel=1e-5)


def test_spearman_gives_ties_their_mean_rank():
    assert spearman([1, 2, 2, 4], [10, 20, 30, 40]) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1])
    with pytest.raises(BioHiCLError, match="not defined"):
        spearman([1, 1], [1, 2])


def test_evaluation_writes_runs_that_give_its_numbers_again(finished):
    import pytrec_eval

    place = finished.folder / "results/evaluation/default/sample-retrieval"
    run = {}
    for query, document, rank, score in pl.read_parquet(place / "run.parquet").iter_rows():
        run.setdefault(query, {})[document] = score
        assert rank == len(run[query])
    qrels = {}
    for line in (finished.folder / "resources/benchmarks/sample-retrieval/qrels/test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    mean = sum(value["ndcg_cut_10"] for value in values.values()) / len(qrels)
    metrics = pl.read_parquet(place / "metrics.parquet")
    assert metrics.filter(metric="nDCG@10")["value"][0] == pytest.approx(mean, abs=1e-9)
    assert metrics["n"].to_list() == [len(qrels)] * 2
    kept = pl.read_parquet(place / "per_query.parquet").filter(metric="nDCG@10")
    assert kept["value"].mean() == pytest.approx(mean, abs=1e-9)


def test_embeddings_and_score_equal_sentence_transformers(shared, tmp_path):
    """A slice of SciFact: 300 documents that hold all the relevant ones of its first queries."""
    from sentence_transformers import SentenceTransformer

    source = shared / "data/benchmarks/scifact"
    judged = [line.split("\t") for line in (source / "qrels/test.tsv").read_text().splitlines()[1:]][:25]
    wanted = {document for _, document, _ in judged}
    lines = [json.loads(line) for line in (source / "corpus.jsonl").read_text().splitlines()]
    corpus = [d for d in lines if d["_id"] in wanted] + [d for d in lines if d["_id"] not in wanted]
    names = {query for query, _, _ in judged}
    queries = [q for q in map(json.loads, (source / "queries.jsonl").read_text().splitlines()) if q["_id"] in names]
    small = folder(tmp_path / "slice", corpus[:300], queries, judged)
    model = shared / "encoders/all-MiniLM-L6-v2"
    rows = evaluate(str(model), small, tmp_path / "out", device="cpu")

    witness = SentenceTransformer(str(model), device="cpu", local_files_only=True)
    documents = witness.encode([f"{d['title']} {d['text']}".strip() for d in corpus[:300]], normalize_embeddings=True)
    scores = witness.encode([q["text"] for q in queries], normalize_embeddings=True) @ documents.T
    run = {
        q["_id"]: [(corpus[i]["_id"], float(row[i])) for i in np.argsort(-row)]
        for q, row in zip(queries, scores, strict=True)
    }
    qrels = {}
    for query, document, grade in judged:
        qrels.setdefault(query, {})[document] = int(grade)
    expected = np.mean(list(per_query(run, qrels)["nDCG@10"].values()))
    assert rows[0]["value"] == pytest.approx(expected, abs=1e-4)


BAD = {
    "empty folder": (lambda f: None, "holds no benchmark"),
    "no such split": (
        lambda f: folder(f / "x", [{"_id": "1", "text": "t"}], [], [("q", "1", 1)]),
        "no such split; it has test",
    ),
    "broken line": (lambda f: _pairs(f, '{"sentence1": "a",'), r"pairs.jsonl, line 2: not valid JSON"),
    "no score": (lambda f: _pairs(f, '{"sentence1": "a", "sentence2": "b", "score": "4"}'), r"line 2: 'score' is '4'"),
    "score not finite": (
        lambda f: _pairs(f, '{"sentence1": "a", "sentence2": "b", "score": NaN}'),
        "line 2: 'score' is nan",
    ),
    "no sentence": (lambda f: _pairs(f, '{"sentence1": "a", "score": 4}'), r"line 2: 'sentence2' is None"),
    "one pair": (lambda f: _pairs(f, ""), "holds 1 pairs"),
    "not utf-8": (lambda f: (f / "pairs.jsonl").write_bytes(b'{"sentence1": "\xff"}'), "not UTF-8 at byte 15"),
    "document twice": (
        lambda f: folder(f / "y", [{"_id": "1", "text": "t"}] * 2, [{"_id": "q", "text": "t"}], [("q", "1", 1)]),
        "corpus.jsonl, line 2: the document id '1' stands there twice",
    ),
    "unknown query": (
        lambda f: folder(f / "z", [{"_id": "1", "text": "t"}], [{"_id": "q", "text": "t"}], [("p", "1", 1)]),
        "judges the query 'p'",
    ),
    "grade not a number": (
        lambda f: folder(f / "w", [{"_id": "1", "text": "t"}], [{"_id": "q", "text": "t"}], [("q", "1", "yes")]),
        r"test.tsv, line 2: .*found 'q\\t1\\tyes'",
    ),
}


def _pairs(path, line):
    good = '{"sentence1": "a", "sentence2": "b", "score": 1.5}'
    (path / "pairs.jsonl").write_text(f"{good}\n{line}\n")


@pytest.mark.parametrize("fault", BAD)
def test_wrong_benchmarks_are_errors_that_name_the_place(tmp_path, fault):
    make, said = BAD[fault]
    place = make(tmp_path)
    with pytest.raises(BioHiCLError, match=said):
        read_benchmark(place if hasattr(place, "is_dir") else tmp_path, "dev" if fault == "no such split" else "test")


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
    assert set(answer["metrics"]) == {"nDCG@10", "Recall@100"}
    assert (tmp_path / "out/run.parquet").is_file()
    missing = run_biohicl(
        "evaluate", tmp_path / "nothing", sample / "benchmarks/sample-pairs", "--output", tmp_path / "o"
    )
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "no such model folder" in missing.stderr
