"""The stage ``label-study``: every weighting on every kind of evidence.

Goes in: a training release with its articles tables and label counts, and a table of screening decisions. Comes out,
in one folder: ``auc.parquet`` (a row a combination and evidence, best first), ``units.parquet`` (the AUC of each
review or citation), ``zeros.parquet`` (what shared roots do), ``auc.svg``, and ``auc.txt`` for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.evaluation.bootstrap import compare
from biohicl.figures import svg_text
from biohicl.mesh.label_counts import read_label_counts
from biohicl.mesh.label_sets import LabelSets, closed_labels
from biohicl.mesh.nodes import Nodes, read_nodes
from biohicl.mesh.similarity import METHODS
from biohicl.mesh.weights import LabelCounts, Roots, Weight, weighting
from biohicl.progress import say, track
from biohicl.storage import read_json, whole_files, write_parquet
from biohicl.study.auc import auc, auc_of_rows
from biohicl.study.combinations import PUBLISHED, Combination, columns_of, combinations
from biohicl.study.evidence import Evidence, all_evidence
from biohicl.study.figure import auc_figure
from biohicl.study.gathering import gather
from biohicl.study.screening import read_screening
from biohicl.study.text import study_text
from biohicl.training.labels import labels_of

SCREENING = pl.DataFrame(schema={"pmid": pl.Int32, "review": pl.String, "included": pl.Boolean})


def write_label_study(
    release: Path, pubmed: Path, label_counts: Path, screening: Path | None, settings: Mapping[str, Any], output: Path
) -> None:
    """Runs the study; ``settings`` is the block label_study of config.yaml."""
    _check_settings(settings)
    nodes = read_nodes(release / "hierarchy.parquet")
    counts = read_label_counts(label_counts, nodes)
    decisions = read_screening(screening) if screening else SCREENING
    gathered = gather(release, pubmed, decisions, settings["citations"], settings["sample"], settings["seed"])
    evidence, left_out = all_evidence(gathered, decisions, nodes)
    if not evidence:
        raise BioHiCLError(
            f"{release}: nothing tells which citations are related ({'; '.join(left_out)}). Name a table of screening "
            "decisions in label_study.screening in config.yaml"
        )
    units, tables = [], []
    for one in evidence:
        names, values, combined = _measured(one, nodes, counts, settings["smoothing"])
        tables.append(_table(one, combined, values, settings["draws"], settings["seed"]))
        units.append(_unit_table(one, names, combined, values))
    zeros = _zeros(evidence[0], labels_of(gathered.sample, nodes)[0], nodes, counts, settings["smoothing"])
    table = pl.concat(tables)
    output.mkdir(parents=True, exist_ok=True)
    names = ["auc.parquet", "units.parquet", "zeros.parquet", "auc.svg", "auc.txt"]
    record = read_json(release / "release.json")
    origin = (
        f"Release '{release.name}', {record.get('mesh', 'MeSH')}: {counts.citations:,} citations with headings. "
        + ", ".join(f"{key} {value}" for key, value in sorted(settings.items()) if key != "screening")
    )
    text = study_text(table, zeros, {one.name: one for one in evidence}, [origin, *left_out])
    with whole_files(*(output / name for name in names)) as (auc_file, units_file, zeros_file, figure, text_file):
        write_parquet(table, auc_file)
        write_parquet(pl.concat(units), units_file)
        write_parquet(zeros, zeros_file)
        figure.write_text(svg_text(auc_figure(table)), encoding="utf-8")
        text_file.write_text(text + "\n", encoding="utf-8")
    say(text)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Those given by hand; config.yaml's were checked already."""
    for key in ("citations", "sample", "draws"):
        if not isinstance(settings[key], int) or settings[key] < 10:
            raise BioHiCLError(f"label_study.{key}: found {settings[key]}, but a whole number of at least 10 is needed")
    if not isinstance(settings["seed"], int) or settings["seed"] < 0:
        raise BioHiCLError(f"label_study.seed: found {settings['seed']}, but a whole number from 0 on is needed")


