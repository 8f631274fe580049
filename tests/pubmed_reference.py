"""A second reading of PubMed XML, independent, slow and obvious: the whole tree with ElementTree, a dict a record."""

import gzip
import re
import xml.etree.ElementTree as ET
from datetime import date

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def read(path):
    """(articles, headings, deletes) of a file, as lists of dicts in the order of the file."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    root = ET.fromstring(data)
    articles, headings, deletes = [], [], []
    for record in root:
        if record.tag == "PubmedArticle":
            row = article(record, len(articles))
            articles.append(row)
            headings += flat_headings(record, row)
        elif record.tag == "DeleteCitation":
            deletes += [{"pmid": int(p.text), "version": int(p.attrib["Version"])} for p in record]
    return articles, headings, deletes


def text(element):
    if element is None:
        return None
    words = re.split("[ \t\r\n]+", "".join(element.itertext()))
    joined = " ".join(word for word in words if word)
    return joined if joined else None


def article(record, position):
    citation = record.find("MedlineCitation")
    inner = citation.find("Article")
    pmid = citation.find("PMID")
    sections = []
    for part in inner.findall("./Abstract/AbstractText"):
        sections.append(
            {
                "label": part.attrib.get("Label"),
                "nlm_category": part.attrib.get("NlmCategory"),
                "text": text(part) or "",
            }
        )
    pubdate = inner.find("./Journal/JournalIssue/PubDate")
    headings = []
    for heading in citation.findall("./MeshHeadingList/MeshHeading"):
        name = heading.find("DescriptorName")
        headings.append(
            {
                "descriptor_ui": name.attrib["UI"],
                "major": name.attrib["MajorTopicYN"] == "Y",
                "qualifiers": [
                    {"qualifier_ui": q.attrib["UI"], "major": q.attrib["MajorTopicYN"] == "Y"}
                    for q in heading.findall("QualifierName")
                ],
            }
        )
    ids = {}
    for part in record.findall("./PubmedData/ArticleIdList/ArticleId"):
        if text(part):
            ids.setdefault(part.attrib["IdType"], text(part))
    located = [text(p) for p in inner.findall("ELocationID") if p.attrib["EIdType"] == "doi" and text(p)]
    return {
        "pmid": int(pmid.text),
        "version": int(pmid.attrib.get("Version", 1)),
        "position": position,
        "status": citation.attrib.get("Status"),
        "title": text(inner.find("ArticleTitle")),
        "vernacular_title": text(inner.find("VernacularTitle")),
        "abstract": " ".join(s["text"] for s in sections if s["text"]) or None,
        "abstract_sections": sections,
        "journal": text(inner.find("./Journal/Title")),
        "journal_iso": text(inner.find("./Journal/ISOAbbreviation")),
        "nlm_journal_id": text(citation.find("./MedlineJournalInfo/NlmUniqueID")),
        "issn": text(inner.find("./Journal/ISSN")),
        "publication_date": " ".join(t for t in map(text, pubdate) if t) or None if pubdate is not None else None,
        "year": year(pubdate, inner),
        "date_revised": revised(citation.find("DateRevised")),
        "languages": [t for t in map(text, inner.findall("Language")) if t],
        "publication_types": [
            {"ui": p.attrib.get("UI"), "name": text(p)} for p in inner.findall("./PublicationTypeList/PublicationType")
        ],
        "doi": ids.get("doi") or (located[0] if located else None),
        "pmc_id": ids.get("pmc"),
        "keywords": [t for t in map(text, citation.findall("./KeywordList/Keyword")) if t],
        "mesh_headings": headings,
    }


def year(pubdate, inner):
    if pubdate is not None and text(pubdate.find("Year")):
        return int(text(pubdate.find("Year")))
    if pubdate is not None and text(pubdate.find("MedlineDate")):
        four = re.findall(r"\d{4}", text(pubdate.find("MedlineDate")))
        if four:
            return int(four[0])
    given = text(inner.find("./ArticleDate/Year"))
    return int(given) if given else None


def revised(element):
    if element is None:
        return None
    month = text(element.find("Month"))
    number = int(month) if month.isdigit() else MONTHS.index(month[:3].lower()) + 1
    return date(int(text(element.find("Year"))), number, int(text(element.find("Day"))))


def flat_headings(record, row):
    names = [text(n) for n in record.findall("./MedlineCitation/MeshHeadingList/MeshHeading/DescriptorName")]
    for heading, name in zip(row["mesh_headings"], names, strict=True):
        flags = [heading["major"]] + [q["major"] for q in heading["qualifiers"]]
        yield {
            "pmid": row["pmid"],
            "version": row["version"],
            "position": row["position"],
            "descriptor_ui": heading["descriptor_ui"],
            "descriptor_name": name,
            "major": True in flags,
            "qualifier_uis": [q["qualifier_ui"] for q in heading["qualifiers"]],
        }


def assert_equal_to_reference(tables, path):
    """Every column of every row, whatever the order of the rows in the tables."""
    articles, headings, deletes = read(path)

    def key(row):
        return (row.get("descriptor_ui", ""), row["pmid"], row["version"], row.get("position", 0))

    for table, rows in zip(tables, (articles, headings, deletes), strict=True):
        # Where two rows have one key (a heading given twice) their order in the file decides; sorted() keeps it.
        expected = sorted(rows, key=key)
        assert table.num_rows == len(expected)
        for start in range(0, len(expected), 2000):
            found = table.slice(start, 2000).to_pylist()
            for one, other in zip(found, expected[start : start + 2000], strict=True):
                assert one == other
    return len(articles), len(headings), len(deletes)
