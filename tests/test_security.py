"""What SECURITY.md claims, attacked: by models, archives, tables, settings and words that mean harm.

Attacks that stand where the thing itself is tested are not repeated here; SECURITY.md names all of them.
"""

import ast
import gzip
import io
import json
import os
import pickle
import re
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import audit
from biohicl import configuration
from biohicl.cli.main import main
from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import EncoderSettings, load_model, prepare_backbone, write_settings
from biohicl.encoder.vectors import Vectors, record_of
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import bring_benchmark
from biohicl.fetch.download import fetch_backbone, fetch_benchmark, fetch_mesh_file
from biohicl.mesh.parse import parse_mesh_file
from biohicl.progress import say
from biohicl.publishing.card import card_text
from biohicl.publishing.facts import Sources
from biohicl.pubmed.parse import parse_pubmed_file
from biohicl.report.catalog import query, write_catalog
from biohicl.report.columns import Table
from biohicl.report.page import templates
from biohicl.report.views import views
from biohicl.training.checkpoints import Checkpoints
from conftest import ROOT, Workflow, overlay
from test_fetch_hub import ONE, fetch, hub  # noqa: F401  # fixtures
from test_model_card import letters, model  # noqa: F401  # fixtures

SCRIPT = "<script>alert(1)</script>"


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path):
    """What an attack makes where it runs; looked for at the end of each test that takes it."""
    path = tmp_path / "attacked"
    yield path
    assert not path.exists()


@pytest.fixture
def evil(mark):
    """A pickle that attacks."""
    content = pickle.dumps(Touch(mark))
    pickle.loads(content)
    assert mark.exists(), "this would be no attack"
    mark.unlink()
    return content


@pytest.fixture
def folder(sample, tmp_path):
    """A sound model's folder."""
    return shutil.copytree(sample / "backbone", tmp_path / "folder")


def changed(file, **entries):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | entries))


def code(mark):
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\nfrom transformers import BertModel as M, BertConfig as C\n"


# --- no pickle, no code ---------------------------------------------------------------------------------------


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "runpy"}
# Attribute or function, and of what; None: of anything.
CALLS = {
    ("load", "torch"),
    ("load", "np"),
    ("load", "numpy"),
    ("load", "yaml"),
    ("load_all", "yaml"),
    ("unsafe_load", "yaml"),
    ("full_load", "yaml"),
    ("system", "os"),
    ("popen", "os"),
    ("extractall", None),
    ("extract", None),
    ("import_module", None),
    ("read_pickle", None),
}


def test_the_package_has_no_way_to_run_what_it_reads():
    found = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").split(".")[0]]
            bad = FORBIDDEN & set(names)
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name):
                    bad = bad or called.id in ("eval", "exec", "compile", "__import__")
                elif isinstance(called, ast.Attribute):
                    of = called.value.id if isinstance(called.value, ast.Name) else None
                    bad = bad or {(called.attr, of), (called.attr, None)} & CALLS
                for word in node.keywords:
                    is_true = isinstance(word.value, ast.Constant) and word.value.value is True
                    bad = bad or (
                        word.arg in ("shell", "trust_remote_code", "allow_pickle", "weights_only") and is_true
                    )
                loads = isinstance(called, ast.Attribute) and called.attr == "from_pretrained"
                if loads and called.value.id.startswith("Auto"):
                    asked = {"trust_remote_code", *(["use_safetensors"] if called.value.id == "AutoModel" else [])}
                    bad = bad or asked - {word.arg for word in node.keywords}
            if bad:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def pickled_shard(folder, evil, mark):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(evil)
    index(folder, "pytorch_model.bin")


def shard_elsewhere(folder, evil, mark):
    shutil.move(folder / "model.safetensors", folder.parent / "outside.safetensors")
    index(folder, "../outside.safetensors")


def index(folder, file):
    weights = {"embeddings.word_embeddings.weight": file}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))


def only_a_pickle(folder, evil, mark):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(evil)


def pickle_by_another_name(folder, evil, mark):
    (folder / "model.safetensors").write_bytes(evil)


