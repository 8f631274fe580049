"""config.yaml: read, completed with the schema's defaults, checked, and worded for people.

Goes in: the mapping that Snakemake (or :func:`load`) merged from config.yaml and overlays. Comes out: the same mapping
with every default filled in, or a :class:`~biohicl.errors.BioHiCLError` whose message names the key, what was found,
what is allowed, and the nearest valid name.

reading      files, overlays, defaults; where a key stands in a file
ablations    small trainings that differ in one thing each, written out as nodes
schema       what the schema says of a value, in words
references   what one key says of another
derived      what follows from a checked configuration for nodes and files
systems      the systems under test, and what each is compared with
"""

from biohicl.configuration.ablations import cells_of, nodes_of_cell, unfair
from biohicl.configuration.derived import (
    LABEL_LOSSES,
    ancestry_of,
    chain_of,
    file_numbers,
    has_negatives,
    is_chosen,
    judged_for,
    needs_label_counts,
    node_settings,
    parents_of,
    reads_labels,
    seen_by,
    selections_of,
    trained_on,
    tuned_on,
)
from biohicl.configuration.reading import load, resolve, resolve_node
from biohicl.configuration.systems import (
    LEXICAL,
    System,
    benchmark_source,
    developed,
    headline_of,
    seed_groups,
    systems_of,
)

__all__ = [
    "LABEL_LOSSES",
    "LEXICAL",
    "System",
    "ancestry_of",
    "benchmark_source",
    "cells_of",
    "chain_of",
    "developed",
    "file_numbers",
    "has_negatives",
    "headline_of",
    "is_chosen",
    "judged_for",
    "load",
    "needs_label_counts",
    "node_settings",
    "nodes_of_cell",
    "parents_of",
    "reads_labels",
    "resolve",
    "resolve_node",
    "seed_groups",
    "seen_by",
    "selections_of",
    "systems_of",
    "trained_on",
    "tuned_on",
    "unfair",
]
