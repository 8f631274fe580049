"""One descriptor for a person: where it stands, how specific it is, what stands near it.

Goes in: the folder of the MeSH tables, and a UI, a name or a synonym. Comes out: a :class:`Portrait`, or its text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.mesh.lookup import find_descriptor, mesh_table
from biohicl.mesh.nodes import Nodes, check_tags, read_nodes
from biohicl.mesh.weights import seco_ic

# NLM's names of its categories, the first letters of tree numbers; they are no descriptors.
CATEGORY_NAMES = {
    "A": "Anatomy",
    "B": "Organisms",
    "C": "Diseases",
    "D": "Chemicals and Drugs",
    "E": "Analytical, Diagnostic and Therapeutic Techniques, and Equipment",
    "F": "Psychiatry and Psychology",
    "G": "Phenomena and Processes",
    "H": "Disciplines and Occupations",
    "I": "Anthropology, Education, Sociology, and Social Phenomena",
    "J": "Technology, Industry, and Agriculture",
    "K": "Humanities",
    "L": "Information Science",
    "M": "Named Groups",
    "N": "Health Care",
    "V": "Publication Characteristics",
    "Z": "Geographicals",
}
CHILDREN_SHOWN = 20
SYNONYMS_SHOWN = 8


@dataclass(frozen=True)
class Portrait:
    """What there is to say of one descriptor; ``row`` is its row of the hierarchy.

    ``paths``: for each tree number the (tree number, names that stand there) from the top down to it.
    ``relatives``: (Lin's similarity with Seco's IC, UI, name, relation), nearest first.
    """

    row: Mapping[str, Any]
    scope_note: str | None
    is_check_tag: bool
    synonyms: list[str]
    paths: list[list[tuple[str, str]]]
    children: list[tuple[str, str]]
    relatives: list[tuple[float, str, str, str]]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        return {
            **self.row,
            "scope_note": self.scope_note,
            "is_check_tag": self.is_check_tag,
            "synonyms": self.synonyms,
            "paths": [[{"tree_number": number, "name": name} for number, name in path] for path in self.paths],
            "children": [{"descriptor_ui": ui, "name": name} for ui, name in self.children],
            "relatives": [
                {"lin": round(lin, 6), "descriptor_ui": ui, "name": name, "relation": relation}
                for lin, ui, name, relation in self.relatives
            ],
        }


def portrait(mesh: Path, wanted: str, relatives: int = 10) -> Portrait:
    """Looks up ``wanted`` (a UI, a tree number, a name or a synonym, in any case) in the tables of ``mesh``."""
    hierarchy, terms, descriptors = (mesh_table(mesh, name) for name in ("hierarchy", "terms", "descriptors"))
    ui = find_descriptor(wanted, hierarchy, terms)
    nodes = read_nodes(mesh / "hierarchy.parquet")
    names = dict(zip(hierarchy["descriptor_ui"], hierarchy["name"], strict=True))
    row = hierarchy.row(nodes.uis.index(ui), named=True)
    of_position: dict[str, list[str]] = {}
    for name, numbers in hierarchy.select("name", "tree_numbers").iter_rows():
        for number in numbers:
            of_position.setdefault(number, []).append(name)
    below = hierarchy.filter(pl.col("parents").list.contains(ui))
    synonyms = terms.filter((pl.col("descriptor_ui") == ui) & (pl.col("term") != row["name"]))
    notes = descriptors.filter(pl.col("descriptor_ui") == ui)["scope_note"]
    return Portrait(
        row=row,
        scope_note=notes[0] if len(notes) else None,
        is_check_tag=ui in check_tags(),
        synonyms=sorted(set(synonyms["term"])),
        paths=[
            [(number, " / ".join(of_position.get(number, ["(nothing)"]))) for number in _down_to(position)]
            for position in row["tree_numbers"]
        ],
        children=list(below.select("descriptor_ui", "name").sort("name").iter_rows()),
        relatives=[
            (lin, other, names[other], _relation(row, hierarchy.row(place, named=True)))
            for lin, place, other in _nearest(nodes, nodes.uis.index(ui), relatives)
        ],
    )


def portrait_text(one: Portrait) -> str:
    """The portrait as a person reads it."""
    row = one.row
    lines = [f"{row['name']}  {row['descriptor_ui']}{'  (check tag)' if one.is_check_tag else ''}"]
    if row["tree_numbers"]:
        depth = f"{row['depth_min']}"
        if row["depth_max"] > row["depth_min"]:
            depth += f" to {row['depth_max']} (mean {row['depth_mean']:.1f})"
        positions = len(row["tree_numbers"])
        lines.append(f"{positions} position{'s' * (positions > 1)} in the tree, depth {depth}")
    else:
        lines.append("no position in the tree; usable as a label, with nothing above it")
    of_them = f"{row['descendants']:,} descendant{'s' * (row['descendants'] != 1)}"
    lines.append(f"{of_them}; information content {row['ic_seco']:.3f} (Seco), {row['ic_sanchez']:.3f} (Sánchez)")
    if one.scope_note:
        lines += textwrap.wrap(one.scope_note, 110)
    if one.synonyms:
        lines.append("also: " + _shortened(one.synonyms, SYNONYMS_SHOWN, "; "))
    lines += ["", *_tree_lines(one)] if one.paths else []
    if one.children:
        lines += ["", f"Children ({len(one.children)})"]
        lines += [f"  {ui:<11} {name}" for ui, name in one.children[:CHILDREN_SHOWN]]
        if len(one.children) > CHILDREN_SHOWN:
            lines.append(f"  and {len(one.children) - CHILDREN_SHOWN:,} more (--json lists all)")
    if one.relatives:
        lines += ["", "Nearest relatives (Lin's similarity, with Seco's information content)"]
        width = max(len(name) for _, _, name, _ in one.relatives)
        lines += [
            f"  {lin:.3f}  {ui:<11} {name:<{width}}  {relation}".rstrip() for lin, ui, name, relation in one.relatives
        ]
    return "\n".join(lines)


def _down_to(position: str) -> Iterator[str]:
    pieces = position.split(".")
    return (".".join(pieces[:length]) for length in range(1, len(pieces) + 1))


def _nearest(nodes: Nodes, label: int, count: int) -> list[tuple[float, int, str]]:
    """(Lin, id, UI) of the ``count`` other descriptors that are most similar, ties by UI."""
    content: npt.NDArray[np.float64] = seco_ic(nodes.at_or_below, nodes.descriptors)
    owner = np.repeat(np.arange(nodes.descriptors), nodes.closure.lengths())
    common = np.zeros(nodes.descriptors)
    (closure,) = nodes.closure.rows(np.array([label]))
    above = closure[closure < nodes.descriptors]  # one category is not yet a relation
    for node in above[np.argsort(content[above], kind="stable")]:
        common[owner[nodes.closure.values == node]] = content[node]
    own = content[: nodes.descriptors]
    total = own + own[label]
    lin = np.minimum(np.divide(2 * common, total, out=np.zeros_like(total), where=total > 0), 1.0)
    order = [int(place) for place in np.argsort(-lin, kind="stable") if place != label][:count]
    return [(float(lin[place]), place, nodes.uis[place]) for place in order if lin[place] > 0]


def _relation(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What the other is to the one: "child", "ancestor" ...; two may be both, each above the other elsewhere."""
    below, above = row["descriptor_ui"] in other["ancestors"], other["descriptor_ui"] in row["ancestors"]
    child, parent = row["descriptor_ui"] in other["parents"], other["descriptor_ui"] in row["parents"]
    words = [
        *(["child" if child else "descendant"] if below else []),
        *(["parent" if parent else "ancestor"] if above else []),
    ]
    if not words and set(row["parents"]) & set(other["parents"]):
        words = ["sibling"]
    return " and ".join(words)


def _tree_lines(one: Portrait) -> list[str]:
    """The paths as one tree, each place once; an arrow marks the descriptor's own positions."""
    names = {number: name for path in one.paths for number, name in path}
    own = {path[-1][0] for path in one.paths}
    below: dict[str, list[str]] = {}
    for number in sorted(names):
        below.setdefault(number.rpartition(".")[0] or number[0], []).append(number)

    def branch(number: str, indent: str, is_last: bool) -> Iterator[str]:
        mark = "  <--" if number in own else ""
        yield f"{indent}{'└─ ' if is_last else '├─ '}{number} {names[number]}{mark}"
        children = below.get(number, [])
        for place, child in enumerate(children):
            yield from branch(child, indent + ("   " if is_last else "│  "), place == len(children) - 1)

    lines = []
    for category in sorted({number[0] for number in names}):
        lines.append(f"{category} {CATEGORY_NAMES.get(category, '')}".rstrip())
        roots = below[category]
        for place, number in enumerate(roots):
            lines += branch(number, "", place == len(roots) - 1)
    return lines


def _shortened(parts: list[str], shown: int, separator: str) -> str:
    rest = len(parts) - shown
    return separator.join(parts[:shown]) + (f"{separator}and {rest} more" if rest > 0 else "")
