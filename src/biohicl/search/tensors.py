"""Arrays and a few words in one file, mapped into memory: safetensors, which holds no code.

Goes in: named arrays and metadata. Comes out: a file, whole or absent; and the arrays again, read when they are used.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.errors import BioHiCLError
from biohicl.storage import safetensors_header, whole_files

ABOUT = "about"
# Of libraries, connections and others.
OTHER_FILES = 1_000
# Of the types that the format knows those that are written here.
DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "F32": "<f4",
        "I8": "|i1",
        "I16": "<i2",
        "I32": "<i4",
        "I64": "<i8",
        "U8": "|u1",
        "U16": "<u2",
        "U64": "<u8",
    }.items()
}


def write_tensors(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any], output: Path) -> None:
    """Writes ``output``; the values of ``metadata`` are whatever JSON can hold."""
    from safetensors.numpy import save

    # One word of JSON: several would be written in another order each time.
    words = {ABOUT: json.dumps(metadata, ensure_ascii=False, sort_keys=True)}
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with whole_files(output) as (temporary,):
        # Written by itself, safetensors would make it readable for nobody else.
        temporary.write_bytes(save(arrays, words))


def allow_open_files(count: int) -> None:
    """Raises this process's limit, as far as the system lets it, where it is below ``count`` and some more. A file
    that is mapped stays open."""
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES if most == resource.RLIM_INFINITY else min(count + OTHER_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class TensorFile:
    """The arrays of a file by name; ``metadata``: what was said beside them.

    Raises :class:`BioHiCLError` where the file is missing, cut short or something else; ``how``: how it is made.
    """

    def __init__(self, file: Path, how: str = "snakemake --cores 2 index") -> None:
        self.file = file
        try:
            # Opened once: it may be replaced meanwhile.
            with open(file, "rb") as stream:
                header, self._start = safetensors_header(stream)
                self._bytes = np.memmap(stream, dtype=np.uint8, mode="r")
            self.metadata: dict[str, Any] = json.loads(header.pop("__metadata__")[ABOUT])
            self._header: dict[str, Any] = header
        except FileNotFoundError:
            raise BioHiCLError(f"{file}: no such file; make it with: {how}") from None
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise BioHiCLError(f"{file}: too many files are open; allow more of them: ulimit -n 20000") from None
            raise BioHiCLError(f"{file}: cannot be read: {error.strerror}") from None
        except (BioHiCLError, ValueError, TypeError, KeyError):
            raise BioHiCLError(
                f"{file}: is damaged, or no file of the index; remove it, and make it again with: {how}"
            ) from None

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """The array, or None where there is none of that name."""
        return self[name] if name in self._header else None

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The array, mapped: what is not looked at is not read."""
        if name not in self._header:
            raise BioHiCLError(f"{self.file}: has no '{name}'; remove it, and make it again")
        entry = self._header[name]
        first, last = (self._start + offset for offset in entry["data_offsets"])
        found: npt.NDArray[Any] = self._bytes[first:last].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return np.asarray(found)
