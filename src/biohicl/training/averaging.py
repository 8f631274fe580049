"""The step ``average``: the mean of several models' weights, perhaps mixed with another's.

Goes in: encoder folders of one architecture that read texts alike, such as a training's start, its end and its
snapshots. Comes out: a node's folder (:mod:`biohicl.training.node_folder`), without logs, for nothing was trained. Each
weight is share x mean(of) + (1 - share) x with, computed in float64 and stored in float32.

Models that were trained from one start lie in one valley of the loss, and a point between two of them often does what
both do: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022, for the mixture with the start; the same,
Model Soups, ICML 2022, and Izmailov et al., Averaging Weights Leads to Wider Optima, UAI 2018, for means. What models
learned of different things from one start adds up: with as large a share as there are models, the start gets all that
each of them has learned (Ilharco et al., Editing Models with Task Arithmetic, ICLR 2023).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from biohicl.encoder.fetching import why_unavailable
from biohicl.encoder.folder import EncoderSettings, load_model, load_tokenizer, passage_folder, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.training.node_folder import write_model
from biohicl.training.provenance import manifest, weights_sha256
from biohicl.training.tokens import fingerprint_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = Mapping[str, torch.Tensor]
SNAPSHOTS = "snapshots"
WEIGHTS = "model.safetensors"
# What weights of the same shapes may be used for differently.
ARCHITECTURE = (
    *("model_type", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act"),
    *("hidden_activation", "layer_norm_eps", "rms_norm_eps", "position_embedding_type", "pad_token_id"),
)
# A node is compared by cosines, whatever its backbone is.
HOW_COMPARED = ("dtype", "normalize", "similarity")


@dataclass(frozen=True)
class Source:
    """Weights that take part. ``name``: in the manifest. ``weights``: where they lie, ``folder``: all else of them."""

    name: str
    folder: Path
    weights: Path


def write_average(
    of: Sequence[Path], output: Path, other: Path | None = None, share: float = 1.0, snapshots: bool = False
) -> None:
    """Writes the node ``output``: ``share`` of the mean of ``of``, and the rest of ``other``.

    ``share``: 0 to the number of ``of``; above 1: ``other`` and ``share`` times the mean of what they changed in it.
    ``snapshots``: those of each of ``of`` take part in the mean as models of their own. Raises :class:`BioHiCLError`
    where two of them differ in how they read a text or in their tensors, or a weight is not finite.
    """
    if not 0 <= share <= len(of):
        raise BioHiCLError(f"share is {share}; of {len(of)} averaged it is from 0 to {len(of)}")
    if other is None and share != 1:
        raise BioHiCLError(f"share is {share}, and nothing is named that the rest of it is taken from (--with)")
    sources = [source for folder in of for source in _sources(folder, snapshots)]
    added = [] if other is None else _sources(other, False)
    _check_names([*sources, *added])
    settings = _common_settings([*of, *([] if other is None else [other])])
    model, mean = _mean_of(sources)
    if added:
        mixed_with, rest = _loaded(added[0])
        _check_alike(mixed_with, rest, added[0].name, model, mean, sources[0].name)
        mean = _mixed(mean, rest, share)
    model.load_state_dict({name: value.to(torch.float32) if _is_real(value) else value for name, value in mean.items()})
    block = {
        "step": "average",
        "of": [folder.name for folder in of],
        "snapshots": snapshots,
        "with": None if other is None else other.name,
        "share": share,
    }
    hashes = {source.name: weights_sha256(source.weights) for source in (*sources, *added)}
    write_model(
        output,
        model,
        load_tokenizer(of[0]),
        replace(settings, dtype="float32"),
        manifest(output.name, block, hashes, None, models=len(sources)),
    )
    whole = f"the mean of {len(sources)} models" if len(sources) > 1 else sources[0].name
    if other is None or share <= 1:
        say(f"{output}: {share:g} of {whole}" + (f", {1 - share:g} of {other.name}" if other is not None else ""))
    else:
        say(f"{output}: {other.name}, and {share:g} times what {whole} changed in it")


def _sources(folder: Path, snapshots: bool) -> list[Source]:
    """A folder's own weights, after those of its snapshots."""
    if reason := why_unavailable(folder):
        raise BioHiCLError(f"{folder}: could not be had, so it has no weights to average: {reason}")
    if passage_folder(folder) != folder:
        raise BioHiCLError(f"{folder}: has a second encoder for documents; only single encoders are averaged")
    own = Source(folder.name, folder, folder)
    if not snapshots:
        return [own]
    places = sorted(path for path in (folder / SNAPSHOTS).glob("[!.]*") if path.is_dir())
    lacking = [place for place in places if not (place / WEIGHTS).is_file()]
    if not places or lacking:
        what = f"{lacking[0]}: has no {WEIGHTS}" if lacking else f"{folder}: keeps no {SNAPSHOTS}/"
        raise BioHiCLError(f"{what}; train it with schedule.snapshots, or average without --snapshots")
    return [*(Source(f"{folder.name}/{SNAPSHOTS}/{place.name}", folder, place) for place in places), own]


