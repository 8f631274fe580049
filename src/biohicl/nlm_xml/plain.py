"""The plain form of XML: nothing but tags and text, and no ">" that does not end a tag.

Goes in: the bytes inside a root element, well-formed as far as they go. Comes out: where its tags begin and end,
or, where that cannot be told from "<" and ">" alone, the same content written so that it can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int32]
Flags = NDArray[np.bool_]

# What fits into a processor's cache.
SCANNED_BYTES = 1 << 20

LESS, GREATER, SLASH, QUESTION, EXCLAMATION = (ord(sign) for sign in "<>/?!")

# One alternative a kind of token; what matches none is cut off by the end of the bytes. Possessive, so that nothing
# is kept to try again.
_TOKEN = re.compile(
    rb"(?P<comment><!--.*?-->)"
    rb"|<!\[CDATA\[(?P<cdata>.*?)\]\]>"
    rb"|(?P<instruction><\?.*?\?>)"
    rb"|(?P<end></[^>]*+>)"
    rb"""|(?P<start><[^!?/](?:[^>"']++|"[^"]*+"|'[^']*+')*+>)"""
    rb"|(?P<text>[^<]++)",
    re.DOTALL,
)


class TagPositions(NamedTuple):
    """Where each tag's "<" and ">" stand, and the byte behind its "<"."""

    opened: Positions
    closed: Positions
    second: NDArray[np.uint8]


def tag_positions(data: bytes) -> TagPositions | None:
    """The tags of ``data`` if it is in plain form; None if it is not.

    Comments and processing instructions without a ">" of their own count as tags here. The last tag is an end
    tag: one that ``data`` cuts off, perhaps in an attribute's value, is left out with what follows.

    The proof: between two "<" in a row stands exactly one ">". A tag has a ">" that ends it, and no "<" (XML
    forbids it in a value), so this ">" is the tag's end. An end tag has no attributes: its first ">" ends it.
    A comment whose first ">" follows "--", or an instruction whose first ">" follows "?", ends there.
    """
    last = data.rfind(b"</")
    end = data.find(b">", last) + 1
    if last >= 0 and end == 0:
        # Cut off within an end tag.
        last = data.rfind(b"</", 0, last)
        end = data.find(b">", last) + 1
    signs = np.frombuffer(data, np.uint8, end if last >= 0 else 0)
    places = _angles(signs)
    # The two of a tag, seen as one number of 16 bits.
    if len(places) % 2 or not (signs.take(places).view("<u2") == LESS + (GREATER << 8)).all():
        return None
    opened, closed = places[0::2].astype(np.int32), places[1::2].astype(np.int32)
    second = signs.take(places[0::2] + 1)
    markup = opened[(second == EXCLAMATION) | (second == QUESTION)]
    if len(markup) and not all(_ends_at_first(data, int(place)) for place in markup):
        return None
    return TagPositions(opened, closed, second)


def _angles(signs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where "<" and ">" stand: one bit tells them apart, so both are found in one go."""
    found = []
    for begin in range(0, len(signs), SCANNED_BYTES):
        places = np.flatnonzero((signs[begin : begin + SCANNED_BYTES] | (LESS ^ GREATER)) == GREATER)
        places += begin
        found.append(places)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _ends_at_first(data: bytes, place: int) -> bool:
    """Whether the comment or instruction at ``place`` ends at its first ">"."""
    token = data[place : data.index(b">", place) + 1]
    if token.startswith(b"<?"):
        return len(token) >= 4 and token.endswith(b"?>")
    return len(token) >= 7 and token.startswith(b"<!--") and token.endswith(b"-->")


def in_plain_form(data: bytes) -> tuple[bytes, int]:
    """The whole elements at the start of ``data`` in plain form, and how many bytes of ``data`` they take.

    Comments and instructions go, CDATA becomes text, and ">" in text and values becomes ``&gt;``.
    """
    written: list[bytes] = []
    whole = whole_written = 0
    for token, depth in _tokens(data):
        kind, part = token.lastgroup, token[0]
        if kind == "text":
            written.append(part.replace(b">", b"&gt;"))
        elif kind == "cdata":
            text = token["cdata"].replace(b"&", b"&amp;").replace(b"<", b"&lt;")
            written.append(text.replace(b">", b"&gt;"))
        elif kind == "start":
            written.append(part[:-1].replace(b">", b"&gt;") + b">")
        elif kind == "end":
            written.append(part)
        if depth == 0 and kind in ("start", "end"):
            whole, whole_written = token.end(), len(written)
    return b"".join(written[:whole_written]), whole


def outermost(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole element at the start of ``data`` begins and ends: the records of a block."""
    begin, before = 0, 0
    for token, depth in _tokens(data):
        if token.lastgroup in ("start", "end"):
            if before == 0:
                begin = token.start()
            if depth == 0:
                yield begin, token.end()
            before = depth


def text_at_end(data: bytes) -> int:
    """How many bytes stand before the end tag that ``data`` leads to, if text is among them; 0 otherwise."""
    length, has_text = 0, False
    for token, _ in _tokens(data):
        length = token.end()
        has_text |= bool((token["text"] or token["cdata"] or b"").strip())
    return length if has_text else 0


def _tokens(data: bytes) -> Iterator[tuple[re.Match[bytes], int]]:
    """Each token and how many elements are open behind it, up to the end tag of the element around ``data``."""
    depth = place = 0
    while token := _TOKEN.match(data, place):
        place = token.end()
        if token.lastgroup == "start":
            depth += not token[0].endswith(b"/>")
        elif token.lastgroup == "end":
            depth -= 1
            if depth < 0:
                return
        yield token, depth
