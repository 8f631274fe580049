"""What a training changed: SimE of held-out texts against their SimL, by the encoder it started from and by the model.

Goes in: the two encoder folders, and the tokens and labels that the model was trained on. Comes out: a table with a row
an encoder (start, model) and bin of SimL: over all pairs of held-out texts in it, how SimE is spread. The texts are
those that the training held out, and SimL is as its settings weigh labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from biohicl.encoder.embed import pick_device
from biohicl.encoder.folder import Precision, load_model, load_tokenizer, pad_id_of, read_settings
from biohicl.encoder.packing import TextModel
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import write_parquet
from biohicl.training.data import Inputs, TrainingData, check_tokens, read_training_data
from biohicl.training.development import cosines, held_out_rows

# Bins of SimL: exactly 0, then tenths, each without its lower end.
EDGES = np.linspace(0.0, 1.0, 11)
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
SIMILARITIES = pa.schema(
    [
        ("encoder", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("pairs", pa.int64()),
        ("mean", pa.float64()),
        *((name, pa.float64()) for name in QUANTILES),
        ("texts", pa.int64()),
        ("correlation", pa.float64()),
    ]
)
Values = npt.NDArray[np.floating]


def write_similarities(
    inputs: Inputs,
    model: Path,
    settings: Mapping[str, Any],
    output: Path,
    device: str = "auto",
    precision: Precision | None = None,
) -> None:
    """Writes the table. ``inputs``: what ``model`` was trained from; ``settings``: its block of config.yaml."""
    # What it was trained with beside texts and labels plays no part.
    data = read_training_data(inputs, {**settings, "negatives": {}, "teacher": None})
    if data.targets is None:
        raise BioHiCLError(f"{model}: its losses read no labels, so there is no SimL to compare with")
    rows = np.flatnonzero(held_out_rows(data, settings))
    if len(rows) < 2:
        raise BioHiCLError(f"{inputs.tokens}: {len(rows)} held-out texts are no pair; see development.citations")
    pairs = np.triu_indices(len(rows), 1)
    labels = data.targets.of(rows, torch.device("cpu")).numpy()[pairs]
    found: list[dict[str, Any]] = []
    for name, folder in (("start", inputs.start), ("model", model)):
        embedded = _cosines(folder, inputs, data, rows, device, precision)[pairs]
        of_all = {"encoder": name, "texts": len(rows), "correlation": correlation(embedded, labels)}
        found += [{**of_all, **row} for row in binned(embedded, labels)]
        say(f"{folder}: {len(labels):,} pairs of {len(rows):,} texts, correlation {of_all['correlation']:.3f}")
    write_parquet(pa.Table.from_pylist(found, SIMILARITIES), output)


def binned(embedded: Values, labels: Values) -> list[dict[str, Any]]:
    """Of pairs with these SimE and SimL, (n,) each: a row a bin of SimL that has some."""
    # Bin 0 is 0 itself. Similarities of equal label sets may be 1 plus the rounding error.
    place = np.searchsorted(EDGES, np.minimum(labels, EDGES[-1]), side="left")
    rows = []
    for number in range(len(EDGES)):
        values = embedded[place == number].astype(np.float64)
        if not len(values):
            continue
        spread = np.quantile(values, list(QUANTILES.values()))
        rows.append(
            {
                "low": float(EDGES[max(number - 1, 0)]),
                "high": float(EDGES[number]),
                "pairs": len(values),
                "mean": float(values.mean()),
                **dict(zip(QUANTILES, map(float, spread), strict=True)),
            }
        )
    return rows


def correlation(embedded: Values, labels: Values) -> float:
    """Spearman's of SimE and SimL; 0 where one of them is the same for all pairs."""
    from scipy.stats import spearmanr

    varies = embedded.min() < embedded.max() and labels.min() < labels.max()
    return float(spearmanr(embedded, labels).statistic) if varies else 0.0


def _cosines(
    folder: Path,
    inputs: Inputs,
    data: TrainingData,
    rows: npt.NDArray[np.integer],
    device: str,
    precision: Precision | None,
) -> Values:
    encoder, tokenizer = read_settings(folder), load_tokenizer(folder)
    model = load_model(folder).to(pick_device(device))
    check_tokens(data, inputs, model, tokenizer, encoder)
    text_model = TextModel(model, encoder.pooling, pad_id_of(tokenizer), precision=precision)
    with torch.inference_mode():
        return cosines(text_model, data.tokens["passage"].rows(rows)).cpu().numpy()
