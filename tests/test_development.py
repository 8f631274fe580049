"""Measures on held-out citations, on the sample: their values, what they stop, and the checkpoint that they choose."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from biohicl.encoder.embed import Encoder
from biohicl.errors import BioHiCLError
from biohicl.training.data import read_training_data
from biohicl.training.development import Judge, Measures, measure
from trainings import inputs_of, node, run


def test_measures_equal_their_definitions(made):
    folder, config = made
    data = read_training_data(inputs_of(made), config["nodes"]["biohicl-base"])
    encoder = Encoder(folder / "results/models/default", "cpu")
    rows = np.arange(0, 300, 7)
    found = measure(encoder.text_model, data, rows, 5)
    selection = pl.read_parquet(folder / "results/training/selections/abstracts.parquet")
    titles, abstracts = (
        encoder.encode([selection[column][int(row)] for row in rows]) for column in ("title", "abstract")
    )
    scores = titles @ abstracts.T
    ranks = [1 + sum(scores[i, j] >= scores[i, i] for j in range(len(rows)) if j != i) for i in range(len(rows))]
    assert found.mrr == pytest.approx(np.mean([1 / rank for rank in ranks]), rel=1e-6)
    similarity = abstracts @ abstracts.T
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    assert found.mean_similarity == pytest.approx(np.mean([similarity[pair] for pair in pairs]), rel=1e-4)
    target = data.targets.of(rows, torch.device("cpu")).numpy()
    expected = pl.DataFrame({"e": [similarity[p] for p in pairs], "l": [target[p] for p in pairs]}).select(
        pl.corr("e", "l", method="spearman")
    )
    assert found.correlation == pytest.approx(expected.item(), abs=1e-4)
    assert found.step == 5


def judge(*values, **over):
    settings = {"model": "mrr", "patience": None, "max_mean_similarity": 0.6, "min_mrr": 0.97} | over
    one = Judge(settings, [])
    for step, (mrr, mean, correlation) in enumerate(values):
        one.add(Measures(step, mrr, mean, correlation))
    return one


def test_the_best_is_chosen_by_its_measure_and_waiting_ends():
    values = [(0.5, 0.1, 0.1), (0.7, 0.1, 0.3), (0.7, 0.1, 0.2), (0.6, 0.1, 0.4)]
    assert judge(*values).best.step == 1, "the first of equals"
    assert judge(*values, model="correlation").best.step == 3
    assert judge(*values, model="last").best is None
    assert [judge(*values[:n], patience=2).has_waited() for n in (1, 2, 3, 4)] == [False, False, False, True]
    assert not judge(*values, model="last", patience=1).has_waited()
    with pytest.raises(BioHiCLError, match="correlation needs labels"):
        _ = judge((0.5, 0.1, None), model="correlation").best


@pytest.mark.parametrize(
    ("first", "bad", "said"),
    [
        ((0.5, 0.1), (0.9, 0.61), r"collapses: after step 2 .* 0\.610 \(0\.100 at the start, the limit is 0\.600\)"),
        ((0.5, 0.7), (0.9, 0.86), r"the limit is 0\.850"),
        ((0.5, 0.1), (0.48, 0.1), r"loses what its start could do: .* 0\.4800, below 0\.97 of the 0\.5000"),
    ],
)
def test_a_collapse_that_lasts_stops_the_training_with_what_to_do(first, bad, said):
    first, bad, good = (*first, None), (*bad, None), (0.6, 0.1, None)
    with pytest.raises(BioHiCLError, match=said) as stop:
        judge(first, bad, bad).check()
    assert "Lower schedule.learning_rate" in str(stop.value)
    for dip in ([first, bad], [first, bad, good], [first, bad, good, bad], [first]):
        judge(*dip).check()
    judge(first, bad, bad, max_mean_similarity=None, min_mrr=None).check()


def test_a_backbone_of_high_cosines_is_no_collapse():
    judge((0.5, 0.7, None), (0.6, 0.84, None), (0.6, 0.84, None)).check()


def test_a_collapsing_run_stops(made, tmp_path):
    """Targets so flat that all texts should be alike: the trap of recipe A's neighbours."""
    flat = {"soft_targets": {"weight": 1.0, "temperature": 10.0, "target_temperature": 10.0}}
    one = run(made, tmp_path / "good", node(made[1], schedule__max_steps=30))
    block = node(made[1], losses=flat, schedule__learning_rate=0.05)
    block["development"] |= {"every": 5, "min_mrr": 0.97}
    with pytest.raises(BioHiCLError, match="the training (collapses|loses)"):
        run(made, tmp_path / "node", block, start=one)
    assert not (tmp_path / "node").exists()


def test_the_model_is_the_best_checkpoint_where_that_is_asked(made, tmp_path):
    """A rate that climbs and then ruins: the best is in the middle, and it is what is written."""
    block = node(
        made[1], schedule__learning_rate=0.02, schedule__warmup=1.0, schedule__max_steps=40, development__every=4
    )
    block["development"] |= {"model": "mrr", "min_mrr": None, "max_mean_similarity": None, "patience": 3}
    output = run(made, tmp_path / "node", block)
    measures = pl.read_parquet(output / "development.parquet")
    manifest = json.loads((output / "manifest.json").read_text())
    best = measures.sort("mrr", "step", descending=[True, False]).row(0, named=True)
    assert manifest["model_of_step"] == best["step"] < manifest["steps"] <= 40
    assert manifest["steps"] == measures["step"].max() == min(best["step"] + 12, 40)
    data = read_training_data(inputs_of(made), block)
    from biohicl.training.plan import held_out

    rows = np.flatnonzero(held_out(data.numbers, 500, 1))
    assert manifest["held_out"] == len(rows) == len(data) // 10
    assert measure(Encoder(output, "cpu").text_model, data, rows, 0).mrr == pytest.approx(best["mrr"], abs=1e-6)


def test_where_nothing_is_better_the_start_becomes_the_model_and_that_is_said(made, tmp_path, capsys):
    """A rate that ruins a model that was good."""
    block = node(made[1], schedule__learning_rate=0.9, schedule__max_steps=3, schedule__warmup=0.0)
    block["development"] |= {"every": 1, "model": "mrr", "min_mrr": None, "max_mean_similarity": None}
    start = "results/models/default"
    output = run(made, tmp_path / "node", block, start=start)
    assert json.loads((output / "manifest.json").read_text())["model_of_step"] == 0
    said = capsys.readouterr().err
    assert "the weights of step 0 become the model" in said
    assert "warning: these are the start's" in said
    before, after = (load_file(place / "model.safetensors") for place in (made[0] / start, output))
    assert all(torch.equal(after[name], value) for name, value in before.items())
