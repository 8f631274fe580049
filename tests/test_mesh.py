"""MeSH: descriptor XML to tables, and the hierarchy against a search written another way."""

import difflib
import gzip
import json
import random
from xml.etree import ElementTree

import networkx as nx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biohicl.errors import BioHiCLError
from biohicl.mesh.hierarchy import anomaly_rows, hierarchy_rows, position_forest, write_hierarchy
from biohicl.mesh.lookup import LIKELY, did_you_mean
from biohicl.mesh.parse import parse_mesh_file
from biohicl.mesh.schema import KEYS, TABLES
from biohicl.mesh.show import portrait, portrait_text
from label_reference import Reference
from pubmed_tables import in_pieces

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
        reference = Reference(list(names), pairs)
        for kind in ("seco", "sanchez"):
            expected_ic = max(reference.weight(ui, {"weight": kind, "roots": "none"}), 0)
            assert rows[ui][f"ic_{kind}"] == pytest.approx(expected_ic, abs=1e-6)


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
        ("above itself", "D1"),
        ("cycle", "D1 D2"),
        ("duplicated tree number", "C01"),
        ("no tree number", "D4"),
        ("orphan", "B01"),
        ("orphan", "B01.002"),
    ]


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
        ("above itself", OCULAR_MOTILITY),
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
    files = [tmp_path / name for name in ("hierarchy.parquet", "anomalies.parquet", "descriptors.graphml")]
    write_hierarchy(tmp_path, *files)
    pairs = pl.read_parquet(tmp_path / "tree_numbers.parquet").rows()
    expected = by_climbing(pairs)
    for row in pl.read_parquet(tmp_path / "hierarchy.parquet").iter_rows(named=True):
        parents, ancestors = expected.get(row["descriptor_ui"], (set(), set()))
        assert (set(row["parents"]), set(row["ancestors"])) == (parents, ancestors)
    kinds = pl.read_parquet(tmp_path / "anomalies.parquet")["kind"].to_list()
    assert kinds == ["above itself", "cycle", "no tree number", "no tree number"]
    # The graph that others load says the same as the table.
    graph = nx.read_graphml(tmp_path / "descriptors.graphml")
    assert len(graph) == 30_764
    assert set(graph.predecessors(STRABISMUS)) == expected[STRABISMUS][0]
    cycles = [component for component in nx.strongly_connected_components(graph) if len(component) > 1]
    assert cycles == [{STRABISMUS, OCULAR_MOTILITY}]
    assert graph.nodes["D001943"]["label"] == "Breast Neoplasms"
    assert (graph.nodes[HUMANS]["depth_min"], graph.nodes[HUMANS]["check_tag"]) == (11, True)
    assert "depth_min" not in graph.nodes[MALE]


def read_obviously(path):
    """The six tables by ElementTree, each a list of tuples in the order of its key."""
    data = path.read_bytes()
    root = ElementTree.fromstring(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)

    def text(element):
        return " ".join("".join(element.itertext()).split()) or None if element is not None else None

    rows = {name: [] for name in TABLES}
    for record in root:
        ui = text(record.find("DescriptorUI"))
        notes = []
        for concept in record.findall("ConceptList/Concept"):
            concept_ui, preferred = text(concept.find("ConceptUI")), concept.get("PreferredConceptYN") == "Y"
            note = text(concept.find("ScopeNote"))
            rows["concepts"].append((ui, concept_ui, text(concept.find("ConceptName/String")), preferred))
            if note:
                rows["scope_notes"].append((ui, concept_ui, preferred, note))
                notes += [note] if preferred else []
            for term in concept.findall("TermList/Term"):
                flags = [term.get(f"{kind}PreferredTermYN") == "Y" for kind in ("Concept", "Record")]
                names = [text(term.find(tag)) for tag in ("TermUI", "String")]
                rows["terms"].append((ui, concept_ui, *names, *flags))
        name = text(record.find("DescriptorName/String"))
        rows["descriptors"].append((ui, name, record.get("DescriptorClass"), notes[0] if notes else None))
        rows["tree_numbers"] += [(ui, text(number)) for number in record.findall("TreeNumberList/TreeNumber")]
        for allowed in record.findall("AllowableQualifiersList/AllowableQualifier"):
            paths = ("QualifierReferredTo/QualifierUI", "QualifierReferredTo/QualifierName/String", "Abbreviation")
            rows["allowed_qualifiers"].append((ui, *(text(allowed.find(path)) for path in paths)))
    columns = {name: schema.names for name, schema in TABLES.items()}
    return {
        name: sorted(table, key=lambda row, name=name: [row[columns[name].index(key)] for key in KEYS[name]])
        for name, table in rows.items()
    }


