"""A selection of documents with queries that people, or others' models, gave them.

Goes in: benchmarks' tables, with the queries and judgements that may be trained on; and files of a JSON object a line.
Comes out: a selection, a row a document (source, document_id, title, abstract); the queries of each row; and the
documents of files that are left out for being a benchmark's.

Every document of a benchmark is a row, and so is every text of a file, right answer or not: those without a query are
hard negatives, of the queries that a file names them for or BM25 finds them for. ``source`` is the benchmark's name, or
the file as it is named; the ``document_id`` in a file is the line of the text, and for its negatives the line and a
number ("12-1"). A text that stands there several times, in files or benchmarks, is one row, that of its first place;
its title is the first that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from biohicl.errors import BioHiCLError
from biohicl.json_lines import records_of, text_of
from biohicl.leakage.benchmark_texts import BenchmarkTexts
from biohicl.leakage.normal import title_keys, words
from biohicl.progress import say
from biohicl.storage import read_json, whole_files, write_parquet
from biohicl.training.rows import GIVEN, KEYS, queries_table, with_key
from biohicl.training.selection import EXCLUDED, GIVEN_KEY, TEXTS_KEY, texts_hash, texts_to_exclude

PAIRS = with_key(
    KEYS["pairs"],
    ("title", pa.string()),  # "" where there is none
    ("abstract", pa.string()),  # the document's text
    (GIVEN, pa.list_(pa.int32())),  # the rows, from 0, that a file names as wrong answers to this one's queries
)
ASKED = {"query_id": pl.String, "text": pl.String}
# What of a benchmark is read.
TABLES = ("documents", "training/queries", "training/qrels")


@dataclass
class Document:
    """A row of the selection."""

    source: str
    document_id: str
    title: str
    text: str
    queries: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[Document] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What makes it the same text as another: its words, without regard to case."""
        return " ".join((self.text or self.title).casefold().split())

    def add(self, query: str, task: str) -> None:
        """``query``, once."""
        found = {"kind": "labelled", "text": query, "start": None, "end": None, "task": task}
        if found not in self.queries:
            self.queries.append(found)


def write_pairs(
    settings: Mapping[str, Any],
    benchmarks: Path,
    tasks: Mapping[str, str],
    output: Path,
    queries: Path,
    excluded: Path,
    given: str = "",
) -> int:
    """Writes the selection that ``settings`` (a block of training.pairs) describes; returns its rows.

    ``benchmarks``: the folder with the benchmarks' tables; ``tasks``: by name, the task of a benchmark that has one of
    its own. ``excluded``, ``given``: as for :func:`~biohicl.training.selection.write_selection`.

    Raises :class:`BioHiCLError` for a bad line, for a benchmark that could not be had, and where no document has a
    query.
    """
    named = f"training.pairs.{output.stem}"
    of_benchmarks: list[Document] = []
    for name in settings["benchmarks"]:
        of_benchmarks += _of_benchmark(name, benchmarks / name, tasks.get(name) or settings["task"], named)
    of_files = _of_files(settings["files"], settings["task"])
    files = texts_to_exclude(settings["exclude_benchmarks"], benchmarks, named)
    left_out = _found(of_files, files)
    known = set(zip(left_out["source"], left_out["document_id"], strict=True))
    rows = _each_once([*of_benchmarks, *(text for text in of_files if (text.source, text.document_id) not in known)])
    place = {document.words: row for row, document in enumerate(rows)}
    with_query = sum(bool(document.queries) for document in rows)
    if settings["exclude_benchmarks"]:
        say(f"{len(known):,} texts of files are documents of {', '.join(settings['exclude_benchmarks'])}, and left out")
    if with_query == 0 or len(rows) < 2:
        raise BioHiCLError(
            f"selection '{output.stem}': {with_query:,} of {len(rows):,} documents have a query; at least 1 with one, "
            f"and another document, are needed. Name more benchmarks or files in {named} in config.yaml"
        )
    columns = {
        "source": [document.source for document in rows],
        "document_id": [document.document_id for document in rows],
        "title": [document.title for document in rows],
        "abstract": [document.text for document in rows],
        # Those that are left out are no rows.
        GIVEN: [sorted({place[text.words] for text in document.wrong if text.words in place}) for document in rows],
    }
    table = pa.table(columns, schema=PAIRS)
    read = [*files.values(), *tables_read(settings["benchmarks"], benchmarks)]
    with whole_files(output, queries, excluded) as (selection_file, queries_file, excluded_file):
        write_parquet(table, selection_file)
        write_parquet(queries_table(table, [document.queries for document in rows]), queries_file)
        write_parquet(left_out, excluded_file, {TEXTS_KEY: texts_hash(read), GIVEN_KEY: given})
    count = sum(len(document.queries) for document in rows)
    say(f"selection '{output.stem}': {len(rows):,} documents; {count:,} queries, of {with_query:,} of them")
    return len(rows)


