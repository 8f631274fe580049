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
    names = [*nodes.uis, *nodes.categories, "root"]
    write_parquet(pa.table({"node": names, "citations": counts.of_node}, schema=LABEL_COUNTS), output)


def read_label_counts(path: Path) -> LabelCounts:
    """Reads them again."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BioHiCLError(f"{path}: no such file; make it with: biohicl count-labels") from None
    if table.schema.names != LABEL_COUNTS.names or table.num_rows == 0:
        raise BioHiCLError(f"{path}: holds no label counts; it has to be what biohicl count-labels made")
    of_node = table["citations"].to_numpy().astype(np.int64)
    return LabelCounts(int(of_node[-1]), of_node)