def assert_equals_the_obvious_reading(source, folder):
    counts = parse_mesh_file(source, folder)
    for name, rows in read_obviously(source).items():
        assert pl.read_parquet(folder / f"{name}.parquet").rows() == rows, name
        assert counts[name] == len(rows)
    return counts


def test_all_of_real_mesh_equals_the_obvious_reading(shared, tmp_path):
    counts = assert_equals_the_obvious_reading(shared / "data/nlm/mesh/desc2024.gz", tmp_path)
    assert counts["terms"] == 168_173


def test_the_sample_equals_the_obvious_reading(sample, tmp_path):
    assert assert_equals_the_obvious_reading(sample / "mesh/desc2099.gz", tmp_path)["scope_notes"] == 309


# Two concepts, the preferred one last; qualifiers; look-alikes where the tables must not find them; white space.
FULL = """<DescriptorRecord  DescriptorClass = '2' ><!-- <DescriptorUI>D999</DescriptorUI> -->
<DescriptorUI>{ui}</DescriptorUI><DescriptorName>
 <String>A &amp; B,\n <![CDATA[<C>]]></String></DescriptorName>
<AllowableQualifiersList><AllowableQualifier><QualifierReferredTo><QualifierUI>Q000002</QualifierUI><QualifierName>
<String>two</String></QualifierName></QualifierReferredTo><Abbreviation>TW</Abbreviation></AllowableQualifier>
<AllowableQualifier><QualifierReferredTo><QualifierUI>Q000001</QualifierUI><QualifierName><String>one</String>
</QualifierName></QualifierReferredTo></AllowableQualifier></AllowableQualifiersList>
<SeeRelatedList><SeeRelatedDescriptor><DescriptorReferredTo><DescriptorUI>D888</DescriptorUI><DescriptorName>
<String>other</String></DescriptorName></DescriptorReferredTo></SeeRelatedDescriptor></SeeRelatedList>
<TreeNumberList><TreeNumber>C02.100</TreeNumber><TreeNumber>B01</TreeNumber></TreeNumberList>
<ConceptList><Concept PreferredConceptYN="N"><ConceptUI>M2{ui}</ConceptUI><ConceptName><String>second</String></ConceptName>
<ScopeNote>not the one</ScopeNote><TermList><Term RecordPreferredTermYN="N" ConceptPreferredTermYN="Y"><TermUI>T2</TermUI>
<String>x &gt; y</String></Term></TermList></Concept>
<Concept PreferredConceptYN="Y"><ConceptUI>M1{ui}</ConceptUI><ConceptName><String>first</String></ConceptName>
<ScopeNote> What it is.\n    </ScopeNote><ConceptRelationList><ConceptRelation><Concept1UI>M9</Concept1UI></ConceptRelation>
</ConceptRelationList><TermList><Term ConceptPreferredTermYN="Y" RecordPreferredTermYN="Y"><TermUI>T1</TermUI>
<String>term</String></Term><?pi a>b?></TermList></Concept></ConceptList></DescriptorRecord>"""
BARE = """<DescriptorRecord><DescriptorUI>{ui}</DescriptorUI><DescriptorName><String>bare</String></DescriptorName>
</DescriptorRecord>"""


