"""Catalog, SQL, score table and report page, on the finished workflow."""

import csv
import json
import re
import resource
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from biohicl.errors import BioHiCLError
from biohicl.evaluation.efficiency import EFFICIENCY
from biohicl.pubmed.schema import CORPUS_ANOMALIES, MESH_HEADINGS, QUARANTINE
from biohicl.report.catalog import CATALOG, query, write_catalog
from biohicl.report.columns import NARROWEST, folded, in_columns
from biohicl.report.drawings import scores_drawing
from biohicl.report.leakage import leaks
from biohicl.report.made import manifest_of, step_of
from biohicl.report.page import write_report
from biohicl.report.sources import Sources
from biohicl.report.summary import LEGEND, score_rows, score_text, variant_rows
from biohicl.report.training_tables import untrained
from biohicl.report.views import views
from biohicl.storage import write_json, write_parquet
from browser import DESK, PAPER, PHONE, browsing
from conftest import clean_environment

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
    from biohicl.evaluation.efficiency import EFFICIENCY
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
    assert (done.returncode, "The stage that writes these tables has not run" in done.stderr) == (2, True), done.stderr
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


# --- the page -----------------------------------------------------------------------------------------------


def sources_of(**others):
    """What a finished workflow's page is made from, by paths within its folder: as these Snakemake knows them."""
    results = Path("results")
    given = {
        "summary": results / "summary.parquet",
        "nodes": [results / "models/default"],
        "current": results / "corpus/current.parquet",
        "description": results / "corpus/description.parquet",
        "corpus_anomalies": results / "corpus/anomalies.parquet",
        "pubmed": results / "pubmed",
        "mesh": results / "mesh",
        "pubmed_record": Path("resources/pubmed/release.json"),
    }
    return Sources(**(given | others))


