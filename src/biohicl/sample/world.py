"""The sample's world: descriptors, the words that each of them lends to a text, and texts about them.

Every descriptor has words of its own, and a text about it also borrows words from its ancestors. One text uses
only a few of a descriptor's words, so that two texts on one subject may share none: what makes them near is
that other texts, with the same labels, use both. That is what there is to learn.
"""

from __future__ import annotations

import csv
import importlib.resources
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from biohicl.mesh.hierarchy import hierarchy_rows, position_forest

WORDS_OF_A_DESCRIPTOR = 6
WORDS_IN_A_TEXT = 3
_ONSETS = [
    "b",
    "br",
    "c",
    "cr",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gl",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
]
_NUCLEI = ["a", "e", "i", "o", "u", "ae", "io", "ia"]
_CODAS = ["", "", "n", "r", "l", "s", "x"]
_ENDINGS = ["in", "ol", "ase", "oma", "itis", "emia", "gen", "ide", "ium", "an"]

_SENTENCES = [
    "{0} lowered {1} and {2} in {n} {who}.",
    "{0} and {1} rose together, {2} did not.",
    "In {who} with {0}, {1} preceded {2}.",
    "{0} was compared with {1}, {2} or none.",
    "{0} blocked {1} within {m} hours.",
    "We found {0}, {1} and {2} in {m} of {n} {who}.",
    "Neither {0} nor {1} changed {2}.",
    "{0} depends on {1}.",
    "{who} given {0} had less {1}.",
    "Low {0} predicted {1} at {m} weeks.",
]
_TITLES = [
    "{0} and {1} in {who}",
    "Effect of {0} on {1} and {2}",
    "{0} predicts {1}",
    "Treatment of {0} with {1}",
    "Is {0} related to {1}?",
    "{0}, {1} and {2}",
]
# Who was studied, as check tags say it and as a text does.
_STUDIED = [
    (("Humans",), ("patients", "people")),
    (("Humans", "Female", "Adult"), ("women",)),
    (("Humans", "Male", "Adult"), ("men",)),
    (("Humans", "Child", "Adolescent"), ("children", "schoolchildren")),
    (("Humans", "Middle Aged", "Aged"), ("older patients", "pensioners")),
    (("Animals", "Mice"), ("mice",)),
    (("Animals", "Mice", "Male"), ("male mice",)),
    (("Animals", "Rats"), ("rats",)),
    *[((), ("cultures", "samples", "models", "records"))] * 8,  # nobody: such records are left to their subject
]


@dataclass(frozen=True)
class Descriptor:
    """A descriptor of the excerpt; ``ancestors`` and ``children`` are UIs."""

    ui: str
    name: str
    tree_numbers: tuple[str, ...]
    scope_note: str
    ancestors: frozenset[str]
    parents: frozenset[str]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """What a text is about: the descriptor in its focus, others beside it, and check tags."""

    focus: Descriptor
    beside: tuple[Descriptor, ...]
    tags: tuple[Descriptor, ...]
    who: tuple[str, ...]  # what a text calls those who were studied

    @property
    def labels(self) -> tuple[Descriptor, ...]:
        return (self.focus, *self.beside, *self.tags)


