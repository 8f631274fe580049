"""BM25: the terms of a text, and the lexical index that evaluation ranks with and hard negatives are found with.

Goes in: texts. Comes out: scores of all of them for the terms of a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


def terms_of(texts: Sequence[str]) -> list[list[str]]:
    """The terms of each text, in order: words of two characters or more in lower case, without English stop words,
    as Snowball's stems."""
    import bm25s

    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en", stemmer=_stemmer(), show_progress=False, return_ids=False
    )
    return found


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


class LexicalIndex:
    """BM25 of texts: bm25s, Lucene's formula, terms as :func:`terms_of` makes them.

    ``settings``: k1 and b.
    """

    def __init__(self, texts: Sequence[str], settings: Mapping[str, Any]) -> None:
        import bm25s

        self._size = len(texts)
        self._index = bm25s.BM25(method="lucene", k1=settings["k1"], b=settings["b"])
        terms = terms_of(texts)
        # bm25s makes no index of texts without any term.
        self._index.index(terms if any(terms) else [["-"]], show_progress=False)

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
