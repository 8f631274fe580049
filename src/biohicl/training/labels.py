"""The headings of citations as label ids: of a selection, and counted over the whole training release.

Goes in: a selection (of citations, or of concepts), or the release with its articles tables; and the release's
hierarchy. Comes out: ``labels``, a row a row of the selection in its order, its ids direct and ancestor-closed;
``unknown headings``, a row for each heading that the hierarchy does not know; or the release's label counts. A
weighting is a vector over the ids, so that changing it rebuilds nothing here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_counts import write_label_counts
from biohicl.mesh.label_sets import HIERARCHY_KEY, LabelSets, closed_labels, direct_labels
from biohicl.mesh.nodes import Nodes, read_nodes
from biohicl.mesh.weights import LabelCounts
from biohicl.progress import say
from biohicl.ragged import Ragged
from biohicl.storage import parquet_writer, whole_files, write_parquet
from biohicl.training.release import articles_of_release, headings_of
from biohicl.training.rows import key_of, with_key

# Behind the selection's key columns.
# Ids: 0-based rows of the training release's hierarchy; then, in `closed`, its categories in alphabetical order,
# and the root. Kinds: by what kinds of headings the id came in, a bit each (1 a heading that is no major topic,
# 2 a major topic, 4 and 8 the same of a check tag).
LABELS = [
    ("direct", pa.list_(pa.int32())),
    ("direct_kinds", pa.list_(pa.uint8())),
    ("closed", pa.list_(pa.int32())),
    ("closed_kinds", pa.list_(pa.uint8())),
]
UNKNOWN_HEADINGS = pa.schema(
    [
        ("descriptor_ui", pa.string()),  # null: headings with a name and no UI, as files before 2015 have them
        ("headings", pa.int64()),
    ]
)
LISTED = 10
# A slice's labels take some 100 MB.
CITATIONS_OF_A_SLICE = 50_000


def labels_of(headings: pl.DataFrame, nodes: Nodes) -> tuple[LabelSets, Counter[str | None]]:
    """Direct label sets of citations, and the headings that ``nodes`` lacks, by UI, with how often they occurred.

    ``headings``: columns descriptor_uis and majors, lists of the same lengths.
    """
    given, offsets = _end_to_end(headings["descriptor_uis"])
    flags, _ = _end_to_end(headings["majors"])
    uis = given.dictionary_encode(null_encoding="encode")
    majors = flags.to_numpy(zero_copy_only=False).astype(bool)
    known = np.array(uis.dictionary.to_pylist(), dtype=object)
    return direct_labels(Ragged(uis.indices.to_numpy(), offsets), known, majors, nodes)


def _end_to_end(lists: pl.Series) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The values of a column of lists, and their offsets from 0; a slice of a column keeps those of the whole."""
    column = lists.rechunk().to_arrow()
    offsets = column.offsets.to_numpy().astype(np.int64)
    return column.values.slice(offsets[0], offsets[-1] - offsets[0]), offsets - offsets[0]


def write_labels(selection: Path, hierarchy: Path, max_unknown: float, output: Path, unknown_output: Path) -> None:
    """Writes the label ids of a selection, and the headings that this MeSH does not know, which are left out.

    An error, with the list, where these are more than the share ``max_unknown`` of all headings.
    """
    nodes = read_nodes(hierarchy)
    key = key_of(selection)
    if "descriptor_uis" not in pl.read_parquet_schema(selection):
        raise BioHiCLError(f"{selection}: its texts have no MeSH headings, so there are no labels of them")
    citations = pl.read_parquet(selection, columns=[*key.names, "descriptor_uis", "majors"])
    unknown: Counter[str | None] = Counter()
    labels = 0
    metadata = {HIERARCHY_KEY: nodes.fingerprint}
    with whole_files(output, unknown_output) as (labels_file, unknown_file):
        with parquet_writer(labels_file, with_key(key, *LABELS), metadata) as writer:
            for some in citations.iter_slices(CITATIONS_OF_A_SLICE):
                direct, lost = labels_of(some, nodes)
                closed = closed_labels(direct, nodes)
                unknown += lost
                labels += len(closed.ids.values)
                writer.write(_label_table(some, key, direct, closed))
        headings = int(citations["descriptor_uis"].list.len().sum() or 0)
        _say_unknown(unknown, headings, max_unknown, hierarchy)
        rows = sorted(unknown.items(), key=lambda row: (-row[1], row[0] or ""))
        listed = {"descriptor_ui": [ui for ui, _ in rows], "headings": [count for _, count in rows]}
        write_parquet(pa.table(listed, schema=UNKNOWN_HEADINGS), unknown_file)
    say(f"{citations.height:,} label sets, {labels / max(citations.height, 1):.1f} labels each with what stands above")


def _label_table(citations: pl.DataFrame, key: pa.Schema, direct: LabelSets, closed: LabelSets) -> pa.Table:
    # polars' strings are Arrow's large ones.
    columns: dict[str, object] = {name: citations[name].to_arrow().cast(key.field(name).type) for name in key.names}
    for name, sets in (("direct", direct), ("closed", closed)):
        offsets = pa.array(sets.ids.offsets.astype(np.int32))
        columns[name] = pa.ListArray.from_arrays(offsets, sets.ids.values)
        columns[f"{name}_kinds"] = pa.ListArray.from_arrays(offsets, sets.kinds)
    return pa.table(columns, schema=with_key(key, *LABELS))


def count_labels(release: Path, pubmed: Path, max_unknown: float, output: Path) -> None:
    """Counts, over all current citations of a training release that have a heading, how many have each node."""
    nodes = read_nodes(release / "hierarchy.parquet")
    of_node = np.zeros(nodes.count, dtype=np.int64)
    unknown: Counter[str | None] = Counter()
    headings = 0
    for articles in articles_of_release(release, pubmed, ["mesh_headings"]):
        direct, lost = labels_of(headings_of(articles), nodes)
        unknown += lost
        headings += int(articles["mesh_headings"].list.len().sum() or 0)
        of_node += np.bincount(closed_labels(direct, nodes).ids.values, minlength=nodes.count)
    _say_unknown(unknown, headings, max_unknown, release / "hierarchy.parquet")
    counts = LabelCounts(int(of_node[-1]), of_node)
    if counts.citations == 0:
        raise BioHiCLError(f"{release}: none of its citations has a MeSH heading that its hierarchy knows")
    write_label_counts(counts, nodes, output)
    seen = int((of_node[: nodes.descriptors] > 0).sum())
    say(f"{counts.citations:,} citations with headings; {seen:,} of {nodes.descriptors:,} descriptors occur")


def _say_unknown(unknown: Counter[str | None], headings: int, max_unknown: float, hierarchy: Path) -> None:
    """Says what is left out; an error where it is more than the share ``max_unknown`` of ``headings``."""
    if not unknown:
        return
    share = unknown.total() / headings
    listed = ", ".join(f"{ui or 'without UI'} ({count:,})" for ui, count in unknown.most_common(LISTED))
    others = f" and {len(unknown) - LISTED:,} others" if len(unknown) > LISTED else ""
    found = (
        f"{unknown.total():,} of {headings:,} headings ({share:.2%}), of {len(unknown):,} descriptors, are not in this "
        f"MeSH (merged or dropped since): {listed}{others}"
    )
    if share > max_unknown:
        raise BioHiCLError(
            f"{hierarchy}: {found}. That is more than training.max_unknown_headings in config.yaml allows, "
            f"{max_unknown:.2%}. Is the MeSH release of another year than the corpus? Otherwise raise the limit"
        )
    say(f"{found}. They are left out")
