"""The encoder folder: what a text encoder is made of, in the layout that sentence-transformers loads.

Goes in: a folder with config.json, model.safetensors (or the shards that model.safetensors.index.json names) and a
tokenizer, and perhaps modules.json, pooling and prompts as sentence-transformers writes them. What its files have no
place for is in one of our own, biohicl_encoder.json. A second encoder, for documents, may lie in the subfolder
passage/. Comes out: :class:`EncoderSettings`, tokenizer and model; and the same layout written back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["cls", "mean", "last"]
Measure = Literal["cosine", "dot"]
DocumentForm = Literal["joined", "pair"]
Dtype = Literal["float32", "bfloat16", "float16"]
# What weights of 32 bits compute in.
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What a tokenizer takes: a text, or its two segments.
Text = str | tuple[str, str]

# In an instruction: where what is searched for stands.
TASK = "{task}"
PASSAGE = "passage"
OWN_FILE = "biohicl_encoder.json"
# The fields of the settings that sentence-transformers' files cannot say.
OWN_FIELDS = ("append_eos", "document_form", "dtype")
CHOICES = {"similarity": get_args(Measure), "document_form": get_args(DocumentForm), "dtype": get_args(Dtype)}

# The class names that every sentence-transformers from 2 to 6 resolves.
_MODULES = "sentence_transformers.models."
# Position 0 of these families' tables lies after the padding index, so fewer positions serve than are stored.
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet"}
INDEX = "model.safetensors.index.json"
# What they say goes to the tokenizer's class, names of files included.
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
# Of attention. Any other name may be that of a kernel, which transformers would fetch from the hub, and run.
IMPLEMENTATIONS = (None, "eager", "sdpa")


@dataclass(frozen=True)
class EncoderSettings:
    """How texts become vectors: all that the transformer's own config does not say.

    An instruction is put before a text; ``{task}`` in it stands for what the text is encoded for.
    """

    pooling: Pooling
    normalize: bool
    max_length: int  # tokens, special ones included
    query_instruction: str = ""
    passage_instruction: str = ""
    similarity: Measure = "cosine"  # how two vectors are compared
    sentence_instruction: str = ""  # before both sentences of a pair
    append_eos: bool = False  # the tokenizer's end of a sequence is the last token, within max_length
    document_form: DocumentForm = "joined"  # title and text: one text, or two segments with their token types
    dtype: Dtype = "float32"  # of the weights in memory; pooling and all that follows is fp32

    def query(self, text: str, task: str = "") -> str:
        """``text`` as it is encoded when it is a query; an error where the instruction wants a task and gets none."""
        return _instructed(self.query_instruction, text, task)

    def passage(self, text: str, task: str = "") -> str:
        """``text`` as it is encoded when it is a document; errors as for a query."""
        return _instructed(self.passage_instruction, text, task)

    def sentence(self, text: str, task: str = "") -> str:
        """``text`` as it is encoded when it is one of two sentences to compare; errors as for a query."""
        return _instructed(self.sentence_instruction, text, task)

    def document(self, title: str, text: str, task: str = "") -> Text:
        """A document of a title (or "") and a text as it is encoded: joined by a space, or as two segments."""
        if self.document_form == "pair":
            return self.passage(title, task), text
        return self.passage(f"{title} {text}".strip(), task)


def _instructed(instruction: str, text: str, task: str) -> str:
    if TASK in instruction and not task:
        raise BioHiCLError(
            f"the instruction {instruction!r} asks for a task, and none is given: say what the texts are encoded for, "
            f"or write an instruction without {TASK}"
        )
    return instruction.replace(TASK, task) + text


def read_settings(folder: Path) -> EncoderSettings:
    """The settings of a folder; what it does not say is mean pooling, unit length, and the tokenizer's own length."""
    config = _model_config(folder)
    pooling: Pooling = "mean"
    normalize = True
    if (folder / "modules.json").is_file():
        kinds = _modules(folder / "modules.json")
        normalize = "Normalize" in kinds
        if "Pooling" in kinds:
            pooling = _read_pooling(folder / kinds["Pooling"] / "config.json")
    else:
        say(f"{folder}: has no modules.json; mean pooling and unit length are taken")
    said: dict[str, Any] = {}
    if (folder / "config_sentence_transformers.json").is_file():
        said = read_json(folder / "config_sentence_transformers.json")
    prompts = said.get("prompts") or {}
    settings = EncoderSettings(
        pooling=pooling,
        normalize=normalize,
        max_length=_max_length(folder, config),
        query_instruction=prompts.get("query") or "",
        passage_instruction=prompts.get("document") or prompts.get("passage") or "",
        similarity=said.get("similarity_fn_name") or "cosine",
        # What sentence-transformers' encode, which knows of no kind, puts before a text.
        sentence_instruction=prompts.get("sentence") or prompts.get(said.get("default_prompt_name")) or "",
    )
    return _checked(replace(settings, **_own_fields(folder)), folder)


