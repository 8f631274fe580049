"""Tables that recipes are trained on, of the sample."""

from biohicl.storage import write_json
from biohicl.training.release import freeze_release

CONCEPTS = {
    "descriptions": ["scope_note", "parents", "siblings", "category", "qualifiers"],
    "descriptors": "all",
    "task": "Find its description",
    "seed": 1,
}


def frozen(mesh, citations, output, optional=True):
    """A release of ``citations`` and of the tables in ``mesh``; without ``optional`` as an older version made it."""
    current = output.with_name("current.parquet")
    citations.write_parquet(current)
    record = output.with_name("mesh.json")
    write_json({"name": "desc2099"}, record)
    tables = {name: mesh / f"{name}.parquet" for name in ("scope_notes", "allowed_qualifiers")} if optional else {}
    freeze_release(current, mesh / "hierarchy.parquet", mesh / "terms.parquet", record, output, tables)
    return output
