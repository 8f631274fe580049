"""config.yaml: read, completed with the schema's defaults, checked, and worded for people.

Goes in: the mapping that Snakemake (or :func:`load`) merged from config.yaml and overlays.
Comes out: the same mapping with every default filled in, or a :class:`BioHiCLError` whose message
names the key, what was found, what is allowed, and the nearest valid name.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from biohicl.errors import BioHiCLError

Key = tuple[str | int, ...]
# The losses that ask what labels say of two citations; title_abstract does where it masks.
LABEL_LOSSES = (
    *("mse", "affine_mse", "contrastive", "soft_targets", "cosent", "soft_siglip", "mul_sup_con"),
    "heading_abstract",
)


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
            raise BioHiCLError(f"{file}: holds {_kind(content)}, but a mapping of keys to values is needed")
        _overlay(merged, content)
    return resolve(merged, schema_file, files)


def resolve(config: Mapping[str, Any], schema_file: str | Path, files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Checks ``config`` against the schema and its own cross-references; returns it with all defaults.

    ``files`` are the YAML files it came from: an error names the one, and the line, that holds the key.
    """
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    completed = _with_defaults(_plain(config), schema, schema)
    try:
        _check_schema(completed, schema)
        _check_references(completed)
    except _ConfigKeyError as problem:
        place = _place_of(problem.key, files)
        raise BioHiCLError(f"{place}{_dotted(problem.key)}: {problem.message}") from None
    return completed


def resolve_node(block: Mapping[str, Any], schema_file: str | Path) -> dict[str, Any]:
    """One node's block by itself, as :func:`resolve` has it within the whole: completed, checked, worded for people."""
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    own = {"$ref": "#/$defs/node", "$defs": schema["$defs"]}
    completed = _with_defaults(_plain(block), own, schema)
    try:
        _check_schema(completed, own)
        _check_finite(completed, ())
        _check_node(completed, ())
    except _ConfigKeyError as problem:
        raise BioHiCLError(f"{_dotted(problem.key)}: {problem.message}") from None
    return completed


def chain_of(config: Mapping[str, Any], system: str) -> list[str]:
    """The names from ``system`` (a node or a backbone) down to the backbone it starts from, both included."""
    chain = [system]
    while chain[-1] in config["nodes"]:
        chain.append(config["nodes"][chain[-1]]["start"])
    return chain


def reads_labels(node: Mapping[str, Any]) -> bool:
    """Whether a node's training asks what labels say: a loss does, or the drawing of related citations."""
    masks = node["losses"].get("title_abstract", {}).get("mask_above") is not None
    return masks or node["schedule"]["related"] > 0 or any(loss in node["losses"] for loss in LABEL_LOSSES)


def node_settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's block without what cannot change its training: label settings that no loss, or no weight, reads."""
    settings = {key: value for key, value in node.items() if key != "labels"}
    if reads_labels(node):
        labels = node["labels"]
        of_weight = {"depth": "depth", "smoothing": "corpus"}
        read = {key: value for key, value in labels.items() if of_weight.get(key, labels["weight"]) == labels["weight"]}
        settings["labels"] = read
    return settings


def needs_label_counts(node: Mapping[str, Any]) -> bool:
    """Whether a node's training weighs labels by how often a corpus has them."""
    return node_settings(node).get("labels", {}).get("weight") == "corpus"


def file_numbers(spec: str | Sequence[int | str]) -> list[range] | None:
    """The numbers that a config value like ``[1, "5-9"]`` names, as ranges; None for ``all``, [] for ``none``."""
    if spec == "all":
        return None
    if spec == "none":
        return []
    ranges = []
    for part in spec:
        if isinstance(part, int):
            ranges.append(range(part, part + 1))
        else:
            first, last = (int(number) for number in part.split("-"))
            ranges.append(range(first, last + 1))
    return ranges


class _ConfigKeyError(Exception):
    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


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