@dataclass
class World:
    """All descriptors, by UI, and texts drawn from them; ``seed`` names the draw."""

    descriptors: dict[str, Descriptor] = field(default_factory=lambda: read_descriptors())  # noqa: PLW0108 (defined below)

    @cached_property
    def by_name(self) -> dict[str, Descriptor]:
        return {descriptor.name: descriptor for descriptor in self.descriptors.values()}

    @cached_property
    def topics(self) -> list[Descriptor]:
        """What a text can be about: descriptors without children (indexers take the most specific), no check tags."""
        tags = {name for names, _ in _STUDIED for name in names}
        inner = {parent for descriptor in self.descriptors.values() for parent in descriptor.parents}
        return [d for d in self.descriptors.values() if d.parents and d.ui not in inner and d.name not in tags]

    @cached_property
    def relatives(self) -> dict[str, list[Descriptor]]:
        """For each topic the others that share a parent or a grandparent with it."""
        near = {
            one.ui: one.parents.union(*(self.descriptors[parent].parents for parent in one.parents))
            for one in self.topics
        }
        return {
            one.ui: [other for other in self.topics if other is not one and near[one.ui] & near[other.ui]]
            for one in self.topics
        }

    def subject(self, draw: random.Random, focus: Descriptor | None = None) -> Subject:
        """A subject: its focus (drawn where not given), one or two relatives, one or two strangers, check tags."""
        focus = focus or draw.choice(self.topics)
        beside: list[Descriptor] = []
        relatives = self.relatives[focus.ui]
        for _ in range(draw.randint(1, 2)):
            if relatives:
                beside.append(draw.choice(relatives))
        for _ in range(draw.randint(1, 2)):
            beside.append(draw.choice(self.topics))
        unique = tuple(dict.fromkeys(d for d in beside if d is not focus))
        tags, who = draw.choice(_STUDIED)
        return Subject(focus, unique, tuple(self.by_name[tag] for tag in tags), who)

    def vocabulary(self, draw: random.Random, subject: Subject) -> list[str]:
        """The words that one text on ``subject`` may use, with repeats for weight."""
        words: list[str] = []
        for descriptor, weight in [(subject.focus, 3), *((other, 1) for other in subject.beside)]:
            words += draw.sample(descriptor.words, WORDS_IN_A_TEXT) * weight
            if descriptor.ancestors and draw.random() < 0.7:
                ancestor = self.descriptors[draw.choice(sorted(descriptor.ancestors))]
                words.append(draw.choice(ancestor.words))
        return words

    def sentence(self, draw: random.Random, words: Sequence[str], who: Sequence[str]) -> str:
        """One sentence with some of ``words`` in it."""
        return _filled(draw, draw.choice(_SENTENCES), words, who)

    def title(self, draw: random.Random, words: Sequence[str], who: Sequence[str]) -> str:
        """A title with some of ``words`` in it."""
        return _filled(draw, draw.choice(_TITLES), words, who)

    def similarity(self, one: Descriptor, other: Descriptor) -> float:
        """Shared over all ancestors, themselves included (Jaccard): 1 for the same, 0 for different trees."""
        first, second = one.ancestors | {one.ui}, other.ancestors | {other.ui}
        return len(first & second) / len(first | second)


def _filled(draw: random.Random, template: str, words: Sequence[str], who: Sequence[str]) -> str:
    chosen = list(dict.fromkeys(draw.sample(words, len(words))))[:3]
    chosen += chosen * 2  # a text of one or two words repeats them
    text = template.format(*chosen, n=draw.randint(12, 480), m=draw.randint(2, 60), who=draw.choice(who))
    return text[0].upper() + text[1:]


def read_descriptors() -> dict[str, Descriptor]:
    """The excerpt, by UI in the file's order, each descriptor with words of its own."""
    text = importlib.resources.files("biohicl.sample").joinpath("descriptors.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    names = {row["ui"]: row["name"] for row in rows}
    pairs = [(row["ui"], number) for row in rows for number in row["tree_numbers"].split()]
    placed = {row["descriptor_ui"]: row for row in hierarchy_rows(names, position_forest(pairs))}
    words = _invented_words(names)
    return {
        row["ui"]: Descriptor(
            ui=row["ui"],
            name=row["name"],
            tree_numbers=tuple(row["tree_numbers"].split()),
            scope_note=row["scope_note"],
            ancestors=frozenset(placed[row["ui"]]["ancestors"]),
            parents=frozenset(placed[row["ui"]]["parents"]),
            words=words[row["ui"]],
        )
        for row in rows
    }


def _invented_words(uis: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words that no two descriptors share, drawn for each UI by itself."""
    taken: set[str] = set()
    words = {}
    for ui in uis:
        draw = random.Random(f"words of {ui}")
        own: list[str] = []
        while len(own) < WORDS_OF_A_DESCRIPTOR:
            stem = "".join(
                draw.choice(_ONSETS) + draw.choice(_NUCLEI) + draw.choice(_CODAS) for _ in range(draw.randint(1, 2))
            )
            word = stem + draw.choice(_ENDINGS)
            if word not in taken:
                taken.add(word)
                own.append(word)
        words[ui] = tuple(own)
    return words
