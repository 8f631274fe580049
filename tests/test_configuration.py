"""config.yaml: what it says, and what a mistake in it gets as an answer."""

import json
import re

import pytest
import yaml

from biohicl import configuration
from biohicl.configuration.derived import PARENTS
from biohicl.errors import BioHiCLError
from conftest import DOCUMENTS, ROOT

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
OVERLAYS = sorted((ROOT / "workflow/configs").glob("*.yaml"))


def load(tmp_path, text):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    return configuration.load([ROOT / "config.yaml", overlay], SCHEMA)


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.stem if path else "config")
def test_the_shipped_configurations_are_valid(overlay):
    # An overlay may be one over another, and is named after it.
    below = [other for other in OVERLAYS if overlay and other != overlay and overlay.stem.startswith(f"{other.stem}-")]
    config = configuration.load([ROOT / "config.yaml", *below, *([overlay] if overlay else [])], SCHEMA)
    assert {"biohicl-base", "default"} <= set(config["models"])
    assert configuration.chain_of(config, config["models"][0])[-1] in config["backbones"]


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCUMENTS, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=[text.split("\n", 1)[0] for text in EXAMPLES])
def test_what_the_readme_says_to_write_is_valid(tmp_path, text):
    assert load(tmp_path, text)["models"]


MISTAKES = {
    "trainig: {release: x}": "line 1: trainig: unknown key; did you mean 'training'?",
    "nodes: {default: {epoch: 3}}": "nodes.default.epoch: unknown key",
    "nodes:\n  default:\n    schedule: {learning_rate: 1e-5}": (
        "line 3: nodes.default.schedule.learning_rate: found the text '1e-5', but a number is needed "
        "(YAML reads this as text; write 1.0e-5, without quotes)"
    ),
    "nodes: {default: {schedule: {epochs: '3'}}}": "found the text '3', but a whole number is needed (YAML reads this as text; "
    "write 3, without quotes)",
    "nodes: {default: {schedule: {batch_size: 1}}}": "batch_size: found 1, but it must be at least 2",
    "nodes: {default: {losses: {cosine: {weight: 1}}}}": "nodes.default.losses.cosine: unknown key; did you mean 'cosent'?",
    "nodes: {default: {losses: {mse: {weigth: 1}}}}": "nodes.default.losses.mse.weigth: unknown key; did you mean 'weight'?",
    "nodes: {biohicl-base: {losses: {mse: null, contrastive: null}}}": "at least 1 entry is needed",
    "nodes: {default: {losses: {title_abstract: {share: 0.7}}}}": "nodes.default.losses: the shares of title_abstract and "
    "heading_abstract are 1.2 together, and a citation has one query at most",
    "nodes: {default: {losses: {heading_abstract: null, soft_targets: null}}}": "nothing reads the 50% of a batch that get "
    "no query: raise a share to 1",
    "nodes: {default: {trainable: {rank: 0}}}": "trainable.rank: found 0, but it must be at least 1",
    "nodes: {default: {development: {patience: 3}}}": "development.patience: waits for a better measure, and "
    "development.model is last",
    "nodes: {default: {development: {citations: 0, model: mrr}}}": "development.citations: found 0, but development.model: "
    "mrr needs some",
    "nodes: {x: {start: bge-base, selection: abstracts, losses: {mse: null}}}": "NAME: {} takes one with its defaults",
    "nodes: {default: {development: {model: best}}}": "allowed are last, mrr, correlation",
    "nodes: {default: {schedule: {related: 1.5}}}": "schedule.related: found 1.5, but it must be at most 1",
    "training: {compile: 'yes'}": "training.compile: found the text 'yes', but true or false or null is needed",
    "nodes: {default: {labels: {weight: dept}}}": "allowed are none, depth, seco, sanchez, corpus; did you mean 'depth'?",
    "nodes: {default: {labels: {ancestors: true}}}": "nodes.default.labels.ancestors: unknown key",
    "nodes: {default: {labels: {check_tags: drop}}}": "found the text 'drop', but a number is needed",
    "nodes: {default: {labels: {smoothing: 0}}}": "it must be more than 0",
    "ablations: {of: defualt}": "ablations.of: 'defualt' is not a training of `nodes`; did you mean 'default'?",
    "ablations: {of: default, factors: {loss: {mse: {losses: {msee: {}}}}}}": "nodes.ablation.loss.mse.1.losses.msee: unknown key",
    "ablations: {of: default, factors: {loss: {mse: 3}}}": "ablations.factors.loss.mse: a mapping of a node's keys is needed",
    "ablations: {of: biohicl-base}": "ablations.of: 'biohicl-base' has no loss soft_targets, and ablations.with",
    "models: [bmretriever]\nevaluation: {tuned_on: [scifact]}": "evaluation.tuned_on: bmretriever was trained on these "
    "splits of scifact",
    f"nodes: {{{'x' * 161}: {{like: default}}}}": "is a name of 161 letters; at most 160 fit",
    "ablations: {of: default, seeds: [1, 1]}": "ablations.seeds: found a list [1, 1], but each entry may stand there once only",
    "ablations: {of: default, factors: 3}": "ablations.factors: found 3, but a mapping of keys to values is needed",
    "ablations: {of: default, factors: {loss: 3}}": "ablations.factors.loss: found 3, but a mapping",
    "ablations: {of: default, seeds: 3}": "ablations.seeds: found 3, but a list is needed",
    "ablations: [1]": "ablations: found a list [1], but a mapping of keys to values is needed",
    "nodes: {mix: {step: average, of: [default], with: bge-base, share: [0.5, 1]}}\nmodels: [mix]\n"
    "evaluation: {variants: {'0.5': {dimensions: 64}}}": "evaluation.variants.0.5: 'mix.0.5' names another system too",
    "nodes: {mix: {step: average, of: [default], with: bge-base, share: [0.5, 2]}}": "nodes.mix.share: is 2, but of 1 "
    "averaged it is from 0 to 1",
    "nodes: {mine: {like: defualt}}": "nodes.mine.like: 'defualt' is not a node of this configuration; did you mean 'default'?",
    "nodes: {mine: {like: [default]}}": "nodes.mine.like: '['default']' is not a node",
    "nodes: {a: {like: b}, b: {like: c}, c: {like: b}}": "nodes.a.like: goes in a circle: a -> b -> c -> b",
    "nodes: {mine: {like: default, losses: {mse: {weigth: 1}}}}": "nodes.mine.losses.mse.weigth: unknown key",
    "benchmarks: {mine: {kind: retrieval, path: x, development: dev}}\nevaluation: {peers: [bmretriever-410m]}\n"
    "development: {retrieval: [mine]}": "benchmarks.mine.task: is empty, and the instruction of bmretriever-410m has a place",
    "ablations: {of: [default]}": "ablations.of: found a list ['default'], but text or null is needed",
    "ablations: {with: text}": "ablations.with: found the text 'text', but a mapping of keys to values is needed",
    "ablations: {with: {losses: [mse]}}": "ablations.with.losses: a mapping of losses to their keys is needed",
    "ablations: {with: {seed: 4}}": "ablations.with.seed: is what ablations.seeds gives each training",
    "ablations: {seeds: [[1]]}": "ablations.seeds[0]: found a list [1], but a whole number is needed",
    "ablations: {factors: {a: {b: {seed: 4}}}}": "ablations.factors.a.b.seed: is what ablations.seeds gives each training",
    "ablations: {factors: {a: {b: {}}}}": "ablations.factors.a.b: changes nothing, and would be the base again",
    "ablations: {factors: {a: {x.b: {max_length: 64}}, a.x: {b: {max_length: 96}}}}": "is named a.x.b with its factor, "
    "and so is another level; rename one",
    "ablations: {ofx: default}": "ablations.ofx: unknown key; did you mean 'of'?",
    "label_study: {citations: 5}": "label_study.citations: found 5, but it must be at least 10",
    "nodes: {default: {start: bge-bas}}": "nodes.default.start: 'bge-bas' is not a backbone or node of this configuration; "
    "did you mean 'bge-base'?",
    "nodes: {default: {selection: abstract}}": "did you mean 'abstracts'?",
    "nodes: {default: {start: biohicl-base}, biohicl-base: {start: default}}": "goes in a circle: ",
    "nodes: {bge-base: {start: bge-base, selection: abstracts, losses: {mse: {}}}}": "a backbone has the same name",
    "nodes: {new: {start: bge-base, selection: abstracts}}": "nodes.new.losses: this key is missing and has no default",
    "models: [defaults]": "models[0]: 'defaults' is not a node of this configuration; did you mean 'default'?",
    "models: default": "models: found the text 'default', but a list is needed",
    "evaluation: {benchmarks: [scifact, scifakt]}": "evaluation.benchmarks[1]: 'scifakt' is not a benchmark",
    "evaluation: {benchmarks: [scifact, scifact]}": "each entry may stand there once only",
    "benchmarks: {scifact: {path: x}}": "benchmarks.scifact: needs exactly one of 'url' and 'path'; both are given",
    "benchmarks: {scifact: {url: null}}": "benchmarks.scifact: needs exactly one of 'url' and 'path'; neither is given",
    "benchmarks: {scifact: {url: 'http://x.org/a.zip'}}": "an https:// address of a .zip, .tar.gz, "
    ".json or .jsonl.gz file is needed",
    "benchmarks: {scifact: {kind: similarity}}": "found similarity, and only retrieval in BEIR's layout has",
    "benchmarks: {scifact: {layout: pairs}}": "found pairs, but for kind: retrieval allowed are beir, pubmedqa",
    "benchmarks: {scifact: {headline: Spearman}}": "for kind: retrieval allowed are nDCG@10, Recall@1",
    "benchmarks: {scifact: {development: test}}": "is the split that scores it: what is tuned must not see that",
    "training: {selections: {abstracts: {exclude_benchmarks: [scifakt]}}}": "'scifakt' is not a benchmark of this",
    "evaluation: {tuned_on: [scidocs]}": "evaluation.tuned_on[0]: benchmarks.scidocs names no development split",
    "evaluation: {peers: [medcp]}": "'medcp' is not a peer of this configuration; did you mean 'medcpt'?",
    "evaluation: {hybrids: {rrf: {of: [biolord-2023]}}}": "evaluation.hybrids.rrf.of[0]: 'biolord-2023' is not a system "
    "that is scored of this configuration",
    "evaluation: {hybrids: {int8: {}}}": "'biohicl-base.int8' names another system too; rename one of them",
    "evaluation: {variants: {int8: {precision: int4}}}": "allowed are float32, bfloat16, int8, binary; did you mean 'int8'",
    "evaluation: {efficiency: {benchmark: biosses}}": "'biosses' is not a retrieval benchmark of this configuration",
    "peers: {medcpt: {passage_path: x}}": "peers.medcpt.passage_path: passage_hub is given too",
    "peers: {bge-base: {hub: x/y}}": "peers.bge-base: a backbone has the same name; rename one of them",
    "peers: {default: {hub: x/y}}": "peers.default: a node has the same name",
    "peers: {mine: {}}": "peers.mine: needs exactly one of 'hub' and 'path'; neither is given",
    "benchmarks: {scifact: {kind: retreival}}": "did you mean 'retrieval'?",
    "backbones: {bge-base: {hub: null}}": "backbones.bge-base: needs exactly one of 'hub' and 'path'",
    "backbones: {bge-base: {pooling: max}}": "backbones.bge-base.pooling: found the text 'max', but allowed are cls, mean, last, null",
    "backbones: {'../x': {path: y}}": "cannot be a name",
    "backbones: {bge-large: {tokens_of: bge-bas}}": "'bge-bas' is not a backbone of this configuration; did",
    "backbones: {bge-base: {tokens_of: bge-base}}": "backbones.bge-base.tokens_of: names the backbone itself",
    "backbones: {x: {path: y, tokens_of: bge-large}}": "'bge-large' has no tokens of its own; write bge-base",
    "{backbones: {bge-large: {query_instruction: 'Q: '}}, models: [biohicl-large]}": "backbones.bge-large."
    "query_instruction: is another than that of 'bge-base', whose tokens it reads; write tokens_of: null",
    "pubmed: {baseline: [1, '9-5']}": "pubmed.baseline[1]: found 9-5, a range upside down; write 5-9",
    "pubmed: {updates: some}": 'allowed is "all" or "none" or a list of numbers and ranges',
    "pubmed: {baseline: none, updates: none}": "nothing would be parsed",
    "pubmed: {mirrors: ['ftp://ftp.ncbi.nlm.nih.gov/pubmed']}": "an https:// or file:/// address or a folder's path is needed",
    "pubmed: {strict_sequence: 'yes'}": "pubmed.strict_sequence: found the text 'yes', but true or false is needed",
    "pubmed: {release: newest}": "found the text 'newest', but allowed is \"current\" or a whole number from 2002 to 2099",
    "training: {selections: {abstracts: {years: [2020, 2010]}}}": "a range upside down; write [2010, 2020]",
    "training: {selections: {abstracts: {languages: [english]}}}": "a three-letter language code",
    "training: {release: 2026}": (
        'training.release: found 2026, but text is needed (YAML reads this as a number; write "2026", in quotes)'
    ),
    "label_study: {smoothing: 1e3}": "found the text '1e3', but a number is needed (YAML reads this as text; write 1000, "
    "without quotes)",
    "training: [1, 2]": "training: found a list [1, 2], but a mapping of keys to values is needed",
    "nodes: {default: {schedule: {learning_rate: .nan}}}": "learning_rate: found nan, but a finite number is needed",
    "nodes: {default: {losses: {title_abstract: {weight: .inf}}}}": "found inf, but a finite number is needed",
    "nodes: {default: {max_length: 1024}}": "found 1024, but its backbone bge-base reads 512 tokens",
    "nodes: {best: {share: half}}": "nodes.best.share: found the text 'half', but allowed is a number from 0 on or a list",
    "nodes: {best: {share: [0.5, 0.5]}}": "found a list [0.5, 0.5], but each entry may stand there once only",
    "nodes: {best: {share: [0.5, 0.50000001]}}": "nodes.best.share: has two shares that are the same to six digits",
    "{nodes: {mine: {step: select, of: [default, biohicl-large]}}, models: [mine]}": "nodes.mine.of: biohicl-large comes "
    "from bge-large, and default from bge-base: a choice is compared with its backbone; choose for each",
    "nodes: {mine: {like: biohicl-base, selection: concepts, losses: {query_text: {kinds: [section]}}}}": "nodes.mine."
    "losses.query_text.kinds: found section, but the texts of concepts (training.concepts) have name and synonym",
    "nodes: {default: {negatives: {given: 3}}}": "negatives.given: are those that files of pairs name, and abstracts is of",
    "mesh: null": "mesh: found nothing (null), but a mapping of keys to values is needed",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, text):
    with pytest.raises(BioHiCLError) as error:
        load(tmp_path, text)
    message = str(error.value)
    assert MISTAKES[text] in message
    assert "\n" not in message
    assert "overlay.yaml, line" in message


