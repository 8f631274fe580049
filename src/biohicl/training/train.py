"""The step ``train``: one phase, from an encoder folder to a new one.

Goes in: the folder to start from, a selection's tokens and labels, the hierarchy and label counts that they refer to,
the node's settings. Comes out: ``results/models/<node>/``: merged weights, tokenizer and settings as
sentence-transformers loads them, the LoRA adapter in ``adapter/``, ``training_log.parquet`` (a row a step) and
``manifest.json`` (what it was made from).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from biohicl.configuration import LABEL_LOSSES, node_settings
from biohicl.encoder.embed import embed_tokens, pick_device
from biohicl.encoder.folder import load_model, load_tokenizer, read_settings, write_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import whole_directory, write_json, write_parquet
from biohicl.training.data import TrainingData, batches, read_training_data, steps_of
from biohicl.training.provenance import manifest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Which token lists each loss needs.
VIEWS_OF_LOSS = {
    "mse": {"document"},
    "contrastive": {"document"},
    "soft_targets": {"document"},
    "title_abstract": {"query", "passage"},
}
# Layers that carry no text's meaning of their own and never get an adapter.
_NOT_ADAPTED = ("pooler",)


def train(
    start: Path,
    tokens: Path,
    labels: Path,
    hierarchy: Path,
    label_counts: Path | None,
    settings: Mapping[str, Any],
    output: Path,
    device: str,
) -> None:
    """Trains one phase and writes the node's folder, whole or not at all.

    ``settings`` is the node's resolved block of config.yaml; ``label_counts`` is needed where it weighs labels by
    the corpus. The same settings, inputs, device kind and thread count give the same weights.
    """
    import torch

    views = set().union(*(VIEWS_OF_LOSS[name] for name in settings["losses"]))
    label_settings = node_settings(settings).get("labels")
    data = read_training_data(tokens, labels, hierarchy, label_counts, label_settings, views)
    if len(data) < 2:
        raise BioHiCLError(f"{tokens}: {len(data)} citations; at least 2 are needed to train")
    torch.manual_seed(settings["seed"])
    model = load_model(start).to(pick_device(device))
    tokenizer = load_tokenizer(start)
    encoder_settings = read_settings(start)
    trained = _with_trainable(model, settings["trainable"])
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    total = sum(parameter.numel() for parameter in model.parameters())
    say(
        f"{output.name}: {len(data):,} citations, {sum(p.numel() for p in parameters):,} of {total:,} weights train, "
        f"on {model.device}, {torch.get_num_threads()} threads"
    )
    log = _run(trained, parameters, data, settings, encoder_settings.pooling, tokenizer.pad_token_id or 0)
    with whole_directory(output) as folder:
        if settings["trainable"]["method"] == "lora":
            # The adapter names the folder that it was trained on by path; nobody else has that path.
            trained.peft_config["default"].base_model_name_or_path = start.name
            # Whole embedding tables do not belong to an adapter, and peft would ask the hub about them.
            trained.save_pretrained(folder / "adapter", save_embedding_layers=False)
            (folder / "adapter" / "README.md").unlink(missing_ok=True)
            merged = trained.merge_and_unload()
        else:
            merged = trained
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_settings(encoder_settings, folder, merged.config.hidden_size)
        write_parquet(pa.Table.from_pylist(log), folder / "training_log.parquet")
        inputs = {"start": start / "model.safetensors", "tokens": tokens, "labels": labels, "hierarchy": hierarchy}
        if label_counts:
            inputs["label_counts"] = label_counts
        write_json(
            manifest(output.name, settings, inputs, citations=len(data), steps=len(log), device=str(model.device)),
            folder / "manifest.json",
        )


def _run(
    model: PreTrainedModel,
    parameters: list[torch.nn.Parameter],
    data: TrainingData,
    settings: Mapping[str, Any],
    pooling: Any,
    pad_id: int,
) -> list[dict[str, Any]]:
    """The loop; returns a row a step: step, epoch, learning_rate, loss, and each term before its weight."""
    import torch

    schedule = settings["schedule"]
    steps = steps_of(len(data), schedule["batch_size"], schedule["epochs"], schedule["max_steps"])
    optimizer = torch.optim.AdamW(parameters, lr=schedule["learning_rate"], weight_decay=schedule["weight_decay"])
    factor = _warmup_and_decay(steps, schedule["warmup"])
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    plan = batches(len(data), schedule["batch_size"], schedule["epochs"], settings["seed"])
    log: list[dict[str, Any]] = []
    started = time.monotonic()
    last_said = started
    for step, (epoch, indices) in track(zip(range(1, steps + 1), plan, strict=False), steps, "training", "steps"):
        rate = rates.get_last_lr()[0]
        terms = _terms(model, data, indices, settings["losses"], pooling, pad_id)
        loss = torch.stack([settings["losses"][name]["weight"] * term for name, term in terms.items()]).sum()
        if not bool(torch.isfinite(loss)):
            pmids = ", ".join(str(pmid) for pmid in data.pmids[indices[:5]])
            values = ", ".join(f"{name} {term.item():.3g}" for name, term in terms.items())
            raise BioHiCLError(
                f"the loss is {loss.item()} at step {step} ({values}); the batch begins with PMIDs {pmids}. "
                "Lower schedule.learning_rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, schedule["clip"])
        optimizer.step()
        rates.step()
        row = {"step": step, "epoch": epoch, "learning_rate": rate, "loss": loss.item()}
        log.append(row | {name: term.item() for name, term in terms.items()})
        now = time.monotonic()
        if now - last_said >= 10 or step in (1, steps):
            last_said = now
            pace = step * len(indices) / (now - started)
            seconds_left = (steps - step) * (now - started) / step
            say(f"step {step} of {steps}: loss {row['loss']:.4f}, {pace:.1f} citations/s, {seconds_left:.0f} s left")
    return log


def _terms(
    model: PreTrainedModel,
    data: TrainingData,
    indices: Any,
    wanted: Mapping[str, Mapping[str, Any]],
    pooling: Any,
    pad_id: int,
) -> dict[str, torch.Tensor]:
    """Each loss term of one batch, before its weight. Forward in bf16 on a GPU, similarities in fp32 everywhere."""
    import torch
    from torch.nn.functional import normalize

    from biohicl.training import losses

    def embedded(view: str) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=model.device.type == "cuda"):
            vectors = embed_tokens(model, data.tokens[view].rows(indices), pooling, pad_id)
        return normalize(vectors.float(), dim=-1)

    terms: dict[str, torch.Tensor] = {}
    between_documents = [name for name in wanted if name in LABEL_LOSSES]
    if between_documents and data.targets is not None:
        documents = embedded("document")
        similarity = documents @ documents.T
        target = data.targets.of(indices, similarity.device)
        for name in between_documents:
            own = {key: value for key, value in wanted[name].items() if key != "weight"}
            terms[name] = getattr(losses, name)(similarity, target, **own)
    if "title_abstract" in wanted:
        similarity = embedded("query") @ embedded("passage").T
        terms["title_abstract"] = losses.title_abstract(similarity, wanted["title_abstract"]["temperature"])
    return terms


def _with_trainable(model: PreTrainedModel, settings: Mapping[str, Any]) -> Any:
    """The model with the parameters that train: LoRA adapters around frozen weights, or all of it.

    The backbone's own dropout stays off: it would blur SimE, which the losses compare with exact targets.
    """
    if settings["method"] == "full":
        return model
    import torch
    from peft import LoraConfig, get_peft_model

    layers = {
        name: isinstance(module, torch.nn.Linear)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and not any(part in name for part in _NOT_ADAPTED)
    }
    if settings["targets"] == "all-linear":
        targets = [name for name, is_linear in layers.items() if is_linear]
    else:
        known = {name.rpartition(".")[2] for name in layers}
        for target in settings["targets"]:
            if target not in known:
                raise BioHiCLError(
                    f"trainable.targets: the model has no layer '{target}'; it has {', '.join(sorted(known))}, "
                    "or use all-linear"
                )
        targets = [name for name in layers if name.rpartition(".")[2] in settings["targets"]]
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules=targets,
            bias="none",
            task_type="FEATURE_EXTRACTION",
        ),
    )
    adapted.eval()
    for name, module in adapted.named_modules():
        if "lora_dropout" in name:
            module.train()
    return adapted


def _warmup_and_decay(steps: int, warmup: float) -> Any:
    """Factor of the learning rate at each step: up over the first ``warmup`` of them, then down to 0."""
    rising = max(1, round(steps * warmup))

    def factor(done: int) -> float:
        if done < rising:
            return (done + 1) / rising
        return max(0.0, (steps - done) / max(1, steps - rising))

    return factor
