"""What one key of the configuration says of another: names that exist, ranges that go up, shares that add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from biohicl.configuration.derived import (
    LABEL_LOSSES,
    OWN_QUERIES,
    PARENTS,
    QUERY_LOSSES,
    ancestry_of,
    chain_of,
    has_negatives,
    mixtures_of,
    parents_of,
    reads_labels,
    trained_on,
    tuned_on,
)
from biohicl.configuration.schema import ConfigKeyError, Key, nearest
from biohicl.configuration.systems import LAYOUTS, METRICS, systems_of


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
    nodes, benchmarks = config["nodes"], config["benchmarks"]
    _check_selections(config["training"], benchmarks)
    for name in nodes:
        _check_parents(config, name)
    for name, node in nodes.items():
        if node["step"] == "train":
            check_node(node, ("nodes", name))
            _check_labels(config, name)
        _check_length(config, name)
    for place, name in enumerate(config["models"]):
        _known(("models", place), name, nodes, "node")
        if nodes[name]["step"] == "encode":
            raise ConfigKeyError(("models", place), f"'{name}' makes vectors for a teacher, and no model")
    _check_tokens_of(config)
    _check_benchmarks(benchmarks)
    _check_development(config)
    _check_evaluation(config)
    if (searched := config["index"]["model"]) is not None:
        dense = [name for name, system in systems_of(config).items() if system.is_dense]
        _known(("index", "model"), searched, dense, "node, backbone or peer that `all` encodes with")


def _check_selections(training: Mapping[str, Any], benchmarks: Mapping[str, Any]) -> None:
    kinds = ("selections", "concepts", "pairs")
    for kind in kinds:
        for name, block in training[kind].items():
            others = [other for other in kinds if other != kind and name in training[other]]
            if others:
                raise ConfigKeyError(
                    ("training", kind, name), f"training.{others[0]} has one of this name too; rename one"
                )
            for place, benchmark in enumerate(block.get("exclude_benchmarks", ())):
                _known(("training", kind, name, "exclude_benchmarks", place), benchmark, benchmarks, "benchmark")
    for name, selection in training["selections"].items():
        years = selection["years"]
        if years and years[0] > years[1]:
            raise ConfigKeyError(
                ("training", "selections", name, "years"),
                f"found {years[0]} to {years[1]}, a range upside down; write [{years[1]}, {years[0]}]",
            )
    for name, block in training["pairs"].items():
        if not block["benchmarks"] and not block["files"]:
            raise ConfigKeyError(("training", "pairs", name), "names neither benchmarks nor files to take pairs from")
        for place, benchmark in enumerate(block["benchmarks"]):
            key = ("training", "pairs", name, "benchmarks", place)
            _known(key, benchmark, benchmarks, "benchmark")
            if benchmarks[benchmark]["training"] is None:
                raise ConfigKeyError(key, f"benchmarks.{benchmark} names no split to train on (its key training)")


def _check_parents(config: Mapping[str, Any], name: str) -> None:
    """What a node is made from exists, makes a model (or vectors, for a teacher), and has one backbone."""
    backbones, nodes = config["backbones"], config["nodes"]
    node = nodes[name]
    models = [*backbones, *(other for other in nodes if nodes[other]["step"] != "encode")]
    for key in PARENTS[node["step"]]:
        value = node[key]
        for place, parent in enumerate([value] if isinstance(value, str) else value or ()):
            at: Key = ("nodes", name, key) if isinstance(value, str) else ("nodes", name, key, place)
            if key == "teacher":
                _known(at, parent, [other for other in nodes if nodes[other]["step"] == "encode"], "encode node")
            else:
                _known(at, parent, models, "backbone or node")
    _check_no_circle(config, name)
    ends = {parent: chain_of(config, parent)[-1] for parent in parents_of(node) if parent != node.get("teacher")}
    for parent, backbone in ends.items():
        if backbone != next(iter(ends.values())):
            why = (
                "a choice is compared with its backbone; choose for each, and read both in snakemake development"
                if node["step"] == "select"
                else "weights of different backbones have no mean"
            )
            raise ConfigKeyError(
                ("nodes", name, "of"),
                f"{parent} comes from {backbone}, and {next(iter(ends))} from {next(iter(ends.values()))}: {why}",
            )
    if node["step"] == "average":
        _check_average(config, name)


def _check_average(config: Mapping[str, Any], name: str) -> None:
    node = config["nodes"][name]
    if isinstance(node["share"], list) and len(mixtures_of(name, node)) < len(node["share"]):
        raise ConfigKeyError(
            ("nodes", name, "share"), "has two shares that are the same to six digits, and would have one name"
        )
    for mixture in mixtures_of(name, node):
        for kind in ("nodes", "backbones", "peers"):
            if mixture in config[kind]:
                raise ConfigKeyError((kind, mixture), f"is the name of a mixture of {name}; rename one of them")
    if node["with"] is None and node["share"] != 1:
        raise ConfigKeyError(("nodes", name, "with"), "names nothing that the rest of `share` is taken from")
    shares = node["share"] if isinstance(node["share"], list) else [node["share"]]
    if max(shares) > len(node["of"]):
        raise ConfigKeyError(
            ("nodes", name, "share"),
            f"is {max(shares):g}, but of {len(node['of'])} averaged it is from 0 to {len(node['of'])}, which adds to "
            "`with` all that each has learned",
        )
    if node["snapshots"]:
        for place, parent in enumerate(node["of"]):
            if parent in config["backbones"] or not config["nodes"][parent].get("schedule", {}).get("snapshots"):
                raise ConfigKeyError(
                    ("nodes", name, "of", place), f"{parent} keeps no snapshots (schedule.snapshots of a training)"
                )


def _check_labels(config: Mapping[str, Any], name: str) -> None:
    """What a training asks of its selection is there: headings, queries, a teacher's vectors of the same texts."""
    training, node = config["training"], config["nodes"][name]
    known = [selection for kind in ("selections", "concepts", "pairs") for selection in training[kind]]
    _known(("nodes", name, "selection"), node["selection"], known, "selection")
    if node["selection"] in training["pairs"] and reads_labels(node):
        asks = next((loss for loss in node["losses"] if loss in LABEL_LOSSES), "mask_above, negatives or related")
        raise ConfigKeyError(
            ("nodes", name, "selection"),
            f"{node['selection']} has no MeSH headings, and {asks} of this node reads some",
        )
    kind = next(kind for kind in OWN_QUERIES if node["selection"] in training[kind])
    wanted = node["losses"].get("query_text", {}).get("kinds")
    if wanted is not None and not set(wanted) & set(OWN_QUERIES[kind]):
        raise ConfigKeyError(
            ("nodes", name, "losses", "query_text", "kinds"),
            f"found {', '.join(wanted)}, but the texts of {node['selection']} (training.{kind}) have "
            f"{' and '.join(OWN_QUERIES[kind])}",
        )
    if node["negatives"]["given"] and kind != "pairs":
        raise ConfigKeyError(
            ("nodes", name, "negatives", "given"),
            f"are those that files of pairs name, and {node['selection']} is of training.{kind}; write 0",
        )
    if ("teacher_vectors" in node["losses"]) != (node["teacher"] is not None):
        said = "names none" if node["teacher"] is None else f"names {node['teacher']}, and no loss reads its vectors"
        raise ConfigKeyError(("nodes", name, "teacher"), f"{said}: losses.teacher_vectors and teacher go together")
    if node["teacher"] and config["nodes"][node["teacher"]]["selection"] != node["selection"]:
        raise ConfigKeyError(
            ("nodes", name, "teacher"),
            f"{node['teacher']} encodes {config['nodes'][node['teacher']]['selection']}, and this node reads "
            f"{node['selection']}",
        )