def _object_schema(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The branch of an ``anyOf`` that describes a mapping (the other is null), or the schema itself."""
    followed = _dereferenced(schema, root)
    for branch in followed.get("anyOf", ()):
        candidate = _dereferenced(branch, root)
        if candidate.get("type") == "object":
            return candidate
    return followed


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = _object_schema(schema, root)
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


# --- the schema's word ----------------------------------------------------------------------------


def _check_schema(config: dict[str, Any], schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    error = min(
        (_deepest(error) for error in validator.iter_errors(config)),
        key=lambda error: [str(part) for part in error.absolute_path],
        default=None,
    )
    if error is None:
        return
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(allowed), key=str)[0]
        raise _ConfigKeyError((*key, unknown), f"unknown key{_nearest(str(unknown), allowed)}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise _ConfigKeyError((*key, missing), "this key is missing and has no default")
    if error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        raise _ConfigKeyError(
            (*key, error.instance),
            f"{_found(error.instance)} cannot be a name: letters, digits, '.', '_' and '-' only",
        )
    raise _ConfigKeyError(key, f"found {_found(error.instance)}, but {_allowed(error)}")


def _deepest(error: Any) -> Any:
    """Within an ``anyOf`` that offers null or a mapping, the error inside the mapping says more than the ``anyOf``."""
    while error.validator == "anyOf":
        inside = [sub for sub in error.context or () if len(sub.absolute_path) > len(error.absolute_path)]
        of_mapping = [
            sub for sub in error.context or () if sub.validator in ("additionalProperties", "required", "minProperties")
        ]
        if not inside and not of_mapping:
            return error
        error = (inside or of_mapping)[0]
    return error


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_PATTERNS = {
    "^https://.+\\.zip$": "an https:// address of a .zip archive is needed",
    "^[0-9a-f]{64}$": "a SHA-256 of 64 hexadecimal digits is needed",
    "^[a-z]{3}$": "a three-letter language code such as eng is needed",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$": "a name of letters, digits, '.', '_' and '-' is needed",
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
            # YAML 1.1 reads 1e-5 as text: the dot is what makes it a number.
            shown = re.sub(r"^([+-]?\d+)[eE]", r"\1.0e", instance) if number % 1 else instance
            hint = f" (YAML reads this as text; write {shown}, without quotes)"
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
    if branch.get("type") == "integer":
        low, high = branch.get("minimum"), branch.get("maximum")
        bounds = f" from {low}" + (f" to {high}" if high is not None else " on") if low is not None else ""
        return f"a whole number{bounds}"
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


def _kind(value: Any) -> str:
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
        return f"{_kind(value)} {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nearest(name: str, allowed: Iterable[str]) -> str:
    """' ... did you mean X?' or the whole list where nothing is near."""
    choices = sorted(allowed)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(choices)}" if choices else "; none is defined"


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "configuration"


# --- what one key says of another -----------------------------------------------------------------


def _check_finite(value: Any, key: Key) -> None:
    """YAML writes .nan and .inf, which no bound of the schema stops."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _ConfigKeyError(key, f"found {value}, but a finite number is needed")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        _check_finite(part, (*key, name))


def _check_references(config: dict[str, Any]) -> None:
    _check_finite(config, ())
    _check_pubmed_files(config["pubmed"])
    _check_names(config)
    backbones, nodes, benchmarks = config["backbones"], config["nodes"], config["benchmarks"]
    selections = config["training"]["selections"]
    for name, selection in selections.items():
        years = selection["years"]
        if years and years[0] > years[1]:
            raise _ConfigKeyError(
                ("training", "selections", name, "years"),
                f"found {years[0]} to {years[1]}, a range upside down; write [{years[1]}, {years[0]}]",
            )
    for name, node in nodes.items():
        _known(("nodes", name, "start"), node["start"], [*backbones, *nodes], "backbone or node")
        _known(("nodes", name, "selection"), node["selection"], selections, "selection")
        _check_no_circle(config, name)
        _check_node(node, ("nodes", name))
        backbone = chain_of(config, name)[-1]
        longest = backbones[backbone]["max_length"]
        if longest is not None and node["max_length"] > longest:
            raise _ConfigKeyError(
                ("nodes", name, "max_length"),
                f"found {node['max_length']}, but its backbone {backbone} reads {longest} tokens",
            )
    for place, name in enumerate(config["models"]):
        _known(("models", place), name, nodes, "node")
    for place, name in enumerate(config["evaluation"]["benchmarks"]):
        _known(("evaluation", "benchmarks", place), name, benchmarks, "benchmark")


def _check_node(node: Mapping[str, Any], key: Key) -> None:
    """What one key of a node says of another."""
    development = node["development"]
    if development["patience"] is not None and development["model"] == "last":
        raise _ConfigKeyError(
            (*key, "development", "patience"),
            "waits for a better measure, and development.model is last: choose mrr or correlation, or take it out",
        )
    if development["citations"] == 0 and development["model"] != "last":
        raise _ConfigKeyError(
            (*key, "development", "citations"), f"found 0, but development.model: {development['model']} needs some"
        )
    _check_shares(node["losses"], (*key, "losses"))


def _check_shares(losses: Mapping[str, Any], key: Key) -> None:
    shares = {name: losses[name]["share"] for name in ("title_abstract", "heading_abstract") if name in losses}
    if sum(shares.values()) > 1 + 1e-9:
        raise _ConfigKeyError(
            key,
            f"the shares of {' and '.join(shares)} are {sum(shares.values()):g} together, and a citation has one query "
            "at most: write share: 0.5 in both, for example",
        )
    if shares and len(shares) == len(losses) and sum(shares.values()) < 1 - 1e-9:
        raise _ConfigKeyError(
            key, f"nothing reads the {1 - sum(shares.values()):.0%} of a batch that get no query: raise a share to 1"
        )


def _check_pubmed_files(pubmed: Mapping[str, Any]) -> None:
    for kind in ("baseline", "updates"):
        for place, part in enumerate(pubmed[kind] if isinstance(pubmed[kind], list) else ()):
            if isinstance(part, str):
                first, last = (int(number) for number in part.split("-"))
                if first > last:
                    raise _ConfigKeyError(
                        ("pubmed", kind, place), f"found {part}, a range upside down; write {last}-{first}"
                    )
    if pubmed["baseline"] in ("none", []) and pubmed["updates"] in ("none", []):
        raise _ConfigKeyError(("pubmed", "baseline"), "no baseline and no update files: nothing would be parsed")


def _check_names(config: Mapping[str, Any]) -> None:
    for name, backbone in config["backbones"].items():
        _exactly_one(("backbones", name), backbone, "hub", "path")
    for name, benchmark in config["benchmarks"].items():
        _exactly_one(("benchmarks", name), benchmark, "url", "path")
    for name in config["nodes"]:
        if name in config["backbones"]:
            raise _ConfigKeyError(("nodes", name), "a backbone has the same name; rename one of them")
    for kind in ("nodes", "backbones"):
        if "bm25" in config[kind]:
            raise _ConfigKeyError((kind, "bm25"), "'bm25' is the lexical system's own name; choose another")


def _exactly_one(key: Key, block: Mapping[str, Any], first: str, second: str) -> None:
    given = [name for name in (first, second) if block[name] is not None]
    if len(given) != 1:
        found = "both are given" if given else "neither is given"
        raise _ConfigKeyError(key, f"needs exactly one of '{first}' and '{second}'; {found}")


def _known(key: Key, name: str, allowed: Iterable[str], what: str) -> None:
    choices = list(allowed)
    if name not in choices:
        raise _ConfigKeyError(key, f"'{name}' is not a {what} of this configuration{_nearest(name, choices)}")


def _check_no_circle(config: Mapping[str, Any], name: str) -> None:
    seen = [name]
    while (start := config["nodes"][seen[-1]]["start"]) in config["nodes"]:
        if start in seen:
            raise _ConfigKeyError(("nodes", name, "start"), f"goes in a circle: {' -> '.join([*seen, start])}")
        seen.append(start)


# --- where a key stands ---------------------------------------------------------------------------


def _place_of(key: Key, files: Sequence[str | Path]) -> str:
    """'file, line N: ' of the deepest known part of ``key``, looked up in the last file that holds it."""
    best: tuple[int, str] = (0, "")
    for file in files:
        try:
            node = yaml.compose(Path(file).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        depth, line = 0, None
        for part in key:
            following = None
            if isinstance(node, yaml.MappingNode):
                for name, value in node.value:
                    if name.value == str(part):
                        following, line = value, name.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                following = node.value[part]
                line = following.start_mark.line + 1
            if following is None:
                break
            node, depth = following, depth + 1
        if line is not None and depth >= best[0]:
            best = (depth, f"{file}, line {line}: ")
    return best[1]
