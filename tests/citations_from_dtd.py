"""Citations drawn from the structure of NLM's PubMed DTD (2019 to 2025), and XML written in every way that is the same.

A model is a dict of plain values. ``element_of`` gives its XML tree, with elements in the DTD's order and, between
them, what the tables leave out and a hasty reader could take for what they hold. ``row_of`` and ``headings_of`` say
what the tables hold, from the model alone. ``serialised`` writes a tree as bytes; what a ``Style`` changes must not
matter to any reader.
"""

import gzip
import random
import re
from dataclasses import dataclass, field
from datetime import date

from hypothesis import strategies as st

# ---- trees


@dataclass
class Element:
    tag: str
    attributes: dict = field(default_factory=dict)
    content: list = field(default_factory=list)  # of str and Element
    mixed: bool = False  # may hold text: then white space is not free


def element(tag, *content, **attributes):
    """An element of elements; None in ``content`` or ``attributes`` is left out."""
    flat = []
    for part in content:
        flat += part if isinstance(part, list) else [part]
    kept = {name.rstrip("_"): value for name, value in attributes.items() if value is not None}
    return Element(tag, kept, [part for part in flat if part is not None])


def leaf(tag, *content, **attributes):
    """An element with text."""
    made = element(tag, *content, **attributes)
    made.mixed = True
    return made


def inline(tag, parts, **attributes):
    """An element whose text has markup: ``parts`` are strings and (tag, parts)."""
    return leaf(tag, *map(markup, parts), **attributes)


def markup(part):
    if isinstance(part, str):
        return part
    tag, parts = part
    if tag == "mml:math":
        rows = [leaf("mml:mi", *map(markup, parts)), leaf("mml:mo", "="), leaf("mml:mn", "2")]
        return leaf(tag, "\n  ", leaf("mml:mrow", *rows), " ", xmlns_mml="http://www.w3.org/1998/Math/MathML")
    return inline(tag, parts)


def letters(parts):
    """The text of ``parts`` with that of their markup."""
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif part[0] == "mml:math":
            found.append("\n  " + letters(part[1]) + "=2 ")
        else:
            found.append(letters(part[1]))
    return "".join(found)


def plain(parts):
    """As the tables hold it."""
    return squeezed(letters(parts))


def squeezed(string):
    return re.sub("[ \t\r\n]+", " ", string).strip(" ") or None


# ---- what is drawn

FRAGMENTS = [
    *("a", "Word", "two words", "κ", "é", "𝒳", "😀", "e\u0301", "ﬁ", "\u4e2d\u6587"),
    *(" ", "  ", "\n", "\t", "\r", "\r\n", " \n ", "\u00a0", "\u2009", "\u3000", "\u2028", "\x85", "\u200b"),
    *("<", ">", "&", "'", '"', "]]>", "]]", "]", "-->", "<!--", "<?", "?>", "<![CDATA[", "/>", "=", "--"),
    *("&lt;", "&amp;lt;i&amp;gt;", "&#60;", "&nosuch;", "<i>", "</i>", "&#x26;#60;"),
    *("<PMID>999</PMID>", "</PubmedArticle>", "<PubmedArticle>", "</PubmedArticleSet>", "</ArticleTitle>", "PMID"),
    *("0", "10.1000/x<y>", "2 < 3 > 1", "P<0.05", "\x7f", "\x9f", "\ufffd", "\ue000", "\ud7ff", "\U0010fffd"),
]
LEGAL = st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
    lambda character: character >= " " or character in "\t\n\r"
)
words = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from(FRAGMENTS), st.text(LEGAL, max_size=4)), max_size=3
).map("".join)
named = st.sampled_from(["Alpha", "O'Neil & Sons", "Gr\u00f8nvold", ' "quoted" ', "a\n b", "x>y", "", " ", "κ\u00a0λ"])
phrases = st.recursive(
    st.lists(words, max_size=2),
    lambda inner: st.lists(
        st.one_of(words, st.tuples(st.sampled_from(["i", "b", "u", "sup", "sub", "mml:math"]), inner)), max_size=3
    ),
    max_leaves=4,
)
pmids = st.one_of(st.integers(1, 40_000_000), st.sampled_from([1, 9, 2**31 - 1]))
uis = st.sampled_from(["D000001", "D000818", "D006801", "D016428", "D099999", "C000657245"])


def maybe(strategy):
    return st.one_of(st.none(), strategy, strategy)


