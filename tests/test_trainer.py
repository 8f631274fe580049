"""The trainer, on the sample: what a step computes, what a model is made of, what is measured, what stops it."""

import gc
import json
import shutil
import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import load_model
from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.evaluation.evaluate import evaluate
from biohicl.mesh.nodes import check_tags, read_nodes
from biohicl.training.batches import Preparer
from biohicl.training.checkpoints import Checkpoints
from biohicl.training.data import read_training_data
from biohicl.training.development import Judge, Measures, measure
from biohicl.training.losses import LOSSES
from biohicl.training.ranks import Ranks
from biohicl.training.tokens import write_tokens
from biohicl.training.train import Options, Training
from encoders import CONFIGS, save_encoder
from trainings import BACKBONE, command, inputs_of, node, run

CPU = Options(device="cpu")
# Every loss at once, in a batch of which half the citations have a title to find them, and 40 % headings.
EVERY_LOSS = {
    "mse": {"weight": 1.0},
    "affine_mse": {"weight": 0.7},
    "contrastive": {"weight": 0.1, "positive_above": 0.3, "temperature": 1.0, "weighted": False},
    "soft_targets": {"weight": 0.5, "temperature": 0.05, "target_temperature": 0.1},
    "cosent": {"weight": 0.3, "scale": 20.0},
    "soft_siglip": {
        "weight": 0.2,
    },
    "mul_sup_con": {"weight": 0.4, "temperature": 0.1},
    "title_abstract": {"weight": 2.0, "temperature": 0.05, "share": 0.5, "mask_above": 0.5},
    "heading_abstract": {"weight": 1.5, "temperature": 0.05, "share": 0.4, "headings": 3},
}


def training(made, block, tmp_path, options=CPU, **over):
    torch.set_num_threads(2)
    return Training(inputs_of(made, **over), block, "node", Checkpoints(tmp_path / "checkpoints"), options, Ranks(0, 1))


def gradients(one, chunk_tokens=None):
    one.optimizer.zero_grad()
    terms, loss = one.step.gradients(one.preparer.prepare(1, chunk_tokens), cached=chunk_tokens is not None)
    found = {name: value.grad.clone() for name, value in one.model.model.named_parameters() if value.grad is not None}
    found |= {
        f"{name}.{key}": value.grad.clone() for name, own in one.trainable.learned.items() for key, value in own.items()
    }
    return terms, loss, found


# --- a step -----------------------------------------------------------------------------------------------


def test_a_batch_is_what_the_recipe_says(made, tmp_path):
    """Half the citations have a title to find them, 40 % headings; texts and targets are theirs."""
    one = training(made, node(made[1], losses=EVERY_LOSS, schedule__batch_size=20), tmp_path)
    batch = one.preparer.prepare(3)
    tokens = one.data.tokens
    assert len(batch.rows) == 20
    assert len(batch.titles) == 10
    assert len(batch.headings) == 8
    assert not set(batch.titles) & set(batch.headings)
    # One chunk on a CPU: its texts in the caller's order are those that were dealt.
    ((places, packed),) = batch.chunks
    assert batch.dealt[0][places].shape == (38,)
    lists = [None] * 38
    for place, item in zip(packed.places.tolist(), batch.dealt[0][places].tolist(), strict=True):
        lists[item] = packed.ids[0, packed.offsets[place] : packed.offsets[place + 1]].tolist()
    for place, row in enumerate(batch.rows):
        view = "passage" if place in batch.titles else "document"
        assert lists[place] == tokens[view].rows([row])[0].tolist()
    for place, row in enumerate(batch.rows[batch.titles]):
        assert lists[20 + place] == tokens["query"].rows([row])[0].tolist()
    words = [one.tokenizer.decode(query, skip_special_tokens=True) for query in lists[30:]]
    assert all(words)
    assert batch.tokens == sum(map(len, lists))
    similarity = one.data.targets.of(batch.rows, torch.device("cpu"))
    assert torch.equal(batch.targets["similarity"], similarity)
    assert torch.equal(batch.targets["title_abstract"], similarity[batch.titles][:, batch.titles])
    assert batch.targets["heading_abstract"].shape == (8, 8)
    assert batch.targets["heading_abstract"].diagonal().all(), "a citation carries its own headings"


