"""Tokens of a selection, and of its rows' own queries, for one backbone's tokenizer and one length.

Goes in: a selection (and its queries) and an encoder folder. Comes out: one Parquet file, a row a row of the selection,
in its order: the selection's key columns, and token lists with the tokenizer's special tokens, cut at the length, which
are those that evaluation reads.

tokens:        document   passage instruction + title + " " + abstract
               query      query instruction + title
               passage    passage instruction + abstract
query tokens:  queries    query instruction + the words of each query of the row
               kinds      of each of these: its place in QUERY_KINDS (0 conclusion, 1 section, 2 name, 3 synonym,
                          4 labelled)
               starts, ends   which tokens of `document` are that query's words (the end not included); 0, 0 where none
                          are: it is not taken from there, or lies beyond the cut
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration.derived import VIEWS
from biohicl.encoder.embed import places_of, tokens_of
from biohicl.encoder.folder import TASK, EncoderSettings, load_tokenizer, passage_folder, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import parquet_writer, whole_files, write_parquet
from biohicl.training.rows import QUERY_KINDS, check_same_rows, key_of, with_key

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_TEXTS = 2_000
# In a token table's Parquet metadata: the fingerprint of the reading that its ids come from; and, of an encoder whose
# instructions have a place for a task, the task that was put there.
READING_KEY, TASK_KEY = "biohicl.reading", "biohicl.task"
# What tokenizers differ in: case, accents, digits, punctuation, other scripts, spaces, line ends.
PROBE = (
    "Effect of TGF-\u03b21 on na\u00efve T-cells (n = 1,234; P<.05):  "
    "M\u00e9ni\u00e8re\u2019s disease \u2014 \u7cd6\u5c3f\u75c5\n"
)
# More tokens than the probe has, with an instruction of any length.
PROBE_LENGTH = 100_000


def fingerprint_of(
    tokenizer: PreTrainedTokenizerBase, settings: EncoderSettings, task: str = "", folder: Path = Path()
) -> str:
    """How a text becomes ids, and what these mean, as a SHA-256: the vocabulary, and a probe as query and as document.

    Two encoders with the same fingerprint may read the same tables of tokens. ``task``: where an instruction has a
    place for it, two with different ones have different fingerprints. ``folder``: for errors.
    """
    probes = [settings.query(PROBE, task), settings.passage(PROBE, task)]
    read = [ids.tolist() for ids in tokens_of(probes, tokenizer, settings, folder, PROBE_LENGTH)]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), read]).encode()).hexdigest()


def reading_of(metadata: Mapping[bytes, bytes] | None) -> tuple[str | None, str]:
    """The fingerprint and the task in the metadata of a token table; None and "" where it says none."""
    held = metadata or {}
    return held.get(READING_KEY.encode(), b"").decode() or None, held.get(TASK_KEY.encode(), b"").decode()


def write_tokens(selection: Path, encoder: Path, max_length: int, output: Path, task: str = "") -> None:
    """Tokenizes every text of ``selection``; says how many documents were cut at ``max_length`` tokens.

    ``task``: for an encoder whose instructions have a place for it.
    """
    settings = trainable_settings(encoder, max_length)
    tokenizer = load_tokenizer(encoder)
    key = key_of(selection)
    table = pq.read_table(selection, columns=[*key.names, "title", "abstract"])
    titles, abstracts = table["title"].to_pylist(), table["abstract"].to_pylist()
    columns: dict[str, list[npt.NDArray[np.int32]]] = {view: [] for view in VIEWS}
    starts = range(0, len(titles), BATCH_TEXTS)
    for start in track(starts, len(starts), f"tokenizing {selection.stem}", "batches"):
        part = slice(start, start + BATCH_TEXTS)
        texts = {
            "document": _documents(settings, titles[part], abstracts[part], task),
            "query": [settings.query(title, task) for title in titles[part]],
            "passage": [settings.passage(abstract, task) for abstract in abstracts[part]],
        }
        for view in VIEWS:
            columns[view] += tokens_of(texts[view], tokenizer, settings, encoder, max_length)
    schema = with_key(key, *((view, pa.list_(pa.int32())) for view in VIEWS))
    made = pa.table({**{name: table[name] for name in key.names}, **columns}, schema=schema)
    write_parquet(made, output, _metadata(tokenizer, settings, task, encoder))
    lengths = [len(ids) for ids in columns["document"]]
    cut = sum(length == max_length for length in lengths)
    say(f"{len(lengths):,} documents, {sum(lengths) / len(lengths):.0f} tokens on average, {cut:,} cut at {max_length}")


def write_query_tokens(
    selection: Path, queries: Path, encoder: Path, max_length: int, output: Path, task: str = ""
) -> None:
    """Tokenizes every query of ``selection``'s rows, and finds its words among the tokens of the row's document.

    ``task``: of the documents, as given to :func:`write_tokens`; each query has its own.
    """
    settings = trainable_settings(encoder, max_length)
    tokenizer = load_tokenizer(encoder)
    key = key_of(selection)
    table = pq.read_table(selection, columns=[*key.names, "title", "abstract"])
    of_rows = pq.read_table(queries)
    check_same_rows(table, selection, of_rows, queries)
    integers = pa.list_(pa.int32())
    fields = [
        ("kinds", pa.list_(pa.uint8())),
        ("queries", pa.list_(integers)),
        ("starts", integers),
        ("ends", integers),
    ]
    schema = with_key(key, *fields)
    counts = {"queries": 0, "from": 0, "there": 0}
    metadata = _metadata(tokenizer, settings, task, encoder)
    with whole_files(output) as (temporary,), parquet_writer(temporary, schema, metadata) as writer:
        for part in _parts(table, of_rows, selection.stem):
            columns = _query_columns(part, tokenizer, settings, encoder, max_length, task)
            writer.write(pa.table({**{name: part[name] for name in key.names}, **columns}, schema=schema))
            counts["queries"] += sum(map(len, columns["kinds"]))
            counts["from"] += sum(query["start"] is not None for own in part["own"].to_pylist() for query in own)
            counts["there"] += sum(end > 0 for own in columns["ends"] for end in own)
    say(
        f"{counts['queries']:,} queries of {table.num_rows:,} rows; {counts['from']:,} are cut out of their text, "
        f"{counts['from'] - counts['there']:,} of these from beyond the first {max_length} tokens"
    )


def trainable_settings(encoder: Path, max_length: int) -> EncoderSettings:
    """The settings of an encoder folder that may be trained from, with texts of ``max_length`` tokens."""
    settings = read_settings(encoder)
    if max_length > settings.max_length:
        raise BioHiCLError(
            f"max_length is {max_length}, but {encoder.name} reads at most {settings.max_length} tokens; "
            "lower it in config.yaml"
        )
    if settings.document_form == "pair" or passage_folder(encoder) != encoder:
        raise BioHiCLError(
            f"{encoder}: encoders with documents in two segments, or a second encoder for documents, can be evaluated, "
            "not trained from; start the node from another backbone"
        )
    # How long the encoder's own texts are is no part of how they are read.
    return replace(settings, max_length=max_length)


def asks_task(settings: EncoderSettings) -> bool:
    """Whether an instruction for queries or documents has a place for a task."""
    return TASK in settings.query_instruction or TASK in settings.passage_instruction


def _documents(settings: EncoderSettings, titles: list[str], abstracts: list[str], task: str) -> list[str]:
    # One text each: documents in two segments are refused before.
    return [str(settings.document(title, text, task)) for title, text in zip(titles, abstracts, strict=True)]


def _metadata(
    tokenizer: PreTrainedTokenizerBase, settings: EncoderSettings, task: str, encoder: Path
) -> dict[str, str]:
    said = {TASK_KEY: task} if asks_task(settings) else {}
    return {READING_KEY: fingerprint_of(tokenizer, settings, task, encoder), **said}


def _parts(table: pa.Table, queries: pa.Table, name: str) -> Iterator[pa.Table]:
    """The rows of the selection with their queries as the column ``own``, some at a time."""
    joined = table.append_column("own", queries["queries"])
    starts = range(0, joined.num_rows, BATCH_TEXTS)
    for start in track(starts, len(starts), f"tokenizing queries of {name}", "batches"):
        yield joined.slice(start, BATCH_TEXTS)


def _query_columns(
    part: pa.Table,
    tokenizer: PreTrainedTokenizerBase,
    settings: EncoderSettings,
    encoder: Path,
    max_length: int,
    task: str,
) -> dict[str, list[list[Any]]]:
    titles, abstracts, own = (part[name].to_pylist() for name in ("title", "abstract", "own"))
    texts = [settings.query(query["text"], query["task"]) for queries in own for query in queries]
    tokens = iter(tokens_of(texts, tokenizer, settings, encoder, max_length))
    taken = [row for row, queries in enumerate(own) if any(query["start"] is not None for query in queries)]
    documents = _documents(settings, [titles[row] for row in taken], [abstracts[row] for row in taken], task)
    places = dict(zip(taken, places_of(documents, tokenizer, settings, encoder, max_length), strict=True))
    lead = len(settings.passage("", task))
    columns: dict[str, list[list[Any]]] = {name: [] for name in ("kinds", "queries", "starts", "ends")}
    for row, queries in enumerate(own):
        joined = f"{titles[row]} {abstracts[row]}"
        # Places are counted in the joined text; a document is read without the white space around it.
        shift = lead - (len(joined) - len(joined.lstrip()))
        spans = [
            (0, 0)
            if query["start"] is None
            else _tokens_within(places[row], query["start"] + shift, query["end"] + shift)
            for query in queries
        ]
        columns["kinds"].append([QUERY_KINDS.index(query["kind"]) for query in queries])
        columns["queries"].append([next(tokens).tolist() for _ in queries])
        columns["starts"].append([start for start, _ in spans])
        columns["ends"].append([end for _, end in spans])
    return columns


def _tokens_within(places: npt.NDArray[np.int64], start: int, end: int) -> tuple[int, int]:
    """First and last (not included) of the tokens that have a character from ``start`` to ``end``; 0, 0: none has."""
    within = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < end) & (places[:, 1] > places[:, 0]))
    return (int(within[0]), int(within[-1]) + 1) if len(within) else (0, 0)
