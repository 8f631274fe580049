"""What the schema says of a configuration: its first mistake, in words for people.

Goes in: a completed configuration and the schema. Comes out: nothing, or a :class:`ConfigKeyError`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

Key = tuple[str | int, ...]


class ConfigKeyError(Exception):
    """What is wrong with the value at ``key``, the path of names and places down to it."""

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def check_schema(config: dict[str, Any], schema: dict[str, Any], derived: Collection[Key] = ()) -> None:
    """A :class:`ConfigKeyError` where ``config`` breaks the schema: of several mistakes, the first by key.

    ``derived``: keys that nobody wrote; what is wrong below them is likely wrong in what they were made of.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    error = min(
        (_deepest(error) for error in validator.iter_errors(config)),
        key=lambda error: (
            tuple(error.absolute_path)[:2] in derived,
            [str(part) for part in error.absolute_path],
        ),
        default=None,
    )
    if error is None:
        return
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(allowed), key=str)[0]
        raise ConfigKeyError((*key, unknown), f"unknown key{nearest(str(unknown), allowed)}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise ConfigKeyError((*key, missing), "this key is missing and has no default")
    if error.validator == "maxLength" and "propertyNames" in error.absolute_schema_path:
        raise ConfigKeyError(
            (*key, error.instance), f"is a name of {len(error.instance)} letters; at most {error.validator_value} fit"
        )
    if error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        raise ConfigKeyError(
            (*key, error.instance),
            f"{_found(error.instance)} cannot be a name: letters, digits, '.', '_' and '-' only",
        )
    raise ConfigKeyError(key, f"found {_found(error.instance)}, but {_allowed(error)}")


def _deepest(error: Any) -> Any:
    """Within an ``anyOf`` the error inside the mapping or the list that it offers says more than the ``anyOf``."""
    while error.validator == "anyOf":
        inside = [sub for sub in error.context or () if len(sub.absolute_path) > len(error.absolute_path)]
        of_mapping = [
            sub for sub in error.context or () if sub.validator in ("additionalProperties", "required", "minProperties")
        ]
        of_list = [sub for sub in error.context or () if sub.validator in ("uniqueItems", "minItems", "maxItems")]
        if not inside and not of_mapping and not of_list:
            return error
        error = (inside or of_mapping or of_list)[0]
    return error


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
# As many names as an error lists.
NAMES_SHOWN = 12
_PATTERNS = {
    "^https://.+\\.(zip|tar\\.gz|json|jsonl\\.gz)\\Z": (
        "an https:// address of a .zip, .tar.gz, .json or .jsonl.gz file is needed"
    ),
    "^[0-9a-f]{64}\\Z": "a SHA-256 of 64 hexadecimal digits is needed",
    "^[a-z0-9][a-z0-9.-]*\\Z": "a licence's short name in lower case, such as apache-2.0, is needed",
    "^[a-z]{3}\\Z": "a three-letter language code such as eng is needed",
    "^[A-Za-z0-9][A-Za-z0-9._-]*\\Z": "a name of letters, digits, '.', '_' and '-' is needed",
}


def _allowed(error: Any) -> str:
    """What the schema wants at the place of ``error``, in words."""
    rule, wanted = str(error.validator), error.validator_value
    if rule in _BOUNDS:
        return f"it must be {_BOUNDS[rule]} {wanted}"
    words = {
        "type": _wanted_type,
        "enum": _wanted_choice,
        "minItems": lambda _: f"at least {wanted} {'entry is' if wanted == 1 else 'entries are'} needed",
        "minProperties": lambda _: (
            f"at least {wanted} {'entry is' if wanted == 1 else 'entries are'} needed (NAME: {{}} takes one with its "
            "defaults, NAME: null takes one out)"
        ),
        "maxItems": lambda _: f"at most {wanted} entries are allowed",
        "uniqueItems": lambda _: "each entry may stand there once only",
        "anyOf": lambda _: f"allowed is {' or '.join(part for part in map(_branch_words, wanted) if part)}",
        "pattern": lambda _: (
            "an https:// or file:/// address or a folder's path is needed"
            if "file:///" in wanted
            else _PATTERNS.get(wanted, f"it must have the form {wanted}")
        ),
    }
    return words[rule](error) if rule in words else str(error.message)


def _wanted_type(error: Any) -> str:
    wanted, instance = error.validator_value, error.instance
    kinds = {wanted} if isinstance(wanted, str) else set(wanted)
    hint = ""
    if isinstance(instance, str) and kinds & {"number", "integer"}:
        try:
            number = float(instance)
        except ValueError:
            pass
        else:
            # YAML 1.1 reads 1e-5 as text: the dot is what makes it a number. 1e3 would need a sign besides.
            shown = re.sub(r"^([+-]?\d+)[eE]", r"\1.0e", instance) if number % 1 else f"{number:.0f}"
            hint = f" (YAML reads this as text; write {shown}, without quotes)"
    elif "string" in kinds and isinstance(instance, int | float) and not isinstance(instance, bool):
        hint = f' (YAML reads this as a number; write "{instance}", in quotes)'
    return f"{_type_names(wanted)} is needed{hint}"


def _wanted_choice(error: Any) -> str:
    choices = [str(value) for value in error.validator_value if value is not None]
    shown = ", ".join("null" if value is None else str(value) for value in error.validator_value)
    close = difflib.get_close_matches(str(error.instance), choices, n=1, cutoff=0.5)
    return f"allowed are {shown}" + (f"; did you mean '{close[0]}'?" if close else "")


def _branch_words(branch: Mapping[str, Any]) -> str:
    if "const" in branch:
        return f'"{branch["const"]}"'
    if "enum" in branch:
        return " or ".join(f'"{value}"' for value in branch["enum"])
    if branch.get("type") in ("integer", "number"):
        low, high = branch.get("minimum"), branch.get("maximum")
        bounds = f" from {low}" + (f" to {high}" if high is not None else " on") if low is not None else ""
        return _type_names(branch["type"]) + bounds
    if branch.get("type") == "array":
        pattern = "pattern" in str(branch.get("items", ""))
        return "a list" + (' of numbers and ranges such as [1, "5-9"]' if pattern else "")
    if branch.get("type") == "null":
        return "null"
    return "a mapping of keys to values"


def _type_names(wanted: str | Iterable[str]) -> str:
    names = {
        "object": "a mapping of keys to values",
        "array": "a list",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "null": "null",
    }
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    return " or ".join(names[kind] for kind in kinds)


def kind_of(value: Any) -> str:
    """What YAML made of a value, in words."""
    return {dict: "a mapping", list: "a list", str: "text", bool: "true/false", type(None): "nothing"}.get(
        type(value), "a number"
    )


def _found(value: Any) -> str:
    if isinstance(value, str):
        return f"the text '{value}'"
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict | list):
        shown = str(value)
        return f"{kind_of(value)} {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """' ... did you mean X?' or the list, at least its beginning, where nothing is near."""
    choices = sorted(allowed)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    # An ablation's nodes are many, and after those that config.yaml names.
    choices.sort(key=lambda choice: choice.startswith("ablation."))
    more = f" and {len(choices) - NAMES_SHOWN} others" if len(choices) > NAMES_SHOWN else ""
    return f"; known are {', '.join(choices[:NAMES_SHOWN])}{more}" if choices else "; none is defined"


def dotted(key: Key) -> str:
    """A key as people write it, such as ``models[0]`` or ``nodes.default.start``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "configuration"
