"""A model's card says what was measured and no more; the folder gives the same vectors whichever library reads it."""

import json
import re
import subprocess

import numpy as np
import polars as pl
import pytest
import yaml
from huggingface_hub import metadata_load

from biohicl import configuration
from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import EncoderSettings, write_settings
from biohicl.encoder.vectors import fingerprint
from biohicl.errors import BioHiCLError
from biohicl.publishing.card import card_text, describe
from biohicl.publishing.checksums import changes
from biohicl.publishing.facts import Sources
from biohicl.publishing.lineage import lineage_of
from conftest import ROOT
from encoders import letters_tokenizer, save_encoder, small_model

HOSTILE = ["", " ", "a", "zebra " * 4000, "α-synuclein \N{PILL}\N{FAMILY}", "\u200b", "a few words", "some more words"]
TRAINING = {
    "step": "train",
    **{"start": "base", "selection": "abstracts", "max_length": 64, "seed": 7, "losses": {"mse": {"weight": 1.0}}},
    "trainable": {"method": "full"},
    "schedule": {"batch_size": 8, "learning_rate": 5e-05},
}


def manifest(node, settings=TRAINING, **facts):
    trained = {"citations": 1234, "held_out": 56, "steps": 9, "model_of_step": 9, "device": "cpu", "threads": 2}
    return {
        **{"node": node, "settings": settings, "commit": "c" * 40, "dtype": {"forward": "float32"}},
        "versions": {"biohicl": "0.1.0", "torch": "2", "transformers": "5"},
        "inputs": {"start": {"sha256": "a" * 64}},
        **(trained if settings["step"] == "train" else {}),
        **facts,
    }


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return letters_tokenizer(tmp_path_factory.mktemp("letters") / "tokenizer")


@pytest.fixture
def model(letters, tmp_path):
    """The folder of a node that was trained once."""
    folder = save_encoder(small_model("bert", layers=1), letters, tmp_path / "models/one")
    write(folder, manifest("one"))
    return folder


