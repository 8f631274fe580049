"""Ctrl-C and SIGTERM (a cluster's time is up) between two steps instead of within one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biohicl.progress import say


class Interruption:
    """Ctrl-C and SIGTERM wait for the end of a step; a second one does not."""

    def __init__(self) -> None:
        self.by: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: object) -> None:
        if self.by is not None:
            raise KeyboardInterrupt
        self.by = number
        say("stopping after this step, with a checkpoint; once more to stop at once")

    def leave(self, step: int, folder: Path) -> None:
        """Ends the process as its signal would have."""
        say(f"stopped after step {step}; the same command goes on from {folder}")
        if self.by == signal.SIGTERM:
            sys.exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
