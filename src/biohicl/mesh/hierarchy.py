"""The hierarchy: a forest of tree positions, and what it says of each descriptor.

Goes in: the descriptors and tree_numbers tables. Comes out: ``hierarchy.parquet`` (a row a descriptor),
``anomalies.parquet``, and ``descriptors.graphml`` for networkx and Gephi. A tree number's parent is the number cut at
its last dot; a descriptor may stand at several positions, so its parents are a set. The graph of descriptors is not
acyclic (Strabismus and Ocular Motility Disorders are each other's parents), hence ancestors are taken through tree
positions, whose graph is a forest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.nodes import Nodes, check_tags
from biohicl.mesh.schema import ANOMALIES, HIERARCHY, METADATA
from biohicl.mesh.weights import sanchez_ic, seco_ic
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
    nodes = Nodes.of(pa.Table.from_pylist(rows, HIERARCHY))
    content = {
        "ic_seco": seco_ic(nodes.at_or_below, nodes.descriptors),
        "ic_sanchez": sanchez_ic(nodes.leaves_below, nodes.at_or_above),
    }
    for number, row in enumerate(rows):
        row.update({name: float(values[number]) for name, values in content.items()})
    return rows


def anomaly_rows(names: Mapping[str, str], forest: nx.DiGraph) -> list[dict[str, str]]:
    """What is odd: cycles among descriptors, a descriptor above itself, orphaned positions, doubly given tree numbers,
    no position at all."""
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
        for ui in sorted(descriptors):
            rows += [
                {"kind": "above itself", "subject": ui, "detail": f"{names[ui]} stands at {above} and at {position}"}
                for above in _positions_above(position)
                if ui in forest.nodes[above]["descriptors"]
            ]
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


def _positions_above(position: str) -> list[str]:
    pieces = position.split(".")
    return [".".join(pieces[:length]) for length in range(1, len(pieces))]


def described_graph(graph: nx.DiGraph, rows: Iterable[Mapping[str, Any]]) -> nx.DiGraph:
    """The graph of descriptors, an edge from each parent to its child, with what a viewer shows of each descriptor.

    ``label`` is its name (Gephi's word for it); lists are text, their parts separated by spaces; a descriptor without
    a position has no depth. Mind that a path in this graph may change from one position of a descriptor to another:
    its ancestors by networkx are more than those of the hierarchy.
    """
    tags = check_tags()
    described: nx.DiGraph = nx.DiGraph()
    for row in rows:
        depths = {key: row[key] for key in ("depth_min", "depth_mean", "depth_max") if row[key] is not None}
        described.add_node(
            row["descriptor_ui"],
            label=row["name"],
            categories=" ".join(row["categories"]),
            tree_numbers=" ".join(row["tree_numbers"]),
            **depths,
            descendants=row["descendants"],
            ic_seco=round(row["ic_seco"], 6),
            ic_sanchez=round(row["ic_sanchez"], 6),
            check_tag=row["descriptor_ui"] in tags,
        )
    described.add_edges_from(sorted(graph.edges))
    return described


def write_hierarchy(mesh: Path, output: Path, anomalies: Path, graph: Path) -> None:
    """From ``mesh/{descriptors,tree_numbers}.parquet`` to the hierarchy, the anomalies, which are also said, and the
    graph of descriptors as GraphML."""
    try:
        descriptors = pl.read_parquet(mesh / "descriptors.parquet", columns=["descriptor_ui", "name"])
        tree_numbers = pl.read_parquet(mesh / "tree_numbers.parquet")
    except FileNotFoundError as error:
        raise BioHiCLError(f"{error}; parse MeSH first (biohicl parse-mesh --help)") from None
    names = dict(descriptors.iter_rows())
    strangers = tree_numbers.filter(~pl.col("descriptor_ui").is_in(descriptors["descriptor_ui"].implode()))
    if strangers.height:
        ui, number = strangers.select("descriptor_ui", "tree_number").row(0)
        raise BioHiCLError(
            f"{mesh / 'tree_numbers.parquet'}: {ui} stands at {number}, but descriptors.parquet has no {ui}: they are "
            "of different releases. Run biohicl parse-mesh again"
        )
    forest = position_forest(tree_numbers.select("descriptor_ui", "tree_number").iter_rows())
    rows, odd = hierarchy_rows(names, forest), anomaly_rows(names, forest)
    described = described_graph(descriptor_graph(forest), rows)
    with whole_files(output, anomalies, graph) as (rows_file, odd_file, graph_file):
        write_parquet(pa.Table.from_pylist(rows, HIERARCHY), rows_file, METADATA)
        write_parquet(pa.Table.from_pylist(odd, ANOMALIES), odd_file, METADATA)
        nx.write_graphml_lxml(described, graph_file)
    say(f"{len(rows):,} descriptors at {forest.number_of_nodes():,} positions")
    for row in odd:
        say(f"anomaly: {row['kind']}: {row['subject']}: {row['detail']}")
