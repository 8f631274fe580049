"""Where a model comes from: what :func:`manifest` writes beside its weights."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import biohicl
from biohicl.storage import sha256_of

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "pyarrow")


def manifest(
    node: str, settings: Mapping[str, Any], inputs: Mapping[str, str], forward: str | None, **facts: Any
) -> dict[str, Any]:
    """Settings, SHA-256 of every input (``inputs``, by name), versions, thread count and commit.

    ``forward``: what the transformer computed in; None where it computed nothing. No times and no paths: the same
    training writes the same manifest anywhere.
    """
    import torch

    versions = {"python": platform.python_version(), "biohicl": biohicl.__version__}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
    computed = {"forward": forward, "pooling": "float32", "similarity": "float32", "targets": "float32"}
    return {
        "node": node,
        **facts,
        "threads": torch.get_num_threads(),
        "dtype": {"weights": "float32", **(computed if forward is not None else {})},
        "settings": settings,
        "inputs": {name: {"sha256": digest} for name, digest in inputs.items()},
        "versions": versions,
        "commit": _commit(),
    }


def weights_sha256(folder: Path) -> str:
    """The SHA-256 of a folder's weights; where they lie in several files, over the names and hashes of these."""
    return sha256_of_files(sorted(folder.glob("*.safetensors")), folder)


def sha256_of_files(files: Sequence[Path], folder: Path) -> str:
    """The SHA-256 of one file, or over the names (within ``folder``) and hashes of several."""
    if len(files) == 1:
        return sha256_of(files[0])
    listed = "".join(f"{file.relative_to(folder)} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


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
