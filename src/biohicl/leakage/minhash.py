"""MinHash: short texts that may resemble each other.

Goes in: benchmarks' short texts as shingles, then citations'. Comes out: pairs that may be near duplicates.

In a random order of all shingles, the first one of A is the first one of B with a probability that is their resemblance
r (Broder, On the resemblance and containment of documents, 1997). There are 126 orders, in 42 bands of three; a pair
comes out if in any band the first ones are the same in all three orders. It does not with probability (1 - r³)⁴²:
2·10⁻⁸ at r = 0.7, less above. Pairs at r = 0.2 come out in 29 % of cases, to be told apart by counting.

It is for short texts, where resemblance decides (:mod:`biohicl.leakage.criterion`). Containment it does not see: of a
text that stands in one five times as long, r is 0.2. And long texts have rare shingles, by which
:mod:`biohicl.leakage.index` finds all pairs, in less time than 126 orders take.
"""

from __future__ import annotations

import numpy as np

from biohicl.leakage.lists import Numbers, different, paired, parted, pieces, positions
from biohicl.leakage.shingles import Hashes

BANDS = 42
ORDERS_OF_A_BAND = 3


class ShortTexts:
    """Benchmarks' short texts, by their bands."""

    def __init__(self, hashes: Hashes, texts: Numbers) -> None:
        """``hashes``, ``texts`` (S,): shingles, and the text of each, ascending."""
        keys = band_keys(hashes, texts)
        order = np.argsort(keys, axis=1, kind="stable")
        self._keys = np.take_along_axis(keys, order, axis=1)
        self._texts = different(texts.copy())[order]

    def alike(self, hashes: Hashes, citations: Numbers) -> tuple[Numbers, Numbers]:
        """(P,) and (P,): a citation and a text with the same band, no pair twice. ``hashes``, ``citations`` (S,):
        shingles, and the citation of each, ascending."""
        names = different(citations.copy())
        found = np.zeros(0, dtype=np.int64)
        for sought, keys, texts in zip(band_keys(hashes, citations), self._keys, self._texts, strict=True):
            starts = np.searchsorted(keys, sought, side="left")
            lengths = np.searchsorted(keys, sought, side="right") - starts
            for piece in pieces(lengths):
                there = texts[positions(starts[piece], lengths[piece])]
                found = different(np.append(found, paired(np.repeat(names[piece], lengths[piece]), there)))
        return parted(found)


def band_keys(hashes: Hashes, texts: Numbers) -> Hashes:
    """(BANDS, N): of each of N texts, a hash of the first shingles in each band's orders. ``hashes``, ``texts`` (S,):
    shingles, and the text of each, ascending; N of them are different."""
    starts = np.flatnonzero(np.diff(texts, prepend=-1))
    keys = np.zeros((BANDS, len(starts)), dtype=np.uint64)
    if len(starts):
        for order in range(BANDS * ORDERS_OF_A_BAND):
            first = np.minimum.reduceat(_mixed(hashes ^ _mixed(np.array([order], dtype=np.uint64))), starts)
            band = keys[order // ORDERS_OF_A_BAND]
            band[:] = _mixed(band ^ first)
    return keys


def _mixed(values: Hashes) -> Hashes:
    """SplitMix64, whose bits each depend on all bits of a value (Steele et al., OOPSLA 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
