"""Places that files come from: https:// servers and folders (file:// URLs), read through one interface.

Goes in: a base such as ``https://ftp.ncbi.nlm.nih.gov/pubmed``, ``file:///data/nlm`` or a folder's path.
Comes out: directory listings and byte streams; every failure is a :class:`BioHiCLError` that says which
place, what happened, and what to do.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from biohicl.errors import BioHiCLError

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0
TRIES = 4


def as_url(place: str) -> str:
    """The URL of a place as config.yaml writes it: https:// and file:// as they are, a folder as file://."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place):
        return place.rstrip("/")
    return Path(place).expanduser().resolve().as_uri()


def joined(base: str, *parts: str) -> str:
    """``base`` and path parts joined by single slashes."""
    return "/".join([base.rstrip("/"), *(urllib.parse.quote(part) for part in parts)])


def local_path(url: str) -> Path | None:
    """The path behind a file:// URL, else None."""
    if not url.startswith("file://"):
        return None
    return Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


def list_directory(url: str) -> list[str]:
    """Names of the files in a directory, sorted; a server's index page is read for its links."""
    folder = local_path(url)
    if folder is not None:
        if not folder.is_dir():
            raise BioHiCLError(
                f"{folder}: no such folder. Check `mirrors` in config.yaml: it must hold the files as NLM lays them out"
            )
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    with _response(url + "/") as response:
        text = response.read().decode("utf-8", "replace")
    links = re.findall(r"""href\s*=\s*["']([^"'?#]+)["']""", text, flags=re.IGNORECASE)
    names = {urllib.parse.unquote(link.rsplit("/", 1)[-1]) for link in links}
    return sorted(name for name in names if name)


@contextmanager
def open_stream(url: str) -> Iterator[Iterator[bytes]]:
    """Yields the bytes behind a URL, in pieces of 1 MB."""
    path = local_path(url)
    if path is not None:
        try:
            with open(path, "rb") as stream:
                yield _pieces(stream)
        except (FileNotFoundError, IsADirectoryError):
            raise BioHiCLError(f"{path}: no such file in this mirror") from None
        return
    with _response(url) as response:
        yield response.iter_raw(CHUNK_BYTES)


def read_text(url: str) -> str:
    """A small text file, whole."""
    with open_stream(url) as pieces:
        return b"".join(pieces).decode("utf-8", "replace")


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece


@contextmanager
def _response(url: str) -> Iterator[httpx.Response]:
    import httpx
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    if not url.startswith("https://"):
        raise BioHiCLError(f"{url}: only https:// and file:// addresses are read")

    def passing(error: BaseException) -> bool:
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code in (429, 500, 502, 503, 504)
        return isinstance(error, httpx.TransportError)

    def only_https(request: httpx.Request) -> None:
        # Redirects are followed one by one; each passes here before it is sent.
        if request.url.scheme != "https":
            raise BioHiCLError(f"{url}: redirects to {request.url}, and only https:// is followed")

    attempts = Retrying(
        retry=retry_if_exception(passing),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(multiplier=1, max=30),
        reraise=True,
    )
    with httpx.Client(
        follow_redirects=True,
        timeout=TIMEOUT_SECONDS,
        event_hooks={"request": [only_https]},
        # The files are compressed already; a server that compresses them again would break their checksums.
        headers={"Accept-Encoding": "identity"},
    ) as client:

        def ask() -> httpx.Response:
            response = client.send(client.build_request("GET", url), stream=True)
            if response.is_error:
                response.close()
            response.raise_for_status()
            return response

        try:
            response = attempts(ask)
        except httpx.HTTPStatusError as error:
            raise BioHiCLError(f"{url}: the server answered {error.response.status_code}") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise BioHiCLError(
                f"{url}: cannot be reached ({reason}). Check the network, or name a copy of NLM's files "
                "as a mirror (workflow/configs/mirror.yaml shows how)"
            ) from None
        try:
            yield response
        except httpx.TransportError as error:
            raise BioHiCLError(f"{url}: the connection broke off ({error}); run again") from None
        finally:
            response.close()
