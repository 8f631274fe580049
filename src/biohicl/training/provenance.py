"""Where a model comes from: what :func:`manifest` writes beside its weights."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import biohicl

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "pyarrow")


def manifest(
    node: str, settings: Mapping[str, Any], inputs: Mapping[str, str], forward: str, **facts: Any
) -> dict[str, Any]:
    """Settings, SHA-256 of every input (``inputs``, by name), versions, thread count and commit.

    ``forward``: what the transformer computed in. No times and no paths: the same training writes the same manifest
    anywhere.
    """
    import torch

    versions = {"python": platform.python_version(), "biohicl": biohicl.__version__}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "node": node,
        **facts,
        "threads": torch.get_num_threads(),
        "dtype": {
            "weights": "float32",
            "forward": forward,
            "pooling": "float32",
            "similarity": "float32",
            "targets": "float32",
        },
        "settings": settings,
        "inputs": {name: {"sha256": digest} for name, digest in inputs.items()},
        "versions": versions,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the source tree this package runs from, with "+changes" where files differ; None outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