def _measured(
    evidence: Evidence, nodes: Nodes, counts: LabelCounts, smoothing: float
) -> tuple[list[str], npt.NDArray[np.float64], list[Combination]]:
    """Names of the units, their AUC for each combination (U, S), and the combinations."""
    combined = combinations(evidence.has_majors)
    related, unrelated = evidence.pairs
    say(f"{evidence.name}: {related:,} related and {unrelated:,} unrelated pairs, {len(combined)} combinations")
    names = [name for block in evidence.blocks for name in block.units]
    values = np.empty((len(names), len(combined)))
    for column, combination in enumerate(track(combined, len(combined), evidence.name, "combinations")):
        values[:, column] = unit_aucs(evidence, nodes, combination, counts, smoothing)
    return names, values, combined


def unit_aucs(
    evidence: Evidence, nodes: Nodes, combination: Combination, counts: LabelCounts, smoothing: float
) -> npt.NDArray[np.float64]:
    """(U,): the AUC of each unit."""
    settings = combination.settings(smoothing)
    method = METHODS[combination.similarity]
    weighed = weighting(nodes, settings, counts)
    sets = evidence.closed if method.labels == "closed" else evidence.direct
    found = []
    for block in evidence.blocks:
        similarity = method.similarity(sets.take(block.rows), sets.take(block.columns), weighed)
        if block.by_row:
            found.append(auc_of_rows(similarity, block.related, block.unrelated))
        else:
            found.append(np.array([auc(similarity[block.related], similarity[block.unrelated])]))
    return np.concatenate(found)


def _table(
    evidence: Evidence, combined: Sequence[Combination], values: npt.NDArray[np.float64], draws: int, seed: int
) -> pl.DataFrame:
    """A row a combination, best first. ``as_good_as_best``: not told from the best, all comparisons considered."""
    place = combined.index(PUBLISHED)
    compared = compare(values, draws, seed, place, evidence.clusters)
    published = values[:, [place]]
    related, unrelated = evidence.pairs
    table = pl.DataFrame(
        {
            "evidence": [evidence.name] * len(combined),
            **columns_of(combined),
            "auc": compared.mean,
            "low": compared.low,
            "high": compared.high,
            "behind_best": compared.behind,
            "behind_low": compared.behind_low,
            "behind_high": compared.behind_high,
            "as_good_as_best": compared.as_good,
            "ahead_of_published": compared.ahead,
            "ahead_low": compared.ahead_low,
            "ahead_high": compared.ahead_high,
            # In how many units it beats the published weighting, ties counted half.
            "beats_published": ((values > published) + 0.5 * (values == published)).sum(axis=0),
            "units": [len(values)] * len(combined),
            "clusters": [len(np.unique(evidence.clusters))] * len(combined),
            "related": [related] * len(combined),
            "unrelated": [unrelated] * len(combined),
        }
    )
    return table.sort("auc", "similarity", "weight", "check_tags", "minor_topics", descending=[True, *[False] * 4])


def _unit_table(
    evidence: Evidence, names: Sequence[str], combined: Sequence[Combination], values: npt.NDArray[np.float64]
) -> pl.DataFrame:
    repeated = {key: np.repeat(column, len(names)).tolist() for key, column in columns_of(combined).items()}
    return pl.DataFrame(
        {
            "evidence": [evidence.name] * values.size,
            **repeated,
            "unit": list(names) * len(combined),
            "auc": values.T.ravel(),
        }
    )


def _zeros(primary: Evidence, sample: LabelSets, nodes: Nodes, counts: LabelCounts, smoothing: float) -> pl.DataFrame:
    """What shared roots do to cosines: the share of exact zeros and the mean between random citations, and the AUC."""
    closed = closed_labels(sample, nodes)
    others = ~np.eye(len(closed), dtype=bool)
    rows = []
    for weight, roots, tags in product(get_args(Weight), get_args(Roots), ("keep", "drop")):
        combination = replace(PUBLISHED, weight=weight, check_tags=tags, roots=roots)
        settings = combination.settings(smoothing)
        similarity = METHODS["cosine"].similarity(closed, closed, weighting(nodes, settings, counts))[others]
        measured = unit_aucs(primary, nodes, combination, counts, smoothing).mean()
        rows.append(
            {
                "weight": weight,
                "roots": roots,
                "check_tags": tags,
                "share_zero": float((similarity == 0).mean()),
                "mean": float(similarity.mean(dtype=np.float64)),
                "evidence": primary.name,
                "auc": float(measured),
            }
        )
    return pl.DataFrame(rows)
