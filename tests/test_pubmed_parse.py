"""PubMed XML to tables: records made nasty on purpose, and slices of NLM's own files."""

import gzip
from datetime import date

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.pubmed.parse import parse_pubmed_file
from nlm_records import NOTED, slice_of
from pubmed_reference import assert_equal_to_reference
from pubmed_tables import parsed

# What a test gives stands where the DTD has it, or where no reader should mind.
RECORD = """<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID>
<Article PubModel="Print"><Journal><JournalIssue CitedMedium="Print"><PubDate>{date}</PubDate></JournalIssue>
<Title>A journal</Title></Journal><ArticleTitle>{title}</ArticleTitle>{abstract}{article}<Language>eng</Language>
<PublicationTypeList><PublicationType UI="{publication_type}">Journal Article</PublicationType></PublicationTypeList></Article>
{more}</MedlineCitation><PubmedData><ArticleIdList>{ids}</ArticleIdList>{references}</PubmedData></PubmedArticle>"""


def record(
    pmid=1,
    title="T",
    abstract="",
    date="<Year>2001</Year>",
    article="",
    more="",
    ids="",
    references="",
    publication_type="D016428",
):
    return RECORD.format(**locals())


def write(tmp_path, *records, name="pubmed99n0001.xml.gz", head='<?xml version="1.0"?>\n', root="PubmedArticleSet"):
    path = tmp_path / name
    xml = f"{head}<{root}>\n{chr(10).join(records)}\n</{root}>".encode()
    path.write_bytes(gzip.compress(xml) if name.endswith(".gz") else xml)
    return path


def read(path):
    """The tables, which are those of the reference too."""
    tables = parsed(path, path.parent / "out")
    assert_equal_to_reference(tables, path)
    return tables


def only(tmp_path, **parts):
    return read(write(tmp_path, record(**parts)))[0].to_pylist()[0]


def test_inline_markup_keeps_its_text_and_spaces(tmp_path):
    assert only(tmp_path, title="<i>A</i> <i>B</i>: TiO<sub>x</sub> at 10<sup>-3</sup>")["title"] == "A B: TiOx at 10-3"
    assert only(tmp_path, title="<b>nested <i>NF-<sub>κ</sub>B</i></b> rest")["title"] == "nested NF-κB rest"


def test_mathml_and_line_breaks_become_single_spaces(tmp_path):
    math = '<mml:math xmlns:mml="urn:m">\n <mml:mi>R</mml:mi>\n\t<mml:mo>=</mml:mo> <mml:mn>2</mml:mn></mml:math>'
    assert only(tmp_path, title=f"where\r\n{math} held")["title"] == "where R = 2 held"


def test_spaces_that_are_not_xml_white_space_stay(tmp_path):
    assert only(tmp_path, title="10\u00a0mg \u2009x")["title"] == "10\u00a0mg \u2009x"


def test_entities_are_decoded_once(tmp_path):
    row = only(tmp_path, title="P &lt; 0.05 &amp;lt;i&amp;gt; &#954;")
    assert row["title"] == "P < 0.05 &lt;i&gt; κ"


def test_comments_and_processing_instructions_leave_no_text(tmp_path):
    assert only(tmp_path, title="one<!-- not this --> two<?nor this?>!")["title"] == "one two!"


def test_sections_are_joined_without_labels(tmp_path):
    abstract = (
        '<Abstract><AbstractText Label="A &amp; B" NlmCategory="METHODS">First.</AbstractText>'
        "<AbstractText/><AbstractText>Last.</AbstractText></Abstract>"
    )
    row = only(tmp_path, abstract=abstract)
    assert row["abstract"] == "First. Last."
    assert row["abstract_sections"] == [
        {"label": "A & B", "nlm_category": "METHODS", "text": "First."},
        {"label": None, "nlm_category": None, "text": ""},
        {"label": None, "nlm_category": None, "text": "Last."},
    ]


