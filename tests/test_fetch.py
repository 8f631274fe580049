"""Listings and downloads from folders (file://), and what is told without a network."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from biohicl.encoder.fetching import SETTINGS
from biohicl.errors import BioHiCLError
from biohicl.fetch.download import fetch_backbone, fetch_benchmark, fetch_mesh_file, fetch_pubmed_file
from biohicl.fetch.places import as_url, list_directory, read_text
from biohicl.fetch.release import describe_news, mesh_release, pubmed_release
from biohicl.storage import write_json


def server(folder, *names):
    for name in names:
        kind = "baseline" if int(name.split("n")[1]) < 1000 else "updatefiles"
        path = folder / kind / f"{name}.xml.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_name(path.name + ".md5").touch()
    for kind in ("baseline", "updatefiles"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "baseline/README.txt").touch()
    return folder


def names(release):
    return [file["name"] for file in release["files"]]


def test_current_is_the_newest_baseline_with_its_updates(tmp_path):
    folder = server(tmp_path, "pubmed97n0001", "pubmed98n0001", "pubmed98n0002", "pubmed97n1300", "pubmed98n1301")
    release = pubmed_release([str(folder)], "current", "all", "all")
    assert (release["year"], names(release)) == (2098, ["pubmed98n0001", "pubmed98n0002", "pubmed98n1301"])
    # Updates of a later year than the baseline are newer news, not old ones.
    older = pubmed_release([str(folder)], 2097, "all", "all")
    assert names(older) == ["pubmed97n0001", "pubmed97n1300", "pubmed98n1301"]
    assert names(pubmed_release([str(folder)], "current", "none", [1301])) == ["pubmed98n1301"]


def test_numbers_and_ranges_choose_files(tmp_path):
    folder = server(tmp_path, *(f"pubmed99n{n:04d}" for n in range(1, 8)))
    assert names(pubmed_release([str(folder)], "current", [1, "3-4", "6-900"], "none")) == [
        f"pubmed99n000{n}" for n in (1, 3, 4, 6, 7)
    ]
    with pytest.raises(BioHiCLError, match=r"no file numbered 12 in release 2099. Change pubmed.baseline"):
        pubmed_release([str(folder)], "current", [1, 12], "none")
    with pytest.raises(BioHiCLError, match=r"has no release 2050; it has 2099"):
        pubmed_release([str(folder)], 2050, "all", "all")


def test_a_missing_mirror_is_passed_over_and_named_if_it_is_the_last(tmp_path):
    folder = server(tmp_path / "there", "pubmed99n0001")
    missing = tmp_path / "away"
    assert pubmed_release([str(missing), str(folder)], "current", "all", "all")["mirror"] == folder.as_uri()
    with pytest.raises(BioHiCLError, match=f"{missing}/baseline: no such folder. Check `mirrors`"):
        pubmed_release([str(missing)], "current", "all", "all")
    empty = tmp_path / "empty"
    server(empty)
    with pytest.raises(BioHiCLError, match="lists no PubMed files"):
        pubmed_release([str(empty)], "current", "all", "all")


def test_mesh_release(tmp_path):
    for name in ("desc2024.gz", "desc2099.gz", "supp2099.gz", "desc2099.xml"):
        (tmp_path / name).touch()
    assert mesh_release([str(tmp_path)], "current")["name"] == "desc2099"
    assert mesh_release([str(tmp_path)], 2024)["name"] == "desc2024"
    with pytest.raises(BioHiCLError, match=r"has no desc2023.gz; it has 2024, 2099"):
        mesh_release([str(tmp_path)], 2023)


def test_news_of_a_listing(tmp_path):
    record = tmp_path / "release.json"
    old = {"year": 2098, "files": [{"name": "a"}, {"name": "b"}]}
    assert describe_news(old, record) == ["first listing"]
    write_json(old, record)
    assert describe_news(old, record) == ["nothing new since the last listing"]
    new = {"year": 2099, "files": [{"name": "b"}, {"name": "c"}]}
    assert describe_news(new, record) == ["release 2099 replaces 2098", "new: c", "no longer listed: a"]


def test_a_file_replaced_under_its_name_is_news(sample, tmp_path):
    """Its time is what tells, in a folder; another mirror's time does not, since the content is the same."""
    mirror, record = shutil.copytree(sample / "pubmed", tmp_path / "mirror"), tmp_path / "release.json"
    before = pubmed_release([str(mirror)], "current", "all", "all")
    write_json(before, record)
    elsewhere = shutil.copytree(mirror, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    moved = pubmed_release([str(elsewhere)], "current", "all", "all", before)
    assert describe_news(moved, record) == ["nothing new since the last listing"]
    file = mirror / "baseline/pubmed99n0001.xml.gz"
    file.write_bytes(file.read_bytes() + gzip.compress(b""))
    new, old = hashlib.md5(file.read_bytes()).hexdigest(), before["files"][0]["md5"]
    file.with_name(f"{file.name}.md5").write_text(f"MD5({file.name})= {new}\n")
    after = pubmed_release([str(mirror)], "current", "all", "all", before)
    assert describe_news(after, record) == [f"pubmed99n0001 was re-issued (MD5 {old} -> {new})"]


def test_a_pubmed_file_comes_over_whole(sample, tmp_path):
    output = tmp_path / "deep/pubmed99n0001.xml.gz"
    fetch_pubmed_file([str(sample / "pubmed")], "baseline", "pubmed99n0001", output)
    assert output.read_bytes() == (sample / "pubmed/baseline/pubmed99n0001.xml.gz").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda f: f.write_bytes(f.read_bytes()[:-1]),
            "its MD5 is .* but the .md5 beside it says .* run again later, or use another mirror",
        ),
        (lambda f: f.write_bytes(b"<html>Busy</html>"), "not a gzip file"),
        (lambda f: f.unlink(), "no such file in this mirror"),
        (lambda f: f.with_name(f.name + ".md5").write_text("?"), "holds no MD5 checksum"),
        (lambda f: f.with_name(f.name + ".md5").unlink(), r"\.md5: no such file, and each file needs one: md5sum"),
    ],
)
def test_what_is_not_whole_never_gets_its_name(sample, tmp_path, spoil, said):
    mirror = shutil.copytree(sample / "pubmed", tmp_path / "mirror")
    spoil(mirror / "baseline/pubmed99n0001.xml.gz")
    output = tmp_path / "out/pubmed99n0001.xml.gz"
    with pytest.raises(BioHiCLError, match=said):
        fetch_pubmed_file([str(mirror)], "baseline", "pubmed99n0001", output)
    assert not output.parent.exists() or list(output.parent.iterdir()) == []
    fetch_pubmed_file([str(mirror), str(sample / "pubmed")], "baseline", "pubmed99n0001", output)
    assert output.is_file()


