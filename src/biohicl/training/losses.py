"""The losses, behind one interface: embeddings of a batch and a target matrix in, a scalar out.

Every loss is a function ``loss(one, other, target, **settings)``:

one, other   (B, d), embeddings of unit length; SimE is ``one @ other.T``, their cosines. A loss between texts gets the
             same texts twice, one of queries gets the queries and the texts that they should find, row for row.
target       (B, B), fp32, what the labels say of each pair: SimL within [0, 1], or what :data:`LOSSES` names instead.
settings     the loss's own keys of config.yaml, without its weight, and the scalars that it learns.

Where a batch gives a loss nothing to learn from (one citation, no positives, no labels), the loss is 0 and keeps its
graph: never NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, softmax, softplus

# Of a range of 18.4 of a logarithm.
HALVINGS = 25
# What SigLIP starts from (arXiv 2303.15343): a scale of 10, learned as its logarithm, and a bias that makes the many
# unrelated pairs cheap.
SIGLIP_START = {"log_scale": 2.302585092994046, "bias": -10.0}


def mse(one: Tensor, other: Tensor, target: Tensor) -> Tensor:
    """Mean of (SimE - SimL)^2 over the pairs of two different citations.

    Source: BioHiCL (arXiv 2604.15591), L_mse.
    """
    similarity = one @ other.T
    return _mean_where((similarity - target).square(), _others(similarity))


def affine_mse(one: Tensor, other: Tensor, target: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Mean of (SimE - (a SimL + b))^2 over the pairs of two different citations; a (``slope``) and b are learned.

    SimE may then keep its scale, where a plain squared error moves all of it towards SimL's.

    Source: this project; the affine calibration of a regression target.
    """
    similarity = one @ other.T
    return _mean_where((similarity - (slope * target + offset)).square(), _others(similarity))


def contrastive(
    one: Tensor, other: Tensor, target: Tensor, positive_above: float, temperature: float, weighted: bool
) -> Tensor:
    """BioHiCL's contrastive term: the mean over all positive pairs (i, p) of

        - log [ SimL(i, p) exp(SimE(i, p) / t) / sum over the negatives n of i of exp(SimE(i, n) / t) ]

    Positives of i: SimL > ``positive_above``. Negatives: SimL = 0. Anchors without negatives are left out. As printed
    there is no temperature (t = 1), and log SimL, a summand, has no gradient. ``weighted`` makes SimL a real weight:
    the mean of the pairs' logarithms without it, weighted by it.

    Source: BioHiCL (arXiv 2604.15591), L_con.
    """
    similarity = one @ other.T / temperature
    negatives = target == 0
    positives = (target > positive_above) & _others(similarity) & negatives.any(dim=1, keepdim=True)
    over_negatives = torch.where(negatives, similarity, _lowest(similarity)).logsumexp(dim=1, keepdim=True)
    terms = over_negatives - similarity
    if weighted:
        weights = torch.where(positives, target, 0.0)
        return (weights * torch.where(positives, terms, 0.0)).sum() / weights.sum().clamp(min=1e-12)
    return _mean_where(terms - torch.log(target.clamp(min=1e-12)), positives)


def soft_targets(
    one: Tensor,
    other: Tensor,
    target: Tensor,
    temperature: float,
    target_temperature: float = 0.0,
    target_perplexity: float | None = None,
) -> Tensor:
    """Mean over anchors i of the cross-entropy, over the others j != i,

        - sum_j softmax_j(SimL_ij / target_temperature) log softmax_j(SimE_ij / temperature)

    Anchors that share no label with any other are left out: their target would be noise. With ``target_perplexity``
    each anchor has the temperature that gives its target that perplexity (:func:`temperatures`), so that similarities
    of different scales ask for equally sharp answers.

    Source: X-CLR (arXiv 2407.18134).
    """
    similarity = one @ other.T / temperature
    others = _others(similarity)
    anchors = (torch.where(others, target, 0.0) > 0).any(dim=1)
    if similarity.shape[0] < 3:
        return similarity.sum() * 0.0
    hidden = _lowest(similarity)
    scale: Tensor | float = target_temperature
    if target_perplexity is not None:
        scale = temperatures(target, others, target_perplexity)
    wanted = softmax(torch.where(others, target / scale, hidden), dim=1)
    found = log_softmax(torch.where(others, similarity, hidden), dim=1)
    per_anchor = -torch.where(others, wanted * found, 0.0).sum(dim=1)
    return _mean_where(per_anchor, anchors)


