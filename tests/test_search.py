"""The search in an index: against searches written out, with filters, with bad input, and as a command."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from biohicl.encoder.embed import Encoder
from biohicl.errors import BioHiCLError
from biohicl.lexical import LexicalIndex, terms_of
from biohicl.search import STORAGES, ranking
from biohicl.search import retriever as retriever_module
from biohicl.search.filters import mask_of
from biohicl.search.ranking import best_by_terms, best_by_vector, rescored_of
from biohicl.search.retriever import LONGEST_QUERY, MASKS_KEPT, Retriever
from conftest import DOCUMENTS, clean_environment
from nlm_records import NOTED, slice_of
from search_index import BM25, Project, citation, small_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return small_project(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def current(project):
    """The current records with their text, straight from the tables."""
    articles = pl.concat(
        pl.read_parquet(project.table("articles", name)).with_columns(file=pl.lit(name)) for name in project.names
    )
    corpus = pl.read_parquet(project.root / "results/corpus/current.parquet")
    return articles.join(corpus, on=["pmid", "version", "file", "position"], how="semi").sort("pmid")


# --- ranking -----------------------------------------------------------------------------------------------------


def test_dense_search_is_the_best_of_all_current_records(project, current):
    encoder = Encoder(project.model, "cpu")
    texts = list(zip(current["title"].fill_null(""), current["abstract"].fill_null(""), strict=True))
    vectors = encoder.encode_documents(texts)
    retriever = project.retriever()
    for query in ("statin cancer risk", "rat liver", "insulin"):
        scores = vectors @ encoder.encode_queries([query])[0]
        hits = retriever.search(query, 20, mode="dense")
        assert np.allclose([hit.score for hit in hits], np.sort(scores)[::-1][:20], atol=1e-6)
        by_pmid = dict(zip(current["pmid"], scores, strict=True))
        assert all(abs(by_pmid[hit.pmid] - hit.score) < 1e-6 for hit in hits)


def test_bm25_is_that_of_the_evaluation_over_the_current_records(project, current):
    texts = [
        f"{title or ''} {abstract or ''}".strip() for title, abstract in current.select("title", "abstract").rows()
    ]
    reference = LexicalIndex(texts, BM25)
    retriever = project.retriever()
    for query in ("statin cancer risk in the heart", "rat rat liver", f"serum {current['pmid'][5]}", "nothing known"):
        scores = dict(zip(current["pmid"], reference.scores(terms_of([query])[0]), strict=True))
        expected = sorted((score for score in scores.values() if score > 0), reverse=True)
        hits = retriever.search(query, 1000, mode="bm25")
        assert len(hits) == len(expected)
        assert np.allclose([hit.score for hit in hits], expected, rtol=1e-4)
        assert np.allclose([scores[hit.pmid] for hit in hits], [hit.score for hit in hits], rtol=1e-4)


def test_a_binary_index_scores_more_again_the_more_it_has(tmp_path, monkeypatch):
    """Never fewer than are asked for, and all that can matter; with too few, the signs alone would say who is found."""
    assert [rescored_of(records) for records in (0, 50_000, 1_000_000, 40_000_000)] == [1_000, 1_000, 3_162, 20_000]
    project = small_project(tmp_path, "binary", records=60)
    retriever = project.retriever()
    vector, mask = retriever.encode("heart trial"), retriever.index.current
    rows, scores = best_by_vector(retriever.index, vector, 10, mask)
    monkeypatch.setattr(ranking, "rescored_of", lambda records: 10)
    few, few_scores = best_by_vector(retriever.index, vector, 10, mask)
    assert len(rows) == len(few) == 10 and set(few.tolist()) != set(rows.tolist())
    assert all(scores >= few_scores), "what is scored again by 8 bits is never worse"


def test_filters_change_who_is_found_and_not_how_words_are_weighed(project):
    retriever = project.retriever()
    scores = {hit.pmid: hit.score for hit in retriever.search("statin serum", 1000, mode="bm25")}
    hits = retriever.search("statin serum", 1000, mode="bm25", first_year=2010)
    assert 0 < len(hits) < len(scores)
    assert all(scores[hit.pmid] == hit.score and hit.year >= 2010 for hit in hits)


@pytest.mark.parametrize("storage", STORAGES)
def test_threads_change_nothing(tmp_path, storage):
    """Of one query shared out among threads nothing; of queries that are encoded together the last digits alone."""
    project = small_project(tmp_path, storage, records=40)
    alone, several = project.retriever(), project.retriever(threads=3)
    queries = ["heart", "lung dose", "gene cell trial", "stroke"] * 3
    with ThreadPoolExecutor(3) as pool:
        for query in queries[:4]:
            vector, terms = alone.encode(query), terms_of([query])[0]
            mask = alone.index.current
            for one, other in (
                [best_by_vector(alone.index, vector, 15, mask, threads) for threads in (None, pool)],
                [best_by_terms(alone.index, terms, 15, mask, threads) for threads in (None, pool)],
            ):
                assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    expected = [[hit.score for hit in alone.search(query, 15)] for query in queries]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda query: [hit.score for hit in several.search(query, 15)], queries))
    # A number next to 0 may change its sign.
    np.testing.assert_allclose(found, expected, atol=0.02 if storage == "binary" else 1e-4)


# --- filters -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_sample(sample, mesh, tmp_path_factory):
    """The sample's own files, parsed, beside its MeSH."""
    project = Project(tmp_path_factory.mktemp("sample-index"))
    (project.root / "results/mesh").symlink_to(mesh)
    for file in sorted((sample / "pubmed").glob("*/*.xml.gz")):
        name = file.name.removesuffix(".xml.gz")
        project.parse(file, name)
    project.index()
    return project


