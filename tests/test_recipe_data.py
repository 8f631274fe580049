"""What the recipes are trained on: concepts, pairs, queries cut out of citations, their tokens, hard negatives."""

import hashlib
import json
import re
import shutil
import zlib
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_folders import BLOCK, beir_folder, lines
from biohicl.encoder.embed import prepared, tokens_of
from biohicl.encoder.folder import load_tokenizer, read_settings, write_settings
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import bring_benchmark, read_benchmark
from biohicl.mesh.hierarchy import write_hierarchy
from biohicl.mesh.label_sets import HIERARCHY_KEY
from biohicl.mesh.nodes import check_tags, read_nodes
from biohicl.mesh.parse import parse_mesh_file
from biohicl.storage import read_json, write_json
from biohicl.training.concepts import composed, write_concepts
from biohicl.training.data import TrainingData, check_tokens
from biohicl.training.draw import descriptor_numbers, pmid_hash
from biohicl.training.labels import write_labels
from biohicl.training.negatives import LOOKED_AT, NEGATIVES, Siblings, nearest, write_negatives
from biohicl.training.pairs import write_pairs
from biohicl.training.release import freeze_release
from biohicl.training.rows import KEYS, QUERY_KINDS, queries_table
from biohicl.training.synthesis import WORDS, queries_of, sections_of, sentences, write_synthesis
from biohicl.training.tokens import PROBE, TASK_KEY, fingerprint_of, reading_of, write_query_tokens, write_tokens
from conftest import Workflow, overlay
from pubmed_tables import parsed
from test_peers import PEERS, save

CONCEPTS = {
    "descriptions": ["scope_note", "parents", "siblings", "category", "qualifiers"],
    "descriptors": "all",
    "task": "Find its description",
    "seed": 1,
}
PAIRS = {"benchmarks": [], "files": [], "exclude_benchmarks": [], "task": "Answer"}


# --- a release of the sample's MeSH, and citations --------------------------------------------------------------------


