"""The vectors of one PubMed file's records: a function of the model and of the file's articles alone.

Goes in: an encoder folder and articles. Comes out: one file, a row a record in the file's order, old versions and what
other files delete included; and the search in it. How the vectors are stored:

exact    float32, and every one is compared
binary   the signs of all numbers, compared by how many are equal; and all numbers in 8 bits, which the best by signs
         are scored again by (Shakir, Aarsen and Lee, Binary and Scalar Embedding Quantization, 2024)
usearch  half precision in a graph of near ones that is walked (HNSW: Malkov and Yashunin, TPAMI 2020)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from biohicl.encoder.fetching import why_unavailable
from biohicl.encoder.folder import Precision
from biohicl.encoder.vectors import TEXTS_OF_A_SHARD, Rows, made_of_texts, record_of, write_vectors
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.search import STORAGES
from biohicl.search.tensors import TensorFile, write_tensors
from biohicl.storage import remove

ROWS_AT_ONCE = 16_384
# Where fewer than one row in so many is let through, these are looked at one by one.
FEW = 16
Vector = npt.NDArray[np.float32]
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
# Neighbours of a vector in the graph, and how many are looked at while one is put in, or sought.
GRAPH = {"connectivity": 16, "expansion_add": 128, "expansion_search": 128}


def write_shard(
    folder: Path,
    articles: Path,
    output: Path,
    storage: str,
    *,
    task: str = "",
    batch_size: int = 64,
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Writes the shard, or leaves one that is of the same model, texts and storage; a killed run goes on with the texts
    that it had not encoded. ``task``: for instructions with a place for one."""
    reason = why_unavailable(folder)
    if reason:
        raise BioHiCLError(f"{folder}: cannot be had ({reason}), so nothing can be encoded with it")
    made_of = made_of_texts(folder, "documents", _blocks(articles), task=task, device=device, precision=precision)
    if _is_made_of(output, made_of, storage):
        say(f"{output}: is there already, of the same model and texts; nothing is encoded")
        output.touch()
        return
    whole = output.with_name(f".{output.stem}.npy")
    vectors = write_vectors(
        folder,
        "documents",
        lambda: _blocks(articles),
        whole,
        task=task,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    told = ("encoder", "made_of", "similarity", "rows", "dimension", "device", "dtype")
    said = {name: vectors.record[name] for name in told}
    write_tensors(stored(storage, vectors.comparable), {"storage": storage, **said}, output)
    for file in (whole, record_of(whole)):
        remove(file)
    say(f"{output}: {said['rows']:,} vectors")


def _is_made_of(file: Path, made_of: str, storage: str) -> bool:
    if not file.is_file():
        return False
    try:
        said = TensorFile(file).metadata
    except BioHiCLError:
        return False
    return said.get("made_of") == made_of and said.get("storage") == storage


def _blocks(articles: Path) -> Iterator[Sequence[tuple[str, str]]]:
    if not articles.is_file():
        raise BioHiCLError(f"{articles}: no such file; parse it first (biohicl parse-pubmed --help)")
    with pq.ParquetFile(articles) as file:
        for batch in file.iter_batches(batch_size=TEXTS_OF_A_SHARD, columns=["title", "abstract"]):
            titles, abstracts = (column.to_pylist() for column in batch.columns)
            yield [(title or "", abstract or "") for title, abstract in zip(titles, abstracts, strict=True)]


def stored(storage: str, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """The arrays that ``rows`` (n, d) are stored as."""
    if not len(rows) and storage in STORAGES:
        # A file that only deletes.
        return {}
    if storage == "binary":
        return _binary(rows)
    if storage == "usearch":
        return {"graph": _graph(rows)}
    if storage == "exact":
        return {"vectors": np.asarray(rows[: len(rows)], dtype=np.float32)}
    raise BioHiCLError(f"'{storage}' is no way to store vectors; choose among {', '.join(STORAGES)}")


def _binary(rows: Rows) -> dict[str, npt.NDArray[Any]]:
    count, dimension = rows.shape
    signs = np.empty((-(-dimension // 64), count), dtype=np.uint64)
    codes = np.empty((count, dimension), dtype=np.int8)
    scales = np.empty(count, dtype=np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        block = np.asarray(rows[start : start + ROWS_AT_ONCE], dtype=np.float32)
        part = slice(start, start + len(block))
        signs[:, part] = signs_of(block).T
        largest = np.abs(block).max(axis=1, initial=0)
        scales[part] = np.where(largest > 0, largest / 127, 1)
        codes[part] = np.rint(block / scales[part, None])
    return {"signs": signs, "codes": codes, "scales": scales}


def signs_of(block: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Of (n, d) the bits that say which numbers are above 0, in words of 64: (n, ceil(d / 64))."""
    bits = np.packbits(block > 0, axis=1)
    padded = np.zeros((len(block), -(-block.shape[1] // 64) * 8), dtype=np.uint8)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)


def _graph(rows: Rows) -> npt.NDArray[np.uint8]:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f16", **GRAPH)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = np.asarray(rows[start : start + ROWS_AT_ONCE], dtype=np.float32)
        # One thread: the graph depends on the order in which vectors come.
        index.add(np.arange(start, start + len(block)), block, threads=1)
    return np.frombuffer(index.save(), dtype=np.uint8)


class Shard:
    """A shard, open. ``rows``: how many records it has."""

    def __init__(self, file: Path) -> None:
        self._tensors = TensorFile(file)
        self.file = file
        said = self._tensors.metadata
        if said.get("storage") not in STORAGES:
            raise BioHiCLError(f"{file}: no shard of vectors; remove it, and make it again: snakemake --cores 2 index")
        self.storage: str = said["storage"]
        self.encoder: str = said["encoder"]
        self.rows: int = said["rows"]
        self.dimension: int = said["dimension"]

    def vector(self, row: int) -> Vector:
        """(d,): the vector of a record, as it is stored."""
        if self.storage == "exact":
            return np.array(self._tensors["vectors"][row])
        if self.storage == "binary":
            return self._tensors["codes"][row].astype(np.float32) * self._tensors["scales"][row]
        return np.asarray(self._index.get(row), dtype=np.float32)

    def best(self, query: Vector, count: int, mask: npt.NDArray[np.bool_] | None) -> Found:
        """Both (k,): rows and scores of at most ``count`` that ``mask`` (rows,) lets through, in any order.

        Of binary shards the scores are equal signs minus different ones: :meth:`scores` has those that are comparable.
        """
        if not self.rows:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.storage == "usearch":
            return self._walked(query, count, mask)
        places = np.arange(self.rows) if mask is None else np.flatnonzero(mask)
        # Where few are let through, only these are compared.
        chosen = places if len(places) * FEW < self.rows else None
        scores = self._equal_signs(query, chosen) if self.storage == "binary" else self._products(query, chosen)
        scores = scores if chosen is not None else scores[places]
        return _largest(places, scores, count)

    def scores(self, query: Vector, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(k,): inner products of the query and the vectors of ``rows``, by 8 bits a number."""
        order = np.argsort(rows)
        scores = np.empty(len(rows), dtype=np.float32)
        taken = rows[order]
        scores[order] = (self._tensors["codes"][taken].astype(np.float32) @ query) * self._tensors["scales"][taken]
        return scores

    def _products(self, query: Vector, rows: npt.NDArray[np.int64] | None) -> npt.NDArray[np.float32]:
        vectors = self._tensors["vectors"]
        products: npt.NDArray[np.float32] = (vectors if rows is None else vectors[rows]) @ query
        return products

    def _equal_signs(self, query: Vector, rows: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int32]:
        """Of each row how many signs equal the query's, minus how many differ."""
        signs = self._tensors["signs"]
        if rows is not None:
            signs = signs[:, rows]
        (asked,) = signs_of(query[None])
        differing = np.empty(signs.shape[1], dtype=np.uint16)
        # Blocks that stay in the processor's cache.
        for start in range(0, signs.shape[1], ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            count = np.bitwise_count(signs[0, part] ^ asked[0]).astype(np.uint16)
            for word in range(1, len(asked)):
                count += np.bitwise_count(signs[word, part] ^ asked[word])
            differing[part] = count
        return self.dimension - 2 * differing.astype(np.int32)

    @cached_property
    def _index(self) -> Any:
        from usearch.index import Index

        index = Index.restore(self._tensors["graph"].data, view=True, expansion_search=GRAPH["expansion_search"])
        if index is None or index.ndim != self.dimension:
            raise BioHiCLError(f"{self.file}: its graph is damaged; remove it, and make it again")
        return index

    def _walked(self, query: Vector, count: int, mask: npt.NDArray[np.bool_] | None) -> Found:
        """The graph knows of no mask: more are asked for until enough of them are let through. Where it has no way to
        enough of them, as of many vectors that are the same, all are compared."""
        allowed = np.arange(self.rows) if mask is None else np.flatnonzero(mask)
        asked = count
        while len(allowed) * FEW >= self.rows:
            found = self._index.search(query, min(asked, self.rows), threads=1)
            rows = found.keys.astype(np.int64)
            kept = np.ones(len(rows), bool) if mask is None else mask[rows]
            if kept.sum() >= min(count, len(allowed)):
                return rows[kept][:count], 1 - found.distances[kept][:count].astype(np.float32)
            if asked >= self.rows:
                break
            asked *= 4
        vectors = np.asarray(self._index.get(allowed), dtype=np.float32).reshape(len(allowed), self.dimension)
        return _largest(allowed, vectors @ query, count)


def _largest(rows: npt.NDArray[np.int64], scores: npt.NDArray[Any], count: int) -> Found:
    """Of equal scores the earlier rows: many a citation says no more than "Editorial."."""
    if len(rows) > count:
        least = np.partition(scores, len(scores) - count)[-count]
        above = np.flatnonzero(scores > least)
        kept = np.concatenate([above, np.flatnonzero(scores == least)[: count - len(above)]])
        rows, scores = rows[kept], scores[kept]
    return rows.astype(np.int64), scores.astype(np.float32)
