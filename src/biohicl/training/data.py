"""What training reads: tokens and labels of a selection, row for row.

Goes in: the tokens table, and where a loss asks for them labels and hierarchy, label counts, the terms of MeSH, the
texts' own queries, hard negatives, and a teacher's vectors. Comes out: :class:`TrainingData`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.configuration import node_settings
from biohicl.configuration.derived import NEGATIVES_BY, VIEWS
from biohicl.encoder.folder import EncoderSettings, positions_of
from biohicl.errors import BioHiCLError
from biohicl.mesh.label_counts import read_label_counts
from biohicl.mesh.label_sets import HIERARCHY_KEY, LabelSets
from biohicl.mesh.nodes import Nodes, read_nodes
from biohicl.mesh.similarity import METHODS
from biohicl.mesh.weights import weighting
from biohicl.ragged import Ragged
from biohicl.storage import sha256_of
from biohicl.training.draw import descriptor_numbers
from biohicl.training.own_queries import OwnQueries
from biohicl.training.provenance import sha256_of_files, weights_sha256
from biohicl.training.queries import HeadingQueries, read_names
from biohicl.training.rows import check_same_rows, kind_of
from biohicl.training.targets import Targets
from biohicl.training.teacher import keys_of, read_teacher
from biohicl.training.tokens import fingerprint_of, reading_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The losses that read titles as queries.
TITLES_READ_BY = {"title_abstract", "teacher_vectors"}
# What of an encoder folder, beside its weights, decides on an embedding.
READ_OF_AN_ENCODER = (
    *("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_*/config.json", "tokenizer*.json", "vocab.*", "tokenizer.model", "merges.txt", "special_tokens_map.json"),
)


@dataclass(frozen=True)
class Inputs:
    """The files that a node is trained from; all but two are there where a setting needs them.

    ``teacher``: the folder of an encode node; ``teacher_views``: the views of it that are read, None for all there.
    """

    start: Path
    tokens: Path
    labels: Path | None = None
    hierarchy: Path | None = None
    label_counts: Path | None = None
    terms: Path | None = None
    queries: Path | None = None
    negatives: Path | None = None
    teacher: Path | None = None
    teacher_views: Sequence[str] | None = None

    def taught(self) -> list[str]:
        """The views of the teacher that are read: of others, an earlier run may have left vectors."""
        if self.teacher is None:
            return []
        named = self.teacher_views
        there = [view for view in VIEWS if (self.teacher / f"{view}.npy").is_file()] if named is None else list(named)
        return there or list(VIEWS)

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
            "queries": self.queries,
            "negatives": self.negatives,
        }
        reading = sorted(path for pattern in READ_OF_AN_ENCODER for path in self.start.glob(pattern))
        hashes = {"start": weights_sha256(self.start), "start_settings": sha256_of_files(reading, self.start)}
        if self.teacher is not None:
            vectors = sorted(self.teacher / f"{view}.npy" for view in self.taught())
            hashes["teacher"] = sha256_of_files(vectors, self.teacher)
        return hashes | {name: sha256_of(path) for name, path in tables.items() if path is not None}


@dataclass(frozen=True)
class TrainingData:
    """A selection, ready: token lists by view, and what else a setting asks for (None: none does).

    ``numbers`` (n,): PMIDs of citations, numbers of descriptors, which several texts may describe, or rows of pairs;
    ``called``: which of these, in words. ``negatives``: hard ones by source, as rows. ``teacher``: vectors (n, d) by
    view. ``reading``: the fingerprint of how the tokens were made; None in tables of before that was noted. ``task``:
    what was put into the encoder's instructions, where these have a place for it. ``titled`` (n,): which texts have a
    title to find them; None: all.
    """

    numbers: npt.NDArray[np.int64]
    tokens: Mapping[str, Ragged]
    targets: Targets | None
    headings: HeadingQueries | None
    reading: str | None = None
    task: str = ""
    called: str = "PMIDs"
    queries: OwnQueries | None = None
    negatives: Mapping[str, Ragged] = field(default_factory=dict)
    teacher: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    titled: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def has_titles(self) -> bool:
        """Whether a text's title is a query for it; labelled documents have queries of their own."""
        return self.called != "rows"