def test_empty_and_missing_texts_are_null(tmp_path):
    row = only(tmp_path, title="", abstract="<Abstract><AbstractText> </AbstractText></Abstract>")
    assert row["title"] is None
    assert row["abstract"] is None
    assert only(tmp_path, more="<OtherAbstract><AbstractText>x</AbstractText></OtherAbstract>")["abstract"] is None


DATE_WORDS = [
    *(
        "2004",
        "0000",
        "1",
        "12",
        "13",
        "31",
        "Mar",
        "mar.",
        "Sept",
        "May-Jun",
        "Spring",
        "Fall",
        "1st",
        "Quarter",
        "3d",
    ),
    *("-", "/", "\u2013", " ", ",", "", "\u0662\u0660\u0660\u0664", "20045"),
]
date_texts = st.lists(st.sampled_from(DATE_WORDS), max_size=5).flatmap(
    lambda words: st.sampled_from(["", " "]).map(lambda space: space.join(words))
)


def date_parts(*tags):
    return st.lists(st.tuples(st.sampled_from(tags), date_texts), max_size=3).map(
        lambda parts: "".join(f"<{tag}>{text}</{tag}>" for tag, text in parts)
    )


issues, online = date_parts("Year", "Month", "Day", "Season", *["MedlineDate"] * 3), date_parts("Year", "Month", "Day")


@given(dates=st.lists(st.tuples(issues, online), min_size=40, max_size=40))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_whatever_a_date_says(tmp_path_factory, dates):
    folder = tmp_path_factory.mktemp("dates")
    records = [
        record(pmid, date=issue, article=f"<ArticleDate>{electronic}</ArticleDate>")
        for pmid, (issue, electronic) in enumerate(dates, start=1)
    ]
    path = write(folder, *records)
    assert_equal_to_reference(parsed(path, folder), path)


ONLINE = '<ArticleDate DateType="Electronic"><Year>2021</Year><Month>06</Month><Day>08</Day></ArticleDate>'


@pytest.mark.parametrize(
    ("given", "as_given", "first_day", "precision"),
    [
        ("<Year>1979</Year>", "1979", date(1979, 1, 1), "year"),
        ("<Year>1979</Year><Month>Nov</Month>", "1979 Nov", date(1979, 11, 1), "month"),
        ("<Year>2021</Year><Month>06</Month><Day>8</Day>", "2021 06 8", date(2021, 6, 8), "day"),
        ("<Year>1979</Year><Month>Feb</Month><Day>30</Day>", "1979 Feb 30", date(1979, 2, 1), "month"),
        ("<Year>2000</Year><Month>Feb</Month><Day>29</Day>", "2000 Feb 29", date(2000, 2, 29), "day"),
        ("<Year>1979</Year><Season>Winter</Season>", "1979 Winter", date(1979, 1, 1), "season"),
        ("<Year>1979</Year><Season>Spring</Season>", "1979 Spring", date(1979, 4, 1), "season"),
        ("<Year>1979</Year><Season>Summer</Season>", "1979 Summer", date(1979, 7, 1), "season"),
        ("<Year>1979</Year><Season>Fall</Season>", "1979 Fall", date(1979, 10, 1), "season"),
        ("<Year>1979</Year><Season>Autumn</Season>", "1979 Autumn", date(1979, 10, 1), "season"),
        ("<MedlineDate>1979 Nov-1980 May</MedlineDate>", "1979 Nov-1980 May", date(1979, 11, 1), "month"),
        ("<MedlineDate>1979 Jan-Feb</MedlineDate>", "1979 Jan-Feb", date(1979, 1, 1), "month"),
        ("<MedlineDate>2021 Jun-Jul 15</MedlineDate>", "2021 Jun-Jul 15", date(2021, 6, 1), "month"),
        ("<MedlineDate>1979 Dec 28-Jan 4</MedlineDate>", "1979 Dec 28-Jan 4", date(1979, 12, 28), "day"),
        ("<MedlineDate>1979 Apr 21-30</MedlineDate>", "1979 Apr 21-30", date(1979, 4, 21), "day"),
        ("<MedlineDate>1978-1979</MedlineDate>", "1978-1979", date(1978, 1, 1), "year"),
        ("<MedlineDate>1979-1980 Fall</MedlineDate>", "1979-1980 Fall", date(1979, 1, 1), "year"),
        ("<MedlineDate>1979 Fall-Winter</MedlineDate>", "1979 Fall-Winter", date(1979, 10, 1), "season"),
        ("<MedlineDate>2021 3rd Quarter</MedlineDate>", "2021 3rd Quarter", date(2021, 7, 1), "quarter"),
        ("<MedlineDate>Summer-Fall</MedlineDate>", "Summer-Fall", None, None),
        ("<MedlineDate>-2004 Mar</MedlineDate>", "-2004 Mar", date(2004, 1, 1), "year"),
        ("<MedlineDate> / 2000</MedlineDate>", "/ 2000", date(2000, 1, 1), "year"),
    ],
)
def test_dates_as_given_and_as_sorted(tmp_path, given, as_given, first_day, precision):
    row = only(tmp_path, date=given)
    assert (row["publication_date"], row["published"], row["published_precision"]) == (as_given, first_day, precision)
    assert row["year"] == (first_day.year if first_day else None)
    row = only(tmp_path, date=given, article=ONLINE)
    expected = (first_day, precision) if first_day else (date(2021, 6, 8), "day")
    assert (row["publication_date"], row["published"], row["published_precision"]) == (as_given, *expected)


