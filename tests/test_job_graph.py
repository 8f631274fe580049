"""The graph of rules: what Snakemake's records say, and how it is laid out."""

import json
import os
import random
import shutil
from base64 import urlsafe_b64encode
from collections import Counter

import networkx as nx
import pytest

from biohicl.report.drawings import drawing
from biohicl.report.job_figure import crossings, job_figure, layered
from biohicl.report.job_graph import JobGraph, recorded_graph, recorded_outputs, unfinished_outputs


def record(folder, file, rule, inputs, log=None, **more):
    """As snakemake/persistence/file.py writes it."""
    name = urlsafe_b64encode(file.encode()).decode()
    parts = [name[start : start + 254] for start in range(0, len(name), 254)]
    path = folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rule": rule, "input": inputs, "log": [log] if log else [], **more}))


def test_jobs_are_counted_and_edges_found(tmp_path):
    long = "results/" + "deep/" * 80 + "table.parquet"
    for number in (1, 2):
        for table in ("articles", "deleted"):
            # Two outputs of one job.
            record(tmp_path, f"{table}/{number}", "parse", [f"raw/{number}"], f"logs/parse/{number}.log")
    record(tmp_path, long, "merge", ["articles/1", "articles/2", "deleted/1", "a user's own file"])
    record(tmp_path, "unread", "other", [])
    graph = recorded_graph([long, "articles/1", "unknown"], "page", tmp_path)
    assert graph.jobs == {"merge": 1, "parse": 2, "page": 1}
    assert graph.edges == {("parse", "merge"): 3, ("merge", "page"): 1, ("parse", "page"): 1}
    assert graph.depth == {"parse": 0, "merge": 1, "page": 2}


def test_names_of_outputs_are_read_back(tmp_path):
    names = ["a", "results/ünï (1)~>>>/x.parquet", "results/" + "deep/" * 80 + "table.parquet", "deep/" * 200]
    for name in names:
        record(tmp_path, name, "rule", [])
    (tmp_path / "migration_underway").touch()
    assert sorted(recorded_outputs(tmp_path)) == sorted(names)
    assert list(recorded_outputs(tmp_path / "nowhere")) == []


def made(folder, file, at, recorded_at=None):
    """What a job made at that time, and how Snakemake recorded it; without a time of that: not at all."""
    dated = folder / file / ".snakemake_timestamp" if "." not in file else folder / file
    if at is not None:
        dated.parent.mkdir(parents=True, exist_ok=True)
        dated.touch()
        os.utime(dated, (at, at))
    if recorded_at is not None:
        record(folder / ".snakemake/metadata", file, "rule", [], endtime=recorded_at)


