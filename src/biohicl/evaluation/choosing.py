"""The step ``select``: of several models the one that is best on development sets, which never score anything.

Goes in: models' folders, and their metrics on the development splits of retrieval benchmarks and on pairs that are
development data as a whole. Comes out: the chosen folder under the node's name, with ``choice.json`` (every candidate's
scores, the rule, the chosen) and a manifest that names the choice.

The rule. Of the candidates whose average precision (mean over the sets of pairs) is at most ``max_loss`` below that of
a reference, the one with the highest nDCG@10 (mean over the retrieval sets). Where there is none, the one with the
highest average precision: the one that loses least. The first of equal ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.encoder.fetching import why_unavailable
from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import HEADLINE_CONDITION
from biohicl.progress import say
from biohicl.storage import read_json, whole_directory, write_json
from biohicl.training.provenance import manifest, weights_sha256

RETRIEVAL_METRIC = "nDCG@10"
PAIR_METRIC = "AP"
CHOICE = "choice.json"
# Of the chosen one's folder: what is written anew, and what is of itself or its training alone.
NOT_COPIED = ("manifest.json", CHOICE, "snapshots", "README.md", "checksums.sha256")
# Sums of the same numbers in another order differ by less.
NOTHING = 1e-12


@dataclass(frozen=True)
class Sets:
    """The benchmarks that choose: whose development splits are searched, and pairs of 1 (right) and 0 (wrong)."""

    retrieval: Sequence[str]
    similarity: Sequence[str] = ()


@dataclass(frozen=True)
class Scores:
    """One system on the development sets: nDCG@10 of each retrieval set, average precision of each set of pairs."""

    retrieval: Mapping[str, float]
    similarity: Mapping[str, float]
    counts: Mapping[str, int]  # queries or pairs of each set

    @property
    def mean(self) -> float:
        """nDCG@10, each set as much as the others."""
        return float(np.mean(list(self.retrieval.values())))

    @property
    def precision(self) -> float | None:
        """Average precision, each set as much as the others; None without sets of pairs."""
        return float(np.mean(list(self.similarity.values()))) if self.similarity else None

    def row(self) -> dict[str, Any]:
        """As choice.json has it."""
        found: dict[str, Any] = {RETRIEVAL_METRIC: dict(self.retrieval), f"mean {RETRIEVAL_METRIC}": self.mean}
        return found | (
            {PAIR_METRIC: dict(self.similarity), f"mean {PAIR_METRIC}": self.precision} if self.similarity else {}
        )


@dataclass(frozen=True)
class Choice:
    """``chosen`` among the candidates; ``allowed``: those that keep the reference's average precision."""

    chosen: str
    allowed: Sequence[str]


def read_scores(folder: Path, system: str, sets: Sets) -> Scores:
    """What ``folder``/SYSTEM/BENCHMARK/metrics.parquet say, of all sets.

    A set without a score is a :class:`BioHiCLError`: nothing may be chosen by less than what was asked for.
    """
    retrieval = {name: _score(folder, system, name, RETRIEVAL_METRIC) for name in sets.retrieval}
    similarity = {name: _score(folder, system, name, PAIR_METRIC) for name in sets.similarity}
    return Scores(
        {name: value for name, (value, _) in retrieval.items()},
        {name: value for name, (value, _) in similarity.items()},
        {name: count for name, (_, count) in (retrieval | similarity).items()},
    )


def check_same_sets(scores: Mapping[str, Scores]) -> None:
    """An error where two systems were measured on different numbers of queries or pairs."""
    (first, known), *others = scores.items()
    for name, own in others:
        for benchmark, count in own.counts.items():
            if count != known.counts[benchmark]:
                raise BioHiCLError(
                    f"{benchmark}: {name} was measured on {count:,} queries or pairs, {first} on "
                    f"{known.counts[benchmark]:,}: evaluate both again on the same ones"
                )


def choose(candidates: Mapping[str, Scores], reference: Scores, max_loss: float) -> Choice:
    """The rule of this module; ``max_loss``: of average precision, from 0 to 1."""
    if not candidates:
        raise BioHiCLError("there is nothing to choose from")
    if reference.precision is None:
        return Choice(_first_best({name: scores.mean for name, scores in candidates.items()}), list(candidates))
    precisions = {name: _precision(scores) for name, scores in candidates.items()}
    least = reference.precision - max_loss
    allowed = [name for name, precision in precisions.items() if precision >= least - NOTHING]
    if not allowed:
        return Choice(_first_best(precisions), [])
    return Choice(_first_best({name: candidates[name].mean for name in allowed}), allowed)