def read_training_data(inputs: Inputs, settings: Mapping[str, Any]) -> TrainingData:
    """Reads what a node with these ``settings`` (its block of config.yaml) is trained on."""
    token_table = pq.read_table(inputs.tokens)
    keys = [name for name in token_table.column_names if name not in VIEWS]
    for view in VIEWS:
        if token_table[view].null_count or not pa.types.is_list(token_table[view].type):
            raise BioHiCLError(
                f"{inputs.tokens}: its column {view} does not hold a list of tokens in every row; make it again: "
                "biohicl tokens"
            )
    numbers, called = _numbers(token_table, kind_of(keys, inputs.tokens))
    token_lists = {view: Ragged.of(token_table[view]) for view in VIEWS}
    reading, task = reading_of(token_table.schema.metadata)
    rows = token_table.select(keys)
    targets, headings = _label_data(inputs, settings, rows)
    return TrainingData(
        numbers,
        token_lists,
        targets,
        headings,
        reading,
        task,
        called,
        _own_queries(inputs, settings, rows, reading),
        _negatives(inputs, settings, rows),
        _teacher(inputs, keys_of(token_table)),
    )


def _numbers(table: pa.Table, kind: str) -> tuple[npt.NDArray[np.int64], str]:
    """What each row of a selection of this kind is of, as a number, and what these numbers are called."""
    if kind == "citations":
        return table["pmid"].to_numpy().astype(np.int64), "PMIDs"
    if kind == "concepts":
        return descriptor_numbers(table["descriptor_ui"].to_pylist()).astype(np.int64), "descriptors D"
    return np.arange(table.num_rows, dtype=np.int64), "rows"


def _own_queries(inputs: Inputs, settings: Mapping[str, Any], keys: pa.Table, reading: str | None) -> OwnQueries | None:
    block = settings["losses"].get("query_text")
    if block is None:
        return None
    if inputs.queries is None:
        raise BioHiCLError("losses.query_text reads the texts' own queries; name their table of tokens with --queries")
    table = pq.read_table(inputs.queries)
    check_same_rows(keys, inputs.tokens, table, inputs.queries)
    if reading_of(table.schema.metadata)[0] != reading:
        raise BioHiCLError(f"{inputs.queries} and {inputs.tokens} are of different tokenizers or instructions")
    return OwnQueries.of(table, block["kinds"])


def _teacher(inputs: Inputs, keys: str) -> dict[str, npt.NDArray[np.float32]]:
    if inputs.teacher is None:
        return {}
    return read_teacher(inputs.teacher, inputs.taught(), keys)


def _negatives(inputs: Inputs, settings: Mapping[str, Any], keys: pa.Table) -> dict[str, Ragged]:
    counts = {name: settings.get("negatives", {}).get(name, 0) for name in NEGATIVES_BY}
    wanted = [name for name, count in counts.items() if count]
    if not wanted:
        return {}
    if inputs.negatives is None:
        raise BioHiCLError("negatives of a node are rows of a table; name it with --negatives")
    table = pq.read_table(inputs.negatives)
    check_same_rows(keys, inputs.tokens, table, inputs.negatives)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise BioHiCLError(f"{inputs.negatives}: has no column {missing[0]}; make it again: biohicl negatives")
    found = {name: Ragged.of(table[name]) for name in wanted}
    for name, rows in found.items():
        if len(rows.values) and not 0 <= rows.values.min() <= rows.values.max() < len(rows):
            raise BioHiCLError(f"{inputs.negatives}: its column {name} names rows that the selection does not have")
    return found


