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

from biohicl.described import described

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
ARTICLES, _ARTICLES = described(
    ("pmid", pa.int32(), "PubMed's identifier of the citation"),
    ("version", pa.int16(), "PMID's Version; 1 where it has none"),
    ("position", pa.int32(), "0-based place of the record among the articles and books of its file"),
    ("is_book", pa.bool_(), "whether it is a PubmedBookArticle"),
    ("status", pa.string(), "MEDLINE, PubMed-not-MEDLINE, In-Process, Publisher ..."),
    ("title", pa.string(), "ArticleTitle; of books the part's, or else the book's"),
    ("vernacular_title", pa.string(), "the title in the language of the article"),
    ("abstract", pa.string(), "section texts joined by one space, labels left out; null where empty"),
    (
        "abstract_sections",
        pa.list_(SECTION),
        "Abstract/AbstractText in order, empty ones too: label as printed, NLM's category, text",
    ),
    ("journal", pa.string(), "Journal/Title"),
    ("journal_iso", pa.string(), "Journal/ISOAbbreviation"),
    ("nlm_journal_id", pa.string(), "MedlineJournalInfo/NlmUniqueID"),
    ("issn", pa.string(), "Journal/ISSN: of the medium that was cited"),
    ("publication_date", pa.string(), "PubDate's parts as given: '1979 Nov-1980 May', '2021 Jun 8'"),
    # As PubMed sorts it: a month's 1st, a quarter's first month; Winter is January, Spring April, Summer July, Fall
    # (Autumn) October. A MedlineDate is read up to its first range: "1979 Nov-1980 May" is 1979-11, month; "1978-1979"
    # is 1978, year. A day that its month has not is left out (1979 Feb 30 is 1979-02, month).
    (
        "published",
        pa.date32(),
        "the first day of the time that PubDate names; where that names no year, ArticleDate; else null",
    ),
    (
        "published_precision",
        pa.string(),
        "day, month, season, quarter or year: how exact `published` is; null where that is null",
    ),
    ("year", pa.int16(), "the year of `published`"),
    ("date_completed", pa.date32(), "DateCompleted: when indexing was completed"),
    ("date_revised", pa.date32(), "DateRevised"),
    ("languages", pa.list_(pa.string()), "three letters each, such as eng"),
    ("publication_types", pa.list_(PUBLICATION_TYPE), "UI and name of each"),
    ("doi", pa.string(), "ArticleId with IdType doi; else ELocationID with EIdType doi"),
    ("pmc_id", pa.string(), "ArticleId with IdType pmc, as given: PMC6134338, at times PMC6134338.4"),
    ("keywords", pa.list_(pa.string()), "of all lists, authors' and indexers'"),
    (
        "authors",
        pa.list_(AUTHOR),
        "of AuthorList, in order: names, a group's collective_name, ORCID, affiliations; valid is false of a spelling "
        "that an erratum has corrected. Investigators are not authors",
    ),
    (
        "references",
        pa.list_(pa.int32()),
        "PMIDs of the ReferenceList's (also nested ones') references that have one, in order",
    ),
    ("chemicals", pa.list_(CHEMICAL), "UI, name and registry number (CAS, UNII or EC; 0 where it has none)"),
    ("supplementary_concepts", pa.list_(SUPPLEMENTARY_CONCEPT), "UI, name and type of each"),
    (
        "comments_corrections",
        pa.list_(COMMENT_OR_CORRECTION),
        "type (CommentIn, ErratumIn, RetractionOf, Cites ...) and PMID of the other, null where it is not in PubMed",
    ),
    # A notice of retraction (RetractionOf), or a partial retraction, is not one.
    (
        "retracted",
        pa.bool_(),
        "whether it has a RetractionIn, or the publication type Retracted Publication (D016441)",
    ),
    (
        "mesh_headings",
        pa.list_(HEADING),
        "in the record's order: descriptor UI (null in files before 2015), whether major, and the qualifiers",
    ),
)

# A row a heading. Sorted by (descriptor_ui, position), so that DuckDB skips to a descriptor's rows.
MESH_HEADINGS, _MESH_HEADINGS = described(
    ("pmid", pa.int32(), "of the record"),
    ("version", pa.int16(), "of the record"),
    ("position", pa.int32(), "of the record in its file"),
    ("descriptor_ui", pa.string(), "the descriptor's identifier; null in files before 2015, then last"),
    ("descriptor_name", pa.string(), "the descriptor's name, as the record gives it"),
    ("major", pa.bool_(), "whether it is a major topic: on the descriptor or on any of its qualifiers"),
    ("qualifier_uis", pa.list_(pa.string()), "identifiers of its qualifiers, in order"),
)

# Sorted by (pmid, version).
DELETED, _DELETED = described(
    ("pmid", pa.int32(), "the PMID that the file deletes, in all its versions"),
    ("version", pa.int16(), "the version that the file names"),
)

# What --skip-bad-citations has left out of the other tables, in the file's order.
QUARANTINE, _QUARANTINE = described(
    ("pmid", pa.int32(), "null where it cannot be read"),
    ("byte", pa.int64(), "where the record begins in the unpacked file (as UTF-8), from 0"),
    ("line", pa.int64(), "the same as a line, from 1"),
    ("reason", pa.string(), "why it cannot be read"),
    ("xml", pa.string(), "the record; bytes that are not UTF-8 are replaced"),
)

# results/corpus/current.parquet. Key: pmid; sorted by it.
CURRENT, _CURRENT = described(
    ("pmid", pa.int32(), "PubMed's identifier of the citation"),
    ("version", pa.int16(), "of its current record"),
    ("file", pa.string(), "that its current record stands in, such as pubmed26n0001"),
    ("position", pa.int32(), "of the record in that file's articles"),
)
# results/corpus/anomalies.parquet: what is odd in a release's numbering, a row each.
CORPUS_ANOMALIES, _CORPUS_ANOMALIES = described(
    ("kind", pa.string(), "gap, mixed years ..."),
    ("subject", pa.string(), "the files or years"),
    ("detail", pa.string(), "what is odd, in words"),
)
# results/corpus/description.parquet: how many current citations there are of each kind and value, a row each.
DESCRIPTION, _DESCRIPTION = described(
    ("kind", pa.string(), "citations, year, language, headings (how many of them) or category (of the tree)"),
    ("value", pa.string(), "such as with an abstract, 1979, eng, 12 or C; unknown where it is not known"),
    ("citations", pa.int64(), "how many current citations; one may be of several languages and categories"),
)
# What each table's columns hold.
WORDS = {
    "articles": _ARTICLES,
    "mesh_headings": _MESH_HEADINGS,
    "deleted": _DELETED,
    "quarantine": _QUARANTINE,
    "current": _CURRENT,
    "corpus_anomalies": _CORPUS_ANOMALIES,
    "corpus_description": _DESCRIPTION,
}
