"""SimE against SimL before and after a training: the bins, and that they are of the texts that the training held out."""

import numpy as np
import polars as pl
import pytest

from biohicl.training.similarities import SIMILARITIES, binned, correlation


@pytest.mark.parametrize("seed", range(5))
def test_bins_are_those_of_a_plain_loop(seed):
    generator = np.random.default_rng(seed)
    labels = np.round(generator.random(500), 2).astype(np.float32)
    labels[:50], labels[50:60], labels[60:70] = 0, 1, np.float32(1 + 1e-6)
    embedded = generator.normal(size=500).astype(np.float32)
    rows = binned(embedded, labels)
    assert sum(row["pairs"] for row in rows) == 500
    assert (rows[0]["low"], rows[0]["high"], rows[0]["pairs"]) == (0.0, 0.0, int((labels == 0).sum()))
    for row in rows[1:]:
        low, high = row["low"], row["high"]
        # In the arithmetic of the table: tenths as float64, and what is above 1 by rounding is in the last one.
        inside = [value for value, label in zip(embedded, labels, strict=True) if low < min(float(label), 1.0) <= high]
        assert row["pairs"] == len(inside) > 0
        assert row["mean"] == pytest.approx(float(np.mean(inside)), abs=1e-5)
        assert row["p50"] == pytest.approx(float(np.median(inside)), abs=1e-6)
        assert row["p05"] <= row["p25"] <= row["p50"] <= row["p75"] <= row["p95"]


def test_bins_without_pairs_are_left_out():
    assert [row["high"] for row in binned(np.array([0.1, 0.2]), np.array([0.15, 0.95]))] == [0.2, 1.0]
    assert correlation(np.array([0.5, 0.5]), np.array([0.1, 0.9])) == 0.0


@pytest.mark.parametrize("node", ["biohicl-base", "default"])
def test_it_measures_the_texts_that_the_training_measured(finished, node):
    """The training's own measures, at its start and its end, are of the same texts, labels and weights."""
    table = pl.read_parquet(finished.folder / f"results/similarities/{node}.parquet")
    assert table.columns == SIMILARITIES.names
    measured = pl.read_parquet(finished.folder / f"results/models/{node}/development.parquet")["correlation"]
    for encoder, place in (("start", 0), ("model", -1)):
        part = table.filter(pl.col("encoder") == encoder)
        texts = part["texts"][0]
        assert part["pairs"].sum() == texts * (texts - 1) // 2
        assert part["correlation"].to_list() == pytest.approx([measured[place]] * part.height, abs=1e-4)


def test_a_node_that_reads_no_labels_is_refused_in_words(finished, run_biohicl, tmp_path):
    training = finished.folder / "results/training"
    words = ["similarities", finished.folder / "results/models/default"]
    words += ["--start", finished.folder / "resources/backbones/sample-bert"]
    words += ["--tokens", training / "tokens/sample-bert-96/abstracts.parquet"]
    words += ["--labels", training / "labels/abstracts.parquet"]
    words += ["--hierarchy", training / "releases/tests/hierarchy.parquet"]
    settings = '{"start": "sample-bert", "selection": "abstracts", "losses": {"title_abstract": {}}, "max_length": 96}'
    done = run_biohicl(*words, "--settings", settings, "--output", tmp_path / "x.parquet")
    assert done.returncode == 2, done.stderr
    assert "its losses read no labels, so there is no SimL to compare with" in done.stderr
    assert list(tmp_path.iterdir()) == []
