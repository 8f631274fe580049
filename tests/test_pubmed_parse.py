"""PubMed XML to tables: records made nasty on purpose, slices of NLM's own files, and files that are wrong."""

import gzip
import re

import pyarrow.parquet as pq
import pytest

from biohicl.errors import BioHiCLError
from biohicl.pubmed.parse import parse_pubmed_file, read_pubmed_file
from pubmed_reference import assert_equal_to_reference

RECORD = """<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID>
<Article PubModel="Print"><Journal><JournalIssue CitedMedium="Print"><PubDate>{date}</PubDate></JournalIssue>
<Title>A journal</Title></Journal><ArticleTitle>{title}</ArticleTitle>{abstract}<Language>eng</Language>
<PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType></PublicationTypeList></Article>
{more}</MedlineCitation><PubmedData><ArticleIdList>{ids}</ArticleIdList>{references}</PubmedData></PubmedArticle>"""


def record(pmid=1, title="T", abstract="", date="<Year>2001</Year>", more="", ids="", references=""):
    return RECORD.format(**locals())


def write(tmp_path, *records, name="pubmed99n0001.xml.gz", head='<?xml version="1.0"?>\n', root="PubmedArticleSet"):
    path = tmp_path / name
    xml = f"{head}<{root}>\n{chr(10).join(records)}\n</{root}>".encode()
    path.write_bytes(gzip.compress(xml) if name.endswith(".gz") else xml)
    return path


def only(tmp_path, **parts):
    return read_pubmed_file(write(tmp_path, record(**parts)))[0].to_pylist()[0]


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


@pytest.mark.parametrize(
    ("date", "given", "year"),
    [
        ("<MedlineDate>1979 Nov-1980 May</MedlineDate>", "1979 Nov-1980 May", 1979),
        ("<MedlineDate>2021 3rd Quarter</MedlineDate>", "2021 3rd Quarter", 2021),
        ("<MedlineDate>Summer-Fall</MedlineDate>", "Summer-Fall", None),
        ("<Year>1979</Year><Season>Winter</Season>", "1979 Winter", 1979),
    ],
)
def test_dates_as_given_and_year(tmp_path, date, given, year):
    row = only(tmp_path, date=date)
    assert (row["publication_date"], row["year"]) == (given, year)


def test_major_topic_on_a_qualifier_counts(tmp_path):
    headings = """<MeshHeadingList>
    <MeshHeading><DescriptorName UI="D000002" MajorTopicYN="N">Two</DescriptorName>
      <QualifierName UI="Q000001" MajorTopicYN="N">q</QualifierName>
      <QualifierName UI="Q000002" MajorTopicYN="Y">r</QualifierName></MeshHeading>
    <MeshHeading><DescriptorName UI="D000001" MajorTopicYN="N">One</DescriptorName></MeshHeading></MeshHeadingList>"""
    articles, flat, _ = read_pubmed_file(write(tmp_path, record(more=headings)))
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
    rows = read_pubmed_file(write(tmp_path, second, record(pmid=9), record(pmid=7)))[0].to_pylist()
    assert [(r["pmid"], r["version"], r["position"]) for r in rows] == [(7, 2, 0), (9, 1, 1), (7, 1, 2)]


def test_a_file_with_deletes_only_and_an_empty_set(tmp_path):
    deletes = '<DeleteCitation><PMID Version="1">8</PMID><PMID Version="2">3</PMID></DeleteCitation>'
    tables = read_pubmed_file(write(tmp_path, deletes))
    assert [t.num_rows for t in tables] == [0, 0, 2]
    assert tables[2].to_pylist() == [{"pmid": 3, "version": 2}, {"pmid": 8, "version": 1}]
    assert [t.num_rows for t in read_pubmed_file(write(tmp_path))] == [0, 0, 0]


def test_plain_xml_and_doctype(tmp_path):
    doctype = '<?xml version="1.0"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "https://nowhere.invalid/pubmed.dtd">\n'
    path = write(tmp_path, record(pmid=3), name="saved.xml", head=doctype)
    assert read_pubmed_file(path)[0].to_pylist()[0]["pmid"] == 3


WRONG = {
    "wrong root": lambda t: write(t, "<x/>", root="eSearchResult"),
    "no PMID": lambda t: write(t, record(1), record(2).replace('<PMID Version="1">2</PMID>', "")),
    "PMID not a number": lambda t: write(t, record(1), record(2).replace(">2</PMID>", ">two</PMID>")),
    "no article": lambda t: write(t, record(1), "<PubmedArticle/>"),
    "heading without descriptor": lambda t: write(
        t, record(1), record(2, more="<MeshHeadingList><MeshHeading></MeshHeading></MeshHeadingList>")
    ),
    "unclosed": lambda t: write(t, record(1), "<PubmedArticle>"),
    "text after the end": lambda t: _plain(t, f"<PubmedArticleSet>{record(1)}</PubmedArticleSet> more"),
    "own entity": lambda t: _plain(
        t,
        f'<!DOCTYPE PubmedArticleSet [<!ENTITY e "boom">]><PubmedArticleSet>{record(1)}{record(2, "&e;")}</PubmedArticleSet>',
    ),
    "external entity": lambda t: _plain(
        t,
        '<!DOCTYPE PubmedArticleSet [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
        f"<PubmedArticleSet>{record(1)}{record(2, '&e;')}</PubmedArticleSet>",
    ),
    "truncated gzip": lambda t: _cut(write(t, record(1), *map(record, range(2, 900))), 0.5),
    "broken byte": lambda t: _flip(write(t, record(1), *map(record, range(2, 900)))),
    "not there": lambda t: t / "absent.xml.gz",
    "empty file": lambda t: _plain(t, ""),
}


