"""Benchmarks as others publish them: what is read, what is refused, and what becomes of one that cannot be had."""

import gzip
import hashlib
import io
import json
import re
import tarfile

import polars as pl
import pytest
import yaml

from benchmark_folders import BLOCK, beir_folder, lines, simple_folder
from biohicl.configuration import systems
from biohicl.errors import BioHiCLError
from biohicl.evaluation import benchmarks
from biohicl.evaluation.benchmarks import bring_benchmark, read_benchmark
from biohicl.evaluation.sources import LAYOUTS, Pairs, read_beir, read_pairs, read_pubmedqa, read_scifact_sentences
from conftest import ROOT


def small(folder, **changes):
    parts = {"documents": {"1": "one", "2": "two"}, "queries": {"q": "which"}, "qrels": [("q", "1", 1)]} | changes
    return simple_folder(folder, **parts)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_where_documents_come_from_is_read_as_the_collections_have_it(tmp_path):
    corpus = [
        {
            "_id": "MED-10",
            "title": "a",
            "text": "t",
            "metadata": {"url": "http://www.ncbi.nlm.nih.gov/pubmed/25329299"},
        },
        {"_id": "ug7v899j", "text": "t", "metadata": {"url": "https://doi.org/10.1186/rr14x", "pubmed_id": "11472636"}},
        {"_id": "3", "text": "t", "url": "https://pubmed.ncbi.nlm.nih.gov/777/"},
        {"_id": "4", "text": "t", "doi": "10.1000/ABC", "pmid": 12},
        {"_id": "5", "text": "t", "metadata": None},
    ]
    folder = beir_folder(tmp_path, corpus, [{"_id": "q", "text": "x"}], [("q", "3", 1)])
    documents = read_beir(folder, ["test"]).documents
    assert documents["pmid"].to_pylist() == [25329299, 11472636, 777, 12, None]
    assert documents["doi"].to_pylist() == [None, "10.1186/rr14x", None, "10.1000/ABC", None]
    # Ids that are PMIDs serve where the metadata say nothing.
    assert read_beir(folder, ["test"], ids_are_pmids=True).documents["pmid"].to_pylist()[-1] == 5


def test_ids_that_are_pmids(tmp_path):
    folder = small(tmp_path / "good", documents={"1": "one", "23": "two"})
    assert read_beir(folder, ["test"], ids_are_pmids=True).documents["pmid"].to_pylist() == [1, 23]
    bad = small(tmp_path / "bad", documents={"1": "one", "MED-2": "two"})
    with pytest.raises(BioHiCLError, match=r"corpus.jsonl, line 2: 'MED-2' is no PMID, and config.yaml says ids: pmid"):
        read_beir(bad, ["test"], ids_are_pmids=True)


def test_what_is_odd_is_told_and_dealt_with_as_beir_and_mteb_do(tmp_path):
    folder = small(
        tmp_path,
        documents={"1": "one", "2": " "},
        queries={"q": "which", "r": "what", "s": "who"},
        qrels=[("q", "1", 1), ("q", "gone", 2), ("q", "1", 1), ("r", "1", 0)],
    )
    found = read_beir(folder, ["test"])
    assert found.splits["test"].queries == {"q": "which", "r": "what"}
    assert found.splits["test"].qrels == {"q": {"1": 1, "gone": 2}, "r": {"1": 0}}
    assert [note.split(",")[0] for note in found.notes] == [
        "1 documents have neither title nor text; they stay in the corpus",
        "test: 1 judgements stand there twice",
        "test: 1 judged documents are not in the corpus",
        "test: 1 queries have no relevant document",
    ]


