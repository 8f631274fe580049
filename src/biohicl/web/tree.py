"""MeSH as people unfold it: what stands below a place of the tree, headings for what is typed, counts of citations.

Goes in: MeSH's tables and an open index. Comes out: branches and headings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from biohicl.mesh.lookup import mesh_table
from biohicl.mesh.show import CATEGORY_NAMES
from biohicl.search.contents import Contents
from biohicl.search.filters import Filters, Headings, mask_of

# Of larger indexes citations are not counted: a category's would take seconds.
MOST_COUNTED = 2_000_000
COUNTS_KEPT = 40_000
SUGGESTED = 10


@dataclass(frozen=True)
class Branch:
    """A place of the tree. ``descriptor_ui``: None of a category; ``citations``: at or below it, where counted."""

    name: str
    descriptor_ui: str | None
    tree_number: str
    has_children: bool
    citations: int | None


@dataclass(frozen=True)
class Suggestion:
    """A heading for what was typed; ``term``: its name where that matches, else a synonym."""

    descriptor_ui: str
    name: str
    term: str
    citations: int | None


class Tree:
    """The tree over an index. ``headings``: the MeSH that the index is filtered by."""

    def __init__(self, index: Contents, headings: Headings) -> None:
        self._index = index
        self._headings = headings
        rows = headings.hierarchy.select("descriptor_ui", "tree_numbers").rows()
        self.names = headings.names
        positions = sorted((number, ui) for ui, numbers in rows for number in numbers or ())
        self._uis = dict(positions)
        self._numbers = [number for number, _ in positions]
        self._below: dict[str, list[str]] = {}
        for number in self._numbers:
            self._below.setdefault(parent_of(number), []).append(number)
        terms = mesh_table(headings.mesh, "terms").select("descriptor_ui", "term")
        own = headings.hierarchy.select("descriptor_ui", term="name")
        self._terms = pl.concat([own, terms]).unique().with_columns(lower=pl.col("term").str.to_lowercase())
        self.citations = lru_cache(COUNTS_KEPT)(self._counted)

    def below(self, place: str) -> list[Branch] | None:
        """The children of a tree number or a category's letter by tree number, of "" the categories by letter; None
        where there is no such place."""
        if place == "":
            letters = sorted(letter for letter in self._below if len(letter) == 1)
            return [Branch(CATEGORY_NAMES.get(letter, letter), None, letter, True, None) for letter in letters]
        if place not in self._uis and place not in self._below:
            return None
        return [self._branch(number) for number in self._below.get(place, [])]

    def suggestions(self, typed: str) -> list[Suggestion]:
        """At most ten headings with a name or a synonym that holds ``typed``; those that begin with it first, and
        shorter ones before longer ones."""
        sought = " ".join(typed.lower().split())
        if not sought:
            return []
        lower = pl.col("lower")
        found = (
            self._terms.lazy()
            .filter(lower.str.contains(sought, literal=True))
            .with_columns(later=~lower.str.starts_with(sought), length=lower.str.len_chars())
            .sort("later", "length", "lower", "descriptor_ui")
            .unique("descriptor_ui", keep="first", maintain_order=True)
            .head(SUGGESTED)
            .collect()
        )
        uis, terms = found["descriptor_ui"].to_list(), found["term"].to_list()
        named = [(ui, self.names[ui], term) for ui, term in zip(uis, terms, strict=True) if ui in self.names]
        return [
            Suggestion(ui, name, name if sought in name.lower() else term, self.citations(ui))
            for ui, name, term in named
        ]

    def _branch(self, number: str) -> Branch:
        ui = self._uis[number]
        return Branch(self.names[ui], ui, number, number in self._below, self.citations(ui))

    def _counted(self, ui: str) -> int | None:
        """Current citations with the descriptor or one below it, as a filter finds them."""
        if self._index.records > MOST_COUNTED:
            return None
        return int(mask_of(self._index, Filters(headings=(ui,)), self._headings).sum())


def parent_of(tree_number: str) -> str:
    """The place above: a tree number, or of A01 the category's letter."""
    above, dot, _ = tree_number.rpartition(".")
    return above if dot else tree_number[:1]
