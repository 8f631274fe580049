"""Averages of weights beside numpy, and teachers' vectors beside an encoder asked directly."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from biohicl.cli.main import main
from biohicl.configuration.derived import VIEWS
from biohicl.encoder import vectors
from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import EncoderSettings, read_settings, write_settings
from biohicl.errors import BioHiCLError
from biohicl.training.averaging import write_average
from biohicl.training.rows import KEYS, with_key
from biohicl.training.teacher import keys_of, read_teacher, write_teacher
from biohicl.training.tokens import write_tokens
from encoders import letters_tokenizer, save_encoder, small_model
from workflow_faults import limits

TITLES = [f"effect of {word} on mice" for word in ("aspirin", "heparin", "statin", "insulin", "warfarin")] * 4


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    return letters_tokenizer(tmp_path_factory.mktemp("letters") / "tokenizer")


@pytest.fixture
def encoder(tokenizer, tmp_path):
    def made(name, seed=0, architecture="bert", **how):
        return save_encoder(small_model(architecture, seed), tokenizer, tmp_path / name, **how)

    return made


def weights(folder):
    return load_file(folder / "model.safetensors")


def reference(of, other=None, share=1.0):
    """The formula, in numpy's doubles."""
    mean = {name: np.mean([weight[name].astype(np.float64) for weight in of], axis=0) for name in of[0]}
    if other is not None:
        mean = {name: share * value + (1 - share) * other[name].astype(np.float64) for name, value in mean.items()}
    return {name: value.astype(np.float32) for name, value in mean.items()}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_max_ulp(found[name], value, 1)


def change(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# --- averages ---------------------------------------------------------------------------------------------


def test_it_is_the_formula_and_loads_in_sentence_transformers(encoder, tmp_path):
    from sentence_transformers import SentenceTransformer

    folders = [encoder(name, seed) for seed, name in enumerate(("one", "two", "three"))]
    output = tmp_path / "mixture"
    write_average(folders[:2], output, folders[2], share=0.3)
    same(weights(output), reference([weights(folder) for folder in folders[:2]], weights(folders[2]), 0.3))
    model = SentenceTransformer(str(output), device="cpu", local_files_only=True)
    np.testing.assert_allclose(model.encode(TITLES[:3]), Encoder(output, "cpu").encode(TITLES[:3]), atol=1e-5)
    manifest = json.loads((output / "manifest.json").read_text())
    settings = {"step": "average", "of": ["one", "two"], "snapshots": False, "with": "three", "share": 0.3}
    assert (manifest["node"], manifest["settings"]) == ("mixture", settings)
    assert manifest["inputs"].keys() == {"one", "two", "three"}
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_share_of_as_many_as_are_averaged_adds_all_that_each_learned(encoder, tmp_path, capsys):
    one, two, start = encoder("one", 1), encoder("two", 2), encoder("start", 3)
    write_average([one, two], tmp_path / "sum", start, share=2.0)
    assert "start, and 2 times what the mean of 2 models changed in it" in capsys.readouterr().err
    found, first, second, base = (weights(folder) for folder in (tmp_path / "sum", one, two, start))
    for name, value in base.items():
        learned = (first[name].astype(np.float64) - value) + (second[name].astype(np.float64) - value)
        np.testing.assert_allclose(found[name], value + learned, atol=1e-6)
    for share in (2.01, -0.1, float("nan")):
        with pytest.raises(BioHiCLError, match="of 2 averaged it is from 0 to 2"):
            write_average([one, two], tmp_path / "more", start, share=share)


def test_shares_of_all_and_nothing_keep_every_bit(encoder, tmp_path):
    one, two = encoder("one", 1), encoder("two", 2)
    changed = weights(one)
    changed["embeddings.word_embeddings.weight"][0, :2] = -0.0, 0.1
    change(one, changed)
    for share, kept in ((1.0, one), (0.0, two)):
        write_average([one], tmp_path / "mixture", two, share)
        found, wanted = weights(tmp_path / "mixture"), weights(kept)
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in wanted.items()
        }


