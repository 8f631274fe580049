"""What is written down for people: the queries of README and docs/, the environments, the modules' own words."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

import biohicl
from conftest import DOCUMENTS, ROOT


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_and_installed_as_pinned():
    from importlib.metadata import distributions

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cluster"], *extras["dev"]]
    wanted.remove("biohicl[cluster]")
    pinned = pins()
    assert [name for name in wanted if normal(re.match(r"[\w.-]+", name)[0]) not in pinned] == []
    here = {normal(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    differing = {
        name: (version, pinned[name]) for name, version in here.items() if pinned.get(name, version) != version
    }
    assert differing == {}


def test_conda_environments_hold_the_same_versions():
    other_names = {
        "python-duckdb": "duckdb",
        "python-isal": "isal",
        "pytorch": "torch",
        "matplotlib-base": "matplotlib",
    }
    pinned = pins()
    for file in (ROOT / "envs").glob("*.yaml"):
        listed = []
        for entry in yaml.safe_load(file.read_text())["dependencies"]:
            listed += entry["pip"] if isinstance(entry, dict) else [entry]
        for entry in listed:
            name, _, version = re.match(r"([\w.-]+)\s*(==?|>=)?(.*)", entry).groups()
            if name in ("python", "pip"):
                continue
            assert pinned[normal(other_names.get(name, name))] == version, f"{file.name}: {entry}"


def test_every_stage_has_help(run_biohicl):
    listed = run_biohicl("--help").stdout
    commands = re.findall(r"^    ([a-z-]+) ", listed, flags=re.MULTILINE)
    assert {"make-sample", "parse-pubmed", "parse-mesh", "evaluate", "train", "sql"} <= set(commands)
    for command in commands:
        done = run_biohicl(command, "--help")
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) > 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serch", "x"], "there is no 'serch'; did you mean search or"),
        (["xyzzy"], "there is no 'xyzzy'; biohicl --help lists them"),
        (["search", "x", "--headings", "y"], "nothing is known of --headings y; did you mean --heading?"),
        (["search", "x", "--headings=y"], "did you mean --heading?"),
        (["search", "x", "--threads", "2"], "(--threads stands before the command)"),
        (["search", "x", "--mode", "dens"], "choose from 'hybrid', 'dense', 'bm25'"),
        (["sql", "select 1", "select 2"], "biohicl sql: error: nothing is known of select 2"),
    ],
)
def test_misspelt_words_get_a_guess(run_biohicl, words, said):
    done = run_biohicl(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) < 20, "a list of everything helps nobody"


def test_rules_all_have_log_benchmark_and_environment():
    for file in (ROOT / "rules").glob("*.smk"):
        blocks = re.split(r"^(?:rule|checkpoint) ", file.read_text(), flags=re.MULTILINE)[1:]
        for block in blocks:
            name = block.split(":")[0]
            assert '"""' in block, f"{name} says nothing of itself"
            if "shell:" not in block:
                continue
            # Snakemake takes a benchmark file for an output: with one, refresh would ask the server only once.
            wanted = ["log:", "conda:", "mem_mb=", "runtime=", *(["benchmark:"] if name != "refresh" else [])]
            for directive in wanted:
                assert directive in block, f"{file.name}: {name} has no {directive}"


def test_queries_give_what_the_documents_show(finished, run_biohicl):
    """Each `biohicl sql` block, and the answer below it, on the demonstration's sample; of a model's scores the form."""
    blocks = re.findall(r'```console\n\$ biohicl sql --csv "(.*?)"\n(.*?)```', DOCUMENTS, flags=re.DOTALL)
    # One of them stands in the README too.
    assert len(blocks) == 11
    of_models = 0
    for sql, shown in blocks:
        done = run_biohicl("sql", "--csv", sql, cwd=finished.folder)
        assert done.returncode == 0, done.stderr
        if "'default'" not in sql:
            assert done.stdout == shown, sql
            continue
        of_models += 1
        for text in (done.stdout, shown):
            header, row = (line.split(",") for line in text.splitlines())
            assert (header, row[0], row[3]) == (["benchmark", "better", "worse", "queries"], "sample-retrieval", "50")
            assert 0 <= int(row[1]) + int(row[2]) <= 50
    assert of_models == 1