def write_pairs_overlap(
    selection: Path, queries: Path, benchmark: str, texts: Path, scored: Path | None, output: Path
) -> tuple[int, int]:
    """Which texts of a benchmark, and which of its queries that are scored, a selection of pairs holds; how many.

    ``queries``: the table of the selection's queries; ``texts``: the benchmark's documents.parquet or pairs.parquet;
    ``scored``: its queries, None for pairs of sentences. Writes a row a text or query of the benchmark and one that it
    is: source and row_id of the selection's document, benchmark, document_id or query_id (the other is null), reason,
    similarity. A query is the same where its letters and digits are. The benchmark's own documents, where the selection
    is of its split for training, are no overlap; its queries are.

    What is trained on may not depend on queries that score, so this is looked for when models are compared.
    """
    rows = pl.read_parquet(selection, columns=["source", "document_id", "title", "abstract"])
    others = [Document(*row) for row in rows.filter(pl.col("source") != benchmark).iter_rows()]
    of_texts = _found(others, {benchmark: texts}).select(
        "source",
        pl.col("document_id").alias("row_id"),
        pl.lit(benchmark).alias("benchmark"),
        pl.col("benchmark_document").alias("document_id"),
        pl.lit(None, pl.String).alias("query_id"),
        "reason",
        "similarity",
    )
    trained = (
        pl.read_parquet(queries, columns=["source", "document_id", "queries"])
        .explode("queries")
        .drop_nulls("queries")
        .select("source", pl.col("document_id").alias("row_id"), pl.col("queries").struct.field("text"))
    )
    asked = pl.read_parquet(scored, columns=["query_id", "text"]) if scored else pl.DataFrame(schema=ASKED)
    both = [table.with_columns(title_keys(words(table["text"])).alias("key")) for table in (trained, asked)]
    of_queries = (
        both[0]
        .join(both[1], on="key")
        .select(
            "source",
            "row_id",
            pl.lit(benchmark).alias("benchmark"),
            pl.lit(None, pl.String).alias("document_id"),
            "query_id",
            pl.lit("query").alias("reason"),
            pl.lit(1.0, pl.Float32).alias("similarity"),
        )
    )
    found = pl.concat([of_texts, of_queries.unique()]).sort(pl.all(), nulls_last=True)
    write_parquet(found, output)
    counts = found["document_id"].drop_nulls().n_unique(), found["query_id"].drop_nulls().n_unique()
    say(
        f"{benchmark}: {counts[0]:,} of its texts and {counts[1]:,} of its queries are among the {rows.height:,} "
        f"documents and {trained.height:,} queries of {selection.stem}"
    )
    return counts


def tables_read(names: Sequence[str], benchmarks: Path) -> list[Path]:
    """The tables that are read of these benchmarks."""
    return [benchmarks / name / f"{table}.parquet" for name in names for table in TABLES]


