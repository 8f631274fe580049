"""How large a model is: by its folder, by its name on the hub, or as BERT-base is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError
from biohicl.storage import read_json

BERT_WORDS = 30_522
POSITIONS = 512
# What a config.json calls hidden size, layers, intermediate size.
_KEYS = {
    "hidden": ("hidden_size", "dim", "d_model"),
    "layers": ("num_hidden_layers", "n_layers", "num_layers"),
    "inner": ("intermediate_size", "hidden_dim"),
}
# Feed-forward layers with a gate have three matrices, not two.
GATED = {"modernbert", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "nomic_bert"}


@dataclass(frozen=True)
class Size:
    """``weights``: without embeddings of words and positions, as what a token costs goes by them; ``all_weights``: with
    them, as they lie on disk. ``known_by``: where that is from, for people; ``is_known``: whether it is no guess.
    ``length``: tokens that it reads of a text."""

    weights: float
    all_weights: float
    dimensions: int
    known_by: str
    is_known: bool = True
    length: int = POSITIONS


def size_by(hidden: int, layers: int, inner: int, words: int, known_by: str, matrices: int = 2) -> Size:
    """layers x (4 hidden^2 + ``matrices`` x hidden x inner): attention's four matrices, and the feed-forward's."""
    weights = layers * (4 * hidden**2 + matrices * hidden * inner)
    return Size(weights, weights + (words + POSITIONS) * hidden, hidden, known_by)


SHAPES = {
    "MiniLM-L6": (384, 6, 1536),
    "MiniLM-L12": (384, 12, 1536),
    "BERT-base": (768, 12, 3072),
    "BERT-large": (1024, 24, 4096),
}
# Names that say nothing of their size, and have one of these shapes.
NAMED = {
    "BAAI/bge-small-en-v1.5": "MiniLM-L12",
    "BAAI/bge-base-en-v1.5": "BERT-base",
    "BAAI/bge-large-en-v1.5": "BERT-large",
    "LunaLan07/BioHiCL-Base": "BERT-base",
    "LunaLan07/BioHiCL-Large": "BERT-large",
    "sentence-transformers/all-MiniLM-L6-v2": "MiniLM-L6",
}
_IN_NAME = re.compile(r"[-_](\d+(?:\.\d+)?)([MB])(?:[-_]|$)", re.IGNORECASE)


def encoder_size(name: str, block: Mapping[str, Any], folder: Path) -> Size:
    """The size of a backbone or a peer with this block; ``folder``: the project's."""
    size = _size(name, block, folder)
    return replace(size, length=block["max_length"]) if block.get("max_length") else size


def _size(name: str, block: Mapping[str, Any], folder: Path) -> Size:
    fetched = folder / "resources/backbones" / name
    own = folder / block["path"] if block.get("path") else None
    for place in (fetched, own):
        if place is not None and (place / "config.json").is_file():
            return _of_folder(place)
    hub = str(block.get("hub") or block.get("path") or "")
    if hub in NAMED:
        size = size_by(*SHAPES[NAMED[hub]], BERT_WORDS, f"{hub} has {NAMED[hub]}'s shape")
        return replace(size, length=256) if NAMED[hub] == "MiniLM-L6" else size
    if said := _IN_NAME.search(hub):
        weights = float(said[1]) * {"M": 1e6, "B": 1e9}[said[2].upper()]
        return Size(weights, weights, SHAPES["BERT-large"][0], f"{hub} by its name, with 1,024 dimensions", False)
    guessed = size_by(*SHAPES["BERT-base"], BERT_WORDS, f"{hub or name} is not here, and taken for BERT-base")
    return replace(guessed, is_known=False)


def _of_folder(folder: Path) -> Size:
    config = read_json(folder / "config.json")
    found = {
        part: next((config[key] for key in keys if isinstance(config.get(key), int)), 0) for part, keys in _KEYS.items()
    }
    if not all(found.values()):
        raise BioHiCLError(f"{folder}/config.json: does not say hidden size, layers and intermediate size")
    words = config.get("vocab_size") or BERT_WORDS
    matrices = 3 if config.get("model_type") in GATED else 2
    said = folder / "sentence_bert_config.json"
    length = (read_json(said).get("max_seq_length") if said.is_file() else None) or POSITIONS
    return replace(
        size_by(**found, words=words, known_by=f"config.json of {folder.name}", matrices=matrices), length=length
    )
