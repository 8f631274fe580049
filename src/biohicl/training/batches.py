"""From the plan to what a step eats, one batch ahead of the step, in a thread.

Goes in: data, plan, the model's way of batching. Comes out: :class:`Batch`: token lists dealt to the processes, packed,
and the targets of its losses, on the device.

Each citation of a batch is read once, as one text: its abstract where its title is to find it (``title_abstract``),
without the words of its own query where that is (``query_text``), else title and abstract. Beside that, it has one
query at most: its title, some of its headings, or one of its own queries. Hard negatives of a query are texts of other
citations, read as its own is (without a query of their own, too); they belong to no citation of the batch, and are read
for their loss alone.
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
from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged
from biohicl.training.data import TrainingData
from biohicl.training.losses import LOSSES
from biohicl.training.plan import Plan

AHEAD = 2
# Hard negatives are drawn from the nearest that are no right answers; so many times those wanted are looked at.
LOOKED_AT = 4
Places = npt.NDArray[np.int64]


class Orders(NamedTuple):
    """Where what is, as index tensors on the device: a step that copied them itself would wait for all before it."""

    dealt: Tensor  # this process's items, from the order of its chunks to that in which they were dealt
    items: Tensor  # all items, from the processes' one after the other to their own order
    chunked: Tensor  # this process's items, of all items, in the order of its chunks
    titles: Tensor  # as ``Batch.titles``
    headings: Tensor  # as ``Batch.headings``
    queries: Tensor  # as ``Batch.queries``
    negatives: Mapping[str, Tensor]  # by loss, its hard negatives among the items
    taught: Tensor  # the items that the teacher has vectors of


@dataclass(frozen=True)
class Batch:
    """One batch. An item is a token list: first the texts, one a citation, then titles, queries of headings, queries of
    the texts' own, and hard negatives."""

    step: int
    rows: Places  # (B,) citations
    titles: Places  # which of the rows have a title to find them
    headings: Places  # which of the rows have a query of headings
    queries: Places  # which of the rows have one of their own
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
        is_held_out: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """``query_tokens``: from a list of heading queries to their token lists. ``is_held_out`` (n,): texts that no
        batch reads, as hard negatives neither."""
        self.data, self.plan, self.model = data, plan, model
        self.losses: Mapping[str, Mapping[str, Any]] = settings["losses"]
        self.seed: int = settings["seed"]
        self.positive_above: float = settings["schedule"]["positive_above"]
        self.negatives: Mapping[str, Any] = settings.get("negatives", {})
        self.query_tokens = query_tokens
        self.rank, self.world = rank, world
        self.chunk_tokens = chunk_tokens
        self.is_held_out = is_held_out
        self.device: torch.device = model.model.device

    def roles(self, rows: Places, draw: np.random.Generator) -> tuple[Places, Places, Places]:
        """Which of ``rows`` have a title to find them, which a query of headings, and which one of their own."""
        shares = {name: block["share"] for name, block in self.losses.items() if "share" in block}
        order = draw.permutation(len(rows))
        titles = round(shares.get("title_abstract", shares.get("teacher_vectors", 0.0)) * len(rows))
        taken = np.zeros(0, dtype=np.int64)
        found = {}
        for name, able in (("heading_abstract", self.data.headings), ("query_text", self.data.queries)):
            wanted = round(shares.get(name, 0.0) * len(rows)) if able is not None else 0
            free = order[~np.isin(order, taken)]
            found[name] = free[able.usable[rows[free]]][:wanted] if able is not None else taken[:0]
            taken = np.concatenate([taken, found[name]])
            if titles:
                # Citations that such a query cannot be made for have their titles.
                titles += wanted - len(found[name])
        free = order[~np.isin(order, taken)]
        titled = (free if self.data.titled is None else free[self.data.titled[rows[free]]])[:titles]
        return np.sort(titled), np.sort(found["heading_abstract"]), np.sort(found["query_text"])

    def prepare(self, step: int, chunk_tokens: int | None = None) -> Batch:
        """The batch of a step, counted from 1; with ``chunk_tokens``, in chunks of so many."""
        rows = self.plan.batch(step)
        draw = np.random.Generator(np.random.PCG64([self.seed, 1_000_003, step]))
        titled, headed, asked = self.roles(rows, draw)
        tokens = self.data.tokens
        views = np.full(len(rows), "document", dtype=object)
        views[titled] = "passage"
        items: list[Any] = [tokens[view].rows(np.array([row]))[0] for row, view in zip(rows, views, strict=True)]
        items += tokens["query"].rows(rows[titled])
        drawn: list[npt.NDArray[np.int32]] = []
        if len(headed) and self.data.headings is not None:
            queries = [self.data.headings.draw(int(row), draw) for row in rows[headed]]
            drawn = [ids for ids, _ in queries]
            items += self.query_tokens([text for _, text in queries])
        own: list[int] = []
        if len(asked) and self.data.queries is not None:
            own = [self.data.queries.draw(int(row), draw) for row in rows[asked]]
            items += self.data.queries.tokens.rows(np.array(own))
            for place, query in zip(asked, own, strict=True):
                # A text that has a query of its own is read as that leaves it, and belongs to no view.
                row, views[place] = np.array([rows[place]]), "left"
                document, passage = (tokens[view].rows(row)[0] for view in ("document", "passage"))
                items[place] = self.data.queries.left_of(query, document, passage)
        asking = {"title_abstract": titled, "heading_abstract": headed, "query_text": asked}
        hard = self._hard_negatives(rows, asking, draw)
        extras: dict[str, Places] = {}
        for name, found in hard.items():
            extras[name] = np.arange(len(items), len(items) + len(found))
            items += self._wrong_answers(name, found, draw)
        taught, vectors = self._taught(rows, views, titled)
        lengths = np.array([len(item) for item in items])
        dealt = _dealt(lengths, self.world)
        chunks = [
            (places, self.model.batch([items[item] for item in dealt[self.rank][places]]).to(self.device))
            for places in self.model.in_chunks(lengths[dealt[self.rank]], chunk_tokens or self.chunk_tokens)
        ]
        orders = self._orders(dealt, [places for places, _ in chunks], titled, headed, asked, extras, taught)
        started = time.perf_counter()
        targets = self._targets(rows, asking, hard, drawn, own)
        if vectors is not None:
            targets["teacher_vectors"] = vectors
        positives = self._positives(targets)
        seconds = time.perf_counter() - started
        tokens_of_all = int(lengths.sum())
        return Batch(
            step, rows, titled, headed, asked, dealt, chunks, orders, targets, positives, tokens_of_all, seconds
        )

    def _wrong_answers(self, loss: str, rows: Places, draw: np.random.Generator) -> list[Any]:
        """The tokens of these rows, as the right answers of this loss are read."""
        passages, documents = (self.data.tokens[view].rows(rows) for view in ("passage", "document"))
        if loss == "title_abstract":
            return list(passages)
        if loss != "query_text" or self.data.queries is None:
            return list(documents)
        texts = zip(rows, documents, passages, strict=True)
        return [self.data.queries.as_answer(int(row), document, passage, draw) for row, document, passage in texts]

    def _hard_negatives(
        self, rows: Places, places: Mapping[str, Places], draw: np.random.Generator
    ) -> dict[str, Places]:
        """By loss, the rows of the selection that its queries get as wrong answers, each once.

        Those with too much SimL to the query's own text, or of the same number, are none of its. Of the nearest of the
        others, by each source, twice as many as it gets are drawn from.
        """
        counts = {name: self.negatives[name] for name in self.data.negatives}
        if not counts:
            return {}
        found: dict[str, Places] = {}
        for loss, own in places.items():
            if loss not in self.losses or not len(own):
                continue
            chosen = [
                _drawn(others, count, draw)
                for source, count in counts.items()
                for others in self._wrong(rows[own], self.data.negatives[source], LOOKED_AT * count)
            ]
            found[loss] = np.unique(np.concatenate([rows[:0], *chosen]))
        return found

    def _wrong(self, rows: Places, nearest: Ragged, most: int) -> list[Places]:
        """Of the first ``most`` that are nearest to each row, those that are no right answer to it and are not held
        out, nearest first."""
        lists = [others[:most].astype(np.int64) for others in nearest.rows(rows)]
        one, other = np.repeat(rows, list(map(len, lists))), np.concatenate([rows[:0], *lists])
        kept = self.data.numbers[one] != self.data.numbers[other]
        if self.is_held_out is not None:
            kept &= ~self.is_held_out[other]
        if self.data.targets is not None and len(one):
            kept &= self.data.targets.similarity_of_pairs(one, other) <= self.negatives["max_similarity"]
        ends = np.cumsum(list(map(len, lists)))[:-1]
        return [others[is_kept] for others, is_kept in zip(lists, np.split(kept, ends), strict=True)]

    def _taught(self, rows: Places, views: npt.NDArray[np.object_], titled: Places) -> tuple[Places, Tensor | None]:
        """The items, texts and titles, that the teacher has vectors of, and these vectors, of length 1."""
        none: Places = np.zeros(0, dtype=np.int64)
        if "teacher_vectors" not in self.losses:
            return none, None
        teacher = self.data.teacher
        parts = [(view, np.flatnonzero(views == view), rows[views == view]) for view in ("document", "passage")]
        parts.append(("query", len(rows) + np.arange(len(titled)), rows[titled]))
        parts = [part for part in parts if part[0] in teacher]
        items = np.concatenate([none, *(places for _, places, _ in parts)])
        if not len(items):
            raise BioHiCLError(
                f"losses.teacher_vectors: the teacher has vectors of {' and '.join(teacher)}, and this training reads "
                "none of these: give the loss a share of titles, or the encode node the views document and query"
            )
        found = np.concatenate([teacher[view][own] for view, _, own in parts]).astype(np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)
        return items, torch.from_numpy(found).to(self.device)

    def _orders(
        self,
        dealt: Sequence[Places],
        chunked: Sequence[Places],
        titled: Places,
        headed: Places,
        asked: Places,
        extras: Mapping[str, Places],
        taught: Places,
    ) -> Orders:
        def moved(order: Places) -> Tensor:
            return torch.from_numpy(order).to(self.device)

        places = np.concatenate(chunked)
        return Orders(
            dealt=moved(np.argsort(places)),
            items=moved(np.argsort(np.concatenate(dealt))),
            chunked=moved(dealt[self.rank][places]),
            titles=moved(titled),
            headings=moved(headed),
            queries=moved(asked),
            negatives={name: moved(extra) for name, extra in extras.items()},
            taught=moved(taught),
        )

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
        self,
        rows: Places,
        places: Mapping[str, Places],
        hard: Mapping[str, Places],
        drawn: Sequence[npt.NDArray[np.int32]],
        own: Sequence[int],
    ) -> dict[str, Tensor]:
        """By loss; ``places``: which of the rows have its queries, ``hard``: the negatives of these, as rows."""
        targets: dict[str, Tensor] = {}
        if self.data.targets is not None:
            targets["similarity"] = self.data.targets.of(rows, self.device)
        for name, settings in self.losses.items():
            if LOSSES[name].target == "similarity":
                targets[name] = targets["similarity"]
            elif LOSSES[name].target == "shared_labels" and self.data.targets is not None:
                targets[name] = self.data.targets.shared_labels(rows, self.device)
            elif LOSSES[name].target == "carried" and drawn and self.data.headings is not None:
                texts = np.concatenate([rows[places[name]], hard.get(name, rows[:0])])
                carried = torch.from_numpy(self.data.headings.carried(texts, drawn)).to(self.device)
                if name in hard:
                    # What is too similar to be a wrong answer to one query is so for all.
                    masked = self._masking(texts, len(places[name]), None, ())
                    carried = carried if masked is None else torch.maximum(carried, (masked > 1).to(carried.dtype))
                targets[name] = carried
            elif LOSSES[name].target == "masked":
                texts = np.concatenate([rows[places[name]], hard.get(name, rows[:0])])
                of_batch = None
                if name not in hard and "similarity" in targets:
                    # Without others the batch's own similarities have all that is asked.
                    place = torch.from_numpy(places[name]).to(self.device)
                    of_batch = targets["similarity"][place][:, place]
                asked = own if name == "query_text" else ()
                target = self._masking(texts, len(places[name]), settings["mask_above"], asked, of_batch)
                if target is not None:
                    targets[name] = target
        return targets

    def _masking(
        self,
        texts: Places,
        count: int,
        mask_above: float | None,
        own: Sequence[int],
        known: Tensor | None = None,
    ) -> Tensor | None:
        """(Q, Q + N): SimL of the first ``count`` of ``texts`` with all, where a loss masks by it; None: no mask.

        2, which any threshold masks: a text of the same number, one that has the query among its own, and a hard
        negative that is too similar to the query's own text (it is one of another query). ``known``: that SimL, where
        it was computed before.
        """
        if not count:
            return None
        numbers = self.data.numbers[texts]
        is_other = np.ones((count, len(texts)), dtype=bool)
        is_other[np.arange(count), np.arange(count)] = False
        right = (numbers[:count, None] == numbers[None, :]) & is_other
        if self.data.queries is not None and len(own):
            right |= self.data.queries.shared(texts, own) & is_other
        reads_similarity = mask_above is not None or len(texts) > count
        if not reads_similarity and not right.any():
            return None
        target = torch.zeros(count, len(texts), device=self.device)
        if reads_similarity and self.data.targets is not None:
            similarity = self.data.targets.of(texts, self.device)[:count] if known is None else known
            if mask_above is not None:
                target = similarity.clone()
            if len(texts) > count:
                is_right = similarity[:, count:] > self.negatives["max_similarity"]
                target[:, count:] = torch.where(is_right, 2.0, target[:, count:])
        return torch.where(torch.from_numpy(right).to(self.device), 2.0, target)

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
    orders = batch.orders
    tensors = [*batch.targets.values(), *orders.negatives.values(), *(o for o in orders if isinstance(o, Tensor))]
    for _, chunk in batch.chunks:
        tensors += [value for value in vars(chunk).values() if isinstance(value, Tensor)]
    for tensor in tensors:
        tensor.record_stream(current)


def _drawn(nearest: Places, count: int, draw: np.random.Generator) -> Places:
    """``count`` of the first twice as many, in their order."""
    some = nearest[: 2 * count]
    return some if len(some) <= count else np.asarray(draw.choice(some, count, replace=False))


def _dealt(lengths: npt.NDArray[np.integer], world: int) -> list[Places]:
    """Items by process, dealt longest first and back and forth, so that all have as much to do."""
    order = np.argsort(-lengths, kind="stable")
    place = np.arange(len(order)) % (2 * world)
    owner = np.where(place < world, place, 2 * world - 1 - place)
    return [order[owner == rank] for rank in range(world)]
