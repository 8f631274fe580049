"""The plan of a training: which citations are held out, and which make each batch, all of it before the first step.

Goes in: PMIDs, token counts, what the labels say, the schedule, a seed. Comes out: the held-out citations and
:class:`Plan`. It is a function of these alone: not of workers, processes, or where a training was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged
from biohicl.training.draw import pmid_hash
from biohicl.training.targets import Targets

Rows = npt.NDArray[np.int64]
# Not more than a tenth of a small selection is held out.
LARGEST_SHARE_HELD_OUT = 10
# How often a citation may look for a related one.
ROUNDS = 12


@dataclass(frozen=True)
class Plan:
    """Batch number s, from 0, is the citations ``batches.rows([s])[0]``, in epoch ``epochs[s]``."""

    batches: Ragged
    epochs: npt.NDArray[np.int64]
    # Share of the citations that came with a related one, over all batches.
    related: float

    def __len__(self) -> int:
        return len(self.epochs)

    def batch(self, step: int) -> Rows:
        """The citations of the ``step``-th batch, counted from 1."""
        return self.batches.rows(np.array([step - 1]))[0]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all batches in their order."""
        return hashlib.sha256(self.batches.values.tobytes() + self.batches.offsets.tobytes()).hexdigest()


def snapshot_steps(steps: int, wanted: int) -> list[int]:
    """The steps after which a snapshot is kept: ``wanted`` at most, evenly from the middle on, not the last."""
    found = {round(steps / 2 * (1 + number / wanted)) for number in range(wanted)}
    return sorted(step for step in found if 0 < step < steps)


