"""All stages of a run, with what each costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biohicl.configuration import ancestry_of, chain_of, developed, has_negatives
from biohicl.configuration.derived import parents_of
from biohicl.errors import BioHiCLError
from biohicl.estimate.files import MB
from biohicl.estimate.parts import Machine, Part
from biohicl.estimate.rates import Rate, Rates
from biohicl.estimate.scoring import scoring
from biohicl.estimate.training import MILLION, THOUSAND, Nodes
from biohicl.estimate.work import record_tokens, vector_bytes

__all__ = ["Machine", "Plan", "Prices", "Stage", "make_plan"]
GB, HOUR = 1e9, 3600.0
# As Snakemake is told in rules/common.smk.
DOWNLOADS = 4


@dataclass(frozen=True)
class Prices:
    """Of a core-hour, a GPU-hour, and a GB on disk for a month; None where none is stated."""

    core_hour: float | None = None
    gpu_hour: float | None = None
    gb_month: float | None = None
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("core_hour", "gpu_hour", "gb_month"):
            price = getattr(self, name)
            if price is not None and not 0 <= price < float("inf"):
                raise BioHiCLError(f"--{name.replace('_', '-')} is {price:g}, and a price is a number of at least 0")

    @property
    def are_stated(self) -> bool:
        return not self.core_hour is self.gpu_hour is self.gb_month is None


@dataclass(frozen=True)
class Stage:
    """A line of the plan. ``hours``: from its start to its end, if it is alone on the machine."""

    name: str
    parts: tuple[Part, ...]
    hours: float

    @property
    def jobs(self) -> int:
        return sum(part.jobs for part in self.parts)

    @property
    def core_hours(self) -> float:
        return sum(part.core_seconds for part in self.parts) / HOUR

    @property
    def gpu_hours(self) -> float:
        return sum(part.gpu_seconds for part in self.parts) / HOUR

    @property
    def downloaded_gb(self) -> float:
        return sum(part.downloaded for part in self.parts) / GB

    @property
    def disk_gb(self) -> float:
        return sum(part.disk for part in self.parts) / GB

    def money(self, prices: Prices) -> float:
        """What is stated of this; what has no price costs nothing here."""
        return (
            self.core_hours * (prices.core_hour or 0.0)
            + self.gpu_hours * (prices.gpu_hour or 0.0)
            + self.disk_gb * (prices.gb_month or 0.0)
        )


@dataclass(frozen=True)
class Plan:
    """``hours``: stages one after the other. ``rates``: those that it was computed with; ``assumed``: sentences."""

    stages: tuple[Stage, ...]
    machine: Machine
    rates: tuple[Rate, ...]
    assumed: tuple[str, ...]

    @property
    def total(self) -> Stage:
        parts = tuple(part for stage in self.stages for part in stage.parts)
        return Stage("all", parts, sum(stage.hours for stage in self.stages))


def make_plan(
    config: Mapping[str, Any], folder: Path, rates: Rates, machine: Machine | None = None, with_index: bool = False
) -> Plan:
    """The plan of ``snakemake all`` with a checked configuration, from nothing; with the index where that is wanted.

    ``folder``: the project's; of what is there only its size is read.
    """
    machine = machine or Machine()
    nodes = Nodes(config, folder, rates, machine)
    indexed = [_indexed(config)] if with_index else []
    stages = [
        _download(nodes, *indexed),
        _one("parse", _parsing(nodes), machine),
        _one("merge, describe", _merging(nodes), machine),
        _one("MeSH", _mesh(nodes), machine),
        _one("texts to train on", _texts(nodes), machine),
        *_models(nodes),
        _one("encode, evaluate", scoring(nodes, *indexed), machine),
        _one("report, catalog", _reporting(nodes), machine),
    ]
    if with_index:
        stages.append(_one("index", _index(nodes), machine))
    files = nodes.files
    records, current = (f"{count / MILLION:,.1f} million" for count in (files.records, files.current))
    nodes.assumed[f"PubMed: {files.source}; {records} records, {current} citations are current"] = None
    return Plan(tuple(stages), machine, tuple(rates.used.values()), tuple(nodes.assumed))


def _one(name: str, parts: Iterable[Part], machine: Machine) -> Stage:
    """A stage whose kinds of jobs follow one another."""
    kept = tuple(part for part in parts if part.jobs)
    return Stage(name, kept, sum(part.seconds(machine) for part in kept) / HOUR)


def _download(nodes: Nodes, *indexed: str) -> Stage:
    config, rates, files = nodes.config, nodes.rates, nodes.files
    training = config["training"]
    selections = [training["selections"].get(name) for name in _selections(nodes)]
    pairs = [training["pairs"][name] for name in _selections(nodes) if name in training["pairs"]]
    names = [
        *config["evaluation"]["benchmarks"],
        *(name for block in (*selections, *pairs) if block for name in block.get("exclude_benchmarks", ())),
        *(name for block in pairs for name in block["benchmarks"]),
        *(name for _, name in developed(config, *indexed)),
    ]
    benchmarks = list(dict.fromkeys(names))
    of_benchmarks = sum(
        rates["benchmark_file"] * MB * nodes.documents(name) / THOUSAND
        for name in benchmarks
        if config["benchmarks"][name]["url"]
    )
    blocks = config["backbones"] | config["peers"]
    sizes = {name: 4 * nodes.size(name).all_weights for name in nodes.backbones()}
    of_hub = sum(size for name, size in sizes.items() if blocks[name].get("hub") and not blocks[name].get("path"))
    mesh = rates["mesh_file"] * MB
    parts = (
        Part("list_pubmed", 1, rates["table_job"]),
        Part("list_mesh", 1, rates["table_job"]),
        Part("fetch_pubmed", files.count, files.count * rates["fetch"], downloaded=files.bytes, disk=files.bytes),
        Part("fetch_mesh", 1, rates["fetch"], downloaded=mesh, disk=mesh),
        Part("fetch_benchmark", len(benchmarks), len(benchmarks) * rates["table_job"], 0, of_benchmarks, of_benchmarks),
        Part("fetch_backbone", len(sizes), len(sizes) * rates["model_job"], 0, of_hub, sum(sizes.values())),
    )
    computed = sum(part.seconds(nodes.machine) for part in parts)
    transferred = sum(part.downloaded for part in parts) / MB / rates["download"] / min(DOWNLOADS, max(files.count, 1))
    return Stage("download", parts, max(computed, transferred) / HOUR)


def _parsing(nodes: Nodes) -> list[Part]:
    files, rates = nodes.files, nodes.rates
    return [Part("parse_pubmed", files.count, files.count * rates["parse"], disk=files.bytes * rates["tables"])]


def _merging(nodes: Nodes) -> list[Part]:
    rates, records = nodes.rates, nodes.files.records / MILLION
    kept = nodes.files.current * rates["current"]
    return [
        Part("merge_citations", 1, rates["table_job"] + records * rates["merge"], disk=kept),
        Part("describe_corpus", 1, rates["table_job"] + records * rates["describe"], threads=2),
    ]


def _mesh(nodes: Nodes) -> list[Part]:
    rates = nodes.rates
    return [
        Part("parse_mesh", 1, rates["parse_mesh"], disk=rates["mesh_tables"] * MB),
        Part("hierarchy", 1, rates["hierarchy"]),
    ]


def _selections(nodes: Nodes) -> list[str]:
    """What the trainings read, each once."""
    return list(dict.fromkeys(nodes.config["nodes"][name]["selection"] for name in nodes.by("train")))


def _texts(nodes: Nodes) -> list[Part]:
    """From the frozen release to what trainings read, and what of it benchmarks hold."""
    config, rates = nodes.config, nodes.rates
    training, records = config["training"], nodes.files.records / MILLION
    trained = {name: config["nodes"][name] for name in nodes.by("train")}
    small = rates["table_job"]
    parts = [Part("freeze_release", 1, small, disk=nodes.files.current * rates["current"])]
    if nodes.is_counted():
        parts.append(Part("count_labels", 1, small + records * rates["count_labels"]))
    for name in _selections(nodes):
        thousands = nodes.texts(name) / THOUSAND
        disk = nodes.texts(name) * rates["text"]
        if name in training["selections"]:
            parts.append(Part("select", 1, small + records * rates["select"], disk=disk, threads=4))
        elif name in training["concepts"]:
            parts.append(Part("select_concepts", 1, rates["concepts"], disk=disk))
        else:
            parts.append(Part("select_pairs", 1, small, disk=disk))
        if name not in training["pairs"]:
            parts.append(Part("labels", 1, small + thousands * rates["labels"]))
        if name not in training["concepts"]:
            rule = "overlap_of_pairs" if name in training["pairs"] else "overlap"
            jobs = len(config["evaluation"]["benchmarks"])
            parts.append(Part(rule, jobs, jobs * small))
        of_name = [node for node in trained.values() if node["selection"] == name]
        if name in training["selections"] and any("query_text" in node["losses"] for node in of_name):
            parts.append(Part("synthesize", 1, small))
        if any(map(has_negatives, of_name)):
            seconds = thousands * rates["negatives"] + thousands**2 / THOUSAND * rates["negative_pairs"]
            parts.append(Part("negatives", 1, rates["model_job"] + seconds))
    readings = dict.fromkeys(_reading(nodes, name) for name in (*nodes.by("train"), *nodes.by("encode")))
    for _, length, name in readings:
        # Titles, texts, and both together.
        tokens = nodes.texts(name) * 2 * nodes.tokens(name, length) / MILLION
        parts.append(Part("tokens", 1, rates["model_job"] + tokens * rates["tokenize"], threads=4))
    asked = dict.fromkeys(_reading(nodes, name) for name, node in trained.items() if "query_text" in node["losses"])
    parts += [Part("query_tokens", 1, rates["model_job"], threads=4) for _ in asked]
    return parts


def _reading(nodes: Nodes, node: str) -> tuple[str, int, str]:
    """Of which tokenizer, of what length and of which selection a node's tokens are."""
    block = nodes.config["nodes"][node]
    backbone = chain_of(nodes.config, node)[-1]
    return nodes.config["backbones"][backbone]["tokens_of"] or backbone, block["max_length"], block["selection"]


