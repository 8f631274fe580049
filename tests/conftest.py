"""What the tests share: the generated sample, one run of the whole workflow on it, and the real data if it is there."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# What people read: the README, then docs/ by name.
DOCUMENTS = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
STARTED = time.monotonic()
# What the workflow on the sample takes: the first test that reads it waits for that.
WORKFLOW_SECONDS = 150
MADE: list[Path] = []

# A shell has what it starts in the background ignore Ctrl-C, and from these tests all that they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--seconds", type=float, default=None, help="leave out long tests that would not end within this time"
    )

    parser.addoption(
        "--seeds", default="0:40", help="which faults and drawn citations the tests marked `faults` try, such as 0:40"
    )

    parser.addoption(
        "--tries", type=int, default=2, help="at how many moments each fault of the workflow is tried (marked `faults`)"
    )


def pytest_collection_modifyitems(items):
    # Short ones first, so that a limit on the time leaves out as few as possible.
    items.sort(key=lambda item: mark.args[0] if (mark := timed(item)) else 0)


def timed(item):
    """The mark that says how long a test takes, if it has one."""
    return item.get_closest_marker("real") or item.get_closest_marker("long")


def pytest_runtest_setup(item):
    mark = timed(item)
    limit = item.config.getoption("--seconds")
    if mark is None or limit is None:
        return
    needed = mark.args[0] + (WORKFLOW_SECONDS if "finished" in item.fixturenames and not MADE else 0)
    if time.monotonic() - STARTED + needed > limit:
        pytest.skip(f"takes about {needed} s, and {limit:.0f} s in all are given")


@pytest.fixture(scope="session")
def shared():
    """The folder of real data beside the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real data in ../shared, which is not there")
    return SHARED


@pytest.fixture(scope="session")
def seeds(request):
    """The range that --seeds names."""
    return range(*map(int, request.config.getoption("--seeds").split(":")))


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    from biohicl.sample.make import make_sample

    folder = tmp_path_factory.mktemp("sample") / "sample"
    make_sample(folder)
    return folder


@pytest.fixture(scope="session")
def mesh(sample, tmp_path_factory):
    """The tables of the sample's MeSH."""
    from biohicl.mesh.hierarchy import write_hierarchy
    from biohicl.mesh.parse import parse_mesh_file

    folder = tmp_path_factory.mktemp("mesh")
    parse_mesh_file(next((sample / "mesh").glob("*.gz")), folder)
    write_hierarchy(folder, folder / "hierarchy.parquet", folder / "anomalies.parquet", folder / "descriptors.graphml")
    return folder


@pytest.fixture(scope="session")
def corpus(sample, mesh, tmp_path_factory):
    """Some of the sample's citations: the selection, its release, and the folder of its articles."""
    import polars as pl

    from pubmed_tables import parsed
    from recipe_tables import frozen

    folder = tmp_path_factory.mktemp("corpus")
    (folder / "parsed").mkdir()
    articles = pl.from_arrow(parsed(sorted((sample / "pubmed/baseline").glob("*.xml.gz"))[0], folder / "parsed")[0])
    articles = articles.unique("pmid", keep="last").sort("pmid")
    (folder / "articles").mkdir()
    articles.write_parquet(folder / "articles/one.parquet")
    release = frozen(mesh, articles.select("pmid", "version", "position", file=pl.lit("one")), folder / "release")
    headings = pl.col("mesh_headings").list.eval(pl.element().struct.field("descriptor_ui"))
    whole = articles.filter(pl.col("title").is_not_null() & pl.col("abstract").is_not_null()).head(300)
    selection = whole.select(
        "pmid", "version", "year", "title", "abstract", "doi", descriptor_uis=headings
    ).with_columns(majors=pl.col("descriptor_uis").list.eval(pl.element().is_null()))
    selection.write_parquet(folder / "selection.parquet")
    return folder / "selection.parquet", release, folder