def test_queries_that_two_splits_share_are_told(tmp_path):
    folder = small(
        tmp_path,
        documents={"1": "one"},
        queries={"q": "Which is it?", "r": "what", "s": "which  is it", "t": "which is"},
        qrels=[("q", "1", 1), ("r", "1", 1)],
    )
    (folder / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\ns\t1\t1\nt\t1\t1\n")
    (note,) = read_beir(folder, ["test", "dev"]).notes
    assert note.startswith("dev: 1 of its queries, such as 's', stand word for word in test too")
    assert read_beir(folder, ["test"]).notes == []


def test_pubmedqa_with_and_without_the_answer(tmp_path):
    records = {
        "123": {"QUESTION": "Does it?", "CONTEXTS": ["Aim.", " Method. "], "LONG_ANSWER": "It does."},
        "45": {"QUESTION": "Is it?", "CONTEXTS": ["Only."], "LONG_ANSWER": "No."},
    }
    (tmp_path / "ori_pqal.json").write_text(json.dumps(records, indent=1))
    without = read_pubmedqa(tmp_path, "test", with_conclusion=False)
    assert without.documents["text"].to_pylist() == ["Aim. Method.", "Only."]
    assert without.documents["pmid"].to_pylist() == [123, 45]
    assert without.splits["test"].qrels == {"q123": {"123": 1}, "q45": {"45": 1}}
    assert read_pubmedqa(tmp_path, "test", True).documents["text"].to_pylist() == ["Aim. Method. It does.", "Only. No."]
    (tmp_path / "ori_pqal.json").write_text(json.dumps({"123": {"QUESTION": "?"}}))
    with pytest.raises(BioHiCLError, match=r"ori_pqal.json, PMID 123: QUESTION as text and CONTEXTS as a list"):
        read_pubmedqa(tmp_path, "test", False)


def test_a_claim_is_paired_with_every_sentence_of_its_evidence_abstracts(tmp_path):
    corpus = [
        {"doc_id": 7, "title": "T", "abstract": ["First.", "Second.", "Third."]},
        {"doc_id": 8, "title": "U", "abstract": ["Other."]},
    ]
    claims = [
        {
            "id": 1,
            "claim": "C.",
            "evidence": {"7": [{"sentences": [0], "label": "SUPPORT"}, {"sentences": [0, 2], "label": "CONTRADICT"}]},
            "cited_doc_ids": [7, 8],
        },
        {"id": 2, "claim": "D.", "evidence": {}, "cited_doc_ids": [8]},
    ]
    lines(tmp_path / "corpus.jsonl", corpus)
    lines(tmp_path / "claims_dev.jsonl", claims)
    pairs = read_scifact_sentences(tmp_path, "dev")
    assert pairs == Pairs(["1-7-0", "1-7-1", "1-7-2"], ["C."] * 3, ["First.", "Second.", "Third."], [1.0, 0.0, 1.0])
    lines(tmp_path / "claims_dev.jsonl", [claims[0] | {"evidence": {"9": [{"sentences": [0], "label": "SUPPORT"}]}}])
    with pytest.raises(BioHiCLError, match="line 1: names the document 9, which corpus.jsonl lacks"):
        read_scifact_sentences(tmp_path, "dev")


def test_the_configuration_knows_every_layout_and_what_it_is_a_benchmark_of():
    of_schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())["$defs"]["benchmark"]
    assert {*LAYOUTS, None} == set(of_schema["properties"]["layout"]["enum"])
    assert {name: layout.kind for name, layout in LAYOUTS.items()} == {
        name: kind for kind, names in systems.LAYOUTS.items() for name in names
    }
    for name in LAYOUTS:
        assert f"{name} = " in of_schema["properties"]["layout"]["description"], name
        assert name in re.search(r"# How its files are laid out: (.*)", (ROOT / "config.yaml").read_text())[1]


# --- what is refused --------------------------------------------------------------------------------------------------


def pairs_folder(folder, line):
    good = '{"sentence1": "a", "sentence2": "b", "score": 1.5}'
    (folder / "pairs.jsonl").write_text(f"{good}\n{line}\n")