def test_mesh_and_its_hash(sample, tmp_path, capsys):
    fetch_mesh_file([(sample / "mesh").as_uri()], "desc2099", tmp_path / "desc2099.gz")
    assert "sha256" in capsys.readouterr().err
    with pytest.raises(BioHiCLError, match="no such file in this mirror"):
        fetch_mesh_file([str(sample / "mesh")], "desc2001", tmp_path / "desc2001.gz")


def test_an_address_that_is_none():
    with pytest.raises(BioHiCLError, match=r"https://x:y/z: no address .*change it in config.yaml"):
        read_text("https://x:y/z")


@pytest.mark.parametrize("place", ["http://localhost/x", "ftp://localhost/x", "gopher://x/y"])
def test_only_https_and_files_are_read(place):
    with pytest.raises(BioHiCLError, match="only https:// and file:// addresses are read"):
        read_text(place)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(BioHiCLError, match="names the machine nas; a folder of this one begins with file:///"):
        list_directory("file://nas/pubmed")
    os.mkfifo(tmp_path / "desc2099.gz")
    with pytest.raises(BioHiCLError, match="no such file in this mirror"):
        fetch_mesh_file([str(tmp_path)], "desc2099", tmp_path / "out/desc2099.gz")
    (tmp_path / "x.md5").write_bytes(b"x" * 70_000)
    with pytest.raises(BioHiCLError, match="longer than 65,536 bytes"):
        read_text((tmp_path / "x.md5").as_uri())


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/x%y.txt").touch()
    assert as_url("https://x.org/y/") == "https://x.org/y"
    assert list(list_directory(as_url("a b"))) == ["x%y.txt"]


FILES = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]


