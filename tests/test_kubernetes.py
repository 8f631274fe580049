"""profiles/kubernetes against a stand-in of a cluster: what jobs ask for, that they do their work, and how they fail.

No cluster, no image: containers run as processes here, in a folder of their own, with the environment that the job's
description and the image give them.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from cluster_stand_in import Cluster, quantity, unknown_to
from conftest import ROOT, clean_environment

pytest.importorskip(
    "snakemake_executor_plugin_kubernetes", reason="needs the package snakemake-executor-plugin-kubernetes"
)

PROFILE = yaml.safe_load((ROOT / "profiles/kubernetes/config.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((ROOT / "profiles/kubernetes/submit.yaml").read_text()))
CORPUS = ("results/corpus/current.parquet", "mesh")


def checkout(volume, sample):
    """The project's files and the sample on a volume."""
    project = volume / "project"
    for name in ("envs", "rules", "profiles", "workflow", "src"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(sample, project / "resources/sample")
    return project


def snakemake(project, cluster, *words, volume=None, timeout=300):
    """The documented command, with a volume that is a folder here and less patience; returns status and output."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/kubernetes"]
    command += ["--configfile", "workflow/configs/tests.yaml", "--seconds-between-status-checks", "1", "--jobs", "2"]
    command += ["--biohicl-kubernetes-persistent-volumes", f"biohicl:{volume or project.parent}", *words]
    environment = clean_environment() | {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(project / "src")}
    started = subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        said = started.communicate(timeout=timeout)[0]
        return started.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        pytest.fail(f"did not end; it said: {started.communicate()[0][-4000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def ran(sample, tmp_path_factory):
    """MeSH and corpus of the sample by a cluster whose server is now and then out of sorts: project, cluster, output."""
    volume = tmp_path_factory.mktemp("volume")
    refusals = [("get jobs/status", 403), ("get jobs/status", 503), ("list pods", 500), ("delete pods", 429)]
    with Cluster(tmp_path_factory.mktemp("nodes"), refusals=refusals) as cluster:
        project = checkout(volume, sample)
        code, said = snakemake(project, cluster, "--", *CORPUS)
    assert code == 0, said[-6000:]
    assert not cluster.refusals
    return project, cluster, said


def test_the_workflow_ends_with_the_tables_it_would_have_made_here(ran, mesh):
    project, cluster, _ = ran
    for table in ("descriptors", "hierarchy"):
        assert_frame_equal(pl.read_parquet(project / f"results/mesh/{table}.parquet"), pl.read_parquet(mesh / f"{table}.parquet"))
    assert pl.read_parquet(project / "results/corpus/current.parquet").height > 1900
    rules = sorted(job.rule for job in cluster.jobs.values())
    assert rules == ["fetch_mesh", *["fetch_pubmed"] * 3, "hierarchy", "merge_citations", "parse_mesh", *["parse_pubmed"] * 3]
