"""Files of a JSON object a line, as benchmarks and training pairs come.

Goes in: a file. Comes out: its objects, one at a time; errors name file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError

# A document has some kilobytes; without a limit a line that never ends would fill the memory.
LONGEST_LINE_BYTES = 64 << 20


def records_of(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file of one a line, with the line's number; as :func:`lines_of`."""
    for number, line in lines_of(file):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BioHiCLError(f"{file}, line {number}: not valid JSON: {error}") from None
        if not isinstance(record, dict):
            raise BioHiCLError(f"{file}, line {number}: a JSON object is needed")
        yield number, record


def lines_of(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their number; one at a time, for a corpus may be large."""
    if not file.is_file():
        raise BioHiCLError(f"{file}: no such file")
    with file.open("rb") as stream:
        for number, raw in enumerate(iter(lambda: stream.readline(LONGEST_LINE_BYTES + 1), b""), start=1):
            if len(raw) > LONGEST_LINE_BYTES:
                raise BioHiCLError(f"{file}, line {number}: longer than {LONGEST_LINE_BYTES:,} bytes")
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise BioHiCLError(f"{file}, line {number}: not UTF-8 at byte {error.start} of the line") from None
            if line.strip():
                yield number, line


def text_of(file: Path, line: int, record: Mapping[str, Any], key: str) -> str:
    """The text that a record has under ``key``; an error where it is none, or none that UTF-8 can write."""
    value = record.get(key)
    if not isinstance(value, str):
        raise BioHiCLError(f"{file}, line {line}: '{key}' is {value!r}, but text is needed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BioHiCLError(
            f"{file}, line {line}: '{key}' has half of a character (\\u{ord(value[error.start]):x})"
        ) from None
    return value