def test_headings_find_what_stands_below_them_and_nothing_else(of_sample, mesh):
    hierarchy = pl.read_parquet(mesh / "hierarchy.parquet")
    corpus = pl.read_parquet(of_sample.root / "results/corpus/current.parquet")
    headings = pl.concat(
        pl.read_parquet(of_sample.table("mesh_headings", name)).with_columns(file=pl.lit(name))
        for name in of_sample.names
    ).join(corpus, on=["pmid", "version", "file", "position"], how="semi")
    # One of the sample's citations has no text.
    without = {
        pmid
        for name in of_sample.names
        for pmid, *texts in pl.read_parquet(of_sample.table("articles", name))
        .select("pmid", "title", "abstract")
        .rows()
        if texts == [None, None]
    }
    assert len(without) == 1
    retriever = of_sample.retriever()

    def expected(ui):
        below = hierarchy.filter((pl.col("descriptor_ui") == ui) | pl.col("ancestors").list.contains(ui))
        return set(headings.filter(pl.col("descriptor_ui").is_in(below["descriptor_ui"].implode()))["pmid"]) - without

    neoplasms, heart = (
        hierarchy.filter(pl.col("name") == name)["descriptor_ui"][0] for name in ("Neoplasms", "Heart Diseases")
    )
    assert len(expected(neoplasms)) > 100
    found = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", headings=["neoplasms"])}
    assert found == expected(neoplasms)
    both = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", headings=["Neoplasms", heart])}
    assert both == expected(neoplasms) & expected(heart)
    assert 0 < len(both) < len(found)


def test_years_types_and_names_alone(tmp_path, mesh):
    project = Project(tmp_path)
    (tmp_path / "results/mesh").symlink_to(mesh)
    project.add(
        "pubmed26n0001",
        [
            citation(1, "one", year=1999, types=["Review", "Journal Article"]),
            citation(2, "two", year=2005, headings=[(None, "Atrial Fibrillation", True)]),
            citation(3, "three", year=None, types=["REVIEW"], headings=[("D001281", "Atrial Fibrillation", False)]),
            citation(4, "four", year=2005, types=[]),
            citation(5, None, None, year=2005),
        ],
    )
    project.index()
    retriever = project.retriever()

    def found(**filters):
        return sorted(hit.pmid for hit in retriever.search("x", 100, mode="dense", **filters))

    # The fifth has no text, and is found by nothing.
    assert found() == [1, 2, 3, 4]
    assert found(first_year=2000) == found(first_year=2005, last_year=2005) == [2, 4]
    assert found(last_year=2000) == [1]
    assert found(publication_types=["review"]) == [1, 3]
    assert found(publication_types=["Review", "Journal Article"]) == [1, 2, 3]
    # Files before 2015 give names alone; what stands above finds them, too.
    assert found(headings=["Atrial Fibrillation"]) == found(headings=["Heart Diseases"]) == [2, 3]
    assert found(headings=["Heart Diseases"], publication_types=["Review"], last_year=2000) == []


def test_the_last_filters_are_kept_and_no_more(project, monkeypatch):
    made = []
    monkeypatch.setattr(retriever_module, "mask_of", lambda *given: made.append(given[1]) or mask_of(*given))
    retriever = project.retriever()
    for _ in range(3):
        for year in range(2000, 2000 + MASKS_KEPT):
            hits = retriever.search("heart", 1000, mode="dense", first_year=year)
            assert all(hit.year >= year for hit in hits)
    assert len(made) == MASKS_KEPT
    for year in range(1990, 2020):
        retriever.search("heart", 1, first_year=year)
    assert len(retriever._masks) == MASKS_KEPT


