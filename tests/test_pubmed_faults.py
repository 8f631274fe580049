"""Broken files: read exactly, or refused with the place. Broken citations: set aside, and all others read exactly."""

import gzip
import json
import os
import random
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import conftest
from biohicl.errors import BioHiCLError
from biohicl.pubmed.parse import parse_pubmed_file
from nlm_records import NOTED, slice_of
from pubmed_faults import FAULTS, Fault, Reading, Refusal, broken, judged, outcome, verdict
from pubmed_reference import assert_equal_to_reference, assert_same_rows
from pubmed_tables import NAMES, in_pieces, parsed

HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<PubmedArticleSet>\n'
TAIL = b"</PubmedArticleSet>\n"
RECORD = """<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID>
<DateRevised><Year>2019</Year><Month>02</Month><Day>28</Day></DateRevised>
<Article PubModel="Print"><Journal><JournalIssue CitedMedium="Print"><PubDate><Year>2001</Year></PubDate></JournalIssue>
<Title>A journal</Title></Journal><ArticleTitle>{title}</ArticleTitle><Language>eng</Language><PublicationTypeList>
<PublicationType UI="D016428">Journal Article</PublicationType></PublicationTypeList></Article>{more}</MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList>{references}</PubmedData></PubmedArticle>
"""


def citation(pmid, title="A title", more="", references=""):
    return RECORD.format(**locals()).encode()


def document(*records, head=HEAD, tail=TAIL):
    return head + b"".join(records) + tail


MANY_RECORDS = document(*(citation(pmid, f"{random.Random(pmid).getrandbits(400):x}") for pmid in range(1, 400)))
BOOK_WITH_ARTICLE = b"""<PubmedBookArticle><BookDocument><PMID>5</PMID><Article><ArticleTitle>Not this</ArticleTitle>
</Article><ArticleTitle>A chapter</ArticleTitle></BookDocument></PubmedBookArticle>"""
LONG_DECLARATION = b'<?xml version="1.0" ' + b" " * 250 + b'encoding="iso-8859-1"?><PubmedArticleSet>'
LONG_DECLARATION += citation(1, "caf\u00e9 in UTF-8, which is not declared") + TAIL
PREFIXED_HEAD = b'<PubmedArticleSet xmlns:mml="http://www.w3.org/1998/Math/MathML"\n>'
PREFIXED = citation(1, "a <mml:math><mml:mi>x</mml:mi></mml:math> b")


# ---- any fault, at any place


@pytest.fixture(scope="module")
def pages(sample, tmp_path_factory):
    """Name to the XML that is broken: of the sample, and of NLM's files where they are."""
    folder = tmp_path_factory.mktemp("pages")
    source = sorted(sample.glob("pubmed/updatefiles/*.xml.gz"))[-1]
    return {"sample": gzip.decompress(slice_of(source, folder / "sample.xml.gz", 12, []).read_bytes())}


@pytest.fixture(scope="module")
def real_pages(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    pages = {}
    for name, pmids in NOTED.items():
        target = folder / name.replace("/", "-")
        first = 1 if pmids else 12
        pages[name] = gzip.decompress(
            slice_of(shared / f"data/nlm/pubmed/{name}.xml.gz", target, first, pmids[-7:]).read_bytes()
        )
    return pages


@pytest.fixture(scope="module")
def counts(request):
    """(fault, outcome) to how often; the whole table is shown at the end."""
    found = Counter()
    yield found
    if found:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("\n" + table_of(found))


def table_of(found):
    outcomes = sorted({ending for _, ending in found})
    lines = ["".join(f"{word:>28}" for word in ["fault", *outcomes])]
    for fault in FAULTS:
        lines.append("".join(f"{word:>28}" for word in [fault, *(found[fault, ending] for ending in outcomes)]))
    lines.append(
        "".join(f"{word:>28}" for word in ["all", *(sum(n for (_, e), n in found.items() if e == o) for o in outcomes)])
    )
    return "\n".join(lines)


def assert_faults_are_survived(pages, fault, seeds, folder, counts):
    wrong = []
    path = folder / "broken.xml.gz"
    for name, xml in pages.items():
        for seed in seeds:
            path.write_bytes(broken(xml, fault, seed))
            try:
                # Every other one in small pieces: a fault then stands at, before and after their ends.
                with in_pieces(random.Random(seed).randint(500, 20_000) if seed % 2 else 0):
                    ending = verdict(path, folder)
            except Exception as error:
                ending = "WRONG"
                wrong.append(f"{name}, seed {seed}: {type(error).__name__}: {error}"[:600])
            counts[fault, ending] += 1
    assert not wrong, f"{fault}: {len(wrong)} wrong\n" + "\n".join(wrong[:10])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_file_is_read_exactly_or_refused(pages, tmp_path, fault):
    assert_faults_are_survived(pages, fault, range(4), tmp_path, Counter())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_file_of_nlm_is_read_exactly_or_refused(real_pages, tmp_path, fault):
    assert_faults_are_survived(real_pages, fault, range(1), tmp_path, Counter())


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
def test_many_broken_files_are_read_exactly_or_refused(pages, request, tmp_path, fault, counts, seeds):
    if (conftest.SHARED / "data").is_dir():
        pages = pages | request.getfixturevalue("real_pages")
    assert_faults_are_survived(pages, fault, seeds, tmp_path, counts)


def test_faults_are_of_every_kind(pages, tmp_path):
    """What the above cannot prove unless it holds: that enough is broken, and enough is not."""
    endings = Counter()
    for fault in FAULTS:
        for seed in range(3):
            path = tmp_path / "broken.xml.gz"
            path.write_bytes(broken(pages["sample"], fault, seed))
            endings[type(judged(path))] += 1
    assert endings[Reading] > 15
    assert endings[Fault] > 15


# ---- faults by name


def billion_laughs():
    lines = ['<!ENTITY a0 "ha">'] + [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 11)]
    return f"<!DOCTYPE PubmedArticleSet [{''.join(lines)}]>".encode()


