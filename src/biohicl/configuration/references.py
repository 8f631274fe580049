"""What one key of the configuration says of another: names that exist, ranges that go up, shares that add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from biohicl.configuration.derived import chain_of
from biohicl.configuration.schema import ConfigKeyError, Key, nearest
from biohicl.configuration.systems import METRICS


def check_finite(value: Any, key: Key) -> None:
    """YAML writes .nan and .inf, which no bound of the schema stops."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigKeyError(key, f"found {value}, but a finite number is needed")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        check_finite(part, (*key, name))


def check_references(config: dict[str, Any]) -> None:
    """A :class:`ConfigKeyError` where one key does not go with another."""
    check_finite(config, ())
    _check_pubmed_files(config["pubmed"])
    _check_names(config)
    backbones, nodes, benchmarks = config["backbones"], config["nodes"], config["benchmarks"]
    selections = config["training"]["selections"]
    for name, selection in selections.items():
        years = selection["years"]
        for place, benchmark in enumerate(selection["exclude_benchmarks"]):
            key = ("training", "selections", name, "exclude_benchmarks", place)
            _known(key, benchmark, benchmarks, "benchmark")
        if years and years[0] > years[1]:
            raise ConfigKeyError(
                ("training", "selections", name, "years"),
                f"found {years[0]} to {years[1]}, a range upside down; write [{years[1]}, {years[0]}]",
            )
    for name, node in nodes.items():
        _known(("nodes", name, "start"), node["start"], [*backbones, *nodes], "backbone or node")
        _known(("nodes", name, "selection"), node["selection"], selections, "selection")
        _check_no_circle(config, name)
        check_node(node, ("nodes", name))
        backbone = chain_of(config, name)[-1]
        longest = backbones[backbone]["max_length"]
        if longest is not None and node["max_length"] > longest:
            raise ConfigKeyError(
                ("nodes", name, "max_length"),
                f"found {node['max_length']}, but its backbone {backbone} reads {longest} tokens",
            )
    for place, name in enumerate(config["models"]):
        _known(("models", place), name, nodes, "node")
    _check_tokens_of(config)
    _check_benchmarks(benchmarks)
    _check_evaluation(config)


def check_node(node: Mapping[str, Any], key: Key) -> None:
    """What one key of a node says of another."""
    development = node["development"]
    if development["patience"] is not None and development["model"] == "last":
        raise ConfigKeyError(
            (*key, "development", "patience"),
            "waits for a better measure, and development.model is last: choose mrr or correlation, or take it out",
        )
    if development["citations"] == 0 and development["model"] != "last":
        raise ConfigKeyError(
            (*key, "development", "citations"), f"found 0, but development.model: {development['model']} needs some"
        )
    _check_shares(node["losses"], (*key, "losses"))


def _check_shares(losses: Mapping[str, Any], key: Key) -> None:
    shares = {name: losses[name]["share"] for name in ("title_abstract", "heading_abstract") if name in losses}
    if sum(shares.values()) > 1 + 1e-9:
        raise ConfigKeyError(
            key,
            f"the shares of {' and '.join(shares)} are {sum(shares.values()):g} together, and a citation has one query "
            "at most: write share: 0.5 in both, for example",
        )
    if shares and len(shares) == len(losses) and sum(shares.values()) < 1 - 1e-9:
        raise ConfigKeyError(
            key, f"nothing reads the {1 - sum(shares.values()):.0%} of a batch that get no query: raise a share to 1"
        )


def _check_pubmed_files(pubmed: Mapping[str, Any]) -> None:
    for kind in ("baseline", "updates"):
        for place, part in enumerate(pubmed[kind] if isinstance(pubmed[kind], list) else ()):
            if isinstance(part, str):
                first, last = (int(number) for number in part.split("-"))
                if first > last:
                    raise ConfigKeyError(
                        ("pubmed", kind, place), f"found {part}, a range upside down; write {last}-{first}"
                    )
    if pubmed["baseline"] in ("none", []) and pubmed["updates"] in ("none", []):
        raise ConfigKeyError(("pubmed", "baseline"), "no baseline and no update files: nothing would be parsed")


