"""The losses, each a function of fp32 similarities and targets of one batch, giving a scalar.

``similarity`` is SimE, the cosines of the embeddings; ``target`` is SimL, both (B, B). Where a batch gives a
loss nothing to learn from (one citation, no positives, no labels), it is 0 and keeps its graph: never NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax


def mse(similarity: Tensor, target: Tensor) -> Tensor:
    """Mean of (SimE - SimL)^2 over the pairs of two different citations.

    Source: BioHiCL (arXiv 2604.15591), L_mse.
    """
    others = _others(similarity)
    return _mean_where((similarity - target).square(), others)


def contrastive(similarity: Tensor, target: Tensor, positive_above: float) -> Tensor:
    """BioHiCL's contrastive term as printed, the mean over all positive pairs (i, p) of

        - log [ SimL(i, p) exp(SimE(i, p)) / sum over the negatives n of i of exp(SimE(i, n)) ]

    Positives of i: SimL > ``positive_above``. Negatives: SimL = 0. Anchors without negatives are left out. As
    printed, log SimL has no gradient, and there is no temperature.

    Source: BioHiCL (arXiv 2604.15591), L_con.
    """
    negatives = target == 0
    positives = (target > positive_above) & _others(similarity) & negatives.any(dim=1, keepdim=True)
    # exp(SimE) lies within [1/e, e], so the plain sum is safe; the clamp serves rows that are masked out anyway.
    over_negatives = torch.where(negatives, similarity.exp(), 0.0).sum(dim=1, keepdim=True)
    log_ratio = torch.log(target.clamp(min=1e-12)) + similarity - torch.log(over_negatives.clamp(min=1e-12))
    return _mean_where(-log_ratio, positives)


def soft_targets(similarity: Tensor, target: Tensor, temperature: float, target_temperature: float) -> Tensor:
    """Mean over anchors i of the cross-entropy, over the others j != i,

        - sum_j softmax_j(SimL_ij / target_temperature) log softmax_j(SimE_ij / temperature)

    Anchors that share no label with any other are left out: their target would be noise.

    Source: X-CLR (arXiv 2407.18134).
    """
    others = _others(similarity)
    anchors = (torch.where(others, target, 0.0) > 0).any(dim=1)
    if similarity.shape[0] < 3 or not bool(anchors.any()):
        return similarity.sum() * 0.0
    hidden = torch.finfo(similarity.dtype).min
    wanted = softmax(torch.where(others, target / target_temperature, hidden), dim=1)
    found = log_softmax(torch.where(others, similarity / temperature, hidden), dim=1)
    per_anchor = -torch.where(others, wanted * found, 0.0).sum(dim=1)
    return per_anchor[anchors].mean()


def title_abstract(similarity: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways: ``similarity[i, j]`` is the cosine of title i and abstract j; its own is the one to find.

    Source: van den Oord et al. 2018 (arXiv 1807.03748), symmetric as in CLIP (arXiv 2103.00020).
    """
    scaled = similarity / temperature
    rows = log_softmax(scaled, dim=1).diagonal()
    columns = log_softmax(scaled, dim=0).diagonal()
    return -(rows.mean() + columns.mean()) / 2


def _others(similarity: Tensor) -> Tensor:
    """True for pairs of two different citations."""
    return ~torch.eye(similarity.shape[0], dtype=torch.bool, device=similarity.device)


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum()
    return torch.where(mask, values, 0.0).sum() / count.clamp(min=1)
