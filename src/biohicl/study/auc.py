"""How often a related pair is more similar than an unrelated one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def auc(related: npt.NDArray[np.floating], unrelated: npt.NDArray[np.floating]) -> float:
    """Share of all (related, unrelated) in which the related value is higher, ties counted half; in [0, 1].

    Source: Mann and Whitney, 1947. NaN where either is empty.
    """
    from scipy.stats import rankdata

    if not len(related) or not len(unrelated):
        return float("nan")
    ranks = rankdata(np.concatenate([related, unrelated]))
    wins = ranks[: len(related)].sum() - len(related) * (len(related) + 1) / 2
    return float(wins / (len(related) * len(unrelated)))


def auc_of_rows(similarity: npt.NDArray[np.floating], related: Mask, unrelated: Mask) -> npt.NDArray[np.float64]:
    """:func:`auc` of each row of a (R, C) matrix, of the entries that the two masks choose; (R,)."""
    return np.array([auc(row[one], row[other]) for row, one, other in zip(similarity, related, unrelated, strict=True)])
