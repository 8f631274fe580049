"""Sample files whose bytes depend on their content alone."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

_STORED_BLOCK = 65_535


def stored_gzip(content: bytes) -> bytes:
    """``content`` as a gzip file of stored blocks (RFC 1951, 3.2.4).

    Compressed bytes differ between builds of zlib; stored ones do not. Any gzip reader takes them.
    """
    blocks = [content[start : start + _STORED_BLOCK] for start in range(0, len(content), _STORED_BLOCK)] or [b""]
    pieces = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for number, block in enumerate(blocks, start=1):
        pieces.append(struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block)
    pieces.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(pieces)


def write_gzip(path: Path, text: str) -> None:
    """Writes ``text`` as stored gzip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stored_gzip(text.encode("utf-8")))


def write_md5(path: Path) -> None:
    """Writes NLM's sidecar: ``MD5(name)= digest``."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    path.with_name(path.name + ".md5").write_text(f"MD5({path.name})= {digest}\n", encoding="ascii")
