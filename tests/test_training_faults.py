"""What stops a training, on the sample: bad input, numbers that are not finite, too little memory, nothing to learn."""

import gc
import json
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.training.ranks import Ranks
from biohicl.training.train import Options
from encoders import CONFIGS, save_encoder
from trainings import BACKBONE, command, node, run, training


def test_a_loss_that_is_not_finite_stops_with_the_pmids(made, tmp_path):
    block = node(made[1], trainable__method="full", development__citations=0)
    broken = tmp_path / "broken"
    shutil.copytree(made[0] / BACKBONE, broken)
    weights = load_file(broken / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BioHiCLError, match=r"the loss is nan .* at step 1 .*PMIDs 990\d{6}"):
        run(made, tmp_path / "node", block, start=broken)
    with pytest.raises(BioHiCLError, match="after step 0 the model gives NaN"):
        run(made, tmp_path / "node", node(made[1]), start=broken)
    assert not (tmp_path / "node").exists()


def test_out_of_memory_says_what_fits_and_that_fits(made, tmp_path, monkeypatch):
    """A memory that holds 400 tokens' activations at a time."""
    real = TextModel.embed

    def small(self, batch):
        if torch.is_grad_enabled() and batch.tokens > 400:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch)

    monkeypatch.setattr(TextModel, "embed", small)
    block = node(made[1], schedule__max_steps=2)
    with pytest.raises(
        BioHiCLError,
        match=r"out of memory on cpu at step 1, with 32 citations of [\d,]+ tokens\. (\d+) tokens at a time fit",
    ) as stop:
        run(made, tmp_path / "node", block)
    fits = int(str(stop.value).split(" tokens at a time fit")[0].split()[-1])
    assert 100 <= fits <= 400
    output = run(made, tmp_path / "node", block, options=Options(device="cpu", chunk_tokens=fits))
    monkeypatch.undo()
    whole = run(made, tmp_path / "whole", block)
    losses = [pq.read_table(folder / "training_log.parquet")["loss"].to_pylist() for folder in (output, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.long(20)
def test_memory_of_the_failed_step_is_free_while_trying_what_fits(made, tmp_path, monkeypatch):
    """A memory that counts what living graphs hold: a caught exception must not keep the failed step's."""
    held = weakref.WeakSet()
    real = TextModel.embed

    def counted(self, batch):
        gc.collect()
        if not torch.is_grad_enabled():
            return real(self, batch)
        if batch.tokens + sum(graph.tokens for graph in held) > 1_000:
            raise torch.OutOfMemoryError("CUDA out of memory")
        vectors = real(self, batch)
        vectors.grad_fn.metadata["holds"] = graph = _Graph(batch.tokens)
        held.add(graph)
        return vectors

    monkeypatch.setattr(TextModel, "embed", counted)
    with pytest.raises(BioHiCLError, match=r"([\d,]+) tokens at a time fit") as stop:
        run(made, tmp_path / "node", node(made[1], schedule__max_steps=2))
    fits = int(str(stop.value).split(" tokens at a time fit")[0].split()[-1].replace(",", ""))
    assert 400 <= fits <= 1_000


class _Graph:
    def __init__(self, tokens):
        self.tokens = tokens


def test_what_fits_leaves_room_for_the_optimizer(made, tmp_path, monkeypatch):
    """Before the first step its moments are not there yet; a trial without them would promise too much."""
    seen = []
    real = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda tensor, **more: seen.append(tensor.shape) or real(tensor, **more))

    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    one = training(made, node(made[1]), tmp_path)
    batch = one.preparer.prepare(1)
    seen.clear()
    assert one._fits(1, 400)
    wanted = [parameter.shape for parameter in one.trainable.parameters for _ in range(2)]
    assert seen[: len(wanted)] == wanted
    one.step.gradients(batch, cached=False)
    one.optimizer.step()
    seen.clear()
    assert one._fits(1, 400)
    assert seen[: len(wanted)] != wanted, "they are there now"
    monkeypatch.setattr(TextModel, "embed", full)
    assert not one._fits(1, 400)


# As an H200 said them that many trainings shared: cuBLAS, and a stream of the loader's.
OF_LIBRARIES = [
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: out of memory",
]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), *map(torch.AcceleratorError, OF_LIBRARIES)]
)
def test_memory_that_runs_out_elsewhere_is_one_line_too(made, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr("biohicl.training.train.measure", full)
    with pytest.raises(BioHiCLError, match="out of memory outside of a step's two passes: set training.chunk_tokens"):
        run(made, tmp_path / "node", node(made[1], schedule__max_steps=2))


@pytest.mark.parametrize("said", OF_LIBRARIES)
def test_memory_that_a_library_lacks_within_a_step_says_what_fits(made, tmp_path, monkeypatch, said):
    real = TextModel.embed

    def small(self, batch):
        if torch.is_grad_enabled() and batch.tokens > 400:
            raise RuntimeError(said)
        return real(self, batch)

    monkeypatch.setattr(TextModel, "embed", small)
    with pytest.raises(BioHiCLError, match="tokens at a time fit"):
        run(made, tmp_path / "node", node(made[1], schedule__max_steps=2))


def test_another_error_within_a_step_stays_what_it_is(made, tmp_path, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("CUDA error: device-side assert triggered")

    one = training(made, node(made[1]), tmp_path)
    batch = one.preparer.prepare(1)
    monkeypatch.setattr(TextModel, "embed", broken)
    for passes in (lambda: one._gradients(batch), lambda: one._fits(1, 400)):
        with pytest.raises(RuntimeError, match="device-side assert"):
            passes()


def test_a_process_without_a_citation_is_refused(made, tmp_path):
    """A token budget makes batches smaller than batch_size."""
    block = node(made[1], schedule__batch_tokens=64)
    with pytest.raises(BioHiCLError, match="3 processes share a batch of 2 citations, and some would have none"):
        training(made, block, tmp_path, ranks=Ranks(0, 3))


def test_batches_that_teach_nothing_are_an_error(made, tmp_path):
    with pytest.raises(
        BioHiCLError, match=r"there is nothing to learn: 3 batches in a row .*raise schedule.batch_size"
    ):
        run(made, tmp_path / "node", node(made[1], schedule__batch_size=2))


def test_a_selection_without_usable_headings_is_an_error_and_few_of_them_get_titles(made, tmp_path):
    one = training(made, node(made[1], schedule__batch_size=20), tmp_path)
    one.data.headings.__dict__["usable"] = np.arange(len(one.data)) % 7 == 0
    batch = one.preparer.prepare(1)
    assert len(batch.headings) < 10
    assert len(batch.headings) + len(batch.titles) == 20, "everybody has a query"
    silent = replace(one.data.headings.direct, kinds=np.full_like(one.data.headings.direct.kinds, 4))
    with pytest.raises(BioHiCLError, match="no citation of the selection has a heading that a query can be made of"):
        replace(one.data.headings, direct=silent)


@pytest.mark.long(30)
def test_settings_by_hand_are_completed_and_checked(made, tmp_path, run_biohicl):
    """As config.yaml's: a few keys are enough, JSON numbers with an exponent are numbers, and mistakes are one line."""
    words = command(made, tmp_path / "node", tmp_path / "settings.json")[3:]
    few = {
        "start": "x",
        "selection": "y",
        "losses": {"title_abstract": {}},
        "schedule": {"max_steps": 1, "learning_rate": 5e-05},
    }
    wrong = {
        "losses.cossent: unknown key; did you mean 'cosent'?": {"losses": {"cossent": {}}},
        "trainable.method: found the text 'lorra'": {"trainable": {"method": "lorra"}},
        "schedule.batch_size: found the text '32'": {"schedule": {"batch_size": "32"}},
        "development.patience: waits for a better measure": {"development": {"patience": 2}},
    }
    for said, over in wrong.items():
        (tmp_path / "settings.json").write_text(json.dumps(few | over))
        done = run_biohicl(*words)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    (tmp_path / "settings.json").write_text(json.dumps(few))
    done = run_biohicl(*words)
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "node/manifest.json").read_text())["settings"]
    assert (settings["trainable"]["rank"], settings["schedule"]["learning_rate"]) == (8, 5e-05)