def _check_benchmarks(benchmarks: Mapping[str, Any]) -> None:
    layouts = {"retrieval": ("beir", "pubmedqa"), "similarity": ("pairs", "scifact-sentences")}
    for name, block in benchmarks.items():
        kind = block["kind"]
        for key, allowed in (("layout", layouts[kind]), ("headline", METRICS[kind])):
            if block[key] not in (None, *allowed):
                raise ConfigKeyError(
                    ("benchmarks", name, key),
                    f"found {block[key]}, but for kind: {kind} allowed are {', '.join(allowed)}",
                )
        if block["development"] and (kind == "similarity" or block["layout"] == "pubmedqa"):
            key = "kind" if kind == "similarity" else "layout"
            raise ConfigKeyError(
                ("benchmarks", name, key),
                f"found {block[key]}, and only retrieval in BEIR's layout has a development split; write null there",
            )
        if block["sha256"] is not None and block["path"] is not None:
            raise ConfigKeyError(
                ("benchmarks", name, "sha256"), "is of what `url` gives, and `path` is given; write null"
            )
        if block["development"] == block["split"]:
            raise ConfigKeyError(
                ("benchmarks", name, "development"), "is the split that scores it: what is tuned must not see that"
            )


def _check_evaluation(config: Mapping[str, Any]) -> None:
    evaluation, benchmarks = config["evaluation"], config["benchmarks"]
    for name in ("benchmarks", "tuned_on"):
        for place, benchmark in enumerate(evaluation[name]):
            _known(("evaluation", name, place), benchmark, benchmarks, "benchmark")
    for place, benchmark in enumerate(evaluation["tuned_on"]):
        if benchmarks[benchmark]["development"] is None:
            raise ConfigKeyError(
                ("evaluation", "tuned_on", place), f"benchmarks.{benchmark} names no development split; take it out"
            )
    if (timed := evaluation["efficiency"]["benchmark"]) is not None:
        retrieval = [name for name, block in benchmarks.items() if block["kind"] == "retrieval"]
        _known(("evaluation", "efficiency", "benchmark"), timed, retrieval, "retrieval benchmark")
    for place, peer in enumerate(evaluation["peers"]):
        _known(("evaluation", "peers", place), peer, config["peers"], "peer")
    for name, variant in evaluation["variants"].items():
        if variant["rescore"] and variant["precision"] == "float32" and variant["dimensions"] is None:
            raise ConfigKeyError(
                ("evaluation", "variants", name, "rescore"),
                "there is nothing finer than all float32 dimensions; write 0",
            )
    _check_tasks(config)
    _check_made_of(config)


def _check_tasks(config: Mapping[str, Any]) -> None:
    """An encoder whose instruction has a place for a task needs one of each benchmark."""
    backbones = {chain_of(config, model)[-1] for model in config["models"]}
    blocks = {name: config["backbones"][name] for name in backbones}
    blocks |= {name: config["peers"][name] for name in config["evaluation"]["peers"]}
    for name, block in blocks.items():
        kinds = {"retrieval": ("query", "passage"), "similarity": ("sentence",)}
        for benchmark in dict.fromkeys([*config["evaluation"]["benchmarks"], *config["evaluation"]["tuned_on"]]):
            scored = config["benchmarks"][benchmark]
            asks = any("{task}" in (block[f"{kind}_instruction"] or "") for kind in kinds[scored["kind"]])
            if asks and not scored["task"]:
                raise ConfigKeyError(
                    ("benchmarks", benchmark, "task"),
                    f"is empty, and the instruction of {name} has a place for it ({{task}})",
                )


