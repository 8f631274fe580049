"""What is wrong with a request, as a sentence.

Goes in: what pydantic found. Comes out: words for who asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_TOLD = 3
NAMES = {"q": "the query", "k": "k", "body": "the request's body"}


def in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first three of the errors; what was given is not repeated, for it may be long."""
    return "; ".join(_sentence(error) for error in errors[:MOST_TOLD])


def _sentence(error: Mapping[str, Any]) -> str:
    kind, given, said = error["type"], error.get("input"), error.get("ctx", {})
    # ("query", "heading", 0): what is beyond the name is the place in a list.
    place = [str(part) for part in error["loc"]]
    name = next((part for part in place[1:] if not part.isdecimal()), place[0])
    called = NAMES.get(name, name)
    if kind == "string_too_long":
        return f"{called} has {len(str(given)):,} characters, and at most {said['max_length']:,} are taken"
    if kind in ("missing", "string_too_short"):
        return f"{called} is empty; say what is sought, in words" if name == "q" else f"{called} is missing"
    if kind == "too_long":
        return f"{called} is given {said['actual_length']:,} times, and at most {said['max_length']:,} are taken"
    if kind == "extra_forbidden":
        return f"there is no '{name[:60]}' to set here"
    if kind == "json_invalid":
        return f"the request's body is no JSON ({said.get('error', 'ill-formed')})"
    message = str(error["msg"])
    return f"{called}: {message[:1].lower()}{message[1:]}"