def test_days_of_indexing_and_revision(tmp_path):
    more = """<DateCompleted><Year>1980</Year><Month>02</Month><Day>29</Day></DateCompleted>
    <DateRevised><Year>2019</Year><Month>Jan</Month><Day>1</Day></DateRevised>"""
    row = only(tmp_path, more=more)
    assert (row["date_completed"], row["date_revised"]) == (date(1980, 2, 29), date(2019, 1, 1))
    row = only(tmp_path)
    assert (row["date_completed"], row["date_revised"]) == (None, None)


def test_authors(tmp_path):
    authors = """<AuthorList CompleteYN="Y">
    <Author ValidYN="Y"><LastName>Grøn</LastName><ForeName>Ann B</ForeName><Initials>AB</Initials><Suffix>2<sup>nd</sup></Suffix>
      <Identifier Source="ISNI">0000-0001-0000-0000</Identifier>
      <Identifier Source="ORCID">http://orcid.org/000000021694233x</Identifier>
      <AffiliationInfo><Affiliation>One</Affiliation><Identifier Source="ORCID">0000-0002-0000-0000</Identifier></AffiliationInfo>
      <AffiliationInfo><Affiliation> </Affiliation></AffiliationInfo>
      <AffiliationInfo><Affiliation>Two &amp; three</Affiliation></AffiliationInfo></Author>
    <Author ValidYN="N"><LastName>Gron</LastName><Affiliation>As before 2014</Affiliation></Author>
    <Author><CollectiveName>A <i>Study</i> Group</CollectiveName></Author></AuthorList>"""
    investigators = "<InvestigatorList><Investigator><LastName>Not me</LastName></Investigator></InvestigatorList>"
    rows = only(tmp_path, article=authors, more=investigators)["authors"]
    names = ("last_name", "fore_name", "initials", "suffix", "collective_name", "orcid", "affiliations", "valid")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("Grøn", "Ann B", "AB", "2nd", None, "0000-0002-1694-233X", ["One", "Two & three"], True),
        ("Gron", None, None, None, None, None, ["As before 2014"], False),
        (None, None, None, None, "A Study Group", None, [], True),
    ]


