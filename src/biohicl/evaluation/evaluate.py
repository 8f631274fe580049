"""One system on one benchmark: the run, the values a query, and the metrics, as three Parquet files.

Goes in: an encoder folder (or ``bm25``) and a benchmark's folder. Comes out under ``output``:
run.parquet (query_id, document_id, rank, score; for sentence pairs pair_id, similarity, score),
per_query.parquet (query_id, metric, value) and metrics.parquet (system, benchmark, kind, split, metric, value, n).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import Retrieval, Similarity, read_benchmark
from biohicl.evaluation.metrics import per_query, spearman
from biohicl.evaluation.retrieval import Run, bm25_run, dense_run
from biohicl.storage import whole_files, write_parquet

BM25 = "bm25"
BM25_DEFAULTS: Mapping[str, float] = {"k1": 1.5, "b": 0.75}

RUN = pa.schema(
    [("query_id", pa.string()), ("document_id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())]
)
PAIRS = pa.schema([("pair_id", pa.string()), ("similarity", pa.float32()), ("score", pa.float64())])
PER_QUERY = pa.schema([("query_id", pa.string()), ("metric", pa.string()), ("value", pa.float64())])
METRICS = pa.schema(
    [
        ("system", pa.string()),
        ("benchmark", pa.string()),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),  # mean over queries, or the correlation over pairs
        ("n", pa.int64()),  # queries or pairs
    ]
)


def evaluate(
    model: str,
    benchmark: Path,
    output: Path,
    *,
    split: str = "test",
    system: str | None = None,
    batch_size: int = 64,
    run_depth: int = 1000,
    bm25: Mapping[str, float] = BM25_DEFAULTS,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Scores ``model`` (an encoder folder, a name on the hub, or ``bm25``); returns the rows of metrics.parquet.

    Dense scores are cosines in fp32.
    """
    content = read_benchmark(benchmark, split)
    system = system or (model if model == BM25 else Path(model).name)
    rows: pa.Table
    values: list[dict[str, Any]]
    if isinstance(content, Retrieval):
        if model == BM25:
            run = bm25_run(content.queries, content.documents, bm25, run_depth)
        else:
            run = _dense(model, content, batch_size, run_depth, device)
        by_metric = per_query(run, content.qrels)
        rows = _run_table(run)
        values = [
            {"query_id": query, "metric": metric, "value": value}
            for metric, queries in by_metric.items()
            for query, value in sorted(queries.items())
        ]
        means = {metric: float(np.mean(list(queries.values()))) for metric, queries in by_metric.items()}
        kind, count = "retrieval", len(content.qrels)
    else:
        if model == BM25:
            raise BioHiCLError(
                f"{benchmark}: bm25 ranks documents for a query; it gives no similarity of two sentences"
            )
        found = _similarities(model, content, batch_size, device)
        rows = pa.table({"pair_id": content.ids, "similarity": found, "score": content.scores}, schema=PAIRS)
        values = []
        means = {"Spearman": spearman(found.tolist(), content.scores)}
        kind, count = "similarity", len(content.ids)
    metrics = [
        {"system": system, "benchmark": benchmark.name, "kind": kind, "split": split if kind == "retrieval" else None}
        | {"metric": metric, "value": value, "n": count}
        for metric, value in means.items()
    ]
    files = [output / name for name in ("run.parquet", "per_query.parquet", "metrics.parquet")]
    with whole_files(*files) as (run_file, per_query_file, metrics_file):
        write_parquet(rows, run_file)
        write_parquet(pa.Table.from_pylist(values, PER_QUERY), per_query_file)
        write_parquet(pa.Table.from_pylist(metrics, METRICS), metrics_file)
    return metrics


def _dense(model: str, content: Retrieval, batch_size: int, depth: int, device: str) -> Run:
    encoder = _loaded(model, device)
    settings = encoder.settings
    documents = encoder.encode(
        [settings.passage(text) for text in content.documents.values()], batch_size, "encoding documents"
    )
    queries = encoder.encode(
        [settings.query(text) for text in content.queries.values()], batch_size, "encoding queries"
    )
    return dense_run(list(content.queries), _unit(queries), list(content.documents), _unit(documents), depth)


def _similarities(model: str, content: Similarity, batch_size: int, device: str) -> np.ndarray:
    # Two sentences of one kind: neither is a query of the other, so neither gets an instruction.
    vectors = _unit(_loaded(model, device).encode([*content.first, *content.second], batch_size, "encoding sentences"))
    half = len(content.first)
    return np.einsum("nd,nd->n", vectors[:half], vectors[half:])


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1.0, norms), dtype=np.float32)


def _loaded(model: str, device: str) -> Any:
    from biohicl.encoder.embed import Encoder

    if Path(model).is_dir():
        return Encoder(Path(model), device)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        from biohicl.fetch.download import hub_snapshot

        return Encoder(hub_snapshot(model), device)
    raise BioHiCLError(f"{model}: no such model folder, and not a name on the hub (owner/name)")


def _run_table(run: Run) -> pa.Table:
    rows = [(query, *pair, rank) for query in sorted(run) for rank, pair in enumerate(run[query], start=1)]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return pa.table(
        {"query_id": columns[0], "document_id": columns[1], "rank": columns[3], "score": columns[2]}, schema=RUN
    )
