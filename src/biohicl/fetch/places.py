"""Places that files come from: https:// servers and folders (file:// URLs), read through one interface.

Goes in: a base such as ``https://ftp.ncbi.nlm.nih.gov/pubmed``, ``file:///data/nlm`` or a folder's path.
Comes out: directory listings, small texts, what tells one issue of a file from the next, and whole files brought into
a :class:`~biohicl.fetch.partial.Partial`. Every failure is a :class:`BioHiCLError` that says which place, what
happened, and what to do.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from biohicl.errors import BioHiCLError
from biohicl.fetch.https import PassingError, Reply, check_scheme, patiently, request
from biohicl.fetch.partial import DiskError, Partial, origin_of
from biohicl.progress import say
from biohicl.storage import GZIP_MAGIC, sha256_of

Answer = TypeVar("Answer")

ZIP_MAGIC = b"PK"
JSON_MAGIC = b"{"
KINDS = {GZIP_MAGIC: "a gzip file", ZIP_MAGIC: "a zip archive", JSON_MAGIC: "a JSON object"}

CHUNK_BYTES = 1 << 20
LARGEST_PAGE_BYTES = 16 << 20
LARGEST_TEXT_BYTES = 64 << 10
MOST_LINKS_OF_A_ROW = 10
# A transfer that got this much further is patient anew when it breaks off.
PROGRESS_BYTES = 1 << 20


def as_url(place: str) -> str:
    """The URL of a place as config.yaml writes it: https:// and file:// as they are, a folder as file://."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place):
        return place.rstrip("/")
    return Path(place).expanduser().resolve().as_uri()


def joined(base: str, *parts: str) -> str:
    """``base`` and path parts joined by single slashes."""
    return "/".join([base.rstrip("/"), *(urllib.parse.quote(part) for part in parts)])


def local_path(url: str) -> Path | None:
    """The path behind a file:// URL, None for https://; anything else is refused."""
    if not url.startswith("file://"):
        check_scheme(url)
        return None
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise BioHiCLError(f"{url}: names the machine {parts.netloc}; a folder of this one begins with file:///")
    return Path(urllib.parse.unquote(parts.path))


def first_that_serves(mirrors: Sequence[str], ask: Callable[[str], Answer]) -> Answer:
    """What ``ask`` makes of the first mirror's URL for which it succeeds; else one error that tells each failure."""
    failures = []
    for mirror in mirrors:
        try:
            return ask(as_url(mirror))
        except DiskError:
            raise
        except BioHiCLError as error:
            failures.append(str(error))
            if mirror != mirrors[-1]:
                say(f"{error}; asking the next mirror")
    raise BioHiCLError("; ".join(failures))


# --- listings and small texts -------------------------------------------------------------------------------


