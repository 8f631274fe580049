"""The MeSH tables, column by column; ``SCHEMA_VERSION`` works as in :mod:`biohicl.pubmed.schema`."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "3"
METADATA = {"biohicl.schema": f"mesh-{SCHEMA_VERSION}"}

# Key: descriptor_ui.
DESCRIPTORS = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("name", pa.string()),
        ("descriptor_class", pa.string()),  # 1 topical, 2 publication type, 3 check tag, 4 geographical
        ("scope_note", pa.string()),  # of the preferred concept; null where the release has none
    ]
)
# Key: (descriptor_ui, concept_ui).
CONCEPTS = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("concept_ui", pa.string()),
        ("name", pa.string()),
        ("preferred", pa.bool_()),
    ]
)
# Key: (descriptor_ui, concept_ui); for the concepts that have one.
SCOPE_NOTES = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("concept_ui", pa.string()),
        ("preferred", pa.bool_()),  # of the descriptor's preferred concept
        ("scope_note", pa.string()),
    ]
)
# Key: (descriptor_ui, concept_ui, term_ui, term).
TERMS = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("concept_ui", pa.string()),
        ("term_ui", pa.string()),
        ("term", pa.string()),
        ("concept_preferred", pa.bool_()),
        ("record_preferred", pa.bool_()),
    ]
)
# Key: (descriptor_ui, tree_number).
TREE_NUMBERS = pa.schema([("descriptor_ui", pa.string()), ("tree_number", pa.string())])
# Which qualifiers indexers may put to a descriptor. Key: (descriptor_ui, qualifier_ui).
ALLOWED_QUALIFIERS = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("qualifier_ui", pa.string()),
        ("name", pa.string()),
        ("abbreviation", pa.string()),  # two letters
    ]
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
HIERARCHY = pa.schema(
    [
        ("descriptor_ui", pa.string()),
        ("name", pa.string()),
        ("tree_numbers", pa.list_(pa.string())),  # sorted; empty for Male and Female
        ("categories", pa.list_(pa.string())),  # first letters of its tree numbers, sorted
        ("parents", pa.list_(pa.string())),  # UIs, sorted; those one step up at any of its positions
        ("ancestors", pa.list_(pa.string())),  # UIs, sorted; at all its positions, itself not included
        ("depth_min", pa.int16()),  # over its positions; a tree number without a dot has 1; null without position
        ("depth_mean", pa.float32()),
        ("depth_max", pa.int16()),
        ("descendants", pa.int32()),  # how many other descriptors have it as an ancestor
        # Information content that follows from the tree alone, 0 for a root of everything, 1 for a leaf; the formulas
        # stand in mesh/weights.py.
        ("ic_seco", pa.float32()),
        ("ic_sanchez", pa.float32()),
    ]
)
# results/mesh/anomalies.parquet: what is odd in the release, a row each.
ANOMALIES = pa.schema([("kind", pa.string()), ("subject", pa.string()), ("detail", pa.string())])