def kernel_from_the_hub(folder, evil, mark):
    changed(folder / "config.json", attn_implementation="evil/kernel")


def kernel_in_an_inner_config(folder, evil, mark):
    changed(folder / "config.json", text_config={"_attn_implementation_internal": "evil/kernel"})


def adapter_that_imports(folder, evil, mark):
    from peft import LoraConfig, get_peft_model

    # What peft imports is named by the adapter's settings; it would be found here.
    get_peft_model(load_model(folder), LoraConfig(r=1, target_modules=["query"])).save_pretrained(
        folder.parent / "lora"
    )
    (folder.parent / "evil_megatron.py").write_text(code(mark))
    shutil.copy(folder.parent / "lora/adapter_model.safetensors", folder)
    shutil.copy(folder.parent / "lora/adapter_config.json", folder)
    changed(folder / "adapter_config.json", megatron_config={"x": 1}, megatron_core="evil_megatron")


def modules_elsewhere(folder, evil, mark):
    changed_modules = json.loads((folder / "modules.json").read_text())
    changed_modules[1]["path"] = "../../elsewhere"
    (folder / "modules.json").write_text(json.dumps(changed_modules))


def foreign_module(folder, evil, mark):
    (folder / "evil_module.py").write_text(code(mark))
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil_module.Evil"}]))


def code_of_an_unknown_kind(folder, evil, mark):
    (folder / "modeling_x.py").write_text(code(mark))
    kinds = {"AutoModel": "modeling_x.M", "AutoConfig": "modeling_x.C"}
    changed(folder / "config.json", auto_map=kinds, model_type="x")


def lines_as_vocabulary(folder, evil, mark):
    """Each line of a file of this machine becomes a token, and goes wherever the trained model goes."""
    (folder / "vocab.txt").rename(folder.parent / "secret")
    (folder / "vocab.json").write_text("{}")
    changed(folder / "tokenizer_config.json", vocab=str(folder.parent / "secret"))


def lines_as_vocabulary_by_way_of_tokens(folder, evil, mark):
    shutil.copy(folder / "vocab.txt", folder.parent / "secret")
    changed(folder / "special_tokens_map.json", vocab_file=str(folder.parent / "secret"))


def tokenizer_elsewhere(folder, evil, mark):
    (folder.parent / "tokenizer.5.0.0.json").write_text("{}")
    changed(folder / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.5.0.0.json"])


def brackets(folder, evil, mark):
    (folder / "config.json").write_text("[" * 200_000)


def no_modules(folder, evil, mark):
    (folder / "modules.json").write_text("[1, 2]")


def numbers_that_are_none(folder, evil, mark):
    changed(folder / "config.json", hidden_size="wide")


REFUSED = {
    pickled_shard: "names 'pytorch_model.bin'; only safetensors beside it are read",
    shard_elsewhere: "names '../outside.safetensors'; only safetensors beside it are read",
    only_a_pickle: "has no model.safetensors; weights in other formats are not read",
    pickle_by_another_name: "cannot be loaded as a text encoder",
    kernel_from_the_hub: "attn_implementation is 'evil/kernel', and none but eager and sdpa is run",
    kernel_in_an_inner_config: "_attn_implementation_internal is 'evil/kernel'",
    adapter_that_imports: "has an adapter beside its weights, which is not read",
    modules_elsewhere: "names ../../elsewhere, which is not in its folder",
    foreign_module: "has a module Evil, and none but Transformer, Pooling and Normalize are read",
    code_of_an_unknown_kind: "cannot be loaded as a text encoder",
    lines_as_vocabulary: "tokenizer_config.json: vocab names a file outside of the folder, which is not read",
    lines_as_vocabulary_by_way_of_tokens: "special_tokens_map.json: vocab_file names a file outside of the folder",
    tokenizer_elsewhere: "tokenizer_config.json: fast_tokenizer_files names a file outside of the folder",
    brackets: "config.json: not valid JSON: maximum recursion depth",
    no_modules: "modules.json: a list of modules, each with type and path, is needed",
    numbers_that_are_none: "cannot be loaded as a text encoder",
}


@pytest.mark.parametrize("attack", REFUSED, ids=lambda attack: attack.__name__)
def test_a_model_that_means_harm_is_refused_in_a_line(folder, evil, mark, monkeypatch, attack):
    monkeypatch.syspath_prepend(str(folder.parent))
    attack(folder, evil, mark)
    monkeypatch.chdir(folder)
    with pytest.raises(BioHiCLError, match=re.escape(REFUSED[attack])) as caught:
        prepare_backbone(folder)
    assert "\n" not in str(caught.value)


def test_code_and_pickles_beside_sound_weights_are_left_alone(folder, evil, mark, sample):
    for name in ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "optimizer.pt"):
        (folder / name).write_bytes(evil)
    (folder / "modeling_x.py").write_text(code(mark))
    kinds = {
        "AutoModel": "modeling_x.M",
        "AutoConfig": "modeling_x.C",
        "AutoTokenizer": ["modeling_x.M", "modeling_x.M"],
    }
    changed(folder / "config.json", auto_map=kinds)
    changed(folder / "tokenizer_config.json", auto_map=kinds)
    prepare_backbone(folder)
    found = Encoder(folder, "cpu").encode(["a text"])
    assert np.array_equal(found, Encoder(sample / "backbone", "cpu").encode(["a text"]))