@pytest.fixture(scope="module")
def mesh(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    parse_mesh_file(next((sample / "mesh").glob("*.gz")), folder)
    write_hierarchy(folder, folder / "hierarchy.parquet", folder / "odd.parquet", folder / "graph.graphml")
    return folder


def frozen(mesh, citations, output, optional=True):
    current = output.with_name("current.parquet")
    citations.write_parquet(current)
    record = output.with_name("mesh.json")
    write_json({"name": "desc2099"}, record)
    tables = {name: mesh / f"{name}.parquet" for name in ("scope_notes", "allowed_qualifiers")} if optional else {}
    freeze_release(current, mesh / "hierarchy.parquet", mesh / "terms.parquet", record, output, tables)
    return output


@pytest.fixture(scope="module")
def corpus(sample, mesh, tmp_path_factory):
    """Some of the sample's citations: the selection, its release, and the folder of its articles."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "parsed").mkdir()
    articles = pl.from_arrow(parsed(sorted((sample / "pubmed/baseline").glob("*.xml.gz"))[0], folder / "parsed")[0])
    articles = articles.unique("pmid", keep="last").sort("pmid")
    (folder / "articles").mkdir()
    articles.write_parquet(folder / "articles/one.parquet")
    release = frozen(mesh, articles.select("pmid", "version", "position", file=pl.lit("one")), folder / "release")
    headings = pl.col("mesh_headings").list.eval(pl.element().struct.field("descriptor_ui"))
    whole = articles.filter(pl.col("title").is_not_null() & pl.col("abstract").is_not_null()).head(300)
    selection = whole.select(
        "pmid", "version", "year", "title", "abstract", "doi", descriptor_uis=headings
    ).with_columns(majors=pl.col("descriptor_uis").list.eval(pl.element().is_null()))
    selection.write_parquet(folder / "selection.parquet")
    return folder / "selection.parquet", release, folder


# --- concepts ----------------------------------------------------------------------------------------------------------


def stands_in(name, text):
    """As a whole phrase, read letter for letter."""
    return re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", text.casefold()) is not None


def bare(text):
    return re.sub(r"\W+", " ", text).strip()


def check_concepts(release, table, queries):
    hierarchy = {row["descriptor_ui"]: row for row in pl.read_parquet(release / "hierarchy.parquet").to_dicts()}
    terms = pl.read_parquet(release / "terms.parquet")
    of_concept = dict(
        terms.group_by("descriptor_ui", "concept_ui").agg("term").select("concept_ui", "term").iter_rows()
    )
    preferred = dict(terms.filter("record_preferred").select("descriptor_ui", "concept_ui").iter_rows())
    assert table.select("descriptor_ui", "description_kind").equals(queries.select("descriptor_ui", "description_kind"))
    assert table.select("descriptor_ui", "description_kind").is_unique().all()
    for row, own in zip(table.iter_rows(named=True), queries["queries"].to_list(), strict=True):
        said = hierarchy[row["descriptor_ui"]]
        assert (row["title"], row["descriptor_uis"], row["majors"]) == (said["name"], [row["descriptor_ui"]], [True])
        assert [query["kind"] for query in own] == ["name"] + ["synonym"] * (len(own) - 1)
        assert own[0]["text"] == said["name"]
        assert {query["text"] for query in own} <= {*of_concept[preferred[row["descriptor_ui"]]], said["name"]}
        assert all((query["start"], query["end"], query["task"]) == (None, None, CONCEPTS["task"]) for query in own)
        if row["description_kind"] == "tree":
            assert not any(stands_in(query["text"], row["abstract"]) for query in own), row
            named = [hierarchy[ui]["name"] for ui in said["parents"]]
            # Whatever marks stand between its words.
            hidden = [any(stands_in(bare(query["text"]), bare(name)) for query in own) for name in named]
            assert all(name in row["abstract"] or left for name, left in zip(named, hidden, strict=True)), row


def test_concepts_are_described_without_their_own_names(corpus, tmp_path):
    _, release, _ = corpus
    output, queries = tmp_path / "mesh.parquet", tmp_path / "queries.parquet"
    write_concepts(release, CONCEPTS, output, queries)
    table = pl.read_parquet(output)
    check_concepts(release, table, pl.read_parquet(queries))
    notes = pl.read_parquet(release / "scope_notes.parquet").filter("preferred")
    found = table.filter(pl.col("description_kind") == "scope_note").select("descriptor_ui", "abstract")
    assert dict(found.iter_rows()) == dict(notes.select("descriptor_ui", "scope_note").iter_rows())
    qualified = table.filter(pl.col("abstract").str.contains("drug therapy|metabolism"))
    assert qualified.height > 50
    # Rows are in the order of the draw, so a smaller number is the beginning of it.
    hashes = pmid_hash(descriptor_numbers(table["descriptor_ui"].to_list()), 1)
    assert (np.diff(hashes.astype(object)) >= 0).all()
    write_concepts(release, CONCEPTS | {"descriptors": 20}, output, queries)
    few = pl.read_parquet(output)
    assert few["descriptor_ui"].n_unique() == 20
    assert few.equals(table.head(few.height))
    # Terms of a descriptor's other concepts are no names of it.
    shutil.copytree(release, tmp_path / "other")
    terms = pl.read_parquet(release / "terms.parquet")
    narrower = terms.with_columns(concept_ui=pl.lit("M0"), term="narrower " + pl.col("term"), record_preferred=False)
    pl.concat([terms, narrower]).write_parquet(tmp_path / "other/terms.parquet")
    write_concepts(tmp_path / "other", CONCEPTS, output, tmp_path / "others.parquet")
    assert "narrower" not in str(pl.read_parquet(tmp_path / "others.parquet")["queries"].to_list())
    # Without a tree number there is nothing to compose; the note alone remains.
    (male,) = table.filter(pl.col("title") == "Male").to_dicts()
    assert male["description_kind"] == "scope_note"


def test_a_release_of_an_older_version_goes_without_and_says_so(mesh, tmp_path, capsys):
    citations = pl.DataFrame({"pmid": [1], "version": [1], "file": ["x"], "position": [0]})
    release = frozen(mesh, citations, tmp_path / "release", optional=False)
    assert sorted(path.name for path in release.iterdir()) == [
        *("citations.parquet", "hierarchy.parquet", "release.json", "terms.parquet")
    ]
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    said = capsys.readouterr().err
    assert "without scope notes" in said
    assert "without qualifiers" in said
    assert set(pl.read_parquet(tmp_path / "mesh.parquet")["description_kind"]) == {"tree"}
    with pytest.raises(BioHiCLError, match=r"0 descriptors have a description.*training.concepts.mesh.descriptions"):
        only = CONCEPTS | {"descriptions": ["scope_note"]}
        write_concepts(release, only, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")


def test_what_has_a_name_of_its_own_in_it_is_left_out():
    said = {"parents": ["Eye"], "siblings": ["Color Vision", "Eye, Artificial", "eye"], "category": ["Diseases"]}
    for names in (
        ["Eye"],
        ["EYE", "kind or part"],
        ["Part of Eye", "color-vision"],
        ["Artificial", "Related"],
        ["field"],
    ):
        text = composed(said, names) or ""
        assert not any(stands_in(name, text) for name in names)
        assert text
    assert composed(said, ["Eye"]) == "Related to Color Vision. From the field of Diseases."
    assert composed({"category": ["Diseases"]}, ["Eye"]) is None


@pytest.mark.real(20)
def test_concepts_of_the_whole_of_mesh(shared, tmp_path):
    mesh = tmp_path / "mesh"
    parse_mesh_file(shared / "data/nlm/mesh/desc2024.gz", mesh)
    write_hierarchy(mesh, mesh / "hierarchy.parquet", mesh / "odd.parquet", mesh / "graph.graphml")
    write_concepts(mesh, CONCEPTS, tmp_path / "all.parquet", tmp_path / "queries.parquet")
    table = pl.read_parquet(tmp_path / "all.parquet")
    check_concepts(mesh, table, pl.read_parquet(tmp_path / "queries.parquet"))
    assert table.height > 30_000
    assert table["abstract"].n_unique() > 0.99 * table.height


def test_concepts_have_labels_and_pairs_have_none(corpus, tmp_path):
    _, release, _ = corpus
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    hierarchy = release / "hierarchy.parquet"
    write_labels(tmp_path / "mesh.parquet", hierarchy, 0.0, tmp_path / "labels.parquet", tmp_path / "unknown.parquet")
    labels, table = pl.read_parquet(tmp_path / "labels.parquet"), pl.read_parquet(tmp_path / "mesh.parquet")
    assert labels.select("descriptor_ui", "description_kind").equals(table.select("descriptor_ui", "description_kind"))
    uis = read_nodes(hierarchy).uis
    held = pq.read_schema(tmp_path / "labels.parquet").metadata
    assert held[HIERARCHY_KEY.encode()].decode() == read_nodes(hierarchy).fingerprint
    assert [[uis[row] for row in own] for own in labels["direct"]] == table["descriptor_uis"].to_list()
    pairs = pl.DataFrame({"source": ["x"], "document_id": ["1"], "title": [""], "abstract": ["a"]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(BioHiCLError, match="no MeSH headings"):
        write_labels(tmp_path / "pairs.parquet", hierarchy, 0.0, tmp_path / "no.parquet", tmp_path / "unknown.parquet")


# --- pairs -------------------------------------------------------------------------------------------------------------


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


# --- sentences, conclusions, sections ----------------------------------------------------------------------------------

PARAGRAPHS = [
    [
        "We grew E. coli (e.g. strain K-12) at 37.5 degrees.",
        "Growth fell, p < 0.05.",
        "Fig. 2 shows it, cf. Smith et al. 1999.",
    ],
    [
        "Does it help?",
        "Yes!",
        "In the U.S. 3.2% did (i.e. 12 of 375).",
        '"It works."',
        "(See ref. 4.)",
        "5 of 6 agreed.",
    ],
    ["Doses of 5 mg. vs. placebo were given by J. B. Smith et al. in Vol. 3.", "IL-2 and alpha-1 rose approx. 2-fold."],
    ["1. The first point of a list.", "2. Its second, no. 7 of all.", "Vitamin C.", "The end"],
    ["Line\u00a0spaces and β-cells… stay.", "Α second (in Greek capitals) follows.", "S. aureus did not."],
]


@pytest.mark.parametrize("paragraph", PARAGRAPHS)
def test_sentences_survive_abbreviations_numbers_and_names(paragraph):
    text = " ".join(paragraph)
    assert [text[start:end] for start, end in sentences(text)] == paragraph


@given(st.text(st.sampled_from('aB1.?! ()"\n\u00a0Éβ-'), max_size=60))
def test_sentences_are_all_of_a_text_but_white_space(text):
    spans = sentences(text)
    assert all(not gap.strip() for gap in gaps(text, spans))
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)


def gaps(text, spans):
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    assert edges == sorted(edges)
    return [text[first:last] for first, last in zip(edges[::2], edges[1::2], strict=True)]


def test_labels_inside_a_text_divide_it():
    parts = {
        "BACKGROUND--": "The results: of methods are not known to anyone yet.",
        "PATIENTS AND METHODS. ": "We asked 20 men; their purpose was another one.",
        "Results: ": "Half of them (n = 10) said so at once.",
        "CONCLUSIONS : ": "It is as we had thought it was.",
    }
    abstract = " ".join(label + text for label, text in parts.items())
    found = sections_of(abstract)
    assert [abstract[start:end] for _, (start, end) in found] == list(parts.values())
    queries = [(kind, f"T {abstract}"[start:end]) for kind, (start, end) in queries_of("T", abstract)]
    assert queries == [("conclusion", parts["CONCLUSIONS : "]), *(("section", text) for text in parts.values())]
    # A query is never the whole abstract, of which nothing would be left.
    assert queries_of("T", "Of one sentence alone nothing can be cut out at all.") == []
    # The record's own sections come before those, unless they are not the abstract.
    recorded = [("A", abstract[:60].strip()), (None, ""), ("B", abstract[60:].strip())]
    assert [label for label, _ in sections_of(recorded[0][1] + " " + recorded[2][1], recorded)] == ["A", "B"]
    assert sections_of(abstract, [("A", "another"), ("B", "abstract")]) == found


def check_queries(table, queries, sections):
    """``sections``: (pmid, version) to the record's own."""
    kinds = {"conclusion": 0, "section": 0}
    for row, own in zip(table.iter_rows(named=True), queries["queries"].to_list(), strict=True):
        text = f"{row['title']} {row['abstract']}"
        for query in own:
            kinds[query["kind"]] += 1
            assert text[query["start"] : query["end"]] == query["text"]
            assert query["start"] > len(row["title"])
            assert len(query["text"].split()) >= WORDS
            assert query["text"] != row["abstract"]
        recorded = sections[row["pmid"], row["version"]]
        full = [part for part in recorded if part["text"]]
        if len(full) > 1 and all(part["label"] and part["label"].upper() != "UNLABELLED" for part in full):
            wanted = [part for part in full if len(part["text"].split()) >= WORDS]
            assert [query["text"] for query in own if query["kind"] == "section"] == [part["text"] for part in wanted]
            last = [part["text"] for part in wanted if "CONCLUSION" in part["label"].upper()]
            if last:
                assert [query["text"] for query in own if query["kind"] == "conclusion"] == last
        elif not recorded or not recorded[0]["label"]:
            ends = [
                query["text"] for query in own if query["kind"] == "conclusion" and "CONCLUSION" not in text.upper()
            ]
            assert all(row["abstract"].endswith(end) for end in ends)
    return kinds


def sections_by_key(articles):
    rows = articles.select("pmid", "version", "abstract_sections").iter_rows()
    return {(pmid, version): sections for pmid, version, sections in rows}


def test_conclusions_and_sections_stand_where_they_are_said_to(corpus, tmp_path):
    selection, release, folder = corpus
    write_synthesis(selection, tmp_path / "queries.parquet", "T", release, folder)
    table, queries = pl.read_parquet(selection), pl.read_parquet(tmp_path / "queries.parquet")
    assert queries.select("pmid", "version").equals(table.select("pmid", "version"))
    kinds = check_queries(table, queries, sections_by_key(pl.read_parquet(folder / "articles/one.parquet")))
    assert min(kinds.values()) > 200
    with pytest.raises(BioHiCLError, match="no selection of citations"):
        table.rename({"pmid": "source", "version": "document_id"}).write_parquet(tmp_path / "pairs.parquet")
        write_synthesis(tmp_path / "pairs.parquet", tmp_path / "queries.parquet", "T")


@pytest.fixture(scope="module")
def real_articles(shared, tmp_path_factory):
    """The first citations of an update file of PubMed, whose abstracts are divided in every way there is."""
    folder = tmp_path_factory.mktemp("real")
    with (shared / "data/nlm/pubmed/updatefiles/pubmed21n1298.xml.gz").open("rb") as stream:
        text = zlib.decompressobj(31).decompress(stream.read(3 << 20))
    whole = text[: text.rindex(b"</PubmedArticle>")] + b"</PubmedArticle></PubmedArticleSet>"
    (folder / "some.xml").write_bytes(whole)
    return pl.from_arrow(parsed(folder / "some.xml", folder)[0]).unique(["pmid", "version"], keep="last").sort("pmid")


def test_queries_of_real_citations(real_articles, tmp_path):
    articles = real_articles.filter(pl.col("title").is_not_null() & pl.col("abstract").is_not_null())
    assert articles.height > 500
    articles.select("pmid", "version", "title", "abstract").write_parquet(tmp_path / "some.parquet")
    sections = sections_by_key(articles)
    table = pl.read_parquet(tmp_path / "some.parquet")
    own = [
        queries_of(
            row["title"], row["abstract"], [(s["label"], s["text"]) for s in sections[row["pmid"], row["version"]]]
        )
        for row in table.iter_rows(named=True)
    ]
    texts = [f"{title} {abstract}" for title, abstract in table.select("title", "abstract").iter_rows()]
    listed = [
        [
            {"kind": kind, "text": text[start:end], "start": start, "end": end, "task": ""}
            for kind, (start, end) in found
        ]
        for text, found in zip(texts, own, strict=True)
    ]
    made = pl.from_arrow(queries_table(table.select("pmid", "version").to_arrow().cast(KEYS["citations"]), listed))
    kinds = check_queries(table, made, sections)
    assert kinds["conclusion"] > 0.9 * articles.height
    assert kinds["section"] > 2 * articles.height


# --- tokens ------------------------------------------------------------------------------------------------------------

LONG = 400  # tokens: more than any of these has
NASTY = [
    ("A plain title.", "The first sentence is here. Then α-synuclein (n = 3) fell. At last it ended well."),
    ("", "\u00a0 No title at all. Naïve T\u2011cells, 糖尿病 and 🧬 are here. The end is near."),
    ("Ménière\u2019s disease", "WHO? We asked. p<.05 (cf. Fig. 2)... and  two spaces. Ünïcode éverywhere, as said."),
]


@pytest.fixture(scope="module")
def readers(sample, tmp_path_factory):
    """Encoder folders by name: WordPiece and pieces of bytes, with and without special and appended tokens and tasks."""
    root = tmp_path_factory.mktemp("readers")
    names = ("bge", "denseon", "bmretriever-410m", "bmretriever-7b", "qwen3-embedding", "medcpt")
    made = {name: save(root / name, PEERS[name][0], replace(PEERS[name][1], max_length=LONG)) for name in names}
    shutil.copytree(sample / "backbone", root / "sample")
    made["sample"] = root / "sample"
    for folder in made.values():
        # Their models have few positions, and are not needed.
        config = json.loads((folder / "config.json").read_text())
        write_json(config | {"max_position_embeddings": LONG}, folder / "config.json")
        write_settings(replace(read_settings(folder), max_length=LONG), folder, 32)
    return made


def selection_of(folder, texts):
    """Citations of (title, abstract), and the queries that each of their sentences is."""
    table = pa.table(
        {
            "pmid": pa.array(range(len(texts)), pa.int32()),
            "version": pa.array([1] * len(texts), pa.int16()),
            "title": [title for title, _ in texts],
            "abstract": [abstract for _, abstract in texts],
        }
    )
    pq.write_table(table, folder / "selection.parquet")
    queries = []
    for title, abstract in texts:
        joined, lead = f"{title} {abstract}", len(title) + 1
        spans = [(start + lead, end + lead) for start, end in sentences(abstract)]
        own = [{"kind": "section", "text": joined[a:b], "start": a, "end": b, "task": "Own task"} for a, b in spans]
        queries.append([*own, {"kind": "labelled", "text": "who asks", "start": None, "end": None, "task": "Another"}])
    pq.write_table(queries_table(table, queries), folder / "queries.parquet")
    return folder / "selection.parquet", folder / "queries.parquet", queries


@pytest.mark.parametrize("name", ["sample", "bge", "denseon", "bmretriever-410m", "bmretriever-7b", "qwen3-embedding"])
@pytest.mark.parametrize("length", [LONG, 20])
def test_tokens_are_those_that_evaluation_reads_and_queries_are_found_in_them(readers, tmp_path, name, length):
    folder = readers[name]
    selection, queries, given_queries = selection_of(tmp_path, NASTY)
    settings, tokenizer = read_settings(folder), load_tokenizer(folder)
    write_tokens(selection, folder, length, tmp_path / "tokens.parquet", "A task")
    table = pq.read_table(tmp_path / "tokens.parquet").to_pylist()
    documents = prepared(settings, "documents", NASTY, "A task")
    plain = {
        "document": documents,
        "query": prepared(settings, "queries", [title for title, _ in NASTY], "A task"),
        "passage": [settings.passage(abstract, "A task") for _, abstract in NASTY],
    }
    for view, texts in plain.items():
        read = [ids.tolist() for ids in tokens_of(texts, tokenizer, settings, folder, length)]
        assert [row[view] for row in table] == read
    write_query_tokens(selection, queries, folder, length, tmp_path / "own.parquet", "A task")
    found = pq.read_table(tmp_path / "own.parquet")
    assert reading_of(found.schema.metadata) == reading_of(pq.read_schema(tmp_path / "tokens.parquet").metadata)
    cut = 0
    for row, own, text, listed in zip(table, found.to_pylist(), documents, given_queries, strict=True):
        joined = " ".join(NASTY[own["pmid"]])
        # Documents are read behind their instruction, and without the white space around them.
        shift = (len(text) - len(joined.strip())) - (len(joined) - len(joined.lstrip()))
        for place, query in enumerate(listed):
            assert own["kinds"][place] == QUERY_KINDS.index(query["kind"])
            instructed = settings.query(query["text"], query["task"])
            assert own["queries"][place] == tokens_of([instructed], tokenizer, settings, folder, length)[0].tolist()
            start, end = own["starts"][place], own["ends"][place]
            if query["start"] is None:
                assert (start, end) == (0, 0)
                continue
            assert text[query["start"] + shift : query["end"] + shift] == query["text"]
            whole = tokens_of([text], tokenizer, settings, folder, 1000)[0]
            if len(whole) > length:
                cut += (start, end) == (0, 0)
                continue
            without = text[: query["start"] + shift] + text[query["end"] + shift :]
            left = row["document"][:start] + row["document"][end:]
            assert letters(tokenizer.decode(left)) == letters(
                tokenizer.decode(tokens_of([without], tokenizer, settings, folder, 1000)[0])
            )
            assert end > start
    assert (cut > 0) == (length == 20)


def letters(text):
    return "".join(text.split())


def test_a_real_tokenizer_loses_the_sentence_and_nothing_else(shared, real_articles, tmp_path):
    encoder = shared / "encoders/all-MiniLM-L6-v2"
    articles = real_articles.filter(pl.col("title").is_not_null() & pl.col("abstract").is_not_null()).head(150)
    texts = list(articles.select("title", "abstract").iter_rows())
    selection, queries, listed = selection_of(tmp_path, texts)
    write_tokens(selection, encoder, 256, tmp_path / "tokens.parquet")
    write_query_tokens(selection, queries, encoder, 256, tmp_path / "own.parquet")
    tokenizer = load_tokenizer(encoder)
    documents = pq.read_table(tmp_path / "tokens.parquet")["document"].to_pylist()
    checked = partly = 0
    for (title, abstract), ids, own, spans in zip(
        texts, documents, pq.read_table(tmp_path / "own.parquet").to_pylist(), listed, strict=True
    ):
        joined = f"{title} {abstract}"
        for query, start, end in zip(spans[:-1], own["starts"], own["ends"], strict=False):
            without = joined[: query["start"]] + joined[query["end"] :]
            expected = tokenizer(without, truncation=True, max_length=256)["input_ids"]
            left = ids[:start] + ids[end:]
            if len(ids) == 256:
                # What stands beyond the cut moved up in `expected`: the beginning is the same.
                partly += 1
                assert left[:-1] == expected[: len(left) - 1]
            else:
                checked += 1
                assert left == expected
    assert checked > 150
    assert partly > 500


def test_a_reading_is_as_it_was_for_encoders_that_need_no_task(readers):
    """Tables of tokens that were made before tasks and appended ends could be trained on stay good."""
    for name in ("sample", "bge", "denseon"):
        settings, tokenizer = read_settings(readers[name]), load_tokenizer(readers[name])
        read = [tokenizer(text)["input_ids"] for text in (settings.query(PROBE), settings.passage(PROBE))]
        before = hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), read]).encode()).hexdigest()
        assert {fingerprint_of(tokenizer, settings, task) for task in ("", "any")} == {before}
    asking = readers["bmretriever-410m"]
    settings, tokenizer = read_settings(asking), load_tokenizer(asking)
    assert len({fingerprint_of(tokenizer, settings, task) for task in ("one", "two")}) == 2
    assert settings.append_eos
    ended, plain = (fingerprint_of(tokenizer, replace(settings, append_eos=is_on), "one") for is_on in (True, False))
    assert ended != plain


