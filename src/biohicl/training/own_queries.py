"""The queries that a text of a selection has of its own, as tokens: synthetic ones of a citation, names of a concept,
labelled ones of a document.

Goes in: the table that ``biohicl query-tokens`` made. Comes out: for each text one of its queries, and where in the
text that query's words stand, so that a text is read without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged
from biohicl.training.rows import QUERY_KINDS

# Of these kinds the title is another name for the text: it is read without.
NAMES_OF_TEXTS = {QUERY_KINDS.index("name"), QUERY_KINDS.index("synonym")}


@dataclass(frozen=True)
class OwnQueries:
    """Text i has the queries ``first[i]`` to ``first[i + 1]`` of all m.

    ``tokens``: m token lists. ``kinds`` (m,): places in ``QUERY_KINDS``. ``spans`` (m, 2): the tokens of the text's
    document view, from and up to, that are the query's words; equal where there are none.
    """

    first: npt.NDArray[np.int64]
    tokens: Ragged
    kinds: npt.NDArray[np.uint8]
    spans: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, wanted: Sequence[str] | None) -> OwnQueries:
        """From the columns queries, kinds, starts and ends; of the kinds ``wanted`` alone (None: all)."""
        queries = table["queries"].combine_chunks()
        inner = queries.flatten()
        counts = queries.value_lengths().to_numpy()
        kinds, starts, ends = (
            table[name].combine_chunks().flatten().to_numpy() for name in ("kinds", "starts", "ends")
        )
        tokens = Ragged.of(inner)
        if not len(tokens) == len(kinds) == len(starts) == len(ends) == counts.sum():
            raise BioHiCLError("the table of query tokens has lists of different lengths; make it again: query-tokens")
        kept = np.isin(kinds, [QUERY_KINDS.index(name) for name in (QUERY_KINDS if wanted is None else wanted)])
        owner = np.repeat(np.arange(len(counts)), counts)[kept]
        first = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(counts)))]).astype(np.int64)
        return cls(
            first, tokens.take(np.flatnonzero(kept)), kinds[kept], np.stack([starts, ends], 1)[kept].astype(np.int64)
        )

    @cached_property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(n,): which texts have a query."""
        return np.diff(self.first) > 0

    def draw(self, text: int, draw: np.random.Generator) -> int:
        """One of the queries of a usable text, each as likely as the others."""
        return int(draw.integers(self.first[text], self.first[text + 1]))

    def left_of(self, query: int, document: npt.NDArray[np.int32], passage: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """The tokens of the query's text that do not answer it: its document view without the query's own words, or, of
        a name, the passage view."""
        if self.kinds[query] in NAMES_OF_TEXTS:
            return passage
        start, end = self.spans[query]
        return np.concatenate([document[:start], document[end:]])

    def as_answer(
        self, text: int, document: npt.NDArray[np.int32], passage: npt.NDArray[np.int32], draw: np.random.Generator
    ) -> npt.NDArray[Any]:
        """The tokens of a text as one that such a query is to find is read, for one that is a wrong answer: without the
        words of a query of its own, or, among names, without its own name. Else the two could be told by that."""
        if self.usable[text]:
            return self.left_of(self.draw(text, draw), document, passage)
        return passage if len(self.kinds) and np.isin(self.kinds, list(NAMES_OF_TEXTS)).all() else document

    def shared(self, texts: npt.NDArray[np.integer], queries: Sequence[int]) -> npt.NDArray[np.bool_]:
        """(Q, T): whether text j has query i, word for word, among its own; the queries are their owners' too."""
        found = np.zeros((len(queries), len(texts)), dtype=bool)
        holders: dict[bytes, list[int]] = {}
        for place, text in enumerate(texts):
            for words in self.tokens.rows(np.arange(self.first[text], self.first[text + 1])):
                holders.setdefault(words.tobytes(), []).append(place)
        for row, words in enumerate(self.tokens.rows(np.array(queries))):
            found[row, holders.get(words.tobytes(), [])] = True
        return found
