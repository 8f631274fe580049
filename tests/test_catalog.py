"""The catalog and questions to it: every view and word, from anywhere, and what is damaged or missing."""

import re
import resource
import shutil
import subprocess
import sys
from contextlib import chdir

import duckdb
import polars as pl
import pytest

from biohicl.errors import BioHiCLError
from biohicl.evaluation.efficiency import EFFICIENCY
from biohicl.pubmed.schema import MESH_HEADINGS
from biohicl.report.catalog import CATALOG, query, write_catalog
from biohicl.report.columns import NARROWEST, folded, in_columns
from biohicl.report.views import views
from biohicl.storage import write_parquet
from conftest import Workflow
from test_workflow import planned_inputs

# What the sample's workflow has nothing of: nothing but citations is trained on, and no study was run.
ABSENT = {
    *("concept_selections", "pair_selections", "concept_queries", "pair_queries", "citation_queries", "concept_labels"),
    *("excluded_pairs", "overlap_of_pairs"),
    *("ablations", "ablation_trainings", "efficiency", "development_scores", "label_study"),
}


# Enough for the views of single files.
ONLY_FILES = {"file": ["pubmed99n0001", "pubmed99n0002", "pubmed99n0003"]}


def columns_and_words(catalog):
    """Of each view its columns, in order, with their comments."""
    found = {}
    sql = "select table_name, column_name, comment from duckdb_columns() where not internal order by all"
    with duckdb.connect(str(catalog), read_only=True) as connection:
        for view, column, words in connection.execute(sql).fetchall():
            found.setdefault(view, {})[column] = words
    return found


def test_the_catalog_reads_what_it_has_views_of(tmp_path, sample):
    """Each table among its inputs is in a view, and each view of one file is over an input; by a dry run."""
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    (read,) = (inputs for rule, inputs in planned_inputs(Workflow(tmp_path), "catalog") if rule == "write_catalog")
    # Those of what is run beside `all` are any file that is named.
    patterns = {view.pattern for view in views().values()} - {"{name}"}
    patterns = [re.escape(pattern).replace(r"\{name\}", ".+") for pattern in patterns]
    # Metrics of what is scored are in the summary.
    tables = [name for name in read if re.fullmatch(r"(?!results/evaluation/.*/metrics\.).*\.parquet", name)]
    assert [name for name in tables if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    assert {view.pattern for view in views().values() if not view.over} <= set(read)
    assert len(tables) > 30


def test_every_view_gives_rows(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    with duckdb.connect("results/biohicl.duckdb", read_only=True) as connection:
        made = {
            row[0] for row in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
        }
        assert made == (set(views()) | {"citations"}) - ABSENT
        counts = {view: connection.execute(f"select count(*) from {view}").fetchone()[0] for view in made}
        comments = connection.execute("select comment from duckdb_views() where not internal").fetchall()
    # The sample's files are numbered without a gap, and its citations are good; nothing of it is missing or leaks, and
    # no two models differ in their seed alone.
    empty = {"corpus_anomalies", "quarantine", "left_out", "overlap", "seeds", "seed_gains"}
    assert {view for view, count in counts.items() if not count} == empty
    assert all(comment for (comment,) in comments)
    assert counts["citations"] == counts["current"] < counts["articles"]


def test_every_column_of_every_view_has_words_and_no_words_lack_a_column(finished):
    found = columns_and_words(finished.folder / "results/biohicl.duckdb")
    for name, columns in found.items():
        assert [column for column, words in columns.items() if not words] == [], name
        described = set(views()["articles" if name == "citations" else name].columns) - {"*"}
        # Losses are named by the configuration.
        varying = {"contrastive", "mse", "title_abstract", "heading_abstract", "soft_targets"}
        assert set(columns) - described == (varying if name == "training_log" else set()), name
        assert described <= set(columns), name


def test_words_fit_the_tables_that_other_configurations_have(finished, tmp_path, monkeypatch):
    """What the sample's workflow does not make: by the schemas that their writers have."""
    from biohicl.evaluation.development import TABLE
    from biohicl.study.ablations import TRAININGS
    from biohicl.training.concepts import CONCEPTS
    from biohicl.training.labels import LABELS
    from biohicl.training.pairs import PAIRS
    from biohicl.training.rows import KEYS

    known = {name: set(view.columns) - {"*"} for name, view in views().items()}
    assert known["efficiency"] == set(EFFICIENCY.names)
    assert known["development_scores"] == set(TABLE.names)
    assert known["ablation_trainings"] == set(TRAININGS)
    assert known["pair_selections"] == {*PAIRS.names, "selection"}
    concepts = {*KEYS["concepts"].names, "selection"}
    assert known["concept_selections"] == {*CONCEPTS.names, "selection"}
    assert known["concept_labels"] == concepts | {name for name, _ in LABELS}
    assert known["concept_queries"] == concepts | {"queries"}
    assert known["pair_queries"] == {*KEYS["pairs"].names, "selection", "queries"}
    # A column that is named by the configuration gets words too, and one with a quotation mark is no injection.
    frame = pl.DataFrame({"cell": ["base"], 'sci"fact nDCG@10': [0.5]})
    write_parquet(frame, tmp_path / "ablations.parquet")
    monkeypatch.chdir(finished.folder)
    write_catalog(ONLY_FILES | {"ablations": [str(tmp_path / "ablations.parquet")]}, tmp_path / "c.duckdb")
    columns = columns_and_words(tmp_path / "c.duckdb")["ablations"]
    assert columns['sci"fact nDCG@10'] == "mean of that metric on that set, over the seeds"


def test_a_reader_keeps_its_catalog_while_a_new_one_is_written(finished, tmp_path, monkeypatch):
    """The old file stays whole for who has it open; who comes next reads the new one."""
    catalog = tmp_path / "results/biohicl.duckdb"
    shutil.copytree(finished.folder / "results", tmp_path / "results")
    shutil.copytree(finished.folder / "resources/benchmarks", tmp_path / "resources/benchmarks")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(catalog), read_only=True) as reader:
        before = reader.execute("select count(*) from summary").fetchone()
        write_catalog(ONLY_FILES, catalog)
        assert reader.execute("select count(*) from summary").fetchone() == before
        assert reader.execute("select count(*) from per_query").fetchone()[0] > 0
        # In a process of its own: within this one DuckDB would share the open database.
        code = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('select view_name from duckdb_views() where not internal').fetchall())"
        done = subprocess.run([sys.executable, "-c", code, catalog], capture_output=True, text=True, timeout=60)
    assert "'summary'" in done.stdout
    assert "'per_query'" not in done.stdout


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