def test_only_what_belongs_to_a_model_is_taken_of_a_folder(folder, evil, tmp_path):
    before = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for name in ("pytorch_model.bin", "modeling_x.py", "1_Pooling/x.pkl"):
        (folder / name).write_bytes(evil)
    os.mkfifo(folder / "pipe.json")
    (folder / "etc").symlink_to("/etc")
    (folder / "onnx").mkdir()
    (folder / "onnx/config.json").write_text("{}")
    (tmp_path / "out").mkdir()
    fetch_backbone(None, str(folder), None, tmp_path / "out")
    assert (
        sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()) == before
    )


def test_words_of_a_model_are_no_links_out_of_its_folder(folder, sample, tmp_path):
    """But for the hub's own cache, whose folders hold links alone; weights are read as nothing else."""
    (tmp_path / "out").mkdir()
    shutil.move(folder / "model.safetensors", tmp_path / "weights")
    (folder / "model.safetensors").symlink_to(tmp_path / "weights")
    shutil.copy(folder / "vocab.txt", folder / "same.txt")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to("same.txt")
    # A name that no machine of this kind has: whatever an older machine of the publisher's was called.
    changed(folder / "tokenizer_config.json", special_tokens_map_file="/opt/somebody/special_tokens_map.json")
    changed(folder / "tokenizer_config.json", chat_template="x" * 9000, name_or_path="\0")
    fetch_backbone(None, str(folder), None, tmp_path / "out")
    prepare_backbone(tmp_path / "out")
    cached = shutil.copytree(sample / "backbone", tmp_path / "model/snapshots/1234")
    (tmp_path / "model/blobs").mkdir()
    for number, path in enumerate([path for path in cached.rglob("*") if path.is_file()]):
        path.symlink_to(path.rename(tmp_path / f"model/blobs/{number}"))
    fetch_backbone(None, str(cached), None, tmp_path / "out")
    (tmp_path / "secret").write_text("password")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to("../secret")
    with pytest.raises(BioHiCLError, match="vocab.txt: is a link to .*/secret; put the file itself there"):
        fetch_backbone(None, str(folder), None, tmp_path / "out")


def test_only_what_belongs_to_a_model_is_taken_of_a_hub(hub, fetch, folder, evil, mark, tmp_path):  # noqa: F811
    (folder / "pytorch_model.bin").write_bytes(evil)
    (folder / "modeling_x.py").write_text(code(mark))
    hub.put("sample/bert", ONE, folder)
    assert fetch(hub="sample/bert").returncode == 0
    assert (tmp_path / "out/model.safetensors").is_file()
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".bin", ".py")] == []


