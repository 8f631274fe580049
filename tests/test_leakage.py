"""Citations that are a benchmark's document, or nearly so: beside a plain reading of the rules over all pairs."""

import itertools
import random
import re
import unicodedata
from collections import Counter
from fractions import Fraction
from unittest import mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.leakage import benchmark_texts, index, lists
from biohicl.leakage.benchmark_texts import FOUND, BenchmarkTexts
from biohicl.leakage.criterion import SHINGLES_BESIDE_A_SHORT_TEXT, similarity
from biohicl.leakage.minhash import ShortTexts
from biohicl.leakage.normal import dois, title_keys, words
from biohicl.leakage.shingles import shingles_of
from pubmed_tables import parsed

DOCUMENTS = {"document_id": pl.String, "title": pl.String, "text": pl.String, "pmid": pl.Int32, "doi": pl.String}
CITATIONS = {"pmid": pl.Int32, "doi": pl.String, "title": pl.String, "abstract": pl.String}


# --- the rules, read plainly ----------------------------------------------------------------------------


def plain_words(text):
    letters = [char for char in unicodedata.normalize("NFKD", text or "") if unicodedata.category(char)[0] != "M"]
    folded = "".join(letters).casefold()
    return "".join(char if unicodedata.category(char)[0] in "LN" else " " for char in folded).split()


def plain_shingles(*texts):
    of_words = plain_words(" ".join(text or "" for text in texts))
    return {tuple(of_words[start : start + 5]) for start in range(len(of_words) - 4)}


def plain_similarity(one, other):
    shared, smaller = len(one & other), min(len(one), len(other))
    if shared and Fraction(shared, len(one | other)) >= Fraction(7, 10):
        return shared / len(one | other)
    if smaller >= 20 and Fraction(shared, smaller) >= Fraction(8, 10):
        return shared / smaller
    return 0


def plain_pairs(citations, documents):
    """Rows of near duplicates, where no identifier and no title is the same."""
    shingles = [(row["document_id"], plain_shingles(row["title"], row["text"])) for row in documents]
    rows = []
    for citation in citations:
        own = plain_shingles(citation["title"], citation["abstract"])
        for name, of_document in shingles:
            value = plain_similarity(own, of_document)
            if value:
                rows.append((citation["pmid"], "b", name, "near duplicate", float(np.float32(value))))
    return sorted(rows)


# --- making texts ---------------------------------------------------------------------------------------


def unique_words(draw, count):
    return [f"{draw.choice('bcdfg')}{draw.getrandbits(40):x}" for _ in range(count)]


def prose(draw, sentences=8, vocabulary=tuple(f"w{number}" for number in range(4000))):
    return " ".join(
        " ".join(draw.choices(vocabulary, k=draw.randint(10, 25))).capitalize() + "." for _ in range(sentences)
    )


def document(name, title=None, text=None, pmid=None, doi=None):
    return {"document_id": name, "title": title, "text": text, "pmid": pmid, "doi": doi}


def citation(pmid, title=None, abstract=None, doi=None):
    return {"pmid": pmid, "doi": doi, "title": title, "abstract": abstract}


@pytest.fixture
def texts_of(tmp_path):
    """BenchmarkTexts of rows of documents ("b" where no name is given)."""

    def made(rows=None, **benchmarks):
        files = {}
        for name, content in ({"b": rows} if rows is not None else {} | benchmarks).items():
            files[name] = tmp_path / f"{name}.parquet"
            pl.DataFrame(content, schema=DOCUMENTS, orient="row").write_parquet(files[name])
        return BenchmarkTexts(files)

    return made


def table(rows):
    return pl.DataFrame(rows, schema=CITATIONS, orient="row")


def found(texts, *citations):
    return texts.find(table(list(citations))).rows()


# --- what counts of a title, a text, a DOI --------------------------------------------------------------

# Cherokee, whose case folding is to upper case, and historic letterforms of Cyrillic.
FOLDED_OTHERWISE = re.compile("[\u13a0-\u13ff\u1c80-\u1c88\uab70-\uabbf]")
# Without what Python's Unicode does not know yet.
LETTERS = st.text(
    st.characters(exclude_categories=["Cn", "Cs", "Co"]).filter(lambda char: not FOLDED_OTHERWISE.match(char))
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(LETTERS, st.text(st.sampled_from("aB ß1é.-ΣςİΔßﬁ½´")), st.none()), max_size=6))
def test_words_are_those_of_a_plain_reading(texts):
    column = pl.Series("texts", texts, dtype=pl.String)
    assert [text.split() for text in words(column)] == [plain_words(text) for text in texts]
    # A part of a column, which begins in the middle of its text, is read as the column is; and it stays as it was.
    assert words(column[1:]).to_list() == words(column)[1:].to_list()
    assert column.to_list() == texts


