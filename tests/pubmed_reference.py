"""A second reading of PubMed XML, written from the schema's text alone: slow, obvious, and sharing no code with it.

``ElementTree`` (expat) reads the file, a plain dict holds a row, and each column has a few lines of its own. What a
citation must have is here too: one that has it not is :class:`BadError`.

Where the schema's text leaves room, this is how it is read:

* attributes are text too: white space as in elements, and what is then empty is null;
* a list of structs loses an element of which every text is null (``<PublicationType/>``); a heading and its
  qualifiers stay whatever they lack; ``qualifier_uis`` holds only those that are there;
* "or else" stands for null, so an empty BookDocument/ArticleTitle gives way to Book/BookTitle;
* a year has four digits; a month is a number or a word that begins an English month's name, of three letters at
  least; a MedlineDate's year may stand after its range ("Spring-Summer 1980" is April 1980);
* a date in DateCompleted or DateRevised needs all three parts;
* the publication type Retracted Publication is known by its UI or, as in old files, by its name.
"""

import gzip
import re
import xml.etree.ElementTree as ET
from datetime import date
from itertools import chain

MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
SEASONS = {"winter": 1, "spring": 4, "summer": 7, "fall": 10, "autumn": 10}
QUARTERS = {"1st": 1, "2nd": 4, "3rd": 7, "4th": 10, "first": 1, "second": 4, "third": 7, "fourth": 10}
MOST = 2**31 - 1


class BadError(ValueError):
    """A citation that cannot be a row. ``pmid`` is None where it cannot be read."""

    def __init__(self, pmid, reason):
        super().__init__(f"PMID {pmid}: {reason}")
        self.pmid = pmid
        self.reason = reason


class WrongFileError(ValueError):
    """Well-formed XML that is no set of citations."""


def read(path):
    """(articles, headings, deletes) of a file, as lists of dicts in the order of the file."""
    articles, headings, deletes = [], [], []
    for row, flat, deleted in records(path):
        articles += [row] if row else []
        headings += flat
        deletes += deleted
    return articles, headings, deletes


def records(path, bad=None):
    """(row or None, its headings, deletes) of each child of the root.

    A bad citation raises; where the list ``bad`` is given, it goes there and is left out, as if it were not there.
    """
    position = 0
    for element in children_of_the_root(path):
        if element.tag == "DeleteCitation":
            yield None, [], [deleted(pmid) for pmid in element.findall("PMID")]
            continue
        try:
            row = book(element, position) if element.tag == "PubmedBookArticle" else article(element, position)
        except BadError as fault:
            if bad is None:
                raise
            bad.append(fault)
            continue
        position += 1
        yield row, [] if row["is_book"] else flat_headings(citation_of(element), row), []


