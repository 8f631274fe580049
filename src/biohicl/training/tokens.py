"""Tokens of a selection for one backbone's tokenizer and one length.

Goes in: a selection and an encoder folder. Comes out: one Parquet file, a row a citation in the selection's
order: pmid, version, and three token lists with the tokenizer's special tokens, cut at the length:

document   passage instruction + title + " " + abstract
query      query instruction + title
passage    passage instruction + abstract
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.encoder.folder import EncoderSettings, load_tokenizer, passage_folder, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import write_parquet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VIEWS = ("document", "query", "passage")
TOKENS = pa.schema([("pmid", pa.int32()), ("version", pa.int16()), *((view, pa.list_(pa.int32())) for view in VIEWS)])
BATCH_TEXTS = 2_000
# In a token table's Parquet metadata: the fingerprint of the reading that its ids come from.
READING_KEY = "biohicl.reading"
# What tokenizers differ in: case, accents, digits, punctuation, other scripts, spaces, line ends.
PROBE = (
    "Effect of TGF-\u03b21 on na\u00efve T-cells (n = 1,234; P<.05):  "
    "M\u00e9ni\u00e8re\u2019s disease \u2014 \u7cd6\u5c3f\u75c5\n"
)


def fingerprint_of(tokenizer: PreTrainedTokenizerBase, settings: EncoderSettings) -> str:
    """How a text becomes ids, and what these mean, as a SHA-256: the vocabulary, and a probe as query and as document.

    Two encoders with the same fingerprint may read the same tables of tokens.
    """
    read = [tokenizer(text)["input_ids"] for text in (settings.query(PROBE), settings.passage(PROBE))]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), read]).encode()).hexdigest()


def write_tokens(selection: Path, encoder: Path, max_length: int, output: Path) -> None:
    """Tokenizes every text of ``selection``; says how many documents were cut at ``max_length`` tokens."""
    settings = read_settings(encoder)
    if max_length > settings.max_length:
        raise BioHiCLError(
            f"max_length is {max_length}, but {encoder.name} reads at most {settings.max_length} tokens; "
            "lower it in config.yaml"
        )
    if settings.append_eos or settings.document_form == "pair" or passage_folder(encoder) != encoder:
        raise BioHiCLError(
            f"{encoder}: encoders with an appended end token, documents in two segments, or a second encoder for "
            "documents can be evaluated, not trained from; start the node from another backbone"
        )
    tokenizer = load_tokenizer(encoder)
    table = pq.read_table(selection, columns=["pmid", "version", "title", "abstract"])
    titles, abstracts = table["title"].to_pylist(), table["abstract"].to_pylist()
    columns: dict[str, list[list[int]]] = {view: [] for view in VIEWS}
    starts = range(0, len(titles), BATCH_TEXTS)
    for start in track(starts, len(starts), f"tokenizing {selection.stem}", "batches"):
        part = slice(start, start + BATCH_TEXTS)
        texts = {
            "document": [settings.passage(f"{t} {a}") for t, a in zip(titles[part], abstracts[part], strict=True)],
            "query": [settings.query(title) for title in titles[part]],
            "passage": [settings.passage(abstract) for abstract in abstracts[part]],
        }
        for view in VIEWS:
            columns[view] += tokenizer(texts[view], truncation=True, max_length=max_length)["input_ids"]
    made = pa.table({"pmid": table["pmid"], "version": table["version"], **columns}, schema=TOKENS)
    write_parquet(made, output, {READING_KEY: fingerprint_of(tokenizer, settings)})
    lengths = [len(ids) for ids in columns["document"]]
    cut = sum(length == max_length for length in lengths)
    say(f"{len(lengths):,} documents, {sum(lengths) / len(lengths):.0f} tokens on average, {cut:,} cut at {max_length}")
