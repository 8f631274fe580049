"""The MeSH tables, column by column; ``SCHEMA_VERSION`` works as in :mod:`biohicl.pubmed.schema`."""

from __future__ import annotations

import pyarrow as pa

from biohicl.described import described

SCHEMA_VERSION = "3"
METADATA = {"biohicl.schema": f"mesh-{SCHEMA_VERSION}"}

# Key: descriptor_ui.
DESCRIPTORS, _DESCRIPTORS = described(
    ("descriptor_ui", pa.string(), "identifier, such as D001281"),
    ("name", pa.string(), "the descriptor's heading"),
    ("descriptor_class", pa.string(), "1 topical, 2 publication type, 3 check tag, 4 geographical"),
    ("scope_note", pa.string(), "what its preferred concept means; null where the release has none"),
)
# Key: (descriptor_ui, concept_ui).
CONCEPTS, _CONCEPTS = described(
    ("descriptor_ui", pa.string(), "the descriptor that it is a concept of"),
    ("concept_ui", pa.string(), "identifier, such as M0001937"),
    ("name", pa.string(), "the concept's name"),
    ("preferred", pa.bool_(), "whether it is the descriptor's preferred concept"),
)
# Key: (descriptor_ui, concept_ui); for the concepts that have one.
SCOPE_NOTES, _SCOPE_NOTES = described(
    ("descriptor_ui", pa.string(), "the descriptor of the concept"),
    ("concept_ui", pa.string(), "the concept"),
    ("preferred", pa.bool_(), "whether it is of the descriptor's preferred concept"),
    ("scope_note", pa.string(), "what the concept means"),
)
# Key: (descriptor_ui, concept_ui, term_ui, term).
TERMS, _TERMS = described(
    ("descriptor_ui", pa.string(), "the descriptor of the concept"),
    ("concept_ui", pa.string(), "the concept that it names"),
    ("term_ui", pa.string(), "identifier, such as T003560"),
    ("term", pa.string(), "the name or synonym"),
    ("concept_preferred", pa.bool_(), "whether it is the concept's preferred name"),
    ("record_preferred", pa.bool_(), "whether it is the descriptor's name"),
)
# Key: (descriptor_ui, tree_number).
TREE_NUMBERS, _TREE_NUMBERS = described(
    ("descriptor_ui", pa.string(), "the descriptor"),
    ("tree_number", pa.string(), "one of its positions in the tree, such as C14.280.067.198"),
)
# Which qualifiers indexers may put to a descriptor. Key: (descriptor_ui, qualifier_ui).
ALLOWED_QUALIFIERS, _ALLOWED_QUALIFIERS = described(
    ("descriptor_ui", pa.string(), "the descriptor"),
    ("qualifier_ui", pa.string(), "a qualifier that indexers may put to it"),
    ("name", pa.string(), "the qualifier's name"),
    ("abbreviation", pa.string(), "two letters"),
)
TABLES = {
    "descriptors": DESCRIPTORS,
    "concepts": CONCEPTS,
    "scope_notes": SCOPE_NOTES,
    "terms": TERMS,
    "tree_numbers": TREE_NUMBERS,
    "allowed_qualifiers": ALLOWED_QUALIFIERS,
}
KEYS = {
    "descriptors": ["descriptor_ui"],
    "concepts": ["descriptor_ui", "concept_ui"],
    "scope_notes": ["descriptor_ui", "concept_ui"],
    "terms": ["descriptor_ui", "concept_ui", "term_ui", "term"],
    "tree_numbers": ["descriptor_ui", "tree_number"],
    "allowed_qualifiers": ["descriptor_ui", "qualifier_ui"],
}

# results/mesh/hierarchy.parquet. Key: descriptor_ui. A descriptor's id elsewhere (label tables) is its row here.
HIERARCHY, _HIERARCHY = described(
    ("descriptor_ui", pa.string(), "identifier, such as D001281"),
    ("name", pa.string(), "the descriptor's heading"),
    ("tree_numbers", pa.list_(pa.string()), "its positions, sorted; empty for Male and Female"),
    ("categories", pa.list_(pa.string()), "first letters of its tree numbers, sorted"),
    ("parents", pa.list_(pa.string()), "UIs, sorted; those one step up at any of its positions"),
    ("ancestors", pa.list_(pa.string()), "UIs, sorted; at all its positions, itself not included"),
    ("depth_min", pa.int16(), "over its positions; a tree number without a dot has 1; null without position"),
    ("depth_mean", pa.float32(), "the mean depth of its positions"),
    ("depth_max", pa.int16(), "the depth of its deepest position"),
    ("descendants", pa.int32(), "how many other descriptors have it as an ancestor"),
    # Information content that follows from the tree alone; the formulas stand in mesh/weights.py.
    ("ic_seco", pa.float32(), "Seco's information content: 0 for a root of everything, 1 for a leaf"),
    ("ic_sanchez", pa.float32(), "Sánchez's information content: 0 for a root of everything, 1 for the most specific"),
)
# results/mesh/anomalies.parquet: what is odd in the release, a row each.
ANOMALIES, _ANOMALIES = described(
    ("kind", pa.string(), "above itself, cycle, no tree number ..."),
    ("subject", pa.string(), "UIs of the descriptors"),
    ("detail", pa.string(), "what is odd, in words"),
)
# What each table's columns hold.
WORDS = {
    "descriptors": _DESCRIPTORS,
    "concepts": _CONCEPTS,
    "scope_notes": _SCOPE_NOTES,
    "terms": _TERMS,
    "tree_numbers": _TREE_NUMBERS,
    "allowed_qualifiers": _ALLOWED_QUALIFIERS,
    "hierarchy": _HIERARCHY,
    "training_hierarchy": _HIERARCHY,
    "anomalies": _ANOMALIES,
}
