"""mteb and sentence-transformers on the same folders and models, offline: the same scores, and the same embeddings."""

import json

import numpy as np
import polars as pl
import pytest

from benchmark_folders import slice_of_beir
from biohicl.encoder.embed import Encoder
from biohicl.evaluation.evaluate import evaluate
from mteb_witness import mteb_scores, mteb_sts

# mteb's name, and how many digits it keeps (MRR as it is).
THEIRS = {"nDCG@10": "ndcg_at_10", "Recall@100": "recall_at_100", "MRR@10": "mrr_at_10", "MAP": "map_at_1000"}


def agrees_with_mteb(folder, model, output):
    """Our rows, after comparing every metric, every query's nDCG@10 and the scores of each run with mteb's."""
    rows = {row["metric"]: row["value"] for row in evaluate(str(model), folder, output, device="cpu")}
    witness = mteb_scores(folder, model)
    for ours, theirs in THEIRS.items():
        assert rows[ours] == pytest.approx(witness["scores"][theirs], abs=1e-4), ours
    values = pl.read_parquet(output / "per_query.parquet").filter(metric="nDCG@10", condition="headline")
    assert values.height == len(witness["per_query"])
    for query, value in values.select("query_id", "value").iter_rows():
        assert value == pytest.approx(witness["per_query"][query]["ndcg_cut_10"], abs=1e-4), query
    run = pl.read_parquet(output / "run.parquet").filter(pl.col("rank") <= 100)
    found = run.filter(condition="headline").select("query_id", "document_id", "score").iter_rows()
    gaps = [abs(score - witness["run"][query][document]) for query, document, score in found]
    assert max(gaps) < 1e-5
    return rows


@pytest.mark.long(40)
def test_a_slice_of_scifact(shared, tmp_path):
    """300 documents that hold all the relevant ones of the first queries, and embeddings of 60 of them."""
    from sentence_transformers import SentenceTransformer

    model = shared / "encoders/all-MiniLM-L6-v2"
    folder = slice_of_beir(shared / "data/benchmarks/scifact", tmp_path / "slice", queries=25, documents=300)
    rows = agrees_with_mteb(folder, model, tmp_path / "out")
    assert 0.9 < rows["nDCG@10"] < 1

    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()][:60]
    pairs = [(document["title"], document["text"]) for document in documents]
    witness = SentenceTransformer(str(model), device="cpu", local_files_only=True)
    theirs = witness.encode([f"{title} {text}".strip() for title, text in pairs], normalize_embeddings=True)
    np.testing.assert_allclose(Encoder(model, "cpu").encode_documents(pairs), theirs, atol=1e-5)
    kept = np.load(tmp_path / "out/vectors/documents.npy")[:60]
    np.testing.assert_allclose(kept, theirs, atol=1e-5)


@pytest.mark.long(13)
def test_biosses(shared, tmp_path):
    model, folder = shared / "encoders/all-MiniLM-L6-v2", shared / "data/benchmarks/biosses"
    rows = {row["metric"]: row["value"] for row in evaluate(str(model), folder, tmp_path / "out", device="cpu")}
    witness = mteb_sts(folder / "pairs.jsonl", model)
    assert rows["Spearman"] == pytest.approx(witness["spearman"], abs=1e-5)
    assert rows["Pearson"] == pytest.approx(witness["pearson"], abs=1e-5)
