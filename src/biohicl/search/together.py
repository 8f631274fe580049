"""Single things that several threads want done, where several at a time cost less than one after the other.

Goes in: a function of a list. Comes out: a function of one thing; what is asked for while it is busy is done next,
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class _Wanted:
    thing: Any
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Together(Generic[A, B]):
    """``do``: makes results of at most ``most`` things, in their order; called by one thread at a time. Where it fails,
    it is called for each thing alone, so that none has another's error."""

    def __init__(self, do: Callable[[Sequence[A]], Sequence[B]], most: int) -> None:
        self._do = do
        self._most = most
        self._waiting: list[_Wanted] = []
        self._changing = Lock()
        self._busy = Lock()

    def __call__(self, thing: A) -> B:
        """The result for ``thing``, or the error of it."""
        mine = _Wanted(thing)
        with self._changing:
            self._waiting.append(mine)
        # Whoever comes in does what waits then, which may be others' only; most find theirs done.
        with self._busy:
            while not mine.done:
                with self._changing:
                    now, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._finish(now)
        if mine.error is not None:
            raise mine.error
        result: B = mine.result
        return result

    def _finish(self, now: Sequence[_Wanted]) -> None:
        try:
            for one, result in zip(now, self._do([one.thing for one in now]), strict=True):
                one.result, one.done = result, True
        except Exception as error:
            if len(now) == 1:
                now[0].error, now[0].done = error, True
                return
            for one in now:
                self._finish([one])