def test_references_are_those_of_all_lists_in_order(tmp_path):
    def reference(pmid):
        return f"""<Reference><Citation>PMID 77</Citation><ArticleIdList><ArticleId IdType="doi">10.1/{pmid}</ArticleId>
        <ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList></Reference>"""

    lists = f"""<ReferenceList><Title>One</Title>{reference(5)}{reference(3)}
    <ReferenceList>{reference(9)}<ReferenceList>{reference(5)}</ReferenceList></ReferenceList></ReferenceList>
    <ReferenceList><Reference><Citation>no id</Citation></Reference>{reference("")}{reference(4)}</ReferenceList>"""
    assert only(tmp_path, references=lists)["references"] == [5, 3, 9, 5, 4]


def test_chemicals_and_supplementary_concepts(tmp_path):
    more = """<ChemicalList><Chemical><RegistryNumber>0</RegistryNumber><NameOfSubstance UI="C1">A, &gt;b</NameOfSubstance></Chemical>
    <Chemical><RegistryNumber>EC 1.1.1.1</RegistryNumber><NameOfSubstance>Old</NameOfSubstance></Chemical></ChemicalList>
    <SupplMeshList><SupplMeshName Type="Disease" UI="C538231">A disease</SupplMeshName></SupplMeshList>"""
    row = only(tmp_path, more=more)
    assert row["chemicals"] == [
        {"ui": "C1", "name": "A, >b", "registry_number": "0"},
        {"ui": None, "name": "Old", "registry_number": "EC 1.1.1.1"},
    ]
    assert row["supplementary_concepts"] == [{"ui": "C538231", "name": "A disease", "type": "Disease"}]


@pytest.mark.parametrize(
    ("kind", "publication_type", "retracted"),
    [
        ("RetractionIn", "D016428", True),
        ("RetractionOf", "D016440", False),
        ("PartialRetractionIn", "D016428", False),
        ("CommentIn", "D016441", True),
        ("ErratumIn", "D016428", False),
    ],
)
def test_retracted(tmp_path, kind, publication_type, retracted):
    comment = f"""<CommentsCorrectionsList><CommentsCorrections RefType="{kind}"><RefSource>x</RefSource>
    <PMID Version="1">999</PMID></CommentsCorrections><CommentsCorrections RefType="Cites"><RefSource>PMID: 5</RefSource>
    </CommentsCorrections></CommentsCorrectionsList>"""
    row = only(tmp_path, more=comment, publication_type=publication_type)
    assert row["comments_corrections"] == [{"type": kind, "pmid": 999}, {"type": "Cites", "pmid": None}]
    assert row["retracted"] is retracted


BOOK = """<PubmedBookArticle><BookDocument><PMID Version="1">{pmid}</PMID>
<ArticleIdList><ArticleId IdType="doi">10.1/no</ArticleId></ArticleIdList>
<Book><Publisher><PublisherName>P</PublisherName></Publisher><BookTitle>The <i>book</i></BookTitle>
<PubDate><Year>1993</Year></PubDate><AuthorList Type="editors"><Author><LastName>Editor</LastName></Author></AuthorList>
<AuthorList Type="authors"><Author><LastName>Of-the-book</LastName></Author></AuthorList></Book>{title}<Language>eng</Language>
{authors}<PublicationType UI="D016454">Review</PublicationType><Abstract><AbstractText Label="A">x</AbstractText></Abstract>
<KeywordList><Keyword>k</Keyword></KeywordList><ContributionDate><Year>1999</Year></ContributionDate>
<DateRevised><Year>2024</Year><Month>5</Month><Day>6</Day></DateRevised>
<ReferenceList><Reference><ArticleIdList><ArticleId IdType="pubmed">6</ArticleId></ArticleIdList></Reference></ReferenceList>
</BookDocument><PubmedBookData><ArticleIdList><ArticleId IdType="pmc">PMC1</ArticleId></ArticleIdList></PubmedBookData>
</PubmedBookArticle>"""


