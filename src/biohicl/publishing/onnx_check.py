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
from biohicl.encoder.folder import Text
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
    texts: list[Text] = list(_texts(tokenizer, encoder.settings.max_length))
    largest = _largest(session, tokenizer, encoder, texts, tolerance)
    if encoder.settings.document_form == "pair":
        pairs: list[Text] = [(str(text)[:40], str(text)) for text in texts]
        largest = max(largest, _largest(session, tokenizer, encoder, pairs, tolerance))
    return len(texts), largest


def _largest(session: Any, tokenizer: Any, encoder: Encoder, texts: Sequence[Text], tolerance: float) -> float:
    tokens = encoder.tokens(texts)
    for text, own in zip(texts, tokens, strict=True):
        read = tokenizer.encode(*([text] if isinstance(text, str) else text))
        found = read.ids if own.ndim == 1 else [list(pair) for pair in zip(read.ids, read.type_ids, strict=True)]
        if found != own.tolist():
            raise BioHiCLError(
                f"{encoder.folder}: its tokenizer, saved as one file, reads {text[:40]!r} as other tokens than before; "
                "nothing is written"
            )
    wanted = encoder.embed_tokens(tokens)
    largest = 0.0
    # Each alone, and each with others of other lengths, padded.
    batches = [[place] for place in range(len(texts))]
    step = -(-len(texts) // TOGETHER)
    batches += [list(range(start, len(texts), step)) for start in range(step)]
    for places in batches:
        vectors = _embed(session, tokenizer, [texts[place] for place in places])
        difference = float(np.abs(vectors - wanted[places]).max())
        if not difference <= tolerance:
            raise BioHiCLError(
                f"{encoder.folder}: its ONNX form gives other vectors: they differ by {difference:.1e}, and "
                f"{tolerance:g} is allowed, first for a text of {len(tokens[places[0]])} tokens "
                f"({texts[places[0]][:40]!r}); nothing is written"
            )
        largest = max(largest, difference)
    return largest


def _embed(session: Any, tokenizer: Any, texts: Sequence[Text]) -> npt.NDArray[np.float32]:
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
    return [*odd, *texts]