def write(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def logged(folder, joules):
    """The log of a training's steps, and of a measure, as :mod:`biohicl.training.watch` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = [
        {"kind": "step", "step": step} | ({} if of is None else {"joules": of}) for step, of in enumerate(joules, 1)
    ]
    lines = [{"kind": "measures", "step": 0}, *steps]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


ROW = {
    **{"role": "model", "kind": "retrieval", "split": "test", "texts": None, "condition": "headline", "n": 100},
    **{"headline": True, "seen": False, "value": 0.5, "low": 0.4, "high": 0.6, "reference": "base"},
    **{f"{name}_{what}": None for name in ("reference", "bm25") for what in ("difference", "low", "high", "p_holm")},
}


def summarized(folder, rows, seeds=(), left_out=()):
    schema = {name: pl.Float64 for name in ROW if name.startswith(("reference_", "bm25_"))}
    schema |= {"texts": pl.String, "reference": pl.String, "system": pl.String, "benchmark": pl.String}
    pl.DataFrame([ROW | row for row in rows], schema_overrides=schema).write_parquet(folder / "summary.parquet")
    names = ["recipe", "benchmark", "metric", "reference"]
    numbers = ["mean", "standard_deviation", "lowest", "highest", "difference", "low", "high"]
    schema = dict.fromkeys(names, pl.String) | {"models": pl.List(pl.String)} | dict.fromkeys(numbers, pl.Float64)
    pl.DataFrame(list(seeds), schema=schema).write_parquet(folder / "seeds.parquet")
    schema = dict.fromkeys(("kind", "name", "reason"), pl.String)
    pl.DataFrame(list(left_out), schema=schema).write_parquet(folder / "left_out.parquet")
    return folder / "summary.parquet"


def section(card, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)[1]


# --- what is claimed ------------------------------------------------------------------------------------------


def test_what_chance_explains_is_not_claimed(model, tmp_path):
    gain = {"reference_difference": 0.02, "reference_low": 0.001, "reference_high": 0.04}
    loss = {"reference_difference": -0.02, "reference_low": -0.04, "reference_high": -0.001}
    beside = {"bm25_difference": -0.1, "bm25_low": -0.2, "bm25_high": -0.05, "bm25_p_holm": 0.001}
    key = {"system": "one", "metric": "nDCG@10"}
    rows = [
        # An interval without 0, and yet no difference after Holm's correction.
        key | {"benchmark": "maybe", "reference_p_holm": 0.07} | gain | beside,
        key | {"benchmark": "better", "reference_p_holm": 0.01, "seen": True} | gain,
        key | {"benchmark": "worse", "reference_p_holm": 0.04} | loss,
        # And an interval with 0, whatever the test says.
        key | {"benchmark": "close", "reference_p_holm": 0.03} | gain | {"reference_low": -0.0004},
        key | {"benchmark": "better", "condition": "without documents of abstracts", "value": 0.321},
        key | {"benchmark": "better", "condition": "own documents kept", "value": 0.654},
        key | {"benchmark": "maybe", "system": "base", "value": 0.4875, "role": "backbone"},
        key | {"benchmark": "maybe", "system": "other", "value": 0.9999},
        key | {"benchmark": "maybe", "metric": "MAP", "headline": False, "value": 0.8888},
    ]
    seeds = [{"recipe": "one", "models": ["one", "two"], "benchmark": "better", "metric": "nDCG@10", "mean": 0.55}]
    seeds += [{**seeds[0], "metric": "MAP", "mean": 0.7777}]
    seeds[0] |= dict.fromkeys(("standard_deviation", "lowest", "highest"), 0.01)
    lost = [{"kind": "benchmark", "name": "lost", "reason": "no such folder"}]
    shared = {"document_id": ["d1", "d1", "d2"], "reason": ["pmid", "title", "doi"]}
    overlaps = [tmp_path / "abstracts/better.parquet", tmp_path / "unread/better.parquet"]
    for file in overlaps:
        file.parent.mkdir()
        pl.DataFrame(shared).write_parquet(file)
    card = card_text(Sources(model, summary=summarized(tmp_path, rows, seeds, lost), overlaps=overlaps))
    scores = section(card, "Scores")
    assert "- Beside base: **above** on better; **below** on worse; no difference shown on maybe and close." in scores
    assert "- Beside BM25: **below** on maybe." in scores
    assert "| maybe | nDCG@10 | 100 | 0.5000 [0.4000, 0.6000] | 0.4875 | +0.0200 [+0.0010, +0.0400] |" in scores
    assert "| better * |" in scores
    assert "**+0.0200 [+0.0010, +0.0400]**" in scores
    assert "trained on training queries of this benchmark" in scores
    assert "Over 2 models that differ in their seeds alone, better, nDCG@10: mean 0.5500" in scores
    assert "Not scored, for it could not be had: lost." in scores
    leakage = section(card, "Leakage")
    assert "| abstracts | better | 0 | - | 2 documents |" in leakage
    assert "unread" not in leakage, "nothing was trained on it"
    assert "better, nDCG@10, without documents of abstracts: 0.3210" in leakage
    assert not re.search(r"0\.9999|0\.8888|0\.6540|0\.7777", card)


def test_without_scores_it_claims_none(model, tmp_path):
    for sources in (Sources(model), Sources(model, summary=summarized(tmp_path, [{"system": "x", "benchmark": "b"}]))):
        scores = section(card_text(sources), "Scores")
        assert "It was not scored on test sets" in scores
        assert "|" not in scores
    lost = [{"kind": "benchmark", "name": name, "reason": "no network"} for name in ("one", "other")]
    summary = summarized(tmp_path, [{"system": "x", "benchmark": "b", "condition": "none"}], left_out=lost)
    scores = section(card_text(Sources(model, summary=summary)), "Scores")
    assert "It was not scored on test sets: one and other could not be had." in scores
    assert "step on the way" not in scores
    card = card_text(Sources(model))
    assert "`base`" not in section(card, "Leakage")
    assert "its licence is not known here" in card
    assert "Times are not recorded; trained on a CPU." in card
    assert "Energy: not measured" in card


# --- what it is made from ---------------------------------------------------------------------------------------


def test_a_model_of_many_nodes_tells_all_that_it_is_made_from(model, tmp_path):
    """A choice of a mean of chains, one of them taught by another's vectors."""
    places = tmp_path / "models"
    first = write(places / "first", manifest("first", TRAINING | {"seed": 1}))
    second = write(places / "second", manifest("second", TRAINING | {"start": "first", "seed": 2}))
    taught = write(places / "taught", manifest("taught", TRAINING | {"seed": 3, "teacher": "vectors"}))
    average = {"step": "average", "of": ["taught", "second"], "snapshots": False, "with": "base", "share": 1.5}
    of_mean = manifest("mean.1.5", average)
    unused = write(places / "unused", manifest("unused", TRAINING | {"seed": 999}))
    choice = {"step": "select", "of": ["mean.1.5", "unused"], "against": "base", "rule": {}}
    write(model, manifest("one", choice, chosen="mean.1.5", manifest_of_chosen=of_mean))
    rule = {"retrieval": ["dev"], "similarity": ["pairs"]}
    candidates = {"mean.1.5": {"mean nDCG@10": 0.4, "mean AP": 0.8, "allowed": True}}
    candidates["unused"] = {"mean nDCG@10": 0.45, "mean AP": 0.7, "allowed": False}
    (model / "choice.json").write_text(json.dumps({"chosen": "mean.1.5", "rule": rule, "candidates": candidates}))
    others, teachers = [unused, taught, second, first, model], {"vectors": "second"}
    names = [found["node"] for found in lineage_of(model, others, teachers)]
    assert names == ["first", "second", "taught", "mean.1.5", "one"]
    (tmp_path / "times").mkdir()
    (tmp_path / "times/second.tsv").write_text("s\th:m:s\n7200.5\t2:00:00\n")
    logged(tmp_path / "logs/second", [1e5] * 9)
    logged(tmp_path / "logs/taught", [1.5] * 9)
    # A step that no counter was read at.
    logged(tmp_path / "logs/first", [2.5] * 8 + [None])
    card = card_text(Sources(model, {"teachers": teachers}, others, times=tmp_path / "times", logs=tmp_path / "logs"))
    made = section(card, "How it was made")
    assert "`mean.1.5`: base, and 1.5 times what the mean of taught, second changed in it." in made
    assert "`one`: mean.1.5, chosen among mean.1.5, unused." in made
    assert [row.split(" | ")[0] for row in made.splitlines() if "| 1,234 (56) of" in row] == [
        *("| first", "| second", "| taught")
    ]
    assert "999" not in made
    assert "| second | 2.0 h | CPU | float32 | 2 |" in section(card, "Cost")
    assert "| first | not recorded |" in section(card, "Cost")
    assert "to the last: 0.25 kWh for second, 13.5 J for taught. Whole" in section(card, "Cost")
    assert "of the other trainings nothing is known" in section(card, "Cost")
    logged(tmp_path / "logs/second", [1e5] * 8)
    logged(tmp_path / "logs/taught", [1.5] * 10)
    card = card_text(Sources(model, {"teachers": teachers}, others, logs=tmp_path / "logs"))
    assert "Energy: not measured" in section(card, "Cost"), "these logs are of trainings with other steps"
    assert "| unused | 0.4500 | 0.7000 | loses too much average precision |" in section(card, "Scores")
    assert "| **mean.1.5** | 0.4000 | 0.8000 |  |" in section(card, "Scores")


def test_the_recipe_is_one_that_the_workflow_takes(finished, tmp_path):
    """The card of the demonstration's model, and the whole stage in its folder: laid over the configuration, what it
    shows trains the same again."""
    folder = finished.folder / "results/models/default"
    card = (folder / "README.md").read_text()
    assert card == (finished.folder / "results/model_cards/default.md").read_text()
    overlay = tmp_path / "recipe.yaml"
    overlay.write_text(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])
    files = [ROOT / "config.yaml", *finished.overlays, overlay]
    again = configuration.load(files, ROOT / "workflow/schemas/config.schema.yaml")
    settings = json.loads((folder / "manifest.json").read_text())["settings"]
    assert configuration.node_settings(again["nodes"]["default"]) == settings
    # And all the rest that the workflow knows.
    assert "**Not for use.** This model was trained on the generated sample" in card
    assert "- Beside sample-bert: **above** on sample-retrieval" in section(card, "Scores")
    assert "| abstracts | sample-retrieval | 1 | 1 by title | 0 documents |" in section(card, "Leakage")
    assert re.search(r"\| default \| \d+ (s|min) \| CPU \| float32 \| 2 \|", section(card, "Cost"))
    assert "1,604 citations of PubMed, published 1990 to 2025" in section(card, "Data")
    assert str(finished.folder) not in card
    done = subprocess.run(["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert changes(folder) == []


def test_what_is_told_of_held_out_citations_is_of_the_weights_that_were_kept(model):
    """Not of the last step's, where those of another one became the model."""
    measured = {"step": [0, 3, 6, 9], "mrr": [0.1, 0.2, 0.9, 0.4], "mean_similarity": [0.5] * 4}
    pl.DataFrame(measured | {"correlation": [None, None, None, 0.7]}).write_parquet(model / "development.parquet")
    assert "from its start to its end: MRR of title to abstract 0.1000 to 0.4000" in card_text(Sources(model))
    write(model, manifest("one", model_of_step=6))
    card = card_text(Sources(model))
    assert "from its start to step 6, which was kept: MRR of title to abstract 0.1000 to 0.9000, mean" in card
    assert "0.7" not in section(card, "Scores")


# --- licence and head -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "readme", "said", "head"),
    [
        ({}, None, ["None is stated.", "its licence is not known here"], {}),
        ({}, "---\nlicense: cc-by-4.0\n---\n# x", ["None is stated.", "base: `cc-by-4.0`"], {}),
        ({}, "---\nlicense: [\n---\n", ["its licence is not known here"], {}),
        ({"licence": "mit", "backbone": {"name": "base", "licence": "apache-2.0"}}, None, ["state `mit`", "`apache-2.0`"], {"license": "mit"}),
    ],
)  # fmt: skip
def test_licences_are_those_that_were_stated(model, tmp_path, about, readme, said, head):
    (tmp_path / "backbone").mkdir()
    if readme:
        (tmp_path / "backbone/README.md").write_text(readme)
    describe(Sources(model, about, backbone=tmp_path / "backbone"))
    card = (model / "README.md").read_text()
    assert all(words in section(card, "Licence") for words in said)
    found = metadata_load(model / "README.md")
    assert {key: found[key] for key in found if key == "license"} == head


def test_its_head_is_one_that_hubs_read(model, tmp_path):
    lock = tmp_path / "lock.json"
    entry = {"source": "owner/base", "revision": "d" * 40}
    lock.write_text(json.dumps({"encoders": {"base": entry}}))
    block = {"kind": "selections", "settings": {"languages": ["eng"]}}
    about = {"backbone": {"name": "base", "hub": "owner/base"}, "selections": {"abstracts": block}}
    describe(Sources(model, about, lock=lock))
    found = metadata_load(model / "README.md")
    assert (found["library_name"], found["language"]) == ("sentence-transformers", ["en"])
    assert (found["base_model"], found["base_model_relation"]) == ("owner/base", "finetune")
    card = (model / "README.md").read_text()
    assert f"commit `{'d' * 40}`" in card
    # Of a tag the commit that came for it.
    lock.write_text(json.dumps({"encoders": {"base": entry | {"source": "owner/base@v1", "revision": "f" * 40}}}))
    about["backbone"]["revision"] = "v1"
    assert f"commit `{'f' * 40}`" in card_text(Sources(model, about, lock=lock))
    assert "commit `v1`" in card_text(Sources(model, about))
    about["selections"]["abstracts"]["settings"]["languages"] = ["eng", "fre"]
    head = yaml.safe_load(card_text(Sources(model, about)).split("---\n")[1])
    assert "language" not in head
    assert "model-index" not in head


# --- checksums ----------------------------------------------------------------------------------------------------


def test_checksums_tell_what_has_changed(model):
    """And describing a model is no reason to encode its texts again."""
    before = fingerprint(model)
    (model / ".snakemake_timestamp").touch()
    (model / "snapshots/3").mkdir(parents=True)
    (model / "snapshots/3/model.safetensors").write_bytes(b"x")
    describe(Sources(model))
    describe(Sources(model))
    assert changes(model) == []
    assert fingerprint(model) == before
    names = [line[66:] for line in (model / "checksums.sha256").read_text().splitlines()]
    assert names == sorted(names)
    assert {"README.md", "manifest.json", "model.safetensors", "1_Pooling/config.json"} < set(names)
    assert not {".snakemake_timestamp", "checksums.sha256"} & set(names)
    (model / "snapshots/3/model.safetensors").write_bytes(b"y")
    (model / "vocab.txt").unlink(missing_ok=True)
    (model / "tokenizer.json").unlink()
    (model / "new.txt").touch()
    assert changes(model) == [
        "tokenizer.json is missing",
        "new.txt came later",
        "snapshots/3/model.safetensors is another",
    ]
    (model / "checksums.sha256").write_text("nonsense\n")
    with pytest.raises(BioHiCLError, match="not a line of checksums: 'nonsense'"):
        changes(model)


@pytest.mark.parametrize("name", ["two\nlines", " before", "a\N{LINE SEPARATOR}b"])
def test_a_file_that_checksums_cannot_name_is_told_when_they_are_written(model, name):
    """And not only when somebody reads them."""
    describe(Sources(model))
    before = (model / "checksums.sha256").read_bytes()
    (model / name).touch()
    with pytest.raises(BioHiCLError, match="no line of checksums can name"):
        describe(Sources(model))
    assert (model / "checksums.sha256").read_bytes() == before


def test_what_is_no_model_is_refused(tmp_path, run_biohicl):
    (tmp_path / "empty").mkdir()
    done = run_biohicl("describe", "empty", cwd=tmp_path)
    assert done.returncode == 2
    assert "empty: has no manifest.json, so it is no model of this workflow" in done.stderr
    assert list((tmp_path / "empty").iterdir()) == []


# --- the card's own lines ---------------------------------------------------------------------------------------


def run_lines(card, folder, monkeypatch):
    """What the card's Python says, run in the folder: one namespace a block."""
    monkeypatch.chdir(folder)
    found = []
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        found.append({})
        exec(code, found[-1])
    return found


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_both_libraries_give_the_vectors_of_the_workflow(letters, tmp_path, monkeypatch, pooling):
    folder = save_encoder(small_model("bert", layers=2), letters, tmp_path / "model", pooling=pooling)
    settings = EncoderSettings(pooling, pooling != "cls", 48, 'find "this" & <that>, \N{PILL}: ', "text's: ")
    write_settings(settings, folder, 32)
    describe(Sources(write(folder, manifest("model"))))
    encoder = Encoder(folder, "cpu")
    first, second = run_lines((folder / "README.md").read_text(), folder, monkeypatch)
    for kind, wanted in (
        ("query", encoder.encode_queries(HOSTILE)),
        ("document", encoder.encode_documents([("", text) for text in HOSTILE])),
    ):
        given = HOSTILE if kind == "query" else [text.strip() for text in HOSTILE]
        assert np.abs(first["model"].encode(given, prompt_name=kind) - wanted).max() < 1e-5
        assert np.abs(second["embed"](given, kind).numpy() - wanted).max() < 1e-5
    assert first["model"].max_seq_length == 48


def test_what_sentence_transformers_cannot_do_is_not_shown_with_it(letters, tmp_path, monkeypatch):
    """An end token behind each text: transformers' lines put it there."""
    folder = save_encoder(small_model("mistral", layers=1), letters, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "[MASK]"}))
    write_settings(EncoderSettings("last", False, 20, "query: ", append_eos=True), folder, 32)
    describe(Sources(write(folder, manifest("model"))))
    card = (folder / "README.md").read_text()
    assert "sentence-transformers cannot do what `biohicl_encoder.json` says" in card
    (only,) = run_lines(card, folder, monkeypatch)
    wanted = Encoder(folder, "cpu").encode_queries(HOSTILE)
    assert np.abs(only["embed"](HOSTILE, "query").numpy() - wanted).max() < 1e-4


def test_title_and_text_may_be_two_segments(letters, tmp_path, monkeypatch):
    folder = save_encoder(small_model("bert", layers=1), letters, tmp_path / "model")
    write_settings(EncoderSettings("mean", True, 20, passage_instruction="text: ", document_form="pair"), folder, 32)
    describe(Sources(write(folder, manifest("model"))))
    (only,) = run_lines((folder / "README.md").read_text(), folder, monkeypatch)
    documents = [("a title", text) for text in HOSTILE]
    encoder = Encoder(folder, "cpu")
    assert np.abs(only["embed"](documents, "document").numpy() - encoder.encode_documents(documents)).max() < 1e-5
    assert np.abs(only["embed"](HOSTILE, "query").numpy() - encoder.encode_queries(HOSTILE)).max() < 1e-5
