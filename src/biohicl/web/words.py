"""What is wrong with a request, as a sentence.

Goes in: what pydantic found. Comes out: words for who asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_TOLD = 3
LONGEST_NAMED = 60
NAMES = {"q": "the query", "k": "k", "body": "the request's body"}


def in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first three of the errors; what was given is not repeated, for it may be long."""
    return "; ".join(_sentence(error) for error in errors[:MOST_TOLD])


def _sentence(error: Mapping[str, Any]) -> str:
    kind, given, said = error["type"], error.get("input"), error.get("ctx", {})
    # ("query", "heading", 0): what is beyond the name is the place in a list.
    place = [str(part) for part in error["loc"]]
    name = next((part for part in place[1:] if not part.isdecimal()), place[0])
    called = NAMES.get(name, name[:LONGEST_NAMED])
    if place == ["body"] and kind.endswith("_type"):
        kind = "body_type"
    missing = f"{called} is empty; say what is sought, in words" if name == "q" else f"{called} is missing"
    most = said.get("max_length", 0)
    sentences = {
        "missing": missing,
        "string_too_short": missing,
        "string_too_long": f"{called} has {len(str(given)):,} characters, and at most {most:,} are taken",
        "too_long": f"{called} is given {said.get('actual_length', 0):,} times, and at most {most:,} are taken",
        "extra_forbidden": f"there is no '{name[:LONGEST_NAMED]}' to set here",
        "json_invalid": f"the request's body is no JSON ({said.get('error', 'ill-formed')})",
        "body_type": "the request's body is no JSON object, sent as application/json",
    }
    message = str(error["msg"])
    return sentences.get(kind, f"{called}: {message[:1].lower()}{message[1:]}")
