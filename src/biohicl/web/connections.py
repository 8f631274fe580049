"""Connections are few, and uvicorn waits for ever: for a request, and for somebody to take an answer.

Goes in: what comes over a connection. Comes out: the same, or its end where it only takes room.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """HTTP/1.1. ``patience``: seconds from the connection, or the last answer, to a whole request head; and in which
    what waits to be sent has to be taken. A request's body and the search have times of their own."""

    def __init__(self, *given: Any, patience: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self._patience = patience
        self._asking: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(self._patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancelled(self._taking)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancelled(self._asking)
        _cancelled(self._taking)
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        _cancelled(self._asking)
        self._asking = self.loop.call_later(self._patience, self._end_if_idle)

    def _end_if_idle(self) -> None:
        # Where something was asked, the time begins anew with the answer.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