def test_yaml_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BioHiCLError, match=r"overlay.yaml: not valid YAML: .*line 1"):
        load(tmp_path, "nodes: [")
    with pytest.raises(BioHiCLError, match="holds a list"):
        load(tmp_path, "- 1")
    with pytest.raises(BioHiCLError, match="no such configuration file"):
        configuration.load([tmp_path / "absent.yaml"], SCHEMA)


def test_overlays_change_what_they_name_and_null_takes_entries_out(tmp_path):
    config = load(
        tmp_path,
        "nodes: {biohicl-base: {losses: {contrastive: null}, schedule: {epochs: 7}}}\n"
        "benchmarks: {scidocs: null}\nevaluation: {benchmarks: [scifact]}\n"
        "training: {selections: {abstracts: {exclude_benchmarks: [scifact]}}}",
    )
    assert list(config["nodes"]["biohicl-base"]["losses"]) == ["mse"]
    assert config["nodes"]["biohicl-base"]["schedule"]["epochs"] == 7
    assert config["nodes"]["biohicl-base"]["schedule"]["clip"] == 1.0
    assert "scidocs" not in config["benchmarks"]


def test_other_instructions_of_a_backbone_that_no_model_starts_from_are_no_mistake(tmp_path):
    """Whoever changes bge-base alone need not think of bge-large, which shares its tokens."""
    config = load(tmp_path, "backbones: {bge-base: {query_instruction: 'Q: '}}")
    assert config["backbones"]["bge-large"]["tokens_of"] == "bge-base"


