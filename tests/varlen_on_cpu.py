"""A stand-in for the kernel of `varlen_attn`, which runs on GPUs alone: its documented contract, written out in fp32.

Importing this registers it for tensors on a CPU. What is tested with it is all but the kernel itself: what the package
hands over, torch's own gradient and compilation of the call, and what comes back. It refuses what the kernel would.
"""

from itertools import pairwise

import torch
from torch.nn.attention import varlen

CALLS: list[dict] = []


def hidden(length, window_size):
    """(length, length): true where a token may not look; `window_size` counts tokens to the left and right, -1: all."""
    place = torch.arange(length)
    ahead = place[None, :] - place[:, None]
    left, right = window_size or (-1, -1)
    beyond = torch.zeros_like(ahead, dtype=torch.bool)
    if left >= 0:
        beyond |= ahead < -left
    if right >= 0:
        beyond |= ahead > right
    return beyond


def by_text(offsets, *tensors):
    """(heads, length, width) in fp32 of each tensor, text by text."""
    for start, stop in pairwise(offsets.tolist()):
        yield slice(start, stop), [tensor[start:stop].float().transpose(0, 1) for tensor in tensors]


def chances(query, key, scale, window_size):
    scores = query @ key.transpose(1, 2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return scores.masked_fill(hidden(query.shape[1], window_size), -torch.inf).softmax(-1)


@varlen._varlen_attn.register_kernel("cpu")
def forward(query, key, value, offsets, offsets_k, longest, longest_k, causal=False, scale=None, window_size=None, *_):
    for tensor in (query, key, value):
        assert tensor.dtype in (torch.bfloat16, torch.float16), "the kernel takes 16 bits alone"
        assert tensor.stride(-1) == 1, "the kernel wants its last dimension contiguous"
        assert tensor.shape == query.shape, "the kernel wants as many keys as queries"
    assert query.shape[-1] % 8 == 0, "the kernel wants heads of a multiple of 8 numbers"
    assert offsets.dtype == torch.int32
    assert torch.equal(offsets, offsets_k)
    assert (int(offsets[0]), int(offsets[-1])) == (0, len(query)), "every token belongs to a text"
    assert longest == longest_k >= int(offsets.diff().max()), "no text is longer than the kernel looks"
    assert causal == (tuple(window_size) == (-1, 0)), "causal attention is the window that says so, and no other"
    CALLS.append({"texts": len(offsets) - 1, "longest": longest, "scale": scale, "window": tuple(window_size)})
    found = torch.empty_like(query)
    for place, (q, k, v) in by_text(offsets, query, key, value):
        found[place] = (chances(q, k, scale, window_size) @ v).transpose(0, 1).to(found.dtype)
    return found, torch.zeros(query.shape[1], len(query)), torch.zeros(2, dtype=torch.uint64)


@varlen._varlen_attn_backward.register_kernel("cpu")
def backward(gradient, query, key, value, out, lse, offsets, *others):
    *_, scale, window_size = others
    found = [torch.empty_like(query) for _ in range(3)]
    for place, (q, k, v, g) in by_text(offsets, query, key, value, gradient):
        p = chances(q, k, scale, window_size)
        of_p = g @ v.transpose(1, 2)
        of_scores = p * (of_p - (of_p * p).sum(-1, keepdim=True)) * (q.shape[-1] ** -0.5 if scale is None else scale)
        parts = of_scores @ k, of_scores.transpose(1, 2) @ q, p.transpose(1, 2) @ g
        for tensor, part in zip(found, parts, strict=True):
            tensor[place] = part.transpose(0, 1).to(tensor.dtype)
    return tuple(found)
