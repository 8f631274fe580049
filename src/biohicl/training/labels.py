"""Labels of a selection as ids into the release's hierarchy, direct and ancestor-closed.

Goes in: a selection and the hierarchy. Comes out: one Parquet file, a row a citation in the selection's order:
pmid, version, direct, closed (lists of row numbers of ``hierarchy.parquet``, sorted). A weighting is a vector
over those rows, so that changing it rebuilds nothing here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa

from biohicl.progress import say
from biohicl.storage import write_parquet

LABELS = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("direct", pa.list_(pa.int32())),
        ("closed", pa.list_(pa.int32())),
    ]
)


def write_labels(selection: Path, hierarchy: Path, output: Path) -> None:
    """Writes the label ids; headings that this year's MeSH does not know are counted, listed and left out."""
    tree = pl.read_parquet(hierarchy, columns=["descriptor_ui", "ancestors"])
    ids = {ui: number for number, ui in enumerate(tree["descriptor_ui"])}
    closures = [frozenset([ids[ui], *(ids[above] for above in ancestors)]) for ui, ancestors in tree.iter_rows()]
    unknown: Counter[str] = Counter()
    citations = pl.read_parquet(selection, columns=["pmid", "version", "descriptor_uis"])
    direct: list[list[int]] = []
    closed: list[list[int]] = []
    for uis in citations["descriptor_uis"].to_list():
        known = {ids[ui] for ui in uis if ui in ids}
        unknown.update(ui for ui in uis if ui not in ids)
        direct.append(sorted(known))
        closed.append(sorted(frozenset().union(*(closures[number] for number in known))))
    table = pa.table(
        {
            "pmid": citations["pmid"].to_arrow(),
            "version": citations["version"].to_arrow(),
            "direct": direct,
            "closed": closed,
        },
        schema=LABELS,
    )
    write_parquet(table, output)
    mean = sum(map(len, closed)) / max(len(closed), 1)
    say(f"{len(closed):,} label sets, {mean:.1f} labels each with their ancestors")
    if unknown:
        listed = ", ".join(f"{ui} ({count})" for ui, count in unknown.most_common(10))
        say(f"{unknown.total():,} headings of {len(unknown):,} descriptors are not in this MeSH and left out: {listed}")
