"""What the report page is made from: the files that it reads, and the parts of them that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biohicl.report.job_graph import RECORDS
from biohicl.storage import read_json


@dataclass(frozen=True)
class Sources:
    """The files and folders behind the page.

    ``nodes``: model folders. ``current``, ``description``, ``corpus_anomalies``: tables of the corpus. ``pubmed``,
    ``mesh``: the folders of their tables. ``excluded``: what each selection leaves out; ``overlaps``: what selections
    share with benchmarks all the same. ``similarities``: SimE by SimL, a table a node. ``ablations``, ``efficiency``,
    ``development``: tables of targets beside `all`, None where they were not run. ``records``: Snakemake's.
    """

    summary: Path
    nodes: Sequence[Path]
    current: Path
    description: Path
    corpus_anomalies: Path
    pubmed: Path
    mesh: Path
    pubmed_record: Path
    excluded: Sequence[Path] = ()
    overlaps: Sequence[Path] = ()
    similarities: Sequence[Path] = ()
    ablations: Path | None = None
    efficiency: Path | None = None
    development: Path | None = None
    records: Path = RECORDS

    def beside(self, name: str) -> Path:
        """A table that summary wrote beside the scores."""
        return self.summary.with_name(f"{name}.parquet")

    def release(self) -> dict[str, Any]:
        """The record of the PubMed release: year and files."""
        found: dict[str, Any] = read_json(self.pubmed_record)
        return found

    def quarantine(self) -> list[Path]:
        """The tables of citations left out, a file each."""
        return [self.pubmed / "quarantine" / f"{file['name']}.parquet" for file in self.release()["files"]]

    def files(self) -> Iterator[Path]:
        """Everything that is read."""
        yield from (self.summary, *(self.beside(name) for name in ("variants", "seeds", "left_out")))
        yield from (*self.nodes, self.current, self.description, self.corpus_anomalies, self.pubmed_record)
        yield from (*self.quarantine(), self.mesh / "hierarchy.parquet", self.mesh / "anomalies.parquet")
        yield from (*self.excluded, *self.overlaps, *self.similarities)
        yield from (path for path in (self.ablations, self.efficiency, self.development) if path is not None)