def test_snapshots_are_models_of_their_own(encoder, tmp_path):
    node, other = encoder("node", 1), encoder("other", 9)
    parts = [weights(node)]
    for step, seed in ((40, 2), (80, 3)):
        place = node / f"snapshots/{step:06}"
        place.mkdir(parents=True)
        shutil.copy(encoder(f"part-{step}", seed) / "model.safetensors", place)
        parts.append(weights(place))
    write_average([node], tmp_path / "soup", other, 0.5, snapshots=True)
    same(weights(tmp_path / "soup"), reference(parts, weights(other), 0.5))
    manifest = json.loads((tmp_path / "soup/manifest.json").read_text())
    assert list(manifest["inputs"]) == ["node/snapshots/000040", "node/snapshots/000080", "node", "other"]
    assert manifest["models"] == 3
    # They are no part of what encodes, and none of the average.
    assert not (tmp_path / "soup/snapshots").exists()
    before = vectors.fingerprint(node)
    (node / "snapshots/000080/model.safetensors").write_bytes(b"cut")
    assert vectors.fingerprint(node) == before
    with pytest.raises(BioHiCLError, match="snapshots/000080"):
        write_average([node], tmp_path / "again", snapshots=True)
    (node / "snapshots/000080/model.safetensors").unlink()
    with pytest.raises(BioHiCLError, match="000080: has no model.safetensors"):
        write_average([node], tmp_path / "again", snapshots=True)
    with pytest.raises(BioHiCLError, match="other: keeps no snapshots"):
        write_average([other], tmp_path / "again", snapshots=True)


def test_weights_in_several_files_and_in_half_precision_are_read(encoder, tmp_path):
    one, two = encoder("one", 1), encoder("two", 2)
    whole = weights(one)
    model = transformers.AutoModel.from_pretrained(one)
    (one / "model.safetensors").unlink()
    model.save_pretrained(one, max_shard_size="20KB")
    assert (one / "model.safetensors.index.json").is_file()
    transformers.AutoModel.from_pretrained(two, dtype=torch.bfloat16).save_pretrained(two)
    halved = {
        name: value.float().numpy() for name, value in transformers.AutoModel.from_pretrained(two).state_dict().items()
    }
    write_average([one, two], tmp_path / "mean")
    same(weights(tmp_path / "mean"), reference([whole, halved]))


def test_backbones_with_buffers_that_transformers_no_longer_stores_are_read(encoder, tmp_path):
    """As the hub's BGE and MiniLM have them: position ids, and no pooler."""
    node, backbone = encoder("node", 1), encoder("backbone", 2)
    given = {name: value for name, value in weights(backbone).items() if not name.startswith("pooler")}
    change(backbone, given | {"embeddings.position_ids": np.arange(70)[None]})
    write_average([node], tmp_path / "mean", backbone, 0.5)
    found = weights(tmp_path / "mean")
    for name, value in given.items():
        np.testing.assert_allclose(found[name], (weights(node)[name] + value) / 2, rtol=1e-6)


def test_how_vectors_are_compared_does_not_part_a_node_from_its_backbone(encoder, tmp_path):
    """A node is compared by cosines; the backbone it is mixed with may be by dot products, of vectors as they come."""
    node, backbone = encoder("node", 1), encoder("backbone", 2)
    write_settings(EncoderSettings("mean", False, 64, similarity="dot"), backbone, 32)
    write_average([node], tmp_path / "mean", backbone, 0.25)
    settings = read_settings(tmp_path / "mean")
    assert (settings.normalize, settings.similarity) == (True, "cosine")
    name = "encoder.layer.0.output.dense.weight"
    expected = 0.25 * weights(node)[name] + 0.75 * weights(backbone)[name]
    np.testing.assert_allclose(weights(tmp_path / "mean")[name], expected, rtol=1e-6, atol=1e-8)


