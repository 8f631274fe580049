"""BibTeX and RIS are read back by small parsers of their own, whatever stands in a citation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biohicl.search.retriever import Hit
from biohicl.web.citing import bibtex, pmid_list, ris

NASTY = [
    "A {brace that does not close",
    "two}} that were not opened",
    r"\input{/etc/passwd} \write18{ls} \end{document}",
    "100% of {A} & B #1 $x_1^2$ ~/home \\",
    'quotes " and @article{fake, title = {no}}',
    "a line\nER  - \nTY  - BOOK\r\nTI  - another",
    "separators\u2028and\u2029\x85\x0b\x0c\x1c\x00bells\x07",
    "مقالة عن السرطان, 😀 – naïve ß",
    "ends with a backslash \\",
    "",
]
COMMANDS = {r"\textbackslash": "\\", r"\textbraceleft": "{", r"\textbraceright": "}"}
COMMANDS |= {r"\textasciitilde": "~", r"\textasciicircum": "^"}


def hit(pmid=1, title="A title", **changes):
    fields = {
        "score": 1.0,
        "year": 2010,
        "journal": "J Sample & Test",
        "publication_date": "2010 Mar 1",
        "authors": (("Grønvold", "AB"), ("Trials and Errors, Inc.", "")),
        "abstract": "An abstract.",
        "headings": (("D1", "Mice, Inbred", True), (None, "Humans", False)),
        "publication_types": ("Journal Article",),
        "doi": "10.1000/(SICI)1_2<3::AID>4.0%20x",
        "pmc_id": "PMC1",
        "retracted": False,
    }
    return Hit(pmid=pmid, title=title, **{**fields, **changes})


def read_bibtex(text):
    """Entries as BibTeX itself reads them: braces are counted, and no backslash changes what one means."""
    entries, place = {}, 0
    while start := re.compile(r"\s*@article\{(\w+)").match(text, place):
        place, fields = start.end(), {}
        while field := re.compile(r",\s*(\w+) = \{").match(text, place):
            place, depth = field.end(), 1
            first = place
            while depth:
                depth += {"{": 1, "}": -1}.get(text[place], 0)
                place += 1
            fields[field[1]] = text[first : place - 1]
        assert text[place:].startswith("\n}"), text[place : place + 30]
        place += 2
        assert start[1] not in entries
        entries[start[1]] = fields
    assert not text[place:].strip()
    return entries


def printed(text):
    """What LaTeX prints: the commands that are known here, and groups; anything else that it reads as a command fails."""
    shown, place = "", 0
    while place < len(text):
        if command := re.compile(r"\{(\\text[a-z]+)\}").match(text, place):
            shown += COMMANDS[command[1]]
            place = command.end()
        elif text[place] == "\\":
            assert text[place + 1] in "&%$#_", text[place:]
            shown += text[place + 1]
            place += 2
        else:
            assert text[place] not in "&%$#_~^", text[place:]
            shown += "" if text[place] in "{}" else text[place]
            place += 1
    return shown


def read_ris(text):
    """Records: lists of (tag, value)."""
    assert text.endswith("\r\n")
    records, current = [], None
    for line in text[:-2].split("\r\n"):
        assert not re.search(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", line)
        tag, value = re.fullmatch(r"([A-Z][A-Z0-9])  - (.*)", line, re.DOTALL).groups()
        if tag == "TY":
            assert current is None
            current = []
        current.append((tag, value))
        if tag == "ER":
            records.append(current)
            current = None
    assert current is None
    return records


def spaced(text):
    """Line breaks and control characters are spaces in these formats, and what takes no room is left out."""
    unseen = {*map(chr, (0xAD, 0x61C, 0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2065)))}
    unseen |= {*map(chr, range(0x2066, 0x2070))}
    seen = (c for c in text if c not in unseen)
    return " ".join("".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in seen).split())


def test_no_word_is_torn_apart():
    """Byte order marks stand within words of real titles; joiners belong to Persian words and to some emoji."""
    title = "S\ufeffagittal a\ufefflignment\u200b, soft\u00adly: می\u200cخواهم 👩\u200d🔬 \ue000"
    shown = "Sagittal alignment, softly: می\u200cخواهم 👩\u200d🔬 \ue000"
    assert read_bibtex(bibtex([hit(title=title)]))["pmid1"]["title"] == f"{{{shown}}}"
    assert dict(read_ris(ris([hit(title=title)]))[0])["TI"] == shown


@pytest.mark.parametrize("title", NASTY)
def test_nasty_titles_come_back_as_they_were(title):
    hits = [hit(1, title), hit(2, "The next", retracted=True), hit(3, title, journal=title, authors=((title, ""),))]
    entries = read_bibtex(bibtex(hits))
    assert list(entries) == ["pmid1", "pmid2", "pmid3"]
    assert printed(entries["pmid1"].get("title", "")) == spaced(title)
    assert printed(entries["pmid3"].get("journal", "")) == spaced(title)
    assert entries["pmid2"]["note"] == "Retracted" and "note" not in entries["pmid1"]
    records = read_ris(ris(hits))
    assert [dict(record).get("TI", "") for record in records] == [spaced(title), "The next", spaced(title)]
    assert [record[0] for record in records] == [("TY", "JOUR")] * 3


@given(st.text(), st.text(), st.text(max_size=3), st.text())
def test_whatever_stands_in_a_citation(title, name, initials, doi):
    one = hit(7, title, authors=((name, initials),), doi=doi, abstract=name)
    entry = read_bibtex(bibtex([one]))["pmid7"]
    assert printed(entry.get("title", "")) == spaced(title)
    assert "doi" not in entry or entry["doi"] == spaced(doi)
    (record,) = read_ris(ris([one]))
    assert dict(record).get("AB", "") == spaced(name)
    assert [tag for tag, _ in record].count("ER") == 1


def test_fields_are_those_that_reference_managers_know():
    entry = read_bibtex(bibtex([hit(5)]))["pmid5"]
    # A group is one name, though it has an "and" and a comma; the first author's initials are two names.
    assert entry["author"] == "{Grønvold}, A. B. and {Trials and Errors, Inc.}"
    # Verbatim, with what would be an escape elsewhere.
    assert entry["doi"] == "10.1000/(SICI)1_2<3::AID>4.0%20x"
    assert entry["title"] == "{A title}" and entry["journal"] == r"J Sample \& Test" and entry["year"] == "2010"
    (record,) = read_ris(ris([hit(5)]))
    assert record[1:3] == [("AU", "Grønvold, A. B."), ("AU", "Trials and Errors, Inc.")]
    assert {("PY", "2010"), ("DA", "2010/03/01"), ("DO", "10.1000/(SICI)1_2<3::AID>4.0%20x")} < set(record)
    assert [value for tag, value in record if tag == "KW"] == ["Mice, Inbred", "Humans"]
    assert pmid_list([hit(5), hit(3)]) == "5\n3\n"


@pytest.mark.parametrize(
    ("date", "written"),
    [
        ("2010 Mar", "2010/03/"),
        ("2010 Jul-Aug", None),
        ("2010 Winter", None),
        ("", None),
        ("2010 Dec 31", "2010/12/31"),
    ],
)
def test_dates(date, written):
    assert dict(read_ris(ris([hit(publication_date=date)]))[0]).get("DA") == written


def test_an_identifier_that_would_break_out_of_its_field_is_left_out():
    entry = read_bibtex(bibtex([hit(doi="10.1/x}, title = {no", pmc_id="a\\b", year=None)]))["pmid1"]
    assert {"doi", "pmcid", "year"}.isdisjoint(entry)
    assert entry["title"] == "{A title}"
