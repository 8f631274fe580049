"""Texts to vectors.

Goes in: an encoder folder and texts. Comes out: float32 vectors (n, d); between the two, token lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from biohicl.encoder.folder import (
    EncoderSettings,
    Precision,
    Text,
    eos_id_of,
    load_model,
    load_tokenizer,
    pad_id_of,
    passage_folder,
    read_settings,
)
from biohicl.errors import BioHiCLError
from biohicl.machine import visible_gpus
from biohicl.progress import say, track

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from biohicl.encoder.packing import TokenLists

Kind = Literal["queries", "documents", "sentences"]
Tokens = npt.NDArray[np.int32]
# What a tokenizer notes of a token takes far more memory than its id.
TEXTS_AT_A_TIME = 1_000


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` takes a GPU where there is one."""
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if given := os.environ.get("CUDA_VISIBLE_DEVICES", ""):
            say(
                f"warning: CUDA_VISIBLE_DEVICES gives this job GPU {given}, but torch {torch.__version__} sees none, "
                "and the CPU computes. Does nvidia-smi see it, and is this torch built for CUDA?"
            )
        elif there := visible_gpus():
            names = ", ".join(gpu.name for gpu in there)
            say(
                f"warning: the driver has GPU {names}, but torch {torch.__version__} sees none, and the CPU computes. "
                "Is this torch built for CUDA, and the driver new enough for it?"
            )
        return torch.device("cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise BioHiCLError("a CUDA device was asked for, but torch sees none; use --device cpu or auto")
    try:
        return torch.device(wanted)
    except RuntimeError:
        raise BioHiCLError(f"'{wanted}' is no device that torch knows; use auto, cpu or cuda") from None


def tokens_of(
    texts: Sequence[Text],
    tokenizer: PreTrainedTokenizerBase,
    settings: EncoderSettings,
    folder: Path,
    max_length: int | None = None,
) -> list[Tokens]:
    """Each text's tokens, cut at ``max_length`` (None: that of the settings), special tokens included.

    ids (n,), int32; of texts of two segments ids and token types (n, 2), which models without types leave aside. A
    tokenizer without special tokens makes nothing of an empty text. ``folder``: for the error where ``append_eos``
    is set and the tokenizer has no such token.
    """
    eos = eos_id_of(tokenizer, folder) if settings.append_eos else None
    longest = (max_length or settings.max_length) - (eos is not None)
    found: list[Tokens] = []
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        part = list(texts[start : start + TEXTS_AT_A_TIME])
        # All texts of a call have as many segments.
        segments = (part,) if isinstance(part[0], str) else tuple(map(list, zip(*part, strict=True)))
        are_pairs = len(segments) == 2
        # Whether they are given unasked depends on the class that the tokenizer is said to be of.
        read = tokenizer(*segments, truncation=True, max_length=longest, return_token_type_ids=are_pairs)
        rows: Any = read["input_ids"]
        if are_pairs:
            rows = (list(zip(*columns, strict=True)) for columns in zip(rows, read["token_type_ids"], strict=True))
        found += [np.array(row, dtype=np.int32) for row in rows]
    return found if eos is None else [_ended(tokens, eos) for tokens in found]


def places_of(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: EncoderSettings,
    folder: Path,
    max_length: int | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Where the tokens of each text that :func:`tokens_of` makes stand in it: first and last character, (n, 2).

    In characters from 0, the last one not included; (0, 0) for special tokens. An error where the tokenizer does not
    know (only fast ones do).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise BioHiCLError(
            f"{folder}: its tokenizer does not say where its tokens stand; one with a tokenizer.json does"
        )
    eos = eos_id_of(tokenizer, folder) if settings.append_eos else None
    longest = (max_length or settings.max_length) - (eos is not None)
    found: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        part = list(texts[start : start + TEXTS_AT_A_TIME])
        read = tokenizer(part, truncation=True, max_length=longest, return_offsets_mapping=True)
        for ids, places in zip(read["input_ids"], read["offset_mapping"], strict=True):
            own = np.array(places, dtype=np.int64).reshape(-1, 2)
            appended = eos is not None and not (ids and ids[-1] == eos)
            found.append(np.concatenate([own, np.zeros((1, 2), dtype=np.int64)]) if appended else own)
    return found


def _ended(tokens: Tokens, eos: int) -> Tokens:
    if len(tokens) and np.ravel(tokens[-1])[0] == eos:
        return tokens
    # An end is of the last segment.
    end = np.array([[eos, *tokens[-1, 1:]]] if tokens.ndim == 2 else [eos], dtype=np.int32)
    return np.concatenate([tokens, end])


def prepared(settings: EncoderSettings, kind: Kind, texts: Sequence[Any], task: str = "") -> list[Text]:
    """Texts as they are tokenized: with the instruction for their ``kind``.

    ``texts``: (title or "", text) of documents, else plain ones. An error where the instruction wants a task.
    """
    if kind == "documents":
        return [settings.document(title, text, task) for title, text in texts]
    instructed = settings.query if kind == "queries" else settings.sentence
    return [instructed(text, task) for text in texts]


class Encoder:
    """An encoder folder, loaded.

    ``precision``: what it computes in (:func:`~biohicl.encoder.folder.computed_in`).
    """

    def __init__(self, folder: Path, device: str = "auto", precision: Precision | None = None) -> None:
        from biohicl.encoder.packing import TextModel

        self.folder = folder
        self.settings = read_settings(folder)
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(folder, self.settings.dtype).to(pick_device(device))
        pad_id = pad_id_of(self.tokenizer)
        self.text_model = TextModel(self.model, self.settings.pooling, pad_id, precision=precision)
        self._how = device, precision

    @property
    def dimension(self) -> int:
        """The numbers of a vector."""
        return int(self.model.config.hidden_size)

    @cached_property
    def passages(self) -> Encoder:
        """The encoder of documents: this one, or that of the subfolder passage/, loaded when it is asked for."""
        folder = passage_folder(self.folder)
        return self if folder == self.folder else Encoder(folder, *self._how)

    def encode(
        self, texts: Sequence[Text], batch_size: int = 64, description: str = "encoding"
    ) -> npt.NDArray[np.float32]:
        """Vectors (n, d), float32, in the order of ``texts``; unit length where the folder says so.

        Texts are taken as they are, without instructions: all plain ones, or all (title, text). They are batched by
        length, so that little padding is computed.
        """

        def name(row: int) -> str:
            text = texts[row]
            return f"the text '{(text if isinstance(text, str) else ' '.join(text))[:60]}'"

        return self.embed_tokens(self.tokens(texts), batch_size, name, description)

    def encode_queries(
        self, texts: Sequence[str], task: str = "", batch_size: int = 64, description: str = "encoding queries"
    ) -> npt.NDArray[np.float32]:
        """As :meth:`encode`, with the instruction for queries."""
        return self.encode(self.prepared("queries", texts, task), batch_size, description)

    def encode_documents(
        self,
        documents: Sequence[tuple[str, str]],
        task: str = "",
        batch_size: int = 64,
        description: str = "encoding documents",
    ) -> npt.NDArray[np.float32]:
        """As :meth:`encode`, of (title or "", text), with the instruction and the encoder for documents."""
        passages = self.passages
        return passages.encode(passages.prepared("documents", documents, task), batch_size, description)

    def encode_sentences(
        self, texts: Sequence[str], task: str = "", batch_size: int = 64, description: str = "encoding sentences"
    ) -> npt.NDArray[np.float32]:
        """As :meth:`encode`, with the instruction for sentences that are compared with each other."""
        return self.encode(self.prepared("sentences", texts, task), batch_size, description)

    def prepared(self, kind: Kind, texts: Sequence[Any], task: str = "") -> list[Text]:
        """Texts as :meth:`encode` and :meth:`tokens` take them (see :func:`prepared`)."""
        return prepared(self.settings, kind, texts, task)

    def tokens(self, texts: Sequence[Text]) -> list[Tokens]:
        """Token lists as :func:`tokens_of` makes them; may run in a thread beside :meth:`embed_tokens`."""
        return tokens_of(texts, self.tokenizer, self.settings, self.folder)

    def embed_tokens(
        self,
        token_lists: TokenLists,
        batch_size: int = 64,
        name: Callable[[int], str] | None = None,
        description: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """Vectors (n, d) of token lists as :meth:`encode` gives them.

        ``name``: what an error calls the text of a row, counted from 0. ``description``: of the progress that is told;
        None: none. Raises :class:`BioHiCLError` where a vector is not finite.
        """
        import torch

        order = sorted(range(len(token_lists)), key=lambda i: -len(token_lists[i]))
        vectors = np.empty((len(token_lists), self.dimension), dtype=np.float32)
        batches: Iterable[list[int]] = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        if description and token_lists:
            batches = track(batches, -(-len(order) // batch_size), description, "batches")
        with torch.inference_mode():
            for rows in batches:
                batch = self.text_model.embed_all([token_lists[i] for i in rows])
                if self.settings.normalize:
                    batch = torch.nn.functional.normalize(batch, dim=-1)
                vectors[rows] = batch.cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            row = int(bad[0])
            advice = "; its numbers may be too large for float16: load it as bfloat16"
            raise BioHiCLError(
                f"{self.folder}: gives NaN or infinite vectors, first for {name(row) if name else f'text {row + 1}'}"
                + (advice if self.settings.dtype == "float16" else "")
            )
        return vectors
