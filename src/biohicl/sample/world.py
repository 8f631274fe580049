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
# What the indexers of MEDLINE tick on most records; it says who was studied, not what.
CHECK_TAGS = ("Humans", "Male", "Female", "Adult", "Middle Aged", "Aged", "Animals", "Mice", "Adolescent", "Child")

_ONSETS = ["b", "br", "c", "cr", "d", "dr", "f", "fl", "g", "gl", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v", "z"]
_NUCLEI = ["a", "e", "i", "o", "u", "ae", "io", "ia"]
_CODAS = ["", "", "n", "r", "l", "s", "x"]
_ENDINGS = ["in", "ol", "ase", "oma", "itis", "emia", "gen", "ide", "ium", "an"]

_SENTENCES = [
    "We measured {0} and {1} in {n} patients with {2}.",
    "The effect of {0} on {1} is not well understood.",
    "{0} was associated with {1}, but not with {2}.",
    "After {m} weeks, {0} had fallen and {1} was unchanged.",
    "Both {0} and {1} were compared with {2} in a controlled study.",
    "No difference in {0} was seen between the groups given {1} and {2}.",
    "Among {n} cases, {0} preceded {1} in {m} percent.",
    "The role of {0} in {1} deserves further study.",
    "Higher {0} predicted {1} at follow-up.",
    "These findings suggest that {0} depends on {1}.",
    "Samples were tested for {0}, {1} and {2}.",
    "We report {m} cases of {0} with marked {1}.",
]
_TITLES = [
    "{0} and {1} in {2}",
    "Effect of {0} on {1}",
    "{0} as a predictor of {1}: a study of {2}",
    "Treatment of {0} with {1}",
    "Is {0} related to {1}?",
    "{0} in patients with {1} and {2}",
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
    tags: tuple[Descriptor, ...] = ()

    @property
    def labels(self) -> tuple[Descriptor, ...]:
        return (self.focus, *self.beside, *self.tags)


@dataclass
class World:
    """All descriptors, by UI, and texts drawn from them; ``seed`` names the draw."""

    descriptors: dict[str, Descriptor] = field(default_factory=lambda: read_descriptors())

    @cached_property
    def by_name(self) -> dict[str, Descriptor]:
        return {descriptor.name: descriptor for descriptor in self.descriptors.values()}

    @cached_property
    def topics(self) -> list[Descriptor]:
        """Descriptors that a text can be about: placed in the tree, not at its top, and no check tag."""
        tags = set(CHECK_TAGS)
        return [d for d in self.descriptors.values() if d.parents and d.name not in tags]

    @cached_property
    def relatives(self) -> dict[str, list[Descriptor]]:
        """For each topic the topics that share a parent with it, or are its parent or child."""
        return {
            one.ui: [
                other
                for other in self.topics
                if other is not one and (one.parents & (other.parents | {other.ui}) or one.ui in other.parents)
            ]
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
        tags = [self.by_name[tag] for tag in CHECK_TAGS if draw.random() < (0.8 if tag == "Humans" else 0.25)]
        return Subject(focus, unique, tuple(tags))

    def vocabulary(self, draw: random.Random, subject: Subject) -> list[str]:
        """The words that one text on ``subject`` may use, with repeats for weight."""
        words: list[str] = []
        for descriptor, weight in [(subject.focus, 3), *((other, 1) for other in subject.beside)]:
            words += draw.sample(descriptor.words, WORDS_IN_A_TEXT) * weight
            if descriptor.ancestors and draw.random() < 0.7:
                ancestor = self.descriptors[draw.choice(sorted(descriptor.ancestors))]
                words.append(draw.choice(ancestor.words))
        return words

    def sentence(self, draw: random.Random, words: Sequence[str], templates: Sequence[str] = tuple(_SENTENCES)) -> str:
        """One sentence (or title) with some of ``words`` in it."""
        template = draw.choice(templates)
        shuffled = draw.sample(words, len(words))
        chosen = list(dict.fromkeys(shuffled))[:3]
        chosen += chosen * 2  # a text of one or two words repeats them
        text = template.format(*chosen, n=draw.randint(12, 480), m=draw.randint(2, 60))
        return text[0].upper() + text[1:]

    def title(self, draw: random.Random, words: Sequence[str]) -> str:
        return self.sentence(draw, words, _TITLES)

    def similarity(self, one: Descriptor, other: Descriptor) -> float:
        """Shared over all ancestors, themselves included (Jaccard): 1 for the same, 0 for different trees."""
        first, second = one.ancestors | {one.ui}, other.ancestors | {other.ui}
        return len(first & second) / len(first | second)


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
