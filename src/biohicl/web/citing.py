"""Citations for reference managers and LaTeX.

Goes in: hits. Comes out: BibTeX, RIS, or PMIDs, as text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from biohicl.search.retriever import Hit

# What LaTeX reads as commands. Braces have names, for BibTeX counts braces even where a backslash stands before them.
LATEX = str.maketrans(
    {
        "\\": r"{\textbackslash}",
        "{": r"{\textbraceleft}",
        "}": r"{\textbraceright}",
        "~": r"{\textasciitilde}",
        "^": r"{\textasciicircum}",
        **{character: f"\\{character}" for character in "&%$#_"},
    }
)
# Would end the verbatim field they stand in, or start a command there.
NOT_VERBATIM = re.compile(r"[{}\\\s]")
# Take no room: soft hyphen, zero-width space, marks of direction and of byte order. Some stand within words.
UNSEEN = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DATE = re.compile(rf"(\d{{4}}) ({'|'.join(MONTHS)})(?: (\d{{1,2}}))?", re.ASCII)


def bibtex(hits: Sequence[Hit]) -> str:
    """An entry a citation, in UTF-8; the key is made of the PMID, so that no two are the same.

    The abstract is left out: it is long, and no style prints it.
    """
    return "\n".join(_entry(hit) for hit in hits)


def ris(hits: Sequence[Hit]) -> str:
    """A record a citation, with CRLF, as RIS has it."""
    return "".join(f"{tag}  - {value}\r\n" for hit in hits for tag, value in _tags(hit))


def pmid_list(hits: Sequence[Hit]) -> str:
    """A PMID a line."""
    return "".join(f"{hit.pmid}\n" for hit in hits)


# By format: how it is made, its media type, and how a file's name ends.
FORMATS: dict[str, tuple[Callable[[Sequence[Hit]], str], str, str]] = {
    "bibtex": (bibtex, "application/x-bibtex", "bib"),
    "ris": (ris, "application/x-research-info-systems", "ris"),
    "pmid": (pmid_list, "text/plain", "txt"),
}


def one_line(text: str) -> str:
    """Without line breaks and control characters, which end a field or a record in these formats, and without what is
    unseen, which LaTeX does not know. What joins letters or keeps them apart belongs to the spelling, and stays."""
    seen = UNSEEN.sub("", text)
    return " ".join("".join(" " if unicodedata.category(one) == "Cc" else one for one in seen).split())


def escaped(text: str) -> str:
    """As LaTeX prints it letter by letter; characters beyond ASCII stay."""
    return one_line(text).translate(LATEX)


def _entry(hit: Hit) -> str:
    fields = {
        "author": " and ".join(_bibtex_author(*author) for author in hit.authors if any(author)),
        # Twice in braces, so that no style makes small letters of the capitals.
        "title": f"{{{escaped(hit.title)}}}" if hit.title else "",
        "journal": escaped(hit.journal),
        "year": str(hit.year) if hit.year is not None else "",
        # These are verbatim: an escape would become part of the address.
        "doi": _verbatim(hit.doi or ""),
        "url": _verbatim(hit.link),
        "pmid": str(hit.pmid),
        "pmcid": _verbatim(hit.pmc_id or ""),
        "note": "Retracted" if hit.retracted else "",
    }
    lines = "".join(f",\n  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@article{{pmid{hit.pmid}{lines}\n}}\n"


def _bibtex_author(last_name: str, initials: str) -> str:
    # A group is one name, whatever commas and "and" it has; so is a last name, whose comma would be taken for ours.
    name = f"{{{escaped(last_name)}}}"
    return f"{name}, {_dotted(escaped(initials))}" if initials else name


def _dotted(initials: str) -> str:
    # "AB" would be a first name of two letters.
    return " ".join(f"{letter}." for letter in initials) if initials.isalpha() and initials.isupper() else initials


def _verbatim(text: str) -> str:
    return "" if NOT_VERBATIM.search(text) else one_line(text)


def _tags(hit: Hit) -> list[tuple[str, str]]:
    authors = [("AU", f"{last}, {_dotted(initials)}" if initials else last) for last, initials in hit.authors]
    tags = [
        ("TY", "JOUR"),
        *authors,
        ("TI", hit.title),
        ("T2", hit.journal),
        ("PY", str(hit.year) if hit.year is not None else ""),
        ("DA", _ris_date(hit.publication_date)),
        ("AB", hit.abstract),
        *(("KW", name) for _, name, _ in hit.headings),
        ("DO", hit.doi or ""),
        ("AN", str(hit.pmid)),
        ("C2", hit.pmc_id or ""),
        ("N1", "Retracted" if hit.retracted else ""),
        ("UR", hit.link),
    ]
    return [(tag, one_line(value)) for tag, value in tags if one_line(value)] + [("ER", "")]


def _ris_date(date: str) -> str:
    """2010/03/01 of "2010 Mar 1", 2010/03/ of "2010 Mar"; nothing of seasons and spans."""
    found = DATE.fullmatch(date)
    if not found:
        return ""
    year, month, day = found.groups()
    return f"{year}/{MONTHS.index(month) + 1:02}/{int(day):02}" if day else f"{year}/{MONTHS.index(month) + 1:02}/"