def test_what_does_not_belong_together_is_named(encoder, tokenizer, tmp_path):
    one = encoder("one", 1)
    cases = {}
    cases["its pooling is 'cls', and that of .*one is 'mean'"] = encoder("pooling", 2, pooling="cls")
    cases["its max_length is 32"] = encoder("length", 2, max_length=32)
    asking = encoder("instructed", 2)
    write_settings(EncoderSettings("mean", True, 64, query_instruction="find: "), asking, 32)
    cases["instructed: its query_instruction is 'find: '"] = asking
    swapped = encoder("swapped", 2)
    for file in letters_tokenizer(tmp_path / "backwards", -1).iterdir():
        shutil.copy(file, swapped)
    cases["swapped: its tokenizer is another one"] = swapped
    lacking = encoder("lacking", 2)
    tensors = weights(lacking)
    del tensors["encoder.layer.1.attention.self.query.weight"]
    change(lacking, tensors)
    cases["lacking: .*lacks 1 weights .*layer.1.attention.self.query.weight"] = lacking
    wide = encoder("wide", 2)
    tensors = weights(wide)
    tensors["encoder.layer.0.output.dense.weight"] = np.zeros((32, 65), np.float32)
    change(wide, tensors)
    cases["wide: "] = wide
    config = json.loads((encoder("heads", 2) / "config.json").read_text())
    (tmp_path / "heads/config.json").write_text(json.dumps(config | {"num_attention_heads": 2}))
    cases["heads: its config has num_attention_heads 2, that of one 4"] = tmp_path / "heads"
    spoilt = encoder("spoilt", 2)
    tensors = weights(spoilt)
    tensors["encoder.layer.0.output.dense.bias"][3] = np.nan
    change(spoilt, tensors)
    cases["spoilt: its tensor encoder.layer.0.output.dense.bias has NaN"] = spoilt
    larger = transformers.BertConfig(**small_model("bert").config.to_diff_dict() | {"vocab_size": 301})
    save_encoder(transformers.BertModel(larger), tokenizer, tmp_path / "larger")
    cases["larger: its tensor embeddings.word_embeddings.weight has the shape .301, 32., that of one .300, 32."] = (
        tmp_path / "larger"
    )
    for said, folder in cases.items():
        with pytest.raises(BioHiCLError, match=said):
            write_average([one, folder], tmp_path / "mean")
        with pytest.raises(BioHiCLError, match=said):
            write_average([one], tmp_path / "mean", folder, 0.5)
    assert not (tmp_path / "mean").exists()


def test_names_and_shares_are_checked(encoder, tmp_path):
    one = encoder("one")
    with pytest.raises(BioHiCLError, match="have the same name"):
        write_average([one, encoder("elsewhere/one")], tmp_path / "mean")
    with pytest.raises(BioHiCLError, match="nothing is named that the rest"):
        write_average([one], tmp_path / "mean", share=0.5)
    with pytest.raises(BioHiCLError, match="no such folder"):
        write_average([tmp_path / "nowhere"], tmp_path / "mean")


def test_the_command_makes_the_same(encoder, tmp_path, capsys):
    one, two = encoder("one", 1), encoder("two", 2)
    words = ["average", "--of", str(one), "--with", str(two), "--output", str(tmp_path / "mixture"), "--share"]
    assert main([*words, "0.25"]) == 0
    assert "0.25 of one, 0.75 of two" in capsys.readouterr().err
    same(weights(tmp_path / "mixture"), reference([weights(one)], weights(two), 0.25))
    with pytest.raises(SystemExit):
        main([*words, "half"])
    assert "invalid float value: 'half'" in capsys.readouterr().err
    assert main([*words, "1.01"]) == 2
    assert "share is 1.01; of 1 averaged it is from 0 to 1" in capsys.readouterr().err


# --- teachers ---------------------------------------------------------------------------------------------


