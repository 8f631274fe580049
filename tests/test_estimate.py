"""What a run will cost: jobs as Snakemake plans them, formulas that scale, rates that all count, realities."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from biohicl import configuration
from biohicl.errors import BioHiCLError
from biohicl.estimate import Machine, Nodes, Prices, make_plan, plan_json, plan_text, read_rates
from biohicl.estimate.encoders import encoder_size
from biohicl.estimate.rates import MEASURED_WITH, RATES, SAID
from conftest import ROOT

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIGS = ROOT / "workflow/configs"
WITHOUT_GPU = Machine(cores=2, gpus=0)
NO_PRICES = Prices()
RECORD = {
    "mirror": "https://ftp.ncbi.nlm.nih.gov/pubmed",
    "year": 2026,
    "files": [
        {"name": "pubmed26n0001", "kind": "baseline", "year": 2026, "number": 1, "listed": "2026-01-05 14:02 19M"},
        {"name": "pubmed26n0002", "kind": "baseline", "year": 2026, "number": 2, "listed": "2026-01-05 14:02"},
        {"name": "pubmed26n1335", "kind": "updatefiles", "year": 2026, "number": 1335, "listed": "1767621720 2500000"},
    ],
}


def configured(*overlays, **change):
    """config.yaml under overlays: files of workflow/configs, then keys."""
    files = [ROOT / "config.yaml", *(CONFIGS / name for name in overlays)]
    loaded = [yaml.safe_load(file.read_text()) for file in files]
    merged = {}
    for content in [*loaded, change]:
        configuration.reading._overlay(merged, content)
    return configuration.resolve(merged, SCHEMA)


def estimated(config, machine=None, folder=Path("/nowhere"), rates=None, prices=NO_PRICES, with_index=False):
    return plan_json(make_plan(config, folder, rates or read_rates(), machine, with_index), prices)


def stages(estimate):
    return {stage["stage"]: stage for stage in estimate["stages"]}


def jobs_of(estimate):
    counted = {}
    for stage in estimate["stages"]:
        for rule, of_rule in stage["rules"].items():
            counted[rule] = counted.get(rule, 0) + of_rule["jobs"]
    return {rule: count for rule, count in counted.items() if count}


def recorded(folder, record=RECORD):
    """A project's folder with NLM's listing."""
    (folder / "resources/pubmed").mkdir(parents=True)
    (folder / "resources/mesh").mkdir()
    (folder / "resources/pubmed/release.json").write_text(json.dumps(record))
    (folder / "resources/mesh/release.json").write_text(json.dumps({"year": 2026, "name": "desc2026", "issue": {}}))
    return folder


def snakemake(folder, *words):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


# --- jobs -----------------------------------------------------------------------------------------


# What is fetched for something else than a model's start, and phases that nothing else has.
UNUSUAL = {
    "models": ["biohicl-large", "chosen", "best-2"],
    "nodes": {"chosen": {"step": "select", "of": ["best-1", "default"]}},
    "development": {"similarity": ["own"], "retrieval": ["scidocs-again"]},
    "benchmarks": {
        "own": {"kind": "similarity", "path": "own"},
        "scidocs-again": {"kind": "retrieval", "path": "again", "development": "dev"},
    },
    "evaluation": {"peers": ["medcpt"], "hybrids": {"rrf": {"of": ["medcpt"]}}, "variants": {"bf16": None}},
    "index": {"model": "best-2"},
}
NONE_JOINED = {"rrf": None, "convex": None}
# What is searched is tuned for it, though nothing else is: its development splits are scored, and fetched.
SEARCHED = {
    "models": ["default"],
    "development": {"retrieval": []},
    "training": {"selections": {"abstracts": {"exclude_benchmarks": []}}},
    "evaluation": {"benchmarks": ["biosses"], "peers": ["bge-small"], "tuned_on": ["nfcorpus"], "hybrids": NONE_JOINED},
    "index": {"model": "bge-small", "storage": "binary"},
}


@pytest.mark.parametrize(
    ("change", "targets"),
    [
        ({}, ["all", "index"]),
        (SEARCHED, ["all", "index"]),
        ({"evaluation": {"benchmarks": ["biosses"]}}, ["all"]),
        (None, ["all"]),
        (UNUSUAL, ["all", "index"]),
        # Its tokens are another backbone's.
        ({"models": ["biohicl-large"]}, ["all"]),
    ],
)
def test_the_jobs_are_those_that_snakemake_plans(tmp_path, change, targets):
    folder = recorded(tmp_path)
    change = yaml.safe_load((CONFIGS / "recipes.yaml").read_text()) if change is None else change
    (tmp_path / "over.yaml").write_text(yaml.safe_dump(change))
    done = snakemake(folder, "--dry-run", *targets, "--configfile", "over.yaml")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    table = re.search(r"^Job stats:\n(.*?)^total ", said, flags=re.DOTALL | re.MULTILINE)[1]
    planned = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}
    for target in targets:
        planned.pop(target)
    kinds = ("fetch_benchmark", "fetch_pairs", "fetch_trainable_benchmark")
    planned["fetch_benchmark"] = sum(planned.pop(kind, 0) for kind in kinds)
    counted = jobs_of(estimated(configured(**change), folder=folder, with_index="index" in targets))
    # Here they have been asked.
    assert (counted.pop("list_pubmed"), counted.pop("list_mesh")) == (1, 1)
    assert counted == planned


def test_a_model_counts_with_all_that_it_is_made_from():
    best = estimated(configured(models=["best"]))
    rules = stages(best)["train best"]["rules"]
    assert {rule: of_rule["jobs"] for rule, of_rule in rules.items()} == {
        "train_node": 6,
        "average_node": 5,
        "select_node": 1,
    }
    # What another model has been made from already is not made again.
    both = stages(estimated(configured(models=["biolord", "best"])))
    assert both["train biolord"]["rules"]["train_node"]["jobs"] == 6
    assert both["train biolord"]["rules"]["encode_node"]["jobs"] == 6
    assert both["train best"]["rules"]["train_node"]["jobs"] == 3
    assert both["train best"]["gpu_hours"] < stages(best)["train best"]["gpu_hours"]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [[1, 7, 9], ["1-3"], [1, 2, "2-3"], [1, 2, 9999]])
def test_three_files_cost_three_files(numbers):
    estimate = estimated(configured(pubmed={"baseline": numbers, "updates": "none"}))
    rates = read_rates()
    rules = jobs_of(estimate)
    assert (rules["fetch_pubmed"], rules["parse_pubmed"]) == (3, 3)
    parsing = stages(estimate)["parse"]
    assert parsing["core_hours"] == pytest.approx(3 * rates["parse"] / 3600)
    assert parsing["disk_gb"] == pytest.approx(3 * rates["baseline_file"] * rates["tables"] / 1000)


def test_a_listing_gives_the_files_and_the_sizes_that_it_has(tmp_path):
    rates = read_rates()
    estimate = estimated(configured(), folder=recorded(tmp_path))
    known = 19 * 2**20 + 2_500_000
    parsed = stages(estimate)["parse"]["disk_gb"] * 1e9 / rates["tables"]
    assert parsed == pytest.approx(known + rates["baseline_file"] * 1e6)
    assert any("2 of 3 sizes are known" in words for words in estimate["assumed"])
    fewer = estimated(configured(pubmed={"baseline": [1], "updates": "none"}), folder=tmp_path)
    assert stages(fewer)["parse"]["disk_gb"] * 1e9 / rates["tables"] == pytest.approx(19 * 2**20)


@pytest.mark.parametrize(
    ("address", "mirrors", "files"),
    [
        # `make demo`, then what NLM's files will cost: those of the sample are not NLM's.
        ("file://{}/sample", ["https://ftp.ncbi.nlm.nih.gov/pubmed"], 1634),
        ("file://{}/sample", ["https://ftp.ncbi.nlm.nih.gov/pubmed", "sample"], 3),
        ("file://{}/my%20copy", ["my copy/"], 3),
        ("https://example.org/pubmed", ["elsewhere", "https://example.org/pubmed/"], 3),
    ],
)
def test_a_listing_counts_where_it_is_of_a_server_that_is_asked(tmp_path, address, mirrors, files):
    recorded(tmp_path, {**RECORD, "mirror": address.format(tmp_path)})
    estimate = estimated(configured(pubmed={"mirrors": mirrors}), folder=tmp_path)
    assert jobs_of(estimate)["parse_pubmed"] == files
    assert any("lists another server's files" in words for words in estimate["assumed"]) == (files == 1634)


@pytest.mark.parametrize("record", ["[]", '{"files": [{"name": "x"}]}', '{"files": 3}'])
def test_a_listing_that_is_none_is_an_error_in_words(tmp_path, record):
    recorded(tmp_path, None)
    (tmp_path / "resources/pubmed/release.json").write_text(record)
    with pytest.raises(BioHiCLError, match="has to be the record that list-pubmed made"):
        estimated(configured(), folder=tmp_path)


def test_a_mirror_that_is_a_folder_is_looked_into(tmp_path):
    for place in (
        "baseline/pubmed25n0001",
        "baseline/pubmed26n0001",
        "updatefiles/pubmed25n1300",
        "updatefiles/pubmed26n0002",
    ):
        path = tmp_path / "server" / f"{place}.xml.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    for mirror in ("server", f"file://{tmp_path}/server"):
        estimate = estimated(configured(pubmed={"mirrors": [mirror]}), folder=tmp_path)
        # Those of the year before are another release's.
        assert jobs_of(estimate)["parse_pubmed"] == 2
        assert stages(estimate)["parse"]["disk_gb"] == pytest.approx(2000 * read_rates()["tables"] / 1e9)


# --- formulas -------------------------------------------------------------------------------------


def training_seconds(machine=WITHOUT_GPU, overlays=(), **change):
    """Of `default`, without what any job takes to start."""
    rates = read_rates()
    part = Nodes(configured(*overlays, **change), Path("/nowhere"), rates, machine).training("default")
    return part.core_seconds + part.gpu_seconds - rates["gpu_start" if machine.gpus else "model_job"]


@pytest.mark.parametrize("machine", [WITHOUT_GPU, Machine()])
def test_twice_the_citations_take_twice_as_long_to_train_on(machine):
    once, twice = (
        training_seconds(machine, training={"selections": {"abstracts": {"citations": count}}})
        for count in (40_500, 80_500)
    )
    assert twice == pytest.approx(2 * once, rel=0.01)


def test_what_a_training_reads_is_what_it_costs():
    base = training_seconds()

    def of_default(**change):
        return training_seconds(nodes={"default": change}) / base

    assert of_default(schedule={"epochs": 4}) == pytest.approx(2, rel=0.02)
    assert of_default(schedule={"max_steps": 10}) < 0.1
    assert of_default(schedule={"max_steps": 10_000}) == 1, "it ends with its epochs"
    assert 1.4 < of_default(trainable={"method": "full"}) <= 1.5
    assert of_default(start="bge-large") == pytest.approx(302 / 84.9, rel=0.01)
    assert of_default(negatives={"bm25": 2}) > 2.5, "two more texts beside each query"
    assert of_default(max_length=128) < 0.6


def test_a_gpu_of_half_the_speed_takes_twice_as_long():
    assert training_seconds(Machine(gpu_speed=0.5)) == pytest.approx(2 * training_seconds(Machine()), rel=0.05)
    fast, slow = (stages(estimated(configured(), Machine(gpu_speed=speed), with_index=True)) for speed in (1.0, 0.3))
    for name in ("train default", "encode, evaluate", "index"):
        assert fast[name]["core_hours"] == slow[name]["core_hours"]
        assert fast[name]["gpu_hours"] < slow[name]["gpu_hours"] < fast[name]["gpu_hours"] / 0.3


def test_without_a_gpu_its_hours_are_core_hours():
    with_gpu, without = (estimated(configured("recipes.yaml"), Machine(32, gpus), with_index=True) for gpus in (1, 0))
    assert without["total"]["gpu_hours"] == 0
    of_cpu = stages(without)
    for name, stage in stages(with_gpu).items():
        if stage["gpu_hours"]:
            assert of_cpu[name]["core_hours"] > 10 * stage["gpu_hours"]
        else:
            assert of_cpu[name] == stage
    assert jobs_of(with_gpu) == jobs_of(without)


def test_more_cores_and_gpus_take_no_longer_and_cost_the_same():
    one, more = (
        estimated(configured("recipes.yaml"), Machine(*size), with_index=True)["total"] for size in ((8, 1), (64, 4))
    )
    assert more["hours"] < one["hours"]
    assert more["core_hours"] == one["core_hours"] and more["gpu_hours"] == one["gpu_hours"]
    assert more["hours"] >= more["gpu_hours"] / 4
    # No number of GPUs makes a phase begin before that which it starts from has ended.
    config = configured(models=["bmretriever"])
    alone, among = (stages(estimated(config, Machine(8, gpus)))["train bmretriever"]["hours"] for gpus in (1, 8))
    assert among == pytest.approx(alone)
    # And no number of cores makes one training use more than it has threads.
    threads = configured()["training"]["threads"]
    once, twice = (
        stages(estimated(configured(), Machine(cores, 0)))["train default"]["hours"] for cores in (threads, 2 * threads)
    )
    assert once == twice


def test_an_index_on_disk_is_as_the_readme_says():
    sizes = {}
    for storage in ("exact", "binary", "usearch"):
        stage = stages(estimated(configured(index={"storage": storage}), with_index=True))["index"]
        records = 1334 * read_rates()["baseline_records"] + 300 * read_rates()["update_records"]
        sizes[storage] = stage["disk_gb"] * 1e9 / records - read_rates()["index_texts"]
    # Of 768 numbers: README, 'Search'.
    assert sizes["exact"] == pytest.approx(4 * 768)
    assert sizes["binary"] == pytest.approx(35e9 / 40e6, rel=0.02)
    assert sizes["usearch"] == pytest.approx(2 * 768 + 148)


# --- sizes of models ------------------------------------------------------------------------------


def test_the_size_of_a_model_is_its_folders_where_it_is_here(tmp_path):
    folder = tmp_path / "resources/backbones/one"
    folder.mkdir(parents=True)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "vocab_size": 30_522}
    (folder / "config.json").write_text(json.dumps(shape))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    block = {"hub": "BAAI/bge-large-en-v1.5", "path": None, "max_length": None}
    size = encoder_size("one", block, tmp_path)
    assert size.weights == pytest.approx(10.6e6, rel=0.01)
    assert size.all_weights == pytest.approx(22.7e6, rel=0.03)
    assert (size.dimensions, size.length) == (384, 256)
    assert encoder_size("other", block, tmp_path).weights == pytest.approx(302e6, rel=0.01)
    (folder / "config.json").write_text('{"hidden_size": 384}')
    with pytest.raises(BioHiCLError, match="config.json: does not say hidden size"):
        encoder_size("one", block, tmp_path)


@pytest.mark.parametrize(
    ("hub", "millions", "known"),
    [
        ("BAAI/bge-base-en-v1.5", 85, True),
        ("BMRetriever/BMRetriever-410M", 410, False),
        ("a/b-0.6B", 600, False),
        ("a/b", 85, False),
    ],
)
def test_the_size_of_a_model_that_is_not_here_is_by_its_name_or_assumed(hub, millions, known):
    size = encoder_size("x", {"hub": hub}, Path("/nowhere"))
    assert size.weights / 1e6 == pytest.approx(millions, rel=0.01)
    assert size.is_known is known and hub in size.known_by


# --- rates ----------------------------------------------------------------------------------------


def rates_with(folder, change):
    content = yaml.safe_load(RATES.read_text())
    change(content)
    (folder / "rates.yaml").write_text(yaml.safe_dump(content))
    return read_rates(folder / "rates.yaml")


@pytest.fixture(scope="module")
def all_kinds():
    """Configurations and machines that together ask for every rate."""
    short = {"nodes": {"default": {"max_length": 128}}, "models": ["default"]}
    kinds = [
        (configured("recipes.yaml"), Machine(), False),
        (configured("recipes.yaml", training={"selections": {"abstracts": {"citations": "all"}}}), WITHOUT_GPU, False),
        (configured(**short), Machine(), True),
        (configured(**short), WITHOUT_GPU, False),
        (configured(index={"storage": "binary"}), Machine(), True),
        (configured(index={"storage": "usearch"}), Machine(), True),
    ]

    def figures(rates):
        estimates = [estimated(config, machine, rates=rates, with_index=index) for config, machine, index in kinds]
        return [(estimate["stages"], estimate["total"]) for estimate in estimates]

    return figures, figures(read_rates())


@pytest.mark.parametrize("name", read_rates().names())
def test_every_rate_counts(all_kinds, tmp_path, name):
    def changed(content):
        content[name]["value"] *= 1.05

    figures, as_they_are = all_kinds
    assert figures(rates_with(tmp_path, changed)) != as_they_are


def test_every_rate_says_where_it_is_from():
    for name in read_rates().names():
        rate = read_rates().rate(name)
        assert date.fromisoformat(rate.date)
        assert rate.machine and rate.unit and len(rate.command) > 5, name
        assert rate.status == "measured" or name not in MEASURED_WITH


def test_what_was_asked_for_is_what_is_shown():
    estimate = estimated(configured())
    assert {"parse", "merge", "train_gpu_256", "encode_gpu_base"} <= estimate["rates"].keys()
    assert not {"train_cpu_256", "encode_cpu", "index_words", "negatives"} & estimate["rates"].keys()


BROKEN = {
    "has no rate 'parse'": lambda rates: rates.pop("parse"),
    "no rate is called 'prase'; did you mean parse": lambda rates: rates.update(prase=rates["parse"]),
    "parse: value is 0": lambda rates: rates["parse"].update(value=0),
    "parse: value is -2": lambda rates: rates["parse"].update(value=-2),
    "parse: value is nan": lambda rates: rates["parse"].update(value=float("nan")),
    "parse: value is inf": lambda rates: rates["parse"].update(value=float("inf")),
    "parse: value is '2,4'": lambda rates: rates["parse"].update(value="2,4"),
    "parse: value is True": lambda rates: rates["parse"].update(value=True),
    "parse: status is 'guessed'": lambda rates: rates["parse"].update(status="guessed"),
    "parse: a mapping with value": lambda rates: rates.update(parse=2.4),
    "train_cpu_256: does not say its tokens": lambda rates: rates["train_cpu_256"].pop("tokens"),
    "encode_cpu: cores is 0": lambda rates: rates["encode_cpu"].update(cores=0),
    "have to rise": lambda rates: rates["encode_gpu_base"].update(value=18),
    **{f"parse: does not say its {key}": (lambda rates, key=key: rates["parse"].pop(key)) for key in ("value", *SAID)},
}


@pytest.mark.parametrize("said", BROKEN)
def test_broken_rates_are_named(tmp_path, said):
    with pytest.raises(BioHiCLError) as error:
        rates_with(tmp_path, BROKEN[said])
    assert said in str(error.value) and "rates.yaml" in str(error.value) and "\n" not in str(error.value)


# --- money and words ------------------------------------------------------------------------------

PRICES = Prices(0.04, 2.5, 0.1, "EUR")


def test_money_is_the_sum_of_its_parts():
    estimate = estimated(configured("recipes.yaml"), prices=PRICES, with_index=True)
    for stage in (*estimate["stages"], estimate["total"]):
        expected = 0.04 * stage["core_hours"] + 2.5 * stage["gpu_hours"] + 0.1 * stage["disk_gb"]
        assert stage["money"] == pytest.approx(expected)
    assert estimate["total"]["money"] == pytest.approx(sum(stage["money"] for stage in estimate["stages"]))
    assert "money" not in estimated(configured())["total"]
    free = estimated(configured(), prices=Prices(core_hour=0.0))
    assert free["total"]["money"] == 0


@pytest.mark.parametrize("prices", [PRICES, Prices(), Prices(core_hour=1.0)])
def test_the_table_says_what_the_json_says(prices):
    plan = make_plan(configured("recipes.yaml"), Path("/nowhere"), read_rates(), Machine(), with_index=True)
    text, estimate = plan_text(plan, prices), plan_json(plan, prices)
    rows = [re.split(r"  +", line) for line in text.split("\n\n")[0].splitlines() if not line.startswith("-")]
    assert [row[0] for row in rows[1:]] == [*stages(estimate), "all"]
    for row, stage in zip(rows[1:], [*estimate["stages"], estimate["total"]], strict=True):
        shown = dict(zip(rows[0], row, strict=True))
        assert shown["jobs"] == f"{stage['jobs']:,}"
        for head, key in {
            "GB down": "downloaded_gb",
            "core-hours": "core_hours",
            "GPU-hours": "gpu_hours",
            "GB disk": "disk_gb",
        }.items():
            value = {"-": "0", "<0.01": "0.0025"}.get(shown[head], shown[head]).replace(",", "")
            assert float(value) == pytest.approx(stage[key], rel=0.05, abs=0.0051), (stage["stage"], head)
        if prices.are_stated:
            assert shown[prices.currency] == f"{stage['money']:,.2f}"
    total = estimate["total"]
    for key in ("jobs", "downloaded_gb", "core_hours", "gpu_hours", "disk_gb", "hours"):
        assert total[key] == pytest.approx(sum(stage[key] for stage in estimate["stages"])), key
    assert ("--core-hour" in text) is not prices.are_stated
    assert ("Without a price: GPU-hours (--gpu-hour)" in text) is (prices.core_hour == 1.0)
    assert max(map(len, text.splitlines())) <= 120


def test_assumptions_are_said():
    said = plan_text(make_plan(configured(), Path("/nowhere"), read_rates()), Prices())
    said = " ".join(said.split())
    assert "1,334 baseline and 300 update files are assumed" in said
    assert "46.3 million records, 40.0 million citations are current" in said
    assert "BAAI/bge-base-en-v1.5 has BERT-base's shape" in said
    assert "provisional, pubmed21n1298 alone" in said
    own = {"backbones": {"mine": {"hub": "someone/something"}}, "nodes": {"default": {"start": "mine"}}}
    bench = {
        "benchmarks": {"odd": {"kind": "retrieval", "path": "no/such"}},
        "evaluation": {"benchmarks": ["scifact", "odd"]},
    }
    assumed = " ".join(estimated(configured(**own, **bench))["assumed"])
    assert "someone/something is not here, and taken for BERT-base" in assumed
    assert "odd: 10,000 documents" in assumed


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "with_gpu"), [((), False), (("--gpus", "1"), True)])
def test_gpus_that_are_never_used_are_not_counted(run_biohicl, tmp_path, words, with_gpu):
    (tmp_path / "never.yaml").write_text("gpu: never\n")
    done = run_biohicl("estimate", "--json", "--configfile", "never.yaml", *words, cwd=tmp_path)
    assert (json.loads(done.stdout)["total"]["gpu_hours"] > 0) is with_gpu


def test_overlays_come_one_over_the_other(run_biohicl, tmp_path):
    (tmp_path / "few.yaml").write_text("pubmed: {baseline: [1, 2], updates: none}\nmodels: [best]\n")
    (tmp_path / "fewer.yaml").write_text("pubmed: {baseline: [2]}\n")
    words = ("estimate", "--json", "--configfile", "few.yaml", "--configfile", "fewer.yaml")
    done = run_biohicl(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    estimate = json.loads(done.stdout)
    assert jobs_of(estimate)["parse_pubmed"] == 1 and "train best" in stages(estimate)
    assert estimate["machine"] == {"cores": 32, "gpus": 1, "gpu_speed": 1.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--configfile", "none.yaml"], "none.yaml: no such configuration file"),
        (["--core-hour", "-1"], "--core-hour is -1, and a price is a number of at least 0"),
        (["--gpu-hour", "nan"], "--gpu-hour is nan"),
        (["--gb-month", "inf"], "--gb-month is inf"),
        (["--gpu-speed", "0"], "--gpu-speed is 0, and has to be above 0"),
        (["--rates", "none.yaml"], "none.yaml: no such file of rates"),
        (["--rates", "."], "Is a directory"),
        (["--rates", "list.yaml"], "list.yaml: a mapping of names to rates is needed"),
        (["--rates", "short.yaml"], "short.yaml: has no rate 'baseline_files'; copy what is missing from"),
        (["--rates", "broken.yaml"], "broken.yaml: not valid YAML"),
        (["--configfile", "wrong.yaml"], "models"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run_biohicl, tmp_path, words, said):
    files = {"list": "[1]", "short": "parse: {value: 1}", "broken": "a: [", "wrong": "models: [nobody]"}
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    done = run_biohicl("estimate", *words, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (False, "No GPU here:"),
        (True, "nvidia-smi is here, but torch sees no GPU (is it built for CUDA, and the driver"),
    ],
    ids=["no driver", "a driver that torch cannot use"],
)
def test_the_start_of_a_run_says_the_same(tmp_path, monkeypatch, driver, why):
    """announce_cost, before the first job; here that is a listing of a server that is not there."""
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU here, so nothing is said")
    if driver:
        (tmp_path / "nvidia-smi").touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    nowhere = [str(tmp_path / "nowhere")]
    change = {"pubmed": {"mirrors": nowhere}, "mesh": {"mirrors": nowhere}}
    change["backbones"] = {"bge-base": {"hub": None, "path": nowhere[0]}}
    change["training"] = {"selections": {"abstracts": {"exclude_benchmarks": []}}}
    overlay = tmp_path / "nowhere.yaml"
    overlay.write_text(yaml.safe_dump(change))
    said = snakemake(tmp_path, "train", "--configfile", overlay).stderr
    assert why in said
    assert ": biohicl-base, default will be trained on the CPU." in said
    part = Nodes(configured(), tmp_path, read_rates(), WITHOUT_GPU).training("default")
    hours = f"{part.seconds(WITHOUT_GPU) / 3600:,.0f} hours on 2 cores"
    assert f"default: up to 80,000 citations of 512 tokens, 2 times: about {hours} (85 M weights" in said


# --- realities ------------------------------------------------------------------------------------


@pytest.fixture
def beside(shared, tmp_path):
    """A project's folder in which nothing has been made, beside the real data."""
    (tmp_path / "shared").symlink_to(shared)
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def within(factor, estimate, reality):
    return reality / factor <= estimate <= reality * factor


