"""What follows from a checked configuration: chains of nodes, what a node's training reads, numbers of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# The losses that ask what labels say of two citations; title_abstract does where it masks.
LABEL_LOSSES = (
    *("mse", "affine_mse", "contrastive", "soft_targets", "cosent", "soft_siglip", "mul_sup_con"),
    "heading_abstract",
)


def chain_of(config: Mapping[str, Any], system: str) -> list[str]:
    """The names from ``system`` (a node or a backbone) down to the backbone it starts from, both included."""
    chain = [system]
    while chain[-1] in config["nodes"]:
        chain.append(config["nodes"][chain[-1]]["start"])
    return chain


def reads_labels(node: Mapping[str, Any]) -> bool:
    """Whether a node's training asks what labels say: a loss does, or the drawing of related citations."""
    masks = node["losses"].get("title_abstract", {}).get("mask_above") is not None
    return masks or node["schedule"]["related"] > 0 or any(loss in node["losses"] for loss in LABEL_LOSSES)


def node_settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's block without what cannot change its training: label settings that no loss, or no weight, reads."""
    settings = {key: value for key, value in node.items() if key != "labels"}
    if reads_labels(node):
        labels = node["labels"]
        of_weight = {"depth": "depth", "smoothing": "corpus"}
        read = {key: value for key, value in labels.items() if of_weight.get(key, labels["weight"]) == labels["weight"]}
        settings["labels"] = read
    return settings


def needs_label_counts(node: Mapping[str, Any]) -> bool:
    """Whether a node's training weighs labels by how often a corpus has them."""
    return node_settings(node).get("labels", {}).get("weight") == "corpus"


def file_numbers(spec: str | Sequence[int | str]) -> list[range] | None:
    """The numbers that a config value like ``[1, "5-9"]`` names, as ranges; None for ``all``, [] for ``none``."""
    if spec == "all":
        return None
    if spec == "none":
        return []
    ranges = []
    for part in spec:
        if isinstance(part, int):
            ranges.append(range(part, part + 1))
        else:
            first, last = (int(number) for number in part.split("-"))
            ranges.append(range(first, last + 1))
    return ranges
