"""`make bench-train`: the trainer beside sentence-transformers' trainer and a plain padded loop, in interleaved rounds.

One model, one set of texts, one batch, one dtype, one loss: titles find abstracts (InfoNCE, both ways). Random weights
of a shape that is named (speed does not depend on them), token lengths drawn like those of PubMed's titles and
abstracts. On a GPU bfloat16 and torch.compile, with memory, and what a deterministic run costs (BERT-large: --shape large);
on a CPU float32. Needs neither polars nor the real data: it runs on a bare GPU image (without `datasets` and
`accelerate` sentence-transformers is left out).

    python tests/bench_train.py [--shape minilm|base|large] [--batch N] [--length N] [--steps N] [--rounds N]
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy, normalize

from biohicl.encoder.packing import TextModel
from biohicl.mesh.label_sets import LabelSets
from biohicl.mesh.weights import Weighting
from biohicl.ragged import Ragged
from biohicl.training.batches import Preparer
from biohicl.training.data import TrainingData
from biohicl.training.plan import plan_batches
from biohicl.training.ranks import Ranks
from biohicl.training.step import Step
from biohicl.training.targets import Targets
from biohicl.training.trainable import Trainable
from biohicl.training.watch import matrix_rate, operations

SHAPES = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
TEMPERATURE = 0.05
LORA = {"method": "lora", "rank": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}
FULL = {"method": "full"}


def drawn_lengths(draw, count, median, spread, longest):
    """Log-normal, as PubMed's are: titles about 20 tokens, abstracts about 270."""
    return np.clip(median * np.exp(spread * draw.standard_normal(count)), 8, longest).astype(int)


def drawn_texts(count, longest):
    """Token lists of titles and abstracts; 101 and 102 stand at the ends, as BERT has it."""
    draw = np.random.default_rng(1)
    views = {}
    for view, median, spread in (("query", 20, 0.35), ("passage", 270, 0.45)):
        lists = [draw.integers(1000, 30_000, n) for n in drawn_lengths(draw, count, median, spread, longest)]
        for tokens in lists:
            tokens[0], tokens[-1] = 101, 102
        views[view] = Ragged(np.concatenate(lists).astype(np.int32), np.cumsum([0, *map(len, lists)]).astype(np.int64))
    views["document"] = views["passage"]
    return views


def drawn_labels(count):
    """Ancestor-closed sets of some 40 labels each, of a forest of MeSH's size, with weights."""
    draw = np.random.default_rng(2)
    nodes = 30_764 + 17
    lists = [np.unique(np.minimum((nodes * draw.random(45) ** 3).astype(np.int32), nodes - 1)) for _ in range(count)]
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    values = np.concatenate(lists)
    weights = np.log1p(draw.random(nodes) * 12).astype(np.float32)
    closure = Ragged(np.zeros(0, np.int32), np.zeros(nodes, np.int64))
    return LabelSets(Ragged(values, offsets), np.ones(len(values), np.uint8)), Weighting(
        weights, np.ones(16, np.float32), closure
    )


def new_model(shape, device):
    torch.manual_seed(0)
    # The backbone's own dropout is off everywhere: this trainer never has it on.
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(vocab_size=30_522, max_position_embeddings=512, **SHAPES[shape], **off)
    return transformers.AutoModel.from_config(config).eval().to(device)