WRONG_XML = {
    "wrong root": b"<eSearchResult><Count>1</Count></eSearchResult>",
    "empty": b"",
    "one byte": b"\x1f",
    "zeros": bytes(100_000),
    "spaces": b" " * 100_000,
    "not XML": b"PMID- 1\nTI  - A title\n",
    "an error page": b"<!DOCTYPE html><html><head><title>503</title></head><body><p>Later.<br></body></html>",
    "a declaration only": b'<?xml version="1.0"?>\n',
    "a doctype only": b'<?xml version="1.0"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "x.dtd">\n',
    "text after the end": document(citation(1)) + b"more",
    "a second root": document(citation(1)) * 2,
    "a zero after the end": document(citation(1)) + b"\0",
    "unclosed root": document(citation(1), tail=b""),
    "unclosed record": document(citation(1), b"<PubmedArticle>"),
    "text between records": document(citation(1), b"<PMID>", citation(2)),
    "a root's name in no encoding": b"<PubmedArticleSet\xff></PubmedArticleSet\xff>",
    **{
        f"{codec} as encoding": f'<?xml version="1.0" encoding="{codec}"?>'.encode() + MANY_RECORDS
        for codec in ("base64", "hex", "zlib", "bz2", "quopri", "uu", "rot13", "undefined", "idna")
    },
    "an Article in a book only": document(
        b"<PubmedArticle><MedlineCitation><PMID>7</PMID></MedlineCitation></PubmedArticle>", BOOK_WITH_ARTICLE
    ),
    "a word before the first record": document(b"word", citation(1)),
    "a word between two": document(citation(1), b"word", citation(2)),
    "a word behind the last record": document(citation(1), b" <!-- 1 --> word "),
    "a word in an empty set": document(b"word"),
    "a section of text between two": document(citation(1), b"<![CDATA[<PubmedArticle/>]]>", citation(2)),
    "an unknown record": document(citation(1), b"<PubmedThing/>", citation(2)),
    "no MedlineCitation": document(citation(1), b"<PubmedArticle/>"),
    "no Article": document(
        citation(1), b"<PubmedArticle><MedlineCitation><PMID>2</PMID></MedlineCitation></PubmedArticle>"
    ),
    "no BookDocument": document(citation(1), b"<PubmedBookArticle/>"),
    "no PMID": document(citation(1), citation(2).replace(b'<PMID Version="1">2</PMID>', b"")),
    "PMID a word": document(citation(1), citation("two")),
    "PMID 0": document(citation(1), citation(0)),
    "PMID too high": document(citation(1), citation(2**31)),
    "PMID in other digits": document(citation(1), citation("１２")),
    "PMID with a sign": document(citation(1), citation("+12")),
    "PMID with an underscore": document(citation(1), citation("1_2")),
    "version 0": document(citation(1), citation(2).replace(b'Version="1"', b'Version="0"')),
    "version too high": document(citation(1), citation(2).replace(b'Version="1"', b'Version="32768"')),
    "version a word": document(citation(1), citation(2).replace(b'Version="1"', b'Version="one"')),
    "no such day": document(citation(1), citation(2).replace(b"<Day>28</Day>", b"<Day>30</Day>")),
    "no day": document(citation(1), citation(2).replace(b"<Day>28</Day>", b"")),
    "no such month": document(citation(1), citation(2).replace(b"<Month>02", b"<Month>13")),
    "a comment's PMID a word": document(
        citation(1),
        citation(
            2,
            more='<CommentsCorrectionsList><CommentsCorrections RefType="CommentIn"><RefSource>x</RefSource>'
            "<PMID>x</PMID></CommentsCorrections></CommentsCorrectionsList>",
        ),
    ),
    "a reference's PMID a word": document(
        citation(1),
        citation(
            2,
            references="<ReferenceList><Reference><Citation>x</Citation><ArticleIdList>"
            '<ArticleId IdType="pubmed">x</ArticleId></ArticleIdList></Reference></ReferenceList>',
        ),
    ),
    "a heading without descriptor": document(
        citation(1),
        citation(
            2,
            more='<MeshHeadingList><MeshHeading><QualifierName UI="Q1">x</QualifierName></MeshHeading></MeshHeadingList>',
        ),
    ),
    "a delete that is no number": document(citation(1), b"<DeleteCitation><PMID>x</PMID></DeleteCitation>"),
    "a NUL in a text": document(citation(1), citation(2, "a\0b")),
    "a NUL between records": document(citation(1), b"\0", citation(2)),
    "a NUL by reference": document(citation(1), citation(2, "a&#0;b")),
    "an escape character": document(citation(1), citation(2, "a\x1bb")),
    "U+FFFF": document(citation(1), citation(2, "a\uffffb")),
    "invalid UTF-8": document(citation(1), citation(2).replace(b"A title", b"A\xfftitle")),
    "a surrogate in UTF-8": document(citation(1), citation(2).replace(b"A title", b"A\xed\xa0\x80title")),
    "an overlong form in UTF-8": document(citation(1), citation(2).replace(b"A title", b"A\xc0\xa0title")),
    "Latin-1 that says UTF-8": document(citation(1), citation(2, "Gr\u00f8nvold").decode().encode("latin-1")),
    "an unknown encoding": document(citation(1), head=HEAD.replace(b"utf-8", b"utf-9")),
    "UTF-16 in the declaration only": document(citation(1), head=HEAD.replace(b"utf-8", b"utf-16")),
    "a prefix without a namespace": document(citation(1), citation(2, "<mml:math/>")),
    "an attribute twice": document(citation(1), citation(2).replace(b'Version="1"', b'Version="1" Version="1"')),
    "a raw < in an attribute": document(citation(1), citation(2).replace(b'Version="1"', b'Version="<"')),
    "]]> in a text": document(citation(1), citation(2, "a ]]> b")),
    "-- in a comment": document(citation(1), citation(2, "a <!-- -- --> b")),
    "an unclosed comment": document(citation(1), citation(2, "a <!-- b")),
    "an unclosed CDATA section": document(citation(1), citation(2, "a <![CDATA[ b")),
    "an unclosed instruction": document(citation(1), citation(2, "a <? b")),
    "a declaration within": document(citation(1), b'<?xml version="1.0"?>', citation(2)),
    "an undefined entity": document(citation(1), citation(2, "&nosuch;")),
    "an undefined entity, a DTD elsewhere": document(
        citation(1),
        citation(2, "&alpha;"),
        head=b'<!DOCTYPE PubmedArticleSet SYSTEM "https://nowhere.invalid/x.dtd">' + HEAD[39:],
    ),
    "an own entity": document(
        citation(1), citation(2, "&e;"), head=b'<!DOCTYPE PubmedArticleSet [<!ENTITY e "boom">]>\n<PubmedArticleSet>'
    ),
    "an entity that nobody uses": document(
        citation(1), head=b'<!DOCTYPE PubmedArticleSet [<!ENTITY e "boom">]>\n<PubmedArticleSet>'
    ),
    "an external entity": document(
        citation(1),
        citation(2, "&e;"),
        head=b'<!DOCTYPE PubmedArticleSet [<!ENTITY e SYSTEM "file:///etc/hostname">]>\n<PubmedArticleSet>',
    ),
    "an external parameter entity": document(
        citation(1),
        head=b'<!DOCTYPE PubmedArticleSet [<!ENTITY % e SYSTEM "file:///etc/hostname"> %e;]>\n<PubmedArticleSet>',
    ),
    "a default attribute": document(
        citation(1), head=b'<!DOCTYPE PubmedArticleSet [<!ATTLIST PMID Version CDATA "7">]>\n<PubmedArticleSet>'
    ),
    "a billion laughs": document(citation(1), citation(2, "&a10;"), head=billion_laughs() + b"<PubmedArticleSet>"),
    "a billion laughs in an attribute": document(
        citation(1),
        citation(2).replace(b'Version="1"', b'Version="&a10;"'),
        head=billion_laughs() + b"<PubmedArticleSet>",
    ),
}
NO_CITATION_BEFORE = {
    *(
        "wrong root",
        "empty",
        "one byte",
        "zeros",
        "spaces",
        "not XML",
        "an error page",
        "a declaration only",
        "a doctype only",
    ),
    *("an unknown encoding", "UTF-16 in the declaration only"),
    *("a word before the first record", "a word in an empty set", "an Article in a book only"),
    "a root's name in no encoding",
    *(fault for fault in WRONG_XML if fault.endswith(" as encoding")),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("fault", WRONG_XML)
def test_wrong_xml_is_an_error_that_names_the_place(tmp_path, fault, packed):
    path = tmp_path / ("wrong.xml.gz" if packed else "wrong.xml")
    path.write_bytes(gzip.compress(WRONG_XML[fault]) if packed else WRONG_XML[fault])
    assert isinstance(judged(path), Fault)
    found = outcome(path, tmp_path)
    assert isinstance(found, Refusal), "it was read"
    assert str(path) in found.message
    if fault not in NO_CITATION_BEFORE and b"<!DOCTYPE" not in WRONG_XML[fault]:
        assert "last good PMID 1" in found.message, found.message
    assert "root:" not in found.message


@pytest.mark.parametrize("codec", ["punycode", "unicode_escape", "raw_unicode_escape"])
def test_an_encoding_of_pythons_own_is_refused(tmp_path, codec):
    """Though Python reads them: the first takes hours for as many megabytes."""
    path = tmp_path / "x.xml"
    path.write_bytes(document(citation(1), head=HEAD.replace(b"utf-8", codec.encode())))
    found = outcome(path, tmp_path)
    assert isinstance(found, Refusal)
    assert f"its encoding '{codec}' is not known" in found.message


MEMBER = gzip.compress(MANY_RECORDS, 6, mtime=0)
TWO_MEMBERS = gzip.compress(MANY_RECORDS[:100_000], 6, mtime=0) + gzip.compress(MANY_RECORDS[100_000:], 6, mtime=0)
FIRST_MEMBER = len(gzip.compress(MANY_RECORDS[:100_000], 6, mtime=0))
WRONG_GZIP = {
    **{f"the first {size} bytes": MEMBER[:size] for size in (2, 3, 9, 10, 11, 100)},
    "half of it": MEMBER[: len(MEMBER) // 2],
    **{f"without its last {size} bytes": MEMBER[:-size] for size in (1, 4, 5, 8, 9, 20)},
    "a wrong checksum": MEMBER[:-6] + bytes([MEMBER[-6] ^ 1]) + MEMBER[-5:],
    "a wrong length": MEMBER[:-2] + bytes([MEMBER[-2] ^ 1]) + MEMBER[-1:],
    "a broken byte": MEMBER[:5000] + bytes([MEMBER[5000] ^ 0xFF]) + MEMBER[5001:],
    "an unknown method": MEMBER[:2] + b"\x07" + MEMBER[3:],
    "the first of two members": TWO_MEMBERS[:FIRST_MEMBER],
    "a second member cut in its header": TWO_MEMBERS[: FIRST_MEMBER + 5],
    "a second member cut in its body": TWO_MEMBERS[: FIRST_MEMBER + 500],
    "a first member with a wrong checksum": TWO_MEMBERS[: FIRST_MEMBER - 6]
    + bytes([TWO_MEMBERS[FIRST_MEMBER - 6] ^ 1])
    + TWO_MEMBERS[FIRST_MEMBER - 5 :],
    "something after the end": MEMBER + b"garbage",
    "XML after the end": MEMBER + b"<PubmedArticleSet/>",
    "a second document after the end": MEMBER + MEMBER,
    "gzip in gzip": gzip.compress(MEMBER),
}


@pytest.mark.parametrize("fault", WRONG_GZIP)
def test_wrong_gzip_is_an_error(tmp_path, fault):
    path = tmp_path / "wrong.xml.gz"
    path.write_bytes(WRONG_GZIP[fault])
    right = judged(path)
    assert isinstance(right, Fault)
    found = outcome(path, tmp_path)
    assert isinstance(found, Refusal), "it was read"
    assert str(path) in found.message
    last = re.search(r"last good PMID (\d+)", found.message)
    assert last is None or 1 <= int(last[1]) <= 399


RIGHT = {
    "two members": TWO_MEMBERS,
    "an empty member between": gzip.compress(MANY_RECORDS[:70_000])
    + gzip.compress(b"")
    + gzip.compress(MANY_RECORDS[70_000:]),
    "zeros after the end": MEMBER + bytes(512),
    "a name in the header": b"\x1f\x8b\x08\x08" + MEMBER[4:10] + b"pubmed99n0001.xml\0" + MEMBER[10:],
    "stored": gzip.compress(MANY_RECORDS, 0),
    "an empty set": document(),
    "an empty element": b"<PubmedArticleSet/>",
    "an old set": b"<MedlineCitationSet></MedlineCitationSet>",
    "deletes only": document(b'<DeleteCitation><PMID Version="1">8</PMID><PMID>3</PMID></DeleteCitation>'),
    "plain": MANY_RECORDS,
    "an Article in a book": document(citation(1), BOOK_WITH_ARTICLE, citation(2)),
    "books only": document(
        BOOK_WITH_ARTICLE, head=b"<PubmedBookArticleSet>", tail=b"</PubmedBookArticleSet><!-- </PubmedArticle> -->"
    ),
    "a doctype that declares nothing": document(
        citation(1), head=b'<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD" "x.dtd" [\n]><PubmedArticleSet>'
    ),
    "a long declaration in two members": gzip.compress(LONG_DECLARATION[:200]) + gzip.compress(LONG_DECLARATION[200:]),
    "prefixes declared by the root": document(PREFIXED, citation(2), head=PREFIXED_HEAD),
    "an instruction with > and <": document(citation(1, "a<?x > < ?>b"), b"<?x > < ?>", citation(2)),
    "a comment with > and <": document(citation(1, "a<!-- > < -->b"), b"<!-- > < -->", citation(2)),
    "comments that look like records": document(
        b"<!-- </PubmedArticleSet> <PubmedArticle> -->",
        citation(1),
        b"<?x </PubmedArticle>?>",
        citation(2, "<![CDATA[</PubmedArticle>]]>"),
    ),
    "an attribute that looks like an end": document(
        citation(1).replace(b'Owner="NLM"', b'Owner="</PubmedArticle>"'.replace(b"<", b"&lt;"))
    ),
    "a > in an attribute": document(citation(1).replace(b'Owner="NLM"', b'Owner="/>"')),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_looks_wrong_and_is_not(tmp_path, name):
    path = tmp_path / "right.xml.gz"
    path.write_bytes(RIGHT[name])
    assert_equal_to_reference(parsed(path, tmp_path / "out"), path)


def test_a_folder_and_nothing_are_errors(tmp_path):
    for path in (tmp_path, tmp_path / "absent.xml.gz"):
        with pytest.raises(BioHiCLError, match=re.escape(str(path))):
            parsed(path, tmp_path / "out")


def test_what_is_said_of_what_breaks_off(tmp_path):
    path = tmp_path / "some.xml"
    for content, said in (
        (document(citation(1), tail=b""), r"truncated: the file ends without </PubmedArticleSet> .*last good PMID 1"),
        (document(citation(1), citation(2)[:-300], tail=b""), "truncated: the file ends without .*last good PMID 1"),
        (gzip.compress(document(citation(1))) + b"garbage", "behind its end come bytes that are no gzip"),
        (gzip.compress(document(citation(1)))[:-3], "truncated gzip: it ends after"),
        (document(citation(1), citation(2, "a & b")), "PMID 2: ill-formed XML: an & that is not written &amp;"),
        (document(citation(1), b"Out of time"), "text where a citation should be: 'Out of time'"),
    ):
        path.write_bytes(content)
        with pytest.raises(BioHiCLError, match=said):
            parsed(path, tmp_path / "out")


def test_outputs_that_cannot_be(tmp_path):
    path = tmp_path / "some.xml"
    path.write_bytes(document(citation(1)))
    names = [tmp_path / f"out/{name}.parquet" for name in ("a", "m", "d", "q")]
    with pytest.raises(BioHiCLError, match="two of the paths are the same"):
        parse_pubmed_file(path, path, *names[1:])
    assert path.read_bytes() == document(citation(1))
    names[2].mkdir(parents=True)
    with pytest.raises(BioHiCLError, match=r"d\.parquet: is a folder, and a file is to go there"):
        parse_pubmed_file(path, *names)
    assert [entry.name for entry in names[0].parent.iterdir()] == ["d.parquet"]
    with pytest.raises(BioHiCLError, match=r"/dev/null: is a device"):
        parse_pubmed_file(path, *names[:2], Path("/dev/null"), names[3])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BioHiCLError, match="pipe: is no regular file; save what it gives"):
        parsed(pipe, tmp_path / "other")


def test_an_external_entity_is_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("a secret word")
    for declaration in (
        f'<!ENTITY e SYSTEM "{tmp_path}/secret.txt">',
        f'<!ENTITY e PUBLIC "x" "file://{tmp_path}/secret.txt">',
    ):
        path = tmp_path / "wrong.xml"
        path.write_bytes(
            document(citation(1, "&e;"), head=f"<!DOCTYPE PubmedArticleSet [{declaration}]><PubmedArticleSet>".encode())
        )
        found = outcome_in(path, tmp_path / "out")
        assert isinstance(found, Refusal)
        assert "secret word" not in found.message


def outcome_in(path, folder):
    try:
        return parsed(path, folder)
    except BioHiCLError as error:
        return Refusal(str(error))


# ---- too much of everything

MEASURE = """
import json, re, sys, time
from pathlib import Path
from biohicl.errors import BioHiCLError
from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.pubmed.parse import parse_pubmed_file
source, folder = map(Path, sys.argv[1:3])
started = time.monotonic()
try:
    outputs = [folder / name for name in ("a.parquet", "m.parquet", "d.parquet", "q.parquet")]
    ending = parse_pubmed_file(source, *outputs, skip_bad_citations=sys.argv[3] == "True")
except BioHiCLError as error:
    ending = str(error)
seconds = time.monotonic() - started
# Not getrusage's ru_maxrss: that of a new process begins with its parent's.
most = re.search("VmHWM:[^0-9]*([0-9]+) kB", Path("/proc/self/status").read_text())
print(json.dumps([ending, seconds, int(most[1]) / 1024]))
"""


def measured(path, folder, skip_bad=False):
    """(counts or the error's words, seconds, MB) of a parse in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(folder), str(skip_bad)],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def swollen(before, after, size, unit=b" "):
    """A gzip file in which ``size`` bytes of ``unit`` stand between two texts; small, and quickly made."""
    block = unit * ((1 << 20) // len(unit))
    packer = zlib.compressobj(9, wbits=-15)
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    middle = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the packer's state is as at the beginning: the same bytes can follow any number of times.
    times = size // len(block)
    end = packer.compress(after) + packer.flush()
    checksum = zlib.crc32(before)
    for _ in range(times):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(after, checksum)
    length = len(before) + times * len(block) + len(after)
    trailer = checksum.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + middle * times + end + trailer


def test_swollen_files_are_gzip(tmp_path):
    assert gzip.decompress(swollen(b"<a>", b"</a>", 3 << 20)) == b"<a>" + b" " * (3 << 20) + b"</a>"


@pytest.mark.parametrize(
    ("place", "unit"),
    [
        ("in a title", b" "),
        ("in a title", b"word "),
        ("between elements", b" "),
        ("after a record", b" "),
        ("before the root", b" "),
        ("in a comment", b" "),
        ("in an attribute", b" "),
        ("in many elements", b"<Author/>"),
    ],
)
def test_a_small_file_that_swells_without_end_is_an_error_soon(tmp_path, place, unit):
    marks = {
        "in a title": document(citation(1), citation(2, "@")),
        "between elements": document(citation(1), citation(2, more="@")),
        "after a record": document(citation(1), b"@", citation(2)),
        "before the root": document(citation(1)).replace(b"<PubmedArticleSet>", b"@<PubmedArticleSet>"),
        "in a comment": document(citation(1), b"<!--@-->", citation(2)),
        "in an attribute": document(citation(1), citation(2).replace(b'Owner="', b'Owner="@')),
        "in many elements": document(citation(1), citation(2, more="<AuthorList>@</AuthorList>")),
    }
    before, after = marks[place].split(b"@")
    path = tmp_path / "bomb.xml.gz"
    path.write_bytes(swollen(before, after, 2 << 30, unit))
    assert path.stat().st_size < 20 << 20
    ending, seconds, megabytes = measured(path, tmp_path / "out")
    assert isinstance(ending, str), "2 GB were read"
    assert str(path) in ending
    assert seconds < 20
    assert megabytes < 500


def members(content):
    """A gzip member for each byte."""
    return b"".join(gzip.compress(content[place : place + 1], 1, mtime=0) for place in range(len(content)))


LAVISH = {
    "records that do not end": b"<PubmedArticleSet>" + b"<PubmedArticle>" * 200_000,
    "citations beside a bad one": document(citation(0), *(citation(pmid) for pmid in range(1, 10_001))),
    "a member for each byte": gzip.compress(HEAD.replace(b"<PubmedArticleSet>", b"<!--"))
    + members(b" " * 40_000)
    + gzip.compress(b"--><PubmedArticleSet>" + TAIL),
    "PMIDs that do not end": document(citation(1), b"<PubmedArticle>" + b"<PMID" * 60_000 + b"</PubmedArticle>"),
    "attributes that do not end": b'<PubmedArticleSet><PubmedArticle x=">"></PubmedArticle><PubmedArticle '
    + b"a " * 12_000_000,
    "levels": document(citation(1), citation(2, "<i>" * 40_000 + "</i>" * 40_000 + "<b/>" * 100_000), citation(3)),
}


@pytest.mark.parametrize("fault", LAVISH)
@pytest.mark.parametrize("skip_bad", [False, True], ids=["strict", "skipping"])
def test_neither_time_nor_memory_is_wasted(tmp_path, fault, skip_bad):
    path = tmp_path / "some.xml.gz"
    path.write_bytes(LAVISH[fault])
    _, seconds, megabytes = measured(path, tmp_path / "out", skip_bad)
    assert seconds < 20
    assert megabytes < 500


def test_large_citations_make_small_row_groups(tmp_path):
    path = tmp_path / "some.xml"
    path.write_bytes(document(*(citation(pmid, "word " * 400_000) for pmid in range(1, 101))))
    parsed(path, tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out/articles.parquet")
    assert metadata.num_rows == 100
    assert max(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups)) < 150 << 20


def test_a_reference_with_many_zeros_is_read(tmp_path):
    path = tmp_path / "some.xml"
    path.write_bytes(document(citation(1, f"a &#{'0' * 5000}65; b", more="").replace(b"Owner", b"x='&#x41;' Owner")))
    articles, *_ = parsed(path, tmp_path / "out")
    assert articles["title"].to_pylist() == ["a A b"]


def test_a_date_of_12_mb_is_read_whole(tmp_path):
    path = tmp_path / "some.xml"
    words = "2001 " + "x " * 6_000_000
    path.write_bytes(
        document(citation(1).replace(b"<Year>2001</Year>", f"<MedlineDate>{words}</MedlineDate>".encode()))
    )
    articles, *_ = parsed(path, tmp_path / "out")
    assert articles["publication_date"].to_pylist() == [words.strip()]


def test_a_record_of_100_mb_is_read_or_refused(tmp_path):
    path = tmp_path / "large.xml.gz"
    path.write_bytes(swollen(*document(citation(1), citation(2, "@")).split(b"@"), 100 << 20, b"word "))
    ending, seconds, megabytes = measured(path, tmp_path / "out")
    assert str(path) in ending if isinstance(ending, str) else ending["articles"] == 2
    assert seconds < 20
    assert megabytes < 1500


@pytest.mark.parametrize("depth", [100, 300, 3_000, 100_000])
@pytest.mark.parametrize("kind", ["markup", "references", "unclosed"])
def test_deep_nesting_is_read_exactly_or_refused(tmp_path, depth, kind):
    title, references = "T", ""
    if kind == "markup":
        title = "<i>" * depth + "deep" + "</i>" * depth
    elif kind == "references":
        inner = '<Reference><ArticleIdList><ArticleId IdType="pubmed">7</ArticleId></ArticleIdList></Reference>'
        references = "<ReferenceList>" * depth + inner + "</ReferenceList>" * depth
    else:
        title = "<i>" * depth
    path = tmp_path / "deep.xml"
    path.write_bytes(document(citation(1), citation(2, title, references=references), citation(3)))
    ending, seconds, megabytes = measured(path, tmp_path / "out")
    assert seconds < 20
    assert megabytes < 500
    if isinstance(ending, str):
        assert str(path) in ending
        assert kind == "unclosed" or depth > 300, ending
    else:
        assert kind != "unclosed"
        # ElementTree recurses when it forgets a tree: the deepest is not for it.
        if depth <= 3_000:
            assert_equal_to_reference(parsed(path, tmp_path / "again"), path)


# ---- bad citations set aside

NAMED_BAD = {
    fault: xml[len(HEAD) + len(citation(1)) : -len(TAIL)]
    for fault, xml in WRONG_XML.items()
    if fault
    in {
        *("no MedlineCitation", "no Article", "no BookDocument", "no PMID", "PMID a word", "PMID 0", "PMID too high"),
        *(
            "version 0",
            "version too high",
            "no such day",
            "no day",
            "a comment's PMID a word",
            "a reference's PMID a word",
        ),
        *("a heading without descriptor", "a NUL in a text", "an escape character", "U+FFFF", "invalid UTF-8"),
        *(
            "a surrogate in UTF-8",
            "an attribute twice",
            "]]> in a text",
            "an undefined entity",
            "a prefix without a namespace",
        ),
    }
} | {
    "an unclosed element": citation(2, "<i>"),
    "an end without a beginning": citation(2, "</i>"),
    "a raw &": citation(2, "a & b"),
    "a raw <": citation(2, "a < b"),
}


@pytest.mark.parametrize("fault", NAMED_BAD)
def test_a_bad_citation_is_set_aside_and_the_others_are_read(tmp_path, fault):
    bad = NAMED_BAD[fault]
    path, without = tmp_path / "some.xml.gz", tmp_path / "without.xml"
    deletes = b'<DeleteCitation><PMID Version="1">8</PMID></DeleteCitation>\n'
    path.write_bytes(gzip.compress(document(citation(1), b"<!-- 1 -->\n", bad, citation(3), deletes)))
    without.write_bytes(document(citation(1), citation(3), deletes))
    with pytest.raises(BioHiCLError, match="last good PMID 1"):
        parsed(path, tmp_path / "out")
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    (row,) = quarantine.to_pylist()
    place = len(document(citation(1), b"<!-- 1 -->\n", tail=b""))
    assert row["byte"] == place
    assert row["line"] == gzip.decompress(path.read_bytes())[:place].count(b"\n") + 1
    assert row["reason"].strip()
    assert row["xml"].strip() == bad.decode(errors="replace").strip()
    unreadable = fault in {"no MedlineCitation", "no BookDocument", "no PMID", "PMID a word", "PMID 0", "PMID too high"}
    assert row["pmid"] == (None if unreadable else 2)


@pytest.mark.parametrize("before", [[], [citation(1)], [b"<!-- 1 -->"], [citation(1), b"<?x?>"]])
@pytest.mark.parametrize(
    ("text", "after"),
    [
        (text, after)
        for text in (b"word", b"<![CDATA[</PubmedArticle>]]>", b"&amp;", b"<!-- a -- b -->")
        for after in ([], [b"<!-- 3 -->"], [citation(3)], [NAMED_BAD["no such day"], citation(3)])
        # A file whose end is not well-formed is wrong as a file.
        if citation(3) in after or b" -- " not in text
    ],
)
def test_text_between_citations_is_set_aside(tmp_path, before, text, after):
    path, without = tmp_path / "some.xml", tmp_path / "without.xml"
    path.write_bytes(document(*before, text, *after))
    without.write_bytes(document(*(part for part in before + after if part in (citation(1), citation(3)))))
    with pytest.raises(BioHiCLError, match="text where a citation should be|ill-formed XML: .*omment"):
        parsed(path, tmp_path / "out")
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    row, *others = quarantine.to_pylist()
    assert text.decode() in row["xml"]
    assert row["pmid"] is None
    assert [other["pmid"] for other in others] == [2] * (len(after) == 2)


@pytest.mark.parametrize("record", [citation(2, "a < b"), b"<PubmedArticle>\n", b"\n</i>"])
def test_lines_are_counted_where_the_root_takes_several(tmp_path, record):
    path, lines = tmp_path / "some.xml", []
    for root in (b"<PubmedArticleSet>", b'<PubmedArticleSet\n\n  xmlns:x="y"\n>'):
        path.write_bytes(document(citation(1), b"\n", record, head=b'<?xml version="1.0"?>\n' + root + b"\n"))
        with pytest.raises(BioHiCLError, match="last good PMID 1") as raised:
            parsed(path, tmp_path / "out")
        lines.append(int(re.search(r"line (\d+)", str(raised.value))[1]))
    assert lines[1] == lines[0] + 3


@pytest.mark.parametrize("bad", ["PMID a word", "a raw &"])
def test_prefixes_declared_by_the_root_are_known_beside_a_bad_citation(tmp_path, bad):
    path, without = tmp_path / "some.xml", tmp_path / "without.xml"
    path.write_bytes(document(PREFIXED, NAMED_BAD[bad], PREFIXED.replace(b">1<", b">3<"), head=PREFIXED_HEAD))
    without.write_bytes(document(PREFIXED, PREFIXED.replace(b">1<", b">3<"), head=PREFIXED_HEAD))
    with pytest.raises(BioHiCLError, match=r"last good PMID 1\); --skip-bad-citations, or pubmed.skip_bad_citations"):
        parsed(path, tmp_path / "out")
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    assert quarantine.num_rows == 1


def test_a_citation_without_its_end_does_not_take_the_next(tmp_path):
    path, without = tmp_path / "some.xml", tmp_path / "without.xml"
    path.write_bytes(document(citation(1), citation(2).replace(b"</PubmedArticle>", b""), citation(3), citation(4)))
    without.write_bytes(document(citation(1), citation(3), citation(4)))
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    assert quarantine["pmid"].to_pylist() == [2]


def test_another_citations_pmid_is_not_the_bad_ones(tmp_path):
    path = tmp_path / "some.xml"
    comments = (
        '<CommentsCorrectionsList><CommentsCorrections RefType="Cites"><PMID>999</PMID></CommentsCorrections>'
        "</CommentsCorrectionsList>"
    )
    path.write_bytes(document(citation(1), citation(2, more=comments).replace(b'<PMID Version="1">2</PMID>', b"")))
    *_, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert quarantine["pmid"].to_pylist() == [None]


@pytest.mark.parametrize(
    "bad",
    [
        b"<DeleteCitation><PMID>5</PMID><PMID>x</PMID></DeleteCitation>",
        b"<DeleteCitation><PMID>5</PIMD></DeleteCitation>",
        b"<DeletCitation><PMID>5</PMID></DeleteCitation>",
    ],
)
def test_deletes_are_never_left_out(tmp_path, bad):
    """Without them, what they delete would stay."""
    path = tmp_path / "some.xml"
    path.write_bytes(document(citation(1), bad))
    with pytest.raises(BioHiCLError, match=r"last good PMID 1\); it cannot be left out"):
        parsed(path, tmp_path / "out", skip_bad=True)


def test_many_bad_citations_among_many(tmp_path):
    path, without = tmp_path / "some.xml", tmp_path / "without.xml"
    drawn = random.Random(1)
    pmids = range(1, 3001)
    bad = {pmid: drawn.choice(["PMID 0", "a raw &", "no such day"]) for pmid in drawn.sample(pmids, 100)}
    path.write_bytes(document(*(NAMED_BAD[bad[pmid]] if pmid in bad else citation(pmid) for pmid in pmids)))
    without.write_bytes(document(*(citation(pmid) for pmid in pmids if pmid not in bad)))
    with in_pieces(100_000):
        *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    assert quarantine.num_rows == 100
    assert quarantine["byte"].to_pylist() == sorted(quarantine["byte"].to_pylist())


def test_several_bad_citations_stand_in_the_order_of_the_file(tmp_path):
    path, without = tmp_path / "some.xml", tmp_path / "without.xml"
    bad = [NAMED_BAD[fault] for fault in ("PMID a word", "no such day", "a raw &")]
    path.write_bytes(document(bad[0], citation(1), bad[1], bad[2], citation(3), citation(4), bad[1]))
    without.write_bytes(document(citation(1), citation(3), citation(4)))
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, without)
    assert quarantine["byte"].to_pylist() == sorted(quarantine["byte"].to_pylist())
    assert quarantine["pmid"].to_pylist() == [None, 2, 2, 2]
    assert tables[0]["position"].to_pylist() == [0, 1, 2]


def test_a_file_without_bad_citations_has_an_empty_quarantine(tmp_path):
    path = tmp_path / "good.xml"
    path.write_bytes(MANY_RECORDS)
    *tables, quarantine = parsed(path, tmp_path / "out", skip_bad=True)
    assert_equal_to_reference(tables, path)
    assert quarantine.num_rows == 0


@pytest.mark.parametrize("fault", ["half of it", "a wrong checksum", "something after the end"])
def test_a_broken_file_is_an_error_also_where_bad_citations_are_set_aside(tmp_path, fault):
    path = tmp_path / "wrong.xml.gz"
    path.write_bytes(WRONG_GZIP[fault])
    with pytest.raises(BioHiCLError, match=re.escape(str(path))):
        parsed(path, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "fault", ["wrong root", "empty", "unclosed root", "text after the end", "a second root", "an own entity", "zeros"]
)
def test_a_file_that_is_no_set_is_an_error_also_where_bad_citations_are_set_aside(tmp_path, fault):
    path = tmp_path / "wrong.xml"
    path.write_bytes(WRONG_XML[fault])
    with pytest.raises(BioHiCLError, match=re.escape(str(path))):
        parsed(path, tmp_path / "out", skip_bad=True)


def assert_set_aside_exactly(pages, seeds, folder):
    """A fault inside one record: all others equal the reference, and so does this one unless it is set aside."""
    endings, wrong = Counter(), []
    for name, xml in pages.items():
        start, end = xml.index(b"<PubmedArticle>"), xml.rindex(b"</PubmedArticle>") + len(b"</PubmedArticle>")
        records = re.findall(rb"<PubmedArticle>.*?</PubmedArticle>", xml[start:end], re.DOTALL)
        for seed in seeds:
            chance = random.Random(f"{name} {seed}")
            number = chance.randrange(len(records))
            bad = spoiled(records[number], chance)
            if not bad:
                continue
            try:
                endings[set_aside(xml[:start], records, number, bad, xml[end:], folder)] += 1
            except Exception as error:
                wrong.append(f"{name}, seed {seed}: {type(error).__name__}: {error}"[:600])
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:10])
    return endings


def spoiled(record, chance):
    """The record with a fault after which its end can still be told; None where this one left none."""
    fault = FAULTS[chance.choice([name for name in FAULTS if "gzip" not in name])]
    inner = fault(record[len(b"<PubmedArticle>") : -len(b"</PubmedArticle>")], chance)
    if (
        any(inner.count(mark) != record.count(mark) for mark in (b"<!", b"<?", b"?>", b"-->", b"]]>"))
        or b"PubmedArticle" in inner
    ):
        return None
    return b"<PubmedArticle>" + inner + b"</PubmedArticle>"


def set_aside(head, records, number, bad, tail, folder):
    path, alone, without = folder / "some.xml", folder / "alone.xml", folder / "without.xml"
    alone.write_bytes(head + bad + b"\n" + tail)
    path.write_bytes(head + b"\n".join([*records[:number], bad, *records[number + 1 :]]) + tail)
    without.write_bytes(head + b"\n".join(records[:number] + records[number + 1 :]) + tail)
    is_good = isinstance(judged(alone), Reading)
    *tables, quarantine = parsed(path, folder / "out", skip_bad=True)
    right = judged(path if is_good else without)
    for table, expected, name in zip(tables, right.tables, NAMES, strict=True):
        assert_same_rows(table, expected, name)
    assert quarantine.num_rows == (0 if is_good else 1), quarantine.to_pylist()
    if not is_good:
        assert quarantine["byte"][0].as_py() == path.read_bytes().index(bad)
    return "good" if is_good else "set aside"


def test_a_fault_in_one_record_leaves_the_others_as_they_are(pages, tmp_path):
    endings = assert_set_aside_exactly(pages, range(60), tmp_path)
    assert min(endings["good"], endings["set aside"]) > 5


@pytest.mark.faults
def test_many_faults_in_one_record_leave_the_others_as_they_are(pages, request, tmp_path, seeds):
    if (conftest.SHARED / "data").is_dir():
        pages = pages | request.getfixturevalue("real_pages")
    assert_set_aside_exactly(pages, range(seeds.start * 10, seeds.stop * 10), tmp_path)