@pytest.mark.parametrize("file", ["results/models/ünï", "results/tables/one.parquet"])
def test_unfinished_outputs_are_kept_until_a_job_has_made_them(tmp_path, file):
    marks = tmp_path / ".snakemake/incomplete"
    assert unfinished_outputs(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []
    # Made once, and killed when it was made again.
    made(tmp_path, file, 1000.5, 1000.5)
    record(marks, file, "rule", [])
    assert unfinished_outputs(tmp_path) == {file}
    # Tried again, in vain: what was there is removed, Snakemake forgets that it began, and records the failed try.
    shutil.rmtree(marks)
    shutil.rmtree(tmp_path / "results")
    made(tmp_path, file, None, 1060.25)
    assert unfinished_outputs(tmp_path) == {file}
    assert list(recorded_outputs(marks)) == [file]
    # Then the orphan ends; of its folder Snakemake knows nothing.
    made(tmp_path, file, 1090.75)
    assert unfinished_outputs(tmp_path) == {file}
    if "." not in file:
        (tmp_path / file / ".snakemake_timestamp").unlink()
        assert unfinished_outputs(tmp_path) == {file}
    # And again; then made, by a job that Snakemake saw the end of.
    shutil.rmtree(marks)
    assert unfinished_outputs(tmp_path) == {file}
    shutil.rmtree(marks)
    made(tmp_path, file, 1120.123456, 1120.123456)
    assert unfinished_outputs(tmp_path) == set()
    assert unfinished_outputs(tmp_path) == set()
    assert not marks.exists()


@pytest.mark.parametrize("content", ["", "{broken", "7", '{"a": 1}'])
def test_a_damaged_list_of_unfinished_outputs_is_made_anew(tmp_path, content):
    record(tmp_path / ".snakemake/incomplete", "one", "parse", [])
    (tmp_path / ".snakemake/unfinished.json").write_text(content)
    assert "one" in unfinished_outputs(tmp_path)
    assert "one" in json.loads((tmp_path / ".snakemake/unfinished.json").read_text())


def test_without_records_there_is_no_graph(tmp_path):
    (tmp_path / urlsafe_b64encode(b"x").decode()).write_text("{broken")
    (tmp_path / urlsafe_b64encode(b"y").decode()).write_text("[]")
    assert recorded_graph(["x", "y", "z"], "page", tmp_path).jobs == {}
    assert recorded_graph(["x"], "page", tmp_path / "nowhere").jobs == {}


def test_rules_that_stand_above_each_other_are_drawn_with_an_edge_back(tmp_path):
    """A model is trained, scored and chosen; another one is trained from it."""
    record(tmp_path, "one", "train", ["texts"])
    record(tmp_path, "texts", "select", [])
    record(tmp_path, "scores", "score", ["one"])
    record(tmp_path, "chosen", "choose", ["scores", "one"])
    record(tmp_path, "two", "train", ["chosen", "texts"])
    graph = recorded_graph(["two", "chosen"], "page", tmp_path)
    layers, _, back = layered(graph)
    assert back == [("choose", "train")]
    rules = [sorted(node for node in layer if isinstance(node, str)) for layer in layers]
    assert rules == [["select"], ["train"], ["score"], ["choose"], ["page"]]
    assert job_figure(graph).axes
    # A teacher's vectors go on to a training alone, however few are made: no rule is left without a reader.
    record(tmp_path, "vectors", "encode", ["one"])
    record(tmp_path, "two", "train", ["vectors", "texts"])
    assert layered(recorded_graph(["two", "one"], "page", tmp_path))[2] == [("train", "encode")]


@pytest.mark.parametrize("seed", range(12))
def test_every_edge_leads_down_and_nothing_overlaps(seed):
    generator = random.Random(seed)
    rules = [f"rule_{number}" for number in range(generator.randint(1, 30))]
    edges = {
        (one, other)
        for place, other in enumerate(rules)
        for one in generator.sample(rules[:place], min(place, generator.randint(0, 3)))
    }
    graph = JobGraph(dict.fromkeys(rules, 2), Counter(edges), {rule: place for place, rule in enumerate(rules)})
    layers, steps, back = layered(graph)
    assert back == []
    row = {node: number for number, layer in enumerate(layers) for node in layer}
    assert {node for node in row if isinstance(node, str)} == set(rules)
    assert all(row[other] == row[one] + 1 for one, other in steps)
    # Whoever follows the pieces comes from each rule to all that read it, and to no others.
    drawn = nx.DiGraph(steps)
    drawn.add_nodes_from(rules)
    whole = nx.DiGraph(edges)
    whole.add_nodes_from(rules)
    for rule in rules:
        assert {node for node in nx.descendants(drawn, rule) if isinstance(node, str)} == nx.descendants(whole, rule)
    shuffled = [crossings([generator.sample(layer, len(layer)) for layer in layers], steps) for _ in range(20)]
    assert crossings(layers, steps) <= sum(shuffled) / len(shuffled)
    boxes = [patch.get_window_extent() for patch in job_figure(graph).axes[0].patches]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_figures_say_what_is_seen_and_keep_their_ids_apart():
    graph = JobGraph({"a": 1, "b": 1}, Counter([("a", "b")]), {"a": 0, "b": 1})
    one, other = (drawing(name, job_figure(graph), 'a "graph" of <two>') for name in ("one", "other"))
    assert 'aria-label="a &quot;graph&quot; of &lt;two&gt;"' in one.svg
    assert one.svg.startswith('<svg role="img"')
    assert 'id="one-figure_1"' in one.svg
    assert 'id="other-figure_1"' in other.svg
    assert one.svg.replace("one-", "other-") == other.svg