def finish(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Ours:
    """This trainer's step: loader's thread, packed texts, targets of all labels (soft_targets beside InfoNCE)."""

    name = "biohicl"

    def __init__(
        self, views, shape, batch, device, trainable, *, steps, compiled=False, labels=False, chunk_tokens=None
    ):
        count = len(views["query"])
        targets = Targets(*drawn_labels(count), "cosine") if labels else None
        data = TrainingData(np.arange(count, dtype=np.int32), views, targets, None)
        losses = {"title_abstract": {"weight": 1.0, "temperature": TEMPERATURE, "share": 1.0, "mask_above": None}}
        if labels:
            losses["soft_targets"] = {"weight": 0.5, "temperature": 0.05, "target_temperature": 0.05}
        schedule = {"epochs": -(-steps * batch // count) + 1, "max_steps": steps, "batch_size": batch}
        schedule |= {"batch_tokens": None, "related": 0.0, "positive_above": 0.3}
        plan = plan_batches(np.arange(count), views["passage"].lengths(), targets, schedule, 1)
        self.trainable = Trainable(new_model(shape, device), trainable, losses)
        self.model = TextModel(self.trainable.model, "cls", 0)
        self.problem = self.model.compile(views["query"].rows(np.arange(8))) if compiled else None
        settings = {"losses": losses, "schedule": schedule, "seed": 1}
        self.preparer = Preparer(data, plan, settings, self.model, None, 0, 1, chunk_tokens)
        self.step = Step(self.model, self.trainable.parameters, {}, losses, Ranks(0, 1))
        self.optimizer = torch.optim.AdamW(self.trainable.parameters, lr=1e-5)
        self.cached = chunk_tokens is not None
        self.batches = self.preparer.ahead(1, steps)
        self.waited, self.target_seconds, self.tokens, self.device = 0.0, 0.0, 0, device

    def train(self, steps):
        for _ in range(steps):
            batch, waited = next(self.batches)
            self.waited += waited
            self.target_seconds += batch.target_seconds
            self.tokens += batch.tokens
            self.optimizer.zero_grad(set_to_none=True)
            self.step.gradients(batch, cached=self.cached)
            torch.nn.utils.clip_grad_norm_(self.trainable.parameters, 1.0).item()
            self.optimizer.step()
        finish(self.device)

    def close(self):
        self.batches.close()


class Plain:
    """What one writes first: pad each side to its longest text, SDPA, autocast on a GPU."""

    name = "padded loop"

    def __init__(self, views, shape, batch, device, trainable, **_):
        self.views, self.size, self.device = views, batch, device
        self.trainable = Trainable(new_model(shape, device), trainable, {})
        self.optimizer = torch.optim.AdamW(self.trainable.parameters, lr=1e-5)
        self.order = np.random.default_rng(1)

    def embedded(self, view, rows):
        lists = self.views[view].rows(rows)
        longest = max(map(len, lists))
        ids = torch.zeros(len(lists), longest, dtype=torch.long)
        mask = torch.zeros(len(lists), longest, dtype=torch.long)
        for place, tokens in enumerate(lists):
            ids[place, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
            mask[place, : len(tokens)] = 1
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            hidden = self.trainable.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device))
        return normalize(hidden.last_hidden_state[:, 0].float(), dim=-1)

    def train(self, steps):
        for _ in range(steps):
            rows = self.order.choice(len(self.views["query"]), self.size, replace=False)
            scores = self.embedded("query", rows) @ self.embedded("passage", rows).T / TEMPERATURE
            own = torch.arange(self.size, device=self.device)
            loss = (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.trainable.parameters, 1.0)
            self.optimizer.step()
        finish(self.device)

    def close(self):
        pass


class SentenceTransformers:
    """sentence-transformers' trainer with MultipleNegativesRankingLoss both ways; texts are numbers that are split."""

    name = "sentence-transformers"

    def __init__(self, views, shape, batch, device, trainable, *, folder, steps, **_):
        import datasets
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer import losses, modules

        start = Path(folder) / shape
        if not start.exists():
            new_model(shape, torch.device("cpu")).save_pretrained(start)
            words = ["[PAD]", *(f"[u{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            words += [f"w{n}" for n in range(len(words), 30_522)]
            (start / "vocab.txt").write_text("\n".join(words) + "\n")
            transformers.BertTokenizerFast(str(start / "vocab.txt")).save_pretrained(start)
        transformer = modules.Transformer(str(start), max_seq_length=512)
        model = SentenceTransformer(
            modules=[transformer, modules.Pooling(SHAPES[shape]["hidden_size"], "cls")], device=str(device)
        )
        Trainable(model[0].auto_model if hasattr(model[0], "auto_model") else model[0].model, trainable, {})
        text = {
            view: [" ".join(f"w{n}" for n in tokens[1:-1]) for tokens in views[view].rows(np.arange(len(views[view])))]
            for view in ("query", "passage")
        }
        data = datasets.Dataset.from_dict({"anchor": text["query"], "positive": text["passage"]})
        directions = ("query_to_doc", "doc_to_query")
        loss = losses.MultipleNegativesRankingLoss(
            model, scale=1 / TEMPERATURE, directions=directions, partition_mode="per_direction"
        )
        self.count = batch
        self.arguments = {
            "output_dir": str(Path(folder) / "out"),
            "per_device_train_batch_size": batch,
            "learning_rate": 1e-5,
            "bf16": device.type == "cuda",
            "use_cpu": device.type == "cpu",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "logging_strategy": "no",
            "dataloader_num_workers": 2 if device.type == "cuda" else 0,
        }
        self.make = lambda steps: SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(max_steps=steps, **self.arguments),
            train_dataset=data,
            loss=loss,
        )
        self.device = device

    def train(self, steps):
        trainer = self.make(steps)
        started = time.perf_counter()
        trainer.train()
        finish(self.device)
        # Building the trainer is no part of a step.
        self.own_seconds = time.perf_counter() - started

    def close(self):
        pass


def timed(runner, steps):
    started = time.perf_counter()
    runner.train(steps)
    return getattr(runner, "own_seconds", None) or time.perf_counter() - started


def compare(runners, steps, rounds, batch):
    """Texts (pairs of title and abstract) a second of each, medians of interleaved rounds."""
    seconds = {runner.name: [] for runner in runners}
    for runner in runners:
        timed(runner, 2)
    for runner in runners:
        if isinstance(runner, Ours):
            runner.waited = runner.target_seconds = runner.tokens = 0
    for _ in range(rounds):
        for runner in runners:
            seconds[runner.name].append(timed(runner, steps))
    return {name: (batch * steps / statistics.median(own), own) for name, own in seconds.items()}


def encode(views, shape, device, packed, compiled, batch, rounds):
    """Abstracts a second without gradients, sorted by length, and tokens a second."""
    model = TextModel(new_model(shape, device), "cls", 0, packed=packed)
    if compiled:
        model.compile(views["query"].rows(np.arange(8)))
    order = np.argsort(-views["passage"].lengths())
    # Sorted in windows of the whole, as the encoder does.
    best = float("inf")
    with torch.inference_mode():
        for _ in range(rounds + 1):
            finish(device)
            started = time.perf_counter()
            for start in range(0, len(order), batch):
                model.embed(model.batch(views["passage"].rows(order[start : start + batch])))
            finish(device)
            best = min(best, time.perf_counter() - started)
    tokens = int(views["passage"].lengths().sum())
    forward = sum(
        2 * m.weight.numel()
        for n, m in model.model.named_modules()
        if isinstance(m, torch.nn.Linear) and "pooler" not in n
    )
    return len(order) / best, tokens * forward / best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--shape", choices=SHAPES, default="base" if on_gpu else "minilm")
    parser.add_argument("--batch", type=int, default=256 if on_gpu else 32)
    parser.add_argument("--length", type=int, default=512 if on_gpu else 128, help="texts are cut at so many tokens")
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 4, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    device = torch.device("cuda" if on_gpu else "cpu")
    trainable = LORA if options.method == "lora" else FULL
    views = drawn_texts(max(4 * options.batch, 1024 if on_gpu else 128), options.length)
    rate = matrix_rate(device)
    print(
        f"{options.shape} shape, {options.method}, batch {options.batch}, up to {options.length} tokens "
        f"(abstracts {views['passage'].lengths().mean():.0f} on average), {'bfloat16' if on_gpu else 'float32'}, "
        f"{torch.cuda.get_device_name() if on_gpu else f'{torch.get_num_threads()} CPU threads'}, torch {torch.__version__}; "
        f"matrix product {rate / 1e12:.3g} TFLOP/s"
    )
    shared = {
        **{"views": views, "shape": options.shape, "batch": options.batch, "device": device, "trainable": trainable},
        # Of a warming-up, and of all rounds.
        "steps": options.steps * options.rounds + 2,
    }
    figures = trainers(options, shared, rate) | cost_of_targets(options, shared)
    for packed in (True, False):
        texts, used = encode(views, options.shape, device, packed, on_gpu and packed, options.batch, 3)
        kind = "packed" if packed else "padded"
        print(f"  encoding {kind:8} {texts:9.1f} texts/s, {used / rate:.0%} of the matrix rate")
        figures[f"encode_{kind}"] = texts
    if on_gpu:
        figures |= memory(options, shared)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def trainers(options, shared, rate):
    """This trainer, the padded loop and sentence-transformers' trainer."""
    on_gpu = shared["device"].type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(**shared, compiled=on_gpu)
        runners = [ours, Plain(**shared)]
        if importlib.util.find_spec("datasets") and importlib.util.find_spec("accelerate"):
            runners.append(SentenceTransformers(**shared, folder=folder))
        else:
            print("sentence-transformers' trainer needs datasets and accelerate: left out")
        found = compare(runners, options.steps, options.rounds, options.batch)
    figures = {name: pace for name, (pace, _) in found.items()}
    for name, (pace, own) in found.items():
        spread = f"{options.batch * options.steps / max(own):.1f} to {options.batch * options.steps / min(own):.1f}"
        print(f"  {name:24} {pace:9.1f} pairs/s   {figures['biohicl'] / pace:5.2f} x   (rounds: {spread})")
    seconds = sum(found["biohicl"][1])
    share = ours.tokens * operations(ours.model.model, False) / seconds / rate
    print(f"  biohicl: {share:.0%} of the matrix rate; waited {ours.waited / seconds:.2%} of the time for batches")
    if ours.problem:
        print(f"  not compiled: {ours.problem}")
    for runner in runners:
        runner.close()
    return figures | {"matrix_share": share, "waited_share": ours.waited / seconds}


def cost_of_targets(options, shared):
    """A step with MeSH targets and the loss that reads them, beside one without."""
    on_gpu = shared["device"].type == "cuda"
    plain, labelled = Ours(**shared, compiled=on_gpu), Ours(**shared, compiled=on_gpu, labels=True)
    labelled.name = "with MeSH targets"
    found = compare([plain, labelled], options.steps, options.rounds, options.batch)
    cost = found["biohicl"][0] / found["with MeSH targets"][0] - 1
    inside = labelled.target_seconds / sum(found["with MeSH targets"][1])
    print(f"  MeSH targets and their loss: {cost:+.1%} of a step; {inside:.2%} of the time in the loader's thread")
    labelled.close()
    plain.close()
    return {"targets_cost": cost, "targets_in_thread": inside}


def memory(options, shared):
    """On a GPU: the most memory with gradient caching and without, and what a deterministic run costs."""
    figures = {}

    def run_alone(words, **how):
        # What was compared before is gone, or its memory would be counted too.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        runner = Ours(**shared | {"steps": 8}, compiled=True, **how)
        timed(runner, 3)
        pace = 5 * options.batch / timed(runner, 5)
        most = torch.cuda.max_memory_allocated() / 1e9
        print(f"  {words}: {pace:.1f} pairs/s, {most:.1f} GB")
        figures[f"{words}, pairs/s"], figures[f"{words}, GB"] = pace, most
        runner.close()

    run_alone("chunks of 16,384 tokens", chunk_tokens=16_384)
    run_alone("whole batches")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    run_alone("deterministic")
    torch.use_deterministic_algorithms(False)
    return figures


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    sys.exit(main())
