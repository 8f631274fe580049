"""A draw that depends on nothing but a PMID and a seed, so that a citation's place does not depend on what else there
is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pmid_hash(pmids: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 of each PMID and the seed: a draw that any language can repeat (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = pmids.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
