"""Each loss against plain loops in float64, its gradient, and its limits."""

import math
import re

import pytest
import torch
import yaml
from torch.nn.functional import normalize

from biohicl import configuration
from biohicl.training import losses
from conftest import ROOT
from trainings import EVERY_LOSS

SIZES = [2, 3, 5, 9]


def batch(size, seed, width=6):
    """Embeddings of unit length, and cosines of label vectors: many exact zeros, some ties."""
    generator = torch.Generator().manual_seed(seed)
    vectors = normalize(torch.randn(size, width, generator=generator, dtype=torch.float64), dim=1)
    labels = (torch.rand(size, 8, generator=generator) < 0.35).double()
    norms = labels.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return vectors, (labels / norms) @ (labels / norms).T


def cosines(one, other):
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in other.tolist()] for x in one.tolist()]


def others(e, i):
    return [j for j in range(len(e)) if j != i]


def mse_by_loops(e, t):
    pairs = [(e[i][j] - t[i][j]) ** 2 for i in range(len(e)) for j in others(e, i)]
    return sum(pairs) / len(pairs)


def affine_mse_by_loops(e, t, slope, offset):
    return mse_by_loops(e, [[float(slope) * value + float(offset) for value in row] for row in t])


def contrastive_by_loops(e, t, positive_above, temperature, weighted):
    terms, weights = [], []
    for i in range(len(e)):
        negatives = [n for n in range(len(e)) if t[i][n] == 0]
        for p in others(e, i):
            if t[i][p] > positive_above and negatives:
                below = sum(math.exp(e[i][n] / temperature) for n in negatives)
                factor = 1 if weighted else t[i][p]
                terms.append(-math.log(factor * math.exp(e[i][p] / temperature) / below))
                weights.append(t[i][p] if weighted else 1)
    return sum(w * x for w, x in zip(weights, terms, strict=True)) / sum(weights) if terms else 0.0


def soft_targets_by_loops(e, t, temperature, target_temperature):
    anchors = []
    for i in range(len(e)):
        if not any(t[i][j] > 0 for j in others(e, i)) or len(e) < 3:
            continue
        wanted = [math.exp(t[i][j] / target_temperature) for j in others(e, i)]
        found = [math.exp(e[i][j] / temperature) for j in others(e, i)]
        anchors.append(-sum(w / sum(wanted) * math.log(f / sum(found)) for w, f in zip(wanted, found, strict=True)))
    return sum(anchors) / len(anchors) if anchors else 0.0


def cosent_by_loops(e, t, scale):
    anchors = []
    for i in range(len(e)):
        pairs = [(j, k) for j in others(e, i) for k in others(e, i) if t[i][j] < t[i][k]]
        if pairs:
            anchors.append(math.log(1 + sum(math.exp(scale * (e[i][j] - e[i][k])) for j, k in pairs)))
    return sum(anchors) / len(anchors) if anchors else 0.0


def soft_siglip_by_loops(e, t, log_scale, bias):
    terms = []
    for i in range(len(e)):
        for j in others(e, i):
            chance = 1 / (1 + math.exp(-(math.exp(log_scale) * e[i][j] + bias)))
            terms.append(-(t[i][j] * math.log(chance) + (1 - t[i][j]) * math.log(1 - chance)))
    return sum(terms) / len(terms)


def title_abstract_by_loops(e, t, temperature, mask_above):
    wrong = [[i == j or mask_above is None or t[i][j] <= mask_above for j in range(len(e))] for i in range(len(e))]
    total = 0.0
    for i in range(len(e)):
        row = [math.exp(e[i][j] / temperature) for j in range(len(e)) if wrong[i][j]]
        column = [math.exp(e[j][i] / temperature) for j in range(len(e)) if wrong[j][i]]
        own = math.exp(e[i][i] / temperature)
        total -= math.log(own / sum(row)) + math.log(own / sum(column))
    return total / (2 * len(e))


