"""A model as ONNX, with pooling and normalisation inside, for programs without torch.

Goes in: an encoder folder. Comes out, whole or not at all: ``model.onnx`` (beyond 2 GB with ``model.onnx.data``),
``tokenizer.json``, ``onnx.json`` (inputs, outputs, how texts are prepared, what was checked) and a README with the few
lines that use them. Before the folder is there, onnxruntime has given the vectors of this package's own encoder.

Inputs: ``input_ids``, ``attention_mask`` and, of models that tell segments apart, ``token_type_ids``, each int64
(texts, tokens). Outputs, float32: ``sentence_embedding`` (texts, d), the name that sentence-transformers' own exports
use, and ``last_hidden_state`` (texts, tokens, d) for programs that pool themselves; who asks for the first alone pays
nothing for the second.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biohicl.encoder.folder import EncoderSettings, load_model, passage_folder, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.publishing.onnx_check import largest_difference, open_session
from biohicl.publishing.portable_tokenizer import portable_tokenizer
from biohicl.storage import sha256_of, whole_directory, write_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# As old a set of operators as the exporter writes without converting; onnxruntime reads it from 1.17 on.
OPSET = 20
MODEL, TOKENIZER, RECORD = "model.onnx", "tokenizer.json", "onnx.json"
EMBEDDING, HIDDEN = "sentence_embedding", "last_hidden_state"
TOLERANCE = 1e-5


def export_onnx(folder: Path, output: Path, tolerance: float = TOLERANCE) -> None:
    """Writes the folder ``output``.

    Raises :class:`BioHiCLError`, and leaves nothing, where the model cannot be exported, or a vector differs from that
    of :class:`~biohicl.encoder.embed.Encoder` by more than ``tolerance``.
    """
    settings = read_settings(folder)
    if settings.dtype != "float32":
        raise BioHiCLError(f"{folder}: computes in {settings.dtype} (biohicl_encoder.json); only float32 is exported")
    if passage_folder(folder) != folder:
        say(f"{folder}: this exports the encoder of queries; export {passage_folder(folder)} too, for documents")
    tokenizer = portable_tokenizer(folder, settings)
    with whole_directory(output) as temporary:
        inputs = _export(load_model(folder), settings, folder, temporary / MODEL)
        tokenizer.save(str(temporary / TOKENIZER))
        texts, difference = largest_difference(temporary / MODEL, temporary / TOKENIZER, folder, tolerance)
        record = _record(folder, settings, inputs, temporary)
        record["checked"] = {"texts": texts, "largest_difference": difference}
        write_json(record, temporary / RECORD)
        (temporary / "README.md").write_text(_readme(settings), encoding="utf-8")
    say(f"{output}: written; of {texts} texts no number differs from the model's own by more than {difference:.1e}")


def _export(model: PreTrainedModel, settings: EncoderSettings, folder: Path, file: Path) -> list[str]:
    """Writes ``file``; returns the names of its inputs."""
    import torch

    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if _reads_types(model) else [])
    ids = torch.ones(2, 3, dtype=torch.int64)
    example = (ids, torch.tensor([[1, 1, 1], [1, 1, 0]]), torch.zeros_like(ids))[: len(names)]
    sizes = {0: "texts", 1: "tokens"}
    try:
        with _quiet():
            program = torch.onnx.export(
                _pooled(model, settings),
                example,
                dynamo=True,
                input_names=names,
                output_names=[EMBEDDING, HIDDEN],
                dynamic_shapes=dict.fromkeys(names, sizes),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:
        # The exporter has many kinds of errors, and may meet any of the model's own.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BioHiCLError(
            f"{folder}: torch cannot export a {model.config.model_type} to ONNX: {type(error).__name__}: {reason[:200]}"
        ) from None
    assert program is not None  # it is for the old exporter alone
    _forget_places(program.model)
    program.save(file)
    return names


def _pooled(model: PreTrainedModel, settings: EncoderSettings) -> torch.nn.Module:
    """``model`` with the pooling of :class:`~biohicl.encoder.packing.Padded`, and the normalisation of the encoder."""
    import torch

    from biohicl.encoder.packing import Padded

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
            vectors = Padded(input_ids, attention_mask).pooled(hidden, settings.pooling)
            return torch.nn.functional.normalize(vectors, dim=-1) if settings.normalize else vectors, hidden

    return Pooled().eval()


def _reads_types(model: PreTrainedModel) -> bool:
    kinds = getattr(model.config, "type_vocab_size", 0) or 0
    return kinds > 1 and "token_type_ids" in inspect.signature(model.forward).parameters


def _forget_places(model: Any) -> None:
    """Takes out where in which source file each node comes from: paths of this machine, and half of a small file."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    # What it says of operators of torchvision, and of its own future, would be all that the log holds.
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _record(folder: Path, settings: EncoderSettings, inputs: Sequence[str], exported: Path) -> dict[str, Any]:
    session = open_session(exported / MODEL)
    dimension = next(given.shape[-1] for given in session.get_outputs() if given.name == EMBEDDING)
    weights = sorted(folder.glob("*.safetensors"))
    return {
        "model": MODEL,
        "external_data": sorted(file.name for file in exported.glob(f"{MODEL}.*")),
        "tokenizer": TOKENIZER,
        "inputs": list(inputs),
        "outputs": [EMBEDDING, HIDDEN],
        "dimension": int(dimension),
        "max_length": settings.max_length,
        "pooling": settings.pooling,
        "normalize": settings.normalize,
        "similarity": settings.similarity,
        "prompts": {
            "query": settings.query_instruction,
            "document": settings.passage_instruction,
            "sentence": settings.sentence_instruction,
        },
        "document_form": settings.document_form,
        "opset": OPSET,
        "made_from": {file.name: sha256_of(file) for file in weights},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")},
    }


def _readme(settings: EncoderSettings) -> str:
    pair = " A document is a pair, (prompt + title, text)." if settings.document_form == "pair" else ""
    return f"""# ONNX

Texts to vectors with `tokenizers` and `onnxruntime`; pooling and normalisation are inside. `tokenizer.json` cuts texts
at {settings.max_length} tokens and pads a batch. `onnx.json` says more.{pair}

```python
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

FOLDER = Path(".")  # this folder
about = json.loads((FOLDER / "onnx.json").read_text())
session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def embed(texts, kind):  # kind: query, document or sentence
    read = tokenizer.encode_batch([about["prompts"][kind] + text for text in texts])
    columns = {{
        "input_ids": [one.ids for one in read],
        "attention_mask": [one.attention_mask for one in read],
        "token_type_ids": [one.type_ids for one in read],
    }}
    inputs = {{name: np.array(columns[name], dtype=np.int64) for name in about["inputs"]}}
    return session.run(["{EMBEDDING}"], inputs)[0]


queries = embed(["statins and breast cancer"], "query")
documents = embed(["Statin use and risk of breast cancer. We followed 2,000 women."], "document")
print(queries @ documents.T)
```
"""
