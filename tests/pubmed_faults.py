"""Files broken on purpose, what an independent reader makes of them, and what the parser may make of them.

A fault takes a file's bytes and a ``random.Random`` and gives other bytes. ``judged`` reads them with the reference;
``verdict`` compares what the parser did. Where two good readers of XML may differ, the difference has a name in
``DIFFERENCES`` and a test of what exactly it covers: nothing else is forgiven.
"""

import gzip
import random
import re
import time
import xml.etree.ElementTree as ET
import zlib
from dataclasses import dataclass

from biohicl.errors import BioHiCLError
from pubmed_reference import assert_same_rows, records
from pubmed_tables import NAMES, parsed

SECONDS_ALLOWED = 10

# ---- faults

SHARP = [
    b"<",
    b">",
    b"&",
    b'"',
    b"'",
    b"/",
    b"]",
    b"-",
    b"!",
    b"?",
    b"=",
    b":",
    b" ",
    b"\n",
    b"\r",
    b"\0",
    b"\x0b",
    b"\xff",
]
TOKENS = [
    *(
        b"<",
        b">",
        b"&",
        b"&amp;",
        b"&nosuch;",
        b"&#0;",
        b"&#x110000;",
        b"&#65;",
        b"]]>",
        b"<!--",
        b"-->",
        b"<!-- x -->",
    ),
    *(b"<?x ?>", b"<?xml version='1.0'?>", b"<![CDATA[", b"<![CDATA[ <i> ]]>", b"</PubmedArticle>", b"<PubmedArticle>"),
    *(
        b"</PubmedArticleSet>",
        b"<i>",
        b"</i>",
        b"<i/>",
        b"<PMID>5</PMID>",
        b"<x:y/>",
        b" a='1'",
        b"\0",
        b"\xff\xfe",
        b"\xc3",
    ),
    *(
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"\xef\xbf\xbf",
        b"\xef\xbb\xbf",
        b"\x1b",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
    ),
    *(b"<!DOCTYPE x>", b"<!ENTITY e 'x'>", b"%e;", b"\r\n"),
]
VALUES = [
    *(
        b"",
        b" ",
        b"x",
        b"-1",
        b"0",
        b"1",
        b"2147483647",
        b"2147483648",
        b"99999999999999999999",
        b"32768",
        b"+5",
        b"1e3",
        b"1_000",
    ),
    *(
        "１２".encode(),
        "٣".encode(),
        b" 12 ",
        b"007",
        b"1.0",
        b"0x1f",
        b"Feb",
        b"february",
        b"31",
        b"2000-2001",
        b"<i>7</i>",
    ),
    *(
        b"12<!-- 3 -->4",
        b"<![CDATA[12]]>",
        b"&#49;2",
        b"1\n2",
        b"Y",
        b"N",
        b"y",
        b"doi",
        b"ORCID",
        b"D016441",
        b"RetractionIn",
    ),
]
LEAF = re.compile(rb"<([A-Za-z]+)((?:\s[^<>]*)?)>([^<>]*)</\1>")
ATTRIBUTE = re.compile(rb"""(?<=\s)[A-Za-z]+="([^"<>]*)\"""")
ELEMENT = re.compile(
    rb"<(Author|AuthorList|MeshHeading|MeshHeadingList|Article|MedlineCitation|PubmedData|PubDate|DateRevised|DateCompleted"
    rb"|Abstract|ReferenceList|Reference|ArticleIdList|Journal|JournalIssue|CommentsCorrections|Chemical|KeywordList"
    rb"|ArticleDate|DescriptorName|QualifierName|PMID|ArticleTitle|PubmedArticle)(?:\s[^<>]*)?>.*?</\1>",
    re.DOTALL,
)


def span(data, chance, longest=300):
    start = chance.randrange(len(data))
    return start, min(len(data), start + int(longest ** chance.random()))


def truncate(data, chance):
    return data[: chance.randrange(len(data))]


def flip_a_bit(data, chance):
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def change_a_byte(data, chance):
    place = chance.randrange(len(data))
    return data[:place] + chance.choice([*SHARP, bytes([chance.randrange(256)])]) + data[place + 1 :]