SCALARS = {
    "affine_mse": {"slope": torch.tensor(0.7).double(), "offset": torch.tensor(0.2).double()},
    "soft_siglip": {"log_scale": torch.tensor(1.1).double(), "bias": torch.tensor(-2.0).double()},
}
CASES = {
    "mse": (mse_by_loops, "mse", {}),
    "affine_mse": (affine_mse_by_loops, "affine_mse", SCALARS["affine_mse"]),
    "contrastive as printed": (
        contrastive_by_loops,
        "contrastive",
        {"positive_above": 0.3, "temperature": 1.0, "weighted": False},
    ),
    "contrastive weighted": (
        contrastive_by_loops,
        "contrastive",
        {"positive_above": 0.3, "temperature": 0.1, "weighted": True},
    ),
    "soft_targets": (soft_targets_by_loops, "soft_targets", {"temperature": 0.1, "target_temperature": 0.2}),
    "cosent": (cosent_by_loops, "cosent", {"scale": 20.0}),
    "soft_siglip": (soft_siglip_by_loops, "soft_siglip", SCALARS["soft_siglip"]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_equals_plain_loops_and_has_the_right_gradient(name, size, seed):
    loops, loss, settings = CASES[name]
    value = losses.LOSSES[loss].value
    vectors, target = batch(size, seed)
    settings = {key: part.clone() if isinstance(part, torch.Tensor) else part for key, part in settings.items()}
    plain = {key: part.item() if isinstance(part, torch.Tensor) else part for key, part in settings.items()}
    expected = loops(cosines(vectors, vectors), target.tolist(), **plain)
    assert value(vectors, vectors, target, **settings).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    vectors.requires_grad_(True)
    scalars = [part.requires_grad_(True) for part in settings.values() if isinstance(part, torch.Tensor)]
    names = [key for key, part in settings.items() if isinstance(part, torch.Tensor)]

    def of(own, *learned):
        return value(own, own, target, **settings | dict(zip(names, learned, strict=True)))

    assert torch.autograd.gradcheck(of, (vectors, *scalars))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [1, *SIZES])
def test_mul_sup_con_equals_its_definition_over_labels(size, seed):
    """Loops over anchors, their labels, and each label's positives; the target matrix is computed apart."""
    generator = torch.Generator().manual_seed(seed)
    vectors, _ = batch(size, seed)
    has = torch.rand(size, 6, generator=generator) < 0.4
    e = cosines(vectors, vectors)
    terms = []
    for i in range(size):
        for label in range(6):
            positives = [p for p in others(e, i) if has[i, label] and has[p, label]]
            if positives:
                below = sum(math.exp(e[i][j] / 0.1) for j in others(e, i))
                terms.append(-sum(math.log(math.exp(e[i][p] / 0.1) / below) for p in positives) / len(positives))
    target = torch.zeros(size, size, dtype=torch.float64)
    for label in range(6):
        having = has[:, label].nonzero().flatten().tolist()
        for i in having:
            for j in having:
                target[i, j] += 1 / max(len(having) - 1, 1)
    found = losses.mul_sup_con(vectors, vectors, target, temperature=0.1)
    assert found.item() == pytest.approx(sum(terms) / len(terms) if terms else 0.0, rel=1e-9, abs=1e-12)
    vectors.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda own: losses.mul_sup_con(own, own, target, 0.1), (vectors,))


@pytest.mark.parametrize("mask_above", [None, 0.3])
@pytest.mark.parametrize("size", [1, *SIZES])
def test_title_abstract_equals_plain_loops(size, mask_above):
    (titles, target), (abstracts, _) = batch(size, size), batch(size, 100 + size)
    expected = title_abstract_by_loops(cosines(titles, abstracts), target.tolist(), 0.05, mask_above)
    found = losses.title_abstract(titles, abstracts, target, 0.05, mask_above)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    for part in (titles, abstracts):
        part.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda one, other: losses.title_abstract(one, other, target, 0.05, mask_above), (titles, abstracts)
    )


def test_heading_abstract_masks_those_that_carry_the_query():
    (queries, _), (texts, _) = batch(6, 1), batch(6, 2)
    carried = (torch.rand(6, 6, generator=torch.Generator().manual_seed(3)) < 0.3).double()
    found = losses.heading_abstract(queries, texts, carried, 0.05)
    expected = title_abstract_by_loops(cosines(queries, texts), carried.tolist(), 0.05, 0.5)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    everything = losses.heading_abstract(queries, texts, torch.ones(6, 6), 0.05)
    assert everything.item() == pytest.approx(0.0, abs=1e-12), "nobody is a wrong answer"


