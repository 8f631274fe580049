"""Texts end to end: one row of tokens without padding, in which no text attends to another.

Goes in: token lists. Comes out: embeddings (B, d) in fp32, the same as those of the padded batch to rounding.

The transformer, encoder or decoder, is the library's own; only its attention is replaced, by a function of the packed
queries, keys and values. On a CPU that is scaled dot-product attention text by text (texts of equal length at once), on
a GPU ``varlen_attn``, which runs on GPUs alone and in 16 bits alone. Architectures whose attention cannot be replaced
(MPNet), or is more than the softmax of scaled products within a window (Gemma 2), or that carry something from token
to token beside it (state-space models) are padded.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from biohicl.encoder.folder import OFFSET_POSITIONS, Pooling, Precision, computed_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "biohicl_packed"
# `varlen_attn` counts its blocks by the longest text. A compiled model may be made again for each new number of them,
# so it is rounded up to a power of two, from this on.
SHORTEST_LONGEST = 64

# Tokens computed at a time. On a CPU packed texts are read in small parts: the C library asks the system anew for every
# array above 32 MB, and clearing their pages took a third of a step of 64 abstracts (a layer 4,096 wide is 32 MB for
# 2,000 tokens). Padded texts, longest first, are then of similar lengths.
PACKED_ON_A_CPU = 2_000
PADDED = 16_384

# A text's tokens: their ids (n,), or ids and token types (n, 2).
TokenLists = Sequence[Sequence[int] | npt.NDArray[np.integer]]
# What some models hand to attention beside queries, keys and values, and what changes its result.
NOT_DONE = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")
# How many tokens of its text a token sees before and behind itself; -1: all of them. (-1, 0) is causal attention.
Window = tuple[int, int]
EVERYWHERE: Window = (-1, -1)


class Texts(NamedTuple):
    """Where the texts of a packed row are, for an attention function."""

    attend: Attention
    offsets: Tensor  # (B + 1,) int32: text i is offsets[i] to offsets[i + 1]
    longest: int  # tokens, at least those of the longest text
    runs: tuple[tuple[int, int], ...]  # (texts, their length) of each run of equal lengths; none on a GPU


class Attention(Protocol):
    """Attention of packed texts: queries, keys and values (T, heads, width) in, (T, heads, width) out."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: Window) -> Tensor: ...


@torch.compiler.disable  # type: ignore[untyped-decorator]
def block_diagonal(q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: Window) -> Tensor:
    """SDPA of each text with itself, on any device and in any precision; texts of one length go in one call."""
    sizes = [count * length for count, length in texts.runs]
    done = []
    for (count, length), *parts in zip(texts.runs, q.split(sizes), k.split(sizes), v.split(sizes), strict=True):
        one, other, values = (part.unflatten(0, (count, length)).transpose(1, 2) for part in parts)
        # A window that reaches beyond the text hides nothing of it.
        before, behind = (-1 if reach >= length - 1 else reach for reach in window)
        is_causal = (before, behind) == (-1, 0)
        near = None if is_causal or (before, behind) == EVERYWHERE else _within(length, before, behind).to(q.device)
        if q.dtype == torch.bfloat16 and near is None and not is_causal:
            # On a CPU, written out it takes half of the time, most of it saved on the way back.
            attended = ((one * scale) @ other.transpose(-1, -2)).softmax(dim=-1) @ values
        else:
            attended = scaled_dot_product_attention(
                one, other, values, attn_mask=near, is_causal=is_causal, scale=scale
            )
        done.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(done)


def _within(length: int, before: int, behind: int) -> Tensor:
    """(length, length): whether the token of a row sees that of a column; -1: as far as the text goes."""
    ahead = torch.arange(length) - torch.arange(length)[:, None]
    return (ahead >= -(length if before < 0 else before)) & (ahead <= (length if behind < 0 else behind))


