"""Checkpoints: what a training needs to go on as if nothing had happened.

Goes in: plain tensors and a state that JSON can hold. Comes out, under the folder that :class:`Checkpoints` is given:

previous/        where other settings began anew: the last checkpoint and log of those before
step-NNNNNNNN/   the last checkpoint: weights, optimizer and generators as safetensors, ``state.json``
best-NNNNNNNN/   the best weights so far by the chosen measure, where one is chosen
snapshot-NNNNNNNN/  the model's weights after a step that the node keeps
log.jsonl        a line a step and a line a measure, with times; it stays when the training is done
tensorboard/     the same for TensorBoard

A checkpoint is renamed into place once it is whole, and the one before it goes after that: whatever ends the process,
one whole checkpoint is there, and never more than two.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import LOCK, locked, read_json, remove, whole_directory, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = Mapping[str, torch.Tensor]
# Where one says by what a training runs.
MADE_BY = {
    "threads": "--threads; in the workflow training.threads, and at least as many --cores",
    "processes": "torchrun --nproc-per-node; in the workflow training.gpus",
    "device": "--device",
}
PARTS = ("weights", "optimizer", "generators")


@dataclass(frozen=True)
class Checkpoint:
    """A training as it was after ``step`` steps."""

    step: int
    weights: Tensors
    optimizer: Tensors
    generators: Tensors  # the state of each process's random generator
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one node, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.jsonl"
        self.tensorboard = folder / "tensorboard"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other trainings out of the folder, and removes what a killed one left unfinished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / LOCK))
            except BlockingIOError:
                raise BioHiCLError(
                    f"{self.folder}: another training is at work there; wait for it, or name another folder with "
                    "--checkpoints"
                ) from None
            except OSError as error:
                say(f"warning: {self.folder}: cannot be locked ({error.strerror}); let no two trainings share it")
            for scrap in self.folder.glob(".*.tmp"):
                remove(scrap)
            yield

    def last(self) -> Checkpoint | None:
        """The last whole checkpoint, or None; an error where it cannot be read."""
        found = self._steps("step")
        if not found:
            return None
        folder = found[-1]
        try:
            state = read_json(folder / "state.json")
            weights, optimizer, generators = (_read(folder / f"{name}.safetensors") for name in PARTS)
            parts = state["measures"], state["made_from"], state["made_by"], state["how"], state["changed"]
            if not all(isinstance(part, Mapping | list) for part in parts):
                raise ValueError("its state.json is of another version")
            return Checkpoint(int(state["step"]), weights, optimizer, generators, state)
        except (BioHiCLError, SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise BioHiCLError(
                f"{folder}: this checkpoint cannot be read ({' '.join(str(error).split())}); remove {self.folder} to "
                "train from the beginning"
            ) from None

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, then removes the one before."""
        with whole_directory(self.folder / f"step-{checkpoint.step:08}") as folder:
            for name in PARTS:
                _write(getattr(checkpoint, name), folder / f"{name}.safetensors")
            write_json(dict(checkpoint.state), folder / "state.json")
            for path in folder.iterdir():
                _to_disk(path)
        _to_disk(self.folder)
        for old in self._steps("step"):
            if old.name != f"step-{checkpoint.step:08}":
                shutil.rmtree(old)

    def save_best(self, step: int, weights: Tensors) -> None:
        """Writes the best weights so far. Those before stay until :meth:`drop_best`: the last checkpoint knows them."""
        with whole_directory(self.folder / f"best-{step:08}") as folder:
            _write(weights, folder / "weights.safetensors")
            _to_disk(folder / "weights.safetensors")

    def best(self, step: int) -> Tensors:
        """The best weights, which were those after ``step``; an error where they are not there."""
        path = self.folder / f"best-{step:08}" / "weights.safetensors"
        try:
            return _read(path)
        except (SafetensorError, OSError) as error:
            raise BioHiCLError(
                f"{path}: the best weights so far cannot be read ({' '.join(str(error).split())}); remove "
                f"{self.folder} to train from the beginning"
            ) from None

    def drop_best(self, but: int | None) -> None:
        """Removes best weights that no checkpoint refers to any more."""
        for old in self._steps("best"):
            if but is None or old.name != f"best-{but:08}":
                shutil.rmtree(old)

    def save_snapshot(self, step: int, model: PreTrainedModel) -> None:
        """Writes the weights of a whole model, for the node's folder; a training that goes on from before it writes
        the same again."""
        with whole_directory(self.snapshot(step)) as folder:
            model.save_pretrained(folder)
            for path in folder.iterdir():
                if ".safetensors" in path.name:
                    _to_disk(path)
                else:
                    path.unlink()

    def snapshot(self, step: int) -> Path:
        """Where the snapshot of a step is kept."""
        return self.folder / f"snapshot-{step:08}"

    def set_aside(self) -> None:
        """Moves a training's checkpoint and log to ``previous/``, in place of what lay there."""
        aside = self.folder / "previous"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in [*self._steps("step"), *self._steps("best"), self.log]:
            if path.exists():
                path.rename(aside / path.name)

    def clear(self) -> None:
        """Removes all checkpoints; what was logged stays."""
        for kind in ("step", "best", "snapshot"):
            for folder in self._steps(kind):
                shutil.rmtree(folder)

    def rows(self, last: int) -> list[dict[str, Any]]:
        """The logged lines up to step ``last``; later ones are taken out of the file, for they come again."""
        rows = []
        if self.log.is_file():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    step = int(row["step"])
                except (ValueError, KeyError, TypeError):
                    # The line that a killed process was writing.
                    break
                if step <= last:
                    rows.append(row)
        steps = [row["step"] for row in rows if row.get("kind") == "step"]
        if steps != list(range(1, last + 1)):
            raise BioHiCLError(
                f"{self.log}: lacks steps before the checkpoint at step {last}; remove {self.folder} to train from the "
                "beginning"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.log.with_name(f".{self.log.name}.tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        temporary.replace(self.log)
        return rows

    def _steps(self, kind: str) -> list[Path]:
        folders = self.folder.glob(f"{kind}-{'[0-9]' * 8}*")
        return sorted(path for path in folders if path.is_dir())


def usable(checkpoint: Checkpoint, made_from: Mapping[str, Any], made_by: Mapping[str, Any], folder: Path) -> bool:
    """Whether a training may go on from ``checkpoint``.

    ``made_from``: settings and data; where they differ, the checkpoint is another training's, and that is said.
    ``made_by``: threads, processes, device; the same training elsewhere would not give the same model: an error.
    """
    differing = _differing(checkpoint.state["made_from"], made_from)
    if differing:
        say(
            f"{folder}: the checkpoint at step {checkpoint.step} is of other {', '.join(differing)}; it is set aside "
            "in previous/, and training begins anew"
        )
        return False
    for name, value in made_by.items():
        before = checkpoint.state["made_by"].get(name)
        if before != value:
            raise BioHiCLError(
                f"{folder}: the checkpoint at step {checkpoint.step} was made with {name} {before}, now it is {value}: "
                f"the model would not be the same. Go on with {before} ({MADE_BY[name]}), or remove that folder to "
                "train from the beginning"
            )
    return True


def _differing(one: Any, other: Any, key: str = "") -> list[str]:
    """The keys under which two nested mappings differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found = []
        for name in dict.fromkeys([*one, *other]):
            found += _differing(one.get(name), other.get(name), f"{key}.{name}" if key else str(name))
        return found
    return [] if one == other else [key]


def _write(tensors: Tensors, path: Path) -> None:
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise BioHiCLError(f"{path.parent.parent}: a checkpoint cannot be written there: {error}") from None


def _to_disk(path: Path) -> None:
    """Waits until a file, or a folder's names, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Tensors:
    from safetensors.torch import load_file

    return load_file(path)
