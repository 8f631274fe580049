"""What training reads: tokens and labels of a selection, row for row.

Goes in: the tokens, labels and hierarchy tables, and where a loss asks for them label counts and the terms of MeSH.
Comes out: :class:`TrainingData`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration import node_settings
from biohicl.encoder.folder import EncoderSettings, positions_of
from biohicl.errors import BioHiCLError
from biohicl.mesh.label_counts import read_label_counts
from biohicl.mesh.label_sets import HIERARCHY_KEY, LabelSets
from biohicl.mesh.nodes import Nodes, read_nodes
from biohicl.mesh.similarity import METHODS
from biohicl.mesh.weights import weighting
from biohicl.ragged import Ragged
from biohicl.storage import sha256_of
from biohicl.training.queries import HeadingQueries, read_names
from biohicl.training.targets import Targets
from biohicl.training.tokens import VIEWS, fingerprint_of, reading_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What of an encoder folder, beside its weights, decides on an embedding.
READ_OF_AN_ENCODER = (
    *("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_*/config.json", "tokenizer*.json", "vocab.*", "tokenizer.model", "merges.txt", "special_tokens_map.json"),
)


@dataclass(frozen=True)
class Inputs:
    """The files that a node is trained from. ``label_counts`` and ``terms`` are there where a setting needs them."""

    start: Path
    tokens: Path
    labels: Path
    hierarchy: Path
    label_counts: Path | None = None
    terms: Path | None = None

    def hashes(self) -> dict[str, str]:
        """By name, the SHA-256 of what a model depends on.

        Of the encoder folder that of its weights (in several files: of these), and of all that says how it is read.
        """
        tables = {
            "tokens": self.tokens,
            "labels": self.labels,
            "hierarchy": self.hierarchy,
            "label_counts": self.label_counts,
            "terms": self.terms,
        }
        weights = sorted(self.start.glob("*.safetensors"))
        reading = sorted(path for pattern in READ_OF_AN_ENCODER for path in self.start.glob(pattern))
        hashes = {"start": _of_files(weights, self.start), "start_settings": _of_files(reading, self.start)}
        return hashes | {name: sha256_of(path) for name, path in tables.items() if path is not None}


@dataclass(frozen=True)
class TrainingData:
    """A selection, ready: token lists by view, and what the labels say (None: no setting asks).

    ``reading``: the fingerprint of how the tokens were made; None in tables of before that was noted. ``task``: what
    was put into the encoder's instructions, where these have a place for it.
    """

    pmids: npt.NDArray[np.int32]
    tokens: Mapping[str, Ragged]
    targets: Targets | None
    headings: HeadingQueries | None
    reading: str | None = None
    task: str = ""

    def __len__(self) -> int:
        return len(self.pmids)


def read_training_data(inputs: Inputs, settings: Mapping[str, Any]) -> TrainingData:
    """Reads what a node with these ``settings`` (its block of config.yaml) is trained on."""
    token_table = pq.read_table(inputs.tokens, columns=["pmid", "version", *VIEWS])
    for view in VIEWS:
        if token_table[view].null_count or not pa.types.is_list(token_table[view].type):
            raise BioHiCLError(
                f"{inputs.tokens}: its column {view} does not hold a list of tokens in every row; make it again: "
                "biohicl tokens"
            )
    pmids, token_lists = token_table["pmid"].to_numpy(), {view: Ragged.of(token_table[view]) for view in VIEWS}
    reading, task = reading_of(token_table.schema.metadata)
    label_settings = node_settings(settings).get("labels")
    if label_settings is None:
        return TrainingData(pmids, token_lists, None, None, reading, task)
    nodes = read_nodes(inputs.hierarchy)
    wants_headings = "heading_abstract" in settings["losses"]
    column = METHODS[label_settings["similarity"]].labels
    table = _label_table(inputs, nodes, ["direct", "closed"] if wants_headings else [column])
    for key in ("pmid", "version"):
        if not token_table[key].equals(table[key]):
            raise BioHiCLError(
                f"{inputs.tokens} and {inputs.labels} are not of the same selection: their {key} columns differ"
            )
    sets = {
        name: LabelSets.of(table[name], table[f"{name}_kinds"])
        for name in ("direct", "closed")
        if name in table.column_names
    }
    for name, found in sets.items():
        if len(found.ids.values) and not 0 <= found.ids.values.min() <= found.ids.values.max() < nodes.count:
            raise BioHiCLError(
                f"{inputs.labels}: its column {name} has ids outside the hierarchy's {nodes.count:,} nodes; make it "
                "again: biohicl labels"
            )
    counts = read_label_counts(inputs.label_counts, nodes) if inputs.label_counts else None
    weights = weighting(nodes, label_settings, counts)
    headings = None
    if wants_headings:
        if inputs.terms is None:
            raise BioHiCLError("losses.heading_abstract makes queries of MeSH terms; name their table with --terms")
        names = read_names(inputs.terms, nodes)
        most = settings["losses"]["heading_abstract"]["headings"]
        headings = HeadingQueries(sets["direct"], sets["closed"], weights.nodes, names, most)
    return TrainingData(
        pmids, token_lists, Targets(sets[column], weights, label_settings["similarity"]), headings, reading, task
    )


def check_tokens(
    data: TrainingData, inputs: Inputs, model: Any, tokenizer: PreTrainedTokenizerBase, encoder: EncoderSettings
) -> None:
    """The tokens have to be this model's: as it reads texts, known to its embeddings, no more than it has positions."""
    if data.reading is not None and data.reading != fingerprint_of(tokenizer, encoder, data.task, inputs.start):
        raise BioHiCLError(
            f"{inputs.tokens}: its tokens are of another tokenizer than that of {inputs.start}, or of other "
            "instructions; make them with its own: biohicl tokens (in the workflow, see the backbone's tokens_of)"
        )
    known = model.get_input_embeddings().weight.shape[0]
    positions = positions_of(inputs.start)
    for view, lists in data.tokens.items():
        if len(lists.values) and not 0 <= lists.values.min() <= lists.values.max() < known:
            raise BioHiCLError(
                f"{inputs.tokens}: token {lists.values.max()} of column {view} is none of the {known:,} that "
                f"{inputs.start} has embeddings for: they are of another tokenizer"
            )
        longest = int(lists.lengths().max()) if len(lists) else 0
        if positions is not None and longest > positions:
            raise BioHiCLError(
                f"{inputs.tokens}: has a {view} of {longest:,} tokens, and {inputs.start} has {positions:,} positions: "
                "lower max_length"
            )


def _of_files(files: list[Path], folder: Path) -> str:
    """The SHA-256 of one file, or of the names and hashes of several."""
    if len(files) == 1:
        return sha256_of(files[0])
    listed = "".join(f"{path.relative_to(folder)} {sha256_of(path)}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _label_table(inputs: Inputs, nodes: Nodes, columns: list[str]) -> pa.Table:
    kinds = [f"{column}_kinds" for column in columns]
    table = pq.read_table(inputs.labels, columns=["pmid", "version", *columns, *kinds])
    made_with = (table.schema.metadata or {}).get(HIERARCHY_KEY.encode(), b"").decode()
    if made_with != nodes.fingerprint:
        raise BioHiCLError(
            f"{inputs.labels}: its ids are of another hierarchy than {inputs.hierarchy}; make them again: "
            "biohicl labels"
        )
    return table
