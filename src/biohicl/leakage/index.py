"""An index of shingles: texts that stand in a citation for the most part, and texts in which a citation does.

Goes in: benchmarks' texts as shingles, then citations as shingles. Comes out: pairs of a citation and a text that may
be near duplicates, and how many shingles they share. Exact: of long texts (:mod:`biohicl.leakage.criterion`) no pair is
missed.

A text of n shingles, of which t or more have to be shared, lacks n - t at most. Hence of any h of its shingles,
h - (n - t) or more are shared (prefix filtering: Chaudhuri et al., A primitive operator for similarity joins, ICDE
2006). The h that stand in the fewest texts say most, and take least time:

1. Which of a citation's shingles stand in any text: a table of bits denies it for most that do not, a search among the
   sorted hashes decides for others.
2. Texts in the citation: those of whose n - t + n/10 rarest shingles the citation has n/10 or more. (Of 10,000
   citations beside 70,000 abstracts, half of these put together from others' sentences, 37 pairs were left, and 338
   with n/40.)
3. Texts in which the citation stands: only if enough of its shingles stand in any, which is rare. Then those that have
   one of its n - t + 1 rarest shingles.
4. For the pairs that are left, the shared shingles are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from biohicl.leakage.criterion import CONTAINMENT, SHINGLES_OF_A_LONG_TEXT, shared_at_least
from biohicl.leakage.lists import Lists, Numbers, different, paired, parted, pieces
from biohicl.leakage.shingles import Hashes, Shingles

# (P,) and (P,): a citation and a text, no pair twice.
Pairs = tuple[Numbers, Numbers]
# How many bits the table has for each shingle: of those that stand in no text it lets one in 16 pass.
_BITS_OF_A_SHINGLE = 16
# Step 2's n/10.
_RARE_SHARED = 10
# So many texts' shingles are ranked at a time.
_TEXTS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Known:
    """Those shingles of C citations that stand in any text, each once for each citation. ``keys`` (K,), ascending:
    citation and shingle; ``citations``, ``shingles`` (K,): the same. ``counts`` (C,): how many each citation has."""

    keys: Numbers
    citations: Numbers
    shingles: Numbers
    counts: Numbers


class ShingleIndex:
    """Shingles are numbered from 0, in the order of their hashes. ``sizes`` (T,): how many each text has."""

    def __init__(self, shingles: Shingles, whole: npt.NDArray[np.bool_]) -> None:
        """``shingles`` of T texts. ``whole`` (T,): of which texts all shingles have to be shared, however few they are:
        sentences."""
        self._hashes, numbers = np.unique(shingles.hashes, return_inverse=True)
        self._bits, self._shift = _table_of_bits(self._hashes)
        texts, numbers = parted(different(paired(shingles.texts, numbers)))
        self.sizes: Numbers = np.bincount(texts, minlength=len(whole))
        self._frequencies = np.bincount(numbers, minlength=len(self._hashes))
        self._shingles = Lists.of(texts, numbers.astype(np.uint32), len(whole))
        long = self.sizes >= SHINGLES_OF_A_LONG_TEXT
        self._texts = self._texts_with(texts, numbers, long[texts])
        least = np.where(whole, self.sizes, shared_at_least(self.sizes, CONTAINMENT))
        self._rare_shared = np.where(whole, 1, self.sizes // _RARE_SHARED)
        rare = np.where(whole | long, self.sizes - least + self._rare_shared, 0)
        self._texts_of_rare = self._texts_with(texts, numbers, self._ranks(texts, numbers) < rare[texts])

    def _texts_with(self, texts: Numbers, numbers: Numbers, chosen: npt.NDArray[np.bool_]) -> Lists:
        """Of each shingle the texts in which it stands. ``texts``, ``numbers`` (S,): of them those ``chosen`` (S,)."""
        keys = paired(numbers[chosen], texts[chosen])
        keys.sort()
        by_number, there = parted(keys)
        return Lists.of(by_number, there.astype(np.uint32), len(self._hashes))

    def _ranks(self, texts: Numbers, numbers: Numbers) -> npt.NDArray[np.int32]:
        """(S,): 0 for the shingle of a text that stands in the fewest texts, and so on."""
        ranks = np.empty(len(texts), dtype=np.int32)
        starts = self._shingles.offsets
        for first in range(0, len(self.sizes), _TEXTS_AT_ONCE):
            here = slice(starts[first], starts[min(first + _TEXTS_AT_ONCE, len(self.sizes))])
            order = np.lexsort((self._frequencies[numbers[here]], texts[here]))
            ranks[here][order] = np.arange(here.start, here.stop) - starts[texts[here]]
        return ranks

    def known(self, shingles: Shingles) -> Known:
        """Step 1; ``shingles`` of C citations."""
        slots = shingles.hashes >> self._shift
        perhaps = np.flatnonzero(self._bits[slots >> np.uint64(3)] >> (slots & np.uint64(7)).astype(np.uint8) & 1)
        hashes = shingles.hashes[perhaps]
        numbers = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        there = self._hashes[numbers] == hashes
        keys = different(paired(shingles.texts[perhaps][there], numbers[there]))
        citations, numbers = parted(keys)
        return Known(keys, citations, numbers, np.bincount(citations, minlength=len(shingles.sizes)))

    def in_citations(self, known: Known) -> Pairs:
        """Step 2: pairs in which the citation may have enough of the text."""
        return self._sharing(self._texts_of_rare, known.citations, known.shingles, self._rare_shared)

    def around_citations(self, known: Known, sizes: Numbers) -> Pairs:
        """Step 3: pairs in which the text may have enough of the citation. ``sizes`` (C,): how many shingles each
        has."""
        least = shared_at_least(sizes, CONTAINMENT)
        likely = (sizes >= SHINGLES_OF_A_LONG_TEXT) & (known.counts >= least)
        chosen = likely[known.citations]
        citations, shingles = known.citations[chosen], known.shingles[chosen]
        order = np.lexsort((self._frequencies[shingles], citations))
        # Each citation's from the rarest on; its place among the citations stays.
        ranks = np.arange(len(citations)) - np.searchsorted(citations, citations)
        # Of n - t + 1 shingles; those that stand in no text are the rarest, and name none.
        rare = ranks < (known.counts - least + 1)[citations]
        return self._sharing(self._texts, citations[rare], shingles[order][rare], np.ones_like(self.sizes))

    def shared(self, known: Known, pairs: Pairs) -> Numbers:
        """Step 4, (P,): how many shingles each of ``pairs`` shares."""
        citations, texts = pairs
        counts = [np.zeros(0, dtype=np.int64)]
        for piece in pieces(self.sizes[texts]):
            owners, shingles = self._shingles.opened(texts[piece])
            keys = paired(citations[piece][owners], shingles)
            places = np.minimum(np.searchsorted(known.keys, keys), len(known.keys) - 1)
            counts.append(np.bincount(owners[known.keys[places] == keys], minlength=len(texts[piece])))
        return np.concatenate(counts)

    def _sharing(self, texts_with: Lists, citations: Numbers, shingles: Numbers, at_least: Numbers) -> Pairs:
        """Pairs of a citation, ascending, and a text, in which ``texts_with`` has the text for ``at_least`` (T,) of the
        citation's shingles. ``citations``, ``shingles`` (N,), the former ascending."""
        starts = np.flatnonzero(np.diff(citations, prepend=-1))
        found = [np.zeros(0, dtype=np.int64)]
        # Pieces of whole citations, for all of a citation's shingles count.
        for piece in pieces(np.add.reduceat(texts_with.lengths(shingles), starts) if len(starts) else starts):
            here = slice(starts[piece.start], starts[piece.stop] if piece.stop < len(starts) else None)
            owners, texts = texts_with.opened(shingles[here])
            keys, times = np.unique(paired(citations[here][owners], texts), return_counts=True)
            found.append(keys[times >= at_least[parted(keys)[1]]])
        return parted(np.concatenate(found))


def _table_of_bits(hashes: Hashes) -> tuple[npt.NDArray[np.uint8], np.uint64]:
    """A bit for each beginning that a hash can have, 1 where one of ``hashes`` begins so; and by how many bits a hash
    is shifted to leave that beginning."""
    width = max((len(hashes) * _BITS_OF_A_SHINGLE).bit_length(), 3)
    shift = np.uint64(64 - width)
    bits = np.zeros(1 << width, dtype=np.bool_)
    bits[hashes >> shift] = True
    return np.packbits(bits, bitorder="little"), shift