def lacking(name):
    def spoil(folder):
        for file in folder.glob(name):
            file.unlink()

    return spoil


def reversed_words(folder):
    words = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*words[:5], *reversed(words[5:])]) + "\n")


def with_case(folder):
    """The same words and ids, read with regard to case."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))


def instructed(folder):
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text()) | {"prompts": {"query": "find: ", "document": ""}}
    path.write_text(json.dumps(config))


REFUSED = {
    "no tokenizer": (lacking("[vt]*o*[cn]*.[tj]*"), {}, "has no tokenizer"),
    "rank 0": (None, {"trainable__rank": 0}, "trainable.rank is 0"),
    "an unknown layer": (None, {"trainable__targets": ["q_proj"]}, r"no layer 'q_proj'; it has dense, key, .*query"),
    "a batch of more": (
        None,
        {"schedule__batch_size": 5000},
        r"1,444 citations are left to train on, and a batch takes 5,000",
    ),
    "no measure": (None, {"development__citations": 0, "development__model": "mrr"}, "mrr needs held-out citations"),
    "another tokenizer": (reversed_words, {}, "its tokens are of another tokenizer than that of"),
    "another case": (with_case, {}, "its tokens are of another tokenizer than that of"),
    "other instructions": (instructed, {}, "or of other instructions; make them with its own"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_one_clear_line(made, tmp_path, fault):
    spoil, over, said = REFUSED[fault]
    start = shutil.copytree(made[0] / BACKBONE, tmp_path / "start")
    if spoil:
        spoil(start)
    with pytest.raises(BioHiCLError, match=said) as stop:
        run(made, tmp_path / "node", node(made[1], **over), start=start)
    assert "\n" not in str(stop.value)
    assert not (tmp_path / "node").exists()


def test_tokens_of_another_model_are_refused(made, tmp_path):
    from transformers import AutoModel

    settings = CONFIGS["bert"]()
    settings.max_position_embeddings = 512
    other = save_encoder(AutoModel.from_config(settings), made[0] / BACKBONE, tmp_path / "small")
    with pytest.raises(BioHiCLError, match=r"token [\d,]+ of column \w+ is none of the 300 that"):
        run(made, tmp_path / "node", node(made[1]), start=other)
    settings.vocab_size, settings.max_position_embeddings = 3_000, 40
    short = save_encoder(AutoModel.from_config(settings), made[0] / BACKBONE, tmp_path / "short")
    with pytest.raises(BioHiCLError, match="of 96 tokens, and .* has 40 positions: lower max_length"):
        run(made, tmp_path / "node", node(made[1]), start=short)


def test_queries_of_headings_need_the_terms_of_their_mesh(made, tmp_path):
    with pytest.raises(BioHiCLError, match="name their table with --terms"):
        run(made, tmp_path / "node", node(made[1]), terms=None)
    terms = pl.read_parquet(made[0] / "results/mesh/terms.parquet")
    terms.filter(pl.col("descriptor_ui") != "D051379").write_parquet(tmp_path / "terms.parquet")
    with pytest.raises(BioHiCLError, match="has no term for 1 descriptors of the hierarchy, such as D051379"):
        run(made, tmp_path / "node", node(made[1]), terms=tmp_path / "terms.parquet")


# What an H200 said of an index out of bounds at step 20 of a training; what lay on it could not be freed any more, and
# a process that tried was aborted. Started again, the training ended with the bits of one that nothing had stopped.
STOPPED = """
import sys, torch
from biohicl.cli.main import main
from biohicl.search import shards

class OnTheGpu:
    def __del__(self):
        print("freed")

def stopped(*given, **options):
    held = OnTheGpu()
    raise torch.AcceleratorError("CUDA error: device-side assert triggered\\nFor debugging consider ...")

shards.write_shard = stopped
sys.exit(main("index-vectors model articles --output shard".split()))
"""


def test_a_gpu_that_stops_is_told_in_words_and_nothing_on_it_is_freed():
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert (
        "biohicl index-vectors: error: the GPU stopped with 'CUDA error: device-side assert triggered'. Start"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert "freed" not in done.stdout
