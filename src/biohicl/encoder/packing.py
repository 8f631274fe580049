"""Texts end to end: one row of tokens without padding, in which no text attends to another.

Goes in: token lists. Comes out: embeddings (B, d) in fp32, the same as those of the padded batch to rounding.

The transformer is the library's own; only its attention is replaced, by a function of the packed queries, keys and
values. On a CPU that is scaled dot-product attention text by text (texts of equal length at once), on a GPU
``varlen_attn``, which runs on GPUs alone and in 16 bits alone. Architectures whose attention cannot be replaced (MPNet)
are padded.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from biohicl.encoder.folder import OFFSET_POSITIONS, Pooling

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

TokenLists = Sequence[Sequence[int] | npt.NDArray[np.integer]]


class Texts(NamedTuple):
    """Where the texts of a packed row are, for an attention function."""

    attend: Attention
    offsets: Tensor  # (B + 1,) int32: text i is offsets[i] to offsets[i + 1]
    longest: int  # tokens, at least those of the longest text
    runs: tuple[tuple[int, int], ...]  # (texts, their length) of each run of equal lengths; none on a GPU


class Attention(Protocol):
    """Attention of packed texts: queries, keys and values (T, heads, width) in, (T, heads, width) out.

    ``window``: a token sees no further than this to either side; None: all of its text.
    """

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: int | None) -> Tensor: ...


@torch.compiler.disable  # type: ignore[untyped-decorator]
def block_diagonal(q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: int | None) -> Tensor:
    """SDPA of each text with itself, on any device and in any precision; texts of one length go in one call."""
    sizes = [count * length for count, length in texts.runs]
    done = []
    for (count, length), *parts in zip(texts.runs, q.split(sizes), k.split(sizes), v.split(sizes), strict=True):
        one, other, values = (part.unflatten(0, (count, length)).transpose(1, 2) for part in parts)
        near = None
        if window is not None and length > window + 1:
            place = torch.arange(length, device=q.device)
            near = (place[:, None] - place[None, :]).abs() <= window
        attended = scaled_dot_product_attention(one, other, values, attn_mask=near, scale=scale)
        done.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(done)


def variable_length(q: Tensor, k: Tensor, v: Tensor, texts: Texts, scale: float, window: int | None) -> Tensor:
    """Flash attention over texts of any lengths: CUDA (compute capability 8.0 and later), computed in bfloat16.

    Of a forward pass in fp32 with this attention, embeddings are within 5e-3 of the padded ones; where all of it is in
    bfloat16, within 3e-2 (tests/test_gpu_path.py, tests/test_packing.py).
    """
    from torch.nn.attention.varlen import varlen_attn

    half = torch.bfloat16 if q.dtype not in (torch.bfloat16, torch.float16) else q.dtype
    # Torch 2.11 has fewer arguments; those that say nothing new are left out.
    options: dict[str, Any] = {} if window is None else {"window_size": (window, window)}
    if abs(scale - q.shape[-1] ** -0.5) > 1e-9:
        options["scale"] = scale
    offsets, longest = texts.offsets, texts.longest
    found: Any = varlen_attn(q.to(half), k.to(half), v.to(half), offsets, offsets, longest, longest, **options)
    attended: Tensor = found.to(v.dtype)
    return attended


def attention_for(model: PreTrainedModel) -> Attention | None:
    """The attention function for the model where it lies, or None: pad."""
    looks_back_only = any(getattr(module, "is_causal", False) for module in model.modules())
    # Queries that share their keys: neither function has that.
    is_grouped = any(getattr(module, "num_key_value_groups", 1) > 1 for module in model.modules())
    if not getattr(model, "_supports_attention_backend", False) or looks_back_only or is_grouped:
        return None
    if model.device.type == "cpu":
        return block_diagonal
    has_kernel = model.device.type == "cuda" and torch.cuda.get_device_capability(model.device) >= (8, 0)
    return variable_length if has_kernel and is_width_of_kernel(head_width(model)) else None


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
    texts: Texts | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Transformers' interface to attention: (1, heads, T, width) in, (1, T, heads, width) out."""
    if texts is None:
        raise TypeError("this model was prepared for packed texts (biohicl.encoder.packing) and got others")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Transformers counts the token itself.
    window = None if sliding_window is None else sliding_window - 1
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    return texts.attend(q, k, v, texts, scale, window)[None], None


ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)


