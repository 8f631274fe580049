"""The trainer, on the sample: what a model is made of, and what one sees of its training."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import load_model
from biohicl.evaluation.evaluate import evaluate
from biohicl.training.tokens import write_tokens
from encoders import CONFIGS, save_encoder
from trainings import BACKBONE, node, run


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(made, tmp_path):
    short = {"schedule__max_steps": 4}
    one, two = (run(made, tmp_path / name, node(made[1], **short)) for name in ("one", "two"))
    other = run(made, tmp_path / "other", node(made[1], seed=2, **short))
    files = [folder / "model.safetensors" for folder in (one, two, other)]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    for table in ("training_log.parquet", "development.parquet"):
        assert pq.read_table(one / table).equals(pq.read_table(two / table))
    assert len(pq.read_table(one / "training_log.parquet")) == 4
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (one, two)]
    assert manifests[0] | {"node": "two"} == manifests[1]


def test_the_merged_model_is_the_backbone_with_its_adapter(made, tmp_path):
    from peft import PeftModel

    folder, config = made
    output = run(made, tmp_path / "node", node(config, schedule__max_steps=3))
    adapted = PeftModel.from_pretrained(load_model(folder / BACKBONE), output / "adapter").eval()
    tokens = Encoder(output, "cpu").tokenizer(["Effect of one on two.", "mice"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(
            adapted(**tokens).last_hidden_state, load_model(output)(**tokens).last_hidden_state, atol=1e-5
        )
    before, after = (load_file(place / "model.safetensors") for place in (folder / BACKBONE, output))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(any(part in name for part in ("word_embeddings", "query", "key", "value", "dense")) for name in changed)
    assert not any("pooler" in name or "LayerNorm" in name or name.endswith("bias") for name in changed)


def test_full_training_moves_every_layer_but_the_pooler(made, tmp_path):
    folder, config = made
    output = run(made, tmp_path / "node", node(config, trainable__method="full", schedule__max_steps=2))
    before, after = (load_file(place / "model.safetensors") for place in (folder / BACKBONE, output))
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still
    assert all("pooler" in name for name in still)
    assert not (output / "adapter").exists()


def test_a_node_can_start_from_a_node(made, tmp_path):
    block = node(made[1], schedule__max_steps=2)
    output = run(made, tmp_path / "second", block, start="results/models/biohicl-base")
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["steps"] == 2
    assert manifest["settings"] == block
    assert Encoder(output, "cpu").settings.max_length == 96


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_goes_the_whole_way(made, tmp_path, name):
    """Train, merge, save, load in sentence-transformers, encode; with the sample's vocabulary."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    folder, config = made
    settings = CONFIGS[name]()
    settings.vocab_size = 3_000
    torch.manual_seed(0)
    pooling = {"bert": "cls", "modernbert": "last"}.get(name, "mean")
    start = save_encoder(AutoModel.from_config(settings), folder / BACKBONE, tmp_path / name, pooling)
    tokens = tmp_path / "tokens.parquet"
    write_tokens(folder / "results/training/selections/abstracts.parquet", start, 48, tokens)
    block = node(config, trainable__targets="all-linear", schedule__max_steps=3, max_length=48)
    output = run(made, tmp_path / "node", block, start=start, tokens=tokens)
    texts = ["Effect of gliaroma on stroke", "mice given nothing", ""]
    there = SentenceTransformer(str(output), device="cpu", local_files_only=True).encode(texts)
    np.testing.assert_allclose(Encoder(output, "cpu").encode(texts), there, atol=1e-5)
    assert not np.allclose(there, Encoder(start, "cpu").encode(texts), atol=1e-4)
    attention = json.loads((output / "manifest.json").read_text())["attention"]
    assert attention == ("padded" if name == "mpnet" else "packed")


def test_a_model_is_as_readable_as_the_files_beside_it(made):
    folder = made[0] / "results/models/default"
    modes = {path.stat().st_mode for path in folder.rglob("*.*") if path.is_file()}
    assert len(modes) == 1


def test_the_model_folder_loads_elsewhere_with_the_same_embeddings(made):
    from sentence_transformers import SentenceTransformer

    folder = made[0] / "results/models/default"
    texts = ["Effect of gliaroma on stroke", "mice given nothing"]
    there = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts)
    np.testing.assert_allclose(Encoder(folder, "cpu").encode(texts), there, atol=1e-5)


@pytest.mark.parametrize(
    "recipe",
    [pytest.param("biohicl-base", marks=pytest.mark.long(60)), pytest.param("default", marks=pytest.mark.long(30))],
)
def test_the_trained_model_beats_its_backbone_on_three_seeds(made, tmp_path, recipe):
    folder, config = made
    benchmark = folder / "resources/benchmarks/sample-retrieval"
    backbone = evaluate(str(folder / BACKBONE), benchmark, tmp_path / "b")[0]["value"]
    for seed in (1, 2, 3):
        model = run(made, tmp_path / str(seed), node(config, recipe, seed=seed))
        trained = evaluate(str(model), benchmark, tmp_path / "e")[0]["value"]
        assert trained > backbone + 0.02, (recipe, seed, trained, backbone)


def test_the_log_tells_of_every_step_in_json_and_tensorboard(made, tmp_path, capsys):
    block = node(made[1], schedule__max_steps=4, schedule__related=0.5)
    block["development"] |= {"every": 2, "min_mrr": 0.97}
    output = run(made, tmp_path / "node", block)
    lines = [json.loads(line) for line in (tmp_path / "node.checkpoints/log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "measures"] == [0, 2, 4]
    for line in steps:
        assert 0 <= line["waited"] <= line["seconds"]
        assert line["citations_a_second"] == pytest.approx(32 / line["seconds"])
        assert 0 < line["matrix_share"] < 1.5
        assert line["memory_mb"] > 100
        assert line["target_seconds"] > 0
        assert line["with_positive"] >= 0.4 >= line["positive_pairs"] > 0
    table = pq.read_table(output / "training_log.parquet").to_pylist()
    assert [row["loss"] for row in table] == [line["loss"] for line in steps]
    assert not {"seconds", "kind", "memory_mb"} & set(table[0])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "node.checkpoints/tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("step/loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("step/loss")] == pytest.approx([row["loss"] for row in table])
    assert [event.step for event in events.Scalars("measures/mrr")] == [0, 2, 4]
    said = capsys.readouterr().err
    assert "50.0% were asked for" in said
    assert "step 4 of 4: loss" in said
    assert "held out, after step 4: title -> abstract MRR" in said
    assert "warning: the training loses what its start could do: after step 4" in said