def temperatures(target: Tensor, others: Tensor, perplexity: float) -> Tensor:
    """(B, 1): for each row the t at which softmax(target / t) over ``others`` has the perplexity exp(entropy).

    Found by halving between 1e-4 and 1e4, to 1e-6 of its logarithm. A row cannot be sharper than its ties for the
    highest value, nor flatter than all of its others: such a one gets an end of that range.

    Source: the perplexity of t-SNE (van der Maaten and Hinton 2008), for rows of similarities.
    """
    low = target.new_full((len(target), 1), -9.21)
    high = -low
    shifted = target - torch.where(others, target, _lowest(target)).amax(dim=1, keepdim=True)
    wanted = torch.tensor(perplexity, device=target.device).log()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        logits = torch.where(others, shifted / middle.exp(), _lowest(target))
        logarithms = log_softmax(logits, dim=1)
        entropy = -torch.where(others, logarithms.exp() * logarithms, 0.0).sum(dim=1, keepdim=True)
        is_flat = entropy > wanted
        low, high = torch.where(is_flat, low, middle), torch.where(is_flat, middle, high)
    return ((low + high) / 2).exp()


def cosent(one: Tensor, other: Tensor, target: Tensor, scale: float) -> Tensor:
    """Mean over anchors i, of those that tell any two others apart, of

        log(1 + sum over j, k with SimL_ij < SimL_ik of exp(scale (SimE_ij - SimE_ik)))

    Only the order of SimL counts. The sum is taken in O(B log B) a row: sorted by SimL, it is a sum over k of
    exp(-scale SimE_ik) times what has accumulated of exp(scale SimE_ij) below k.

    Source: CoSENT (Su 2022, kexue.fm/archives/8847), its pairs restricted to one anchor.
    """
    size = one.shape[0]
    similarity = one @ other.T
    if size < 3:
        return similarity.sum() * 0.0
    targets, order = _without_diagonal(target).sort(dim=1)
    scaled = scale * _without_diagonal(similarity).gather(1, order)
    below = torch.searchsorted(targets, targets)  # how many of the row have a smaller SimL
    accumulated = scaled.logcumsumexp(dim=1).gather(1, (below - 1).clamp(min=0))
    terms = torch.where(below > 0, accumulated - scaled, _lowest(scaled))
    return _mean_where(softplus(terms.logsumexp(dim=1)), (below > 0).any(dim=1))


def soft_siglip(one: Tensor, other: Tensor, target: Tensor, log_scale: Tensor, bias: Tensor) -> Tensor:
    """Mean, over the pairs of two different citations, of the binary cross-entropy of

        sigmoid(t SimE + b) against SimL; t = exp(``log_scale``) and b are learned

    Source: SigLIP (arXiv 2303.15343), its labels of 0 and 1 replaced by SimL.
    """
    similarity = one @ other.T
    logits = log_scale.exp() * similarity + bias
    losses = binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    return _mean_where(losses, _others(similarity))