def _label_data(
    inputs: Inputs, settings: Mapping[str, Any], keys: pa.Table
) -> tuple[Targets | None, HeadingQueries | None]:
    """What the labels say, and queries of headings, where a setting asks for them."""
    label_settings = node_settings(settings).get("labels")
    if label_settings is None:
        return None, None
    if inputs.labels is None or inputs.hierarchy is None:
        raise BioHiCLError("this node's losses read labels; name their tables with --labels and --hierarchy")
    nodes = read_nodes(inputs.hierarchy)
    wants_headings = "heading_abstract" in settings["losses"]
    column = METHODS[label_settings["similarity"]].labels
    table = _label_table(inputs.labels, inputs.hierarchy, nodes, ["direct", "closed"] if wants_headings else [column])
    check_same_rows(keys, inputs.tokens, table, inputs.labels)
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
    return Targets(sets[column], weights, label_settings["similarity"]), headings


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
    own = {} if data.queries is None else {"queries": data.queries.tokens}
    for view, lists in {**data.tokens, **own}.items():
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


def check_teacher(data: TrainingData, inputs: Inputs, width: int) -> None:
    """A teacher's vectors have as many numbers as the model's own, ``width``."""
    for view, vectors in data.teacher.items():
        if vectors.shape[1] != width:
            raise BioHiCLError(
                f"{inputs.teacher}: its {view} vectors have {vectors.shape[1]:,} numbers, and those of {inputs.start} "
                f"{width:,}; encode with a model of the same width (the encoder of the node that is the teacher)"
            )


def with_titled(
    data: TrainingData, inputs: Inputs, losses: Mapping[str, Any], blank: npt.NDArray[np.int32]
) -> TrainingData:
    """``data`` with its ``titled``: of labelled documents not all have a title.

    ``blank``: the tokens of a query that says nothing.
    """
    if data.has_titles or not losses.keys() & TITLES_READ_BY:
        return data
    titled = np.array([not np.array_equal(ids, blank) for ids in data.tokens["query"].rows(np.arange(len(data)))])
    if "title_abstract" in losses and not titled.any():
        raise BioHiCLError(
            f"{inputs.tokens}: none of its texts has a title, and losses.title_abstract asks with titles; take that "
            "loss out (null), or bring texts with titles"
        )
    return replace(data, titled=titled)


def check_own_queries(data: TrainingData, inputs: Inputs, losses: Mapping[str, Any]) -> str | None:
    """What is to be said where fewer texts have a query of their own than are asked for; an error where nothing else is
    learned from, and none has."""
    block = losses.get("query_text")
    if block is None or data.queries is None:
        return None
    there, kinds = float(data.queries.usable.mean()), " or ".join(block["kinds"] or ("any",))
    if losses.keys() == {"query_text"}:
        # It is trained on those that have one alone.
        if there > 0:
            return None
        raise BioHiCLError(
            f"{inputs.queries}: no text has a query of kind {kinds}, and this node learns from nothing else; name "
            "others in losses.query_text.kinds, or another selection"
        )
    if there >= block["share"]:
        return None
    instead = "the titles of others stand in" if losses.keys() & TITLES_READ_BY else "others get none"
    return (
        f"note: {there:.1%} of the texts have a query of their own (kind {kinds}), and losses.query_text asks for "
        f"{block['share']:.0%}: {instead}"
    )


def _label_table(labels: Path, hierarchy: Path, nodes: Nodes, columns: list[str]) -> pa.Table:
    known = pq.read_schema(labels).names
    unread = {f"{name}{ending}" for name in ("direct", "closed") if name not in columns for ending in ("", "_kinds")}
    table = pq.read_table(labels, columns=[name for name in known if name not in unread])
    made_with = (table.schema.metadata or {}).get(HIERARCHY_KEY.encode(), b"").decode()
    if made_with != nodes.fingerprint:
        raise BioHiCLError(
            f"{labels}: its ids are of another hierarchy than {hierarchy}; make them again: biohicl labels"
        )
    return table