@pytest.fixture
def selection(tmp_path):
    numbers = np.arange(len(TITLES))
    rows = {"pmid": pa.array(numbers, pa.int32()), "version": pa.array(numbers % 2, pa.int16())}
    pq.write_table(
        pa.table({**rows, "title": TITLES, "abstract": [title * 3 for title in TITLES]}), tmp_path / "s.parquet"
    )
    return tmp_path / "s.parquet"


@pytest.fixture
def teacher(encoder, selection, tmp_path, monkeypatch):
    """An encoder of unnormalised vectors that are compared by cosine, and its tokens; shards of eight texts."""
    monkeypatch.setattr("biohicl.training.teacher.TEXTS_OF_A_SHARD", 8)
    folder = encoder("teacher")
    shutil.rmtree(folder / "2_Normalize")
    write_settings(EncoderSettings("mean", False, 64), folder, 32)
    write_tokens(selection, folder, 24, tmp_path / "tokens.parquet")
    return folder, tmp_path / "tokens.parquet"


def test_a_teacher_gives_what_the_encoder_gives_of_the_same_tokens(teacher, tmp_path):
    folder, tokens = teacher
    table = pq.read_table(tokens)
    write_teacher(folder, tokens, ["query", "passage"], tmp_path / "out", device="cpu")
    found = read_teacher(tmp_path / "out", ["query", "passage"], keys_of(table))
    for view, rows in found.items():
        direct = Encoder(folder, "cpu").embed_tokens(table[view].to_pylist())
        np.testing.assert_allclose(rows, direct / np.linalg.norm(direct, axis=1, keepdims=True), atol=1e-6)
        assert rows.dtype == np.float32
        assert isinstance(rows, np.memmap)
    record = json.loads((tmp_path / "out/query.json").read_text())
    assert (record["rows"], record["dimension"], record["unit"], record["kind"]) == (20, 32, True, "query")
    assert record["encoder"] == vectors.fingerprint(folder)
    assert {"tokens", "keys", "made_of"} <= record.keys()


def test_a_killed_teacher_goes_on_and_the_same_tokens_are_not_encoded_twice(teacher, tmp_path, monkeypatch):
    folder, tokens = teacher
    encoded = []

    class Counted(Encoder):
        def embed_tokens(self, lists, *words, **options):
            if len(encoded) == 2:
                encoded.append(0)
                raise KeyboardInterrupt
            encoded.append(len(lists))
            return super().embed_tokens(lists, *words, **options)

    monkeypatch.setattr(vectors, "Encoder", Counted)
    make = lambda: write_teacher(folder, tokens, ["query"], tmp_path / "out", device="cpu")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        make()
    assert not (tmp_path / "out/query.npy").exists()
    make()
    assert encoded == [8, 8, 0, 4]
    make()
    assert encoded == [8, 8, 0, 4]
    # Another table with the same tokens: nothing is encoded, and the record says whose they are now.
    table = pq.read_table(tokens)
    table = table.set_column(0, "pmid", pa.array(range(100, 120), pa.int32()))
    pq.write_table(table, tokens)
    make()
    assert encoded == [8, 8, 0, 4]
    assert json.loads((tmp_path / "out/query.json").read_text())["keys"] == keys_of(table)
    # Other weights: all of it.
    changed = weights(folder)
    changed["encoder.layer.0.output.dense.bias"] += 0.5
    change(folder, changed)
    make()
    assert sum(encoded) == 40


