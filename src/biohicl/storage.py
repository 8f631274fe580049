"""Files that are whole or absent: written in a hidden folder beside the target, then renamed.

Goes in: the final path(s). Comes out: files under their final names, only once complete.
A reader therefore never sees half a file, whatever ends the writer; what a killed one leaves, the next one removes.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from biohicl.errors import BioHiCLError

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

GZIP_MAGIC = b"\x1f\x8b"

PARQUET_COMPRESSION = "zstd"
# Level 3 takes 40 % more time than level 1 and makes 10 % smaller files.
PARQUET_LEVEL = 1
ROW_GROUP_ROWS = 10_000
# 10,000 citations take 40 MB.
ROW_GROUP_BYTES = 128 << 20
# As the safetensors library has it.
LARGEST_HEADER_BYTES = 100_000_000
# In folders that are being written.
LOCK = ".lock"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds a lock in ``file``, which is made for it and removed afterwards; a lock ends with its process, however.

    BlockingIOError while another process has it; another OSError where the file system has no locks.
    """
    while True:
        # For writing: NFS gives no other file to one process alone, and no folder.
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with ExitStack() as stack:
            stack.callback(os.close, opened)
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Unless who had it before removed it in between: then this is no longer the file of that name.
            if not _is_same(opened, file):
                continue
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _is_same(opened: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), file.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, so that a rename is atomic, that no other process uses; gone afterwards.

    There is a lock in it: folders for the same target whose lock nobody has were left by processes that were killed,
    and are removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with suppress(OSError), locked(left / LOCK):
            remove(left)
    while True:
        folder = target.with_name(_hidden_name(target))
        folder.mkdir()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(folder / LOCK))
            except (BlockingIOError, FileNotFoundError):
                # Before it had its lock another process took it for one that was left.
                continue
            except OSError:
                # Without locks nobody takes anything for left.
                pass
            try:
                yield folder
            finally:
                remove(folder)
            return


def _hidden_name(target: Path) -> str:
    return f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _reach_the_disk(path: Path) -> None:
    """Before its name is final: a power cut soon after could else leave the name without what it stands for."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


@contextmanager
def whole_files(*paths: str | os.PathLike[str]) -> Iterator[list[Path]]:
    """Yields one temporary path for each of ``paths``; renames all on success, removes all otherwise.

    A failure while writing leaves every final name as it was before. Folders that were made for it stay: another
    process may be about to write there.
    """
    targets = [Path(path) for path in paths]
    for target in targets:
        # Found out now, not when others of them have their names already; nor is a device replaced by a file.
        if target.exists() and not target.is_file():
            raise BioHiCLError(f"{target}: is a {'folder' if target.is_dir() else 'device'}, and a file is to go there")
    with ExitStack() as stack:
        temporaries = [stack.enter_context(_scratch(target)) / target.name for target in targets]
        yield temporaries
        for temporary in temporaries:
            _reach_the_disk(temporary)
        for temporary, target in zip(temporaries, targets, strict=True):
            os.replace(temporary, target)


@contextmanager
def whole_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder that replaces ``path`` on success and vanishes otherwise."""
    target = Path(path)
    with _scratch(target) as scratch:
        temporary = scratch / target.name
        temporary.mkdir()
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                _reach_the_disk(file)
        if target.exists():
            # A folder with content cannot be replaced in one step: move the old one aside first.
            aside = target.with_name(_hidden_name(target))
            os.replace(target, aside)
            os.replace(temporary, target)
            remove(aside)
        else:
            os.replace(temporary, target)


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Writes ``value`` as indented UTF-8 JSON, keys in the order given, atomically."""
    with whole_files(path) as (temporary,):
        text = json.dumps(value, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads JSON; raises :class:`BioHiCLError` naming file and line where it is missing or ill-formed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BioHiCLError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        # Also of numbers of thousands of digits, and of brackets within brackets.
        raise BioHiCLError(f"{path}: not valid JSON: {error}") from None


def write_parquet(
    table: pl.DataFrame | pa.Table,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes one table as zstd Parquet, atomically.

    ``table`` is a polars DataFrame or a pyarrow Table, already sorted by its key. ``metadata`` goes
    into the file's key-value metadata (for example the schema's version).
    """
    import pyarrow as pa

    arrow = table if isinstance(table, pa.Table) else table.to_arrow()
    with whole_files(path) as (temporary,), parquet_writer(temporary, arrow.schema, metadata or {}) as writer:
        writer.write(arrow)


class RowGroups:
    """Collects batches, and writes them in row groups of about ``size`` rows, or fewer where these are large."""

    def __init__(self, writer: pq.ParquetWriter, size: int) -> None:
        self._writer = writer
        self._size = size
        self._waiting: list[pa.RecordBatch] = []

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        import pyarrow as pa

        self._waiting += rows.to_batches() if isinstance(rows, pa.Table) else [rows]
        rows_waiting = sum(batch.num_rows for batch in self._waiting)
        if rows_waiting >= self._size or sum(batch.nbytes for batch in self._waiting) > ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            # Groups of one size, rather than full ones and a small rest.
            groups = max(round(table.num_rows / self._size), 1)
            self._writer.write_table(table, row_group_size=max(-(-table.num_rows // groups), 1))
            self._waiting = []


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, metadata: Mapping[str, str], row_group_rows: int = ROW_GROUP_ROWS
) -> Iterator[RowGroups]:
    """A zstd Parquet file that is written batch by batch; ``path`` should be a temporary name."""
    import pyarrow.parquet as pq

    merged = {**(schema.metadata or {}), **{key.encode(): value.encode() for key, value in metadata.items()}}
    with pq.ParquetWriter(
        path, schema.with_metadata(merged or None), compression=PARQUET_COMPRESSION, compression_level=PARQUET_LEVEL
    ) as writer:
        groups = RowGroups(writer, row_group_rows)
        yield groups
        groups.flush()


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, mapped to be read. ValueError where it is damaged, OSError where it cannot be read."""
    import numpy as np

    # Not np.load, which reads an archive of arrays, and perhaps unpickles.
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        raise
    except Exception as error:
        # Of a damaged header numpy raises what its reader of Python's words does.
        raise ValueError(str(error)) from None


def safetensors_header(stream: BinaryIO) -> tuple[dict[str, Any], int]:
    """What an open safetensors file says of its arrays, by name, and the byte at which their data begin (the format:
    eight bytes that say how long the JSON is, the JSON, the data). An error where it is none, or is cut short."""
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), "little")
    if length <= min(size - 8, LARGEST_HEADER_BYTES):
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            if 8 + length + max(ends, default=0) == size:
                return header, 8 + length
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            pass
    raise BioHiCLError(f"{stream.name}: is damaged, or no safetensors file")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
