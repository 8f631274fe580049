"""A file of NLM's XML as blocks of whole records, each checked by libxml2.

Goes in: a .xml or .xml.gz file. Comes out: its root's name, then blocks of some megabytes, in order. The blocks are
well-formed one by one, and so are the prologue before and the rest behind them: together that is the document.
DTDs are neither fetched nor believed; a document that declares entities is refused.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isal import isal_zlib
from lxml import etree

from biohicl.errors import BioHiCLError
from biohicl.nlm_xml.plain import text_at_end
from biohicl.nlm_xml.tags import Tags, whole_elements
from biohicl.storage import GZIP_MAGIC

# Smaller blocks cost more calls of numpy; 12 MB are not faster than 8, and take more memory.
BLOCK_BYTES = 8 << 20
READ_BYTES = 1 << 18
UNPACKED_BYTES = 1 << 20
SMALLEST_PIECE_BYTES = 1 << 16
# libxml2 holds 10 MB at most.
CHECKED_BYTES = 1 << 20
LARGEST_RECORD_BYTES = 32 << 20
LARGEST_PROLOGUE_BYTES = 1 << 20
# NLM's files unpack to 6-11 times their size.
LARGEST_INFLATION = 100
ALWAYS_ALLOWED_BYTES = 1 << 30

# Python's own, which no XML is in; the first takes hours for a file of some megabytes.
NO_ENCODINGS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape"})

_QUOTED = rb"""(?:"[^"]*"|'[^']*')"""
# What may stand before the root, one after the other.
_PROLOGUE_PART = re.compile(
    rb"(?P<space>\s+)|(?P<markup><!--.*?-->|<\?.*?\?>)"
    rb"|(?P<doctype><!DOCTYPE\s+[^\s\[>]+\s*(?:(?:PUBLIC\s*" + _QUOTED + rb"|SYSTEM)\s*" + _QUOTED + rb"\s*)?"
    rb"(?:\[\s*\]\s*)?>)"
    rb"""|(?P<root><(?P<name>[^\s!?/>]+)(?:[^>"']++|"[^"]*+"|'[^']*+')*+>)""",
    re.DOTALL,
)
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*(["'])([A-Za-z0-9._-]+)\1[^>]*\?>""")


class DamagedError(BioHiCLError):
    """What is wrong with a file. ``begin``: the byte of the unpacked file from which ``line`` is counted (from 1)."""

    def __init__(self, reason: str, begin: int | None = None, line: int = 1) -> None:
        super().__init__(reason)
        self.begin, self.line = begin, line


@dataclass(frozen=True)
class Block:
    """Whole records, or a stretch of the file in which something is wrong.

    It is the first ``length`` bytes of ``data``, and begins at byte ``begin`` of the unpacked file. ``tags``: its
    elements; None where there is a ``fault`` in the XML, or what :class:`~biohicl.nlm_xml.tags.Whole` calls one.
    """

    begin: int
    data: bytes
    length: int
    tags: Tags | None
    fault: DamagedError | None = None

    @property
    def written(self) -> bytes:
        """The block as it stands in the file."""
        return self.data[: self.length]


class Document:
    """A file, opened: its root's name is known, its records follow from :meth:`blocks`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        head = b""
        while (parts := _prologue(head)) is None:
            piece = next(pieces, None)
            if piece is None or len(head) > LARGEST_PROLOGUE_BYTES:
                raise DamagedError(_fault_of_prologue(head), 0 if head else None)
            head += piece
        prologue, root = parts
        self._begin = root.end()
        self._head = head[root.end() :]
        start = root["root"]
        empty = start.endswith(b"/>")
        self._end = b"" if empty else b"</" + root["name"] + b">"
        check(prologue, start, len(start), self._end, 0)
        self.root = root["name"].decode()
        self._start = b"<_/>" if empty else start.replace(b"\n", b" ")  # so that a block's lines count from 1

    def check_inside(self, records: bytes) -> None:
        """Raises :class:`DamagedError` unless ``records`` are well-formed inside this document's root."""
        check(self._start, records, len(records), self._end, 0)

    def blocks(self, record_end: re.Pattern[bytes]) -> Iterator[Block]:
        """The records, in blocks. Raises :class:`DamagedError` where the file breaks off or does not end as it should.

        What is wrong in a block stands in its ``fault``: the next block goes on behind it, which is told by
        ``record_end``, a record's end tag.
        """
        self._record_end = record_end
        unread, begin = self._head, self._begin
        self._head = b""
        for parts in self._parts():
            unread = b"".join([unread, *parts])
            block = self._cut(unread, begin, at_end=False)
            if block:
                yield block
                unread, begin = unread[block.length :], begin + block.length
        while block := self._cut(unread, begin, at_end=True):
            yield block
            unread, begin = unread[block.length :], begin + block.length
        self._check_to_end(unread, begin)
        if length := text_at_end(unread):
            yield Block(begin, unread, length, None)

    def _cut(self, unread: bytes, begin: int, at_end: bool) -> Block | None:
        """The block that ``unread`` begins with, if it is there as a whole."""
        whole = whole_elements(unread) if self._end else None
        if whole is not None:
            try:
                check(self._start, unread, whole.length, self._end, begin)
            except DamagedError as fault:
                return self._faulty(unread, begin, fault, whole.length)
            return Block(begin, unread, whole.length, None if whole.fault else Tags(whole))
        if at_end or len(unread) > LARGEST_RECORD_BYTES:
            # An element that does not end, or an end without a beginning.
            try:
                self._check_to_end(unread, begin, at_end)
            except DamagedError as fault:
                if block := self._faulty(unread, begin, fault, 0):
                    return block
            if not at_end:
                limit = LARGEST_RECORD_BYTES >> 20
                raise DamagedError(f"a record of more than {limit} MB, or one that does not end", begin)
        return None

    def _check_to_end(self, unread: bytes, begin: int, is_end: bool = True) -> None:
        """Raises :class:`DamagedError` unless ``unread`` is the rest of a document."""
        try:
            check(self._start, unread, len(unread), b"", begin)
        except DamagedError as fault:
            if is_end and self._end[:-1] not in unread:
                reason = f"truncated: the file ends without {self._end.decode()} ({fault})"
                raise DamagedError(reason, fault.begin, fault.line) from None
            raise

    def _faulty(self, unread: bytes, begin: int, fault: DamagedError, length: int) -> Block | None:
        """A stretch that is not well-formed, to where its last record seems to end, by the names of its tags."""
        for end in self._record_end.finditer(unread):
            length = end.end()
        return Block(begin, unread, length, None, fault) if length else None

    def _parts(self) -> Iterator[list[bytes]]:
        """What follows, in lots of about a block's size; the last one ends where the file does, or breaks off."""
        waiting: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= BLOCK_BYTES:
                    yield waiting
                    waiting, size = [], 0
        except DamagedError:
            # What came before the fault is read first, so that the last good record is known.
            yield waiting
            raise
        yield waiting


def open_document(source: Path, stream: IO[bytes]) -> Document:
    """The document in ``stream``, the opened file ``source``: gzip or plain, in any encoding that Python knows."""
    return Document(_utf8_pieces(source, stream))


def _utf8_pieces(source: Path, stream: IO[bytes]) -> Iterator[bytes]:
    first = stream.read(2)
    stream.seek(0)
    if first == GZIP_MAGIC:
        size = source.stat().st_size
        return _as_utf8(_inflated(stream, max(LARGEST_INFLATION * size, ALWAYS_ALLOWED_BYTES)))
    return _as_utf8(iter(lambda: stream.read(READ_BYTES), b""))


def _inflated(stream: IO[bytes], most: int) -> Iterator[bytes]:
    """The content of gzip members, one behind the other; as much of it as can be had before a fault."""
    total = 0
    member = None
    data = held = b""
    while True:
        if not data:
            # The last 8 bytes are a member's checksum: behind all that it holds, so that this is yielded first.
            data = held + stream.read(READ_BYTES)
            data, held = (data[:-8], data[-8:]) if len(data) > len(held) else (data, b"")
            if not data:
                if not held:
                    break
                continue
        if member is None:
            # Zeros may follow the last member, to fill a tape's or a disk's block.
            data = data.lstrip(b"\0") if total else data
            if not data:
                continue
            member = _member(data, is_first=not total)
        try:
            piece = member.decompress(data, UNPACKED_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # an alias of zlib's in isal's stubs
            raise DamagedError(f"corrupted gzip, by byte {stream.tell():,} of the file: {error}") from None
        total += len(piece)
        if total > most:
            raise DamagedError(f"it unpacks to more than {most:,} bytes, which no file of NLM's does")
        if piece:
            yield piece
        if member.eof:
            data, member = member.unused_data, None
        else:
            data = member.unconsumed_tail
    if member is not None:
        raise DamagedError(f"truncated gzip: it ends after {stream.tell():,} bytes")


def _member(data: bytes, is_first: bool) -> isal_zlib.Decompress:
    if not is_first and not GZIP_MAGIC.startswith(data[:2]):
        raise DamagedError("corrupted gzip: behind its end come bytes that are no gzip")
    return isal_zlib.decompressobj(wbits=31)


def _as_utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8, and the XML declaration says so."""
    pieces = _pooled(pieces)
    head = b""
    for piece in pieces:
        head += piece
        # To the end of the XML declaration.
        if len(head) >= 200 and (b"?>" in head or len(head) > LARGEST_PROLOGUE_BYTES):
            break
    encoding = _encoding_of(head)
    if encoding == "utf-8":
        if head:
            yield _declared_utf8(head)
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        yield _declared_utf8(decoder.decode(head).encode())
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise DamagedError(f"ill-formed XML: not in {encoding}, its encoding: {error}") from None


def _pooled(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same in pieces of some size: a file may have a gzip member for each byte."""
    waiting: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= SMALLEST_PIECE_BYTES:
                yield piece if len(waiting) == 1 else b"".join(waiting)
                waiting, size = [], 0
    except DamagedError:
        if waiting:
            yield b"".join(waiting)
        raise
    if waiting:
        yield b"".join(waiting)


def _encoding_of(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for start, encoding in ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be")):
        if head.startswith(start):
            return encoding
    declared = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8))
    if not declared:
        return "utf-8"
    name = declared[2].decode()
    try:
        # Codecs that make no text of bytes, such as base64, are refused here too: but not for no bytes.
        with contextlib.suppress(UnicodeError):
            b" ".decode(name)
        found = codecs.lookup(name).name
        if found in NO_ENCODINGS:
            raise LookupError
        return found
    except LookupError:
        raise DamagedError(f"ill-formed XML: its encoding '{name}' is not known") from None


def _declared_utf8(head: bytes) -> bytes:
    declared = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8))
    if not declared:
        return head
    shift = len(head) - len(head.removeprefix(codecs.BOM_UTF8))
    begin, end = (place + shift for place in declared.span(2))
    return head[:begin] + b"utf-8" + head[end:]