@st.composite
def publication_dates(draw):
    """(parts of PubDate, first day, precision)."""
    year = draw(st.integers(1781, 2030))
    month = draw(st.integers(1, 12))
    day = draw(st.integers(1, 28))
    short = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month - 1]
    written = draw(st.sampled_from([short, f"{month:02}", str(month)]))
    season, first_month = draw(
        st.sampled_from([("Winter", 1), ("Spring", 4), ("Summer", 7), ("Fall", 10), ("Autumn", 10)])
    )
    quarter = draw(st.integers(1, 4))
    nth = f"{quarter}{('st', 'nd', 'rd', 'th')[quarter - 1]}"
    ranged = date(year, month, 1), "month"
    return draw(
        st.sampled_from(
            [
                ([("Year", f"{year}")], date(year, 1, 1), "year"),
                ([("Year", f"{year}"), ("Month", written)], *ranged),
                ([("Year", f"{year}"), ("Month", written), ("Day", f"{day}")], date(year, month, day), "day"),
                ([("Year", f"{year}"), ("Month", written), ("Day", f"{day:02}")], date(year, month, day), "day"),
                ([("Year", "1979"), ("Month", "Feb"), ("Day", "30")], date(1979, 2, 1), "month"),
                ([("Year", "1900"), ("Month", "02"), ("Day", "29")], date(1900, 2, 1), "month"),
                ([("Year", "2000"), ("Month", "02"), ("Day", "29")], date(2000, 2, 29), "day"),
                ([("Year", f"{year}"), ("Season", season)], date(year, first_month, 1), "season"),
                ([("MedlineDate", f"{year} {short}-{year + 1} Jan")], *ranged),
                ([("MedlineDate", f"{year} {short}-Dec")], *ranged),
                ([("MedlineDate", f"{year} {short} {day}-30")], date(year, month, day), "day"),
                ([("MedlineDate", f"{year} {short} {day}-Dec 31")], date(year, month, day), "day"),
                ([("MedlineDate", f"{year}-{year + 1}")], date(year, 1, 1), "year"),
                ([("MedlineDate", f"{year}-{year + 1} {season}")], date(year, 1, 1), "year"),
                ([("MedlineDate", f"{year} {season}-Winter")], date(year, first_month, 1), "season"),
                ([("MedlineDate", f"{season}-Winter {year}")], date(year, first_month, 1), "season"),
                ([("MedlineDate", f"{year} {nth} Quarter")], date(year, 3 * quarter - 2, 1), "quarter"),
                ([("MedlineDate", "Summer-Fall")], None, None),
                ([("MedlineDate", "")], None, None),
            ]
        )
    )


orcids = st.sampled_from(
    [
        ("0000-0002-1825-0097", "0000-0002-1825-0097"),
        ("http://orcid.org/0000-0002-1825-0097", "0000-0002-1825-0097"),
        ("https://orcid.org/0000-0002-1694-233X", "0000-0002-1694-233X"),
        ("000000021694233x", "0000-0002-1694-233X"),
        (" 0000 0002 1825 0097\n", "0000-0002-1825-0097"),
        ("https://orcid.org/0000-0002-1825-0097/", "0000-0002-1825-0097"),
        ("0000-0002-1825-009", "0000-0002-1825-009"),
        ("unknown", "unknown"),
        ("", None),
    ]
)
authors = st.fixed_dictionaries(
    {
        "collective": maybe(phrases),
        "last": phrases,
        "fore": maybe(words),
        "initials": maybe(named),
        "suffix": maybe(st.sampled_from([["Jr"], ["2", ("sup", ["nd"])]])),
        "orcids": st.lists(orcids, max_size=2),
        "other_id": st.booleans(),
        "affiliations": st.lists(phrases, max_size=2),
        "valid": st.sampled_from(["Y", "N", None]),
    }
)
flags = st.sampled_from(["Y", "N", None])
headings = st.fixed_dictionaries(
    {
        "ui": uis,
        "name": named,
        "major": flags,
        "type": st.sampled_from([None, "Geographic"]),
        "qualifiers": st.lists(
            st.tuples(st.sampled_from(["Q000001", "Q000628"]), flags, st.sampled_from(["use", ""])), max_size=2
        ),
    }
)
days = st.dates(date(1781, 1, 1), date(2030, 12, 31))
reference_lists = st.recursive(
    st.fixed_dictionaries(
        {
            "references": st.lists(
                st.lists(st.tuples(st.sampled_from(["pubmed", "doi", "pmc", "pmcid"]), maybe(pmids)), max_size=2),
                max_size=2,
            ),
            "lists": st.just([]),
        }
    ),
    lambda inner: st.fixed_dictionaries(
        {"references": st.just([[("pubmed", 7)]]), "lists": st.lists(inner, max_size=2)}
    ),
    max_leaves=3,
)
sections = st.lists(
    st.tuples(
        maybe(named),
        st.sampled_from([None, "BACKGROUND", "METHODS", "UNASSIGNED", ""]),
        phrases,
    ),
    max_size=3,
)
LOOK_ALIKES = [
    *("grants", "banks", "investigators", "subjects", "other_abstract", "note", "pages", "history", "objects"),
    *("genes", "mission", "interest", "other_id", "citations_elsewhere", "subset", "counted", "journal_extras"),
]
look_alikes = st.sets(st.sampled_from(LOOK_ALIKES), max_size=4)
publication_types = st.lists(
    st.sampled_from(
        [
            ("D016428", "Journal Article"),
            ("D016441", "Retracted Publication"),
            ("D016440", "Retraction of Publication"),
            ("D000075742", "Preprint & <more>"),
            ("D016454", ""),
            ("", ""),
        ]
    ),
    max_size=3,
)
citations = st.fixed_dictionaries(
    {
        "book": st.just(False),
        "pmid": pmids,
        "version": maybe(st.sampled_from([1, 2, 17, 32767])),
        "status": st.sampled_from(["MEDLINE", "Publisher", "In-Process", "PubMed-not-MEDLINE", "OLDMEDLINE"]),
        "title": phrases,
        "vernacular": maybe(phrases),
        "abstract": maybe(sections),
        "copyright": maybe(words),
        "journal": maybe(named),
        "iso": maybe(named),
        "nlm_id": maybe(st.sampled_from(["101234567", " 7501160 ", "0376771A"])),
        "issn": maybe(st.sampled_from(["1234-5678", "0028-4793"])),
        "pubdate": publication_dates(),
        "article_date": maybe(days),
        "completed": maybe(days),
        "revised": maybe(days),
        "languages": st.lists(st.sampled_from(["eng", "fre", "jpn", " und ", ""]), min_size=1, max_size=2),
        "types": publication_types,
        "eids": st.lists(
            st.tuples(st.sampled_from(["doi", "pii"]), st.sampled_from(["10.1/eid<a>", "S0-1(2)", ""])), max_size=2
        ),
        "ids": st.lists(
            st.tuples(
                st.sampled_from(["pubmed", "doi", "pii", "pmc", "pmc", "pmcid", "mid"]),
                st.sampled_from(["10.1000/own&1", "PMC123", "5", "", " 10.1/b ", "10.1/c>d"]),
            ),
            max_size=3,
        ),
        "has_data": st.sampled_from([True, True, False]),
        "keywords": st.lists(st.lists(phrases, max_size=2), max_size=2),
        "authors": maybe(st.lists(authors, max_size=2)),
        "references": st.lists(reference_lists, max_size=2),
        "chemicals": maybe(
            st.lists(st.tuples(uis, named, st.sampled_from(["0", "EC 1.1.1.1", "11103-57-4", ""])), max_size=2)
        ),
        "concepts": maybe(
            st.lists(
                st.tuples(st.sampled_from(["C1", "C538231"]), named, st.sampled_from(["Disease", "Protocol"])),
                max_size=2,
            )
        ),
        "comments": maybe(
            st.lists(
                st.tuples(
                    st.sampled_from(
                        ["CommentIn", "ErratumIn", "RetractionOf", "RetractionIn", "PartialRetractionIn", "Cites"]
                    ),
                    maybe(pmids),
                ),
                max_size=2,
            )
        ),
        "headings": maybe(st.lists(headings, max_size=3)),
        "look_alikes": look_alikes,
    }
)
books = st.fixed_dictionaries(
    {
        "book": st.just(True),
        "pmid": pmids,
        "version": maybe(st.sampled_from([1, 3])),
        "title": maybe(phrases),
        "book_title": phrases,
        "vernacular": maybe(phrases),
        "abstract": maybe(sections),
        "copyright": maybe(words),
        "pubdate": publication_dates(),
        "revised": maybe(days),
        "languages": st.lists(st.sampled_from(["eng", "fre", ""]), max_size=2),
        "types": publication_types,
        "keywords": st.lists(st.lists(phrases, max_size=2), max_size=2),
        "editors": maybe(st.lists(authors, max_size=1)),
        "authors": maybe(st.lists(authors, max_size=2)),
        "type_given": st.booleans(),
        "book_authors": maybe(st.lists(authors, max_size=2)),
        "references": st.lists(reference_lists, max_size=2),
        "has_data": st.sampled_from([True, True, False]),
    }
)
sets = st.fixed_dictionaries(
    {
        "old": st.sampled_from([False, False, False, True]),
        "records": st.lists(st.one_of(citations, citations, books), max_size=4),
        "deletes": maybe(st.lists(st.tuples(pmids, maybe(st.integers(1, 3))), max_size=3)),
    }
)


