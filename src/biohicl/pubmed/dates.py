"""PubMed's dates: as given, and as the first day of the time that they name, with how precise that is.

Goes in: the content of PubDate, ArticleDate, DateRevised and the like, as written. Comes out: plain values.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date

from biohicl.nlm_xml.values import parts

Published = tuple[date, str]

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}
# As PubMed sorts them (its help, under publication date).
_SEASONS = {"win": 1, "spr": 4, "sum": 7, "fal": 10, "aut": 10}
_QUARTERS = {"1st": 1, "2nd": 4, "3rd": 7, "4th": 10}
_YEAR = re.compile(r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)")
_WORD = re.compile(r"[a-z]+|\d(?:st|nd|rd|th)\b|\d+")


def exact_date(written: str) -> date | None:
    """The day that DateRevised or DateCompleted names; None if it names none."""
    found = _first_of_each(written)
    year, month, day = (found.get(part, "") for part in ("Year", "Month", "Day"))
    number = _month(month)
    if not (_is_number(year) and _is_number(day) and number):
        return None
    try:
        return date(int(year), number, int(day))
    except ValueError:
        return None


def as_given(written: str) -> str | None:
    """The parts of a date, as they stand there."""
    return " ".join(text for _, text in parts(written) if text) or None


def published(written: str) -> Published | None:
    """The first day of the time that PubDate or ArticleDate names, and the precision; None where it has no year.

    Precision: day, month, season, quarter or year. See ``published`` in :mod:`biohicl.pubmed.schema`.
    """
    found = _first_of_each(written)
    if year := _YEAR.fullmatch(found.get("Year", "")):
        month = found.get("Month", "")
        if number := _month(month):
            return _first_day(int(year[0]), number, found.get("Day", ""))
        return _first_day_of_words(int(year[0]), month or found.get("Season", ""))
    text = found.get("MedlineDate", "")
    if year := _YEAR.search(text):
        return _first_day_of_words(
            int(year[0]), text.replace(year[0], " ", 1) if text.find("-") > year.start() else text
        )
    return None


def _first_day_of_words(year: int, text: str) -> Published:
    """Of "Nov-1980 May", "3rd Quarter", "Apr 17-21" or "Spring": what stands before the first range counts."""
    words = _WORD.findall(text.partition("-")[0].lower())
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word[:3] in _MONTHS:
            return _first_day(year, _MONTHS[word[:3]], following)
        if word[:3] in _SEASONS:
            return date(year, _SEASONS[word[:3]], 1), "season"
        if word in _QUARTERS and following.startswith("quarter"):
            return date(year, _QUARTERS[word], 1), "quarter"
    return date(year, 1, 1), "year"


def _first_day(year: int, month: int, day: str) -> Published:
    if _is_number(day) and 1 <= int(day) <= monthrange(year, month)[1]:
        return date(year, month, int(day)), "day"
    return date(year, month, 1), "month"


def _month(text: str) -> int | None:
    """Of "Jun", "June", "6" or "06"."""
    if _is_number(text):
        return int(text) if 1 <= int(text) <= 12 else None
    return _MONTHS.get(text[:3].lower()) if text.isalpha() else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _first_of_each(written: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in parts(written):
        found.setdefault(name, text)
    return found
