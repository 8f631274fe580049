"""What the interface answers, from an open index.

Goes in: what was asked, its form checked. Comes out: the answer, or :class:`Refused` where something asked for is not
there; an error of another kind is the index's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import biohicl
from biohicl.errors import BioHiCLError
from biohicl.search.filters import known_types
from biohicl.search.retriever import LONGEST_QUERY, Hit
from biohicl.web.answers import (
    MOST_EXPORTED,
    MOST_SHOWN,
    AboutAnswer,
    Answer,
    Asked,
    BranchAnswer,
    Citation,
    Filter,
    Found,
    HeadingsAnswer,
    Narrowed,
    SuggestionAnswer,
    TreeAnswer,
    Wanted,
)
from biohicl.web.citing import FORMATS
from biohicl.web.guard import Refused
from biohicl.web.live import Opened
from biohicl.web.matches import Spans, matches


def found(asked: Asked, opened: Opened) -> Answer:
    """A search."""
    if not asked.q.strip():
        raise Refused(422, "the query is empty; say what is sought, in words")
    filters = _filters(asked, opened)
    hits = opened.retriever.search(asked.q, asked.k, mode=asked.mode, **filters)
    return _answer(hits, asked.q, filters, opened)


def similar(pmid: int, narrowed: Narrowed, opened: Opened) -> Answer:
    """More like a citation; words of its title are what matches."""
    title = _known(pmid, opened).title
    filters = _filters(narrowed, opened)
    return _answer(opened.retriever.similar(pmid, narrowed.k, **filters), title, filters, opened)


def one(pmid: int, opened: Opened) -> Citation:
    """A citation."""
    return Citation(**_known(pmid, opened).as_json())


def unfolded(under: str, opened: Opened) -> TreeAnswer:
    """A part of the tree."""
    branches = opened.tree.below(under)
    if branches is None:
        raise Refused(404, "there is no such place in the MeSH tree")
    return TreeAnswer(branches=[BranchAnswer(**vars(branch)) for branch in branches])


def suggested(typed: str, opened: Opened) -> HeadingsAnswer:
    """Headings for what is typed."""
    return HeadingsAnswer(headings=[SuggestionAnswer(**vars(heading)) for heading in opened.tree.suggestions(typed)])


def about(opened: Opened) -> AboutAnswer:
    """What is searched."""
    said = opened.retriever.index.about
    names = ("model", "citations", "release", "publication_types", "storage")
    return AboutAnswer(
        **{name: said[name] for name in names},
        invented=opened.retriever.index.is_invented,
        first_year=said["years"][0],
        last_year=said["years"][1],
        version=biohicl.__version__,
        longest_query=LONGEST_QUERY,
        most_shown=MOST_SHOWN,
        most_exported=MOST_EXPORTED,
    )


def exported(wanted: Wanted, opened: Opened) -> str:
    """Citations as text, each once."""
    write, _, _ = FORMATS[wanted.format]
    return write([_known(pmid, opened) for pmid in dict.fromkeys(wanted.pmids)])


def _known(pmid: int, opened: Opened) -> Hit:
    hit = opened.retriever.citation(pmid)
    if hit is None:
        raise Refused(404, f"PMID {pmid} is not among the current citations of this index")
    return hit


def _filters(narrowed: Narrowed, opened: Opened) -> dict[str, Any]:
    first, last = narrowed.first_year, narrowed.last_year
    if first is not None and last is not None and first > last:
        raise Refused(422, f"no year is from {first} to {last}; exchange the two")
    retriever = opened.retriever
    try:
        headings = [retriever.headings.find(wanted) for wanted in narrowed.heading]
        return {
            "first_year": first,
            "last_year": last,
            "headings": list(dict.fromkeys(headings)),
            "publication_types": known_types(retriever.index, narrowed.publication_type),
        }
    except BioHiCLError as error:
        # Read when the index was opened, so that it is the names that are unknown.
        raise Refused(422, str(error)) from None


def _answer(hits: Sequence[Hit], query: str, filters: dict[str, Any], opened: Opened) -> Answer:
    spans = matches(query, [text for hit in hits for text in (hit.title, hit.abstract)])
    pairs = zip(hits, spans[::2], spans[1::2], strict=True)
    return Answer(
        headings=[Filter(descriptor_ui=ui, name=opened.tree.names[ui]) for ui in filters["headings"]],
        citations=[_found(hit, title, abstract) for hit, title, abstract in pairs],
    )


def _found(hit: Hit, title: Spans, abstract: Spans) -> Found:
    return Found(**hit.as_json(), title_matches=[*map(list, title)], abstract_matches=[*map(list, abstract)])
