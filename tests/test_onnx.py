"""ONNX files give the vectors of the models that they are made from, to programs that have no torch."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import transformers
from tokenizers import Tokenizer

from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import EncoderSettings, write_settings
from biohicl.errors import BioHiCLError
from biohicl.publishing.onnx_export import export_onnx
from conftest import clean_environment
from encoders import CONFIGS, DECODERS, SMALL, letters_tokenizer, save_encoder, small_model

HOSTILE = [
    *("", " ", "a", "zebra " * 40, "α-synuclein", "\N{PILL}\N{FAMILY}", "\u200b\x00", "word " * 5000),
    *("some text of a few words", "another one, which is longer than the first by some words"),
]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return letters_tokenizer(tmp_path_factory.mktemp("letters") / "tokenizer")


def vectors_of(folder, texts):
    """By the two libraries alone, as onnx.json says."""
    about = json.loads((folder / "onnx.json").read_text())
    session = onnxruntime.InferenceSession(folder / about["model"])
    read = Tokenizer.from_file(str(folder / about["tokenizer"])).encode_batch(texts)
    columns = {
        "input_ids": [one.ids for one in read],
        "attention_mask": [one.attention_mask for one in read],
        "token_type_ids": [one.type_ids for one in read],
    }
    assert [given.name for given in session.get_inputs()] == about["inputs"]
    inputs = {name: np.array(columns[name], dtype=np.int64) for name in about["inputs"]}
    return session.run(["sentence_embedding", "last_hidden_state"], inputs)


@pytest.fixture(scope="module")
def exported(letters, tmp_path_factory):
    """A model, and it as ONNX."""
    place = tmp_path_factory.mktemp("exported")
    folder = save_encoder(small_model("bert", layers=2), letters, place / "model", pooling="cls")
    export_onnx(folder, place / "onnx")
    return folder, place / "onnx"


def check(folder, onnx):
    """In batches with padding and one by one."""
    wanted = Encoder(folder, "cpu").encode(HOSTILE)
    found, hidden = vectors_of(onnx, HOSTILE)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5
    assert hidden.shape[::2] == (len(HOSTILE), wanted.shape[1])
    for text, vector in zip(HOSTILE, wanted, strict=True):
        assert np.abs(vectors_of(onnx, [text])[0] - vector).max() < 1e-5


def test_pooled_vectors_are_those_of_the_encoder(exported):
    folder, onnx = exported
    check(folder, onnx)
    about = json.loads((onnx / "onnx.json").read_text())
    assert 0 < about["checked"]["largest_difference"] < 1e-5
    assert (about["dimension"], about["max_length"], about["pooling"]) == (32, 64, "cls")
    # Nothing of this machine.
    assert str(folder.parent).encode() not in (onnx / "model.onnx").read_bytes()
    assert b"site-packages" not in (onnx / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        # A token sees some, or all.
        ("modernbert", "mean"),
        *(
            pytest.param(name, "last" if name in DECODERS else "mean", marks=pytest.mark.long(8))
            for name in CONFIGS
            if name not in ("modernbert", "bert")
        ),
    ],
)
def test_of_all_architectures(letters, tmp_path, name, pooling):
    model = small_model(name)
    if name == "roberta":
        # As the tokenizer has it, and where places are counted from.
        model = transformers.RobertaModel(transformers.RobertaConfig(**SMALL | {"pad_token_id": 0})).eval()
    folder = save_encoder(model, letters, tmp_path / "model", pooling=pooling)
    export_onnx(folder, tmp_path / "onnx")
    check(folder, tmp_path / "onnx")


def test_what_the_settings_say_is_inside(letters, tmp_path):
    """Not brought to length 1, an end token behind each text, and instructions for whoever prepares it."""
    folder = save_encoder(small_model("mistral", layers=1), letters, tmp_path / "model")
    settings = EncoderSettings(
        "last", False, 20, "query: ", "text: ", similarity="dot", append_eos=True, sentence_instruction="s: "
    )
    write_settings(settings, folder, 32)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "[MASK]"}))
    export_onnx(folder, tmp_path / "onnx")
    encoder = Encoder(folder, "cpu")
    wanted = encoder.encode(HOSTILE)
    assert encoder.tokens(["word " * 99])[0].tolist()[-1] == 4
    assert len(encoder.tokens(["word " * 99])[0]) == 20
    assert np.abs(np.linalg.norm(wanted, axis=1) - 1).max() > 0.1
    assert np.abs(vectors_of(tmp_path / "onnx", HOSTILE)[0] - wanted).max() < 1e-4
    about = json.loads((tmp_path / "onnx/onnx.json").read_text())
    assert about["prompts"] == {"query": "query: ", "document": "text: ", "sentence": "s: "}
    assert (about["normalize"], about["similarity"]) == (False, "dot")


def test_title_and_text_may_be_two_segments(letters, tmp_path):
    folder = save_encoder(small_model("bert", layers=1), letters, tmp_path / "model")
    write_settings(EncoderSettings("cls", True, 20, passage_instruction="text: ", document_form="pair"), folder, 32)
    export_onnx(folder, tmp_path / "onnx")
    documents = [("a title", text) for text in HOSTILE]
    wanted = Encoder(folder, "cpu").encode_documents(documents)
    found = vectors_of(tmp_path / "onnx", [(f"text: {title}", text) for title, text in documents])[0]
    assert np.abs(found - wanted).max() < 1e-5
    assert "A document is a pair" in (tmp_path / "onnx/README.md").read_text()


def test_its_readme_works_without_torch(exported):
    folder, onnx = exported
    code = (onnx / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = f"import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=onnx, capture_output=True, text=True, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    encoder = Encoder(folder, "cpu")
    text = "Statin use and risk of breast cancer. We followed 2,000 women."
    wanted = encoder.encode_queries(["statins and breast cancer"]) @ encoder.encode_documents([("", text)]).T
    assert float(done.stdout.strip("[]\n ")) == pytest.approx(float(wanted[0, 0]), abs=1e-5)


def test_other_vectors_are_refused_and_nothing_is_left(letters, tmp_path):
    """RoBERTa counts a token's place from those that are no padding; with a tokenizer of another model, whose unknown
    token is its padding, it counts otherwise padded and packed."""
    folder = save_encoder(small_model("roberta", layers=1), letters, tmp_path / "model")
    with pytest.raises(BioHiCLError, match=r"its ONNX form gives other vectors: they differ by .* nothing is written"):
        export_onnx(folder, tmp_path / "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_cannot_be_exported_is_told_in_a_line(letters, tmp_path, run_biohicl):
    folder = save_encoder(small_model("bert"), letters, tmp_path / "model")
    write_settings(EncoderSettings("mean", True, 64, dtype="bfloat16"), folder, 32)
    done = run_biohicl("export-onnx", folder, "--output", tmp_path / "onnx")
    assert done.returncode == 2
    assert "computes in bfloat16 (biohicl_encoder.json); only float32 is exported" in done.stderr
    done = run_biohicl("export-onnx", tmp_path / "none", "--output", tmp_path / "onnx")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "onnx").exists()
