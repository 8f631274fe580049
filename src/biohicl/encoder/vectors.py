"""Vectors of many texts on disk, made shard by shard, so that a kill costs one shard.

Goes in: an encoder folder and blocks of texts, or of token lists. Comes out: OUTPUT.npy, float32 (n, d) in their order,
as the encoder gives them (numpy can map it into memory), and OUTPUT.json: of what, how and how fast it was made.

A shard's name is a hash of the encoder, of how it is used, and of the shard's texts or tokens. So what lies there from
a killed run is right where its name is right, a changed text makes its own shard anew, and nothing is encoded twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from biohicl.encoder.embed import Encoder, Kind, Tokens, pick_device, prepared
from biohicl.encoder.fetching import why_unavailable
from biohicl.encoder.folder import Precision, Text, computed_in, passage_folder, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.storage import mapped_array, read_json, sha256_of, whole_files, write_json

# Some 80 seconds of all-MiniLM-L6-v2 on two cores: what a kill costs at most.
TEXTS_OF_A_SHARD = 2048
# What of a folder makes the vectors. A node's manifest and logs tell of its training, its adapter is merged, and
# snapshots are weights that it had on the way.
SUFFIXES = (".json", ".safetensors", ".txt", ".model")
# Instructions are part of the texts as they are encoded, and a new one for queries encodes no document again.
NOT_PART = ("manifest.json", "choice.json", "config_sentence_transformers.json")
# Subfolders of a node with weights that are not those of the model.
OTHER_WEIGHTS = ("adapter", "snapshots")
# To be raised where this package comes to encode the same texts otherwise: old vectors are not reused then.
WAY = 1


class Vectors:
    """A finished file of vectors and its record."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.is_file() or not record_of(file).is_file():
            raise BioHiCLError(
                f"{file}: no such vectors, or no {record_of(file).name} beside them; embed the texts first"
            )
        self.record: dict[str, Any] = read_json(record_of(file))

    @cached_property
    def array(self) -> npt.NDArray[np.float32]:
        """(n, d), mapped into memory."""
        try:
            found = _mapped(self.file)
        except ValueError as error:
            raise BioHiCLError(
                f"{self.file}: not a whole file of vectors ({error}); remove it and embed again"
            ) from None
        return found

    @property
    def comparable(self) -> Rows:
        """(n, d), whose inner products are the similarities: of length 1 where these are cosines."""
        return self.array if self.record["similarity"] == "dot" or self.record["unit"] else UnitRows(self.array)


class Rows(Protocol):
    """What is asked of vectors (n, d) that are gone through block by block: an array, or what makes its blocks."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]: ...


class UnitRows:
    """Other rows, each block brought to length 1 when it is asked for (a zero vector stays)."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.shape = rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> npt.NDArray[np.float32]:
        return of_unit_length(self.rows[rows])


