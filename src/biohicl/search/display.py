"""Hits as text, for a terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from biohicl.search.retriever import Hit

WIDTH = 110
HEADINGS_SHOWN = 8
AUTHORS_SHOWN = 3


def hits_text(hits: Sequence[Hit], abstracts: bool = False, are_filtered: bool = False) -> str:
    """Rank, title, what it is, headings (* major) and link of each."""
    if not hits:
        return "No citation passes these filters." if are_filtered else "No citation has any of these words."
    return "\n\n".join(_one(rank, hit, abstracts) for rank, hit in enumerate(hits, start=1))


def _one(rank: int, hit: Hit, abstracts: bool) -> str:
    margin = " " * 4
    title = ("[retracted] " if hit.retracted else "") + (hit.title or "(no title)")
    lines = textwrap.wrap(printable(title), WIDTH - len(margin))
    authors = [" ".join(filter(None, author)) for author in hit.authors[:AUTHORS_SHOWN]]
    if len(hit.authors) > AUTHORS_SHOWN:
        authors.append("et al.")
    where = [", ".join(authors), hit.journal, str(hit.year) if hit.year is not None else "", f"PMID {hit.pmid}"]
    lines += textwrap.wrap(printable(". ".join(part.rstrip(".") for part in where if part)), WIDTH - len(margin))
    if hit.headings:
        # Majors first; what is left out is the least telling.
        headings = sorted(hit.headings, key=lambda heading: not heading[2])
        names = [f"{name}*" if major else name for _, name, major in headings[:HEADINGS_SHOWN]]
        rest = len(headings) - len(names)
        listed = "; ".join(names) + (f"; and {rest} more" if rest else "")
        lines += textwrap.wrap(printable(listed), WIDTH - len(margin))
    if abstracts and hit.abstract:
        lines += textwrap.wrap(printable(hit.abstract), WIDTH - len(margin))
    lines.append(f"{hit.link}  score {hit.score:.4f}")
    return "\n".join([f"{rank:>2}. {lines[0]}", *(margin + line for line in lines[1:])])


def printable(text: str) -> str:
    """Without control characters, which could tell a terminal what to do."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
