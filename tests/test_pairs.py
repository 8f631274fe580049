"""Pairs of a query and its right answer, from benchmarks' training splits and from files."""

import re

import polars as pl
import pytest

from benchmark_folders import BLOCK, beir_folder, lines
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import bring_benchmark, read_benchmark
from biohicl.storage import read_json
from biohicl.training.negatives import write_negatives
from biohicl.training.pairs import write_pairs, write_pairs_overlap

PAIRS = {"benchmarks": [], "files": [], "exclude_benchmarks": [], "task": "Answer"}


@pytest.fixture
def benchmarks(tmp_path):
    """Benchmarks as fetched: ``asked`` may be trained on, by the split that is its development split too."""
    corpus = [
        {"_id": "a", "title": "First title", "text": "The first document says little of anything at all."},
        {"_id": "b", "title": "", "text": "A second one, which nobody asks for in any split whatever."},
        {"_id": "c", "text": "The third is judged twice, and answers what the first answers as well."},
    ]
    queries = [{"_id": name, "text": f"what is {name}?"} for name in ("q", "r", "s")]
    folder = beir_folder(tmp_path / "source", corpus, queries, [("s", "b", 1)])
    beir_folder(
        folder, corpus, queries, [("q", "a", 2), ("q", "b", 0), ("q", "c", 1), ("r", "c", 1), ("r", "gone", 1)], "train"
    )
    block = BLOCK | {"path": str(folder), "development": "train"}
    bring_benchmark("asked", block | {"training": "train"}, tmp_path / "b/asked", tmp_path / "lock.json")
    bring_benchmark("plain", block, tmp_path / "b/plain", tmp_path / "lock.json")
    return tmp_path / "b"


def select_pairs(folder, tables, tasks=(), **over):
    outputs = [folder / f"{name}.parquet" for name in ("mine", "queries", "excluded")]
    write_pairs(PAIRS | over, tables, dict(tasks), *outputs)
    tables = [pl.read_parquet(output) for output in outputs]
    assert tables[0].select("source", "document_id").equals(tables[1].select("source", "document_id"))
    return tables


def asked_of(queries):
    return {
        (row["source"], row["document_id"]): [(query["text"], query["task"]) for query in row["queries"]]
        for row in queries.iter_rows(named=True)
        if row["queries"]
    }


def test_a_benchmark_has_tables_of_the_split_to_train_on_where_one_is_named(benchmarks):
    trained, chosen = (read_benchmark(benchmarks / "asked", role) for role in ("training", "development"))
    assert trained.queries == {"q": "what is q?", "r": "what is r?"}
    assert trained.qrels["q"] == {"a": 2, "b": 0, "c": 1}
    assert (trained.queries, trained.qrels) == (chosen.queries, chosen.qrels)
    # One split in two roles is read once.
    assert len(read_json(benchmarks / "asked/benchmark.json")["notes"]) == 1
    assert not (benchmarks / "plain/training").exists()
    with pytest.raises(BioHiCLError, match="names no training split"):
        read_benchmark(benchmarks / "plain", "training")


def test_documents_of_benchmarks_are_rows_and_right_answers_have_the_query(benchmarks, tmp_path):
    table, queries, excluded = select_pairs(tmp_path, benchmarks, {"asked": "Its own"}, benchmarks=["asked"])
    assert table["document_id"].to_list() == ["a", "b", "c"]
    assert table["title"].to_list() == ["First title", "", ""]
    assert asked_of(queries) == {
        ("asked", "a"): [("what is q?", "Its own")],
        ("asked", "c"): [("what is q?", "Its own"), ("what is r?", "Its own")],
    }
    assert excluded.is_empty()
    with pytest.raises(
        BioHiCLError, match=r"plain was fetched without a split to train on.*benchmarks\.plain\.training"
    ):
        select_pairs(tmp_path, benchmarks, benchmarks=["plain"])


def test_texts_of_files_are_rows_once_and_none_is_a_benchmarks(benchmarks, tmp_path):
    rows = [
        {"query": "one", "text": " Naïve β-cells “do” 1\u00a0thing. ", "title": None, "negatives": ["A wrong one."]},
        {"query": "two", "text": "A wrong one.", "task": "Other", "extra": 1},
        {"query": "one", "text": "Naïve β-cells “do” 1\u00a0thing.", "title": "Cells", "negatives": []},
        {"query": "three", "text": "the FIRST document says little, of anything at all"},
        {
            "query": "four",
            "text": "Yet another.",
            "negatives": ["The third is judged twice, and answers what the first answers as well!"],
        },
    ]
    lines(tmp_path / "mine.jsonl", rows)
    file = str(tmp_path / "mine.jsonl")
    table, queries, excluded = select_pairs(tmp_path, benchmarks, files=[file], exclude_benchmarks=["plain"])
    # Nearly the text of `a`, and, as an answer that is wrong, that of `c`.
    assert set(excluded.select("document_id", "benchmark_document").iter_rows()) == {("4", "a"), ("5-1", "c")}
    assert table.select("document_id", "title").rows() == [("1", "Cells"), ("1-1", ""), ("5", "")]
    asked = asked_of(queries)
    assert asked[file, "1"] == [("one", "Answer")]
    assert asked[file, "1-1"] == [("two", "Other")]


