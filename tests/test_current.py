"""The current record of each citation, against a plain model that replays NLM's rule file by file."""

import itertools

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.pubmed.current import current_citations
from biohicl.pubmed.schema import ARTICLES, DELETED
from biohicl.storage import write_parquet

history = st.dictionaries(
    st.tuples(st.sampled_from([2098, 2099]), st.integers(1, 6)),
    st.tuples(
        st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), max_size=6),  # (pmid, version), in file order
        st.lists(st.integers(1, 6), max_size=3),  # deletes
    ),
    min_size=1,
    max_size=5,
)


def name_of(file):
    return f"pubmed{file[0] % 100}n{file[1]:04d}"


def replayed(files):
    """Load file after file in NLM's order: records first, then the file's own deletes."""
    corpus = {}
    for file in sorted(files):
        records, deletes = files[file]
        best = {}
        for position, (pmid, version) in enumerate(records):
            best[pmid] = max(best.get(pmid, (0, 0)), (version, position))
        for pmid, (version, position) in best.items():
            corpus[pmid] = (version, name_of(file), position)
        for pmid in deletes:
            corpus.pop(pmid, None)
    return corpus


def write(folder, files):
    for file, (records, deletes) in files.items():
        rows = [{"pmid": p, "version": v, "position": n} for n, (p, v) in enumerate(records)]
        rows.sort(key=lambda row: (row["pmid"], row["version"], row["position"]))
        write_parquet(pa.Table.from_pylist(rows, ARTICLES), folder / "articles" / f"{name_of(file)}.parquet")
        gone = [{"pmid": p, "version": 1} for p in sorted(deletes)]
        write_parquet(pa.Table.from_pylist(gone, DELETED), folder / "deleted" / f"{name_of(file)}.parquet")


@settings(max_examples=60, deadline=None)
@given(files=history, shuffled=st.randoms(use_true_random=False))
def test_equals_the_replayed_history_in_any_order(tmp_path_factory, files, shuffled):
    folder = tmp_path_factory.mktemp("history")
    write(folder, files)
    names = [name_of(file) for file in files]
    shuffled.shuffle(names)
    found = current_citations([*names, names[0]], folder)
    expected = replayed(files)
    assert found["pmid"].to_list() == sorted(expected)
    assert {row[0]: row[1:] for row in found.iter_rows()} == expected


def test_large_values_keep_apart(tmp_path):
    """The packed key must not let a large position or version reach into the file's rank."""
    files = {(2099, 1): ([(1, 32767)], []), (2099, 2): ([(2, 1), (1, 1)], [])}
    write(tmp_path, files)
    rows = list(itertools.chain(range(40_000)))
    table = pa.Table.from_pylist([{"pmid": 3, "version": 1, "position": n} for n in rows], ARTICLES)
    write_parquet(table, tmp_path / "articles/pubmed99n0003.parquet")
    write_parquet(pa.Table.from_pylist([], DELETED), tmp_path / "deleted/pubmed99n0003.parquet")
    found = current_citations(["pubmed99n0001", "pubmed99n0002", "pubmed99n0003"], tmp_path)
    assert found.rows() == [
        (1, 1, "pubmed99n0002", 1),
        (2, 1, "pubmed99n0002", 0),
        (3, 1, "pubmed99n0003", 39_999),
    ]
    assert found.schema["file"] == pl.String


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(BioHiCLError, match=r"pubmed99n0007\.parquet: no such file"):
        current_citations(["pubmed99n0007"], tmp_path)
