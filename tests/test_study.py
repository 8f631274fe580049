"""The label study: pairs, AUC and intervals against definitions, and the whole of it on the sample."""

import json
import random
import subprocess
from itertools import product

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import biohicl.study.gathering
from biohicl.errors import BioHiCLError
from biohicl.evaluation.bootstrap import compare
from biohicl.mesh.hierarchy import hierarchy_rows, position_forest
from biohicl.mesh.nodes import Nodes, check_tags
from biohicl.mesh.schema import HIERARCHY
from biohicl.pubmed.schema import ARTICLES
from biohicl.report.views import views
from biohicl.study.auc import auc, auc_of_rows
from biohicl.study.combinations import combinations
from biohicl.study.evidence import all_evidence
from biohicl.study.gathering import PARTNERS, gather
from biohicl.study.label_study import SCREENING
from biohicl.study.screening import read_screening
from biohicl.study.text import undefeated
from conftest import ROOT, Workflow
from label_reference import Reference

few = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8)


@settings(deadline=None)
@given(related=few, unrelated=few)
def test_auc_is_the_share_of_pairs_in_the_right_order(related, unrelated):
    wins = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in product(related, unrelated)]
    assert auc(np.array(related), np.array(unrelated)) == pytest.approx(sum(wins) / len(wins))


def test_auc_of_rows_looks_at_the_masked_entries_only():
    similarity = np.array([[0.9, 0.1, 0.5, 7.0], [0.2, 0.2, 0.2, 7.0]])
    related = np.array([[True, False, False, False], [True, False, False, False]])
    unrelated = np.array([[False, True, True, False], [False, True, True, False]])
    assert auc_of_rows(similarity, related, unrelated).tolist() == [1.0, 0.5]
    assert np.isnan(auc(np.array([1.0]), np.array([])))


# --- intervals --------------------------------------------------------------------------------------


def test_intervals_of_many_units_are_those_of_the_normal_distribution():
    values = np.random.default_rng(1).normal([[0.5, 0.6]], 0.1, size=(400, 2))
    found = compare(values, 4000, seed=2)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    np.testing.assert_allclose(found.low, values.mean(axis=0) - 1.96 * error, atol=8e-4)
    np.testing.assert_allclose(found.high, values.mean(axis=0) + 1.96 * error, atol=8e-4)
    difference = values[:, 1] - values[:, 0]
    of_difference = difference.std(ddof=1) / np.sqrt(len(values))
    assert found.behind_low[0] == pytest.approx(difference.mean() - 1.96 * of_difference, abs=1e-3)
    assert found.as_good.tolist() == [False, True]
    assert (found.ahead[1], found.ahead_low[1], found.ahead_high[1]) == (
        found.behind[0],
        found.behind_low[0],
        found.behind_high[0],
    )


def test_differences_are_taken_on_the_same_units():
    """A system that is always a little behind is told apart, however much the units differ."""
    units = np.random.default_rng(1).uniform(0, 1, size=(13, 1))
    found = compare(np.hstack([units, units - 0.01, units]), 2000, seed=1)
    assert found.high[0] - found.low[0] > 0.2
    np.testing.assert_allclose([found.behind_low[1], found.behind_high[1]], 0.01)
    np.testing.assert_allclose([found.behind_low[2], found.behind_high[2]], 0, atol=1e-12)
    assert found.as_good.tolist() == [True, False, True]


def test_units_of_a_cluster_are_drawn_together():
    """Each unit five times over says no more than once."""
    once = np.random.default_rng(3).normal([[0.5, 0.53]], 0.05, size=(30, 2))
    alone = compare(once, 3000, seed=1)
    many = compare(np.repeat(once, 5, axis=0), 3000, seed=1, clusters=np.repeat(np.arange(30), 5))
    np.testing.assert_allclose([many.low, many.high], [alone.low, alone.high], atol=1e-9)
    assert (many.as_good == alone.as_good).all()
    naive = compare(np.repeat(once, 5, axis=0), 3000, seed=1)
    assert naive.high[0] - naive.low[0] < 0.6 * (alone.high[0] - alone.low[0])