class _Nothing:
    """A target without methods for tags or text: libxml2 checks the bytes and calls nobody."""

    def close(self) -> None:
        return None


def check(before: bytes, content: bytes, length: int, after: bytes, begin: int) -> None:
    """Raises :class:`DamagedError` unless ``before``, ``content[:length]`` and ``after`` together are well-formed.

    ``begin``: where ``content`` begins in the unpacked file.
    """
    parser = etree.XMLParser(target=_Nothing(), load_dtd=False, no_network=True, resolve_entities=False)
    try:
        parser.feed(before)
        # In parts below libxml2's limit for what it holds at a time.
        for place in range(0, length, CHECKED_BYTES):
            parser.feed(content[place : min(place + CHECKED_BYTES, length)])
        parser.feed(after)
        parser.close()
        # A prefix without a namespace is told, and not raised.
        for error in parser.feed_error_log.filter_from_errors():
            raise DamagedError(f"ill-formed XML: {error.message}", begin, error.line or 1)
    except etree.XMLSyntaxError as error:
        raise DamagedError(f"ill-formed XML: {_in_words(error)}", begin, error.lineno or 1) from None


def lines_at(source: Path, places: Iterable[int]) -> dict[int, int]:
    """The line (from 1) of each byte of the unpacked file; of those behind a fault, nothing."""
    lines: dict[int, int] = {}
    wanted = sorted(set(places), reverse=True)
    begin, line = 0, 1
    with source.open("rb") as stream, contextlib.suppress(DamagedError):
        for piece in _utf8_pieces(source, stream):
            while wanted and wanted[-1] <= begin + len(piece):
                place = wanted.pop()
                lines[place] = line + piece.count(b"\n", 0, place - begin)
            if not wanted:
                break
            begin, line = begin + len(piece), line + piece.count(b"\n")
    return lines


