"""Files brought here: under their final name only once whole and verified.

Goes in: a place (server or folder). Comes out: a PubMed or MeSH file, a benchmark's files, a backbone's folder.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from biohicl.errors import BioHiCLError
from biohicl.fetch.checksums import md5_beside
from biohicl.fetch.partial import Partial
from biohicl.fetch.places import bring, first_that_serves, joined, local_path
from biohicl.fetch.unpacking import ARCHIVES, LARGEST_ARCHIVE_BYTES, most_unpacked
from biohicl.progress import say
from biohicl.storage import GZIP_MAGIC, sha256_of, whole_files

# What is wrong with a file that has come, or None.
Fault = Callable[[Partial], str | None]

# A PubMed file has some 50 MB, MeSH 20 MB.
LARGEST_FILE_BYTES = 2 << 30
# What is taken of a model, in its subfolders too: no pickles, and no code.
MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
# The same model for others' runtimes.
OTHER_FORMS = ("onnx", "openvino")


def fetch_pubmed_file(mirrors: Sequence[str], kind: str, name: str, output: Path) -> None:
    """``<mirror>/<kind>/<name>.xml.gz``, compared with the .md5 beside it."""

    def fetch(base: str) -> None:
        url = joined(base, kind, f"{name}.xml.gz")
        _fetch_verified(url, output, lambda: md5_beside(url), _md5_fault)

    first_that_serves(mirrors, fetch)


def fetch_mesh_file(mirrors: Sequence[str], name: str, output: Path) -> None:
    """``<mirror>/<name>.gz``, and its SHA-256 in ``<output>.sha256``, in the format of sha256sum.

    NLM publishes no checksum for it, and replaces it within a year: a hash that changed is said.
    """
    first_that_serves(
        mirrors, lambda base: _fetch_verified(joined(base, f"{name}.gz"), output, lambda: None, _gzip_fault)
    )
    record = output.with_name(f"{output.name}.sha256")
    before = record.read_text(encoding="utf-8").split()[:1] if record.exists() else []
    found = sha256_of(output)
    with whole_files(record) as (temporary,):
        temporary.write_text(f"{found}  {output.name}\n", encoding="utf-8")
    if before and before != [found]:
        say(f"{output.name} changed: sha256 {before[0]} -> {found}")
    else:
        say(f"{output}: sha256 {found}")


def fetch_benchmark(
    url: str | None, path: str | None, sha256: str | None, files: Sequence[str], output: Path
) -> tuple[Path, str | None]:
    """A folder with ``files`` (paths inside it, such as ``qrels/test.tsv``), and the SHA-256 of what came.

    From ``url``, an archive (.zip, .tar.gz), whose top folder is entered, or one file (.json, .jsonl.gz), they are
    brought to ``output``. A folder (``path``) is taken as it is, without a hash. ``sha256``: what has to come.
    """
    if path is not None:
        folder = Path(path).expanduser()
        _check_benchmark_folder(folder, files)
        return folder, None
    assert url is not None
    magic, unpack = next(how for ending, how in ARCHIVES.items() if url.endswith(ending))
    with Partial(output.with_name(f"{output.name}.part"), sha256) as part:
        bring(url, part, magic, LARGEST_ARCHIVE_BYTES)
        found = sha256_of(part.path)
        try:
            if sha256 is not None and found != sha256:
                raise BioHiCLError(f"{url}: its SHA-256 is {found}, and {sha256} is expected")
            say(f"{url}: sha256 {found}")
            unpack(part.path, url, files, output)
        finally:
            # What came is whole: where it is not what was wanted, it would not be the next time either.
            part.discard()
    return output, found


def fetch_backbone(hub: str | None, path: str | None, revision: str | None, output: Path) -> str | None:
    """Brings a text encoder's folder to ``output`` (which must exist): weights as safetensors, tokenizer, configs.

    Returns the commit on the hub, None for a folder.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise BioHiCLError(f"{folder}: no such folder; a backbone's `path` names a folder with its weights")
        weights = ("model.safetensors", "model.safetensors.index.json")
        has_weights = any((folder / name).is_file() for name in weights)
        if not (folder / "config.json").is_file() or not has_weights:
            missing = "model.safetensors" if (folder / "config.json").is_file() else "config.json"
            raise BioHiCLError(
                f"{folder}: has no {missing}. A backbone's folder holds config.json, model.safetensors and a "
                "tokenizer; weights in .bin (pickle) are not read: transformers' save_pretrained writes safetensors"
            )
        _copy_model(folder, output)
        return None
    assert hub is not None
    # Asked first, and then fetched by the commit: what is recorded is what came.
    commit = _from_hub(hub, lambda: _commit_of(hub, revision))
    hub_snapshot(hub, commit, output)
    shutil.rmtree(output / ".cache", ignore_errors=True)
    return commit


