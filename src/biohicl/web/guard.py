"""What every request passes before it is answered, and what every answer says to browsers.

Goes in: requests. Comes out: those that are for this server, well-formed and small enough; others are answered here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import unquote_to_bytes

from biohicl.web.limits import IsKnown, Limits, name_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
Scope = dict[str, Any]


class Refused(Exception):  # noqa: N818
    """A request that is not answered; the words are meant for who sent it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Guard:
    """ASGI around the application. ``is_known``: the names that the server has (:func:`host_check`)."""

    def __init__(self, app: Any, limits: Limits, is_known: IsKnown) -> None:
        self._app = app
        self._limits = limits
        self._is_known = is_known

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            # Nothing here speaks WebSocket.
            return
        send = _with_headers(send)
        try:
            self._check(scope)
            body = await self._body(receive)
        except Refused as refused:
            await _answer(send, refused)
            return
        # HEAD is answered as GET; the server leaves the body out.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self._app(asked, _replayed(body, receive), send)

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        name = name_of(hosts[0]) if len(hosts) == 1 else None
        if name is None or not self._is_known(name):
            raise Refused(
                400,
                "this server is not known by the name in the request's Host header; use its own address (serve --name "
                "gives it another name)",
            )
        given = dict(headers)
        if given.get(b"sec-fetch-site") == b"cross-site" and scope["path"].startswith("/api/"):
            raise Refused(403, "a page of another site may not search here")
        query = scope["query_string"]
        if len(query) > self._limits.address:
            raise Refused(414, f"the address has more than {self._limits.address:,} bytes; shorten the query")
        if query.count(b"&") >= self._limits.parameters:
            raise Refused(414, f"the address sets more than {self._limits.parameters:,} things; leave some out")
        try:
            (scope.get("raw_path") or b"").decode("ascii")
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise Refused(400, "the address holds bytes that are no UTF-8") from None
        length = given.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body:
            raise self._too_large()

    async def _body(self, receive: Any) -> bytes:
        """The whole body: one that comes in chunks does not say its length, and one that comes slowly has to end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.patience):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > self._limits.body:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, f"the request's body did not come within {self._limits.patience:g} seconds") from None

    def _too_large(self) -> Refused:
        return Refused(413, f"the request's body has more than {self._limits.body:,} bytes")


def _replayed(body: bytes, receive: Any) -> Any:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replayed() -> Any:
        return next(messages, None) or await receive()

    return replayed


def _with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return sending


async def _answer(send: Any, refused: Refused) -> None:
    body = json.dumps({"error": str(refused)}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status in (408, 413):
        # What is left of the body is not read.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
