"""Benchmarks: BEIR retrieval folders and sentence pairs, read and checked.

Goes in: a folder. Retrieval: corpus.jsonl (_id, title, text), queries.jsonl (_id, text), qrels/<split>.tsv
(query-id, corpus-id, score). Similarity: pairs.jsonl (sentence1, sentence2, score). Comes out: the texts in
file order; a document's text is title + " " + text, as BEIR and mteb join them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from biohicl.errors import BioHiCLError
from biohicl.progress import say

Kind = Literal["retrieval", "similarity"]


def files_of(kind: Kind, split: str) -> list[str]:
    """The files of a benchmark of this kind, by their path inside its folder."""
    return ["corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"] if kind == "retrieval" else ["pairs.jsonl"]


@dataclass(frozen=True)
class Retrieval:
    """Documents, the queries that the split judges, and the judgements: query id to document id to grade."""

    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Similarity:
    """Sentence pairs with the annotators' score."""

    ids: list[str]
    first: list[str]
    second: list[str]
    scores: list[float]


def read_benchmark(folder: Path, split: str = "test") -> Retrieval | Similarity:
    """Reads the folder as what its files say it is; errors name file and line."""
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such benchmark folder")
    if (folder / "corpus.jsonl").is_file():
        return _read_retrieval(folder, split)
    if (folder / "pairs.jsonl").is_file():
        return _read_similarity(folder)
    raise BioHiCLError(
        f"{folder}: holds no benchmark. A retrieval benchmark has corpus.jsonl, queries.jsonl and qrels/{split}.tsv "
        "(BEIR), a similarity benchmark has pairs.jsonl"
    )


def _read_retrieval(folder: Path, split: str) -> Retrieval:
    qrels = _read_qrels(folder / "qrels" / f"{split}.tsv")
    documents: dict[str, str] = {}
    for line, record in _lines(folder / "corpus.jsonl"):
        identifier = _field(folder / "corpus.jsonl", line, record, "_id")
        if identifier in documents:
            raise BioHiCLError(
                f"{folder / 'corpus.jsonl'}, line {line}: the document id '{identifier}' stands there twice"
            )
        title, text = record.get("title") or "", _field(folder / "corpus.jsonl", line, record, "text")
        documents[identifier] = f"{title} {text}".strip()
    queries: dict[str, str] = {}
    for line, record in _lines(folder / "queries.jsonl"):
        identifier = _field(folder / "queries.jsonl", line, record, "_id")
        if identifier in queries:
            raise BioHiCLError(
                f"{folder / 'queries.jsonl'}, line {line}: the query id '{identifier}' stands there twice"
            )
        queries[identifier] = _field(folder / "queries.jsonl", line, record, "text")
    if not documents:
        raise BioHiCLError(f"{folder / 'corpus.jsonl'}: holds no documents")
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        raise BioHiCLError(
            f"{folder / 'qrels' / (split + '.tsv')}: judges the query '{unknown[0]}', which queries.jsonl does not have"
        )
    absent = {document for judged in qrels.values() for document in judged} - documents.keys()
    if absent:
        say(
            f"{folder.name}: {len(absent)} judged documents are not in the corpus; "
            "they count as relevant and cannot be found"
        )
    return Retrieval(documents, {query: queries[query] for query in qrels}, qrels)


def _read_qrels(file: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    if not file.is_file():
        there = sorted(path.stem for path in file.parent.glob("*.tsv"))
        known = f"; it has {', '.join(there)}" if there else ""
        raise BioHiCLError(f"{file}: no such split{known}")
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip() or (number == 1 and line.startswith("query-id")):
            continue
        parts = line.split("\t")
        try:
            query, document, grade = parts
            qrels.setdefault(query, {})[document] = int(grade)
        except ValueError:
            raise BioHiCLError(
                f"{file}, line {number}: query-id, corpus-id and a whole number are needed, separated by tabs; "
                f"found {line[:80]!r}"
            ) from None
    if not qrels:
        raise BioHiCLError(f"{file}: holds no judgements")
    return qrels


def _read_similarity(folder: Path) -> Similarity:
    file = folder / "pairs.jsonl"
    pairs = Similarity([], [], [], [])
    for line, record in _lines(file):
        pairs.ids.append(str(record.get("id", line)))
        pairs.first.append(_field(file, line, record, "sentence1"))
        pairs.second.append(_field(file, line, record, "sentence2"))
        score = record.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise BioHiCLError(f"{file}, line {line}: 'score' is {score!r}, but a number is needed")
        pairs.scores.append(float(score))
    if len(pairs.ids) < 2:
        raise BioHiCLError(f"{file}: holds {len(pairs.ids)} pairs; at least 2 are needed for a correlation")
    return pairs


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not file.is_file():
        raise BioHiCLError(f"{file}: no such file")
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise BioHiCLError(f"{file}, line {number}: not valid JSON: {error}") from None
        if not isinstance(record, dict):
            raise BioHiCLError(f"{file}, line {number}: a JSON object is needed")
        yield number, record


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BioHiCLError(f"{file}: not UTF-8 at byte {error.start}") from None


def _field(file: Path, line: int, record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise BioHiCLError(f"{file}, line {line}: '{key}' is {value!r}, but text is needed")
    return value
