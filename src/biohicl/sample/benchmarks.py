"""The sample's two benchmarks, on subjects of the same world but texts that no citation has.

Retrieval: a query names a descriptor by some of its words; a document with that descriptor in its focus is
relevant in grade 2, one in which it stands beside in grade 1. Similarity: two
sentences, each about one descriptor; the score, 0 to 4, is how near the two stand in the tree.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from biohicl.sample.world import Descriptor, Subject, World

DOCUMENTS = 500
QUERIES = {"test": 50, "dev": 30}
PAIRS = 200


def write_retrieval(world: World, folder: Path) -> None:
    """Writes corpus.jsonl, queries.jsonl, qrels/test.tsv and qrels/dev.tsv."""
    draw = random.Random("sample retrieval")
    focuses = draw.sample(world.topics, sum(QUERIES.values()))
    documents: list[tuple[str, Subject, dict[str, Any]]] = []
    for number in range(DOCUMENTS):
        # Each queried descriptor is the focus of two documents at least.
        focus = focuses[number % len(focuses)] if number < 2 * len(focuses) else None
        subject = world.subject(draw, focus)
        words = world.vocabulary(draw, subject)
        text = " ".join(world.sentence(draw, words, subject.who) for _ in range(draw.randint(4, 7)))
        identifier = f"S{number + 1:04d}"
        documents.append(
            (identifier, subject, {"_id": identifier, "title": world.title(draw, words, subject.who), "text": text})
        )
    queries, qrels, number = [], {}, 0
    for split, count in QUERIES.items():
        rows = []
        for _ in range(count):
            focus = focuses[number]
            number += 1
            text = world.title(draw, draw.sample(focus.words, 3), ["patients"])
            query = {"_id": f"q{number:03d}", "text": text}
            queries.append(query)
            for identifier, subject, _ in documents:
                if grade := _grade(focus, subject):
                    rows.append(f"{query['_id']}\t{identifier}\t{grade}")
        qrels[split] = rows
    _write_lines(folder / "corpus.jsonl", (document for _, _, document in documents))
    _write_lines(folder / "queries.jsonl", queries)
    for split, rows in qrels.items():
        path = folder / "qrels" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n", encoding="utf-8")


def write_similarity(world: World, folder: Path) -> None:
    """Writes pairs.jsonl."""
    draw = random.Random("sample pairs")
    rows = []
    for number in range(PAIRS):
        first = draw.choice(world.topics)
        kind = number % 4
        if kind == 0:
            second = first
        elif kind in (1, 2) and world.relatives[first.ui]:
            second = draw.choice(world.relatives[first.ui])
        else:
            second = draw.choice(world.topics)
        sentences = [world.sentence(draw, draw.sample(topic.words, 3), ["patients"]) for topic in (first, second)]
        rows.append(
            {
                "id": str(number + 1),
                "sentence1": sentences[0],
                "sentence2": sentences[1],
                "score": round(4 * world.similarity(first, second), 2),
            }
        )
    _write_lines(folder / "pairs.jsonl", rows)


def _grade(wanted: Descriptor, subject: Subject) -> int:
    if subject.focus is wanted:
        return 2
    return int(wanted in subject.beside)


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
