"""A tokenizer as one file that needs no Python around it: cut, padded and ended as this package does it.

Goes in: an encoder folder. Comes out: a ``tokenizers.Tokenizer``; its ``tokenizer.json`` is read by that library in
Rust, Python, JavaScript and others, and gives the tokens of :func:`biohicl.encoder.embed.tokens_of`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biohicl.encoder.folder import EncoderSettings, eos_id_of, load_tokenizer, pad_id_of
from biohicl.errors import BioHiCLError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def portable_tokenizer(folder: Path, settings: EncoderSettings) -> Tokenizer:
    """The folder's tokenizer, which cuts a text at ``max_length``, pads a batch at its end, and ends a text where
    ``append_eos`` says so. An error where the folder's is no fast one."""
    from tokenizers import Tokenizer

    loaded = load_tokenizer(folder)
    if not getattr(loaded, "is_fast", False):
        raise BioHiCLError(f"{folder}: other programs cannot read its tokenizer; one with a tokenizer.json they can")
    content = json.loads(loaded.backend_tokenizer.to_str())
    if settings.append_eos and loaded.backend_tokenizer.encode("").ids[-1:] != [loaded.eos_token_id]:
        content["post_processor"] = _ending(
            content["post_processor"], eos_id_of(loaded, folder), loaded.eos_token, folder
        )
    own = Tokenizer.from_str(json.dumps(content))
    pad_id = pad_id_of(loaded)
    own.enable_truncation(settings.max_length, direction=loaded.truncation_side)
    own.enable_padding(direction="right", pad_id=pad_id, pad_token=own.id_to_token(pad_id) or "")
    return own


def _ending(processor: Any, eos_id: int, eos: str, folder: Path) -> dict[str, Any]:
    """What a tokenizer.json puts around a text, with ``eos`` behind it."""
    piece = [{"SpecialToken": {"id": eos, "type_id": kind}} for kind in (0, 1)]
    special = {eos: {"id": eos, "ids": [eos_id], "tokens": [eos]}}
    if processor is None or processor["type"] == "ByteLevel":
        texts = [{"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB")]
        template = {"type": "TemplateProcessing", "single": [texts[0], piece[0]], "pair": [*texts, piece[1]]}
        own = template | {"special_tokens": special}
        return own if processor is None else {"type": "Sequence", "processors": [processor, own]}
    if processor["type"] == "TemplateProcessing":
        ended = {"single": [*processor["single"], piece[0]], "pair": [*processor["pair"], piece[1]]}
        return {**processor, **ended, "special_tokens": processor["special_tokens"] | special}
    if processor["type"] == "Sequence":
        *first, last = processor["processors"]
        return {**processor, "processors": [*first, _ending(last, eos_id, eos, folder)]}
    raise BioHiCLError(
        f"{folder}: append_eos is set, and its tokenizer puts tokens around a text by {processor['type']}, to which "
        "none can be added"
    )