def test_books_stand_between_articles(tmp_path):
    chapter = "<ArticleTitle>A chapter</ArticleTitle>"
    authors = """<AuthorList Type="editors"><Author><LastName>Series</LastName></Author></AuthorList>
    <AuthorList><Author><LastName>Chapter</LastName></Author></AuthorList>"""
    one, two = BOOK.format(pmid=2, title=chapter, authors=authors), BOOK.format(pmid=3, title="", authors="")
    rows = read(write(tmp_path, record(1), one, two, record(4)))[0].to_pylist()
    assert [(r["pmid"], r["position"], r["is_book"]) for r in rows] == [
        (1, 0, False),
        (2, 1, True),
        (3, 2, True),
        (4, 3, False),
    ]
    assert [r["title"] for r in rows[1:3]] == ["A chapter", "The book"]
    assert [[a["last_name"] for a in r["authors"]] for r in rows[1:3]] == [["Chapter"], ["Of-the-book"]]
    book = rows[1]
    assert (book["published"], book["published_precision"], book["date_revised"]) == (
        date(1993, 1, 1),
        "year",
        date(2024, 5, 6),
    )
    assert (book["abstract"], book["languages"], book["keywords"], book["references"]) == ("x", ["eng"], ["k"], [6])
    assert book["publication_types"] == [{"ui": "D016454", "name": "Review"}]
    assert (book["doi"], book["pmc_id"], book["status"], book["journal"]) == (None, None, None, None)


def test_a_file_from_before_2015(tmp_path):
    """Its records are MedlineCitations; names have no UIs, PMIDs no versions."""
    xml = """<MedlineCitation Owner="NLM" Status="MEDLINE"><PMID>10</PMID><DateCreated><Year>1990</Year><Month>01</Month>
    <Day>02</Day></DateCreated><DateCompleted><Year>1990</Year><Month>03</Month><Day>04</Day></DateCompleted>
    <Article><Journal><ISSN>1234-5678</ISSN><JournalIssue><PubDate><Year>1989</Year><Month>Dec</Month></PubDate></JournalIssue>
    </Journal><ArticleTitle>Old.</ArticleTitle><Affiliation>Of the article</Affiliation><Language>eng</Language>
    <PublicationTypeList><PublicationType>Retracted Publication</PublicationType></PublicationTypeList></Article>
    <ChemicalList><Chemical><RegistryNumber>0</RegistryNumber><NameOfSubstance>Water</NameOfSubstance></Chemical></ChemicalList>
    <MeshHeadingList><MeshHeading><DescriptorName MajorTopicYN="N">Rats</DescriptorName>
    <QualifierName MajorTopicYN="Y">blood</QualifierName></MeshHeading></MeshHeadingList></MedlineCitation>"""
    deletes = "<DeleteCitation><PMID>8</PMID></DeleteCitation>"
    articles, headings, deleted = read(write(tmp_path, xml, deletes, root="MedlineCitationSet"))
    row = articles.to_pylist()[0]
    assert (row["pmid"], row["version"], row["date_completed"], row["published"]) == (
        10,
        1,
        date(1990, 3, 4),
        date(1989, 12, 1),
    )
    assert row["publication_types"] == [{"ui": None, "name": "Retracted Publication"}]
    assert row["retracted"]
    assert row["mesh_headings"] == [
        {"descriptor_ui": None, "major": False, "qualifiers": [{"qualifier_ui": None, "major": True}]}
    ]
    (heading,) = headings.to_pylist()
    assert (heading["descriptor_ui"], heading["descriptor_name"], heading["major"]) == (None, "Rats", True)
    assert deleted.to_pylist() == [{"pmid": 8, "version": 1}]


def test_headings_without_ui_come_last(tmp_path):
    def heading(ui, name):
        given = f'UI="{ui}"' if ui else ""
        return f'<MeshHeadingList><MeshHeading><DescriptorName {given} MajorTopicYN="N">{name}</DescriptorName></MeshHeading></MeshHeadingList>'

    path = write(
        tmp_path, record(1, more=heading("", "b")), record(2, more=heading("D2", "a")), record(3, more=heading("", "a"))
    )
    assert read(path)[1]["pmid"].to_pylist() == [2, 1, 3]


