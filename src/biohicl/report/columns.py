"""A table as people read it: cells as text, for a page or in columns for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Table:
    """The first ``left`` columns are aligned left, the others, numbers, right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


# Nothing is folded into less, and what stands between name and words (types, which may be long) not into more.
NARROWEST = 30


def folded(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The rows with their cells, but for the first, on as many lines as fitting into ``width`` characters takes."""
    first = max((len(row[0]) for row in [header, *rows]), default=0)
    between = [min(NARROWEST, max(map(len, column))) for column in list(zip(header, *rows, strict=True))[1:-1]]
    last = max(width - first - sum(between) - 2 * (len(header) - 1), NARROWEST)
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row[1:], [*between, last], strict=True)]
        lines += [list(line) for line in zip_longest([row[0]], *cells, fillvalue="")]
    return lines


def in_columns(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Header, a rule and the rows; the first ``left`` columns are aligned left, the others right."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])
