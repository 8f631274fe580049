"""A described model to a model hub, in one commit.

Goes in: a folder with card and checksums, perhaps its ONNX form, a name on the hub, and a token in HF_TOKEN or from the
hub's own login. Comes out: a commit there whose files are the folder's. How bytes travel is the hub's client's business
(by plain HTTP it is what the tests see; with hf_xet installed it takes that, unless HF_HUB_DISABLE_XET=1).

What an earlier push brought and the folder has no more is deleted in the same commit, or old weights might be loaded
beside the new card; what others put there stays.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.publishing.checksums import CARD, CHECKSUMS, changes, checksum_text, files_of, read_checksums
from biohicl.storage import read_json, sha256_of

SNAPSHOTS = "snapshots/"
ONNX = "onnx"
WORDS = {
    401: "the hub does not accept the token: make a new one there, with the right to write",
    403: "the token has no right to write there: check its rights, and the owner's name",
    409: "the hub is busy with another change of it: try again",
    412: "somebody changed it meanwhile: look at what is there, and push again",
    413: "the hub takes no files of this size there",
    429: "the hub has had too many requests of you: try again later",
}


def push(
    folder: Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    onnx: Path | None = None,
    snapshots: bool = False,
) -> str:
    """Uploads ``folder`` as the model ``name`` (owner/name), which is made where it is not there; returns the commit.

    ``revision``: a branch, made where it is not there; None: the main one. ``onnx``: what export-onnx wrote of it, to
    onnx/. ``snapshots``: with the weights on the way. Raises :class:`BioHiCLError` before anything is sent where the
    folder is not what was described; the card alone may have been written on since.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise BioHiCLError(f"{name}: not a name on a hub; write owner/name")
    files = _files(folder, onnx, snapshots)
    sums = {place: sha256_of(file) for place, file in files.items()}
    token = _token()
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _in_words(name, token), warnings.catch_warnings():
        # It takes the training's log for a data set.
        warnings.filterwarnings("ignore", message=".*commit a data file")
        head = _ready(api, name, private, revision)
        gone = _brought_before(api, name, head) - files.keys() - {CHECKSUMS}
        say(f"{name}: sending {len(files) + 1} files, {sum(file.stat().st_size for file in files.values()):,} bytes")
        commit = _commit(api, name, files, checksum_text(sums), gone, revision, head)
    say(f"{name}: {commit.commit_url}")
    return str(commit.oid)


def _files(folder: Path, onnx: Path | None, snapshots: bool) -> dict[str, Path]:
    """By their place on the hub the files that go there, but for the checksums."""
    if not (folder / "config.json").is_file():
        what = "is no model: it has no config.json" if folder.is_dir() else "no such folder"
        raise BioHiCLError(f"{folder}: {what}; models are in results/models/")
    _refuse_links(folder)
    card = f"results/model_cards/{folder.name}.md"
    again = f"describe it again: snakemake --cores 1 {card} --forcerun describe_node (and your overlays)"
    if not (folder / CARD).is_file() or not (folder / CHECKSUMS).is_file():
        raise BioHiCLError(f"{folder}: has no model card or no {CHECKSUMS}; {again.replace(' again', '', 1)}")
    changed = [words for words in changes(folder) if words != f"{CARD} is another"]
    if changed:
        raise BioHiCLError(f"{folder}: is not what was described: {', '.join(changed[:3])}; {again}")
    names = [name for name in files_of(folder) if snapshots or not name.startswith(SNAPSHOTS)]
    files = {name: folder / name for name in names}
    return files | ({f"{ONNX}/{name}": onnx / name for name in _files_of_onnx(onnx, folder)} if onnx else {})


def _files_of_onnx(onnx: Path, folder: Path) -> list[str]:
    _refuse_links(onnx)
    if not (onnx / "onnx.json").is_file():
        raise BioHiCLError(f"{onnx}: has no onnx.json; make it with biohicl export-onnx {folder} --output {onnx}")
    weights = {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}
    if read_json(onnx / "onnx.json").get("made_from") != weights:
        raise BioHiCLError(f"{onnx}: is made from other weights than those of {folder}; export it again")
    return files_of(onnx)


def _refuse_links(folder: Path) -> None:
    if links := [path for path in sorted(folder.rglob("*")) if path.is_symlink()]:
        raise BioHiCLError(f"{links[0]}: is a link, and what it leads to would be published; put the file itself there")


def _token() -> str:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise BioHiCLError("HF_HUB_OFFLINE is set, so nothing can be sent; take it out of the environment")
    token = get_token()
    if not token:
        raise BioHiCLError(
            "no token for the hub: make one there that may write (settings, access tokens), and put it into HF_TOKEN, "
            "or log in with: hf auth login"
        )
    return str(token)


def _ready(api: Any, name: str, private: bool, revision: str | None) -> str | None:
    """Makes model and branch where they are not there; returns the commit at the branch's head."""
    api.create_repo(name, private=private or None, exist_ok=True)
    info = api.model_info(name)
    if private and not info.private:
        raise BioHiCLError(f"{name}: is there already, and public; make it private on the hub, or leave out --private")
    if revision is not None:
        api.create_branch(name, branch=revision, exist_ok=True)
        info = api.model_info(name, revision=revision)
    return info.sha if info.sha is None else str(info.sha)


def _brought_before(api: Any, name: str, head: str | None) -> set[str]:
    """What the checksums there name, of an earlier push, and is still there."""
    there = set(api.list_repo_files(name, revision=head))
    if CHECKSUMS not in there:
        return set()
    text = Path(api.hf_hub_download(name, CHECKSUMS, revision=head)).read_text("utf-8")
    return read_checksums(text, f"{name}/{CHECKSUMS}").keys() & there


def _commit(
    api: Any, name: str, files: dict[str, Path], sums: str, gone: set[str], revision: str | None, head: str | None
) -> Any:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations = [CommitOperationAdd(place, str(file)) for place, file in files.items()]
    operations.append(CommitOperationAdd(CHECKSUMS, sums.encode()))
    operations += [CommitOperationDelete(place) for place in sorted(gone)]
    message = f"{files[CARD].parent.name}, by biohicl push"
    return api.create_commit(name, operations, commit_message=message, revision=revision, parent_commit=head)


@contextmanager
def _in_words(name: str, token: str) -> Iterator[None]:
    """Whatever the client raises, as an error that says what to do and holds no token."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except BioHiCLError:
        raise
    except Exception as error:
        # What is raised of the network, and around an answer of the hub, differs between the client's versions.
        chain = [error, *filter(None, (error.__cause__,))]
        answered = next((one for one in chain if isinstance(one, HfHubHTTPError)), None)
        if answered is None:
            said = str(chain[-1]).strip() or type(chain[-1]).__name__
            words = (
                f"could not be sent to {constants.ENDPOINT} ({said.splitlines()[0]}). Check the network, and "
                "HF_ENDPOINT where it is set"
            )
        else:
            status, said = answered.response.status_code, " ".join((answered.server_message or "").split())
            failed = f"the hub fails ({status}): try again later"
            words = WORDS.get(status) or (failed if status >= 500 else f"the hub refuses it ({status})")
            words += f" (it says: {said[:200]})" if said else ""
        raise BioHiCLError(f"{name}: {words}".replace(token, "***")) from None
