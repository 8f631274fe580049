"""What a recipe's phase on MeSH itself is trained on: names, and descriptions without them."""

import re
import shutil

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from biohicl.errors import BioHiCLError
from biohicl.mesh.hierarchy import write_hierarchy
from biohicl.mesh.label_sets import HIERARCHY_KEY
from biohicl.mesh.nodes import read_nodes
from biohicl.mesh.parse import parse_mesh_file
from biohicl.training.concepts import composed, write_concepts
from biohicl.training.draw import descriptor_numbers, pmid_hash
from biohicl.training.labels import write_labels
from recipe_tables import CONCEPTS, frozen


def stands_in(name, text):
    """As a whole phrase, read letter for letter."""
    return re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", text.casefold()) is not None


def bare(text):
    return re.sub(r"\W+", " ", text).strip()


def check_concepts(release, table, queries):
    hierarchy = {row["descriptor_ui"]: row for row in pl.read_parquet(release / "hierarchy.parquet").to_dicts()}
    terms = pl.read_parquet(release / "terms.parquet")
    of_concept = dict(
        terms.group_by("descriptor_ui", "concept_ui").agg("term").select("concept_ui", "term").iter_rows()
    )
    preferred = dict(terms.filter("record_preferred").select("descriptor_ui", "concept_ui").iter_rows())
    assert table.select("descriptor_ui", "description_kind").equals(queries.select("descriptor_ui", "description_kind"))
    assert table.select("descriptor_ui", "description_kind").is_unique().all()
    for row, own in zip(table.iter_rows(named=True), queries["queries"].to_list(), strict=True):
        said = hierarchy[row["descriptor_ui"]]
        assert (row["title"], row["descriptor_uis"], row["majors"]) == (said["name"], [row["descriptor_ui"]], [True])
        assert [query["kind"] for query in own] == ["name"] + ["synonym"] * (len(own) - 1)
        assert own[0]["text"] == said["name"]
        assert {query["text"] for query in own} <= {*of_concept[preferred[row["descriptor_ui"]]], said["name"]}
        assert all((query["start"], query["end"], query["task"]) == (None, None, CONCEPTS["task"]) for query in own)
        if row["description_kind"] == "tree":
            assert not any(stands_in(query["text"], row["abstract"]) for query in own), row
            named = [hierarchy[ui]["name"] for ui in said["parents"]]
            # Whatever marks stand between its words.
            hidden = [any(stands_in(bare(query["text"]), bare(name)) for query in own) for name in named]
            assert all(name in row["abstract"] or left for name, left in zip(named, hidden, strict=True)), row


def test_concepts_are_described_without_their_own_names(corpus, tmp_path):
    _, release, _ = corpus
    output, queries = tmp_path / "mesh.parquet", tmp_path / "queries.parquet"
    write_concepts(release, CONCEPTS, output, queries)
    table = pl.read_parquet(output)
    check_concepts(release, table, pl.read_parquet(queries))
    notes = pl.read_parquet(release / "scope_notes.parquet").filter("preferred")
    found = table.filter(pl.col("description_kind") == "scope_note").select("descriptor_ui", "abstract")
    assert dict(found.iter_rows()) == dict(notes.select("descriptor_ui", "scope_note").iter_rows())
    qualified = table.filter(pl.col("abstract").str.contains("drug therapy|metabolism"))
    assert qualified.height > 50
    # Rows are in the order of the draw, so a smaller number is the beginning of it.
    hashes = pmid_hash(descriptor_numbers(table["descriptor_ui"].to_list()), 1)
    assert (np.diff(hashes.astype(object)) >= 0).all()
    write_concepts(release, CONCEPTS | {"descriptors": 20}, output, queries)
    few = pl.read_parquet(output)
    assert few["descriptor_ui"].n_unique() == 20
    assert few.equals(table.head(few.height))
    # Terms of a descriptor's other concepts are no names of it.
    shutil.copytree(release, tmp_path / "other")
    terms = pl.read_parquet(release / "terms.parquet")
    narrower = terms.with_columns(concept_ui=pl.lit("M0"), term="narrower " + pl.col("term"), record_preferred=False)
    pl.concat([terms, narrower]).write_parquet(tmp_path / "other/terms.parquet")
    write_concepts(tmp_path / "other", CONCEPTS, output, tmp_path / "others.parquet")
    assert "narrower" not in str(pl.read_parquet(tmp_path / "others.parquet")["queries"].to_list())
    # Without a tree number there is nothing to compose; the note alone remains.
    (male,) = table.filter(pl.col("title") == "Male").to_dicts()
    assert male["description_kind"] == "scope_note"