def test_the_report_is_whole_and_asks_for_nothing(finished):
    html = (finished.folder / "results/report.html").read_text()
    header, rows = score_rows(finished.folder / "results/summary.parquet")
    for cell in [cell for row in rows for cell in row] + ["Strabismus", "biohicl-base", "pubmed99n0003"]:
        assert cell in html
    loading = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)|url\(([^#)][^)]*)\)|@import""", html)
    assert loading == [("data:,", "")]
    assert "<script" not in html
    count = pl.scan_parquet(finished.folder / "results/corpus/current.parquet").select(pl.len()).collect().item()
    assert f"{count:,} current citations" in html
    assert "All of it is invented:" in html
    assert "The release's files are one unbroken sequence." in html
    assert "Every citation could be read" in html
    assert LEGEND[0] in html
    # One sample document has the title of a citation, which is left out for it.
    cells = re.search(r"<tr><td>abstracts</td><td>sample-retrieval</td>.*?</tr>", html)[0]
    assert re.findall(r">([^<>]+)</td>", cells) == ["abstracts", "sample-retrieval", "1 by title", "1", "0", "-"]
    assert "After <code>snakemake --cores N ablations</code> the next run shows them here." in html
    # Nothing of this machine, and no id twice.
    assert str(finished.folder) not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    with (finished.folder / "results/scores.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [header, *rows]


def test_every_number_of_the_report_names_its_file(finished):
    """Each section that has a table or a figure ends with files, and these are there."""
    html = (finished.folder / "results/report.html").read_text()
    sections = re.findall(r'<section id="(\w+)">(.*?)</section>', html, flags=re.DOTALL)
    assert [name for name, _ in sections] == [
        *("scores", "training", "similarities", "ablations", "efficiency", "leakage", "corpus", "mesh", "rules")
    ]
    for name, content in sections:
        sources = re.findall(r'class="source">(.*?)</(?:p|details)>', content, flags=re.DOTALL)
        files = [file for source in sources for file in re.findall(r"<code>(.*?)</code>", source)]
        assert files or "<table>" not in content, name
        beside = ("manifest.json", "training_log.parquet", "development.parquet")
        assert [file for file in files if file not in beside and not (finished.folder / file).exists()] == []


def test_the_same_inputs_give_the_same_page(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.folder)
    for name in ("one", "other"):
        write_report(sources_of(), tmp_path / f"{name}.html", tmp_path / f"{name}.csv", tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    figures = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert figures == {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}


def test_the_graph_shows_the_rules_that_ran(finished):
    """From the listing to the page; what stands beside it, nothing on it is made from."""
    html = (finished.folder / "results/report.html").read_text()
    rules = set(re.findall(r"<tr><td>(\w+)</td><td class=\"words\">", html.split('<section id="rules">')[1]))
    records = [json.loads(path.read_text()) for path in (finished.folder / ".snakemake/metadata").iterdir()]
    on_the_way = {"list_pubmed", "fetch_pubmed", "parse_pubmed", "merge_citations", "describe_corpus", "hierarchy"}
    on_the_way |= {"freeze_release", "select", "tokens", "labels", "train_node", "similarities_of_node", "overlap"}
    on_the_way |= {
        "embed_documents",
        "evaluate_lexical",
        "tune_hybrids",
        "compare_systems",
        "summarize",
        "write_report",
    }
    assert on_the_way <= rules <= {record["rule"] for record in records}
    assert "write_catalog" not in rules
    assert "parse_pubmed ×3" in html


def test_the_report_shows_what_is_missing_in_the_numbering_and_what_was_left_out(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.folder)
    rows = [{"kind": "gap", "subject": f"pubmed26n{number:04d}", "detail": "1 file <missing>"} for number in range(25)]
    write_parquet(pa.Table.from_pylist(rows, CORPUS_ANOMALIES), tmp_path / "anomalies.parquet")
    for number in (1, 2, 3):
        bad = [{"pmid": 7, "byte": 50, "line": 2345, "reason": "no <title>", "xml": "<x/>"}] if number == 2 else []
        write_parquet(pa.Table.from_pylist(bad, QUARANTINE), tmp_path / f"quarantine/pubmed99n000{number}.parquet")
    overlaps = [Path("results/training/overlap/abstracts/sample-pairs.parquet")]
    changed = {"corpus_anomalies": tmp_path / "anomalies.parquet", "pubmed": tmp_path, "overlaps": overlaps}
    write_report(sources_of(**changed, records=tmp_path), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "25 anomalies, of which the first 20 are shown" in html
    assert re.search(r"pubmed26n0019</td><td[^>]*>1 file &lt;missing&gt;", html)
    assert "pubmed26n0020" not in html
    assert "left out because they cannot be read: 1." in html
    assert re.search(r"<td>pubmed99n0002</td><td>7</td><td[^>]*>no &lt;title&gt;</td><td[^>]*>2,345</td>", html)
    # Without SimL, and without Snakemake's records, it says so.
    assert "there is no SimL to compare with" in html
    assert "Snakemake's records of what made these files are not here" in html


def test_what_pairs_leave_out_and_hold_is_counted(tmp_path):
    """Documents of one id and different sources are two; of labelled pairs queries are counted, too."""
    excluded = {"source": ["a", "b", "b"], "document_id": ["1", "1", "1"], "benchmark": ["x"] * 3}
    write_parquet(
        pl.DataFrame(excluded | {"reason": ["title", "title", "doi"]}), tmp_path / "excluded/labelled.parquet"
    )
    overlap = {"benchmark": ["x"] * 3, "document_id": ["7", "7", None], "query_id": [None, None, "q"]}
    write_parquet(pl.DataFrame(overlap), tmp_path / "overlap/labelled/x.parquet")
    write_parquet(pl.DataFrame(overlap).drop("query_id"), tmp_path / "overlap/abstracts/x.parquet")
    files = [tmp_path / "excluded/labelled.parquet"], sorted((tmp_path / "overlap").rglob("*.parquet"))
    assert leaks(*files).rows == [
        ["labelled", "x", "2 by title", "2", "1", "1"],
        ["abstracts", "x", "", "0", "1", "-"],
    ]


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
    assert [step_of(manifest_of(tmp_path / name)) for name in manifests] == ["train", *["average"] * 3, "select"]
    assert [row[2] for row in untrained([tmp_path / name for name in ("mixture", "plain", "more", "best")]).rows] == [
        "0.25 of the mean of a, b and their snapshots, 0.75 of base",
        "1 of the mean of a, b",
        "base, and 1.5 times what the mean of a, b changed in it",
        "mixture, chosen among a, mixture",
    ]


def test_where_no_benchmark_could_be_had_nothing_is_drawn():
    """Without a network the summary has no rows, and the page has all the rest."""
    names = ("system", "role", "kind", "benchmark", "metric", "value", "low", "high")
    assert scores_drawing(pl.DataFrame(schema=dict.fromkeys(names, pl.String))).svg == ""


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def studied(finished, tmp_path_factory):
    """A page with what targets beside `all` make, in which names are as long as they get, and nasty."""
    folder = tmp_path_factory.mktemp("studied")
    name = "a-very-long-name-of-a-cell-that-nobody-breaks.<b>"
    cells = [{"cell": "base", "seeds": 3, "development": 0.5, "scifact nDCG@10": 0.5, "value": None, "low": None}]
    cells[0] |= {"high": None, "detectable": None}
    measured = ("mrr", "correlation", "mean_similarity")
    cells[0] |= {"nfcorpus-preprocessed nDCG@10": 0.3, "medical-question-pairs AP": 0.9}
    cells[0] |= {f"held-out citations {name}": 0.5 for name in measured}
    cells.append(cells[0] | {"cell": name, "value": 0.02, "low": 0.01, "high": 0.03, "detectable": 0.01})
    write_parquet(pl.DataFrame(cells, infer_schema_length=None), folder / "ablations.parquet")
    cost = dict.fromkeys(EFFICIENCY.names, 1) | {"system": name, "device": "cpu", "machine": "m", "benchmark": "b"}
    write_parquet(pa.Table.from_pylist([cost | {"precision": None}], EFFICIENCY), folder / "efficiency.parquet")
    with chdir(finished.folder):
        sources = sources_of(
            ablations=folder / "ablations.parquet",
            efficiency=folder / "efficiency.parquet",
            similarities=sorted(Path("results/similarities").iterdir()),
            excluded=[Path("results/training/excluded/abstracts.parquet")],
        )
        write_report(sources, folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("which", ["finished", "studied"])
def test_the_page_in_a_browser(which, size, browser, finished, studied):
    """It renders, the console is silent, nothing is asked of anybody, and a phone's page scrolls one way alone."""
    file = studied if which == "studied" else finished.folder / "results/report.html"
    page = browser.open(file, *size)
    assert page.run("return document.title") == "BioHiCL report"
    assert page.errors() == []
    assert page.requests() == []
    assert page.run("return [window.innerWidth, window.innerHeight]") == list(size)
    assert page.overflow() == 0
    figures = page.run(
        "return [...document.querySelectorAll('svg')].map(f => [f.getAttribute('role'), f.getAttribute('aria-label'),"
        " f.getBoundingClientRect().width, f.getBoundingClientRect().height, f.querySelectorAll('path').length])"
    )
    assert len(figures) == (8 if which == "studied" else 7)
    for role, words, width, height, paths in figures:
        assert role == "img"
        assert len(words) > 40
        assert min(width, height) > 90
        assert paths > 4
    # Every reference within the page leads somewhere, those of figures too.
    dangling = (
        "return [...document.querySelectorAll('[href^=\"#\"], [*|href^=\"#\"]')].map(e => (e.getAttribute('href')"
    )
    dangling += " || e.getAttributeNS('http://www.w3.org/1999/xlink', 'href')).slice(1)).filter(i => !document.getElementById(i))"
    assert page.run(dangling) == []
    # Tables are as wide as they need, in a box that scrolls; by keyboard too, where the box says what it is.
    nameless = "[...document.querySelectorAll('[tabindex]')].filter(e => !e.getAttribute('role') || !e.getAttribute('aria-label'))"
    assert page.run(f"return {nameless}.length") == 0
    assert page.run("return [...document.querySelectorAll('table')].every(t => t.closest('.wide'))")


def test_the_page_fits_on_paper(browser, studied):
    """Nothing is cut off, for there paper does not scroll; links to sections are left out."""
    page = browser.open(studied, *PAPER)
    page.as_on_paper()
    beyond = "return [...document.querySelectorAll('table, svg')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert page.run(f"{beyond}.length") == 0
    assert page.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    # Files that numbers come from are folded on the screen, where they are many; paper does not unfold.
    folded = "[...document.querySelectorAll('details.source code')].filter(e => !e.checkVisibility())"
    assert page.run(f"return {folded}.length") == 0
    # A number in two lines would be two numbers.
    broken = """return [...document.querySelectorAll('td.number')].filter(cell => {
        const lines = document.createRange(); lines.selectNodeContents(cell);
        return !/[ ]/.test(cell.textContent) && lines.getClientRects().length > 1; }).map(cell => cell.textContent)"""
    assert page.run(broken) == []


def test_the_console_and_requests_are_seen(browser, tmp_path):
    """What the tests above look for is found where it is."""
    (tmp_path / "bad.html").write_text(
        '<title>x</title><img src="beside.png"><div style="width: 2000px">wide</div><script>console.error("oh")</script>'
    )
    page = browser.open(tmp_path / "bad.html", *PHONE)
    assert page.overflow() > 0
    assert any("oh" in said for said in page.errors())
    assert [url.rpartition("/")[2] for url in page.requests()] == ["beside.png"]


def test_snakemakes_own_report_has_captions_and_needs_no_network(finished, tmp_path, browser):
    """`snakemake --report`: the page, the scores and every figure, with their captions; it renders."""
    blocked = {f"{name}_proxy": "http://localhost:1" for name in ("http", "https")}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(finished.root / "Snakefile"), "--cores", "1"]
    command += ["--report", str(tmp_path / "report.html"), "all", "--configfile", *map(str, finished.overlays)]
    done = subprocess.run(
        command, cwd=finished.folder, capture_output=True, text=True, timeout=120, env=clean_environment() | blocked
    )
    assert done.returncode == 0, done.stdout + done.stderr
    html = (tmp_path / "report.html").read_text()
    for words in ("Loss by step of each training", "Every system on every benchmark", "The whole report on one page"):
        assert words in html
    page = browser.open(tmp_path / "report.html")
    assert page.requests() == []
    assert [said for said in page.errors() if "SEVERE" in said] == []
