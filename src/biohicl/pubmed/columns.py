"""The columns of the PubMed tables, cut from a block of records.

Goes in: the tags of a block. Comes out: Arrow batches as :mod:`biohicl.pubmed.schema` describes them. Every path
starts at the record's own children: a PMID further down belongs to a comment or a reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from biohicl.nlm_xml.owners import (
    Owners,
    is_full,
    listed,
    or_null,
    ordinals,
    placed,
    text_lists,
    united,
    where,
)
from biohicl.nlm_xml.reading import BadRecordError, Extractor
from biohicl.nlm_xml.tags import Elements, Tags, firsts
from biohicl.nlm_xml.values import Remembered, attribute, clean, has_attribute, integers, texts, texts_at
from biohicl.pubmed.dates import as_given, exact_date, published
from biohicl.pubmed.schema import (
    ARTICLES,
    AUTHOR,
    CHEMICAL,
    COMMENT_OR_CORRECTION,
    DELETED,
    HEADING,
    MESH_HEADINGS,
    PUBLICATION_TYPE,
    QUALIFIER,
    SECTION,
    SUPPLEMENTARY_CONCEPT,
)

LARGEST_PMID = 2**31 - 1
LARGEST_VERSION = 2**15 - 1
_USUAL_ORCID = "^(https?://orcid[.]org/)?[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]$"


class Batch(NamedTuple):
    """What a block holds, a table each."""

    articles: pa.RecordBatch
    mesh_headings: pa.RecordBatch
    deleted: pa.RecordBatch


def _columns(**types: pa.DataType) -> pa.Schema:
    return pa.schema(list(types.items()))


class Citations(Extractor[Batch]):
    """Reads block after block of one file; it remembers how repeated elements read."""

    roots: ClassVar = {
        "PubmedArticleSet": ("PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
        "MedlineCitationSet": ("MedlineCitation", "DeleteCitation"),  # before 2017
        "PubmedBookArticleSet": ("PubmedBookArticle",),
    }
    vital = ("DeleteCitation",)
    kind = "citation"
    key = "PMID"
    advice = "--skip-bad-citations, or pubmed.skip_bad_citations in config.yaml, sets it aside"

    def __init__(self) -> None:
        self.position = 0
        self._last: int | None = None
        text, flag = pa.string(), pa.bool_()

        def named(given: Mapping[str, str], written: str) -> tuple[Any, ...]:
            return given.get("UI") or None, clean(written) or None

        def topic(given: Mapping[str, str], written: str) -> tuple[Any, ...]:
            return given.get("UI") or None, given.get("MajorTopicYN") == "Y", clean(written) or None

        self._named = Remembered(named, _columns(ui=text, name=text))
        self._topic = Remembered(topic, _columns(ui=text, major=flag, name=text))
        self._supplementary = Remembered(
            lambda given, written: (*named(given, written), given.get("Type") or None),
            _columns(ui=text, name=text, type=text),
        )
        self._word = Remembered(lambda given, written: (clean(written) or None,), _columns(word=text))
        self._exact = Remembered(lambda given, written: (exact_date(written),), _columns(date=pa.date32()))
        self._published = Remembered(
            lambda given, written: (as_given(written), *(published(written) or (None, None))),
            _columns(given=text, date=pa.date32(), precision=text),
        )

    def __call__(self, tags: Tags) -> Batch:
        """The records of ``tags``, as the next ones of the file. Raises :class:`BadRecordError`."""
        batch = _Records(self, tags, self.position).batch()
        self.position += batch.articles.num_rows
        if batch.articles.num_rows:
            self._last = batch.articles["pmid"][-1].as_py()
        return batch

    def last_good(self) -> str | None:
        """The PMID of the last citation taken."""
        return f"PMID {self._last}" if self._last else None


class _Records:
    """One block's records, on their way to columns. Rows are its articles and books, in order."""

    def __init__(self, read: Citations, tags: Tags, position: int) -> None:
        self._read, self._tags, self._position = read, tags, position
        roots = tags.roots()
        articles, books, old, self._deletes = (
            np.intersect1d(roots, tags.named(name), assume_unique=True)
            for name in ("PubmedArticle", "PubmedBookArticle", "MedlineCitation", "DeleteCitation")
        )
        # The same columns stand at the same paths below these, so that books and old files need no path of their own.
        self.rows = united(articles, books, old)
        self._row_of = ordinals(self.rows, len(tags))
        documents = tags.child(books, "BookDocument")
        journal = united(tags.child(articles, "MedlineCitation"), old)
        self.citation = united(journal, documents)
        self._require(self.citation, "MedlineCitation")
        self.pmid = self._pmids(tags.child(self.citation, "PMID"))
        self.article = united(tags.child(journal, "Article"), documents)
        self._require(self.article, "Article", self.pmid)
        self.is_book = np.isin(self.rows, books, assume_unique=True)
        # What a book has not, whatever stands in it.
        self.medline, self.medline_article = self.citation[~self.is_book], self.article[~self.is_book]

    def __len__(self) -> int:
        return len(self.rows)

    # --- the three tables -------------------------------------------------------------------------------

    def batch(self) -> Batch:
        count = len(self)
        position = pa.array(np.arange(self._position, self._position + count, dtype=np.int32))
        headings, flat = self._mesh_headings(position)
        sections, abstract = self._abstract()
        given, day, precision = self._publication_date()
        types = self._publication_types()
        comments = self._comments_corrections()
        columns = {
            "pmid": self.pmid,
            "version": self.version,
            "position": position,
            "is_book": pa.array(self.is_book),
            "status": self._per_row(self.medline, attribute(self._tags, self.medline, "Status")),
            "title": self._title(),
            "vernacular_title": self._text(self.medline_article, "VernacularTitle"),
            "abstract": abstract,
            "abstract_sections": sections,
            "journal": self._text(self.medline_article, "Journal/Title"),
            "journal_iso": self._text(self.medline_article, "Journal/ISOAbbreviation"),
            "nlm_journal_id": self._text(self.medline, "MedlineJournalInfo/NlmUniqueID"),
            "issn": self._text(self.medline_article, "Journal/ISSN"),
            "publication_date": given,
            "published": day,
            "published_precision": precision,
            "year": pc.cast(pc.year(day), pa.int16()),
            "date_completed": self._date(self.medline, "DateCompleted"),
            "date_revised": self._date(self.citation, "DateRevised"),
            "languages": self._words(self._tags.children(self.article, "Language")),
            "publication_types": types,
            **self._article_ids(),
            "keywords": self._texts(self._tags.path(self.citation, "KeywordList*/Keyword*")),
            "authors": self._authors(),
            "references": self._references(),
            "chemicals": self._chemicals(),
            "supplementary_concepts": self._supplementary_concepts(),
            "comments_corrections": comments,
            "retracted": self._retracted(types, comments),
            "mesh_headings": headings,
        }
        return Batch(
            pa.RecordBatch.from_arrays([columns[field.name] for field in ARTICLES], schema=ARTICLES),
            flat,
            self._deleted(),
        )

    def _deleted(self) -> pa.RecordBatch:
        pmid, version = self._identities(self._tags.children(self._deletes, "PMID"))
        return pa.RecordBatch.from_arrays([pmid, version], schema=DELETED)

    # --- whose is it ------------------------------------------------------------------------------------

    def _owner(self, elements: Elements) -> Owners:
        """The row that each element belongs to."""
        return self._row_of.take(elements)

    def _only(self, elements: Elements) -> Elements:
        """The first of ``elements`` in each row."""
        return elements[firsts(self._owner(elements))]

    def _per_row(self, elements: Elements, values: pa.Array) -> pa.Array:
        """``values``, of at most one element a row, with null for the rows that have none."""
        return placed(values, self._owner(elements), len(self))

    def _grouped(self, elements: Elements, values: pa.Array) -> pa.ListArray:
        """``values`` of ``elements`` as a list a row."""
        return listed(self._owner(elements), values, len(self))

    def _structs(self, elements: Elements, columns: Sequence[pa.Array], struct: pa.StructType) -> pa.ListArray:
        """A list of structs a row, an element each; without those that say nothing at all."""
        said = np.zeros(len(elements), np.bool_)
        for column in columns:
            if said.all():
                break
            if pa.types.is_list(column.type):
                said |= pc.greater(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
            elif not pa.types.is_boolean(column.type):
                said |= pc.is_valid(column).to_numpy(zero_copy_only=False)
        values = pa.StructArray.from_arrays(columns, fields=list(struct))
        return self._grouped(elements[said], where(values, said))

    def _fail(self, bad: NDArray[np.bool_], elements: Elements, reason: str) -> None:
        """Raises for the first row whose element is ``bad``."""
        if bad.any():
            row = int(self._owner(elements[bad])[0])
            raise BadRecordError(f"PMID {self.pmid[row]}: {reason}", str(self.pmid[row]))

    def _require(self, elements: Elements, name: str, pmid: pa.Array | None = None) -> None:
        """One of ``elements`` in each row."""
        if len(elements) < len(self):
            row = int(np.setdiff1d(np.arange(len(self)), self._owner(elements))[0])
            raise BadRecordError(f"a citation without {name}", str(pmid[row]) if pmid is not None else None)

    # --- identity ---------------------------------------------------------------------------------------

    def _pmids(self, elements: Elements) -> pa.Array:
        self._require(elements, "PMID")
        pmid, self.version = self._identities(elements)
        return pmid

    def _identities(self, elements: Elements) -> tuple[pa.Array, pa.Array]:
        """PMIDs and versions of PMID elements; one without the attribute is version 1."""
        written = texts(self._tags, elements)
        pmid, bad = integers(written, LARGEST_PMID)
        if bad.any():
            raise BadRecordError(f"'{written.filter(pa.array(bad))[0]}' is not a PMID")
        given = pc.fill_null(attribute(self._tags, elements, "Version", absent="1"), "")
        version, bad = integers(given, LARGEST_VERSION)
        if bad.any():
            wrong = pa.array(bad)
            key = str(pmid.filter(wrong)[0])
            raise BadRecordError(f"PMID {key}: '{given.filter(wrong)[0]}' is not a version", key)
        return pmid, pc.cast(version, pa.int16())

    # --- text -------------------------------------------------------------------------------------------

    def _text(self, above: Elements, path: str) -> pa.StringArray:
        """The text of the first element at ``path``; null where it is empty or absent."""
        found = self._tags.path(above, path)
        return or_null(texts_at(self._tags, found, self._owner(found), len(self)))

    def _title(self) -> pa.StringArray:
        title = self._text(self.article, "ArticleTitle")
        if not self.is_book.any():
            return title
        return pc.coalesce(title, pc.if_else(pa.array(self.is_book), self._text(self.article, "Book/BookTitle"), None))

    def _abstract(self) -> tuple[pa.ListArray, pa.StringArray]:
        tags = self._tags
        parts = tags.path(self.article, "Abstract/AbstractText*")
        written = texts(tags, parts)
        fields = [attribute(tags, parts, "Label"), attribute(tags, parts, "NlmCategory"), written]
        sections = self._grouped(parts, pa.StructArray.from_arrays(fields, fields=list(SECTION)))
        full = is_full(written)
        joined = pc.binary_join(self._grouped(parts[full], where(written, full)), " ")
        return sections, or_null(joined)

    def _texts(self, elements: Elements) -> pa.ListArray:
        """The texts of ``elements`` as a list a row, without empty ones."""
        return text_lists(self._tags, elements, self._owner(elements), len(self))

    def _words(self, elements: Elements) -> pa.ListArray:
        """As :meth:`_texts`, for texts that repeat."""
        (words,) = self._read._word(self._tags, elements)
        full = ~pc.is_null(words).to_numpy(zero_copy_only=False)
        return self._grouped(elements[full], where(words, full))

    # --- dates ------------------------------------------------------------------------------------------

    def _publication_date(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        tags = self._tags
        issues = tags.path(self.medline_article, "Journal/JournalIssue")
        books = tags.child(self.article[self.is_book], "Book")
        dates = tags.child(united(issues, books), "PubDate")
        given, day, precision = (self._per_row(dates, column) for column in self._read._published(tags, dates))
        if day.null_count:
            electronic = tags.child(self.medline_article, "ArticleDate")
            _, second, how = (self._per_row(electronic, column) for column in self._read._published(tags, electronic))
            precision = pc.if_else(pc.is_null(day), how, precision)
            day = pc.coalesce(day, second)
        return given, day, precision

    def _date(self, above: Elements, name: str) -> pa.Array:
        dates = self._tags.child(above, name)
        (days,) = self._read._exact(self._tags, dates)
        self._fail(pc.is_null(days).to_numpy(zero_copy_only=False), dates, f"its {name} is no date")
        return self._per_row(dates, days)

    # --- types and identifiers --------------------------------------------------------------------------

    def _publication_types(self) -> pa.ListArray:
        tags = self._tags
        # A book has them without a list around.
        found = united(
            tags.path(self.medline_article, "PublicationTypeList/PublicationType*"),
            tags.children(self.article[self.is_book], "PublicationType"),
        )
        columns = self._read._named(tags, found)
        return self._structs(found, columns, PUBLICATION_TYPE)

    def _article_ids(self) -> dict[str, pa.Array]:
        tags = self._tags
        ids = tags.path(self.rows[~self.is_book], "PubmedData/ArticleIdList/ArticleId*")
        located = tags.children(self.medline_article, "ELocationID")
        located = located[has_attribute(tags, located, "EIdType", "doi")]
        own = {kind: self._first_text(ids[has_attribute(tags, ids, "IdType", kind)]) for kind in ("doi", "pmc")}
        return {"doi": pc.coalesce(own["doi"], self._first_text(located)), "pmc_id": own["pmc"]}

    def _first_text(self, elements: Elements) -> pa.StringArray:
        """The first text in each row that is not empty."""
        written = texts(self._tags, elements)
        full = is_full(written)
        elements, written = elements[full], where(written, full)
        first = firsts(self._owner(elements))
        return self._per_row(elements[first], where(written, first))

    # --- authors ----------------------------------------------------------------------------------------

    def _authors(self) -> pa.ListArray:
        tags = self._tags
        lists = tags.child(self.medline_article, "AuthorList")
        if self.is_book.any():
            lists = united(lists, self._book_authors())
        authors = tags.children(lists, "Author")
        author_of = ordinals(authors, len(tags))

        def one(name: str) -> pa.Array:
            found = tags.child(authors, name)
            return or_null(texts_at(tags, found, author_of.take(found), len(authors)))

        identifiers = tags.children(authors, "Identifier")
        identifiers = identifiers[has_attribute(tags, identifiers, "Source", "ORCID")]
        written = texts(tags, identifiers)
        full = is_full(written)
        owner = author_of.take(identifiers[full])
        first = firsts(owner)
        orcids = _orcids(where(where(written, full), first))
        affiliations = united(tags.path(authors, "AffiliationInfo*/Affiliation"), tags.children(authors, "Affiliation"))
        columns = [
            *(one(name) for name in ("LastName", "ForeName", "Initials", "Suffix", "CollectiveName")),
            placed(orcids, owner[first], len(authors)),
            text_lists(tags, affiliations, author_of.take(affiliations), len(authors)),
            pa.array(~has_attribute(tags, authors, "ValidYN", "N")),
        ]
        return self._structs(authors, columns, AUTHOR)

    def _book_authors(self) -> Elements:
        """A chapter's list of authors, else that of its book; not that of the editors."""
        tags, documents = self._tags, self.article[self.is_book]
        found = [tags.children(above, "AuthorList") for above in (documents, tags.child(documents, "Book"))]
        chapter, book = (self._only(lists[~has_attribute(tags, lists, "Type", "editors")]) for lists in found)
        chapter = chapter[np.isin(self._owner(chapter), self._owner(tags.children(chapter, "Author")))]
        return united(chapter, book[~np.isin(self._owner(book), self._owner(chapter))])

    # --- what it refers to ------------------------------------------------------------------------------

    def _references(self) -> pa.ListArray:
        tags = self._tags
        lists = united(
            tags.path(self.rows[~self.is_book], "PubmedData/ReferenceList*"),
            tags.children(self.article[self.is_book], "ReferenceList"),
        )
        inner = lists
        while len(inner := tags.children(inner, "ReferenceList")):
            lists = united(lists, inner)
        ids = tags.path(lists, "Reference*/ArticleIdList/ArticleId*")
        ids = ids[has_attribute(tags, ids, "IdType", "pubmed")]
        pmids, full = self._other_pmids(ids)
        return self._grouped(ids[full], where(pmids, full))

    def _comments_corrections(self) -> pa.ListArray:
        tags = self._tags
        found = tags.path(self.medline, "CommentsCorrectionsList/CommentsCorrections*")
        others = tags.child(found, "PMID")
        pmids, _ = self._other_pmids(others)
        comment_of = ordinals(found, len(tags))
        columns = [attribute(tags, found, "RefType"), placed(pmids, comment_of.take(others), len(found))]
        return self._structs(found, columns, COMMENT_OR_CORRECTION)

    def _other_pmids(self, elements: Elements) -> tuple[pa.Array, NDArray[np.bool_]]:
        """PMIDs of other citations, null where empty; and which are not."""
        written = texts(self._tags, elements)
        full = is_full(written)
        pmids, bad = integers(written, LARGEST_PMID)
        wrong = bad & full
        if wrong.any():
            text = written.filter(pa.array(wrong))[0]
            self._fail(wrong, elements, f"it refers to '{text}', which is not a PMID")
        return pmids, full

    def _retracted(self, types: pa.ListArray, comments: pa.ListArray) -> pa.Array:
        retracted = np.zeros(len(self), np.bool_)
        signs = [(types, "ui", "D016441"), (types, "name", "Retracted Publication"), (comments, "type", "RetractionIn")]
        for lists, field, value in signs:
            hits = pc.fill_null(pc.equal(pc.struct_field(lists.values, field), value), False)
            retracted[pc.list_parent_indices(lists).to_numpy()[hits.to_numpy(zero_copy_only=False)]] = True
        return pa.array(retracted)

    # --- what it is about -------------------------------------------------------------------------------

    def _chemicals(self) -> pa.ListArray:
        tags = self._tags
        found = tags.path(self.medline, "ChemicalList/Chemical*")
        names, numbers = (tags.child(found, name) for name in ("NameOfSubstance", "RegistryNumber"))
        columns = [*self._read._named(tags, names), *self._read._word(tags, numbers)]
        chemical_of = ordinals(found, len(tags))
        owner = [chemical_of.take(elements) for elements in (names, names, numbers)]
        fields = [placed(column, of, len(found)) for column, of in zip(columns, owner, strict=True)]
        return self._structs(found, fields, CHEMICAL)

    def _supplementary_concepts(self) -> pa.ListArray:
        found = self._tags.path(self.medline, "SupplMeshList/SupplMeshName*")
        columns = self._read._supplementary(self._tags, found)
        return self._structs(found, columns, SUPPLEMENTARY_CONCEPT)

    def _mesh_headings(self, position: pa.Array) -> tuple[pa.ListArray, pa.RecordBatch]:
        tags = self._tags
        headings = tags.path(self.medline, "MeshHeadingList/MeshHeading*")
        descriptors = tags.child(headings, "DescriptorName")
        heading_of = ordinals(headings, len(tags))
        missing = np.ones(len(headings), np.bool_)
        missing[heading_of.take(descriptors)] = False
        self._fail(missing, headings, "a MeshHeading without DescriptorName")
        ui, major, name = self._read._topic(tags, descriptors)
        qualifiers = tags.children(headings, "QualifierName")
        owner = heading_of.take(qualifiers)
        qualifier_ui, qualifier_major, _ = self._read._topic(tags, qualifiers)
        pairs = pa.StructArray.from_arrays([qualifier_ui, qualifier_major], fields=list(QUALIFIER))
        nested = pa.StructArray.from_arrays([ui, major, listed(owner, pairs, len(headings))], fields=list(HEADING))
        # A quarter of NLM's major topics are marked on the descriptor, the rest on a qualifier only.
        any_major = major.to_numpy(zero_copy_only=False).copy()
        any_major[owner[qualifier_major.to_numpy(zero_copy_only=False)]] = True
        named = pc.is_valid(qualifier_ui).to_numpy(zero_copy_only=False)
        row = pa.array(self._owner(headings))
        flat = [
            *(column.take(row) for column in (self.pmid, self.version, position)),
            ui,
            name,
            pa.array(any_major),
            listed(owner[named], where(qualifier_ui, named), len(headings)),
        ]
        return self._grouped(headings, nested), pa.RecordBatch.from_arrays(flat, schema=MESH_HEADINGS)


def _orcids(written: pa.StringArray) -> pa.StringArray:
    """0000-0002-1825-0097 of a URL, or of 16 digits in another grouping; as given where there are not 16."""
    usual = pc.match_substring_regex(written, _USUAL_ORCID)
    found = pc.utf8_slice_codeunits(written, -19)
    if usual.true_count == len(usual):
        return found
    rest = [_orcid(text) for text in written.filter(pc.invert(usual)).to_pylist()]
    return pc.replace_with_mask(found, pc.invert(usual), pa.array(rest, pa.string()))


def _orcid(text: str) -> str:
    digits = re.sub("[^0-9]", "", text)
    if len(digits) == 15 and re.search("[xX][^0-9A-Za-z]*$", text):
        digits += "X"
    return "-".join(re.findall("....", digits)) if len(digits) == 16 else text