BAD = {
    "empty folder": (lambda f: None, "holds no benchmark"),
    "no such split": (
        lambda f: small(f) and (f / "qrels/test.tsv").rename(f / "qrels/dev.tsv"),
        "no such split; it has dev",
    ),
    "broken line": (lambda f: pairs_folder(f, '{"sentence1": "a",'), r"pairs.jsonl, line 2: not valid JSON"),
    "no score": (
        lambda f: pairs_folder(f, '{"sentence1": "a", "sentence2": "b", "score": "4"}'),
        "line 2: 'score' is '4'",
    ),
    "score not finite": (
        lambda f: pairs_folder(f, '{"sentence1": "a", "sentence2": "b", "score": NaN}'),
        "line 2: 'score' is nan",
    ),
    "no sentence": (lambda f: pairs_folder(f, '{"sentence1": "a", "score": 4}'), "line 2: 'sentence2' is None"),
    "an empty sentence": (
        lambda f: pairs_folder(f, '{"sentence1": "a", "sentence2": " ", "score": 4}'),
        "line 2: 'sentence2' is empty",
    ),
    "one pair": (lambda f: pairs_folder(f, ""), "holds 1 pairs"),
    "all the same": (
        lambda f: pairs_folder(f, '{"sentence1": "a", "sentence2": "b", "score": 1.5}'),
        "all pairs have the score 1.5",
    ),
    "a pair's id twice": (
        lambda f: (f / "pairs.jsonl").write_text(2 * '{"id": 4, "sentence1": "a", "sentence2": "b", "score": 1}\n'),
        "line 2: the id '4' stands in line 1 too",
    ),
    "not utf-8": (
        lambda f: (
            (f / "pairs.jsonl").write_bytes(b'{"a": 1}\n{"sentence1": "\xff"}')
            and (f / "pairs.jsonl").write_bytes(b'\n{"sentence1": "\xff"}')
        ),
        "pairs.jsonl, line 2: not UTF-8 at byte 15",
    ),
    "document twice": (
        lambda f: beir_folder(f, [{"_id": "1", "text": "t"}] * 2, [{"_id": "q", "text": "t"}], [("q", "1", 1)]),
        "corpus.jsonl, line 2: the document id '1' stands in line 1 too",
    ),
    "query twice": (
        lambda f: beir_folder(f, [{"_id": "1", "text": "t"}], [{"_id": "q", "text": "t"}] * 2, [("q", "1", 1)]),
        "queries.jsonl, line 2: the query id 'q' stands in line 1 too",
    ),
    "id as a number": (
        lambda f: beir_folder(f, [{"_id": 1, "text": "t"}], [{"_id": "q", "text": "t"}], [("q", "1", 1)]),
        "corpus.jsonl, line 1: '_id' is 1, but text is needed",
    ),
    "unknown query": (lambda f: small(f, qrels=[("p", "1", 1)]), "test.tsv: judges the query 'p'"),
    "empty query": (
        lambda f: small(f, queries={"q": " "}),
        "queries.jsonl: the query 'q' is empty, and test.tsv judges it",
    ),
    "grade not a number": (lambda f: small(f, qrels=[("q", "1", "yes")]), r"test.tsv, line 2: .*found 'q\\t1\\tyes'"),
    "judged differently": (
        lambda f: small(f, qrels=[("q", "1", 1), ("q", "1", 2)]),
        "line 3: judges document '1' for query 'q' as 2, and an earlier line as 1",
    ),
    "nothing relevant": (lambda f: small(f, qrels=[("q", "1", 0)]), "no query has a relevant document"),
    "no documents": (lambda f: small(f, documents={}), "corpus.jsonl: holds no documents"),
}


@pytest.mark.parametrize("fault", BAD)
def test_wrong_benchmarks_are_errors_that_name_the_place(tmp_path, fault):
    make, said = BAD[fault]
    make(tmp_path)
    with pytest.raises(BioHiCLError, match=said):
        read_benchmark(tmp_path)


# --- as tables --------------------------------------------------------------------------------------------------------


def test_tables_hold_what_the_files_held(sample, tmp_path):
    source = sample / "benchmarks/sample-retrieval"
    block = BLOCK | {"path": str(source), "development": "dev"}
    record = bring_benchmark("x", block, tmp_path / "x", tmp_path / "lock.json")
    assert record["available"]
    assert record["splits"] == {"test": "test", "development": "dev"}
    assert record["counts"] == {"documents": 500, "queries of test": 50, "queries of dev": 30}
    for role, split in record["splits"].items():
        whole, judged = read_benchmark(tmp_path / "x", role), read_beir(source, [split]).splits[split]
        assert (whole.queries, whole.qrels) == (judged.queries, judged.qrels)
        assert whole.documents.equals(read_beir(source, [split]).documents)
        # Runs need no texts, and a corpus may be large.
        bare = read_benchmark(tmp_path / "x", role, with_texts=False)
        assert bare.documents.column_names == ["document_id"]
        assert (bare.document_ids, bare.qrels) == (whole.document_ids, whole.qrels)
    assert not (tmp_path / "lock.json").exists()
    with pytest.raises(BioHiCLError, match="its splits are test, development and training, not 'dev'"):
        read_benchmark(tmp_path / "x", "dev")


