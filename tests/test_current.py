"""The current record of each citation, against a plain model that replays NLM's rule file by file."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.pubmed import current
from biohicl.pubmed.current import current_citations, write_current
from biohicl.pubmed.schema import ARTICLES, CURRENT, DELETED, METADATA
from biohicl.storage import write_parquet

# With 8 PMIDs to a pass and 4 to a block: PMIDs on both sides of their borders, the first and the last there can be.
# Few of them, so that records, deletes and returns meet.
PMIDS = [1, 2, 3, 4, 5, 7, 8, 9, 16, 24, 2**26 - 1, 2**26, 2**31 - 1]
pmids = st.sampled_from(PMIDS)
history = st.dictionaries(
    st.tuples(st.sampled_from([2098, 2099]), st.sampled_from([1, 2, 3, 9, 10, 9999, 10000])),
    st.tuples(
        st.lists(st.tuples(pmids, st.sampled_from([1, 2, 3, 32767])), max_size=8),  # (pmid, version), in file order
        st.lists(pmids, max_size=3),  # deletes, of PMIDs that are unknown too
    ),
    min_size=1,
    max_size=6,
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
        write_parquet(pa.Table.from_pylist(rows, ARTICLES), folder / "articles" / f"{name_of(file)}.parquet", METADATA)
        gone = [{"pmid": p, "version": 1} for p in sorted(deletes)]
        write_parquet(pa.Table.from_pylist(gone, DELETED), folder / "deleted" / f"{name_of(file)}.parquet", METADATA)


def merged(names, folder):
    """The written file's rows, after a look at the file itself."""
    path = folder / "current.parquet"
    write_current(names, folder, path)
    assert pq.read_schema(path).equals(CURRENT.with_metadata({k: v.encode() for k, v in METADATA.items()}))
    frame = pl.read_parquet(path)
    assert frame["pmid"].is_sorted()
    assert frame["pmid"].is_unique().all()
    return {row[0]: row[1:] for row in frame.iter_rows()}


@pytest.fixture
def small_passes(monkeypatch):
    """So that a few PMIDs need several passes over the files, and a pass several blocks."""
    monkeypatch.setattr(current, "SPAN_BITS", 3)
    monkeypatch.setattr(current, "BLOCK", 4)


@pytest.mark.usefixtures("small_passes")
@settings(max_examples=200, deadline=None)
@given(files=history, shuffled=st.randoms(use_true_random=False), repeated=st.integers(0, 3))
def test_equals_the_replayed_history_in_any_order(tmp_path_factory, files, shuffled, repeated):
    folder = tmp_path_factory.mktemp("history")
    write(folder, files)
    names = [name_of(file) for file in files]
    shuffled.shuffle(names)
    assert merged([*names, *names[:repeated]], folder) == replayed(files)


