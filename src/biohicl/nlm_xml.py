"""NLM's XML, record by record: gzip or plain, without DTDs, entities or the network.

Goes in: a file whose root holds one element a record. Comes out: those elements, one at a time, in memory
that does not grow; everything wrong with the file is one :class:`BioHiCLError` that names it and the place.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from lxml import etree

from biohicl.errors import BioHiCLError

_XML_SPACE = re.compile(r"[ \t\r\n]+")


def records(source: Path, root_tag: str, record_tags: Set[str]) -> Iterator[etree._Element]:
    """Yields each direct child of the root, complete; it is emptied once the next is asked for."""
    with _opened(source) as stream:
        # DTDs are neither fetched nor believed; entities other than XML's own stay unresolved.
        context = etree.iterparse(
            stream,
            events=("start", "end"),
            load_dtd=False,
            no_network=True,
            resolve_entities=False,
            remove_comments=True,
            remove_pis=True,
        )
        _, root = next(iter(context))
        if root.tag != root_tag:
            raise BioHiCLError(f"the root is {root.tag}, but {root_tag} is needed: is this the right file?")
        for event, element in context:
            if event == "end" and element.getparent() is root:
                if next(element.iter(etree.Entity), None) is not None:
                    raise BioHiCLError(f"line {element.sourceline}: an entity that XML does not define itself")
                if element.tag not in record_tags:
                    raise BioHiCLError(f"line {element.sourceline}: {element.tag} is not expected in {root_tag}")
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del root[0]


@contextmanager
def errors_that_name(source: Path, last_good: Callable[[], str]) -> Iterator[None]:
    """Turns whatever goes wrong with a file's content into one error: file, place, and the last good record."""
    try:
        yield
    except BioHiCLError as error:
        raise BioHiCLError(f"{source}: {error} ({last_good()})") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BioHiCLError(
            f"{source}: truncated or corrupted gzip: {error} ({last_good()}). Delete it and fetch it again"
        ) from None
    except etree.XMLSyntaxError as error:
        raise BioHiCLError(f"{source}: ill-formed XML: {error} ({last_good()})") from None
    except FileNotFoundError:
        raise BioHiCLError(f"{source}: no such file") from None


def text_of(element: etree._Element | None) -> str | None:
    """All text inside ``element``, markup's own included; runs of XML white space become one space.

    Other white space (no-break and thin spaces) is the author's and stays. None where nothing is left.
    """
    if element is None:
        return None
    return _XML_SPACE.sub(" ", "".join(element.itertext())).strip(" ") or None


def child(parent: etree._Element, tag: str) -> etree._Element:
    """The first child ``tag``, which has to be there."""
    found = parent.find(tag)
    if found is None:
        raise BioHiCLError(f"line {parent.sourceline}: {parent.tag} without {tag}")
    return found


@contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    with source.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if compressed:
            with gzip.open(raw) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield raw