def of_unit_length(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The rows (n, d) brought to length 1; a zero vector stays."""
    norms = np.linalg.norm(block, axis=1, keepdims=True)
    return np.asarray(block / np.where(norms == 0, 1.0, norms), dtype=np.float32)


def record_of(file: Path) -> Path:
    """Where the record of a file of vectors lies."""
    return file.with_suffix(".json")


def encoder_folder(model: str) -> Path:
    """The folder of a model given by its folder or by its name on the hub (owner/name)."""
    if Path(model).is_dir():
        return Path(model)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        from biohicl.fetch.download import hub_snapshot

        return hub_snapshot(model)
    raise BioHiCLError(f"{model}: no such model folder, and not a name on the hub (owner/name)")


def fingerprint(folder: Path) -> str:
    """SHA-256 over the files of an encoder folder that its vectors depend on, but for instructions. Those of its
    ``passage`` folder are among them."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        is_read = file.suffix in SUFFIXES and file.name not in NOT_PART and inside.parts[0] not in OTHER_WEIGHTS
        if is_read and file.is_file():
            digest.update(f"{inside.as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def write_vectors(
    folder: Path,
    kind: Kind,
    blocks: Callable[[], Iterable[Sequence[Text]]],
    output: Path,
    *,
    task: str = "",
    batch_size: int = 64,
    device: str = "auto",
    precision: Precision | None = None,
    ids: Sequence[str] | None = None,
    others: Iterable[Path] = (),
) -> Vectors:
    """Writes ``output`` (.npy) and its record, or leaves them where they are of the same encoder, way and texts.

    ``blocks``: gives the texts, ``TEXTS_OF_A_SHARD`` at a time, each time it is called. ``task``: for instructions with
    a place for one. ``precision``: as :class:`~biohicl.encoder.embed.Encoder` takes it. ``ids``: names of the texts
    for errors. ``others``: vectors that may be the same, as a chosen model's and the candidate's that it is; they are
    copied where they are. Raises :class:`BioHiCLError` where a vector is not finite.
    """
    reason = why_unavailable(folder)
    if reason:
        return _write_nothing(output, reason)
    return _write(_TextMaker(folder, kind, task, batch_size, device, precision, ids), blocks, output, {}, others)


def write_token_vectors(
    folder: Path,
    name: str,
    blocks: Callable[[], Iterable[Sequence[Tokens]]],
    output: Path,
    *,
    batch_size: int = 64,
    device: str = "auto",
    precision: Precision | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Vectors:
    """As :func:`write_vectors`, of token lists as they are; of length 1 where the encoder is compared by cosine.

    ``name``: what they are, for the log and for errors. ``facts``: more for the record; no reason to encode again.
    """
    return _write(_TokenMaker(folder, name, batch_size, device, precision), blocks, output, facts or {})


def made_of_texts(
    folder: Path,
    kind: Kind,
    blocks: Iterable[Sequence[Text]],
    *,
    task: str = "",
    device: str = "auto",
    precision: Precision | None = None,
) -> str:
    """What the record of :func:`write_vectors` would say that the vectors are made of; nothing is encoded for it."""
    maker = _TextMaker(folder, kind, task, 1, device, precision, None)
    return _hash_of_keys([maker.key(block) for block in blocks])


def _hash_of_keys(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def _write(
    maker: _Maker,
    blocks: Callable[[], Iterable[Sequence[Any]]],
    output: Path,
    facts: Mapping[str, Any],
    others: Iterable[Path] = (),
) -> Vectors:
    keys: list[str] = []
    first_rows = [0]
    for block in blocks():
        keys.append(maker.key(block))
        first_rows.append(first_rows[-1] + len(block))
    made_of = _hash_of_keys(keys)
    record = _record_if(output, made_of)
    if record is not None:
        say(f"{output}: is there already, of the same encoder and texts; nothing is encoded")
        if not facts.items() <= record.items():
            write_json({**record, **facts}, record_of(output))
        return Vectors(output)
    for other in others:
        record = _record_if(other, made_of)
        if record is not None and _is_whole(other):
            return _copy(other, output, {**record, **facts})
    shards = output.with_name(f".{output.stem}.shards")
    shards.mkdir(parents=True, exist_ok=True)
    missing = [place for place, key in enumerate(keys) if not _is_whole(shards / f"{key}.npy")]
    if len(missing) < len(keys):
        say(f"{output}: going on; {len(keys) - len(missing)} of {len(keys)} shards are there")
    maker.fill(blocks(), keys, first_rows, set(missing), shards)
    made = [shards / f"{key}.npy" for key in keys]
    _publish(made, output, lambda rows, dimension: {**maker.record(rows, dimension, made_of), **facts}, maker.to_unit)
    for file in shards.iterdir():
        file.unlink()
    shards.rmdir()
    return Vectors(output)


def _record_if(file: Path, made_of: str) -> dict[str, Any] | None:
    """The record of the vectors there, where they are made of this; a file alone is not believed."""
    if not (record_of(file).is_file() and file.is_file()):
        return None
    record: dict[str, Any] = read_json(record_of(file))
    return record if record.get("made_of") == made_of else None


def _copy(other: Path, output: Path, record: dict[str, Any]) -> Vectors:
    _publish([other], output, lambda rows, dimension: record)
    say(f"{output}: copied from {other}, of the same encoder and texts; nothing is encoded")
    return Vectors(output)


def _write_nothing(output: Path, reason: str) -> Vectors:
    """Of an encoder that could not be had: no rows, and why."""
    _publish([], output, lambda rows, dimension: {"unavailable": reason, "rows": rows, "dimension": dimension})
    say(f"{output}: no vectors: {reason}")
    return Vectors(output)


def _publish(
    shards: Sequence[Path], output: Path, record: Callable[[int, int], dict[str, Any]], to_unit: bool = False
) -> None:
    """Writes all rows of the shards, ``to_unit``: brought to length 1, and what ``record`` makes of their shape."""
    # The record is what says that the vectors are right: gone before they change, written after.
    record_of(output).unlink(missing_ok=True)
    with whole_files(output, record_of(output)) as (vectors_file, record_file):
        write_json(record(*_gather(shards, vectors_file, to_unit)), record_file)


class _Maker(ABC):
    """Encodes shards; the model is loaded for the first that is missing.

    ``folder``: of the encoder that is used, within ``whole``. ``kind``: what is encoded, for people and the record.
    """

    # Whether vectors that the encoder does not bring to length 1 are.
    to_unit = False

    def __init__(
        self, whole: Path, folder: Path, kind: str, batch_size: int, device: str, precision: Precision | None
    ) -> None:
        self.folder = folder
        self.kind = kind
        self.batch_size = batch_size
        self.settings = read_settings(folder)
        self.of_encoder = fingerprint(whole)
        self._how = device, precision
        self.seconds, self.texts, self.tokens = 0.0, 0, 0

    @abstractmethod
    def key(self, block: Sequence[Any]) -> str:
        """The name of a shard of ``block``."""

    @abstractmethod
    def tokens_of(self, block: Sequence[Any]) -> Sequence[Any]:
        """Its token lists; runs in a thread."""

    @abstractmethod
    def name(self, row: int, content: Any) -> str:
        """What an error calls what stands in a row, counted from 0."""

    @cached_property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return pick_device(self._how[0]).type

    @cached_property
    def dtype(self) -> str:
        """What the forward pass is computed in."""
        return computed_in(self.settings.dtype, self.device, self._how[1])

    @property
    def computed(self) -> str:
        """The device, and the precision where it is not what the device computes in unasked."""
        is_unasked = self.dtype == computed_in(self.settings.dtype, self.device, None)
        return self.device if is_unasked else f"{self.device} {self.dtype}"

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.folder, *self._how)

    def fill(
        self,
        blocks: Iterable[Sequence[Any]],
        keys: Sequence[str],
        first_rows: Sequence[int],
        missing: set[int],
        shards: Path,
    ) -> None:
        """Writes the shards at the places ``missing``. The next one is tokenized while one is computed."""
        if not missing:
            return
        wanted = ((place, block) for place, block in enumerate(blocks) if place in missing)
        with ThreadPoolExecutor(1) as pool:
            for place, block, tokens in track(
                self._tokenized(pool, wanted), len(missing), f"encoding {self.kind}", "shards"
            ):
                started = time.perf_counter()
                vectors = self.encoder.embed_tokens(tokens, self.batch_size, self._names(first_rows[place], block))
                self.seconds += time.perf_counter() - started
                self.texts += len(tokens)
                self.tokens += sum(map(len, tokens))
                _save(vectors, shards / f"{keys[place]}.npy")

    def _tokenized(
        self, pool: ThreadPoolExecutor, wanted: Iterator[tuple[int, Sequence[Any]]]
    ) -> Iterator[tuple[int, Sequence[Any], Any]]:
        waiting: tuple[int, Sequence[Any], Any] | None = None
        for place, block in wanted:
            coming = (place, block, pool.submit(self.tokens_of, block))
            if waiting:
                yield waiting[0], waiting[1], waiting[2].result()
            waiting = coming
        if waiting:
            yield waiting[0], waiting[1], waiting[2].result()

    def _names(self, first_row: int, block: Sequence[Any]) -> Callable[[int], str]:
        return lambda row: self.name(first_row + row, block[row])

    def record(self, rows: int, dimension: int, made_of: str) -> dict[str, Any]:
        """What is told beside the vectors. Speed is of what this run encoded, and null where that was nothing."""
        import importlib.metadata

        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers")}
        return {
            "made_of": made_of,
            "encoder": self.of_encoder,
            "kind": self.kind,
            "rows": rows,
            "dimension": dimension,
            "similarity": self.settings.similarity,
            "unit": self.settings.normalize or self.to_unit,
            "device": self.device,
            "dtype": self.dtype,
            "encoded": {"texts": self.texts, "tokens": self.tokens, "seconds": round(self.seconds, 3)},
            "versions": versions,
        }


class _TextMaker(_Maker):
    """Of texts of one kind, with the instruction for it."""

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        task: str,
        batch_size: int,
        device: str,
        precision: Precision | None,
        ids: Sequence[str] | None,
    ) -> None:
        used = passage_folder(folder) if kind == "documents" else folder
        super().__init__(folder, used, kind, batch_size, device, precision)
        self.of_texts = kind
        self.task = task
        self.ids = ids

    def key(self, block: Sequence[Text]) -> str:
        settings = self.settings
        how = f"{WAY} {self.of_encoder} {self.kind} {self.computed} {settings.similarity}"
        digest = hashlib.sha256(how.encode())
        for text in prepared(settings, self.of_texts, block, self.task):
            for part in (text,) if isinstance(text, str) else text:
                raw = part.encode("utf-8", "surrogatepass")
                digest.update(f"{len(raw)} ".encode() + raw)
        return digest.hexdigest()

    def tokens_of(self, block: Sequence[Text]) -> Sequence[Tokens]:
        return self.encoder.tokens(self.encoder.prepared(self.of_texts, block, self.task))

    def name(self, row: int, content: Text) -> str:
        shown = content[:60] if isinstance(content, str) else " ".join(content)[:60]
        identifier = f"'{self.ids[row]}'" if self.ids else f"number {row + 1}"
        return f"{self.kind.removesuffix('s')} {identifier} ({shown})"


class _TokenMaker(_Maker):
    """Of token lists; what they were made from is not asked, so that the same tokens have the same vectors."""

    def __init__(self, folder: Path, name: str, batch_size: int, device: str, precision: Precision | None) -> None:
        super().__init__(folder, folder, name, batch_size, device, precision)
        self.to_unit = self.settings.similarity == "cosine" and not self.settings.normalize

    def key(self, block: Sequence[Tokens]) -> str:
        digest = hashlib.sha256(f"{WAY} {self.of_encoder} tokens {self.computed} {self.settings.similarity}".encode())
        for tokens in block:
            digest.update(f"{len(tokens)} ".encode() + np.asarray(tokens, dtype="<i4").tobytes())
        return digest.hexdigest()

    def tokens_of(self, block: Sequence[Tokens]) -> Sequence[Tokens]:
        return block

    def name(self, row: int, content: Tokens) -> str:
        return f"{self.kind} number {row + 1} ({len(content)} tokens)"


def _save(vectors: npt.NDArray[np.float32], file: Path) -> None:
    with whole_files(file) as (temporary,), temporary.open("wb") as stream:
        np.save(stream, vectors)
        stream.flush()
        # Under its name only once it is on the disk: after a power cut a shard is whole or absent.
        os.fsync(stream.fileno())


def _mapped(file: Path) -> npt.NDArray[np.float32]:
    """The array of a file; ValueError where it is none of float32 with two axes. Nothing in it is unpickled."""
    found: npt.NDArray[np.float32] = mapped_array(file)
    if found.dtype != np.float32 or found.ndim != 2:
        raise ValueError(f"it holds {found.dtype} of shape {found.shape}")
    return found


def _is_whole(file: Path) -> bool:
    try:
        _mapped(file)
    except (OSError, ValueError):
        return False
    return True


def _gather(shards: Sequence[Path], output: Path, to_unit: bool) -> tuple[int, int]:
    """One file of all shards' rows, and its shape; some rows at a time are in memory."""
    shapes = [_mapped(file).shape for file in shards]
    shape = (sum(rows for rows, _ in shapes), shapes[0][1] if shapes else 0)
    with output.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(stream, header)
        for file in shards:
            rows = _mapped(file)
            for start in range(0, len(rows), TEXTS_OF_A_SHARD):
                block = rows[start : start + TEXTS_OF_A_SHARD]
                stream.write((of_unit_length(block) if to_unit else block).tobytes())
    return shape
