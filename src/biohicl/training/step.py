"""One step's gradients: embed, compare, and back.

Goes in: a batch. Comes out: the value of each loss, and the gradients of all that trains, in their ``.grad``.

The losses see all embeddings of the batch, of all processes, as one leaf; what flows back to that leaf is carried on
through the model by whoever embedded the text. So a process's gradient is its part of the whole batch's (not an
average over processes), and a batch that does not fit into memory is embedded twice: once without a graph for the
losses, then chunk by chunk with one (gradient caching, Gao et al. 2021, arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from biohicl.encoder.packing import Packed, Padded, TextModel
from biohicl.training.batches import Batch
from biohicl.training.losses import LOSSES
from biohicl.training.ranks import Ranks

# Keys of a loss's block that say what it reads, not what it computes.
NOT_OF_THE_FORMULA = ("weight", "share", "headings", "kinds")


class Step:
    """The losses of a node over a model that one or several processes hold."""

    def __init__(
        self,
        model: TextModel,
        parameters: Sequence[torch.nn.Parameter],
        learned: Mapping[str, Mapping[str, torch.nn.Parameter]],
        losses: Mapping[str, Mapping[str, Any]],
        ranks: Ranks,
    ) -> None:
        """``parameters``: all that trains in the model. ``learned``: scalars that losses learn, by loss and name."""
        self.model, self.parameters, self.learned, self.losses, self.ranks = model, parameters, learned, losses, ranks

    def gradients(self, batch: Batch, cached: bool) -> tuple[dict[str, float], float]:
        """Adds the batch's gradients to ``.grad``; the terms before their weights, and the weighted sum.

        ``cached``: in chunks, each with a graph of its own.
        """
        embeddings, states = [], []
        for _, chunk in batch.chunks:
            if cached:
                states.append(_generator_state(self.model.model.device))
            with torch.set_grad_enabled(not cached):
                embeddings.append(self._embedded(chunk))
        counts = [len(items) for items in batch.dealt]
        mine = torch.cat(embeddings)
        dealt = mine.detach()[batch.orders.dealt]
        leaf = self.ranks.gathered(dealt, counts)[batch.orders.items].requires_grad_(True)
        terms = self.terms(leaf, batch)
        total = torch.stack([self.losses[name]["weight"] * term for name, term in terms.items()]).sum()
        total.backward()
        assert leaf.grad is not None
        own = leaf.grad[batch.orders.chunked]
        if not cached:
            mine.backward(own)
        else:
            for (_, chunk), state, part in zip(
                batch.chunks, states, own.split([len(places) for places, _ in batch.chunks]), strict=True
            ):
                with _GeneratorAt(self.model.model.device, state):
                    self._embedded(chunk).backward(part)
        self._add_up()
        values = torch.stack([total.detach(), *(term.detach() for term in terms.values())]).tolist()
        return dict(zip(terms, values[1:], strict=True)), values[0]

    def terms(self, items: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Each loss of the embeddings of all items (n, d), before its weight."""
        counts = [len(rows) for rows in (batch.rows, batch.titles, batch.headings, batch.queries)]
        texts, titles, headings, queries = items[: sum(counts)].split(counts)
        asking = {
            "titles": (titles, batch.orders.titles),
            "headings": (headings, batch.orders.headings),
            "queries": (queries, batch.orders.queries),
        }
        terms: dict[str, Tensor] = {}
        for name, settings in self.losses.items():
            own = {key: value for key, value in settings.items() if key not in NOT_OF_THE_FORMULA}
            one, other = texts, texts
            if LOSSES[name].rows == "taught":
                one, other = items[batch.orders.taught], batch.targets[name]
            elif LOSSES[name].rows != "texts":
                one, place = asking[LOSSES[name].rows]
                other = texts[place]
                if name in batch.orders.negatives:
                    other = torch.cat([other, items[batch.orders.negatives[name]]])
            if len(one) == 0:
                terms[name] = items.sum() * 0.0
                continue
            target = batch.targets.get(name)
            if target is None:
                target = one.new_zeros(len(one), len(other))
            terms[name] = LOSSES[name].value(one, other, target, **own, **self.learned.get(name, {}))
        return terms

    def _embedded(self, chunk: Packed | Padded) -> Tensor:
        return normalize(self.model.embed(chunk), dim=-1)

    def _add_up(self) -> None:
        """Sums the model's gradients over the processes; the losses' own scalars have the whole one already."""
        if self.ranks.world == 1:
            return
        # What no text reaches (BERT's pooler) has a gradient in no process.
        self.ranks.add_up([parameter.grad for parameter in self.parameters if parameter.grad is not None])


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


class _GeneratorAt:
    """Dropout draws again what it drew at ``state``; afterwards the generator is where it was."""

    def __init__(self, device: torch.device, state: Tensor) -> None:
        self.device, self.state = device, state

    def __enter__(self) -> None:
        self.before = _generator_state(self.device)
        self._set(self.state)

    def __exit__(self, *_: object) -> None:
        self._set(self.before)

    def _set(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)