@pytest.mark.parametrize("size", [0, 500])
def test_nasty_records_in_no_order_equal_the_obvious_reading(tmp_path, size):
    records = [
        FULL.format(ui="D000009"),
        BARE.format(ui="D000004"),
        FULL.format(ui="D000001"),
        BARE.format(ui="D000030"),
    ]
    source = tmp_path / "desc2099.xml"
    source.write_text(f"<DescriptorRecordSet>{''.join(records)}</DescriptorRecordSet>")
    with in_pieces(size):
        assert_equals_the_obvious_reading(source, tmp_path / "out")
    first = pl.read_parquet(tmp_path / "out/descriptors.parquet").row(0)
    assert first == ("D000001", "A & B, <C>", "2", "What it is.")
    allowed = pl.read_parquet(tmp_path / "out/allowed_qualifiers.parquet").rows()
    assert allowed[:2] == [("D000001", "Q000001", "one", None), ("D000001", "Q000002", "two", "TW")]


RECORD = """<DescriptorRecord DescriptorClass="1"><DescriptorUI>{ui}</DescriptorUI><DescriptorName><String>{name}</String>
</DescriptorName><TreeNumberList><TreeNumber>{number}</TreeNumber></TreeNumberList></DescriptorRecord>"""


def test_comments_behind_the_last_record_are_no_records(tmp_path):
    """Even where they come in a piece of their own."""
    source = tmp_path / "desc2099.gz"
    record = RECORD.format(ui="D1", name="x", number="A01")
    xml = f"<DescriptorRecordSet>{record}<!-- the -->\n<?end?></DescriptorRecordSet>"
    source.write_bytes(gzip.compress(xml.encode()))
    with in_pieces(40):
        assert parse_mesh_file(source, tmp_path / "out")["descriptors"] == 1


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<DescriptorRecordSet></DescriptorRecordSet>", "holds no descriptors"),
        ("<DescriptorRecordSet><!-- none --><?nor here?></DescriptorRecordSet>", "holds no descriptors"),
        ("<DescriptorRecordSet><QualifierRecord/></DescriptorRecordSet>", "QualifierRecord is not expected among the"),
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
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


# --- a look at one descriptor --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    ["Atrial Fibrillation", " atrial  FIBRILLATION ", "D001281", "d001281", "C23.550.073.198", "c14.280.067.198"],
)
def test_a_descriptor_is_found_by_name_ui_and_tree_number_in_any_case(mesh, wanted):
    assert portrait(mesh, wanted).row["name"] == "Atrial Fibrillation"


def test_a_descriptor_is_found_by_its_synonym(mesh):
    terms = pl.read_parquet(mesh / "terms.parquet").filter(~pl.col("record_preferred"))
    ui, term = terms.select("descriptor_ui", "term").row(0)
    one = portrait(mesh, term.upper())
    assert one.row["descriptor_ui"] == ui
    assert term in one.synonyms


def test_a_portrait_shows_every_place_once_and_marks_its_own(mesh):
    text = portrait_text(portrait(mesh, "Atrial Fibrillation"))
    tree = text.split("\n\n")[1].splitlines()
    assert tree == [
        "C Diseases",
        "├─ C14 Cardiovascular Diseases",
        "│  └─ C14.280 Heart Diseases",
        "│     └─ C14.280.067 Arrhythmias, Cardiac",
        "│        └─ C14.280.067.198 Atrial Fibrillation  <--",
        "└─ C23 Pathological Conditions, Signs and Symptoms",
        "   └─ C23.550 Pathologic Processes",
        "      └─ C23.550.073 Arrhythmias, Cardiac",
        "         └─ C23.550.073.198 Atrial Fibrillation  <--",
    ]
    assert "2 positions in the tree, depth 4\n" in text
    unplaced = portrait_text(portrait(mesh, "Male"))
    assert "(check tag)" in unplaced.splitlines()[0]
    assert "no position in the tree" in unplaced