# ---- from a model to its tree


def tree_of(model):
    """The whole file's."""
    records = [element_of(record, model["old"]) for record in records_of(model)]
    deletes = None
    if model["deletes"] is not None:
        deletes = element(
            "DeleteCitation", [leaf("PMID", str(p), Version=text_or_none(v)) for p, v in model["deletes"]]
        )
    return element("MedlineCitationSet" if model["old"] else "PubmedArticleSet", records, deletes)


def records_of(model):
    """Old files have no books."""
    return [record for record in model["records"] if not (model["old"] and record["book"])]


def text_or_none(value):
    return None if value is None else str(value)


def many(tag, elements, **attributes):
    """A list element, or None where ``elements`` is None."""
    return None if elements is None else element(tag, elements, **attributes)


def element_of(model, old=False):
    if model["book"]:
        return book_element(model)
    extra = model["look_alikes"]
    citation = element(
        "MedlineCitation",
        leaf("PMID", str(model["pmid"]), Version=text_or_none(model["version"])),
        ymd("DateCreated", date(1999, 1, 1)) if old else None,
        ymd("DateCompleted", model["completed"]),
        ymd("DateRevised", model["revised"]),
        article_element(model, old),
        element(
            "MedlineJournalInfo",
            leaf("Country", "England"),
            leaf("MedlineTA", "J Look Alike"),
            leaf("NlmUniqueID", model["nlm_id"]) if model["nlm_id"] else None,
            leaf("ISSNLinking", "9999-9999"),
        ),
        many(
            "ChemicalList",
            model["chemicals"]
            and [
                element(
                    "Chemical",
                    leaf("RegistryNumber", registry),
                    leaf("NameOfSubstance", name, UI=None if old else ui),
                )
                for ui, name, registry in model["chemicals"]
            ],
        ),
        many(
            "SupplMeshList",
            model["concepts"]
            and [leaf("SupplMeshName", name, UI=ui, Type=kind) for ui, name, kind in model["concepts"]],
        ),
        [leaf("CitationSubset", "IM")] if "subset" in extra else None,
        many(
            "CommentsCorrectionsList",
            model["comments"]
            and [
                element(
                    "CommentsCorrections",
                    leaf("RefSource", "J X. 2001 PMID: 12"),
                    leaf("PMID", str(pmid), Version="1") if pmid else None,
                    leaf("Note", "a note"),
                    RefType=kind,
                )
                for kind, pmid in model["comments"]
            ],
        ),
        element("GeneSymbolList", leaf("GeneSymbol", "abc")) if "genes" in extra else None,
        many("MeshHeadingList", model["headings"] and [heading_element(h, old) for h in model["headings"]]),
        leaf("NumberOfReferences", "77") if "counted" in extra else None,
        element("PersonalNameSubjectList", element("PersonalNameSubject", *person())) if "subjects" in extra else None,
        leaf("OtherID", "PMC999", Source="NLM") if "other_id" in extra else None,
        element(
            "OtherAbstract",
            leaf("AbstractText", "not this one", Label="NOT"),
            leaf("CopyrightInformation", "c"),
            Type="Publisher",
            Language="spa",
        )
        if "other_abstract" in extra
        else None,
        [
            element("KeywordList", [inline("Keyword", k, MajorTopicYN="N") for k in each], Owner="NOTNLM")
            for each in model["keywords"]
        ],
        inline("CoiStatement", ["No ", ("i", ["Title"]), " interest"]) if "interest" in extra else None,
        leaf("SpaceFlightMission", "Flight 1") if "mission" in extra else None,
        element("InvestigatorList", element("Investigator", *person(), *belongings(), ValidYN="Y"))
        if "investigators" in extra
        else None,
        leaf("GeneralNote", "PMID 5, 2001 Jan", Owner="NLM") if "note" in extra else None,
        Status=model["status"],
        Owner="NLM",
        IndexingMethod="Automated" if "note" in extra else None,
        VersionID="5" if "history" in extra else None,
    )
    if old:
        return citation
    return element("PubmedArticle", citation, data_element(model) if model["has_data"] else None)


