"""The table of screening decisions: which citations a systematic review looked at, and which it included."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from biohicl.errors import BioHiCLError

SCREENING_COLUMNS = ("pmid", "review", "included_on_full_text")
INCLUDED = "I"
# A code is the reason for which Cohen's reviewers excluded a citation.
EXCLUDED = ("E", *"123456789")


def read_screening(path: Path) -> pl.DataFrame:
    """Columns pmid, review, included: each citation once a review. Tab-separated; ``I`` is included."""
    try:
        table = pl.read_csv(path, separator="\t", infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BioHiCLError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    missing = [column for column in SCREENING_COLUMNS if column not in table.columns]
    if missing:
        raise BioHiCLError(
            f"{path}: has no column {', '.join(missing)}; tab-separated {', '.join(SCREENING_COLUMNS)} are needed"
        )
    table = table.with_columns(
        pl.col(*SCREENING_COLUMNS).str.strip_chars(), _line=pl.int_range(2, table.height + 2)
    ).filter(pl.any_horizontal(pl.col(*SCREENING_COLUMNS).fill_null("") != ""))
    rows = table.select(
        "_line",
        review="review",
        pmid=pl.col("pmid").cast(pl.Int32, strict=False),
        given="pmid",
        decision="included_on_full_text",
    )
    wrong = [
        (~(pl.col("pmid") > 0).fill_null(value=False), "given", "is no PMID"),
        (pl.col("review").fill_null("") == "", "review", "is no review's name"),
        (
            ~pl.col("decision").is_in([INCLUDED, *EXCLUDED]).fill_null(value=False),
            "decision",
            "is no decision: I is included, E or a code from 1 to 9 excluded",
        ),
        (pl.struct("pmid", "review").is_duplicated(), "given", "stands twice under one review"),
    ]
    for condition, column, said in wrong:
        for row in rows.filter(condition).head(1).iter_rows(named=True):
            raise BioHiCLError(f"{path}, line {row['_line']}: '{row[column] or ''}' {said}")
    if not (rows["decision"] == INCLUDED).any():
        raise BioHiCLError(f"{path}: no citation is included ({INCLUDED} in included_on_full_text)")
    return rows.select("pmid", "review", included=pl.col("decision") == INCLUDED).sort("review", "pmid")
