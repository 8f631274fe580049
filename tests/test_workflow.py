"""The whole DAG on the sample: what runs, and what does not run again."""

import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys

import polars as pl
import pytest

from biohicl.configuration.derived import PARENTS
from biohicl.sample.citations import FIRST_PMID, Citation, citation_set_xml
from biohicl.sample.world import World
from conftest import ROOT, Workflow, biohicl, clean_environment, overlay

# The table of what runs again in docs/updates.md: its rows, and what the test that asserts each says of it.
ROWS = {}
UPDATES = (ROOT / "docs/updates.md").read_text()


def table_row(change, runs_again):
    """Marks the test that asserts a row of that table; the words are the row's own."""

    def mark(test):
        assert change not in ROWS, f"two tests assert the same row: {change}"
        ROWS[change] = runs_again
        return test

    return mark


def test_every_row_of_the_table_is_asserted():
    """Whoever changes the table changes a test, and the other way round."""
    section = UPDATES.split("## What runs again, and what does not\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert dict(cells) == ROWS
    assert len(cells) == len(ROWS)


# What follows a merge: nothing that trains or evaluates.
MERGED = {"merge_citations": 1, "describe_corpus": 1, "write_report": 1, "write_catalog": 1}
SHOWN = {"write_report": 1, "write_catalog": 1}
# Of each model that is new: its texts are encoded, on two benchmarks, and runs of two splits are scored; a hybrid is tuned.
OF_A_MODEL = {"embed_documents": 1, "embed_queries": 2, "embed_sentences": 1, "evaluate_dense": 2, "evaluate_pairs": 1}
OF_A_MODEL |= {"tune_hybrids": 1, "evaluate_hybrid": 1, "evaluate_variant": 1}
# Another summary is another card of each of the two models.
SUMMARIZED = {"summarize": 1, "describe_node": 2}
COMPARED = {"compare_systems": 2} | SUMMARIZED


def evaluations_of(models, labelled=None, described=2):
    """Of ``labelled`` of them (None: all) losses read labels. ``described``: how many models there are."""
    labelled = models if labelled is None else labelled
    compared = {"similarities_of_node": labelled} if labelled else {}
    new = {rule: count * models for rule, count in OF_A_MODEL.items()}
    return new | COMPARED | compared | {"describe_node": described}


def publish(mirror, kind, name, like="updatefiles/pubmed99n0003"):
    """Puts a copy of the sample's file ``like`` into ``mirror`` under another name, with its MD5."""
    source = mirror / f"{like}.xml.gz"
    target = mirror / kind / f"{name}.xml.gz"
    if source != target:
        shutil.copy(source, target)
    digest = hashlib.md5(source.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.md5").write_text(f"MD5({target.name})= {digest}\n")


@pytest.fixture
def mirrored(copied):
    """A finished workflow with a mirror of its own at ``mirror``, to which a test may add files."""
    copied.mirror = copied.folder / "mirror"
    shutil.copytree(copied.folder / "resources/sample/pubmed", copied.mirror)
    copied.overlays.append(overlay(copied.folder, {"pubmed": {"mirrors": [str(copied.mirror)]}}, "mirror.yaml"))
    # Another mirror of the same files asks for the listing again, and for nothing else.
    copied.snakemake("all")
    return copied


def times(folder):
    """When each file below was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_runs_and_leaves_no_scraps(finished):
    names = [path.name for path in finished.folder.rglob("*") if ".snakemake" not in path.parts]
    assert [name for name in names if name.endswith(".tmp")] == []
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        *(".snakemake", "benchmarks", "logs", "resources", "results")
    ]


@table_row("nothing", "nothing")
def test_a_second_run_does_nothing(finished):
    assert finished.jobs("all") == {}


def test_every_job_has_its_log_and_benchmark(finished):
    stages = {
        "parse_pubmed",
        "fetch_pubmed",
        "train_node",
        "evaluation",
        "embed",
        "compare_systems",
        "select",
        "labels",
    }
    assert stages <= {path.name for path in (finished.folder / "logs").iterdir()}
    assert stages <= {path.name for path in (finished.folder / "benchmarks").iterdir()}


def test_every_table_is_sorted_by_its_key(finished):
    keys = {
        "pubmed/articles/*": ["position"],
        "pubmed/mesh_headings/*": ["descriptor_ui", "position"],
        "pubmed/deleted/*": ["pmid", "version"],
        "corpus/current": ["pmid"],
        "training/selections/*": ["pmid"],
        "training/labels/*": ["pmid"],
        "training/tokens/sample-bert-96/*": ["pmid"],
    }
    for place, key in keys.items():
        files = list((finished.folder / "results").glob(f"{place}.parquet"))
        assert files
        for file in files:
            frame = pl.read_parquet(file)
            assert frame.select(key).equals(frame.select(key).sort(key)), file


def test_the_default_configuration_plans_without_network(tmp_path):
    bare = Workflow(tmp_path)
    bare.overlays = [overlay(tmp_path, {})]
    planned = bare.jobs("all")
    assert planned["list_pubmed"] == 1
    assert planned["train_node"] == 2
    # Three encoders on five retrieval benchmarks, and the development splits of two for what is made of two of them.
    assert planned["embed_documents"] == 3 * 5
    assert planned["evaluate_dense"] == 3 * 5 + 2 * 2
    assert planned["evaluate_pairs"] == 3 * 2
    assert (planned["evaluate_hybrid"], planned["evaluate_variant"]) == (2 * 2 * 5, 2 * 5 * 5)
    assert (planned["fetch_benchmark"], planned["fetch_trainable_benchmark"], planned["fetch_pairs"]) == (3, 2, 2)


@pytest.mark.parametrize(
    ("made_of", "overlays", "said"),
    [
        ("pubmed99n0001", [], "was made of the built-in sample, and this run asks for NLM's files"),
        ("pubmed26n0001", ["workflow/configs/demo.yaml"], "was made of NLM's files"),
        # What goes on with either, and a run without --cores that computes nothing.
        ("pubmed99n0001", ["workflow/configs/demo.yaml"], "Unlocked"),
        ("pubmed26n0001", [], "Unlocked"),
        (None, [], "Unlocked"),
    ],
)
def test_the_sample_and_nlms_files_are_not_made_over_each_other(tmp_path, made_of, overlays, said):
    (tmp_path / "resources/pubmed").mkdir(parents=True)
    # None: a record that a full disk cut off is no traceback here, either.
    record = json.dumps({"files": [{"name": made_of}]}) if made_of else '{"files": ['
    (tmp_path / "resources/pubmed/release.json").write_text(record)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--unlock", *(["--configfile", *overlays] if overlays else [])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=clean_environment()
    )
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == (said == "Unlocked")
    assert "Traceback" not in done.stderr


def test_targets_are_the_stages(finished):
    listed = finished.snakemake("--list-target-rules").output
    for target in ("all", "mesh", "corpus", "train", "evaluate", "report", "catalog", "refresh", "model_cards", "onnx"):
        assert target in listed.split()


@pytest.mark.long(20)
def test_no_network_is_an_error_that_says_what_to_do(tmp_path):
    there = Workflow(tmp_path)
    there.overlays = [overlay(tmp_path, {"mesh": {"mirrors": ["https://localhost:1/mesh"]}})]
    done = there.snakemake("mesh", check=False)
    assert done.returncode != 0
    assert "https://localhost:1/mesh/: cannot be reached" in done.output
    assert "config.yaml takes a folder as a mirror of NLM's files" in done.output
    assert not (tmp_path / "resources/mesh/release.json").exists()


# --- updates -----------------------------------------------------------------------------------------------


@table_row("new files at NLM", "nothing, until `snakemake refresh`")
@table_row(
    "then, one new update file",
    "six jobs: `fetch_pubmed` and `parse_pubmed` of that file, `merge_citations`, `describe_corpus`, `write_report`, "
    "`write_catalog`; no training, no evaluation",
)
def test_an_update_parses_one_file_and_neither_trains_nor_evaluates(mirrored):
    """The daily recipe."""
    results = mirrored.folder / "results"
    kept = [times(results / part) for part in ("models", "training", "evaluation", "mesh")]
    publish(mirrored.mirror, "updatefiles", "pubmed99n0004")
    assert mirrored.jobs("all") == {}, "nobody has asked the server yet"
    assert "new: pubmed99n0004" in mirrored.snakemake("refresh").output
    assert mirrored.jobs("all") == {"fetch_pubmed": 1, "parse_pubmed": 1} | MERGED
    mirrored.snakemake("all")
    assert mirrored.jobs("all") == {}
    assert "pubmed99n0004" in set(pl.read_parquet(results / "corpus/current.parquet")["file"])
    assert kept == [times(results / part) for part in ("models", "training", "evaluation", "mesh")]
    assert "nothing new" in mirrored.snakemake("refresh").output


@table_row(
    "the same, and `snakemake index`",
    "beside the fetching, parsing and merging `index_texts` and `index_vectors` of that file, and `write_index`",
)
@pytest.mark.long(80)
def test_an_update_indexes_one_file(mirrored):
    """What it revises is found by its new text, what it deletes is not found, what comes again is."""
    mirrored.snakemake("index")
    assert mirrored.jobs("index") == {}
    assert mirrored.jobs("all") == {}
    parts = mirrored.folder / "results/index/default/exact"
    kept = times(parts), times(mirrored.folder / "results/texts")
    sample = {pmid: FIRST_PMID + pmid for pmid in (5, 6, 305)}
    publish(mirrored.mirror, "updatefiles", "pubmed99n0004")
    xml = citation_set_xml(World(), [Citation(sample[5], rewrite=7), Citation(sample[305])], [sample[6]])
    xml = xml.replace("<ArticleTitle>", "<ArticleTitle>Quixotic ")
    (mirrored.mirror / "updatefiles/pubmed99n0004.xml.gz").write_bytes(gzip.compress(xml.encode()))
    publish(mirrored.mirror, "updatefiles", "pubmed99n0004", like="updatefiles/pubmed99n0004")
    assert mirrored.jobs("index") == {}, "nobody has asked the server yet"
    mirrored.snakemake("refresh")
    once = ("fetch_pubmed", "parse_pubmed", "merge_citations", "index_texts", "index_vectors", "write_index")
    assert mirrored.jobs("index") == dict.fromkeys(once, 1)
    mirrored.snakemake("index")
    assert mirrored.jobs("index") == {}
    now = times(parts), times(mirrored.folder / "results/texts")
    assert all(before.items() <= after.items() for before, after in zip(kept, now, strict=True))

    def found(*words):
        done = biohicl("search", *words, "--json", "-k", "1000", cwd=mirrored.folder)
        assert done.returncode == 0, done.stderr
        return {hit["pmid"]: hit["title"] for hit in json.loads(done.stdout)}

    everything = found("anything", "--mode", "dense")
    assert sample[6] not in everything
    assert len(everything) == 1000
    quixotic = found("quixotic", "--mode", "bm25")
    assert quixotic.keys() == {sample[5], sample[305]}
    assert all(everything.get(pmid, title) == title for pmid, title in quixotic.items())
    done = biohicl("search", "--like", str(sample[6]), cwd=mirrored.folder)
    assert f"PMID {sample[6]} is not among the current citations" in done.stderr


@table_row(
    "a PubMed file that NLM has issued again, once `snakemake refresh` has seen it",
    "`fetch_pubmed` and `parse_pubmed` of that file; the merge, report and catalog",
)
@pytest.mark.long(50)
def test_a_file_issued_again_is_parsed_again(mirrored):
    """Also where the file itself was deleted once it was parsed, and where it had left the listing meanwhile."""
    name, articles = "pubmed99n0003", mirrored.folder / "results/pubmed/articles/pubmed99n0003.parquet"
    published = mirrored.mirror / f"updatefiles/{name}.xml.gz"
    xml = gzip.decompress(published.read_bytes())
    for word in (b"first", b"second"):
        published.write_bytes(gzip.compress(xml.replace(b"<ArticleTitle>", b"<ArticleTitle>" + word + b" ")))
        publish(mirrored.mirror, "updatefiles", name, like=f"updatefiles/{name}")
        assert mirrored.jobs("all") == {}, "nobody has asked the server yet"
        assert f"{name} was re-issued (MD5 " in mirrored.snakemake("refresh").output
        assert mirrored.jobs("all") == {"fetch_pubmed": 1, "parse_pubmed": 1} | MERGED
        mirrored.snakemake("all")
        assert mirrored.jobs("all") == {}
        titles = pl.read_parquet(articles, columns=["title"])["title"]
        assert titles.str.starts_with(f"{word.decode()} ").all()
        (mirrored.folder / f"resources/pubmed/updatefiles/{name}.xml.gz").unlink()
    hidden = mirrored.mirror / "hidden"
    published.rename(hidden)
    mirrored.snakemake("refresh", "corpus")
    hidden.rename(published)
    mirrored.snakemake("refresh")
    assert "parse_pubmed" not in mirrored.jobs("corpus"), "the same file is back"
    published.write_bytes(gzip.compress(xml))
    publish(mirrored.mirror, "updatefiles", name, like=f"updatefiles/{name}")
    mirrored.snakemake("refresh")
    assert mirrored.jobs("corpus") == {"fetch_pubmed": 1, "parse_pubmed": 1, "merge_citations": 1}


def test_a_lost_table_is_made_again(copied):
    (copied.folder / "results/pubmed/articles/pubmed99n0002.parquet").unlink()
    assert copied.jobs("corpus")["parse_pubmed"] == 1
    assert copied.jobs("all")["parse_pubmed"] == 1


@pytest.mark.long(40)
def test_a_new_year_replaces_the_corpus_and_leaves_the_models(mirrored):
    """The yearly recipe. 99 is the last year that two digits have, so 98 plays the one after it."""
    results, mirror = mirrored.folder / "results", mirrored.mirror
    kept = [times(results / part) for part in ("models", "training", "evaluation")]
    for kind, number in (("baseline", 1), ("baseline", 2), ("updatefiles", 3)):
        publish(mirror, kind, f"pubmed98n000{number}", like=f"{kind}/pubmed99n000{number}")
    for old in mirror.rglob("pubmed99*"):
        old.unlink()
    said = mirrored.snakemake("refresh").output
    assert "release 2098 replaces 2099" in said
    assert "no longer listed: pubmed99n0001" in said
    assert mirrored.jobs("all") == {"fetch_pubmed": 3, "parse_pubmed": 3} | MERGED
    mirrored.snakemake("all")
    assert mirrored.jobs("all") == {}
    current = pl.read_parquet(results / "corpus/current.parquet")
    assert set(current["file"]) == {f"pubmed98n000{number}" for number in (1, 2, 3)}
    assert kept == [times(results / part) for part in ("models", "training", "evaluation")]

    # Training on it: a new release, and a node of a new name beside the old ones.
    node = {"start": "sample-bert", "selection": "abstracts", "losses": {"title_abstract": {}}, "max_length": 96}
    node["schedule"] = {"max_steps": 2, "batch_size": 8}
    new_year = {"training": {"release": "year-98"}, "nodes": {"default-98": node}, "models": ["default-98"]}
    overlays = [overlay(mirrored.folder, new_year)]
    assert mirrored.jobs("all", overlays=overlays) == {
        **{"freeze_release": 1, "select": 1, "labels": 1, "tokens": 1, "train_node": 1, "overlap": 2},
        **evaluations_of(1, labelled=0, described=1) | SHOWN,
    }
    models = times(results / "models/default")
    mirrored.snakemake("train", overlays=overlays)
    assert mirrored.jobs("train", overlays=overlays) == {}
    assert json.loads((results / "training/releases/year-98/release.json").read_text())["files"][0] == "pubmed98n0001"
    assert (results / "models/default-98/model.safetensors").is_file()
    assert models == times(results / "models/default")


@table_row(
    "a MeSH that NLM has issued again, once `snakemake refresh` has seen it",
    "`fetch_mesh`, `parse_mesh`, `hierarchy`, `describe_corpus`, report and catalog; no training, no evaluation",
)
@pytest.mark.long(25)
def test_mesh_issued_again_is_parsed_again_and_neither_trains_nor_evaluates(copied):
    """NLM replaces the file of a year under its name."""
    mirror = copied.folder / "mirror"
    shutil.copytree(copied.folder / "resources/sample/mesh", mirror)
    moved = overlay(copied.folder, {"mesh": {"mirrors": [str(mirror)]}})
    copied.snakemake("all", overlays=[moved])
    file = mirror / "desc2099.gz"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"Neoplasms", b"Tumours")))
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    assert copied.jobs("all", overlays=[moved]) == {}, "nobody has asked the server yet"
    said = copied.snakemake("refresh", overlays=[moved]).output
    assert f"desc2099.gz was re-issued (SHA-256 {before} -> {after})" in said
    assert copied.jobs("all", overlays=[moved]) == {
        "fetch_mesh": 1,
        "parse_mesh": 1,
        "hierarchy": 1,
        "describe_corpus": 1,
        "write_report": 1,
        "write_catalog": 1,
    }
    copied.snakemake("all", overlays=[moved])
    log = (copied.folder / "logs/fetch_mesh/desc2099.log").read_text()
    assert f"desc2099.gz changed: sha256 {before} -> {after}" in log
    assert copied.jobs("all", overlays=[moved]) == {}
    assert "Tumours" in set(pl.read_parquet(copied.folder / "results/mesh/descriptors.parquet")["name"])


@table_row("`pubmed.strict_sequence`", "the listing is asked again; the merge, report and catalog")
@pytest.mark.long(16)
def test_a_gap_is_one_warning_and_strictly_an_error(mirrored):
    publish(mirrored.mirror, "updatefiles", "pubmed99n0006")
    mirrored.snakemake("refresh")
    said = mirrored.snakemake("all").output
    assert said.count("warning: the release is not one unbroken sequence") == 1
    assert "gap, pubmed99n0004 to pubmed99n0005: 2 files missing: not listed by the server" in said
    assert "1 anomaly" in (mirrored.folder / "results/report.html").read_text()
    strict = overlay(mirrored.folder, {"pubmed": {"strict_sequence": True}})
    assert set(mirrored.jobs("all", overlays=[strict])) == {"list_pubmed", *MERGED}
    publish(mirrored.mirror, "updatefiles", "pubmed99n0007")
    done = mirrored.snakemake("corpus", overlays=[strict], check=False)
    assert done.returncode != 0
    assert "error: the release is not one unbroken sequence of files: gap, pubmed99n0004" in done.output
    assert not list((mirrored.folder / "resources/pubmed").rglob("pubmed99n0007*")), "fetched before it was refused"
    assert (mirrored.folder / "resources/pubmed/release.json").is_file(), "the last listing is lost"


@table_row("`pubmed.skip_bad_citations`", "the merge, report and catalog")
def test_leaving_out_bad_citations_parses_nothing_again(finished, tmp_path):
    """A file that was parsed without it has none."""
    skip = overlay(tmp_path, {"pubmed": {"skip_bad_citations": True}})
    assert finished.jobs("all", overlays=[skip]) == MERGED


@table_row(
    "the schema of the PubMed tables (`SCHEMA_VERSION`)", "every file is parsed again; the merge, report and catalog"
)
def test_another_schema_parses_again_and_does_not_train(copied, tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    for part in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / part, project)
    for part in ("rules", "workflow", "profiles", "envs", "src"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    copied.root = project
    assert copied.jobs("all") == {}
    schema = project / "src/biohicl/pubmed/schema.py"
    text, count = re.subn(r'^SCHEMA_VERSION = ".*"', 'SCHEMA_VERSION = "next"', schema.read_text(), flags=re.MULTILINE)
    assert count == 1
    schema.write_text(text)
    assert copied.jobs("all") == {"parse_pubmed": 3} | MERGED


@table_row("other mirrors, or other file numbers", "the listing is asked again; then as above")
def test_other_mirrors_with_other_content_never_touch_what_is_frozen(copied):
    """Both listings are asked anew within the run: what a checkpoint brings must not reach training."""
    for section in ("pubmed", "mesh"):
        shutil.copytree(copied.folder / "resources/sample" / section, copied.folder / "m{x} é" / section)
    publish(copied.folder / "m{x} é/pubmed", "updatefiles", "pubmed99n0005")
    mirrors = {section: {"mirrors": [f"m{{x}} é/{section}"]} for section in ("pubmed", "mesh")}
    moved = overlay(copied.folder, mirrors)
    kept = [*(copied.folder / "results/training").rglob("*"), *(copied.folder / "results/models").rglob("*")]
    kept += (copied.folder / "results/evaluation").rglob("*")
    before = {path: path.stat().st_mtime_ns for path in kept}
    copied.snakemake("all", overlays=[moved])
    assert before == {path: path.stat().st_mtime_ns for path in kept}
    assert "pubmed99n0005" in set(pl.read_parquet(copied.folder / "results/corpus/current.parquet")["file"])


@table_row(
    "files that NLM lists no more (a new year)",
    "the merge, report and catalog; the frozen release keeps referring to the old tables",
)
@pytest.mark.long(20)
def test_files_that_leave_the_listing_leave_the_corpus_and_stay_frozen(copied):
    """As with NLM's new yearly baseline: the old files are listed no more, the frozen release still refers to them."""
    fewer = {"pubmed": {"updates": "none"}}
    copied.snakemake("resources/pubmed/release.json", overlays=[overlay(copied.folder, fewer)])
    assert copied.jobs("all", overlays=[overlay(copied.folder, fewer)]) == MERGED
    copied.snakemake("all", overlays=[overlay(copied.folder, fewer)])
    assert copied.jobs("all", overlays=[overlay(copied.folder, fewer)]) == {}
    current = pl.read_parquet(copied.folder / "results/corpus/current.parquet")
    assert set(current["file"]) == {"pubmed99n0001", "pubmed99n0002"}

    selection = "results/training/selections/abstracts.parquet"
    other = overlay(copied.folder, fewer | {"training": {"selections": {"abstracts": {"seed": 2}}}})
    copied.snakemake(selection, overlays=[other])
    (copied.folder / "results/pubmed/articles/pubmed99n0003.parquet").unlink()
    other = overlay(copied.folder, fewer | {"training": {"selections": {"abstracts": {"seed": 3}}}})
    done = copied.snakemake(selection, overlays=[other], check=False)
    assert done.returncode != 0
    assert "pubmed99n0003.parquet: no such file, but the training release refers to it" in done.output


@table_row("`training.release` gets a new name", "the corpus is frozen anew, everything is trained and evaluated on it")
def test_a_new_training_release_trains_anew(copied):
    renamed = overlay(copied.folder, {"training": {"release": "later"}})
    assert copied.jobs("all", overlays=[renamed]) == {
        **{
            "freeze_release": 1,
            "select": 1,
            "labels": 1,
            "tokens": 1,
            "train_node": 2,
            "count_labels": 1,
            "overlap": 2,
        },
        **evaluations_of(2) | SHOWN,
    }


# --- nodes and benchmarks ----------------------------------------------------------------------------------


@table_row(
    "a node is added",
    "that node and its evaluations; comparisons, summary, model cards, report and catalog; `count_labels` where it is the first to "
    "weigh labels by the corpus",
)
def test_adding_a_node_runs_that_node_only(copied):
    block = {"start": "default", "selection": "abstracts", "losses": {"mse": {}}, "max_length": 96}
    added = overlay(
        copied.folder, {"nodes": {"second-phase": block}, "models": ["biohicl-base", "default", "second-phase"]}
    )
    trained = {"train_node": 1} | evaluations_of(1) | SHOWN
    assert copied.jobs("all", overlays=[added]) == trained | {"describe_node": 3}
    # Where no node before it weighed labels by the corpus, they are counted now.
    (copied.folder / "results/training/label_counts/tests.parquet").unlink()
    first = {"nodes": {"second-phase": block | {"start": "biohicl-base"}}, "models": ["biohicl-base", "second-phase"]}
    assert copied.jobs("all", overlays=[overlay(copied.folder, first, "first.yaml")]) == {"count_labels": 1} | trained
    by_depth = overlay(copied.folder, {"nodes": {"second-phase": {"labels": {"weight": "depth"}}}}, "by-depth.yaml")
    overlays = [copied.folder / "first.yaml", by_depth]
    assert copied.jobs("all", overlays=overlays) == trained
    unused = overlay(copied.folder, {"nodes": {"second-phase": block}}, "unused.yaml")
    assert copied.jobs("all", overlays=[unused]) == {}


def test_mixing_what_is_trained_trains_nothing(copied):
    """Averages of several shares and the choice among them; a further share is one more of each."""
    mixture = {"step": "average", "of": ["default", "biohicl-base"], "with": "sample-bert"}
    for shares in ([0.3, 0.7], [0.3, 0.5, 0.7]):
        content = {
            "nodes": {"mixture": {**mixture, "share": shares}},
            "development": {"retrieval": ["sample-retrieval"]},
        }
        planned = copied.jobs("results/models/mixture", overlays=[overlay(copied.folder, content)])
        # Beside those of the mixtures, the backbone's scores: what is chosen must not lose to it.
        assert planned == {
            **{"average_node": len(shares), "embed_documents": len(shares), "embed_queries": len(shares) + 1},
            **{"evaluate_candidate": len(shares), "evaluate_dense": 1, "select_node": 1},
        }


@table_row(
    "a node's settings",
    "that node, what starts from it, and their evaluations; comparisons, summary, model cards, report and catalog; `count_labels` where "
    "it is the first to weigh labels by the corpus",
)
@pytest.mark.long(20)
def test_changing_a_node_runs_it_and_what_starts_from_it(copied):
    schedule = {"max_steps": 2, "batch_size": 8}
    block = {
        "start": "default",
        "selection": "abstracts",
        "losses": {"mse": {}},
        "max_length": 96,
        "schedule": schedule,
    }
    chain = {"nodes": {"second-phase": block}, "models": ["biohicl-base", "second-phase"]}
    overlays = [overlay(copied.folder, chain)]
    copied.snakemake("train", overlays=overlays)
    assert copied.jobs("train", overlays=overlays) == {}
    overlays.append(overlay(copied.folder, {"nodes": {"default": {"seed": 2}}}, "changed.yaml"))
    assert copied.jobs("train", overlays=overlays) == {"train_node": 2}
    assert copied.jobs("all", overlays=overlays) == {"train_node": 2} | evaluations_of(1, labelled=2) | SHOWN
    alone = [overlay(copied.folder, {"nodes": {"default": {"seed": 2}}}, "alone.yaml")]
    planned = copied.jobs("all", overlays=alone)
    assert (planned["train_node"], planned["evaluate_dense"]) == (1, 2)
    # What a node does not read of its labels trains nothing again.
    unread = [overlay(copied.folder, {"nodes": {"biohicl-base": {"labels": {"smoothing": 0.5}}}}, "unread.yaml")]
    assert "train_node" not in copied.jobs("train", overlays=unread)


@pytest.mark.long(25)
def test_backbones_that_read_alike_share_their_tokens(copied):
    """A second backbone whose texts are the same tokens has none made, and who shares them fetches nothing anew."""
    node = {"start": "twin", "selection": "abstracts", "losses": {"title_abstract": {}}, "max_length": 96}
    node["schedule"] = {"max_steps": 2, "batch_size": 8}
    content = {
        "backbones": {"twin": {"path": "resources/sample/backbone"}},
        "nodes": {"of-twin": node},
        "models": ["of-twin"],
    }
    own = overlay(copied.folder, content, "own.yaml")
    assert copied.jobs("train", overlays=[own]) == {"fetch_backbone": 1, "tokens": 1, "train_node": 1}
    content["backbones"]["twin"]["tokens_of"] = "sample-bert"
    shared = overlay(copied.folder, content, "shared.yaml")
    assert copied.jobs("train", overlays=[shared]) == {"fetch_backbone": 1, "train_node": 1}
    copied.snakemake("train", overlays=[shared])
    inputs = [
        json.loads((copied.folder / f"results/models/{node}/manifest.json").read_text())["inputs"]
        for node in ("of-twin", "default")
    ]
    assert inputs[0]["tokens"] == inputs[1]["tokens"]
    assert copied.jobs("train", overlays=[own]) == {"tokens": 1, "train_node": 1}


def test_how_a_benchmark_is_cut_and_fetched_trains_nothing(copied):
    """Another development split, or a file that came anew and holds the same: no selection, no training."""
    uncut = {
        "benchmarks": {"sample-retrieval": {"development": None}},
        "evaluation": {"tuned_on": []},
        "development": {"retrieval": []},
    }
    planned = copied.jobs("all", overlays=[overlay(copied.folder, uncut)])
    assert planned["fetch_benchmark"] == 1
    assert not {"select", "labels", "tokens", "train_node"} & planned.keys()
    # Other documents select anew.
    documents = copied.folder / "resources/benchmarks/sample-retrieval/documents.parquet"
    pl.read_parquet(documents)[1:].write_parquet(documents)
    assert {"select", "train_node"} <= copied.jobs("train").keys()


@table_row("a benchmark is added", "its evaluations and comparison; summary, model cards, report and catalog")
def test_benchmarks_come_and_go_without_training(copied):
    fewer = overlay(copied.folder, {"evaluation": {"benchmarks": ["sample-pairs"]}}, "fewer.yaml")
    assert copied.jobs("all", overlays=[fewer]) == SUMMARIZED | SHOWN
    block = {"kind": "similarity", "path": "resources/sample/benchmarks/sample-pairs"}
    more = overlay(
        copied.folder,
        {"benchmarks": {"again": block}, "evaluation": {"benchmarks": ["sample-retrieval", "sample-pairs", "again"]}},
    )
    assert copied.jobs("all", overlays=[more]) == {
        **{"fetch_pairs": 1, "embed_sentences": 3, "evaluate_pairs": 3, "overlap": 1, "compare_systems": 1},
        **SUMMARIZED | SHOWN,
    }


@table_row(
    "files in the folder of a benchmark of your own",
    "it is read again; its evaluations and comparison, summary, model cards, report and catalog; where its documents changed, the next "
    "run makes selections that exclude it anew, and trains on them",
)
@pytest.mark.long(20)
def test_a_benchmark_whose_files_change_is_read_again(copied):
    read = "resources/benchmarks/sample-retrieval"
    sample = copied.folder / "resources/sample"
    shared = sample.resolve()
    sample.unlink()
    folder = shutil.copytree(shared, sample) / "benchmarks/sample-retrieval"
    qrels = folder / "qrels/test.tsv"
    qrels.write_text("".join(qrels.read_text().splitlines(keepends=True)[:-1]))
    again = {"fetch_benchmark": 1, "embed_documents": 3, "embed_queries": 5, "evaluate_dense": 5, "evaluate_lexical": 2}
    again |= {"tune_hybrids": 2, "evaluate_hybrid": 2, "evaluate_variant": 2, "overlap": 1, "compare_systems": 1}
    assert copied.jobs("all") == again | SUMMARIZED | SHOWN
    copied.snakemake(f"{read}/test/qrels.parquet")
    # Its documents are the same: what leaves them out stays.
    assert not {"fetch_benchmark", "select", "train_node"} & copied.jobs("all").keys()
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace('"text": "', '"text": "Otherwise. ', 1))
    assert copied.jobs("all") == again | SUMMARIZED | SHOWN
    copied.snakemake(f"{read}/documents.parquet")
    planned = copied.jobs("all")
    assert (planned["select"], planned["train_node"]) == (1, 2)
    assert "fetch_benchmark" not in planned
    # One that is gone is no reason to stop, nor to lose what is here.
    shutil.rmtree(folder)
    assert copied.jobs(f"{read}/documents.parquet") == {"fetch_benchmark": 1}
    copied.snakemake(f"{read}/documents.parquet")
    assert copied.jobs(f"{read}/documents.parquet") == {}


@table_row(
    "a peer, a hybrid or a variant is added", "its evaluations; comparisons, summary, model cards, report and catalog"
)
def test_systems_come_and_go_without_training(copied):
    peer = {"peers": {"other": {"path": "resources/sample/backbone", "pooling": "cls"}}}
    peer |= {"evaluation": {"peers": ["other"]}}
    added = {"fetch_backbone": 1, "embed_documents": 1, "embed_queries": 1, "embed_sentences": 1, "evaluate_dense": 1}
    assert copied.jobs("all", overlays=[overlay(copied.folder, peer, "peer.yaml")]) == {
        **added | {"evaluate_pairs": 1} | COMPARED | SHOWN
    }
    made = {
        "evaluation": {"hybrids": {"ranks": {}}, "variants": {"half": {"precision": "bfloat16", "of": ["default"]}}}
    }
    assert copied.jobs("all", overlays=[overlay(copied.folder, made, "made.yaml")]) == {
        **{"evaluate_hybrid": 2, "evaluate_variant": 1, "compare_systems": 1} | SUMMARIZED | SHOWN
    }
    without = overlay(copied.folder, {"evaluation": {"hybrids": {"convex": None}}}, "without.yaml")
    assert copied.jobs("all", overlays=[without]) == {"compare_systems": 1} | SUMMARIZED | SHOWN


@table_row("`evaluation.draws` or `seed`", "comparisons, summary, model cards, report and catalog")
def test_other_draws_compare_again(copied):
    changed = overlay(copied.folder, {"evaluation": {"draws": 200}})
    assert copied.jobs("all", overlays=[changed]) == COMPARED | SHOWN


@table_row(
    "`evaluation.precision`",
    "every text is encoded again; evaluations, comparisons, summary, model cards, report and catalog; what learns from an encoder's "
    "vectors is trained again",
)
def test_another_precision_encodes_again(copied):
    changed = overlay(copied.folder, {"evaluation": {"precision": "bfloat16"}})
    planned = copied.jobs("all", overlays=[changed])
    assert {"embed_documents", "embed_queries", "embed_sentences"} <= planned.keys()
    assert COMPARED.items() <= planned.items()
    assert not {"train_node", "fetch_benchmark", "evaluate_lexical"} & planned.keys()


@table_row(
    "`development.retrieval`, `similarity` or `max_loss`",
    "where a model is chosen, or made from one that is: the choice, what starts from it, and their evaluations; "
    "comparisons, summary, model cards, report and catalog",
)
@pytest.mark.long(60)
def test_what_chooses_is_a_reason_to_choose_again(copied):
    changed = {"development": {"retrieval": ["sample-retrieval"], "similarity": [], "max_loss": 0.1}}
    assert copied.jobs("all", overlays=[overlay(copied.folder, changed)]) == {}, "nothing is chosen"
    content = {
        "nodes": {
            "chosen": {"step": "select", "of": ["default", "sample-bert"]},
            "after": {"like": "default", "start": "chosen"},
        },
        "models": ["after"],
        "development": {"retrieval": ["sample-retrieval"], "similarity": []},
    }
    overlays = [overlay(copied.folder, content)]
    copied.snakemake("results/models/after", overlays=overlays)
    assert copied.jobs("results/models/after", overlays=overlays) == {}
    content["development"]["max_loss"] = 0.1
    planned = copied.jobs("results/models/after", overlays=[overlay(copied.folder, content)])
    assert planned == {"select_node": 1, "train_node": 1}


@table_row(
    "`ablations`, `efficiency`, `development` or `label_study` has been run",
    "report and catalog, which then show it (`label_study`: the catalog)",
)
@pytest.mark.long(25)
def test_what_is_run_beside_all_is_shown_and_never_made(copied):
    """Page and catalog take it where it is there. Outdated or gone, it is not made for them: that would train."""
    copied.snakemake("development")
    assert copied.jobs("all") == SHOWN
    copied.snakemake("all")
    assert copied.jobs("all") == {}
    assert "<h3>Development scores</h3>" in (copied.folder / "results/report.html").read_text()
    asked = biohicl("sql", "--csv", "select count(*) > 0 as n from development_scores", cwd=copied.folder)
    assert asked.stdout.split() == ["n", "true"]
    # The same numbers in other bytes: of small files Snakemake compares these.
    metrics = copied.folder / "results/development/default/sample-retrieval/metrics.parquet"
    pl.read_parquet(metrics).write_parquet(metrics, compression="uncompressed")
    assert copied.jobs("development") == {"development": 1}
    assert copied.jobs("all") == {"write_catalog": 1}
    (copied.folder / "results/development.parquet").unlink()
    assert copied.jobs("all") == SHOWN


@table_row("`exclude_benchmarks` of a selection", "the selection, and what is trained on it")
def test_only_benchmarks_that_a_selection_excludes_are_its_inputs(copied):
    content = {"training": {"selections": {"abstracts": {"exclude_benchmarks": []}}}}
    planned = copied.jobs("all", overlays=[overlay(copied.folder, content)])
    assert (planned["select"], planned["train_node"], planned["overlap"]) == (1, 2, 2)
    assert not {"count_labels", "fetch_benchmark", "fetch_pairs"} & planned.keys()
    # A benchmark that no selection names changes without training.
    (copied.folder / "resources/benchmarks/sample-pairs/pairs.parquet").touch()
    assert not {"select", "train_node"} & copied.jobs("all").keys()
    (copied.folder / "resources/benchmarks/sample-retrieval/test/queries.parquet").touch()
    assert not {"select", "train_node"} & copied.jobs("all").keys()


def test_what_is_tuned_sees_no_test_split(copied):
    """Whatever the choice of a hybrid's parameter depends on, down to the downloads, reads no test queries or qrels."""
    shutil.rmtree(copied.folder / "results/development")
    for part in ("documents", "development"):
        (copied.folder / f"results/vectors/default/sample-retrieval/{part}.npy").unlink()
    (copied.folder / "resources/benchmarks/sample-retrieval/documents.parquet").unlink()
    planned = copied.snakemake("--dry-run", "results/development/default/hybrids.json").output
    inputs = [line for line in planned.splitlines() if line.strip().startswith("input: ")]
    assert len(inputs) >= 6
    assert any("development/qrels.parquet" in line for line in inputs)
    assert not [line for line in inputs if "/test/" in line or "/test." in line or "qrels," in line]


# A training, mixtures of its snapshots and its start, the best of several, and a training towards that one's vectors.
RECIPE = {
    "benchmarks": {"claims": {"kind": "similarity", "path": "resources/sample/benchmarks/sample-pairs"}},
    "development": {"retrieval": ["sample-retrieval"], "similarity": ["claims"]},
    "nodes": {
        "first": {
            **{"start": "sample-bert", "selection": "abstracts", "max_length": 96, "losses": {"title_abstract": {}}},
            "schedule": {"snapshots": 2},
        },
        "mixture": {
            **{"step": "average", "of": ["first"], "snapshots": True, "with": "sample-bert", "share": [0.25, 0.5, 1]},
        },
        "mean": {"step": "average", "of": ["first", "default"]},
        "chosen": {"step": "select", "of": ["mixture", "mean", "sample-bert"], "against": "first"},
        "teacher": {"step": "encode", "encoder": "chosen", "selection": "abstracts", "max_length": 96},
        "student": {
            **{"start": "mixture", "selection": "abstracts", "max_length": 96, "teacher": "teacher"},
            "losses": {"title_abstract": {}, "teacher_vectors": {}},
        },
    },
    "models": ["student", "chosen"],
    "evaluation": {"hybrids": {"convex": None}, "variants": {"64d": None}},
}
STEPS = {"train_node": 3, "average_node": 4, "select_node": 2, "encode_node": 2}


@pytest.fixture
def unmade(tmp_path, sample):
    """The recipe in a folder where nothing is made: a dry run shows all that a target needs."""
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    return Workflow(tmp_path, overlay(tmp_path, RECIPE))


def planned_inputs(workflow, *targets):
    """Of each job that a dry run shows: its rule and its inputs."""
    blocks = re.split(r"^\[.*\]\n", workflow.snakemake("--dry-run", *targets).output, flags=re.MULTILINE)[1:]
    found = []
    for block in blocks:
        rule = re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block)
        inputs = re.search(r"^ +input: (.*)$", block, flags=re.MULTILINE)
        if rule:
            found.append((rule[1], inputs[1].split(", ") if inputs else []))
    return found