def small_project(folder, rows, results="results"):
    """A catalog of one view, over a table of so many rows."""
    write_parquet(pl.DataFrame({"n": range(rows)}), folder / results / "summary.parquet")
    if not (folder / "results").exists():
        (folder / "results").symlink_to(results)
    with chdir(folder), duckdb.connect("results/biohicl.duckdb") as connection:
        connection.execute("create view summary as select * from read_parquet('results/summary.parquet')")
    return folder / "results/biohicl.duckdb"


@pytest.mark.parametrize("name", ["plain", "com,ma", "it's a [quoted] *", "β"])
def test_sql_asks_the_catalog_that_is_named_and_no_other(name, tmp_path, run_biohicl):
    """In the folder of another project DuckDB would find that one's tables first, and say nothing."""
    catalog = small_project(tmp_path / name, rows=3)
    small_project(tmp_path / "deep/other", rows=7)
    (tmp_path / "deep/other/own.csv").write_text("a\n1\n")
    words = ["sql", "--csv", "select count(*) from summary", "--catalog", catalog]
    for folder in (tmp_path, tmp_path / "deep/other", tmp_path / name):
        done = run_biohicl(*words, cwd=folder)
        assert (done.stdout.split()[1:], done.stderr) == (["3"], ""), folder
    # By a relative path, and with two questions, too.
    done = run_biohicl(
        "sql", "--describe", "summary", "--catalog", f"../../{name}/{CATALOG}", cwd=tmp_path / "deep/other"
    )
    assert (done.stdout.split()[-2:], done.stderr) == (["n", "BIGINT"], "")
    # And a file that is named in a query is one of the folder that it is asked in.
    words[2] = "select count(*) from summary, read_csv('own.csv')"
    assert run_biohicl(*words, cwd=tmp_path / "deep/other").stdout.split()[1:] == ["3"]


def test_results_may_lie_on_another_disk(tmp_path, run_biohicl):
    """results/ as a link, and a link to the catalog."""
    catalog = small_project(tmp_path / "project", rows=3, results="../disk/of-project")
    (tmp_path / "project/sub").mkdir()
    (tmp_path / "link.duckdb").symlink_to(catalog)
    words = ["sql", "--csv", "select count(*) from summary"]
    for folder, more in ((tmp_path / "project/sub", []), (tmp_path, ["--catalog", "link.duckdb"])):
        done = run_biohicl(*words, *more, cwd=folder)
        assert (done.stdout.split()[1:], done.stderr) == (["3"], ""), folder


