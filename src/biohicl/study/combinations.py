"""The ways to weigh labels that the study compares, in the words of config.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from biohicl.mesh.nodes import DEPTHS
from biohicl.mesh.similarity import METHODS
from biohicl.mesh.weights import Weight

# How much of check tags, and of headings that are no major topic, counts.
SHARES = {"keep": 1.0, "half": 0.5, "drop": 0.0}


@dataclass(frozen=True)
class Combination:
    """One way to weigh labels, in the words of config.yaml; ``depth`` is "" where the weight is not of depth."""

    similarity: str
    weight: str
    depth: str
    check_tags: str
    minor_topics: str
    roots: str = "none"

    def settings(self, smoothing: float) -> dict[str, Any]:
        return {
            "similarity": self.similarity,
            "weight": self.weight,
            "depth": self.depth or "min",
            "roots": self.roots,
            "smoothing": smoothing,
            "check_tags": SHARES[self.check_tags],
            "minor_topics": SHARES[self.minor_topics],
        }

    @property
    def weight_name(self) -> str:
        return f"{self.weight}-{self.depth}" if self.depth else self.weight


# BioHiCL as published, as far as the paper says: what the others are compared with, beside the best.
PUBLISHED = Combination("cosine", "depth", "min", "keep", "keep")


def combinations(with_majors: bool) -> list[Combination]:
    """All of them; where no heading is flagged as a major topic, there is nothing to tell minor ones by."""
    weights = [(weight, depth) for weight in get_args(Weight) for depth in (DEPTHS if weight == "depth" else [""])]
    minors = list(SHARES) if with_majors else ["keep"]
    return [
        Combination(similarity, weight, depth, tags, minor)
        for (weight, depth), similarity, tags, minor in product(weights, METHODS, SHARES, minors)
    ]


def columns_of(combined: Sequence[Combination]) -> dict[str, list[str]]:
    """What names a combination in the study's tables, a column each."""
    return {
        "similarity": [one.similarity for one in combined],
        "weight": [one.weight_name for one in combined],
        "check_tags": [one.check_tags for one in combined],
        "minor_topics": [one.minor_topics for one in combined],
    }


# The published weighting's names in the study's tables.
PUBLISHED_COLUMNS = {name: values[0] for name, values in columns_of([PUBLISHED]).items()}