def write_choice(
    candidates: Sequence[Path],
    reference: Path,
    scores: Path,
    sets: Sets,
    max_loss: float,
    output: Path,
) -> Choice:
    """Chooses among the folders ``candidates``, whose names are their systems' in ``scores``; writes ``output``.

    ``reference``: the folder of the one whose average precision is to be kept; only its name and scores are read.
    """
    folders = {folder.name: folder for folder in candidates}
    if len(folders) < len(candidates):
        raise BioHiCLError("two candidates have folders of one name, by which their scores are found; rename one")
    if not sets.retrieval:
        raise BioHiCLError(
            "no retrieval benchmark is named to choose by (development.retrieval of config.yaml, --retrieval)"
        )
    for folder in candidates:
        if reason := why_unavailable(folder):
            raise BioHiCLError(f"{folder}: could not be had, so it cannot be chosen: {reason}")
        if not any(folder.glob("*.safetensors")):
            raise BioHiCLError(f"{folder}: no such folder, or no weights in it (*.safetensors), so it cannot be chosen")
    found = {name: read_scores(scores, name, sets) for name in dict.fromkeys([*folders, reference.name])}
    check_same_sets(found)
    of_candidates = {name: found[name] for name in folders}
    choice = choose(of_candidates, found[reference.name], max_loss)
    _tell(choice, of_candidates, found[reference.name], reference.name, max_loss)
    record = {
        "chosen": choice.chosen,
        "rule": {
            "retrieval": list(sets.retrieval),
            "similarity": list(sets.similarity),
            "max_loss": max_loss,
            "against": reference.name,
        },
        "kept_average_precision": bool(choice.allowed),
        "candidates": {name: of.row() | {"allowed": name in choice.allowed} for name, of in of_candidates.items()},
        "reference": {reference.name: found[reference.name].row()},
    }
    _write(folders, record, output)
    return choice


def _score(folder: Path, system: str, benchmark: str, metric: str) -> tuple[float, int]:
    """The value of the headline, and of how many queries or pairs."""
    file = folder / system / benchmark / "metrics.parquet"
    try:
        rows = pq.read_table(file, columns=["condition", "metric", "value", "n"]).to_pylist()
    except FileNotFoundError:
        raise BioHiCLError(f"{file}: no such file; evaluate {system} on the development split of {benchmark}") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BioHiCLError(f"{file}: not a table of metrics: {str(error).splitlines()[0]}") from None
    if not rows:
        raise BioHiCLError(
            f"{file}: holds no scores: {benchmark} (or {system}) could not be had or measured; see the reason in "
            f"resources/benchmarks/{benchmark}/benchmark.json, and the log of the evaluation. Nothing is chosen by "
            "nothing: bring it, or take it out of `development` in config.yaml"
        )
    of_metric = [row for row in rows if (row["condition"], row["metric"]) == (HEADLINE_CONDITION, metric)]
    if not of_metric:
        why = " (it needs pairs whose scores are 0 and 1 alone)" if metric == PAIR_METRIC else ""
        raise BioHiCLError(
            f"{file}: has no {metric}{why}: take {benchmark} out of `development` in config.yaml, or evaluate again"
        )
    value, count = of_metric[0]["value"], of_metric[0]["n"]
    if value is None or not np.isfinite(value) or not count:
        raise BioHiCLError(f"{file}: its {metric} is {value} over {count} queries or pairs; nothing is chosen by that")
    return float(value), int(count)


def _precision(scores: Scores) -> float:
    assert scores.precision is not None
    return scores.precision


def _first_best(values: Mapping[str, float]) -> str:
    """The name of the largest value; the first of those that differ by rounding alone."""
    most = max(values.values())
    return next(name for name, value in values.items() if value >= most - NOTHING)


def _tell(
    choice: Choice, candidates: Mapping[str, Scores], reference: Scores, reference_name: str, max_loss: float
) -> None:
    for name, scores in {**candidates, f"(reference) {reference_name}": reference}.items():
        precision = "" if scores.precision is None else f", mean {PAIR_METRIC} {scores.precision:.4f}"
        left_out = name in candidates and name not in choice.allowed
        say(f"{name}: mean {RETRIEVAL_METRIC} {scores.mean:.4f}{precision}{', loses too much' if left_out else ''}")
    if not choice.allowed:
        say(
            f"warning: EVERY candidate loses more than {max_loss:g} of {reference_name}'s {PAIR_METRIC}: "
            f"{choice.chosen}, which loses least, is taken, whatever its {RETRIEVAL_METRIC}"
        )
    if reference.precision is None:
        say(f"chosen by {RETRIEVAL_METRIC} alone: development.similarity names no pairs whose {PAIR_METRIC} is kept")
    say(f"chosen: {choice.chosen}")


def _write(folders: Mapping[str, Path], record: Mapping[str, Any], output: Path) -> None:
    chosen = folders[record["chosen"]]
    settings = {"step": "select", "of": list(folders), "against": record["rule"]["against"], "rule": record["rule"]}
    made = chosen / "manifest.json"
    facts = {"chosen": chosen.name, "manifest_of_chosen": read_json(made) if made.is_file() else None}
    hashes = {name: weights_sha256(folder) for name, folder in folders.items()}
    with whole_directory(output) as folder:
        for path in sorted(chosen.iterdir()):
            # A copy, not a second name of the same file: who saves a model into one of the two folders, as
            # sentence-transformers does in place, changes that one alone. Hidden files are Snakemake's notes.
            if path.name in NOT_COPIED or path.name.startswith("."):
                continue
            if path.is_dir():
                shutil.copytree(path, folder / path.name, copy_function=shutil.copy)
            else:
                shutil.copy(path, folder / path.name)
        write_json(dict(record), folder / CHOICE)
        write_json(manifest(output.name, settings, hashes, None, **facts), folder / "manifest.json")
