"""Encoder folders: what is read, what is written, and sentence-transformers as the outside witness."""

import json
import shutil

import numpy as np
import pytest

from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import EncoderSettings, load_model, prepare_backbone, read_settings, write_settings
from biohicl.errors import BioHiCLError

TEXTS = [
    "Effect of aspirin on stroke.",
    "",
    "mice " * 300,
    "Gliaroma predicts kaelstolgen in women with TiO2; P < 0.05.",
]


@pytest.fixture
def backbone(sample, tmp_path):
    return shutil.copytree(sample / "backbone", tmp_path / "backbone")


def witness(folder, texts, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts, **options)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_transformers_gives_the_same_embeddings(backbone, pooling, normalize):
    settings = EncoderSettings(pooling, normalize, max_length=60, query_instruction="Find: ")
    write_settings(settings, backbone, 128)
    encoder = Encoder(backbone, "cpu")
    assert encoder.settings == settings
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=2), witness(backbone, TEXTS), atol=1e-5)
    queries = encoder.encode([settings.query(text) for text in TEXTS])
    np.testing.assert_allclose(queries, witness(backbone, TEXTS, prompt_name="query"), atol=1e-5)


def test_a_folder_that_sentence_transformers_saved_reads_the_same(backbone, tmp_path):
    from sentence_transformers import SentenceTransformer

    settings = EncoderSettings("cls", False, 70, "Q: ", "P: ", "dot", "S: ")
    write_settings(settings, backbone, 128)
    SentenceTransformer(str(backbone), device="cpu", local_files_only=True).save(str(tmp_path / "saved"))
    assert read_settings(tmp_path / "saved") == settings
    np.testing.assert_allclose(
        Encoder(tmp_path / "saved", "cpu").encode(TEXTS), Encoder(backbone, "cpu").encode(TEXTS), atol=1e-6
    )


def test_each_kind_of_text_gets_its_instruction(backbone):
    write_settings(EncoderSettings("mean", True, 60, "Q: ", "P: ", sentence_instruction="S: "), backbone, 128)
    encoder = Encoder(backbone, "cpu")
    plain = ["aspirin", ""]
    for found, prompt in (
        (encoder.encode_queries(plain), "query"),
        (encoder.encode_documents([("", text) for text in plain]), "document"),
        (encoder.encode_sentences(plain), "sentence"),
    ):
        np.testing.assert_allclose(found, witness(backbone, plain, prompt_name=prompt), atol=1e-5)
    # Its encode is told no kind; what compares texts calls it so.
    np.testing.assert_allclose(encoder.encode_sentences(plain), witness(backbone, plain), atol=1e-5)
    titled = encoder.encode_documents([("Title", "text"), ("Title", "")])
    np.testing.assert_allclose(titled, witness(backbone, ["Title text", "Title"], prompt_name="document"), atol=1e-5)


def test_the_default_prompt_of_a_folder_is_that_of_sentences(backbone):
    file = backbone / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": {"query": "Q: ", "STS": "Compare: "}, "default_prompt_name": "STS"}))
    assert read_settings(backbone).sentence_instruction == "Compare: "
    found = Encoder(backbone, "cpu").encode_sentences(["aspirin"])
    np.testing.assert_allclose(found, witness(backbone, ["aspirin"]), atol=1e-5)


def test_order_and_batches_change_nothing(backbone):
    encoder = Encoder(backbone, "cpu")
    whole = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=1)[::-1], whole, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    assert encoder.encode([]).shape == (0, 128)


def test_real_backbone_equals_the_witness(shared):
    folder = shared / "encoders/all-MiniLM-L6-v2"
    lines = (shared / "data/benchmarks/scifact/corpus.jsonl").read_text().splitlines()[:24]
    texts = [json.loads(line)["text"] for line in lines]
    found = Encoder(folder, "cpu").encode(texts, batch_size=8)
    np.testing.assert_allclose(found, witness(folder, texts), atol=1e-5)


def test_a_missing_pooler_is_zero_each_time(backbone):
    from safetensors.numpy import load_file, save_file

    weights = load_file(backbone / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    save_file(kept, backbone / "model.safetensors", metadata={"format": "pt"})
    assert not load_model(backbone).pooler.dense.weight.detach().any()


def lacking_a_layer(folder):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1.output.dense" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def other_pooling(folder):
    path = folder / "1_Pooling/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}))


def larger_vocabulary(folder):
    with (folder / "vocab.txt").open("a") as stream:
        stream.write("\n".join(f"word{n}" for n in range(4000)) + "\n")


WRONG = {
    "no config": (lambda f: (f / "config.json").unlink(), {}, "has no config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), {}, "has no model.safetensors"),
    "no tokenizer": (lambda f: (f / "vocab.txt").unlink(), {}, "has no tokenizer"),
    "weights lacking": (lacking_a_layer, {}, "lacks 2 weights"),
    "half a weights file": (lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0"), {}, "cannot be loaded"),
    "other pooling": (other_pooling, {}, "none of cls, mean and last"),
    "broken json": (lambda f: (f / "modules.json").write_text("[{"), {}, "modules.json: not valid JSON"),
    "too long": (lambda f: None, {"max_length": 513}, "max_length is 513, but the model has 128 positions"),
    "other vocabulary": (larger_vocabulary, {}, "do not belong together"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_folders_are_errors_that_name_them(backbone, fault):
    spoil, overrides, said = WRONG[fault]
    spoil(backbone)
    with pytest.raises(BioHiCLError, match=said) as error:
        prepare_backbone(backbone, **overrides)
    assert str(backbone) in str(error.value)


def test_overrides_of_the_configuration_are_written_into_the_folder(backbone):
    prepare_backbone(
        backbone, pooling="cls", normalize=None, max_length=32, query_instruction="Q ", passage_instruction=None
    )
    assert read_settings(backbone) == EncoderSettings("cls", True, 32, "Q ", "")
