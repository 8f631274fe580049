"""A part of a file: the bytes that have come so far, and what they are a part of.

Goes in: the file's final path. Comes out: beside it, under hidden names that are the same in every run,
``.NAME.part`` with the bytes and ``.NAME.part.json`` with where they came from. A killed run leaves both, and the next
one goes on from there. Snakemake does not know these names, and so does not delete them as it does with the outputs
of a job that failed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from biohicl.errors import BioHiCLError
from biohicl.storage import read_json, write_json


class DiskError(BioHiCLError):
    """The file cannot be written here: no other mirror would help."""


@dataclass(frozen=True)
class Origin:
    """What a part is a part of."""

    url: str
    # Of the whole file, published by whom it is from; None where nobody does.
    checksum: str | None
    length: int | None
    etag: str | None
    last_modified: str | None

    @property
    def validator(self) -> str | None:
        """What a server can be asked to compare (If-Range): a strong ETag, or else the date."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Partial:
    """The part beside ``target``, locked: no other process writes it meanwhile."""

    def __init__(self, target: Path, checksum: str | None) -> None:
        self.target = target
        self.checksum = checksum
        self.origin: Origin | None = None
        self.size = 0
        self.furthest = 0

    def __enter__(self) -> Partial:
        with _disk_trouble(self.target):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.path, self._stream, own = _locked(self.target)
        self._record = self.path.with_name(f"{self.path.name}.json")
        self._keep = own
        if own:
            self._take_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Without a checksum or a validator nobody could tell later whether the rest is of the same file.
        known = self.origin is not None and (self.checksum or self.origin.validator)
        if not (self._keep and self.size and known):
            self.discard()
        self._stream.close()

    def _take_up(self) -> None:
        """Goes on with what an earlier run left, if it is a part of the same file."""
        size = os.fstat(self._stream.fileno()).st_size
        try:
            origin = Origin(**read_json(self._record))
        except (BioHiCLError, TypeError):
            origin = None
        if origin is None or origin.checksum != self.checksum:
            self._truncate(0)
            return
        self.origin = origin
        # The last byte is always asked for again: where all had come, the server still says whether it is all.
        self._truncate(max(size - 1, 0))
        self.furthest = self.size

    def range_headers(self, url: str) -> dict[str, str]:
        """Headers that ask for the rest, if that makes sense with the server at ``url``."""
        if not self.size or self.origin is None:
            return {}
        wanted = {"Range": f"bytes={self.size}-"}
        if self.origin.url == url and self.origin.validator:
            return wanted | {"If-Range": self.origin.validator}
        # Another mirror, or a server that says nothing about its files: the checksum will tell.
        return wanted if self.checksum else {}

    def restart(self, origin: Origin | None) -> None:
        """Forgets what has come; the next byte is the first one of ``origin``."""
        # In this order: a kill in between leaves no bytes that a wrong record claims.
        self._truncate(0)
        self.origin = origin
        if origin is not None and self._keep:
            with _disk_trouble(self.path):
                write_json(asdict(origin), self._record)

    def write(self, piece: bytes) -> None:
        """Appends a piece."""
        rest = memoryview(piece)
        while rest:
            with _disk_trouble(self.path):
                written = self._stream.write(rest)
            rest = rest[written:]
            self.size += written
        self.furthest = max(self.furthest, self.size)

    def finish(self) -> None:
        """The part becomes the file. To be called once it is verified."""
        with _disk_trouble(self.target):
            # Else a power cut right after the rename could leave a file with holes under the final name.
            os.fsync(self._stream.fileno())
            self._record.unlink(missing_ok=True)
            os.replace(self.path, self.target)

    def discard(self) -> None:
        """Takes part and record away."""
        if self.path.exists() and os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat()):
            self.path.unlink()
            self._record.unlink(missing_ok=True)

    def _truncate(self, size: int) -> None:
        with _disk_trouble(self.path):
            os.ftruncate(self._stream.fileno(), size)
            self._stream.seek(size)
        self.size = size


def _locked(target: Path) -> tuple[Path, FileIO, bool]:
    """The part's path, opened and locked; a name of its own (and False) while another process writes the part."""
    shared = target.with_name(f".{target.name}.part")
    while True:
        stream = _opened(shared)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # In use, or a file system without locks.
            stream.close()
            break
        try:
            if os.path.samestat(os.fstat(stream.fileno()), shared.stat()):
                return shared, stream, True
        except FileNotFoundError:
            pass
        # Another process finished or discarded the part between open and lock: this is no longer the file there.
        stream.close()
    single = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    return single, _opened(single), False


def _opened(path: Path) -> FileIO:
    """For reading and writing, made if it is not there, and never emptied: another process may hold it."""
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")


@contextmanager
def _disk_trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written ({error.strerror or error}). Make room or change the rights, and run again"
        ) from None


def origin_of(url: str, checksum: str | None, length: int | None, headers: Mapping[str, str]) -> Origin:
    """What a server's headers say of the file behind ``url``."""
    return Origin(url, checksum, length, headers.get("ETag"), headers.get("Last-Modified"))
