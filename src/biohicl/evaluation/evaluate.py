"""One system on one benchmark: the run, the values a query, and the metrics.

Goes in: an encoder folder, vectors that :mod:`biohicl.encoder.vectors` wrote, ``bm25``, or finished runs; and a
benchmark's folder. Comes out under ``output``:

run.parquet        query_id, condition, document_id, rank, score; for sentence pairs pair_id, similarity, score
run.trec           its headline for trec_eval and its like (retrieval only)
per_query.parquet  query_id, condition, metric, value (retrieval only)
metrics.parquet    a row for each condition and metric; of a benchmark that could not be had, none

Conditions. ``headline`` is what tables show. Where a query has the id of a document, that document is dropped from its
run, as BEIR does, or kept, as mteb does: ``own_document`` says which of both is the headline, and the other is a
condition of its own, ``own document kept`` or ``own document dropped``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration.systems import LEXICAL as BM25
from biohicl.configuration.systems import METRICS
from biohicl.encoder.folder import Precision
from biohicl.encoder.vectors import TEXTS_OF_A_SHARD, Vectors, encoder_folder, write_vectors
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import RECORD, Retrieval, joined, read_benchmark
from biohicl.evaluation.compression import Compression, compressed_runs
from biohicl.evaluation.fusion import fused_runs, read_run
from biohicl.evaluation.metrics import per_query
from biohicl.evaluation.retrieval import HEADLINE_CONDITION, Own, Run, Ways, bm25_runs, both_ways, dense_runs
from biohicl.evaluation.similarity import similarities, similarity_metrics
from biohicl.evaluation.sources import Pairs
from biohicl.storage import parquet_writer, read_json, whole_files, write_parquet

BM25_DEFAULTS: Mapping[str, float] = {"k1": 1.5, "b": 0.75}
UNCOMPRESSED = Compression()

RUN = pa.schema(
    [
        ("query_id", pa.string()),
        ("condition", pa.string()),
        ("document_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
    ]
)
PAIR_RUN = pa.schema([("pair_id", pa.string()), ("similarity", pa.float32()), ("score", pa.float64())])
PER_QUERY = pa.schema(
    [("query_id", pa.string()), ("condition", pa.string()), ("metric", pa.string()), ("value", pa.float64())]
)
METRICS_TABLE = pa.schema(
    [
        ("system", pa.string()),
        ("benchmark", pa.string()),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("condition", pa.string()),
        ("own_document", pa.string()),  # dropped or kept; null where no query has a document's id
        ("metric", pa.string()),
        ("value", pa.float64()),  # mean over queries, or the correlation over pairs
        ("n", pa.int64()),  # queries or pairs
        ("pool", pa.int64()),  # documents that are searched
        ("index_bytes", pa.float64()),  # of an index of vectors, a document
    ]
)
FILES = ("run.parquet", "run.trec", "per_query.parquet", "metrics.parquet")


@dataclass(frozen=True)
class Naming:
    """What the rows are named: the system, the benchmark, and its split, which its own files may name otherwise."""

    system: str
    benchmark: str
    split: str
    split_in_files: str


def naming_of(system: str, benchmark: Path, split: str) -> Naming:
    """``split`` as the benchmark's own files name it: tables have test and development."""
    record = read_json(benchmark / RECORD) if (benchmark / RECORD).is_file() else {}
    return Naming(system, benchmark.name, split, record.get("splits", {}).get(split, split))


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
    own_document: Own = "dropped",
    task: str = "",
    device: str = "auto",
    precision: Precision | None = None,
) -> list[dict[str, Any]]:
    """Scores ``model`` (an encoder folder, a name on the hub, or ``bm25``); returns the rows of metrics.parquet.

    Vectors are kept in ``output``/vectors: a second evaluation of the same model and texts encodes nothing anew.
    """
    content = read_benchmark(benchmark, split)
    naming = naming_of(system or (model if model == BM25 else Path(model).name), benchmark, split)
    encode = partial(write_vectors, task=task, batch_size=batch_size, device=device, precision=precision)
    if isinstance(content, Pairs):
        _refuse_lexical(model, benchmark)
        texts = _in_shards([*content.first, *content.second])
        vectors = encode(encoder_folder(model), "sentences", texts, output / "vectors" / "sentences.npy")
        return write_pair_scores(similarities(vectors), content, naming, output)
    index_bytes = None
    if model == BM25:
        runs = lexical_runs(content, bm25, run_depth)
    else:
        made = partial(encode, encoder_folder(model))
        names = list(content.queries)
        folder = output / "vectors"
        documents = made("documents", content.blocks, folder / "documents.npy", ids=content.document_ids)
        queries = made("queries", _in_shards([*content.queries.values()]), folder / f"{split}.npy", ids=names)
        runs = vector_runs(documents, queries, content, run_depth)
        index_bytes = UNCOMPRESSED.index_bytes(documents.record["dimension"])
    return write_run_scores(both_ways(runs, run_depth), content, naming, output, own_document, index_bytes)


