"""The plan of a training: held-out citations, batches, related pairs, and who computes what."""

import numpy as np
import polars as pl
import pytest
import torch

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_sets import LabelSets
from biohicl.mesh.weights import Weighting
from biohicl.ragged import Ragged
from biohicl.training.batches import _dealt
from biohicl.training.plan import held_out, plan_batches
from biohicl.training.targets import Targets

SCHEDULE = {
    "epochs": 2,
    "max_steps": None,
    "batch_size": 8,
    "batch_tokens": None,
    "related": 0.0,
    "positive_above": 0.3,
}


def targets_of(count, labels, seed=0):
    """Each citation has two labels of its group and one that everybody has."""
    draw = np.random.default_rng(seed)
    rows = [sorted({0, *(1 + draw.integers(labels, size=2))}) for _ in range(count)]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    values = np.concatenate(rows).astype(np.int32)
    weights = np.ones(labels + 1, dtype=np.float32)
    weights[0] = 0.1
    closure = Ragged(np.arange(labels + 1, dtype=np.int32), np.arange(labels + 2, dtype=np.int64))
    sets = LabelSets(Ragged(values, offsets), np.ones(len(values), dtype=np.uint8))
    return Targets(sets, Weighting(weights, np.ones(16, dtype=np.float32), closure), "cosine")


def plan(count=100, targets=None, seed=5, rows=None, tokens=None, **over):
    rows = np.arange(count) if rows is None else rows
    tokens = np.full(count, 10) if tokens is None else tokens
    return plan_batches(rows, tokens, targets, SCHEDULE | over, seed)


def every_batch(made):
    return [made.batch(step).tolist() for step in range(1, len(made) + 1)]


@pytest.mark.parametrize(("count", "size", "epochs"), [(10, 3, 2), (7, 7, 1), (100, 8, 3), (2, 2, 1)])
@pytest.mark.parametrize("related", [0.0, 0.5])
def test_an_epoch_has_every_citation_once_but_for_a_rest(count, size, epochs, related):
    made = plan(count, targets_of(count, 6), batch_size=size, epochs=epochs, related=related)
    assert len(made) == epochs * (count // size)
    for epoch in range(epochs):
        batches = [made.batch(step + 1) for step in np.flatnonzero(made.epochs == epoch)]
        seen = np.concatenate(batches)
        assert all(len(batch) == size for batch in batches)
        assert len(set(seen.tolist())) == len(seen) == count // size * size


def test_the_same_seed_makes_the_same_plan_and_another_seed_another():
    assert plan().fingerprint == plan().fingerprint != plan(seed=6).fingerprint
    assert every_batch(plan(max_steps=5)) == every_batch(plan())[:5]
    assert every_batch(plan(epochs=1)) == every_batch(plan())[: len(plan(epochs=1))]


def test_held_out_citations_are_in_no_batch():
    pmids = np.arange(1000, 1200)
    chosen = held_out(pmids, 15, seed=1)
    assert chosen.sum() == 15
    made = plan(200, rows=np.flatnonzero(~chosen))
    assert not set(np.flatnonzero(chosen)) & {row for batch in every_batch(made) for row in batch}
    assert held_out(pmids, 500, seed=1).sum() == 20, "a tenth at most"
    assert not held_out(pmids, 0, seed=1).any()
    # What is held out does not depend on what else is there.
    more = held_out(np.arange(900, 1300), 40, seed=1)[100:300]
    assert (more & chosen).sum() >= 10


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_the_set_share_of_citations_comes_with_a_related_one(share):
    targets = targets_of(400, 25)
    made = plan(400, targets, related=share, batch_size=16)
    # Citations find each other at random, and the last ones find nobody.
    assert made.related == pytest.approx(share, abs=0.02 if share < 1 else 0.06)
    for step in range(1, len(made) + 1):
        rows = made.batch(step)
        similarity = targets.of(rows, torch.device("cpu")).numpy()
        np.fill_diagonal(similarity, 0)
        having = (similarity > 0.3).any(axis=1).mean()
        assert having >= min(share, made.related) - 2.5 / 16, "spread evenly, so in each batch"
    # Every epoch looks for other pairs.
    first, second = (set(map(tuple, np.sort(_pairs(made, targets, epoch)))) for epoch in (0, 1))
    assert first != second


def _pairs(made, targets, epoch):
    found = []
    for step in np.flatnonzero(made.epochs == epoch) + 1:
        rows = made.batch(int(step))
        similarity = targets.of(rows, torch.device("cpu")).numpy()
        one, other = np.nonzero(np.triu(similarity > 0.3, 1))
        found += [(rows[i], rows[j]) for i, j in zip(one, other, strict=True)]
    return np.array(found)


def test_where_nothing_is_related_all_come_as_drawn():
    targets = targets_of(60, 1)
    lonely = Targets(
        targets.labels, Weighting(np.zeros(2, np.float32), np.ones(16, np.float32), targets.weighting.closure), "cosine"
    )
    assert plan(60, lonely, related=0.5).related == 0
    assert len(plan(60, lonely, related=0.5)) == len(plan(60))


@pytest.mark.parametrize("related", [0.0, 0.5])
def test_a_batch_keeps_to_its_tokens(related):
    tokens = np.random.default_rng(1).integers(5, 60, 200)
    targets = targets_of(200, 10)
    made = plan(200, targets, tokens=tokens, batch_tokens=150, batch_size=16, related=related)
    batches = every_batch(made)
    assert all(tokens[batch].sum() <= 150 or len(batch) == 2 for batch in batches)
    assert all(2 <= len(batch) <= 16 for batch in batches)
    first_epoch = [row for batch, epoch in zip(batches, made.epochs, strict=True) if epoch == 0 for row in batch]
    assert len(set(first_epoch)) == len(first_epoch) > 180


def test_fewer_citations_than_a_batch_is_an_error():
    with pytest.raises(BioHiCLError, match="7 citations are left to train on, and a batch takes 8"):
        plan(7)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_item_is_dealt_to_one_process_and_all_have_as_much(world):
    lengths = np.random.default_rng(world).integers(3, 500, 64)
    dealt = _dealt(lengths, world)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(64))
    loads = [lengths[part].sum() for part in dealt]
    assert max(loads) - min(loads) <= lengths.max()


def test_companions_share_what_the_weighting_counts(tmp_path):
    """A label without weight brings nobody together, however many have it."""
    targets = targets_of(120, 12)
    weights = targets.weighting.nodes.copy()
    weights[0] = 0.0
    silent = Targets(targets.labels, Weighting(weights, targets.weighting.factors, targets.weighting.closure), "cosine")
    made = plan(120, silent, related=0.5)
    frame = pl.DataFrame(
        {"set": [set(row.tolist()) - {0} for row in targets.labels.ids.rows(np.arange(120))]}, strict=False
    )
    shared = 0
    for step in range(1, len(made) + 1):
        rows = made.batch(step).tolist()
        shared += sum(any(frame["set"][i] & frame["set"][j] for j in rows if j != i) for i in rows)
    assert shared / (len(made) * 8) >= 0.5
