"""What a card tells of a model, gathered from files: its folder, and what the workflow wrote on the way to it.

Goes in: :class:`Sources`. Comes out: a mapping for the card's template; nothing in it is anybody's opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import biohicl
from biohicl.encoder.folder import OWN_FILE, read_settings
from biohicl.errors import BioHiCLError
from biohicl.fetch.lock import known
from biohicl.json_lines import records_of
from biohicl.publishing.lineage import Manifest, lineage_of
from biohicl.publishing.scores import scores_of
from biohicl.pubmed.invented import is_invented
from biohicl.report.leakage import counted_leaks
from biohicl.report.made import how_joined, step_of
from biohicl.storage import read_json, safetensors_header

# By where config.yaml has them.
TITLE = {
    "selections": "citations of PubMed",
    "concepts": "descriptors of MeSH",
    "pairs": "documents with labelled queries",
}


@dataclass(frozen=True)
class Sources:
    """Where a card's facts are; what is not given is told to be unknown.

    ``about``: what config.yaml says: backbone (name, hub, revision, folder, licence), licence, selections (name to kind
    and settings), teachers (node that made vectors to encoder), seen (benchmarks on whose queries it was trained),
    chosen_on (those on whose development data something was chosen). ``nodes``: folders of what it is made from.
    ``backbone``: its folder. ``release``, ``selections``, ``excluded``, ``overlaps``, ``summary``: as the workflow
    writes them. ``times``: the folder of Snakemake's records of trainings; ``logs``: that of their checkpoints, where
    the log of each stays. ``lock``: which commit came.
    """

    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    nodes: Sequence[Path] = ()
    backbone: Path | None = None
    release: Path | None = None
    selections: Sequence[Path] = ()
    excluded: Sequence[Path] = ()
    overlaps: Sequence[Path] = ()
    summary: Path | None = None
    times: Path | None = None
    logs: Path | None = None
    lock: Path | None = None


def facts_of(sources: Sources) -> dict[str, Any]:
    """All that the template asks for."""
    about = sources.about
    lineage = lineage_of(sources.folder, sources.nodes, about.get("teachers", {}))
    trained = [manifest for manifest in lineage if step_of(manifest) == "train"]
    named = dict.fromkeys(manifest["settings"]["selection"] for manifest in trained)
    scores = scores_of(sources.summary, sources.folder.name)
    release = _release(sources)
    return {
        "name": sources.folder.name,
        "manifest": lineage[-1],
        "version": biohicl.__version__,
        "model": _model(sources.folder),
        "settings": read_settings(sources.folder),
        "own_file": (sources.folder / OWN_FILE).is_file(),
        "adapter": (sources.folder / "adapter").is_dir(),
        "snapshots": (sources.folder / "snapshots").is_dir(),
        "backbone": _backbone(sources, trained, lineage),
        "licence": about.get("licence"),
        "phases": [_phase(manifest, sources) for manifest in trained],
        "joined": [(manifest["node"], how_joined(manifest)) for manifest in lineage if step_of(manifest) != "train"],
        "recipe": _recipe(lineage),
        "held_out": _held_out(sources.folder, lineage[-1]),
        "choice": read_json(sources.folder / "choice.json") if (sources.folder / "choice.json").is_file() else None,
        "release": release,
        "invented": bool(release and is_invented(release["files"])),
        "selections": [_selection(name, sources) for name in named],
        "seen": about.get("seen", []),
        "chosen_on": about.get("chosen_on", []),
        "leaks": counted_leaks(
            [file for file in sources.excluded if file.stem in named],
            [file for file in sources.overlaps if file.parent.name in named],
        ),
        "scores": scores,
        "left_out": _left_out(sources.summary),
    }


def _model(folder: Path) -> dict[str, Any]:
    """Architecture, and how many parameters its weights have."""
    config = read_json(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BioHiCLError(f"{folder}: has no model.safetensors")
    return {
        "type": config["model_type"],
        "layers": config.get("num_hidden_layers") or config.get("n_layers"),
        "dimension": config.get("hidden_size") or config.get("dim"),
        "parameters": sum(map(_parameters, weights)),
    }


def _parameters(weights: Path) -> int:
    """Numbers in a file of weights."""
    with weights.open("rb") as stream:
        header, _ = safetensors_header(stream)
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _backbone(sources: Sources, trained: Sequence[Manifest], lineage: Sequence[Manifest]) -> dict[str, Any]:
    """Name, hub, commit, licence, and the SHA-256 of its weights as the first that started from it read them."""
    block = dict(sources.about.get("backbone", {}))
    names = {manifest["node"] for manifest in lineage}
    starts = [manifest for manifest in trained if manifest["settings"]["start"] not in names]
    name = block.get("name") or (starts[0]["settings"]["start"] if starts else None)
    hub, commit = block.get("hub"), block.get("revision")
    if name and hub and sources.lock is not None:
        source = hub if commit is None else f"{hub}@{commit}"
        commit = known(sources.lock, "encoders", name, source).get("revision", commit)
    sha256 = next((start["inputs"]["start"]["sha256"] for start in starts if "start" in start["inputs"]), None)
    licence = block.get("licence") or _licence_in(sources.backbone)
    return {"name": name, "hub": hub, "commit": commit, "licence": licence, "sha256": sha256}


def _licence_in(folder: Path | None) -> str | None:
    """What the README of a folder says in its head, as the hub reads it."""
    if folder is None or not (folder / "README.md").is_file():
        return None
    head = (folder / "README.md").read_text("utf-8", errors="replace").split("---\n")
    try:
        content = yaml.safe_load(head[1]) if len(head) > 2 and not head[0].strip() else None
    except (yaml.YAMLError, ValueError, RecursionError):
        # Also of dates that are none, and of lists within lists.
        return None
    found = content.get("license") if isinstance(content, dict) else None
    # Several, as hubs have it too; of lists within lists a few lines may hold more names than memory has room for.
    names: list[Any] = found if isinstance(found, list) else [found]
    return ", ".join(names) or None if all(isinstance(name, str) for name in names) else None


def _phase(manifest: Manifest, sources: Sources) -> dict[str, Any]:
    settings = manifest["settings"]
    file = sources.times / f"{manifest['node']}.tsv" if sources.times else None
    seconds = None
    if file is not None and file.is_file():
        seconds = float(pl.read_csv(file, separator="\t", columns=["s"])["s"][-1])
    return {**manifest, **settings, "seconds": seconds, "joules": _joules(manifest, sources.logs)}


def _joules(manifest: Manifest, logs: Path | None) -> float | None:
    """What the GPUs' counters gave over all steps; None where a step has none, or the log is of another training."""
    file = logs / manifest["node"] / "log.jsonl" if logs else None
    if file is None or not file.is_file():
        return None
    rows = [row for _, row in records_of(file) if row.get("kind") == "step"]
    if len(rows) != manifest["steps"] or not all("joules" in row for row in rows):
        return None
    return float(sum(row["joules"] for row in rows))