def evaluate_vectors(
    vectors: Sequence[Path],
    benchmark: Path,
    output: Path,
    naming: Naming,
    depth: int,
    own_document: Own = "dropped",
    compression: Compression = UNCOMPRESSED,
) -> list[dict[str, Any]]:
    """The same from files that embed wrote: those of the documents and the queries, or of the sentences."""
    content = read_benchmark(benchmark, naming.split, with_texts=False)
    files = [Vectors(file) for file in vectors]
    nothing = any(vectors.record.get("unavailable") for vectors in files)
    if isinstance(content, Pairs):
        if nothing:
            return write_pair_scores(np.zeros(0, np.float32), Pairs([], [], [], []), naming, output)
        _check_rows(files[0], 2 * len(content.ids))
        return write_pair_scores(similarities(files[0]), content, naming, output)
    if nothing:
        return write_run_scores((), content, naming, output, own_document)
    documents, queries = files
    runs = vector_runs(documents, queries, content, depth, compression)
    index_bytes = compression.index_bytes(documents.record["dimension"])
    return write_run_scores(both_ways(runs, depth), content, naming, output, own_document, index_bytes)


def evaluate_hybrid(
    dense: Path,
    lexical: Path,
    tuned: Path,
    method: str,
    benchmark: Path,
    output: Path,
    naming: Naming,
    depth: int,
    own_document: Own,
) -> list[dict[str, Any]]:
    """Two runs (run.parquet) joined, by the parameter that ``tuned`` (of tune-hybrids) holds for ``method``."""
    content = read_benchmark(benchmark, naming.split, with_texts=False)
    if isinstance(content, Pairs):
        raise BioHiCLError(f"{benchmark}: bm25 gives no similarity of two sentences, so there is nothing to join")
    parameter = read_json(tuned)[method]["parameter"]
    # An encoder that could not be had has an empty run: BM25 alone is no hybrid.
    queries = list(content.queries) if pq.read_metadata(dense).num_rows else []
    ways = {
        way: fused_runs(read_run(dense, condition), read_run(lexical, condition), queries, method, parameter, depth)
        for way, condition in _conditions(content, own_document).items()
    }
    blocks = (dict(zip(ways, runs, strict=True)) for runs in zip(*ways.values(), strict=True))
    return write_run_scores(blocks, content, naming, output, own_document)


def vector_runs(
    documents: Vectors, queries: Vectors, content: Retrieval, depth: int, how: Compression = UNCOMPRESSED
) -> Iterator[Run]:
    """Runs by cosine or by dot product, as the encoder's folder says, of documents that are stored as ``how`` says."""
    if documents.record["encoder"] != queries.record["encoder"]:
        raise BioHiCLError(f"{queries.file} and {documents.file} are of different encoders; embed both again with one")
    _check_rows(documents, content.documents.num_rows)
    _check_rows(queries, len(content.queries))
    sides = list(content.queries), queries.comparable, content.document_ids, documents.comparable
    if how == UNCOMPRESSED:
        return dense_runs(*sides, depth)
    return compressed_runs(*sides, how, depth, unit=documents.record["similarity"] == "cosine")


def lexical_runs(content: Retrieval, bm25: Mapping[str, float], depth: int) -> Iterator[Run]:
    """BM25's runs; of title and text as one."""
    if not content.queries:
        return iter(())
    titles, texts = (content.documents[name].to_pylist() for name in ("title", "text"))
    return bm25_runs(content.queries, content.document_ids, list(map(joined, titles, texts)), bm25, depth)