def test_defaults_reach_entries_that_a_user_adds(tmp_path):
    config = load(tmp_path, "nodes: {mine: {start: default, selection: abstracts, losses: {contrastive: {}}}}")
    mine = config["nodes"]["mine"]
    assert mine["losses"]["contrastive"] == {
        **{"weight": 0.1, "positive_above": 0.3, "temperature": 1.0, "weighted": False}
    }
    assert (mine["step"], mine["trainable"]["rank"], mine["labels"]["depth"]) == ("train", 8, "min")
    assert configuration.chain_of(config, "mine") == ["mine", "default", "bge-base"]


def test_every_key_of_the_schema_is_described():
    schema = yaml.safe_load(SCHEMA.read_text())

    def undescribed(part, path):
        for key, value in part.get("properties", {}).items():
            followed = dict(value)
            while "$ref" in followed:
                target = schema
                for name in followed.pop("$ref").removeprefix("#/").split("/"):
                    target = target[name]
                followed = {**target, **followed}
            if "description" not in value and path != "$defs" and key != "weight":
                yield f"{path}.{key}"
            yield from undescribed(value, f"{path}.{key}")

    assert list(undescribed(schema, "")) == []
    for name, part in schema["$defs"].items():
        assert list(undescribed(part, name)) == []


def test_every_step_of_nodes_has_its_keys_and_says_what_it_is_made_from():
    known = yaml.safe_load(SCHEMA.read_text())["$defs"]
    assert set(known["step"]["enum"]) == set(PARENTS)
    cases = {case["if"]["properties"]["step"]["const"]: case["then"]["$ref"] for case in known["node"]["allOf"]}
    assert cases == {step: f"#/$defs/{step}" for step in PARENTS}
    for step, keys in PARENTS.items():
        assert set(keys) <= set(known[step]["properties"]), step
        assert f"{step} = " in known["step"]["description"]


