"""The recipes of config.yaml, run on the sample: each phase by itself, and nothing twice."""

import itertools
import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from biohicl.storage import read_json
from biohicl.training.rows import KEYS
from conftest import ROOT, Workflow, overlay
from test_workflow import planned_inputs, what_scores

TRAINED = {
    "start": "sample-bert",
    "max_length": 48,
    "trainable": {"rank": 4, "alpha": 8, "targets": ["query", "value"]},
    "schedule": {"max_steps": 3, "batch_size": 16},
    "development": {"citations": 20, "min_mrr": None},
}


def recipes(folder):
    """An overlay with every recipe of config.yaml on the sample, small; and the pairs that choose."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())
    nodes = shipped["nodes"]
    made = {}
    for name, node in nodes.items():
        if "like" in node:
            # It follows what is said of the other.
            continue
        if node["step"] == "train" and name not in ("biohicl-base", "biohicl-large", "default"):
            made[name] = json.loads(json.dumps(TRAINED))
            if node["start"] in nodes:
                del made[name]["start"]
        elif node["step"] == "encode":
            made[name] = {"max_length": 48} | ({} if node["encoder"] in nodes else {"encoder": "sample-bert"})
    made["bmretriever"]["schedule"]["batch_size"] = 4
    # One run of three: what is averaged is tested elsewhere.
    made["biolord"] = {"of": ["biolord-1.distilled"]}
    made["best"] = {"of": ["best-1"], "with": "sample-bert", "share": [0.5, 1.0]}
    pairs = folder / "pairs"
    pairs.mkdir()
    lines = (folder / "resources/sample/benchmarks/sample-pairs/pairs.jsonl").read_text().splitlines()
    # Right or wrong, as pairs that choose are.
    whole = [json.loads(line) for line in lines[:80]]
    rows = [json.dumps({**row, "score": float(row["score"] >= 2)}) for row in whole]
    (pairs / "pairs.jsonl").write_text("\n".join(rows) + "\n")
    return {
        "benchmarks": {
            "sample-retrieval": {"training": "dev"},
            "sample-dev-pairs": {"kind": "similarity", "path": str(pairs)},
        },
        "training": {
            "concepts": {"concepts": {"descriptors": 120}},
            "pairs": {"labelled": {"benchmarks": ["sample-retrieval"]}},
        },
        "nodes": made,
        "models": ["best"],
        "development": {"retrieval": ["sample-retrieval"], "similarity": ["sample-dev-pairs"], "max_loss": 1.0},
        "ablations": {
            "of": "default",
            "with": {"schedule": {"epochs": 1, "max_steps": 3}},
            "factors": {
                **dict.fromkeys(shipped["ablations"]["factors"]),
                "tree": {"flat": {"labels": {"similarity": "flat_cosine"}}},
            },
            "seeds": [1],
        },
    }


def test_the_recipes_and_their_ablations_see_nothing_that_scores(tmp_path, sample):
    """Concepts, pairs, hard negatives, teachers, the choice of a share: all that stands above the models of each."""
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    workflow = Workflow(tmp_path, overlay(tmp_path, recipes(tmp_path)))
    models = [f"results/models/{name}" for name in ("biohicl-base", "biolord", "bmretriever", "default", "best")]
    jobs = planned_inputs(workflow, *models, "ablations")
    rules = {rule for rule, _ in jobs}
    assert {"select_concepts", "select_pairs", "negatives", "synthesize", "encode_node", "select_node"} <= rules
    read = {name for _, inputs in jobs for name in inputs}
    assert "resources/benchmarks/sample-retrieval/training/queries.parquet" in read
    assert "results/development/best.0.5/sample-dev-pairs/metrics.parquet" in read
    assert any(name.startswith("results/development/ablation.tree.flat.1/") for name in read)
    assert what_scores(jobs) == set()


@pytest.mark.long(240)
def test_the_recipes_run_each_phase_by_itself_and_nothing_twice(copied):
    folder = copied.folder
    content = recipes(folder)
    overlays = [overlay(folder, content)]
    models = folder / "results/models"
    targets = ["results/models/biolord", "results/models/bmretriever", "development", "ablations"]
    before = (models / "default/model.safetensors").stat().st_mtime_ns
    copied.snakemake(*targets, overlays=overlays, timeout=900)
    assert (models / "default/model.safetensors").stat().st_mtime_ns == before, "it was there"
    for name in ("biolord", "bmretriever", "best"):
        assert read_json(models / name / "manifest.json")["node"] == name
    phases = [read_json(models / f"bmretriever{phase}/manifest.json") for phase in (".pretrained", ".synthetic", "")]
    assert [phase["settings"]["selection"] for phase in phases] == ["abstracts", "abstracts", "labelled"]
    for first, second in itertools.pairwise(phases):
        assert first["node"] == second["settings"]["start"]
        assert first["inputs"]["start"] != second["inputs"]["start"]
    distilled = read_json(models / "biolord-1.distilled/manifest.json")
    assert {"teacher", "tokens"} <= distilled["inputs"].keys()
    assert "labels" not in distilled["inputs"] or "labels" not in distilled["settings"]
    choice = read_json(models / "best/choice.json")
    assert choice["chosen"] in ("best.0.5", "best.1")
    # The chosen model is a candidate that was read already.
    for text in ("documents", "development"):
        record = f"sample-retrieval/{text}.json"
        vectors = folder / "results/vectors"
        assert read_json(vectors / "best" / record) == read_json(vectors / choice["chosen"] / record)
        log = (folder / f"logs/embed/best/sample-retrieval/{text}.log").read_text()
        assert f"copied from results/vectors/{choice['chosen']}/" in log
    shown = pl.read_parquet(folder / "results/development.parquet")
    assert {"sample-bert", "best", "best.1"} <= set(shown["system"])
    table = pl.read_parquet(folder / "results/ablations/ablations.parquet")
    assert table["cell"].to_list() == ["base", "tree.flat"]
    assert np.isfinite(table["value"][1])
    assert copied.jobs(*targets, overlays=overlays) == {}, "nothing twice"
    # The last phase alone.
    content["nodes"]["bmretriever"]["seed"] = 7
    assert copied.jobs(*targets, overlays=[overlay(folder, content)]) == {"train_node": 1}
    del content["nodes"]["bmretriever"]["seed"]
    # What a teacher's vectors are computed in: they are made anew, and what learns from them.
    bfloat16 = overlay(folder, {**content, "evaluation": {"precision": "bfloat16"}})
    planned = copied.jobs("results/models/biolord", overlays=[bfloat16])
    assert (planned["encode_node"], planned["train_node"]) == (2, 1)
    # A level more trains itself; a finished cell stays.
    content["ablations"]["factors"]["term"] = {"nothing": {"losses": {"soft_targets": None}}}
    planned = copied.jobs("ablations", overlays=[overlay(folder, content)])
    assert (planned["train_node"], planned["ablations"], planned["embed_documents"]) == (1, 1, 1)


@pytest.mark.long(20)
def test_every_table_of_a_recipe_has_a_rule(sample, tmp_path):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    (tmp_path / "mine.jsonl").write_text('{"query": "q", "text": "t"}\n')
    block = {"kind": "retrieval", "path": "resources/sample/benchmarks/sample-retrieval"}
    config = {
        "backbones": {"asking": {"path": "resources/sample/backbone", "query_instruction": "{task}: "}},
        "benchmarks": {"trainable": block | {"training": "dev"}},
        "training": {
            "concepts": {"mesh": {}},
            "pairs": {"asked": {"benchmarks": ["trainable"], "files": ["mine.jsonl"]}},
        },
    }
    workflow = Workflow(tmp_path, overlay(tmp_path, config))
    # What needs no listing of PubMed is made in earnest.
    workflow.snakemake(
        "results/training/negatives/asked.parquet",
        "results/training/query_tokens/asking-32/asked.parquet",
        "results/training/overlap/asked/sample-retrieval.parquet",
        "results/training/overlap/asked/sample-pairs.parquet",
    )
    # One benchmark under two names: as the source of labelled documents, and as one that scores.
    shared = pl.read_parquet(tmp_path / "results/training/overlap/asked/sample-retrieval.parquet")
    assert (shared["source"] == "trainable").all()
    assert shared["document_id"].n_unique() > 10
    sentences = pl.read_parquet(tmp_path / "results/training/overlap/asked/sample-pairs.parquet")
    assert set(sentences["reason"]) <= {"sentence", "near duplicate", "title"}, "pairs of sentences have no queries"
    assert (tmp_path / "resources/benchmarks/trainable/training/qrels.parquet").is_file()
    tokens = pq.read_schema(tmp_path / "results/training/query_tokens/asking-32/asked.parquet")
    assert tokens.names == [*KEYS["pairs"].names, "kinds", "queries", "starts", "ends"]
    kinds = ("queries", "negatives", "labels", "query_tokens/sample-bert-96", "tokens/asking-32")
    targets = [f"results/training/{kind}/{name}.parquet" for kind in kinds for name in ("mesh", "abstracts")]
    planned = workflow.jobs(*targets)
    expected = {"select_concepts": 1, "select": 1, "synthesize": 1, "labels": 2, "negatives": 2, "query_tokens": 2}
    assert expected.items() <= planned.items()
    assert planned["tokens_for_task"] == 2
    assert "select_pairs" not in planned
