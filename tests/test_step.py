"""A step of the trainer, on the sample: what its batch holds, and the gradients that it gives."""

import json
import threading

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.mesh.nodes import check_tags, read_nodes
from biohicl.training.batches import Preparer
from biohicl.training.data import read_training_data
from biohicl.training.losses import LOSSES
from trainings import EVERY_LOSS, inputs_of, node, run, training


def gradients(one, chunk_tokens=None):
    one.optimizer.zero_grad()
    terms, loss = one.step.gradients(one.preparer.prepare(1, chunk_tokens), cached=chunk_tokens is not None)
    found = {name: value.grad.clone() for name, value in one.model.model.named_parameters() if value.grad is not None}
    found |= {
        f"{name}.{key}": value.grad.clone() for name, own in one.trainable.learned.items() for key, value in own.items()
    }
    return terms, loss, found


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
    # As NLM has it, a concept's terms beside its preferred one are marked as not preferred.
    synonyms = synonyms.with_columns(concept_preferred=pl.lit(False))
    # A narrower concept's term is another thing's name, and preferred there; one that is turned round is no question.
    narrower = synonyms.with_columns(
        term=pl.lit("Narrower ") + pl.col("term"), concept_ui=pl.lit("M9"), concept_preferred=pl.lit(True)
    )
    turned = synonyms.with_columns(term=pl.col("term").str.replace("Synonym of (.*)", "of $1, SYNONYM"))
    pl.concat([narrower, turned, synonyms, known]).write_parquet(path)
    data = read_training_data(inputs_of(made, terms=path), config["nodes"]["default"])
    headings, selection = data.headings, pl.read_parquet(folder / "results/training/selections/abstracts.parquet")
    nodes = read_nodes(folder / "results/mesh/hierarchy.parquet")
    terms = pl.concat([synonyms, known]).filter(pl.col("concept_ui") != "M9")
    own = known.filter("record_preferred").select("descriptor_ui", "concept_ui").unique()
    terms = terms.join(own, on=["descriptor_ui", "concept_ui"], how="semi")
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


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"query_text", "teacher_vectors"}))
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


def test_whoever_stops_listening_leaves_no_thread_that_waits_for_ever(made, tmp_path):
    """It is far ahead by then, and waits for room."""
    one = training(made, node(made[1], schedule__epochs=2), tmp_path)
    before = set(threading.enumerate())
    batches = one.preparer.ahead(1, len(one.plan))
    batch, waited = next(batches)
    assert (batch.step, waited >= 0) == (1, True)
    (thread,) = set(threading.enumerate()) - before
    batches.close()
    assert not thread.is_alive()
