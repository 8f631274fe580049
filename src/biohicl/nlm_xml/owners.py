"""Values that belong to rows, or to elements of a list: placed, grouped, left out.

Goes in: Arrow arrays and, for each value, the number of its owner, ascending. Comes out: Arrow arrays, a value or a
list an owner.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from biohicl.nlm_xml.tags import Elements, Tags
from biohicl.nlm_xml.values import texts

Owners = NDArray[np.int32]


def ordinals(of: Elements, count: int) -> Owners:
    """For each of all ``count`` elements of a block, the place in ``of`` of the last one that began before or with it.

    That is the one it lies in, if it lies in one; -1 before the first.
    """
    return np.repeat(np.arange(-1, len(of), dtype=np.int32), np.diff(of, prepend=0, append=count))


def united(*sets: Elements) -> Elements:
    """All elements of disjoint sets, in order."""
    filled = [elements for elements in sets if len(elements)]
    if len(filled) < 2:
        return filled[0] if filled else sets[0]
    return np.sort(np.concatenate(filled))


def placed(values: pa.Array, owner: Owners, count: int) -> pa.Array:
    """``values`` at the places ``owner`` of an array of ``count``, null elsewhere."""
    if len(values) == count:
        return values
    place = np.full(count, -1, np.int32)
    place[owner] = np.arange(len(owner), dtype=np.int32)
    return values.take(pa.array(place, mask=place < 0))


def listed(owner: Owners, values: pa.Array, count: int) -> pa.ListArray:
    """A list for each of ``count`` owners; ``owner`` is sorted."""
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(owner, minlength=count), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def text_lists(tags: Tags, elements: Elements, owner: Owners, count: int) -> pa.ListArray:
    """The texts of ``elements`` as a list for each owner, without empty ones."""
    written = texts(tags, elements)
    full = is_full(written)
    return listed(owner[full], where(written, full), count)


def where(values: pa.Array, flags: NDArray[np.bool_]) -> pa.Array:
    """The ``values`` whose flag is set."""
    return values if flags.all() else values.filter(pa.array(flags))


def is_full(strings: pa.StringArray) -> NDArray[np.bool_]:
    """Which of ``strings``, none of which is null, are not empty."""
    return pc.greater(pc.binary_length(strings), 0).to_numpy(zero_copy_only=False)


def or_null(strings: pa.StringArray) -> pa.StringArray:
    """``strings``, none of which is null, with null for the empty ones."""
    full = is_full(strings)
    if full.all():
        return strings
    if strings.offset:
        return pc.if_else(pa.array(full), strings, None)
    # The same bytes under another bitmap.
    valid = pa.py_buffer(np.packbits(full, bitorder="little"))
    return pa.Array.from_buffers(strings.type, len(strings), [valid, *strings.buffers()[1:]])
