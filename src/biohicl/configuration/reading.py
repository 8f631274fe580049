"""From files to a checked configuration; see :mod:`biohicl.configuration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from biohicl.configuration.ablations import cells_of, nodes_of_cell, with_ablations
from biohicl.configuration.copies import originals_of, with_copies
from biohicl.configuration.derived import with_mixtures
from biohicl.configuration.references import check_finite, check_node, check_references
from biohicl.configuration.schema import ConfigKeyError, Key, check_schema, dotted, kind_of
from biohicl.errors import BioHiCLError


def load(files: Sequence[str | Path], schema_file: str | Path) -> dict[str, Any]:
    """Reads ``files`` in order, later ones over earlier ones as Snakemake does, and :func:`resolve`\\ s them."""
    merged: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BioHiCLError(f"{file}: no such configuration file") from None
        except yaml.YAMLError as error:
            raise BioHiCLError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
        if content is None:
            continue
        if not isinstance(content, dict):
            raise BioHiCLError(f"{file}: holds {kind_of(content)}, but a mapping of keys to values is needed")
        _overlay(merged, content)
    return resolve(merged, schema_file, files)


def resolve(config: Mapping[str, Any], schema_file: str | Path, files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Checks ``config`` against the schema and its own cross-references; returns it with all defaults.

    ``files`` are the YAML files it came from: an error names the one, and the line, that holds the key.
    """
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    sources = _written_from(config)
    try:
        written_out = with_ablations(with_copies(_plain(config), _plain, _overlay), _plain, _overlay)
        completed = _with_defaults(written_out, schema, schema)
        check_schema(completed, schema, sources)
        check_references(completed)
    except ConfigKeyError as problem:
        node, inside = problem.key[:2], problem.key[2:]
        keys = [problem.key, *((*source, *inside) for source in sources.get(node, ()))]
        place = _place_of(keys, files)
        raise BioHiCLError(f"{place}{dotted(problem.key)}: {problem.message}") from None
    return with_mixtures(completed)


def resolve_node(block: Mapping[str, Any], schema_file: str | Path) -> dict[str, Any]:
    """One node's block by itself, as :func:`resolve` has it within the whole: completed, checked, worded for people."""
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    own = {"$ref": "#/$defs/node", "$defs": schema["$defs"]}
    completed = _with_defaults(_plain(block), own, schema)
    try:
        check_schema(completed, own)
        check_finite(completed, ())
        check_node(completed, ())
    except ConfigKeyError as problem:
        raise BioHiCLError(f"{dotted(problem.key)}: {problem.message}") from None
    return completed


# --- merging and defaults -------------------------------------------------------------------------


def _overlay(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _overlay(base[key], value)
        else:
            base[key] = value


def _plain(value: Any) -> Any:
    """Deep copy as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _dereferenced(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its ``$ref`` followed; keys beside the reference (a default, say) win."""
    if "$ref" not in schema:
        return dict(schema)
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    merged = _dereferenced(target, root)
    merged.update({key: value for key, value in schema.items() if key != "$ref"})
    return merged


def _object_schema(schema: Mapping[str, Any], root: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The branch that describes ``value``, a mapping: of an ``anyOf`` (the other is null), or of an ``allOf`` the first
    whose condition on a key holds; without either, the schema itself."""
    followed = _dereferenced(schema, root)
    for branch in followed.get("anyOf", ()):
        candidate = _dereferenced(branch, root)
        if candidate.get("type") == "object":
            return _object_schema(candidate, root, value)
    for branch in followed.get("allOf", ()):
        ((key, wanted),) = branch["if"]["properties"].items()
        default = _dereferenced(followed["properties"][key], root).get("default")
        if isinstance(value, Mapping) and value.get(key, default) == wanted["const"]:
            return _dereferenced(branch["then"], root)
    return followed


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = _object_schema(schema, root, value)
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        # 1 and 1.0 are the same setting: nothing reruns for the spelling.
        return float(value)
    if schema.get("type") != "object" or not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    completed: dict[str, Any] = {}
    for key, part in value.items():
        if key in properties:
            completed[key] = _with_defaults(part, properties[key], root)
        elif isinstance(others, Mapping):
            # In a map of named entries (and in losses), null in an overlay takes the entry out.
            if part is not None:
                completed[key] = _with_defaults(part, others, root)
        else:
            completed[key] = part
    for key, sub in properties.items():
        followed = _dereferenced(sub, root)
        if key not in completed and "default" in followed:
            completed[key] = _with_defaults(_plain(followed["default"]), sub, root)
        elif completed.get(key, ...) is None and "anyOf" in followed and _may_be_taken_out(followed):
            del completed[key]
    return completed


def _may_be_taken_out(schema: Mapping[str, Any]) -> bool:
    return any(branch.get("type") == "null" for branch in schema["anyOf"])


# --- where a key stands ---------------------------------------------------------------------------


def _written_from(config: Mapping[str, Any]) -> dict[Key, list[Key]]:
    """By the key of a node that is written out, those of what it is made of; of a configuration before that."""
    nodes = config.get("nodes")
    if not isinstance(nodes, Mapping):
        return {}
    found: dict[Key, list[Key]] = {}

    def originals(name: str) -> list[Key]:
        try:
            return [("nodes", other) for other in originals_of(config, name)]
        except ConfigKeyError:
            # What it is said to be like is no node, and that is the mistake.
            return []

    for name in nodes:
        if others := originals(name):
            found["nodes", name] = others
    for cell, levels in cells_of(config).items():
        base = config["ablations"]["of"]
        sources: list[Key] = [("ablations", "factors", factor, level) for factor, level in levels.items()]
        sources += [("ablations", "with"), ("nodes", base), *(originals(base) if base in nodes else ())]
        found |= {("nodes", name): sources for name in nodes_of_cell(config, cell).values()}
    return found


def _place_of(keys: Sequence[Key], files: Sequence[str | Path]) -> str:
    """'file, line N: ' of the key that is known to its deepest part, looked up in the last file that holds it."""
    # How much of the key is missing there.
    best: tuple[int, str] | None = None
    for file in files:
        try:
            whole = yaml.compose(Path(file).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        for key in keys:
            depth, line = _deepest_line(whole, key)
            if line is not None and (best is None or len(key) - depth <= best[0]):
                best = (len(key) - depth, f"{file}, line {line}: ")
    return best[1] if best else ""


def _deepest_line(node: yaml.Node | None, key: Key) -> tuple[int, int | None]:
    """How many parts of ``key`` are known below ``node``, and the line of the last of these."""
    line = None
    for depth, part in enumerate(key):
        following = None
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == str(part):
                    following, line = value, name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            following = node.value[part]
            line = following.start_mark.line + 1
        if following is None:
            return depth, line
        node = following
    return len(key), line
