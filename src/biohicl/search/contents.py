"""What an index consists of: its shards in order, which records are current, and what it was made from.

Goes in: the corpus, and the parts of each PubMed file. Comes out: one small file that says all this; the records that
are not current stay in the shards, and a mask leaves them out when somebody asks. So an update encodes the records of
its own file alone.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.encoder.vectors import fingerprint
from biohicl.errors import BioHiCLError
from biohicl.progress import say, track
from biohicl.pubmed.current import read_current
from biohicl.pubmed.invented import is_invented
from biohicl.search.postings import Postings, hash_of
from biohicl.search.shards import Shard
from biohicl.search.tensors import TensorFile, allow_open_files, write_tensors
from biohicl.search.texts import NO_YEAR, Records, type_key
from biohicl.storage import read_json

REBUILD = "snakemake --cores 2 index"
# Where the parts lie below the project's root.
TEXTS = Path("results/texts")
INDEXES = Path("results/index")
INDEX_FILE = "index.safetensors"
# Vectors, postings and records stay open.
PARTS_OF_A_FILE = 3
CORPUS = Path("results/corpus/current.parquet")


def texts_files(root: Path, name: str) -> tuple[Path, Path]:
    """Records and postings of a PubMed file."""
    return root / TEXTS / f"{name}.records.arrow", root / TEXTS / f"{name}.postings.safetensors"


def find_index(root: Path, model: str | None = None) -> Path:
    """The folder of a project's index: of ``model``, or the only one there is."""
    folder = root / INDEXES
    found = [folder / model] if model is not None else sorted(file.parent for file in folder.glob(f"*/{INDEX_FILE}"))
    if not found:
        raise BioHiCLError(f"{folder}: has no index; make one with: {REBUILD}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BioHiCLError(f"{folder}: has several indexes ({names}); choose one: --index {found[0]}")
    return found[0]


def write_index(
    model: Path,
    current: Path,
    release: Path,
    shards: Sequence[Path],
    bm25: Mapping[str, float],
    tuned: Path,
    output: Path,
    *,
    root: Path,
    task: str = "",
) -> None:
    """Writes ``output`` over the shards, whose texts lie under ``root``.

    ``current``: the corpus. ``release``: what list-pubmed recorded. ``bm25``: k1 and b. ``tuned``: how the model is
    joined with BM25 (tune-hybrids). Raises :class:`BioHiCLError` where the parts do not belong together.
    """
    names = [shard.stem for shard in shards]
    allow_open_files(PARTS_OF_A_FILE * len(names))
    of_model = fingerprint(model)
    opened = [_checked(shard, of_model, root) for shard in shards]
    # A file without records says nothing of the vectors.
    first = next((shard for shard, _ in opened if shard.rows), opened[0][0])
    rows = [shard.rows for shard, _ in opened]
    offsets = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    mask = np.zeros(int(offsets[-1]), dtype=bool)
    _mark_current(current, names, offsets, opened, mask)
    lengths, types, years = 0, Counter[str](), []
    for place, (_, texts) in track(enumerate(opened), len(opened), "counting", "files"):
        part = mask[offsets[place] : offsets[place + 1]]
        part &= texts["has_text"].astype(bool)
        lengths += int(texts["lengths"][part].sum(dtype=np.int64))
        types += _types_of(texts, part)
        known = texts["years"][part]
        years += [int(bound) for bound in _bounds(known[known != NO_YEAR])]
    count = int(mask.sum())
    listing = read_json(release)
    metadata = {
        "files": [{"name": name, "rows": number} for name, number in zip(names, rows, strict=True)],
        "model": model.name,
        "encoder": of_model,
        "task": task,
        "storage": first.storage,
        "dimension": first.dimension,
        "citations": count,
        "years": [min(years, default=None), max(years, default=None)],
        "publication_types": dict(sorted(types.items())),
        "bm25": {**bm25, "mean_length": lengths / count if count else 0.0},
        "hybrid": {method: block["parameter"] for method, block in read_json(tuned).items()},
        "release": listing["year"],
        "corpus_bytes": current.stat().st_size,
    }
    write_tensors({"current": np.packbits(mask)}, metadata, output)
    say(f"{output}: {count:,} citations of {int(offsets[-1]):,} records in {len(names):,} files")


def _checked(file: Path, of_model: str, root: Path) -> tuple[Shard, TensorFile]:
    shard = Shard(file)
    _, postings = texts_files(root, file.stem)
    texts = TensorFile(postings)
    if shard.encoder != of_model:
        raise BioHiCLError(f"{file}: was encoded by another model; remove it, and make it again with: {REBUILD}")
    if shard.rows != texts.metadata["rows"]:
        raise BioHiCLError(
            f"{file} has {shard.rows:,} records, and {postings} {texts.metadata['rows']:,}: they are of different "
            f"issues of the file; remove both, and make them again with: {REBUILD}"
        )
    return shard, texts


def _mark_current(
    current: Path,
    names: Sequence[str],
    offsets: npt.NDArray[np.int64],
    opened: Sequence[tuple[Shard, TensorFile]],
    mask: npt.NDArray[np.bool_],
) -> None:
    """Sets ``mask`` where a record is the current one; by its PMID it is seen that it is the record that was meant."""
    ranks = {name: rank for rank, name in enumerate(names)}
    for of_file, batch in read_current(current, ranks, ["pmid", "position"]):
        if len(ranks) > len(names):
            lacking = list(ranks)[len(names)]
            raise BioHiCLError(f"{current}: has citations of {lacking}, which has no shard; make it: {REBUILD}")
        pmids, positions = (batch[name].to_numpy().astype(np.int64) for name in ("pmid", "position"))
        # A few files at a time: PMIDs rise with the files' numbers.
        for rank in np.unique(of_file).tolist():
            chosen = of_file == rank
            rows, known = positions[chosen], opened[rank][1]["pmids"]
            if rows.max() >= len(known) or (known[rows] != pmids[chosen]).any():
                raise BioHiCLError(
                    f"{current}: does not fit {names[rank]} as it was indexed: the file was issued again; "
                    f"make its parts again with: {REBUILD}"
                )
            mask[offsets[rank] + rows] = True


def _types_of(texts: TensorFile, mask: npt.NDArray[np.bool_]) -> Counter[str]:
    postings = Postings.read(texts, "types")
    names = texts.metadata["publication_types"]
    return Counter({name: int(mask[postings.rows_of(hash_of(type_key(name)))].sum()) for name in names})


def _bounds(years: npt.NDArray[np.int16]) -> list[np.int16]:
    return [years.min(), years.max()] if len(years) else []


@dataclass(frozen=True)
class FileParts:
    """The parts of one PubMed file, each opened when it is first asked for. ``rows``: records; ``first``: how many lie
    before them in the index. Raises :class:`BioHiCLError` for a part that was made anew, of another model or of another
    issue of the file, after the index was."""

    name: str
    rows: int
    first: int
    encoder: str
    folder: Path
    root: Path

    @functools.cached_property
    def vectors(self) -> Shard:
        shard = Shard(self.folder / f"{self.name}.safetensors")
        if (shard.rows, shard.encoder) != (self.rows, self.encoder):
            raise self._changed(shard.file)
        return shard

    @functools.cached_property
    def texts(self) -> TensorFile:
        tensors = TensorFile(texts_files(self.root, self.name)[1])
        if tensors.metadata["rows"] != self.rows:
            raise self._changed(tensors.file)
        return tensors

    def _changed(self, file: Path) -> BioHiCLError:
        return BioHiCLError(f"{file}: was made anew after the index was; bring that up to date with: {REBUILD}")

    @functools.cached_property
    def pmid_range(self) -> tuple[int, int]:
        """The lowest and the highest PMID; (1, 0) of no records."""
        pmids = self.texts["pmids"]
        return (int(pmids.min()), int(pmids.max())) if len(pmids) else (1, 0)

    @functools.cached_property
    def terms(self) -> Postings:
        return Postings.read(self.texts, "terms")

    @functools.cached_property
    def headings(self) -> Postings:
        return Postings.read(self.texts, "headings")

    @functools.cached_property
    def types(self) -> Postings:
        return Postings.read(self.texts, "types")

    @functools.cached_property
    def records(self) -> Records:
        return Records(texts_files(self.root, self.name)[0])


class Contents:
    """An index, open. ``files``: its parts in order; ``current`` (records,): which of all records are found."""

    def __init__(self, file: Path) -> None:
        tensors = TensorFile(file)
        said = tensors.metadata
        if "files" not in said or "storage" not in said:
            raise BioHiCLError(f"{file}: no index; make one with: {REBUILD}")
        self.file = file
        self.about: dict[str, Any] = said
        parents = file.resolve().parents
        if len(parents) < 4:
            raise BioHiCLError(
                f"{file}: does not lie in {INDEXES}/<model> of a project, where its other parts are found"
            )
        self.root = parents[3]
        folder = file.parent / said["storage"]
        rows = [entry["rows"] for entry in said["files"]]
        allow_open_files(PARTS_OF_A_FILE * len(rows))
        ends = np.cumsum(rows, dtype=np.int64)
        self._firsts = ends - rows
        self.files = [
            FileParts(entry["name"], entry["rows"], first, said["encoder"], folder, self.root)
            for entry, first in zip(said["files"], self._firsts.tolist(), strict=True)
        ]
        self.records = int(ends[-1]) if rows else 0
        self.current: npt.NDArray[np.bool_] = np.unpackbits(tensors["current"], count=self.records).astype(bool)

    @property
    def is_invented(self) -> bool:
        """Whether its citations are the built-in sample's, which PubMed does not have."""
        return is_invented(file["name"] for file in self.about["files"])

    @property
    def is_outdated(self) -> bool:
        """Whether the corpus that lies beside it is another one than it was made of."""
        corpus = self.root / CORPUS
        return corpus.is_file() and corpus.stat().st_size != self.about["corpus_bytes"]

    def part(self, row: int) -> tuple[FileParts, int]:
        """The file of a row of the index, and the row in that file."""
        place = int(self.places(np.array([row]))[0])
        return self.files[place], row - self.files[place].first

    def places(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Of rows of the index the places in ``files`` of the files that they are of."""
        found: npt.NDArray[np.int64] = np.searchsorted(self._firsts, rows, side="right") - 1
        return found

    def row_of(self, pmid: int) -> int | None:
        """The row of a citation's current record; None where there is none."""
        for file in self.files:
            low, high = file.pmid_range
            if not low <= pmid <= high:
                continue
            for row in np.flatnonzero(file.texts["pmids"] == pmid).tolist():
                if self.current[file.first + row]:
                    return int(file.first + row)
        return None
