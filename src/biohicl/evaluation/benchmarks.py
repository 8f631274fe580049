"""A benchmark as tables: what every evaluation reads, and what DuckDB can ask.

Goes in: a benchmark's block of config.yaml. Comes out, in one folder: benchmark.json (whether it is there, where it
came from, what is odd in it), and

retrieval: documents.parquet (document_id, title, text, pmid, doi); for each of ``test`` and ``development``, and for
           ``training`` where config.yaml names that split, queries.parquet (query_id, text) and qrels.parquet
           (query_id, document_id, grade)
similarity: pairs.parquet (pair_id, sentence1, sentence2, score)

One that cannot be had has the same tables without rows, and its record says why: nothing else waits for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.encoder.embed import Kind
from biohicl.encoder.folder import Text
from biohicl.encoder.vectors import TEXTS_OF_A_SHARD
from biohicl.errors import BioHiCLError
from biohicl.evaluation.sources import (
    DOCUMENTS,
    Collection,
    Judged,
    Pairs,
    Qrels,
    files_of,
    read_beir,
    read_layout,
    read_pairs,
)
from biohicl.fetch.attempts import record_attempt
from biohicl.fetch.download import fetch_benchmark
from biohicl.fetch.lock import LOCK, how_to_renew, known
from biohicl.fetch.lock import record as record_in
from biohicl.fetch.partial import DiskError
from biohicl.progress import say
from biohicl.storage import read_json, write_json, write_parquet

Role = Literal["test", "development", "training"]
# Every retrieval benchmark has tables of these, if without rows.
ROLES: tuple[Role, ...] = ("test", "development")
# Those that a benchmark may name no split for.
OPTIONAL_ROLES: tuple[Role, ...] = ("development", "training")
RECORD = "benchmark.json"

QUERIES = pa.schema([("query_id", pa.string()), ("text", pa.string())])
QRELS = pa.schema([("query_id", pa.string()), ("document_id", pa.string()), ("grade", pa.int32())])
PAIRS = pa.schema(
    [("pair_id", pa.string()), ("sentence1", pa.string()), ("sentence2", pa.string()), ("score", pa.float64())]
)
# What is read of a table for vectors of each kind, one pass each.
TEXT_COLUMNS: dict[Kind, list[tuple[str, ...]]] = {
    "documents": [("title", "text")],
    "queries": [("text",)],
    "sentences": [("sentence1",), ("sentence2",)],
}


@dataclass(frozen=True)
class Retrieval:
    """Documents (schema ``DOCUMENTS``), the queries of one split, and its judgements."""

    documents: pa.Table
    queries: dict[str, str]
    qrels: Qrels

    @property
    def document_ids(self) -> list[str]:
        """In the order of the table."""
        ids: list[str] = self.documents["document_id"].to_pylist()
        return ids

    def blocks(self) -> Iterator[list[tuple[str, str]]]:
        """Title and text of the documents, a shard's at a time."""
        texts = self.documents.select(["title", "text"])
        for start in range(0, texts.num_rows, TEXTS_OF_A_SHARD):
            block = texts.slice(start, TEXTS_OF_A_SHARD)
            yield list(zip(*(column.to_pylist() for column in block.columns), strict=True))


def splits_of(block: Mapping[str, Any]) -> dict[Role, str]:
    """What the roles are called in the benchmark's own files; without those that it names no split for.

    ``block``: of config.yaml, or what of it determines the tables, which has ``training`` only where it is named.
    """
    splits: dict[Role, str] = {"test": block["split"]}
    named = {"development": block["development"], "training": block.get("training")}
    return splits | {role: named[role] for role in OPTIONAL_ROLES if named[role]}


def _names_of(splits: Mapping[Role, str]) -> list[str]:
    """The splits to read; one split may have two roles."""
    return list(dict.fromkeys(splits.values()))


def read_source(block: Mapping[str, Any], folder: Path) -> Collection | Pairs:
    """The files that ``block`` of config.yaml describes, from ``folder``."""
    return read_layout(folder, block, _names_of(splits_of(block)))