def _in_words(error: etree.XMLSyntaxError) -> str:
    """libxml2's words, without its lines and columns, which are those of a block."""
    words = str(error.msg).rpartition(", line ")[0] or str(error.msg)
    return re.sub(r" line \d+", "", words).replace("xmlParseEntityRef: no name", "an & that is not written &amp;")


def _prologue(head: bytes) -> tuple[bytes, re.Match[bytes]] | None:
    """What stands before the root's start tag, and that tag; None where ``head`` ends before it.

    The DOCTYPE is left out of what libxml2 will see; its lines are not.
    """
    place = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    seen = [head[:place]]
    declared = False
    while part := _PROLOGUE_PART.match(head, place):
        if part.lastgroup == "root":
            return b"".join(seen), part
        # A second DOCTYPE is left for libxml2 to find.
        leave_out = part.lastgroup == "doctype" and not declared
        declared |= leave_out
        seen.append(b"\n" * part[0].count(b"\n") if leave_out else part[0])
        place = part.end()
    return None


def _fault_of_prologue(head: bytes) -> str:
    if not head:
        return "it is empty"
    if b"<!DOCTYPE" in head and b"[" in head.partition(b"<!DOCTYPE")[2].partition(b">")[0]:
        return "its DOCTYPE declares entities or more, which NLM's files do not do; it is not read"
    if b"<" not in head:
        return "it holds no XML"
    return "ill-formed XML: no root element at its start"
