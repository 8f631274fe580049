"""All systems on one benchmark: intervals, tests, leaked documents, and the score table made of them."""

import json

import numpy as np
import polars as pl
import pytest

from benchmark_folders import BLOCK, simple_folder
from biohicl.encoder.fetching import UNAVAILABLE
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import bring_benchmark, read_benchmark
from biohicl.evaluation.compare import Evaluated, compare
from biohicl.evaluation.evaluate import naming_of, write_pair_scores, write_run_scores
from biohicl.evaluation.retrieval import both_ways
from biohicl.report.summary import About, score_rows, score_text, write_summary

QUERIES, DOCUMENTS = 40, 60


@pytest.fixture
def benchmark(tmp_path):
    """Query n's relevant document is n; those of the first ten have another one, 50 + n."""
    documents = {f"d{n}": f"text {n}" for n in range(DOCUMENTS)}
    qrels = [(f"q{n}", f"d{n}", 1) for n in range(QUERIES)] + [(f"q{n}", f"d{50 + n}", 1) for n in range(10)]
    source = simple_folder(tmp_path / "source", documents, {f"q{n}": "x" for n in range(QUERIES)}, qrels)
    bring_benchmark("bench", BLOCK | {"path": str(source)}, tmp_path / "bench", tmp_path / "lock.json")
    return tmp_path / "bench"


def run_of(rank, seed=0):
    """Query n's relevant document stands at rank ``rank(n)``; the others as they are drawn."""
    draw = np.random.default_rng(seed)
    run = {}
    for n in range(QUERIES):
        others = [f"d{d}" for d in draw.permutation(DOCUMENTS) if d not in (n, 50 + n)]
        others.insert(rank(n) - 1, f"d{n}")
        run[f"q{n}"] = [(document, 100.0 - place) for place, document in enumerate(others)]
    return run


def evaluated(folder, name, benchmark, run):
    output = folder / "evaluation" / name / "bench"
    naming = naming_of(name, benchmark, "test")
    write_run_scores(both_ways([run], 100), read_benchmark(benchmark), naming, output, index_bytes=1536.0)
    return output


@pytest.fixture
def compared(tmp_path, benchmark):
    """BM25, a backbone, a model better than it on every query, one that is like it, and a compressed model."""
    runs = {
        "bm25": run_of(lambda n: 1 + n % 3, 1),
        "back": run_of(lambda n: 3 + n % 2),
        "good": run_of(lambda n: 1 + (n % 4 == 0)),
        "same": run_of(lambda n: 3 + n % 2, 5),
        "good.int8": run_of(lambda n: 1 + (n % 4 == 0)) | {"q1": run_of(lambda n: 3)["q1"]},
    }
    folders = {name: evaluated(tmp_path, name, benchmark, run) for name, run in runs.items()}
    systems = {
        "bm25": Evaluated(folders["bm25"]),
        "back": Evaluated(folders["back"]),
        "good": Evaluated(folders["good"], "back", selections=["chosen"]),
        "same": Evaluated(folders["same"], "back", selections=["chosen"]),
        "good.int8": Evaluated(folders["good.int8"], "good", "back", of="good"),
    }
    # What leaks: the only relevant document of q20, and one of two of q3.
    overlap = pl.DataFrame({"pmid": [1, 2, 2], "document_id": ["d20", "d3", "d3"]})
    overlap.write_parquet(tmp_path / "overlap.parquet")
    together = {"good": ["good", "same"], "gone": ["gone", "same"]}
    compare(benchmark, systems, {"chosen": tmp_path / "overlap.parquet"}, tmp_path / "compared", 500, 1, together)
    return tmp_path / "compared"


def rows_of(folder, table, **wanted):
    return pl.read_parquet(folder / f"{table}.parquet").filter(**wanted)


def test_every_score_has_its_interval(compared):
    rows = rows_of(compared, "estimates", condition="headline")
    assert rows.height == 5 * 6
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    good = rows.row(by_predicate=(pl.col("system") == "good") & (pl.col("metric") == "MRR@10"), named=True)
    assert good["value"] == pytest.approx(0.875)
    assert good["low"] < 0.875 < good["high"]