def test_a_benchmark_from_a_folder(sample, tmp_path):
    source = sample / "benchmarks/sample-retrieval"
    assert fetch_benchmark(None, str(source), None, FILES, tmp_path / "out") == (source, None)
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BioHiCLError, match=r"empty: has no corpus.jsonl, .*it is empty"):
        fetch_benchmark(None, str(tmp_path / "empty"), None, FILES, tmp_path / "none")
    with pytest.raises(BioHiCLError, match="no such folder"):
        fetch_benchmark(None, str(tmp_path / "absent"), None, FILES, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def archive(path, members):
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


def test_a_benchmark_from_an_archive(tmp_path):
    inner = {f"scifact/{file}": f"content of {file}" for file in FILES}
    evil = {"../../outside.txt": "x", "/tmp/outside.txt": "x", "scifact/more/corpus.jsonl": "wrong one"}
    path = archive(tmp_path / "scifact.zip", {**evil, **inner})
    fetch_benchmark(path.as_uri(), None, None, FILES, tmp_path / "out/scifact")
    assert (tmp_path / "out/scifact/corpus.jsonl").read_text() == "content of corpus.jsonl"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        ["scifact.zip", "corpus.jsonl", "queries.jsonl", "test.tsv"]
    )
    with pytest.raises(BioHiCLError, match="its SHA-256 is [0-9a-f]{64}, and 000.* is expected"):
        fetch_benchmark(path.as_uri(), None, "0" * 64, FILES, tmp_path / "none")
    with pytest.raises(BioHiCLError, match="the archive has no qrels/dev.tsv"):
        fetch_benchmark(path.as_uri(), None, None, ["qrels/dev.tsv"], tmp_path / "none")
    path.write_text("<html>")
    with pytest.raises(BioHiCLError, match="not a zip archive"):
        fetch_benchmark(path.as_uri(), None, None, FILES, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_backbone_from_a_folder(sample, tmp_path):
    (tmp_path / "out").mkdir()
    fetch_backbone(None, str(sample / "backbone"), None, tmp_path / "out")
    assert (tmp_path / "out/vocab.txt").is_file()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/config.json").write_text("{}")
    (tmp_path / "bare/pytorch_model.bin").write_text("pickle")
    with pytest.raises(BioHiCLError, match=r"bare: has no model.safetensors.*weights in .bin \(pickle\) are not read"):
        fetch_backbone(None, str(tmp_path / "bare"), None, tmp_path / "out")


def test_without_network_a_hub_name_says_what_to_do(tmp_path, run_biohicl):
    names = ("path", "revision", "passage_hub", "passage_path", "passage_revision", *SETTINGS)
    settings = {"hub": "BAAI/bge-base-en-v1.5"} | dict.fromkeys(names)
    where = ("--name", "bge", "--lock", tmp_path / "lock.json", "--output", tmp_path / "bge")
    done = run_biohicl("fetch-backbone", "--settings", json.dumps(settings), *where)
    assert done.returncode == 2
    assert "BAAI/bge-base-en-v1.5: cannot be had from the hub" in done.stderr
    assert "`path`" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = run_biohicl("fetch-backbone", "--settings", json.dumps(settings), *where, "--optional")
    assert done.returncode == 0
    assert "bge: left out: BAAI/bge-base-en-v1.5: cannot be had from the hub" in done.stderr
    assert [path.name for path in (tmp_path / "bge").iterdir()] == ["unavailable.json"]


def test_without_network_a_server_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("biohicl.fetch.https.TRIES", 1)
    with pytest.raises(BioHiCLError, match=r"cannot be reached .*Check the network, or name a copy"):
        pubmed_release(["https://localhost:1/pubmed"], "current", "all", "all")


def test_a_full_disk_is_named_and_no_other_mirror_asked(sample, tmp_path):
    """A limit on the size of files stands for the disk."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); from biohicl.cli.main import run; run()"
    command = [
        sys.executable,
        "-c",
        limited,
        "fetch-pubmed",
        "--mirrors",
        str(sample / "pubmed"),
        str(tmp_path / "away"),
    ]
    command += ["--kind", "baseline", "--name", "pubmed99n0001", "--output", str(tmp_path / "out/pubmed99n0001.xml.gz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(
        r"biohicl fetch-pubmed: error: .*/out/\.pubmed99n0001.xml.gz.part: cannot be written \(File too large\)\. "
        r"Make room or change the rights, and run again\n",
        done.stderr,
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written(sample, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BioHiCLError, match=r"cannot be written \(File exists\)"):
        fetch_pubmed_file([str(sample / "pubmed")], "baseline", "pubmed99n0001", tmp_path / "file/x.xml.gz")


def test_a_new_year_replaces_the_old_one(tmp_path):
    """Its first files already do, whatever else is there: old updates, numbers that do not follow."""
    old = ["pubmed25n0001", "pubmed25n0002", "pubmed25n1003", "pubmed25n1004"]
    folder = server(tmp_path / "pubmed", *old)
    record = tmp_path / "release.json"
    write_json(pubmed_release([str(folder)], "current", "all", "all"), record)
    server(folder, "pubmed26n0001", "pubmed26n0003")
    assert names(pubmed_release([str(folder)], "current", "all", "all")) == ["pubmed26n0001", "pubmed26n0003"]
    assert names(pubmed_release([str(folder)], 2025, "all", "all")) == old
    server(folder, "pubmed26n0002", "pubmed26n1010")
    new = pubmed_release([str(folder)], "current", "all", "all")
    files = ["pubmed26n0001", "pubmed26n0002", "pubmed26n0003", "pubmed26n1010"]
    assert names(new) == files
    assert describe_news(new, record) == [
        "release 2026 replaces 2025",
        *(f"new: {name}" for name in files),
        *(f"no longer listed: {name}" for name in old),
    ]