def test_every_key_of_config_yaml_has_its_comment():
    """A key's comment stands above it, or above an earlier entry with the same key."""
    explained, naked = set(), []
    lines = (ROOT / "config.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        match = re.match(r"( *)([a-z0-9_-]+):", line)
        if not match:
            continue
        if number and lines[number - 1].lstrip().startswith("#"):
            explained.add(match[2])
        elif match[2] not in explained:
            naked.append(f"{number + 1}: {line.strip()}")
    sections = {"pubmed", "mesh", "training", "evaluation"}
    # What the comment above a group explains together: losses' terms, parts of a one-line block, named entries.
    together = {"updates", "labels", "losses", "contrastive", "trainable", "schedule", "batch_size", "learning_rate"}
    together |= {"warmup", "weight_decay", "clip", "epochs", "max_steps", "licence", "measures", "mse", "bge-base"}
    together |= {"kind", "url", "nfcorpus", "scifact", "scidocs", "trec-covid", "hub", "weight", "abstracts"}
    together |= {"bge-large", "pooling", "max_length", "query_instruction", "of", "similarity"}
    # Entries of maps, which the comment above the map explains.
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    together |= {
        *config["peers"],
        *config["benchmarks"],
        *config["nodes"],
        *config["training"]["pairs"],
        *config["evaluation"]["hybrids"],
        *config["evaluation"]["variants"],
        *config["ablations"]["factors"],
        *(level for levels in config["ablations"]["factors"].values() for level in levels),
    }
    assert [entry for entry in naked if entry.split()[1].rstrip(":") not in sections | together] == []


def test_a_node_like_another_follows_what_overlays_say_of_that(tmp_path):
    text = (
        "nodes:\n  default: {max_length: 99, losses: {mse: {weight: 3}}}\n"
        "  mine: {like: default, seed: 7, losses: {title_abstract: null}}\n  ours: {like: mine, seed: 8}\n"
    )
    nodes = load(tmp_path, text)["nodes"]
    default, mine, ours = (nodes[name] for name in ("default", "mine", "ours"))
    losses = {name: block for name, block in default["losses"].items() if name != "title_abstract"}
    assert mine == {**default, "seed": 7, "losses": losses}
    assert ours == {**mine, "seed": 8}
    assert default["max_length"] == 99
    with pytest.raises(BioHiCLError) as caught:
        load(tmp_path, text.replace("99", "0"))
    assert "line 2: nodes.default.max_length: " in str(caught.value), "said of the original, not of its copies"
    with pytest.raises(BioHiCLError) as caught:
        load(tmp_path, "nodes:\n  mine: {like: biohicl-large, seed: 7}\n  biohicl-large:\n    start: none-such\n")
    assert "line 4: nodes.biohicl-large.start: " in str(caught.value)


def test_systems_stand_in_the_order_of_the_table_with_what_they_are_compared_with(tmp_path):
    config = load(
        tmp_path,
        "evaluation: {peers: [medcpt], hybrids: {rrf: {of: [bge-base]}, convex: null}, "
        "variants: {128d: null, bf16: null, int8: null, binary-rescored: null}}",
    )
    systems = configuration.systems_of(config)
    assert [(name, system.role, system.against) for name, system in systems.items()] == [
        ("bm25", "lexical", None),
        ("bge-base", "backbone", None),
        ("biohicl-base", "model", "bge-base"),
        ("default", "model", "bge-base"),
        ("medcpt", "peer", "bge-base"),
        ("bge-base.rrf", "hybrid", "bge-base"),
        ("biohicl-base.binary", "variant", "biohicl-base"),
        ("default.binary", "variant", "default"),
    ]
    assert [name for name, system in systems.items() if system.is_dense] == [
        "bge-base",
        "biohicl-base",
        "default",
        "medcpt",
    ]


def test_hybrids_are_tuned_on_what_the_model_has_not_seen(tmp_path):
    config = load(tmp_path, "models: [bmretriever, default]")
    assert config["evaluation"]["tuned_on"] == ["nfcorpus", "scifact"]
    assert configuration.tuned_on(config, "bmretriever") == ["nfcorpus"], "its split to choose by is another"
    assert configuration.tuned_on(config, "default") == ["nfcorpus", "scifact"]
    assert configuration.seen_by(config, "bmretriever") == ["nfcorpus", "scifact"]
    assert configuration.seen_by(config, "default") == configuration.seen_by(config, "bge-base") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "nodes: {default: {start: bge-large}}",
            "ablations.factors.phases.concepts: starts from bge-base, and the base from bge-large: that would compare "
            "backbones. Give biolord-1.names the start bge-large, or take the level out (null)",
        ),
        (
            "ablations: {factors: {phases: null, start: {large: {start: bge-large}}}}",
            "ablations.factors.start.large: starts from bge-large, and the base from bge-base: that would compare "
            "backbones. Give it the start bge-base, or take the level out (null)",
        ),
        (
            "ablations: {of: bmretriever, with: {losses: {soft_targets: null}}, factors: {loss: null, weight: null, "
            "ancestors: null, check_tags: null, trainable: null, phases: null}}\n"
            "development: {retrieval: [scifact]}",
            "ablations: base: is trained on the split of scifact that development.retrieval compares by; take one of "
            "the two out",
        ),
        ("nodes: {default: {start: bge-large}, biolord-1.names: {start: bge-large}, best: {with: bge-large}}", None),
    ],
)
def test_ablations_compare_neither_backbones_nor_what_was_trained_on(tmp_path, content, said):
    assert configuration.unfair(load(tmp_path, content)) == said


