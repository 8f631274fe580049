"""The PubMed tables, column by column.

``SCHEMA_VERSION`` stands in each file's Parquet metadata (key ``biohicl.schema``) and in the parse rule's
params: a change of the parser that alters its output raises it, and every file is parsed again.

Text, in every column: the text of the element with that of its inline markup (``<i>``, ``<sub>``, MathML);
references such as ``&lt;`` decoded once; runs of XML white space (space, tab, line break) as one space; none
at the ends. Other white space, such as a no-break space, is the author's and stays. What is then empty is
null, and where a list is meant, leaves no element, as does a struct in which all is empty (abstract_sections keep
theirs, with the text ""). Attributes are text too. Where the DTD allows one element and a record has several, the
first counts. A list is never null.

Paths are those of a PubmedArticle. A PubmedBookArticle has its own for the same columns: title is
BookDocument/ArticleTitle or else Book/BookTitle; abstract, authors, languages, publication types, keywords and
references are BookDocument's (authors: the AuthorList whose Type is not "editors", else Book's);
publication_date is Book/PubDate; date_revised is BookDocument/DateRevised; what remains is null or empty.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "2"
METADATA = {"biohicl.schema": f"pubmed-{SCHEMA_VERSION}"}

SECTION = pa.struct(
    [
        ("label", pa.string()),  # as printed in the abstract: BACKGROUND, METHODS ...; null where it has none
        ("nlm_category", pa.string()),  # NLM's own: BACKGROUND, OBJECTIVE, METHODS, RESULTS, CONCLUSIONS ...
        ("text", pa.string()),
    ]
)
AUTHOR = pa.struct(
    [
        ("last_name", pa.string()),
        ("fore_name", pa.string()),
        ("initials", pa.string()),
        ("suffix", pa.string()),
        ("collective_name", pa.string()),  # a group's; then the others are null
        # Identifier with Source="ORCID": 0000-0002-1825-0097 however it was written (URL, no hyphens); as given
        # where it has not 16 digits.
        ("orcid", pa.string()),
        ("affiliations", pa.list_(pa.string())),  # AffiliationInfo/Affiliation, and before 2014 Affiliation
        ("valid", pa.bool_()),  # ValidYN="N" marks a spelling that an erratum has corrected; both stand in the list
    ]
)
QUALIFIER = pa.struct([("qualifier_ui", pa.string()), ("major", pa.bool_())])
HEADING = pa.struct(
    [
        ("descriptor_ui", pa.string()),  # null in files before 2015, which give names only
        ("major", pa.bool_()),  # on the descriptor itself; each qualifier has its own
        ("qualifiers", pa.list_(QUALIFIER)),
    ]
)
PUBLICATION_TYPE = pa.struct([("ui", pa.string()), ("name", pa.string())])
CHEMICAL = pa.struct(
    [
        ("ui", pa.string()),  # a descriptor's (D...) or a supplementary concept's (C...)
        ("name", pa.string()),
        ("registry_number", pa.string()),  # CAS, UNII or EC number; "0" where it has none
    ]
)
SUPPLEMENTARY_CONCEPT = pa.struct([("ui", pa.string()), ("name", pa.string()), ("type", pa.string())])
COMMENT_OR_CORRECTION = pa.struct(
    [
        ("type", pa.string()),  # RefType: CommentIn, ErratumIn, RetractionOf, Cites (in old files) ...
        ("pmid", pa.int32()),  # null where the other is not in PubMed
    ]
)

# A row a record, in the file's order. Key: position; (pmid, version) where a file has no record twice.
ARTICLES = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),  # PMID's Version; 1 where it has none
        ("position", pa.int32()),  # 0-based place of the record among the articles and books of its file
        ("is_book", pa.bool_()),  # a PubmedBookArticle
        ("status", pa.string()),  # MEDLINE, PubMed-not-MEDLINE, In-Process, Publisher ...
        ("title", pa.string()),
        ("vernacular_title", pa.string()),
        ("abstract", pa.string()),  # section texts joined by one space, labels left out; null where empty
        ("abstract_sections", pa.list_(SECTION)),  # Abstract/AbstractText, in order; empty ones too
        ("journal", pa.string()),  # Journal/Title
        ("journal_iso", pa.string()),  # Journal/ISOAbbreviation
        ("nlm_journal_id", pa.string()),  # MedlineJournalInfo/NlmUniqueID
        ("issn", pa.string()),  # Journal/ISSN: of the medium that was cited
        ("publication_date", pa.string()),  # PubDate's parts as given: "1979 Nov-1980 May", "2021 Jun 8"
        # The first day of the time that PubDate names, as PubMed sorts it: a month's 1st, a quarter's first month;
        # Winter is January, Spring April, Summer July, Fall (Autumn) October. A MedlineDate is read up to its first
        # range: "1979 Nov-1980 May" is 1979-11, month; "1978-1979" is 1978, year. A day that its month has not
        # is left out (1979 Feb 30 is 1979-02, month). Where PubDate names no year: ArticleDate. Else null.
        ("published", pa.date32()),
        ("published_precision", pa.string()),  # day, month, season, quarter or year; null where published is null
        ("year", pa.int16()),  # of `published`
        ("date_completed", pa.date32()),  # DateCompleted: indexing was completed
        ("date_revised", pa.date32()),  # DateRevised
        ("languages", pa.list_(pa.string())),
        ("publication_types", pa.list_(PUBLICATION_TYPE)),
        # PubmedData's own ArticleId with IdType="doi"; else the Article's ELocationID with EIdType="doi".
        ("doi", pa.string()),
        # PubmedData's own ArticleId with IdType="pmc", as given: PMC6134338, at times PMC6134338.4.
        ("pmc_id", pa.string()),
        ("keywords", pa.list_(pa.string())),  # of all lists, authors' and indexers'
        ("authors", pa.list_(AUTHOR)),  # of AuthorList, in order; investigators are not authors
        # PMIDs of ReferenceList's (also nested ones') Reference/ArticleIdList/ArticleId with IdType="pubmed", in order.
        ("references", pa.list_(pa.int32())),
        ("chemicals", pa.list_(CHEMICAL)),
        ("supplementary_concepts", pa.list_(SUPPLEMENTARY_CONCEPT)),
        ("comments_corrections", pa.list_(COMMENT_OR_CORRECTION)),
        # A RetractionIn among comments_corrections, or the publication type Retracted Publication (D016441). A
        # notice of retraction (RetractionOf), or a partial retraction, is not one.
        ("retracted", pa.bool_()),
        ("mesh_headings", pa.list_(HEADING)),  # in the record's order
    ]
)

# A row a heading. Sorted by (descriptor_ui, position), so that DuckDB skips to a descriptor's rows.
MESH_HEADINGS = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("position", pa.int32()),
        ("descriptor_ui", pa.string()),  # null in files before 2015, then last
        ("descriptor_name", pa.string()),
        ("major", pa.bool_()),  # on the descriptor or on any of its qualifiers
        ("qualifier_uis", pa.list_(pa.string())),
    ]
)

# Sorted by (pmid, version).
DELETED = pa.schema([("pmid", pa.int32()), ("version", pa.int16())])

# What --skip-bad-citations has left out of the other tables, in the file's order.
QUARANTINE = pa.schema(
    [
        ("pmid", pa.int32()),  # null where it cannot be read
        ("byte", pa.int64()),  # where the record begins in the unpacked file (as UTF-8), from 0
        ("line", pa.int64()),  # the same as a line, from 1
        ("reason", pa.string()),
        ("xml", pa.string()),  # the record; bytes that are not UTF-8 are replaced
    ]
)

# results/corpus/current.parquet. Key: pmid; sorted by it.
CURRENT = pa.schema(
    [
        ("pmid", pa.int32()),
        ("version", pa.int16()),
        ("file", pa.string()),  # such as pubmed26n0001
        ("position", pa.int32()),  # of the record in that file's articles
    ]
)
# results/corpus/anomalies.parquet: what is odd in a release's numbering, a row each.
CORPUS_ANOMALIES = pa.schema([("kind", pa.string()), ("subject", pa.string()), ("detail", pa.string())])
# results/corpus/description.parquet: how many current citations there are of each kind and value, a row each.
DESCRIPTION = pa.schema([("kind", pa.string()), ("value", pa.string()), ("citations", pa.int64())])
