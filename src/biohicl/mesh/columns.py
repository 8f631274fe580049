"""The columns of the MeSH tables, cut from a block of descriptor records.

Goes in: the tags of a block. Comes out: a batch a table, as :mod:`biohicl.mesh.schema` describes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from biohicl.mesh.schema import TABLES
from biohicl.nlm_xml.owners import or_null, ordinals, placed, where
from biohicl.nlm_xml.reading import BadRecordError, Extractor
from biohicl.nlm_xml.tags import Elements, Tags, firsts
from biohicl.nlm_xml.values import attribute, has_attribute, texts, texts_at

_TREE_NUMBER = r"^[A-Z][0-9]{2}(\.[0-9]{3})*$"

Batches = dict[str, pa.RecordBatch]


class Descriptors(Extractor[Batches]):
    """Reads block after block of one file."""

    roots: ClassVar = {"DescriptorRecordSet": ("DescriptorRecord",)}
    kind = "descriptor"
    key = "DescriptorUI"

    def __init__(self) -> None:
        self._last: str | None = None

    def __call__(self, tags: Tags) -> Batches:
        """The tables of these records, by name."""
        columns = _Records(tags).columns()
        self._last = columns["descriptors"][0][-1].as_py()
        return {name: pa.RecordBatch.from_arrays(columns[name], schema=schema) for name, schema in TABLES.items()}

    def last_good(self) -> str | None:
        """The UI of the last descriptor read."""
        return f"descriptor {self._last}" if self._last else None


class _Records:
    """One block's descriptors, on their way to columns."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._rows = tags.roots()
        self._row_of = ordinals(self._rows, len(tags))
        self._ui = self._needed(self._rows, "DescriptorUI")

    def columns(self) -> dict[str, list[pa.Array]]:
        tags, rows = self._tags, self._rows
        concepts = tags.path(rows, "ConceptList/Concept*")
        concept_ui = self._needed(concepts, "ConceptUI")
        preferred = has_attribute(tags, concepts, "PreferredConceptYN", "Y")
        notes = self._one(concepts, "ScopeNote")
        noted = ~pc.is_null(notes).to_numpy(zero_copy_only=False)
        main = noted & preferred
        first = np.flatnonzero(main)[firsts(self._owner(concepts[main]))]

        terms = tags.path(concepts, "TermList/Term*")
        of_term = ordinals(concepts, len(tags)).take(terms)
        numbers = tags.path(rows, "TreeNumberList/TreeNumber*")
        allowed = tags.path(rows, "AllowableQualifiersList/AllowableQualifier*")
        referred = tags.child(allowed, "QualifierReferredTo")
        return {
            "descriptors": [
                self._ui,
                self._needed(rows, "DescriptorName/String"),
                attribute(tags, rows, "DescriptorClass"),
                placed(notes.take(pa.array(first)), self._owner(concepts[first]), len(rows)),
            ],
            "concepts": [
                self._ui_of(concepts),
                concept_ui,
                self._one(concepts, "ConceptName/String"),
                pa.array(preferred),
            ],
            "scope_notes": [
                self._ui_of(concepts[noted]),
                where(concept_ui, noted),
                pa.array(preferred[noted]),
                where(notes, noted),
            ],
            "terms": [
                self._ui_of(terms),
                concept_ui.take(pa.array(of_term)),
                self._needed(terms, "TermUI"),
                self._needed(terms, "String"),
                pa.array(has_attribute(tags, terms, "ConceptPreferredTermYN", "Y")),
                pa.array(has_attribute(tags, terms, "RecordPreferredTermYN", "Y")),
            ],
            "tree_numbers": [self._ui_of(numbers), self._tree_numbers(numbers)],
            "allowed_qualifiers": [
                self._ui_of(allowed),
                self._one(referred, "QualifierUI", allowed),
                self._one(referred, "QualifierName/String", allowed),
                self._one(allowed, "Abbreviation"),
            ],
        }

    def _tree_numbers(self, elements: Elements) -> pa.StringArray:
        numbers = texts(self._tags, elements)
        good = pc.match_substring_regex(numbers, _TREE_NUMBER).to_numpy(zero_copy_only=False)
        self._fail(~good, elements, lambda place: f"has '{numbers[place]}', which is no tree number")
        return numbers

    def _owner(self, elements: Elements) -> NDArray[np.int32]:
        return self._row_of.take(elements)

    def _ui_of(self, elements: Elements) -> pa.StringArray:
        """The UI of the descriptor that each element belongs to."""
        return self._ui.take(pa.array(self._owner(elements)))

    def _one(self, above: Elements, path: str, of: Elements | None = None) -> pa.StringArray:
        """The text of the first element at ``path`` in each of ``above``, an ``of`` each; null where it has none."""
        of = above if of is None else of
        found = self._tags.path(above, path)
        return or_null(texts_at(self._tags, found, ordinals(of, len(self._tags)).take(found), len(of)))

    def _needed(self, above: Elements, path: str) -> pa.StringArray:
        """As :meth:`_one`, where none may lack it."""
        values = self._one(above, path)
        bad = pc.is_null(values).to_numpy(zero_copy_only=False)
        self._fail(bad, above, lambda place: f"has a {self._tags.name(int(above[place]))} without {path}")
        return values

    def _fail(self, bad: NDArray[np.bool_], elements: Elements, reason: Callable[[int], str]) -> None:
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            if not hasattr(self, "_ui"):
                raise BadRecordError("a descriptor without DescriptorUI")
            ui = str(self._ui[int(self._owner(elements)[place])])
            raise BadRecordError(f"{ui} {reason(place)}", ui)
