"""One cautious request to an https:// server, and patience with what may pass.

Goes in: an address. Comes out: a response whose body is read in pieces. No server is trusted to be well-behaved:
redirects lead to https:// only, to the host that is named or where that keeps its files, and not in circles; nothing
may hang or trickle without end, and each failure is a :class:`BioHiCLError` that says which address, what happened,
and what to do.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import biohicl
from biohicl.errors import BioHiCLError
from biohicl.progress import say

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

Answer = TypeVar("Answer")

TRIES = 5
# Waits between tries: this long, then twice as long each time, and up to as much again at random, so that parallel
# jobs do not all come back at once.
BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
# A server may ask for more patience (Retry-After), but not for any amount of it.
LONGEST_RETRY_AFTER_SECONDS = 120.0

CONNECT_SECONDS = 20.0
# Without a byte for this long, or with fewer on average, the connection is given up.
STALL_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 1024

MOST_REDIRECTS = 5
# The hosts that keep a named host's files for it, by how they end.
STORES = {"huggingface.co": (".huggingface.co", ".hf.co"), "github.com": (".github.com", ".githubusercontent.com")}
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(BioHiCLError):
    """What may be over at the next try: a busy server, a cut connection.

    ``wait`` is what the server asked for in seconds; 0 where there is nothing to wait for.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def patiently(attempt: Callable[[], Answer]) -> Answer:
    """Calls ``attempt`` until it succeeds, again after each :class:`PassingError`, ``TRIES`` times at most."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    retrying = Retrying(
        retry=retry_if_exception_type(PassingError),
        stop=stop_after_attempt(TRIES),
        wait=_seconds_to_wait,
        before_sleep=_tell_retry,
        reraise=True,
    )
    return retrying(attempt)


def _seconds_to_wait(state: RetryCallState) -> float:
    from tenacity import wait_exponential_jitter

    asked = _failure(state).wait
    if asked == 0:
        return 0.0
    own = wait_exponential_jitter(BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, jitter=BACKOFF_SECONDS)(state)
    return max(own, min(asked or 0.0, LONGEST_RETRY_AFTER_SECONDS))


def _tell_retry(state: RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0.0
    say(f"{_failure(state)}; try {state.attempt_number + 1} of {TRIES} in {wait:.0f} s")


def _failure(state: RetryCallState) -> PassingError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PassingError)
    return error


class Reply:
    """A response: status, headers, the address that gave it in the end, and its body in pieces as they come."""

    def __init__(self, response: httpx.Response, watchdog: _Watchdog) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = str(response.url)
        self._response = response
        self._watchdog = watchdog

    def pieces(self) -> Iterator[bytes]:
        """The body as the server stores it: a file that is compressed stays so, whatever the headers say."""
        for piece in self._response.iter_raw():
            self._watchdog.received += len(piece)
            yield piece

    def text(self, limit: int) -> str:
        """The whole body as text, of at most ``limit`` bytes."""
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip"):
            raise BioHiCLError(f"{self.url}: comes as {coding[:60]!r}, which was not asked for; use another mirror")
        # Not httpx's way, which unpacks all that a piece holds, and again where it was packed again.
        unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
        body = bytearray()
        for piece in self.pieces():
            try:
                body += unpack.decompress(piece, limit + 1) if unpack else piece
            except zlib.error as error:
                raise PassingError(f"{self.url}: what came is no whole page ({error}); run again later") from None
            if len(body) > limit:
                raise BioHiCLError(
                    f"{self.url}: longer than {limit:,} bytes, which no such page is; check `mirrors` in config.yaml"
                )
        return body.decode("utf-8", "replace")


@contextmanager
def request(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Iterator[Reply]:
    """One try. Yields a reply of status 200, 206 or 416 (the last two only where ``headers`` ask for a range)."""
    import httpx

    check_scheme(url)
    watchdog = _Watchdog()
    client = httpx.Client(
        timeout=httpx.Timeout(STALL_SECONDS, connect=CONNECT_SECONDS),
        # The files are compressed already; a server that compresses them again would break their checksums.
        headers={"Accept-Encoding": "identity", "User-Agent": f"biohicl/{biohicl.__version__}", **(headers or {})},
    )
    try:
        with client, watchdog:
            response = _after_redirects(client, method, url, watchdog)
            try:
                _check_status(url, response, "Range" in client.headers)
                yield Reply(response, watchdog)
            finally:
                response.close()
    except httpx.RequestError as error:
        raise _in_words(url, error, watchdog) from None


def check_scheme(url: str) -> None:
    """Refuses every address but https:// ones."""
    if not url.startswith("https://"):
        raise BioHiCLError(f"{url}: only https:// and file:// addresses are read; change it in config.yaml")