def what_scores(jobs):
    """What of their inputs is of test splits, or of the pairs of evaluation.benchmarks."""
    test_split = re.compile(r"/test[/.]|^results/(evaluation|comparisons|summary)|qrels/|benchmarks/[\w-]+$")
    pairs = re.compile(r"/sample-pairs/(pairs\.|sentences\.|run\.|metrics\.)")
    return {(rule, name) for rule, inputs in jobs for name in inputs if test_split.search(name) or pairs.search(name)}


def test_what_trains_and_chooses_sees_nothing_that_scores(unmade):
    """Trainings, averages, choices and teachers, and whatever stands above them, down to the downloads."""
    jobs = planned_inputs(unmade, "results/models/student", "results/models/chosen")
    counts = {rule: [name for name, _ in jobs].count(rule) for rule in STEPS}
    assert counts == STEPS
    assert {f"{step}_node" for step in PARENTS} == set(STEPS), "a step that nobody walks"
    read = {name for _, inputs in jobs for name in inputs}
    # It is the choice's way that is walked, to both kinds of development data.
    assert "results/development/mixture.0.25/sample-retrieval/metrics.parquet" in read
    assert "results/development/first/claims/metrics.parquet" in read
    assert {
        f"resources/benchmarks/{file}.parquet" for file in ("sample-retrieval/development/qrels", "claims/pairs")
    } <= read
    assert what_scores(jobs) == set()
    # What is looked for is found where it is: in what scores the same model.
    scored = what_scores(planned_inputs(unmade, "evaluate"))
    assert {
        ("evaluate_dense", f"resources/benchmarks/sample-retrieval/test/{name}.parquet")
        for name in ("queries", "qrels")
    } <= scored
    assert ("embed_sentences", "resources/benchmarks/sample-pairs/pairs.parquet") in scored


