"""The folder of a node: the model as sentence-transformers loads it, what it was made from, and how that went.

Goes in: what a training has when it is done. Comes out, whole or not at all: merged weights, tokenizer and settings,
the LoRA adapter in ``adapter/``, weights along the way in ``snapshots/<step>/``, ``training_log.parquet`` (a row a
step), ``development.parquet`` (a row a measure on held-out citations) and ``manifest.json``. Of models that were not
trained the logs and the adapter are absent.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from biohicl.encoder.folder import EncoderSettings, write_settings
from biohicl.storage import whole_directory, write_json, write_parquet
from biohicl.training.trainable import Trainable

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEVELOPMENT = pa.schema(
    [("step", pa.int64()), ("mrr", pa.float64()), ("mean_similarity", pa.float64()), ("correlation", pa.float64())]
)


def write_node(
    output: Path,
    trainable: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    encoder: EncoderSettings,
    start: str,
    log: Sequence[Mapping[str, Any]],
    measures: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    snapshots: Mapping[int, Path] | None = None,
) -> None:
    """Writes the folder ``output``; the model trains no more after it.

    ``start``: the name of what it was trained from. ``log``: a mapping a step. ``measures``: one a measure.
    ``snapshots``: by step, the folder with the weights that the model had then.
    """
    dimension = trainable.model.config.hidden_size
    with whole_directory(output) as folder:
        trainable.save(folder, start)
        tokenizer.save_pretrained(folder)
        # Trained in fp32, whatever the start's own weights are computed in, and by cosines.
        write_settings(replace(encoder, dtype="float32", normalize=True, similarity="cosine"), folder, dimension)
        for step, snapshot in (snapshots or {}).items():
            shutil.copytree(snapshot, folder / "snapshots" / str(step))
        write_parquet(pa.Table.from_pylist([dict(row) for row in log]), folder / "training_log.parquet")
        rows = pa.Table.from_pylist([dict(row) for row in measures], schema=DEVELOPMENT)
        write_parquet(rows, folder / "development.parquet")
        write_json(dict(manifest), folder / "manifest.json")


def write_model(
    output: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoder: EncoderSettings,
    manifest: Mapping[str, Any],
) -> None:
    """Writes the folder ``output`` of a model that no training made."""
    with whole_directory(output) as folder:
        model.save_pretrained(folder)
        # As readable as the files beside it, which safetensors does not make it.
        mode = (folder / "config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(mode)
        tokenizer.save_pretrained(folder)
        write_settings(encoder, folder, model.config.hidden_size)
        write_json(dict(manifest), folder / "manifest.json")
