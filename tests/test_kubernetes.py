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
from conftest import ROOT, clean_environment, overlay

pytest.importorskip(
    "snakemake_executor_plugin_kubernetes", reason="needs the package snakemake-executor-plugin-kubernetes"
)

FOLDER = ROOT / "profiles/kubernetes"
PROFILE = yaml.safe_load((FOLDER / "config.yaml").read_text())
# What a job asks for that loads an encoder of which no weights are there: as of BERT-base.
OF_UNKNOWN_ENCODER = (4000 + 2 * 440) * 10**6
# A server that is now and then out of sorts: 504 is an answer that was lost.
OUT_OF_SORTS = (
    ("create jobs", 504),
    ("create jobs", 429),
    ("get jobs/status", 403),
    ("get jobs/status", 503),
    ("list pods", 500),
    ("delete pods", 429),
)


def checkout(volume, sample):
    """The project's files and the sample on a volume."""
    project = volume / "project"
    for name in ("envs", "rules", "profiles", "workflow", "src"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(sample, project / "resources/sample")
    # One of the sample's PubMed files.
    overlay(project, {"pubmed": {"baseline": [1], "updates": "none"}})
    return project


def snakemake(project, cluster, *words, volume=None, source=None, timeout=240):
    """The documented command, with a volume that is a folder here, and less patience; returns status and output."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/kubernetes"]
    command += ["--configfile", "workflow/configs/tests.yaml", "overlay.yaml", "--seconds-between-status-checks", "1"]
    command += ["--biohicl-kubernetes-persistent-volumes", f"biohicl:{volume or project.parent}", *words]
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(source or project / "src")}
    started = subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment() | environment,
        start_new_session=True,
    )
    try:
        said, _ = started.communicate(timeout=timeout)
    finally:
        # It and what it started, where it does not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return started.returncode, said


def posted(project, cluster, rule, output, *words):
    """The job of ``rule`` that is posted for ``output``, whose inputs are there in name alone."""
    for path in ("resources/backbones/sample-bert", "resources/benchmarks/sample-retrieval"):
        (project / path).mkdir(parents=True, exist_ok=True)
    # The look for damage reads its ends.
    (project / "resources/benchmarks/sample-retrieval/documents.parquet").write_bytes(b"PAR1PAR1")
    code, said = snakemake(project, cluster, "--allowed-rules", rule, *words, "--", output)
    assert code, "a job that was not run did not fail"
    return said


@pytest.fixture(scope="module")
def ran(sample, tmp_path_factory):
    """MeSH and corpus of the sample by a cluster: project, cluster, output."""
    volume = tmp_path_factory.mktemp("volume of blanks")
    with Cluster(tmp_path_factory.mktemp("nodes"), refusals=OUT_OF_SORTS) as cluster:
        project = checkout(volume, sample)
        code, said = snakemake(project, cluster, "--jobs", "2", "--", "mesh", "results/corpus/current.parquet")
    assert code == 0, said[-6000:]
    assert not cluster.refusals
    return project, cluster, said


@pytest.fixture
def project(sample, tmp_path):
    return checkout(tmp_path / "volume", sample)


def declared_memory(file, rule):
    """The bytes that a rule's source says."""
    source = (ROOT / f"rules/{file}.smk").read_text()
    return int(re.search(rf"^rule {rule}:.*?mem_mb=memory\((\d+)\)", source, re.DOTALL | re.MULTILINE)[1]) * 10**6


@pytest.mark.long(30)
def test_the_workflow_ends_with_the_tables_it_would_have_made_here(ran, mesh):
    project, cluster, _ = ran
    for table in ("descriptors", "hierarchy"):
        there, here = (pl.read_parquet(folder / f"{table}.parquet") for folder in (project / "results/mesh", mesh))
        assert_frame_equal(there, here)
    assert pl.read_parquet(project / "results/corpus/current.parquet").height > 900
    # The pod that runs snakemake asks for listings and fetches; a job whose answer was lost is there once.
    rules = sorted(job.rule for job in cluster.jobs.values())
    assert rules == ["hierarchy", "merge_citations", "parse_mesh", "parse_pubmed"]
    assert not cluster.refused


@pytest.mark.long(30)
def test_nothing_is_left_in_the_cluster(ran):
    _, cluster, _ = ran
    assert not cluster.secrets
    assert sorted(cluster.removed) == sorted(cluster.jobs)


@pytest.mark.long(30)
def test_a_second_run_has_nothing_to_do(ran, tmp_path):
    project, *_ = ran
    with Cluster(tmp_path) as cluster:
        code, said = snakemake(project, cluster, "--", "mesh", "results/corpus/current.parquet")
    assert code == 0
    assert "Nothing to be done" in said
    assert not cluster.jobs


@pytest.mark.long(30)
def test_jobs_ask_for_the_threads_and_the_memory_of_their_rules(ran):
    _, cluster, said = ran
    asked = {job.rule: job.container["resources"] for job in cluster.jobs.values()}
    for rule, resources in asked.items():
        block = said[said.index(f"rule {rule}:") :].split("\n\n")[0]
        threads = int(found[1]) if (found := re.search(r"threads: (\d+)", block)) else 1
        memory = int(re.search(r"mem_mb=(\d+)", block)[1])
        # A node's own processes have the rest.
        assert threads * 0.9 <= quantity(resources["requests"]["cpu"]) <= threads
        assert quantity(resources["requests"]["memory"]) == memory * 10**6
        assert not any("gpu" in name for name in resources["requests"])
        # Snakemake in the pod takes some of it, too.
        assert not resources.get("limits")
    assert quantity(asked["parse_mesh"]["requests"]["memory"]) == declared_memory("mesh", "parse_mesh")


@pytest.mark.long(30)
def test_jobs_have_the_volume_the_image_and_the_environment(ran):
    project, cluster, _ = ran
    for job in cluster.jobs.values():
        assert job.container["image"] == PROFILE["container-image"]
        mounts = {mount["name"]: mount["mountPath"] for mount in job.container["volumeMounts"]}
        assert mounts["biohicl"] == str(project.parent)
        assert {"name": "biohicl", "persistentVolumeClaim": {"claimName": "biohicl"}} in job.volumes
        assert json.loads(job.environment["PUBMED_MIRRORS"]) == ["resources/sample/pubmed"]
        assert json.loads(job.environment["MESH_MIRRORS"]) == ["resources/sample/mesh"]
        assert job.environment["PARSE_OPTIONS"] == ""
        assert job.environment["TRAINING_LAUNCHER"] == "python -m"
        # The image's own Python, whatever runs snakemake, and nothing to install.
        assert " python -m snakemake " in job.command
        assert sys.executable not in job.command
        assert "pip install" not in job.command


def test_a_job_on_a_gpu_asks_for_it_by_its_makers_name(project, tmp_path):
    with Cluster(tmp_path, runs=False) as cluster:
        posted(project, cluster, "embed_documents", "results/vectors/sample-bert/sample-retrieval/documents.npy")
    assert not cluster.refused
    [job] = cluster.jobs.values()
    resources = job.container["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    # A limit for the GPU, which a server refuses to give without; none for the memory.
    assert quantity(resources["requests"]["memory"]) == OF_UNKNOWN_ENCODER
    assert set(resources["limits"]) == {"nvidia.com/gpu"}
    tolerations = job.body["spec"]["template"]["spec"]["tolerations"]
    assert [toleration["key"] for toleration in tolerations] == ["nvidia.com/gpu"]


def test_without_gpus_a_job_asks_for_none_and_limits_follow_where_they_are_wanted(project, tmp_path):
    defaults = [word.replace("scale=1", "scale=0") for word in PROFILE["default-resources"]]
    words = ("--config", "gpu=never", "--default-resources", *defaults)
    with Cluster(tmp_path, runs=False) as cluster:
        posted(
            project, cluster, "embed_documents", "results/vectors/sample-bert/sample-retrieval/documents.npy", *words
        )
    assert not cluster.refused
    [job] = cluster.jobs.values()
    requests, limits = job.container["resources"]["requests"], job.container["resources"]["limits"]
    assert set(requests) == set(limits) == {"cpu", "memory", "ephemeral-storage"}
    assert not job.body["spec"]["template"]["spec"].get("tolerations")
    assert quantity(limits["cpu"]) == 2  # training.threads of the tests' configuration
    assert quantity(requests["memory"]) == quantity(limits["memory"]) == OF_UNKNOWN_ENCODER


@pytest.mark.long(30)
def test_a_failed_container_ends_the_workflow_and_names_the_rule(project, tmp_path):
    # Whole for a download, but no XML.
    [mesh] = (project / "resources/sample/mesh").glob("*.gz")
    shutil.copy(next((project / "resources/sample/pubmed/baseline").glob("*.gz")), mesh)
    with Cluster(tmp_path) as cluster:
        code, said = snakemake(project, cluster, "--", "results/mesh/hierarchy.parquet")
    assert code == 1
    assert [job.rule for job in cluster.jobs.values()] == ["parse_mesh"]
    assert "Error in rule parse_mesh" in said
    # The job's own log, and what the container said.
    assert (project / "logs/parse_mesh.log").read_text().splitlines()[-1] in said
    [log] = (project / ".snakemake").glob("**/kubernetes-logs/*.log")
    assert "Error in rule parse_mesh" in log.read_text()
    assert log.read_text().splitlines()[0] in said
    assert not cluster.secrets


@pytest.mark.long(30)
def test_a_job_that_somebody_deletes_fails(project, tmp_path):
    with Cluster(tmp_path, deleted=("parse_mesh",)) as cluster:
        code, said = snakemake(project, cluster, "--", "results/mesh/hierarchy.parquet", timeout=60)
    assert code == 1
    assert "Error in rule parse_mesh" in said
    assert "deleted manually" in said


@pytest.mark.parametrize("what", ["project", "snakefile"])
def test_files_on_no_volume_are_refused_before_anything_is_posted(project, tmp_path, what):
    with Cluster(tmp_path) as cluster:
        if what == "project":
            code, said = snakemake(project, cluster, "--", "mesh", volume="/elsewhere")
        else:
            shutil.copytree(project / "rules", tmp_path / "rules")
            shutil.copytree(project / "workflow", tmp_path / "workflow")
            for name in ("Snakefile", "config.yaml"):
                shutil.copy(project / name, tmp_path)
            code, said = snakemake(project, cluster, "--snakefile", str(tmp_path / "Snakefile"), "--", "mesh")
    assert code == 1
    place = project if what == "project" else tmp_path / "Snakefile"
    assert f"{place} is on no volume that jobs mount" in said
    assert "Traceback" not in said
    assert not cluster.asked


def test_without_the_plugin_snakemake_says_what_is_missing(project, tmp_path):
    # A finder that knows no such package.
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(
        "import importlib.util, pkgutil\n"
        "name = 'snakemake_executor_plugin_kubernetes'\n"
        "find, walk = importlib.util.find_spec, pkgutil.iter_modules\n"
        "importlib.util.find_spec = lambda wanted, *more: None if wanted == name else find(wanted, *more)\n"
        "pkgutil.iter_modules = lambda *more: (found for found in walk(*more) if found.name != name)\n"
    )
    environment = clean_environment() | {"PYTHONPATH": f"{tmp_path / 'hidden'}:{project / 'src'}"}
    command = [sys.executable, "-m", "snakemake", "--configfile", "workflow/configs/tests.yaml", "--jobs", "1"]
    for words, needle in (
        (("--executor", "biohicl-kubernetes"), "needs the package snakemake-executor-plugin-kubernetes"),
        # Others start as ever.
        (("--cores", "1", "--dry-run"), "list_mesh"),
    ):
        done = subprocess.run([*command, *words, "mesh"], cwd=project, capture_output=True, text=True, env=environment)
        assert needle in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.long(30)
def test_the_manifests_fit_the_profile_and_allow_what_is_asked_and_no_more(ran):
    kinds = {"PersistentVolumeClaim": "V1PersistentVolumeClaim", "RoleBinding": "V1RoleBinding", "Pod": "V1Pod"}
    kinds |= {"ServiceAccount": "V1ServiceAccount", "Role": "V1Role"}
    manifests = {document["kind"]: document for document in yaml.safe_load_all((FOLDER / "submit.yaml").read_text())}
    assert set(manifests) == set(kinds)
    for kind, document in manifests.items():
        assert not unknown_to(document, kinds[kind])
    pod = manifests["Pod"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == PROFILE["container-image"]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert PROFILE["biohicl-kubernetes-persistent-volumes"] == [f"{claim}:{container['volumeMounts'][0]['mountPath']}"]
    assert pod["serviceAccountName"] == manifests["RoleBinding"]["subjects"][0]["name"]
    allowed = {
        (verb, group, resource)
        for rule in manifests["Role"]["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    # Logs are read of what failed, and here nothing did.
    assert ran[1].asked == allowed - {("get", "", "pods/log")}


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder():
    lines = (ROOT / "envs/Dockerfile").read_text().replace("\\\n", "").splitlines()
    sources = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    sent = [
        line[1:] for line in (ROOT / "envs/Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(sources) == sorted(sent)
    assert all((ROOT / source).exists() for source in sources)
    # What pip reads to install the package is among them.
    project = (ROOT / "pyproject.toml").read_text()
    assert set(re.findall(r'^readme = "(.+)"|^license-files = \["(.+)"\]', project, re.MULTILINE)[0]) - {""} <= set(
        sources
    )
