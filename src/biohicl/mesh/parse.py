"""MeSH descriptor XML to tables: descriptors, concepts, terms, tree numbers.

Goes in: ``descYYYY.gz`` (or plain XML). Comes out: four Parquet files in one folder, as
:mod:`biohicl.mesh.schema` describes them.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.mesh.schema import KEYS, METADATA, TABLES
from biohicl.nlm_xml import child, errors_that_name, records, text_of
from biohicl.progress import say, track
from biohicl.storage import whole_files, write_parquet

ROOT = "DescriptorRecordSet"
_TREE_NUMBER = re.compile(r"[A-Z]\d\d(\.\d{3})*")


def parse_mesh_file(source: Path, output: Path) -> dict[str, int]:
    """Parses ``source`` into ``output/{descriptors,concepts,terms,tree_numbers}.parquet``; returns their row counts.

    Raises :class:`BioHiCLError` naming file, line and last good descriptor, and then writes nothing.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def last_good() -> str:
        done = rows["descriptors"]
        return f"last good descriptor {done[-1]['descriptor_ui']}" if done else "no descriptor was good"

    with errors_that_name(source, last_good):
        for record in track(records(source, ROOT, {"DescriptorRecord"}), None, f"parsing {source.name}", "descriptors"):
            for name, more in _rows_of(record).items():
                rows[name].extend(more)
        uis = [row["descriptor_ui"] for row in rows["descriptors"]]
        if not uis:
            raise BioHiCLError("holds no descriptors")
        if len(set(uis)) < len(uis):
            twice = sorted(ui for ui, count in Counter(uis).items() if count > 1)
            raise BioHiCLError(f"the same descriptor UI stands there twice: {', '.join(twice[:5])}")
    with whole_files(*(output / f"{name}.parquet" for name in TABLES)) as temporaries:
        for (name, schema), temporary in zip(TABLES.items(), temporaries, strict=True):
            table = pa.Table.from_pylist(rows[name], schema)
            write_parquet(table.sort_by([(key, "ascending") for key in KEYS[name]]), temporary, METADATA)
    counts = {name: len(table) for name, table in rows.items()}
    say(f"{source.name}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return counts


def _rows_of(record: Any) -> dict[str, list[dict[str, Any]]]:
    ui = text_of(child(record, "DescriptorUI"))
    name = text_of(record.find("DescriptorName/String"))
    if not ui or not name:
        raise BioHiCLError(f"line {record.sourceline}: a descriptor without UI or name")
    tree_numbers = [text_of(part) or "" for part in record.findall("TreeNumberList/TreeNumber")]
    for number in tree_numbers:
        if not _TREE_NUMBER.fullmatch(number):
            raise BioHiCLError(f"line {record.sourceline}: {ui} has '{number}', which is no tree number")
    concepts, terms = [], []
    for concept in record.findall("ConceptList/Concept"):
        concept_ui = text_of(child(concept, "ConceptUI"))
        preferred = concept.get("PreferredConceptYN") == "Y"
        concepts.append(
            {
                "descriptor_ui": ui,
                "concept_ui": concept_ui,
                "name": text_of(concept.find("ConceptName/String")),
                "preferred": preferred,
                "scope_note": text_of(concept.find("ScopeNote")),
            }
        )
        for term in concept.findall("TermList/Term"):
            terms.append(
                {
                    "descriptor_ui": ui,
                    "concept_ui": concept_ui,
                    "term_ui": text_of(child(term, "TermUI")),
                    "term": text_of(child(term, "String")),
                    "concept_preferred": term.get("ConceptPreferredTermYN") == "Y",
                    "record_preferred": term.get("RecordPreferredTermYN") == "Y",
                }
            )
    notes = [concept["scope_note"] for concept in concepts if concept["preferred"]]
    return {
        "descriptors": [
            {
                "descriptor_ui": ui,
                "name": name,
                "descriptor_class": record.get("DescriptorClass"),
                "scope_note": notes[0] if notes else None,
            }
        ],
        "concepts": concepts,
        "terms": terms,
        "tree_numbers": [{"descriptor_ui": ui, "tree_number": number} for number in tree_numbers],
    }
