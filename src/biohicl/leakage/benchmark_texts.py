"""Which training citations are a benchmark's document, or nearly so.

Goes in: benchmarks as Parquet files, then citations, a block at a time. Comes out: a table of pairs, with the reason.
Memory is that of the benchmarks' shingles and one block, however many citations there are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.leakage.criterion import RESEMBLANCE, SHINGLES_BESIDE_A_SHORT_TEXT, shared_at_least, similarity
from biohicl.leakage.index import Known, Pairs, ShingleIndex
from biohicl.leakage.lists import different, paired, parted
from biohicl.leakage.minhash import ShortTexts
from biohicl.leakage.normal import dois, spaced, title_keys, words
from biohicl.leakage.reading import citation_texts, read_texts
from biohicl.leakage.shingles import Shingles, end_to_end, shingles_of

# The first that applies is said.
REASONS = ("pmid", "doi", "title", "near duplicate", "sentence")
FOUND = pl.Schema(
    {
        "pmid": pl.Int32(),
        "benchmark": pl.String(),
        "document_id": pl.String(),
        "reason": pl.Enum(REASONS),
        "similarity": pl.Float32(),
    }
)
# Fewer words are a phrase that many articles have.
WORDS_OF_A_SENTENCE = 8
# What is kept of a text beside its shingles. Its row is its number, over all benchmarks.
_KEPT = {
    "benchmark": pl.String,
    "document_id": pl.String,
    "pmid": pl.Int32,
    "doi": pl.String,
    "title": pl.UInt64,  # see title_keys
    "sentence": pl.String,  # its words; null where the text is a document
}
# A citation and a text's number.
_MATCH = pl.Schema(
    {"pmid": pl.Int32(), "text": pl.Int64(), "reason": FOUND["reason"], "similarity": FOUND["similarity"]}
)
# 10,000 abstracts have 2 million words; more at a time is not faster. Shingles are of 65,536 texts at most.
_TEXTS_AT_ONCE = 10_000


class BenchmarkTexts:
    """The texts of benchmarks, to find the citations that have them. A citation has a text if they have

    - the same ``pmid`` or ``doi``, a DOI in upper or lower case, bare or as a link;
    - the same ``title``: the same letters and digits, whatever case, accents, punctuation, brackets and spaces. Of a
      document without title, its whole text is the title. Short ones count too ("[Editorial.]" is "Editorial"), and
      empty ones never;
    - nearly the same text (``near duplicate``): title and abstract beside title and text, by
      :mod:`biohicl.leakage.criterion`. Of pairs of long texts none is missed (:mod:`biohicl.leakage.index`); of short
      ones two in 100 million at most, by chance (:mod:`biohicl.leakage.minhash`);
    - a ``sentence``: one of a sentence pair, of eight words or more, stands word for word in the title or the abstract.

    The same words count as the same only in the same order: texts that are paraphrased, translated, or stripped of
    their stop words (as some copies of NFCorpus are) are found by their identifiers and titles alone.
    """

    def __init__(self, benchmarks: Mapping[str, str | os.PathLike[str]]) -> None:
        """``benchmarks``: by name, a Parquet file with the columns document_id, title, text, pmid and doi, a row a
        document; or with pair_id, sentence1 and sentence2, a row a pair, whose sentences are '<pair_id>/1' and '/2'.

        Raises :class:`~biohicl.errors.BioHiCLError` where a file is absent, lacks a column, or has a row without a name
        or two of one name.
        """
        blocks = [
            _taken_in(name, block)
            for name, file in benchmarks.items()
            for block in read_texts(Path(file)).iter_slices(_TEXTS_AT_ONCE)
        ]
        texts = pl.concat([pl.DataFrame(schema=_KEPT), *(kept for kept, _ in blocks)])
        shingles = end_to_end([part for _, part in blocks])
        del blocks
        numbered = texts.with_columns(text=pl.int_range(pl.len(), dtype=pl.Int64))
        self._names = texts.select("benchmark", "document_id")
        self._with = {key: numbered.select(key, "text").drop_nulls(key) for key in ("pmid", "doi", "title")}
        self._sentences = texts["sentence"]
        self._is_sentence = self._sentences.is_not_null().to_numpy()
        self._index = ShingleIndex(shingles, whole=self._is_sentence)
        short = (self._index.sizes <= SHINGLES_BESIDE_A_SHORT_TEXT) & ~self._is_sentence
        self._short = ShortTexts(*shingles.of(short))

    def find(self, citations: pl.DataFrame) -> pl.DataFrame:
        """The pairs of a citation and a text that it has, a row each: :data:`FOUND`, sorted by pmid, benchmark and
        document_id. ``citations``: a table with the columns pmid, doi, title and abstract, and any others.

        ``reason`` is the first of :data:`REASONS` that applies. ``similarity``, 0.7 to 1: of near duplicates the
        resemblance (Jaccard's index), or where this is below 0.7 the containment of the smaller text; of others 1.
        Citations one block after another have the rows that they have all at once, if no PMID is in two blocks.

        Raises :class:`~biohicl.errors.BioHiCLError` where a column is absent, or a citation has no PMID.
        """
        blocks = citation_texts(citations).iter_slices(_TEXTS_AT_ONCE)
        matches = pl.concat([pl.DataFrame(schema=_MATCH), *map(self._matches, blocks)])
        # A PMID stands there once for each version of it.
        matches = matches.sort("pmid", "text", "reason", "similarity", descending=[False, False, False, True])
        first = matches.unique(["pmid", "text"], keep="first", maintain_order=True)
        named = pl.concat([first, self._names[first["text"]]], how="horizontal")
        return named.select(FOUND.names()).sort("pmid", "benchmark", "document_id")

    def _matches(self, block: pl.DataFrame) -> pl.DataFrame:
        """(:data:`_MATCH`) of a block of citations, by every reason that applies."""
        titles, abstracts = words(block["title"]), words(block["abstract"])
        keys = {"pmid": block["pmid"], "doi": dois(block["doi"]), "title": title_keys(titles)}
        found = [self._with_same(key, values, block["pmid"]) for key, values in keys.items()]
        shingles = shingles_of(titles + " " + abstracts)
        known = self._index.known(shingles)
        citations, texts = self._candidates(shingles, known)
        shared, sizes = self._index.shared(known, (citations, texts)), self._index.sizes[texts]
        documents = ~self._is_sentence[texts]
        alike = np.where(documents, similarity(shared, shingles.sizes[citations], sizes), 0.0)
        near = alike > 0
        found.append(_match(block["pmid"], (citations[near], texts[near]), "near duplicate", alike[near]))
        whole = ~documents & (shared == sizes)
        pairs = self._word_for_word(titles, abstracts, (citations[whole], texts[whole]))
        found.append(_match(block["pmid"], pairs, "sentence", 1.0))
        return pl.concat(found)

    def _with_same(self, key: str, values: pl.Series, pmids: pl.Series) -> pl.DataFrame:
        """(:data:`_MATCH`) of citations whose ``key`` a text has; ``values`` (C,): the citations'."""
        asked = pl.DataFrame({"citation": pl.int_range(len(values), eager=True), key: values})
        same = asked.join(self._with[key], on=key)
        return _match(pmids, (same["citation"].to_numpy(), same["text"].to_numpy()), key, 1.0)

    def _candidates(self, shingles: Shingles, known: Known) -> Pairs:
        """Citations, and texts that may be near duplicates of them or sentences in them."""
        enough = known.counts >= shared_at_least(shingles.sizes, RESEMBLANCE)
        short = (shingles.sizes <= SHINGLES_BESIDE_A_SHORT_TEXT) & enough
        pairs = [
            self._index.in_citations(known),
            self._index.around_citations(known, shingles.sizes),
            self._short.alike(*shingles.of(short)),
        ]
        return parted(different(np.concatenate([paired(*some) for some in pairs])))

    def _word_for_word(self, titles: pl.Series, abstracts: pl.Series, pairs: Pairs) -> Pairs:
        """Those ``pairs`` whose sentence stands in the title or in the abstract; all have its shingles."""
        citations, texts = pairs
        title, abstract = spaced(titles[citations]), spaced(abstracts[citations])
        read = zip(self._sentences[texts], title, abstract, strict=True)
        there = np.array([any(f" {sentence} " in f" {text} " for text in two) for sentence, *two in read], dtype=bool)
        return citations[there], texts[there]


def _taken_in(benchmark: str, block: pl.DataFrame) -> tuple[pl.DataFrame, Shingles]:
    """What is kept of a block of texts (:func:`~biohicl.leakage.reading.read_texts`): (:data:`_KEPT`), and shingles."""
    titles, bodies = words(block["title"]), words(block["text"])
    sentences = spaced(words(block["sentence"]))
    sentences = sentences.set(sentences.str.count_matches(" ") + 1 < WORDS_OF_A_SENTENCE, None)
    kept = block.select(
        pl.lit(benchmark).alias("benchmark"),
        "document_id",
        "pmid",
        dois(block["doi"]),
        title_keys(titles).alias("title").fill_null(title_keys(bodies)),
        sentences.alias("sentence"),
    )
    return kept, shingles_of(titles + " " + bodies + " " + sentences.fill_null(""))


def _match(pmids: pl.Series, pairs: Pairs, reason: str, similarity: float | npt.NDArray[np.float64]) -> pl.DataFrame:
    citations, texts = pairs
    columns: dict[str, Any] = {
        "pmid": pmids[citations],
        "text": texts,
        "reason": [reason] * len(texts),
        "similarity": np.broadcast_to(similarity, len(texts)),
    }
    return pl.DataFrame(columns, schema=_MATCH)