def _recipe(lineage: Sequence[Manifest]) -> str:
    """The nodes as config.yaml has them."""
    # Without choices: what was not chosen is not here.
    nodes = {manifest["node"]: manifest["settings"] for manifest in lineage if step_of(manifest) != "select"}
    return yaml.safe_dump({"nodes": nodes}, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _held_out(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """The measures at the start of the model's own training and of the step whose weights it has; none of a choice."""
    file = folder / "development.parquet"
    if step_of(manifest) != "train" or not file.is_file():
        return []
    rows = pl.read_parquet(file).sort("step").to_dicts()
    kept = [row for row in rows if row["step"] == manifest["model_of_step"]]
    return [rows[0], *kept] if len(rows) > 1 and kept else []


def _left_out(summary: Path | None) -> list[str]:
    """The benchmarks that could not be had."""
    if summary is None:
        return []
    table = pl.read_parquet(summary.with_name("left_out.parquet"))
    return table.filter(pl.col("kind") == "benchmark")["name"].to_list()


def _release(sources: Sources) -> dict[str, Any] | None:
    if sources.release is None:
        return None
    return {"name": sources.release.name, **read_json(sources.release / "release.json")}


def _selection(name: str, sources: Sources) -> dict[str, Any]:
    """Of a selection: what it is of, how it was drawn, how many rows it has, and of which years."""
    block = sources.about.get("selections", {}).get(name, {})
    found: dict[str, Any] = {"name": name, "kind": TITLE.get(block.get("kind"), "texts"), "rows": None, "years": None}
    found["settings"] = block.get("settings", {})
    file = next((file for file in sources.selections if file.stem == name), None)
    if file is not None:
        table = pl.scan_parquet(file)
        found["rows"] = table.select(pl.len()).collect().item()
        if "year" in table.collect_schema().names():
            found["years"] = table.select(first=pl.col("year").min(), last=pl.col("year").max()).collect().row(0)
    return found
