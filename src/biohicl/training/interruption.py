"""Ctrl-C and SIGTERM (a cluster's time is up) between two steps instead of within one.

Under torchrun a signal may come twice: from whoever sent it to every process, and from torchrun, which hands on its own
and kills what is still there 30 seconds later.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biohicl.progress import say

# Two signals within so many seconds are one.
SAME = 5.0


class Interruption:
    """Ctrl-C and SIGTERM wait for the end of a step; a second one, some seconds later, does not."""

    def __init__(self) -> None:
        self.by: int | None = None
        self.heard = 0.0

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
        if self.by is None:
            self.by, self.heard = number, time.monotonic()
            say(f"stopping after this step, with a checkpoint; once more after {SAME:.0f} seconds to stop at once")
        elif time.monotonic() - self.heard > SAME:
            raise KeyboardInterrupt

    def leave(self, step: int, folder: Path) -> None:
        """Ends the process as its signal would have."""
        say(f"stopped after step {step}; the same command goes on from {folder}")
        if self.by == signal.SIGTERM:
            sys.exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