def bring_benchmark(
    name: str, block: Mapping[str, Any], folder: Path, lock: Path = LOCK, attempt: int = 0
) -> dict[str, Any]:
    """Fetches, reads and writes the benchmark that ``block`` of config.yaml describes; returns its record.

    One that cannot be had, or cannot be read, is no error: its record says ``available: false``, and the reason. A
    checksum that config.yaml leaves open is recorded in ``lock`` at the first fetch, and enforced from then on.
    """
    source = str(block["url"] or block["path"])
    held = known(lock, "benchmarks", name, source).get("sha256")
    wanted, came, content, reason = block["sha256"] or held, None, None, None
    unpacked = folder.with_name(f".{folder.name}.source")
    splits = splits_of(block) if block["kind"] == "retrieval" else {}
    tables = _tables(None, block["kind"], splits)
    try:
        files = files_of(block["layout"], _names_of(splits_of(block)))
        place, came = fetch_benchmark(block["url"], block["path"], wanted, files, unpacked)
        content = _read(block, place)
        tables = _tables(content, block["kind"], splits)
    except DiskError:
        raise
    except BioHiCLError as error:
        content, reason = None, str(error)
        if held and wanted == held and "SHA-256" in reason:
            reason += f" ({how_to_renew(lock, 'benchmarks', name)})"
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    before = read_json(folder / RECORD) if content is None and (folder / RECORD).is_file() else {}
    as_now = {"kind": block["kind"], "layout": block["layout"], "splits": splits, "read_as": _read_as(block)}
    if before.get("available") and as_now.items() <= before.items() and wanted in (None, before["sha256"]):
        say(f"{name}: what is here is kept, for it cannot be fetched anew: {reason}")
        record_attempt(folder, attempt, True)
        return dict(before)
    # Only what could be read: an error page that came first must not be kept for the right file.
    if came and not wanted and content is not None:
        record_in(lock, "benchmarks", name, source, {"sha256": came})
    notes = content.notes if isinstance(content, Collection) else []
    record: dict[str, Any] = {
        **as_now,
        "available": content is not None,
        "reason": reason,
        "source": source,
        "sha256": came,
        "counts": _counts(content),
        "notes": notes,
    }
    for file, table in tables.items():
        write_parquet(table, folder / file)
    write_json(record, folder / RECORD)
    record_attempt(folder, attempt, content is not None)
    for note in notes:
        say(f"{name}: {note}")
    say(f"{name}: {record['counts'] or f'left out: {reason}'}")
    return record


def read_benchmark(folder: Path, split: str = "test", with_texts: bool = True) -> Retrieval | Pairs:
    """A folder of tables (``split``: test, development or training), or one in BEIR's layout or with pairs.jsonl.

    Of one that could not be had, documents and queries are empty. Without ``with_texts`` the documents of a folder of
    tables have nothing but their ids: runs need no more, and a corpus may be large.
    """
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such benchmark folder")
    if (folder / RECORD).is_file():
        return _read_tables(folder, split, with_texts)
    if (folder / "corpus.jsonl").is_file():
        collection = read_beir(folder, [split])
        for note in collection.notes:
            say(f"{folder.name}: {note}")
        judged = collection.splits[split]
        return Retrieval(collection.documents, judged.queries, judged.qrels)
    if (folder / "pairs.jsonl").is_file():
        return read_pairs(folder)
    raise BioHiCLError(
        f"{folder}: holds no benchmark. A retrieval benchmark has corpus.jsonl, queries.jsonl and qrels/{split}.tsv "
        "(BEIR), a similarity benchmark has pairs.jsonl"
    )


def read_queries(file: Path) -> dict[str, str]:
    """Query id to text."""
    table = _rows(file, QUERIES)
    return dict(zip(table["query_id"].to_pylist(), table["text"].to_pylist(), strict=True))


def read_qrels(file: Path) -> Qrels:
    """Query id to document id to grade."""
    qrels: Qrels = {}
    columns = (_rows(file, QRELS)[name].to_pylist() for name in QRELS.names)
    for query, document, grade in zip(*columns, strict=True):
        qrels.setdefault(query, {})[document] = grade
    return qrels


