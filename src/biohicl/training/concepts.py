"""A selection of concepts: MeSH descriptors with texts that describe them, and their names as queries.

Goes in: a frozen training release. Comes out: a selection, a row a description (descriptor_ui, description_kind, title,
abstract, descriptor_uis, majors), in the order of a hash of the descriptor's number; and the queries of each row, which
are the descriptor's name and its synonyms.

A description is NLM's own scope note, or is composed of what the tree says: what stands above, what stands beside, the
category, the qualifiers that indexers may put to it. None of the descriptor's names stands in a composed one: a query
that is a name would find it by that alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.show import CATEGORY_NAMES
from biohicl.progress import say
from biohicl.storage import whole_files, write_parquet
from biohicl.training.draw import descriptor_numbers, pmid_hash
from biohicl.training.queries import read_terms
from biohicl.training.rows import KEYS, queries_table, with_key

CONCEPTS = with_key(
    KEYS["concepts"],  # description_kind: scope_note or tree
    ("title", pa.string()),  # the descriptor's name
    ("abstract", pa.string()),  # the description
    ("descriptor_uis", pa.list_(pa.string())),  # the descriptor alone
    ("majors", pa.list_(pa.bool_())),  # true
)
# What a composed description says of each, in this order.
SENTENCES = {
    "parents": "A kind or part of {}.",
    "siblings": "Related to {}.",
    "category": "From the field of {}.",
    "qualifiers": "Considered with respect to {}.",
}
BETWEEN = "; "  # names have commas
# Longer ones are chemicals' systematic names, which nobody looks for.
LONGEST_SYNONYM = 100  # characters
# More of them say little of one descriptor: most chemicals may have the same 30 qualifiers.
SIBLINGS, QUALIFIERS = 5, 6


@dataclass(frozen=True)
class Tree:
    """What the release says of D descriptors, by row of its hierarchy."""

    uis: Sequence[str]
    names: Sequence[str]
    numbers: Any  # (D,) uint64
    categories: Sequence[Sequence[str]]
    parents: Sequence[Sequence[str]]
    qualifiers: Mapping[str, Sequence[str]]  # by UI; none where the release lacks them

    @cached_property
    def row(self) -> dict[str, int]:
        """Row by UI."""
        return {ui: row for row, ui in enumerate(self.uis)}

    @cached_property
    def children(self) -> dict[str, list[int]]:
        """The rows that stand right below a descriptor."""
        found: dict[str, list[int]] = {}
        for row, above in enumerate(self.parents):
            for ui in above:
                found.setdefault(ui, []).append(row)
        return found

    def said(self, row: int, wanted: Sequence[str]) -> dict[str, list[str]]:
        """Names by what they are to the descriptor: those of ``wanted`` (keys of ``SENTENCES``)."""
        above = self.parents[row]
        beside = {child for ui in above for child in self.children[ui]} - {row, *(self.row[ui] for ui in above)}
        own = {
            "parents": [self.names[self.row[ui]] for ui in above],
            "siblings": [self.names[other] for other in self._some(sorted(beside), row, SIBLINGS)],
            "category": [CATEGORY_NAMES[letter] for letter in self.categories[row] if letter in CATEGORY_NAMES],
            "qualifiers": self._drawn(sorted(self.qualifiers.get(self.uis[row], ())), row, QUALIFIERS),
        }
        return {kind: own[kind] for kind in SENTENCES if kind in wanted}

    def _some(self, rows: Sequence[int], row: int, most: int) -> list[int]:
        # Others for each descriptor: all below one parent would name the same ones.
        order = np.argsort(pmid_hash(self.numbers[list(rows)], int(self.numbers[row])), kind="stable")
        return [rows[place] for place in order[:most]]

    def _drawn(self, words: Sequence[str], row: int, most: int) -> list[str]:
        order = np.argsort(pmid_hash(np.arange(len(words)), int(self.numbers[row])), kind="stable")
        return [words[place] for place in sorted(order[:most])]


def write_concepts(release: Path, settings: Mapping[str, Any], output: Path, queries: Path) -> int:
    """Writes the selection that ``settings`` (a block of training.concepts) describes; returns its rows.

    What the release lacks (scope notes, qualifiers) is left out, and said. An error where fewer than two descriptors
    have a description.
    """
    wanted = list(settings["descriptions"])
    notes = _scope_notes(release) if "scope_note" in wanted else {}
    tree = _tree(release, "qualifiers" in wanted)
    terms = read_terms(release / "terms.parquet")
    order = np.lexsort((np.arange(len(tree.uis)), pmid_hash(tree.numbers, settings["seed"])))
    most = len(order) if settings["descriptors"] == "all" else int(settings["descriptors"])
    rows: list[dict[str, Any]] = []
    of_rows: list[list[dict[str, Any]]] = []
    described = 0
    for row in order:
        if described == most:
            break
        synonyms = (term for term in terms.get(tree.uis[row], ())[1:] if len(term) <= LONGEST_SYNONYM)
        names = list(dict.fromkeys([tree.names[row], *synonyms]))
        texts = {"scope_note": notes.get(tree.uis[row]), "tree": composed(tree.said(row, wanted), names)}
        texts = {kind: text for kind, text in texts.items() if text}
        described += bool(texts)
        for kind, text in texts.items():
            own = {"title": tree.names[row], "abstract": text, "descriptor_uis": [tree.uis[row]], "majors": [True]}
            rows.append({"descriptor_ui": tree.uis[row], "description_kind": kind, **own})
            of_rows.append(_queries(names, settings["task"]))
    if described < 2:
        raise BioHiCLError(
            f"selection '{output.stem}': {described} descriptors have a description, at least 2 are needed. Add to "
            f"training.concepts.{output.stem}.descriptions in config.yaml (it has {', '.join(wanted)})"
        )
    if settings["descriptors"] != "all" and described < most:
        say(f"note: {most:,} descriptors were asked for, {described:,} have a description")
    table = pa.Table.from_pylist(rows, CONCEPTS)
    with whole_files(output, queries) as (selection_file, queries_file):
        write_parquet(table, selection_file)
        write_parquet(queries_table(table, of_rows), queries_file)
    count = sum(row["description_kind"] == "scope_note" for row in rows)
    say(
        f"selection '{output.stem}': {described:,} descriptors, {count:,} scope notes and {len(rows) - count:,} "
        f"descriptions from the tree; {sum(map(len, of_rows)) / len(rows):.1f} names each"
    )
    return len(rows)


def composed(said: Mapping[str, Sequence[str]], names: Iterable[str]) -> str | None:
    """What is ``said`` (see :meth:`Tree.said`) as a text with none of ``names``; None where that describes nothing."""
    own = [spoken for spoken in map(_spoken, names) if spoken.strip()]

    def has_own(text: str) -> bool:
        spoken = _spoken(text)
        return any(name in spoken for name in own)

    found: dict[str, str] = {}
    for kind, parts in said.items():
        left: list[str] = []
        for part in dict.fromkeys(parts):
            # The first stands behind words of ours; a phrase does not go on behind the mark between two.
            phrase = part if left else SENTENCES[kind].format(part)
            if not has_own(phrase):
                left.append(part)
        if left:
            found[kind] = SENTENCES[kind].format(BETWEEN.join(left))
    # The category alone describes thousands of others as well.
    return " ".join(found.values()) if found.keys() - {"category"} else None


def _spoken(text: str) -> str:
    """Words between spaces: where one text stands in another as a whole phrase, it does so in this form."""
    return " ".join(["", *re.findall(r"\w+", text.casefold()), ""])


def _queries(names: Sequence[str], task: str) -> list[dict[str, Any]]:
    kinds = ["name", *["synonym"] * (len(names) - 1)]
    return [
        {"kind": kind, "text": name, "start": None, "end": None, "task": task}
        for kind, name in zip(kinds, names, strict=True)
    ]


def _scope_notes(release: Path) -> dict[str, str]:
    """That of each descriptor's preferred concept, by UI."""
    table = _optional(release, "scope_notes", "scope notes")
    if table is None:
        return {}
    own = table.filter(pl.col("preferred") & (pl.col("scope_note").str.strip_chars() != ""))
    return dict(own.select("descriptor_ui", "scope_note").iter_rows())


def _tree(release: Path, with_qualifiers: bool) -> Tree:
    columns = ["descriptor_ui", "name", "categories", "parents"]
    hierarchy = pl.read_parquet(release / "hierarchy.parquet", columns=columns)
    uis = hierarchy["descriptor_ui"].to_list()
    qualifiers: dict[str, list[str]] = {}
    table = _optional(release, "allowed_qualifiers", "qualifiers") if with_qualifiers else None
    if table is not None:
        for ui, name in table.select("descriptor_ui", "name").drop_nulls().iter_rows():
            qualifiers.setdefault(ui, []).append(name)
    return Tree(
        uis,
        hierarchy["name"].to_list(),
        descriptor_numbers(uis),
        hierarchy["categories"].to_list(),
        hierarchy["parents"].to_list(),
        qualifiers,
    )


def _optional(release: Path, name: str, what: str) -> pl.DataFrame | None:
    """A table that releases of before it was frozen lack, and that some MeSH files have no rows for."""
    file = release / f"{name}.parquet"
    if not file.is_file():
        say(f"{release}: was frozen without {what}; descriptions go without them")
        return None
    table = pl.read_parquet(file)
    if table.is_empty():
        say(f"{file}: this MeSH has no {what}; descriptions go without them")
    return table