def list_directory(url: str) -> dict[str, str | None]:
    """The files in a directory, sorted by name; a server's index page is read for its links.

    With each name comes what changes when the file is replaced: what stands beside its link (mostly date and size),
    or a local file's own time and size. None where no time stands there.
    """
    folder = local_path(url)
    if folder is not None:
        if not folder.is_dir():
            raise BioHiCLError(
                f"{folder}: no such folder. Check `mirrors` in config.yaml: it must hold the files as NLM lays them out"
            )
        with _readable(folder):
            found = sorted((entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file())
        return {name: f"{stat.st_mtime_ns} {stat.st_size}" for name, stat in found}

    def ask() -> dict[str, str | None]:
        with request(url + "/") as reply:
            return _files_in_index(reply, reply.text(LARGEST_PAGE_BYTES))

    return patiently(ask)


def _files_in_index(reply: Reply, page: str) -> dict[str, str | None]:
    """The files that a directory page links to: those in the directory itself, by plain names."""
    from lxml import etree

    # Not html.parser, which some pages keep busy for hours.
    try:
        links = etree.HTML(page.encode(), etree.HTMLParser(encoding="utf-8")).xpath("//a[@href]")
    except (etree.XMLSyntaxError, AttributeError):
        # Nothing that could be a page.
        links = []
    here = urllib.parse.urlsplit(reply.url)
    folder = here.path.rsplit("/", 1)[0] + "/"
    files: dict[str, str | None] = {}
    rows: dict[Any, str] = {}
    for link in links:
        try:
            there = urllib.parse.urlsplit(urllib.parse.urljoin(reply.url, link.get("href").strip()))
        except ValueError:
            continue
        # Sort links have a query; subfolders and what lies elsewhere is no file of this directory.
        same_folder = there.path.startswith(folder) and (there.scheme, there.netloc) == (here.scheme, here.netloc)
        name = urllib.parse.unquote(there.path.removeprefix(folder))
        if same_folder and not there.query and _is_plain(name):
            files[name] = files.get(name) or _beside(link, rows)
    # A busy server's page must not pass for an empty directory: files would seem to be gone.
    is_index = "index of" in page.lower() or "directory listing" in page.lower()
    if not is_index and not any(name.endswith(".gz") for name in files):
        raise PassingError(f"{reply.url}: what came is no directory page; run again later, or check `mirrors`")
    # Where the server says neither length nor end, a page that was cut off looks whole.
    framed = "Content-Length" in reply.headers or "Transfer-Encoding" in reply.headers
    if not framed and "</html>" not in page.lower():
        raise PassingError(f"{reply.url}: the directory page is cut off; run again")
    return dict(sorted(files.items()))


def _beside(link: Any, rows: dict[Any, str]) -> str | None:
    """The text behind a link, or else in its table's row; None where it tells no time: a size alone may stay.

    ``rows``: the texts of those that were read before. One of very many links, each of which would read it whole, tells
    nothing of any.
    """
    inside = ""
    for row in link.iterancestors("tr"):
        if row not in rows:
            rows[row] = row.xpath("string()") if row.xpath("count(.//a)") <= MOST_LINKS_OF_A_ROW else ""
        inside = rows[row].replace(link.xpath("string()"), "", 1)
        break
    for text in (link.tail or "", inside):
        if re.search(r"\d:\d\d", text):
            return " ".join(text.split())
    return None


def _is_plain(name: str) -> bool:
    """Whether it can only be the name of one file in the directory."""
    return name not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f]", name)


def read_text(url: str) -> str:
    """A small text file, whole."""
    path = local_path(url)
    if path is None:

        def ask() -> str:
            with request(url) as reply:
                text = reply.text(LARGEST_TEXT_BYTES)
            if text.lstrip().startswith("<"):
                raise PassingError(f"{url}: came back as an HTML page; run again later, or use another mirror")
            return text

        return patiently(ask)
    text = next(_local_pieces(path), b"")
    if len(text) > LARGEST_TEXT_BYTES:
        raise BioHiCLError(f"{path}: longer than {LARGEST_TEXT_BYTES:,} bytes, which no checksum file is")
    return text.decode("utf-8", "replace")


def issue_of(url: str) -> dict[str, Any]:
    """What changes when a file is replaced under its name; empty where the server says nothing of the kind.

    Of a folder's file its SHA-256. Of a server's its date and length: unlike ETags, these are the same on all
    machines behind one address and on mirrors that keep dates, so that only a new file looks new.
    """
    path = local_path(url)
    if path is not None:
        with _readable(path):
            return {"sha256": sha256_of(path)}

    def ask() -> Mapping[str, str]:
        with request(url, method="HEAD") as reply:
            return dict(reply.headers)

    try:
        headers = patiently(ask)
    except PassingError:
        raise
    except BioHiCLError:
        # Not every server answers HEAD.
        return {}
    date, etag = headers.get("last-modified"), headers.get("etag")
    issue = {"last_modified": date, "etag": None if date else etag, "bytes": headers.get("content-length")}
    return {key: value for key, value in issue.items() if value}


# --- whole files --------------------------------------------------------------------------------------------


