"""Queries cut out of citations, and the tokens in which they stand."""

import hashlib
import json
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

from biohicl.encoder.embed import prepared, tokens_of
from biohicl.encoder.folder import load_tokenizer, read_settings, write_settings
from biohicl.errors import BioHiCLError
from biohicl.storage import write_json
from biohicl.training.data import TrainingData, check_tokens
from biohicl.training.rows import KEYS, QUERY_KINDS, queries_table
from biohicl.training.synthesis import WORDS, queries_of, sections_of, sentences, write_synthesis
from biohicl.training.tokens import PROBE, TASK_KEY, fingerprint_of, reading_of, write_query_tokens, write_tokens
from pubmed_tables import parsed
from test_peers import PEERS, save

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