def test_similar_leaves_the_citation_itself_out(project):
    retriever = project.retriever()
    (first,) = retriever.search("heart", 1)
    near = retriever.similar(first.pmid, 1000)
    assert first.pmid not in {hit.pmid for hit in near}
    assert len(near) == retriever.index.about["citations"] - 1
    assert retriever.citation(first.pmid).title == first.title


HOSTILE = [
    "'; DROP TABLE articles; --",
    "<script>alert(1)</script>",
    "🫀🧬 👩‍⚕️",
    "سرطان الثدي وخطر الستاتين",
    "\x00\x1b[2J\u202eabc",
    "heart " * 800,
    "%s %n {0} ${x} `id`",
    "a",
]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("query", HOSTILE)
def test_any_query_is_a_query(project, query, mode):
    hits = project.retriever().search(query, 5, mode=mode)
    assert len(hits) == 5 or mode == "bm25"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"query": " \n"}, "the query is empty"),
        ({"query": "a" * 100_000}, "the query has 100,000 characters, and at most 5,000"),
        ({"query": None}, "the query is no text"),
        ({"query": "x", "headings": "Heart Diseases"}, r"a list of names is needed, such as \['Heart Diseases'\]"),
        ({"query": "x", "publication_types": "Review"}, r"a list of names is needed, such as \['Review'\]"),
        ({"query": "half \ud800"}, "half of a character"),
        ({"query": "x", "k": 0}, "0 citations are asked for"),
        ({"query": "x", "k": 100_000}, "from 1 to 1,000 can be given"),
        ({"query": "x", "mode": "magic"}, "choose among hybrid, dense, bm25"),
        ({"query": "x", "first_year": 2010, "last_year": 2000}, "no year is from 2010 to 2000"),
        ({"query": "x", "headings": ["Hart Diseases"]}, "did you mean 'Heart Diseases'"),
        ({"query": "x", "headings": ["y" * 9_999]}, "a heading of 9,999 characters"),
        ({"query": "x", "headings": [""]}, "is no UI"),
        ({"query": "x", "publication_types": ["Journal Artikle"]}, "did you mean 'Journal Article'"),
    ],
)
def test_what_cannot_be_answered_is_said(of_sample, words, said):
    with pytest.raises(BioHiCLError, match=said):
        of_sample.retriever().search(**words)
    assert LONGEST_QUERY == 5_000


def test_no_index_several_indexes_and_no_model(tmp_path, project):
    with pytest.raises(BioHiCLError, match="has no index; make one with: snakemake"):
        Retriever.of_project(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "results/index" / name).mkdir(parents=True)
        (tmp_path / "results/index" / name / "index.safetensors").write_bytes(
            (project.folder / "index.safetensors").read_bytes()
        )
    with pytest.raises(BioHiCLError, match=r"several indexes \(one, two\)"):
        Retriever.of_project(tmp_path)
    without = Retriever.of_project(tmp_path, "one")
    with pytest.raises(BioHiCLError, match=r"is not in .*: name its folder \(--model\), or search by words"):
        without.encode("heart")


def test_words_and_likeness_are_searched_without_the_model(project, tmp_path):
    whole, without = project.retriever(), Retriever(project.folder, tmp_path / "none")
    hits = without.search("heart trial", 5, mode="bm25")
    assert hits and hits == whole.search("heart trial", 5, mode="bm25")
    assert without.similar(hits[0].pmid, 5) == whole.similar(hits[0].pmid, 5)
    for mode in ("dense", "hybrid"):
        with pytest.raises(BioHiCLError, match=r"none: name its folder \(--model\), or search by words"):
            without.search("heart trial", 5, mode=mode)


# --- the command -------------------------------------------------------------------------------------------------


def test_search_as_a_command(of_sample, run_biohicl):
    first = run_biohicl("search", "heart failure", "-k", "3", "--device", "cpu", cwd=of_sample.root)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("https://pubmed.ncbi.nlm.nih.gov/9900") == 3
    words = ["--json", "--year", "2005-", "--heading", "heart diseases", "--index", of_sample.folder, "-k", "4"]
    hits = json.loads(run_biohicl("search", "heart failure", *words).stdout)
    assert len(hits) == 4
    assert all(hit["year"] >= 2005 and hit["link"].endswith(f"/{hit['pmid']}/") for hit in hits)
    assert {"descriptor_ui", "name", "major"} == set(hits[0]["headings"][0])
    near = json.loads(
        run_biohicl("search", "--like", str(hits[0]["pmid"]), "--json", "--index", of_sample.folder).stdout
    )
    assert hits[0]["pmid"] not in [hit["pmid"] for hit in near]


