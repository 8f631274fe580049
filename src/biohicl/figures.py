"""Figures as SVG text: the same numbers give the same bytes."""

from __future__ import annotations

import io
from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def svg_text(figure: Any) -> str:
    """A matplotlib figure as SVG, from its ``<svg`` on: no date, and ids drawn from a fixed salt."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "biohicl", "svg.fonttype": "none"}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
