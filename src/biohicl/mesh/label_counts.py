"""How many citations of a corpus have each node, with all that stands below it: what corpus IC is made of.

Goes in and comes out: one Parquet file, a row a node in the order of :class:`~biohicl.mesh.nodes.Nodes`: node (a
descriptor's UI, a category's letter, or "root"), citations. The root's is the number of citations in all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.mesh.nodes import Nodes
from biohicl.mesh.weights import LabelCounts
from biohicl.storage import write_parquet

LABEL_COUNTS = pa.schema([("node", pa.string()), ("citations", pa.int64())])


def write_label_counts(counts: LabelCounts, nodes: Nodes, output: Path) -> None:
    """Writes the counts."""
    write_parquet(pa.table({"node": nodes.names, "citations": counts.of_node}, schema=LABEL_COUNTS), output)


def read_label_counts(path: Path, nodes: Nodes) -> LabelCounts:
    """Reads them again; an error where they are of other nodes, or no counts."""
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise BioHiCLError(f"{path}: no such file; make it with: biohicl count-labels") from None
    if schema.names != LABEL_COUNTS.names:
        raise BioHiCLError(f"{path}: holds no label counts; it has to be what biohicl count-labels made")
    table = pq.read_table(path)
    if table["node"].to_pylist() != nodes.names:
        raise BioHiCLError(f"{path}: counts the nodes of another hierarchy; run biohicl count-labels on this release")
    of_node = table["citations"].fill_null(-1).to_numpy().astype(np.int64)
    citations = int(of_node[-1])
    if citations < 1 or of_node.min() < 0 or of_node.max() > citations:
        raise BioHiCLError(
            f"{path}: counts that cannot be: from {of_node.min():,} to {of_node.max():,} of {citations:,}"
        )
    return LabelCounts(citations, of_node)