def test_major_topic_on_a_qualifier_counts(tmp_path):
    headings = """<MeshHeadingList>
    <MeshHeading><DescriptorName UI="D000002" MajorTopicYN="N">Two</DescriptorName>
      <QualifierName UI="Q000001" MajorTopicYN="N">q</QualifierName>
      <QualifierName UI="Q000002" MajorTopicYN="Y">r</QualifierName></MeshHeading>
    <MeshHeading><DescriptorName UI="D000001" MajorTopicYN="N">One</DescriptorName></MeshHeading></MeshHeadingList>"""
    articles, flat, _ = read(write(tmp_path, record(more=headings)))
    rows = flat.to_pylist()
    assert [(r["descriptor_ui"], r["descriptor_name"], r["major"], r["qualifier_uis"]) for r in rows] == [
        ("D000001", "One", False, []),
        ("D000002", "Two", True, ["Q000001", "Q000002"]),
    ]
    assert [h["descriptor_ui"] for h in articles.to_pylist()[0]["mesh_headings"]] == ["D000002", "D000001"]


def test_pmids_and_dois_of_others_are_not_taken(tmp_path):
    comment = (
        '<CommentsCorrectionsList><CommentsCorrections RefType="CommentIn"><RefSource>x</RefSource>'
        '<PMID Version="1">999</PMID></CommentsCorrections></CommentsCorrectionsList>'
    )
    references = (
        "<ReferenceList><Reference><ArticleIdList>"
        '<ArticleId IdType="doi">10.1/other</ArticleId></ArticleIdList></Reference></ReferenceList>'
    )
    row = only(tmp_path, pmid=5, more=comment, references=references)
    assert (row["pmid"], row["doi"]) == (5, None)


def test_versions_positions_and_order(tmp_path):
    second = record(pmid=7).replace('Version="1">7', 'Version="2">7')
    third = record(pmid=7).replace(' Version="1"', "")
    rows = read(write(tmp_path, second, record(pmid=9), third))[0].to_pylist()
    assert [(r["pmid"], r["version"], r["position"]) for r in rows] == [(7, 2, 0), (9, 1, 1), (7, 1, 2)]


def test_a_file_with_deletes_only_and_an_empty_set(tmp_path):
    deletes = '<DeleteCitation><PMID Version="1">8</PMID><PMID Version="2">3</PMID></DeleteCitation>'
    tables = read(write(tmp_path, deletes))
    assert [t.num_rows for t in tables] == [0, 0, 2]
    assert tables[2].to_pylist() == [{"pmid": 3, "version": 2}, {"pmid": 8, "version": 1}]
    assert [t.num_rows for t in read(write(tmp_path))] == [0, 0, 0]


def test_plain_xml_and_doctype(tmp_path):
    doctype = '<?xml version="1.0"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "https://nowhere.invalid/pubmed.dtd">\n'
    path = write(tmp_path, record(pmid=3), name="saved.xml", head=doctype)
    assert read(path)[0].to_pylist()[0]["pmid"] == 3


def test_written_tables_carry_the_schema_version(tmp_path):
    outputs = [tmp_path / "out" / name for name in ("a.parquet", "m.parquet", "d.parquet", "q.parquet")]
    counts = parse_pubmed_file(write(tmp_path, record(3), record(1)), *outputs)
    assert (counts["articles"], counts["mesh_headings"], counts["deleted"]) == (2, 0, 0)
    assert pq.read_table(outputs[0])["pmid"].to_pylist() == [3, 1]
    for output in outputs:
        assert pq.read_metadata(output).metadata[b"biohicl.schema"] == b"pubmed-2"


def test_the_sample_equals_the_reference_reading(sample, tmp_path):
    counts = [
        assert_equal_to_reference(parsed(path, tmp_path), path) for path in sorted(sample.glob("pubmed/*/*.xml.gz"))
    ]
    assert sum(articles for articles, _, _ in counts) > 2000
    assert [deletes for _, _, deletes in counts] == [0, 0, 11]