def test_a_task_is_kept_with_the_tokens_and_checked(readers, tmp_path):
    from biohicl.training.data import Inputs

    selection, *_ = selection_of(tmp_path, NASTY)
    asking, tokens = readers["bmretriever-7b"], tmp_path / "tokens.parquet"
    with pytest.raises(BioHiCLError, match="asks for a task, and none is given"):
        write_tokens(selection, asking, 32, tokens)
    write_tokens(selection, asking, 32, tokens, "One")
    reading, task = reading_of(pq.read_schema(tokens).metadata)
    assert task == "One"
    write_tokens(selection, readers["bge"], 32, tmp_path / "plain.parquet", "One")
    assert TASK_KEY.encode() not in pq.read_schema(tmp_path / "plain.parquet").metadata

    class Model:
        def get_input_embeddings(self):
            return type("Embeddings", (), {"weight": np.zeros((len(load_tokenizer(asking)), 1))})

    settings, tokenizer = read_settings(asking), load_tokenizer(asking)
    inputs = Inputs(asking, tokens, tokens, tokens)
    check_tokens(TrainingData(np.arange(1), {}, None, None, reading, "One"), inputs, Model(), tokenizer, settings)
    with pytest.raises(BioHiCLError, match="of other instructions"):
        check_tokens(TrainingData(np.arange(1), {}, None, None, reading, "Two"), inputs, Model(), tokenizer, settings)