@pytest.mark.parametrize("name", ["Strabismus", "Neoplasms", "Kidney Neoplasms", "Humans", "Male"])
def test_relatives_are_those_of_the_definition(mesh, name):
    rows = {row["descriptor_ui"]: row for row in pl.read_parquet(mesh / "hierarchy.parquet").iter_rows(named=True)}
    pairs = [(ui, number) for ui, row in rows.items() for number in row["tree_numbers"]]
    reference = Reference(list(rows), pairs)
    way = {"weight": "seco", "roots": "none"}
    one = portrait(mesh, name, relatives=500)
    ui = one.row["descriptor_ui"]
    found = {other: lin for lin, other, _, _ in one.relatives}
    expected = {other: reference.lin(ui, other, way) for other in rows if other != ui}
    assert set(found) == {other for other, lin in expected.items() if lin > 0}
    for other, lin in found.items():
        assert lin == pytest.approx(expected[other], abs=1e-6)
    order = [lin for lin, *_ in one.relatives]
    assert order == sorted(order, reverse=True)
    relation = {other: said for _, other, _, said in one.relatives}
    for other, said in relation.items():
        assert ("child" in said) == (ui in rows[other]["parents"])
        assert ("parent" in said) == (other in rows[ui]["parents"])
        if said in ("ancestor", "descendant"):
            assert (other in rows[ui]["ancestors"]) == (said == "ancestor")
    assert {other for other, row in rows.items() if ui in row["parents"]} == {child for child, _ in one.children}


def test_what_is_not_found_is_answered_with_what_is_near(mesh, run_biohicl):
    done = run_biohicl("mesh", "show", "Atrial Fibrilation", "--mesh", mesh)
    assert done.returncode == 2
    assert "did you mean 'Atrial Fibrillation'" in done.stderr
    part = run_biohicl("mesh", "show", "fibrillation", "--mesh", mesh)
    assert "did you mean 'Atrial Fibrillation'" in part.stderr
    shown = run_biohicl("mesh", "show", "atrial fibrillation", "--mesh", mesh, "--json", "--relatives", "3")
    assert shown.returncode == 0, shown.stderr
    one = json.loads(shown.stdout)
    assert one["descriptor_ui"] == "D001281"
    assert [len(path) for path in one["paths"]] == [4, 4]
    assert one["scope_note"].startswith("A common rhythm disorder")
    assert len(one["relatives"]) == 3


def test_of_many_names_few_are_compared_letter_by_letter(monkeypatch):
    """Of all of MeSH's names that takes seconds, in which a server does nothing else."""
    rng = random.Random(0)
    parts = ["".join(rng.choices("abcdeilmnorstu", k=rng.randint(3, 9))) for _ in range(400)]
    names = sorted({" ".join(rng.sample(parts, rng.randint(1, 4))).title() for _ in range(8_000)})
    obvious, compared = difflib.get_close_matches, []

    def counted(word, possibilities, **options):
        compared.append(len(list(possibilities)))
        return obvious(word, possibilities, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    for name in rng.sample(names, 25):
        place = rng.randrange(len(name))
        sought = f"{name[:place]}{rng.choice('xyz ')}{name[place + 1 :]}".lower()
        nearest = obvious(sought, [one.lower() for one in names], n=1)
        said = did_you_mean(sought, names).lower()
        # Those that hold the words come before.
        assert repr(nearest[0]) in said or any(sought in one.lower() for one in names)
    assert did_you_mean("\udcff", names) == ""
    assert did_you_mean("x" * 300, names) == ""
    assert max(compared) <= LIKELY


def test_a_name_of_two_descriptors_is_not_guessed(mesh, tmp_path):
    for table in ("hierarchy", "terms", "descriptors"):
        frame = pl.read_parquet(mesh / f"{table}.parquet")
        if table == "terms":
            again = frame.head(2).with_columns(term=pl.lit("Twofold"), descriptor_ui=pl.Series([STRABISMUS, MALE]))
            frame = pl.concat([frame, again])
        frame.write_parquet(tmp_path / f"{table}.parquet")
    with pytest.raises(BioHiCLError, match=f"several descriptors: {MALE}, {STRABISMUS}; give one"):
        portrait(tmp_path, "twofold")