def article_element(model, old):
    extra = model["look_alikes"]
    return element(
        "Article",
        element(
            "Journal",
            leaf("ISSN", model["issn"], IssnType="Print") if model["issn"] else None,
            element(
                "JournalIssue",
                [leaf("Volume", "1979"), leaf("Issue", "Winter")] if "journal_extras" in extra else None,
                element("PubDate", [leaf(tag, text) for tag, text in model["pubdate"][0]]),
                CitedMedium="Internet",
            ),
            leaf("Title", model["journal"]) if model["journal"] is not None else None,
            leaf("ISOAbbreviation", model["iso"]) if model["iso"] is not None else None,
        ),
        inline("ArticleTitle", model["title"]),
        element("Pagination", leaf("StartPage", "1"), leaf("MedlinePgn", "1-9")) if "pages" in extra else None,
        [leaf("ELocationID", text, EIdType=kind, ValidYN="Y") for kind, text in model["eids"]],
        abstract_element(model),
        leaf("Affiliation", "Of the article, in old files") if old and "note" in extra else None,
        many("AuthorList", model["authors"] and [author_element(a, old) for a in model["authors"]], CompleteYN="Y"),
        [leaf("Language", text) for text in model["languages"]],
        element(
            "DataBankList",
            element(
                "DataBank",
                leaf("DataBankName", "GENBANK"),
                element("AccessionNumberList", leaf("AccessionNumber", "A>B")),
            ),
        )
        if "banks" in extra
        else None,
        element(
            "GrantList",
            element(
                "Grant", leaf("GrantID", "5"), leaf("Acronym", "HL"), leaf("Agency", "NHLBI"), leaf("Country", "US")
            ),
            CompleteYN="N",
        )
        if "grants" in extra
        else None,
        element(
            "PublicationTypeList",
            [leaf("PublicationType", name, UI=None if old else ui) for ui, name in model["types"]],
        ),
        inline("VernacularTitle", model["vernacular"]) if model["vernacular"] is not None else None,
        ymd("ArticleDate", model["article_date"], DateType="Electronic"),
        PubModel="Print",
    )


def abstract_element(model):
    if model["abstract"] is None:
        return None
    return element(
        "Abstract",
        [
            inline("AbstractText", parts, Label=label, NlmCategory=category)
            for label, category, parts in model["abstract"]
        ],
        leaf("CopyrightInformation", model["copyright"]) if model["copyright"] is not None else None,
    )


def author_element(author, old=False):
    names = [
        inline("LastName", author["last"]),
        leaf("ForeName", author["fore"]) if author["fore"] is not None else None,
        leaf("Initials", author["initials"]) if author["initials"] is not None else None,
        inline("Suffix", author["suffix"]) if author["suffix"] is not None else None,
    ]
    if author["collective"] is not None:
        names = [inline("CollectiveName", author["collective"])]
    return element(
        "Author",
        names,
        leaf("Identifier", "0000-0009-9999-9999", Source="ISNI") if author["other_id"] else None,
        [leaf("Identifier", given, Source="ORCID") for given, _ in author["orcids"]],
        [
            inline("Affiliation", parts)
            if old
            else element(
                "AffiliationInfo",
                inline("Affiliation", parts),
                leaf("Identifier", "0000-0008-8888-8888", Source="ORCID"),
            )
            for parts in author["affiliations"]
        ],
        ValidYN=author["valid"],
        EqualContrib="Y" if author["other_id"] else None,
    )