def _check_names(sources: Sequence[Source]) -> None:
    places: dict[str, Path] = {}
    for source in sources:
        if places.setdefault(source.name, source.weights).resolve() != source.weights.resolve():
            raise BioHiCLError(
                f"{source.weights} and {places[source.name]} have the same name, by which the manifest tells them "
                "apart; rename one"
            )


def _common_settings(folders: Sequence[Path]) -> EncoderSettings:
    """How all of them read texts, compared as the first's vectors are; an error that says which one differs in what."""
    first = read_settings(folders[0])
    reading = fingerprint_of(load_tokenizer(folders[0]), first)
    for folder in folders[1:]:
        own = read_settings(folder)
        for name, value in asdict(own).items():
            # What they are computed in, and how vectors are compared, says nothing of what weights mean.
            if name not in HOW_COMPARED and value != getattr(first, name):
                raise BioHiCLError(
                    f"{folder}: its {name} is {value!r}, and that of {folders[0]} is {getattr(first, name)!r}: their "
                    "weights have no mean"
                )
        if fingerprint_of(load_tokenizer(folder), own) != reading:
            raise BioHiCLError(
                f"{folder}: its tokenizer is another one than that of {folders[0]} (other ids, or other pieces of a "
                "text): their weights have no mean"
            )
    return first


def _mean_of(sources: Sequence[Source]) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """The first's model, to hold the result, and the mean; one more model at a time is in memory."""
    model, first = _loaded(sources[0])
    total = {name: value.to(torch.float64) if _is_real(value) else value.clone() for name, value in first.items()}
    for source in sources[1:]:
        another, tensors = _loaded(source)
        _check_alike(another, tensors, source.name, model, total, sources[0].name)
        for name, value in tensors.items():
            if _is_real(value):
                total[name] += value.to(torch.float64)
    return model, {name: value / len(sources) if _is_real(value) else value for name, value in total.items()}


def _mixed(mean: Tensors, rest: Tensors, share: float) -> dict[str, torch.Tensor]:
    if share in (0, 1):
        # To the bit, the sign of a zero included.
        return dict(mean if share == 1 else rest)
    return {
        name: share * value + (1 - share) * rest[name].to(torch.float64) if _is_real(value) else value
        for name, value in mean.items()
    }


def _loaded(source: Source) -> tuple[PreTrainedModel, Tensors]:
    """The model and its tensors by name, in float32, whatever names and precision they are stored with."""
    if source.weights == source.folder:
        model = load_model(source.folder)
    else:
        # A snapshot is weights alone: it is read as its node is.
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            (place / "config.json").symlink_to((source.folder / "config.json").resolve())
            (place / WEIGHTS).symlink_to((source.weights / WEIGHTS).resolve())
            try:
                model = load_model(place)
            except BioHiCLError as error:
                raise BioHiCLError(str(error).replace(str(place), str(source.weights))) from None
    tensors = model.state_dict()
    for tensor, value in tensors.items():
        if _is_real(value) and not bool(torch.isfinite(value).all()):
            raise BioHiCLError(f"{source.weights}: its tensor {tensor} has NaN or infinite weights; train it again")
    return model, tensors


def _check_alike(
    model: PreTrainedModel, tensors: Tensors, name: str, other: PreTrainedModel, others: Tensors, other_name: str
) -> None:
    """Both have the same architecture and tensors; integers, which have no mean, are the same."""
    for key in ARCHITECTURE:
        here, there = (getattr(one.config, key, None) for one in (model, other))
        if here != there:
            raise BioHiCLError(
                f"{name}: its config has {key} {here}, that of {other_name} {there}: their weights have no mean"
            )
    only = sorted(tensors.keys() ^ others.keys())
    if only:
        lacking, having = (name, other_name) if only[0] in others else (other_name, name)
        raise BioHiCLError(f"{lacking}: has no tensor {only[0]}, and {having} has one: they are of different models")
    for tensor, value in tensors.items():
        if value.shape != others[tensor].shape:
            raise BioHiCLError(
                f"{name}: its tensor {tensor} has the shape {tuple(value.shape)}, that of {other_name} "
                f"{tuple(others[tensor].shape)}: they are of different models"
            )
        if not _is_real(value) and not torch.equal(value, others[tensor]):
            raise BioHiCLError(
                f"{name}: its tensor {tensor} holds integers, and others than that of {other_name}; there is no mean "
                "of these"
            )


def _is_real(value: torch.Tensor) -> bool:
    return value.is_floating_point()
