"""Whether an ONNX file gives the vectors of the model that it was made from.

Goes in: the files that were exported, and the model's folder. Comes out: by how much the vectors differ at most, over
texts of few tokens and of as many as are read, alone and in batches; an error where that is too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.encoder.embed import Encoder
from biohicl.errors import BioHiCLError

# Texts that are read together.
TOGETHER = 4


def largest_difference(model: Path, tokenizer_file: Path, folder: Path, tolerance: float) -> tuple[int, float]:
    """How many texts were read by both, and by how much a number of their vectors differs at most.

    ``model``, ``tokenizer_file``: what was exported from ``folder``. Raises :class:`BioHiCLError` where tokens differ,
    or a number by more than ``tolerance``.
    """
    from tokenizers import Tokenizer

    encoder = Encoder(folder, "cpu", "float32")
    # As anyone reads them, from the files.
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    session = open_session(model)
    texts = _texts(tokenizer, encoder.settings.max_length)
    _check_tokens(tokenizer, encoder, texts)
    wanted = encoder.encode(texts)
    largest = 0.0
    # Each alone, and each with others of other lengths, padded.
    batches = [[place] for place in range(len(texts))]
    step = -(-len(texts) // TOGETHER)
    batches += [list(range(start, len(texts), step)) for start in range(step)]
    for places in batches:
        found = _embed(session, tokenizer, [texts[place] for place in places])
        difference = float(np.abs(found - wanted[places]).max())
        if not difference <= tolerance:
            length = len(encoder.tokens([texts[places[0]]])[0])
            raise BioHiCLError(
                f"{folder}: its ONNX form gives other vectors: they differ by {difference:.1e}, and {tolerance:g} is "
                f"allowed, first for a text of {length} tokens ({texts[places[0]][:40]!r}); nothing is written"
            )
        largest = max(largest, difference)
    return len(texts), largest


def _embed(session: Any, tokenizer: Any, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Vectors (n, d) of ``texts`` by an onnxruntime session, read as one batch."""
    read = tokenizer.encode_batch(list(texts))
    columns = {
        "input_ids": [one.ids for one in read],
        "attention_mask": [one.attention_mask for one in read],
        "token_type_ids": [one.type_ids for one in read],
    }
    wanted = [given.name for given in session.get_inputs()]
    found = session.run(["sentence_embedding"], {name: np.array(columns[name], dtype=np.int64) for name in wanted})[0]
    return np.asarray(found, dtype=np.float32)


def open_session(file: Path) -> Any:
    """An onnxruntime session of the file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _texts(tokenizer: Any, longest: int) -> list[str]:
    """Texts of few tokens and of many, up to more than are read, and such as people do not expect."""
    word = "aspirin for acute stroke in mice, 95 % confidence "
    tokens_of_word = max(len(tokenizer.encode(word, add_special_tokens=False).ids), 1)
    lengths = [length for length in (2, 8, 20, 60, 128, 300) if length < longest] + [longest, 2 * longest]
    texts = [(word * (length // tokens_of_word + 1)).strip() for length in lengths]
    odd = [
        "",
        " ",
        "a",
        "β-blocker",
        "TiO₂ & «µ» \N{PILL} \N{FAMILY}",
        "\u200b\x00\ufeff",
        "心筋梗塞",
        "x" * (4 * longest),
    ]
    return [*odd, "x" * (4 * longest), *texts]


def _check_tokens(tokenizer: Any, encoder: Encoder, texts: Sequence[str]) -> None:
    for text, tokens in zip(texts, encoder.tokens(texts), strict=True):
        if tokenizer.encode(text).ids != tokens.tolist():
            raise BioHiCLError(
                f"{encoder.folder}: its tokenizer, saved as one file, reads {text[:40]!r} as other tokens than before; "
                "nothing is written"
            )
