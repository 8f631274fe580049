"""Which records a search is limited to: by year, heading and publication type.

Goes in: an open index and what is wanted, in people's words. Comes out: a mask over the records of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.mesh.lookup import did_you_mean, find_descriptor, mesh_table
from biohicl.search.contents import Contents, FileParts
from biohicl.search.postings import Keys, Postings, hashes_of
from biohicl.search.texts import heading_key, heading_name_key, type_key

Mask = npt.NDArray[np.bool_]
# A name is short; to look for what is near a long text takes long.
LONGEST_NAME = 300


@dataclass(frozen=True)
class Filters:
    """``first_year``, ``last_year``: of publication, both included; a record without a year passes neither.
    ``headings``: UIs of descriptors; each of them, or one below it in the tree, has to be among the record's.
    ``publication_types``: names; the record is of one of them."""

    first_year: int | None = None
    last_year: int | None = None
    headings: tuple[str, ...] = ()
    publication_types: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every record passes."""
        return self == Filters()


class Headings:
    """MeSH, as filters ask for it. ``mesh``: the folder of its tables, read when they are needed."""

    def __init__(self, mesh: Path) -> None:
        self.mesh = mesh
        self._looking = Lock()

    @cached_property
    def hierarchy(self) -> pl.DataFrame:
        return mesh_table(self.mesh, "hierarchy")

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of each descriptor, by UI."""
        return dict(self.hierarchy.select("descriptor_ui", "name").rows())

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """What stands below each descriptor that has something there."""
        pairs = self.hierarchy.select("descriptor_ui", "ancestors").explode("ancestors").drop_nulls()
        grouped: Any = pairs.group_by("ancestors").agg("descriptor_ui").rows()
        return dict(grouped)

    @cached_property
    def _terms(self) -> pl.DataFrame:
        return mesh_table(self.mesh, "terms").select("descriptor_ui", "term")

    def find(self, wanted: str) -> str:
        """The UI of a heading given by UI, tree number, name or synonym; an error names the nearest."""
        if len(wanted) > LONGEST_NAME:
            raise BioHiCLError(f"a heading of {len(wanted):,} characters: a name, a UI or a tree number is needed")
        # Most are UIs, as the page gives them, and a look through all names takes longer than a search.
        if wanted in self.names:
            return wanted
        # One at a time: what is near an unknown one takes 60 MB of all of MeSH's names.
        with self._looking:
            return find_descriptor(wanted, self.hierarchy, self._terms)

    def keys_at_or_below(self, ui: str) -> Keys:
        """The keys of the postings of a descriptor and of all that stand below it, by UI and by name."""
        uis = [ui, *self._below.get(ui, ())]
        return hashes_of(key for one in uis for key in (heading_key(one), heading_name_key(self.names[one])))


def known_types(index: Contents, wanted: Sequence[str]) -> tuple[str, ...]:
    """The publication types of the index that are meant, in any case of letters; an error names the nearest."""
    by_lower = {name.lower(): name for name in index.about["publication_types"]}
    unknown = [name for name in wanted if name.lower() not in by_lower]
    if unknown:
        sought = unknown[0][:LONGEST_NAME]
        hint = did_you_mean(sought.lower(), list(by_lower.values()))
        raise BioHiCLError(f"'{sought}' is no publication type of the citations here{hint}")
    return tuple(by_lower[name.lower()] for name in wanted)


def mask_of(index: Contents, filters: Filters, headings: Headings) -> Mask:
    """(records,): which current records pass."""
    mask = index.current.copy()
    wanted = [(lambda file: file.headings, headings.keys_at_or_below(ui)) for ui in filters.headings]
    if filters.publication_types:
        wanted.append((lambda file: file.types, hashes_of(map(type_key, filters.publication_types))))
    for file in index.files:
        part = mask[file.first : file.first + file.rows]
        if filters.first_year is not None:
            part &= file.texts["years"] >= max(filters.first_year, 0)
        if filters.last_year is not None:
            years = file.texts["years"]
            part &= (years <= filters.last_year) & (years >= 0)
        for postings, keys in wanted:
            part &= _having(file, postings, keys)
    return mask


def _having(file: FileParts, postings: Callable[[FileParts], Postings], keys: Keys) -> Mask:
    """(rows,): which records of a file have one of the keys."""
    having = np.zeros(file.rows, dtype=bool)
    having[postings(file).rows_of_any(keys)] = True
    return having