def test_what_is_only_chosen_between_is_not_scored(unmade):
    """Candidates have development scores, and no place in the score table, the catalog or among the training logs."""
    jobs = planned_inputs(unmade, "all", "development")
    (scores,) = (inputs for rule, inputs in jobs if rule == "development")
    systems = {name.split("/")[2] for name in scores}
    mixtures = {f"mixture.{share}" for share in ("0.25", "0.5", "1")}
    assert systems == {"sample-bert", "student", "chosen", "first", "mean", "mixture", *mixtures}
    evaluated = {name.split("/")[2] for _, inputs in jobs for name in inputs if name.startswith("results/evaluation/")}
    assert {"bm25", "sample-bert", "student", "chosen"} <= evaluated
    assert not evaluated & {"first", "default", "mean", "mixture", *mixtures}
    # Nor can that be had by asking.
    for asked in ("sample-retrieval", "sample-pairs", "claims"):
        done = unmade.snakemake("--dry-run", f"results/evaluation/mixture.0.5/{asked}/metrics.parquet", check=False)
        assert done.returncode != 0
        assert "MissingRuleException" in done.output
    (catalog,) = (inputs for rule, inputs in jobs if rule == "write_catalog")
    logged = {name for name in catalog if name.startswith("results/models/")}
    assert logged == {"results/models/first", "results/models/default", "results/models/student"}
    (report,) = (inputs for rule, inputs in jobs if rule == "write_report")
    assert {"results/models/mean", "results/models/chosen"} <= set(report)
    assert "results/models/teacher" not in report


