"""Benchmarks as others publish them, read and checked.

Goes in: a folder in one of the :data:`LAYOUTS`. Comes out: documents, queries and judgements, or sentence pairs.

beir: corpus.jsonl (_id, title, text, perhaps metadata), queries.jsonl (_id, text), qrels/<split>.tsv (query-id,
corpus-id, score, separated by tabs).

pairs: pairs.jsonl (sentence1, sentence2, score, perhaps id).

pubmedqa: ori_pqal.json of PubMedQA (PMID to QUESTION, CONTEXTS, LONG_ANSWER). Each question has to find its own
abstract among all; the abstract's conclusion, which answers the question, is left out or kept.

scifact-sentences: corpus.jsonl (doc_id, abstract as a list of sentences) and claims_<split>.jsonl (id, claim, evidence)
of SciFact's own release. A claim is paired with every sentence of each abstract that has evidence on it; a sentence of
any rationale, for or against, scores 1, the others 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.json_lines import lines_of, records_of, text_of

DOCUMENTS = pa.schema(
    [
        ("document_id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("pmid", pa.int32()),  # where the benchmark says it
        ("doi", pa.string()),
    ]
)
PUBMED_URL = re.compile(r"(?:ncbi\.nlm\.nih\.gov/(?:m/)?pubmed|pubmed\.ncbi\.nlm\.nih\.gov)/(\d{1,8})\b")
DOI = re.compile(r"\b(10\.\d{4,9}/\S+)")
Qrels = dict[str, dict[str, int]]
# Of a file that is read whole; PubMedQA's has 3 MB.
LARGEST_JSON_BYTES = 256 << 20


@dataclass(frozen=True)
class Judged:
    """One split: the queries that it judges, and query id to document id to grade."""

    queries: dict[str, str]
    qrels: Qrels


@dataclass(frozen=True)
class Collection:
    """Documents (schema ``DOCUMENTS``, ids differ), and each split that was asked for. ``notes``: what is odd in them,
    in words, and how it is dealt with."""

    documents: pa.Table
    splits: dict[str, Judged]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with the annotators' score."""

    ids: list[str]
    first: list[str]
    second: list[str]
    scores: list[float]


def files_of(layout: str, splits: Sequence[str]) -> list[str]:
    """The files that are read of a benchmark in this layout, by their path inside its folder."""
    return LAYOUTS[layout].files(splits)


def read_layout(folder: Path, block: Mapping[str, Any], splits: Sequence[str]) -> Collection | Pairs:
    """The files of ``folder`` in the layout that ``block`` of config.yaml names; of these splits, where it has some."""
    return LAYOUTS[block["layout"]].read(folder, block, splits)


def read_beir(folder: Path, splits: Sequence[str], ids_are_pmids: bool = False) -> Collection:
    """A BEIR folder; errors name file and line.

    What it says of odd judgements is what BEIR and mteb do: a query without a relevant document scores 0 and counts in
    the mean; a judged document that the corpus lacks counts as relevant and cannot be found.
    """
    notes: list[str] = []
    documents = _beir_documents(folder / "corpus.jsonl", ids_are_pmids, notes)
    known = set(documents["document_id"].to_pylist())
    queries = _beir_queries(folder / "queries.jsonl")
    judged = {split: _judged(folder, split, queries, known, notes) for split in splits}
    for one, other in combinations(splits, 2):
        there = {_words(text) for text in judged[one].queries.values()}
        shared = [query for query, text in judged[other].queries.items() if _words(text) in there]
        if shared:
            notes.append(
                f"{other}: {len(shared):,} of its queries, such as '{shared[0]}', stand word for word in {one} too; a "
                "model that is trained or chosen by one split has seen these of the other"
            )
    return Collection(documents, judged, notes)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def read_pairs(folder: Path) -> Pairs:
    """A folder with pairs.jsonl."""
    file = folder / "pairs.jsonl"
    pairs = Pairs([], [], [], [])
    seen: dict[str, int] = {}
    for line, record in records_of(file):
        identifier = str(record.get("id", line))
        if identifier in seen:
            raise BioHiCLError(f"{file}, line {line}: the id '{identifier}' stands in line {seen[identifier]} too")
        seen[identifier] = line
        pairs.ids.append(identifier)
        for key, sentences in (("sentence1", pairs.first), ("sentence2", pairs.second)):
            sentence = text_of(file, line, record, key)
            if not sentence.strip():
                raise BioHiCLError(f"{file}, line {line}: '{key}' is empty")
            sentences.append(sentence)
        score = record.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise BioHiCLError(f"{file}, line {line}: 'score' is {score!r}, but a number is needed")
        pairs.scores.append(float(score))
    return _checked(pairs, file)