def heading_element(heading, old):
    return element(
        "MeshHeading",
        leaf(
            "DescriptorName",
            heading["name"],
            UI=None if old else heading["ui"],
            MajorTopicYN=heading["major"],
            Type=heading["type"],
        ),
        [
            leaf("QualifierName", name, UI=None if old else ui, MajorTopicYN=major)
            for ui, major, name in heading["qualifiers"]
        ],
    )


def data_element(model):
    extra = model["look_alikes"]
    return element(
        "PubmedData",
        history() if "history" in extra else None,
        leaf("PublicationStatus", "ppublish"),
        element("ArticleIdList", [leaf("ArticleId", text, IdType=kind) for kind, text in model["ids"]]),
        element("ObjectList", element("Object", leaf("Param", "10.9/no", Name="doi"), Type="doi"))
        if "objects" in extra
        else None,
        [reference_list(part) for part in model["references"]],
    )


def reference_list(model):
    return element(
        "ReferenceList",
        leaf("Title", "References"),
        [
            element(
                "Reference",
                inline("Citation", ["A. ", ("i", ["Title"]), ". PMID: 3"]),
                element(
                    "ArticleIdList",
                    [leaf("ArticleId", reference_text(kind, number), IdType=kind) for kind, number in ids],
                )
                if ids
                else None,
            )
            for ids in model["references"]
        ],
        [reference_list(part) for part in model["lists"]],
    )


def reference_text(kind, number):
    if number is None:
        return ""
    return str(number) if kind == "pubmed" else f"10.1/{number}"


def book_element(model):
    author_lists = []
    if model["editors"] is not None:
        author_lists.append(element("AuthorList", [author_element(a) for a in model["editors"]], Type="editors"))
    if model["authors"] is not None:
        kind = "authors" if model["type_given"] else None
        author_lists.append(
            element("AuthorList", [author_element(a) for a in model["authors"]], Type=kind, CompleteYN="Y")
        )
    document = element(
        "BookDocument",
        leaf("PMID", str(model["pmid"]), Version=text_or_none(model["version"])),
        element(
            "ArticleIdList",
            leaf("ArticleId", "NBK1", IdType="bookaccession"),
            leaf("ArticleId", "10.9/b", IdType="doi"),
        ),
        element(
            "Book",
            element("Publisher", leaf("PublisherName", "P"), leaf("PublisherLocation", "Here")),
            inline("BookTitle", model["book_title"], book="b"),
            element("PubDate", [leaf(tag, text) for tag, text in model["pubdate"][0]]),
            element("BeginningDate", leaf("Year", "1066")),
            many(
                "AuthorList",
                model["book_authors"] and [author_element(a) for a in model["book_authors"]],
                CompleteYN="Y",
            ),
            element("InvestigatorList", element("Investigator", *person())),
            leaf("CollectionTitle", "A collection"),
            leaf("Isbn", "9780000000000"),
            leaf("ELocationID", "10.9/book", EIdType="doi"),
            leaf("Medium", "Internet"),
        ),
        leaf("LocationLabel", "Chapter 1", Type="chapter"),
        inline("ArticleTitle", model["title"], book="b", part="p") if model["title"] is not None else None,
        inline("VernacularTitle", model["vernacular"]) if model["vernacular"] is not None else None,
        element("Pagination", leaf("MedlinePgn", "1")),
        [leaf("Language", text) for text in model["languages"]],
        author_lists,
        [leaf("PublicationType", name, UI=ui) for ui, name in model["types"]],
        abstract_element(model),
        element(
            "Sections",
            element(
                "Section",
                leaf("LocationLabel", "1"),
                inline("SectionTitle", ["Author ", ("i", ["List"])]),
                element("Section", inline("SectionTitle", ["deeper"])),
            ),
        ),
        [element("KeywordList", [inline("Keyword", k) for k in each]) for each in model["keywords"]],
        ymd("ContributionDate", date(2001, 2, 3)),
        ymd("DateRevised", model["revised"]),
        element("GrantList", element("Grant", leaf("Agency", "x"), leaf("Country", "y")), CompleteYN="Y"),
        element("ItemList", leaf("Item", "an item"), ListType="Synonyms"),
        [reference_list(part) for part in model["references"]],
    )
    data = element(
        "PubmedBookData",
        history(),
        leaf("PublicationStatus", "ppublish"),
        element("ArticleIdList", leaf("ArticleId", "10.9/data", IdType="doi"), leaf("ArticleId", "PMC9", IdType="pmc")),
    )
    return element("PubmedBookArticle", document, data if model["has_data"] else None)


def ymd(tag, day, **attributes):
    if day is None:
        return None
    return element(
        tag,
        leaf("Year", f"{day.year:04}"),
        leaf("Month", f"{day.month:02}"),
        leaf("Day", f"{day.day:02}"),
        **attributes,
    )


def person():
    return [leaf("LastName", "Nobody"), leaf("ForeName", "N"), leaf("Initials", "N"), leaf("Suffix", "Sr")]


def belongings():
    orcid = leaf("Identifier", "0000-0007-7777-7777", Source="ORCID")
    return [orcid, element("AffiliationInfo", leaf("Affiliation", "Nowhere"))]


