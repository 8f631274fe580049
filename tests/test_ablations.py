"""Ablations: cells written out as nodes, and gains with an error that knows of queries and of seeds."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from biohicl import configuration
from biohicl.errors import BioHiCLError
from biohicl.evaluation.evaluate import METRICS_TABLE, PER_QUERY
from biohicl.evaluation.seeds import gain_over_seeds
from biohicl.study.ablations import gain_of, write_ablations
from test_configuration import load

OVERLAY = """
ablations:
  of: default
  with: {max_length: 128, schedule: {epochs: 1}}
  seeds: [5, 9]
  factors:
    loss: null
    weight: null
    check_tags: null
    trainable: null
    phases: null
    ancestors: {none: null, flat: {labels: {similarity: flat_cosine}}}
    term: {mse: {losses: {soft_targets: null, mse: {}}}, none: {losses: {soft_targets: null}}, other: null}
"""


def test_each_level_is_a_node_that_differs_from_the_base_in_it_alone(tmp_path):
    config = load(tmp_path, OVERLAY)
    cells = configuration.cells_of(config)
    assert list(cells) == ["base", "ancestors.flat", "term.mse", "term.none"]
    assert configuration.nodes_of_cell(config, "term.mse") == {5: "ablation.term.mse.5", 9: "ablation.term.mse.9"}
    base, flat = (config["nodes"][f"ablation.{cell}.9"] for cell in ("base", "ancestors.flat"))
    assert base["max_length"] == 128
    assert base["seed"] == 9
    assert flat == {**base, "labels": {**base["labels"], "similarity": "flat_cosine"}}
    assert list(config["nodes"]["ablation.term.mse.5"]["losses"]) == ["title_abstract", "heading_abstract", "mse"]
    assert "soft_targets" in config["nodes"]["default"]["losses"], "the node itself stays"
    assert config["nodes"]["default"]["max_length"] == 512


def test_a_whole_grid_is_every_combination(tmp_path):
    cells = configuration.cells_of(load(tmp_path, f"{OVERLAY}  grid: all\n"))
    assert list(cells) == [
        *("base", "term.mse", "term.none"),
        *("ancestors.flat", "ancestors.flat.term.mse", "ancestors.flat.term.none"),
    ]


def test_models_trained_on_a_development_split_are_known_and_not_chosen_by_it(tmp_path):
    config = load(tmp_path, "models: [bmretriever, default]")
    # NFCorpus has another split for that.
    assert configuration.trained_on(config, "bmretriever") == ["scifact"]
    assert configuration.trained_on(config, "default") == configuration.trained_on(config, "bge-base") == []
    chosen = "nodes: {mine: {step: select, of: [bmretriever, default]}}\nmodels: [mine]\ndevelopment: {retrieval: [%s]}"
    with pytest.raises(BioHiCLError, match=r"mine would choose by the split 'train' of scifact among models"):
        load(tmp_path, chosen % "nfcorpus, scifact")
    load(tmp_path, chosen % "nfcorpus")


def test_the_interval_holds_the_true_gain_as_often_as_it_says():
    """Queries and seeds are both drawn from many: of 300 experiments, about 95 % hold what all of them have in common."""
    draw = np.random.default_rng(0)
    held = {"both": 0, "queries alone": 0}
    for _ in range(300):
        of_query = draw.normal(0.01, 0.2, (1, 150))
        gains = {"one": of_query + draw.normal(0, 0.02, (4, 1)) + draw.normal(0, 0.05, (4, 150))}
        found = gain_of(gains)
        held["both"] += found.low <= 0.01 <= found.high
        held["queries alone"] += abs(found.value - 0.01) <= 1.96 * found.of_queries
        assert found.low < found.value < found.high
    assert held["both"] / 300 > 0.93
    assert held["queries alone"] / 300 < 0.92, "without the seeds it would promise too much"


@pytest.mark.parametrize("seeds", [2, 3, 4])
@pytest.mark.parametrize("ratio", [0.0, 1.0, 3.0, 30.0])
def test_few_seeds_promise_no_more_than_they_hold(seeds, ratio):
    """``ratio``: how much more the seeds spread than the queries do, as variances."""
    draw = np.random.default_rng(seeds)
    held = 0
    for _ in range(1_500):
        by_seed = draw.normal() + draw.normal(0, (seeds * ratio) ** 0.5, seeds)
        found = gain_over_seeds(by_seed, by_seed.mean() + draw.normal(0, 1, 200), 300)
        held += found.low <= 0 <= found.high
    # Beside 95 %, three errors of so many tries.
    assert held / 1_500 > 0.933
    if ratio == 0:
        assert held / 1_500 < 0.97


@pytest.mark.parametrize("seeds", [2, 3, 5, 9])
def test_what_would_be_told_apart_is_what_students_t_says(seeds):
    """Of seeds alone, beside scipy's noncentral t; of queries alone, beside the normal distribution."""
    by_seed = np.random.default_rng(seeds).normal(0, 1, seeds)
    found = gain_over_seeds(by_seed, np.full(10, by_seed.mean()), 300)
    critical = stats.t.ppf(0.975, seeds - 1)
    assert stats.nct.sf(critical, seeds - 1, found.detectable / found.of_seeds) == pytest.approx(0.8, abs=0.015)
    alone = gain_over_seeds(by_seed[:1], np.random.default_rng(0).normal(0, 0.1, 500), 100_000)
    assert alone.detectable == pytest.approx((1.96 + 0.84) * alone.of_queries, rel=0.02)
    assert (alone.of_seeds, alone.value) == (None, by_seed[0])