def test_a_release_without_terms_is_said_of_whatever_needs_them(unmade):
    """As an older version froze it: queries of headings and concepts cannot be made of it."""
    release = unmade.folder / "results/training/releases/tests"
    release.mkdir(parents=True)
    for name in ("citations.parquet", "hierarchy.parquet"):
        pl.DataFrame({"pmid": []}).write_parquet(release / name)
    (release / "release.json").write_text("{}")
    for target, what in (
        ("results/models/default", "losses.heading_abstract of node default"),
        ("results/training/selections/concepts.parquet", "training.concepts.concepts"),
    ):
        done = unmade.snakemake("--dry-run", target, check=False)
        assert done.returncode != 0
        assert f"'tests' was frozen without the terms of MeSH, which {what} needs. Name a new release." in done.output


@pytest.mark.long(60)
def test_what_cannot_be_had_is_named_first_left_out_and_blocks_nothing(copied):
    """A benchmark's folder and a peer's weights that are not there: the rest is scored, and each run tries again."""
    content = {
        "benchmarks": {
            "lost": {"kind": "retrieval", "path": "nowhere", "development": "dev"},
            "lost-pairs": {"kind": "similarity", "path": "nowhere-either"},
        },
        "peers": {"absent": {"path": "no-weights"}},
        "models": ["default"],
        "evaluation": {
            "benchmarks": ["sample-pairs", "lost", "lost-pairs"],
            "peers": ["absent"],
            "tuned_on": ["sample-retrieval", "lost"],
        },
    }
    overlays = [overlay(copied.folder, content)]
    done = copied.snakemake("evaluate", overlays=overlays)
    told = [line for line in done.output.splitlines() if "left out: " in line]
    assert len(told) == 3
    assert any(line.startswith("lost: left out: nowhere: no such folder") for line in told)
    assert done.output.index("lost: left out") < done.output.index("rule embed_")
    scores = biohicl("scores", cwd=copied.folder).stdout
    header, *rows = scores.splitlines()
    assert "lost" not in header
    assert not any(row.startswith("absent") for row in rows)
    assert "left out: benchmark lost: nowhere: no such folder" in scores
    assert "left out: system absent: no-weights: no such folder" in scores
    summary = pl.read_parquet(copied.folder / "results/summary.parquet")
    assert set(summary["benchmark"]) == {"sample-pairs"}
    tuned = json.loads((copied.folder / "results/development/default/hybrids.json").read_text())
    assert tuned["convex"]["tuned_on"] == ["sample-retrieval"]
    # Each run tries again, and where it is there now it is scored.
    shutil.copytree(copied.folder / "resources/sample/benchmarks/sample-pairs", copied.folder / "nowhere-either")
    planned = copied.jobs("all", overlays=overlays)
    assert (planned["fetch_benchmark"], planned["fetch_pairs"], planned["fetch_backbone"]) == (1, 1, 1)
    assert "train_node" not in planned
    copied.snakemake("results/comparisons/lost-pairs/estimates.parquet", overlays=overlays)
    assert pl.read_parquet(copied.folder / "results/comparisons/lost-pairs/estimates.parquet").height


