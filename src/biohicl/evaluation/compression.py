"""Smaller embeddings: fewer dimensions, fewer bits a number, and the best documents scored again with finer ones.

Goes in: float32 vectors of queries and documents, whose inner products are the similarities. Comes out: runs, and the
bytes of an index a document. Queries stay float32, for they cost no memory; beside signs they are signs too.

dimensions  the first so many, brought to length 1 again where the encoder compares by cosine (which is what models
            trained for it want: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022)
bfloat16    rounded to the nearest
int8        255 even steps between the least and the largest value of each dimension over all documents
binary      the sign of each dimension; the score is the number of equal signs, minus that of different ones

With ``rescore`` the best so many are scored again with all dimensions, by int8 after binary, by float32 after others: a
search that has to save memory has these on disk (Shakir, Aarsen and Lee, Binary and Scalar Embedding Quantization,
2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from biohicl.encoder.vectors import Rows, UnitRows
from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import Run, dense_runs, ranked

Block = npt.NDArray[np.float32]
ROWS_OF_A_BLOCK = 65_536
BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "binary": 1 / 8}
# What the best documents are scored again with.
FINER = {"float32": "float32", "bfloat16": "float32", "int8": "float32", "binary": "int8"}


@dataclass(frozen=True)
class Compression:
    """How documents are stored (a block of evaluation.variants)."""

    dimensions: int | None = None
    precision: str = "float32"
    rescore: int = 0

    def index_bytes(self, dimension: int) -> float:
        """Bytes of an index a document: of what is searched, and of what is scored again with."""
        kept = min(self.dimensions or dimension, dimension)
        finer = BYTES[FINER[self.precision]] if self.rescore else 0.0
        return float(np.ceil(kept * BYTES[self.precision])) + dimension * finer


class Made:
    """Rows that are made of others, block by block, when they are asked for."""

    def __init__(self, rows: Rows, make: Callable[[Block], Block]) -> None:
        self.rows = rows
        self.make = make
        self.shape = (len(rows), make(rows[:0]).shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> Block:
        return self.make(self.rows[rows])


def compressed_runs(
    query_ids: Sequence[str],
    queries: Rows,
    document_ids: Sequence[str],
    documents: Rows,
    how: Compression,
    depth: int,
    unit: bool,
) -> Iterator[Run]:
    """Runs of compressed documents; ``unit``: vectors are compared by cosine, so cut ones get length 1 again."""
    width = documents.shape[1]
    if how.dimensions is not None and how.dimensions > width and len(documents):
        raise BioHiCLError(f"evaluation.variants: {how.dimensions} dimensions are wanted of vectors that have {width}")
    short_queries, short = (_cut(rows, how.dimensions, unit) for rows in (queries, documents))
    asked = short_queries if how.precision != "binary" else Made(short_queries, signs)
    stored = Made(short, stored_as(how.precision, short))
    runs = dense_runs(query_ids, asked, document_ids, stored, max(depth, how.rescore))
    if not how.rescore:
        yield from runs
        return
    finer = Made(documents, stored_as(FINER[how.precision], documents))
    rows = {document: row for row, document in enumerate(document_ids)}
    places = {query: row for row, query in enumerate(query_ids)}
    for run in runs:
        yield {
            query: _scored_again(pairs, queries[places[query] : places[query] + 1][0], finer, rows, how.rescore)
            for query, pairs in run.items()
        }


def stored_as(precision: str, documents: Rows) -> Callable[[Block], Block]:
    """What storing makes of a block, as float32 again."""
    if precision == "binary":
        return signs
    if precision == "bfloat16":
        return nearest_bfloat16
    if precision == "int8":
        return _in_steps(documents)
    return lambda block: block


def signs(block: Block) -> Block:
    """1 where a number is above 0, else -1."""
    return np.where(block > 0, np.float32(1), np.float32(-1))


def nearest_bfloat16(block: Block) -> Block:
    """Rounded to the nearest number of 8 significant bits, ties to even."""
    bits = np.ascontiguousarray(block, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def _in_steps(documents: Rows) -> Callable[[Block], Block]:
    width = documents.shape[1]
    low, high = np.full(width, np.inf, np.float32), np.full(width, -np.inf, np.float32)
    for start in range(0, len(documents), ROWS_OF_A_BLOCK):
        block = documents[start : start + ROWS_OF_A_BLOCK]
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    step = np.where(high > low, (high - low) / 255, 1).astype(np.float32)

    def make(block: Block) -> Block:
        codes = np.clip(np.rint((block - low) / step), 0, 255).astype(np.uint8)
        return codes.astype(np.float32) * step + low

    return make


def _cut(rows: Rows, dimensions: int | None, unit: bool) -> Rows:
    if dimensions is None or dimensions >= rows.shape[1]:
        return rows
    first = Made(rows, lambda block: block[:, :dimensions])
    return UnitRows(first) if unit else first


def _scored_again(
    pairs: Sequence[tuple[str, float]], query: Block, finer: Rows, rows: dict[str, int], count: int
) -> list[tuple[str, float]]:
    """The first ``count`` in the order of their finer scores, and the others behind them in their old order."""
    first, rest = pairs[:count], pairs[count:]
    again = ranked(
        {document: float(finer[rows[document] : rows[document] + 1][0] @ query) for document, _ in first}, count
    )
    # Two kinds of scores in one run: the old ones are moved below the least of the new ones.
    least = again[-1][1] if again else 0.0
    return again + [(document, least - 1.0 - (rest[0][1] - score)) for document, score in rest]
