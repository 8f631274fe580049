"""The values of elements: their text, their attributes, and repeated elements each read once.

Goes in: :class:`~biohicl.nlm_xml.tags.Tags` and elements of it. Comes out: Arrow arrays, a value an element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from biohicl.nlm_xml.plain import outermost
from biohicl.nlm_xml.tags import Elements, Tags, element_name, spans

Value = TypeVar("Value")

MOST_REMEMBERED = 100_000
MOST_TAGS_REMEMBERED = 10_000

_MARKUP = re.compile(r"<[^>]*>")
_SPACES = re.compile(r"[ \t\r\n]+")
_REFERENCE = re.compile(r"&(#x?)?(\w+);")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ATTRIBUTE = re.compile(r"""([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_AMPERSAND, _LESS, _SPACE = (ord(sign) for sign in "&< ")


def texts(tags: Tags, elements: Elements) -> pa.StringArray:
    """The text of each element, inline markup's own included; "" where there is none."""
    return _cleaned(spans(tags.buffer, tags.inner[elements], tags.close(elements)))


def texts_at(tags: Tags, elements: Elements, places: NDArray[np.int32], count: int) -> pa.StringArray:
    """As :func:`texts`, at the ascending ``places`` of an array of ``count`` strings; "" elsewhere."""
    if len(elements) == count:
        return texts(tags, elements)
    end = np.zeros(count, np.int32)
    end[places] = tags.close(elements)
    # Where no element is, nothing is cut out, behind the one before.
    end = np.maximum.accumulate(end)
    begin = end.copy()
    begin[places] = tags.inner[elements]
    return _cleaned(spans(tags.buffer, begin, end))


def clean(written: str) -> str:
    """What ``written``, the content of an element in plain form, says.

    Markup goes and leaves its text, references are decoded once, runs of XML white space become one space, none at
    the ends. Other white space (no-break and thin spaces) is the author's and stays.
    """
    text = _MARKUP.sub("", written) if "<" in written else written
    if "&" in text:
        text = _REFERENCE.sub(_decoded, text)
    return _with_single_spaces(text)


def parts(written: str) -> list[tuple[str, str]]:
    """Name and text of each element directly in ``written``, the content of an element in plain form."""
    content = written.encode()
    elements = [content[begin:end].decode() for begin, end in outermost(content)]
    return [(element_name(element[1:]), clean(element)) for element in elements]


@lru_cache(MOST_TAGS_REMEMBERED)
def attributes(tag: str) -> Mapping[str, str]:
    """The attributes of a start tag (without its "<" and ">"): ``PMID Version="1"`` gives ``{"Version": "1"}``.

    White space in them is treated as in text.
    """
    if "'" in tag:
        pairs = [(name, double or single) for name, double, single in _ATTRIBUTE.findall(tag)]
    else:
        # PMID Version= 1 : between the quotes, names (behind white space) and values in turn.
        pieces = tag.split('"')
        pairs = [
            (name.rstrip("= \t\r\n").rsplit(None, 1)[-1], value)
            for name, value in zip(pieces[:-1:2], pieces[1::2], strict=True)
        ]
    return {name: _value(written) for name, written in pairs}


def _value(written: str) -> str:
    return _with_single_spaces(_REFERENCE.sub(_decoded, written) if "&" in written else written)


def attribute(tags: Tags, elements: Elements, name: str, absent: str | None = None) -> pa.StringArray:
    """The value of an attribute, for each element; ``absent`` where it has none, null where it is empty."""
    values, index = _by_tag(tags, elements, lambda tag: attributes(tag).get(name, absent) or None)
    return pa.array(values, pa.string()).take(pa.array(index))


def has_attribute(tags: Tags, elements: Elements, name: str, value: str) -> NDArray[np.bool_]:
    """Which of ``elements`` have the attribute ``name`` with that value."""
    values, index = _by_tag(tags, elements, lambda tag: attributes(tag).get(name) == value)
    return np.array(values, np.bool_)[index]


class Remembered:
    """What a function makes of an element, computed once for each way the element is written.

    A file's 288,334 headings are 10,000 different ones. ``read`` takes the attributes and the element's content as
    written (plain form), and returns a tuple, one value a column.
    """

    def __init__(self, read: Callable[[Mapping[str, str], str], tuple[Any, ...]], schema: pa.Schema) -> None:
        self._read = read
        self._schema = schema
        self._forget()

    def _forget(self) -> None:
        self._written = pa.array([], pa.string())
        self._columns = [pa.array([], field.type) for field in self._schema]

    def __call__(self, tags: Tags, elements: Elements) -> list[pa.Array]:
        """The columns of ``schema``, a value an element."""
        if not len(elements):
            return [column[:0] for column in self._columns]
        written = spans(tags.buffer, tags.begin[elements] + 1, tags.close(elements))
        if len(self._written) > MOST_REMEMBERED:
            self._forget()
        place = pc.index_in(written, self._written)
        if place.null_count:
            self._learn(written.filter(place.is_null()).unique())
            place = pc.index_in(written, self._written)
        return [column.take(place) for column in self._columns]

    def _learn(self, new: pa.StringArray) -> None:
        values = []
        for element in new.to_pylist():
            tag, _, content = element.partition(">")
            values.append(self._read(attributes(tag), content))
        self._written = pa.concat_arrays([self._written, new])
        for place, (column, field) in enumerate(zip(zip(*values, strict=True), self._schema, strict=True)):
            self._columns[place] = pa.concat_arrays([self._columns[place], pa.array(column, field.type)])


def integers(strings: pa.StringArray, largest: int) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Decimal numbers as int32, and which of them are none, or not from 1 to ``largest`` (these are null)."""
    offsets, signs = _content(strings)
    lengths = np.diff(offsets)
    if ((signs - np.uint8(ord("0"))) < 10).all() and (lengths > 0).all() and (lengths <= 10).all():
        numbers = pc.cast(strings, pa.int64())
    else:
        numbers = pc.cast(pc.if_else(pc.match_substring_regex(strings, "^[0-9]{1,10}$"), strings, None), pa.int64())
    good = pc.fill_null(pc.and_(pc.greater(numbers, 0), pc.less_equal(numbers, largest)), False)
    bad = ~good.to_numpy(zero_copy_only=False)
    return pc.cast(pc.if_else(good, numbers, None) if bad.any() else numbers, pa.int32()), bad


def _by_tag(tags: Tags, elements: Elements, value: Callable[[str], Value]) -> tuple[list[Value], NDArray[np.int32]]:
    """``value`` of each distinct start tag among ``elements``, and which of them each element has."""
    tag_of = tags.tag_of[elements]
    used = np.zeros(len(tags.distinct_tags), np.bool_)
    used[tag_of] = True
    distinct = np.flatnonzero(used)
    place = np.empty(len(used), np.int32)
    place[distinct] = np.arange(len(distinct), dtype=np.int32)
    return [value(tag) for tag in tags.distinct_tags.take(pa.array(distinct)).to_pylist()], place[tag_of]


def _cleaned(written: pa.StringArray) -> pa.StringArray:
    """:func:`clean` of each string, called for those only that it would change."""
    offsets, signs = _content(written)
    if not len(signs):
        return written
    space = signs == _SPACE
    odd = signs < _SPACE
    odd |= signs == _AMPERSAND
    odd |= signs == _LESS
    # Two spaces in a row; or one at the start or end of a string.
    odd[1:] |= space[1:] & space[:-1]
    full = offsets[1:] > offsets[:-1]
    for ends in (offsets[:-1][full], offsets[1:][full] - 1):
        odd[ends] |= space[ends]
    places = np.flatnonzero(odd)
    if not len(places):
        return written
    dirty = np.zeros(len(written), np.bool_)
    dirty[np.searchsorted(offsets, places, "right") - 1] = True
    mask = pa.array(dirty)
    better = [clean(text) for text in written.filter(mask).to_pylist()]
    return pc.replace_with_mask(written, mask, pa.array(better, pa.string()))


def _content(strings: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each string begins, and the last one ends, among the bytes of all of them."""
    _, offset_buffer, data_buffer = strings.buffers()
    if not len(strings) or data_buffer is None:
        return np.zeros(len(strings) + 1, np.int32), np.empty(0, np.uint8)
    offsets = np.frombuffer(offset_buffer, np.int32, len(strings) + 1, strings.offset * 4)
    return offsets - offsets[0], np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]


def _with_single_spaces(text: str) -> str:
    if "  " in text or "\n" in text or "\t" in text or "\r" in text:
        text = _SPACES.sub(" ", text)
    return text.strip(" ")


def _decoded(reference: re.Match[str]) -> str:
    kind, name = reference.groups()
    if kind is None:
        return _NAMED[name]
    # Python reads no number of more than 4,300 digits, and libxml2 any number of zeros.
    return chr(int(name.lstrip("0"), 16 if kind == "#x" else 10))
