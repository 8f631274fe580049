"""Search for people and programs: a query in words, citations out.

Goes in: an index (``snakemake index``), the model that made it, MeSH, and a query. Comes out: :class:`Hit`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from biohicl.encoder.vectors import fingerprint, of_unit_length
from biohicl.errors import BioHiCLError
from biohicl.evaluation.fusion import UNTUNED, joint
from biohicl.lexical import terms_of
from biohicl.progress import say
from biohicl.search import MODES, Mode
from biohicl.search.contents import INDEX_FILE, REBUILD, Contents, find_index
from biohicl.search.filters import Filters, Headings, Mask, known_types, mask_of
from biohicl.search.ranking import Ranked, Vector, best_by_terms, best_by_vector
from biohicl.search.together import Together

if TYPE_CHECKING:
    from biohicl.encoder.embed import Encoder

LONGEST_QUERY = 5_000
MOST_HITS = 1_000
# What is joined: so many of each side.
JOINED = 1_000
# Queries that wait for the model at the same time.
ENCODED_AT_ONCE = 16
# Masks of filters that are kept; one of all of PubMed takes 40 MB.
MASKS_KEPT = 8
LINK = "https://pubmed.ncbi.nlm.nih.gov/{pmid}/"


@dataclass(frozen=True)
class Hit:
    """A citation that was found. ``score``: of the mode that was asked for, comparable within one answer alone.

    ``headings``: (UI or None, name, whether it is a major topic); ``authors``: (last name, initials) or (group, "").
    """

    pmid: int
    score: float
    title: str
    year: int | None
    journal: str
    publication_date: str
    authors: tuple[tuple[str, str], ...]
    abstract: str
    headings: tuple[tuple[str | None, str, bool], ...]
    publication_types: tuple[str, ...]
    doi: str | None
    pmc_id: str | None
    retracted: bool

    @property
    def link(self) -> str:
        """Its page at PubMed."""
        return LINK.format(pmid=self.pmid)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        found = asdict(self) | {"link": self.link}
        found["headings"] = [{"descriptor_ui": ui, "name": name, "major": major} for ui, name, major in self.headings]
        found["authors"] = [" ".join(filter(None, author)) for author in self.authors]
        return found


class Retriever:
    """An index that answers queries; safe to be asked by several threads at a time.

    ``index``: its folder (results/index/<model>). ``model``: the folder of the model that made it (None:
    results/models/<model>, or resources/backbones/<model>); where it is not there, words and likeness can be searched
    all the same. ``threads``: that one query may use. Raises :class:`BioHiCLError` where the index is missing, damaged,
    or of another model.
    """

    def __init__(
        self, index: str | Path, model: str | Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        self.index = Contents(Path(index) / INDEX_FILE)
        if self.index.is_outdated:
            say(f"{self.index.file}: the corpus has changed since; what is new is found after: {REBUILD}")
        self.headings = Headings(self.index.root / "results/mesh")
        self._places = [Path(model)] if model is not None else self._usual_places()
        self.model = self._model_folder()
        self._device = device
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._encoder: Encoder | None = None
        self._encoded = Together(self._encode_all, ENCODED_AT_ONCE)
        self._lock = Lock()
        self._masks: OrderedDict[Filters, Mask] = OrderedDict()

    @classmethod
    def of_project(cls, root: str | Path = ".", model: str | None = None, **options: Any) -> Retriever:
        """The index of a project's folder: of ``model``, or the only one there is."""
        return cls(find_index(Path(root), model), **options)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        first_year: int | None = None,
        last_year: int | None = None,
        headings: Sequence[str] = (),
        publication_types: Sequence[str] = (),
    ) -> list[Hit]:
        """The ``k`` best citations for a query, best first; fewer where fewer pass the filters (:class:`Filters`).

        ``mode``: by vectors (dense), by words (bm25), or joined as it did best on development queries (hybrid).
        ``headings``: names, synonyms, UIs or tree numbers. Raises :class:`BioHiCLError` for a query that is empty or
        too long, and for headings and publication types that are unknown.
        """
        _checked_query(query, k, mode)
        mask = self._mask(first_year, last_year, headings, publication_types)
        return self._hits(self._ranked(query, k, mode, mask))

    def similar(
        self,
        pmid: int,
        k: int = 10,
        *,
        first_year: int | None = None,
        last_year: int | None = None,
        headings: Sequence[str] = (),
        publication_types: Sequence[str] = (),
    ) -> list[Hit]:
        """The ``k`` citations whose vectors are nearest to that of a citation, which is not among them."""
        _checked_query("-", k, "dense")
        row = self._row_of(pmid)
        mask = self._mask(first_year, last_year, headings, publication_types).copy()
        mask[row] = False
        file, place = self.index.part(row)
        vector = of_unit_length(file.vectors.vector(place)[None])[0]
        return self._hits(best_by_vector(self.index, vector, k, mask, self._pool))

    def citation(self, pmid: int) -> Hit | None:
        """One citation, with a score of 1; None where the index has none of that PMID."""
        row = self.index.row_of(pmid)
        return self._hit(row, 1.0) if row is not None else None

    def _row_of(self, pmid: int) -> int:
        row = self.index.row_of(pmid)
        if row is None:
            raise BioHiCLError(f"PMID {pmid} is not among the current citations of this index")
        return row

    def _mask(
        self,
        first_year: int | None,
        last_year: int | None,
        headings: Sequence[str],
        publication_types: Sequence[str],
    ) -> Mask:
        for name, given in (("headings", headings), ("publication_types", publication_types)):
            if isinstance(given, str):
                # It would be taken letter by letter.
                raise BioHiCLError(f"{name}: a list of names is needed, such as [{given[:60]!r}]")
        if first_year is not None and last_year is not None and first_year > last_year:
            raise BioHiCLError(f"no year is from {first_year} to {last_year}; exchange the two")
        filters = Filters(
            first_year,
            last_year,
            tuple(sorted({self.headings.find(wanted) for wanted in headings})),
            tuple(sorted(known_types(self.index, publication_types))),
        )
        if filters.is_empty:
            return self.index.current
        with self._lock:
            if filters in self._masks:
                self._masks.move_to_end(filters)
                return self._masks[filters]
        mask = mask_of(self.index, filters, self.headings)
        with self._lock:
            self._masks[filters] = mask
            while len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        return mask

    def _ranked(self, query: str, k: int, mode: Mode, mask: Mask) -> Ranked:
        if mode == "bm25":
            return best_by_terms(self.index, terms_of([query])[0], k, mask, self._pool)
        deep = k if mode == "dense" else max(k, JOINED)
        dense = best_by_vector(self.index, self.encode(query), deep, mask, self._pool)
        if mode == "dense":
            return dense
        lexical = best_by_terms(self.index, terms_of([query])[0], deep, mask, self._pool)
        parameter = self.index.about["hybrid"].get("convex", UNTUNED["convex"])
        scores = joint(_pairs(dense), _pairs(lexical), "convex", parameter)
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
        rows = np.array([row for row, _ in best], dtype=np.int64)
        return rows, np.array([score for _, score in best], dtype=np.float32)

    def encode(self, query: str) -> Vector:
        """(d,): the query's vector. Queries of several threads that wait for the model are encoded together."""
        return self._encoded(query)

    def _encode_all(self, queries: Sequence[str]) -> Sequence[Vector]:
        if self._encoder is None:
            from biohicl.encoder.embed import Encoder

            if self.model is None:
                raise BioHiCLError(
                    f"the model that made this index, {self.index.about['model']}, is not in {self._places[0]}: name "
                    "its folder (--model), or search by words, which needs none (--mode bm25)"
                )
            self._encoder = Encoder(self.model, self._device)
        encoder = self._encoder
        tokens = encoder.tokens(encoder.prepared("queries", queries, self.index.about["task"]))
        vectors = encoder.embed_tokens(tokens)
        return list(of_unit_length(vectors) if encoder.settings.similarity == "cosine" else vectors)

    def _hits(self, ranked: Ranked) -> list[Hit]:
        rows, scores = ranked
        return [self._hit(row, score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def _hit(self, row: int, score: float) -> Hit:
        file, place = self.index.part(row)
        record = file.records[place]
        return Hit(
            pmid=record["pmid"],
            score=score,
            title=record["title"] or "",
            year=record["year"],
            journal=record["journal_iso"] or record["journal"] or "",
            publication_date=record["publication_date"] or "",
            authors=tuple(
                (author["last_name"] or author["collective_name"] or "", author["initials"] or "")
                for author in record["authors"]
            ),
            abstract=record["abstract"] or "",
            headings=tuple((one["descriptor_ui"], one["name"], one["major"]) for one in record["headings"]),
            publication_types=tuple(record["publication_types"]),
            doi=record["doi"],
            pmc_id=record["pmc_id"],
            retracted=bool(record["retracted"]),
        )

    def _usual_places(self) -> list[Path]:
        return [
            self.index.root / where / self.index.about["model"] for where in ("results/models", "resources/backbones")
        ]

    def _model_folder(self) -> Path | None:
        folder = next((place for place in self._places if (place / "config.json").is_file()), None)
        if folder is not None and fingerprint(folder) != self.index.about["encoder"]:
            raise BioHiCLError(
                f"{self.index.file}: was made by another model than the one in {folder} (or before that was trained "
                f"anew); make the index again with: {REBUILD}"
            )
        return folder


def _pairs(ranked: Ranked) -> list[tuple[int, float]]:
    rows, scores = ranked
    return list(zip(rows.tolist(), scores.tolist(), strict=True))


def _checked_query(query: str, k: int, mode: str) -> None:
    if not isinstance(query, str):
        raise BioHiCLError(f"the query is no text but of the type {type(query).__name__}")
    if not query.strip():
        raise BioHiCLError("the query is empty; say what is sought, in words")
    if any("\ud800" <= character <= "\udfff" for character in query):
        raise BioHiCLError("the query has half of a character in it, as bytes that are no UTF-8 give; type it again")
    if len(query) > LONGEST_QUERY:
        raise BioHiCLError(
            f"the query has {len(query):,} characters, and at most {LONGEST_QUERY:,} are taken; the first sentences of "
            "a text say most of it"
        )
    if not 1 <= k <= MOST_HITS:
        raise BioHiCLError(f"{k} citations are asked for; from 1 to {MOST_HITS:,} can be given")
    if mode not in MODES:
        raise BioHiCLError(f"'{mode}' is no mode of search; choose among {', '.join(MODES)}")
