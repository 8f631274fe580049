"""The choice among models, and the table that decisions are read from, beside numpy and rules written out."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from biohicl.cli.main import main
from biohicl.encoder.vectors import fingerprint
from biohicl.errors import BioHiCLError
from biohicl.evaluation.choosing import Scores, Sets, choose, read_scores, write_choice
from biohicl.evaluation.development import development_table
from biohicl.evaluation.evaluate import METRICS_TABLE, PAIR_RUN, PER_QUERY
from biohicl.evaluation.significance import MeanOfSets, difference
from biohicl.report.development import development_text
from encoders import letters_tokenizer, save_encoder, small_model

SETS = Sets(["one", "two"], ["claims"])


def scored(ndcg, precision):
    """Means as given, of two retrieval sets and one of pairs."""
    return Scores({"one": ndcg - 0.1, "two": ndcg + 0.1}, {"claims": precision}, {"one": 5, "two": 3, "claims": 10})


def by_the_rule(candidates, reference, max_loss):
    """The rule in its own words."""
    kept = [name for name, (_, precision) in candidates.items() if precision >= reference - max_loss]
    if not kept:
        return max(candidates, key=lambda name: candidates[name][1])
    return max(kept, key=lambda name: candidates[name][0])


@pytest.mark.parametrize(
    ("candidates", "reference", "max_loss", "chosen"),
    [
        ({"a": (0.5, 0.8), "b": (0.7, 0.8), "c": (0.6, 0.9)}, 0.8, 0.0, "b"),
        # The best is below the limit.
        ({"a": (0.5, 0.8), "b": (0.7, 0.77), "c": (0.6, 0.79)}, 0.8, 0.01, "c"),
        # At the limit is not below it, whatever the rounding.
        ({"a": (0.5, 0.8), "b": (0.7, 0.7 + 0.1 - 0.005)}, 0.8, 0.005, "b"),
        # All are below: the one that loses least, though it finds least.
        ({"a": (0.9, 0.5), "b": (0.3, 0.6), "c": (0.8, 0.55)}, 0.8, 0.1, "b"),
        # Ties.
        ({"a": (0.5, 0.8), "b": (0.7, 0.8), "c": (0.7, 0.9)}, 0.8, 0.0, "b"),
        ({"a": (0.5, 0.5), "b": (0.7, 0.6), "c": (0.9, 0.6)}, 0.8, 0.0, "b"),
        ({"only": (0.1, 0.1)}, 0.8, 1.0, "only"),
    ],
)
def test_the_rule(candidates, reference, max_loss, chosen):
    given = {name: scored(*both) for name, both in candidates.items()}
    assert choose(given, scored(0.9, reference), max_loss).chosen == chosen
    assert by_the_rule(candidates, reference, max_loss + 1e-9) == chosen


def test_means_that_differ_by_rounding_alone_are_a_tie():
    values = [0.1, 0.2, 0.3, 0.4, 0.7]
    assert np.mean(values) != np.mean(values[::-1])
    first = Scores({str(n): v for n, v in enumerate(values)}, {}, {})
    second = Scores({str(n): v for n, v in enumerate(reversed(values))}, {}, {})
    for pair in ({"a": first, "b": second}, {"a": second, "b": first}):
        assert choose(pair, first, 0.0).chosen == "a"


def test_drawn_scores_give_what_the_rule_says():
    generator = np.random.default_rng(3)
    for _ in range(300):
        rows = {f"m{n}": tuple(generator.integers(0, 6, 2) / 8 + 0.1) for n in range(generator.integers(1, 6))}
        reference, max_loss = generator.integers(0, 6) / 8 + 0.1, generator.integers(0, 3) / 8
        given = {name: scored(*both) for name, both in rows.items()}
        assert choose(given, scored(0.5, reference), max_loss).chosen == by_the_rule(rows, reference, max_loss + 1e-9)


def write_metrics(folder, system, benchmark, metric, value, n=4):
    kind = "similarity" if metric == "AP" else "retrieval"
    row = {"system": system, "benchmark": benchmark, "kind": kind, "condition": "headline", "n": n}
    others = [
        {**row, "metric": "Recall@1", "value": 0.99},
        {**row, "metric": metric, "condition": "own document kept", "value": 0.99},
    ]
    rows = [] if value is None else [*others, {**row, "metric": metric, "value": value}]
    place = folder / system / benchmark
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, METRICS_TABLE), place / "metrics.parquet")


@pytest.fixture
def models(tmp_path):
    """Three folders, and their scores: second is best and keeps the precision, third is better and does not."""
    tokenizer = letters_tokenizer(tmp_path / "tokenizer")
    folders = [
        save_encoder(small_model("bert", seed), tokenizer, tmp_path / name)
        for seed, name in enumerate(("base", "second", "third"))
    ]
    for name, one, two, claims in (("base", 0.2, 0.4, 0.7), ("second", 0.5, 0.3, 0.695), ("third", 0.6, 0.7, 0.6)):
        write_metrics(tmp_path / "scores", name, "one", "nDCG@10", one)
        write_metrics(tmp_path / "scores", name, "two", "nDCG@10", two)
        write_metrics(tmp_path / "scores", name, "claims", "AP", claims)
    (tmp_path / "second/manifest.json").write_text('{"node": "second"}')
    (tmp_path / "second/.snakemake_timestamp").touch()
    (tmp_path / "second/snapshots/7").mkdir(parents=True)
    (tmp_path / "second/snapshots/7/model.safetensors").touch()
    for name in ("README.md", "checksums.sha256"):
        (tmp_path / "second" / name).write_text("of the second")
    (tmp_path / "second/adapter").mkdir()
    (tmp_path / "second/adapter/adapter_config.json").write_text("{}")
    return folders


def test_the_chosen_folder_is_copied_and_the_choice_written_down(models, tmp_path, capsys):
    output = tmp_path / "best"
    write_choice(models, models[0], tmp_path / "scores", SETS, 0.005, output)
    said = capsys.readouterr().err
    assert "chosen: second" in said
    assert "third: mean nDCG@10 0.6500, mean AP 0.6000, loses too much" in said
    assert "warning" not in said
    second = tmp_path / "second"
    for file in ("model.safetensors", "config.json", "adapter/adapter_config.json"):
        assert (output / file).read_bytes() == (second / file).read_bytes()
        assert not (output / file).samefile(second / file), "who changes one folder changes the other"
    assert not any((output / name).exists() for name in ("snapshots", "README.md", "checksums.sha256"))
    assert not (output / ".snakemake_timestamp").exists()
    # Nothing is encoded otherwise for the choice's own files.
    assert fingerprint(output) == fingerprint(second)
    record = json.loads((output / "choice.json").read_text())
    assert record["chosen"] == "second"
    assert record["kept_average_precision"] is True
    assert record["rule"] == {
        "retrieval": ["one", "two"],
        "similarity": ["claims"],
        "max_loss": 0.005,
        "against": "base",
    }
    assert list(record["candidates"]) == ["base", "second", "third"]
    assert record["candidates"]["third"] == {
        "nDCG@10": {"one": 0.6, "two": 0.7},
        "mean nDCG@10": pytest.approx(0.65),
        "AP": {"claims": 0.6},
        "mean AP": 0.6,
        "allowed": False,
    }
    assert record["reference"]["base"]["mean AP"] == 0.7
    manifest = json.loads((output / "manifest.json").read_text())
    assert (manifest["node"], manifest["chosen"], manifest["manifest_of_chosen"]) == (
        "best",
        "second",
        {"node": "second"},
    )
    assert manifest["settings"]["of"] == ["base", "second", "third"]
    assert manifest["inputs"].keys() == {"base", "second", "third"}
    assert str(tmp_path) not in (output / "manifest.json").read_text() + (output / "choice.json").read_text()
    # Chosen again, it is replaced whole; a choice may be chosen from.
    again = tmp_path / "again"
    for benchmark, metric, value in (("one", "nDCG@10", 0.9), ("two", "nDCG@10", 0.9), ("claims", "AP", 0.9)):
        write_metrics(tmp_path / "scores", "best", benchmark, metric, value)
    write_choice([models[0], output], models[0], tmp_path / "scores", SETS, 0.0, again)
    assert json.loads((again / "manifest.json").read_text())["manifest_of_chosen"]["chosen"] == "second"
    assert json.loads((again / "choice.json").read_text())["chosen"] == "best"


def test_where_all_lose_too_much_it_is_said_aloud(models, tmp_path, capsys):
    words = ["choose", *map(str, models[1:]), "--against", str(models[0]), "--scores", str(tmp_path / "scores")]
    words += [
        "--retrieval",
        "one",
        "two",
        "--similarity",
        "claims",
        "--max-loss",
        "0.001",
        "--output",
        str(tmp_path / "best"),
    ]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == "second\n"
    assert (
        "warning: EVERY candidate loses more than 0.001 of base's AP: second, which loses least, is taken" in said.err
    )
    record = json.loads((tmp_path / "best/choice.json").read_text())
    assert record["kept_average_precision"] is False
    assert [row["allowed"] for row in record["candidates"].values()] == [False, False]
    np.testing.assert_array_equal(
        load_file(tmp_path / "best/model.safetensors")["pooler.dense.weight"],
        load_file(models[1] / "model.safetensors")["pooler.dense.weight"],
    )


def test_without_pairs_the_best_found_is_chosen(models, tmp_path, capsys):
    assert (
        write_choice(models, models[0], tmp_path / "scores", Sets(["one", "two"]), 0.0, tmp_path / "best").chosen
        == "third"
    )
    assert "chosen by nDCG@10 alone: development.similarity names no pairs" in capsys.readouterr().err


def test_nothing_is_chosen_by_nothing(models, tmp_path):
    scores, output = tmp_path / "scores", tmp_path / "best"

    def said(match, sets=SETS, candidates=models):
        with pytest.raises(BioHiCLError, match=match):
            write_choice(candidates, models[0], scores, sets, 0.005, output)
        assert not output.exists()

    said("no retrieval benchmark is named", Sets([], ["claims"]))
    said(r"three/metrics.parquet: no such file; evaluate base on the development split", Sets(["one", "three"]))
    said("two candidates have folders of one name", candidates=[models[0], models[0]])
    said("nowhere: no such folder, or no weights in it", candidates=[models[0], models[0].with_name("nowhere")])
    said("has no AP .it needs pairs whose scores are 0 and 1 alone", Sets(["one"], ["two"]))
    write_metrics(scores, "third", "two", "nDCG@10", 0.5, n=3)
    said("two: third was measured on 3 queries or pairs, base on 4")
    write_metrics(scores, "third", "two", "nDCG@10", np.nan)
    said("third/two/metrics.parquet: its nDCG@10 is nan")
    write_metrics(scores, "third", "two", "nDCG@10", None)
    said("third/two/metrics.parquet: holds no scores: two .or third. could not be had or measured")
    write_metrics(scores, "third", "two", "nDCG@10", 0.5)
    # The reference's precision is asked for too, be it no candidate.
    write_metrics(scores, "base", "claims", "AP", None)
    said("base/claims/metrics.parquet: holds no scores", candidates=models[1:])
    (scores / "third/one/metrics.parquet").write_bytes(b"junk")
    said("third/one/metrics.parquet: not a table of metrics", Sets(["one"]))


# --- the table --------------------------------------------------------------------------------------------


def write_units(folder, system, queries, pairs, wanted):
    for benchmark, values in queries.items():
        rows = [
            {"query_id": f"q{n}", "condition": "headline", "metric": "nDCG@10", "value": v}
            for n, v in enumerate(values)
        ]
        rows += [{"query_id": "q0", "condition": "headline", "metric": "MAP", "value": 0.0}]
        write_metrics(folder, system, benchmark, "nDCG@10", float(np.mean(values)), len(values))
        pq.write_table(pa.Table.from_pylist(rows, PER_QUERY), folder / system / benchmark / "per_query.parquet")
    for benchmark, values in pairs.items():
        order = np.argsort(-np.asarray(values), kind="stable")
        hits = np.asarray(wanted)[order]
        precision = float(np.mean((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits == 1]))
        write_metrics(folder, system, benchmark, "AP", precision, len(values))
        ids = [f"p{n}" for n in range(len(values))]
        table = pa.table({"pair_id": ids, "similarity": values, "score": wanted}, schema=PAIR_RUN)
        pq.write_table(table, folder / system / benchmark / "run.parquet")


@pytest.fixture
def measured(tmp_path):
    generator = np.random.default_rng(1)
    wanted = (generator.random(80) < 0.4).astype(float)
    base = {"one": generator.random(60), "two": generator.random(15)}
    better = {name: np.clip(values + generator.normal(0.15, 0.1, len(values)), 0, 1) for name, values in base.items()}
    write_units(tmp_path, "base", base, {"claims": generator.random(80)}, wanted)
    write_units(tmp_path, "better", better, {"claims": generator.random(80)}, wanted)
    return tmp_path, base, better


def test_the_table_has_each_set_the_mean_and_paired_intervals(measured):
    folder, base, better = measured
    table = development_table(folder, {"base": None, "better": "base"}, SETS, draws=2_000, seed=4)
    rows = {(row["system"], row["metric"], row["benchmark"]): row for row in table.to_pylist()}
    assert len(rows) == 2 * 5
    gaps = {name: better[name] - base[name] for name in base}
    mean = rows["better", "nDCG@10", "mean"]
    assert mean["difference"] == pytest.approx(np.mean([gap.mean() for gap in gaps.values()]))
    assert mean["value"] == pytest.approx(np.mean([values.mean() for values in better.values()]))
    # Independently: queries of all sets drawn together, the mean of the sets' means each time.
    generator = np.random.default_rng(0)
    sets, gap = np.repeat([0, 1], [60, 15]), np.concatenate([gaps["one"], gaps["two"]])
    drawn = []
    for _ in range(4_000):
        places = generator.integers(0, 75, 75)
        drawn.append(np.mean([gap[places][sets[places] == number].mean() for number in (0, 1)]))
    np.testing.assert_allclose([mean["low"], mean["high"]], np.percentile(drawn, [2.5, 97.5]), atol=0.006)
    assert 0 < mean["low"] < mean["difference"] < mean["high"]
    single = rows["better", "nDCG@10", "two"]
    assert (single["n"], single["reference"]) == (15, "base")
    assert single["difference"] == pytest.approx(gaps["two"].mean())
    assert rows["base", "nDCG@10", "mean"]["difference"] is None
    precision = rows["better", "AP", "claims"]
    assert precision["difference"] == pytest.approx(precision["value"] - rows["base", "AP", "claims"]["value"])
    assert precision["low"] < precision["high"]
    assert rows["better", "AP", "mean"] == {**precision, "benchmark": "mean"}
    text = development_text(table)
    line = next(line for line in text.splitlines() if line.startswith("better"))
    assert f"{mean['difference']:+.4f} [{mean['low']:+.4f}, {mean['high']:+.4f}]*" in line
    assert text.splitlines()[0].split("  ")[0].startswith("system")
    assert "(t)" not in text
    marked = development_table(folder, {"base": None, "better": "base"}, SETS, 100, trained_on={"better": ["two"]})
    seen = {(row["system"], row["metric"], row["benchmark"]) for row in marked.to_pylist() if row["trained_on"]}
    assert seen == {("better", "nDCG@10", "two"), ("better", "nDCG@10", "mean")}
    assert "trained on that split" in development_text(marked)
    assert "(c)" not in development_text(marked)
    elsewhere = development_table(folder, {"better": "base"}, SETS, 100, trained_on={"better": ["three"]})
    assert "(t)" not in development_text(elsewhere), "no split that is compared by"
    marked = development_table(folder, {"base": None, "better": "base"}, SETS, 100, chosen=["better"])
    assert {row["system"] for row in marked.to_pylist() if row["chosen_on"]} == {"better"}
    lines = {line.split()[0]: line for line in development_text(marked).splitlines() if line.strip()}
    assert "(c)" in lines["better"]
    assert "(c)" not in lines["base"]


def test_the_mean_of_sets_is_a_statistic_like_the_others():
    sets, found, reference = [1, 0, 1, 1, 0], [0.5, 0.2, 0.1, 0.9, 0.4], [0.4, 0.3, 0.1, 0.5, 0.1]
    told = difference(MeanOfSets(sets), found, reference, 500, 1)
    assert told.value == pytest.approx(np.mean([0.3 - 0.2, 0.5 - 1 / 3]))
    swapped = difference(MeanOfSets(sets), reference, found, 500, 1)
    assert (swapped.value, swapped.low, swapped.high, swapped.p) == (-told.value, -told.high, -told.low, told.p)
    # All 32 exchanges, written out.
    gap = np.array(found) - np.array(reference)
    signs = np.array([[1 if number >> unit & 1 else -1 for unit in range(5)] for number in range(32)])
    of_sets = [np.mean((signs * gap)[:, np.array(sets) == number], axis=1) for number in (0, 1)]
    assert told.p == np.mean(np.abs(np.mean(of_sets, axis=0)) >= abs(told.value) - 1e-12)
    # Draws without a unit of one set have no value.
    assert told.left_out > 0


def test_the_table_lacks_nothing_silently(measured):
    folder, *_ = measured
    with pytest.raises(BioHiCLError, match="nothing to compare"):
        development_table(folder, {"better": "base"}, Sets([]))
    with pytest.raises(BioHiCLError, match="other/one/metrics.parquet: no such file"):
        development_table(folder, {"better": "other"}, SETS)
    file = folder / "better/two/per_query.parquet"
    table = pq.read_table(file)
    renamed = [query if query != "q3" else "q99" for query in table["query_id"].to_pylist()]
    pq.write_table(table.set_column(0, "query_id", pa.array(renamed)), file)
    with pytest.raises(BioHiCLError, match="two: two systems were measured on different queries"):
        development_table(folder, {"better": "base"}, SETS, 100)


def test_the_command_writes_and_prints_it(measured, capsys):
    folder, *_ = measured
    words = ["development", "base", "better=base", "--scores", str(folder), "--retrieval", "one", "two"]
    assert main([*words, "--draws", "200", "--output", str(folder / "table.parquet")]) == 0
    assert "to backbone, nDCG@10" in capsys.readouterr().out
    assert set(pq.read_table(folder / "table.parquet")["system"].to_pylist()) == {"base", "better"}
    assert read_scores(folder, "better", Sets(["one"])).precision is None