def test_keys_are_of_the_texts_and_not_of_the_tokens():
    rows = {
        "pmid": [1, 2, 3],
        "version": [1, 1, 2],
        "document": [[1], [2], [3]],
        "query": [[1]] * 3,
        "passage": [[]] * 3,
    }
    table = pa.table(rows, schema=with_key(KEYS["citations"], *((view, pa.list_(pa.int32())) for view in VIEWS)))
    known = keys_of(table)
    assert keys_of(table.set_column(2, "document", pa.array([[9], [], [9]], pa.list_(pa.int32())))) == known
    assert keys_of(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == known
    assert keys_of(table.set_column(0, "pmid", pa.array([1, 2, 3], pa.int64()))) == known
    assert keys_of(table.take([1, 0, 2])) != known
    assert keys_of(table.set_column(0, "pmid", pa.array([1, 2, 4], pa.int32()))) != known
    assert keys_of(table.rename_columns(["id", *table.column_names[1:]])) != known
    named = table.set_column(0, "concept", pa.array(["M1", "M2", None]))
    assert keys_of(named) != keys_of(table.set_column(0, "concept", pa.array(["M1", "M2", ""])))


def test_a_teacher_that_does_not_fit_is_refused_in_words(teacher, encoder, tmp_path):
    folder, tokens = teacher
    out = tmp_path / "out"
    keys = keys_of(pq.read_table(tokens))
    with pytest.raises(BioHiCLError, match="no such folder of a teacher's vectors"):
        read_teacher(out, ["query"], keys)
    write_teacher(folder, tokens, ["query"], out, device="cpu")
    with pytest.raises(BioHiCLError, match=r"has no vectors of the view passage \(it has query\)"):
        read_teacher(out, ["query", "passage"], keys)
    with pytest.raises(BioHiCLError, match="its rows are not the texts that the training reads"):
        read_teacher(out, ["query"], "0" * 64)
    np.save(out / "query.npy", np.zeros((19, 32), np.float32))
    with pytest.raises(BioHiCLError, match="its record says float32"):
        read_teacher(out, ["query"], keys)
    asking = encoder("asking", 2)
    write_settings(EncoderSettings("mean", True, 64, query_instruction="find: "), asking, 32)
    with pytest.raises(BioHiCLError, match="of another tokenizer than that of .*asking, or of other instructions"):
        write_teacher(asking, tokens, ["query"], tmp_path / "not")
    with pytest.raises(BioHiCLError, match="has no column title"):
        write_teacher(folder, tokens, ["title"], tmp_path / "not")
    with pytest.raises(BioHiCLError, match="no such table"):
        write_teacher(folder, tmp_path / "no.parquet", ["query"], tmp_path / "not")
    table = pq.read_table(tokens)
    long = table.set_column(3, "query", pa.array([[2] * 71] * 20, pa.list_(pa.int32())))
    pq.write_table(long, tmp_path / "long.parquet")
    with pytest.raises(BioHiCLError, match="has a query of 71 tokens, and .* has 70 positions"):
        write_teacher(folder, tmp_path / "long.parquet", ["query"], tmp_path / "not")
    nothing = table.set_column(3, "query", pa.array([None, *[[2]] * 19], pa.list_(pa.int32())))
    pq.write_table(nothing, tmp_path / "nothing.parquet")
    with pytest.raises(BioHiCLError, match="does not hold a list of tokens in every row"):
        write_teacher(folder, tmp_path / "nothing.parquet", ["query"], tmp_path / "not")
    changed = weights(folder)
    changed["encoder.layer.0.output.dense.bias"][:] = np.inf
    change(folder, changed)
    with pytest.raises(BioHiCLError, match=r"NaN or infinite vectors, first for query number 1 \(\d+ tokens\)"):
        write_teacher(folder, tokens, ["query"], tmp_path / "not", device="cpu")
    assert not read_settings(folder).normalize


def test_a_full_disk_is_one_line_and_leaves_nothing(encoder, tmp_path):
    """Weights are written by a library of another language, whose errors are its own."""
    folder, output = encoder("whole"), tmp_path / "out/mean"
    size = (folder / "model.safetensors").stat().st_size
    command = [sys.executable, "-m", "biohicl", "average", "--of", str(folder), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limits(FSIZE=size // 2), timeout=120)
    assert done.returncode == 2
    assert re.fullmatch(
        r"biohicl average: error: weights cannot be written or read: .*File too large.*", done.stderr.splitlines()[-1]
    )
    assert "Traceback" not in done.stderr
    assert list(output.parent.iterdir()) == []