def test_systems_are_compared_with_their_reference_and_bm25(compared):
    rows = rows_of(compared, "differences", condition="headline", metric="MRR@10")
    assert set(rows.select("system", "reference").iter_rows()) == {
        ("back", "bm25"),
        ("good", "back"),
        ("good", "bm25"),
        ("same", "back"),
        ("same", "bm25"),
        ("good.int8", "good"),
        ("good.int8", "back"),
        ("good.int8", "bm25"),
    }
    told = {(row["system"], row["reference"]): row for row in rows.iter_rows(named=True)}
    assert told["good", "back"]["difference"] == pytest.approx(0.875 - (1 / 3 + 1 / 4) / 2)
    assert told["good", "back"]["low"] > 0 and told["good", "back"]["p"] == pytest.approx(1 / 501)
    assert (told["same", "back"]["difference"], told["same", "back"]["p"]) == (0, 1)


def test_scores_without_leaked_documents_by_hand(compared):
    """q20 has no relevant document left and is not counted; of q3 d53 is left, which no run has."""
    rows = rows_of(compared, "estimates", condition="without documents of chosen")
    assert set(rows["system"]) == {"bm25", "back", "good", "same"}
    assert set(rows["n"]) == {QUERIES - 1}
    good = rows.row(by_predicate=(pl.col("system") == "good") & (pl.col("metric") == "MRR@10"), named=True)
    whole = [1 / (1 + (n % 4 == 0)) for n in range(QUERIES) if n not in (3, 20)]
    # A leaked document that stood above the relevant one is taken away too, which then moves up.
    run = run_of(lambda n: 1 + (n % 4 == 0))
    moved = sum(1 / 2 for n in range(0, QUERIES, 4) if n != 20 and run[f"q{n}"][0][0] in ("d20", "d3"))
    assert good["value"] == pytest.approx((sum(whole) + moved) / 39)
    told = rows_of(compared, "differences", condition="without documents of chosen", system="good", reference="back")
    assert told.height == 6


def test_scores_without_queries_that_were_trained_on(tmp_path, benchmark):
    """Labelled pairs that hold a query of the benchmark, and no document."""
    runs = {"back": run_of(lambda n: 3), "good": run_of(lambda n: 1 if n == 5 else 2)}
    folders = {name: evaluated(tmp_path, name, benchmark, run) for name, run in runs.items()}
    systems = {"back": Evaluated(folders["back"]), "good": Evaluated(folders["good"], "back", selections=["mine"])}
    rows = {"document_id": [None, None], "query_id": ["q5", "q5"], "reason": ["query"] * 2}
    pl.DataFrame(rows, {"document_id": pl.String, "query_id": pl.String, "reason": pl.String}).write_parquet(
        tmp_path / "overlap.parquet"
    )
    compare(benchmark, systems, {"mine": tmp_path / "overlap.parquet"}, tmp_path / "compared", 200, 1)
    table = pl.read_parquet(tmp_path / "compared/estimates.parquet").filter(system="good", metric="MRR@10")
    found = {row["condition"]: (row["n"], row["value"]) for row in table.iter_rows(named=True)}
    assert found["headline"] == (QUERIES, pytest.approx((QUERIES - 1) / 2 / QUERIES + 1 / QUERIES))
    assert found["without documents and queries of mine"] == (QUERIES - 1, pytest.approx(0.5))


def test_what_compression_changes_in_the_first_ten(compared):
    (row,) = pl.read_parquet(compared / "rank_changes.parquet").to_dicts()
    assert (row["system"], row["reference"], row["queries"]) == ("good.int8", "good", QUERIES)
    assert (row["same_first"], row["same_order"]) == (QUERIES - 1, QUERIES - 1)
    assert row["same_ten"] >= QUERIES - 1
    assert 0.9 < row["overlap_of_ten"] <= 1


