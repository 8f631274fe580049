"""Score table and report page, on the finished workflow."""

import csv
import json
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from biohicl.evaluation.efficiency import EFFICIENCY
from biohicl.pubmed.schema import CORPUS_ANOMALIES, QUARANTINE
from biohicl.report.drawings import scores_drawing
from biohicl.report.leakage import leaks
from biohicl.report.made import manifest_of, step_of
from biohicl.report.page import write_report
from biohicl.report.sources import Sources
from biohicl.report.summary import LEGEND, score_rows, score_text, variant_rows
from biohicl.report.training_tables import untrained
from biohicl.storage import write_json, write_parquet
from browser import DESK, PAPER, PHONE, browsing
from conftest import clean_environment


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