def test_a_release_of_an_older_version_goes_without_and_says_so(mesh, tmp_path, capsys):
    citations = pl.DataFrame({"pmid": [1], "version": [1], "file": ["x"], "position": [0]})
    release = frozen(mesh, citations, tmp_path / "release", optional=False)
    assert sorted(path.name for path in release.iterdir()) == [
        *("citations.parquet", "hierarchy.parquet", "release.json", "terms.parquet")
    ]
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    said = capsys.readouterr().err
    assert "without scope notes" in said
    assert "without qualifiers" in said
    assert set(pl.read_parquet(tmp_path / "mesh.parquet")["description_kind"]) == {"tree"}
    with pytest.raises(BioHiCLError, match=r"0 descriptors have a description.*training.concepts.mesh.descriptions"):
        only = CONCEPTS | {"descriptions": ["scope_note"]}
        write_concepts(release, only, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")


def test_what_has_a_name_of_its_own_in_it_is_left_out():
    said = {"parents": ["Eye"], "siblings": ["Color Vision", "Eye, Artificial", "eye"], "category": ["Diseases"]}
    for names in (
        ["Eye"],
        ["EYE", "kind or part"],
        ["Part of Eye", "color-vision"],
        ["Artificial", "Related"],
        ["field"],
    ):
        text = composed(said, names) or ""
        assert not any(stands_in(name, text) for name in names)
        assert text
    assert composed(said, ["Eye"]) == "Related to Color Vision. From the field of Diseases."
    assert composed({"category": ["Diseases"]}, ["Eye"]) is None


@pytest.mark.real(20)
def test_concepts_of_the_whole_of_mesh(shared, tmp_path):
    mesh = tmp_path / "mesh"
    parse_mesh_file(shared / "data/nlm/mesh/desc2024.gz", mesh)
    write_hierarchy(mesh, mesh / "hierarchy.parquet", mesh / "odd.parquet", mesh / "graph.graphml")
    write_concepts(mesh, CONCEPTS, tmp_path / "all.parquet", tmp_path / "queries.parquet")
    table = pl.read_parquet(tmp_path / "all.parquet")
    check_concepts(mesh, table, pl.read_parquet(tmp_path / "queries.parquet"))
    assert table.height > 30_000
    assert table["abstract"].n_unique() > 0.99 * table.height


def test_concepts_have_labels_and_pairs_have_none(corpus, tmp_path):
    _, release, _ = corpus
    write_concepts(release, CONCEPTS, tmp_path / "mesh.parquet", tmp_path / "queries.parquet")
    hierarchy = release / "hierarchy.parquet"
    write_labels(tmp_path / "mesh.parquet", hierarchy, 0.0, tmp_path / "labels.parquet", tmp_path / "unknown.parquet")
    labels, table = pl.read_parquet(tmp_path / "labels.parquet"), pl.read_parquet(tmp_path / "mesh.parquet")
    assert labels.select("descriptor_ui", "description_kind").equals(table.select("descriptor_ui", "description_kind"))
    uis = read_nodes(hierarchy).uis
    held = pq.read_schema(tmp_path / "labels.parquet").metadata
    assert held[HIERARCHY_KEY.encode()].decode() == read_nodes(hierarchy).fingerprint
    assert [[uis[row] for row in own] for own in labels["direct"]] == table["descriptor_uis"].to_list()
    pairs = pl.DataFrame({"source": ["x"], "document_id": ["1"], "title": [""], "abstract": ["a"]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(BioHiCLError, match="no MeSH headings"):
        write_labels(tmp_path / "pairs.parquet", hierarchy, 0.0, tmp_path / "no.parquet", tmp_path / "unknown.parquet")
