"""What the catalog's views are: their files, what paths say of each row, and what every column holds.

Goes in: ``views.yaml``, and the words of the schemas of PubMed and MeSH. Comes out: :data:`VIEWS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from biohicl.mesh.schema import WORDS as MESH_WORDS
from biohicl.pubmed.schema import WORDS as PUBMED_WORDS

# In place of a column's name: all that a view has beside those that are named.
OTHERS = "*"
CITATIONS = "citations"
CITATIONS_COMMENT = "the current record of each citation, with its text"


@dataclass(frozen=True)
class View:
    """A table's files, and what their path says of each row.

    ``over``: which list of names fills {name} of ``pattern``; "" for one file. ``path``: parts of the path from the
    end, by the name of the column that they become. ``columns``: what each column holds, in the table's order.
    """

    pattern: str
    over: str
    path: Mapping[str, int]
    comment: str
    columns: Mapping[str, str]

    def files(self, names: Mapping[str, Sequence[str]]) -> list[str]:
        """Its files, where ``names`` is what there is."""
        if not self.over:
            return [self.pattern]
        return [self.pattern.format(name=name) for name in names.get(self.over, ())]

    def words(self, column: str) -> str | None:
        """What a column holds."""
        return self.columns.get(column) or self.columns.get(OTHERS)


@cache
def views() -> dict[str, View]:
    """All views by name, in the catalog's order; `citations`, which joins two of them, is none."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(files("biohicl.report").joinpath("views.yaml").read_text("utf-8"))
    shared = content["shared"]
    of_schemas = {**PUBMED_WORDS, **MESH_WORDS}
    found = {}
    for name, block in content["views"].items():
        path = block.get("path", {})
        if "columns" in block:
            columns = {column: words or shared[column] for column, words in block["columns"].items()}
        else:
            columns = {**of_schemas[name], **{column: shared[column] for column in path}}
        found[name] = View(block["pattern"], block.get("over", ""), path, block["comment"], columns)
    return found


def missing(listed: Sequence[str]) -> list[str]:
    """Those of these files that are not there."""
    return [file for file in listed if not Path(file).is_file()]