def read_pubmedqa(folder: Path, split: str, with_conclusion: bool) -> Collection:
    """PubMedQA's labelled questions as one split of retrieval: query ``q<PMID>``, document ``<PMID>``, without titles
    (the question is the title)."""
    file = folder / "ori_pqal.json"
    try:
        content = json.loads(_whole_text(file))
    except (ValueError, RecursionError) as error:
        raise BioHiCLError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(content, dict) or not content:
        raise BioHiCLError(f"{file}: a JSON object from PMIDs to questions is needed")
    rows, queries, qrels = [], {}, {}
    for pmid, record in content.items():
        contexts = record.get("CONTEXTS") if isinstance(record, dict) else None
        if not isinstance(contexts, list) or not pmid.isdecimal() or not isinstance(record.get("QUESTION"), str):
            raise BioHiCLError(f"{file}, PMID {pmid}: QUESTION as text and CONTEXTS as a list are needed")
        parts = [*contexts, record.get("LONG_ANSWER") or ""] if with_conclusion else contexts
        text = " ".join(part.strip() for part in parts).strip()
        rows.append({"document_id": pmid, "title": "", "text": text, "pmid": int(pmid), "doi": None})
        queries[f"q{pmid}"] = record["QUESTION"]
        qrels[f"q{pmid}"] = {pmid: 1}
    return Collection(pa.Table.from_pylist(rows, DOCUMENTS), {split: Judged(queries, qrels)})


def read_scifact_sentences(folder: Path, split: str) -> Pairs:
    """Claims with every sentence of their evidence abstracts (see above)."""
    corpus, claims = folder / "corpus.jsonl", folder / f"claims_{split}.jsonl"
    abstracts: dict[str, list[str]] = {}
    for line, record in records_of(corpus):
        sentences = record.get("abstract")
        if "doc_id" not in record or not isinstance(sentences, list):
            raise BioHiCLError(f"{corpus}, line {line}: 'doc_id', and 'abstract' as a list of sentences, are needed")
        abstracts[str(record["doc_id"])] = [str(sentence).strip() for sentence in sentences]
    pairs = Pairs([], [], [], [])
    for line, record in records_of(claims):
        claim = text_of(claims, line, record, "claim")
        evidence = record.get("evidence") or {}
        for document, rationales in evidence.items():
            if document not in abstracts:
                raise BioHiCLError(f"{claims}, line {line}: names the document {document}, which {corpus.name} lacks")
            told = {number for rationale in rationales for number in rationale["sentences"]}
            for number, sentence in enumerate(abstracts[document]):
                pairs.ids.append(f"{record.get('id', line)}-{document}-{number}")
                pairs.first.append(claim)
                pairs.second.append(sentence)
                pairs.scores.append(float(number in told))
    return _checked(pairs, claims)


# --- BEIR ------------------------------------------------------------------------------------------------------


def _beir_documents(file: Path, ids_are_pmids: bool, notes: list[str]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in DOCUMENTS.names}
    seen: dict[str, int] = {}
    empty = 0
    for line, record in records_of(file):
        identifier = _identifier(file, line, record, seen, "document")
        title, text = record.get("title"), text_of(file, line, record, "text")
        if title is not None and not isinstance(title, str):
            raise BioHiCLError(f"{file}, line {line}: 'title' is {title!r}, but text is needed")
        empty += not text.strip() and not (title or "").strip()
        pmid, doi = _origin(record)
        if pmid is None and ids_are_pmids:
            if not identifier.isdecimal():
                raise BioHiCLError(f"{file}, line {line}: '{identifier}' is no PMID, and config.yaml says ids: pmid")
            pmid = int(identifier)
        for name, value in zip(DOCUMENTS.names, (identifier, title or "", text, pmid, doi), strict=True):
            columns[name].append(value)
    if not seen:
        raise BioHiCLError(f"{file}: holds no documents")
    if empty:
        notes.append(f"{empty:,} documents have neither title nor text; they stay in the corpus")
    return pa.table(columns, schema=DOCUMENTS)