def test_every_character_is_read_plainly():
    chars = [char for char in map(chr, range(0x110000)) if unicodedata.category(char) not in ("Cn", "Cs", "Co")]
    texts = [f"a{char}b" for char in chars if FOLDED_OTHERWISE.match(char) is None]
    assert len(texts) > 140_000
    assert [text.split() for text in words(pl.Series(texts))] == list(map(plain_words, texts))


@settings(max_examples=300, deadline=None)
@given(LETTERS, st.sampled_from([" ", ".", "[", "]", "-", "\u0301", "\u00ad", "", "\n"]), st.data())
def test_a_title_is_the_same_whatever_stands_between_its_letters(title, mark, data):
    at = data.draw(st.integers(0, len(title)))
    changed = data.draw(
        st.sampled_from([str.upper, str.casefold, lambda text: unicodedata.normalize("NFC", text), str])
    )
    (key, other) = title_keys(words(pl.Series([title, changed(title)[:at] + mark + changed(title)[at:]])))
    if plain_words(changed(title)) == plain_words(title):
        assert key == other
    assert (key is None) == (not plain_words(title))


@settings(max_examples=300, deadline=None)
@given(LETTERS, LETTERS)
def test_titles_are_the_same_only_with_the_same_letters(title, other):
    keys = title_keys(words(pl.Series([title, other])))
    assert (keys[0] == keys[1]) == ("".join(plain_words(title)) == "".join(plain_words(other)))


@pytest.mark.parametrize(
    "written",
    [
        "10.1016/S0960-9822(00)00336-5",
        "https://doi.org/10.1016/s0960-9822(00)00336-5",
        "doi: 10.1016/S0960-9822(00)00336-5",
        "http://dx.doi.org/10.1016/S0960-9822(00)00336-5",
        " DOI:10.1016/s0960-9822(00)00336-5\n",
        "www.doi.org/10.1016/s0960-9822(00)00336-5",
    ],
)
def test_a_doi_is_the_same_however_it_is_written(written, texts_of):
    assert dois(pl.Series([written])).to_list() == ["10.1016/s0960-9822(00)00336-5"]
    texts = texts_of(
        [document("d", doi="https://doi.org/10.1016/S0960-9822(00)00336-5"), document("e", doi="10.1016/s0960")]
    )
    assert found(texts, citation(1, doi=written)) == [(1, "b", "d", "doi", 1.0)]


def test_no_doi_is_none():
    assert dois(pl.Series(["", " ", None, "https://doi.org/", "doi:", "10.1/doi.org/x"])).to_list() == [
        *[None] * 5,
        "10.1/doi.org/x",
    ]


def test_shingles_are_all_runs_of_five_words_within_a_text():
    texts = ["a b c d e f", "", "a b c d", "b c d e f", " A  b, c d: e ", None, "a b a b a b a b", "f e d c b"]
    shingles = shingles_of(words(pl.Series(texts)))
    assert shingles.sizes.tolist() == [2, 0, 0, 1, 1, 0, 2, 1] == [len(plain_shingles(text)) for text in texts]
    assert shingles.texts.tolist() == [0, 0, 3, 4, 6, 6, 6, 6, 7]
    hashes = shingles.hashes.tolist()
    assert hashes[1] == hashes[2]
    assert hashes[0] == hashes[3]
    assert hashes[4:6] == hashes[6:8]
    assert len(set(hashes)) == 5


def test_shingles_of_as_many_texts_as_there_may_be():
    column = pl.Series([f"a b c d {number % 3} f {'f f f f f f' * (number % 2)}" for number in range(65_536)])
    shingles = shingles_of(words(column))
    assert shingles.sizes[:6].tolist() == [len(plain_shingles(text)) for text in column[:6]]
    assert (shingles.sizes.reshape(-1, 2) == shingles.sizes[:2]).all()
    assert len(set(shingles.hashes.tolist())) == len(set.union(*(plain_shingles(text) for text in column[:6])))


# --- planted duplicates ---------------------------------------------------------------------------------

DRAW = random.Random(7)
BRITISH = {"tumor": "tumour", "center": "centre", "randomized": "randomised"}
BASE = (
    "A randomized trial of interferon in children with chronic hepatitis",
    "We studied whether interferon is of use in children who have chronic hepatitis B. In a randomized trial at one "
    "center, 84 children were given interferon alfa-2b or no treatment for 24 weeks. At the end of the observation "
    "period, HBeAg had been lost by 26% of the treated children and by 11% of the others (P = 0.03). No tumor was seen. "
    "Loss of HBeAg was most frequent in girls and in those with high transaminases before treatment. Fever and a "
    "fall in neutrophils were common but seldom led to a smaller dose. Interferon therefore promotes the loss of markers "
    "of viral replication in some children; how long this lasts is not known yet.",
)
SENTENCES = re.split(r"(?<=\.) ", BASE[1])


