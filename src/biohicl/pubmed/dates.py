"""PubMed's dates: as given, and as the first day of the time that they name, with how precise that is.

Goes in: the content of PubDate, ArticleDate, DateRevised and the like, as written. Comes out: plain values.
"""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise

from biohicl.nlm_xml.values import parts

Published = tuple[date, str]

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
# As PubMed sorts them (its help, under publication date).
_SEASONS = {"winter": 1, "spring": 4, "summer": 7, "fall": 10, "autumn": 10}
_QUARTERS = {"1st": 1, "2nd": 4, "3rd": 7, "4th": 10, "first": 1, "second": 4, "third": 7, "fourth": 10}
_YEAR = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")
_RANGE = re.compile("[-\u2013/]")


def exact_date(written: str) -> date | None:
    """The day that DateRevised or DateCompleted names; None if it names none."""
    found = _first_of_each(written)
    year, month = _year(found.get("Year", "")), _month(found.get("Month", ""))
    return _day(year, month, found.get("Day", "")) if year and month else None


def as_given(written: str) -> str | None:
    """The parts of a date, as they stand there."""
    return " ".join(text for text in _first_of_each(written).values() if text) or None


def published(written: str) -> Published | None:
    """The first day of the time that PubDate or ArticleDate names, and the precision; None where it has no year.

    Precision: day, month, season, quarter or year. See ``published`` in :mod:`biohicl.pubmed.schema`.
    """
    found = _first_of_each(written)
    if year := _year(found.get("Year", "")):
        if month := _month(found.get("Month", "")):
            return _first_day(year, month, found.get("Day", ""))
        season = _SEASONS.get(_RANGE.split(found.get("Season", ""))[0].strip().lower())
        return (date(year, season, 1), "season") if season else (date(year, 1, 1), "year")
    medline = found.get("MedlineDate", "")
    if (named := _YEAR.search(medline)) and (year := _year(named[0])):
        # The year may stand behind its range: Spring-Summer 1980.
        return _of_words(year, _RANGE.split(medline)[0].lower().split())
    return None


def _of_words(year: int, words: list[str]) -> Published:
    """Of "1979 nov", "2021 3rd quarter" or "spring"."""
    for word, following in pairwise([*words, ""]):
        if not word.isdigit() and (month := _month(word)):
            return _first_day(year, month, following)
        if word in _SEASONS:
            return date(year, _SEASONS[word], 1), "season"
        if word in _QUARTERS and following == "quarter":
            return date(year, _QUARTERS[word], 1), "quarter"
    return date(year, 1, 1), "year"


def _first_day(year: int, month: int, day: str) -> Published:
    if exact := _day(year, month, day):
        return exact, "day"
    return date(year, month, 1), "month"


def _day(year: int, month: int, text: str) -> date | None:
    """None where ``text`` is no day of that month."""
    try:
        return date(year, month, _number(text, 2))
    except ValueError:
        return None


def _month(text: str) -> int | None:
    """Of "Jun", "June", "6" or "06"."""
    if number := _number(text, 2):
        return number if number <= 12 else None
    name = text.lower()
    return next((place for place, month in enumerate(_MONTHS, 1) if len(name) >= 3 and month.startswith(name)), None)


def _year(text: str) -> int:
    return _number(text, 4) if len(text) == 4 else 0


def _number(text: str, digits: int) -> int:
    """0 where ``text`` is none of so many digits at most."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else 0


def _first_of_each(written: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in parts(written):
        found.setdefault(name, text)
    return found