def _origin(record: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """PMID and DOI, from the fields and addresses that BEIR's collections have them in."""
    metadata = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    fields = {**(metadata or {}), **record}
    address = str(fields.get("url") or "")
    said = str(fields.get("pmid") or fields.get("pubmed_id") or "").strip()
    found = said if said.isdecimal() else next(iter(PUBMED_URL.findall(address)), "")
    pmid = int(found) if found and 0 < int(found) < 1 << 31 else None
    doi = DOI.search(str(fields.get("doi") or "")) or DOI.search(address)
    return pmid, doi[1] if doi else None


def _beir_queries(file: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    seen: dict[str, int] = {}
    for line, record in records_of(file):
        queries[_identifier(file, line, record, seen, "query")] = text_of(file, line, record, "text")
    return queries


def _judged(folder: Path, split: str, queries: Mapping[str, str], known: set[str], notes: list[str]) -> Judged:
    file = folder / "qrels" / f"{split}.tsv"
    qrels = _read_qrels(file, notes)
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        raise BioHiCLError(f"{file}: judges the query '{unknown[0]}', which queries.jsonl does not have")
    empty = [query for query in qrels if not queries[query].strip()]
    if empty:
        raise BioHiCLError(f"{folder / 'queries.jsonl'}: the query '{empty[0]}' is empty, and {file.name} judges it")
    absent = {document for judged in qrels.values() for document in judged} - known
    if absent:
        notes.append(
            f"{split}: {len(absent):,} judged documents are not in the corpus, such as '{min(absent)}'; they count as "
            "relevant and cannot be found"
        )
    hopeless = [query for query, judged in qrels.items() if max(judged.values()) <= 0]
    if len(hopeless) == len(qrels):
        raise BioHiCLError(f"{file}: no query has a relevant document (a score above 0)")
    if hopeless:
        notes.append(
            f"{split}: {len(hopeless):,} queries have no relevant document, such as '{hopeless[0]}'; every system gets "
            "0 for them, and they count in the mean"
        )
    return Judged({query: queries[query] for query in qrels}, qrels)


def _read_qrels(file: Path, notes: list[str]) -> Qrels:
    if not file.is_file():
        there = sorted(path.stem for path in file.parent.glob("*.tsv"))
        known = f"; it has {', '.join(there)}" if there else ""
        raise BioHiCLError(f"{file}: no such split{known}")
    qrels: Qrels = {}
    twice = 0
    for number, line in lines_of(file):
        if number == 1 and line.startswith("query-id"):
            continue
        try:
            query, document, score = line.split("\t")
            grade = int(score)
            if abs(grade) >= 1 << 31:
                raise ValueError
        except ValueError:
            raise BioHiCLError(
                f"{file}, line {number}: query-id, corpus-id and a whole number are needed, separated by tabs; "
                f"found {line[:80]!r}"
            ) from None
        before = qrels.setdefault(query, {}).setdefault(document, grade)
        if before != grade:
            raise BioHiCLError(
                f"{file}, line {number}: judges document '{document}' for query '{query}' as {grade}, and an earlier "
                f"line as {before}"
            )
        twice += 1
    if not qrels:
        raise BioHiCLError(f"{file}: holds no judgements")
    twice -= sum(map(len, qrels.values()))
    if twice:
        notes.append(f"{file.stem}: {twice:,} judgements stand there twice, with the same grade")
    return qrels


# --- lines and fields --------------------------------------------------------------------------------------------


def _whole_text(file: Path) -> str:
    if file.is_file() and file.stat().st_size > LARGEST_JSON_BYTES:
        raise BioHiCLError(f"{file}: longer than {LARGEST_JSON_BYTES:,} bytes, which no such file is")
    return "\n".join(line for _, line in lines_of(file))


def _identifier(file: Path, line: int, record: Mapping[str, Any], seen: dict[str, int], what: str) -> str:
    identifier = text_of(file, line, record, "_id")
    if identifier in seen:
        raise BioHiCLError(f"{file}, line {line}: the {what} id '{identifier}' stands in line {seen[identifier]} too")
    seen[identifier] = line
    return identifier


def _checked(pairs: Pairs, file: Path) -> Pairs:
    seen: set[str] = set()
    for identifier in pairs.ids:
        if identifier in seen:
            raise BioHiCLError(f"{file}: the pair '{identifier}' stands there twice; ids have to differ")
        seen.add(identifier)
    if len(pairs.ids) < 2:
        raise BioHiCLError(f"{file}: holds {len(pairs.ids)} pairs; at least 2 are needed for a correlation")
    if len(set(pairs.scores)) < 2:
        raise BioHiCLError(f"{file}: all pairs have the score {pairs.scores[0]:g}: nothing can be ranked by it")
    return pairs


@dataclass(frozen=True)
class Layout:
    """How a benchmark's files are laid out, and read."""

    # What it is a benchmark of: documents that are ranked, or pairs of sentences.
    kind: Literal["retrieval", "similarity"]
    # The files for these splits, by their path inside the folder.
    files: Callable[[Sequence[str]], list[str]]
    # Of a folder, the benchmark's block of config.yaml, and the splits.
    read: Callable[[Path, Mapping[str, Any], Sequence[str]], Collection | Pairs]


LAYOUTS: Mapping[str, Layout] = {
    "beir": Layout(
        "retrieval",
        lambda splits: ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in splits)],
        lambda folder, block, splits: read_beir(folder, splits, block["ids"] == "pmid"),
    ),
    "pubmedqa": Layout(
        "retrieval",
        lambda splits: ["ori_pqal.json"],
        lambda folder, block, splits: read_pubmedqa(folder, block["split"], block["conclusions"]),
    ),
    "pairs": Layout("similarity", lambda splits: ["pairs.jsonl"], lambda folder, block, splits: read_pairs(folder)),
    "scifact-sentences": Layout(
        "similarity",
        lambda splits: ["corpus.jsonl", *(f"claims_{split}.jsonl" for split in splits)],
        lambda folder, block, splits: read_scifact_sentences(folder, block["split"]),
    ),
}