@pytest.mark.parametrize("units", [13, 60])
def test_of_equal_systems_few_families_are_told_apart(units):
    """Forty systems that are equal, and alike: at most some 5 % of studies may call any of them worse."""
    draw = np.random.default_rng(units)
    studies, wrong = 80, 0
    for number in range(studies):
        shared = draw.normal(0.7, 0.05, size=(units, 1))
        values = shared + draw.normal(0, 0.01, size=(units, 40))
        wrong += not compare(values, 300, seed=number).as_good.all()
    # Binomial: more than 10 of 80 at 5 % has a chance below .2 %.
    assert wrong <= 10


def test_the_same_seed_draws_the_same_and_one_unit_tells_nothing():
    values = np.random.default_rng(1).uniform(size=(20, 3))
    one, again, other = (compare(values, 1500, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.low, again.low)
    assert (one.low != other.low).any()
    assert np.isnan(compare(values[:1], 100, seed=1).low).all()


# --- evidence ---------------------------------------------------------------------------------------

UIS = ["D000001", "D000002", "D000003"]
PAIRS = [("D000001", "A01"), ("D000002", "A01.001"), ("D000003", "B01")]


def hierarchy():
    return pa.Table.from_pylist(hierarchy_rows(dict.fromkeys(UIS, "x"), position_forest(PAIRS)), HIERARCHY)


def release_of(folder, citations):
    """A training release of two files; ``citations``: pmid to (UIs, references, PMIDs it comments on)."""
    names = ["pubmed99n0001", "pubmed99n0002"]
    columns = ["pmid", "version", "position", "mesh_headings", "references", "comments_corrections"]
    schema = pa.schema([ARTICLES.field(name) for name in columns])
    places = []
    for number, name in enumerate(names):
        rows = []
        for position, pmid in enumerate(sorted(citations)[number::2]):
            uis, references, commented = citations[pmid]
            headings = [{"descriptor_ui": ui, "major": False, "qualifiers": []} for ui in uis]
            comments = [{"type": "CommentOn", "pmid": other} for other in commented]
            comments.append({"type": "ErratumIn", "pmid": 1})
            rows.append((pmid, 1, position, headings, references, comments))
            places.append({"pmid": pmid, "version": 1, "file": name, "position": position})
        path = folder / "pubmed/articles" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema), path)
    release = folder / "release"
    release.mkdir()
    (release / "release.json").write_text(json.dumps({"files": names}))
    frame = pl.DataFrame(places).cast({"pmid": pl.Int32, "version": pl.Int16, "position": pl.Int32})
    frame.sort("pmid").write_parquet(release / "citations.parquet")
    pq.write_table(hierarchy(), release / "hierarchy.parquet")
    return release, folder / "pubmed"