def read_pair_table(file: Path) -> Pairs:
    """A pairs.parquet."""
    table = _rows(file, PAIRS)
    return Pairs(*(table[name].to_pylist() for name in PAIRS.names))


def blocks_of_texts(file: Path, kind: Kind) -> Iterator[Sequence[Text]]:
    """The texts of a table, a shard's at a time, in its order: memory does not grow with the corpus.

    Of documents title and text; of pairs all first sentences, then all second ones.
    """
    for columns in TEXT_COLUMNS[kind]:
        for batch in pq.ParquetFile(file).iter_batches(TEXTS_OF_A_SHARD, columns=list(columns)):
            texts = [batch.column(name).to_pylist() for name in columns]
            yield texts[0] if len(columns) == 1 else list(zip(*texts, strict=True))


def joined(title: str, text: str) -> str:
    """A document as one text, as BEIR and mteb join it."""
    return f"{title} {text}".strip()


def _read(block: Mapping[str, Any], place: Path) -> Collection | Pairs:
    """As :func:`read_source`; what is not of its layout in a way that nobody thought of is an error in words too."""
    try:
        return read_source(block, place)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise BioHiCLError(
            f"{place}: cannot be read in the layout {block['layout']} ({type(error).__name__}: {said})"
        ) from None


def _tables(content: Collection | Pairs | None, kind: str, splits: Mapping[Role, str]) -> dict[str, pa.Table]:
    """Path inside the folder to table; without ``content``, tables without rows."""
    if kind == "similarity":
        pairs = content if isinstance(content, Pairs) else Pairs([], [], [], [])
        columns = [pairs.ids, pairs.first, pairs.second, pairs.scores]
        return {"pairs.parquet": pa.table(dict(zip(PAIRS.names, columns, strict=True)), schema=PAIRS)}
    collection = content if isinstance(content, Collection) else Collection(DOCUMENTS.empty_table(), {})
    tables = {"documents.parquet": collection.documents}
    for role in (*ROLES, *(role for role in splits if role not in ROLES)):
        judged = collection.splits.get(splits.get(role, ""), Judged({}, {}))
        tables |= {f"{role}/{name}.parquet": table for name, table in _tables_of(judged).items()}
    return tables


def _read_as(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: block[key] for key in ("ids", "conclusions")}


def _counts(content: Collection | Pairs | None) -> dict[str, int]:
    if isinstance(content, Pairs):
        return {"pairs": len(content.ids)}
    if content is None:
        return {}
    queries = {f"queries of {split}": len(judged.queries) for split, judged in content.splits.items()}
    return {"documents": content.documents.num_rows} | queries


def _tables_of(judged: Judged) -> dict[str, pa.Table]:
    queries = {"query_id": list(judged.queries), "text": list(judged.queries.values())}
    rows = [(query, *pair) for query, documents in judged.qrels.items() for pair in documents.items()]
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[], [], []]
    qrels = dict(zip(QRELS.names, columns, strict=True))
    return {"queries": pa.table(queries, schema=QUERIES), "qrels": pa.table(qrels, schema=QRELS)}


def _read_tables(folder: Path, role: str, with_texts: bool) -> Retrieval | Pairs:
    record = read_json(folder / RECORD)
    if record["kind"] == "similarity":
        return read_pair_table(folder / "pairs.parquet")
    if role not in ("test", *OPTIONAL_ROLES):
        raise BioHiCLError(f"{folder}: its splits are test, {' and '.join(OPTIONAL_ROLES)}, not '{role}'")
    if role not in record["splits"]:
        raise BioHiCLError(f"{folder}: config.yaml names no {role} split for it")
    columns = DOCUMENTS if with_texts else pa.schema([DOCUMENTS.field("document_id")])
    documents = _rows(folder / "documents.parquet", columns)
    return Retrieval(
        documents, read_queries(folder / role / "queries.parquet"), read_qrels(folder / role / "qrels.parquet")
    )


def _rows(file: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pq.read_table(file, columns=schema.names)
    except FileNotFoundError:
        raise BioHiCLError(f"{file}: no such file; fetch the benchmark first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BioHiCLError(f"{file}: not a table of a benchmark: {str(error).splitlines()[0]}") from None