def insert(data, chance):
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice([chance.choice(TOKENS), chance.randbytes(chance.randint(1, 4))]) + data[place:]


def delete(data, chance):
    start, end = span(data, chance)
    return data[:start] + data[end:]


def duplicate(data, chance):
    start, end = span(data, chance)
    return data[:end] + data[start:]


def move(data, chance):
    start, end = span(data, chance)
    rest = data[:start] + data[end:]
    place = chance.randrange(len(rest) + 1)
    return rest[:place] + data[start:end] + rest[place:]


def swap(data, chance):
    (a, b), (c, d) = sorted([span(data, chance), span(data, chance)])
    if b > c:
        return data
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def one_of(pattern, data, chance):
    """A match at a place chosen by chance."""
    start = chance.randrange(len(data))
    return pattern.search(data, start) or pattern.search(data)


def drop_an_element(data, chance):
    found = one_of(chance.choice([LEAF, ELEMENT]), data, chance)
    return data[: found.start()] + data[found.end() :]


def repeat_an_element(data, chance):
    found = one_of(chance.choice([LEAF, ELEMENT]), data, chance)
    return data[: found.end()] + data[found.start() :]


def empty_an_element(data, chance):
    found = one_of(chance.choice([LEAF, ELEMENT]), data, chance)
    return data[: found.start()] + b"<" + found[1] + b"/>" + data[found.end() :]


def change_a_text(data, chance):
    found = one_of(LEAF, data, chance)
    return data[: found.start(3)] + chance.choice(VALUES) + data[found.end(3) :]


def change_a_number(data, chance):
    found = one_of(re.compile(rb"<(PMID|Year|Month|Day)((?:\s[^<>]*)?)>([^<>]*)</\1>"), data, chance)
    return data[: found.start(3)] + chance.choice(VALUES) + data[found.end(3) :]


def change_an_attribute(data, chance):
    found = one_of(ATTRIBUTE, data, chance)
    return data[: found.start(1)] + chance.choice([v for v in VALUES if b"<" not in v]) + data[found.end(1) :]


def drop_an_attribute(data, chance):
    found = one_of(ATTRIBUTE, data, chance)
    return data[: found.start()] + data[found.end() :]


BYTE_FAULTS = (truncate, flip_a_bit, change_a_byte, insert, delete, duplicate, move, swap)
ELEMENT_FAULTS = (
    *(drop_an_element, repeat_an_element, empty_an_element, change_a_text, change_a_number),
    *(change_an_attribute, drop_an_attribute),
)


def on_gzip(fault):
    """The same fault, on the packed bytes."""

    def packed(data, chance):
        return fault(gzip.compress(data, chance.choice([1, 6, 9]), mtime=0), chance)

    packed.__name__ = f"{fault.__name__} (gzip)"
    return packed


FAULTS = {f.__name__: f for f in (*BYTE_FAULTS, *ELEMENT_FAULTS, *map(on_gzip, BYTE_FAULTS))}


def broken(data, fault, seed):
    """The same for a seed, everywhere."""
    return FAULTS[fault](data, random.Random(f"{fault} {seed}"))


# ---- what the reference makes of a file


@dataclass
class Reading:
    tables: tuple  # of rows, in the tables' order


@dataclass
class Fault:
    reason: str
    good: list  # PMIDs of the records before it


def judged(path):
    articles, flat, deletes = [], [], []
    try:
        if declares(unpacked(path)):
            raise ValueError("the document declares entities, or has a DTD of its own")
        for row, headings, gone in records(path):
            articles += [row] if row else []
            flat += headings
            deletes += gone
    except (ET.ParseError, ValueError, LookupError, EOFError, OSError, zlib.error) as error:
        return Fault(f"{type(error).__name__}: {error}", [row["pmid"] for row in articles])
    flat.sort(key=lambda h: (h["descriptor_ui"] is None, h["descriptor_ui"] or "", h["position"]))
    deletes.sort(key=lambda d: (d["pmid"], d["version"]))
    return Reading((articles, flat, deletes))