@pytest.mark.parametrize("name", ["../../outside.json", "1_Pooling/../../../outside.json", "/tmp/outside-of-hub.json"])
def test_a_hub_cannot_write_elsewhere(hub, fetch, folder, tmp_path, name):  # noqa: F811
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.add("sample/bert", ONE, files | {name: b"{}"})
    done = fetch(hub="sample/bert")
    assert done.returncode == 2
    assert "cannot be had from the hub (Invalid filename" in done.stderr
    assert not Path("/tmp/outside-of-hub.json").exists()
    assert [*tmp_path.parent.glob("outside*"), *tmp_path.rglob("outside*")] == []


def test_a_checkpoint_of_pickles_is_refused(evil, mark, tmp_path):
    step = tmp_path / "node/step-00000001"
    step.mkdir(parents=True)
    for part in ("weights", "optimizer", "generators"):
        (step / f"{part}.safetensors").write_bytes(evil)
    (step / "state.json").write_text("{}")
    with pytest.raises(BioHiCLError, match="this checkpoint cannot be read"):
        Checkpoints(tmp_path / "node").last()


def as_objects(stream, evil, mark):
    np.save(stream, np.array([Touch(mark)], dtype=object), allow_pickle=True)


def as_archive(stream, evil, mark):
    np.savez(stream, vectors=np.zeros((2, 3), np.float32))


def as_other_numbers(stream, evil, mark):
    np.save(stream, np.zeros((2, 3)))