def test_pairs_as_tables(sample, tmp_path):
    source = sample / "benchmarks/sample-pairs"
    block = BLOCK | {"kind": "similarity", "layout": "pairs", "path": str(source)}
    bring_benchmark("x", block, tmp_path / "x", tmp_path / "lock.json")
    assert read_benchmark(tmp_path / "x") == read_pairs(source)


@pytest.mark.parametrize("kind", ["retrieval", "similarity"])
def test_what_cannot_be_had_is_empty_and_says_why(tmp_path, kind, capsys):
    layout = {"retrieval": "beir", "similarity": "pairs"}[kind]
    block = BLOCK | {"kind": kind, "layout": layout, "path": str(tmp_path / "nowhere")}
    record = bring_benchmark("lost", block, tmp_path / "x", tmp_path / "lock.json")
    assert record["available"] is False
    assert "nowhere: no such folder" in record["reason"]
    assert "lost: left out: " in capsys.readouterr().err
    content = read_benchmark(tmp_path / "x")
    assert (
        content == Pairs([], [], [], [])
        if kind == "similarity"
        else (content.queries, len(content.documents)) == ({}, 0)
    )


def test_a_broken_one_is_left_out_too_with_file_and_line(tmp_path):
    small(tmp_path / "source", qrels=[("q", "1", "yes")])
    record = bring_benchmark("x", BLOCK | {"path": str(tmp_path / "source")}, tmp_path / "x", tmp_path / "lock.json")
    assert "qrels/test.tsv, line 2: " in record["reason"]


# --- checksums --------------------------------------------------------------------------------------------------------


def tar_of(folder, path):
    with tarfile.open(path, "w:gz") as bundle:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                content = file.read_bytes()
                info = tarfile.TarInfo(f"data/{file.relative_to(folder)}")
                info.size = len(content)
                bundle.addfile(info, io.BytesIO(content))
    return path


def test_the_first_checksum_is_kept_and_another_one_refused(tmp_path):
    """An archive whose publisher names no checksum: what came first is enforced from then on."""
    archive = tar_of(small(tmp_path / "one"), tmp_path / "x.tar.gz")
    first = hashlib.sha256(archive.read_bytes()).hexdigest()
    lock, block = tmp_path / "lock.json", BLOCK | {"url": archive.as_uri()}
    assert bring_benchmark("x", block, tmp_path / "x", lock)["sha256"] == first
    held = json.loads(lock.read_text())["benchmarks"]["x"]
    assert (held["source"], held["sha256"]) == (archive.as_uri(), first)
    assert bring_benchmark("x", block, tmp_path / "x", lock)["available"]

    tar_of(small(tmp_path / "two", documents={"1": "changed"}), archive)
    assert bring_benchmark("x", block, tmp_path / "x", lock)["sha256"] == first, "what is here stays"
    record = bring_benchmark("x", block, tmp_path / "other place", lock)
    assert not record["available"]
    assert f"and {first} is expected (if the new one is wanted, take benchmarks.x out of {lock})" in record["reason"]
    assert json.loads(lock.read_text())["benchmarks"]["x"] == held
    # A checksum of one's own is above it, and nothing is recorded then.
    own = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert bring_benchmark("x", block | {"sha256": own}, tmp_path / "x", lock)["available"]
    assert json.loads(lock.read_text())["benchmarks"]["x"] == held
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert sorted(hidden) == [".lock.json.lock", ".other place.attempt.json", ".x.attempt.json"]


def test_an_error_page_that_came_first_is_not_held_on_to(tmp_path):
    file, lock = tmp_path / "ori_pqal.json", tmp_path / "lock.json"
    block = BLOCK | {"layout": "pubmedqa", "url": file.as_uri()}
    file.write_text('{"message": "rate limited"}')
    assert "PMID message" in bring_benchmark("x", block, tmp_path / "x", lock)["reason"]
    assert not lock.exists()
    file.write_text(json.dumps({"12": {"QUESTION": "?", "CONTEXTS": ["c"]}}))
    assert bring_benchmark("x", block, tmp_path / "x", lock)["available"]
    assert lock.exists()