def unpacked(path):
    """What can be had of a file's bytes."""
    data = path.read_bytes()
    found = b""
    while data[:2] == b"\x1f\x8b":
        inflater = zlib.decompressobj(wbits=31)
        for start in range(0, len(data), 16):
            try:
                found += inflater.decompress(data[start : start + 16])
            except zlib.error:
                return found
        data = inflater.unused_data
        if not data:
            return found
    return found or data


def declares(data):
    """Whether the document type declaration has an internal subset. Comments before it may look like one."""
    head = re.sub(rb"<!--.*?-->|<\?.*?\?>", b"", data[:10_000], flags=re.DOTALL)
    return re.search(rb"""<!DOCTYPE(?:[^<>"'\[]|"[^"]*"|'[^']*')*\[""", head) is not None


# ---- what the parser made of it


@dataclass
class Refusal:
    message: str


def outcome(path, folder):
    """The tables, or what the parser's error says; any other exception goes on."""
    started = time.monotonic()
    try:
        result = parsed(path, folder)
    except BioHiCLError as error:
        result = Refusal(str(error))
        left = [place.name for place in folder.iterdir() if place != path]
        assert not left, f"an error was raised, but {left} were left"
    taken = time.monotonic() - started
    assert taken < SECONDS_ALLOWED, f"{taken:.0f} s for {path.stat().st_size} bytes"
    return result


def verdict(path, folder):
    """ "equal", "refused", or the name of a difference that is allowed. What is wrong is an AssertionError."""
    right = judged(path)
    found = outcome(path, folder)
    if isinstance(right, Fault) and isinstance(found, Refusal):
        assert_names_the_place(found.message, path, right)
        return "refused"
    for name, allows in DIFFERENCES.items():
        if allows(path, right, found):
            return name
    if isinstance(found, Refusal):
        raise AssertionError(f"refused, but it is right: {found.message}")
    if isinstance(right, Fault):
        raise AssertionError(f"read, but it is wrong: {right.reason}")
    for table, expected, name in zip(found, right.tables, NAMES, strict=True):
        assert_same_rows(table, expected, name)
    return "equal"


def assert_names_the_place(message, path, fault):
    assert str(path) in message, f"does not name the file: {message}"
    last = re.search(r"last good PMID (\d+)", message)
    assert last or "no citation was good" in message, f"does not name the last good PMID: {message}"
    if path.read_bytes()[:2] != b"\x1f\x8b":
        right = str(fault.good[-1]) if fault.good else None
        assert right == (last and last[1]), f"{right} was the last that is good: {message}"
    elif last:
        # How much of a broken gzip file a reader sees is its own affair.
        assert last[1].encode() in unpacked(path), f"PMID {last[1]} is not in what the file holds: {message}"
    assert re.search(r"(line|byte) \d", message) or "gzip" in message, f"does not name a line or byte: {message}"


# ---- where two good readers differ


def declared_version(path, right, found):
    """expat reads any version="..." in the declaration; libxml2 wants a number such as 1.0."""
    given = re.match(rb"""(?:\xef\xbb\xbf)?<\?xml\s+version\s*=\s*["']([^"']*)["']""", unpacked(path))
    return isinstance(right, Reading) and isinstance(found, Refusal) and given is not None and given[1] != b"1.0"


def entity_in_an_attribute(path, right, found):
    """expat leaves out a reference to an entity that an unread DTD may declare; refusing it is right."""
    unknown = re.search(rb"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z_:][^\s;<>&]*;", unpacked(path))
    return isinstance(right, Reading) and isinstance(found, Refusal) and unknown is not None


def gzip_header(path, right, found):
    """Python's gzip does not check a header's reserved flags and checksum; zlib itself does."""
    if not (isinstance(right, Reading) and isinstance(found, Refusal)):
        return False
    try:
        zlib.decompressobj(wbits=31).decompress(path.read_bytes()[:10_000])
    except zlib.error as error:
        return "header" in str(error)
    return False


DIFFERENCES = {
    "a version that is not 1.0": declared_version,
    "an entity in an attribute": entity_in_an_attribute,
    "a gzip header's flags": gzip_header,
}