def test_pairs_are_compared_without_leaked_sentences_too(tmp_path):
    draw = np.random.default_rng(0)
    scores = draw.integers(0, 5, 50).astype(float)
    rows = [{"id": str(n), "sentence1": "a", "sentence2": "b", "score": s} for n, s in enumerate(scores)]
    (tmp_path / "source").mkdir()
    (tmp_path / "source/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    block = BLOCK | {"kind": "similarity", "layout": "pairs", "path": str(tmp_path / "source")}
    bring_benchmark("bench", block, tmp_path / "bench", tmp_path / "lock.json")
    content = read_benchmark(tmp_path / "bench")
    found = {"back": draw.random(50), "good": scores + draw.random(50) / 10}
    folders = {}
    for name, similarity in found.items():
        folders[name] = tmp_path / name
        write_pair_scores(
            similarity.astype(np.float32), content, naming_of(name, tmp_path / "bench", "test"), folders[name]
        )
    systems = {"back": Evaluated(folders["back"]), "good": Evaluated(folders["good"], "back", selections=["chosen"])}
    pl.DataFrame({"pmid": [1], "document_id": ["7/2"]}).write_parquet(tmp_path / "overlap.parquet")
    compare(tmp_path / "bench", systems, {"chosen": tmp_path / "overlap.parquet"}, tmp_path / "compared", 200, 1)
    estimates = pl.read_parquet(tmp_path / "compared/estimates.parquet")
    counts = dict(estimates.filter(system="good", metric="Spearman").select("condition", "n").iter_rows())
    assert counts == {"headline": 50, "without documents of chosen": 49}
    (told,) = rows_of(tmp_path / "compared", "differences", condition="headline", metric="Spearman").to_dicts()
    assert (told["system"], told["reference"]) == ("good", "back") and told["p"] < 0.01


def test_what_seeds_give_together_stands_against_their_reference(compared):
    """Two that lie far apart: their mean, and an interval that knows how little two seeds tell of others."""
    rows = {row["metric"]: row for row in pl.read_parquet(compared / "seeds.parquet").to_dicts()}
    assert {row["recipe"] for row in rows.values()} == {"good"}, "of one system alone nothing is said"
    assert {"nDCG@10", "MRR@10"} <= rows.keys()
    for metric, row in rows.items():
        alone = {
            system: rows_of(compared, "estimates", condition="headline", metric=metric, system=system)["value"][0]
            for system in ("good", "same", "back")
        }
        gains = [alone["good"] - alone["back"], alone["same"] - alone["back"]]
        assert row["difference"] == pytest.approx(np.mean(gains))
        assert row["of_seeds"] == pytest.approx(np.std(gains, ddof=1) / 2**0.5)
        assert row["low"] <= row["difference"] <= row["high"]
    # Student's t with one degree of freedom, or hardly more.
    wide = rows["MRR@10"]
    assert (wide["high"] - wide["difference"]) / wide["of_seeds"] > 8
    assert wide["low"] < 0 < wide["high"] < wide["difference"] + wide["detectable"]


# --- the score table --------------------------------------------------------------------------------------------------

ABOUT = {
    "systems": {
        "bm25": {"role": "lexical", "against": None},
        "back": {"role": "backbone", "against": None},
        "good": {"role": "model", "against": "back"},
        "same": {"role": "model", "against": "back"},
        "good.int8": {"role": "variant", "against": "good"},
        "peer": {"role": "peer", "against": "back"},
    },
    "benchmarks": {
        "bench": {"headline": "MRR@10", "texts": "as they are"},
        "lost": {"headline": "nDCG@10", "texts": None},
    },
    "seeds": {"good": ["good", "same"]},
}


@pytest.fixture
def summed(tmp_path, compared, benchmark):
    lost = bring_benchmark("lost", BLOCK | {"path": "nowhere"}, tmp_path / "lost", tmp_path / "lock.json")
    assert not lost["available"]
    empty = tmp_path / "evaluation/good/lost"
    write_run_scores([], read_benchmark(tmp_path / "lost"), naming_of("good", tmp_path / "lost", "test"), empty)
    compare(tmp_path / "lost", {"good": Evaluated(empty, "back")}, {}, tmp_path / "compared_lost", 200, 1)
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / UNAVAILABLE).write_text('{"reason": "no network"}')
    metrics = sorted((tmp_path / "evaluation").glob("*/*/metrics.parquet"))
    records = {"bench": benchmark / "benchmark.json", "lost": tmp_path / "lost/benchmark.json"}
    comparisons = [compared, tmp_path / "compared_lost"]
    write_summary(metrics, comparisons, About(**ABOUT), records, {"peer": tmp_path / "peer"}, tmp_path / "results")
    return tmp_path / "results/summary.parquet"


def test_marks_stand_where_a_difference_is_significant_and_nowhere_else(summed):
    header, rows = score_rows(summed)
    assert header == ["system", "role", "bench MRR@10"]
    cells = {row[0]: row[2] for row in rows}
    assert list(cells) == ["bm25", "back", "good", "same"]
    assert cells["bm25"].endswith("]")
    assert cells["back"].endswith("▽")
    assert cells["good"].split("] ")[1] == "▲△"
    assert cells["same"].split("] ")[1] == "▽"
    assert cells["good"].startswith("0.8750 [0.")


