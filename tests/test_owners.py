"""Values and their owners, beside plain Python."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.nlm_xml.owners import listed, or_null, ordinals, placed, united, where

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
sets = st.sets(st.integers(0, 30)).map(sorted)


@given(strings=st.lists(st.sampled_from(["", "a", "κλ", " "]), max_size=30), start=st.integers(0, 9))
@FEW
def test_empty_strings_become_null_wherever_an_array_begins(strings, start):
    found = or_null(pa.array(strings, pa.string())[start:])
    found.validate(full=True)
    assert found.to_pylist() == [string or None for string in strings[start:]]


@given(of=sets, count=st.integers(31, 40))
@FEW
def test_ordinals_are_the_last_that_began(of, count):
    found = ordinals(np.array(of, np.int32), count)
    assert found.tolist() == [sum(begin <= element for begin in of) - 1 for element in range(count)]


@given(elements=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), unique_by=lambda pair: pair[0]))
@FEW
def test_united_sets_are_in_order(elements):
    parts = [np.array(sorted(e for e, part in elements if part == which), np.int32) for which in range(3)]
    assert united(*parts).tolist() == sorted(element for element, _ in elements)


@given(owners=st.lists(st.integers(0, 9), max_size=20).map(sorted), flags=st.lists(st.booleans(), min_size=20))
@FEW
def test_values_find_their_owners(owners, flags):
    owner, values = np.array(owners, np.int32), pa.array([f"v{place}" for place in range(len(owners))], pa.string())
    lists = listed(owner, values, 10).to_pylist()
    assert lists == [[f"v{place}" for place, of in enumerate(owners) if of == row] for row in range(10)]
    kept = where(values, np.array(flags[: len(owners)], np.bool_))
    assert kept.to_pylist() == [value for value, flag in zip(values.to_pylist(), flags, strict=False) if flag]
    single = sorted(set(owners))
    found = placed(values[: len(single)], np.array(single, np.int32), 10).to_pylist()
    assert found == [f"v{single.index(row)}" if row in single else None for row in range(10)]
