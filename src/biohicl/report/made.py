"""How a node was made, from its manifest, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError
from biohicl.storage import read_json


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a node's folder says of how it was made; an error where it says nothing."""
    file = folder / "manifest.json"
    if not file.is_file():
        raise BioHiCLError(f"{folder}: has no manifest.json, so it is no model of this workflow")
    manifest: dict[str, Any] = read_json(file)
    return manifest


def step_of(manifest: Mapping[str, Any]) -> str:
    """The node's step; before there were others than training, manifests did not say."""
    step: str = manifest["settings"].get("step", "train")
    return step


def how_joined(manifest: Mapping[str, Any]) -> str:
    """Of an average or a choice: what it is made from, and how."""
    settings = manifest["settings"]
    if settings["step"] == "select":
        return f"{manifest['chosen']}, chosen among {', '.join(settings['of'])}"
    models = ", ".join(settings["of"]) + (" and their snapshots" if settings["snapshots"] else "")
    mean = f"the mean of {models}" if len(settings["of"]) > 1 or settings["snapshots"] else models
    share, other = settings["share"], settings["with"]
    if other and share > 1:
        return f"{other}, and {share:g} times what {mean} changed in it"
    return f"{share:g} of {mean}" + (f", {1 - share:g} of {other}" if other else "")