def test_the_documents_lines_of_python(of_sample, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(from biohicl import Retriever\n.*?)```", DOCUMENTS, re.S)
    monkeypatch.chdir(of_sample.root)
    exec(compile(lines, "docs/search.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5
    assert all(re.match(r"9900\d+ 20(1[5-9]|2\d) \S", line) for line in shown)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "the query is empty"),
        ([], "the query is empty"),
        (["x", "--year", "2010-2000"], "write 2000-2010"),
        (["x", "--year", "soon"], "neither a year nor a range"),
        (["x", "--heading", "Neoplasmz"], "did you mean 'Neoplasms'"),
        (["--like", "1"], "PMID 1 is not among"),
        (["heart", "--like", "1"], "--like goes without query"),
        (["--like", "1", "--mode", "bm25"], "--like goes without query"),
        (["x", "--index", "nowhere"], "nowhere/index.safetensors: no such file"),
    ],
)
def test_the_command_says_what_is_wrong(of_sample, run_biohicl, words, said):
    done = run_biohicl("search", *words, cwd=of_sample.root)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_shown_cannot_move_the_terminal(tmp_path, run_biohicl):
    project = Project(tmp_path)
    headings = [("D1", "a \x9b2J heading", False)]
    project.add("pubmed26n0001", [citation(1, "a \x1b[2J title\x07", "an \x9b31m abstract", headings=headings)])
    project.index()
    shown = run_biohicl("search", "title", "--abstracts", "--index", project.folder).stdout
    assert "title" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_shows_what_it_can(tmp_path, encoding):
    project = Project(tmp_path)
    project.add("pubmed26n0001", [citation(1, "naïve 東京 title")])
    project.index()
    command = ["search", "title", "--mode", "bm25", "--index", str(project.folder)]
    environment = {**clean_environment(), "PYTHONIOENCODING": encoding}
    for words in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-m", "biohicl", *command, *words], capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        shown = done.stdout.decode(encoding)
        if words:
            assert json.loads(shown)[0]["title"] == "naïve 東京 title"
        else:
            assert "naïve 東京 title".encode(encoding, "replace").decode(encoding) in shown


# --- real records ------------------------------------------------------------------------------------------------


def test_nlms_own_records_are_shown_and_filtered_as_they_are(shared, mesh, tmp_path):
    """Slices of three files: old headings with names alone, groups as authors, retractions, books."""
    project = Project(tmp_path)
    (tmp_path / "results/mesh").symlink_to(mesh)
    for place, noted in NOTED.items():
        name = place.rpartition("/")[2]
        source = slice_of(shared / f"data/nlm/pubmed/{place}.xml.gz", tmp_path / f"{name}.xml.gz", 300, noted)
        project.parse(source, name)
    project.index()
    retriever = project.retriever()
    corpus = pl.read_parquet(tmp_path / "results/corpus/current.parquet")
    checked = 0
    for name in project.names:
        articles = pl.read_parquet(project.table("articles", name))
        headings = pl.read_parquet(project.table("mesh_headings", name))
        of_file = corpus.filter(pl.col("file") == name)
        for record in articles.filter(pl.col("position").is_in(of_file["position"].implode())).iter_rows(named=True):
            if record["title"] is None and record["abstract"] is None:
                continue
            hit = retriever.citation(record["pmid"])
            assert (hit.title, hit.abstract) == (record["title"] or "", record["abstract"] or "")
            assert (hit.year, hit.doi, hit.retracted) == (record["year"], record["doi"], record["retracted"])
            authors = [author for author in record["authors"] if author["valid"] is not False]
            names = [author["last_name"] or author["collective_name"] or "" for author in authors]
            assert [last for last, _ in hit.authors] == names
            assert list(hit.publication_types) == [kind["name"] for kind in record["publication_types"]]
            own = headings.filter(pl.col("position") == record["position"])
            rows = own.select("descriptor_ui", "descriptor_name", "major").rows()
            assert sorted(hit.headings, key=str) == sorted(rows, key=str)
            checked += 1
    assert checked > 800
    assert retriever.index.about["citations"] == checked
    reviews = {hit.pmid for hit in retriever.search("x", 1000, mode="dense", publication_types=["review"])}
    for pmid in reviews:
        assert "Review" in retriever.citation(pmid).publication_types
    assert len(reviews) == retriever.index.about["publication_types"]["Review"] > 10
