"""Lists of different lengths, end to end in one array: the form of token lists, label sets and closures.

Goes in: a list column of Arrow, or values and lengths. Comes out: :class:`Ragged`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Ragged:
    """Row i is ``values[offsets[i]:offsets[i + 1]]``; ``offsets`` has one entry more than there are rows."""

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, column: Any, dtype: npt.DTypeLike = np.int32) -> Ragged:
        """From a list column of pyarrow (an Array or a ChunkedArray) without nulls."""
        lists = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        if hasattr(lists, "chunks"):
            # A column without rows stays chunked.
            return cls(np.zeros(0, dtype=dtype), np.zeros(1, dtype=np.int64))
        offsets = lists.offsets.to_numpy().astype(np.int64)
        values = lists.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]].astype(dtype)
        return cls(values, offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)

    def rows(self, indices: npt.NDArray[np.integer]) -> list[npt.NDArray[Any]]:
        """The rows ``indices`` as arrays of their own."""
        return [self.values[self.offsets[i] : self.offsets[i + 1]] for i in indices]

    def take(self, indices: npt.NDArray[np.integer]) -> Ragged:
        """The rows ``indices``, end to end again."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths()[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        return Ragged(self.values[places], offsets)