@dataclass(frozen=True)
class Packed:
    """B texts end to end, longest first."""

    ids: Tensor  # (1, T)
    positions: Tensor  # (1, T), from 0 in each text
    offsets: Tensor  # (B + 1,) int32
    places: Tensor  # (B,): where among the sorted texts the i-th one of the caller is
    lengths: tuple[int, ...]  # sorted

    @classmethod
    def of(cls, token_ids: TokenLists) -> Packed:
        """Of at least one token list, none of them empty."""
        lengths = np.array([len(tokens) for tokens in token_ids])
        order = np.argsort(-lengths, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        lengths = lengths[order]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.concatenate([np.asarray(token_ids[row], dtype=np.int64) for row in order])
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return cls(
            torch.from_numpy(ids)[None],
            torch.from_numpy(positions)[None],
            torch.from_numpy(offsets.astype(np.int32)),
            torch.from_numpy(places),
            tuple(lengths.tolist()),
        )

    @property
    def tokens(self) -> int:
        """How many tokens are computed."""
        return self.ids.shape[1]

    def to(self, device: torch.device) -> Packed:
        """On ``device``; to a GPU without waiting for the copy."""
        if self.ids.device.type == device.type:
            return self
        tensors = {name: getattr(self, name) for name in ("ids", "positions", "offsets", "places")}
        return replace(
            self, **{name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        )

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

    @classmethod
    def of(cls, token_ids: TokenLists, pad_id: int) -> Padded:
        """Of at least one token list, none of them empty."""
        longest = max(map(len, token_ids))
        ids = torch.full((len(token_ids), longest), pad_id, dtype=torch.long)
        mask = torch.zeros((len(token_ids), longest), dtype=torch.long)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)] = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
            mask[row, : len(tokens)] = 1
        return cls(ids, mask)

    @property
    def tokens(self) -> int:
        """How many tokens are computed, padding included."""
        return self.ids.numel()

    def to(self, device: torch.device) -> Padded:
        """On ``device``."""
        return Padded(self.ids.to(device), self.mask.to(device))

    def pooled(self, hidden: Tensor, pooling: Pooling) -> Tensor:
        """(B, longest, d) to (B, d) in fp32."""
        if pooling == "cls":
            return hidden[:, 0].float()
        if pooling == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), self.mask.sum(1) - 1].float()
        weights = self.mask.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class TextModel:
    """A transformer that embeds token lists: packed where it can, padded where not (or where ``packed`` is False)."""

    def __init__(self, model: PreTrainedModel, pooling: Pooling, pad_id: int, packed: bool = True) -> None:
        self.model = model
        self.pooling = pooling
        self.pad_id = pad_id
        self.attend = attention_for(model) if packed else None
        if self.attend:
            model.set_attn_implementation(NAME)
        elif model.config._attn_implementation == NAME:
            model.set_attn_implementation("sdpa")
        self._accepts_positions = "position_ids" in inspect.signature(model.forward).parameters
        # The positions of these families begin behind the padding id.
        offset = model.config.model_type in OFFSET_POSITIONS
        self._first_position = (model.config.pad_token_id or 0) + 1 if offset else 0
        self.forward: Any = model

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
        """Embeddings (B, d) in fp32, not normalised, with gradients if they are on. On a GPU the model runs in bf16."""
        batch = batch.to(self.model.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.model.device.type == "cuda"):
            if isinstance(batch, Padded):
                hidden = self.forward(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
            else:
                assert self.attend is not None
                options: dict[str, Any] = {}
                if self._accepts_positions:
                    options["position_ids"] = batch.positions + self._first_position
                hidden = self.forward(input_ids=batch.ids, texts=batch.texts(self.attend), **options).last_hidden_state
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