def test_a_training_of_640_citations_took_a_minute():
    """`default` of real-small.yaml, 10 steps of 64, on one core: 72.8 CPU s (2026-11-27, at 002c579)."""
    config = configured(
        "real-small.yaml",
        nodes={"default": {"schedule": {"max_steps": 10}, "development": {"citations": 10}}},
        backbones={"minilm": {"path": None, "hub": "sentence-transformers/all-MiniLM-L6-v2"}},
    )
    part = Nodes(config, Path("/nowhere"), read_rates(), WITHOUT_GPU).training("default")
    assert within(1.2, part.core_seconds, 72.8)


def test_the_small_run_is_estimated_within_a_factor_of_two(beside):
    """README: trained in 96 minutes, evaluated in 30, on two cores that did other work too. Larger batches were read
    whole then, at 9.2 pairs a second (README, 'Training')."""

    def as_then(content):
        content["train_cpu_128"]["value"] = 9.2

    config = configured("real-small.yaml")
    now = stages(estimated(config, WITHOUT_GPU, beside))
    then = stages(estimated(config, WITHOUT_GPU, beside, rates_with(beside, as_then)))
    minutes = 60 * (then["train biohicl-base"]["hours"] + then["train default"]["hours"])
    assert within(2, minutes, 96)
    assert within(2, 60 * now["encode, evaluate"]["hours"], 30)


def test_best_on_a_gpu_is_estimated_within_a_factor_of_two(beside):
    """README: the six trainings and the choice of a share took all-MiniLM-L6-v2 72 s on an H200."""
    overlays = ("real-small.yaml", "real-small-recipes.yaml", "real-small-recipes-gpu.yaml")
    stage = stages(estimated(configured(*overlays, models=["best"]), Machine(16, 1), beside))["train best"]
    assert stage["rules"]["train_node"]["jobs"] == 6
    assert within(2, stage["hours"] * 3600, 72)