def held_out(pmids: npt.NDArray[np.integer], wanted: int, seed: int) -> npt.NDArray[np.bool_]:
    """(n,): the ``wanted`` citations whose hashed PMIDs come first, or a tenth of all where that is less."""
    count = min(wanted, len(pmids) // LARGEST_SHARE_HELD_OUT)
    chosen = np.zeros(len(pmids), dtype=bool)
    # Selections are drawn by the same hash with a seed of their own, by default the same: one more is another draw.
    chosen[np.lexsort((pmids, pmid_hash(pmids, seed + 1)))[:count]] = True
    return chosen


def plan_batches(
    rows: Rows, tokens: npt.NDArray[np.integer], targets: Targets | None, schedule: Mapping[str, Any], seed: int
) -> Plan:
    """All batches of a training on the citations ``rows``.

    ``tokens`` (of all citations): what each costs. Each epoch has every citation once, in an order of its own, but for
    a rest that fills no batch. A batch ends at ``batch_size`` citations, or before it would exceed ``batch_tokens``.
    ``related``: this share of the citations come in pairs whose SimL is above ``positive_above``, both in one batch.
    """
    size, most = schedule["batch_size"], schedule["batch_tokens"]
    if len(rows) < size:
        raise BioHiCLError(
            f"{len(rows):,} citations are left to train on, and a batch takes {size:,}: lower schedule.batch_size, or "
            "loosen the selection"
        )
    batches: list[Rows] = []
    epochs: list[int] = []
    paired: list[int] = []
    for epoch in range(schedule["epochs"]):
        draw = np.random.Generator(np.random.PCG64([seed, epoch]))
        order = rows[draw.permutation(len(rows))]
        pairs = np.zeros((0, 2), dtype=np.int64)
        if schedule["related"] and targets is not None:
            pairs = _related_pairs(order, targets, schedule["related"], schedule["positive_above"], draw)
        singles = order[~np.isin(order, pairs)]
        for batch, of_pairs in _filled(pairs, singles, tokens, size, most):
            batches.append(batch)
            epochs.append(epoch)
            paired.append(of_pairs)
        if schedule["max_steps"] is not None and len(batches) >= schedule["max_steps"]:
            break
    batches, epochs = batches[: schedule["max_steps"]], epochs[: schedule["max_steps"]]
    offsets = np.concatenate([[0], np.cumsum([len(batch) for batch in batches])]).astype(np.int64)
    values = np.concatenate(batches)
    return Plan(Ragged(values, offsets), np.array(epochs), sum(paired[: len(batches)]) / max(len(values), 1))


def _related_pairs(
    order: Rows, targets: Targets, share: float, above: float, draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Disjoint pairs of citations with SimL > ``above``, enough that ``share`` of all are in one, if there are.

    A citation looks among those that share one of its labels, the weightier the likelier; the weightiest are rare, and
    who shares them is near.
    """
    wanted = int(share * len(order) / 2)
    sets = targets.labels
    chances = targets.weighting.nodes[sets.ids.values].astype(np.float64) ** 2
    chances *= targets.weighting.factors[sets.kinds] > 0
    # Holders of each label, in the epoch's order.
    own = sets.take(order)
    owner = np.repeat(order, own.ids.lengths())
    by_label = np.argsort(own.ids.values, kind="stable")
    starts = np.searchsorted(own.ids.values[by_label], np.arange(len(targets.weighting.nodes) + 1))
    holders = Ragged(owner[by_label], starts)
    held = holders.lengths()
    free = np.zeros(len(sets), dtype=bool)
    free[order] = True
    found: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        # Some proposals fail: ask a few more than are needed.
        seeking = order[free[order]][: 2 * (wanted - len(found))]
        proposals = []
        for citation in seeking:
            place = slice(sets.ids.offsets[citation], sets.ids.offsets[citation + 1])
            ids = sets.ids.values[place]
            chance = chances[place] * (held[ids] > 1)
            if chance.sum() > 0:
                label = ids[np.searchsorted(np.cumsum(chance), draw.random() * chance.sum(), side="right")]
                proposals.append((citation, holders.values[holders.offsets[label] + draw.integers(held[label])]))
        if not proposals:
            break
        one, other = np.array(proposals, dtype=np.int64).T
        similar = targets.similarity_of_pairs(one, other) > above
        for first, second in zip(one[similar].tolist(), other[similar].tolist(), strict=True):
            if first != second and free[first] and free[second] and len(found) < wanted:
                free[[first, second]] = False
                found.append((first, second))
        if len(found) >= wanted:
            break
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _filled(
    pairs: npt.NDArray[np.int64], singles: Rows, tokens: npt.NDArray[np.integer], size: int, most: int | None
) -> Iterator[tuple[Rows, int]]:
    """Batches, and how many of each one's citations are in pairs: pairs are spread evenly, and stay together.

    Where nothing but pairs is left, and one would be half in the batch, it comes apart.
    """
    next_pair, next_single = 0, 0
    alone = singles.tolist()
    total = 2 * len(pairs) + len(alone)
    batch: list[int] = []
    cost = paired = 0
    while next_pair < len(pairs) or next_single < len(alone):
        done = 2 * next_pair + next_single
        # The next is a pair where pairs lag behind their share so far, or where nothing else is left.
        lags = 2 * (next_pair + 1) * total <= 2 * len(pairs) * (done + 2)
        take_pair = next_pair < len(pairs) and (lags or next_single == len(alone))
        unit = pairs[next_pair].tolist() if take_pair else [alone[next_single]]
        has_one = len(batch) == 1 and most is not None and cost + int(tokens[unit].sum()) > most
        if take_pair and (len(batch) == size - 1 or has_one):
            if next_single == len(alone):
                alone += unit
                next_pair += 1
            take_pair, unit = False, [alone[next_single]]
        unit_cost = int(tokens[unit].sum())
        if len(batch) >= 2 and most is not None and cost + unit_cost > most:
            yield np.array(batch, dtype=np.int64), paired
            batch, cost, paired = [], 0, 0
            continue
        batch += unit
        cost += unit_cost
        if take_pair:
            next_pair += 1
            paired += 2
        else:
            next_single += 1
        if len(batch) == size:
            yield np.array(batch, dtype=np.int64), paired
            batch, cost, paired = [], 0, 0