@table_row(
    "thread counts, GPUs and how else a training runs (`training.chunk_tokens`, `compile`, `deterministic`, `precision`, "
    "`checkpoint_minutes`), batch size of evaluation, licence texts of benchmarks, `training.max_unknown_headings`",
    "nothing",
)
def test_words_and_how_to_compute_rerun_nothing(copied):
    changed = overlay(
        copied.folder,
        {
            "benchmarks": {"sample-pairs": {"licence": "none", "measures": "other words"}},
            "evaluation": {"batch_size": 7},
            "training": {"threads": 1, "max_unknown_headings": 0.5, "gpus": 4, "chunk_tokens": 4096, "compile": True}
            | {"deterministic": True, "precision": "bfloat16", "checkpoint_minutes": 1},
        },
    )
    assert copied.jobs("all", overlays=[changed]) == {}


@table_row("`publishing.licence`, or the `licence` of a backbone", "the model cards")
def test_another_licence_writes_cards_and_nothing_else(copied):
    for content in ({"publishing": {"licence": "mit"}}, {"backbones": {"sample-bert": {"licence": "mit"}}}):
        assert copied.jobs("all", overlays=[overlay(copied.folder, content)]) == {"describe_node": 2}


@pytest.mark.long(15)
def test_a_model_that_is_made_again_is_described_again(copied):
    """And one that is described is as old as before: nothing that reads it is made again."""
    cards = copied.folder / "results/model_cards"
    assert sorted(path.name for path in cards.iterdir()) == ["biohicl-base.md", "default.md"]
    (cards / "default.md").unlink()
    assert copied.jobs("all") == {"describe_node": 1}
    copied.snakemake("all")
    assert copied.jobs("all") == {}
    assert (copied.folder / "results/models/default/README.md").read_text() == (cards / "default.md").read_text()
    (copied.folder / "results/models/default/.snakemake_timestamp").touch()
    assert copied.jobs("all")["describe_node"] == 2, "the other one's too, for the score table is made again"
    # What is only a step on the way has a card for who asks for one.
    block = {"like": "default", "schedule": {"max_steps": 1}, "start": "default"}
    step = [overlay(copied.folder, {"nodes": {"step": block}})]
    planned = copied.jobs("results/model_cards/step.md", overlays=step)
    assert (planned["train_node"], planned["describe_node"]) == (1, 1)
    assert "summarize" not in planned


