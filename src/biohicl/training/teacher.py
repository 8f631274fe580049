"""The step ``encode``: an encoder's vectors of a selection's texts, that another model is then trained towards.

Goes in: an encoder folder and a token table of its own tokenizer. Comes out, a pair of files a view:

VIEW.npy   float32 (n, d), in the table's order; of length 1 where the encoder is compared by cosine
VIEW.json  rows, dimension, encoder (fingerprint), tokens (SHA-256 of the table), keys (:func:`keys_of` it), and what
           :mod:`biohicl.encoder.vectors` notes

The student's own tokenizer may be another one. Its tables of the same selection have the same keys: by these a training
knows that the rows are of the same texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration.derived import VIEWS
from biohicl.encoder.embed import Tokens
from biohicl.encoder.fetching import why_unavailable
from biohicl.encoder.folder import Precision, load_tokenizer, passage_folder, positions_of, read_settings
from biohicl.encoder.vectors import TEXTS_OF_A_SHARD, Vectors, write_token_vectors
from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged
from biohicl.storage import sha256_of
from biohicl.training.tokens import fingerprint_of, reading_of

# Rows of the keys that are written out at a time.
ROWS_OF_A_BLOCK = 10_000


def keys_of(table: pa.Table) -> str:
    """SHA-256 over the columns of a token table that say whose tokens these are: all but lists of tokens, in order.

    The same for the same rows, whatever the integers' width, and however the table is cut into chunks.
    """
    names = _key_columns(table.schema)
    digest = hashlib.sha256(json.dumps(names).encode())
    keys = table.select(names)
    for start in range(0, table.num_rows, ROWS_OF_A_BLOCK):
        columns = [column.to_pylist() for column in keys.slice(start, ROWS_OF_A_BLOCK).columns]
        digest.update(json.dumps(columns, default=str).encode())
    return digest.hexdigest()


def write_teacher(
    encoder: Path,
    tokens: Path,
    views: Sequence[str],
    output: Path,
    batch_size: int = 64,
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Writes the vectors of ``views`` and their records to the folder ``output``.

    A killed run goes on where it was; where the same tokens and weights have their vectors, nothing is encoded.
    """
    _check_tokens(encoder, tokens, views)
    keys = pq.read_table(tokens, columns=_key_columns(pq.read_schema(tokens)))
    facts = {"tokens": sha256_of(tokens), "keys": keys_of(keys)}
    for view in views:
        write_token_vectors(
            encoder,
            view,
            partial(_blocks, tokens, view),
            output / f"{view}.npy",
            batch_size=batch_size,
            device=device,
            precision=precision,
            facts=facts,
        )


def read_teacher(folder: Path, views: Sequence[str], keys: str) -> dict[str, npt.NDArray[np.float32]]:
    """The vectors (n, d) of each view, mapped into memory.

    ``keys``: those of the student's token table (:func:`keys_of`). Raises :class:`BioHiCLError` where a view is not
    there or not whole, or its rows are of other texts.
    """
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such folder of a teacher's vectors; make them: biohicl encode")
    found: dict[str, npt.NDArray[np.float32]] = {}
    encoders: dict[str, Any] = {}
    for view in views:
        file = folder / f"{view}.npy"
        if not file.is_file():
            there = ", ".join(sorted(path.stem for path in folder.glob("*.npy"))) or "none"
            raise BioHiCLError(
                f"{folder}: has no vectors of the view {view} (it has {there}); name it among the views of the node "
                "that encodes, or encode it: biohicl encode --views"
            )
        vectors = Vectors(file)
        record = vectors.record
        if record.get("keys") != keys:
            raise BioHiCLError(
                f"{file}: its rows are not the texts that the training reads: the keys in {view}.json are not those of "
                "the tokens. Encode the selection that is trained on"
            )
        if vectors.array.shape != (record["rows"], record["dimension"]) or vectors.array.dtype != np.float32:
            raise BioHiCLError(
                f"{file}: holds {vectors.array.dtype} of {vectors.array.shape}, and its record says float32 of "
                f"({record['rows']}, {record['dimension']}); remove it and encode again"
            )
        found[view], encoders[view] = vectors.array, record["encoder"]
    if len(set(encoders.values())) > 1:
        raise BioHiCLError(
            f"{folder}: the vectors of {' and '.join(encoders)} are of different encoders; encode them again with one"
        )
    return found


def _check_tokens(encoder: Path, tokens: Path, views: Sequence[str]) -> None:
    """The table has the views, as this encoder reads texts, and none longer than it has positions."""
    reason = why_unavailable(encoder)
    if reason:
        raise BioHiCLError(f"{encoder}: could not be had, so it teaches nothing: {reason}")
    if passage_folder(encoder) != encoder:
        raise BioHiCLError(f"{encoder}: has a second encoder for documents; token tables are of one tokenizer")
    try:
        schema = pq.read_schema(tokens)
    except FileNotFoundError:
        raise BioHiCLError(f"{tokens}: no such table; make it: biohicl tokens") from None
    for view in views:
        if view not in schema.names or not _is_list(schema.field(view).type):
            raise BioHiCLError(f"{tokens}: has no column {view} with lists of tokens; make it again: biohicl tokens")
    reading, task = reading_of(schema.metadata)
    if reading != fingerprint_of(load_tokenizer(encoder), read_settings(encoder), task, encoder):
        raise BioHiCLError(
            f"{tokens}: its tokens are of another tokenizer than that of {encoder}, or of other instructions; make "
            "them with its own: biohicl tokens (in the workflow, see the backbone's tokens_of)"
        )
    positions = positions_of(encoder)
    for view in views:
        for block in _blocks(tokens, view):
            longest = max(map(len, block), default=0)
            if positions is not None and longest > positions:
                raise BioHiCLError(
                    f"{tokens}: has a {view} of {longest:,} tokens, and {encoder} has {positions:,} positions: lower "
                    "max_length"
                )


def _blocks(tokens: Path, view: str) -> Iterator[list[Tokens]]:
    """The token lists of a view, a shard's at a time."""
    with pq.ParquetFile(tokens) as file:
        for batch in file.iter_batches(TEXTS_OF_A_SHARD, columns=[view]):
            column = batch.column(0)
            if column.null_count:
                raise BioHiCLError(
                    f"{tokens}: its column {view} does not hold a list of tokens in every row; make it again: biohicl "
                    "tokens"
                )
            lists = Ragged.of(column)
            yield lists.rows(np.arange(len(lists)))


def _key_columns(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name not in VIEWS and not _is_list(schema.field(name).type)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