def test_segments_and_second_encoders_stay_refused(readers, tmp_path):
    selection, queries, _ = selection_of(tmp_path, NASTY)
    shutil.copytree(readers["bge"], tmp_path / "two")
    shutil.copytree(readers["bge"], tmp_path / "two/passage")
    for folder in (readers["medcpt"], tmp_path / "two"):
        for write in (
            lambda output, folder=folder: write_tokens(selection, folder, 32, output),
            lambda output, folder=folder: write_query_tokens(selection, queries, folder, 32, output),
        ):
            with pytest.raises(BioHiCLError, match="can be evaluated, not trained from"):
                write(tmp_path / "tokens.parquet")
    pq.write_table(pq.read_table(queries).slice(1), queries)
    with pytest.raises(BioHiCLError, match="not of the same selection"):
        write_query_tokens(selection, queries, readers["bge"], 32, tmp_path / "tokens.parquet")


# --- hard negatives ----------------------------------------------------------------------------------------------------


def test_siblings_are_what_their_definition_says(corpus, tmp_path):
    """Beside a plain reading with sets, over the nearest of every citation."""
    selection, release, _ = corpus
    hierarchy = release / "hierarchy.parquet"
    write_negatives(selection, tmp_path / "negatives.parquet", hierarchy)
    table, found = pl.read_parquet(selection), pl.read_parquet(tmp_path / "negatives.parquet")
    assert found.select("pmid", "version").equals(table.select("pmid", "version"))
    parents = dict(pl.read_parquet(hierarchy).select("descriptor_ui", "parents").iter_rows())
    headings = [{ui for ui in uis if ui in parents} - check_tags() for uis in table["descriptor_uis"].to_list()]
    texts = [f"{title} {abstract}" for title, abstract in table.select("title", "abstract").iter_rows()]
    near = list(nearest(table["title"].to_list(), texts))
    for row, (bm25, siblings) in enumerate(found.select("bm25", "siblings").iter_rows()):
        others = [int(other) for other in near[row] if other != row][:LOOKED_AT]
        assert bm25 == others[:NEGATIVES]
        expected = [
            other
            for other in others
            if any(
                own not in headings[other] and any(set(parents[own]) & set(parents[one]) for one in headings[other])
                for own in headings[row]
            )
        ]
        assert siblings == expected[:NEGATIVES]
    lengths = found["siblings"].list.len()
    assert lengths.max() > 5
    assert lengths.min() < NEGATIVES


