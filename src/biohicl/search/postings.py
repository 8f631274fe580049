"""Which rows have a key: the terms of texts, with how often they stand there, and what filters ask for.

Goes in: keys and the rows that have them. Comes out: three arrays, sorted so that a key's rows are found by bisection.
A key is kept as the first eight bytes of its BLAKE2b hash: a word takes as much room as any other, and that two of the
some hundred million keys of all of PubMed share one has a chance of about one in three thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]


def hash_of(key: str) -> int:
    """The number that stands for a key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def hashes_of(keys: Iterable[str]) -> Keys:
    """The numbers that stand for several keys, each once, rising."""
    return np.unique(np.fromiter(map(hash_of, keys), dtype=np.uint64))


@dataclass(frozen=True)
class Postings:
    """``keys`` (K,): hashes, rising. ``offsets`` (K + 1,): the rows of key i are ``rows[offsets[i]:offsets[i + 1]]``,
    rising. ``counts``: how often the key is in each of them, at most 65,535; None where that is not asked."""

    keys: Keys
    offsets: npt.NDArray[np.int64]
    rows: Rows
    counts: npt.NDArray[np.uint16] | None = None

    @classmethod
    def of(cls, keys: Sequence[str], of_row: Any, of_key: Any, with_counts: bool = False) -> Postings:
        """``keys``: differing ones. Both (P,): ``of_row``, a row, and ``of_key``, the place in ``keys`` of what it has;
        the same pair may come several times."""
        hashes = np.array([hash_of(key) for key in keys], dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        place = np.empty(len(keys), dtype=np.int64)
        place[order] = np.arange(len(keys))
        rows = np.asarray(of_row, dtype=np.int64)
        pairs = (place[np.asarray(of_key, dtype=np.int64)] << 32) | rows
        unique, times = np.unique(pairs, return_counts=True)
        offsets = np.searchsorted(unique >> 32, np.arange(len(keys) + 1))
        counts = np.minimum(times, 65_535).astype(np.uint16) if with_counts else None
        return cls(hashes[order], offsets.astype(np.int64), (unique & 0xFFFFFFFF).astype(np.int32), counts)

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """As they are written into a file, under ``name``."""
        found: dict[str, npt.NDArray[Any]] = {
            f"{name}.keys": self.keys,
            f"{name}.offsets": self.offsets,
            f"{name}.rows": self.rows,
        }
        return found if self.counts is None else {**found, f"{name}.counts": self.counts}

    @classmethod
    def read(cls, file: Any, name: str) -> Postings:
        """From a file of tensors that holds :meth:`arrays`."""
        keys, offsets, rows = (file[f"{name}.{part}"] for part in ("keys", "offsets", "rows"))
        return cls(keys, offsets, rows, file.get(f"{name}.counts"))

    def span(self, key: int) -> slice:
        """Where the rows of a key (its hash) stand; empty where nothing has it."""
        wanted = np.uint64(key)
        place = int(np.searchsorted(self.keys, wanted))
        if place == len(self.keys) or self.keys[place] != wanted:
            return slice(0, 0)
        return slice(int(self.offsets[place]), int(self.offsets[place + 1]))

    def rows_of(self, key: int) -> Rows:
        """The rows that have a key (its hash), rising."""
        return self.rows[self.span(key)]

    def rows_of_any(self, keys: Keys) -> Rows:
        """The rows that have one of some differing keys (:func:`hashes_of`); one may come several times."""
        places = np.searchsorted(self.keys, keys)
        is_inside = places < len(self.keys)
        places, keys = places[is_inside], keys[is_inside]
        places = places[self.keys[places] == keys]
        starts = self.offsets[places]
        lengths = self.offsets[places + 1] - starts
        # The places from each start on, so many of each: a wide heading has thousands, too many to be gone through.
        before = np.cumsum(lengths) - lengths
        return self.rows[np.repeat(starts - before, lengths) + np.arange(lengths.sum())]