def _after_redirects(client: httpx.Client, method: str, url: str, watchdog: _Watchdog) -> httpx.Response:
    """Redirects are followed here, one by one: httpx would read the body of each, however long, and follow http://."""
    import httpx

    try:
        seen = [httpx.URL(url)]
    except httpx.InvalidURL as error:
        raise BioHiCLError(f"{url}: no address ({error}); change it in config.yaml") from None
    while True:
        query = client.build_request(method, seen[-1], extensions={"trace": watchdog.notice_connection})
        try:
            response = client.send(query, stream=True, follow_redirects=False)
        except UnicodeError as error:
            # A host name that no network knows, which httpx lets through.
            raise BioHiCLError(f"{url}: {seen[-1]} is no address ({error}); use another mirror") from None
        if not response.has_redirect_location:
            return response
        response.close()
        seen.append(_redirected(url, seen, response.headers["Location"]))


def _redirected(url: str, seen: list[httpx.URL], location: str) -> httpx.URL:
    """Where a redirect leads, if it may be followed."""
    target = seen[-1].join(location)
    if target.scheme != "https":
        raise BioHiCLError(f"{url}: redirects to {location[:200]}, and only https:// is followed; use another mirror")
    if not is_named(target.host, seen[0].host):
        raise BioHiCLError(
            f"{url}: redirects to {target.host[:200]}, and only the host that is named is asked; if that one is meant, "
            f"name it in config.yaml: {str(target)[:200]}"
        )
    if target in seen:
        raise BioHiCLError(f"{url}: redirects in a circle, through {target}; use another mirror")
    if len(seen) > MOST_REDIRECTS:
        raise BioHiCLError(f"{url}: redirects more than {MOST_REDIRECTS} times; use another mirror")
    return target


def is_named(host: str, named: str) -> bool:
    """Whether ``host`` is the one that config.yaml names, or keeps that one's files."""
    return host == named or host.endswith(STORES.get(named, ()))


def _check_status(url: str, response: httpx.Response, range_asked: bool) -> None:
    status = response.status_code
    if status == 200 or (range_asked and status in (206, 416)):
        return
    said = f"{url}: the server answered {_status_name(status)}"
    if status in PASSING_STATUSES:
        raise PassingError(f"{said}; it may be busy: run again later, or add a mirror", _retry_after(response))
    if status in (404, 410):
        raise BioHiCLError(
            f"{said}: no such file there. Check the address in config.yaml; `snakemake refresh` asks what there is now"
        )
    raise BioHiCLError(f"{said}. Check the address in config.yaml, or use another mirror")


def _status_name(status: int) -> str:
    try:
        return f"{status} ({http.HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds in a Retry-After header, which holds a number or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9]) or None
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    seconds = (date - datetime.datetime.now(datetime.UTC)).total_seconds()
    return seconds if seconds > 0 else None


def _in_words(url: str, error: httpx.RequestError, watchdog: _Watchdog) -> BioHiCLError:
    import httpx

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return BioHiCLError(
            f"{url}: its certificate is not trusted ({error}). Behind a proxy that reads TLS, name the proxy's "
            "certificate in the environment variable SSL_CERT_FILE"
        )
    reason = str(error) or type(error).__name__
    if "Invalid URL in location header" in reason:
        return BioHiCLError(f"{url}: redirects to what is no address ({reason}); use another mirror")
    if watchdog.bit or isinstance(error, httpx.ReadTimeout):
        return PassingError(
            f"{url}: the server stalled: less than {SLOWEST_BYTES_PER_SECOND:,} bytes a second for "
            f"{STALL_SECONDS:.0f} s; run again later, or add a mirror"
        )
    if watchdog.received:
        return PassingError(f"{url}: the connection broke off ({reason}); run again")
    return PassingError(
        f"{url}: cannot be reached ({reason}). Check the network, or name a copy: config.yaml takes a folder as a "
        "mirror of NLM's files (workflow/configs/mirror.yaml shows how), and as the path of a benchmark or a backbone"
    )


class _Watchdog:
    """Shuts a connection that is too slow, from a thread of its own.

    httpx's timeouts limit the pause between two bytes. A server that sends one every few seconds, in the headers or
    between two pieces of the body, would hold a job for days.
    """

    def __init__(self) -> None:
        self.received = 0
        self.bit = False
        self._connection: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def notice_connection(self, event: str, details: Mapping[str, Any]) -> None:
        """For httpcore's trace extension: keeps hold of the newest network stream."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._connection = details["return_value"]

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = self.received
        while not self._over.wait(STALL_SECONDS):
            if self._connection is not None and self.received - before < SLOWEST_BYTES_PER_SECOND * STALL_SECONDS:
                self.bit = True
                # Not SSLSocket.shutdown, which would pull the TLS state from under the thread that reads.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._connection.get_extra_info("socket"), socket.SHUT_RDWR)
            before = self.received
