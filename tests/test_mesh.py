"""MeSH: descriptor XML to tables, and the hierarchy against a search written another way."""

import gzip

import networkx as nx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.mesh.hierarchy import anomaly_rows, hierarchy_rows, position_forest, write_hierarchy
from biohicl.mesh.parse import parse_mesh_file

STRABISMUS, OCULAR_MOTILITY, MALE, FEMALE, HUMANS = "D013285", "D015835", "D008297", "D005260", "D006801"


def by_climbing(pairs):
    """UI to (parents, ancestors): every tree number is cut back dot by dot."""
    at = {}
    for ui, number in pairs:
        at.setdefault(number, set()).add(ui)
    result = {}
    for ui, number in pairs:
        parents, ancestors = result.setdefault(ui, (set(), set()))
        pieces = number.split(".")
        for length in range(1, len(pieces)):
            above = at.get(".".join(pieces[:length]), set()) - {ui}
            ancestors |= above
            if length == len(pieces) - 1:
                parents |= above
        ancestors |= at[number] - {ui}
    return result


tree_numbers = st.lists(
    st.tuples(
        st.sampled_from(["D1", "D2", "D3", "D4", "D5"]),
        st.lists(st.sampled_from(["001", "002"]), max_size=3).map(lambda parts: ".".join(["A01", *parts])),
    ),
    max_size=12,
    unique=True,
)


@settings(max_examples=150, deadline=None)
@given(pairs=tree_numbers)
def test_any_tree_numbers_give_the_ancestors_found_by_climbing(pairs):
    names = {ui: ui for ui in ["D1", "D2", "D3", "D4", "D5"]}
    forest = position_forest(pairs)
    assert nx.is_forest(forest) if len(forest) else True
    rows = {row["descriptor_ui"]: row for row in hierarchy_rows(names, forest)}
    expected = by_climbing(pairs)
    for ui in names:
        parents, ancestors = expected.get(ui, (set(), set()))
        assert set(rows[ui]["ancestors"]) == ancestors
        assert set(rows[ui]["parents"]) == parents
        depths = [number.count(".") + 1 for owner, number in pairs if owner == ui]
        assert rows[ui]["depth_min"] == (min(depths) if depths else None)
        assert rows[ui]["depth_max"] == (max(depths) if depths else None)
        assert rows[ui]["descendants"] == sum(ui in other["ancestors"] for other in rows.values())


def test_orphans_duplicates_cycles_and_the_unplaced_are_reported():
    names = dict.fromkeys(["D1", "D2", "D3", "D4"], "x")
    pairs = [
        ("D1", "A01"),
        ("D2", "A01.001"),
        ("D1", "A01.001.001"),
        ("D3", "B01.002.003"),
        ("D2", "C01"),
        ("D3", "C01"),
    ]
    rows = anomaly_rows(names, position_forest(pairs))
    assert [(row["kind"], row["subject"]) for row in rows] == [
        ("cycle", "D1 D2"),
        ("duplicated tree number", "C01"),
        ("no tree number", "D4"),
        ("orphan", "B01"),
        ("orphan", "B01.002"),
    ]


@pytest.fixture(scope="module")
def mesh(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    parse_mesh_file(sample / "mesh/desc2099.gz", folder)
    write_hierarchy(folder, folder / "hierarchy.parquet", folder / "anomalies.parquet")
    return folder


def test_the_sample_has_the_descriptors_that_matter(mesh):
    rows = {row["descriptor_ui"]: row for row in pl.read_parquet(mesh / "hierarchy.parquet").iter_rows(named=True)}
    assert len(rows) >= 290
    assert OCULAR_MOTILITY in rows[STRABISMUS]["ancestors"]
    assert STRABISMUS in rows[OCULAR_MOTILITY]["ancestors"]
    assert STRABISMUS not in rows[STRABISMUS]["ancestors"]
    for unplaced in (MALE, FEMALE):
        assert rows[unplaced]["tree_numbers"] == []
        assert rows[unplaced]["depth_min"] is None
    assert rows[HUMANS]["depth_min"] == 11
    anomalies = pl.read_parquet(mesh / "anomalies.parquet").rows()
    assert [row[:2] for row in anomalies] == [
        ("cycle", f"{STRABISMUS} {OCULAR_MOTILITY}"),
        ("no tree number", FEMALE),
        ("no tree number", MALE),
    ]


def test_tables_are_sorted_by_their_keys_and_complete(mesh):
    for table, key in [("descriptors", ["descriptor_ui"]), ("tree_numbers", ["descriptor_ui", "tree_number"])]:
        frame = pl.read_parquet(mesh / f"{table}.parquet")
        assert frame.equals(frame.sort(key))
        assert frame.select(key).is_duplicated().sum() == 0
    descriptors = pl.read_parquet(mesh / "descriptors.parquet")
    assert descriptors["scope_note"].null_count() == 0
    terms = pl.read_parquet(mesh / "terms.parquet")
    assert set(descriptors["name"]) <= set(terms.filter("record_preferred")["term"])


def test_real_mesh_has_its_known_counts(shared, tmp_path):
    """Published with the data: 30,764 descriptors, 64,457 tree numbers; one pair of mutual parents."""
    counts = parse_mesh_file(shared / "data/nlm/mesh/desc2024.gz", tmp_path)
    assert (counts["descriptors"], counts["tree_numbers"]) == (30_764, 64_457)
    write_hierarchy(tmp_path, tmp_path / "hierarchy.parquet", tmp_path / "anomalies.parquet")
    pairs = pl.read_parquet(tmp_path / "tree_numbers.parquet").rows()
    expected = by_climbing(pairs)
    for row in pl.read_parquet(tmp_path / "hierarchy.parquet").iter_rows(named=True):
        parents, ancestors = expected.get(row["descriptor_ui"], (set(), set()))
        assert (set(row["parents"]), set(row["ancestors"])) == (parents, ancestors)
    kinds = pl.read_parquet(tmp_path / "anomalies.parquet")["kind"].to_list()
    assert kinds == ["cycle", "no tree number", "no tree number"]


RECORD = """<DescriptorRecord DescriptorClass="1"><DescriptorUI>{ui}</DescriptorUI><DescriptorName><String>{name}</String>
</DescriptorName><TreeNumberList><TreeNumber>{number}</TreeNumber></TreeNumberList></DescriptorRecord>"""


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<DescriptorRecordSet></DescriptorRecordSet>", "holds no descriptors"),
        ("<QualifierRecordSet/>", "the root is QualifierRecordSet"),
        (
            "<DescriptorRecordSet><DescriptorRecord/></DescriptorRecordSet>",
            "line 1, in what begins at byte 21: a descriptor without DescriptorUI",
        ),
        ("<DescriptorRecordSet>" + RECORD.format(ui="D1", name="x", number="A1"), "'A1', which is no tree number"),
        (
            f"<DescriptorRecordSet>{RECORD.format(ui='D1', name='x', number='A01') * 2}</DescriptorRecordSet>",
            "stands there twice: D1",
        ),
        (f"<DescriptorRecordSet>{RECORD.format(ui='D7', name='x', number='A01')}", "last good descriptor D7"),
    ],
)
def test_wrong_mesh_files_are_errors_and_write_nothing(tmp_path, xml, said):
    source = tmp_path / "desc2099.gz"
    source.write_bytes(gzip.compress(xml.encode()))
    with pytest.raises(BioHiCLError, match=said):
        parse_mesh_file(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