LIMITS = {
    "one citation": (torch.ones(1, 3), torch.ones(1, 1)),
    "two citations": (torch.eye(2, 3), torch.ones(2, 2)),
    "identical labels": (torch.eye(4), torch.ones(4, 4)),
    "no labels at all": (torch.eye(4), torch.zeros(4, 4)),
    "no positives": (torch.eye(3), torch.eye(3)),
    "equal vectors": (torch.ones(4, 3), torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]] * 2)),
    "opposite vectors": (torch.tensor([[1.0], [-1.0], [1.0]]), torch.rand(3, 3)),
}
EVERY = {
    **{name: (losses.LOSSES[loss].value, settings) for name, (_, loss, settings) in CASES.items()},
    "mul_sup_con": (losses.mul_sup_con, {"temperature": 0.02}),
    "title_abstract": (losses.title_abstract, {"temperature": 0.02, "mask_above": 0.3}),
    "heading_abstract": (losses.heading_abstract, {"temperature": 0.02}),
    "query_text": (losses.query_text, {"temperature": 0.02, "mask_above": None}),
    "soft_targets by perplexity": (losses.soft_targets, {"temperature": 0.05, "target_perplexity": 2.0}),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_are_finite_and_keep_a_gradient(name, limit):
    loss, settings = EVERY[name]
    vectors, target = (part.clone().float() for part in LIMITS[limit])
    vectors = normalize(vectors, dim=1).requires_grad_(True)
    settings = {key: part.float() if isinstance(part, torch.Tensor) else part for key, part in settings.items()}
    value = loss(vectors, vectors, target, **settings)
    assert torch.isfinite(value)
    assert value >= -1e-6 or "contrastive" in name
    value.backward()
    assert torch.isfinite(vectors.grad).all()
    if limit == "one citation":
        assert value.abs() < 1e-6
        assert vectors.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_citations_does_not_matter(name):
    """Processes and plans may order a batch as they like."""
    loss, settings = EVERY[name]
    (one, target), (other, _) = batch(9, 4), batch(9, 5)
    if losses.LOSSES[name.split()[0]].rows == "texts":
        other = one
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = loss(one[order], other[order], target[order][:, order], **settings)
    assert shuffled.item() == pytest.approx(loss(one, other, target, **settings).item(), rel=1e-12)


def test_hard_negatives_are_wrong_answers_and_no_queries():
    """The cross-entropy over all columns, and of each text that has a query over the queries, in plain numbers."""
    (texts, _), (queries, _) = batch(9, 4), batch(6, 5)
    wide = torch.rand(6, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    wide[2, 7] = 2.0
    for mask_above in (0.4, None):
        logits = [[q @ t / 0.05 for t in texts] for q in queries]
        hidden = [[i != j and wide[i, j] > (mask_above or 1.0) for j in range(9)] for i in range(6)]
        rows, columns = [], []
        for i in range(6):
            among = [logits[i][j] for j in range(9) if not hidden[i][j]]
            rows.append(torch.stack(among).logsumexp(0) - logits[i][i])
            asking = [logits[j][i] for j in range(6) if not hidden[j][i]]
            columns.append(torch.stack(asking).logsumexp(0) - logits[i][i])
        expected = (sum(rows) + sum(columns)) / 12
        found = losses.query_text(queries, texts, wide, 0.05, mask_above)
        assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert losses.query_text(queries, texts, torch.zeros(6, 9), 0.05, None) > losses.query_text(
        queries, texts[:6], torch.zeros(6, 6), 0.05, None
    ), "more wrong answers are harder"


@pytest.mark.parametrize("perplexity", [1.5, 4.0, 12.0])
def test_targets_of_any_scale_are_as_sharp_as_asked(perplexity):
    draw = torch.Generator().manual_seed(int(perplexity))
    target = torch.rand(30, 30, generator=draw, dtype=torch.float64) ** 3
    others = ~torch.eye(30, dtype=torch.bool)
    for scaled in (target, 0.2 * target, 0.5 + 0.1 * target):
        found = losses.temperatures(scaled, others, perplexity)
        for row in range(30):
            chances = torch.softmax((scaled[row][others[row]] / found[row]).double(), 0)
            entropy = -(chances * chances.clamp(min=1e-300).log()).sum()
            assert entropy.exp().item() == pytest.approx(perplexity, rel=1e-3)
    vectors, _ = batch(30, 3)
    by_scale = [
        losses.soft_targets(vectors, vectors, t, 0.05, target_perplexity=perplexity) for t in (target, 9 * target)
    ]
    assert by_scale[0].item() == pytest.approx(by_scale[1].item(), rel=1e-3)


def test_a_row_that_cannot_be_as_sharp_stays_finite():
    """All equal: no temperature tells them apart. And no others at all."""
    others = ~torch.eye(4, dtype=torch.bool)
    assert torch.isfinite(losses.temperatures(torch.ones(4, 4), others, 1.5)).all()
    assert torch.isfinite(losses.temperatures(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool), 1.5)).all()


def test_the_distance_to_the_teacher_is_one_minus_the_cosine():
    one, _ = batch(5, 3)
    other, _ = batch(5, 4)
    expected = sum(
        1 - sum(a * b for a, b in zip(*pair, strict=True)) for pair in zip(one.tolist(), other.tolist(), strict=True)
    )
    assert losses.teacher_vectors(one, other, torch.zeros(5, 5)).item() == pytest.approx(expected / 5, rel=1e-12)
    assert losses.teacher_vectors(one, one, torch.zeros(5, 5)).abs() < 1e-12


def test_contrastive_pulls_positives_and_pushes_negatives():
    similarity = gradient_of_similarity([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert similarity[0, 1] < 0 < similarity[0, 2]
    assert similarity[0, 0] == 0


def test_only_an_exact_zero_is_a_negative():
    """A far relative is neither positive nor negative: it must feel nothing."""
    similarity = gradient_of_similarity([[1.0, 0.8, 0.01], [0.8, 1.0, 0.0], [0.01, 0.0, 1.0]])
    assert similarity[0].abs().sum() == 0
    assert similarity[1, 2] > 0


def gradient_of_similarity(target):
    """Of contrastive, with respect to SimE: with one side the identity, SimE is the other side itself."""
    similarity = torch.zeros(3, 3, requires_grad=True)
    losses.contrastive(
        similarity, torch.eye(3), torch.tensor(target), positive_above=0.3, temperature=1.0, weighted=False
    ).backward()
    return similarity.grad


def test_as_printed_the_weight_of_a_positive_has_no_gradient_and_weighted_it_has():
    """The trap of the printed formula: log SimL is a constant summand."""
    vectors, _ = batch(5, 3)
    target = torch.tensor([[1.0, w, 0.0, 0.0, 0.0] for w in (0.5,)] + [[0.5, 1.0, 0, 0, 0]] + [[0.0] * 5] * 3).double()
    stronger = target.clone()
    stronger[0, 1] = 0.9

    def gradient(goal, weighted):
        own = vectors.clone().requires_grad_(True)
        losses.contrastive(own, own, goal, 0.3, 1.0, weighted).backward()
        return own.grad

    assert torch.equal(gradient(target, False), gradient(stronger, False))
    assert not torch.allclose(gradient(target, True), gradient(stronger, True))


def test_cosent_counts_pairs_of_equal_targets_for_nothing():
    vectors, _ = batch(4, 1)
    flat = torch.full((4, 4), 0.5, dtype=torch.float64)
    assert losses.cosent(vectors, vectors, flat, 20.0).item() == 0.0


def test_the_configuration_knows_every_loss_and_which_read_labels():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    known = schema["$defs"]["train"]["properties"]["losses"]["properties"]
    assert set(known) == set(losses.LOSSES)
    asking = {name for name, loss in losses.LOSSES.items() if loss.target not in ("masked", "teacher")}
    assert asking == set(configuration.LABEL_LOSSES)


def test_every_loss_is_tried_and_told():
    """By loops and limits here, all together in a training, and in the words of docs/training.md."""
    # One of a teacher has a test of its own; it and texts' own queries read tables of which the sample's node has none.
    assert {name.split()[0] for name in EVERY} == set(losses.LOSSES) - {"teacher_vectors"}
    assert set(EVERY_LOSS) == set(losses.LOSSES) - {"teacher_vectors", "query_text"}
    table = (ROOT / "docs/training.md").read_text().split("| loss |")[1].split("\n\n")[0]
    cells = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(losses.LOSSES)