def _check_length(config: Mapping[str, Any], name: str) -> None:
    node = config["nodes"][name]
    backbone = chain_of(config, name)[-1]
    longest = config["backbones"][backbone]["max_length"]
    if longest is not None and node.get("max_length", 0) > longest:
        raise ConfigKeyError(
            ("nodes", name, "max_length"),
            f"found {node['max_length']}, but its backbone {backbone} reads {longest} tokens",
        )


def _check_development(config: Mapping[str, Any]) -> None:
    """What chooses is there where something is chosen, and has nothing to do with what scores or trains."""
    development, benchmarks, nodes = config["development"], config["benchmarks"], config["nodes"]
    for kind in ("retrieval", "similarity"):
        allowed = [name for name, block in benchmarks.items() if block["kind"] == kind]
        for place, name in enumerate(development[kind]):
            _known(("development", kind, place), name, allowed, f"{kind} benchmark")
            if kind == "retrieval" and benchmarks[name]["development"] is None:
                raise ConfigKeyError(
                    ("development", kind, place), f"benchmarks.{name} names no development split; take it out"
                )
            if kind == "similarity" and name in config["evaluation"]["benchmarks"]:
                raise ConfigKeyError(
                    ("development", kind, place), f"{name} is among evaluation.benchmarks: what chooses must not score"
                )
    needed = ancestry_of(config, *config["models"])
    for name in needed:
        node = nodes[name]
        if node["step"] != "select" and not mixtures_of(name, node):
            continue
        if not development["retrieval"]:
            raise ConfigKeyError(("nodes", name), "chooses by development.retrieval, and that names no benchmark")
        for place, benchmark in enumerate(development["retrieval"]):
            if benchmark in trained_on(config, name):
                raise ConfigKeyError(
                    ("development", "retrieval", place),
                    f"{name} would choose by the split '{benchmarks[benchmark]['development']}' of {benchmark} among "
                    "models that were trained on it",
                )


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
    if has_negatives(node) and not QUERY_LOSSES & node["losses"].keys():
        raise ConfigKeyError(
            (*key, "negatives"), f"are of queries, and no loss has some ({', '.join(sorted(QUERY_LOSSES))})"
        )


