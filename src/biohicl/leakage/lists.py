"""Lists of numbers, of different lengths and many at a time, in flat arrays.

Goes in: flat arrays, and where lists start and how long they are. Comes out: what is in the lists, end to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
# So many numbers are looked at together: a few arrays of 32 MB.
NUMBERS_AT_ONCE = 4_000_000
_LOW_BITS = 32


def paired(first: Numbers, second: npt.NDArray[np.integer]) -> Numbers:
    """(N,): a key for each pair, by which pairs are sorted as by the first, then the second; below 2³¹ and 2³²."""
    return (first << _LOW_BITS) | second


def parted(keys: Numbers) -> tuple[Numbers, Numbers]:
    """The pairs of :func:`paired`."""
    return keys >> _LOW_BITS, keys & ((1 << _LOW_BITS) - 1)


def positions(starts: Numbers, lengths: Numbers) -> Numbers:
    """The positions that slices cover, end to end: from ``starts[0]`` on ``lengths[0]``, and so on."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)


def different(keys: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(D,): each of ``keys`` (N,) once, ascending. ``keys`` are sorted in place.

    (NumPy 2.4's unique builds a hash table instead: for two million keys it took 20 times as long.)
    """
    keys.sort()
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]


def pieces(lengths: Numbers) -> Iterator[slice]:
    """Slices of ``lengths``, all of it in turn, that add up to :data:`NUMBERS_AT_ONCE` at most, or hold a single
    one."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(ends):
        most = NUMBERS_AT_ONCE + (ends[start - 1] if start else 0)
        stop = max(int(np.searchsorted(ends, most, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


@dataclass(frozen=True)
class Lists:
    """List k is ``values[offsets[k]:offsets[k + 1]]``."""

    offsets: Numbers
    values: npt.NDArray[Any]

    @classmethod
    def of(cls, lists: Numbers, values: npt.NDArray[Any], count: int) -> Lists:
        """``count`` lists; ``lists`` (N,), ascending, from 0: the one that each of ``values`` (N,) is in."""
        return cls(np.searchsorted(lists, np.arange(count + 1)), values)

    def lengths(self, lists: Numbers) -> Numbers:
        return self.offsets[lists + 1] - self.offsets[lists]

    def opened(self, lists: Numbers) -> tuple[Numbers, npt.NDArray[Any]]:
        """The values of ``lists`` (M,), end to end; before them which of the M, 0 to M - 1, each is from."""
        lengths = self.lengths(lists)
        return np.repeat(np.arange(len(lists)), lengths), self.values[positions(self.offsets[lists], lengths)]
