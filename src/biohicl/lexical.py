"""BM25: the lexical index that evaluation ranks with, and that training's hard negatives are found with.

Goes in: texts. Comes out: scores of all of them for the terms of a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class LexicalIndex:
    """BM25 of texts: bm25s, Lucene's formula, English stop words and Snowball stemming.

    ``settings``: k1 and b.
    """

    def __init__(self, texts: Sequence[str], settings: Mapping[str, Any]) -> None:
        import bm25s
        import Stemmer

        self._stemmer = Stemmer.Stemmer("english")
        self._size = len(texts)
        self._index = bm25s.BM25(method="lucene", k1=settings["k1"], b=settings["b"])
        terms = self.terms(texts)
        # bm25s makes no index of texts without any term.
        self._index.index(terms if any(terms) else [["-"]], show_progress=False)

    def terms(self, texts: Sequence[str]) -> list[list[str]]:
        """The stems of each text."""
        import bm25s

        found: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False, return_ids=False
        )
        return found

    def scores(self, terms: Sequence[str]) -> npt.NDArray[np.float32]:
        """(D,): of each text for a query of these terms; 0 where it has none of them."""
        known = [term for term in terms if term in self._index.vocab_dict]
        found: npt.NDArray[np.float32] = (
            self._index.get_scores(known) if known else np.zeros(self._size, dtype=np.float32)
        )
        return found

    @property
    def bytes(self) -> int:
        """Of the scores and where they stand, without the vocabulary."""
        return sum(int(self._index.scores[name].nbytes) for name in ("data", "indices", "indptr"))
