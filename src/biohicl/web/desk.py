"""Work that is done some at a time, while the rest waits in a queue that has an end.

Goes in: functions. Comes out: what they return, or :class:`BusyError` where too many wait, or one has waited too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class BusyError(Exception):
    """There is no room to wait, or the wait was too long; the message is meant for people."""


class Desk:
    """For one event loop. ``at_a_time``: functions that run; ``queue``: how many may wait; ``patience``: seconds."""

    def __init__(self, at_a_time: int, queue: int, patience: float) -> None:
        self._pool = ThreadPoolExecutor(at_a_time, thread_name_prefix="search")
        self._places = asyncio.Semaphore(at_a_time)
        self._queue = queue
        self._patience = patience
        self._waiting = 0

    async def do(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done in a thread."""
        if self._waiting >= self._queue and self._places.locked():
            raise BusyError(f"{self._queue:,} searches wait already; try again in a few seconds")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise BusyError(f"this search has waited {self._patience:g} seconds; try again in a few seconds") from None
        finally:
            self._waiting -= 1
        doing = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Who asked may have gone; the thread is taken until it is done all the same.
        doing.add_done_callback(self._done)
        return await asyncio.shield(doing)

    def _done(self, doing: asyncio.Future[T]) -> None:
        self._places.release()
        if not doing.cancelled():
            # Looked at, so that nobody complains of an error that nobody was left to see.
            doing.exception()