@pytest.mark.parametrize("how", [[], ["--csv"]])
def test_what_fails_while_rows_are_computed_is_answered_in_words(how, tmp_path, run_biohicl):
    catalog = small_project(tmp_path, rows=3)
    done = run_biohicl("sql", *how, "select error('boom ' || n) from summary", "--catalog", catalog, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("biohicl sql: error: DuckDB: Invalid Input Error: boom")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("sql", "said"),
    [("select * from citatons", "citations"), ("selec 1", "syntax error"), ("drop view citations", "read-only")],
)
def test_wrong_sql_is_answered_in_words(finished, run_biohicl, sql, said):
    done = run_biohicl("sql", sql, cwd=finished.folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_views_and_columns_are_listed_with_what_they_hold(finished, run_biohicl):
    listed = run_biohicl("sql", cwd=finished.folder).stdout
    assert re.search(r"^citations +the current record of each citation, with its text$", listed, re.MULTILINE)
    assert listed == run_biohicl("sql", "--views", cwd=finished.folder).stdout
    assert len(listed.splitlines()) == 2 + len(set(views()) - ABSENT) + 1
    shown = run_biohicl("sql", "--describe", "mesh_headings", cwd=finished.folder).stdout.splitlines()
    assert [line.split()[0] for line in shown[2:]] == [*MESH_HEADINGS.names, "file"]
    assert "PubMed file that the row is from" in shown[-1]
    done = run_biohicl("sql", "--describe", "mesh_heading", cwd=finished.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no view mesh_heading; did you mean mesh_headings" in done.stderr


def test_csv_is_added_to_what_stands_in_a_file(finished, tmp_path):
    """Standard output may be a file that is written on (>>), and has what was said before."""
    file = tmp_path / "answers.csv"
    for number in (1, 2):
        with file.open("a") as stream:
            command = [sys.executable, "-m", "biohicl", "sql", "--csv", f"select {number} as n, [1, 2] as l"]
            subprocess.run(command, cwd=finished.folder, stdout=stream, check=True, timeout=60)
    assert file.read_text() == 'n,l\n1,"[1, 2]"\nn,l\n2,"[1, 2]"\n'


def test_words_are_folded_into_the_terminals_width():
    rows = [
        ("a", "list of texts", "x" * 100),
        ("name", "int", "some words " * 20 + "end"),
        ("b", "row(a of text, b of text, c of text, d)", ""),
    ]
    for width in (10, 60, 200):
        header = ["column", "type", "what"]
        lines = in_columns(header, folded(header, rows, width), left=3).splitlines()
        assert max(map(len, lines)) <= max(width, len("column") + 2 * (2 + NARROWEST))
        assert [line.split()[0] for line in lines[2:] if not line.startswith(" ")] == ["a", "name", "b"]
        words = "".join(lines[2:]).replace(" ", "")
        assert words == "".join("".join(row) for row in rows).replace(" ", ""), "no word is lost"


def test_files_that_are_damaged_or_gone_are_told_with_the_way_out(tmp_path, run_biohicl):
    """Of DuckDB's errors, which name the file and no more."""
    catalog = small_project(tmp_path, rows=3)
    (tmp_path / "results/summary.parquet").unlink()
    asked = ("sql", "select * from summary", "--catalog", str(catalog))
    done = run_biohicl(*asked, cwd=tmp_path)
    assert (done.returncode, done.stderr.endswith("removed: snakemake --cores 2 results/summary.parquet\n")) == (
        2,
        True,
    )
    catalog.write_bytes(b"no database" * 1000)
    done = run_biohicl(*asked, cwd=tmp_path)
    assert (done.returncode, "make it again: snakemake --cores 2 catalog" in done.stderr) == (2, True), done.stderr


def test_a_catalog_that_is_not_there(tmp_path):
    with pytest.raises(BioHiCLError, match="no such catalog; make it with"):
        query("select 1", tmp_path / "none.duckdb")


def test_a_missing_table_leaves_no_catalog(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BioHiCLError, match=r"results/pubmed/articles/x.parquet: no such file"):
        write_catalog({"file": ["x"]}, tmp_path / "results/biohicl.duckdb")
    assert list((tmp_path / "results").iterdir()) == []


def test_a_full_disk_leaves_no_catalog(finished, tmp_path):
    """RLIMIT_FSIZE stands in for the disk: DuckDB says nothing of its own when its last write fails."""
    words = ["catalog", "--record", "resources/pubmed/release.json", "--output", str(tmp_path / "c.duckdb")]
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
