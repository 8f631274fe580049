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
    assert len(blocks) == 10
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


WRITTEN = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "profiles").rglob("*.md")),
]
OF_THE_PROJECT = ("src", "rules", "workflow", "tests", "docs", "envs", "profiles")


def anchors(text):
    """Of a document's headings, outside of blocks of code, what a link names them by, as GitHub does."""
    headings = re.findall(r"^#{1,6} +(.*?)\s*$", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S), flags=re.M)
    found = []
    for heading in headings:
        words = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        name = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        found.append(name if name not in found else f"{name}-{sum(other.startswith(name) for other in found)}")
    return found


def wrong_names(text):
    """The files and folders of the project that a document names in code, and that are not there; and tests."""
    named = re.findall(rf"`((?:{'|'.join(OF_THE_PROJECT)})/[\w./*-]*)(?:::(\w+))?`", text)
    for path, test in named:
        there = [place for place in ROOT.glob(path.rstrip("/")) if place.is_file() or place.is_dir()]
        if not there or (test and f"def {test}(" not in there[0].read_text()):
            yield f"{path}::{test}" if test else path


def wrong_links(document, text):
    """The links within the project that lead nowhere: to no file, or to no heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            yield target


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_what_is_there_and_links_lead_somewhere(document):
    text = document.read_text()
    assert [*wrong_names(text), *wrong_links(document, text)] == []


def test_what_leads_nowhere_is_found():
    text = "`src/biohicl/none.py` `docs/*.md` `tests/test_owners.py::test_none` `rules/mesh.smk` `rules/*.py` `src/`"
    assert [*wrong_names(text)] == ["src/biohicl/none.py", "tests/test_owners.py::test_none", "rules/*.py"]
    text = "[a](data.md) [b](none.md) [c](../README.md#two-commands) [d](../README.md#none) [e](https://example.org/#x)"
    assert [*wrong_links(ROOT / "docs/search.md", text)] == ["none.md", "../README.md#none"]
    assert anchors("# A `b`: c, d-e!\n```\n# no\n```\n## Twice\n## Twice\n") == ["a-b-c-d-e", "twice", "twice-1"]


def test_contributors_are_told_of_what_is_there(tmp_path):
    """The picture has all rooms and rules, blocks of YAML are valid overlays, and names in code are names of the code."""
    from biohicl import configuration

    text = (ROOT / "CONTRIBUTING.md").read_text()
    picture = text.split("## The house\n")[1].split("```")[1].split("  src/biohicl  ")[1].split("whole files")[0]
    floors = re.findall(r"^    (\w+(?:, \w+)*)(?=  |$)", picture, flags=re.MULTILINE)
    assert [room for floor in reversed(floors) for room in floor.split(", ")] == rooms_of_the_house()
    rules = {path.name for path in (ROOT / "rules").glob("*.smk") if not path.stem.endswith("_inputs")}
    assert set(re.findall(r"\w+\.smk", picture)) == rules
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "over.yaml").write_text(block)
        files = [ROOT / "config.yaml", tmp_path / "over.yaml"]
        configuration.load(files, ROOT / "workflow/schemas/config.schema.yaml")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    code = "".join((ROOT / name).read_text() for name in files if name.endswith((".py", ".smk", ".yaml", "Snakefile")))
    words = set(re.findall(r"\w+", code))
    named = set(re.findall(r"`([A-Za-z]+_\w+|[A-Z]{4,})`", text))
    assert {name for name in named - words if "journals" not in name} == set()
    assert {"test_every_stage_has_help", "LABEL_LOSSES", "write_parquet"} <= named