def children_of_the_root(path):
    """Each one complete, and forgotten once the next is asked for."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    allowed = {
        "PubmedArticleSet": ("PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
        "MedlineCitationSet": ("MedlineCitation", "DeleteCitation"),
        "PubmedBookArticleSet": ("PubmedBookArticle",),
    }
    depth, root, last = 0, None, None
    with gzip.open(path) if zipped else path.open("rb") as stream:
        for event, element in ET.iterparse(stream, events=("start", "end")):
            depth += 1 if event == "start" else -1
            if (event, depth) in {("start", 2), ("end", 0)}:
                # Only now is the text before this tag complete.
                before = root.text if last is None else last.tail
                if squeezed(before):
                    raise WrongFileError(f"text in {root.tag}: {before}")
            if event == "start" and depth == 1:
                root = element
                if root.tag not in allowed:
                    raise WrongFileError(f"the root is {root.tag}")
            elif event == "start" and depth == 2 and element.tag not in allowed[root.tag]:
                raise WrongFileError(f"{element.tag} in {root.tag}")
            elif event == "end" and depth == 1:
                yield element
                last = element
                root.clear()


# ---- text and numbers


def squeezed(string):
    """Runs of XML white space as one space, none at the ends; None where nothing is left."""
    words = re.split("[ \t\r\n]+", string or "")
    return " ".join(word for word in words if word) or None


def text(element):
    return None if element is None else squeezed("".join(element.itertext()))


def attribute(element, name):
    return squeezed(element.attrib.get(name))


def first(element, path):
    """The text of the first element at ``path``, a step of which takes the first child of that name."""
    for step in path.split("/"):
        element = None if element is None else element.find(step)
    return text(element)


def number(string):
    """A PMID: ASCII digits only, 1 to 2^31-1. None where it is none."""
    if string is None or not re.fullmatch("[0-9]+", string):
        return None
    return int(string) if 1 <= int(string) <= MOST else None


def pmid_and_version(citation):
    element = citation.find("PMID")
    if element is None:
        raise BadError(None, "no PMID")
    pmid = number(text(element))
    if pmid is None:
        raise BadError(None, f"a PMID that is no number: {text(element)}")
    version = element.attrib.get("Version", "1").strip(" \t\r\n")
    if not re.fullmatch("[0-9]+", version) or not 1 <= int(version) <= 32767:
        raise BadError(pmid, f"a version that is none: {version}")
    return pmid, int(version)


def deleted(element):
    holder = ET.Element("holder")
    holder.append(element)
    pmid, version = pmid_and_version(holder)
    return {"pmid": pmid, "version": version}


# ---- dates


def month_number(word):
    if word is None:
        return None
    if re.fullmatch("[0-9]{1,2}", word):
        return int(word) if 1 <= int(word) <= 12 else None
    for place, name in enumerate(MONTHS):
        if len(word) >= 3 and name.startswith(word.lower()):
            return place + 1
    return None


def year_number(word):
    return int(word) if word and re.fullmatch("[0-9]{4}", word) and int(word) else None


def day_of(year, month, word):
    """The date, or None where ``word`` is no day of that month."""
    if word is None or not re.fullmatch("[0-9]{1,2}", word):
        return None
    try:
        return date(year, month, int(word))
    except ValueError:
        return None


def dated(year, month, day):
    """(first day, precision) of a year, a month's word and a day's; (None, None) without a year."""
    if year is None:
        return None, None
    if month is None:
        return date(year, 1, 1), "year"
    whole = day_of(year, month, day)
    return (whole, "day") if whole else (date(year, month, 1), "month")


def published(pubdate, article_date):
    found = None, None
    if pubdate is not None:
        year, season = year_number(first(pubdate, "Year")), first(pubdate, "Season")
        month = month_number(first(pubdate, "Month"))
        if year and month is None and season and leading_season(season):
            found = date(year, leading_season(season), 1), "season"
        elif year:
            found = dated(year, month, first(pubdate, "Day"))
        elif first(pubdate, "MedlineDate"):
            found = medline_date(first(pubdate, "MedlineDate"))
    if found[0] is None and article_date is not None:
        found = dated(
            year_number(first(article_date, "Year")),
            month_number(first(article_date, "Month")),
            first(article_date, "Day"),
        )
    return found


def leading_season(string):
    """The month of "Summer", and of "Summer-Fall"."""
    return SEASONS.get(re.split("[-–/]", string)[0].strip().lower())


def medline_date(string):
    years = re.findall("(?<![0-9])[0-9]{4}(?![0-9])", string)
    year = year_number(years[0]) if years else None
    if year is None:
        return None, None
    words = re.split("[-–/]", string)[0].split()
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else None
        if not word.isdigit() and month_number(word):
            return dated(year, month_number(word), following)
        if word.lower() in SEASONS:
            return date(year, SEASONS[word.lower()], 1), "season"
        if word.lower() in QUARTERS and (following or "").lower() == "quarter":
            return date(year, QUARTERS[word.lower()], 1), "quarter"
    return date(year, 1, 1), "year"


def as_given(pubdate):
    parts = {}
    for part in pubdate if pubdate is not None else []:
        parts.setdefault(part.tag, text(part))
    return " ".join(part for part in parts.values() if part) or None


def full_date(citation, tag, pmid):
    element = citation.find(tag)
    if element is None:
        return None
    year, month = year_number(first(element, "Year")), month_number(first(element, "Month"))
    day = day_of(year, month, first(element, "Day")) if year and month else None
    if day is None:
        raise BadError(pmid, f"a {tag} that is no date")
    return day


# ---- the parts of a record


def citation_of(record):
    return record if record.tag == "MedlineCitation" else record.find("MedlineCitation")


def children(element, path):
    """All elements of the last step of ``path``, in the first of each step before it."""
    *steps, last = path.split("/")
    for step in steps:
        element = None if element is None else element.find(step)
    return [] if element is None else element.findall(last)


def texts(elements):
    return [found for found in map(text, elements) if found]


def worth_keeping(rows):
    """Without those in which all texts are null and all lists are empty."""
    return [row for row in rows if any(value for value in row.values() if not isinstance(value, bool))]


def sections(holder):
    return [
        {
            "label": attribute(part, "Label"),
            "nlm_category": attribute(part, "NlmCategory"),
            "text": text(part) or "",
        }
        for part in children(holder, "Abstract/AbstractText")
    ]


def authors(author_list):
    rows = []
    for author in author_list.findall("Author") if author_list is not None else []:
        identifiers = [i for i in author.findall("Identifier") if attribute(i, "Source") == "ORCID"]
        affiliations = []
        for child in author:
            if child.tag == "AffiliationInfo":
                affiliations.append(first(child, "Affiliation"))
            elif child.tag == "Affiliation":
                affiliations.append(text(child))
        rows.append(
            {
                "last_name": first(author, "LastName"),
                "fore_name": first(author, "ForeName"),
                "initials": first(author, "Initials"),
                "suffix": first(author, "Suffix"),
                "collective_name": first(author, "CollectiveName"),
                "orcid": next(map(orcid, texts(identifiers)), None),
                "affiliations": [found for found in affiliations if found],
                "valid": attribute(author, "ValidYN") != "N",
            }
        )
    return worth_keeping(rows)


def orcid(given):
    """The last of 16 digits may be an X."""
    digits = "".join(character for character in given if character in "0123456789")
    letters = re.sub("[^0-9A-Za-z]", "", given)
    if len(digits) == 15 and letters[-1] in "Xx":
        digits += "X"
    if len(digits) != 16:
        return given
    return "-".join(digits[start : start + 4] for start in (0, 4, 8, 12))


def publication_types(elements):
    return worth_keeping([{"ui": attribute(e, "UI"), "name": text(e)} for e in elements])


def references(holder, pmid):
    """Of all ReferenceLists of ``holder``, and of those in them, in the order of the file."""
    found, waiting = [], list(reversed(holder.findall("ReferenceList"))) if holder is not None else []
    while waiting:
        element = waiting.pop()
        if element.tag == "ReferenceList":
            waiting += [e for e in reversed(element) if e.tag in ("ReferenceList", "Reference")]
            continue
        for part in children(element, "ArticleIdList/ArticleId"):
            if attribute(part, "IdType") == "pubmed" and text(part):
                if number(text(part)) is None:
                    raise BadError(pmid, f"a reference's PMID that is no number: {text(part)}")
                found.append(number(text(part)))
    return found


def comments(citation, pmid):
    rows = []
    for part in children(citation, "CommentsCorrectionsList/CommentsCorrections"):
        given = first(part, "PMID")
        if given and number(given) is None:
            raise BadError(pmid, f"a comment's PMID that is no number: {given}")
        rows.append({"type": attribute(part, "RefType"), "pmid": number(given)})
    return worth_keeping(rows)


def mesh_headings(citation, pmid):
    rows = []
    for heading in children(citation, "MeshHeadingList/MeshHeading"):
        name = heading.find("DescriptorName")
        if name is None:
            raise BadError(pmid, "a MeshHeading without DescriptorName")
        rows.append(
            {
                "descriptor_ui": attribute(name, "UI"),
                "major": attribute(name, "MajorTopicYN") == "Y",
                "qualifiers": [
                    {"qualifier_ui": attribute(q, "UI"), "major": attribute(q, "MajorTopicYN") == "Y"}
                    for q in heading.findall("QualifierName")
                ],
            }
        )
    return rows


def flat_headings(citation, row):
    flat = []
    names = [h.find("DescriptorName") for h in children(citation, "MeshHeadingList/MeshHeading")]
    for heading, name in zip(row["mesh_headings"], names, strict=True):
        flat.append(
            {
                "pmid": row["pmid"],
                "version": row["version"],
                "position": row["position"],
                "descriptor_ui": heading["descriptor_ui"],
                "descriptor_name": text(name),
                "major": heading["major"] or any(q["major"] for q in heading["qualifiers"]),
                "qualifier_uis": [q["qualifier_ui"] for q in heading["qualifiers"] if q["qualifier_ui"]],
            }
        )
    return flat


def is_retracted(comments_corrections, types):
    return any(c["type"] == "RetractionIn" for c in comments_corrections) or any(
        t["ui"] == "D016441" or t["name"] == "Retracted Publication" for t in types
    )


def of_type(elements, name, wanted):
    """The texts of those elements whose attribute ``name`` is ``wanted``."""
    return texts(e for e in elements if attribute(e, name) == wanted)


# ---- the two kinds of record


def article(record, position):
    citation = citation_of(record)
    if citation is None:
        raise BadError(None, "no MedlineCitation")
    pmid, version = pmid_and_version(citation)
    inner = citation.find("Article")
    if inner is None:
        raise BadError(pmid, "no Article")
    data = record.find("PubmedData")
    ids = children(data, "ArticleIdList/ArticleId")
    pubdates = children(inner, "Journal/JournalIssue/PubDate")
    pubdate = pubdates[0] if pubdates else None
    day, precision = published(pubdate, inner.find("ArticleDate"))
    parts = sections(inner)
    types = publication_types(children(inner, "PublicationTypeList/PublicationType"))
    corrections = comments(citation, pmid)
    dois = of_type(ids, "IdType", "doi") + of_type(inner.findall("ELocationID"), "EIdType", "doi")
    return {
        "pmid": pmid,
        "version": version,
        "position": position,
        "is_book": False,
        "status": attribute(citation, "Status"),
        "title": first(inner, "ArticleTitle"),
        "vernacular_title": first(inner, "VernacularTitle"),
        "abstract": " ".join(part["text"] for part in parts if part["text"]) or None,
        "abstract_sections": parts,
        "journal": first(inner, "Journal/Title"),
        "journal_iso": first(inner, "Journal/ISOAbbreviation"),
        "nlm_journal_id": first(citation, "MedlineJournalInfo/NlmUniqueID"),
        "issn": first(inner, "Journal/ISSN"),
        "publication_date": as_given(pubdate),
        "published": day,
        "published_precision": precision,
        "year": day.year if day else None,
        "date_completed": full_date(citation, "DateCompleted", pmid),
        "date_revised": full_date(citation, "DateRevised", pmid),
        "languages": texts(inner.findall("Language")),
        "publication_types": types,
        "doi": dois[0] if dois else None,
        "pmc_id": next(iter(of_type(ids, "IdType", "pmc")), None),
        "keywords": texts(word for part in citation.findall("KeywordList") for word in part.findall("Keyword")),
        "authors": authors(inner.find("AuthorList")),
        "references": references(data, pmid),
        "chemicals": worth_keeping(
            [
                {
                    "ui": attribute(part.find("NameOfSubstance"), "UI")
                    if part.find("NameOfSubstance") is not None
                    else None,
                    "name": first(part, "NameOfSubstance"),
                    "registry_number": first(part, "RegistryNumber"),
                }
                for part in children(citation, "ChemicalList/Chemical")
            ]
        ),
        "supplementary_concepts": worth_keeping(
            [
                {"ui": attribute(part, "UI"), "name": text(part), "type": attribute(part, "Type")}
                for part in children(citation, "SupplMeshList/SupplMeshName")
            ]
        ),
        "comments_corrections": corrections,
        "retracted": is_retracted(corrections, types),
        "mesh_headings": mesh_headings(citation, pmid),
    }


def book(record, position):
    document = record.find("BookDocument")
    if document is None:
        raise BadError(None, "no BookDocument")
    pmid, version = pmid_and_version(document)
    whole = document.find("Book")
    pubdate = None if whole is None else whole.find("PubDate")
    day, precision = published(pubdate, None)
    parts = sections(document)
    types = publication_types(document.findall("PublicationType"))

    def list_of(holder):
        lists = [] if holder is None else holder.findall("AuthorList")
        return next((part for part in lists if attribute(part, "Type") != "editors"), None)

    own = list_of(document)
    author_list = own if own is not None and own.find("Author") is not None else list_of(whole)

    return {
        "pmid": pmid,
        "version": version,
        "position": position,
        "is_book": True,
        "status": None,
        "title": first(document, "ArticleTitle") or first(whole, "BookTitle"),
        "vernacular_title": None,
        "abstract": " ".join(part["text"] for part in parts if part["text"]) or None,
        "abstract_sections": parts,
        "journal": None,
        "journal_iso": None,
        "nlm_journal_id": None,
        "issn": None,
        "publication_date": as_given(pubdate),
        "published": day,
        "published_precision": precision,
        "year": day.year if day else None,
        "date_completed": None,
        "date_revised": full_date(document, "DateRevised", pmid),
        "languages": texts(document.findall("Language")),
        "publication_types": types,
        "doi": None,
        "pmc_id": None,
        "keywords": texts(word for part in document.findall("KeywordList") for word in part.findall("Keyword")),
        "authors": authors(author_list),
        "references": references(document, pmid),
        "chemicals": [],
        "supplementary_concepts": [],
        "comments_corrections": [],
        "retracted": is_retracted([], types),
        "mesh_headings": [],
    }


# ---- comparison


def assert_equal_to_reference(tables, path, skip_bad=False):
    """Every column of every row of (articles, mesh_headings, deleted); returns how many rows each has.

    Rows are compared as the reference reads them, so that a whole file of NLM's does not stand in memory twice.
    ``skip_bad`` leaves bad citations out of the reading.
    """
    articles, headings, deletes = tables
    flat, gone = [], []

    def rows():
        for row, its_headings, its_deletes in records(path, bad=[] if skip_bad else None):
            gone.extend(its_deletes)
            # Tuples, as hundreds of thousands of them wait for their order.
            flat.extend(tuple(heading.values()) for heading in its_headings)
            if row:
                yield row

    assert_same_rows(articles, rows(), "articles")
    names = ["pmid", "version", "position", "descriptor_ui", "descriptor_name", "major", "qualifier_uis"]
    flat.sort(key=lambda heading: (heading[3] is None, heading[3] or "", heading[2]))
    assert_same_rows(headings, (dict(zip(names, heading, strict=True)) for heading in flat), "mesh_headings")
    gone.sort(key=lambda row: (row["pmid"], row["version"]))
    assert_same_rows(deletes, gone, "deleted")
    return articles.num_rows, headings.num_rows, deletes.num_rows


def assert_same_rows(table, expected, name):
    found = chain.from_iterable(table.slice(start, 500).to_pylist() for start in range(0, table.num_rows, 500))
    number_of_rows = 0
    for row in expected:
        number_of_rows += 1
        other = next(found, None)
        assert other is not None, f"{name} ends after {table.num_rows} rows, before PMID {row['pmid']}"
        if other != row:
            raise AssertionError(f"{name}: {difference(other, row)}")
    extra = next(found, None)
    assert extra is None, f"{name} has {table.num_rows} rows, but {number_of_rows} are right; then PMID {extra['pmid']}"


def difference(found, expected):
    """Where two rows part, and what stands there in each."""
    if found.keys() != expected.keys():
        return f"columns {sorted(found.keys() ^ expected.keys())} are in one of the two only"
    column = next(name for name in expected if found[name] != expected[name])
    one, other, place = found[column], expected[column], column
    while isinstance(one, list | dict) and type(one) is type(other):
        if isinstance(one, list):
            step = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
            if step is None:
                place, one, other = f"{place}: number of elements", len(one), len(other)
                break
        else:
            step = next(name for name in other if one.get(name) != other[name])
        place, one, other = f"{place}[{step}]", one[step], other[step]
    if isinstance(one, str) and isinstance(other, str):
        start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        start = max(0, start - 30)
        one, other = one[start : start + 90], other[start : start + 90]
    return f"PMID {expected['pmid']}, row {expected.get('position')}, {place}: {one!r} was read, {other!r} is right"
