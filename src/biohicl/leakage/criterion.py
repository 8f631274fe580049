"""When two texts are near duplicates.

Goes in: how many shingles each of two texts has, and how many they share. Comes out: how similar they are, or 0.

They are near duplicates if their resemblance, the shared shingles by all shingles (Jaccard's index), is 0.7 or more; or
if the containment of the smaller, the shared shingles by its own, is 0.8 or more and it has 20 or more. Both measures:
Broder, On the resemblance and containment of documents, 1997. It follows that

- of two long texts containment decides: where the resemblance is r, the smaller's containment is 2r / (1 + r) or more,
  which is 0.82 at 0.7;
- where one is short, with fewer than 20 shingles, resemblance decides, and the other has 27 at most.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

# One changed word spoils five shingles: ten words changed here and there in an abstract of 200 leave a resemblance of
# 0.6, five leave 0.77.
RESEMBLANCE = 0.7
# Benchmarks leave out titles, headings or the conclusion; what is left stands in the article, seams apart. Of 62,688
# real citations beside 6,183 documents of SciFact and PubMedQA, the eight same articles have 0.90 to 1, and the nearest
# other pair 0.21.
CONTAINMENT = 0.8
# 24 words in a row. Fewer may be a stock phrase, or a title that a comment repeats.
SHINGLES_OF_A_LONG_TEXT = 20
# More, and 19 shared ones would be less than RESEMBLANCE.
SHINGLES_BESIDE_A_SHORT_TEXT = int((SHINGLES_OF_A_LONG_TEXT - 1) / RESEMBLANCE)


def similarity(shared: Counts, first: Counts, second: Counts) -> npt.NDArray[np.float64]:
    """(P,), 0 or 0.7 to 1: the resemblance where it makes a pair near duplicates; else the containment of the smaller
    where that does; else 0. All (P,): how many shingles each pair shares, and how many the first and second text
    has."""
    smaller = np.minimum(first, second)
    resemblance = shared / np.maximum(first + second - shared, 1)
    containment = np.where(smaller >= SHINGLES_OF_A_LONG_TEXT, shared / np.maximum(smaller, 1), 0.0)
    contained = np.where(containment >= CONTAINMENT, containment, 0.0)
    return np.where(resemblance >= RESEMBLANCE, resemblance, contained)


def shared_at_least(sizes: Counts, share: float) -> Counts:
    """(N,): the smallest whole number that is ``share`` of ``sizes`` (N,) or more."""
    # In floating point 0.7 times 10 may be a little more than 7.
    return np.ceil(sizes * share - 1e-9).astype(np.int64)
