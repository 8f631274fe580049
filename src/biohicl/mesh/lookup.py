"""A descriptor found by what people call it.

Goes in: the folder of the MeSH tables, and a UI, a tree number, a name or a synonym. Comes out: the UI, or an error
that names the nearest; and what stands below it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError

SUGGESTED = 3
# What difflib has to find two texts alike by, and how many of the names it is asked about.
ALIKE = 0.6
LIKELY = 500


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


def did_you_mean(sought: str, names: Sequence[str]) -> str:
    """The end of an error: the nearest of ``names`` (in any case of letters), or nothing."""
    # Half characters, as bytes that are no UTF-8 give, are in no name.
    sought = sought.encode(errors="replace").decode()
    lower = pl.col("lower")
    known = pl.DataFrame({"name": names}, {"name": pl.String}).with_columns(lower=pl.col("name").str.to_lowercase())
    known = known.unique("lower", keep="last", maintain_order=True)
    # Names that hold the words come first, the shortest before the others; then those that are spelt alike.
    held = known.filter(lower.str.contains(sought, literal=True))
    holding = held.sort(lower.str.len_chars(), lower)["lower"].head(SUGGESTED).to_list()
    likely = _likely(sought, known)
    by_lower = dict(pl.concat([likely, held]).select("lower", "name").rows())
    alike = difflib.get_close_matches(sought, likely["lower"].to_list(), n=SUGGESTED, cutoff=ALIKE)
    close = list(dict.fromkeys([*holding, *alike]))[:SUGGESTED]
    return f"; did you mean {', '.join(repr(by_lower[name]) for name in close)}?" if close else ""


def _likely(sought: str, known: pl.DataFrame) -> pl.DataFrame:
    """Of many names the some hundred that share most pairs of letters with ``sought``: to compare all of MeSH's letter
    by letter takes seconds, in which Python does nothing else."""
    length, own = pl.col("lower").str.len_chars().cast(pl.Int64), len(sought)
    # Of two texts the shorter one is all that can be alike.
    possible = known.filter(2 * pl.min_horizontal(length, pl.lit(own)) >= ALIKE * (length + own))
    if possible.height <= LIKELY:
        return possible
    pairs = sorted({sought[place : place + 2] for place in range(own - 1)} or {sought})
    shared = pl.col("lower").str.extract_many(pairs, overlapping=True).list.n_unique()
    return possible.sort(shared / (length + own), pl.col("lower"), descending=[True, False]).head(LIKELY)
