"""Catalog, SQL, score table and report page, on the finished workflow."""

import re
import resource
import shutil
import subprocess
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from biohicl.errors import BioHiCLError
from biohicl.pubmed.schema import CORPUS_ANOMALIES, QUARANTINE
from biohicl.report import page
from biohicl.report.catalog import VIEWS, query, write_catalog
from biohicl.report.page import write_report
from biohicl.report.summary import LEGEND, score_rows, score_text, variant_rows
from biohicl.storage import write_json, write_parquet


def test_every_view_gives_rows(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    with duckdb.connect("results/biohicl.duckdb", read_only=True) as connection:
        views = {
            row[0] for row in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
        }
        assert views == set(VIEWS) | {"citations"}
        counts = {view: connection.execute(f"select count(*) from {view}").fetchone()[0] for view in views}
        comments = connection.execute("select comment from duckdb_views() where not internal").fetchall()
    # The sample's files are numbered without a gap, and its citations are good; nothing of it is missing or leaks, and
    # no two models differ in their seed alone.
    empty = {"corpus_anomalies", "quarantine", "left_out", "overlap", "seeds"}
    assert {view for view, count in counts.items() if not count} == empty
    assert all(comment for (comment,) in comments)
    assert counts["citations"] == counts["current"] < counts["articles"]


def test_citations_are_the_current_records(finished, run_biohicl):
    sql = "select file, version, count(*) as n from citations where pmid between 990000201 and 990000210 group by all"
    done = run_biohicl("sql", "--csv", sql, cwd=finished.folder)
    assert done.stdout.split() == ["file,version,n", "pubmed99n0003,2,10"]
    deleted = "select count(*) from citations where pmid in (select pmid from deleted)"
    assert run_biohicl("sql", "--csv", deleted, cwd=finished.folder).stdout.split()[1] == "0"


def test_sql_works_from_anywhere_and_after_a_move(finished, tmp_path, run_biohicl):
    shutil.copytree(finished.folder / "results", tmp_path / "moved/results")
    (tmp_path / "elsewhere").mkdir()
    catalog = tmp_path / "moved/results/biohicl.duckdb"
    words = ["--csv", "select count(*) as n from citations where length(title) > 5"]
    asked = [
        run_biohicl("sql", *words, "--catalog", catalog, cwd=tmp_path / "elsewhere"),
        run_biohicl("sql", *words, cwd=tmp_path / "moved/results/mesh"),
        run_biohicl("sql", *words, cwd=finished.folder),
    ]
    assert [done.returncode for done in asked] == [0, 0, 0]
    assert asked[0].stdout == asked[1].stdout == asked[2].stdout


@pytest.mark.parametrize(
    ("sql", "said"),
    [("select * from citatons", "citations"), ("selec 1", "syntax error"), ("drop view citations", "read-only")],
)
def test_wrong_sql_is_answered_in_words(finished, run_biohicl, sql, said):
    done = run_biohicl("sql", sql, cwd=finished.folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_catalog_that_is_not_there(tmp_path):
    with pytest.raises(BioHiCLError, match="no such catalog; make it with"):
        query("select 1", tmp_path / "none.duckdb")


def test_a_missing_table_leaves_no_catalog(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {name: ["x"] for name in ("file", "selection", "release", "counted", "node", "retrieval", "similarity")}
    with pytest.raises(BioHiCLError, match=r"results/pubmed/articles/x.parquet: no such file"):
        write_catalog(names, tmp_path / "results/biohicl.duckdb")
    assert list((tmp_path / "results").iterdir()) == []


def test_a_full_disk_leaves_no_catalog(finished, tmp_path):
    """RLIMIT_FSIZE stands in for the disk: DuckDB says nothing of its own when its last write fails."""
    words = ["catalog", "--release", "resources/pubmed/release.json", "--output", str(tmp_path / "c.duckdb")]
    for limit in (20_000, 90_000, 140_000):
        done = subprocess.run(
            [sys.executable, "-m", "biohicl", *words],
            cwd=finished.folder,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert done.returncode != 0, done.stderr
        assert list(tmp_path.iterdir()) == []


def test_the_file_can_be_read_by_duckdb_1_0(finished):
    """Its header names the storage version: DuckDB 1.0 reads 64, later ones number higher."""
    header = (finished.folder / "results/biohicl.duckdb").read_bytes()[:24]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64


def test_the_score_table_has_every_system_and_benchmark(finished):
    header, rows = score_rows(finished.folder / "results/summary.parquet")
    assert header == ["system", "role", "sample-retrieval nDCG@10", "sample-pairs Spearman"]
    assert [row[:2] for row in rows] == [
        ["bm25", "lexical"],
        ["sample-bert", "backbone"],
        ["biohicl-base", "model"],
        ["default", "model"],
        ["biohicl-base.convex", "hybrid"],
        ["default.convex", "hybrid"],
    ]
    assert [row[3] for row in rows if row[1] in ("lexical", "hybrid")] == ["-"] * 3
    _, variants = variant_rows(finished.folder / "results/variants.parquet")
    assert [row[0] for row in variants] == ["biohicl-base.64d", "default.64d"]
    cell = r"-?\d\.\d{4} \[-?\d\.\d{4}, -?\d\.\d{4}\]( [▲▼△▽]{1,2})?"
    assert all(re.fullmatch(cell, row[2]) for row in rows)
    assert all(re.fullmatch(cell, row[3]) for row in rows[1:4])
    assert all(cell in score_text(finished.folder / "results/summary.parquet") for row in rows for cell in row)


def test_the_report_is_whole_and_asks_for_nothing(finished):
    html = (finished.folder / "results/report.html").read_text()
    _, rows = score_rows(finished.folder / "results/summary.parquet")
    for cell in [cell for row in rows for cell in row] + ["Strabismus", "biohicl-base", "pubmed99n0003"]:
        assert cell in html
    assert "<svg" in html
    loading = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)|url\(([^#)][^)]*)\)|@import""", html)
    assert loading == []
    assert "<script" not in html
    count = pl.scan_parquet(finished.folder / "results/corpus/current.parquet").select(pl.len()).collect().item()
    assert f"{count:,} current citations" in html
    assert "The release's files are one unbroken sequence." in html
    assert "Every citation could be read." in html
    assert LEGEND[0] in html
    # One sample document has the title of a citation, which is left out for it.
    row = '<td>abstracts</td><td>sample-retrieval</td><td class="number">1</td><td>1 by title</td><td class="number">0</td>'
    assert row in html


def test_the_report_shows_what_is_missing_in_the_numbering_and_what_was_left_out(finished, tmp_path):
    rows = [{"kind": "gap", "subject": f"pubmed26n{number:04d}", "detail": "1 file <missing>"} for number in range(25)]
    write_parquet(pa.Table.from_pylist(rows, CORPUS_ANOMALIES), tmp_path / "anomalies.parquet")
    results, resources = finished.folder / "results", finished.folder / "resources"
    for number in (1, 2, 3):
        bad = [{"pmid": 7, "byte": 50, "line": 2345, "reason": "no <title>", "xml": "<x/>"}] if number == 2 else []
        write_parquet(pa.Table.from_pylist(bad, QUARANTINE), tmp_path / f"quarantine/pubmed99n000{number}.parquet")
    write_report(
        results / "summary.parquet",
        [results / "models/default"],
        results / "corpus/current.parquet",
        tmp_path / "anomalies.parquet",
        tmp_path,
        results / "mesh",
        resources / "pubmed/release.json",
        [],
        [results / "training/overlap/abstracts/sample-pairs.parquet"],
        tmp_path / "report.html",
    )
    html = (tmp_path / "report.html").read_text()
    assert "25 anomalies, of which the first 20 are shown" in html
    assert "pubmed26n0019</td><td>1 file &lt;missing&gt;" in html
    assert "pubmed26n0020" not in html
    assert "left out because they cannot be read: 1." in html
    assert '<td>pubmed99n0002</td><td>7</td><td class="number">2,345</td><td>no &lt;title&gt;</td>' in html


def test_models_that_no_training_made_are_told_from_those_that_were(tmp_path):
    """A choice holds the training log of the chosen one: it is its manifest that says."""
    average = {"step": "average", "of": ["a", "b"], "snapshots": True, "with": "base", "share": 0.25}
    choice = {"step": "select", "of": ["a", "mixture"], "against": "base"}
    manifests = {
        "old": {"settings": {"losses": {}}},
        "mixture": {"settings": average},
        "plain": {"settings": average | {"with": None, "share": 1.0, "snapshots": False}},
        "more": {"settings": average | {"share": 1.5, "snapshots": False}},
        "best": {"settings": choice, "chosen": "mixture"},
    }
    for name, manifest in manifests.items():
        (tmp_path / name).mkdir()
        write_json(manifest, tmp_path / name / "manifest.json")
    assert [page.step_of(tmp_path / name) for name in manifests] == ["train", *["average"] * 3, "select"]
    assert [page.untrained(tmp_path / name)["how"] for name in ("mixture", "plain", "more", "best")] == [
        "0.25 of the mean of a, b and their snapshots, 0.75 of base",
        "1 of the mean of a, b",
        "base, and 1.5 times what the mean of a, b changed in it",
        "mixture, chosen among a, mixture",
    ]