def test_what_is_here_stays_where_it_cannot_be_fetched_anew(tmp_path, capsys):
    source, lock = small(tmp_path / "source"), tmp_path / "lock.json"
    block = BLOCK | {"path": str(source)}
    first = bring_benchmark("x", block, tmp_path / "x", lock)
    (source / "corpus.jsonl").write_text("torn")
    assert bring_benchmark("x", block, tmp_path / "x", lock) == first
    assert "what is here is kept" in capsys.readouterr().err
    assert len(read_benchmark(tmp_path / "x").documents) == 2
    # As something else it is not here.
    assert not bring_benchmark("x", block | {"split": "dev"}, tmp_path / "x", lock)["available"]


ODD = {
    "half of a character": (
        "beir",
        "corpus.jsonl",
        '{"_id": "1", "text": "\\ud83d"}\n',
        r"line 1: 'text' has half of a character",
    ),
    "a grade beyond all": ("beir", "qrels/test.tsv", "q\t1\t100000000000\n", "test.tsv, line 1: .*a whole number"),
    "no context": (
        "pubmedqa",
        "ori_pqal.json",
        '{"12": {"QUESTION": "?", "CONTEXTS": [null]}}',
        "cannot be read in the layout",
    ),
    "no PMID": (
        "pubmedqa",
        "ori_pqal.json",
        '{"99999999999": {"QUESTION": "?", "CONTEXTS": ["c"]}}',
        "cannot be read in the",
    ),
    "evidence as a list": (
        "scifact-sentences",
        "claims_test.jsonl",
        '{"id": 1, "claim": "c", "evidence": [1]}\n',
        "cannot be read in the layout scifact-sentences",
    ),
    "a claim twice": (
        "scifact-sentences",
        "claims_test.jsonl",
        2 * '{"id": 1, "claim": "c", "evidence": {"7": [{"sentences": [0]}]}}\n',
        "the pair '1-7-0' stands there twice",
    ),
}


@pytest.mark.parametrize("fault", ODD)
def test_whatever_is_wrong_inside_is_a_reason_and_no_crash(tmp_path, fault):
    layout, name, content, said = ODD[fault]
    source = small(tmp_path / "source")
    if layout == "scifact-sentences":
        lines(source / "corpus.jsonl", [{"doc_id": 7, "abstract": ["First.", "Second."]}])
    (source / name).write_text(content)
    block = BLOCK | {"kind": LAYOUTS[layout].kind, "layout": layout, "path": str(source)}
    record = bring_benchmark("x", block, tmp_path / "x", tmp_path / "lock.json")
    assert re.search(said, record["reason"]), record["reason"]


def test_single_files_are_benchmarks_too(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": "a", "sentence2": "c", "score": 2}]
    file = tmp_path / "test.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    block = BLOCK | {"kind": "similarity", "layout": "pairs", "url": file.as_uri()}
    assert bring_benchmark("x", block, tmp_path / "x", tmp_path / "lock.json")["counts"] == {"pairs": 2}
    (tmp_path / "ori_pqal.json").write_text(json.dumps({"12": {"QUESTION": "?", "CONTEXTS": ["c"]}}))
    block = BLOCK | {"layout": "pubmedqa", "url": (tmp_path / "ori_pqal.json").as_uri()}
    assert bring_benchmark("y", block, tmp_path / "y", tmp_path / "lock.json")["counts"]["documents"] == 1
    file.write_bytes(file.read_bytes()[:-9])
    record = bring_benchmark(
        "z", block | {"layout": "pairs", "kind": "similarity", "url": file.as_uri()}, tmp_path / "z", tmp_path / "l"
    )
    assert "not a whole gzip file" in record["reason"]


def test_a_full_disk_is_no_missing_benchmark(tmp_path, monkeypatch):
    from biohicl.fetch.partial import DiskError

    def full(*_):
        raise DiskError("no space")

    monkeypatch.setattr(benchmarks, "fetch_benchmark", full)
    with pytest.raises(DiskError):
        bring_benchmark("x", BLOCK | {"url": "https://x.org/x.zip"}, tmp_path / "x", tmp_path / "lock.json")


def test_the_tables_are_those_that_the_schema_names(finished):
    folder = finished.folder / "resources/benchmarks"
    documents = pl.read_parquet(folder / "sample-retrieval/documents.parquet")
    assert documents["document_id"].n_unique() == documents.height == 500
    qrels = pl.read_parquet(folder / "sample-retrieval/test/qrels.parquet")
    assert set(qrels["document_id"]) <= set(documents["document_id"])