# --- one GPU, a few downloads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "takes"), [("gpu", "gpu=1"), ("mem_mb", "mem_mb=lambda w, attempt: 600 * attempt")])
def test_gpus_memory_and_downloads_are_limited_by_default(tmp_path, limit, takes):
    """workflow.global_resources is not documented: this guards that the limits hold."""
    (tmp_path / "Snakefile").write_text(
        f'workflow.global_resources.setdefault("{limit}", {1 if limit == "gpu" else 1000})\n'
        'rule all:\n    input: expand("{n}", n=["a", "b", "c"])\n'
        'rule one:\n    output: "{n}"\n    wildcard_constraints: n="[abc]"\n'
        f"    resources: {takes}\n"
        '    shell: "date +%s.%N > {output}; sleep 1; date +%s.%N >> {output}"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "4", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120, env=os.environ)
    spans = sorted([float(word) for word in (tmp_path / name).read_text().split()] for name in "abc")
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    text = (ROOT / "rules/common.smk").read_text()
    assert 'workflow.global_resources.setdefault("gpu", CONFIG["training"]["gpus"])' in text
    assert 'workflow.global_resources.setdefault("downloads", 4)' in text
    assert 'workflow.global_resources.setdefault("mem_mb", memory_mb() * 9 // 10)' in text


# --- what is said and written -----------------------------------------------------------------------------


def test_without_a_gpu_the_cost_is_said_first(finished):
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU here, so nothing is said")
    assert "No GPU here: biohicl-base, default will be trained on the CPU." in finished.output
    before = finished.output.index("No GPU here")
    assert before < finished.output.index("list_pubmed:")
    assert "No GPU here" not in finished.snakemake("mesh").output


def test_what_a_model_was_made_from_is_written_beside_it(finished):
    manifest = json.loads((finished.folder / "results/models/default/manifest.json").read_text())
    tokens = finished.folder / "results/training/tokens/sample-bert-96/abstracts.parquet"
    assert manifest["inputs"]["tokens"]["sha256"] == hashlib.sha256(tokens.read_bytes()).hexdigest()
    assert manifest["settings"]["start"] == "sample-bert"
    assert manifest["versions"]["torch"].startswith("2.")
    assert str(finished.folder) not in json.dumps(manifest)
