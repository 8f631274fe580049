"""The systems under test, and what each is compared with, from a checked configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from biohicl.configuration.derived import PARENTS, ancestry_of, chain_of, judged_for, parents_of, tuned_on

LEXICAL = "bm25"
# What a benchmark of each kind is measured by; the first is the score table's where a benchmark names none.
METRICS = {
    "retrieval": ("nDCG@10", "Recall@1", "Recall@100", "MRR@10", "MRR", "MAP"),
    "similarity": ("Spearman", "Pearson", "AP"),
}
# How its files may be laid out; the first where it names no layout.
LAYOUTS = {"retrieval": ("beir", "pubmedqa"), "similarity": ("pairs", "scifact-sentences")}
SystemRole = Literal["lexical", "backbone", "model", "peer", "hybrid", "variant"]


@dataclass(frozen=True)
class System:
    """One row of the score table.

    ``against``: the system whose scores its own are compared with, beside its backbone's and BM25's: for a model that
    backbone, for a peer the first one, and for hybrids and variants the system that they are made of. ``of``: that one
    again, None for systems that encode texts themselves. ``settings``: a hybrid's or variant's block.
    """

    name: str
    role: SystemRole
    against: str | None = None
    backbone: str | None = None
    of: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_dense(self) -> bool:
        """Whether it has an encoder of its own."""
        return self.role in ("backbone", "model", "peer")


def systems_of(config: Mapping[str, Any]) -> dict[str, System]:
    """By name, in the order of the score table: BM25, backbones, models, peers, and what is made of them."""
    backbones = list(dict.fromkeys(chain_of(config, model)[-1] for model in config["models"]))
    systems = [System(LEXICAL, "lexical")]
    systems += [System(name, "backbone") for name in backbones]
    of_models = {name: chain_of(config, name)[-1] for name in config["models"]}
    systems += [System(name, "model", backbone, backbone) for name, backbone in of_models.items()]
    systems += [System(name, "peer", backbones[0], backbones[0]) for name in config["evaluation"]["peers"]]
    roles: tuple[tuple[str, SystemRole], ...] = (("hybrids", "hybrid"), ("variants", "variant"))
    for kind, role in roles:
        for name, block in config["evaluation"][kind].items():
            for base in block["of"] if block["of"] is not None else config["models"]:
                systems.append(System(f"{base}.{name}", role, base, of_models.get(base, backbones[0]), base, block))
    return {system.name: system for system in systems}


def developed(config: Mapping[str, Any], *also: str) -> list[tuple[str, str]]:
    """(system, benchmark) of the development splits that all of a run scores: what hybrids are tuned on, and models
    chosen by. ``also``: systems that are joined with BM25 elsewhere, as an index's is."""
    tuned = {str(system.of) for system in systems_of(config).values() if system.role == "hybrid"} | set(also)
    scored = [(name, benchmark) for name in sorted(tuned) for benchmark in tuned_on(config, name)]
    scored += [(LEXICAL, benchmark) for _, benchmark in scored]
    sets = [*config["development"]["retrieval"], *config["development"]["similarity"]]
    chosen = [node for node in ancestry_of(config, *config["models"]) if config["nodes"][node]["step"] == "select"]
    scored += [(name, benchmark) for node in chosen for name in judged_for(config, node) for benchmark in sets]
    return list(dict.fromkeys(scored))


def seed_groups(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Models that differ in nothing but seeds, by the name of the first; those without a second are left out.

    The same seed again, or a mean over some of the same trainings, says nothing of other seeds, and is none of them.
    """

    def recipe(name: str) -> Any:
        if name not in config["nodes"]:
            return name
        node = config["nodes"][name]
        block = {key: value for key, value in node.items() if key not in ("seed", *PARENTS[node["step"]])}
        return [block, *(recipe(parent) for parent in parents_of(node))]

    def last_trained(name: str) -> set[str]:
        """The trainings that a model is, or is made of; not those that these start from, which may be one for all."""
        node = config["nodes"].get(name)
        if node is None or node["step"] == "train":
            return {name}
        return set().union(*(last_trained(parent) for parent in parents_of(node)))

    def seeds(name: str) -> list[int]:
        nodes = (config["nodes"][other] for other in ancestry_of(config, name))
        return [node["seed"] for node in nodes if node["step"] == "train"]

    def is_another(one: str, other: str) -> bool:
        return (
            recipe(one) == recipe(other) and seeds(one) != seeds(other) and not last_trained(one) & last_trained(other)
        )

    groups: dict[str, list[str]] = {}
    for model in config["models"]:
        first = next((first for first, all_ in groups.items() if all(is_another(one, model) for one in all_)), model)
        groups.setdefault(first, []).append(model)
    return {first: models for first, models in groups.items() if len(models) > 1}


def benchmark_source(block: Mapping[str, Any]) -> dict[str, Any]:
    """Of a benchmark's block only what determines its tables, its layout named."""
    layout = block["layout"] or LAYOUTS[block["kind"]][0]
    keys = ("kind", "url", "path", "sha256", "split", "development", "ids", "conclusions")
    # Only where it is named: it came later than the rest, and tables without it stay as they are.
    named = {"training": block["training"]} if block["training"] else {}
    return {"layout": layout, **{key: block[key] for key in keys}, **named}


def headline_of(block: Mapping[str, Any]) -> str:
    """The metric of the score table."""
    headline: str = block["headline"] or METRICS[block["kind"]][0]
    return headline
