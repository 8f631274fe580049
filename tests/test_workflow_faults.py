"""What a user of the workflow is told where a file, a folder or a key is wrong: one line, and no scraps."""

import hashlib
import shutil

import pytest

from conftest import Workflow, overlay


def fails(tmp_path, sample, content, target, said):
    """The run ends with an error that holds ``said``, and leaves no scraps."""
    (tmp_path / "resources").mkdir(exist_ok=True)
    (tmp_path / "resources/sample").symlink_to(sample)
    workflow = Workflow(tmp_path, overlay(tmp_path, content))
    done = workflow.snakemake(target, check=False)
    assert done.returncode != 0
    assert said in done.output.replace("\n", " "), done.output[-3000:]
    assert "Traceback" not in done.output
    assert [path for path in tmp_path.rglob("*.tmp") if ".snakemake" not in path.parts] == []


def test_a_missing_mirror_folder(tmp_path, sample):
    content = {"pubmed": {"mirrors": ["nowhere/pubmed"]}}
    fails(tmp_path, sample, content, "corpus", "nowhere/pubmed/baseline: no such folder. Check `mirrors`")


@pytest.mark.parametrize(
    ("kind", "target", "content"),
    [
        ("pubmed", "corpus", "[]"),
        ("pubmed", "corpus", '{"files": [3]}'),
        ("mesh", "mesh", '"name"'),
        ("mesh", "mesh", '{"name": ["x"]}'),
    ],
)
def test_a_listing_that_is_none(tmp_path, sample, kind, target, content):
    """Well-formed JSON, so that the look for damage lets it pass."""
    listing = tmp_path / f"resources/{kind}/release.json"
    listing.parent.mkdir(parents=True)
    listing.write_text(content)
    said = f"Damaged file: resources/{kind}/release.json: is no listing of a server's files. Remove it"
    fails(tmp_path, sample, {}, target, said)


def test_a_benchmark_that_a_selection_excludes_has_to_be_there(tmp_path, sample):
    """Elsewhere it is left out; here a promise could not be kept."""
    (tmp_path / "empty").mkdir()
    content = {"benchmarks": {"sample-retrieval": {"path": "empty"}}}
    fails(
        tmp_path,
        sample,
        content,
        "results/training/selections/abstracts.parquet",
        "leaves out the documents of sample-retrieval, and these could not be had: empty: has no corpus.jsonl",
    )


def test_nothing_to_time(tmp_path, sample):
    content = {"evaluation": {"benchmarks": ["sample-pairs"]}}
    fails(tmp_path, sample, content, "efficiency", "evaluation.efficiency.benchmark: null takes the first retrieval")


def test_a_backbone_without_weights(tmp_path, sample):
    shutil.copytree(sample / "backbone", tmp_path / "bare")
    (tmp_path / "bare/model.safetensors").unlink()
    content = {"backbones": {"sample-bert": {"path": "bare"}}}
    fails(tmp_path, sample, content, "resources/backbones/sample-bert", "bare: has no model.safetensors")
    assert not (tmp_path / "resources/backbones/sample-bert").exists()


def test_no_training_example_left(tmp_path, sample):
    content = {"training": {"selections": {"abstracts": {"min_abstract_characters": 100_000}}}}
    fails(
        tmp_path, sample, content, "results/training/selections/abstracts.parquet", "0 citations are left to train on"
    )


def test_a_corrupted_file_stops_with_its_name(tmp_path, sample):
    mirror = shutil.copytree(sample / "pubmed", tmp_path / "mirror")
    file = mirror / "baseline/pubmed99n0002.xml.gz"
    file.write_bytes(file.read_bytes()[:100_000])
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    file.with_name(file.name + ".md5").write_text(f"MD5({file.name})= {digest}\n")
    content = {"pubmed": {"mirrors": [str(mirror)]}}
    fails(tmp_path, sample, content, "corpus", "pubmed99n0002.xml.gz: truncated gzip")
    assert not (tmp_path / "results/corpus").exists()


def test_a_mistake_in_the_configuration_is_one_line(tmp_path):
    workflow = Workflow(tmp_path, overlay(tmp_path, {"models": ["defalt"]}))
    done = workflow.snakemake("--dry-run", "all", check=False)
    assert done.returncode != 0
    said = [line for line in done.output.splitlines() if "defalt" in line]
    assert len(said) == 1
    assert "did you mean 'default'?" in said[0]
    assert "Traceback" not in done.output
