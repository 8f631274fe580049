"""Progress: a bar on a terminal, plain lines elsewhere (Snakemake's logs).

Everything is said on standard error, so that standard output stays for results.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0
# Control characters, but for tabs and the ends of lines.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def spelled(text: str) -> str:
    """With control characters written out: a server's words, and names in files, stand in errors, and would else tell
    a terminal what to do."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(message: str) -> None:
    """One plain line on standard error, at once; above the bar where one is drawn."""
    message = spelled(message)
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(message, file=sys.stderr)
    else:
        print(message, file=sys.stderr, flush=True)


def track(things: Iterable[T], total: int | None, description: str, unit: str = "it") -> Iterator[T]:
    """Yields ``things`` while showing how far it is: a tqdm bar on a terminal, else a line at most
    every 10 seconds and one at the end."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(things, total=total, desc=description, unit=unit, dynamic_ncols=True)
        return
    started = last = time.monotonic()
    count = 0
    for thing in things:
        yield thing
        count += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            of_total = f" of {total:,}" if total else ""
            say(f"{description}: {count:,}{of_total} {unit}, {count / (now - started):,.1f}/s")
    took = time.monotonic() - started
    say(f"{description}: {count:,} {unit} in {took:.1f} s")
