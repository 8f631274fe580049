"""A draw that depends on nothing but a number (a PMID, a descriptor's) and a seed, so that a citation's place does not
depend on what else there is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from biohicl.errors import BioHiCLError

DESCRIPTOR_UI = re.compile(r"D(\d{1,18})")


def pmid_hash(pmids: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 of each PMID and the seed: a draw that any language can repeat (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = pmids.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def descriptor_numbers(uis: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The number in each descriptor's UI, which :func:`pmid_hash` takes as well: 9369 of D009369."""
    found = [DESCRIPTOR_UI.fullmatch(ui) for ui in uis]
    bad = next((ui for ui, match in zip(uis, found, strict=True) if match is None), None)
    if bad is not None:
        raise BioHiCLError(f"'{bad}' is no descriptor's UI, which is D and a number; make the MeSH tables again")
    return np.array([int(match[1]) for match in found if match], dtype=np.uint64)