def test_queries_are_made_of_a_citations_own_headings_and_suit_whoever_carries_them(made, tmp_path):
    folder, config = made
    path = tmp_path / "terms.parquet"
    known = pl.read_parquet(folder / "results/mesh/terms.parquet")
    synonyms = known.filter("record_preferred").with_columns(
        term=pl.lit("Synonym of ") + pl.col("term"), record_preferred=pl.lit(False)
    )
    # A narrower concept's term is another thing's name.
    narrower = synonyms.with_columns(term=pl.lit("Narrower ") + pl.col("term"), concept_preferred=pl.lit(False))
    pl.concat([narrower, synonyms, known]).write_parquet(path)
    data = read_training_data(inputs_of(made, terms=path), config["nodes"]["default"])
    headings, selection = data.headings, pl.read_parquet(folder / "results/training/selections/abstracts.parquet")
    nodes = read_nodes(folder / "results/mesh/hierarchy.parquet")
    terms = pl.read_parquet(path).filter("concept_preferred")
    hierarchy = pl.read_parquet(folder / "results/mesh/hierarchy.parquet")
    names = dict(hierarchy.select("descriptor_ui", "name").iter_rows())
    draw = np.random.default_rng(0)
    tags, by_name, chosen = check_tags(), 0, []
    rows = np.flatnonzero(headings.usable)[:150]
    for row in rows:
        ids, text = headings.draw(int(row), draw)
        uis = [nodes.uis[number] for number in ids]
        assert 1 <= len(set(uis)) == len(uis) <= 3
        assert set(uis) <= set(selection["descriptor_uis"][int(row)])
        assert not set(uis) & tags
        left = text
        for ui in uis:
            known = terms.filter(pl.col("descriptor_ui") == ui)["term"].to_list()
            assert any(left.startswith(term) for term in known), (text, known)
            used = max((term for term in known if left.startswith(term)), key=len)
            left = left[len(used) :].removeprefix(", ")
            by_name += used == names[ui]
        assert left == ""
        chosen.append(ids)
    assert 0.3 < by_name / sum(map(len, chosen)) < 0.9, "synonyms and names"
    assert {len(ids) for ids in chosen} == {1, 2, 3}
    closure = [set(row.tolist()) for row in headings.closed.ids.rows(rows)]
    expected = [[set(ids.tolist()) <= own for own in closure] for ids in chosen]
    np.testing.assert_array_equal(headings.carried(rows, chosen), np.array(expected, dtype=np.float32))
    assert np.sum(expected) > 150, "somebody carries another's headings too"
    without = ~headings.usable
    assert all(set(selection["descriptor_uis"][int(row)]) <= tags | {"D990000001"} for row in np.flatnonzero(without))


def test_a_heading_is_drawn_as_its_squared_weight_says(made):
    data = read_training_data(inputs_of(made), node(made[1], losses__heading_abstract__headings=1))
    headings = data.headings
    row = int(np.argmax(headings.direct.ids.lengths() * headings.usable))
    chances = headings._chances[headings.direct.ids.offsets[row] : headings.direct.ids.offsets[row + 1]]
    ids = headings.direct.ids.rows([row])[0]
    draw = np.random.default_rng(1)
    drawn = np.array([headings.draw(row, draw)[0][0] for _ in range(4000)])
    expected = headings.weights[ids].astype(float) ** 2 * (chances > 0)
    found = np.array([(drawn == number).mean() for number in ids])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.04)


def test_the_loss_is_the_weighted_sum_of_its_terms(made, tmp_path):
    output = run(made, tmp_path / "node", node(made[1], losses=EVERY_LOSS, schedule__max_steps=3))
    for row in pq.read_table(output / "training_log.parquet").to_pylist():
        assert all(row[name] != 0 for name in EVERY_LOSS)
        expected = sum(settings["weight"] * row[name] for name, settings in EVERY_LOSS.items())
        assert row["loss"] == pytest.approx(expected, rel=1e-5)
    learned = json.loads((output / "manifest.json").read_text())["learned"]
    assert learned.keys() == {"affine_mse", "soft_siglip"}
    assert learned["affine_mse"]["slope"] != 1.0


