"""The sample's screening decisions: invented reviews that include what is about their subject, in people.

A table as the label study reads it: pmid, review, included_on_abstract, included_on_full_text (I or E).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from biohicl.sample.world import World

REVIEWS = [
    "Cardiovascular Diseases",
    "Digestive System Diseases",
    "Eye Diseases",
    "Infections",
    "Mental Disorders",
    "Neoplasms",
    "Nervous System Diseases",
    "Respiratory Tract Diseases",
]
SCREENED = 120


def write_screening(world: World, pmids: Iterable[int], path: Path) -> None:
    """Each review screens the first citations that are about its subject or mention it."""
    subjects = {pmid: world.subject(random.Random(f"subject of {pmid}")) for pmid in pmids}
    lines = ["pmid\treview\tincluded_on_abstract\tincluded_on_full_text"]
    for review in REVIEWS:
        topic = world.by_name[review].ui
        about = {pmid: topic in subject.focus.ancestors for pmid, subject in subjects.items()}
        found = [
            pmid
            for pmid, subject in subjects.items()
            if about[pmid] or any(topic in other.ancestors for other in subject.beside)
        ]
        for pmid in found[:SCREENED]:
            in_people = world.by_name["Humans"] in subjects[pmid].tags
            decisions = ("I" if about[pmid] else "E", "I" if about[pmid] and in_people else "E")
            lines.append("\t".join([str(pmid), review, *decisions]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