def _copy_model(folder: Path, output: Path) -> None:
    """The files of ``folder`` that belong to a model, and what it says of itself.

    Weights may be links to anywhere. Words, of which a tokenizer makes its vocabulary, may not: that is published with
    what is trained, and a stranger's folder could name a file of this machine that is nobody's business.
    """
    inside = folder.resolve()
    # Where the hub's client keeps what the links of its folders lead to.
    blobs = inside.parent.parent / "blobs" if inside.parent.name == "snapshots" else inside
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        named = any(fnmatch(file.name, pattern) for pattern in (*MODEL_FILES, "README.md"))
        # No pipe either, which would hang.
        if named and file.is_file() and place.parts[0] not in OTHER_FORMS:
            whole = file.resolve()
            if file.suffix != ".safetensors" and not any(map(whole.is_relative_to, (inside, blobs))):
                raise BioHiCLError(f"{file}: is a link to {whole}; put the file itself there, if it is the model's")
            (output / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, output / place)


def hub_snapshot(hub: str, revision: str | None = None, folder: Path | None = None) -> Path:
    """A model's files from the hub, in ``folder`` or else in the hub client's own cache; returns where they are."""
    from huggingface_hub import snapshot_download

    others = [f"{form}/*" for form in OTHER_FORMS]
    return Path(
        _from_hub(
            hub,
            lambda: snapshot_download(
                hub, revision=revision, local_dir=folder, allow_patterns=list(MODEL_FILES), ignore_patterns=others
            ),
        )
    )


def _commit_of(hub: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().model_info(hub, revision=revision).sha)


def _from_hub(hub: str, ask: Callable[[], str]) -> str:
    """What ``ask`` gets from the hub; every failure is an error that says what to do."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return ask()
    except RepositoryNotFoundError:
        raise BioHiCLError(f"{hub}: no such model on the hub; check the name") from None
    except RevisionNotFoundError:
        raise BioHiCLError(f"{hub}: the hub has no such revision; check `revision` in config.yaml") from None
    except Exception as error:
        # Whatever the client's own client raises where there is no network: it differs between its versions.
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BioHiCLError(
            f"{hub}: cannot be had from the hub ({first_line}). Check the network, or put the model's folder "
            "here and name it as this backbone's `path` in config.yaml"
        ) from None


def _fetch_verified(url: str, output: Path, checksum: Callable[[], str | None], fault: Fault) -> None:
    """The gzip file behind ``url``, under its final name only if ``fault`` finds none."""
    for last in (local_path(url) is not None, True):
        # Asked again for the second round: the server's file may have been replaced between the two.
        with Partial(output, checksum()) as part:
            bring(url, part, GZIP_MAGIC, LARGEST_FILE_BYTES)
            wrong = fault(part)
            if wrong is None:
                part.finish()
                return
            part.discard()
        if last:
            raise BioHiCLError(f"{url}: {wrong}; the file there is damaged: run again later, or use another mirror")
        say(f"{url}: {wrong}; fetching it once more, whole")


def _md5_fault(part: Partial) -> str | None:
    with part.path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return None if found == part.checksum else f"its MD5 is {found}, but the .md5 beside it says {part.checksum}"


def _gzip_fault(part: Partial) -> str | None:
    """Where nobody publishes a checksum, gzip's own at the end tells a whole file from one cut off."""
    try:
        most = most_unpacked(part.size)
        with gzip.open(part.path) as stream:
            while stream.read(1 << 20):
                if stream.tell() > most:
                    return f"unpacks to more than {most:,} bytes, which no such file does"
    except (OSError, EOFError, zlib.error) as error:
        return f"not a whole gzip file ({error})"
    return None


def _check_benchmark_folder(folder: Path, files: Sequence[str]) -> None:
    if not folder.is_dir():
        raise BioHiCLError(f"{folder}: no such folder; a benchmark's `path` names a folder with its files")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        here = sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*") if entry.is_file())
        holds = f"it holds {', '.join(here[:6])}" if here else "it is empty"
        raise BioHiCLError(f"{folder}: has no {', '.join(missing)}; {holds}. Check `kind`, `path` and `split`")
