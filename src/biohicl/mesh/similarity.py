"""What the hierarchy says about two sets of labels: SimL, the similarity that two citations should have.

Goes in: label sets as ids into the hierarchy's rows (ragged: ``ids`` and ``offsets``), and one weight for each
descriptor. Comes out: a B x B float32 matrix with values in [0, 1].

Source of the formula: BioHiCL (arXiv 2604.15591): SimL(p, q) = cos(y_p * w, y_q * w) with y the 0/1 vector of
a citation's labels and all their ancestors, and w_c = log(depth(c) + 1).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Weight = Literal["none", "depth"]
Depth = Literal["min", "mean", "max"]


def descriptor_weights(weight: Weight, depths: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """One weight for each descriptor, shape (C,), none below 0.

    ``depths`` (C,) counts a tree number without a dot as 1; a descriptor without a position (Male, Female) has
    NaN and is weighted as a root. ``none``: 1. ``depth``: log(depth + 1), natural logarithm.
    """
    if weight == "none":
        return np.ones(len(depths), dtype=np.float32)
    return np.log1p(np.where(np.isnan(depths), 1.0, depths)).astype(np.float32)


def label_similarity(
    ids: npt.NDArray[np.integer], offsets: npt.NDArray[np.integer], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Cosine of the weighted 0/1 label vectors, for all pairs of B label sets.

    ``ids``: descriptor ids of all sets end to end, each set without repeats. ``offsets`` (B + 1,): set b is
    ``ids[offsets[b]:offsets[b + 1]]``. Returns (B, B) float32 in [0, 1], symmetric; 1 for equal sets; exactly 0
    for sets without a common weighted label. A set without any weighted label is 0 with everything, itself included.
    """
    from scipy.sparse import csr_array

    count = len(offsets) - 1
    # float64 inside: an exact 0 stays exact, and 1 comes out as 1 after rounding to float32.
    values = weights[ids].astype(np.float64)
    rows = np.repeat(np.arange(count), np.diff(offsets))
    norms = np.sqrt(np.bincount(rows, weights=values * values, minlength=count))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    matrix = csr_array((values * scale[rows], ids, offsets), shape=(count, len(weights)))
    similarity = (matrix @ matrix.T).toarray()
    return np.clip(similarity, 0.0, 1.0).astype(np.float32)
