"""Seconds of one piece of work, from rates.

A token that is read costs 2 x weights operations, one that is trained on 6 (forward, and twice that back); with LoRA
about two thirds of that, as the gradients of the weights themselves are not computed. Weights are those in the layers'
matrices (encoders.py); attention's own products are left out, as they are in the rates. So a rate of texts a second
says operations a second, and those say seconds of another model or other texts::

    operations a second = texts a second x tokens a text x operations a token x weights / cores
    seconds             = texts x tokens a text x operations a token x weights / operations a second

A larger model uses a GPU better than a small one, by which the rates are: its hours are overestimated.
"""

from __future__ import annotations

from itertools import pairwise

from biohicl.estimate.rates import Rates

READ = 2.0
TRAINED = {"full": 6.0, "lora": 4.0}
RECORDS_ENCODED = 48_000
# Where the pace of short texts ends.
SHORT = 128


def text_tokens(rates: Rates, length: int) -> float:
    """Mean tokens of a title with its abstract, cut at ``length``."""
    known = [(64, 64.0), (128, rates["tokens_128"]), (256, rates["tokens_256"]), (512, rates["tokens_512"])]
    if length <= known[0][0]:
        return float(length)
    for (low, below), (high, above) in pairwise(known):
        if length <= high:
            return below + (above - below) * (length - low) / (high - low)
    return known[-1][1]


def record_tokens(rates: Rates, length: int) -> float:
    """The same of any record of PubMed: some have a title alone."""
    share = rates["abstract_share"]
    return share * text_tokens(rates, length) + (1 - share) * min(length, rates["title_tokens"])


def training_seconds(
    rates: Rates, texts: float, tokens: float, weights: float, *, method: str, length: int, gpu_speed: float | None
) -> float:
    """Core-seconds to train on ``texts`` of so many tokens each; of a GPU of this speed where that is not None."""
    name = f"train_{'cpu' if gpu_speed is None else 'gpu'}_{'128' if length <= SHORT else '256'}"
    rate = rates.rate(name)
    pace = rate.value * rate.tokens * TRAINED["lora"] * rate.weights * 1e6 / rate.cores * (gpu_speed or 1.0)
    return texts * tokens * TRAINED[method] * weights / pace


def encoding_seconds(rates: Rates, texts: float, tokens: float, weights: float, gpu_speed: float | None) -> float:
    """Core-seconds to encode texts; of a GPU, where each also costs what is no computing, whatever the GPU's speed."""
    work = tokens * READ * weights
    if gpu_speed is None:
        rate = rates.rate("encode_cpu")
        return texts * work / (rate.value * rate.tokens * READ * rate.weights * 1e6 / rate.cores)
    small, base = rates.rate("encode_gpu_small"), rates.rate("encode_gpu_base")
    known = record_tokens(rates, 256) * READ * 1e6
    second = (base.value - small.value) / RECORDS_ENCODED / (known * (base.weights - small.weights))
    fixed = (small.value - rates["gpu_start"]) / RECORDS_ENCODED - second * known * small.weights
    return texts * (max(fixed, 0.0) + second * work / gpu_speed)


def vector_bytes(rates: Rates, storage: str, dimensions: int) -> float:
    """Bytes of a vector in the index. What is measured at 384 numbers is these, and a rest that each vector has."""
    of_number = {"exact": 4.0, "binary": 1.125, "usearch": 2.0}[storage]
    rest = rates[f"index_{storage}"] - 384 * of_number if storage != "exact" else 0.0
    return dimensions * of_number + max(rest, 0.0)
