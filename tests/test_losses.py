"""Each loss against plain loops in float64, its gradient, and its limits."""

import math

import pytest
import torch

from biohicl.training import losses

SIZES = [2, 3, 5, 9]


def batch(size, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(size, 6, generator=generator, dtype=torch.float64), dim=1)
    labels = (torch.rand(size, 8, generator=generator) < 0.35).double()
    norms = labels.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return vectors @ vectors.T, (labels / norms) @ (labels / norms).T


def mse_by_loops(e, t):
    pairs = [(e[i][j] - t[i][j]) ** 2 for i in range(len(e)) for j in range(len(e)) if i != j]
    return sum(pairs) / len(pairs)


def contrastive_by_loops(e, t, positive_above):
    terms = []
    for i in range(len(e)):
        negatives = [n for n in range(len(e)) if t[i][n] == 0]
        for p in range(len(e)):
            if p != i and t[i][p] > positive_above and negatives:
                below = sum(math.exp(e[i][n]) for n in negatives)
                terms.append(-math.log(t[i][p] * math.exp(e[i][p]) / below))
    return sum(terms) / len(terms) if terms else 0.0


def soft_targets_by_loops(e, t, temperature, target_temperature):
    anchors = []
    for i in range(len(e)):
        others = [j for j in range(len(e)) if j != i]
        if not any(t[i][j] > 0 for j in others) or len(e) < 3:
            continue
        wanted = [math.exp(t[i][j] / target_temperature) for j in others]
        found = [math.exp(e[i][j] / temperature) for j in others]
        anchors.append(-sum(w / sum(wanted) * math.log(f / sum(found)) for w, f in zip(wanted, found, strict=True)))
    return sum(anchors) / len(anchors) if anchors else 0.0


def title_abstract_by_loops(e, temperature):
    total = 0.0
    for i in range(len(e)):
        row = [math.exp(e[i][j] / temperature) for j in range(len(e))]
        column = [math.exp(e[j][i] / temperature) for j in range(len(e))]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    return total / (2 * len(e))


CASES = {
    "mse": (losses.mse, mse_by_loops, {}),
    "contrastive": (losses.contrastive, contrastive_by_loops, {"positive_above": 0.3}),
    "soft_targets": (losses.soft_targets, soft_targets_by_loops, {"temperature": 0.1, "target_temperature": 0.2}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(8))
def test_equals_plain_loops_and_has_the_right_gradient(name, size, seed):
    loss, loops, settings = CASES[name]
    similarity, target = batch(size, seed)
    assert loss(similarity, target, **settings).item() == pytest.approx(
        loops(similarity.tolist(), target.tolist(), **settings), rel=1e-9, abs=1e-12
    )
    similarity.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda s: loss(s, target, **settings), (similarity,))


@pytest.mark.parametrize("size", [1, *SIZES])
def test_title_abstract_equals_plain_loops(size):
    generator = torch.Generator().manual_seed(size)
    similarity = torch.rand(size, size, generator=generator, dtype=torch.float64, requires_grad=True)
    expected = title_abstract_by_loops(similarity.tolist(), 0.05)
    assert losses.title_abstract(similarity, 0.05).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert torch.autograd.gradcheck(lambda s: losses.title_abstract(s, 0.05), (similarity,))


LIMITS = {
    "one citation": (torch.ones(1, 1), torch.ones(1, 1)),
    "identical labels": (torch.full((4, 4), 0.5), torch.ones(4, 4)),
    "no labels at all": (torch.rand(4, 4), torch.zeros(4, 4)),
    "no positives": (torch.rand(3, 3), torch.eye(3)),
    "equal vectors": (torch.ones(4, 4), torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]] * 2).float()),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_are_finite_and_keep_a_gradient(name, limit):
    loss, _, settings = CASES[name]
    similarity, target = (part.clone() for part in LIMITS[limit])
    similarity.requires_grad_(True)
    value = loss(similarity, target, **settings)
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(similarity.grad).all()


def test_contrastive_pulls_positives_and_pushes_negatives():
    similarity = torch.zeros(3, 3, requires_grad=True)
    target = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    losses.contrastive(similarity, target, positive_above=0.3).backward()
    assert similarity.grad[0, 1] < 0 < similarity.grad[0, 2]
    assert similarity.grad[0, 0] == 0


def test_only_an_exact_zero_is_a_negative():
    """A far relative is neither positive nor negative: it must feel nothing."""
    similarity = torch.zeros(3, 3, requires_grad=True)
    target = torch.tensor([[1.0, 0.8, 0.01], [0.8, 1.0, 0.0], [0.01, 0.0, 1.0]])
    losses.contrastive(similarity, target, positive_above=0.3).backward()
    assert similarity.grad[0].abs().sum() == 0
    assert similarity.grad[1, 2] > 0