@pytest.fixture(scope="session")
def searched(sample, mesh, tmp_path_factory):
    """The index's folder of a small project, some of whose citations are nasty. Tests only read it, or copy it first."""
    from search_index import sample_project
    from served import nasty

    return sample_project(tmp_path_factory.mktemp("searched"), sample, mesh, changed=nasty).folder


@pytest.fixture(scope="session")
def served(searched):
    """The address of a server over that index, in a process of its own."""
    from served import serving

    with serving(searched) as (address, _):
        yield address


class Workflow:
    """Snakemake in a folder of its own, on the sample; ``root`` is where the project's files lie."""

    def __init__(self, folder: Path, *overlays: Path, root: Path = ROOT):
        self.folder = folder
        self.root = root
        self.overlays = [ROOT / "workflow/configs/tests.yaml", *overlays]

    def start(self, *words: str, overlays=(), **options):
        """Snakemake in a session of its own, so that its jobs end with it where a test is stopped or takes too long."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.root / "Snakefile"), "--cores", "2"]
        command += ["--profile", str(self.root / "profiles/default"), *words]
        command += ["--configfile", *map(str, [*self.overlays, *overlays])]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": clean_environment()}
        return subprocess.Popen(command, cwd=self.folder, start_new_session=True, **given | options)

    def snakemake(self, *words: str, overlays=(), check=True, timeout=600, **options):
        started = self.start(*words, overlays=overlays, **options)
        try:
            said = started.communicate(timeout=timeout)
        except BaseException:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        done = subprocess.CompletedProcess(started.args, started.returncode, *said)
        done.output = done.stdout + done.stderr
        if check:
            assert done.returncode == 0, done.output[-6000:]
        return done

    def jobs(self, *words: str, overlays=()) -> dict[str, int]:
        """What a dry run would do: rule to number of jobs (`all` and other targets left out)."""
        output = self.snakemake("--dry-run", *words, overlays=overlays).output
        if "Nothing to be done" in output:
            return {}
        table = output[output.rindex("Job stats:") :].splitlines()[3:]
        counts = {}
        for line in table:
            if not line.strip():
                break
            rule, count = line.split()
            counts[rule] = int(count)
        return {rule: count for rule, count in counts.items() if rule not in {"total", *targets()}}


@functools.cache
def targets():
    """The rules that only name files: they have no command."""
    rules = "".join(path.read_text() for path in (ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))))
    blocks = re.split(r"^(?= *(?:use rule|rule|checkpoint) \w)", rules, flags=re.MULTILINE)
    named = {head[1]: block for block in blocks if (head := re.match(r" *(?:rule|checkpoint) (\w+)", block))}
    return {name for name, block in named.items() if "shell:" not in block}


def overlay(folder, content, name="overlay.yaml"):
    """A configuration file in ``folder`` that holds ``content``."""
    import yaml

    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def clean_environment() -> dict[str, str]:
    """What a shell has that was just opened, and no network for the hub's client."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, sample):
    """The whole workflow, run once on the sample. Tests only read it, or copy it first."""
    folder = tmp_path_factory.mktemp("workflow")
    (folder / "resources").mkdir()
    (folder / "resources/sample").symlink_to(sample)
    workflow = Workflow(folder)
    workflow.output = workflow.snakemake("all").output
    MADE.append(folder)
    return workflow


@pytest.fixture(scope="session")
def made(finished):
    """The finished workflow's folder, and the resolved configuration that it ran with."""
    from biohicl import configuration

    files = [ROOT / "config.yaml", *finished.overlays]
    return finished.folder, configuration.load(files, ROOT / "workflow/schemas/config.schema.yaml")


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workflow that a test may change; modification times and Snakemake's memory come along."""
    subprocess.run(["cp", "-a", f"{finished.folder}/.", str(tmp_path)], check=True)
    return Workflow(tmp_path)


def biohicl(*words, cwd=None, timeout=300):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "biohicl", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean_environment(),
    )


@pytest.fixture(scope="session")
def run_biohicl():
    return biohicl