def as_a_header_of_brackets(stream, evil, mark):
    stream.write(b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '<f4', ((((".ljust(64))


@pytest.mark.parametrize(
    "write",
    [as_objects, as_archive, as_other_numbers, as_a_header_of_brackets, lambda stream, evil, mark: stream.write(evil)],
)
def test_vectors_are_numbers_or_refused(evil, mark, tmp_path, write):
    file = tmp_path / "x.npy"
    with file.open("wb") as stream:
        write(stream, evil, mark)
    record_of(file).write_text("{}")
    with pytest.raises(BioHiCLError, match="x.npy: not a whole file of vectors"):
        Vectors(file).array  # noqa: B018


# --- archives -------------------------------------------------------------------------------------------------


FILES = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]


def tar_of(path, *members):
    """Each a name with content, or with a link's kind and target."""
    with tarfile.open(path, "w:gz") as bundle:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                bundle.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                bundle.addfile(info)
    return path


def sound():
    return [(file, file.encode()) for file in FILES]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_no_files(tmp_path, kind):
    path = tar_of(tmp_path / "x.tar.gz", ("corpus.jsonl", (kind, "/etc/passwd")), *sound()[1:])
    with pytest.raises(BioHiCLError, match="the archive has no corpus.jsonl"):
        fetch_benchmark(path.as_uri(), None, None, FILES, tmp_path / "out/x")


def test_names_and_folders_that_lead_out_of_a_tar_lead_nowhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    away = [
        ("qrels", (tarfile.SYMTYPE, str(tmp_path / "elsewhere"))),
        ("../../outside", b"x"),
        (str(tmp_path / "outside"), b"x"),
    ]
    path = tar_of(tmp_path / "x.tar.gz", *away, *sound())
    fetch_benchmark(path.as_uri(), None, None, FILES, tmp_path / "out/x")
    files = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(files) == sorted(["x.tar.gz", *(f"out/x/{file}" for file in FILES)])
    assert not (tmp_path / "out/x/qrels").is_symlink()


ZEROS = bytes(8 << 20)


def swollen_gzip(folder):
    (folder / "x.jsonl.gz").write_bytes(gzip.compress(ZEROS))
    return folder / "x.jsonl.gz", ["pairs.jsonl"]


def swollen_member(folder):
    return tar_of(folder / "x.tar.gz", ("corpus.jsonl", ZEROS), *sound()[1:]), FILES


def swollen_neighbour(folder):
    return tar_of(folder / "x.tar.gz", ("nobody asks for this", ZEROS), *sound()), FILES


def swollen_header(folder):
    """Says of the next member something of 8 MB."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(ZEROS)
    (folder / "x.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT)[:512] + ZEROS))
    return folder / "x.tar.gz", FILES


def headers_of_headers(folder):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 10
    block = info.tobuf(tarfile.USTAR_FORMAT)[:512] + b"10 a=bcde\n".ljust(512, b"\0")
    (folder / "x.tar.gz").write_bytes(gzip.compress(block * 3000))
    return folder / "x.tar.gz", FILES


def many_members_of_a_tar(folder):
    return tar_of(folder / "x.tar.gz", *((str(number), b"") for number in range(101)), *sound()), FILES


def zip_of(folder, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / "x.zip", "w", method) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return folder / "x.zip", FILES


def swollen_zip(folder):
    """Of whose members none is too large."""
    return zip_of(folder, [(file, bytes(400_000)) for file in FILES])


def zip_that_lies(folder):
    """Says that it holds ten bytes."""
    path, files = zip_of(folder, [("corpus.jsonl", ZEROS), *sound()[1:]])
    path.write_bytes(path.read_bytes().replace(len(ZEROS).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path, files


def many_members_of_a_zip(folder):
    return zip_of(folder, [*((str(number), b"") for number in range(101)), *sound()])


def long_directory_of_a_zip(folder):
    return zip_of(folder, [*(("x" * 60_000 + str(number), b"") for number in range(30)), *sound()])


def odd_packing(folder):
    return zip_of(folder, sound(), zipfile.ZIP_LZMA)


BOMBS = {
    swollen_gzip: "unpacks to more than 1,000,000 bytes; not unpacked",
    swollen_member: "unpacks to more than 1,000,000 bytes; not unpacked",
    swollen_neighbour: "unpacks to more than 1,000,000 bytes; not unpacked",
    swollen_header: "what tells of its members is too long; not unpacked",
    headers_of_headers: "not a whole tar archive",
    many_members_of_a_tar: "has more than 100 members; not unpacked",
    swollen_zip: "unpacks to more than 1,000,000 bytes; not unpacked",
    zip_that_lies: "corpus.jsonl in the archive is damaged",
    many_members_of_a_zip: "has more than 100 members; not unpacked",
    long_directory_of_a_zip: "what tells of its members is too long; not unpacked",
    odd_packing: "is encrypted, or packed in a way that is not read",
}


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, bomb):
    for name, limit in {"ALWAYS_ALLOWED_BYTES": 1_000_000, "MOST_MEMBERS": 100, "LONGEST_PIECE_BYTES": 1 << 20}.items():
        monkeypatch.setattr(f"biohicl.fetch.unpacking.{name}", limit)
    path, files = bomb(tmp_path)
    with pytest.raises(BioHiCLError, match=BOMBS[bomb]) as caught:
        fetch_benchmark(path.as_uri(), None, None, files, tmp_path / "out/x")
    assert "\n" not in str(caught.value)
    assert [entry for entry in (tmp_path / "out").rglob("*") if entry.is_file()] == []


def test_mesh_that_swells_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("biohicl.fetch.unpacking.ALWAYS_ALLOWED_BYTES", 1_000_000)
    (tmp_path / "desc2026.gz").write_bytes(gzip.compress(ZEROS))
    with pytest.raises(BioHiCLError, match="unpacks to more than 1,000,000 bytes"):
        fetch_mesh_file([str(tmp_path)], "desc2026", tmp_path / "out/desc2026.gz")
    assert list((tmp_path / "out").iterdir()) == []


# --- JSON and XML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "file", "content", "said"),
    [
        ("pairs", "pairs.jsonl", '{"sentence1": "' + "x" * 2000, "line 1: longer than 1,000 bytes"),
        ("pairs", "pairs.jsonl", "[" * 900 + "\n" + "[" * 900, "line 1: not valid JSON"),
        ("pairs", "pairs.jsonl", '{"score": ' + "9" * 900 + "." + "9" * 9 + "}", "'sentence1' is None"),
        ("pubmedqa", "ori_pqal.json", "\n".join(["{", *['"a": 1,'] * 200]), "longer than 1,000 bytes, which no such"),
    ],
)
def test_json_without_end_is_left_out(tmp_path, monkeypatch, layout, file, content, said):
    monkeypatch.setattr("biohicl.json_lines.LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr("biohicl.evaluation.sources.LARGEST_JSON_BYTES", 1000)
    assert said in reason(tmp_path, layout, file, content)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"score": ' + "9" * 5000 + "}"], ids=["brackets", "digits"])
@pytest.mark.parametrize(("layout", "file"), [("pairs", "pairs.jsonl"), ("pubmedqa", "ori_pqal.json")])
def test_json_that_python_cannot_read_is_left_out(tmp_path, layout, file, content):
    assert f"{file}" in reason(tmp_path, layout, file, content)


def reason(folder, layout, file, content):
    (folder / "own").mkdir()
    (folder / "own" / file).write_text(content)
    kind = "retrieval" if layout == "pubmedqa" else "similarity"
    block = {"kind": kind, "layout": layout, "url": None, "path": str(folder / "own"), "sha256": None, "split": "test"}
    block |= {"development": None, "ids": "any", "conclusions": False}
    return bring_benchmark("x", block, folder / "x", folder / "lock.json")["reason"]


RECORD = """<DescriptorRecord><DescriptorUI>D000001</DescriptorUI><DescriptorName><String>{}</String></DescriptorName>
</DescriptorRecord>"""
LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("doctype", "text", "said"),
    [
        ('[<!ENTITY a0 "ha">' + LAUGHS + "]", "&a9;", "declares entities or more"),
        ('[<!ENTITY e SYSTEM "file:///etc/hostname">]', "&e;", "declares entities or more"),
        ('[<!ENTITY % e SYSTEM "{url}"> %e;]', "x", "declares entities or more"),
        ('SYSTEM "{url}"', "&e;", "Entity 'e' not defined"),
        ('PUBLIC "-//NLM//DTD" "{url}"', "&e;", "Entity 'e' not defined"),
    ],
)
def test_mesh_has_no_entities_and_asks_nobody(tmp_path, doctype, text, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        doctype = doctype.replace("{url}", f"http://127.0.0.1:{server.getsockname()[1]}/x.dtd")
        xml = (
            f"<!DOCTYPE DescriptorRecordSet {doctype}><DescriptorRecordSet>{RECORD.format(text)}</DescriptorRecordSet>"
        )
        (tmp_path / "desc.xml").write_text(xml)
        with pytest.raises(BioHiCLError, match=said):
            parse_mesh_file(tmp_path / "desc.xml", tmp_path / "mesh")
        with pytest.raises(TimeoutError):
            server.accept()


def test_nothing_is_included_into_a_citation(tmp_path):
    (tmp_path / "secret").write_text("SECRET")
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{tmp_path}/secret" parse="text"/>'
    xml = f"""<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article>
    <ArticleTitle>Before {include} after</ArticleTitle></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"""
    (tmp_path / "x.xml").write_text(xml)
    parse_pubmed_file(tmp_path / "x.xml", *(tmp_path / f"{n}.parquet" for n in range(4)))
    assert pl.read_parquet(tmp_path / "0.parquet")["title"].to_list() == ["Before after"]


# --- settings, shells, SQL ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "pubmed: !!python/object/apply:os.system ['touch {mark}']",
        "pubmed: !!python/object/new:pathlib.Path ['{mark}']",
        "pubmed: !!python/name:os.system",
    ],
)
def test_yaml_makes_no_objects(tmp_path, mark, text):
    (tmp_path / "x.yaml").write_text(text.format(mark=mark))
    with pytest.raises(BioHiCLError, match="x.yaml: not valid YAML"):
        configuration.load([ROOT / "config.yaml", tmp_path / "x.yaml"], ROOT / "workflow/schemas/config.schema.yaml")


NAMES = ["x\n", "x;y", "$(x)", "`x`", "..", "a/b", "a b", "x'", 'x"', "-x", "x&", "x|y", "x>y", "{x}", ""]


PLACES = {
    "backbone": lambda name: {"backbones": {name: {"path": "x"}}},
    "benchmark": lambda name: {"benchmarks": {name: {"kind": "similarity", "path": "x"}}},
    "node": lambda name: {"nodes": {name: {"like": "default"}}},
    "selection": lambda name: {"training": {"selections": {name: {}}}},
    "release": lambda name: {"training": {"release": name}},
    "split": lambda name: {"benchmarks": {"scifact": {"split": name}}},
    "development": lambda name: {"benchmarks": {"scifact": {"development": name}}},
}


@pytest.mark.parametrize(
    ("place", "name"),
    [*(("backbone", name) for name in NAMES), *((place, name) for place in PLACES for name in ("x\n", "$(x)", ".."))],
)
def test_a_name_is_no_command_and_no_path(tmp_path, place, name):
    file = overlay(tmp_path, PLACES[place](name))
    with pytest.raises(BioHiCLError, match="(?i)name|split|empty"):
        configuration.load([ROOT / "config.yaml", file], ROOT / "workflow/schemas/config.schema.yaml")


@pytest.mark.long(20)
def test_words_of_the_configuration_are_no_commands(tmp_path, sample):
    """Paths, mirrors and instructions may be any text, and reach the shell lines of jobs."""
    words = "x'\"; touch attacked; $(touch attacked) `touch attacked` {input} #"
    content = {
        "pubmed": {"mirrors": [words]},
        "mesh": {"mirrors": [words]},
        "benchmarks": {"sample-pairs": {"path": words, "task": words}},
        "backbones": {"sample-bert": {"path": str(sample / "backbone"), "query_instruction": words}},
    }
    there = Workflow(tmp_path, overlay(tmp_path, content))
    made = ["resources/benchmarks/sample-pairs/benchmark.json", "resources/backbones/sample-bert"]
    listed = ["resources/pubmed/release.json", "resources/mesh/release.json"]
    done = there.snakemake("--keep-going", *made, *listed, check=False)
    assert list(tmp_path.rglob("attacked*")) == [], done.output[-3000:]
    # They were run, and given the words as they are.
    assert words in json.loads((tmp_path / made[0]).read_text())["source"]
    said = json.loads((tmp_path / made[1] / "config_sentence_transformers.json").read_text())
    assert said["prompts"]["query"] == words
    for name in ("list_pubmed", "list_mesh"):
        assert "no such folder" in (tmp_path / f"logs/{name}.log").read_text()


def test_names_in_the_catalog_are_no_sql(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "x']); COPY (SELECT 1) TO 'attacked'; --"
    folder = Path("results/training/selections")
    folder.mkdir(parents=True)
    column = "pmid\"; COPY (SELECT 2) TO 'attacked'; --"
    pl.DataFrame({column: [7], "title": ["'; DROP VIEW selections; --"]}).write_parquet(folder / f"{name}.parquet")
    monkeypatch.setattr("biohicl.report.catalog.views", lambda: {"selections": views()["selections"]})
    write_catalog({"selection": [name]}, Path("results/biohicl.duckdb"))
    assert query("SELECT * FROM selections", Path("results/biohicl.duckdb")).fetchall() == [
        (7, "'; DROP VIEW selections; --", name)
    ]
    assert list(tmp_path.rglob("attacked")) == []


# --- pages and cards ------------------------------------------------------------------------------------------


def test_words_on_the_report_page_are_words():
    parts = templates().get_template("parts.html.j2").module
    table = str(parts.table(Table([SCRIPT], [[f'"><img src=x onerror=alert(1)>{SCRIPT}']], left=1), f'"{SCRIPT}'))
    assert "<script" not in table
    assert "<img" not in table
    assert '""' not in table.replace("&#34;", "")
    assert "<script" not in str(parts.files([SCRIPT]))


@pytest.mark.parametrize("words", [f"`{SCRIPT}`", f"a`` b ` {SCRIPT}", f"\n\n# {SCRIPT}\n\n", f"a | {SCRIPT}"])
def test_a_strangers_words_in_a_card_stay_code(model, tmp_path, words):  # noqa: F811
    """As Markdown has it: everything up to the next run of as many backticks is code."""
    write_settings(EncoderSettings("mean", True, 64, query_instruction=words), model, 32)
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/README.md").write_text(f"---\nlicense: {json.dumps(words)}\n---\n")
    card = card_text(Sources(model, {}, backbone=tmp_path / "backbone"))
    rest = re.sub(r"^```.*?^```$", "", card, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in rest.splitlines() if "alert(1)" in line]
    assert len(lines) == 2
    for line in lines:
        outside = re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", line)
        assert "alert(1)" not in outside, line
    assert "| before a query | `" in lines[0]


# Of as many lines as it has letters, this would be a text of gigabytes.
NAMES_OF_NAMES = "a: &a [x, x]\nb: &b [*a, *a]\nlicense: [*b, *b]"


@pytest.mark.parametrize(
    "head", ["license: 2020-99-99", "license: " + "[" * 100_000, NAMES_OF_NAMES, "license: {a: b}"]
)
def test_a_strangers_licence_that_is_none_is_not_known(model, tmp_path, head):  # noqa: F811
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/README.md").write_text(f"---\n{head}\n---\n")
    assert "its licence is not known here" in card_text(Sources(model, {}, backbone=tmp_path / "backbone"))


def test_what_is_said_cannot_move_the_terminal(capsys, tmp_path):
    """A server's words stand in errors and in what is said of them, as where it redirects to."""
    words = "a\x1b]0;title\x07 \x9b2J\rb\x08\x7f"
    say(f"{words}\n\tnaïve 東京")
    assert main(["estimate", "--rates", str(tmp_path / words)]) == 2
    said = capsys.readouterr().err
    assert not set(words) & set(said) - set("a]0;title 2Jb")
    assert "a\\x1b]0;title\\x07 \\x9b2J\\x0db\\x08\\x7f\n\tnaïve 東京\n" in said
    assert said.count("\\x1b") == 2


# --- what is known of the packages ----------------------------------------------------------------------------


def report(*rows):
    return json.dumps({"dependencies": [{"name": "x", "version": "1", **row} for row in rows], "fixes": []})


HOLE = {"id": "GHSA-1", "fix_versions": ["2"], "aliases": [], "description": ""}


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (report({"vulns": []}, {"vulns": []}), 0, "no known holes in 2 packages"),
        (report({"vulns": []}, {"vulns": [HOLE]}), 1, "x 1: GHSA-1, mended in 2"),
        (report({"vulns": [HOLE]}, {"skip_reason": "not found"}), 1, "x 1: GHSA-1, mended in 2"),
        # These it ends with "No known vulnerabilities found" itself.
        (report({"skip_reason": "not found"}, {"skip_reason": "not found"}), 3, "of 2 packages 0 are known there"),
        (report({"vulns": []}, {"skip_reason": "not found"}), 3, "of 2 packages 1 are known there"),
        (report({"vulns": []}), 3, "of 2 packages 1 are known there"),
        ("", 3, "could not ask"),
        ("[]", 3, "could not ask"),
    ],
)
def test_what_could_not_be_asked_is_no_good_news(said, code, words):
    found, lines = audit.verdict(said, 2)
    assert found == code
    assert words in " ".join(lines)


def test_every_claim_has_its_attack():
    """Each test that SECURITY.md names is there."""
    named = re.findall(r"`(\w+)::(\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 20
    for file, function in named:
        tree = ast.parse((ROOT / f"tests/{file}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{function}"


def test_every_attack_has_its_claim():
    own = {node.name for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.FunctionDef)}
    claims = (ROOT / "SECURITY.md").read_text()
    attacks = {name for name in own if name.startswith("test_")} - {
        "test_every_claim_has_its_attack",
        "test_every_attack_has_its_claim",
    }
    assert sorted(name for name in attacks if f"`test_security::{name}`" not in claims) == []
