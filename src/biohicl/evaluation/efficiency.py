"""What a system costs on this machine: size, pace, latency, memory.

Goes in: an encoder folder or ``bm25``, and a benchmark's tables. Comes out: a row of numbers, measured in this process,
which should have the machine for itself:

parameters, dimension, index_bytes   of the model, of a vector, of an index a document
texts_per_second, tokens_per_second  documents encoded in batches (BM25: indexed), after a warm-up
latency_p50, latency_p95             seconds for one query: encoded, and its ten best documents found among all, exactly
search_p50                           the search alone
peak_memory_mb                       the largest this process was, model and index included; on a GPU, of its memory
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from biohicl.configuration.systems import LEXICAL
from biohicl.encoder.fetching import why_unavailable
from biohicl.encoder.folder import Precision
from biohicl.encoder.vectors import Vectors
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import Retrieval, joined, read_benchmark
from biohicl.evaluation.sources import Pairs
from biohicl.lexical import LexicalIndex, terms_of
from biohicl.progress import say
from biohicl.storage import write_parquet

EFFICIENCY = pa.schema(
    [
        ("system", pa.string()),
        ("device", pa.string()),
        ("precision", pa.string()),  # what the forward pass computes in; null of BM25
        ("machine", pa.string()),
        ("threads", pa.int32()),
        ("benchmark", pa.string()),
        ("documents", pa.int64()),
        ("parameters", pa.int64()),
        ("dimension", pa.int32()),
        ("index_bytes", pa.float64()),
        ("texts_per_second", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("latency_p50", pa.float64()),
        ("latency_p95", pa.float64()),
        ("search_p50", pa.float64()),
        ("peak_memory_mb", pa.float64()),
    ]
)
BEST = 10
WARM_UP = 5


def measure(
    model: str,
    system: str,
    benchmark: Path,
    vectors: Path | None,
    output: Path,
    *,
    device: str,
    precision: Precision | None,
    texts: int,
    queries: int,
    batch_size: int,
    task: str,
    bm25: Mapping[str, float],
) -> None:
    """Writes the row of ``model`` (an encoder folder, or ``bm25``) as a table."""
    if model == LEXICAL:
        row, where, threads = measure_lexical(benchmark, bm25, queries), "cpu", 1
    else:
        import torch

        from biohicl.encoder.embed import pick_device

        if vectors is None:
            raise BioHiCLError("--vectors is needed: the documents' vectors, which biohicl embed writes")
        row = measure_encoder(Path(model), vectors, benchmark, device, precision, texts, queries, batch_size, task)
        where, threads = pick_device(device).type, torch.get_num_threads()
    named = {
        "system": system,
        "device": where,
        "precision": row.pop("precision", None),
        "machine": _machine(where),
        "threads": threads,
        "benchmark": benchmark.name,
    }
    write_parquet(pa.Table.from_pylist([named | row], EFFICIENCY), output)
    for name, value in row.items():
        say(f"{system}: {name} {value:,.6g}")


def measure_encoder(
    folder: Path,
    documents: Path,
    benchmark: Path,
    device: str,
    precision: Precision | None,
    texts: int,
    queries: int,
    batch_size: int,
    task: str,
) -> dict[str, Any]:
    """The row of an encoder. ``documents``: its vectors of the benchmark. ``texts``, ``queries``: how many are timed.

    Of an encoder that could not be had, all measures are None.
    """
    if why_unavailable(folder):
        return {}
    import torch

    from biohicl.encoder.embed import Encoder

    content = _retrieval(benchmark)
    encoder = Encoder(folder, device, precision)
    passages = encoder.passages
    index = np.ascontiguousarray(Vectors(documents).comparable[0 : content.documents.num_rows])
    sample = list(islice((pair for block in content.blocks() for pair in block), texts))
    tokens = passages.tokens(passages.prepared("documents", sample, task))
    passages.embed_tokens(tokens[: len(tokens) // 4 + 1], batch_size)
    seconds, _ = _timed(
        lambda: passages.embed_tokens(passages.tokens(passages.prepared("documents", sample, task)), batch_size)
    )

    def search(vector: np.ndarray) -> np.ndarray:
        scores = index @ vector
        best = np.argpartition(-scores, min(BEST, len(scores) - 1))[:BEST]
        return best[np.argsort(-scores[best])]

    def ask(text: str) -> float:
        vector = encoder.encode_queries([text], task, batch_size=1, description="")[0]
        return _timed(lambda: search(vector))[0]

    latencies, searches = _latencies(ask, content.queries, queries)
    models = {id(part.model): part.model for part in (encoder, passages)}.values()
    on_gpu = encoder.model.device.type == "cuda"
    return _row(content, latencies, searches) | {
        "precision": encoder.text_model.precision,
        "parameters": sum(parameter.numel() for model in models for parameter in model.parameters()),
        "dimension": encoder.dimension,
        "index_bytes": 4.0 * encoder.dimension,
        "texts_per_second": len(sample) / seconds,
        "tokens_per_second": sum(map(len, tokens)) / seconds,
        "peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else _peak_memory(),
    }


def measure_lexical(benchmark: Path, settings: Mapping[str, Any], queries: int) -> dict[str, Any]:
    """The row of BM25: no parameters, and the bytes of its inverted index."""
    content = _retrieval(benchmark)
    titles, texts = (content.documents[name].to_pylist() for name in ("title", "text"))
    whole = list(map(joined, titles, texts))
    seconds, index = _timed(lambda: LexicalIndex(whole, settings))

    def ask(text: str) -> float:
        return _timed(lambda: np.argpartition(-index.scores(terms_of([text])[0]), min(BEST, len(whole) - 1)))[0]

    latencies, searches = _latencies(ask, content.queries, queries)
    return _row(content, latencies, searches) | {
        "index_bytes": index.bytes / max(1, len(whole)),
        "texts_per_second": len(whole) / seconds,
        "peak_memory_mb": _peak_memory(),
    }


def _latencies(ask: Callable[[str], float], queries: Mapping[str, str], count: int) -> tuple[list[float], list[float]]:
    """Seconds of ``count`` questions, whole and of the search that ``ask`` tells."""
    texts = list(islice(cycle(queries.values()), count + WARM_UP)) if queries else []
    timed = [_timed(lambda text=text: ask(text)) for text in texts][WARM_UP:]  # type: ignore[misc]
    return [seconds for seconds, _ in timed], [search for _, search in timed]


def _row(content: Retrieval, latencies: Sequence[float], searches: Sequence[float]) -> dict[str, Any]:
    return {
        "documents": content.documents.num_rows,
        "latency_p50": float(np.percentile(latencies, 50)),
        "latency_p95": float(np.percentile(latencies, 95)),
        "search_p50": float(np.percentile(searches, 50)),
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _retrieval(benchmark: Path) -> Retrieval:
    content = read_benchmark(benchmark)
    if isinstance(content, Pairs) or not content.queries:
        raise BioHiCLError(f"{benchmark}: efficiency is measured on a retrieval benchmark, and this one has no queries")
    return content


def _machine(device: str) -> str:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{named}, {os.cpu_count()} cores"


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
