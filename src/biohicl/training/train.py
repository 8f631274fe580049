"""The step ``train``: one phase, from an encoder folder to a new one.

Goes in: the folder to start from, a selection's tokens and labels, the hierarchy and what else its losses ask for, the
node's settings. Comes out: ``results/models/<node>/`` (:mod:`biohicl.training.node_folder`). Beside it, while it
lasts, checkpoints.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from biohicl.encoder.embed import pick_device, tokens_of
from biohicl.encoder.folder import EncoderSettings, Precision, load_model, load_tokenizer, pad_id_of, read_settings
from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.training import failures
from biohicl.training.batches import Batch, Places, Preparer
from biohicl.training.checkpoints import Checkpoint, Checkpoints, usable
from biohicl.training.data import (
    Inputs,
    TrainingData,
    check_own_queries,
    check_teacher,
    check_tokens,
    read_training_data,
    with_titled,
)
from biohicl.training.development import Judge, Measures, held_out_rows, measure, readable_rows
from biohicl.training.interruption import Interruption
from biohicl.training.node_folder import write_node
from biohicl.training.optimizer import new_optimizer, optimizer_state, restore_optimizer, set_rate
from biohicl.training.plan import Plan, plan_batches, snapshot_steps
from biohicl.training.provenance import manifest
from biohicl.training.ranks import Ranks
from biohicl.training.step import Step
from biohicl.training.trainable import Trainable
from biohicl.training.watch import SEEN_ONLY, Watch, operations

# Measures of a short training; a long one has one every 100 steps, a very short one some steps between them.
MEASURES = 5
FEWEST_STEPS = 10
# Settings of `development` that say when to stop.
STOPPING = ("patience", "max_mean_similarity", "min_mrr")


@dataclass(frozen=True)
class Options:
    """How a training runs, as opposed to what it computes; none of it is a reason to train again."""

    device: str = "auto"
    # Tokens whose activations are in memory at a time; None: all of a batch.
    chunk_tokens: int | None = None
    # Whether torch compiles the model; None: on a GPU.
    compiled: bool | None = None
    # On a GPU: the same bits each time, at some cost.
    deterministic: bool = False
    # What the forward pass computes in; None: bfloat16 on a GPU, else float32.
    precision: Precision | None = None
    checkpoint_minutes: float = 10.0


def train(
    inputs: Inputs, settings: Mapping[str, Any], output: Path, checkpoints: Path, options: Options | None = None
) -> None:
    """Trains one phase and writes the node's folder, whole or not at all.

    ``settings`` is the node's resolved block of config.yaml. Goes on from a checkpoint under ``checkpoints`` where one
    of this training is there. On a CPU the same settings, inputs, processes and thread count give the same weights to
    the bit, interrupted or not. Under torchrun all processes train one model.
    """
    options = options or Options()
    ranks = Ranks.start(options.device)
    try:
        place = Checkpoints(checkpoints)
        with _deterministic(options.deterministic), place.alone() if ranks.is_first else nullcontext():
            training = Training(inputs, settings, output.name, place, options, ranks)
            training.run()
            if ranks.is_first:
                training.write(output)
    except RuntimeError as error:
        if not failures.is_out_of_memory(error):
            raise
        raise BioHiCLError(
            "out of memory outside of a step's two passes: set training.chunk_tokens (--chunk-tokens), which "
            "leaves room beside them, or lower schedule.batch_size"
        ) from None
    # After an error the others are not waited for: torchrun ends them, at once or, where they wait for this one, after
    # 30 seconds.
    ranks.stop()


class Training:
    """A phase of training, from its beginning or from a checkpoint."""

    def __init__(
        self,
        inputs: Inputs,
        settings: Mapping[str, Any],
        name: str,
        checkpoints: Checkpoints,
        options: Options,
        ranks: Ranks,
    ) -> None:
        self.inputs, self.settings, self.name = inputs, settings, name
        self.checkpoints, self.options, self.ranks = checkpoints, options, ranks
        data = read_training_data(inputs, settings)
        device = pick_device(ranks.device(options.device))
        self.encoder: EncoderSettings = read_settings(inputs.start)
        self.tokenizer: Any = load_tokenizer(inputs.start)
        # The adapters begin alike in every process; what is drawn later, dropout, is each one's own.
        torch.manual_seed(settings["seed"])
        model = load_model(inputs.start).to(device)
        check_tokens(data, inputs, model, self.tokenizer, self.encoder)
        self.trainable = Trainable(model, settings["trainable"], settings["losses"])
        torch.manual_seed(settings["seed"] + ranks.rank)
        pad_id = pad_id_of(self.tokenizer)
        self.model = TextModel(model, self.encoder.pooling, pad_id, precision=options.precision)
        data = with_titled(data, inputs, settings["losses"], self._query_tokens([""], data.task)[0])
        self.data = data
        note = check_own_queries(data, inputs, settings["losses"])
        if note and ranks.is_first:
            say(note)
        self.is_held_out = held_out_rows(data, settings)
        self.plan = self._planned(data)
        self.preparer = Preparer(
            data,
            self.plan,
            settings,
            self.model,
            partial(self._query_tokens, task=data.task),
            ranks.rank,
            ranks.world,
            options.chunk_tokens,
            self.is_held_out,
        )
        smallest = int(self.plan.batches.lengths().min())
        if ranks.world > smallest:
            raise BioHiCLError(
                f"{ranks.world} processes share a batch of {smallest} citations, and some would have none: raise "
                "schedule.batch_size (or batch_tokens), or take fewer processes (training.gpus)"
            )
        check_teacher(data, inputs, model.config.hidden_size)
        self.step = Step(self.model, self.trainable.parameters, self.trainable.learned, settings["losses"], ranks)
        self.snapshots = snapshot_steps(len(self.plan), settings["schedule"].get("snapshots", 0))
        self.optimizer = new_optimizer(self.trainable, settings["schedule"])
        self.hashes = inputs.hashes()
        self.judge = Judge(settings["development"], [])
        self.log: list[dict[str, Any]] = []
        self.changed: list[str] = []
        self.idle = 0
        self.device = device

    # --- before the first step ----------------------------------------------------------------------

    def _planned(self, data: TrainingData) -> Plan:
        tokens = data.tokens["document"].lengths() + data.tokens["query"].lengths()
        rows = np.flatnonzero(readable_rows(data, self.settings) & ~self.is_held_out)
        plan = plan_batches(rows, tokens, data.targets, self.settings["schedule"], self.settings["seed"])
        wanted = self.settings["schedule"]["related"]
        if wanted and self.ranks.is_first:
            say(f"{plan.related:.1%} of the citations come with a related one ({wanted:.1%} were asked for)")
        return plan

    def _query_tokens(self, texts: Sequence[str], task: str) -> Sequence[npt.NDArray[np.int32]]:
        length = self.settings["max_length"]
        queries = [self.encoder.query(text, task) for text in texts]
        return tokens_of(queries, self.tokenizer, self.encoder, self.inputs.start, length)

    def _made_from(self) -> dict[str, Any]:
        # When to stop changes nothing of what came before.
        kept = {key: value for key, value in self.settings["development"].items() if key not in STOPPING}
        settings = {**self.settings, "development": kept}
        return {"settings": settings, "inputs": self.hashes, "plan": self.plan.fingerprint}

    def _how(self) -> dict[str, Any]:
        """What may change on the way, and changes last digits (with dropout, more)."""
        return {
            "chunk_tokens": self.options.chunk_tokens,
            "compiled": self.model.is_compiled,
            "deterministic": self.options.deterministic,
            "precision": self.model.precision,
            **_versions(),
        }

    def _made_by(self) -> dict[str, Any]:
        made_by: dict[str, Any] = {"device": self.device.type, "processes": self.ranks.world}
        if self.device.type == "cpu":
            made_by["threads"] = torch.get_num_threads()
        return made_by

    def _resumed(self) -> int:
        """Steps that are done already: those of a checkpoint, which is loaded, or 0."""
        found = self.checkpoints.last()
        other = found is not None and not usable(found, self._made_from(), self._made_by(), self.checkpoints.folder)
        if other:
            found = None
        # Nothing is removed that another process is still reading.
        self.ranks.wait()
        if found is None:
            if self.ranks.is_first:
                if other:
                    self.checkpoints.set_aside()
                self.checkpoints.clear()
                self.checkpoints.log.unlink(missing_ok=True)
                shutil.rmtree(self.checkpoints.tensorboard, ignore_errors=True)
            return 0
        if self.ranks.is_first:
            rows = [row for row in self.checkpoints.rows(found.step) if row["kind"] == "step"]
            self.log = [{key: value for key, value in row.items() if key not in SEEN_ONLY} for row in rows]
            say(f"going on after step {found.step}, from {self.checkpoints.folder}")
            for key, before in found.state["how"].items():
                if before != self._how().get(key):
                    self.changed.append(f"{key} {before} until step {found.step}, then {self._how().get(key)}")
                    say(f"note: {self.changed[-1]}: the model will not be the same to the bit")
        self.changed = [*found.state["changed"], *self.changed]
        self.idle = found.state.get("idle", 0)
        self.trainable.restore(found.weights)
        restore_optimizer(self.optimizer, found.optimizer)
        torch.set_rng_state(found.generators[f"cpu.{self.ranks.rank}"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(found.generators[f"cuda.{self.ranks.rank}"], self.device)
        self.judge = Judge(self.settings["development"], [Measures(**row) for row in found.state["measures"]])
        if self.judge.best is not None:
            # Found out now, not when all the work is done.
            self.checkpoints.best(self.judge.best.step)
        return found.step

    # --- the loop -----------------------------------------------------------------------------------

    def run(self) -> None:
        """All steps that are left."""
        compiled = self._compiled()
        done = self._resumed()
        steps = len(self.plan)
        watch = self._watch(done, compiled)
        interrupted = Interruption()
        saved = time.monotonic()
        try:
            if done == 0:
                self._measured(0, watch)
            with interrupted.listening():
                for batch, waited in self.preparer.ahead(done + 1, steps):
                    stop = self._stepped(batch, waited, watch)
                    is_over = batch.step == steps or stop
                    due = time.monotonic() - saved >= 60 * self.options.checkpoint_minutes
                    if not is_over and self.ranks.any(due or interrupted.by is not None):
                        self._save(batch.step)
                        saved = time.monotonic()
                        if self.ranks.any(interrupted.by is not None):
                            interrupted.leave(batch.step, self.checkpoints.folder)
                    if stop:
                        break
        finally:
            if watch is not None:
                watch.close()

    def _watch(self, done: int, compiled: bool) -> Watch | None:
        if not self.ranks.is_first:
            return None
        training = sum(parameter.numel() for parameter in self.trainable.parameters)
        schedule = self.settings["schedule"]
        cached = self.options.chunk_tokens is not None
        watch = Watch(
            self.checkpoints,
            self.device,
            self.ranks.world,
            len(self.plan),
            done,
            operations(self.model.model, cached),
        )
        say(
            f"{self.name}: {np.count_nonzero(~self.is_held_out):,} citations, {np.count_nonzero(self.is_held_out):,} "
            f"held out; {len(self.plan):,} steps of up to {schedule['batch_size']:,}; {training:,} of "
            f"{self.trainable.total:,} weights train, on {_name_of(self.device)}, {torch.get_num_threads()} threads"
            + (f", {self.ranks.world} processes" if self.ranks.world > 1 else "")
            + f"; {'packed' if self.model.attend else 'padded'}{', compiled' if compiled else ''}; a matrix product "
            f"runs at {watch.rate / 1e12:.2g} TFLOP/s"
        )
        return watch

    def _stepped(self, batch: Batch, waited: float, watch: Watch | None) -> bool:
        """One step, and the measures that are due after it; whether the training is to stop."""
        started = time.perf_counter()
        rate = set_rate(self.optimizer, self.settings["schedule"], batch.step, len(self.plan))
        self.optimizer.zero_grad(set_to_none=True)
        found = self._gradients(batch)
        if found is None:
            raise self._out_of_memory(batch)
        terms, loss = found
        norm = torch.nn.utils.clip_grad_norm_(
            [*self.trainable.parameters, *self.trainable.scalars], self.settings["schedule"]["clip"]
        ).item()
        if not (np.isfinite(loss) and np.isfinite(norm)):
            named = self.data.called, self.data.numbers[batch.rows]
            raise failures.not_finite(batch.step, *named, terms, loss, norm)
        self.idle = self.idle + 1 if norm == 0 else 0
        if self.idle >= failures.STEPS_OF_NOTHING:
            raise failures.nothing_to_learn(terms)
        self.optimizer.step()
        epoch = int(self.plan.epochs[batch.step - 1])
        row = {"step": batch.step, "epoch": epoch, "learning_rate": rate, "loss": loss, **terms}
        row |= {"gradient_norm": norm, "citations": len(batch.rows), "tokens": batch.tokens, **batch.positives}
        if batch.step in self.snapshots and self.ranks.is_first:
            self.checkpoints.save_snapshot(batch.step, self.trainable.merged())
        if watch is not None:
            self.log.append(row)
            seconds = time.perf_counter() - started + waited
            watch.step(row, {"seconds": seconds, "waited": waited, "target_seconds": batch.target_seconds})
        # Rounded up, or one more would come right before the last.
        every = self.settings["development"]["every"] or max(FEWEST_STEPS, min(100, -(-len(self.plan) // MEASURES)))
        if batch.step % every == 0 or batch.step == len(self.plan):
            return self._measured(batch.step, watch)
        return False

    def _gradients(self, batch: Batch) -> tuple[dict[str, float], float] | None:
        """The terms and their sum; None where memory does not suffice (the exception itself would hold on to it)."""
        cached = self.options.chunk_tokens is not None and len(batch.chunks) > 1
        try:
            return self.step.gradients(batch, cached)
        except RuntimeError as error:
            if not failures.is_out_of_memory(error):
                raise
            return None

    def _measured(self, step: int, watch: Watch | None) -> bool:
        """Measures on the held-out citations, if there are some; whether the training is to stop."""
        rows = np.flatnonzero(self.is_held_out)
        if len(rows) < 2:
            if self.judge.chooses:
                raise BioHiCLError(
                    f"development.model: {self.settings['development']['model']} needs held-out citations, and "
                    f"{len(rows)} are: raise development.citations (a tenth of the selection at most)"
                )
            return False
        stop, problem = False, None
        if watch is not None:
            try:
                stop = self._judged(step, rows, watch)
            except BioHiCLError as error:
                problem = str(error)
        stop, problem = self.ranks.agreed((stop, problem))
        if problem is not None:
            raise BioHiCLError(problem)
        return stop

    def _judged(self, step: int, rows: Places, watch: Watch) -> bool:
        """In one process: the measures, and whether the training is to stop; an error where it collapses."""
        self.trainable.dropout(False)
        now = measure(self.model, self.data, rows, step)
        self.trainable.dropout(True)
        watch.measures({key: value for key, value in vars(now).items() if value is not None}, now.words())
        self.judge.add(now)
        if step < len(self.plan):
            self.judge.check()
        elif problem := self.judge.problem(now):
            # Nothing is saved by stopping now; whoever looks may learn from the model.
            say(f"warning: {problem}")
        if self.judge.best is now:
            self.checkpoints.save_best(step, self.trainable.state())
        stop = self.judge.has_waited()
        if stop and self.judge.best is not None:
            chosen = self.settings["development"]["model"]
            say(f"no better {chosen} since step {self.judge.best.step}: the training ends here")
        return stop

    def _save(self, step: int) -> None:
        """A checkpoint; every process has to call it."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        everyones = self.ranks.all_of(states)
        if not self.ranks.is_first:
            return
        generators = {f"{kind}.{rank}": state for rank, own in enumerate(everyones) for kind, state in own.items()}
        best = self.judge.best
        state = {
            "step": step,
            "made_from": self._made_from(),
            "made_by": self._made_by(),
            "how": self._how(),
            "changed": self.changed,
            "idle": self.idle,
            "measures": self.judge.rows(),
        }
        self.checkpoints.save(
            Checkpoint(step, self.trainable.state(), optimizer_state(self.optimizer), generators, state)
        )
        self.checkpoints.drop_best(None if best is None else best.step)

    # --- out of memory --------------------------------------------------------------------------------

    def _out_of_memory(self, batch: Batch) -> BioHiCLError:
        """An error that says which number of tokens at a time fits, found by trying."""
        computed = sum(chunk.tokens for _, chunk in batch.chunks)
        said = (
            f"out of memory on {_name_of(self.device)} at step {batch.step}, with {len(batch.rows):,} citations of "
            f"{batch.tokens:,} tokens"
        )
        tokens = min(computed, self.options.chunk_tokens or computed)
        # The other processes would wait for ever for this one's part of a trial.
        is_alone = self.ranks.world == 1
        fits = partial(self._fits, batch.step) if is_alone else None
        return failures.out_of_memory(said, tokens, self.settings["max_length"], fits)

    def _fits(self, step: int, tokens: int) -> bool:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        # AdamW makes its two moments of each weight after the first step, and they have to fit beside the next one.
        missing = [] if self.optimizer.state else self.trainable.parameters
        try:
            moments = [torch.empty_like(parameter) for parameter in missing for _ in range(2)]
            self.step.gradients(self.preparer.prepare(step, chunk_tokens=tokens), cached=True)
            del moments
        except RuntimeError as error:
            if not failures.is_out_of_memory(error):
                raise
            return False
        return True

    # --- the end ------------------------------------------------------------------------------------

    def _compiled(self) -> bool:
        wanted = self.options.compiled
        if not (self.device.type == "cuda" if wanted is None else wanted):
            return False
        # The trial draws dropout, which the training must not notice.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            problem = self.model.compile(self.data.tokens["query"].rows(np.arange(min(8, len(self.data)))))
        if problem is not None and self.ranks.is_first:
            say(f"the model is not compiled, which costs speed and nothing else: {problem}")
        return problem is None

    def write(self, output: Path) -> None:
        """Writes the node's folder, then removes the checkpoints."""
        best = self.judge.best
        if best is not None:
            self.trainable.restore(self.checkpoints.best(best.step))
            say(f"the weights of step {best.step} become the model")
            if best.step == 0:
                say("warning: these are the start's: no measure after it was better")
        compiled = self.model.is_compiled
        self.model.release()
        facts: dict[str, Any] = {
            "citations": int(np.count_nonzero(~self.is_held_out)),
            "held_out": int(np.count_nonzero(self.is_held_out)),
            "steps": len(self.log),
            "model_of_step": best.step if best is not None else len(self.log),
            "learned": {
                name: {key: value.item() for key, value in own.items()} for name, own in self.trainable.learned.items()
            },
            "device": _name_of(self.device),
            "processes": self.ranks.world,
            "chunk_tokens": self.options.chunk_tokens,
            "compiled": compiled,
            "changed": self.changed,
            "deterministic": self.device.type == "cpu" or self.options.deterministic,
            "attention": "packed" if self.model.attend else "padded",
            "plan": self.plan.fingerprint,
        }
        write_node(
            output,
            self.trainable,
            self.tokenizer,
            self.encoder,
            self.inputs.start.name,
            self.log,
            self.judge.rows(),
            manifest(self.name, self.settings, self.hashes, self.model.precision, **facts),
            {step: self.checkpoints.snapshot(step) for step in self.snapshots if step <= len(self.log)},
        )
        self.checkpoints.clear()


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
