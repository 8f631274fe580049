"""A table as people read it: cells as text, for a page or in columns for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """The first ``left`` columns are aligned left, the others, numbers, right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


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
