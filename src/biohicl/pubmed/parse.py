"""One PubMed XML file to three tables: articles, MeSH headings, deleted citations.

Goes in: ``pubmedYYnNNNN.xml.gz`` (or plain ``.xml``). Comes out: three Parquet files as
:mod:`biohicl.pubmed.schema` describes them, all three or none. Every path is taken from the record's own
children: ``.//PMID`` would also find the PMIDs of comments and references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree

from biohicl.errors import BioHiCLError
from biohicl.nlm_xml import child, errors_that_name, records, text_of
from biohicl.progress import say, track
from biohicl.pubmed.schema import ARTICLES, DELETED, MESH_HEADINGS, METADATA
from biohicl.storage import whole_files, write_parquet

ROOT = "PubmedArticleSet"
RECORD_TAGS = {"PubmedArticle", "PubmedBookArticle", "DeleteCitation"}
BATCH_RECORDS = 10_000
_YEAR = re.compile(r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1
    )
}

Row = dict[str, Any]


def parse_pubmed_file(source: Path, articles: Path, mesh_headings: Path, deleted: Path) -> dict[str, int]:
    """Parses ``source`` and writes its three tables; returns how many rows each has.

    Raises :class:`BioHiCLError` naming the file, the line or byte, and the last good PMID, and then writes nothing.
    """
    tables = read_pubmed_file(source)
    # All three are complete before the first takes its final name.
    with whole_files(articles, mesh_headings, deleted) as temporaries:
        for table, temporary in zip(tables, temporaries, strict=True):
            write_parquet(table, temporary, METADATA)
    counts = dict(zip(("articles", "mesh_headings", "deleted"), (table.num_rows for table in tables), strict=True))
    say(f"{source.name}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return counts


def read_pubmed_file(source: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The articles, MeSH headings and deleted citations of one file, each sorted by its key."""
    batches: list[tuple[pa.Table, pa.Table]] = []
    rows: list[Row] = []
    headings: list[Row] = []
    deletions: list[Row] = []
    books = 0
    position = 0

    def last_good() -> str:
        return f"last good PMID {rows[-1]['pmid'] if rows else last_of_batch}" if position else "no citation was good"

    def finish_batch() -> None:
        batches.append((pa.Table.from_pylist(rows, ARTICLES), pa.Table.from_pylist(headings, MESH_HEADINGS)))
        rows.clear()
        headings.clear()

    last_of_batch = 0
    with errors_that_name(source, last_good):
        for element in track(records(source, ROOT, RECORD_TAGS), None, f"parsing {source.name}", "records"):
            if element.tag == "PubmedArticle":
                row, names = article_row(element, position)
                rows.append(row)
                headings.extend(_flat_headings(row, names))
                position += 1
                if len(rows) == BATCH_RECORDS:
                    last_of_batch = row["pmid"]
                    finish_batch()
            elif element.tag == "DeleteCitation":
                deletions.extend({"pmid": pmid, "version": version} for pmid, version in map(_identity, element))
            else:
                books += 1
    if books:
        say(f"{source.name}: {books} PubmedBookArticle records are books, not citations, and are left out")
    finish_batch()
    return (
        _sorted(pa.concat_tables([batch[0] for batch in batches]), ["pmid", "version", "position"]),
        _sorted(pa.concat_tables([batch[1] for batch in batches]), ["descriptor_ui", "pmid", "version", "position"]),
        _sorted(pa.Table.from_pylist(deletions, DELETED), ["pmid", "version"]),
    )


def article_row(record: etree._Element, position: int) -> tuple[Row, list[str | None]]:
    """The ``articles`` row of one PubmedArticle, and the descriptor names of its headings in order."""
    citation = child(record, "MedlineCitation")
    pmid, version = _identity(child(citation, "PMID"))
    article = child(citation, "Article")
    journal = article.find("Journal")
    pubdate = article.find("Journal/JournalIssue/PubDate")
    sections = [
        {"label": part.get("Label"), "nlm_category": part.get("NlmCategory"), "text": text_of(part) or ""}
        for part in article.findall("Abstract/AbstractText")
    ]
    headings, names = _mesh_headings(citation, pmid)
    row = {
        "pmid": pmid,
        "version": version,
        "position": position,
        "status": citation.get("Status"),
        "title": text_of(article.find("ArticleTitle")),
        "vernacular_title": text_of(article.find("VernacularTitle")),
        "abstract": " ".join(section["text"] for section in sections if section["text"]) or None,
        "abstract_sections": sections,
        "journal": text_of(journal.find("Title")) if journal is not None else None,
        "journal_iso": text_of(journal.find("ISOAbbreviation")) if journal is not None else None,
        "nlm_journal_id": text_of(citation.find("MedlineJournalInfo/NlmUniqueID")),
        "issn": text_of(journal.find("ISSN")) if journal is not None else None,
        "publication_date": _date_as_given(pubdate),
        "year": _year(pubdate, article),
        "date_revised": _date(citation.find("DateRevised"), pmid),
        "languages": [text for part in article.findall("Language") if (text := text_of(part))],
        "publication_types": [
            {"ui": part.get("UI"), "name": text_of(part)}
            for part in article.findall("PublicationTypeList/PublicationType")
        ],
        "doi": _doi(record, article),
        "pmc_id": _article_id(record, "pmc"),
        "keywords": [text for part in citation.findall("KeywordList/Keyword") if (text := text_of(part))],
        "mesh_headings": headings,
    }
    return row, names


