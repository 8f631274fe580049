"""Weights of nodes: how much it says of two citations that both have one.

Goes in: the :class:`~biohicl.mesh.nodes.Nodes`, the settings of a weighting (``labels`` of a node in config.yaml),
and for corpus IC how many citations have each node. Comes out: one weight a node, none below 0, and a factor for
each kind of heading. Changing any of it rebuilds no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_sets import KINDS, MAJOR, MAJOR_CHECK_TAG, MINOR, MINOR_CHECK_TAG
from biohicl.mesh.nodes import Nodes
from biohicl.ragged import Ragged

Weight = Literal["none", "depth", "seco", "sanchez", "corpus"]
Roots = Literal["none", "category", "all"]
Weights = npt.NDArray[np.float32]
# How many steps the root lies above a tree number without a dot.
STEPS_TO_ROOT: dict[Roots, int] = {"none": 0, "category": 1, "all": 2}


@dataclass(frozen=True)
class LabelCounts:
    """A corpus in numbers: ``citations`` with a known heading, and how many of them have each node, (N,)."""

    citations: int
    of_node: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weighting:
    """What the similarities need beside the label sets.

    ``nodes`` (N,) float32: the weight of each node. ``factors`` (16,) float32 in [0, 1]: by the bits of
    ``LabelSets.kinds``, how much of it counts. ``closure``: as in Nodes, which best_match alone reads.
    """

    nodes: Weights
    factors: npt.NDArray[np.float32]
    closure: Ragged


def weighting(nodes: Nodes, settings: Mapping[str, Any], counts: LabelCounts | None = None) -> Weighting:
    """The weighting that ``settings`` describe: weight, depth, roots, smoothing, check_tags, minor_topics."""
    return Weighting(
        nodes=node_weights(nodes, settings, counts),
        factors=kind_factors(settings["check_tags"], settings["minor_topics"]),
        closure=nodes.closure,
    )


def node_weights(nodes: Nodes, settings: Mapping[str, Any], counts: LabelCounts | None = None) -> Weights:
    """(N,) float32. Categories and the root weigh 0 where ``settings["roots"]`` does not ask for them.

    ``counts`` is needed for the weight ``corpus`` alone.
    """
    kind: Weight = settings["weight"]
    roots: Roots = settings["roots"]
    if roots not in STEPS_TO_ROOT:
        raise BioHiCLError(f"labels.roots: '{roots}' is none of {', '.join(STEPS_TO_ROOT)}")
    if kind == "none":
        weights = np.ones(nodes.count)
    elif kind == "depth":
        weights = depth_weights(nodes.depths[settings["depth"]], roots)
    elif kind == "seco":
        weights = seco_ic(nodes.at_or_below, nodes.descriptors)
    elif kind == "sanchez":
        weights = sanchez_ic(nodes.leaves_below, nodes.at_or_above)
    elif kind == "corpus":
        if counts is None:
            raise BioHiCLError("labels.weight: corpus needs the counts of a corpus (biohicl count-labels)")
        if len(counts.of_node) != nodes.count:
            raise BioHiCLError(
                f"the label counts are of {len(counts.of_node):,} nodes, the hierarchy has {nodes.count:,}: they are "
                "of different releases"
            )
        weights = corpus_ic(counts, settings["smoothing"])
    else:
        raise BioHiCLError(f"labels.weight: '{kind}' is none of {', '.join(get_args(Weight))}")
    weights[nodes.descriptors :][: len(nodes.categories)] *= roots != "none"
    weights[-1] *= roots == "all"
    return weights.astype(np.float32)


def depth_weights(depths: npt.NDArray[np.float64], roots: Roots) -> npt.NDArray[np.float64]:
    """log(depth + 1), natural logarithm, with the depth of the root that ``roots`` chooses at 1.

    ``depths`` as in Nodes; a descriptor without a position (Male, Female) is taken for a tree number without a dot.
    Source: BioHiCL (arXiv 2604.15591); the paper does not say which depth its root has, nor which one a descriptor
    with several positions.
    """
    placed = np.where(np.isnan(depths), 1.0, depths) + STEPS_TO_ROOT[roots]
    return np.log1p(np.maximum(placed, 0.0))


def seco_ic(at_or_below: npt.NDArray[np.integer], descriptors: int) -> npt.NDArray[np.float64]:
    """Intrinsic information content, 1 - log(descendants + 1) / log(all), in [0, 1]; 1 for a descriptor that is no
    other's ancestor, 0 for the root of all (1 where there is one descriptor alone).

    Source: Seco, Veale and Hayes, ECAI 2004.
    """
    if descriptors < 2:
        return np.ones(len(at_or_below))
    return np.maximum(1.0 - np.log(np.maximum(at_or_below, 1)) / np.log(descriptors), 0.0)


def sanchez_ic(leaves_below: npt.NDArray[np.integer], at_or_above: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Intrinsic information content, -log((leaves / subsumers + 1) / (all leaves + 1)), divided by its largest value
    log(all leaves + 1), so within [0, 1]; 1 where no leaf lies below (a leaf is no other descriptor's
    ancestor), 0 for the root.

    ``leaves_below`` of the last node, the root, is the number of all leaves. Source: Sánchez, Batet and Isern,
    Knowledge-Based Systems 24 (2011).
    """
    largest = np.log1p(leaves_below[-1])
    if largest == 0:
        return np.ones(len(leaves_below))
    return np.maximum(1.0 - np.log1p(leaves_below / at_or_above) / largest, 0.0)


def corpus_ic(counts: LabelCounts, smoothing: float) -> npt.NDArray[np.float64]:
    """Information content in a corpus, -log p with p = (n + s) / (N + s), divided by its largest value
    log((N + s) / s), so within [0, 1]; 1 for a node that no citation has, 0 for the root.

    n: citations with the node or one below it; N: all citations with a heading; s: ``smoothing``, above 0.
    Source: Resnik, IJCAI 1995, with additive smoothing.
    """
    if not 0 < smoothing < float("inf"):
        raise BioHiCLError(f"labels.smoothing: found {smoothing}, but a number above 0 is needed")
    total = counts.citations + smoothing
    largest = np.log(total / smoothing)
    if largest == 0:
        return np.ones(len(counts.of_node))
    return np.maximum(np.log(total / (counts.of_node + smoothing)) / largest, 0.0)


def kind_factors(check_tags: float, minor_topics: float) -> npt.NDArray[np.float32]:
    """(16,) float32, by the bits of ``LabelSets.kinds``: the largest factor of the kinds that brought the id.

    ``check_tags``: factor of check tags, ``minor_topics``: of headings that are no major topic; both in [0, 1], 1
    keeps them, 0 drops them with what they alone brought.
    """
    for key, factor in (("check_tags", check_tags), ("minor_topics", minor_topics)):
        if not 0 <= factor <= 1:
            raise BioHiCLError(f"labels.{key}: found {factor}, but a number from 0 to 1 is needed")
    of_kind = {
        MINOR: minor_topics,
        MAJOR: 1.0,
        MINOR_CHECK_TAG: minor_topics * check_tags,
        MAJOR_CHECK_TAG: check_tags,
    }
    masks = range(2 ** len(KINDS))
    return np.array([max((of_kind[kind] for kind in KINDS if mask & kind), default=0.0) for mask in masks], np.float32)