@pytest.mark.parametrize("chunk_tokens", [64, 700])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(made, tmp_path, chunk_tokens, dropout):
    """With dropout the second reading has to drop what the first did, chunk by chunk."""
    block = node(made[1], losses=EVERY_LOSS, trainable__dropout=dropout)
    one = training(made, block, tmp_path)
    # An adapter begins with B = 0, and nothing would flow into A.
    for name, parameter in one.model.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    chunks = one.preparer.prepare(1, chunk_tokens).chunks
    assert len(chunks) > 2
    assert all(chunk.tokens <= chunk_tokens or len(places) == 1 for places, chunk in chunks)
    state = torch.get_rng_state()
    terms, loss, cached = gradients(one, chunk_tokens)
    if dropout:
        # The reference: the same chunks, with one graph.
        torch.set_rng_state(state)
        one.optimizer.zero_grad()
        again, _ = one.step.gradients(one.preparer.prepare(1, chunk_tokens), cached=False)
        whole = {n: v.grad.clone() for n, v in one.model.model.named_parameters() if v.grad is not None}
        assert again == pytest.approx(terms, rel=1e-6)
    else:
        expected, total, whole = gradients(one)
        assert terms == pytest.approx(expected, rel=1e-5)
        assert loss == pytest.approx(total, rel=1e-5)
    assert len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(cached[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_padded_and_packed_training_have_the_same_gradients(made, tmp_path):
    block = node(made[1], losses=EVERY_LOSS)
    packed = training(made, block, tmp_path / "1")
    padded = training(made, block, tmp_path / "2")
    padded.model = TextModel(padded.model.model, padded.encoder.pooling, 0, packed=False)
    padded.step.model = padded.preparer.model = padded.model
    first, second = gradients(packed), gradients(padded)
    assert first[0] == pytest.approx(second[0], rel=1e-4)
    for name, gradient in first[2].items():
        torch.testing.assert_close(gradient, second[2][name], atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_alone(made, tmp_path, name):
    """One line of config.yaml swaps the loss; it goes down on a batch that is seen again and again."""
    settings = EVERY_LOSS[name] | {"weight": 1.0} | ({"share": 1.0} if "share" in EVERY_LOSS[name] else {})
    one = training(made, node(made[1], losses={name: settings}, schedule__learning_rate=1e-3), tmp_path)
    batch = one.preparer.prepare(1)
    values = []
    for _ in range(12):
        one.optimizer.zero_grad()
        values.append(one.step.gradients(batch, cached=False)[1])
        one.optimizer.step()
    assert values[-1] < values[0], values


def test_mul_sup_cons_target_counts_partners_of_each_label(made, tmp_path):
    one = training(made, node(made[1], losses={"mul_sup_con": EVERY_LOSS["mul_sup_con"]}), tmp_path)
    rows = one.plan.batch(1)
    sets = [set() for _ in rows]
    weights, factors = one.data.targets.weighting.nodes, one.data.targets.weighting.factors
    chosen = one.data.targets.labels.take(rows)
    for place, own in enumerate(chosen.ids.rows(np.arange(len(rows)))):
        kinds = chosen.kinds[chosen.ids.offsets[place] : chosen.ids.offsets[place + 1]]
        sets[place] = {i for i, kind in zip(own.tolist(), kinds, strict=True) if weights[i] > 0 and factors[kind] > 0}
    expected = np.zeros((len(rows), len(rows)))
    for label in set().union(*sets):
        having = [place for place, own in enumerate(sets) if label in own]
        if len(having) > 1:
            expected[np.ix_(having, having)] += 1 / (len(having) - 1)
    found = one.preparer.prepare(1).targets["mul_sup_con"].numpy()
    off = ~np.eye(len(rows), dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], rtol=1e-5)
    from biohicl.mesh.similarity import SHARED, partners
    from biohicl.training.targets import dense_similarity

    sets = one.data.targets.labels.take(rows)
    dense = dense_similarity(SHARED, sets, partners(sets, one.data.targets.weighting), torch.device("cpu")).numpy()
    np.testing.assert_allclose(dense[off], expected[off], rtol=1e-4, atol=1e-5)


def test_what_goes_wrong_in_the_loaders_thread_comes_out(made, tmp_path, monkeypatch):
    one = training(made, node(made[1]), tmp_path)
    real = Preparer.prepare

    def failing(self, step, chunk_tokens=None):
        if step == 3:
            raise BioHiCLError("no such batch")
        return real(self, step, chunk_tokens)

    monkeypatch.setattr(Preparer, "prepare", failing)
    seen = []
    with pytest.raises(BioHiCLError, match="no such batch"):
        seen.extend(batch.step for batch, _ in one.preparer.ahead(1, 5))
    # Whoever stops listening gets no thread that waits for ever.
    for batch, waited in one.preparer.ahead(1, 2):
        assert (batch.step, waited >= 0) == (1, True)
        break


# --- a model ----------------------------------------------------------------------------------------------


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


def test_the_model_folder_loads_elsewhere_with_the_same_embeddings(made):
    from sentence_transformers import SentenceTransformer

    folder = made[0] / "results/models/default"
    texts = ["Effect of gliaroma on stroke", "mice given nothing"]
    there = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts)
    np.testing.assert_allclose(Encoder(folder, "cpu").encode(texts), there, atol=1e-5)


@pytest.mark.parametrize("recipe", ["biohicl-base", "default"])
def test_the_trained_model_beats_its_backbone_on_three_seeds(made, tmp_path, recipe):
    folder, config = made
    benchmark = folder / "resources/benchmarks/sample-retrieval"
    backbone = evaluate(str(folder / BACKBONE), benchmark, tmp_path / "b")[0]["value"]
    for seed in (1, 2, 3):
        model = run(made, tmp_path / str(seed), node(config, recipe, seed=seed))
        trained = evaluate(str(model), benchmark, tmp_path / "e")[0]["value"]
        assert trained > backbone + 0.02, (recipe, seed, trained, backbone)


# --- measures, guards, and the choice of a checkpoint ---------------------------------------------------------


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

    rows = np.flatnonzero(held_out(data.pmids, 500, 1))
    assert manifest["held_out"] == len(rows) == len(data) // 10
    assert measure(Encoder(output, "cpu").text_model, data, rows, 0).mrr == pytest.approx(best["mrr"], abs=1e-6)


# --- what one sees ----------------------------------------------------------------------------------------------


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


# --- what is refused ---------------------------------------------------------------------------------------------


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


def test_the_start_as_the_best_is_said(made, tmp_path, capsys):
    block = node(made[1], schedule__learning_rate=0.9, schedule__max_steps=4, schedule__warmup=0.0)
    block["development"] |= {"every": 1, "model": "mrr", "min_mrr": None, "max_mean_similarity": None}
    output = run(made, tmp_path / "node", block)
    if json.loads((output / "manifest.json").read_text())["model_of_step"] == 0:
        assert "warning: these are the start's" in capsys.readouterr().err
    assert oct((output / "model.safetensors").stat().st_mode) == oct((output / "config.json").stat().st_mode)


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


REFUSED = {
    "no tokenizer": (lacking("[vt]*o*[cn]*.[tj]*"), {}, "has no tokenizer"),
    "rank 0": (None, {"trainable__rank": 0}, "trainable.rank is 0"),
    "an unknown layer": (None, {"trainable__targets": ["q_proj"]}, r"no layer 'q_proj'; it has dense, key, .*query"),
    "a batch of more": (
        None,
        {"schedule__batch_size": 5000},
        r"1,445 citations are left to train on, and a batch takes 5,000",
    ),
    "no measure": (None, {"development__citations": 0, "development__model": "mrr"}, "mrr needs held-out citations"),
    "another tokenizer": (reversed_words, {}, "its tokens are of another tokenizer than that of"),
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