def history():
    return element(
        "History",
        [
            element(
                "PubMedPubDate",
                *(leaf(tag, text) for tag, text in (("Year", "1900"), ("Month", "1"), ("Day", "2"), ("Hour", "0"))),
                PubStatus=status,
            )
            for status in ("pubmed", "medline")
        ],
    )


# ---- from a model to its rows


def rows_of(model):
    """(articles, headings, deletes) of a whole file, headings and deletes in the tables' order."""
    articles, flat = [], []
    for record in records_of(model):
        row = book_row(record, len(articles)) if record["book"] else row_of(record, len(articles), model["old"])
        articles.append(row)
        flat += headings_of(record, row, model["old"])
    flat.sort(key=lambda h: (h["descriptor_ui"] is None, h["descriptor_ui"] or "", h["position"]))
    deletes = sorted((pmid, 1 if version is None else version) for pmid, version in model["deletes"] or [])
    return articles, flat, [{"pmid": pmid, "version": version} for pmid, version in deletes]


def row_of(model, position, old=False):
    has_data = model["has_data"] and not old
    dois = [text for kind, text in (model["ids"] if has_data else []) + model["eids"] if kind == "doi" and text.strip()]
    pmcs = [text for kind, text in (model["ids"] if has_data else []) if kind == "pmc" and text.strip()]
    comments = [{"type": kind, "pmid": pmid} for kind, pmid in model["comments"] or []]
    types = type_rows(model, old)
    found, precision = model["pubdate"][1:]
    if found is None and model["article_date"] is not None:
        found, precision = model["article_date"], "day"
    return {
        "pmid": model["pmid"],
        "version": model["version"] or 1,
        "position": position,
        "is_book": False,
        "status": model["status"],
        "title": plain(model["title"]),
        "vernacular_title": (model["vernacular"] and plain(model["vernacular"])) or None,
        **abstract_columns(model),
        "journal": squeezed(model["journal"] or ""),
        "journal_iso": squeezed(model["iso"] or ""),
        "nlm_journal_id": squeezed(model["nlm_id"] or ""),
        "issn": model["issn"],
        **date_columns(model, found, precision),
        "date_completed": model["completed"],
        "date_revised": model["revised"],
        "languages": [text.strip() for text in model["languages"] if text],
        "publication_types": types,
        "doi": dois[0].strip() if dois else None,
        "pmc_id": pmcs[0].strip() if pmcs else None,
        "keywords": keyword_rows(model),
        "authors": author_rows(model["authors"]),
        "references": [n for part in model["references"] for n in reference_rows(part)] if has_data else [],
        "chemicals": chemical_rows(model, old),
        "supplementary_concepts": [
            {"ui": ui, "name": squeezed(name), "type": kind} for ui, name, kind in model["concepts"] or []
        ],
        "comments_corrections": comments,
        "retracted": any(c["type"] == "RetractionIn" for c in comments) or is_retracted(types),
        "mesh_headings": [
            {
                "descriptor_ui": None if old else h["ui"],
                "major": h["major"] == "Y",
                "qualifiers": [
                    {"qualifier_ui": None if old else ui, "major": major == "Y"} for ui, major, _ in h["qualifiers"]
                ],
            }
            for h in model["headings"] or []
        ],
    }


def book_row(model, position):
    types = type_rows(model)
    return {
        "pmid": model["pmid"],
        "version": model["version"] or 1,
        "position": position,
        "is_book": True,
        "status": None,
        "title": plain(model["title"] or []) or plain(model["book_title"]),
        "vernacular_title": None,
        **abstract_columns(model),
        "journal": None,
        "journal_iso": None,
        "nlm_journal_id": None,
        "issn": None,
        **date_columns(model, *model["pubdate"][1:]),
        "date_completed": None,
        "date_revised": model["revised"],
        "languages": [text for text in model["languages"] if text],
        "publication_types": types,
        "doi": None,
        "pmc_id": None,
        "keywords": keyword_rows(model),
        # A chapter's own list counts where it has an author, even one of whom nothing is said.
        "authors": author_rows(model["authors"] or model["book_authors"]),
        "references": [n for part in model["references"] for n in reference_rows(part)],
        "chemicals": [],
        "supplementary_concepts": [],
        "comments_corrections": [],
        "retracted": is_retracted(types),
        "mesh_headings": [],
    }


def headings_of(model, row, old=False):
    return [
        {
            "pmid": row["pmid"],
            "version": row["version"],
            "position": row["position"],
            "descriptor_ui": None if old else heading["ui"],
            "descriptor_name": squeezed(heading["name"]),
            "major": "Y" in [heading["major"], *(major for _, major, _ in heading["qualifiers"])],
            "qualifier_uis": [] if old else [ui for ui, _, _ in heading["qualifiers"]],
        }
        for heading in ([] if model["book"] else model["headings"] or [])
    ]


def abstract_columns(model):
    parts = [
        {"label": squeezed(label or ""), "nlm_category": category or None, "text": plain(text) or ""}
        for label, category, text in model["abstract"] or []
    ]
    return {"abstract": " ".join(p["text"] for p in parts if p["text"]) or None, "abstract_sections": parts}


def date_columns(model, found, precision):
    return {
        "publication_date": " ".join(text for _, text in model["pubdate"][0]) or None,
        "published": found,
        "published_precision": precision,
        "year": found.year if found else None,
    }


