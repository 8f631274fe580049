"""What a model is made from: the manifests of all nodes on the way from its backbone, each after its own parents.

Goes in: the model's folder and those of the nodes that it is made from. Comes out: their manifests, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biohicl.report.made import manifest_of, step_of

Manifest = dict[str, Any]


def lineage_of(folder: Path, others: Sequence[Path], teachers: Mapping[str, str]) -> list[Manifest]:
    """The manifests, the model's own last.

    ``others``: folders of nodes, among which those that it is made from are found. ``teachers``: of each node that made
    vectors the encoder. Of a choice only the chosen one is followed; what has no manifest is a backbone.
    """
    own = manifest_of(folder)
    known = {manifest["node"]: manifest for manifest in (*map(manifest_of, others), own)}
    # A choice holds the manifest of what it chose, whose own folder may be gone.
    known |= {
        inner["node"]: inner
        for inner in (manifest.get("manifest_of_chosen") for manifest in list(known.values()))
        if inner and inner["node"] not in known
    }
    found: dict[str, Manifest] = {}

    def visit(name: str) -> None:
        if name in known and name not in found:
            for parent in _parents(known[name], teachers):
                visit(parent)
            found[name] = known[name]

    visit(own["node"])
    return list(found.values())


def _parents(manifest: Manifest, teachers: Mapping[str, str]) -> list[str]:
    settings = manifest["settings"]
    if step_of(manifest) == "select":
        return [manifest["chosen"]]
    if step_of(manifest) == "average":
        return [*settings["of"], *([settings["with"]] if settings["with"] else [])]
    teacher = settings.get("teacher")
    return [settings["start"], *([teachers[teacher]] if teacher in teachers else [])]
