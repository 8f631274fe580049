"""Citations that were left out: set aside by the parser, counted by the merge, refused where none may be missing."""

import gzip

import polars as pl
import pyarrow as pa
import pytest

from biohicl.errors import BioHiCLError
from biohicl.pubmed.quarantine import check_quarantine, quarantined
from biohicl.pubmed.schema import QUARANTINE
from biohicl.storage import write_parquet
from test_pubmed_parse import record, write


def set_aside(folder, name, *pmids):
    rows = [{"pmid": pmid, "byte": 9, "line": 4, "reason": "why", "xml": "<x/>"} for pmid in pmids]
    write_parquet(pa.Table.from_pylist(rows, QUARANTINE), folder / f"quarantine/{name}.parquet")


def test_nothing_left_out_is_nothing_said(tmp_path, capsys):
    set_aside(tmp_path, "pubmed99n0001")
    check_quarantine(["pubmed99n0001"], tmp_path, allowed=False)
    assert capsys.readouterr().err == ""


def test_what_was_left_out_is_counted_or_refused(tmp_path, capsys):
    set_aside(tmp_path, "pubmed99n0001")
    set_aside(tmp_path, "pubmed99n0002", 5, 6)
    set_aside(tmp_path, "pubmed99n0003", 7)
    names = ["pubmed99n0001", "pubmed99n0002", "pubmed99n0003"]
    assert quarantined(names, tmp_path).rows() == [
        ("pubmed99n0002", 5, 4, "why"),
        ("pubmed99n0002", 6, 4, "why"),
        ("pubmed99n0003", 7, 4, "why"),
    ]
    check_quarantine(names, tmp_path, allowed=True)
    said = capsys.readouterr().err
    assert "warning: 3 citations of 2 files were left out, the first PMID 5 at line 4 of pubmed99n0002: why" in said
    with pytest.raises(BioHiCLError, match=r"3 citations of 2 files.*skip_bad_citations: true.*pubmed99n0002.parquet"):
        check_quarantine(names, tmp_path, allowed=False)
    with pytest.raises(BioHiCLError, match=r"pubmed99n0004.parquet: no such file; parse it first"):
        check_quarantine([*names, "pubmed99n0004"], tmp_path, allowed=True)


def test_the_command_sets_aside_only_where_asked(tmp_path, run_biohicl):
    source = write(tmp_path, record(40), record(41).replace('<PMID Version="1">41</PMID>', ""), record(42))
    tables = ("articles", "mesh-headings", "deleted", "quarantine")
    outputs = [word for table in tables for word in (f"--{table}", tmp_path / f"{table}.parquet")]
    done = run_biohicl("parse-pubmed", source, *outputs)
    assert done.returncode == 2
    assert "a citation without PMID (last good PMID 40)" in done.stderr
    assert list(tmp_path.glob("*.parquet")) == []
    done = run_biohicl("parse-pubmed", source, *outputs, "--skip-bad-citations")
    assert done.returncode == 0, done.stderr
    assert "2 articles" in done.stderr
    assert "1 left out" in done.stderr
    assert pl.read_parquet(tmp_path / "articles.parquet").select("pmid", "position").rows() == [(40, 0), (42, 1)]
    (row,) = pl.read_parquet(tmp_path / "quarantine.parquet").rows(named=True)
    text = gzip.decompress(source.read_bytes()).decode()
    assert row["reason"] == "a citation without PMID"
    assert row["line"] == text[: row["byte"]].count("\n") + 1
    assert text[row["byte"] :].startswith(row["xml"])
    assert row["xml"].endswith("</PubmedArticle>")


def test_two_outputs_of_one_name_are_refused(tmp_path, run_biohicl):
    tables = ("articles", "mesh-headings", "deleted", "quarantine")
    outputs = [word for table in tables for word in (f"--{table}", tmp_path / "same.parquet")]
    done = run_biohicl("parse-pubmed", write(tmp_path, record(40)), *outputs)
    assert done.returncode == 2
    assert "two of the paths are the same" in done.stderr
