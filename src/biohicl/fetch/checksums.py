"""The checksums that NLM publishes: a file's MD5 in the ``.md5`` beside it.

Goes in: the address of a file. Comes out: what its ``.md5`` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from biohicl.errors import BioHiCLError
from biohicl.fetch.https import PassingError
from biohicl.fetch.places import local_path, read_text
from biohicl.progress import track

# As many as the workflow's downloads.
AT_A_TIME = 4

_MD5 = re.compile(r"(?:MD5 ?\(([^()]+)\) ?= ?)?([0-9a-fA-F]{32})(?:\s+\*?(\S+))?")


def md5_beside(url: str) -> str:
    """The checksum in ``url``.md5: ``MD5(name)= digest`` as NLM writes it, ``digest  name``, or the digest alone."""
    name = url.rsplit("/", 1)[-1]
    path = local_path(f"{url}.md5")
    if path is not None and not path.exists():
        raise BioHiCLError(f"{path}: no such file, and each file needs one: md5sum {name} > {name}.md5")
    match = _MD5.fullmatch(read_text(f"{url}.md5").strip())
    if not match or any(given and PurePosixPath(given).name != name for given in match.group(1, 3)):
        raise BioHiCLError(
            f"{url}.md5: holds no MD5 checksum of {name}; without one the file cannot be verified: use another mirror"
        )
    return match[2].lower()


def all_md5_beside(urls: Sequence[str]) -> list[str | None]:
    """:func:`md5_beside` of each, None where there is none. A server that is busy is an error."""

    def ask(url: str) -> str | None:
        try:
            return md5_beside(url)
        except PassingError:
            raise
        except BioHiCLError:
            # Whoever fetches the file will be told.
            return None

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(track(pool.map(ask, urls), len(urls), "reading checksums", "files"))
