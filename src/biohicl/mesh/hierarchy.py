"""The hierarchy: a forest of tree positions, and what it says of each descriptor.

Goes in: the descriptors and tree_numbers tables. Comes out: ``hierarchy.parquet`` (a row a descriptor) and
``anomalies.parquet``. A tree number's parent is the number cut at its last dot; a descriptor may stand at
several positions, so its parents are a set. The graph of descriptors is not acyclic (Strabismus and Ocular
Motility Disorders are each other's parents), hence ancestors are taken through tree positions, whose graph
is a forest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.schema import ANOMALIES, HIERARCHY, METADATA
from biohicl.progress import say
from biohicl.storage import whole_files, write_parquet


def position_forest(tree_numbers: Iterable[tuple[str, str]]) -> nx.DiGraph:
    """The forest of tree positions from (descriptor UI, tree number) pairs; edges point from parent to child.

    Each node is a tree number; its attribute ``descriptors`` holds the UIs that stand there (NLM gives some
    numbers twice). The missing parent of an orphan is a node without descriptors.
    """
    forest: nx.DiGraph = nx.DiGraph()
    for descriptor, position in tree_numbers:
        number = position
        if number not in forest or "descriptors" not in forest.nodes[number]:
            forest.add_node(number, descriptors=set())
        forest.nodes[number]["descriptors"].add(descriptor)
        while "." in number:
            parent = number.rpartition(".")[0]
            known = parent in forest
            forest.add_edge(parent, number)
            if known:
                break
            number = parent
    for node in forest:
        forest.nodes[node].setdefault("descriptors", set())
    return forest


def descriptor_graph(forest: nx.DiGraph) -> nx.DiGraph:
    """Descriptors, with an edge from each parent to its child; it may hold cycles."""
    graph: nx.DiGraph = nx.DiGraph()
    for _, descriptors in forest.nodes(data="descriptors"):
        graph.add_nodes_from(descriptors)
    for parent, node in forest.edges:
        for child_ui in forest.nodes[node]["descriptors"]:
            for parent_ui in forest.nodes[parent]["descriptors"]:
                if parent_ui != child_ui:
                    graph.add_edge(parent_ui, child_ui)
    return graph


def hierarchy_rows(names: Mapping[str, str], forest: nx.DiGraph) -> list[dict[str, Any]]:
    """A row of :data:`biohicl.mesh.schema.HIERARCHY` for each descriptor of ``names`` (UI to name), sorted by UI."""
    above: dict[str, frozenset[str]] = {}  # descriptors at a position or above it
    for position in nx.topological_sort(forest):
        parents = list(forest.predecessors(position))
        inherited = above[parents[0]] if parents else frozenset()
        above[position] = inherited | forest.nodes[position]["descriptors"]
    positions: dict[str, list[str]] = {ui: [] for ui in names}
    for position, descriptors in forest.nodes(data="descriptors"):
        for ui in descriptors:
            positions[ui].append(position)
    graph = descriptor_graph(forest)
    rows: list[dict[str, Any]] = []
    descendants: dict[str, int] = dict.fromkeys(names, 0)
    for ui in sorted(names):
        ancestors = frozenset().union(*(above[position] for position in positions[ui])) - {ui}
        for ancestor in ancestors:
            descendants[ancestor] += 1
        depths = [position.count(".") + 1 for position in positions[ui]]
        rows.append(
            {
                "descriptor_ui": ui,
                "name": names[ui],
                "tree_numbers": sorted(positions[ui]),
                "categories": sorted({position[0] for position in positions[ui]}),
                "parents": sorted(graph.predecessors(ui)) if ui in graph else [],
                "ancestors": sorted(ancestors),
                "depth_min": min(depths, default=None),
                "depth_mean": sum(depths) / len(depths) if depths else None,
                "depth_max": max(depths, default=None),
            }
        )
    for row in rows:
        row["descendants"] = descendants[row["descriptor_ui"]]
    return rows


def anomaly_rows(names: Mapping[str, str], forest: nx.DiGraph) -> list[dict[str, str]]:
    """What is odd: cycles among descriptors, orphaned positions, doubly given tree numbers, no position at all."""
    rows = []
    graph = descriptor_graph(forest)
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            members = sorted(component)
            rows.append(
                {
                    "kind": "cycle",
                    "subject": " ".join(members),
                    "detail": "ancestors of each other: " + ", ".join(names[ui] for ui in members),
                }
            )
    for position, descriptors in sorted(forest.nodes(data="descriptors")):
        if not descriptors:
            below = ", ".join(sorted(forest.successors(position)))
            rows.append(
                {"kind": "orphan", "subject": position, "detail": f"no descriptor stands here, but below it: {below}"}
            )
        elif len(descriptors) > 1:
            shared = ", ".join(f"{ui} {names[ui]}" for ui in sorted(descriptors))
            rows.append({"kind": "duplicated tree number", "subject": position, "detail": shared})
    placed = {ui for _, descriptors in forest.nodes(data="descriptors") for ui in descriptors}
    for ui in sorted(set(names) - placed):
        rows.append({"kind": "no tree number", "subject": ui, "detail": names[ui]})
    return sorted(rows, key=lambda row: (row["kind"], row["subject"]))


def write_hierarchy(mesh: Path, output: Path, anomalies: Path) -> None:
    """From ``mesh/{descriptors,tree_numbers}.parquet`` to the hierarchy and the anomalies, which are also said."""
    try:
        descriptors = pl.read_parquet(mesh / "descriptors.parquet", columns=["descriptor_ui", "name"])
        tree_numbers = pl.read_parquet(mesh / "tree_numbers.parquet")
    except FileNotFoundError as error:
        raise BioHiCLError(f"{error}; parse MeSH first (biohicl parse-mesh --help)") from None
    names = dict(descriptors.iter_rows())
    forest = position_forest(tree_numbers.select("descriptor_ui", "tree_number").iter_rows())
    rows, odd = hierarchy_rows(names, forest), anomaly_rows(names, forest)
    with whole_files(output, anomalies) as (rows_file, odd_file):
        write_parquet(pa.Table.from_pylist(rows, HIERARCHY), rows_file, METADATA)
        write_parquet(pa.Table.from_pylist(odd, ANOMALIES), odd_file, METADATA)
    say(f"{len(rows):,} descriptors at {forest.number_of_nodes():,} positions")
    for row in odd:
        say(f"anomaly: {row['kind']}: {row['subject']}: {row['detail']}")
