"""The PubMed tables, column by column.

``SCHEMA_VERSION`` stands in each file's Parquet metadata (key ``biohicl.schema``) and in the parse rule's
params: a change of the parser that alters its output raises it, and every file is parsed again.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "1"
METADATA = {"biohicl.schema": f"pubmed-{SCHEMA_VERSION}"}

SECTION = pa.struct(
    [
        ("label", pa.string()),  # as printed in the abstract: BACKGROUND, METHODS ...; null where it has none
        ("nlm_category", pa.string()),  # NLM's own: BACKGROUND, OBJECTIVE, METHODS, RESULTS, CONCLUSIONS ...
        ("text", pa.string()),
    ]
)
QUALIFIER = pa.struct([("qualifier_ui", pa.string()), ("major", pa.bool_())])
HEADING = pa.struct(
    [
        ("descriptor_ui", pa.string()),
        ("major", pa.bool_()),  # on the descriptor itself; each qualifier has its own
        ("qualifiers", pa.list_(QUALIFIER)),
    ]
)
PUBLICATION_TYPE = pa.struct([("ui", pa.string()), ("name", pa.string())])

# Key: (pmid, version, position); sorted by it.
ARTICLES = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("position", pa.int32()),  # 0-based place of the record among the articles of its file
        ("status", pa.string()),  # MEDLINE, PubMed-not-MEDLINE, In-Process, Publisher ...
        ("title", pa.string()),  # null where empty
        ("vernacular_title", pa.string()),
        ("abstract", pa.string()),  # section texts joined by one space, labels left out; null where empty
        ("abstract_sections", pa.list_(SECTION)),  # in order; empty where there is no abstract
        ("journal", pa.string()),
        ("journal_iso", pa.string()),
        ("nlm_journal_id", pa.string()),
        ("issn", pa.string()),
        ("publication_date", pa.string()),  # as given: "1979 Nov-1980 May", "2021 Jun 8"
        ("year", pa.int16()),  # of publication; from PubDate, MedlineDate or ArticleDate, in this order
        ("date_revised", pa.date32()),
        ("languages", pa.list_(pa.string())),
        ("publication_types", pa.list_(PUBLICATION_TYPE)),
        ("doi", pa.string()),
        ("pmc_id", pa.string()),
        ("keywords", pa.list_(pa.string())),
        ("mesh_headings", pa.list_(HEADING)),  # in the record's order
    ]
)

# Key: (descriptor_ui, pmid, version, position); sorted by it, so that DuckDB skips to a descriptor's rows.
MESH_HEADINGS = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("position", pa.int32()),
        ("descriptor_ui", pa.string()),
        ("descriptor_name", pa.string()),
        ("major", pa.bool_()),  # on the descriptor or on any of its qualifiers
        ("qualifier_uis", pa.list_(pa.string())),
    ]
)

# Key: (pmid, version); sorted by it.
DELETED = pa.schema([("pmid", pa.int32()), ("version", pa.int16())])

# results/corpus/current.parquet. Key: pmid; sorted by it.
CURRENT = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("file", pa.string()),  # such as pubmed26n0001
        ("position", pa.int32()),  # of the record in that file's articles
    ]
)
