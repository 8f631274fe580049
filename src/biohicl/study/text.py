"""The study's tables as a person reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from biohicl.study.combinations import PUBLISHED_COLUMNS
from biohicl.study.evidence import MEANINGS, Evidence

# Of each similarity and weight the best options, and of these so many; auc.parquet has all.
SHOWN = 10
EXPLANATION = (
    "AUC: how often a related pair is more similar than an unrelated one; the mean over units (reviews or "
    "citations), with 95 % intervals from a bootstrap over clusters of units that hang together. 'behind' is the "
    "distance to the best on the same units, with the interval of that one comparison. Marked = is what this evidence "
    "does not tell from the best at an error of 5 % over all comparisons, the choice of the best included. Of each "
    "similarity and weight the best options are shown; auc.parquet has all. In config.yaml's words: keep is 1.0, half "
    "0.5, drop 0.0 (check_tags, minor_topics); depth-mean is weight: depth with depth: mean."
)


def study_text(
    table: pl.DataFrame, zeros: pl.DataFrame, evidence: Mapping[str, Evidence], remarks: Sequence[str]
) -> str:
    """The best of each evidence, the published weighting, and what shared roots do. ``remarks``: where it comes from,
    then what is left out."""
    origin, *left_out = remarks
    lines = [
        "Which label weighting tells related citations from unrelated ones?",
        origin,
        "",
        *textwrap.wrap(EXPLANATION, 110),
    ]
    for (name,), rows in table.group_by("evidence", maintain_order=True):
        one = evidence[str(name)]
        placed = rows.with_row_index("place", offset=1)
        equal = int(rows["as_good_as_best"].sum())
        pairs = f"{rows['related'][0]:,} related and {rows['unrelated'][0]:,} unrelated pairs"
        lines += [
            "",
            f"{name}: {MEANINGS[one.name]}",
            f"  {rows['units'][0]:,} {one.unit} in {rows['clusters'][0]:,} clusters, {pairs}",
            f"  {equal} of {rows.height} combinations cannot be told from the best"
            + ("" if one.has_majors else "; no major topics are marked here"),
            f"  {'place':>5} {'similarity':<12} {'weight':<11} {'check tags':<10} {'minor':<6} {'AUC':<24} behind",
        ]
        shown = placed.unique(["similarity", "weight"], keep="first", maintain_order=True).head(SHOWN)
        published = placed.filter(*(pl.col(key) == value for key, value in PUBLISHED_COLUMNS.items()))
        lines += [_line(row) for row in shown.iter_rows(named=True)]
        lines += ["  as published:", *map(_line, published.iter_rows(named=True))]
    lines += ["", *(f"Left out: {remark}" for remark in left_out)] if left_out else []
    lines += [
        "",
        "Told from the best by none of this evidence (where it marks no major topics, minor is taken as keep):",
    ]
    lines += [f"  {' '.join(one)}" for one in undefeated(table)] or ["  none"]
    lines += ["", "Roots: cosines between random citations (share of exact zeros, mean), and the AUC on"]
    lines[-1] += f" {zeros['evidence'][0]}"
    lines.append(f"  {'weight':<9} {'check tags':<10} {'roots':<9} {'zeros':>7} {'mean':>6} {'AUC':>6}")
    for row in zeros.sort("weight", "check_tags", maintain_order=True).iter_rows(named=True):
        lines.append(
            f"  {row['weight']:<9} {row['check_tags']:<10} {row['roots']:<9} {row['share_zero']:>7.1%} "
            f"{row['mean']:>6.3f} {row['auc']:>6.3f}"
        )
    return "\n".join(lines)


def undefeated(table: pl.DataFrame) -> list[tuple[str, str, str, str]]:
    """Combinations (similarity, weight, check tags, minor topics) that no evidence tells from its best."""
    keys = ["similarity", "weight", "check_tags"]
    verdicts: list[dict[tuple[str, ...], bool]] = []
    for _, rows in table.group_by("evidence", maintain_order=True):
        verdicts.append(
            {row[:-1]: row[-1] for row in rows.select(*keys, "minor_topics", "as_good_as_best").iter_rows()}
        )
    every = sorted(set().union(*verdicts))
    return [
        (one[0], one[1], one[2], one[3])
        for one in every
        if all(verdict.get(one, verdict[*one[:3], "keep"]) for verdict in verdicts)
    ]


def _line(row: Mapping[str, Any]) -> str:
    mark = "=" if row["as_good_as_best"] else " "
    columns = ("auc", "low", "high", "behind_best", "behind_low", "behind_high")
    # Rounded first: what is a hair below 0 would be shown as -0.0000.
    value, low, high, behind, behind_low, behind_high = (f"{round(row[column], 4) + 0.0:.4f}" for column in columns)
    return (
        f"  {row['place']:>5} {row['similarity']:<12} {row['weight']:<11} {row['check_tags']:<10} "
        f"{row['minor_topics']:<6} {value} [{low}, {high}] {mark} {behind} [{behind_low}, {behind_high}]"
    )
