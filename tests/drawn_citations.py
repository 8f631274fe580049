"""Citations drawn from the structure of NLM's PubMed DTD (2019 to 2025), as models: dicts of plain values."""

from datetime import date

from hypothesis import strategies as st

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