def british(text):
    return re.sub("|".join(BRITISH), lambda match: BRITISH[match[0]], text)


def with_headings(text):
    parts = re.split(r"(?<=\.) ", text)
    return (
        "OBJECTIVE: "
        + parts[0]
        + " METHODS: "
        + parts[1]
        + " RESULTS: "
        + " ".join(parts[2:-1])
        + " CONCLUSIONS: "
        + parts[-1]
    )


EDITS = {
    "nothing": (*BASE, "title"),
    "upper case": (BASE[0].upper(), BASE[1].upper(), "title"),
    "punctuation": (BASE[0].replace(" ", " - ") + "!", BASE[1].replace(",", ";").replace("(", "["), "title"),
    "brackets": (f"[{BASE[0]}].", None, "title"),
    "accents": (BASE[0].replace("e", "é"), None, "title"),
    "no title": (None, BASE[1], "near duplicate"),
    "another title": ("Interferon", BASE[1], "near duplicate"),
    "British spelling": (british(BASE[0]), british(BASE[1]), "near duplicate"),
    "a sentence less": ("Interferon", " ".join(SENTENCES[:3] + SENTENCES[4:]), "near duplicate"),
    "no conclusion": (None, " ".join(SENTENCES[:-1]), "near duplicate"),
    "the conclusion alone": (None, SENTENCES[-1] + " " + SENTENCES[-2], "near duplicate"),
    "headings": ("Interferon", with_headings(BASE[1]), "near duplicate"),
    "headings and upper case": (None, with_headings(BASE[1]).upper(), "near duplicate"),
    "title in the text": (None, ". ".join(BASE), "near duplicate"),
    "in a longer text": (None, prose(DRAW) + " " + BASE[1] + " " + prose(DRAW), "near duplicate"),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("edited", ["citation", "document"])
def test_a_planted_duplicate_is_found(edit, edited, texts_of):
    title, text, reason = EDITS[edit]
    others = [document(f"other{number}", prose(DRAW, 1), prose(DRAW)) for number in range(30)]
    (of_document, of_citation) = ((title, text), BASE) if edited == "document" else (BASE, (title, text))
    texts = texts_of([*others[:15], document("planted", *of_document), *others[15:]])
    asked = [citation(5, prose(DRAW, 1), prose(DRAW)), citation(9, *of_citation), citation(7)]
    ((pmid, benchmark, name, said, value),) = found(texts, *asked)
    assert (pmid, benchmark, name, said) == (9, "b", "planted", reason)
    if reason == "near duplicate":
        expected = plain_similarity(plain_shingles(*of_document), plain_shingles(*of_citation))
        assert value == pytest.approx(expected, rel=1e-6)
        assert 0.7 <= value < 1 or edit in (
            "no conclusion",
            "the conclusion alone",
            "no title",
            "in a longer text",
            "title in the text",
        )
    else:
        assert value == 1


BOILERPLATE = "The purpose of this study was to determine the effect of treatment on the quality of life of patients."
NOT_DUPLICATES = {
    "a sentence that a journal prints below each abstract": (
        ("One trial", prose(DRAW) + " " + BOILERPLATE),
        ("Another", prose(DRAW) + " " + BOILERPLATE),
    ),
    "a short text quoted in a long one": (
        ("Note", BOILERPLATE),
        ("Another", prose(DRAW) + " " + BOILERPLATE + prose(DRAW)),
    ),
    "one subject": (
        BASE,
        (
            "Interferon for chronic hepatitis in children: results of a trial",
            "Children with chronic hepatitis B were treated with interferon alfa-2b for 24 weeks in a randomized trial. "
            "HBeAg had been lost by 26% of the treated children and by 11% of the others at the end of the study. Loss was "
            "seen most often in girls with high transaminases. Fever was common.",
        ),
    ),
    "half of the sentences": (
        ("One", " ".join(SENTENCES[:3]) + prose(DRAW, 4)),
        ("Another", " ".join(SENTENCES[:3]) + prose(DRAW, 4)),
    ),
    "the same words in another order": (("One", " ".join(sorted(BASE[1].split()))), ("Another", BASE[1])),
    "nothing": ((None, None), (None, None)),
    "empty texts": (("", ""), (" ", "...")),
    "no letters in the title": (("[...]", prose(DRAW)), ("???", prose(DRAW))),
    "four words of a text": (("One", "a b c d"), ("Another", "a b c d")),
    "one script, other words": (("Ένα", "α β γ δ ε ζ η θ"), ("Άλλο", "α γ β δ ε ζ η θ")),
}


@pytest.mark.parametrize("case", NOT_DUPLICATES)
def test_what_is_no_duplicate_is_not_found(case, texts_of):
    one, other = NOT_DUPLICATES[case]
    assert found(texts_of([document("d", *one)]), citation(1, *other)) == []
    assert found(texts_of([document("d", *other)]), citation(1, *one)) == []


def test_the_same_title_is_enough_whatever_the_text_and_its_length(texts_of):
    texts = texts_of([document("d", "Editorial", prose(DRAW)), document("e", None, "Reply."), document("f", "", "")])
    assert found(texts, citation(1, "[Editorial.]"), citation(2, "Reply"), citation(3, "", ""), citation(4)) == [
        (1, "b", "d", "title", 1.0),
        (2, "b", "e", "title", 1.0),
    ]


def test_other_scripts_are_found(texts_of):
    russian = "Изучено влияние интерферона на течение хронического гепатита у детей в возрасте до десяти лет."
    japanese = "慢性肝炎の小児におけるインターフェロンの効果"
    texts = texts_of([document("r", "Один", russian), document("j", japanese, ""), document("g", "Η ΝΌΣΟΣ", "")])
    asked = [citation(1, "Другой", russian.upper()), citation(2, f"[{japanese}]"), citation(3, "η νόσος.")]
    # 14 words after another title: 10 shingles of 11.
    assert found(texts, *asked) == [
        (1, "b", "r", "near duplicate", pytest.approx(10 / 12)),
        (2, "b", "j", "title", 1.0),
        (3, "b", "g", "title", 1.0),
    ]


def test_the_first_reason_is_said_and_a_pair_stands_there_once(texts_of):
    title, text = BASE
    texts = texts_of(
        x=[document("all", title, text, pmid=1, doi="10.1/A"), document("doi", title, text, doi="10.1/a")],
        a=[document("title", title, text, pmid=2), document("near", "Another", text), document("near too", "", text)],
    )
    rows = found(
        texts, citation(3, title, text), citation(1, title, text, doi="10.1/a"), citation(3, title, text[:-20])
    )
    near = float(np.float32(plain_similarity(plain_shingles("Another", text), plain_shingles(title, text))))
    near_too = float(np.float32(plain_similarity(plain_shingles(text), plain_shingles(title, text))))
    assert near != near_too
    same = [
        ("a", "near", "near duplicate", near),
        ("a", "near too", "near duplicate", near_too),
        ("a", "title", "title", 1.0),
    ]
    assert rows == [
        *[(1, *row) for row in same],
        (1, "x", "all", "pmid", 1.0),
        (1, "x", "doi", "doi", 1.0),
        # Of two versions that have one PMID the more similar one counts.
        *[(3, *row) for row in same],
        (3, "x", "all", "title", 1.0),
        (3, "x", "doi", "title", 1.0),
    ]


# --- all pairs ------------------------------------------------------------------------------------------


def worn(draw, of_words, spoilt):
    """The words with ``spoilt`` of them replaced."""
    of_words = list(of_words)
    for place in draw.sample(range(len(of_words)), min(spoilt, len(of_words))):
        of_words[place] = unique_words(draw, 1)[0]
    return of_words


def families(draw, number):
    """Documents and citations near the thresholds: parts, worn copies, long and short, with much or little in common."""
    common = unique_words(draw, 60)
    documents, citations = [], []
    for family in range(number):
        kind = family % 4
        if kind == 0:  # short ones
            own = unique_words(draw, draw.randint(3, 32))
            versions = [worn(draw, own, draw.choice([0, 0, 0, 1])) for _ in range(5)]
            versions = [version[draw.randint(0, 2) : len(version) - draw.randint(0, 3)] for version in versions]
        elif kind == 1:  # most of each text is what all have
            start = draw.randint(0, 20)
            versions = [
                common[start:] + unique_words(draw, draw.randint(4, 16))
                if draw.random() < 0.5
                else unique_words(draw, draw.randint(4, 16)) + common[start:]
                for _ in range(5)
            ]
        elif kind == 2:  # a part in the whole
            own = unique_words(draw, draw.randint(60, 200))
            start = draw.randint(0, 30)
            part = own[start : start + draw.randint(20, 60)]
            versions = [own, *[worn(draw, part, draw.randint(0, len(part) // 20)) for _ in range(4)]]
        else:  # worn copies
            own = unique_words(draw, draw.randint(20, 150))
            versions = [worn(draw, own, draw.randint(0, len(own) // 18)) for _ in range(5)]
        draw.shuffle(versions)
        for version in versions:
            # Some say a part twice.
            said = version + version[: len(version) // 2] if draw.random() < 0.1 else version
            cut = draw.randint(0, min(12, len(said)))
            # Titles end in a number, so that no two are the same.
            title, text = [*said[:cut], f"t{draw.getrandbits(40)}"], said[cut:]
            if draw.random() < 0.5:
                title, text = [], said
            name = len(documents) + len(citations) + 1
            if draw.random() < 0.5:
                documents.append(document(str(name), " ".join(title), " ".join(text) + f" e{draw.getrandbits(40)}"))
            else:
                citations.append(citation(name, " ".join(title) or None, " ".join(text)))
    return documents, citations


@pytest.mark.parametrize("seed", range(6))
def test_near_duplicates_are_those_of_all_pairs(seed, texts_of):
    documents, citations = families(random.Random(seed), 80)
    expected = plain_pairs(citations, documents)
    rows = found(texts_of(documents), *citations)
    assert rows == expected
    assert len(rows) > 60
    sizes = Counter(len(plain_shingles(row["title"], row["abstract"])) < 20 for row in citations)
    assert min(sizes.values()) > 20


@pytest.mark.parametrize(
    ("shared", "first", "second"),
    [
        (shared, first, second)
        for first in (20, 21, 25, 40)
        for second in (17, 20, 26, 60)
        for shared in range(14, min(first, second, 23) + 1)
    ],
)
def test_thresholds_are_met_exactly(shared, first, second, texts_of):
    """Texts of so many shingles; the shared ones first in one, last in the other, and rare in neither."""
    draw = random.Random(shared)
    both = unique_words(draw, shared + 4)
    one = both + unique_words(draw, first - shared)
    other = unique_words(draw, second - shared) + both
    assert [len(plain_shingles(" ".join(words))) for words in (one, other)] == [first, second]
    crowd = [document(f"crowd{number}", None, " ".join(both + unique_words(draw, 200))) for number in range(3)]
    expected = plain_similarity(plain_shingles(" ".join(one)), plain_shingles(" ".join(other)))
    rows = found(texts_of([*crowd, document("d", None, " ".join(one))]), citation(1, None, " ".join(other)))
    assert [row[2:] for row in rows if row[2] == "d"] == (
        [("d", "near duplicate", float(np.float32(expected)))] if expected else []
    )


def test_similarity_agrees_with_fractions():
    counts = [(shared, one, other) for one in range(40) for other in range(40) for shared in range(min(one, other) + 1)]
    values = similarity(*np.array(counts).T)
    for (shared, one, other), value in zip(counts, values.tolist(), strict=True):
        both = {(0, number) for number in range(shared)}
        sets = [both | {(place, number) for number in range(count - shared)} for place, count in ((1, one), (2, other))]
        assert value == plain_similarity(*sets)


def test_long_texts_need_containment_only_and_short_ones_resemblance():
    """What the two ways of looking rest on."""
    one, other = np.meshgrid(np.arange(1, 90), np.arange(1, 90))
    for shared in range(1, 90):
        possible = (shared <= one) & (shared <= other)
        alike = possible & (similarity(np.full_like(one, shared), one, other) > 0)
        smaller, larger = np.minimum(one, other), np.maximum(one, other)
        assert (shared / smaller >= 0.8)[alike & (smaller >= 20)].all()
        assert larger[alike & (smaller < 20)].max(initial=0) <= SHINGLES_BESIDE_A_SHORT_TEXT
        assert (shared / larger >= 0.7)[alike & (smaller < 20)].all()


def test_copies_within_a_benchmark_are_all_named(texts_of):
    copies = [document(f"d{number}", None, BASE[1]) for number in range(40)]
    rows = found(texts_of(copies), citation(1, None, BASE[1]), citation(2, None, " ".join(SENTENCES[:-1])))
    assert len(rows) == 80
    assert {row[3] for row in rows[:40]} == {"near duplicate"}
    assert [row[2] for row in rows[:40]] == sorted(row["document_id"] for row in copies)


def test_what_all_texts_have_leads_to_few_candidates():
    """Looking for rare shingles is what makes it fast; which ones are looked for changes no result."""
    draw = random.Random(5)
    common = unique_words(draw, 80)
    own = [unique_words(draw, 60) for _ in range(300)]
    texts = [" ".join(common[:40] + part + common[40:]) for part in own]
    of_texts = shingles_of(words(pl.Series(texts)))
    long_ones = index.ShingleIndex(of_texts, np.zeros(300, dtype=bool))
    # A citation for each text: around it, in it, or with what all have alone.
    asked = [" ".join([*unique_words(draw, 90), text]) for text in texts[:100]]
    asked += [" ".join(common[20:40] + part + common[40:60]) for part in own[100:200]]
    asked += [" ".join(common[:40] + unique_words(draw, 60) + common[40:]) for _ in range(100)]
    shingles = shingles_of(words(pl.Series(asked)))
    known = long_ones.known(shingles)
    for pairs, expected in [
        (long_ones.in_citations(known), range(200)),
        (long_ones.around_citations(known, shingles.sizes), range(100, 200)),
    ]:
        assert pairs[0].tolist() == pairs[1].tolist() == list(expected)


@given(st.lists(st.integers(0, 40), max_size=30))
def test_pieces_are_as_long_as_they_may_be(lengths):
    with mock.patch.object(lists, "NUMBERS_AT_ONCE", 50):
        cut = [lengths[piece] for piece in lists.pieces(np.array(lengths, dtype=np.int64))]
        assert list(lists.pieces(np.array([70, 1, 60]))) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert list(itertools.chain.from_iterable(cut)) == lengths
    assert all(sum(piece) <= 50 for piece in cut)
    assert all(sum(piece) + after[0] > 50 for piece, after in itertools.pairwise(cut))


# --- MinHash --------------------------------------------------------------------------------------------


def pairs_of_sets(generator, number, shared, apart):
    """Shingles of ``number`` pairs of sets, each with ``shared`` in both and ``apart`` in one alone."""
    both = generator.integers(0, 2**63, (number, shared))
    sides = [np.hstack([both, generator.integers(0, 2**63, (number, apart))]).astype(np.uint64) for _ in range(2)]
    owners = np.repeat(np.arange(number), shared + apart)
    return [(side.ravel(), owners) for side in sides]


@pytest.mark.parametrize(("shared", "apart"), [(14, 3), (7, 3), (6, 7), (2, 4), (3, 12)])
def test_minhash_finds_as_many_as_it_says(shared, apart):
    number = 3000
    one, other = pairs_of_sets(np.random.default_rng(shared), number, shared, apart)
    citations, texts = ShortTexts(*one).alike(*other)
    chance = 1 - (1 - (shared / (shared + 2 * apart)) ** 3) ** 42
    hits = np.count_nonzero(citations == texts)
    assert abs(hits - number * chance) < 4.5 * np.sqrt(number * chance * (1 - chance)) + 1e-3 * number * (
        chance < 0.999
    )
    # Sets that share nothing do not meet.
    assert len(citations) == hits
    if shared == 14:
        assert 1 - chance < 3e-8
        assert hits == number


# --- sentences ------------------------------------------------------------------------------------------


def pairs_file(path, rows):
    pl.DataFrame(
        rows, schema={"pair_id": pl.String, "sentence1": pl.String, "sentence2": pl.String}, orient="row"
    ).with_columns(score=1.0).write_parquet(path)
    return path


def test_a_sentence_stands_word_for_word_in_a_title_or_an_abstract(tmp_path):
    sentence = "HBeAg had been lost by 26 % of the treated children, and by 11% of the others"
    short = "No tumor was seen in these children"
    rows = [
        ("p", f"({sentence}.)", "Something else that is nowhere to be found."),
        ("q", f"'{short}.'", f"{short} either"),
    ]
    texts = BenchmarkTexts({"s": pairs_file(tmp_path / "s.parquet", rows)})
    split = sentence.split()
    asked = [
        citation(1, *BASE),
        citation(2, f"[{sentence.upper()}!]"),
        # Every run of five words is there, but not the sentence.
        citation(3, None, " ".join(split[:9]) + ". " + " ".join(split[4:])),
        citation(4, " ".join(split[:8]), " ".join(split[8:])),
        citation(5, None, sentence.replace("lost", "loſt").replace("26", "２６")),
        citation(6, None, f"x{sentence}"),
        citation(7, None, f"{sentence}s"),
        citation(10, None, f"x{sentence}. " + " ".join(split[:6])),
        citation(8, None, f"He said: {short}."),
        citation(9, None, f"He said: {short} either."),
    ]
    assert set(plain_shingles(sentence)) <= plain_shingles(asked[2]["abstract"])
    assert set(plain_shingles(sentence)) <= plain_shingles(asked[3]["title"], asked[3]["abstract"])
    assert found(texts, *asked) == [
        (1, "s", "p/1", "sentence", 1.0),
        (2, "s", "p/1", "sentence", 1.0),
        (5, "s", "p/1", "sentence", 1.0),
        (9, "s", "q/2", "sentence", 1.0),
    ]


def test_sentences_are_those_of_all_pairs(tmp_path):
    """A small vocabulary: sentences share most of their shingles, stand in many texts, or twice in the benchmark."""
    draw = random.Random(3)
    phrases = [" ".join(draw.choices(["p", "q", "r"], k=draw.randint(4, 9))) for _ in range(12)]
    make = lambda count: " ".join(draw.choices(phrases, k=count))  # noqa: E731
    rows = [(f"n{number}", make(draw.choice([1, 1, 2])), make(1)) for number in range(60)]
    citations = [citation(number, make(draw.randint(0, 2)), make(draw.randint(0, 5))) for number in range(1, 61)]
    texts = BenchmarkTexts({"s": pairs_file(tmp_path / "s.parquet", rows)})
    expected = [
        (asked["pmid"], "s", f"{name}/{place}", "sentence", 1.0)
        for asked in citations
        for name, *two in rows
        for place, sentence in enumerate(two, start=1)
        if len(sentence.split()) >= 8 and any(f" {sentence} " in f" {asked[key]} " for key in ("title", "abstract"))
    ]
    assert found(texts, *citations) == sorted(expected)
    assert len(expected) > 100


def test_a_sentence_is_neither_a_title_nor_a_near_duplicate(tmp_path, texts_of):
    sentence = " ".join(unique_words(random.Random(1), 40))
    pairs = pairs_file(tmp_path / "pairs.parquet", [("p", sentence, sentence + " too")])
    documents = tmp_path / "documents.parquet"
    pl.DataFrame([document("d", None, sentence)], schema=DOCUMENTS).write_parquet(documents)
    texts = BenchmarkTexts({"s": pairs, "b": documents})
    worn_out = sentence.replace(sentence.split()[-1], "so")
    assert found(texts, citation(1, None, worn_out), citation(2, sentence)) == [
        (1, "b", "d", "near duplicate", pytest.approx(35 / 37)),
        (2, "b", "d", "title", 1.0),
        (2, "s", "p/1", "sentence", 1.0),
    ]


# --- blocks, order, nothing -----------------------------------------------------------------------------


def test_blocks_and_order_make_no_difference(texts_of, monkeypatch):
    documents, citations = families(random.Random(11), 60)
    draw = random.Random(12)
    for number in range(20):
        citations.append(citation(9000 + number, documents[number]["title"], None))
        documents[-number]["doi"] = citations[number]["doi"] = f"10.1/{number}"
        documents[number]["pmid"] = citations[2 * number]["pmid"]
    texts = texts_of(documents)
    whole = texts.find(table(citations))
    assert whole.schema == FOUND
    assert set(whole["reason"]) == {"pmid", "doi", "title", "near duplicate"}
    assert whole.equals(whole.sort("pmid", "benchmark", "document_id"))
    by_block = pl.concat([texts.find(table(citations[start : start + 17])) for start in range(0, len(citations), 17)])
    assert by_block.sort("pmid", "benchmark", "document_id").equals(whole)
    assert texts.find(table(draw.sample(citations, len(citations)))).equals(whole)
    assert texts_of(draw.sample(documents, len(documents))).find(table(citations)).equals(whole)
    # The same in small pieces within.
    monkeypatch.setattr(benchmark_texts, "_TEXTS_AT_ONCE", 7)
    monkeypatch.setattr(index, "_TEXTS_AT_ONCE", 3)
    monkeypatch.setattr(lists, "NUMBERS_AT_ONCE", 100)
    assert texts_of(documents).find(table(citations)).equals(whole)


def test_more_columns_and_chunks_of_a_table_make_no_difference(texts_of):
    texts = texts_of([document("d", *BASE)])
    rows = [citation(number, *(BASE if number == 5 else (prose(DRAW, 1), prose(DRAW)))) for number in range(1, 9)]
    parts = pl.concat([table(rows[:3]), table(rows[3:])], rechunk=False).with_columns(year=2000)
    assert texts.find(parts.lazy().collect()).rows() == [(5, "b", "d", "title", 1.0)]
    assert texts.find(parts[4:]).rows() == [(5, "b", "d", "title", 1.0)]


@pytest.mark.parametrize("rows", [None, [], [document("d")], [document("d", "", "")], [document("d", "A b c", "d e")]])
def test_nothing_is_found_where_nothing_is(rows, texts_of):
    texts = texts_of(rows)
    for asked in ([], [citation(1)], [citation(1, "", "")], [citation(1, *BASE), citation(2, "x y", "z")]):
        result = texts.find(table(asked))
        assert result.height == 0
        assert result.schema == FOUND


def test_a_benchmark_is_asked_for_what_it_lacks(tmp_path):
    file = tmp_path / "documents.parquet"
    good = pl.DataFrame([document("d", *BASE)], schema=DOCUMENTS)
    with pytest.raises(BioHiCLError, match=r"documents\.parquet: no such file"):
        BenchmarkTexts({"b": file})
    file.write_bytes(b"junk")
    with pytest.raises(BioHiCLError, match=r"documents\.parquet: cannot be read as Parquet"):
        BenchmarkTexts({"b": file})
    for bad, said in [
        (good.drop("doi", "text"), r"documents\.parquet: has no column text, doi; needed are document_id, title"),
        (pl.concat([good, good]), r"documents\.parquet: the document_id 'd' stands there twice"),
        (good.with_columns(document_id=pl.lit(None, pl.String)), r"documents\.parquet: rows without document_id \(1\)"),
        (good.with_columns(pmid=pl.lit("x")), r"documents\.parquet: columns are not of the types document_id String"),
        (pl.DataFrame({"pair_id": ["1"], "sentence1": ["a"]}), r"has no column sentence2"),
        (
            pl.DataFrame({"pair_id": ["1"] * 2, "sentence1": "a", "sentence2": "a"}),
            r"the pair_id '1' stands there twice",
        ),
    ]:
        bad.write_parquet(file)
        with pytest.raises(BioHiCLError, match=said):
            BenchmarkTexts({"b": file})
    good.write_parquet(file)
    texts = BenchmarkTexts({"b": str(file)})
    with pytest.raises(BioHiCLError, match="citations: has no column abstract"):
        texts.find(table([citation(1)]).drop("abstract"))
    with pytest.raises(BioHiCLError, match=r"citations: rows without pmid \(1\)"):
        texts.find(table([citation(1), citation(None)]))


# --- real citations -------------------------------------------------------------------------------------


def test_real_citations_in_pubmedqa_and_scifact(shared, tmp_path):
    """NLM's sample of 2004: who is found by each reason, and near duplicates beside a plain count of shared shingles."""
    articles = pl.from_arrow(parsed(shared / "data/nlm/pubmed/baseline/pubmed20n9001.xml.gz", tmp_path)[0])
    citations = articles.select("pmid", "doi", "title", "abstract").sort("pmid")
    files, documents = {}, {}
    for name in ("pubmedqa", "scifact"):
        corpus = pl.read_ndjson(shared / f"data/benchmarks/{name}/corpus.jsonl", infer_schema_length=None)
        pmids = pl.col("_id").cast(pl.Int32) if name == "pubmedqa" else pl.lit(None, pl.Int32)
        documents[name] = corpus.select(
            document_id="_id", title="title", text="text", pmid=pmids, doi=pl.lit(None, pl.String)
        )
        files[name] = tmp_path / f"{name}.parquet"
        documents[name].write_parquet(files[name])
    rows = BenchmarkTexts(files).find(citations).rows()
    assert rows == [
        *[(pmid, "scifact", name, "title", 1.0) for pmid, name in [(8062354, "23865182"), (9196156, "24634621")]],
        *[(pmid, "scifact", name, "title", 1.0) for pmid, name in [(9456462, "21373821"), (9664750, "22995579")]],
        *[(pmid, "scifact", name, "title", 1.0) for pmid, name in [(11325322, "6191684"), (11435337, "6549091")]],
        (11500608, "pubmedqa", "11500608", "pmid", 1.0),
    ]
    # Without what names them, their texts do; and no other pair is that similar.
    for name, table_ in documents.items():
        table_.with_columns(pmid=pl.lit(None, pl.Int32), title=pl.lit("")).write_parquet(files[name])
    near = BenchmarkTexts(files).find(citations)
    assert near["reason"].unique().to_list() == ["near duplicate"]
    some = pl.concat([citations.filter(pl.col("pmid").is_in(near["pmid"].to_list())), citations[::8]]).unique()
    assert near.filter(pl.col("pmid").is_in(some["pmid"].to_list())).rows() == plain_near_duplicates(some, documents)
    assert near.select("pmid", "benchmark", "document_id").rows() == [row[:3] for row in rows]


def plain_near_duplicates(citations, documents):
    texts = [
        (name, row["document_id"], plain_shingles(row["text"]))
        for name, of in documents.items()
        for row in of.to_dicts()
    ]
    having = {}
    for number, (*_, shingles) in enumerate(texts):
        for shingle in shingles:
            having.setdefault(shingle, []).append(number)
    rows = []
    for asked in citations.iter_rows(named=True):
        own = plain_shingles(asked["title"], asked["abstract"])
        for number in {number for shingle in own for number in having.get(shingle, ())}:
            name, document_id, shingles = texts[number]
            if value := plain_similarity(own, shingles):
                rows.append((asked["pmid"], name, document_id, "near duplicate", float(np.float32(value))))
    return sorted(rows)
