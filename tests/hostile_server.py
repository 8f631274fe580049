"""A real HTTPS server on loopback that misbehaves as it is told, path by path, and remembers what it was asked.

``server.put(path, body, cut(1000), status(503))`` serves the first request for the path cut off, the second with 503,
and all further ones as a good server does, ranges included; ``always=`` misbehaves without end.
"""

import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# However a test ends, no thread outlives this.
LONGEST_SECONDS = 60


@dataclass
class Seen:
    method: str
    headers: dict
    at: float = field(default_factory=time.monotonic)
    sent: int = 0

    @property
    def range(self):
        return self.headers.get("range")


@dataclass
class File:
    body: bytes
    script: list
    always: object
    etag: str | None
    last_modified: str | None


class HostileServer:
    def __init__(self, authority):
        self.files = {}
        self.seen = {}
        self.closing = threading.Event()
        self._server = _TlsServer(("127.0.0.1", 0), _Handler)
        self._server.hostile = self
        authority.issue_cert("127.0.0.1").configure_cert(self._server.context)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def put(self, path, body, *script, always=None, etag='"one"', last_modified="Mon, 05 Jan 2026 10:00:00 GMT"):
        self.files[path] = File(body, list(script), always, etag, last_modified)
        self.seen[path] = []

    def ranges(self, path):
        """The Range header of each request for the path."""
        return [seen.range for seen in self.seen[path]]

    def sent(self, path):
        """The bytes of body sent to each request for the path."""
        return [seen.sent for seen in self.seen[path]]

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(LONGEST_SECONDS)


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *words):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        super().__init__(*words)

    def get_request(self):
        connection, address = self.socket.accept()
        connection.settimeout(LONGEST_SECONDS)
        # The handshake comes with the first read, in the request's own thread.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        hostile = self.server.hostile
        self.close_connection = True
        self.seen = Seen(self.command, {name.lower(): value for name, value in self.headers.items()})
        self.file = hostile.files.get(self.path)
        hostile.seen.setdefault(self.path, []).append(self.seen)
        if self.file is None:
            status(404)(self)
        elif self.file.script:
            self.file.script.pop(0)(self)
        else:
            (self.file.always or healthy)(self)

    def do_HEAD(self):
        self.do_GET()

    def head(self, code, validators=True, **headers):
        self.send_response(code)
        if validators and self.file is not None:
            for name, value in (("ETag", self.file.etag), ("Last-Modified", self.file.last_modified)):
                if value:
                    self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def body(self, piece):
        if self.command != "HEAD":
            self.wfile.write(piece)
            self.wfile.flush()
            self.seen.sent += len(piece)

    def pause(self, seconds=LONGEST_SECONDS):
        """True where the server is closing."""
        return self.server.hostile.closing.wait(seconds)

    @property
    def start(self):
        match = re.fullmatch(r"bytes=(\d+)-", self.seen.range or "")
        return int(match[1]) if match else None


def healthy(exchange, check_if_range=True):
    file, start = exchange.file, exchange.start
    condition = exchange.seen.headers.get("if-range")
    if start is None or (check_if_range and condition not in (None, file.etag, file.last_modified)):
        exchange.head(200, Content_Length=len(file.body))
        exchange.body(file.body)
    elif start >= len(file.body):
        exchange.head(416, Content_Range=f"bytes */{len(file.body)}", Content_Length=0)
    else:
        rest = file.body[start:]
        said = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        exchange.head(206, Content_Range=said, Content_Length=len(rest))
        exchange.body(rest)


def ignores_if_range(exchange):
    healthy(exchange, check_if_range=False)


def ignores_range(exchange):
    exchange.head(200, Content_Length=len(exchange.file.body))
    exchange.body(exchange.file.body)


def wrong_content_range(exchange):
    """Answers 206, but from the beginning."""
    body = exchange.file.body
    if exchange.start is None:
        return ignores_range(exchange)
    exchange.head(206, Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}", Content_Length=len(body))
    return exchange.body(body)


def skips(exchange):
    """Answers 206, says so, and leaves out 1,000 bytes."""
    start, body = exchange.start + 1000, exchange.file.body
    exchange.head(206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", Content_Length=len(body) - start)
    exchange.body(body[start:])


def short_ranges(exchange):
    """Honest, but of what a Range asks for only 50,000 bytes at a time."""
    start, body = exchange.start, exchange.file.body
    if start is None:
        return cut(50_000)(exchange)
    piece = body[start : start + 50_000]
    said = f"bytes {start}-{start + len(piece) - 1}/{len(body)}"
    exchange.head(206, Content_Range=said, Content_Length=len(piece))
    return exchange.body(piece)


def cut(count):
    """Announces everything that is asked for, and closes the connection after ``count`` bytes."""

    def behave(exchange):
        start, body = exchange.start or 0, exchange.file.body
        said = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        exchange.head(206 if start else 200, Content_Length=len(body) - start, **said)
        exchange.body(body[start : start + count])

    return behave


def announces(difference):
    """A Content-Length that is off by ``difference``."""

    def behave(exchange):
        body = exchange.file.body
        exchange.head(200, Content_Length=len(body) + difference)
        exchange.body(body)

    return behave


def unframed(count):
    """Neither a length nor chunks: the end of the connection is the end, here after ``count`` bytes."""

    def behave(exchange):
        exchange.head(200)
        exchange.body(exchange.file.body[:count])

    return behave


def chunked(exchange):
    exchange.head(200, Transfer_Encoding="chunked")
    for start in range(0, len(exchange.file.body), 50_000):
        piece = exchange.file.body[start : start + 50_000]
        exchange.body(b"%x\r\n%s\r\n" % (len(piece), piece))
    exchange.body(b"0\r\n\r\n")


def instead(body, **headers):
    """Other content under status 200."""

    def behave(exchange):
        exchange.head(200, validators=False, Content_Length=len(body), **headers)
        exchange.body(body)

    return behave


html = instead(b"<!DOCTYPE html><html><body>We are busy d41d8cd98f00b204e9800998ecf8427e</body></html>")


def status(code, **headers):
    def behave(exchange):
        exchange.head(code, validators=False, Content_Length=0, **headers)

    return behave


def redirect(target):
    return status(302, Location=target)


def hang(exchange):
    """Takes the request and says nothing."""
    exchange.pause()


def hang_after(count):
    def behave(exchange):
        cut(count)(exchange)
        exchange.pause()

    return behave


def trickle(exchange):
    """A byte now and then: no pause is long enough for a timeout."""
    exchange.head(200, Content_Length=len(exchange.file.body))
    deadline = time.monotonic() + LONGEST_SECONDS
    for byte in exchange.file.body:
        if time.monotonic() > deadline or exchange.pause(0.1):
            break
        exchange.body(bytes([byte]))


def trickle_headers(exchange):
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline and not exchange.pause(0.1):
        exchange.wfile.write(b"X-Wait: 1\r\n")


def paced(exchange):
    """Healthy, but in small steps: time enough to be killed in the middle."""
    start, body = exchange.start or 0, exchange.file.body
    exchange.head(200, Content_Length=len(body))
    for at in range(start, len(body), 20_000):
        exchange.body(body[at : at + 20_000])
        if exchange.pause(0.1):
            break


def endless(exchange):
    """Pieces without end, and without a length."""
    exchange.head(200, Transfer_Encoding="chunked")
    deadline = time.monotonic() + LONGEST_SECONDS
    piece = exchange.file.body
    while time.monotonic() < deadline and not exchange.server.hostile.closing.is_set():
        exchange.body(b"%x\r\n%s\r\n" % (len(piece), piece))