def drawn(seed, count=60):
    """Citations that share references, cite and comment on each other; some without headings."""
    draw = random.Random(seed)
    pmids = [100 + number for number in range(count)]
    citations = {}
    for pmid in pmids:
        uis = draw.sample(UIS, draw.randint(0, 2)) if draw.random() < 0.2 else draw.sample(UIS, draw.randint(1, 2))
        references = draw.sample(range(1, 25), draw.randint(0, 4)) + draw.sample(pmids, draw.randint(0, 1))
        comments = draw.sample(pmids, 1) if draw.random() < 0.3 else []
        citations[pmid] = (uis, references, comments)
    return citations


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_that_the_references_and_comments_say(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(biohicl.study.gathering, "PARTNERS", 100)
    citations = drawn(seed)
    release, pubmed = release_of(tmp_path, citations)
    gathered = gather(release, pubmed, SCREENING, 1000, 50, seed=1)
    labelled = {pmid: parts for pmid, parts in citations.items() if parts[0]}
    pool = gathered.pool["pmid"].to_list()
    anchors = [pmid for pmid, parts in labelled.items() if parts[1]]
    assert gathered.pool.filter("is_anchor")["pmid"].to_list() == anchors
    # What an anchor cites is there too, with or without references of its own.
    cited = {other for pmid in anchors for other in labelled[pmid][1] if other in labelled}
    assert cited - set(anchors)
    assert set(pool) == set(anchors) | cited
    assert gathered.sample.height == min(50, len(labelled))
    found, left_out = all_evidence(gathered, SCREENING, Nodes.of(hierarchy()))
    assert left_out == []
    evidence = {one.name: one for one in found}

    def references(pmid):
        return set(labelled[pmid][1])

    def cites(one, other):
        return other in references(one) or one in references(other)

    def shared(one, other):
        return len(references(one) & references(other))

    rules = {
        "references": (lambda a, b: shared(a, b) >= 2, pool),
        "citing": (cites, pool),
    }
    for name, (is_related, members) in rules.items():
        expected = {}
        for anchor in anchors:
            others = [other for other in members if other != anchor]
            related = {other for other in others if is_related(anchor, other)}
            unrelated = {other for other in others if shared(anchor, other) == 0 and not cites(anchor, other)}
            if related and unrelated:
                expected[anchor] = (related, unrelated)
        assert found_pairs(evidence[name], pool) == expected, name
    commented = gathered.commented["pmid"].to_list()
    ties = {
        frozenset((one, other))
        for one, parts in labelled.items()
        for other in parts[2]
        if other in labelled and other != one
    }
    said = {pmid for pmid, parts in labelled.items() for other in parts[2] if other != pmid}
    asked = said | {other for pmid in said for other in labelled[pmid][2] if other in labelled}
    assert set(commented) == asked
    by = {middle: {other for other in commented if frozenset((middle, other)) in ties} for middle in commented}
    expected = {}
    for one in commented:
        related = {other for other in commented if frozenset((one, other)) in ties and other != one}
        near = {other for other in commented if any({one, other} <= frozenset(by[middle]) for middle in commented)}
        unrelated = set(commented) - related - near - {one}
        if related and unrelated:
            expected[one] = (related, unrelated)
    assert found_pairs(evidence["comments"], commented) == expected


def found_pairs(evidence, members):
    found = {}
    for block in evidence.blocks:
        if block.by_row:
            assert block.units == [str(members[row]) for row in block.rows]
        for row, related, unrelated in zip(block.rows, block.related, block.unrelated, strict=True):
            chosen = [
                {members[block.columns[place]] for place in np.flatnonzero(mask)} for mask in (related, unrelated)
            ]
            found[members[row]] = tuple(chosen)
    return found


def test_anchors_bring_their_partners_from_other_files_and_not_too_many(tmp_path):
    citations = {100: (["D000001"], [1, 2], [])}
    citations |= {200 + number: (["D000002"], [1, 2], []) for number in range(20)}
    citations |= {300 + number: (["D000003"], [900 + number], []) for number in range(20)}
    release, pubmed = release_of(tmp_path, citations)
    seeds = [seed for seed in range(60) if gather(release, pubmed, SCREENING, 1, 10, seed).pool["pmid"][0] >= 100]
    pools = [gather(release, pubmed, SCREENING, 1, 10, seed).pool for seed in seeds[:12]]
    for pool in pools:
        anchor = pool.filter("is_anchor")["pmid"].item()
        assert pool.height == (1 if anchor >= 300 else 1 + PARTNERS)
        assert all(pmid < 300 for pmid in pool["pmid"] if anchor < 300)
    assert {pool.height for pool in pools} == {1, 1 + PARTNERS}


def test_screening_pairs_are_within_a_review_or_across(tmp_path):
    release, pubmed = release_of(tmp_path, {pmid: (["D000001"], [], []) for pmid in range(100, 130)})
    table = tmp_path / "labels.tsv"
    lines = ["pmid\treview\tother\tincluded_on_full_text"]
    reviews = {name: range(100 + 5 * number, 105 + 5 * number) for number, name in enumerate("ABCDE")}
    for name, pmids in reviews.items():
        lines += [f"{pmid}\t{name}\tx\t{'I' if pmid % 5 < 2 else 'E'}" for pmid in pmids]
        lines.append(f"129\t{name}\tx\t5")  # screened by all, included by none
        lines.append(f"{ord(name)}\t{name}\tx\tI")  # not in the corpus
    table.write_text("\n".join(lines) + "\n")
    decisions = read_screening(table)
    gathered = gather(release, pubmed, decisions, 10, 10, seed=1)
    members = gathered.screened["pmid"].to_list()
    found, left_out = all_evidence(gathered, decisions, Nodes.of(hierarchy()))
    evidence = {one.name: one for one in found}
    assert list(evidence) == ["screening", "across reviews"]
    assert left_out[0] == "references: 0 citations with related and unrelated pairs, fewer than 5"
    gathered_few = gather(release, pubmed, decisions.filter(pl.col("review") < "D"), 10, 10, seed=1)
    with pytest.raises(BioHiCLError, match="3 of its 3 reviews have related and unrelated pairs there; at least 5"):
        all_evidence(gathered_few, decisions.filter(pl.col("review") < "D"), Nodes.of(hierarchy()))
    for block, (name, pmids) in zip(evidence["screening"].blocks, reviews.items(), strict=True):
        first, second, *excluded = pmids
        assert block.units == [name]
        found = found_pairs(type(evidence["screening"])("", "", *[None] * 2, [block], False), members)
        assert found == {first: ({second}, {*excluded, 129}), second: (set(), {*excluded, 129})}
    included = {pmid for pmids in reviews.values() for pmid in list(pmids)[:2]}
    found = found_pairs(evidence["across reviews"], members)
    assert found[110] == ({111}, included - {110, 111})


def test_what_another_review_included_together_is_not_unrelated(tmp_path):
    """115 and 116 are included by B, with 105, and by F without it."""
    release, pubmed = release_of(tmp_path, {pmid: (["D000001"], [], []) for pmid in range(100, 130)})
    members = {
        "A": [100, 101],
        "B": [105, 115, 116],
        "C": [107, 108],
        "D": [109, 110],
        "E": [111, 112],
        "F": [115, 116],
    }
    rows = [{"pmid": pmid, "review": name, "included": True} for name, pmids in members.items() for pmid in pmids]
    rows += [{"pmid": 129, "review": name, "included": False} for name in members]
    decisions = pl.DataFrame(rows, schema=SCREENING.schema).sort("review", "pmid")
    gathered = gather(release, pubmed, decisions, 10, 10, seed=1)
    evidence = {one.name: one for one in all_evidence(gathered, decisions, Nodes.of(hierarchy()))[0]}
    places = gathered.screened["pmid"].to_list()
    block = next(block for block in evidence["across reviews"].blocks if block.units == ["F"])
    unrelated = found_pairs(type(evidence["screening"])("", "", *[None] * 2, [block], False), places)[115][1]
    # Review B included 105 with both, so that no pair of them is unrelated.
    assert unrelated == {100, 101, 107, 108, 109, 110, 111, 112}


HEAD = "pmid\treview\tincluded_on_full_text\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pmid\treview\n1\tA\n", "has no column included_on_full_text"),
        (HEAD + "1\tA\tI\nx\tA\tI\n", "line 3: 'x' is no PMID"),
        (HEAD + "-5\tA\tI\n", "line 2: '-5' is no PMID"),
        (HEAD + "1\tA\tI\n\n1\tA\tE\n", "line 2: '1' stands twice under one review"),
        (HEAD + "1\tA\ti\n", "line 2: 'i' is no decision: I is included, E or a code from 1 to 9 excluded"),
        (HEAD + "1\tA\n", "line 2: '' is no decision"),
        (HEAD + "1\t\tI\n", "line 2: '' is no review's name"),
        (HEAD + "1\tA\tE\n", "no citation is included"),
        (HEAD, "no citation is included"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_wrong_screening_table_is_answered_in_words(tmp_path, text, said):
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(BioHiCLError, match=said):
        read_screening(tmp_path / "labels.tsv")


def test_a_screening_table_may_have_blank_lines_and_spaces_and_come_from_windows(tmp_path):
    text = "\ufeffpmid\treview\tincluded_on_full_text\r\n 7 \tA\tI\r\n\r\n8\tA\t3\r\n\r\n"
    (tmp_path / "labels.tsv").write_bytes(text.encode())
    assert read_screening(tmp_path / "labels.tsv").rows() == [(7, "A", True), (8, "A", False)]


def test_combinations_are_all_of_them_once():
    every = combinations(with_majors=True)
    assert len(every) == len(set(every)) == 7 * 4 * 3 * 3
    assert len(combinations(with_majors=False)) == 7 * 4 * 3


def test_undefeated_are_those_that_no_evidence_tells_from_its_best():
    rows = [
        ("one", "cosine", "seco", "keep", "keep", True),
        ("one", "simgic", "seco", "keep", "keep", True),
        ("two", "cosine", "seco", "keep", "keep", False),
        ("two", "cosine", "seco", "keep", "half", True),
        ("two", "simgic", "seco", "keep", "keep", False),
        ("two", "simgic", "seco", "keep", "half", False),
    ]
    names = ["evidence", "similarity", "weight", "check_tags", "minor_topics", "as_good_as_best"]
    assert undefeated(pl.DataFrame(rows, schema=names, orient="row")) == [("cosine", "seco", "keep", "half")]


# --- the stage, on the sample --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studied(finished, tmp_path_factory):
    """The finished workflow's folder, copied, after `snakemake label_study`."""
    folder = tmp_path_factory.mktemp("study")
    subprocess.run(["cp", "-a", f"{finished.folder}/.", str(folder)], check=True)
    workflow = Workflow(folder)
    workflow.output = workflow.snakemake("label_study").output
    return workflow


def test_the_study_finds_what_the_sample_holds(studied):
    """Its reviews include what is about people, its references follow the subject, its citing is random."""
    table = pl.read_parquet(studied.folder / "results/label_study/auc.parquet")
    assert table["evidence"].unique().sort().to_list() == ["across reviews", "citing", "references", "screening"]
    assert table.columns == list(views()["label_study"].columns), "what the catalog says of them"
    cosine = {
        (row["evidence"], row["weight"], row["check_tags"]): row
        for row in table.filter((pl.col("similarity") == "cosine") & (pl.col("minor_topics") == "keep")).to_dicts()
    }
    for weight in ("none", "depth-min", "seco"):
        assert cosine["screening", weight, "keep"]["auc"] > cosine["screening", weight, "drop"]["auc"] + 0.1
        assert cosine["references", weight, "drop"]["auc"] > cosine["references", weight, "keep"]["auc"]
        assert cosine["citing", weight, "keep"]["low"] < 0.5 < cosine["citing", weight, "keep"]["high"]
    best = table.group_by("evidence").agg(pl.col("behind_best").min(), pl.col("as_good_as_best").any())
    assert best["behind_best"].to_list() == [0] * 4
    assert (table["low"] <= table["auc"]).all()
    assert (table["auc"] <= table["high"]).all()


def test_shared_roots_take_away_zeros(studied):
    zeros = pl.read_parquet(studied.folder / "results/label_study/zeros.parquet")
    share = {(row["weight"], row["check_tags"], row["roots"]): row["share_zero"] for row in zeros.to_dicts()}
    for weight, tags in product(("none", "depth", "seco", "sanchez", "corpus"), ("keep", "drop")):
        none, category, every = (share[weight, tags, roots] for roots in ("none", "category", "all"))
        assert none > category > 0
        # A root that holds everything says nothing: its information content is 0.
        assert every == (0 if weight in ("none", "depth") else category)


def test_an_auc_of_the_table_is_that_of_the_sets(studied):
    """One review, from the Parquet files and the reference's definitions alone."""
    results = studied.folder / "results"
    tree = pl.read_parquet(results / "training/releases/tests/hierarchy.parquet")
    pairs = [
        (ui, number) for ui, numbers in tree.select("descriptor_ui", "tree_numbers").iter_rows() for number in numbers
    ]
    uis = tree["descriptor_ui"].to_list()
    current = pl.read_parquet(results / "corpus/current.parquet")
    articles = pl.concat(
        [
            pl.read_parquet(path).with_columns(file=pl.lit(path.stem))
            for path in sorted((results / "pubmed/articles").iterdir())
        ]
    ).join(current, on=["pmid", "version", "file", "position"], how="semi")
    headings = {
        pmid: {one["descriptor_ui"]: True for one in given if one["descriptor_ui"] in uis}
        for pmid, given in articles.select("pmid", "mesh_headings").iter_rows()
        if given
    }
    reference = Reference(uis, pairs, check_tags=check_tags())
    review = read_screening(studied.folder / "resources/sample/screening/labels.tsv")
    review = review.filter((pl.col("review") == "Neoplasms") & pl.col("pmid").is_in(list(headings)))
    included, excluded = (review.filter(pl.col("included") == wanted)["pmid"].to_list() for wanted in (True, False))
    way = {"weight": "depth", "depth": "mean", "roots": "none", "check_tags": 0.5, "minor_topics": 1.0}

    def similarity(one, other):
        return reference.simgic(headings[one], headings[other], way)

    related = [similarity(a, b) for place, a in enumerate(included) for b in included[place + 1 :]]
    unrelated = [similarity(a, b) for a in included for b in excluded]
    wins = [
        1.0 if one > other + 1e-9 else 0.5 if abs(one - other) <= 1e-9 else 0.0
        for one, other in product(related, unrelated)
    ]
    units = pl.read_parquet(results / "label_study/units.parquet").filter(
        (pl.col("evidence") == "screening")
        & (pl.col("similarity") == "simgic")
        & (pl.col("weight") == "depth-mean")
        & (pl.col("check_tags") == "half")
        & (pl.col("minor_topics") == "keep")
        & (pl.col("unit") == "Neoplasms")
    )
    assert units["auc"].item() == pytest.approx(sum(wins) / len(wins), abs=1e-4)


@pytest.mark.long(20)
def test_the_study_is_the_same_twice_and_runs_again_only_where_asked(studied, run_biohicl, tmp_path):
    folder = studied.folder
    assert "the best" in studied.output
    assert studied.jobs("label_study") == {}
    settings_ = {"citations": 100, "sample": 100, "seed": 1, "draws": 1000, "smoothing": 1.0}
    done = run_biohicl(
        "label-study",
        *["--release", "results/training/releases/tests", "--pubmed", "results/pubmed"],
        *["--label-counts", "results/training/label_counts/tests.parquet"],
        *["--screening", "resources/sample/screening/labels.tsv", "--settings", json.dumps(settings_)],
        *["--output", tmp_path / "again"],
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    for name in ("auc.parquet", "units.parquet", "zeros.parquet", "auc.svg", "auc.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / "results/label_study" / name).read_bytes(), name


def test_a_screening_table_is_found_quoted_or_missed_in_words(studied, tmp_path):
    (tmp_path / "my data").mkdir()
    table = tmp_path / "my data/labels.tsv"
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump({"label_study": {"screening": str(table)}}))
    overlays = [tmp_path / "overlay.yaml"]
    missed = studied.snakemake("--dry-run", "label_study", overlays=overlays, check=False)
    assert missed.returncode != 0
    assert f"label_study.screening: {table}: no such file" in missed.output
    table.write_text((studied.folder / "resources/sample/screening/labels.tsv").read_text())
    planned = studied.snakemake("--dry-run", "--printshellcmds", "label_study", overlays=overlays)
    assert f"--screening '{table}'" in planned.output


def test_without_any_evidence_it_says_what_to_name(tmp_path, run_biohicl):
    release, pubmed = release_of(tmp_path, {pmid: (["D000001"], [], []) for pmid in range(100, 110)})
    counts = run_biohicl("count-labels", "--release", release, "--pubmed", pubmed, "--output", tmp_path / "c.parquet")
    assert counts.returncode == 0, counts.stderr
    settings_ = {"citations": 10, "sample": 10, "seed": 1, "draws": 100, "smoothing": 1.0}
    done = run_biohicl(
        *["label-study", "--release", release, "--pubmed", pubmed, "--label-counts", tmp_path / "c.parquet"],
        *["--settings", json.dumps(settings_), "--output", tmp_path / "out"],
    )
    assert done.returncode == 2
    assert "label_study.screening" in done.stderr
    assert not (tmp_path / "out").exists()


def test_weights_named_in_the_study_are_those_of_the_schema():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    labels = schema["$defs"]["train"]["properties"]["labels"]["properties"]
    every = combinations(with_majors=False)
    assert {one.weight for one in every} == set(labels["weight"]["enum"])
    assert {one.similarity for one in every} == set(labels["similarity"]["enum"])
    assert {one.depth for one in every} == {"", *labels["depth"]["enum"]}