def variable_length(q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: Window) -> Tensor:
    """Flash attention over texts of any lengths: CUDA (compute capability 8.0 and later), computed in bfloat16.

    Of a forward pass in fp32 with this attention, embeddings are within 5e-3 of the padded ones; where all of it is in
    bfloat16, within 3e-2 (tests/test_gpu_path.py, tests/test_packing.py).
    """
    from torch.nn.attention.varlen import varlen_attn

    half = torch.bfloat16 if q.dtype not in (torch.bfloat16, torch.float16) else q.dtype
    # Torch 2.11 has fewer arguments; those that say nothing new are left out.
    options: dict[str, Any] = {} if window == EVERYWHERE else {"window_size": window}
    if abs(scale - q.shape[-1] ** -0.5) > 1e-9:
        options["scale"] = scale
    offsets, longest = texts.offsets, texts.longest
    found: Any = varlen_attn(q.to(half), k.to(half), v.to(half), offsets, offsets, longest, longest, **options)
    attended: Tensor = found.to(v.dtype)
    return attended


def attention_for(model: PreTrainedModel) -> Attention | None:
    """The attention function for the model where it lies, or None: pad."""
    if not getattr(model, "_supports_attention_backend", False) or not is_plain(model):
        return None
    if model.device.type == "cpu":
        return block_diagonal
    has_kernel = model.device.type == "cuda" and torch.cuda.get_device_capability(model.device) >= (8, 0)
    return variable_length if has_kernel and is_width_of_kernel(head_width(model)) else None


