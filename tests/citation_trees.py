"""The XML tree of a drawn citation.

Elements stand in the DTD's order and, between them, what the tables leave out and a hasty reader could take for what
they hold.
"""

from dataclasses import dataclass, field
from datetime import date


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
