"""What a system costs: every number is there, for every kind of system, and the text shows them."""

import json
import shutil

import polars as pl
import pytest

from benchmark_folders import BLOCK
from biohicl.encoder.fetching import UNAVAILABLE
from biohicl.encoder.vectors import write_vectors
from biohicl.evaluation.benchmarks import blocks_of_texts, bring_benchmark
from biohicl.evaluation.efficiency import measure
from biohicl.report.efficiency import write_efficiency

HOW = {
    "device": "cpu",
    "precision": "bfloat16",
    "texts": 16,
    "queries": 10,
    "batch_size": 8,
    "bm25": {"k1": 1.5, "b": 0.75},
}


@pytest.fixture(scope="module")
def benchmark(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficiency")
    block = BLOCK | {"path": str(sample / "benchmarks/sample-retrieval")}
    bring_benchmark("bench", block, folder / "bench", folder / "lock.json")
    return folder / "bench"


def with_task(sample, folder):
    """An encoder whose query instruction has a place for a task."""
    shutil.copytree(sample / "backbone", folder)
    file = folder / "config_sentence_transformers.json"
    content = json.loads(file.read_text())
    content["prompts"]["query"] = "Instruct: {task} Query:"
    file.write_text(json.dumps(content))
    return folder


def test_every_system_has_its_row(sample, benchmark, tmp_path):
    encoder = with_task(sample, tmp_path / "encoder")
    texts = benchmark / "documents.parquet"
    made = write_vectors(
        encoder, "documents", lambda: blocks_of_texts(texts, "documents"), tmp_path / "d.npy", device="cpu"
    )
    measure(str(encoder), "instructed", benchmark, made.file, tmp_path / "instructed.parquet", task="find", **HOW)
    measure("bm25", "bm25", benchmark, None, tmp_path / "bm25.parquet", task="", **HOW)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / UNAVAILABLE).write_text('{"reason": "gone"}')
    measure(str(tmp_path / "lost"), "lost", benchmark, made.file, tmp_path / "lost.parquet", task="", **HOW)
    files = [tmp_path / f"{name}.parquet" for name in ("bm25", "instructed", "lost")]
    write_efficiency(files, tmp_path / "all.parquet", tmp_path / "all.txt")

    rows = {row["system"]: row for row in pl.read_parquet(tmp_path / "all.parquet").iter_rows(named=True)}
    dense = rows["instructed"]
    assert (dense["dimension"], dense["index_bytes"], dense["documents"]) == (128, 512, 500)
    assert dense["parameters"] == 561_536
    assert (dense["precision"], rows["bm25"]["precision"]) == ("bfloat16", None)
    assert dense["tokens_per_second"] > dense["texts_per_second"] > 0
    for row in (dense, rows["bm25"]):
        assert 0 < row["search_p50"] <= row["latency_p50"] <= row["latency_p95"] < 10
        assert row["peak_memory_mb"] > 50
        assert row["index_bytes"] > 0
    assert rows["lost"]["parameters"] is None
    told = (tmp_path / "all.txt").read_text().splitlines()
    assert told[0].endswith("each query among 500 documents.")
    assert [line.split()[0] for line in told[4:]] == ["bm25", "instructed", "lost"]