def test_the_parts_of_the_error_are_those_of_their_definitions():
    draw = np.random.default_rng(1)
    gains = {"a": draw.normal(0.02, 0.3, (3, 80)), "b": draw.normal(-0.01, 0.1, (3, 40))}
    found = gain_of(gains)
    by_seed = (gains["a"].mean(axis=1) + gains["b"].mean(axis=1)) / 2
    assert found.value == pytest.approx(by_seed.mean())
    assert found.of_seeds == pytest.approx(stats.sem(by_seed))
    parts = [gains[name].mean(axis=0).var() / gains[name].shape[1] for name in ("a", "b")]
    assert found.of_queries == pytest.approx(sum(parts) ** 0.5 / 2, rel=0.05)
    single = gain_of({"a": gains["a"][:1]})
    assert single.of_seeds is None
    assert single.high - single.value == pytest.approx(1.99 * single.of_queries, rel=0.01)
    assert found.detectable > found.high - found.value


def scores(folder, node, by_query, ap):
    for name, values in by_query.items():
        rows = [
            {"query_id": q, "condition": "headline", "metric": m, "value": v}
            for q, v in values.items()
            for m in ("nDCG@10", "MAP")
        ]
        path = folder / "development" / node / name / "per_query.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(
            rows, schema={name: pl.Float64 if name == "value" else pl.String for name in PER_QUERY.names}
        ).write_parquet(path)
    row = dict.fromkeys(METRICS_TABLE.names) | {"system": node, "metric": "AP", "value": ap}
    (folder / "development" / node / "pairs").mkdir()
    pl.DataFrame([row]).write_parquet(folder / "development" / node / "pairs" / "metrics.parquet")
    (folder / "models" / node).mkdir(parents=True)
    measures = [{"step": s, "mrr": m, "mean_similarity": 0.1, "correlation": None} for s, m in ((0, 0.9), (9, 0.8))]
    pl.DataFrame(measures, schema_overrides={"correlation": pl.Float64}).write_parquet(
        folder / "models" / node / "development.parquet"
    )


def study(folder, output="ablations"):
    cells = {"base": {"1": "base.1", "2": "base.2"}, "better": {"1": "better.1", "2": "better.2"}}
    arguments = cells, folder / "development", folder / "models", ["one", "two"], ["pairs"], folder / output
    write_ablations(*arguments)
    return pl.read_parquet(folder / output / "ablations.parquet"), (folder / output / "ablations.txt").read_text()


@pytest.fixture
def scored(tmp_path):
    draw = np.random.default_rng(2)
    for node, gain in (("base.1", 0.0), ("base.2", 0.0), ("better.1", 0.1), ("better.2", 0.104)):
        own = {
            name: {f"q{n}": 0.4 + 0.001 * n + gain + draw.normal(0, 0.01) for n in range(40)} for name in ("one", "two")
        }
        scores(tmp_path, node, own, 0.9 - gain)
    return tmp_path


def test_a_gain_is_paired_by_seed_and_query_and_told_in_words(scored):
    table, text = study(scored)
    base, better = table.rows(named=True)
    assert base["value"] is None
    assert better["value"] == pytest.approx(0.102, abs=0.005)
    assert 0 < better["low"] < better["value"] < better["high"]
    assert better["development"] - base["development"] == pytest.approx(better["value"])
    assert better["pairs AP"] == pytest.approx(0.798)
    assert better["held-out citations mrr"] == pytest.approx(0.8), "the last measure"
    assert "held-out citations correlation" not in table.columns
    line = next(line for line in text.splitlines() if line.startswith("better"))
    assert f"{better['value']:+.4f} [{better['low']:+.4f}, {better['high']:+.4f}]" in line
    assert "0.7980" in line
    svg = (scored / "ablations" / "ablations.svg").read_text()
    assert svg.count("<use") >= 1
    study(scored, "again")
    for name in ("ablations.parquet", "ablations.svg", "ablations.txt"):
        assert (scored / "ablations" / name).read_bytes() == (scored / "again" / name).read_bytes()


def test_what_cannot_be_compared_is_an_error(scored):
    file = scored / "development/better.1/two/per_query.parquet"
    whole = pl.read_parquet(file)
    whole.filter(pl.col("query_id") != "q3").write_parquet(file)
    with pytest.raises(BioHiCLError, match="two: two trainings were scored on different queries"):
        study(scored)
    whole.clear().write_parquet(file)
    with pytest.raises(BioHiCLError, match="the development split of two could not be had"):
        study(scored)
    file.unlink()
    with pytest.raises(BioHiCLError, match=r"per_query.parquet: no such file; run the workflow's target ablations"):
        study(scored)
    with pytest.raises(BioHiCLError, match=r"ablations.of names no node"):
        write_ablations({}, scored, scored, ["one"], [], scored / "none")
    assert not (scored / "ablations").exists() or not list((scored / "ablations").glob("ablations.*"))
