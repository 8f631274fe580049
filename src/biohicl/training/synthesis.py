"""Queries cut out of citations: their conclusions and sections, in the authors' words, without any other model.

Goes in: a selection of citations; perhaps the articles tables, which know the sections that an abstract was published
in. Comes out: the queries of each row (:mod:`biohicl.training.rows`), each with where it stands in title + " " +
abstract, so that it can be taken out of the text that it is to find.

Sections are the record's own (NLM leaves their labels out of the abstract's text); else those that the abstract itself
labels ("CONCLUSIONS: ..."). conclusion: the sections of conclusions, else the last sentence. section: each section,
where there are several, else each third of the sentences. So a labelled conclusion is both. A query has at least
``WORDS`` words, and is never the whole abstract.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import write_parquet
from biohicl.training.release import articles_of_release
from biohicl.training.rows import kind_of, queries_table

# Fewer say little of their own ("Further studies are needed.").
WORDS = 6
Span = tuple[int, int]
# A label and where what it labels stands.
Section = tuple[str, Span]
Sections = Sequence[tuple[str | None, str]]

_TITLES = (
    r"aims?|background|conclusions?|context|data (?:collection(?: and analysis)?|sources|synthesis)|design|discussion|"
    r"evidence acquisition|evidence synthesis|findings|goals?|hypothesis|importance|interpretation|interventions?|"
    r"introduction|limitations|main outcome measures?|(?:main |key )?results?|materials?|measurements?|methodology|"
    r"methods?|objectives?|outcomes?|participants?|patients?|purposes?|rationale|setting|significance|study design|"
    r"study selection|subjects|summary|trial registration|(?:authors' |the authors' )?conclusions?"
)
# What labels a section inside a text: at its start or behind the end of a sentence, in capitals with a colon, dashes or
# a point, or with a first capital and a colon. "Results: ", "METHODS AND RESULTS--", "CONCLUSIONS. ".
_LABEL = re.compile(
    rf"(?:^|(?<=[.?!)\]]\s))(?P<label>(?i:(?:{_TITLES})(?:(?:,| and| &|/)\s?(?:{_TITLES}))*))"
    r"(?P<mark>\s?:\s|\s?--\s?|\s?—\s?|\.\s)"
)
_CONCLUDES = re.compile(r"conclusion|interpretation", re.IGNORECASE)

# Behind these a point ends no sentence, unless what follows could not go on (see _ends_sentence).
_ABBREVIATION = re.compile(
    r"al|approx|ca|cf|co|corp|dept|dr|e\.g|eds?|eg|eq|etc|figs?|i\.e|ie|inc|jr|lab|ltd|max|min|mrs?|ms|nos?|op|pp?|"
    r"prof|refs?|resp|s?spp?|st|subsp|suppl|tab|univ|var|viz|vols?|vs|wt",
    re.IGNORECASE,
)
# These may end a sentence as well: they do where a capital follows.
_MAY_END = re.compile(r"al|etc|co|inc|ltd|corp|no|max|min|wt|ed|lab|spp?", re.IGNORECASE)
_END = re.compile(r"[.?!]+[\"'”’)\]]*(?=\s)")
_STARTS = re.compile(r"[\"'“‘(\[]*(?:[A-Z0-9Α-Ωα-ω<>=±]|[a-z]{0,3}[A-Z])")
_WORD_BEFORE = re.compile(r"(?<![^\s(\[\"'“‘,;/-])[^\s(\[\"'“‘,;/-]+$")


def sentences(text: str) -> list[Span]:
    """Where each sentence of ``text`` begins and ends, without the white space between them.

    A sentence ends in a point, question or exclamation mark (and closing quotes and brackets) before white space and
    what may begin one: a capital, a digit, a bracket. It does not behind common abbreviations ("e.g.", "Fig. 2"),
    initials and genus names ("E. coli", "J. B. Smith"), or inside numbers. Of doubtful ends some will be missed.
    """
    found: list[Span] = []
    start = len(text) - len(text.lstrip())
    for end in _END.finditer(text):
        after = end.end() + len(text[end.end() :]) - len(text[end.end() :].lstrip())
        # The number of a point in a list belongs to what follows.
        is_number = text[start : end.start()].isdigit()
        if after >= len(text) or is_number or not _ends_sentence(text, end, after):
            continue
        found.append((start, end.end()))
        start = after
    last = len(text.rstrip())
    return [*found, (start, last)] if last > start else found


def _ends_sentence(text: str, end: re.Match[str], after: int) -> bool:
    if not _STARTS.match(text, after):
        return False
    if end[0][0] != ".":
        return True
    before = _WORD_BEFORE.search(text, max(0, end.start() - 40), end.start())
    word = before[0] if before else ""
    if re.fullmatch(r"[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]", word):
        # "E. coli", "J. Smith", "U.S. data"; but "vitamin C. The", where what follows is a word that begins sentences.
        return bool(re.match(r"(?:The|This|These|We|In|It|A|An|Our|However|Both|All|No|There)\s", text[after:]))
    if word and not _ABBREVIATION.fullmatch(word):
        return True
    return bool(not word or _MAY_END.fullmatch(word)) and text[after].isupper()


def sections_of(abstract: str, recorded: Sections = ()) -> list[Section]:
    """The labelled sections of an abstract, in order.

    ``recorded``: label and text of the record's own sections. Where these are not the abstract, or have no labels, the
    labels that stand in the text count.
    """
    return _recorded_sections(abstract, recorded) or _labelled_sections(abstract)


def _recorded_sections(abstract: str, recorded: Sections) -> list[Section]:
    found: list[Section] = []
    place = 0
    for label, text in recorded:
        if not text:
            continue
        if not abstract.startswith(text, place):
            return []
        if label and label.upper() != "UNLABELLED":
            found.append((label, (place, place + len(text))))
        place += len(text) + 1
    return found if len(found) > 1 else []


def _labelled_sections(abstract: str) -> list[Section]:
    labels = [label for label in _LABEL.finditer(abstract) if label["label"].isupper() or ":" in label["mark"]]
    # In small letters a label is one by its first capital: "the results: ..." is none.
    labels = [label for label in labels if label["label"][0].isupper()]
    ends = [label.start() for label in labels[1:]] + [len(abstract)]
    return [
        (label["label"], _trimmed(abstract, (label.end(), end)))
        for label, end in zip(labels, ends, strict=False)
        if abstract[label.end() : end].strip()
    ]


def queries_of(title: str, abstract: str, recorded: Sections = ()) -> list[tuple[str, Span]]:
    """The kind of each query of a citation, and where it stands in ``title + " " + abstract``."""
    sections, of_sentences = sections_of(abstract, recorded), sentences(abstract)
    concluding = [span for label, span in sections if _CONCLUDES.search(label)] or of_sentences[-1:]
    spans = [span for _, span in sections] if len(sections) > 1 else _thirds(of_sentences)
    found = [("conclusion", span) for span in concluding] + [("section", span) for span in spans]
    lead = len(title) + 1
    whole = len(abstract.strip())
    return [
        (kind, (start + lead, end + lead))
        for kind, (start, end) in found
        if end - start < whole and len(abstract[start:end].split()) >= WORDS
    ]


def _thirds(spans: Sequence[Span]) -> list[Span]:
    """Where each third of the sentences stands; of two sentences or one there are no thirds."""
    if len(spans) < 3:
        return []
    cuts = [round(len(spans) * part / 3) for part in range(4)]
    return [(spans[first][0], spans[last - 1][1]) for first, last in pairwise(cuts)]


def _trimmed(text: str, span: Span) -> Span:
    part = text[span[0] : span[1]]
    return span[0] + len(part) - len(part.lstrip()), span[0] + len(part.rstrip())


def write_synthesis(
    selection: Path, output: Path, task: str, release: Path | None = None, pubmed: Path | None = None
) -> None:
    """Writes the queries of a selection of citations; says how many of these have which.

    ``release`` and ``pubmed``: the training release and the folder with articles/, for the sections of abstracts;
    without them only those count that the texts label themselves.
    """
    table = pl.read_parquet(selection)
    if kind_of(table.columns, selection) != "citations":
        raise BioHiCLError(
            f"{selection}: is no selection of citations; concepts and pairs have queries of their own, which "
            "select-concepts and select-pairs write"
        )
    recorded = _recorded(table, release, pubmed) if release and pubmed else {}
    rows: list[list[dict[str, Any]]] = []
    counts: Counter[str] = Counter()
    columns = table.select("pmid", "version", "title", "abstract").iter_rows()
    for pmid, version, title, abstract in columns:
        text = f"{title} {abstract}"
        own = queries_of(title, abstract, recorded.get((pmid, version), ()))
        rows.append([_query(kind, text, span, task) for kind, span in own])
        counts.update({kind for kind, _ in own})
        counts["labelled"] += len(sections_of(abstract, recorded.get((pmid, version), ()))) > 1
    write_parquet(queries_table(table.select("pmid", "version").to_arrow(), rows), output)
    say(
        f"{table.height:,} citations: {counts['conclusion']:,} with a conclusion, {counts['section']:,} with sections "
        f"({counts['labelled']:,} labelled), {sum(map(len, rows)) / max(len(rows), 1):.1f} queries each"
    )


def _query(kind: str, text: str, span: Span, task: str) -> dict[str, Any]:
    return {"kind": kind, "text": text[span[0] : span[1]], "start": span[0], "end": span[1], "task": task}


def _recorded(table: pl.DataFrame, release: Path, pubmed: Path) -> Mapping[tuple[int, int], Sections]:
    """Label and text of the sections of each citation that has several."""
    found: dict[tuple[int, int], Sections] = {}
    keys = table.select("pmid", "version")
    for articles in articles_of_release(release, pubmed, ["abstract_sections"]):
        several = articles.join(keys, on=["pmid", "version"], how="semi").filter(
            pl.col("abstract_sections").list.len() > 1
        )
        for pmid, version, sections in several.select("pmid", "version", "abstract_sections").iter_rows():
            # NLM's own category says what a label that is not of our words is.
            found[pmid, version] = [(_label(section), section["text"]) for section in sections]
    return found


def _label(section: Mapping[str, str | None]) -> str | None:
    label, category = section["label"], section["nlm_category"]
    return f"{label} ({category})" if label and category == "CONCLUSIONS" else label