def test_the_recipe_for_polars_runs_and_agrees_with_duckdb(finished, run_biohicl):
    (code,) = re.findall(r"```python\n(import polars.*?)```", DOCUMENTS, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=finished.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == code.strip().splitlines()[-1].removeprefix("# ")
    sql = "select year // 10 * 10 as decade, count(*) from citations group by all order by all"
    asked = run_biohicl("sql", "--csv", sql, cwd=finished.folder).stdout.split()[1:]
    assert [f"{decade},{count}" for decade, count in ast.literal_eval(done.stdout)] == asked


def test_a_descriptor_is_shown_as_it_is_printed(finished, run_biohicl):
    (shown,) = re.findall(
        r'```console\n\$ biohicl mesh show "atrial fibrillation" --relatives 3\n(.*?)```', DOCUMENTS, re.DOTALL
    )
    done = run_biohicl("mesh", "show", "atrial fibrillation", "--relatives", "3", cwd=finished.folder)
    assert done.stdout == shown


def test_documents_name_files_that_exist():
    for path in re.findall(r"`((?:workflow|rules|src|tests|envs|profiles)/[\w./-]+)`", DOCUMENTS):
        assert (ROOT / path).exists(), path


def test_lower_rooms_know_nothing_of_higher_ones():
    """The order in biohicl/__init__.py: a module imports only from rooms before its own."""
    rooms = rooms_of_the_house()
    for file in (ROOT / "src/biohicl").rglob("*.py"):
        parts = file.relative_to(ROOT / "src/biohicl").with_suffix("").parts
        if parts[0] in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            for name in imported(node):
                room = name.split(".")[1]
                assert rooms.index(room) <= rooms.index(parts[0]), f"{file}: imports {name}"


def rooms_of_the_house():
    """The rooms as biohicl/__init__.py lists them, lower ones first: those that there are, each once."""
    listed = re.findall(r"^    (\w+(?:, \w+)*)  ", biohicl.__doc__, re.MULTILINE)
    rooms = [room for line in listed for room in line.split(", ")]
    there = {
        path.stem
        for path in (ROOT / "src/biohicl").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert sorted(rooms) == sorted(there - {"__init__", "__main__"})
    return rooms


def imported(node):
    """Of a statement the modules of the package that it imports, by `from` or not; not the package itself."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith("biohicl.")]
    if isinstance(node, ast.ImportFrom) and node.module == "biohicl":
        return [f"biohicl.{alias.name}" for alias in node.names]
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("biohicl."):
        return [node.module]
    return []


def test_training_needs_nothing_that_a_bare_gpu_image_lacks():
    """GPU images have torch, transformers, peft and pyarrow, but often no polars, duckdb, lxml or snakemake."""
    code = (
        "import sys\n"
        "for name in ('polars', 'duckdb', 'snakemake', 'lxml', 'networkx', 'tensorboard', 'httpx', 'jsonschema'):\n"
        "    sys.modules[name] = None\n"
        "import biohicl.training.train, biohicl.training.tokens, biohicl.training.losses, biohicl.evaluation.retrieval\n"
        "import biohicl.evaluation.evaluate, biohicl.evaluation.choosing, biohicl.evaluation.development\n"
        "import biohicl.training.averaging, biohicl.training.teacher\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_nothing_names_a_machine_or_a_registry():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    # Written so that this line does not find itself.
    forbidden = re.compile(
        "|".join(["/ro" + "ot/", "/wo" + "rk/", "/ho" + r"me/\w+/", "pypi" + r"\.org", "index" + "-url"])
    )
    for name in files:
        path = ROOT / name
        if path.is_file() and path.suffix != ".tsv":
            found = forbidden.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["corpus", "--release", "{empty}", "--pubmed", ".", "--output", "o", "--anomalies", "a"], "lists no files"),
        (["select", "--release", ".", "--pubmed", ".", "--settings", "[1]", "--output", "o"], "a mapping of keys"),
        (
            ["fetch-backbone", "--name", "x", "--lock", "l", "--settings", '{"hub": null}', "--output", "o"],
            "--settings has no 'path'",
        ),
        (
            ["labels", "--selection", "{junk}", "--hierarchy", "{junk}", "--output", "o", "--unknown", "u"],
            "a table cannot be read",
        ),
        (["mesh", "show", "Mice", "--mesh", "."], "hierarchy.parquet: no such file; make the MeSH tables"),
        (["mesh", "show", "Mice", "--relatives", "0"], "not a whole number of at least 1"),
        (["scores", "{junk}"], "a table cannot be read"),
        (["list-pubmed", "--mirrors", "[bad", "--output", "o"], "not a JSON list"),
        (["list-pubmed", "--mirrors", "[]", "--output", "o"], "at least one place is needed"),
        (["list-pubmed", "--mirrors", ".", "--baseline", "9-3", "--output", "o"], "write 3-9"),
        (
            [
                "parse-pubmed",
                "{junk}",
                *["--articles", "a", "--mesh-headings", "m", "--deleted", "d", "--quarantine", "q"],
            ],
            "ill-formed XML",
        ),
        (["parse-mesh", ".", "--output", "o"], "is a folder, not a file"),
        (
            [
                "freeze",
                "--current",
                "c",
                "--hierarchy",
                "h",
                "--terms",
                "t",
                "--mesh-record",
                "{empty}",
                "--output",
                "o",
            ],
            "no such file",
        ),
    ],
)
def test_bad_input_by_hand_is_answered_in_words(run_biohicl, tmp_path, words, said):
    (tmp_path / "junk.parquet").write_bytes(b"PAR1" + bytes(range(200)))
    (tmp_path / "empty.json").write_text("{}")
    places = {"{junk}": "junk.parquet", "{empty}": "empty.json"}
    done = run_biohicl(*(places.get(word, word) for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.json", "junk.parquet"]
