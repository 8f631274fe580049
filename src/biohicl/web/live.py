"""The index that requests are answered from, renewed when its file is.

Goes in: an index that may be written again while people search. Comes out: the newest one that is whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread

from biohicl.progress import say
from biohicl.search.contents import INDEX_FILE
from biohicl.search.retriever import Retriever
from biohicl.web.tree import Tree

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Opened:
    """An index that is answered from, and MeSH over it."""

    retriever: Retriever
    tree: Tree


class Live:
    """``index``: its folder. ``model``: the folder of the model that made it, where that is not beside the index.
    The index's file is looked at every ``seconds``, and opened again where it has changed.

    A new index is opened beside the old one, which answers until the new one can. One that cannot be opened is told on
    standard error, once, and the old one stays; every ``again`` seconds it is tried anew, for what it lacks (MeSH, its
    model) may be about to be made. Raises :class:`BioHiCLError` where there is none to begin with.
    """

    def __init__(
        self,
        index: Path,
        model: Path | None = None,
        device: str = "auto",
        seconds: float = 1.0,
        again: float = 30.0,
    ) -> None:
        self._opening = partial(Retriever, index, model, device)
        self._seconds = seconds
        self._again = again
        self._next_try = math.inf
        self._told: tuple[Stamp, str] | None = None
        self._file = index / INDEX_FILE
        # Before it is opened: one that is written meanwhile is opened again.
        self._stamp = _stamp(self._file)
        self._now = _opened(self._opening)
        self._looked = time.monotonic()
        self._lock = Lock()

    def now(self) -> Opened:
        """The index to answer from. Starts to open a newer one where there is one, and does not wait for it."""
        if time.monotonic() - self._looked >= self._seconds and self._lock.acquire(blocking=False):
            renewing = False
            try:
                self._looked = time.monotonic()
                stamp = _stamp(self._file)
                # While it is made again there is none.
                renewing = stamp is not None and (stamp != self._stamp or self._looked >= self._next_try)
                if renewing:
                    Thread(target=self._renew, args=(stamp,), daemon=True, name="renew").start()
            finally:
                if not renewing:
                    self._lock.release()
        return self._now

    def _renew(self, stamp: Stamp) -> None:
        """Runs with the lock, so that one is opened at a time."""
        try:
            self._now = _opened(self._opening)
            self._next_try = math.inf
            say(f"{self._file}: was made again; {self._now.retriever.index.about['citations']:,} citations")
        except Exception as error:
            # Whatever is wrong with the new one, the old one can answer.
            self._next_try = time.monotonic() + self._again
            if self._told != (stamp, str(error)):
                say(f"{self._file}: was made again, but cannot be used ({error}); the old index still answers")
            self._told = stamp, str(error)
        finally:
            self._stamp = stamp
            self._looked = time.monotonic()
            self._lock.release()


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _opened(opening: Callable[[], Retriever]) -> Opened:
    """All of it: what is opened later could be of the next index by then."""
    retriever = opening()
    for file in retriever.index.files:
        file.vectors, file.terms, file.headings, file.types, file.records  # noqa: B018
    # Loads the model, which the first to search would wait for.
    retriever.encode("warm")
    return Opened(retriever, Tree(retriever.index, retriever.headings))