@settings(max_examples=5, deadline=None)
@given(files=history)
def test_equals_it_in_passes_of_their_real_size(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("history")
    write(folder, files)
    assert merged([name_of(file) for file in files], folder) == replayed(files)


HISTORIES = {
    "a delete of an unknown PMID": ([([(1, 1)], []), ([], [2])], {1: 1}),
    "deleted": ([([(1, 1), (2, 1)], []), ([], [2])], {1: 1}),
    "deleted in all its versions": ([([(2, 1), (2, 3)], []), ([(2, 2)], []), ([(1, 1)], [2])], {1: 3}),
    "deleted, then back": ([([(1, 1)], []), ([], [1]), ([(1, 1)], [])], {1: 3}),
    "back, then deleted again": ([([(1, 1)], []), ([], [1]), ([(1, 1)], []), ([], [1])], {}),
    "a record and a delete in one file": ([([(1, 1)], []), ([(1, 2), (2, 1)], [1])], {2: 2}),
    "a later file before a higher version": ([([(1, 4)], []), ([(1, 1)], [])], {1: 2}),
    "empty files": ([([], []), ([(1, 1)], []), ([], [])], {1: 2}),
    "nothing at all": ([([], [])], {}),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_cases_that_the_rule_is_made_of(tmp_path, case):
    files, expected = HISTORIES[case]
    history = {(2099, number): file for number, file in enumerate(files, start=1)}
    write(tmp_path, history)
    found = merged([name_of(file) for file in reversed(history)], tmp_path)
    assert {pmid: file for pmid, (_, file, _) in found.items()} == {
        pmid: name_of((2099, number)) for pmid, number in expected.items()
    }
    assert found == replayed(history)


def test_large_values_keep_apart(tmp_path):
    """The packed number must not let a large position or version reach into the file's rank."""
    last = 2**31 - 1
    rows = {
        "pubmed99n0001": [(1, 32767, last), (3, 32767, last)],
        "pubmed99n0002": [(2, 1, 0), (1, 1, 1)],
        "pubmed99n0003": [(3, 1, place) for place in (last - 1, last, 7)] + [(last, 32767, last)],
    }
    for name, records in rows.items():
        keys = [dict(zip(("pmid", "version", "position"), record, strict=True)) for record in records]
        write_parquet(pa.Table.from_pylist(keys, ARTICLES), tmp_path / f"articles/{name}.parquet", METADATA)
        write_parquet(pa.Table.from_pylist([], DELETED), tmp_path / f"deleted/{name}.parquet", METADATA)
    assert merged(list(rows), tmp_path) == {
        1: (1, "pubmed99n0002", 1),
        2: (1, "pubmed99n0002", 0),
        3: (1, "pubmed99n0003", last),
        last: (32767, "pubmed99n0003", last),
    }


def test_two_names_of_one_number_have_an_order(tmp_path):
    names = ["pubmed99n00001", "pubmed99n0001", "pubmed99n000001"]
    for place, name in enumerate(names):
        keys = [{"pmid": 1, "version": 1, "position": place}]
        write_parquet(pa.Table.from_pylist(keys, ARTICLES), tmp_path / f"articles/{name}.parquet", METADATA)
        write_parquet(pa.Table.from_pylist([], DELETED), tmp_path / f"deleted/{name}.parquet", METADATA)
    assert merged(names[:2], tmp_path) == merged(names[1::-1], tmp_path) == {1: (1, "pubmed99n0001", 1)}


def test_tables_of_another_schema_are_refused(tmp_path):
    write(tmp_path, {(2099, 1): ([(1, 1)], [])})
    for metadata, found in (({"biohicl.schema": "pubmed-1"}, "pubmed-1"), ({}, "none")):
        write_parquet(pa.Table.from_pylist([], ARTICLES), tmp_path / "articles/pubmed99n0001.parquet", metadata)
        with pytest.raises(
            BioHiCLError, match=f"pubmed99n0001.parquet: its schema is {found}, and pubmed-.* is needed"
        ):
            merged(["pubmed99n0001"], tmp_path)


def test_rows_come_in_row_groups(tmp_path, monkeypatch):
    """Streamed: what is written is never held whole."""
    monkeypatch.setattr(current, "BLOCK", 100)
    write(tmp_path, {(2099, 1): ([(pmid, 1) for pmid in range(1, 1001)], [])})
    merged(["pubmed99n0001"], tmp_path)
    file = pq.ParquetFile(tmp_path / "current.parquet")
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sum(sizes) == 1000
    assert max(sizes) == 100


def test_a_missing_table_is_named_and_nothing_is_written(tmp_path):
    write(tmp_path, {(2099, 1): ([(1, 1)], [])})
    with pytest.raises(BioHiCLError, match=r"pubmed99n0007\.parquet: no such file"):
        write_current(["pubmed99n0001", "pubmed99n0007"], tmp_path, tmp_path / "corpus/current.parquet")
    assert list((tmp_path / "corpus").iterdir()) == []
    with pytest.raises(BioHiCLError, match="no PubMed files"):
        next(current_citations([], tmp_path))