def test_the_nearest_are_those_that_bm25_scores_highest():
    from biohicl.lexical import LexicalIndex
    from biohicl.training.negatives import BM25

    # Many texts are alike, so that scores are equal around the cut.
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice([f"w{n}" for n in range(9)], 3)) for _ in range(2_000)]
    index = LexicalIndex(texts, BM25)
    for query, near in zip(["w1 w2", "", "nothing", "w3"], nearest(["w1 w2", "", "nothing", "w3"], texts), strict=True):
        scores = index.scores(index.terms([query])[0])
        plain = sorted((row for row in range(2_000) if scores[row] > 0), key=lambda row: (-scores[row], row))
        assert near.tolist() == plain[: 2 * LOOKED_AT]


def test_rows_that_answer_the_same_are_no_negatives_of_each_other(corpus, benchmarks, tmp_path):
    _, release, _ = corpus
    hierarchy = release / "hierarchy.parquet"
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    write_negatives(tmp_path / "mesh.parquet", tmp_path / "negatives.parquet", hierarchy)
    found = pl.read_parquet(tmp_path / "negatives.parquet")
    uis = found["descriptor_ui"].to_list()
    for row, lists in enumerate(found.select("bm25", "siblings").iter_rows()):
        assert all(uis[other] != uis[row] for rows in lists for other in rows)
    assert found["bm25"].list.len().mean() > 5
    select_pairs(tmp_path, benchmarks, benchmarks=["asked"])
    with pytest.raises(BioHiCLError, match="--queries"):
        write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet")
    write_negatives(tmp_path / "mine.parquet", tmp_path / "negatives.parquet", queries=tmp_path / "queries.parquet")
    bm25, siblings = pl.read_parquet(tmp_path / "negatives.parquet").select("bm25", "siblings").to_dict().values()
    # a and c answer q both.
    assert 2 not in bm25[0]
    assert 0 not in bm25[2]
    assert siblings.list.len().sum() == 0