# --- pieces of a record ---------------------------------------------------------------------------


def _identity(element: etree._Element) -> tuple[int, int]:
    """(PMID, version) of a PMID element; a record without the attribute is version 1."""
    text, version = (element.text or "").strip(), element.get("Version", "1")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise BioHiCLError(f"line {element.sourceline}: '{text}' is not a PMID")
    if not (version.isascii() and version.isdigit() and 0 < int(version) < 2**15):
        raise BioHiCLError(f"line {element.sourceline}: '{version}' is not a version of PMID {text}")
    return int(text), int(version)


def _is_major(element: etree._Element) -> bool:
    return bool(element.get("MajorTopicYN") == "Y")


def _mesh_headings(citation: etree._Element, pmid: int) -> tuple[list[Row], list[str | None]]:
    headings: list[Row] = []
    names: list[str | None] = []
    for heading in citation.findall("MeshHeadingList/MeshHeading"):
        descriptor = child(heading, "DescriptorName")
        if not descriptor.get("UI"):
            raise BioHiCLError(f"line {descriptor.sourceline}: PMID {pmid} has a DescriptorName without UI")
        qualifiers = [
            {"qualifier_ui": part.get("UI"), "major": _is_major(part)} for part in heading.findall("QualifierName")
        ]
        headings.append(
            {"descriptor_ui": descriptor.get("UI"), "major": _is_major(descriptor), "qualifiers": qualifiers}
        )
        names.append(text_of(descriptor))
    return headings, names


def _flat_headings(row: Row, names: list[str | None]) -> Iterator[Row]:
    for heading, name in zip(row["mesh_headings"], names, strict=True):
        yield {
            "pmid": row["pmid"],
            "version": row["version"],
            "position": row["position"],
            "descriptor_ui": heading["descriptor_ui"],
            "descriptor_name": name,
            # A quarter of NLM's major topics are marked on the descriptor, the rest on a qualifier only.
            "major": heading["major"] or any(part["major"] for part in heading["qualifiers"]),
            "qualifier_uis": [part["qualifier_ui"] for part in heading["qualifiers"]],
        }


def _date_as_given(pubdate: etree._Element | None) -> str | None:
    if pubdate is None:
        return None
    return " ".join(text for part in pubdate if (text := text_of(part))) or None


def _year(pubdate: etree._Element | None, article: etree._Element) -> int | None:
    candidates = []
    if pubdate is not None:
        candidates += [text_of(pubdate.find("Year")), text_of(pubdate.find("MedlineDate"))]
    candidates.append(text_of(article.find("ArticleDate/Year")))
    for text in candidates:
        if text and (match := _YEAR.search(text)):
            return int(match[0])
    return None


def _date(element: etree._Element | None, pmid: int) -> date | None:
    if element is None:
        return None
    year, month, day = (text_of(element.find(tag)) or "" for tag in ("Year", "Month", "Day"))
    try:
        return date(int(year), _MONTHS.get(month[:3].title()) or int(month), int(day))
    except ValueError:
        raise BioHiCLError(
            f"line {element.sourceline}: PMID {pmid}: {element.tag} {year}-{month}-{day} is no date"
        ) from None


def _article_id(record: etree._Element, kind: str) -> str | None:
    """From the record's own ArticleIdList; a reference's list has the same tags further down."""
    for part in record.findall("PubmedData/ArticleIdList/ArticleId"):
        if part.get("IdType") == kind and (text := text_of(part)):
            return text
    return None


def _doi(record: etree._Element, article: etree._Element) -> str | None:
    if text := _article_id(record, "doi"):
        return text
    for part in article.findall("ELocationID"):
        if part.get("EIdType") == "doi" and (text := text_of(part)):
            return text
    return None


def _sorted(table: pa.Table, keys: list[str]) -> pa.Table:
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    return table.take(order)
