"""What the nodes of a configuration take, and the texts that they are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from biohicl.configuration import ancestry_of, chain_of, has_negatives, needs_label_counts, reads_labels
from biohicl.configuration.derived import NEGATIVES_BY, QUERY_LOSSES
from biohicl.estimate.encoders import Size, encoder_size
from biohicl.estimate.files import Files, pubmed_files
from biohicl.estimate.parts import Machine, Part
from biohicl.estimate.rates import Rates
from biohicl.estimate.work import encoding_seconds, text_tokens, training_seconds
from biohicl.storage import read_json

# Documents of benchmarks that are not here yet, as their authors count them.
DOCUMENTS = {"nfcorpus": 3_633, "scifact": 5_183, "scidocs": 25_657, "trec-covid": 171_332, "pubmedqa": 1_000}
DOCUMENTS_ASSUMED = 10_000
# Of these the ones that queries of the split for training are judged for.
PAIRED = {"scifact": 565}
# As the trainer has them: steps between two measures of a long training, measures of a short one, fewest steps between.
STEPS_BETWEEN, MEASURES, FEWEST_STEPS = 100, 5, 10
MILLION, THOUSAND = 1e6, 1e3


class Nodes:
    """The nodes of a checked configuration, on a machine. ``folder``: the project's, where things may lie already.

    ``assumed``: what was taken for granted so far, in words.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path, rates: Rates, machine: Machine):
        self.config, self.folder, self.rates, self.machine = config, folder, rates, machine
        self.threads: int = config["training"]["threads"]
        self.assumed: dict[str, None] = {}

    @cached_property
    def files(self) -> Files:
        """NLM's files."""
        return pubmed_files(self.config, self.folder, self.rates)

    @cached_property
    def ancestry(self) -> list[str]:
        """The nodes of the models, each after those that it is made from."""
        return ancestry_of(self.config, *self.config["models"])

    def by(self, step: str) -> list[str]:
        """Those of the ancestry that a step makes."""
        return [name for name in self.ancestry if self.config["nodes"][name]["step"] == step]

    def labelled(self) -> list[str]:
        """The trainings whose losses read labels: their similarities are compared."""
        trained = {name: self.config["nodes"][name] for name in self.by("train")}
        pairs = self.config["training"]["pairs"]
        return [
            name
            for name, node in trained.items()
            if node["selection"] not in pairs and reads_labels({**node, "negatives": {}})
        ]

    def backbones(self) -> list[str]:
        """What is fetched: backbones, those whose tokens they share, and peers."""
        ends = [chain_of(self.config, name)[-1] for name in (*self.config["models"], *self.ancestry)]
        owners = [self.config["backbones"][name]["tokens_of"] for name in ends]
        return list(dict.fromkeys([*ends, *filter(None, owners), *self.config["evaluation"]["peers"]]))

    def size(self, name: str) -> Size:
        """Of a node, a backbone or a peer."""
        end = chain_of(self.config, name)[-1]
        block = self.config["backbones"].get(end) or self.config["peers"][end]
        size = encoder_size(end, block, self.folder)
        about = f"{size.known_by} ({size.weights / MILLION:,.1f} M weights without embeddings)"
        if not size.is_known or "config.json" not in size.known_by:
            self.assumed[f"{end}: {about}"] = None
        return size

    def documents(self, benchmark: str) -> int:
        """Documents of a retrieval benchmark; 0 for pairs, which are negligible."""
        block = self.config["benchmarks"][benchmark]
        if block["kind"] != "retrieval":
            return 0
        record = self.folder / "resources/benchmarks" / benchmark / "benchmark.json"
        if record.is_file() and (counts := read_json(record).get("counts")):
            return int(counts["documents"])
        corpus = self.folder / (block["path"] or "") / "corpus.jsonl"
        if block["path"] and corpus.is_file():
            with corpus.open("rb") as lines:
                return sum(1 for line in lines if line.strip())
        if benchmark not in DOCUMENTS:
            self.assumed[f"{benchmark}: {DOCUMENTS_ASSUMED:,} documents"] = None
        return DOCUMENTS.get(benchmark, DOCUMENTS_ASSUMED)

    def paired(self, benchmark: str) -> int:
        """Documents of a benchmark that a query of its split for training has, at most."""
        block = self.config["benchmarks"][benchmark]
        judged = self.folder / (block["path"] or "") / "qrels" / f"{block['training']}.tsv"
        if block["path"] and judged.is_file():
            lines = judged.read_text(encoding="utf-8").splitlines()[1:]
            return len({line.split("\t")[1] for line in lines if "\t" in line})
        return PAIRED.get(benchmark, self.documents(benchmark))

    # --- texts ----------------------------------------------------------------------------------------

    def texts(self, selection: str) -> float:
        """How many texts a selection of any kind has, at most."""
        training = self.config["training"]
        if block := training["selections"].get(selection):
            usable = self.files.current * self.rates["usable_share"]
            return usable if block["citations"] == "all" else min(float(block["citations"]), usable)
        if block := training["concepts"].get(selection):
            known = self.rates["descriptors"]
            descriptors = known if block["descriptors"] == "all" else min(float(block["descriptors"]), known)
            return descriptors * (("scope_note" in block["descriptions"]) + (block["descriptions"] != ["scope_note"]))
        names = training["pairs"][selection]["benchmarks"]
        if training["pairs"][selection]["files"]:
            self.assumed[f"training.pairs.{selection}: its files are not counted"] = None
        return float(sum(map(self.paired, names)))

    def tokens(self, selection: str, length: int) -> float:
        """Mean tokens of such a text, cut at ``length``."""
        if selection in self.config["training"]["concepts"]:
            return min(float(length), self.rates["concept_tokens"])
        return text_tokens(self.rates, length)

    def query_tokens(self, selection: str, losses: Mapping[str, Any]) -> float:
        """Mean tokens of queries that a text is read with: of those that have one, by their shares."""
        of_concepts = selection in self.config["training"]["concepts"]
        total = 0.0
        for name in (*sorted(QUERY_LOSSES), "teacher_vectors"):
            if name in losses:
                is_name = of_concepts or name == "heading_abstract"
                total += losses[name]["share"] * self.rates["name_tokens" if is_name else "title_tokens"]
        return total

    # --- jobs -----------------------------------------------------------------------------------------

    def encoding(self, rule: str, jobs: int, texts: float, tokens: float, size: Size) -> Part:
        """Jobs that encode so many texts together, at any rate with the start of each."""
        speed = self.machine.speed
        seconds = encoding_seconds(self.rates, texts, tokens, size.weights, speed)
        return self.with_start(rule, jobs, seconds)

    def with_start(self, rule: str, jobs: int, seconds: float) -> Part:
        """Jobs of a model: on the GPU where there is one, else on cores."""
        if self.machine.gpus:
            return Part(rule, jobs, gpu_seconds=jobs * self.rates["gpu_start"] + seconds)
        return Part(rule, jobs, core_seconds=jobs * self.rates["model_job"] + seconds, threads=self.threads)

    def training(self, name: str) -> Part:
        """A node with step train: what it reads with gradients, and its measures on held-out citations."""
        node = self.config["nodes"][name]
        schedule, selection, length = node["schedule"], node["selection"], node["max_length"]
        texts, tokens = self.texts(selection), self.tokens(selection, length)
        held = min(float(node["development"]["citations"]), texts / 10)
        passes = (texts - held) * schedule["epochs"]
        steps = max(passes / schedule["batch_size"], 1.0)
        if schedule["max_steps"] is not None and schedule["max_steps"] < steps:
            steps = float(schedule["max_steps"])
            passes = steps * schedule["batch_size"]
        read = tokens + self.query_tokens(selection, node["losses"])
        if has_negatives(node):
            asked = min(1.0, sum(node["losses"][loss]["share"] for loss in QUERY_LOSSES if loss in node["losses"]))
            read += asked * sum(node["negatives"].get(source) or 0 for source in NEGATIVES_BY) * tokens
        size = self.size(name)
        method, speed = node["trainable"]["method"], self.machine.speed
        seconds = training_seconds(
            self.rates, passes, read, size.weights, method=method, length=length, gpu_speed=speed
        )
        every = node["development"]["every"] or max(FEWEST_STEPS, min(STEPS_BETWEEN, steps / MEASURES))
        measured = (1 + steps / every) * held
        seconds += encoding_seconds(self.rates, measured, read, size.weights, speed)
        return self.with_start("train_node", 1, seconds)

    def part(self, name: str) -> Part:
        """The job, or jobs, that make a node, with what it takes on disk."""
        node, size = self.config["nodes"][name], self.size(name)
        if node["step"] == "train":
            return replace(self.training(name), disk=4 * size.all_weights)
        if node["step"] == "encode":
            views, texts = len(node["views"]), self.texts(node["selection"])
            whole = self.tokens(node["selection"], node["max_length"])
            part = self.encoding("encode_node", views, texts * views, whole, size)
            return replace(part, disk=4.0 * texts * views * size.dimensions)
        return Part(f"{node['step']}_node", 1, self.rates["model_job"], disk=4 * size.all_weights)

    def is_counted(self) -> bool:
        """Whether labels are weighed by the corpus."""
        return any(needs_label_counts(self.config["nodes"][name]) for name in self.by("train"))
