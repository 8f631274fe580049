"""The workflow by a real SLURM of one node, started here; GPUs are counted by it and not there."""

import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

import slurm_cluster
from conftest import ROOT, overlay

pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the package snakemake-executor-plugin-slurm")
if reason := slurm_cluster.lacking():
    pytest.skip(reason, allow_module_level=True)

PROFILE = ROOT / "profiles/slurm"
# One training of two processes, as short as can be.
SHORT = {
    "training": {"gpus": 2, "threads": 2},
    "nodes": {"default": {"schedule": {"max_steps": 2, "epochs": 1}, "development": {"citations": 10}}},
}


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster.cluster(memory=64_000) as environment:
        yield environment


def snakemake(folder, environment, *words):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "Snakefile",
        "--profile",
        PROFILE,
        "--cores",
        "2",
    ]
    # No accounting database here, and less patience.
    command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", *words]
    command += ["--configfile", ROOT / "workflow/configs/tests.yaml", overlay(folder, SHORT)]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def of_jobs(environment):
    """What SLURM knows of each job of the last minutes, by its log's folder (a rule or a group)."""
    command = ["scontrol", "--oneliner", "--details", "show", "job"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in said.splitlines():
        values = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if place := re.search(r"slurm_logs/([^/]+)/", values.get("StdOut", "")):
            found.setdefault(place[1], []).append(values)
    return found


@pytest.mark.long(200)
def test_a_model_is_trained_by_slurm(cluster, sample, tmp_path, mesh):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    vectors = [f"results/index/default/exact/pubmed99n{number:04d}.safetensors" for number in (1, 2, 3)]
    targets = ["results/models/default", "results/corpus/description.parquet", *vectors]
    started = snakemake(tmp_path, cluster, *targets, "--set-threads", "index_vectors=1")
    said, _ = started.communicate(timeout=800)
    assert started.returncode == 0, said[-6000:]
    jobs = of_jobs(cluster)
    # All files of PubMed are one allocation; what comes from outside is none.
    assert len(jobs["group_parse_parse_pubmed"]) == 1
    assert not [name for name in jobs if "fetch" in name or "list" in name]
    # As the rules say: parse_pubmed has three files at 1,000 MB, two at a time on two cores.
    assert jobs["group_parse_parse_pubmed"][0]["TRES"].startswith("cpu=2,mem=2000M")
    [training] = jobs["rule_train_node"]
    assert training["TresPerJob"] == "gres:gpu:2"
    assert training["NumCPUs"] == "2"
    # Two cores would let two encode at a time, on a GPU each: one after the other, for as long.
    [encoding] = jobs["group_vectors_index_vectors"]
    assert (encoding["NumCPUs"], encoding["TresPerJob"], encoding["TimeLimit"]) == ("1", "gres:gpu:1", "00:45:00")
    # torchrun through the rule: two processes, each told the GPUs that SLURM allotted.
    log = (tmp_path / "logs/train_node/default.log").read_text()
    assert "2 processes" in log, log
    assert "CUDA_VISIBLE_DEVICES gives this job GPU 0,1" in log
    # Nothing else is to do on this machine, without SLURM.
    local = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2", "--dry-run"]
    local += [*targets, "--configfile", ROOT / "workflow/configs/tests.yaml", tmp_path / "overlay.yaml"]
    done = subprocess.run(list(map(str, local)), cwd=tmp_path, capture_output=True, text=True)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.long(40)
def test_ctrl_c_empties_the_queue(cluster, sample, tmp_path):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/sample").symlink_to(sample)
    started = snakemake(tmp_path, cluster, "mesh")
    until = time.monotonic() + 60
    while not queued(cluster):
        assert started.poll() is None, started.stdout.read()
        assert time.monotonic() < until, "no job in a minute"
        time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=120)
    assert started.returncode != 0
    until = time.monotonic() + 30
    while queued(cluster):
        assert time.monotonic() < until, "jobs are left in the queue"
        time.sleep(0.5)


def queued(environment):
    command = ["squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_profile_names_rules_that_are_there():
    """Snakemake takes groups of rules that it does not know, and says nothing."""
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    rules = set(
        re.findall(
            r"^ *(?:use )?rule (?:\w+ as )?(\w+)", "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk")), re.M
        )
    )
    grouped = dict(word.split("=") for word in profile["groups"])
    assert set(grouped) <= rules
    assert {word.split("=")[0] for word in profile["group-components"]} == set(grouped.values())
    # The examples of another partition for GPUs, which are comments, are all rules that ask for one.
    named = set(re.findall(r"^#   - (\w+):slurm_partition", (PROFILE / "config.yaml").read_text(), re.M))
    assert named == rules_on_a_gpu() - {"measure_encoder"}


def rules_on_a_gpu():
    """The rules whose resources have a gpu, of their own or from the rule that they are made from."""
    found = set()
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^(?=(?:use )?rule )", path.read_text(), flags=re.M):
            if head := re.match(r"(?:use rule (\w+) as|rule) (\w+)", block):
                parent, name = head.groups()
                if re.search(r"^ +gpu=", block, re.M) or (parent in found and "resources:" not in block):
                    found.add(re.match(r"use rule \w+ as (\w+)", block)[1] if parent else name)
    return found
