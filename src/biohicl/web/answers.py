"""What is asked of the JSON interface and what it answers, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from biohicl.search import Mode
from biohicl.search.filters import LONGEST_NAME
from biohicl.search.retriever import LONGEST_QUERY

MOST_SHOWN = 100
MOST_EXPORTED = 1_000
MOST_FILTERS = 20
LONGEST_TYPED = 100
# Of 32 bits, as the index has them.
HIGHEST_PMID = 2**31 - 1

Pmid = Annotated[int, Field(ge=1, le=HIGHEST_PMID)]
Year = Annotated[int | None, Field(ge=1, le=9999)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Span = Annotated[list[int], Field(min_length=2, max_length=2)]


class Narrowed(BaseModel):
    """What a search is limited to, and how many citations are wanted."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MOST_SHOWN, description="citations at most")
    first_year: Year = Field(None, description="of publication, included")
    last_year: Year = Field(None, description="of publication, included")
    heading: list[Name] = Field(
        [],
        max_length=MOST_FILTERS,
        description="MeSH headings, by name, synonym, UI or tree number; each, or one below it, has to be there",
    )
    publication_type: list[Name] = Field(
        [], max_length=MOST_FILTERS, description="publication types, by name; one of them has to be there"
    )


class Asked(Narrowed):
    """A search."""

    q: str = Field(min_length=1, max_length=LONGEST_QUERY, description="what is sought, in words")
    mode: Mode = Field("hybrid", description="by words (bm25), by meaning (dense), or by both")


class Below(BaseModel):
    """Which part of the tree is asked for."""

    model_config = ConfigDict(extra="forbid")

    under: str = Field("", max_length=100, description="a tree number, a category's letter, or nothing: the categories")


class Typed(BaseModel):
    """The beginning of a heading."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(max_length=LONGEST_TYPED, description="part of a name or a synonym")


class Wanted(BaseModel):
    """Citations to write for a reference manager."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["bibtex", "ris", "pmid"]
    pmids: list[Pmid] = Field(min_length=1, max_length=MOST_EXPORTED)


class Refusal(BaseModel):
    """Why a request was not answered, in words."""

    error: str


class Heading(BaseModel):
    """A MeSH heading of a citation. ``descriptor_ui``: missing in citations from before 2015."""

    descriptor_ui: str | None
    name: str
    major: bool


class Citation(BaseModel):
    """A citation. ``score``: comparable within one answer alone."""

    pmid: int
    score: float
    title: str
    year: int | None
    journal: str
    publication_date: str
    authors: list[str]
    abstract: str
    headings: list[Heading]
    publication_types: list[str]
    doi: str | None
    pmc_id: str | None
    retracted: bool
    link: str


class Found(Citation):
    """A citation that was found. ``*_matches``: where words of the query stand, as the first character and the one
    after the last, in Unicode code points from 0."""

    title_matches: list[Span]
    abstract_matches: list[Span]


class Filter(BaseModel):
    """A heading that the search was limited to."""

    descriptor_ui: str
    name: str


class Answer(BaseModel):
    """``headings``: those that were asked for, as they were understood."""

    headings: list[Filter]
    citations: list[Found]


class BranchAnswer(BaseModel):
    """A place of the tree. ``descriptor_ui``: null of a category. ``citations``: at or below it; null where the index
    is too large to count them."""

    name: str
    descriptor_ui: str | None
    tree_number: str
    has_children: bool
    citations: int | None


class TreeAnswer(BaseModel):
    """What stands below a place of the tree, in its order."""

    branches: list[BranchAnswer]


class SuggestionAnswer(BaseModel):
    """A heading, and its name or synonym that holds what was typed."""

    descriptor_ui: str
    name: str
    term: str
    citations: int | None


class HeadingsAnswer(BaseModel):
    """The nearest headings first."""

    headings: list[SuggestionAnswer]


class AboutAnswer(BaseModel):
    """What is searched. ``release``: of PubMed. ``invented``: whether the citations are the built-in sample's.
    ``first_year``, ``last_year``: of any citation."""

    model: str
    invented: bool
    citations: int
    release: int
    first_year: int | None
    last_year: int | None
    publication_types: dict[str, int]
    storage: str
    version: str
    longest_query: int
    most_shown: int
    most_exported: int