def test_every_combination_of_the_shipped_factors_has_a_name(tmp_path):
    config = load(tmp_path, "ablations: {grid: all, seeds: [1]}")
    assert len(configuration.cells_of(config)) == 7 * 4 * 2 * 2 * 2 * 2


def test_models_that_differ_in_seeds_alone_are_one_recipe(tmp_path):
    """Their own seed, or that of a node that they start from; another loss is another recipe."""
    node = "{start: bge-base, selection: abstracts, seed: %d, losses: {%s: {}}}"
    after = "{start: %s, selection: abstracts, losses: {cosent: {}}}"
    nodes = {
        "a": node % (1, "mse"),
        "b": node % (2, "mse"),
        "c": node % (2, "cosent"),
        "d": after % "a",
        "e": after % "b",
    }
    written = ", ".join(f"{name}: {block}" for name, block in nodes.items())
    config = load(tmp_path, f"nodes: {{{written}}}\nmodels: [a, b, c, d, e]")
    assert configuration.seed_groups(config) == {"a": ["a", "b"], "d": ["d", "e"]}
    assert configuration.selections_of(config, "d") == ["abstracts"]


def test_the_same_trainings_again_are_no_other_seeds(tmp_path):
    """A copy would look like a second seed that agrees to the last digit; so would means over the same trainings."""
    text = """
nodes:
  two: {like: default, seed: 2}
  three: {like: default, seed: 3}
  four: {like: default, seed: 4}
  copy: {like: default}
  mean: {step: average, of: [default, two]}
  other: {step: average, of: [two, three]}
  apart: {step: average, of: [three, four]}
models: [default, copy, two, mean, other, apart]
"""
    assert configuration.seed_groups(load(tmp_path, text)) == {"default": ["default", "two"], "mean": ["mean", "apart"]}


