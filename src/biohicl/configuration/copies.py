"""Nodes that say with `like` which other node they have all the keys of that they do not name themselves.

Goes in: a configuration as it was merged, before defaults. Comes out: the same with every node written out. Overlays
are merged before, so that a copy follows what an overlay says of its original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from biohicl.configuration.schema import ConfigKeyError, nearest

LIKE = "like"
# A mapping laid over another: nested ones are merged, null stays and takes out later.
Overlay = Callable[[dict[str, Any], Mapping[str, Any]], None]


def with_copies(config: dict[str, Any], copy: Callable[[Any], Any], overlay: Overlay) -> dict[str, Any]:
    """``config`` with each node that is like another written out."""
    nodes = config.get("nodes")
    if not isinstance(nodes, dict):
        return config
    made = {}
    for name, node in nodes.items():
        originals = originals_of(config, name)
        if not originals:
            made[name] = node
            continue
        whole: dict[str, Any] = {}
        for other in (*reversed(originals), name):
            overlay(whole, {key: value for key, value in copy(nodes[other]).items() if key != LIKE})
        made[name] = whole
    return {**config, "nodes": made}


def originals_of(config: Mapping[str, Any], name: str) -> list[str]:
    """The nodes that a node is like, the nearest first; none for one that stands for itself."""
    nodes = config["nodes"]
    found = [name]
    while isinstance(node := nodes[found[-1]], Mapping) and node.get(LIKE) is not None:
        other = node[LIKE]
        if not isinstance(nodes.get(other) if isinstance(other, str) else None, Mapping):
            known = [node for node in nodes if node != name and isinstance(nodes[node], Mapping)]
            if isinstance(other, str) and other in nodes and nodes[other] is None:
                raise ConfigKeyError(
                    ("nodes", found[-1], LIKE),
                    f"'{other}' is taken out (null) by this configuration; take this node out too, or write it out",
                )
            raise ConfigKeyError(
                ("nodes", found[-1], LIKE), f"'{other}' is not a node of this configuration{nearest(str(other), known)}"
            )
        if other in found:
            raise ConfigKeyError(("nodes", name, LIKE), f"goes in a circle: {' -> '.join([*found, other])}")
        found.append(other)
    return found[1:]
