"""The built-in sample: the same to the byte, and with all that it promises."""

import gzip
import hashlib
import json
import subprocess
import sys

import polars as pl
import pytest

from biohicl.errors import BioHiCLError
from biohicl.sample.files import stored_gzip
from biohicl.sample.make import make_sample
from biohicl.sample.world import World
from conftest import clean_environment

# Whoever changes the sample on purpose changes this too.
FINGERPRINT = "f6ece2d8054594f11247b93452e4fa2ac34f9f088afd17811bce7c17080742a4"


def fingerprint(folder):
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_the_same_to_the_byte_in_another_process_and_everywhere(sample, tmp_path):
    environment = clean_environment() | {"PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "biohicl", "make-sample", str(tmp_path / "again")]
    subprocess.run(command, check=True, env=environment, timeout=120)
    assert fingerprint(tmp_path / "again") == fingerprint(sample) == FINGERPRINT


def test_stored_gzip_is_gzip():
    for size in (0, 1, 65_535, 65_536, 200_000):
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert gzip.decompress(stored_gzip(content)) == content


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BioHiCLError, match="name another folder"):
        make_sample(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_descriptors_have_words_of_their_own():
    world = World()
    words = [word for descriptor in world.descriptors.values() for word in descriptor.words]
    assert len(words) == len(set(words))
    assert len(world.descriptors) >= 290
    assert sum(len(d.parents) > 1 for d in world.descriptors.values()) >= 20
    notes = [d.scope_note for d in world.descriptors.values()]
    assert len(set(notes)) == len(notes)
    assert all(len(note.split()) >= 8 for note in notes)


def test_the_excerpt_equals_nlm(shared):
    """UI, name and tree numbers are NLM's; nothing else of it is here."""
    import xml.etree.ElementTree as ET

    real = {}
    for record in ET.fromstring(gzip.decompress((shared / "data/nlm/mesh/desc2024.gz").read_bytes())):
        numbers = tuple(sorted(part.text for part in record.findall("TreeNumberList/TreeNumber")))
        real[record.find("DescriptorUI").text] = (record.find("DescriptorName/String").text, numbers)
    for descriptor in World().descriptors.values():
        assert real[descriptor.ui] == (descriptor.name, descriptor.tree_numbers)


def test_what_is_hard_about_real_citations_is_there(finished):
    articles = pl.read_parquet(finished.folder / "results/pubmed/articles/*.parquet")
    assert 1_900 <= articles["pmid"].n_unique() <= 2_100
    assert articles.filter(pl.col("version") > 1).height == 20
    assert articles["title"].null_count() >= 3
    assert articles.filter(pl.col("abstract_sections").list.len() > 1).height > 300
    assert articles.filter(pl.col("abstract").is_null()).height > 100
    assert articles.filter(pl.col("mesh_headings").list.len() == 0).height > 80
    assert articles.filter(pl.col("vernacular_title").is_not_null()).height > 50
    assert articles.filter(pl.col("publication_date").str.contains("-")).height > 80
    for text in ("TiO2", "10-3", "NF-κB & TNF-α", "R = 2", "(P < 0.05)"):
        assert articles.filter(pl.col("abstract").str.contains(text, literal=True)).height >= 5, text


def test_the_benchmarks_are_not_the_training_texts(finished, sample):
    known = set(pl.read_parquet(finished.folder / "results/pubmed/articles/*.parquet")["abstract"])
    texts = [json.loads(line)["text"] for line in (sample / "benchmarks/sample-retrieval/corpus.jsonl").open()]
    assert len(texts) == 500
    assert not known & set(texts)
