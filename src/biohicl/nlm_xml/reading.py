"""The reading of one file: block after block, and where something is wrong, record by record.

Goes in: a file, and what makes tables of a block's tags. Comes out: these tables. What goes wrong with the file's
content is one :class:`BioHiCLError` that names the file, the place and the last good record; or, if bad records are
to be skipped, a list of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

from biohicl.errors import BioHiCLError
from biohicl.nlm_xml.plain import outermost
from biohicl.nlm_xml.stream import Block, DamagedError, lines_at, open_document
from biohicl.nlm_xml.tags import Tags, whole_elements
from biohicl.progress import say

Tables = TypeVar("Tables")

CHECKS_UNTIL_FORGOTTEN = 1000

# Those, and processing instructions, of what libxml2 has accepted.
_COMMENTS = re.compile(rb"<!--.*?-->|<\?.*?\?>", re.DOTALL)


class BadRecordError(BioHiCLError):
    """A record that breaks a rule of the data; ``key``: its PMID or UI, where that can be read."""

    def __init__(self, reason: str, key: str | None = None) -> None:
        super().__init__(reason)
        self.key = key


class Skipped(NamedTuple):
    """A bad record: its key if known, the byte (from 0) and line (from 1) where it begins, why, and itself.

    Bytes are those of the unpacked file in UTF-8.
    """

    key: str | None
    byte: int
    line: int
    reason: str
    written: bytes


class Extractor(ABC, Generic[Tables]):
    """What makes tables of tags.

    ``roots``: the names that the document's root may have, and for each those of the records in it; ``vital``: the
    names of records without which the others are not what they should be, so that they are never left out. ``kind`` is
    what a record is called, ``key`` the element that identifies it; ``advice``: what to do about bad ones.
    """

    roots: ClassVar[Mapping[str, Sequence[str]]]
    vital: ClassVar[Sequence[str]] = ()
    kind: ClassVar[str]
    key: ClassVar[str]
    advice: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, tags: Tags) -> Tables:
        """The tables of these records. Raises :class:`BadRecordError`, and then has taken none of them."""

    @abstractmethod
    def last_good(self) -> str | None:
        """The last record taken, such as "PMID 12345"."""


class Reading(Generic[Tables]):
    """The reading of ``source`` by ``extract``; with ``skip_bad``, bad records are left out and kept in ``skipped``.

    A context: the file is opened, and its root's name looked at, where the context begins; so what cannot be read at
    all is told before anything is made for what is to be written.
    """

    def __init__(self, source: Path, extract: Extractor[Tables], skip_bad: bool = False) -> None:
        self._source, self._extract, self._skip_bad = source, extract, skip_bad
        self._key = re.compile(rf"<{extract.key}[^<>]*>\s*([0-9A-Z]+)\s*<".encode())
        self._open = contextlib.ExitStack()
        self._skipped: list[Skipped] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening, self._faults_told():
            if self._source.exists() and not self._source.is_file() and not self._source.is_dir():
                # A pipe cannot be read again, which finding a line takes.
                raise BioHiCLError(f"{self._source}: is no regular file; save what it gives, and name that")
            stream = opening.enter_context(self._source.open("rb"))
            self._document = open_document(self._source, stream)
            root = self._document.root
            if root not in self._extract.roots:
                wanted = " or ".join(self._extract.roots)
                raise DamagedError(f"the root is {root}, but {wanted} is needed: is this the right file?")
            self._root = re.compile(rf"</?{re.escape(root)}[\s>]".encode())
            names = "|".join(map(re.escape, self._extract.roots[root]))
            end = rf"</({names})\s*>"
            self._end = re.compile(end.encode())
            self._edge = re.compile(rf"<({names})(?=[\s/>])|{end}".encode())
            self._open = opening.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def tables(self) -> Iterator[Tables]:
        """The tables of block after block."""
        _keep_freed_memory()
        # A block's thousands of small values refer to nobody: looking for cycles among them finds none.
        collecting = gc.isenabled()
        gc.disable()
        try:
            with self._faults_told():
                for block in self._document.blocks(self._end):
                    yield from self._of_block(block)
        finally:
            if collecting:
                gc.enable()

    @contextlib.contextmanager
    def _faults_told(self) -> Iterator[None]:
        """What goes wrong with the file, as an error that names it."""
        try:
            yield
        except DamagedError as fault:
            raise self._error(str(fault), fault.begin, fault.line) from None
        except FileNotFoundError:
            raise BioHiCLError(f"{self._source}: no such file") from None
        except IsADirectoryError:
            raise BioHiCLError(f"{self._source}: is a folder, not a file") from None

    def skipped(self) -> list[Skipped]:
        """The records that were left out, in the file's order."""
        lines = lines_at(self._source, (record.byte for record in self._skipped))
        return [record._replace(line=lines[record.byte]) for record in self._skipped]

    def _of_block(self, block: Block) -> Iterator[Tables]:
        if block.tags is not None:
            try:
                yield self._taken(block.tags)
                return
            except BadRecordError:
                pass
        # Something is wrong with one of its records.
        written = block.written
        if block.fault is None:
            yield from self._good_ones(block, list(self._records(block, written)))
            return
        whole: list[tuple[int, int]] = []
        for count, (begin, end) in enumerate(self._records(block, written)):
            if count % CHECKS_UNTIL_FORGOTTEN == 0:
                # lxml's parsers are cycles.
                gc.collect(0)
            try:
                self._document.check_inside(written[begin:end])
            except DamagedError as fault:
                yield from self._good_ones(block, whole)
                self._leave_out(block, begin, end, fault)
                whole = []
            else:
                whole.append((begin, end))
        yield from self._good_ones(block, whole)
        if not self._skip_bad:
            raise block.fault

    def _records(self, block: Block, written: bytes) -> Iterator[tuple[int, int]]:
        """Where each record of a block begins and ends; by name where the block is not well-formed.

        What stands between two of them comes too, unless it is space. But where the root ends there, or begins anew,
        it is the file that is wrong.
        """
        place = 0
        spans = outermost(written) if block.fault is None else self._by_name(written)
        for begin, end in [*spans, (len(written), len(written))]:
            between = written[place:begin]
            if block.fault and self._root.search(between):
                raise block.fault
            if between.strip():
                yield begin - len(between.lstrip()), begin
            if begin < end:
                yield begin, end
            place = end

    def _by_name(self, written: bytes) -> Iterator[tuple[int, int]]:
        """Records never hold one another: one that has no end reaches to the next one's start."""
        begin: int | None = None
        name = b""
        for edge in self._edge.finditer(written):
            if edge[1]:
                if begin is not None:
                    yield begin, edge.start()
                begin, name = edge.start(), edge[1]
            elif begin is not None and edge[2] == name:
                yield begin, edge.end()
                begin = None

    def _good_ones(self, block: Block, spans: list[tuple[int, int]]) -> Iterator[Tables]:
        """The tables of well-formed records, in as few parts as can be: halved until the bad ones stand alone."""
        if not spans:
            return
        records = b"".join(block.data[begin:end] for begin, end in spans)
        try:
            # The end tag of the element around them: what follows the last end tag is not read.
            whole = whole_elements(records + b"</_>")
            rest = records[whole.length if whole else 0 :]
            if _COMMENTS.sub(b"", rest).strip():
                raise BadRecordError(f"text where a {self._extract.kind} should be: {_shortened(rest)}")
            if whole and whole.fault:
                raise BadRecordError(whole.fault)
            if whole:
                yield self._taken(Tags(whole))
        except BadRecordError as fault:
            if len(spans) == 1:
                self._leave_out(block, *spans[0], fault)
                return
            half = len(spans) // 2
            yield from self._good_ones(block, spans[:half])
            yield from self._good_ones(block, spans[half:])

    def _taken(self, tags: Tags) -> Tables:
        for name in tags.names(tags.roots()):
            if name not in self._extract.roots[self._document.root]:
                raise BadRecordError(f"{name} is not expected among the {self._extract.kind}s")
        return self._extract(tags)

    def _leave_out(self, block: Block, begin: int, end: int, fault: BadRecordError | DamagedError) -> None:
        """Keeps the record that begins at ``begin`` of the block among the skipped ones, or raises what is wrong."""
        written = block.data[begin:end]
        if isinstance(fault, BadRecordError):
            key, line = fault.key, 1
        else:
            # A rule can be broken only where it can be read; here the first key is the best guess.
            found = self._key.search(written)
            key, line = found[1].decode() if found else None, fault.line
        # Where not even its name is right, it is in the text.
        is_vital = any(name.encode() in written for name in self._extract.vital)
        if not self._skip_bad or is_vital:
            advice = self._extract.advice if not self._skip_bad else "it cannot be left out"
            named = f"{self._extract.key} {key}: " if key and not str(fault).startswith(self._extract.key) else ""
            raise self._error(f"{named}{fault}", block.begin + begin, line, advice) from None
        self._skipped.append(Skipped(key, block.begin + begin, 0, str(fault), written))
        say(f"{self._source.name}: left out {self._extract.kind} {key or '(no key)'}: {fault}")

    def _error(self, reason: str, begin: int | None, line: int, advice: str = "") -> BioHiCLError:
        good = self._extract.last_good()
        last = f"last good {good}" if good else f"no {self._extract.kind} was good"
        place = ""
        if begin is not None:
            first = lines_at(self._source, [begin]).get(begin, 1)
            place = f"line {first + line - 1}, in what begins at byte {begin}: "
        return BioHiCLError(f"{self._source}: {place}{reason} ({last})" + (f"; {advice}" if advice else ""))


def _shortened(written: bytes) -> str:
    words = " ".join(written.decode("utf-8", "replace").split())
    return f"'{words[:60]}...'" if len(words) > 60 else f"'{words}'"


def _keep_freed_memory() -> None:
    """Asks glibc to reuse the memory of one block for the next, which saves 5 % of the time.

    By default it returns arrays of megabytes to the system and is given the same pages back, zeroed.
    """
    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, 128 << 20)
        mallopt(mmap_threshold, 32 << 20)
