"""From the plan to what a step eats, one batch ahead of the step, in a thread.

Goes in: data, plan, the model's way of batching. Comes out: :class:`Batch`: token lists dealt to the processes, packed,
and the targets of its losses, on the device.

Each citation of a batch is read once, as one text: its abstract where its title is to find it (``title_abstract``),
else title and abstract. Beside that, it has one query at most: its title, or some of its headings.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from biohicl.encoder.packing import Packed, Padded, TextModel
from biohicl.training.data import TrainingData
from biohicl.training.losses import LOSSES
from biohicl.training.plan import Plan

AHEAD = 2
Places = npt.NDArray[np.int64]


class Orders(NamedTuple):
    """Where what is, as index tensors on the device: a step that copied them itself would wait for all before it."""

    dealt: Tensor  # this process's items, from the order of its chunks to that in which they were dealt
    items: Tensor  # all items, from the processes' one after the other to their own order
    chunked: Tensor  # this process's items, of all items, in the order of its chunks
    titles: Tensor  # as ``Batch.titles``
    headings: Tensor  # as ``Batch.headings``


@dataclass(frozen=True)
class Batch:
    """One batch. An item is a token list: first the texts, one a citation, then the titles, then the other queries."""

    step: int
    rows: Places  # (B,) citations
    titles: Places  # which of the rows have a title to find them
    headings: Places  # which of the rows have a query of headings
    dealt: Sequence[Places]  # the items that each process embeds, in its order
    chunks: Sequence[tuple[Places, Packed | Padded]]  # this process's: places in its order, and their tokens
    orders: Orders
    targets: Mapping[str, Tensor]  # by loss, (B, B) or as many as it has rows; by "similarity" SimL of all
    positives: Mapping[str, float]  # shares of pairs that are positive, and of citations that have a positive
    tokens: int  # of all items of all processes
    target_seconds: float
    ready: Any = None  # on a GPU: when copies and targets are done


class Preparer:
    """Makes batches of a training's plan."""

    def __init__(
        self,
        data: TrainingData,
        plan: Plan,
        settings: Mapping[str, Any],
        model: TextModel,
        query_tokens: Any,
        rank: int,
        world: int,
        chunk_tokens: int | None,
    ) -> None:
        """``query_tokens``: from a list of heading queries to their token lists."""
        self.data, self.plan, self.model = data, plan, model
        self.losses: Mapping[str, Mapping[str, Any]] = settings["losses"]
        self.seed: int = settings["seed"]
        self.positive_above: float = settings["schedule"]["positive_above"]
        self.query_tokens = query_tokens
        self.rank, self.world = rank, world
        self.chunk_tokens = chunk_tokens
        self.device: torch.device = model.model.device

    def roles(self, rows: Places, draw: np.random.Generator) -> tuple[Places, Places]:
        """Which of ``rows`` have a title to find them, and which a query of headings."""
        shares = {
            name: self.losses[name]["share"] for name in ("title_abstract", "heading_abstract") if name in self.losses
        }
        order = draw.permutation(len(rows))
        headed = np.zeros(0, dtype=np.int64)
        titles = round(shares.get("title_abstract", 0.0) * len(rows))
        if "heading_abstract" in shares and self.data.headings is not None:
            able = order[self.data.headings.usable[rows[order]]]
            wanted = round(shares["heading_abstract"] * len(rows))
            headed = able[:wanted]
            if titles:
                # Citations without headings to ask for them have their titles.
                titles += wanted - len(headed)
        titled = order[~np.isin(order, headed)][:titles]
        return np.sort(titled), np.sort(headed)

    def prepare(self, step: int, chunk_tokens: int | None = None) -> Batch:
        """The batch of a step, counted from 1; with ``chunk_tokens``, in chunks of so many."""
        rows = self.plan.batch(step)
        draw = np.random.Generator(np.random.PCG64([self.seed, 1_000_003, step]))
        titled, headed = self.roles(rows, draw)
        tokens = self.data.tokens
        has_title = np.zeros(len(rows), dtype=bool)
        has_title[titled] = True
        items: list[Any] = [
            tokens["passage" if is_titled else "document"].rows(np.array([row]))[0]
            for row, is_titled in zip(rows, has_title, strict=True)
        ]
        items += tokens["query"].rows(rows[titled])
        drawn: list[npt.NDArray[np.int32]] = []
        if len(headed) and self.data.headings is not None:
            queries = [self.data.headings.draw(int(row), draw) for row in rows[headed]]
            drawn = [ids for ids, _ in queries]
            items += self.query_tokens([text for _, text in queries])
        lengths = np.array([len(item) for item in items])
        dealt = _dealt(lengths, self.world)
        chunks = [
            (places, self.model.batch([items[item] for item in dealt[self.rank][places]]).to(self.device))
            for places in self.model.in_chunks(lengths[dealt[self.rank]], chunk_tokens or self.chunk_tokens)
        ]
        orders = self._orders(dealt, [places for places, _ in chunks], titled, headed)
        started = time.perf_counter()
        targets = self._targets(rows, headed, orders.titles, drawn)
        positives = self._positives(targets)
        seconds = time.perf_counter() - started
        tokens_of_all = int(lengths.sum())
        return Batch(step, rows, titled, headed, dealt, chunks, orders, targets, positives, tokens_of_all, seconds)

    def _orders(self, dealt: Sequence[Places], chunked: Sequence[Places], titled: Places, headed: Places) -> Orders:
        places = np.concatenate(chunked)
        orders = np.argsort(places), np.argsort(np.concatenate(dealt)), dealt[self.rank][places], titled, headed
        return Orders(*(torch.from_numpy(order).to(self.device) for order in orders))

    def _positives(self, targets: Mapping[str, Tensor]) -> dict[str, float]:
        similarity = targets.get("similarity")
        if similarity is None:
            return {}
        positive = similarity > self.positive_above
        positive.fill_diagonal_(False)
        size = len(similarity)
        return {
            "positive_pairs": positive.sum().item() / max(size * (size - 1), 1),
            "with_positive": positive.any(dim=1).sum().item() / size,
        }

    def _targets(
        self, rows: Places, headed: Places, titles: Tensor, drawn: Sequence[npt.NDArray[np.int32]]
    ) -> dict[str, Tensor]:
        targets: dict[str, Tensor] = {}
        if self.data.targets is None:
            return targets
        similarity = self.data.targets.of(rows, self.device)
        targets["similarity"] = similarity
        for name, settings in self.losses.items():
            if LOSSES[name].target == "similarity":
                targets[name] = similarity
            elif LOSSES[name].target == "shared_labels":
                targets[name] = self.data.targets.shared_labels(rows, self.device)
            elif LOSSES[name].target == "carried" and drawn and self.data.headings is not None:
                targets[name] = torch.from_numpy(self.data.headings.carried(rows[headed], drawn)).to(self.device)
            elif LOSSES[name].target == "masked" and settings["mask_above"] is not None:
                targets[name] = similarity[titles][:, titles]
        return targets

    def ahead(self, first: int, last: int) -> Iterator[tuple[Batch, float]]:
        """The batches of steps ``first`` to ``last``, and the seconds that the step waited for each.

        A thread prepares them; on a GPU it has a stream of its own, so that neither waits for the other.
        """
        done: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=AHEAD)
        stopped = threading.Event()
        thread = threading.Thread(target=self._work, args=(first, last, done, stopped), daemon=True)
        thread.start()
        try:
            for _ in range(first, last + 1):
                started = time.perf_counter()
                got = done.get()
                waited = time.perf_counter() - started
                if isinstance(got, BaseException):
                    raise got
                if got.ready is not None:
                    _hand_over(got, self.device)
                yield got, waited
        finally:
            stopped.set()
            while thread.is_alive():
                # It may wait for room.
                try:
                    done.get(timeout=0.05)
                except queue.Empty:
                    continue

    def _work(self, first: int, last: int, done: queue.Queue[Batch | BaseException], stopped: threading.Event) -> None:
        try:
            stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
            for step in range(first, last + 1):
                if stopped.is_set():
                    return
                if stream is None:
                    done.put(self.prepare(step))
                    continue
                with torch.cuda.device(self.device), torch.cuda.stream(stream):
                    batch = self.prepare(step)
                    ready = stream.record_event()
                done.put(Batch(**{**vars(batch), "ready": ready}))
        except BaseException as error:
            done.put(error)


def _hand_over(batch: Batch, device: torch.device) -> None:
    """What another stream made, made safe for the current one."""
    current = torch.cuda.current_stream(device)
    current.wait_event(batch.ready)
    tensors = [*batch.targets.values(), *batch.orders]
    for _, chunk in batch.chunks:
        tensors += [value for value in vars(chunk).values() if isinstance(value, Tensor)]
    for tensor in tensors:
        tensor.record_stream(current)


def _dealt(lengths: npt.NDArray[np.integer], world: int) -> list[Places]:
    """Items by process, dealt longest first and back and forth, so that all have as much to do."""
    order = np.argsort(-lengths, kind="stable")
    place = np.arange(len(order)) % (2 * world)
    owner = np.where(place < world, place, 2 * world - 1 - place)
    return [order[owner == rank] for rank in range(world)]
