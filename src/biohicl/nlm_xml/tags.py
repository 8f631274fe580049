"""The tags of a block as arrays: which element each begins, its parent, where its text lies.

Goes in: bytes inside a root element, in plain form (see :mod:`biohicl.nlm_xml.plain`). Comes out: :class:`Tags`.
Elements are numbers, in the order of their start tags, so that every set of elements is a sorted array.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from biohicl.nlm_xml.plain import (
    EXCLAMATION,
    QUESTION,
    SLASH,
    Flags,
    Positions,
    TagPositions,
    in_plain_form,
    tag_positions,
)

Elements = NDArray[np.int32]

# NLM's have some ten levels. Each one takes a pass over the tags.
DEEPEST = 1000

_NAME = re.compile(r"[^ \t\r\n/>]+")


class Whole(NamedTuple):
    """Whole elements in plain form, and their tags, in order.

    ``data``: they, and perhaps more behind them. ``opened``, ``closed`` (int32): where each tag's "<" and ">" stand.
    ``step`` (int8): 1 for a start tag, -1 for an end tag, 0 for what opens and closes at once. ``depth`` (int16, or
    int32 where that is too small): how
    many elements are open behind it. ``markup``: which tags are comments or instructions. ``length``: how many bytes
    the elements took before they were in plain form. ``fault``: why they are not for :class:`Tags`, if they are not:
    there is text before or between them, or they are nested deeper than any of NLM's.
    """

    data: bytes
    opened: Positions
    closed: Positions
    step: NDArray[np.int8]
    depth: NDArray[np.signedinteger[Any]]
    markup: NDArray[np.int64]
    length: int
    fault: str | None


class Tags:
    """The elements of ``whole``.

    ``begin``, ``inner`` (int32, an element each): where its start tag's "<" stands, and the first byte after that
    tag's ">".
    """

    def __init__(self, whole: Whole) -> None:
        self.buffer = pa.py_buffer(whole.data)
        self._opened = whole.opened
        self._step = whole.step
        self._depth = whole.depth
        is_start = whole.step >= 0
        is_start[whole.markup] = False
        order = np.flatnonzero(is_start)
        self._order = order.astype(np.int32)
        self.begin = whole.opened.take(order)
        self.inner = whole.closed.take(order) + 1
        step = whole.step.take(order)
        self._level = whole.depth.take(order) - step
        self._is_empty = step == 0
        tags = spans(self.buffer, self.begin + 1, self.inner - 1).dictionary_encode()
        self.tag_of = tags.indices.to_numpy()
        self.distinct_tags: pa.StringArray = tags.dictionary
        # 16 bits are sorted faster; with more names than that the document is not NLM's, and still read right.
        codes = _codes_of(tags.dictionary)
        self._name = codes.astype(np.min_scalar_type(max(len(_codes), 1 << 15))).take(self.tag_of)
        self._parent = self._parents()
        # All elements by name, and within a name in order; those of one name lie between two of the bounds.
        self._by_name = np.argsort(self._name, kind="stable").astype(np.int32)
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(self._name, minlength=len(_codes)))])
        self._ends: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.begin)

    def _parents(self) -> Elements:
        parent = np.full(len(self), -1, np.int32)
        above = self._at_level(0)
        level = 1
        while len(here := self._at_level(level)):
            # The parent is the last element one level up that began before: each has those up to the next.
            before = np.cumsum(self._level == level, dtype=np.int32).take(above)
            parent[here] = np.repeat(above, np.diff(before, append=len(here)))
            above, level = here, level + 1
        return parent

    def named(self, name: str) -> Elements:
        """All elements of that name."""
        code = _codes.get(name, len(self._bounds))
        if code + 1 >= len(self._bounds):
            return self._by_name[:0]
        return self._by_name[self._bounds[code] : self._bounds[code + 1]]

    def _at_level(self, level: int) -> Elements:
        return np.flatnonzero(self._level == level).astype(np.int32)

    def roots(self) -> Elements:
        """The elements directly inside the root: the records."""
        return self._at_level(0)

    def name(self, element: int) -> str:
        """The name of one element."""
        return element_name(self.distinct_tags[int(self.tag_of[element])].as_py())

    def names(self, elements: Elements) -> list[str]:
        """The different names of ``elements``."""
        _, one_of_each = np.unique(self._name.take(elements), return_index=True)
        return [self.name(int(element)) for element in elements[one_of_each]]

    def children(self, parents: Elements, name: str) -> Elements:
        """The elements ``name`` directly inside one of ``parents``."""
        candidates = self.named(name)
        if not len(parents) or not len(candidates):
            return candidates[:0]
        wanted: Flags = np.zeros(len(self) + 1, np.bool_)  # one more, so that parent -1 finds False there
        wanted[parents] = True
        return candidates[wanted.take(self._parent.take(candidates), mode="wrap")]

    def child(self, parents: Elements, name: str) -> Elements:
        """The first element ``name`` directly inside each of ``parents`` that has one."""
        found = self.children(parents, name)
        first = firsts(self._parent.take(found))
        return found if first.all() else found[first]

    def path(self, parents: Elements, path: str) -> Elements:
        """The elements at ``path`` inside ``parents``: ``KeywordList*/Keyword*`` are all keywords of all lists.

        A step takes the first child of that name, or all of them where it ends in ``*``, as in NLM's DTD.
        """
        for step in path.split("/"):
            name = step.removesuffix("*")
            parents = self.children(parents, name) if name != step else self.child(parents, name)
        return parents

    def close(self, elements: Elements) -> Positions:
        """Where the end tag of each of ``elements`` begins; its own ``inner`` for an empty-element tag."""
        order = self._order.take(elements)
        following = np.minimum(order + 1, len(self._opened) - 1)
        close = self._opened.take(following)
        empty = self._is_empty.take(elements)
        close[empty] = self.inner[elements[empty]]
        # Where no end tag follows the start tag, there is markup inside.
        nested = np.flatnonzero((self._step.take(following) >= 0) & ~empty)
        levels = self._level[elements[nested]]
        for level in np.unique(levels):
            these = nested[levels == level]
            if level not in self._ends:
                self._ends[level] = np.flatnonzero((self._step < 0) & (self._depth == level))
            ends = self._ends[level]
            close[these] = self._opened[ends[np.searchsorted(ends, order[these])]]
        return close


def whole_elements(data: bytes) -> Whole | None:
    """The whole elements at the start of ``data``; None where none is whole, or ``data`` is not well-formed."""
    positions = tag_positions(data)
    if positions is not None:
        return _whole(data, positions)
    plain, length = in_plain_form(data)
    positions = tag_positions(plain)
    whole = _whole(plain, positions) if positions is not None else None
    return whole and whole._replace(length=length)


def _whole(data: bytes, positions: TagPositions) -> Whole | None:
    opened, closed, second = positions
    signs = np.frombuffer(data, np.uint8)
    step = 1 - 2 * (second == SLASH).view(np.int8)
    starts = np.flatnonzero(step > 0)
    step[starts[signs.take(closed.take(starts) - 1) == SLASH]] = 0
    markup = np.flatnonzero((second == QUESTION) | (second == EXCLAMATION))
    step[markup] = 0
    depth = np.cumsum(step, dtype=np.int16)
    outside = np.flatnonzero(depth < 0)
    if len(outside) and depth[outside[0]] != -1:
        # More than 16 bits can tell.
        depth = np.cumsum(step, dtype=np.int32)
        outside = np.flatnonzero(depth < 0)
    within = int(outside[0]) if len(outside) else len(depth)
    closes = (depth[:within] == 0) & (step[:within] <= 0)
    closes[markup[markup < within]] = False
    ends = np.flatnonzero(closes)
    if not len(ends):
        return None
    count = int(ends[-1]) + 1
    length = int(closed[count - 1]) + 1
    opened, closed, step, depth = opened[:count], closed[:count], step[:count], depth[:count]
    before = np.flatnonzero(depth[:-1] == 0)
    begins, stops = [0, *(closed[before] + 1).tolist()], [int(opened[0]), *opened[before + 1].tolist()]
    fault = None
    if any(begin < stop and not data[begin:stop].isspace() for begin, stop in zip(begins, stops, strict=True)):
        fault = "there is text where a record should be"
    elif depth.max() > DEEPEST:
        fault = f"its elements are nested more than {DEEPEST:,} deep"
    return Whole(data, opened, closed, step, depth, markup[markup < count], length, fault)


def firsts(owner: NDArray[np.int32]) -> Flags:
    """Where a new owner begins, in an array of which equal values stand together."""
    first = np.ones(len(owner), np.bool_)
    first[1:] = owner[1:] != owner[:-1]
    return first


def spans(buffer: pa.Buffer, begin: Positions, end: Positions) -> pa.Array:
    """The bytes between ``begin`` and ``end`` (sorted, not overlapping) as Arrow strings, in one copy."""
    count = len(begin)
    if count == 0:
        return pa.array([], pa.string())
    # Seen as strings, the buffer is wanted ones and gaps in turn; every second one is taken.
    offsets = np.empty(2 * count, np.int32)
    offsets[0::2] = begin
    offsets[1::2] = end
    turns = pa.Array.from_buffers(pa.string(), 2 * count - 1, [None, pa.py_buffer(offsets), buffer])
    return turns.take(pa.array(np.arange(0, 2 * count - 1, 2, dtype=np.int32)))


_codes: dict[str, int] = {}


def _code_of(name: str) -> int:
    """The number by which this process knows an element's name."""
    return _codes.setdefault(name, len(_codes))


def _codes_of(tags: pa.StringArray) -> NDArray[np.int32]:
    """The number of the name in each tag, such as of PMID in ``PMID Version="1"``."""
    space = pc.find_substring(tags, " ").to_numpy()
    offsets = np.frombuffer(tags.buffers()[1], np.int32, len(tags) + 1, tags.offset * 4)
    begin = offsets[:-1]
    names = spans(tags.buffers()[2], begin, np.where(space < 0, offsets[1:], begin + space)).dictionary_encode()
    return np.array([_code_of(element_name(name)) for name in names.dictionary.to_pylist()], np.int32)[
        names.indices.to_numpy()
    ]


def element_name(tag: str) -> str:
    """``PMID`` of ``PMID Version="1"``: of what follows a tag's "<"."""
    return _NAME.match(tag)[0]  # type: ignore[index]