def overridden(settings: EncoderSettings, folder: Path, **overrides: Any) -> EncoderSettings:
    """``settings`` with every override that is not None; a length beyond the model's positions is an error."""
    changed = replace(settings, **{key: value for key, value in overrides.items() if value is not None})
    positions = _positions(_model_config(folder))
    if positions is not None and changed.max_length > positions:
        raise BioHiCLError(
            f"{folder}: max_length is {changed.max_length}, but the model has {positions} positions; "
            "lower it in config.yaml"
        )
    return _checked(changed, folder)


def passage_folder(folder: Path) -> Path:
    """Where the encoder of documents lies: the subfolder passage/ where that is one, else the folder itself."""
    own = folder / PASSAGE
    return own if (own / "config.json").is_file() else folder


def positions_of(folder: Path) -> int | None:
    """How many tokens a text may have at most; None where the model sets no limit."""
    return _positions(_model_config(folder))


def write_settings(settings: EncoderSettings, folder: Path, dimension: int) -> None:
    """Writes modules.json and what it refers to, so that sentence-transformers loads the folder alike.

    ``biohicl_encoder.json`` is there only where the settings hold what sentence-transformers cannot do.
    """
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
    prompts = {"query": settings.query_instruction, "document": settings.passage_instruction}
    default = None
    if settings.sentence_instruction:
        default = "sentence"
        prompts[default] = settings.sentence_instruction
    write_json(
        {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": settings.similarity},
        folder / "config_sentence_transformers.json",
    )
    own = {name: getattr(settings, name) for name in OWN_FIELDS}
    own = {name: value for name, value in own.items() if value != getattr(EncoderSettings, name)}
    if own:
        write_json(own, folder / OWN_FILE)
    else:
        (folder / OWN_FILE).unlink(missing_ok=True)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's fast tokenizer."""
    _quiet_transformers()
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")):
        raise BioHiCLError(f"{folder}: has no tokenizer (tokenizer.json or vocab.txt)")
    _refuse_files_elsewhere(folder)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The tokenizers library has no exceptions of its own.
        raise BioHiCLError(f"{folder}: its tokenizer cannot be loaded: {_first_line(error)}") from None


def pad_id_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills a batch up; where a decoder has none for that, another, which a mask hides as well."""
    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((known for known in ids if known is not None), 0)


def eos_id_of(tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
    """The token that ends a sequence; an error, naming ``folder``, where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise BioHiCLError(
            f"{folder}: append_eos is set, but its tokenizer names no token that ends a sequence (eos_token in "
            "tokenizer_config.json)"
        )
    return int(tokenizer.eos_token_id)


def load_model(folder: Path, dtype: Dtype = "float32") -> PreTrainedModel:
    """The folder's transformer, in evaluation mode (no dropout), with SDPA attention where it has that.

    ``dtype``: of its weights in memory, whatever they are stored in. The head of a language model is left out. Weights
    that the config asks for and the file lacks are an error, but for the unused pooler of BERT, which is set to zero
    so that a saved model is the same each time.
    """
    _quiet_transformers()
    import torch
    from transformers import AutoModel

    _check_weights(folder)
    _check_implementation(_model_config(folder), folder)
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )
    except Exception as error:
        # Whatever a config.json of somebody else's makes transformers do.
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
    """Checks that a fetched folder can be read, and writes config.yaml's overrides into it; returns its settings.

    Where it has an encoder of its own for documents, that is checked too and gets the same overrides.
    """
    parts = list(dict.fromkeys((folder, passage_folder(folder))))
    found = [(overridden(read_settings(part), part, **overrides), part) for part in parts]
    widths = [_checked_width(part, settings) for settings, part in found]
    if len(set(widths)) > 1 or len({settings.similarity for settings, _ in found}) > 1:
        raise BioHiCLError(
            f"{folder}: vectors of queries and of documents ({PASSAGE}/) cannot be compared: they have "
            f"{widths[0]} and {widths[-1]} numbers, and are compared by {found[0][0].similarity} and "
            f"{found[-1][0].similarity}"
        )
    for (settings, part), width in zip(found, widths, strict=True):
        write_settings(settings, part, width)
    return found[0][0]


def _checked_width(folder: Path, settings: EncoderSettings) -> int:
    """The numbers of a vector; an error where model and tokenizer cannot be loaded or do not fit."""
    model = load_model(folder, settings.dtype)
    tokenizer = load_tokenizer(folder)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise BioHiCLError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeddings for {rows}: "
            "they do not belong together"
        )
    if settings.append_eos:
        eos_id_of(tokenizer, folder)
    return int(model.config.hidden_size)