def mul_sup_con(one: Tensor, other: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Mean over the labels l of all anchors i, where another citation has l too, of

        - 1 / |P_l(i)| sum over p in P_l(i) of log softmax_j(SimE_ij / temperature)[p], j != i

    with P_l(i) the other citations that have l. ``target`` sums 1 / |P_l(i)| over the labels that i and p share
    (:meth:`biohicl.training.targets.Targets.shared_labels`), so that the double sum becomes one over pairs.

    Source: MulSupCon (Zhang and Wu, AAAI 2024).
    """
    similarity = one @ other.T / temperature
    others = _others(similarity)
    weights = torch.where(others, target, 0.0)
    found = log_softmax(torch.where(others, similarity, _lowest(similarity)), dim=1)
    return -(weights * torch.where(others, found, 0.0)).sum() / weights.sum().clamp(min=1e-12)


def title_abstract(one: Tensor, other: Tensor, target: Tensor, temperature: float, mask_above: float | None) -> Tensor:
    """InfoNCE of titles (T, d) and abstracts (T + N, d), the last N of them hard negatives: see :func:`info_nce`.

    ``target`` (T, T + N) is SimL; where it is above ``mask_above``, the abstract is no wrong answer. Above 1 stands for
    that at any ``mask_above``.
    """
    return info_nce(one, other, target > (1.0 if mask_above is None else mask_above), temperature)


def query_text(one: Tensor, other: Tensor, target: Tensor, temperature: float, mask_above: float | None) -> Tensor:
    """InfoNCE of texts' own queries (Q, d) and the texts (Q + N, d): as :func:`title_abstract`."""
    return title_abstract(one, other, target, temperature, mask_above)


def heading_abstract(one: Tensor, other: Tensor, target: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries made of headings (``one``) and the texts of their citations: see :func:`info_nce`.

    ``target`` is 1 where the citation of a text carries all headings of a query, itself or below them, else 0: such
    texts are no wrong answers.
    """
    return info_nce(one, other, target > 0.5, temperature)


def info_nce(queries: Tensor, texts: Tensor, masked: Tensor | None, temperature: float) -> Tensor:
    """Each query finds its own text among all, and each text its query: the mean of both cross-entropies.

    ``queries`` (Q, d), ``texts`` (Q + N, d): query i has text i; the last N are no query's, and wrong answers alone.
    ``masked`` (Q, Q + N): true where text j is no wrong answer to query i, and is left out; a query's own never is.

    Source: van den Oord et al. 2018 (arXiv 1807.03748), symmetric as in CLIP (arXiv 2103.00020).
    """
    scaled = queries @ texts.T / temperature
    if masked is not None:
        scaled = torch.where(masked & _others(scaled), _lowest(scaled), scaled)
    rows = log_softmax(scaled, dim=1).diagonal()
    columns = log_softmax(scaled[:, : len(queries)], dim=0).diagonal()
    return -(rows.mean() + columns.mean()) / 2


def teacher_vectors(one: Tensor, other: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cosine of the vectors ``one`` (n, d) and the teacher's of the same texts, ``other`` (n, d).

    Source: this project's reading of the self-distillation of BioLORD-2023 (arXiv 2311.16075).
    """
    return (1 - (one * other).sum(dim=1)).mean()


def _others(similarity: Tensor) -> Tensor:
    """True for pairs of two different citations."""
    return ~torch.eye(*similarity.shape, dtype=torch.bool, device=similarity.device)


def _without_diagonal(square: Tensor) -> Tensor:
    """(B, B - 1): each row without the pair of a citation with itself. A mask would do, and a GPU be waited for."""
    size = square.shape[0]
    return square.flatten()[1:].view(size - 1, size + 1)[:, :-1].reshape(size, size - 1)


def _lowest(values: Tensor) -> float:
    # Not infinite: a row of nothing else would give NaN.
    return torch.finfo(values.dtype).min


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum()
    return torch.where(mask, values, 0.0).sum() / count.clamp(min=1)


Rows = Literal["texts", "titles", "headings", "queries", "taught"]
Target = Literal["similarity", "shared_labels", "carried", "masked", "teacher"]


@dataclass(frozen=True)
class Loss:
    """What the trainer has to know of a loss."""

    value: Callable[..., Tensor]
    # What `one` holds: the texts again, titles, queries made of headings, the texts' own queries, or all that the
    # teacher has vectors of.
    rows: Rows
    # What `target` holds: SimL, the weights of MulSupCon, who carries a query's headings, SimL where it masks, or (as
    # `other`) the teacher's vectors.
    target: Target
    # Scalars that are learned beside the model, and where they start.
    learned: Mapping[str, float] = field(default_factory=dict)


LOSSES: Mapping[str, Loss] = {
    "mse": Loss(mse, "texts", "similarity"),
    "affine_mse": Loss(affine_mse, "texts", "similarity", {"slope": 1.0, "offset": 0.0}),
    "contrastive": Loss(contrastive, "texts", "similarity"),
    "soft_targets": Loss(soft_targets, "texts", "similarity"),
    "cosent": Loss(cosent, "texts", "similarity"),
    "soft_siglip": Loss(soft_siglip, "texts", "similarity", SIGLIP_START),
    "mul_sup_con": Loss(mul_sup_con, "texts", "shared_labels"),
    "title_abstract": Loss(title_abstract, "titles", "masked"),
    "heading_abstract": Loss(heading_abstract, "headings", "carried"),
    "query_text": Loss(query_text, "queries", "masked"),
    "teacher_vectors": Loss(teacher_vectors, "taught", "teacher"),
}