@pytest.mark.parametrize("name", NOTED)
def test_slices_of_nlm_files_equal_the_reference_reading(shared, tmp_path, name):
    source = shared / "data/nlm/pubmed" / f"{name}.xml.gz"
    path = slice_of(source, tmp_path / source.name, 400, NOTED[name])
    tables = parsed(path, tmp_path / "out")
    articles, _, deletes = assert_equal_to_reference(tables, path)
    assert articles >= 400 + len(NOTED[name]) // 2
    assert set(NOTED[name]) <= set(tables[0]["pmid"].to_pylist())
    assert deletes == (20 if "updatefiles" in name else 0)


@pytest.fixture(scope="module")
def noted(shared, tmp_path_factory):
    """The noted records' rows, by PMID; of a PMID with several versions, the list of them."""
    found = {}
    for name, pmids in NOTED.items():
        if not pmids:
            continue
        folder = tmp_path_factory.mktemp("noted")
        source = shared / "data/nlm/pubmed" / f"{name}.xml.gz"
        for row in parsed(slice_of(source, folder / source.name, 0, pmids), folder)[0].to_pylist():
            found.setdefault(row["pmid"], []).append(row)
    return found


def test_noted_texts(noted):
    def of(pmid, column):
        return noted[pmid][0][column]

    assert "TiOx" in of(33404422, "title") + of(33404422, "abstract")
    assert "NF-κB" in of(33183482, "title") + of(33183482, "abstract")
    assert of(32472320, "title") is None
    assert "\n" not in of(34081846, "abstract")
    assert "" in [section["text"] for section in of(31617889, "abstract_sections")]
    assert len(of(31617889, "abstract_sections")) > 1
    assert of(34085931, "abstract") is None
    assert "" not in of(31642788, "keywords")
    assert [section["label"] for section in of(34086428, "abstract_sections")].count(None) > 1
    assert (of(400274, "abstract"), of(400274, "abstract_sections")) == (None, [])


def test_noted_dates(noted):
    def of(pmid):
        row = noted[pmid][0]
        return row["publication_date"], row["published"], row["published_precision"]

    assert of(399696) == ("1979 Nov-1980 May", date(1979, 11, 1), "month")
    assert of(34092911) == ("2021 3rd Quarter", date(2021, 7, 1), "quarter")
    assert of(399332)[2] == "season"


def test_noted_identifiers_and_versions(noted):
    assert [row["version"] for row in noted[30271887]] == [1, 2, 3, 4]
    # The only DOI of the one is an ELocationID; the other's references have DOIs and no PMIDs.
    assert noted[407700][0]["doi"].startswith("10.")
    assert noted[30310913][0]["doi"].startswith("10.")
    assert noted[30310913][0]["references"] == []
    assert noted[17018286][0]["pmid"] not in noted[17018286][0]["references"]
    assert noted[17018286][0]["comments_corrections"] or noted[17018286][0]["references"]


def test_noted_retractions(noted):
    retracted = {pmid: noted[pmid][0]["retracted"] for pmid in (400712, 27602157, 400955, 34082697)}
    assert retracted == {400712: True, 27602157: True, 400955: False, 34082697: False}
    assert "RetractionOf" in [c["type"] for c in noted[34082697][0]["comments_corrections"]]
    assert "RetractionIn" in [c["type"] for c in noted[27602157][0]["comments_corrections"]]


def test_noted_authors_and_headings(noted):
    groups = [a for a in noted[31719001][0]["authors"] if a["collective_name"]]
    assert groups
    assert all(a["last_name"] is None for a in groups)
    assert noted[399304][0]["mesh_headings"]
    assert not any(h["major"] or any(q["major"] for q in h["qualifiers"]) for h in noted[399304][0]["mesh_headings"])