def type_rows(model, old=False):
    rows = [{"ui": None if old else ui or None, "name": name or None} for ui, name in model["types"]]
    return [row for row in rows if row["ui"] or row["name"]]


def is_retracted(types):
    return any(t["ui"] == "D016441" or t["name"] == "Retracted Publication" for t in types)


def keyword_rows(model):
    return [plain(keyword) for each in model["keywords"] for keyword in each if plain(keyword)]


def chemical_rows(model, old):
    rows = [
        {"ui": None if old else ui, "name": squeezed(name), "registry_number": registry or None}
        for ui, name, registry in model["chemicals"] or []
    ]
    return [row for row in rows if any(row.values())]


def author_rows(models):
    rows = []
    for model in models or []:
        group = model["collective"] is not None
        row = {
            "last_name": None if group else plain(model["last"]),
            "fore_name": None if group else squeezed(model["fore"] or ""),
            "initials": None if group else squeezed(model["initials"] or ""),
            "suffix": None if group else plain(model["suffix"] or []),
            "collective_name": plain(model["collective"]) if group else None,
            "orcid": next((right for _, right in model["orcids"] if right), None),
            "affiliations": [plain(parts) for parts in model["affiliations"] if plain(parts)],
            "valid": model["valid"] != "N",
        }
        if any(value for name, value in row.items() if name != "valid"):
            rows.append(row)
    return rows


def reference_rows(model):
    own = [number for ids in model["references"] for kind, number in ids if kind == "pubmed" and number]
    return own + [number for part in model["lists"] for number in reference_rows(part)]


# ---- from a tree to bytes


@dataclass(frozen=True)
class Style:
    """How a tree is written: the first value of each is the plainest."""

    seed: int = 0
    single_quotes: bool = False
    attribute_order: bool = False
    space_in_tags: bool = False
    long_empties: bool = False
    comments: bool = False
    instructions: bool = False
    cdata: bool = False
    character_references: bool = False
    indented: bool = False
    padded: bool = False
    line_end: str = "\n"
    declaration: str = "full"  # full, none, version
    encoding: str = "utf-8"
    byte_order_mark: bool = False
    doctype: bool = False
    around: bool = False
    packing: str = "plain"  # plain, gzip, members
    filler: int = 0  # bytes of white space and comments, somewhere


styles = st.builds(
    Style,
    seed=st.integers(0, 2**32),
    single_quotes=st.booleans(),
    attribute_order=st.booleans(),
    space_in_tags=st.booleans(),
    long_empties=st.booleans(),
    comments=st.booleans(),
    instructions=st.booleans(),
    cdata=st.booleans(),
    character_references=st.booleans(),
    indented=st.booleans(),
    padded=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    declaration=st.sampled_from(["full", "none", "version"]),
    encoding=st.sampled_from(["utf-8", "utf-8", "UTF-8", "utf-16-le", "utf-16-be", "iso-8859-1", "us-ascii"]),
    byte_order_mark=st.booleans(),
    doctype=st.booleans(),
    around=st.booleans(),
    packing=st.sampled_from(["plain", "gzip", "members"]),
    filler=st.sampled_from([0, 0, 0, 0, 700_000]),
)
COMMENTS = [
    *(" a comment ", "", "</PubmedArticle>", "<PMID Version='1'>999</PMID>", "- ->", "->", "<PubmedArticle>", "]]>"),
    *("<![CDATA[", "&nosuch;", "</PubmedArticleSet>", "<ArticleTitle>no</ArticleTitle>", "<?x", "?>", "<!- ", "a - b"),
    *("</MedlineCitation></PubmedArticle><PubmedArticle><MedlineCitation>", "<!DOCTYPE x>", "'", '"'),
]
INSTRUCTIONS = [
    *(
        "x",
        "xml-stylesheet href='a>b.xsl'",
        "PMID 999",
        "y </PubmedArticle>",
        "z ?",
        "z ??",
        "w <PMID>1</PMID>",
        "v -->",
    ),
    *("u ]]>", "t <![CDATA[", "s <!--", "r &nosuch;", "q > ? >"),
]


