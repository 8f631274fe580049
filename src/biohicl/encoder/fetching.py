"""A text encoder brought here: fetched, completed by what config.yaml says of it, and checked.

Goes in: an encoder's block of config.yaml. Comes out: its folder, as :mod:`biohicl.encoder.folder` reads it; for an
optional one that cannot be had, a folder that only says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biohicl.encoder.folder import prepare_backbone
from biohicl.errors import BioHiCLError
from biohicl.fetch.attempts import record_attempt
from biohicl.fetch.download import fetch_backbone
from biohicl.fetch.lock import LOCK, how_to_renew, known, record
from biohicl.fetch.partial import DiskError
from biohicl.progress import say
from biohicl.storage import read_json, remove, sha256_of, whole_directory, write_json

UNAVAILABLE = "unavailable.json"
# What config.yaml may say of an encoder, beside where it comes from.
SETTINGS = (
    "pooling",
    "normalize",
    "max_length",
    "query_instruction",
    "passage_instruction",
    "sentence_instruction",
    "append_eos",
    "document_form",
    "similarity",
    "dtype",
)


def bring_encoder(
    name: str,
    block: Mapping[str, Any],
    output: Path,
    lock: Path = LOCK,
    optional: bool = False,
    attempt: int = 0,
) -> None:
    """Fetches the encoder (and its second one for documents) to ``output``, whole or not at all.

    The commit that the hub gives where config.yaml names none is recorded in ``lock`` at the first fetch, with the
    hashes of the weights, and taken from then on. ``optional``: one that cannot be had is no error.
    """
    with whole_directory(output) as folder:
        try:
            came = [_bring_one(name, block["hub"], block["path"], block["revision"], folder, lock)]
            if block["passage_hub"] or block["passage_path"]:
                inner = folder / "passage"
                inner.mkdir()
                where = block["passage_hub"], block["passage_path"], block["passage_revision"]
                came.append(_bring_one(f"{name}/passage", *where, inner, lock))
            prepare_backbone(folder, **{key: block[key] for key in SETTINGS})
            # Only what can be used is held on to.
            for entry in came:
                if entry:
                    record(lock, "encoders", *entry)
        except DiskError:
            raise
        except BioHiCLError as error:
            # The folder that it will have, not the temporary one.
            reason = str(error).replace(str(folder), str(output))
            if not optional:
                raise BioHiCLError(reason) from None
            for path in folder.iterdir():
                remove(path)
            write_json({"reason": reason}, folder / UNAVAILABLE)
            say(f"{name}: left out: {reason}")
    record_attempt(output, attempt, why_unavailable(output) is None)


def why_unavailable(folder: Path) -> str | None:
    """The reason that :func:`bring_encoder` left in a folder; None where the encoder is there."""
    return read_json(folder / UNAVAILABLE)["reason"] if (folder / UNAVAILABLE).is_file() else None


def _bring_one(
    name: str, hub: str | None, path: str | None, revision: str | None, folder: Path, lock: Path
) -> tuple[str, str, dict[str, Any]] | None:
    """What is to be recorded: name, source and facts; None for a folder, or where it is recorded already."""
    if hub is None:
        fetch_backbone(None, path, None, folder)
        return None
    source = hub if revision is None else f"{hub}@{revision}"
    held = known(lock, "encoders", name, source)
    commit = fetch_backbone(hub, None, held.get("revision") or revision, folder)
    weights = {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}
    if held and held["weights"] != weights:
        raise BioHiCLError(f"{hub}: its weights are not those recorded; {how_to_renew(lock, 'encoders', name)}")
    say(f"{name}: {hub}, commit {commit}")
    return None if held else (name, source, {"revision": commit, "weights": weights})
