"""A descriptor found by what people call it.

Goes in: the folder of the MeSH tables, and a UI, a tree number, a name or a synonym. Comes out: the UI, or an error
that names the nearest; and what stands below it.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError

SUGGESTED = 3


def mesh_table(mesh: Path, name: str) -> pl.DataFrame:
    """A table of the folder; an error that says how it is made where it is not there."""
    file = mesh / f"{name}.parquet"
    if not file.is_file():
        raise BioHiCLError(f"{file}: no such file; make the MeSH tables with: snakemake --cores 2 mesh")
    return pl.read_parquet(file)


def find_descriptor(wanted: str, hierarchy: pl.DataFrame, terms: pl.DataFrame) -> str:
    """The UI of the one descriptor that is meant by ``wanted``, in any case of letters.

    Raises :class:`BioHiCLError` where it names none (with the nearest names) or several.
    """
    sought = " ".join(wanted.split()).lower()
    positions = hierarchy.explode("tree_numbers")
    places = [(hierarchy, "descriptor_ui"), (hierarchy, "name"), (positions, "tree_numbers"), (terms, "term")]
    for frame, column in places:
        hits = frame.filter(pl.col(column).str.to_lowercase() == sought)["descriptor_ui"].unique().sort().to_list()
        if len(hits) > 1:
            listed = ", ".join(hits)
            raise BioHiCLError(f"'{wanted}' is a name of several descriptors: {listed}; give one of these UIs")
        if hits:
            return str(hits[0])
    names = [*terms["term"], *hierarchy["name"]]
    raise BioHiCLError(f"'{wanted}' is no UI, tree number, name or synonym of this MeSH{did_you_mean(sought, names)}")


def did_you_mean(sought: str, names: list[str]) -> str:
    """The end of an error: the nearest of ``names`` (in any case of letters), or nothing."""
    by_lower = {name.lower(): name for name in names}
    # Names that hold the words come first, the shortest before the others; then those that are spelt alike.
    holding = sorted((name for name in by_lower if sought in name), key=lambda name: (len(name), name))[:SUGGESTED]
    alike = difflib.get_close_matches(sought, by_lower, n=SUGGESTED, cutoff=0.6)
    close = list(dict.fromkeys([*holding, *alike]))[:SUGGESTED]
    return f"; did you mean {', '.join(repr(by_lower[name]) for name in close)}?" if close else ""