def _plain(tmp_path, xml):
    path = tmp_path / "wrong.xml"
    path.write_text(xml)
    return path


def _cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF  # in the checksum: everything decompresses, and is wrong
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_files_are_errors_that_name_the_place_and_write_nothing(tmp_path, fault):
    source = WRONG[fault](tmp_path)
    outputs = [tmp_path / "out" / name for name in ("a.parquet", "m.parquet", "d.parquet", "q.parquet")]
    with pytest.raises(BioHiCLError) as error:
        parse_pubmed_file(source, *outputs)
    assert str(source) in str(error.value)
    if fault not in ("wrong root", "not there", "empty file"):
        assert re.search(r"last good PMID \d+|no citation was good", str(error.value)), str(error.value)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_last_good_pmid_is_the_one_before(tmp_path):
    with pytest.raises(BioHiCLError, match=r"line \d+.*a citation without PMID.*last good PMID 41\)"):
        read_pubmed_file(write(tmp_path, record(40), record(41), record(42).replace('<PMID Version="1">42</PMID>', "")))


def test_written_tables_carry_the_schema_version(tmp_path):
    outputs = [tmp_path / "out" / name for name in ("a.parquet", "m.parquet", "d.parquet", "q.parquet")]
    counts = parse_pubmed_file(write(tmp_path, record(3), record(1)), *outputs)
    assert counts == {"articles": 2, "mesh_headings": 0, "deleted": 0, "quarantine": 0}
    assert pq.read_table(outputs[0])["pmid"].to_pylist() == [3, 1]
    assert pq.read_metadata(outputs[0]).metadata[b"biohicl.schema"].startswith(b"pubmed-")


def test_the_sample_equals_the_reference_reading(sample):
    counts = [
        assert_equal_to_reference(read_pubmed_file(path), path) for path in sorted(sample.glob("pubmed/*/*.xml.gz"))
    ]
    assert sum(articles for articles, _, _ in counts) > 2000
    assert [deletes for _, _, deletes in counts] == [0, 0, 11]


# Records that other parsers get wrong, by PMID, and the first hundreds of each file.
NOTED = {
    "baseline/pubmed20n0014": [400274, 399696, 399332, 399304, 407700, 400712, 400955],
    "updatefiles/pubmed21n1298": [
        *(30601556, 30628601, 33404422, 33183482, 34095255, 33780037, 34081846, 31808390, 34091678, 32808031),
        *(32472320, 31617889, 34085931, 31642788, 34086428, 34092911, 30271887, 17018286, 30310913, 27602157),
        *(34082697, 31719001, 32328577),
    ],
    "baseline/pubmed20n9001": [],
}


def slice_of(source, target, first, pmids):
    """The ``first`` records of an NLM file, those with ``pmids``, and its deletes, as a file of their own."""
    xml = gzip.decompress(source.read_bytes())
    start = xml.index(b"<PubmedArticle>")
    parts, place = [xml[:start]], start
    wanted = {str(pmid).encode() for pmid in pmids}
    number = 0
    while (begin := xml.find(b"<PubmedArticle>", place)) >= 0:
        place = xml.index(b"</PubmedArticle>", begin) + len(b"</PubmedArticle>")
        if number < first or (wanted and re.search(rb"<PMID[^>]*>(\d+)<", xml[begin : begin + 400])[1] in wanted):
            parts.append(xml[begin:place] + b"\n")
        number += 1
    parts.append(xml[place:])
    target.write_bytes(gzip.compress(b"".join(parts), 1))
    return target


@pytest.mark.parametrize("name", NOTED)
def test_slices_of_nlm_files_equal_the_reference_reading(shared, tmp_path, name):
    source = shared / "data/nlm/pubmed" / f"{name}.xml.gz"
    path = slice_of(source, tmp_path / source.name, 400, NOTED[name])
    tables = read_pubmed_file(path)
    articles, _, deletes = assert_equal_to_reference(tables, path)
    assert articles >= 400 + len(NOTED[name]) // 2
    assert set(NOTED[name]) <= set(tables[0]["pmid"].to_pylist())
    assert deletes == (20 if "updatefiles" in name else 0)


def test_noted_records_read_as_they_should(shared, tmp_path):
    source = shared / "data/nlm/pubmed/updatefiles/pubmed21n1298.xml.gz"
    path = slice_of(source, tmp_path / source.name, 0, NOTED["updatefiles/pubmed21n1298"])
    rows = read_pubmed_file(path)[0].to_pylist()
    by_pmid = {row["pmid"]: row for row in rows}
    assert "TiOx" in by_pmid[33404422]["title"] + by_pmid[33404422]["abstract"]
    assert by_pmid[32472320]["title"] is None
    assert "\n" not in by_pmid[34081846]["abstract"]
    assert [row["version"] for row in rows if row["pmid"] == 30271887] == [1, 2, 3, 4]
    assert by_pmid[34092911]["publication_date"] == "2021 3rd Quarter"
