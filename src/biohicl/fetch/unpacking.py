"""Archives of strangers, unpacked with care.

Goes in: an archive (.zip, .tar.gz) or a single file (.json, .jsonl.gz) that has come, and which files of it are wanted.
Comes out: these files. Members are copied to paths of our own making, so that no name, link or device in an archive
matters; and what unpacks to far more than it is, or to far more members than a benchmark has, is refused.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Protocol, cast

from biohicl.errors import BioHiCLError
from biohicl.fetch.places import JSON_MAGIC, ZIP_MAGIC
from biohicl.storage import GZIP_MAGIC, whole_files

LARGEST_ARCHIVE_BYTES = 20 << 30
# Texts get some 4 times shorter.
LARGEST_INFLATION = 100
ALWAYS_ALLOWED_BYTES = 1 << 30
# BEIR's largest has some 30.
MOST_MEMBERS = 10_000
# What tells of members is read in one piece; this holds a name of some kilobytes for each.
LONGEST_PIECE_BYTES = 16 << 20
COPIED_BYTES = 1 << 20


def most_unpacked(size: int) -> int:
    """What ``size`` packed bytes may unpack to."""
    return min(max(LARGEST_INFLATION * size, ALWAYS_ALLOWED_BYTES), LARGEST_ARCHIVE_BYTES)


class _TooLargeError(Exception):
    """What an archive holds is beyond a limit; the words go behind its address."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def seek(self, place: int, whence: int, /) -> int: ...

    def tell(self) -> int: ...


class _Bounded:
    """A stream that gives no more than ``most`` bytes, and no long piece at a time.

    Python's readers of archives take a size from the archive, and read that much at once.
    """

    def __init__(self, stream: _Readable, most: int) -> None:
        self._stream = stream
        self._most = most

    def read(self, size: int = -1) -> bytes:
        asked = size if size >= 0 else LONGEST_PIECE_BYTES + 1
        piece = self._stream.read(min(asked, LONGEST_PIECE_BYTES + 1))
        if len(piece) > LONGEST_PIECE_BYTES:
            raise _TooLargeError("what tells of its members is too long")
        self._check(self._stream.tell())
        return piece

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0:
            self._check(place)
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._most:
            raise _TooLargeError(f"unpacks to more than {self._most:,} bytes")


def _unpack_zip(archive: Path, url: str, files: Sequence[str], output: Path) -> None:
    size = archive.stat().st_size
    with (
        _in_words(url, "a zip archive"),
        archive.open("rb") as stream,
        zipfile.ZipFile(cast(IO[bytes], _Bounded(stream, size))) as bundle,
    ):
        members = _wanted({info.filename: info for info in _counted(bundle.infolist())}, url, files)
        for file, info in members.items():
            # Others are rare, and their unpackers may ask for gigabytes.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise BioHiCLError(f"{url}: {file} in the archive is encrypted, or packed in a way that is not read")
        sizes = [info.file_size for info in members.values()]
        _write_members(members, sizes, bundle.open, url, output, most_unpacked(size))


def _unpack_tar(archive: Path, url: str, files: Sequence[str], output: Path) -> None:
    most = most_unpacked(archive.stat().st_size)
    with (
        _in_words(url, "a whole tar archive; run again"),
        gzip.open(archive) as stream,
        tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream, most)), mode="r:") as bundle,
    ):
        members = _wanted({member.name: member for member in _counted(bundle) if member.isfile()}, url, files)
        sizes = [member.size for member in members.values()]
        opened = cast(Callable[[Any], IO[bytes]], bundle.extractfile)
        _write_members(members, sizes, opened, url, output, most)


def _unpack_gzip(archive: Path, url: str, files: Sequence[str], output: Path) -> None:
    most = most_unpacked(archive.stat().st_size)
    with (
        _in_words(url, "a whole gzip file; run again"),
        whole_files(output / files[0]) as (temporary,),
        gzip.open(archive) as source,
        temporary.open("wb") as sink,
    ):
        _copy(source, sink, most)


def _take_file(file: Path, url: str, files: Sequence[str], output: Path) -> None:
    with whole_files(output / files[0]) as (temporary,):
        shutil.copyfile(file, temporary)


@contextmanager
def _in_words(url: str, kind: str) -> Iterator[None]:
    try:
        yield
    except _TooLargeError as error:
        raise BioHiCLError(f"{url}: {error}; not unpacked") from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, RecursionError):
        raise BioHiCLError(f"{url}: what came is not {kind}") from None


def _counted(members: Iterable[Any]) -> Iterator[Any]:
    for number, member in enumerate(members):
        if number == MOST_MEMBERS:
            raise _TooLargeError(f"has more than {MOST_MEMBERS:,} members")
        yield member


def _wanted(members: dict[str, Any], url: str, files: Sequence[str]) -> dict[str, Any]:
    """By the file that is asked for its member: at that path, or within one folder."""
    found: dict[str, Any] = {}
    for name, member in members.items():
        parts = PurePosixPath(name).parts
        for depth in (0, 1):
            inner = "/".join(parts[depth:])
            if inner in files and inner not in found:
                found[inner] = member
    missing = [file for file in files if file not in found]
    if missing:
        raise BioHiCLError(f"{url}: the archive has no {', '.join(missing)}; check `kind`, `layout` and `split`")
    return {file: found[file] for file in files}


def _write_members(
    members: dict[str, Any],
    sizes: Sequence[int],
    opened: Callable[[Any], IO[bytes]],
    url: str,
    output: Path,
    most: int,
) -> None:
    """Only members that are asked for are read, each to a path of our own making: an archive cannot write anywhere
    else."""
    if sum(sizes) > most:
        raise _TooLargeError(f"unpacks to more than {most:,} bytes")
    with whole_files(*(output / file for file in members)) as temporaries:
        for (file, member), temporary in zip(members.items(), temporaries, strict=True):
            try:
                with opened(member) as source, temporary.open("wb") as sink:
                    _copy(source, sink, most)
            except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError):
                raise BioHiCLError(f"{url}: {file} in the archive is damaged; run again") from None


def _copy(source: _Readable, sink: BinaryIO, most: int) -> None:
    """Copies at most ``most`` bytes: what an archive says of its sizes is not believed."""
    size = 0
    while piece := source.read(COPIED_BYTES):
        size += len(piece)
        if size > most:
            raise _TooLargeError(f"unpacks to more than {most:,} bytes")
        sink.write(piece)


# How a benchmark's address ends: how such a file begins, and how it is unpacked.
ARCHIVES = {
    ".zip": (ZIP_MAGIC, _unpack_zip),
    ".tar.gz": (GZIP_MAGIC, _unpack_tar),
    ".jsonl.gz": (GZIP_MAGIC, _unpack_gzip),
    ".json": (JSON_MAGIC, _take_file),
}