def test_headings_that_the_hierarchy_lacks_and_check_tags_do_not_count(mesh):
    names = dict(pl.read_parquet(mesh / "hierarchy.parquet").select("name", "descriptor_ui").iter_rows())
    rows = [[names["Humans"], names["Mice"], "D999999999", None], [names["Biguanides"]], []]
    frame = pl.DataFrame({"descriptor_uis": rows, "majors": [[False] * len(row) for row in rows]})
    made = Siblings.of(frame, mesh / "hierarchy.parquet")
    assert made.headings.lengths().tolist() == [0, 1, 0]
    for row in range(3):
        assert made.are(row, np.arange(3)).tolist() == [False] * 3


# --- the workflow ------------------------------------------------------------------------------------------------------


@pytest.mark.long(20)
def test_every_table_of_a_recipe_has_a_rule(sample, tmp_path):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    lines(tmp_path / "mine.jsonl", [{"query": "q", "text": "t"}])
    block = {"kind": "retrieval", "path": "resources/sample/benchmarks/sample-retrieval"}
    config = {
        "backbones": {"asking": {"path": "resources/sample/backbone", "query_instruction": "{task}: "}},
        "benchmarks": {"trainable": block | {"training": "dev"}},
        "training": {
            "concepts": {"mesh": {}},
            "pairs": {"asked": {"benchmarks": ["trainable"], "files": ["mine.jsonl"]}},
        },
    }
    workflow = Workflow(tmp_path, overlay(tmp_path, config))
    # What needs no listing of PubMed is made in earnest.
    workflow.snakemake(
        "results/training/negatives/asked.parquet", "results/training/query_tokens/asking-32/asked.parquet"
    )
    assert (tmp_path / "resources/benchmarks/trainable/training/qrels.parquet").is_file()
    tokens = pq.read_schema(tmp_path / "results/training/query_tokens/asking-32/asked.parquet")
    assert tokens.names == [*KEYS["pairs"].names, "kinds", "queries", "starts", "ends"]
    kinds = ("queries", "negatives", "labels", "query_tokens/sample-bert-96", "tokens/asking-32")
    targets = [f"results/training/{kind}/{name}.parquet" for kind in kinds for name in ("mesh", "abstracts")]
    planned = workflow.jobs(*targets)
    expected = {"select_concepts": 1, "select": 1, "synthesize": 1, "labels": 2, "negatives": 2, "query_tokens": 2}
    assert expected.items() <= planned.items()
    assert planned["tokens_for_task"] == 2
    assert "select_pairs" not in planned
