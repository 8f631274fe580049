"""The graph of rules as a figure: layers from the sources down to the page.

Goes in: a :class:`~biohicl.report.job_graph.JobGraph`. Comes out: a matplotlib figure. What follows from other edges is
not drawn (the transitive reduction); an edge that closes a circle of rules is dashed. Layers are by the longest way to
the end; within a layer a rule stands at the mean place of its neighbours, as Sugiyama, Tagawa and Toda (1981) have it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx

from biohicl.figures import COLOURS
from biohicl.report.job_graph import JobGraph

SWEEPS = 12
CENTRED = 0.25
# Inches.
LETTER, MARGIN, GAP, LAYER, BOX = 0.072, 0.1, 0.14, 0.62, 0.3
# A place that an edge runs through on its way across a layer: (from, to, layer).
Through = tuple[str, str, int]
Node = str | Through


def job_figure(graph: JobGraph) -> Any:
    """A box a rule, with the number of its jobs; lines run from what is made to where it is read."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    layers, steps, back = layered(graph)
    widths = {node: _width(node, graph) for layer in layers for node in layer}
    across = _across(layers, steps, widths)
    width, height = max(across[node] + widths[node] / 2 for node in across) + GAP, LAYER * len(layers)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    places = {node: (across[node], LAYER * (row + 0.5)) for row, layer in enumerate(layers) for node in layer}
    for one, other in steps:
        (x, y), (to_x, to_y) = places[one], places[other]
        down = BOX / 2 if isinstance(one, str) else 0.0
        up = BOX / 2 if isinstance(other, str) else 0.0
        axes.plot([x, to_x], [y + down, to_y - up], color="#666666", lw=0.8, zorder=1)
    for one, other in back:
        line = {"arrowstyle": "->", "linestyle": "--", "color": COLOURS[1], "connectionstyle": "arc3,rad=0.25"}
        axes.annotate("", places[other], places[one], zorder=0, arrowprops={**line, "shrinkA": 12, "shrinkB": 12})
    for node, (x, y) in places.items():
        if not isinstance(node, str):
            continue
        box = (x - widths[node] / 2, y - BOX / 2), widths[node], BOX
        axes.add_patch(
            FancyBboxPatch(*box, boxstyle="round,pad=0,rounding_size=0.06", fc="white", ec=COLOURS[0], lw=1, zorder=2)
        )
        axes.text(x, y, _label(node, graph), ha="center", va="center", fontsize=8, zorder=3)
    return figure


def layered(graph: JobGraph) -> tuple[list[list[Node]], list[tuple[Node, Node]], list[tuple[str, str]]]:
    """The layers, first the sources, in the order that they are drawn in; the pieces of edges, a layer each; and the
    edges against the order of the layers, which close a circle."""
    whole: Any = nx.DiGraph()
    whole.add_nodes_from(sorted(graph.jobs))
    whole.add_edges_from(sorted(graph.edges))
    back: list[tuple[str, str]] = []
    while not nx.is_directed_acyclic_graph(whole):
        # Of each circle the way that fewest files go, but none that is the only way on from a rule.
        circle = [
            (whole.out_degree(one) == 1, graph.edges[one, other], one, other) for one, other in nx.find_cycle(whole)
        ]
        back.append(min(circle)[2:])
        whole.remove_edge(*back[-1])
    edges = sorted(nx.transitive_reduction(whole).edges)
    depth: dict[str, int] = {}
    for rule in reversed(list(nx.lexicographical_topological_sort(whole))):
        depth[rule] = 1 + max((depth[after] for after in whole.successors(rule)), default=-1)
    count = 1 + max(depth.values())
    layers: list[list[Node]] = [[] for _ in range(count)]
    for rule in sorted(depth):
        layers[count - 1 - depth[rule]].append(rule)
    steps: list[tuple[Node, Node]] = []
    for one, other in edges:
        first, last = count - 1 - depth[one], count - 1 - depth[other]
        way: list[Node] = [one, *((one, other, number) for number in range(first + 1, last)), other]
        for number, node in enumerate(way[1:-1], start=first + 1):
            layers[number].append(node)
        steps += pairwise(way)
    return _sorted(layers, steps), steps, sorted(back)


def _sorted(layers: list[list[Node]], steps: list[tuple[Node, Node]]) -> list[list[Node]]:
    """With few crossings; of all orders on the way the one with the fewest."""
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for one, other in steps:
        above.setdefault(other, []).append(one)
        below.setdefault(one, []).append(other)
    best, fewest = [list(layer) for layer in layers], crossings(layers, steps)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        place = {node: number / len(layer) for layer in layers for number, node in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):

            def mean(node: Node, near: dict[Node, list[Node]] = neighbours, at: dict[Node, float] = place) -> float:
                found = near.get(node, ())
                return sum(at[one] for one in found) / len(found) if found else at[node]

            layer.sort(key=mean)
            place |= {node: number / len(layer) for number, node in enumerate(layer)}
        found = crossings(layers, steps)
        if found < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best


def _across(layers: list[list[Node]], steps: list[tuple[Node, Node]], widths: dict[Node, float]) -> dict[Node, float]:
    """Where the middle of each node is, from the left: as near to its neighbours as the order in its layer allows, and
    some way towards where it would stand in a layer set in the middle, that the figure stays narrow."""
    near: dict[Node, list[Node]] = {node: [] for node in widths}
    for one, other in steps:
        near[one].append(other)
        near[other].append(one)
    places: dict[Node, float] = {}
    for layer in layers:
        row = sum(widths[node] + GAP for node in layer)
        left = -row / 2
        for node in layer:
            places[node] = left + widths[node] / 2
            left += widths[node] + GAP
    centred = dict(places)
    for sweep in range(2 * SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            means = (sum(places[one] for one in near[node]) / max(len(near[node]), 1) for node in layer)
            wanted = [(1 - CENTRED) * mean + CENTRED * centred[node] for mean, node in zip(means, layer, strict=True)]
            gaps = [(widths[one] + widths[other]) / 2 + GAP for one, other in pairwise(layer)]
            right, left_most = [wanted[0]], [wanted[-1]]
            for place, gap in zip(wanted[1:], gaps, strict=True):
                right.append(max(place, right[-1] + gap))
            for place, gap in zip(reversed(wanted[:-1]), reversed(gaps), strict=True):
                left_most.append(min(place, left_most[-1] - gap))
            # Both keep the gaps, and so does their mean.
            places |= {
                node: (one + other) / 2 for node, one, other in zip(layer, right, reversed(left_most), strict=True)
            }
    start = min(places[node] - widths[node] / 2 for node in places) - GAP
    return {node: place - start for node, place in places.items()}


def crossings(layers: list[list[Node]], steps: list[tuple[Node, Node]]) -> int:
    """How many pairs of edge pieces cross."""
    place = {node: (row, number) for row, layer in enumerate(layers) for number, node in enumerate(layer)}
    ends = [(*place[one], place[other][1]) for one, other in steps]
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for number, one in enumerate(ends)
        for other in ends[:number]
    )


def _label(rule: str, graph: JobGraph) -> str:
    count = graph.jobs[rule]
    return rule if count == 1 else f"{rule} ×{count:,}"


def _width(node: Node, graph: JobGraph) -> float:
    return LETTER * len(_label(node, graph)) + 2 * MARGIN if isinstance(node, str) else 0.04