def _check_made_of(config: Mapping[str, Any]) -> None:
    """Hybrids and variants are made of systems that are scored, and have names of their own."""
    evaluation = config["evaluation"]
    backbones = [chain_of(config, model)[-1] for model in config["models"]]
    dense = list(dict.fromkeys([*config["models"], *backbones, *evaluation["peers"]]))
    made = [(kind, name, base) for kind in ("hybrids", "variants") for name in evaluation[kind] for base in dense]
    joint = [f"{base}.{name}" for _, name, base in made]
    for kind, name, base in made:
        for place, system in enumerate(evaluation[kind][name]["of"] or ()):
            _known(("evaluation", kind, name, "of", place), system, dense, "system that is scored")
        if [*dense, *joint].count(f"{base}.{name}") > 1:
            raise ConfigKeyError(
                ("evaluation", kind, name), f"'{base}.{name}' names another system too; rename one of them"
            )


def _check_tokens_of(config: Mapping[str, Any]) -> None:
    """Who shares another's tokens says so directly, and, where a model starts from it, has the same instructions."""
    backbones = config["backbones"]
    in_use = {chain_of(config, model)[-1] for model in config["models"]}
    for name, backbone in backbones.items():
        owner, key = backbone["tokens_of"], ("backbones", name, "tokens_of")
        if owner is None:
            continue
        _known(key, owner, backbones, "backbone")
        if owner == name:
            raise ConfigKeyError(key, "names the backbone itself; write null")
        if backbones[owner]["tokens_of"] is not None:
            raise ConfigKeyError(key, f"'{owner}' has no tokens of its own; write {backbones[owner]['tokens_of']}")
        for instruction in ("query_instruction", "passage_instruction"):
            if name in in_use and backbone[instruction] != backbones[owner][instruction]:
                raise ConfigKeyError(
                    ("backbones", name, instruction),
                    f"is another than that of '{owner}', whose tokens it reads; write tokens_of: null beside it",
                )


def _check_names(config: Mapping[str, Any]) -> None:
    for name, backbone in config["backbones"].items():
        _exactly_one(("backbones", name), backbone, "hub", "path")
    for name, benchmark in config["benchmarks"].items():
        _exactly_one(("benchmarks", name), benchmark, "url", "path")
    for name, peer in config["peers"].items():
        _exactly_one(("peers", name), peer, "hub", "path")
    for kind in ("backbones", "peers"):
        for name, block in config[kind].items():
            if block["passage_hub"] is not None and block["passage_path"] is not None:
                raise ConfigKeyError(
                    (kind, name, "passage_path"), "passage_hub is given too; write null in one of them"
                )
    for kind, others, what in (
        ("nodes", "backbones", "backbone"),
        ("peers", "backbones", "backbone"),
        ("peers", "nodes", "node"),
    ):
        for name in config[kind]:
            if name in config[others]:
                raise ConfigKeyError((kind, name), f"a {what} has the same name; rename one of them")
    for kind in ("nodes", "backbones", "peers"):
        if "bm25" in config[kind]:
            raise ConfigKeyError((kind, "bm25"), "'bm25' is the lexical system's own name; choose another")


def _exactly_one(key: Key, block: Mapping[str, Any], first: str, second: str) -> None:
    given = [name for name in (first, second) if block[name] is not None]
    if len(given) != 1:
        found = "both are given" if given else "neither is given"
        raise ConfigKeyError(key, f"needs exactly one of '{first}' and '{second}'; {found}")


def _known(key: Key, name: str, allowed: Iterable[str], what: str) -> None:
    choices = list(allowed)
    if name not in choices:
        raise ConfigKeyError(key, f"'{name}' is not a {what} of this configuration{nearest(name, choices)}")


def _check_no_circle(config: Mapping[str, Any], name: str) -> None:
    seen = [name]
    while (start := config["nodes"][seen[-1]]["start"]) in config["nodes"]:
        if start in seen:
            raise ConfigKeyError(("nodes", name, "start"), f"goes in a circle: {' -> '.join([*seen, start])}")
        seen.append(start)