def _models(nodes: Nodes) -> list[Stage]:
    """A stage for each model: what of its ancestry none before it has needed."""
    config, machine = nodes.config, nodes.machine
    stages, done = [], set[str]()
    for model in config["models"]:
        made = {name: nodes.part(name) for name in ancestry_of(config, model) if name not in done}
        done |= made.keys()
        seconds = {name: part.seconds(machine) for name, part in made.items()}
        ends: dict[str, float] = {}
        for name in made:
            ends[name] = seconds[name] + max(ends.get(parent, 0.0) for parent in parents_of(config["nodes"][name]))
        # Side by side as far as the machine allows, and no sooner than the longest chain.
        shared = sum(seconds[name] / part.slots(machine) for name, part in made.items())
        stages.append(Stage(f"train {model}", tuple(made.values()), max([shared, *ends.values()]) / HOUR))
    return stages


def _reporting(nodes: Nodes) -> list[Part]:
    rates, models = nodes.rates, len(nodes.config["models"])
    return [
        Part("describe_node", models, models * rates["table_job"]),
        Part("write_report", 1, rates["model_job"]),
        Part("write_catalog", 1, rates["table_job"]),
    ]


def _indexed(config: Mapping[str, Any]) -> str:
    """The system whose vectors an index has."""
    return str(config["index"]["model"] or config["models"][-1])


def _index(nodes: Nodes) -> list[Part]:
    config, rates, files = nodes.config, nodes.rates, nodes.files
    model, storage = _indexed(config), config["index"]["storage"]
    size = nodes.size(model)
    vectors = nodes.encoding("index_vectors", files.count, files.records, record_tokens(rates, size.length), size)
    disk = files.records * vector_bytes(rates, storage, size.dimensions)
    if storage == "usearch":
        seconds = files.records / MILLION * rates["build_usearch"]
        vectors = replace(vectors, core_seconds=vectors.core_seconds + seconds)
    return [
        Part(
            "index_texts",
            files.count,
            files.count * rates["table_job"] + files.records / THOUSAND * rates["index_words"],
            disk=files.records * rates["index_texts"],
        ),
        replace(vectors, disk=disk),
        Part("write_index", 1, rates["table_job"]),
    ]
