"""Texts as sets of shingles: hashes of five words in a row.

Goes in: words. Comes out: 64-bit hashes, and the text that each stands in.

Source: Broder, On the resemblance and containment of documents, 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.leakage.lists import Numbers, different

Hashes = npt.NDArray[np.uint64]
# Measured with 62,688 real citations beside SciFact and PubMedQA (containment of pairs of long texts): with three words
# 23 % of a citation's shingles stand in some document and the nearest other article reaches 0.42; with five 1.8 % and
# 0.21; with eight 0.1 % and 0.09, but the same article in another version falls to 0.83, with five to 0.90 only.
WORDS_OF_A_SHINGLE = 5
# Any large odd number: words in another order have another hash. This one is Knuth's, for MMIX.
_MULTIPLIER = np.uint64(6364136223846793005)
# How many bits of a key tell the shingles of a text apart; the others tell the texts apart.
_BITS_WITHIN_A_TEXT = 48


@dataclass(frozen=True)
class Shingles:
    """Of T texts. ``hashes`` (S,): in the order of the words, repeated ones too. ``texts`` (S,), ascending: the text
    that each stands in, from 0. ``sizes`` (T,): how many different ones each text has."""

    hashes: Hashes
    texts: Numbers
    sizes: Numbers

    def of(self, chosen: npt.NDArray[np.bool_]) -> tuple[Hashes, Numbers]:
        """Hashes and texts, of the texts that are ``chosen`` (T,) only."""
        here = chosen[self.texts]
        return self.hashes[here], self.texts[here]


def shingles_of(words: pl.Series) -> Shingles:
    """Of each text in ``words`` (T,), see :func:`biohicl.leakage.normal.words`; T is 65,536 at most. A text of fewer
    than five words has none.

    Hashes differ between versions of polars, and are not to be stored. That any two of N different shingles have the
    same one has probability N² / 2⁶⁵: one in 20,000 for 40 million.
    """
    lists = words.str.split(" ")
    split = lists.explode()
    is_word = (split.str.len_bytes() > 0).to_numpy()
    word = split.hash().to_numpy()[is_word]
    text = np.repeat(np.arange(len(words)), lists.list.len().to_numpy())[is_word]
    count = max(len(word) - WORDS_OF_A_SHINGLE + 1, 0)
    hashes = word[:count].copy()
    for place in range(1, WORDS_OF_A_SHINGLE):
        hashes *= _MULTIPLIER
        hashes += word[place : place + count]
    # First and last word are of one text.
    within = text[:count] == text[len(text) - count :]
    hashes, texts = hashes[within], text[:count][within]
    return Shingles(hashes, texts, _different_ones(hashes, texts, len(words)))


def end_to_end(parts: Sequence[Shingles]) -> Shingles:
    """All parts' texts, numbered on from part to part."""
    before = np.cumsum([0, *(len(part.sizes) for part in parts)])[:-1]
    numbered = [part.texts + first for part, first in zip(parts, before, strict=True)]
    return Shingles(
        np.concatenate([np.zeros(0, dtype=np.uint64), *(part.hashes for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *numbered]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.sizes for part in parts)]),
    )


def _different_ones(hashes: Hashes, texts: Numbers, count: int) -> Numbers:
    """(T,): how many different hashes each of ``count`` texts has. By one key for text and hash, which is sorted much
    faster than two columns; the 48 bits of a hash for which it has room are enough within a text: that any two of 1,000
    are the same has probability 2·10⁻⁹."""
    keys = texts.astype(np.uint64) << np.uint64(_BITS_WITHIN_A_TEXT)
    keys |= hashes >> np.uint64(64 - _BITS_WITHIN_A_TEXT)
    return np.bincount((different(keys) >> np.uint64(_BITS_WITHIN_A_TEXT)).astype(np.int64), minlength=count)