def is_plain(model: PreTrainedModel) -> bool:
    """Whether a token sees others by attention alone, and that is all or a window of them, back only or both ways."""
    # Without layer_types all layers are alike; the names are the library's.
    if not set(getattr(model.config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}:
        return False
    # Logits that are capped, and a share of the softmax that goes to no token.
    if getattr(model.config, "attn_logit_softcapping", None) or any(hasattr(part, "sinks") for part in model.modules()):
        return False
    # State-space layers and their like have a convolution over the tokens before them.
    has_convolution = any(isinstance(part, torch.nn.Conv1d) for part in model.modules())
    # What does not say whether it looks back only is not guessed at.
    return not has_convolution and any(hasattr(part, "is_causal") for part in model.modules())


def head_width(model: PreTrainedModel) -> int:
    """Numbers of one head's query or key."""
    config = model.config
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def is_width_of_kernel(width: int) -> bool:
    """Whether flash attention computes heads of this width."""
    return width % 8 == 0 and width <= 256


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    texts: Texts | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Transformers' interface to attention: (1, heads, T, width) in, (1, T, heads, width) out.

    Keys and values may have fewer heads, each for several of the queries' in turn.
    """
    if texts is None:
        raise TypeError("this model was prepared for packed texts (biohicl.encoder.packing) and got others")
    undone = [name for name in NOT_DONE if others.get(name) is not None]
    if undone:
        raise TypeError(f"packed texts have no attention with {undone[0]}; is_plain should have said so of this model")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Transformers counts the token itself.
    before = -1 if sliding_window is None else sliding_window - 1
    looks_back_only = getattr(module, "is_causal", False) if is_causal is None else is_causal
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    shared_by = q.shape[1] // k.shape[1]
    if shared_by > 1:
        # Torch 2.11's kernel has no sharing, and SDPA leaves its fast way on a CPU for it.
        k, v = (part.repeat_interleave(shared_by, dim=1) for part in (k, v))
    return texts.attend(q, k, v, texts, scale, (before, 0 if looks_back_only else before))[None], None


ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)


def _columns(
    token_ids: Iterable[Sequence[int] | npt.NDArray[np.integer]],
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]] | None]:
    """The ids of each text, and their token types if any text has some (the others' are 0)."""
    lists = [np.asarray(tokens, dtype=np.int64) for tokens in token_ids]
    if all(tokens.ndim == 1 for tokens in lists):
        return lists, None
    pairs = [tokens if tokens.ndim == 2 else np.stack([tokens, np.zeros_like(tokens)], 1) for tokens in lists]
    return [pair[:, 0] for pair in pairs], [pair[:, 1] for pair in pairs]


@dataclass(frozen=True)
class Packed:
    """B texts end to end, longest first."""

    ids: Tensor  # (1, T)
    positions: Tensor  # (1, T), from 0 in each text
    offsets: Tensor  # (B + 1,) int32
    places: Tensor  # (B,): where among the sorted texts the i-th one of the caller is
    lengths: tuple[int, ...]  # sorted
    types: Tensor | None = None  # (1, T), token types, of models that have them

    @classmethod
    def of(cls, token_ids: TokenLists) -> Packed:
        """Of at least one token list, none of them empty."""
        lengths = np.array([len(tokens) for tokens in token_ids])
        order = np.argsort(-lengths, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        lengths = lengths[order]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids, types = _columns(token_ids[row] for row in order)
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return cls(
            torch.from_numpy(np.concatenate(ids))[None],
            torch.from_numpy(positions)[None],
            torch.from_numpy(offsets.astype(np.int32)),
            torch.from_numpy(places),
            tuple(lengths.tolist()),
            None if types is None else torch.from_numpy(np.concatenate(types))[None],
        )

    @property
    def tokens(self) -> int:
        """How many tokens are computed."""
        return self.ids.shape[1]

    def to(self, device: torch.device) -> Packed:
        """On ``device``; to a GPU without waiting for the copy."""
        if self.ids.device.type == device.type:
            return self
        moved: dict[str, Any] = {
            name: value.pin_memory().to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def texts(self, attend: Attention) -> Texts:
        """What the attention function has to know."""
        longest = max(SHORTEST_LONGEST, 1 << (self.lengths[0] - 1).bit_length())
        runs: tuple[tuple[int, int], ...] = ()
        if attend is not variable_length:
            # A compiled model would be made again for each new tuple of these.
            runs = tuple((len(list(same)), length) for length, same in groupby(self.lengths))
        return Texts(attend, self.offsets, longest, runs)

    def pooled(self, hidden: Tensor, pooling: Pooling) -> Tensor:
        """(1, T, d) to (B, d) in fp32, in the caller's order."""
        vectors = hidden[0].float()
        if pooling == "cls":
            found = vectors[self.offsets[:-1].long()]
        elif pooling == "last":
            found = vectors[self.offsets[1:].long() - 1]
        else:
            # One thread a text and feature adds up in order: the same twice, which adding by index is not on a GPU.
            # `unsafe` leaves out a check of the lengths, for which a GPU would be waited for; they are our own.
            lengths = self.offsets.diff().long()
            found = torch.segment_reduce(vectors, "mean", lengths=lengths, axis=0, unsafe=True)
        return found[self.places]


@dataclass(frozen=True)
class Padded:
    """B texts, each filled up to the longest."""

    ids: Tensor  # (B, longest)
    mask: Tensor  # (B, longest): 1 for a token, 0 for padding
    types: Tensor | None = None  # (B, longest), token types, of models that have them

    @classmethod
    def of(cls, token_ids: TokenLists, pad_id: int) -> Padded:
        """Of at least one token list, none of them empty."""
        ids, types = _columns(token_ids)
        mask = cls._filled([np.ones_like(own) for own in ids], 0)
        return cls(cls._filled(ids, pad_id), mask, None if types is None else cls._filled(types, 0))

    @staticmethod
    def _filled(rows: Sequence[npt.NDArray[np.int64]], filler: int) -> Tensor:
        return pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True, padding_value=filler)

    @property
    def tokens(self) -> int:
        """How many tokens are computed, padding included."""
        return self.ids.numel()

    def to(self, device: torch.device) -> Padded:
        """On ``device``."""
        return Padded(self.ids.to(device), self.mask.to(device), None if self.types is None else self.types.to(device))

    def pooled(self, hidden: Tensor, pooling: Pooling) -> Tensor:
        """(B, longest, d) to (B, d) in fp32."""
        if pooling == "cls":
            return hidden[:, 0].float()
        if pooling == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), self.mask.sum(1) - 1].float()
        weights = self.mask.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class TextModel:
    """A transformer that embeds token lists: packed where it can, padded where not (or where ``packed`` is False).

    ``precision``: what a model in fp32 computes in; None: bf16 on a GPU, else fp32. In bf16 its weights, pooling and
    all that follows stay fp32.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pooling: Pooling,
        pad_id: int,
        packed: bool = True,
        precision: Precision | None = None,
    ) -> None:
        self.model = model
        self._asked = precision
        self.pooling = pooling
        self.pad_id = pad_id
        self.attend = attention_for(model) if packed else None
        if self.attend:
            model.set_attn_implementation(NAME)
        elif model.config._attn_implementation == NAME:
            model.set_attn_implementation("sdpa")
        self._accepted = inspect.signature(model.forward).parameters.keys()
        # The positions of these families begin behind the padding id.
        offset = model.config.model_type in OFFSET_POSITIONS
        self._first_position = (model.config.pad_token_id or 0) + 1 if offset else 0
        self.forward: Any = model

    @property
    def precision(self) -> str:
        """What the transformer computes in."""
        return computed_in(str(self.model.dtype).removeprefix("torch."), self.model.device.type, self._asked)

    def in_chunks(self, lengths: npt.NDArray[np.integer], budget: int | None = None) -> Iterator[npt.NDArray[np.int64]]:
        """Places of texts, longest first, in chunks that compute ``budget`` tokens at most, and at least one text.

        ``lengths``: their tokens. None: as many as suit the device; a larger ``budget`` than suits a CPU is lowered.
        """
        order = np.argsort(-lengths, kind="stable")
        if self.attend is None:
            budget = budget or PADDED
        elif self.model.device.type == "cpu":
            budget = min(budget or PACKED_ON_A_CPU, PACKED_ON_A_CPU)
        start = 0
        while start < len(order):
            left = lengths[order[start:]]
            costs = np.cumsum(left) if self.attend else left[0] * np.arange(1, len(left) + 1)
            stop = len(order) if budget is None else start + max(1, int(np.searchsorted(costs, budget, side="right")))
            yield order[start:stop]
            start = stop

    def batch(self, token_ids: TokenLists) -> Packed | Padded:
        """The token lists as :meth:`embed` takes them, still in the host's memory."""
        # A tokenizer without special tokens makes nothing of an empty text.
        texts = [tokens if len(tokens) else [self.pad_id] for tokens in token_ids]
        return Packed.of(texts) if self.attend else Padded.of(texts, self.pad_id)

    def embed(self, batch: Packed | Padded) -> Tensor:
        """Embeddings (B, d) in fp32, not normalised, with gradients if they are on.

        A model in fp32 runs in its ``precision``; one in 16 bits runs as it is, anywhere.
        """
        batch = batch.to(self.model.device)
        # A decoder would keep all keys and values for a next token.
        options: dict[str, Any] = {"token_type_ids": batch.types, "use_cache": False}
        if isinstance(batch, Packed):
            options["position_ids"] = batch.positions + self._first_position
        options = {name: value for name, value in options.items() if name in self._accepted and value is not None}
        if isinstance(batch, Padded):
            options["attention_mask"] = batch.mask
        else:
            assert self.attend is not None
            options["texts"] = batch.texts(self.attend)
        mixed = self.model.dtype == torch.float32 and self.precision == "bfloat16"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=mixed):
            hidden = self.forward(input_ids=batch.ids, **options).last_hidden_state
        # Pooling and all that follows is fp32, whatever the forward pass was.
        return batch.pooled(hidden, self.pooling)

    def embed_all(self, token_ids: TokenLists, budget: int | None = None) -> Tensor:
        """Embeddings (B, d) as :meth:`embed` gives them, in chunks of ``budget`` tokens, in the order of the lists."""
        lengths = np.array([len(tokens) for tokens in token_ids])
        chunks = list(self.in_chunks(lengths, budget))
        found = torch.cat([self.embed(self.batch([token_ids[place] for place in places])) for places in chunks])
        return found[torch.from_numpy(np.argsort(np.concatenate(chunks))).to(found.device)]

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile` was asked for and did it."""
        return self.forward is not self.model

    def compile(self, sample: TokenLists) -> str | None:
        """Has torch compile the model, tried on ``sample``; where that fails, why, and the model stays as it was."""
        # Sizes are dynamic; what is left are a few lengths, with and without gradients, and dropout on and off.
        torch._dynamo.config.recompile_limit = 64
        self.forward = torch.compile(self.model, dynamic=True)
        try:
            self.embed(self.batch(sample)).sum().backward()
            # Gradient caching and held-out measures read without gradients, each in a way of its own.
            with torch.no_grad():
                self.embed(self.batch(sample))
            with torch.inference_mode():
                self.embed(self.batch(sample))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.forward = self.model
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return lines[0]
        finally:
            self.model.zero_grad(set_to_none=True)
        return None

    def release(self) -> None:
        """Gives the model back as it was: for whole batches with a mask, not compiled."""
        self.forward = self.model
        if self.attend:
            self.model.set_attn_implementation("sdpa")
