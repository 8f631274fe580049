"""How a training is doing, measured on held-out citations; and when it is to stop.

Goes in: the model, the held-out citations. Comes out: :class:`Measures`. Test benchmarks play no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.training.data import TrainingData
from biohicl.training.plan import held_out

TOKENS_AT_A_TIME = 16_384


@dataclass(frozen=True)
class Measures:
    """Of M held-out citations, their titles and abstracts."""

    step: int
    mrr: float  # of each title's own abstract among all M, by cosine; a tie counts against it
    mean_similarity: float  # of the abstracts of two different citations, the mean cosine
    correlation: float | None  # Spearman's, of SimE and SimL over all pairs of abstracts; None without labels

    def words(self) -> str:
        """For the log."""
        said = f"title -> abstract MRR {self.mrr:.4f}, mean similarity {self.mean_similarity:.3f}"
        return said if self.correlation is None else f"{said}, correlation with SimL {self.correlation:.3f}"


def readable_rows(data: TrainingData, settings: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """(n,): which texts a loss can read: where all that is read are texts with queries of their own, these."""
    if data.queries is not None and settings["losses"].keys() == {"query_text"}:
        return data.queries.usable
    return np.ones(len(data), dtype=bool)


def held_out_rows(data: TrainingData, settings: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """(n,): the texts that a node with these ``settings`` is not trained on."""
    readable = np.flatnonzero(readable_rows(data, settings))
    chosen = np.zeros(len(data), dtype=bool)
    chosen[readable] = held_out(data.numbers[readable], settings["development"]["citations"], settings["seed"])
    return chosen


def cosines(model: TextModel, lists: list[npt.NDArray[np.int32]]) -> torch.Tensor:
    """The cosine of each text with each, (B, B) float32."""
    vectors = normalize(model.embed_all(lists, TOKENS_AT_A_TIME), dim=-1)
    return vectors @ vectors.T


def measure(model: TextModel, data: TrainingData, rows: npt.NDArray[np.integer], step: int) -> Measures:
    """The measures of the citations ``rows``, at least two. Dropout has to be off."""
    from scipy.stats import spearmanr

    with torch.inference_mode():
        titles, abstracts = (
            normalize(model.embed_all(lists, TOKENS_AT_A_TIME), dim=-1) for lists in _asked_and_found(data, rows)
        )
        scores = (titles @ abstracts.T).cpu().numpy()
        similarity = (abstracts @ abstracts.T).cpu().numpy()
    if not np.isfinite(scores).all() or not np.isfinite(similarity).all():
        raise BioHiCLError(f"after step {step} the model gives NaN or infinite vectors. Lower schedule.learning_rate")
    ranks = (scores >= scores.diagonal()[:, None]).sum(axis=1)
    pairs = np.triu_indices(len(rows), 1)
    correlation = None
    if data.targets is not None:
        target = data.targets.of(rows, torch.device("cpu")).numpy()[pairs]
        found = similarity[pairs]
        varies = target.min() < target.max() and found.min() < found.max()
        correlation = float(spearmanr(found, target).statistic) if varies else 0.0
    return Measures(step, float((1 / ranks).mean()), float(similarity[pairs].mean()), correlation)


def _asked_and_found(
    data: TrainingData, rows: npt.NDArray[np.integer]
) -> tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.int32]]]:
    """Titles and their abstracts, as tokens; of labelled documents, which have queries, their first and the text."""
    if data.has_titles or data.queries is None:
        return data.tokens["query"].rows(rows), data.tokens["passage"].rows(rows)
    return data.queries.tokens.rows(data.queries.first[rows]), data.tokens["document"].rows(rows)


class Judge:
    """Keeps the measures of a training, and says which was the best, when to stop, and when all is lost."""

    def __init__(self, settings: Mapping[str, Any], past: list[Measures]) -> None:
        """``settings``: ``development`` of a node."""
        self.settings = settings
        self.all = past

    @property
    def chooses(self) -> bool:
        """Whether the model is the best by a measure, rather than the last."""
        return bool(self.settings["model"] != "last")

    @property
    def best(self) -> Measures | None:
        """The best so far by the measure that chooses; the first of equals."""
        return max(self.all, key=self._value) if self.all and self.chooses else None

    def add(self, now: Measures) -> None:
        """Takes in a measure."""
        self.all.append(now)

    def check(self) -> None:
        """An error where the training collapses: where the last two measures, after the start's, say so.

        A single one may be a dip: while the rate rises, or of a backbone that has to find its way first.
        """
        problems = [self.problem(measures) for measures in self.all[1:][-2:]]
        if len(problems) == 2 and all(problems):
            raise BioHiCLError(f"{problems[-1]} (and so it was at the measure before)")

    def problem(self, now: Measures) -> str | None:
        """What is wrong with a measure, and what to do; None where nothing is."""
        first = self.all[0]
        highest, share = self.settings["max_mean_similarity"], self.settings["min_mrr"]
        if highest is not None:
            # Some backbones start in a narrow band of high cosines: half of what is left to 1 is theirs.
            limit = max(highest, (1 + first.mean_similarity) / 2)
            if now.mean_similarity > limit:
                return (
                    f"the training collapses: after step {now.step} two different held-out abstracts have a mean "
                    f"cosine of {now.mean_similarity:.3f} ({first.mean_similarity:.3f} at the start, the limit is "
                    f"{limit:.3f}). Lower schedule.learning_rate, or sharpen a loss (soft_targets.target_temperature); "
                    "development.max_mean_similarity sets the limit, null takes it away"
                )
        if share is not None and now.mrr < share * first.mrr:
            return (
                f"the training loses what its start could do: after step {now.step} the MRR of title -> abstract on "
                f"held-out citations is {now.mrr:.4f}, below {share:g} of the {first.mrr:.4f} at the start. Lower "
                "schedule.learning_rate, or put title_abstract beside the other losses; development.min_mrr sets the "
                "limit, null takes it away"
            )
        return None

    def has_waited(self) -> bool:
        """Whether as many measures as ``patience`` says have passed without a better one."""
        patience = self.settings["patience"]
        best = self.best
        if patience is None or best is None:
            return False
        return len(self.all) - 1 - self.all.index(best) >= patience

    def _value(self, measures: Measures) -> float:
        value = getattr(measures, self.settings["model"])
        if value is None:
            raise BioHiCLError(
                "development.model: correlation needs labels, and no loss of this node reads any; choose mrr or last"
            )
        return float(value)

    def rows(self) -> list[dict[str, Any]]:
        """A mapping for each measure."""
        return [asdict(measures) for measures in self.all]