def bring(url: str, part: Partial, magic: bytes, largest: int) -> None:
    """Brings the file behind ``url`` into ``part``, from where it stands; goes on after interruptions.

    ``magic`` is how such a file begins, ``largest`` the most bytes that it may have. On return all that the server
    announced has come; whether it is right is for the caller to verify.
    """
    path = local_path(url)
    if path is not None:
        pieces = _of_its_kind(str(path), _local_pieces(path), magic)
        part.restart(None)
        for piece in pieces:
            part.write(piece)
        return
    while True:
        before = part.furthest
        try:
            return patiently(lambda: _one_try(url, part, magic, largest))
        except PassingError as error:
            # Only bytes beyond all that came before count, so that this ends.
            if part.furthest < before + PROGRESS_BYTES:
                kept = f" ({part.size:,} bytes are kept, and the next run goes on from there)" if part.size else ""
                raise PassingError(f"{error}{kept}") from None


def _one_try(url: str, part: Partial, magic: bytes, largest: int) -> None:
    with request(url, headers=part.range_headers(url)) as reply:
        if reply.status == 200:
            total = _whole_number(reply.headers.get("Content-Length"))
            _check_size(url, total, largest)
            # Looked at before what is there already is thrown away: an error page is no reason to.
            pieces = _of_its_kind(url, reply.pieces(), magic, reply.headers.get("Content-Type", ""))
            part.restart(origin_of(url, part.checksum, total, reply.headers))
        else:
            total = _total_if_it_continues(reply, url, part)
            _check_size(url, total, largest)
            pieces = reply.pieces()
        limit = largest if total is None else total
        for piece in pieces:
            if part.size + len(piece) > limit:
                part.restart(None)
                raise PassingError(f"{url}: more came than {limit:,} bytes; run again later, or use another mirror")
            part.write(piece)
    if total is not None and part.size < total:
        raise PassingError(f"{url}: {part.size:,} of {total:,} bytes came", wait=0)


def _total_if_it_continues(reply: Reply, url: str, part: Partial) -> int:
    """The file's length, if the reply goes on where the part ends; else the part is dropped, to start over."""
    said = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", reply.headers.get("Content-Range", ""))
    origin = part.origin
    same = reply.status == 206 and said is not None and origin is not None and int(said[1]) == part.size
    if same and said is not None and origin is not None:
        length, etag, date = int(said[3]), reply.headers.get("ETag"), reply.headers.get("Last-Modified")
        same = int(said[2]) < length and origin.length in (None, length)
        if origin.url == url:
            same = same and origin.etag in (None, etag) and origin.last_modified in (None, date)
        if same:
            return length
    part.restart(None)
    raise PassingError(f"{url}: the server does not go on with the part that is here; starting over", wait=0)


def _of_its_kind(url: str, pieces: Iterator[bytes], magic: bytes, content_type: str = "") -> Iterator[bytes]:
    """The same pieces, once the first ones begin as such a file does."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(magic):
            break
    if head.startswith(magic):
        return _chained(head, pieces)
    kind = KINDS[magic]
    if head.lstrip().startswith(b"<") or content_type.startswith("text/html"):
        raise PassingError(
            f"{url}: what came is not {kind} but an HTML page; the server may be busy: run again later, or add a mirror"
        )
    if not head:
        raise PassingError(f"{url}: what came is not {kind} but empty; run again later, or add a mirror")
    raise BioHiCLError(f"{url}: what came is not {kind}; use another mirror")


def _chained(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _check_size(url: str, size: int | None, largest: int) -> None:
    if size is not None and size > largest:
        raise BioHiCLError(f"{url}: longer than {largest:,} bytes, which no such file is; use another mirror")


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _local_pieces(path: Path) -> Iterator[bytes]:
    # A pipe would hang, a device might never end.
    if not path.is_file():
        raise BioHiCLError(f"{path}: no such file in this mirror")
    with _readable(path), open(path, "rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            yield piece


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BioHiCLError(f"{path}: cannot be read ({error.strerror or error}); use another mirror") from None
