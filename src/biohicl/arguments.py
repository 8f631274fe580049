"""What the command line takes: argument types that refuse bad input in words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def settings(text: str) -> Any:
    """JSON text, or the path of a YAML or JSON file."""
    import yaml

    try:
        is_json = text.lstrip().startswith(("{", "["))
        value = json.loads(text) if is_json else yaml.safe_load(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"neither JSON nor a readable file: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a mapping of keys to values is needed")
    return SettingsBlock.of(value)


class SettingsBlock(dict[str, Any]):
    """A block of config.yaml given by hand; a key that a stage asks for and that is not there is an error in words."""

    @classmethod
    def of(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return cls({key: cls.of(part) for key, part in value.items()})
        return value

    def __missing__(self, key: str) -> Any:
        raise BioHiCLError(f"--settings has no '{key}'; it takes a whole block of config.yaml, defaults included")


class Places(argparse.Action):
    """Several places, or one JSON list of them, as the workflow passes it."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        places = values
        if len(values) == 1 and values[0].startswith("["):
            try:
                places = json.loads(values[0])
            except ValueError as error:
                parser.error(f"{option_string}: not a JSON list: {error}")
        if not places or not all(isinstance(place, str) for place in places):
            parser.error(f"{option_string}: at least one place is needed, each as text")
        setattr(namespace, self.dest, places)


def numbers(text: str) -> str | list[int | str]:
    """``all``, ``none``, or file numbers and ranges such as ``1,7,20-29``, as config.yaml has them."""
    if text in ("all", "none"):
        return text
    parts: list[int | str] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"'{part}' is neither a number nor a range such as 20-29")
        if dash and int(first) > int(last):
            raise argparse.ArgumentTypeError(f"{part} is a range upside down; write {last}-{first}")
        parts.append(part if dash else int(part))
    return parts