def _model_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise BioHiCLError(f"{folder}: has no config.json, so it is no model folder")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise BioHiCLError(f"{folder / 'config.json'}: a JSON object is needed")
    return config


def _check_weights(folder: Path) -> None:
    """An error unless all weights are safetensors in the folder itself: what an index names, transformers reads, and
    that might be a pickle, or lie anywhere."""
    if (folder / INDEX).is_file():
        try:
            shards = {str(name) for name in read_json(folder / INDEX)["weight_map"].values()}
        except (KeyError, TypeError, AttributeError):
            raise BioHiCLError(f"{folder / INDEX}: names no weights") from None
        others = [name for name in sorted(shards) if "/" in name or "\\" in name or not name.endswith(".safetensors")]
        if others:
            raise BioHiCLError(f"{folder / INDEX}: names {others[0]!r}; only safetensors beside it are read")
    elif not (folder / "model.safetensors").is_file():
        raise BioHiCLError(f"{folder}: has no model.safetensors; weights in other formats are not read")
    # Transformers would load it too, as peft does, which imports modules that its settings name.
    if (folder / "adapter_config.json").exists():
        raise BioHiCLError(f"{folder}: has an adapter beside its weights, which is not read; merge the two")


def _refuse_files_elsewhere(folder: Path) -> None:
    """An error where the settings of a tokenizer name a file of this machine that is not in the folder.

    Transformers takes some of them for its vocabulary, whatever is in it: each line would become a token, which is
    saved, and published, with what is trained.
    """
    inside = folder.resolve()
    for name in TOKENIZER_SETTINGS:
        settings = read_json(folder / name) if (folder / name).is_file() else {}
        for key, value in settings.items() if isinstance(settings, dict) else ():
            words = [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]
            # As it stands, and as a name in the folder.
            places = [place for word in words for place in (Path(word), folder / word)]
            # Not Path's, which raises an error for a long text.
            files = [place for place in places if os.path.isfile(place)]  # noqa: PTH113
            if any(not file.resolve().is_relative_to(inside) for file in files):
                raise BioHiCLError(f"{folder / name}: {key} names a file outside of the folder, which is not read")


def _check_implementation(config: Any, folder: Path) -> None:
    """An error where a config, or one inside of it, names an implementation of attention that is not torch's own."""
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if key.removesuffix("_internal").endswith("attn_implementation") and value not in IMPLEMENTATIONS:
            raise BioHiCLError(f"{folder / 'config.json'}: {key} is {value!r}, and none but eager and sdpa is run")
        _check_implementation(value, folder)


def _modules(file: Path) -> dict[str, Path]:
    """The path of each module by its kind. The modules themselves are never imported."""
    try:
        found = {module["type"].rpartition(".")[2]: Path(module["path"]) for module in read_json(file)}
    except (KeyError, TypeError, AttributeError):
        raise BioHiCLError(f"{file}: a list of modules, each with type and path, is needed") from None
    outside = [str(path) for path in found.values() if path.is_absolute() or ".." in path.parts]
    if outside:
        raise BioHiCLError(f"{file}: names {outside[0]}, which is not in its folder")
    others = found.keys() - {"Transformer", "Pooling", "Normalize"}
    if others:
        raise BioHiCLError(
            f"{file}: has a module {sorted(others)[0]}, and none but Transformer, Pooling and Normalize are read: its "
            "vectors would not be those of sentence-transformers"
        )
    return found


def _own_fields(folder: Path) -> dict[str, Any]:
    """What biohicl_encoder.json says; its keys are known ones, its values are not checked yet."""
    file = folder / OWN_FILE
    own: dict[str, Any] = read_json(file) if file.is_file() else {}
    if not isinstance(own, dict) or not own.keys() <= set(OWN_FIELDS):
        raise BioHiCLError(f"{file}: an object with keys among {', '.join(OWN_FIELDS)} is needed")
    return own


def _checked(settings: EncoderSettings, folder: Path) -> EncoderSettings:
    """``settings``; an error where a value is none of its choices."""
    for name, choices in [*CHOICES.items(), ("append_eos", (False, True))]:
        if getattr(settings, name) not in choices:
            raise BioHiCLError(f"{folder}: {name} is {getattr(settings, name)!r}; choose among {choices}")
    return settings


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
    if mode == "mean" and config.get("include_prompt") is False:
        raise BioHiCLError(f"{file}: leaves instructions out of the mean, which is not done here")
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


def computed_in(dtype: str, device: str, precision: Precision | None) -> str:
    """What the forward pass of weights of this ``dtype`` is computed in on a device (``cpu``, ``cuda``).

    ``precision``: what was asked for; None: bfloat16 on a GPU, else float32. Weights of 16 bits compute as they are.
    """
    unasked = "bfloat16" if device == "cuda" else "float32"
    return dtype if dtype != "float32" else precision or unasked
