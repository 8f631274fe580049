"""What of a title, a text or a DOI counts when two of them are compared.

Goes in: columns of strings, as NLM and benchmarks write them. Comes out: columns in which case, accents, punctuation
and the like make no difference.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

# What becomes of a byte: ASCII letters are put in lower case, digits stay, other ASCII is a space. Bytes from 128 on
# stay: they are parts of letters and digits, once all else is a space.
_BYTES = b"".join(bytes([byte]).lower() if byte >= 128 or chr(byte).isalnum() else b" " for byte in range(256))
# What case folding does beyond lower case to letters after NFKD, some historic letters of Cyrillic apart.
_FOLDED = {"ß": "ss", "ς": "σ"}
# How a DOI is written as a link, or with its scheme.
_BEFORE_DOI = r"^(?:https?://)?(?:(?:dx\.|www\.)?doi\.org/|doi:)\s*"


def words(texts: pl.Series) -> pl.Series:
    """Each text's words, one or more spaces between them, perhaps spaces around them; none for a null text.

    A word is a run of letters and digits: Unicode NFKD without combining marks, casefolded. All else ends a word:
    spaces, punctuation, brackets, symbols. In scripts without spaces, a word is all that stands between two commas.
    """
    texts = texts.fill_null("")
    # Most texts are ASCII, and done with the table of bytes; others are first brought to where that is enough.
    others = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(others):
        plain = (
            texts.gather(others)
            .str.normalize("NFKD")
            .str.replace_all(r"\p{M}+", "")
            .str.to_lowercase()
            .str.replace_many(_FOLDED)
            .str.replace_all(r"[^\p{L}\p{N}\x00-\x7f]", " ")
        )
        texts = texts.scatter(others, plain)
    # As long strings: one piece of text and 64-bit offsets.
    arrow = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = arrow.buffers()
    translated = pa.py_buffer((data.to_pybytes() if data else b"").translate(_BYTES))
    return pl.Series(pa.LargeStringArray.from_buffers(len(arrow), offsets, translated, offset=arrow.offset))


def spaced(words: pl.Series) -> pl.Series:
    """The same words with one space between two, and none around them."""
    return words.str.replace_all(" +", " ").str.strip_chars(" ")


def title_keys(words: pl.Series) -> pl.Series:
    """(N,), 64-bit hashes of the words run together: equal where titles are the same. Null where there are no words.

    Hashes differ between versions of polars, and are not to be stored.
    """
    letters = words.str.replace_all(" ", "", literal=True)
    return letters.hash().set(letters == "", None)


def dois(column: pl.Series) -> pl.Series:
    """DOIs in lower case (two that differ in the case of ASCII letters are the same: DOI Handbook, 2.4), without
    'https://doi.org/', 'doi:' and the like, and without spaces around them; null where nothing is left."""
    bare = column.str.strip_chars().str.to_lowercase().str.replace(_BEFORE_DOI, "")
    return bare.set(bare == "", None)