def test_what_pairs_hold_of_a_benchmark_that_scores(benchmarks, tmp_path):
    """Documents of others' sources, and any query; a benchmark's own documents are its own."""
    records = [
        {"query": "What is S ?", "text": "An answer of one's own to a query that scores, and of no benchmark."},
        {"query": "something else", "text": "a second ONE which nobody asks for in any split, whatever"},
    ]
    file = tmp_path / "mine.jsonl"
    lines(file, records)
    select_pairs(tmp_path, benchmarks, benchmarks=["asked"], files=[str(file)])
    tables = tmp_path / "mine.parquet", tmp_path / "queries.parquet"

    def overlap(name, scored=True):
        of_benchmark = benchmarks / name / "documents.parquet", benchmarks / name / "test/queries.parquet"
        output = tmp_path / "overlap.parquet"
        counts = write_pairs_overlap(*tables, name, of_benchmark[0], of_benchmark[1] if scored else None, output)
        rows = pl.read_parquet(output)
        assert counts == (rows["document_id"].drop_nulls().n_unique(), rows["query_id"].drop_nulls().n_unique())
        columns = ["source", "row_id", "document_id", "query_id", "reason"]
        return set(rows.select(columns).iter_rows())

    # The training split's queries, q and r, are not among those that score: s alone.
    assert overlap("asked") == {
        (str(file), "1", None, "s", "query"),
        (str(file), "2", "b", None, "near duplicate"),
    }
    # The same documents under another name: those of the training split are a leak there.
    plain = overlap("plain")
    assert {(source, row) for source, row, document, *_ in plain if document} >= {("asked", "a"), ("asked", "c")}
    assert (str(file), "1", None, "s", "query") in plain
    assert all(query is None for *_, query, _ in overlap("asked", scored=False))


def test_a_text_that_stands_in_several_places_is_one_row_and_no_wrong_answer_of_itself(benchmarks, tmp_path):
    rows = [
        {
            "query": "one",
            "text": "A text.",
            "negatives": ["A wrong one.", "The first document says  little of ANYTHING at all."],
        },
        {
            "query": "two",
            "text": "A second one, which nobody asks for in any split whatever.",
            "negatives": ["a TEXT."],
        },
        {"query": "one", "text": "A wrong one."},
    ]
    lines(tmp_path / "mine.jsonl", rows)
    file = str(tmp_path / "mine.jsonl")
    table, queries, _ = select_pairs(tmp_path, benchmarks, benchmarks=["asked"], files=[file])
    assert table.select("source", "document_id").rows() == [
        *(("asked", name) for name in "abc"),
        (file, "1"),
        (file, "1-1"),
    ]
    assert asked_of(queries)["asked", "b"] == [("two", "Answer")]
    # As the file names them; a text of the file is that of the benchmark.
    assert table["wrong_answers"].to_list() == [[], [3], [], [0, 4], []]
    write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet", queries=tmp_path / "queries.parquet")
    found = pl.read_parquet(tmp_path / "negatives.parquet")
    # The wrong one answers the same query elsewhere.
    assert found["given"].to_list() == [[], [3], [], [0], []]
    # Whoever is not asked for has none by BM25.
    asked = [bool(own) for own in queries["queries"].to_list()]
    assert asked == [True, True, True, True, True]
    assert 4 not in found["bm25"][3]


def test_wrong_answers_of_pairs_are_the_nearest_to_their_queries(tmp_path):
    """Not to the answer: a query shares no word with it here, and all of them with another text."""
    rows = [
        {"query": "zinc in soil", "text": "Trace metals of fields were measured.", "negatives": []},
        {"query": "other things", "text": "Soil may have zinc in it."},
        {"query": "more things", "text": "Metals of fields, traced."},
    ]
    lines(tmp_path / "mine.jsonl", rows)
    select_pairs(tmp_path, tmp_path / "none", files=[str(tmp_path / "mine.jsonl")])
    write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet", queries=tmp_path / "queries.parquet")
    assert pl.read_parquet(tmp_path / "negatives.parquet")["bm25"][0].to_list() == [1]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('{"query": "q"}', "'text' is None, but text is needed"),
        ('{"query": " ", "text": "t"}', "'query' is empty"),
        ('{"query": "q", "text": "t", "negatives": "n"}', "'negatives' is no list"),
        ('{"query": "q", "text": "t", "negatives": ["n", 3]}', "'negatives 2' is 3"),
        ('{"query": "q", "text": "t", "title": 4}', "'title' is 4"),
        ('{"query": "q", "text": "half \\ud83d"}', "half of a character"),
        ('["query"]', "a JSON object is needed"),
        ('{"query": "q", "text": ', "not valid JSON"),
    ],
)
def test_a_bad_line_is_named(benchmarks, tmp_path, second, said):
    (tmp_path / "bad.jsonl").write_text('{"query": "q", "text": "t"}\n' + second + "\n")
    with pytest.raises(BioHiCLError, match=rf"bad\.jsonl, line 2: .*{re.escape(said)}"):
        select_pairs(tmp_path, benchmarks, files=[str(tmp_path / "bad.jsonl")])
    assert not (tmp_path / "mine.parquet").exists()


def test_documents_that_answer_the_same_query_are_no_negatives_of_each_other(benchmarks, tmp_path):
    select_pairs(tmp_path, benchmarks, benchmarks=["asked"])
    with pytest.raises(BioHiCLError, match="--queries"):
        write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet")
    write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet", queries=tmp_path / "queries.parquet")
    bm25, siblings = pl.read_parquet(tmp_path / "negatives.parquet").select("bm25", "siblings").to_dict().values()
    # a and c answer q both.
    assert 2 not in bm25[0]
    assert 0 not in bm25[2]
    assert siblings.list.len().sum() == 0