def _check_shares(losses: Mapping[str, Any], key: Key) -> None:
    shares = {name: block["share"] for name, block in losses.items() if name in QUERY_LOSSES}
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
    for name, block in benchmarks.items():
        kind = block["kind"]
        for key, allowed in (("layout", LAYOUTS[kind]), ("headline", METRICS[kind])):
            if block[key] not in (None, *allowed):
                raise ConfigKeyError(
                    ("benchmarks", name, key),
                    f"found {block[key]}, but for kind: {kind} allowed are {', '.join(allowed)}",
                )
        if block["development"] and (kind == "similarity" or block["layout"] not in (None, "beir")):
            key = "kind" if kind == "similarity" else "layout"
            raise ConfigKeyError(
                ("benchmarks", name, key),
                f"found {block[key]}, and only retrieval in BEIR's layout has a development split; write null there",
            )
        if block["sha256"] is not None and block["path"] is not None:
            raise ConfigKeyError(
                ("benchmarks", name, "sha256"), "is of what `url` gives, and `path` is given; write null"
            )
        if block["training"] is not None and (kind == "similarity" or block["layout"] not in (None, "beir")):
            raise ConfigKeyError(
                ("benchmarks", name, "training"), "only retrieval in BEIR's layout has a split to train on; write null"
            )
        if block["training"] == block["split"]:
            raise ConfigKeyError(
                ("benchmarks", name, "training"), "is the split that scores it: nothing may train on it"
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
    for model in config["models"] if any(evaluation["hybrids"].values()) else ():
        if evaluation["tuned_on"] and not tuned_on(config, model):
            raise ConfigKeyError(
                ("evaluation", "tuned_on"),
                f"{model} was trained on these splits of {', '.join(evaluation['tuned_on'])}, and hybrids are tuned on "
                "what has not been seen: name another benchmark, or none ([]) for their usual values",
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
        evaluation, development = config["evaluation"], config["development"]
        asked = [*evaluation["benchmarks"], *evaluation["tuned_on"], *development["retrieval"]]
        for benchmark in dict.fromkeys([*asked, *development["similarity"]]):
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
    mixtures = [mixture for name, node in config["nodes"].items() for mixture in mixtures_of(name, node)]
    taken = {*config["nodes"], *config["backbones"], *config["peers"], *mixtures}
    for kind, name, base in made:
        for place, system in enumerate(evaluation[kind][name]["of"] or ()):
            _known(("evaluation", kind, name, "of", place), system, dense, "system that is scored")
        if joint.count(f"{base}.{name}") > 1 or f"{base}.{name}" in taken:
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
    """An error where a node is made from itself: names the way round."""

    def follow(way: list[str]) -> None:
        node = config["nodes"].get(way[-1])
        for key in PARENTS[node["step"]] if node else ():
            value = node[key]
            for parent in [value] if isinstance(value, str) else value or ():
                if parent == name:
                    first = next(k for k in PARENTS[config["nodes"][name]["step"]] if config["nodes"][name][k])
                    raise ConfigKeyError(("nodes", name, first), f"goes in a circle: {' -> '.join([*way, parent])}")
                if parent not in way:
                    follow([*way, parent])

    follow([name])
