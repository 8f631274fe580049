"""Which words of a text a query has too, for highlighting.

Goes in: a query and texts. Comes out: where in each text words stand that BM25 takes for one of
the query's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from biohicl.lexical import terms_of

# What terms_of takes for a word.
WORD = re.compile(r"\b\w\w+\b")
Spans = list[tuple[int, int]]


def matches(query: str, texts: Sequence[str]) -> list[Spans]:
    """Of each text (first character, the one after the last) of the words with a stem of the query's, in order.

    In Unicode code points from 0. Stop words, which BM25 leaves aside, are none.
    """
    (wanted,) = terms_of([query])
    found = [[(word.span(), word[0].lower()) for word in WORD.finditer(text)] for text in texts]
    words = sorted({word for of_text in found for _, word in of_text}) if wanted else []
    stems = zip(words, terms_of(words), strict=True) if words else ()
    matching = {word for word, terms in stems if not set(wanted).isdisjoint(terms)}
    return [[span for span, word in of_text if word in matching] for of_text in found]
