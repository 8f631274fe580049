"""The lock file: what came at the first fetch of something whose publisher names no checksum or commit.

Goes in: a name, where it is from, and what came. Comes out: the same facts at every later fetch, to be enforced. One
JSON file for the project, by kind (benchmarks, encoders) and name; kept under version control, it has others get the
same bytes or an error.
"""

from __future__ import annotations

import datetime
import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biohicl.storage import read_json, write_json

LOCK = Path("resources/lock.json")


def known(lock: Path, kind: str, name: str, source: str) -> dict[str, Any]:
    """What was recorded of ``name`` when it came from ``source``; empty where nothing was, or from elsewhere."""
    entry: dict[str, Any] = _read(lock).get(kind, {}).get(name, {})
    return entry if entry.get("source") == source else {}


def record(lock: Path, kind: str, name: str, source: str, facts: Mapping[str, Any]) -> None:
    """Writes what came, with today's date; what was there before of the same name is replaced."""
    with _alone(lock):
        content = _read(lock)
        today = datetime.date.today().isoformat()
        content.setdefault(kind, {})[name] = {"source": source, **facts, "recorded": today}
        write_json({key: dict(sorted(content[key].items())) for key in sorted(content)}, lock)


def how_to_renew(lock: Path, kind: str, name: str) -> str:
    """For an error where something else came than is recorded."""
    return f"if the new one is wanted, take {kind}.{name} out of {lock}"


def _read(lock: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(lock) if lock.exists() else {}
    return content


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Several jobs fetch at a time."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.with_name(f".{lock.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
