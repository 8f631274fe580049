"""The page's figures of the corpus: citations by year, number of headings, and category of the tree."""

from __future__ import annotations

import polars as pl

from biohicl.figures import COLOURS
from biohicl.mesh.show import CATEGORY_NAMES
from biohicl.pubmed.description import UNKNOWN
from biohicl.report.drawings import SMALL, WIDTH, Drawing, drawing

LONGEST_NAME = 40


def corpus_drawings(description: pl.DataFrame) -> list[Drawing]:
    """Of the table that describe-corpus wrote: years, headings, categories; what has no citations is not drawn."""
    counts = {
        str(kind): part.select("value", "citations")
        for (kind,), part in description.group_by("kind", maintain_order=True)
    }
    total = int(counts["citations"]["citations"][0])
    made = [
        _bars("years", counts.get("year"), total, "year of publication"),
        _bars("headings", counts.get("headings"), total, "MeSH headings of a citation"),
        _categories(counts.get("category"), total),
    ]
    return [one for one in made if one.svg]


def _bars(name: str, counts: pl.DataFrame | None, total: int, axis: str) -> Drawing:
    """A bar a number."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    known = counts.filter(pl.col("value") != UNKNOWN) if counts is not None else pl.DataFrame()
    if known.is_empty():
        return Drawing(name, "", "")
    values, citations = known["value"].cast(pl.Int64), known["citations"]
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
        panel = figure.subplots()
        panel.bar(values, citations, width=0.85, color=COLOURS[0])
        panel.set_xlabel(axis)
        panel.set_ylabel("citations")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_formatter("{x:,.0f}")
    numbers, most = values.to_list(), int(citations.arg_max() or 0)
    alt = f"Bars: citations by {axis}, from {min(numbers)} to {max(numbers)}. "
    alt += f"Most, {citations[most]:,} of {total:,}, have {numbers[most]}."
    return drawing(name, figure, alt)


def _categories(counts: pl.DataFrame | None, total: int) -> Drawing:
    """A bar a category, by its letter and name."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    known = counts.filter(pl.col("value") != UNKNOWN) if counts is not None else pl.DataFrame()
    if known.is_empty():
        return Drawing("categories", "", "")
    names = [f"{letter}  {_short(CATEGORY_NAMES.get(letter, ''))}" for letter in known["value"]]
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.2 * len(names)), layout="constrained")
        panel = figure.subplots()
        bars = panel.barh(range(len(names)), known["citations"], color=COLOURS[0])
        panel.bar_label(bars, [f"{count / total:.0%}" for count in known["citations"]], padding=3, fontsize=8)
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.set_xlabel("citations with a heading of the category")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter("{x:,.0f}")
    told = "; ".join(f"{name} {count:,}" for name, count in zip(names[:5], known["citations"], strict=False))
    return drawing("categories", figure, f"Bars: citations by category of the tree. The first of {len(names)}: {told}.")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip(', ')}…"
