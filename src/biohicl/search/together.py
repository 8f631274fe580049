"""Single things that several threads want done, where several at a time cost less than one after the other.

Goes in: a function of a list. Comes out: a function of one thing; what is asked for while it is busy is done next,
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class _Wanted:
    thing: Any
    done: bool = False
    result: Any = None
    error: BaseException | None = None
    # It is done, or its thread is to do what waits.
    called: Event = field(default_factory=Event)

    def answer(self, result: Any, error: BaseException | None) -> None:
        self.result, self.error, self.done = result, error, True
        self.called.set()


class Together(Generic[A, B]):
    """``do``: makes results of at most ``most`` things, in their order; called by one thread at a time. Where it fails,
    it is called for each thing alone, so that none has another's error."""

    def __init__(self, do: Callable[[Sequence[A]], Sequence[B]], most: int) -> None:
        self._do = do
        self._most = most
        self._waiting: list[_Wanted] = []
        self._is_busy = False
        self._lock = Lock()

    def __call__(self, thing: A) -> B:
        """The result for ``thing``, or the error of it."""
        mine = _Wanted(thing)
        with self._lock:
            self._waiting.append(mine)
            is_mine, self._is_busy = not self._is_busy, True
        if not is_mine:
            try:
                mine.called.wait()
            except BaseException:
                self._leave(mine)
                raise
        if not mine.done:
            self._work(mine)
        if mine.error is not None:
            raise mine.error
        result: B = mine.result
        return result

    def _leave(self, mine: _Wanted) -> None:
        """Where the thread of ``mine`` is interrupted while it waits: others do not wait for it to do their work."""
        with self._lock:
            self._waiting = [one for one in self._waiting if one is not mine]
            if mine.called.is_set() and not mine.done:
                self._call_next()

    def _call_next(self) -> None:
        """With the lock."""
        self._is_busy = bool(self._waiting)
        if self._waiting:
            self._waiting[0].called.set()

    def _work(self, mine: _Wanted) -> None:
        """Does what waits until ``mine`` is done; the next who waits goes on."""
        try:
            while not mine.done:
                with self._lock:
                    now, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._finish(now)
        finally:
            with self._lock:
                self._call_next()

    def _finish(self, now: Sequence[_Wanted]) -> None:
        try:
            answers: list[tuple[Any, BaseException | None]] = [
                (result, None) for result in self._do([one.thing for one in now])
            ]
            if len(answers) != len(now):
                raise ValueError(f"{len(answers)} results of {len(now)} things")
        except Exception as error:
            if len(now) > 1:
                for one in now:
                    self._finish([one])
                return
            answers = [(None, error)]
        except BaseException as error:
            # This thread is ended; the others are told, or they would wait for ever.
            for one in now:
                one.answer(None, error)
            raise
        for one, (result, own_error) in zip(now, answers, strict=True):
            one.answer(result, own_error)
