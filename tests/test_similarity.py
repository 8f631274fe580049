"""SimL against sets, and the properties that a similarity of label sets must have."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.mesh.similarity import descriptor_weights, label_similarity

COUNT = 12
label_sets = st.lists(st.sets(st.integers(0, COUNT - 1)), min_size=1, max_size=7)
weight_vectors = st.lists(st.floats(0, 4, width=32), min_size=COUNT, max_size=COUNT).map(
    lambda values: [0.0 if value < 1e-3 else value for value in values]
)


def ragged(sets):
    ids = np.array([label for labels in sets for label in sorted(labels)], dtype=np.int32)
    return ids, np.cumsum([0, *map(len, sets)])


def by_sets(one, other, weights):
    dot = sum(weights[label] ** 2 for label in one & other)
    norms = [math.sqrt(sum(weights[label] ** 2 for label in labels)) for labels in (one, other)]
    return dot / (norms[0] * norms[1]) if all(norms) else 0.0


@settings(max_examples=400, deadline=None)
@given(sets=label_sets, weights=weight_vectors)
def test_equals_the_cosine_of_sets(sets, weights):
    weights = np.array(weights, dtype=np.float32)
    found = label_similarity(*ragged(sets), weights)
    expected = [[by_sets(one, other, weights.astype(float)) for other in sets] for one in sets]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(sets=label_sets, weights=weight_vectors, order=st.randoms(use_true_random=False))
def test_properties(sets, weights, order):
    weights = np.array(weights, dtype=np.float32)
    found = label_similarity(*ragged(sets), weights)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found, found.T)
    weighted = [{label for label in labels if weights[label] > 0} for labels in sets]
    for i, one in enumerate(weighted):
        for j, other in enumerate(weighted):
            assert (found[i, j] == 0) == (not one & other)
            if one and one == other:
                assert found[i, j] == 1
    _, offsets = ragged(sets)
    shuffled = [sorted(labels, key=lambda _: order.random()) for labels in sets]
    again = label_similarity(np.array([x for labels in shuffled for x in labels], dtype=np.int32), offsets, weights)
    np.testing.assert_allclose(again, found, atol=1e-7)


def test_depth_weights_are_the_logarithm_of_depth_plus_one():
    weights = descriptor_weights("depth", np.array([1.0, 2.5, 11.0, np.nan]))
    np.testing.assert_allclose(weights, [math.log(2), math.log(3.5), math.log(12), math.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(descriptor_weights("none", np.array([3.0, np.nan])), [1, 1])
