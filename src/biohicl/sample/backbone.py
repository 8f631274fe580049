"""The sample's backbone: a BERT of two layers that has read nothing yet.

Its vocabulary is WordPiece: each character alone and as a continuation, then the most frequent words of the
sample. (The tokenizers library has a trainer, but it breaks ties at random.) Its weights are uniform random
numbers from a generator whose stream NumPy keeps frozen, so that they are the same on every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from biohicl.encoder.folder import EncoderSettings, write_settings
from biohicl.storage import write_json

VOCABULARY = 3_000
HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS = 128, 2, 2, 256, 128
MAX_LENGTH = 96
SEED = 20990101
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpieces(texts: Iterable[str]) -> list[str]:
    """The vocabulary, in the order of its ids."""
    words = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in words for character in word})
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    return pieces + frequent[: VOCABULARY - len(pieces)]


def write_backbone(texts: Iterable[str], folder: Path) -> None:
    """Writes config.json, model.safetensors, tokenizer and pooling settings."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = wordpieces(texts)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    write_json(
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": len(vocabulary),
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": INTERMEDIATE,
            "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        },
        folder / "config.json",
    )
    special = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    write_json(
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": MAX_LENGTH}
        | {f"{name}_token": token for name, token in special.items()},
        folder / "tokenizer_config.json",
    )
    save_file(_weights(len(vocabulary)), folder / "model.safetensors", metadata={"format": "pt"})
    write_settings(EncoderSettings(pooling="mean", normalize=True, max_length=MAX_LENGTH), folder, HIDDEN)


def _weights(vocabulary: int) -> dict[str, np.ndarray]:
    """BERT's tensors by their names: uniform with BERT's standard deviation of 0.02; LayerNorms are the identity."""
    draw = np.random.RandomState(SEED)
    half_width = 0.02 * 3**0.5

    def random_matrix(*shape: int) -> np.ndarray:
        return ((draw.random_sample(shape) * 2 - 1) * half_width).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": random_matrix(vocabulary, HIDDEN),
        "embeddings.position_embeddings.weight": random_matrix(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": random_matrix(2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    linear = {}
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            linear[f"{at}attention.self.{name}"] = (HIDDEN, HIDDEN)
        linear[f"{at}attention.output.dense"] = (HIDDEN, HIDDEN)
        linear[f"{at}intermediate.dense"] = (INTERMEDIATE, HIDDEN)
        linear[f"{at}output.dense"] = (HIDDEN, INTERMEDIATE)
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    linear["pooler.dense"] = (HIDDEN, HIDDEN)
    for name, shape in linear.items():
        weights[f"{name}.weight"] = random_matrix(*shape)
        weights[f"{name}.bias"] = np.zeros(shape[0], dtype=np.float32)
    for name in norms:
        weights[f"{name}.weight"] = np.ones(HIDDEN, dtype=np.float32)
        weights[f"{name}.bias"] = np.zeros(HIDDEN, dtype=np.float32)
    return weights