def test_a_node_like_one_that_is_taken_out_says_so(tmp_path):
    with pytest.raises(BioHiCLError, match=r"nodes\.biolord-2\.names\.like: 'biolord-1\.names' is taken out \(null\)"):
        load(tmp_path, "nodes: {biolord-1.names: null}")


def test_settings_that_no_training_reads_are_no_settings(tmp_path):
    """A spelling, labels that no loss reads, a depth that no weight reads: nothing trains again for them."""

    def settings_of(node, overlay):
        return configuration.node_settings(load(tmp_path, f"nodes: {{{node}: {overlay}}}")["nodes"][node])

    unlabelled = "{losses: {heading_abstract: null, soft_targets: null, title_abstract: {share: 1.0%s}}%s}"
    plain, paper = settings_of("default", unlabelled % ("", "")), settings_of("biohicl-base", "{}")
    assert "labels" not in plain
    assert settings_of("default", unlabelled % ("", ", labels: {check_tags: 0.5}")) == plain
    for asking in (unlabelled % (", mask_above: 0.5", ""), unlabelled % ("", ", schedule: {related: 0.2}"), "{}"):
        assert settings_of("default", asking)["labels"]["weight"] == "corpus"
    assert json.dumps(settings_of("biohicl-base", "{labels: {check_tags: 1}}")) == json.dumps(paper)
    assert settings_of("biohicl-base", "{labels: {smoothing: 3}}") == paper
    assert settings_of("biohicl-base", "{labels: {depth: max}}") != paper
    by_corpus = settings_of("biohicl-base", "{labels: {weight: corpus}}")
    assert settings_of("biohicl-base", "{labels: {weight: corpus, depth: max}}") == by_corpus
    assert settings_of("biohicl-base", "{labels: {weight: corpus, smoothing: 3}}") != by_corpus
    for settings in (plain, paper, by_corpus, settings_of("default", "{negatives: {bm25: 2}}")):
        assert configuration.node_settings(settings) == settings, "a manifest's settings are settings"