def _of_benchmark(name: str, folder: Path, task: str, named: str) -> list[Document]:
    """The documents of a benchmark, those that a query of its split for training has a grade above 0 for with it."""
    if not (folder / "benchmark.json").is_file():
        raise BioHiCLError(f"{folder}: no such benchmark; fetch it first")
    record = read_json(folder / "benchmark.json")
    if not record.get("available"):
        raise BioHiCLError(
            f"{named} trains on {name}, which could not be had: {record.get('reason')}. Bring it, or take it out of "
            f"{named}.benchmarks in config.yaml"
        )
    missing = [file for file in tables_read([name], folder.parent) if not file.is_file()]
    if missing:
        raise BioHiCLError(
            f"{missing[0]}: no such file; {name} was fetched without a split to train on. Name one in "
            f"benchmarks.{name}.training in config.yaml, and fetch it again"
        )
    tables = [pl.read_parquet(file) for file in tables_read([name], folder.parent)]
    documents = {
        row["document_id"]: Document(name, row["document_id"], row["title"] or "", row["text"])
        for row in tables[0].select("document_id", "title", "text").iter_rows(named=True)
    }
    texts = dict(tables[1].select("query_id", "text").iter_rows())
    for query, document, grade in tables[2].select("query_id", "document_id", "grade").iter_rows():
        # What the judgements name and the files lack is said when the benchmark is fetched.
        if grade > 0 and document in documents and query in texts:
            documents[document].add(texts[query], task)
    return list(documents.values())


def _each_once(documents: Sequence[Document]) -> list[Document]:
    """The first of each text, with the queries and wrong answers of all."""
    found: dict[str, Document] = {}
    for document in documents:
        first = found.setdefault(document.words, document)
        if first is document:
            continue
        first.title = first.title or document.title
        for query in document.queries:
            first.add(query["text"], query["task"])
        first.wrong += document.wrong
    return list(found.values())


def _of_files(files: Sequence[str], task: str) -> list[Document]:
    """The texts of files of a JSON object a line: query, text, and perhaps title, negatives and task."""
    found: dict[str, Document] = {}
    for name in files:
        file, lines = Path(name), 0
        for line, record in records_of(file):
            lines += 1
            query, text = _full(file, line, record, "query"), _full(file, line, record, "text")
            title = text_of(file, line, record, "title").strip() if record.get("title") is not None else ""
            own_task = _full(file, line, record, "task") if record.get("task") is not None else task
            negatives = record.get("negatives") or []
            if not isinstance(negatives, list):
                raise BioHiCLError(f"{file}, line {line}: 'negatives' is no list of texts: {negatives!r:.60}")
            right = found.setdefault(text, Document(name, str(line), title, text))
            right.title = right.title or title
            right.add(query, own_task)
            for number, negative in enumerate(negatives, start=1):
                wrong = _full(file, line, {f"negatives {number}": negative}, f"negatives {number}")
                right.wrong.append(found.setdefault(wrong, Document(name, f"{line}-{number}", "", wrong)))
        if not lines:
            raise BioHiCLError(f"{file}: holds no pairs; a JSON object a line with query and text is needed")
    return list(found.values())


def _full(file: Path, line: int, record: Mapping[str, Any], key: str) -> str:
    value = text_of(file, line, record, key).strip()
    if not value:
        raise BioHiCLError(f"{file}, line {line}: '{key}' is empty")
    return value


def _found(documents: Sequence[Document], files: Mapping[str, Path]) -> pl.DataFrame:
    """Which documents are a text of the benchmarks in ``files``, and why in the table's columns."""
    # They have no PMID: numbers below 0 are none of a benchmark's.
    texts = pl.DataFrame(
        {
            "pmid": [-1 - row for row in range(len(documents))],
            "doi": [None] * len(documents),
            "title": [document.title for document in documents],
            "abstract": [document.text for document in documents],
        },
        schema={"pmid": pl.Int32, "doi": pl.String, "title": pl.String, "abstract": pl.String},
    )
    found = BenchmarkTexts(files).find(texts) if files else pl.DataFrame(schema=EXCLUDED)
    whose = [documents[-1 - pmid] for pmid in found["pmid"]]
    columns = {
        "source": pl.Series([document.source for document in whose], dtype=pl.String),
        "document_id": pl.Series([document.document_id for document in whose], dtype=pl.String),
        "benchmark": found["benchmark"],
        "benchmark_document": found["document_id"],
        "reason": found["reason"].cast(pl.String),
        "similarity": found["similarity"],
    }
    return pl.DataFrame(columns).sort("source", "document_id", "benchmark", "benchmark_document")