def test_what_was_trained_on_a_benchmarks_queries_is_marked(tmp_path, summed, compared):
    assert "trained on this benchmark" not in score_text(summed)
    metrics = sorted((tmp_path / "evaluation").glob("*/bench/metrics.parquet"))
    systems = ABOUT["systems"] | {"same": ABOUT["systems"]["same"] | {"seen": ["bench"]}}
    write_summary(metrics, [compared], About(**ABOUT | {"systems": systems}), {}, {}, tmp_path / "marked")
    cells = {row[0]: row[2] for row in score_rows(tmp_path / "marked/summary.parquet")[1]}
    assert cells["same"].split("] ")[1] == "*▽"
    assert "*" not in cells["good"]
    assert "*: trained on this benchmark's own training queries" in score_text(tmp_path / "marked/summary.parquet")


def test_what_was_left_out_is_told_with_the_reason(summed):
    told = score_text(summed)
    assert "left out: benchmark lost: nowhere: no such folder" in told
    assert "left out: system peer: no network" in told
    assert "good, 2 seeds, bench MRR@10: mean " in told
    seeds = pl.read_parquet(summed.with_name("seeds.parquet")).filter(metric="MRR@10").to_dicts()
    assert seeds[0]["mean"] == pytest.approx((0.875 + (1 / 3 + 1 / 4) / 2) / 2)
    assert seeds[0]["models"] == ["good", "same"]
    assert seeds[0]["reference"] == "back"
    assert f"; against back {seeds[0]['difference']:+.4f} [{seeds[0]['low']:+.4f}, {seeds[0]['high']:+.4f}]" in told


def test_what_smaller_embeddings_cost_stands_below_the_table(summed):
    """The compressed model has one query's relevant document at rank 3 instead of 1."""
    (row,) = pl.read_parquet(summed.with_name("variants.parquet")).to_dicts()
    assert (row["system"], row["reference"], row["metric"]) == ("good.int8", "good", "MRR@10")
    assert row["difference"] == pytest.approx((1 / 3 - 1) / QUERIES)
    assert row["low"] <= row["difference"] <= row["high"]
    assert (row["queries"], row["same_first"]) == (QUERIES, QUERIES - 1)
    assert "39 of 40" in score_text(summed)


def test_holm_counts_the_benchmarks_and_each_metric_by_itself(tmp_path, compared, summed):
    """With a second benchmark the smaller p-value doubles."""
    table = pl.read_parquet(summed).filter(system="good", metric="MRR@10", condition="headline")
    assert table["reference_p_holm"][0] == table["reference_p"][0]
    again = tmp_path / "again"
    again.mkdir()
    for name in ("estimates", "differences", "rank_changes", "seeds"):
        pl.read_parquet(compared / f"{name}.parquet").with_columns(benchmark=pl.lit("twin")).write_parquet(
            again / f"{name}.parquet"
        )
    metrics = sorted((tmp_path / "evaluation").glob("*/bench/metrics.parquet"))
    twins = []
    for file in metrics:
        twin = tmp_path / f"twin-{file.parent.parent.name}.parquet"
        pl.read_parquet(file).with_columns(benchmark=pl.lit("twin")).write_parquet(twin)
        twins.append(twin)
    about = ABOUT | {"benchmarks": ABOUT["benchmarks"] | {"twin": {"headline": "MAP", "texts": None}}}
    write_summary([*metrics, *twins], [compared, again], About(**about), {}, {}, tmp_path / "two")
    both = pl.read_parquet(tmp_path / "two/summary.parquet").filter(system="good", condition="headline")
    headline = both.filter("headline")
    assert headline.select("benchmark", "metric").rows() == [("bench", "MRR@10"), ("twin", "MAP")]
    assert headline["reference_p_holm"].to_list() == pytest.approx([2 * p for p in headline["reference_p"]])
    # nDCG@10 is in neither's table: a family of its own over both benchmarks.
    others = both.filter(metric="nDCG@10")
    assert others["reference_p_holm"].to_list() == pytest.approx([2 * p for p in others["reference_p"]])


def test_a_system_without_a_role_is_an_error(tmp_path, compared):
    metrics = sorted((tmp_path / "evaluation").glob("*/bench/metrics.parquet"))
    about = ABOUT | {"systems": {"bm25": ABOUT["systems"]["bm25"]}}
    with pytest.raises(BioHiCLError, match="no role is given for back, good, good.int8, same"):
        write_summary(metrics, [compared], About(**about), {}, {}, tmp_path / "results")
    with pytest.raises(BioHiCLError, match="no metrics files"):
        write_summary([], [], About(**ABOUT), {}, {}, tmp_path / "results")
