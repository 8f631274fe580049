"""The encoder folder: what a text encoder is made of, in the layout that sentence-transformers loads.

Goes in: a folder with config.json, model.safetensors and a tokenizer, and perhaps modules.json, pooling and
prompts as sentence-transformers writes them. Comes out: :class:`EncoderSettings`, tokenizer and model; and the
same layout written back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["cls", "mean", "last"]

# The class names that every sentence-transformers from 2 to 6 resolves.
_MODULES = "sentence_transformers.models."
# Position 0 of these families' tables lies after the padding index, so fewer positions serve than are stored.
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet"}


@dataclass(frozen=True)
class EncoderSettings:
    """How texts become vectors: all that the transformer's own config does not say."""

    pooling: Pooling
    normalize: bool
    max_length: int  # tokens, special ones included
    query_instruction: str = ""
    passage_instruction: str = ""

    def query(self, text: str) -> str:
        """``text`` as it is encoded when it is a query."""
        return self.query_instruction + text

    def passage(self, text: str) -> str:
        """``text`` as it is encoded when it is a document."""
        return self.passage_instruction + text


def read_settings(folder: Path) -> EncoderSettings:
    """The settings of a folder; what it does not say is mean pooling, unit length, and the tokenizer's own length."""
    config = _model_config(folder)
    pooling: Pooling = "mean"
    normalize = True
    if (folder / "modules.json").is_file():
        modules = read_json(folder / "modules.json")
        normalize = any(module["type"].endswith("Normalize") for module in modules)
        paths = [module["path"] for module in modules if module["type"].endswith("Pooling")]
        if paths:
            pooling = _read_pooling(folder / paths[0] / "config.json")
    else:
        say(f"{folder}: has no modules.json; mean pooling and unit length are taken")
    prompts: dict[str, str] = {}
    if (folder / "config_sentence_transformers.json").is_file():
        prompts = read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return EncoderSettings(
        pooling=pooling,
        normalize=normalize,
        max_length=_max_length(folder, config),
        query_instruction=prompts.get("query") or "",
        passage_instruction=prompts.get("document") or prompts.get("passage") or "",
    )


def overridden(settings: EncoderSettings, folder: Path, **overrides: Any) -> EncoderSettings:
    """``settings`` with every override that is not None; a length beyond the model's positions is an error."""
    changed = replace(settings, **{key: value for key, value in overrides.items() if value is not None})
    positions = _positions(_model_config(folder))
    if positions is not None and changed.max_length > positions:
        raise BioHiCLError(
            f"{folder}: max_length is {changed.max_length}, but the model has {positions} positions; "
            "lower it in config.yaml"
        )
    return changed


def positions_of(folder: Path) -> int | None:
    """How many tokens a text may have at most; None where the model sets no limit."""
    return _positions(_model_config(folder))


def write_settings(settings: EncoderSettings, folder: Path, dimension: int) -> None:
    """Writes modules.json and what it refers to, so that sentence-transformers loads the folder alike."""
    types = [("", "Transformer"), ("1_Pooling", "Pooling")] + (
        [("2_Normalize", "Normalize")] if settings.normalize else []
    )
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": _MODULES + kind}
        for number, (path, kind) in enumerate(types)
    ]
    write_json(modules, folder / "modules.json")
    write_json(
        {
            "word_embedding_dimension": dimension,
            "pooling_mode_cls_token": settings.pooling == "cls",
            "pooling_mode_mean_tokens": settings.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": settings.pooling == "last",
        },
        folder / "1_Pooling" / "config.json",
    )
    if settings.normalize:
        (folder / "2_Normalize").mkdir(exist_ok=True)
    write_json({"max_seq_length": settings.max_length, "do_lower_case": False}, folder / "sentence_bert_config.json")
    write_json(
        {
            "prompts": {"query": settings.query_instruction, "document": settings.passage_instruction},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        folder / "config_sentence_transformers.json",
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's fast tokenizer."""
    _quiet_transformers()
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "tokenizer.model")):
        raise BioHiCLError(f"{folder}: has no tokenizer (tokenizer.json or vocab.txt)")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise BioHiCLError(f"{folder}: its tokenizer cannot be loaded: {_first_line(error)}") from None


def load_model(folder: Path) -> PreTrainedModel:
    """The folder's transformer in fp32, in evaluation mode (no dropout), with SDPA attention where it has that.

    Weights that the config asks for and the file lacks are an error, but for the unused pooler of BERT, which
    is set to zero so that a saved model is the same each time.
    """
    _quiet_transformers()
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    if not (folder / "model.safetensors").is_file() and not (folder / "model.safetensors.index.json").is_file():
        raise BioHiCLError(f"{folder}: has no model.safetensors; weights in other formats are not read")
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (ValueError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise BioHiCLError(f"{folder}: cannot be loaded as a text encoder: {_first_line(error)}") from None
    missing = sorted(info["missing_keys"])
    lacking = [key for key in missing if "pooler" not in key]
    if lacking:
        raise BioHiCLError(
            f"{folder}: model.safetensors lacks {len(lacking)} weights that config.json asks for, such as {lacking[0]}"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in missing:
                parameter.zero_()
    return model.eval()


def prepare_backbone(folder: Path, **overrides: Any) -> EncoderSettings:
    """Checks that a fetched folder can be read, and writes config.yaml's overrides into it."""
    settings = overridden(read_settings(folder), folder, **overrides)
    model = load_model(folder)
    tokenizer = load_tokenizer(folder)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise BioHiCLError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeddings for {rows}: "
            "they do not belong together"
        )
    write_settings(settings, folder, model.config.hidden_size)
    return settings


def _model_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise BioHiCLError(f"{folder}: has no config.json, so it is no model folder")
    config: dict[str, Any] = read_json(folder / "config.json")
    return config


def _read_pooling(file: Path) -> Pooling:
    config = read_json(file)
    mode = config.get("pooling_mode")
    if mode is None:
        modes = {
            "cls": "pooling_mode_cls_token",
            "mean": "pooling_mode_mean_tokens",
            "last": "pooling_mode_lasttoken",
        }
        on = [name for name, key in modes.items() if config.get(key)]
        mode = (
            on[0]
            if len(on) == 1 and sum(value is True for key, value in config.items() if "mode" in key) == 1
            else None
        )
    known: dict[str, Pooling] = {"cls": "cls", "mean": "mean", "last": "last", "lasttoken": "last"}
    if mode not in known:
        raise BioHiCLError(f"{file}: its pooling is none of cls, mean and last, the three that are read")
    return known[mode]


def _positions(config: dict[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    if positions is None:
        return None
    offset = (config.get("pad_token_id") or 0) + 1 if config.get("model_type") in OFFSET_POSITIONS else 0
    return int(positions) - offset


def _max_length(folder: Path, config: dict[str, Any]) -> int:
    said: list[int] = []
    for file, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        if (folder / file).is_file():
            value = read_json(folder / file).get(key)
            # Tokenizers without a limit say 1e30.
            if isinstance(value, int | float) and value < 1_000_000:
                said.append(int(value))
                break
    positions = _positions(config)
    if positions is not None:
        said.append(positions)
    return min(said, default=512)


def _quiet_transformers() -> None:
    # Its weight-loading bars and advice would drown the log's own lines.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
