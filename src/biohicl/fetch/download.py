"""Files brought here: under their final name only once whole and verified.

Goes in: a place (server or folder). Comes out: a PubMed or MeSH file, a benchmark's files, a backbone's folder.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from biohicl.errors import BioHiCLError
from biohicl.fetch.places import as_url, joined, open_stream, read_text
from biohicl.progress import say
from biohicl.storage import sha256_of, whole_files

GZIP_MAGIC = b"\x1f\x8b"
LARGEST_ARCHIVE_BYTES = 20 << 30


def fetch_pubmed_file(mirrors: Sequence[str], kind: str, name: str, output: Path) -> None:
    """``<mirror>/<kind>/<name>.xml.gz``, compared with the .md5 beside it."""
    _from_first_mirror(mirrors, (kind, f"{name}.xml.gz"), output, with_md5=True)


def fetch_mesh_file(mirrors: Sequence[str], name: str, output: Path) -> None:
    """``<mirror>/<name>.gz``; NLM publishes no checksum for it, so its SHA-256 is said for the record."""
    _from_first_mirror(mirrors, (f"{name}.gz",), output, with_md5=False)
    say(f"{output}: sha256 {sha256_of(output)}")


def fetch_benchmark(url: str | None, path: str | None, sha256: str | None, files: Sequence[str], output: Path) -> None:
    """Brings ``files`` (paths inside the benchmark's folder, such as ``qrels/test.tsv``) to ``output``.

    The source is a zip archive (``url``), whose single top folder is entered, or a folder (``path``).
    """
    if path is not None:
        folder = Path(path).expanduser()
        _check_benchmark_folder(folder, files)
        with whole_files(*(output / file for file in files)) as temporaries:
            for file, temporary in zip(files, temporaries, strict=True):
                shutil.copyfile(folder / file, temporary)
        return
    assert url is not None
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive.zip"
        with archive.open("wb") as sink, open_stream(url) as pieces:
            for piece in pieces:
                sink.write(piece)
        found = sha256_of(archive)
        if sha256 is not None and found != sha256:
            raise BioHiCLError(f"{url}: its SHA-256 is {found}, but config.yaml expects {sha256}")
        say(f"{url}: sha256 {found}")
        _unpack(archive, url, files, output)


def fetch_backbone(hub: str | None, path: str | None, revision: str | None, output: Path) -> None:
    """Brings a text encoder's folder to ``output`` (which must exist): weights as safetensors, tokenizer, configs."""
    if path is not None:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise BioHiCLError(f"{folder}: no such folder; a backbone's `path` names a folder with its weights")
        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            missing = "config.json" if not (folder / "config.json").is_file() else "model.safetensors"
            raise BioHiCLError(
                f"{folder}: has no {missing}. A backbone's folder holds config.json, model.safetensors and a "
                "tokenizer; weights in .bin (pickle) are not read: transformers' save_pretrained writes safetensors"
            )
        shutil.copytree(folder, output, dirs_exist_ok=True, copy_function=shutil.copyfile)
        return
    assert hub is not None
    hub_snapshot(hub, revision, output)
    shutil.rmtree(output / ".cache", ignore_errors=True)


def hub_snapshot(hub: str, revision: str | None = None, folder: Path | None = None) -> Path:
    """A model's files from the hub, in ``folder`` or else in the hub client's own cache; returns where they are."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json"]
    try:
        where = snapshot_download(
            hub, revision=revision, local_dir=folder, allow_patterns=wanted, ignore_patterns=["onnx/*", "openvino/*"]
        )
    except RepositoryNotFoundError:
        raise BioHiCLError(f"{hub}: no such model on the hub; check the name") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BioHiCLError(
            f"{hub}: cannot be had from the hub ({first_line}). Check the network, or put the model's folder "
            "here and name it as this backbone's `path` in config.yaml"
        ) from None
    return Path(where)


def _from_first_mirror(mirrors: Sequence[str], parts: tuple[str, ...], output: Path, with_md5: bool) -> None:
    failures = []
    for mirror in mirrors:
        url = joined(as_url(mirror), *parts)
        try:
            _fetch_one(url, output, with_md5)
            return
        except BioHiCLError as error:
            failures.append(str(error))
            say(f"{error}" + ("; trying the next mirror" if mirror != mirrors[-1] else ""))
    raise BioHiCLError("; ".join(failures))


def _fetch_one(url: str, output: Path, with_md5: bool) -> None:
    expected = _md5_of_sidecar(url) if with_md5 else None
    digest = hashlib.md5(usedforsecurity=False)
    with whole_files(output) as (temporary,):
        with temporary.open("wb") as sink, open_stream(url) as pieces:
            for piece in pieces:
                digest.update(piece)
                sink.write(piece)
        with temporary.open("rb") as stream:
            if stream.read(2) != GZIP_MAGIC:
                raise BioHiCLError(f"{url}: what came is not a gzip file")
        if expected is not None and digest.hexdigest() != expected:
            raise BioHiCLError(f"{url}: its MD5 is {digest.hexdigest()}, but {url}.md5 says {expected}; fetch it again")


def _md5_of_sidecar(url: str) -> str:
    text = read_text(url + ".md5")
    match = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if not match:
        raise BioHiCLError(f"{url}.md5: holds no MD5 checksum")
    return match[0].lower()


def _check_benchmark_folder(folder: Path, files: Sequence[str]) -> None:
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such folder; a benchmark's `path` names a folder with its files")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        here = sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*") if entry.is_file())
        holds = f"it holds {', '.join(here[:6])}" if here else "it is empty"
        raise BioHiCLError(f"{folder}: has no {', '.join(missing)}; {holds}. Check `kind`, `path` and `split`")


def _unpack(archive: Path, url: str, files: Sequence[str], output: Path) -> None:
    try:
        bundle = zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        raise BioHiCLError(f"{url}: what came is not a zip archive") from None
    with bundle:
        # Only members that are asked for are read, each to a path of our own making: an archive cannot
        # write anywhere else.
        members: dict[str, zipfile.ZipInfo] = {}
        for info in bundle.infolist():
            parts = PurePosixPath(info.filename).parts
            for depth in (0, 1):
                inner = "/".join(parts[depth:])
                if inner in files and inner not in members:
                    members[inner] = info
        missing = [file for file in files if file not in members]
        if missing:
            raise BioHiCLError(f"{url}: the archive has no {', '.join(missing)}; check `kind` and `split`")
        if sum(info.file_size for info in members.values()) > LARGEST_ARCHIVE_BYTES:
            raise BioHiCLError(f"{url}: unpacks to more than {LARGEST_ARCHIVE_BYTES >> 30} GB; not unpacked")
        with whole_files(*(output / file for file in files)) as temporaries:
            for file, temporary in zip(files, temporaries, strict=True):
                with bundle.open(members[file]) as source, temporary.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