class Writer:
    def __init__(self, style):
        self.style = style
        self.random = random.Random(style.seed)
        self.out = []
        self.codec = style.encoding if style.encoding[:3] != "utf" else "utf-8"

    def often(self, flag, share=0.3):
        return flag and self.random.random() < share

    def space(self, needed=True):
        """White space inside a tag."""
        if self.often(self.style.space_in_tags, 0.5):
            return self.random.choice([" ", "  ", "\n", "\t", " \n\t "]).replace("\n", self.style.line_end)
        return " " if needed else ""

    def equal_sign(self):
        return self.space(False) + "=" + self.space(False)

    def element(self, node, depth=0):
        self.out.append(self.opened(node))
        if not node.content and not self.often(self.style.long_empties, 0.5):
            self.out[-1] += "/>"
            return
        self.out[-1] += ">"
        if depth == 0:
            self.out.append(filler(self.style))
        if node.mixed and self.style.padded and not self.in_mixed:
            self.out.append(self.random.choice(["", " ", self.style.line_end + "  "]))
        outer, self.in_mixed = self.in_mixed, self.in_mixed or node.mixed
        for part in node.content:
            self.between(node, depth + 1)
            if isinstance(part, str):
                self.text(part)
            else:
                self.element(part, depth + 1)
        self.between(node, depth)
        self.in_mixed = outer
        if node.mixed and self.style.padded and not self.in_mixed:
            self.out.append(self.random.choice(["", " ", self.style.line_end + "  "]))
        self.out.append(f"</{node.tag}{self.space(False)}>")

    in_mixed = False

    def opened(self, node):
        attributes = list(node.attributes.items())
        if self.style.attribute_order:
            self.random.shuffle(attributes)
        tag = f"<{node.tag}"
        for name, value in attributes:
            written = name.replace("xmlns_", "xmlns:")
            tag += f"{self.space()}{written}{self.equal_sign()}{self.quoted(value)}"
        return tag + self.space(False)

    def quoted(self, value):
        quote = "'" if self.often(self.style.single_quotes, 0.5) else '"'
        return quote + "".join(self.character(c, quote + "<&\t\r\n") for c in value) + quote

    def character(self, character, special):
        """As itself, as a reference by name, or by number."""
        by_name = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&apos;", '"': "&quot;"}
        try:
            character.encode(self.codec)
            must = character in special
        except UnicodeEncodeError:
            must = True
        if not must and not self.often(self.style.character_references, 0.1):
            return character
        if character in by_name and self.random.random() < 0.6:
            return by_name[character]
        code = ord(character)
        return self.random.choice([f"&#{code};", f"&#x{code:x};", f"&#x{code:X};", f"&#0{code};", f"&#x00{code:x};"])

    def text(self, string):
        place = 0
        while place < len(string):
            if self.often(self.style.comments or self.style.instructions, 0.05):
                self.aside()
            piece = string[place : place + self.random.randint(1, 9)]
            if self.often(self.style.cdata) and self.fits_cdata(piece):
                self.out.append(f"<![CDATA[{piece.replace(chr(10), self.style.line_end)}]]>")
                place += len(piece)
                continue
            written = self.character(string[place], "<&\r")
            if written == ">" and (self.random.random() < 0.5 or "".join(self.out[-2:]).endswith("]]")):
                written = "&gt;"
            self.out.append(self.style.line_end if written == "\n" else written)
            place += 1

    def fits_cdata(self, piece):
        try:
            piece.encode(self.codec)
        except UnicodeEncodeError:
            return False
        return "]]>" not in piece and "\r" not in piece

    def between(self, node, depth):
        if self.style.indented and not node.mixed:
            self.out.append(self.style.line_end + "  " * depth)
        if self.often(self.style.comments or self.style.instructions, 0.1):
            self.aside()

    def aside(self):
        """A comment, an instruction or an empty CDATA section, whichever the style has."""
        kinds = [self.style.comments and "comment", self.style.instructions and "instruction"]
        kind = self.random.choice([k for k in kinds if k])
        if kind == "comment":
            self.out.append(f"<!--{self.random.choice(COMMENTS)}-->")
        else:
            self.out.append(f"<?{self.random.choice(INSTRUCTIONS)}?>")

    def document(self, root):
        style = self.style
        end = style.line_end
        plain_utf = style.encoding.lower() == "utf-8" or style.encoding.startswith("utf-16")
        name = "utf-16" if style.encoding.startswith("utf-16") else style.encoding
        declaration = "full" if not plain_utf else style.declaration
        if declaration != "none":
            encoding = f"{self.space()}encoding{self.equal_sign()}'{name}'" if declaration == "full" else ""
            self.out.append(f'<?xml{self.space()}version{self.equal_sign()}"1.0"{encoding}{self.space(False)}?>')
        self.outside()
        if style.doctype:
            identifier = self.random.choice(
                [
                    'SYSTEM "https://nowhere.invalid/a.dtd"',
                    "SYSTEM 'https://nowhere.invalid/a>b.dtd'",
                    f'PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN"{end}"https://nowhere.invalid/pubmed.dtd"',
                ]
            )
            self.out.append(f"<!DOCTYPE {root.tag} {identifier}{self.space(False)}>{end}")
            self.outside()
        self.element(root)
        self.outside()
        return "".join(self.out)

    def outside(self):
        if self.style.around:
            self.out.append(self.style.line_end)
            self.out.append(f"<!--{self.random.choice(COMMENTS)}-->{self.style.line_end}")
            self.out.append(f"<?{self.random.choice(INSTRUCTIONS)}?>")


def serialised(root, style=Style()):
    """The bytes of a file."""
    writer = Writer(style)
    written = writer.document(root)
    wide = style.encoding.startswith("utf-16")
    data = written.encode(style.encoding)
    if wide or (style.byte_order_mark and style.encoding.lower() == "utf-8"):
        data = "\ufeff".encode(style.encoding) + data
    return packed(data, style.packing, random.Random(style.seed))


def filler(style):
    """Much white space and comments before the first record, so that pieces of a file end anywhere in the rest."""
    unit = " " * 60 + "\n<!-- > -->"
    return (unit * ((style.filler + style.seed % 300_000) // len(unit))) if style.filler else ""


def packed(data, packing, chance):
    if packing == "plain":
        return data
    if packing == "gzip":
        return gzip.compress(data, chance.choice([0, 1, 6, 9]), mtime=chance.choice([0, 1_600_000_000]))
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 4)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return b"".join(gzip.compress(part, chance.choice([1, 6])) for part in parts)