def write_run_scores(
    runs: Iterable[Ways],
    content: Retrieval,
    naming: Naming,
    output: Path,
    own: Own = "dropped",
    index_bytes: float | None = None,
) -> list[dict[str, Any]]:
    """Writes the four files from ``runs``, blocks of queries; returns the rows of metrics.parquet.

    ``own``: which way is the headline. The other is read where a query has a document's id.
    """
    conditions = _conditions(content, own)
    values: dict[tuple[str, str], dict[str, float]] = {
        (condition, metric): {} for condition in conditions.values() for metric in METRICS["retrieval"]
    }
    with whole_files(*(output / name for name in FILES)) as (run_file, trec_file, per_query_file, metrics_file):
        with parquet_writer(run_file, RUN, {}, 100_000) as rows, trec_file.open("w", encoding="utf-8") as trec:
            for found in runs:
                for way, condition in conditions.items():
                    run = found[way]
                    for metric, of_query in per_query(run, content.qrels).items():
                        values[condition, metric].update(of_query)
                    rows.write(_run_table(run, condition))
                    if condition == HEADLINE_CONDITION:
                        _write_trec(run, naming.system, trec)
        write_parquet(_per_query_table(values), per_query_file)
        ways = {condition: way if len(conditions) > 1 else None for way, condition in conditions.items()}
        metrics = [
            _row(naming, "retrieval", condition, metric, float(np.mean(list(of_query.values()))), len(of_query))
            | {"own_document": ways[condition], "pool": content.documents.num_rows, "index_bytes": index_bytes}
            for (condition, metric), of_query in values.items()
            if of_query
        ]
        write_parquet(pa.Table.from_pylist(metrics, METRICS_TABLE), metrics_file)
    return metrics


def write_pair_scores(found: np.ndarray, pairs: Pairs, naming: Naming, output: Path) -> list[dict[str, Any]]:
    """Writes run.parquet and metrics.parquet from the similarity (P,) of each pair; returns the rows of the latter."""
    run = pa.table({"pair_id": pairs.ids, "similarity": found, "score": pairs.scores}, schema=PAIR_RUN)
    metrics = [
        _row(naming, "similarity", HEADLINE_CONDITION, metric, value, len(pairs.ids))
        for metric, value in (similarity_metrics(found, pairs.scores) if pairs.ids else {}).items()
    ]
    with whole_files(output / "run.parquet", output / "metrics.parquet") as (run_file, metrics_file):
        write_parquet(run, run_file)
        write_parquet(pa.Table.from_pylist(metrics, METRICS_TABLE), metrics_file)
    return metrics


def _conditions(content: Retrieval, own: Own) -> dict[Own, str]:
    """What it is called that a query's own document is dropped or kept; one of both where no query has one."""
    conditions: dict[Own, str] = {own: HEADLINE_CONDITION}
    other: Own = "kept" if own == "dropped" else "dropped"
    if not content.queries.keys().isdisjoint(content.document_ids):
        conditions[other] = f"own document {other}"
    return conditions


def _check_rows(vectors: Vectors, count: int) -> None:
    rows = vectors.record["rows"]
    if rows != count:
        raise BioHiCLError(f"{vectors.file}: holds {rows:,} vectors, the benchmark {count:,} texts; embed them again")


def _refuse_lexical(model: str, benchmark: Path) -> None:
    if model == BM25:
        raise BioHiCLError(f"{benchmark}: bm25 ranks documents for a query; it gives no similarity of two sentences")


def _in_shards(texts: Sequence[str]) -> Callable[[], Iterator[Sequence[str]]]:
    return lambda: (texts[start : start + TEXTS_OF_A_SHARD] for start in range(0, len(texts), TEXTS_OF_A_SHARD))


def _row(naming: Naming, kind: str, condition: str, metric: str, value: float, n: int) -> dict[str, Any]:
    named = {"system": naming.system, "benchmark": naming.benchmark, "kind": kind}
    split = naming.split_in_files if kind == "retrieval" else None
    return named | {"split": split, "condition": condition, "metric": metric, "value": value, "n": n}


def _run_table(run: Run, condition: str) -> pa.Table:
    rows = [
        (query, condition, document, rank, score)
        for query, pairs in run.items()
        for rank, (document, score) in enumerate(pairs, start=1)
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(RUN)
    return pa.table(dict(zip(RUN.names, columns, strict=True)), schema=RUN)


def _write_trec(run: Run, system: str, stream: IO[str]) -> None:
    # Nine digits tell any two floats apart, so that other tools see the same ties. Columns are told apart by spaces:
    # those within an id are written as %20 and the like.
    stream.writelines(
        f"{_without_spaces(query)} Q0 {_without_spaces(document)} {rank} {score:.9g} {system}\n"
        for query, pairs in run.items()
        for rank, (document, score) in enumerate(pairs, start=1)
    )


def _without_spaces(identifier: str) -> str:
    return re.sub(r"\s", lambda space: quote(space[0]), identifier)


def _per_query_table(values: Mapping[tuple[str, str], Mapping[str, float]]) -> pa.Table:
    rows = [(query, *key, value) for key, of_query in values.items() for query, value in of_query.items()]
    columns = list(zip(*sorted(rows), strict=True)) if rows else [(), (), (), ()]
    return pa.table(dict(zip(PER_QUERY.names, columns, strict=True)), schema=PER_QUERY)
