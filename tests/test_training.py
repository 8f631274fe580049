"""Selection, labels, tokens and the training step, on the sample."""

import json
import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from big_corpus import generate, measured
from biohicl import configuration
from biohicl.errors import BioHiCLError
from biohicl.mesh.label_counts import read_label_counts
from biohicl.mesh.nodes import check_tags, read_nodes
from biohicl.pubmed.schema import ARTICLES
from biohicl.training.data import read_training_data
from biohicl.training.draw import pmid_hash
from biohicl.training.labels import count_labels, labels_of, write_labels
from biohicl.training.selection import write_selection
from biohicl.training.tokens import write_tokens
from recipe_tables import frozen
from trainings import inputs_of, node, run

# The sample's heading that its MeSH has not.
OUTDATED = "D990000001"
SELECTION = {
    "citations": "all",
    "years": None,
    "languages": ["eng"],
    "min_abstract_characters": 100,
    "min_headings": 2,
    "seed": 1,
}


# --- selection ----------------------------------------------------------------------------------------


def select(made, tmp_path, **over):
    folder, _ = made
    output = tmp_path / "chosen.parquet"
    places = folder / "results/training/releases/tests", folder / "results/pubmed"
    settings = SELECTION | {"exclude_benchmarks": []} | over
    write_selection(*places, settings, folder / "resources/benchmarks", output, tmp_path / "excluded.parquet")
    return pl.read_parquet(output)


def test_what_is_drawn_of_many_files_takes_no_more_memory(mesh, tmp_path):
    """The same number of citations, of 5 files and of 40, with 6 MB of text in each."""
    draw = np.random.default_rng(1)
    texts = [draw.bytes(1500).hex() for _ in range(4_000)]
    headings = [[{"descriptor_ui": "D009369", "major": False, "qualifiers": []}] * 3] * len(texts)
    given = {"title": texts, "abstract": texts, "languages": [["eng"]] * len(texts), "mesh_headings": headings}
    rows = pa.table({name: pa.array(values, ARTICLES.field(name).type) for name, values in given.items()})
    peaks = []
    for files in (5, 40):
        folder = tmp_path / str(files)
        folder.mkdir()
        generate(folder, files, files * 2_000, rows, updates=0)
        keys = pl.concat(
            pl.read_parquet(path, columns=["pmid", "version", "position"]).with_columns(file=pl.lit(path.stem))
            for path in sorted((folder / "articles").iterdir())
        )
        release = frozen(mesh, keys.sort("pmid"), folder / "release")
        settings = SELECTION | {"citations": 500, "exclude_benchmarks": []}
        command = ["-m", "biohicl", "--threads", "1", "select", "--release", release, "--pubmed", folder]
        command += ["--settings", json.dumps(settings), "--benchmarks", folder, "--output", folder / "chosen.parquet"]
        peaks.append(measured([*command, "--excluded", folder / "excluded.parquet"])[2])
        hashed = keys.with_columns(place=pl.Series(pmid_hash(keys["pmid"].to_numpy(), 1))).sort("place")
        assert pl.read_parquet(folder / "chosen.parquet")["pmid"].to_list() == hashed["pmid"][:500].sort().to_list()
    assert peaks[1] < peaks[0] + 60, peaks


def test_a_benchmarks_documents_are_left_out_of_those_drawn_and_listed(made, tmp_path):
    """Whatever number is drawn: the same draw without them, filled up from behind; and only those drawn are listed."""
    everything = {"exclude_benchmarks": ["sample-retrieval"]}
    whole = select(made, tmp_path, **everything)
    (row,) = pl.read_parquet(tmp_path / "excluded.parquet").to_dicts()
    assert (row["benchmark"], row["reason"], row["document_id"][0]) == ("sample-retrieval", "title", "S")
    without = select(made, tmp_path)
    assert set(without["pmid"]) - set(whole["pmid"]) == {row["pmid"]}
    for count in (50, 400, 900):
        drawn, plain = (select(made, tmp_path, citations=count, **how) for how in ({}, everything))
        listed = pl.read_parquet(tmp_path / "excluded.parquet")["pmid"].to_list()
        assert plain.height == count
        missing = set(drawn["pmid"]) - set(plain["pmid"])
        assert missing == set(listed) == ({row["pmid"]} & set(drawn["pmid"]))


def test_selection_equals_its_filters_said_in_sql(made, tmp_path, run_biohicl):
    chosen = select(made, tmp_path, years=[1995, 2010])
    asked = run_biohicl(
        "sql",
        "--csv",
        "select pmid from citations where title is not null and length(abstract) >= 100 and len(mesh_headings) >= 2 "
        "and list_contains(languages, 'eng') and year between 1995 and 2010 order by pmid",
        cwd=made[0],
    )
    assert asked.returncode == 0, asked.stderr
    assert chosen["pmid"].to_list() == [int(line) for line in asked.stdout.split()[1:]]
    assert 100 < chosen.height < 1500


def test_a_larger_selection_contains_the_smaller(made, tmp_path):
    small, large = (select(made, tmp_path, citations=count) for count in (100, 300))
    assert (small.height, large.height) == (100, 300)
    assert set(small["pmid"]) < set(large["pmid"])
    assert set(small["pmid"]) != set(select(made, tmp_path, citations=100, seed=2)["pmid"])
    assert large["pmid"].is_sorted()


def test_pmid_hash_is_splitmix64():
    """First outputs of the generator seeded with 0 and 1234567, as its reference implementation gives them."""
    assert pmid_hash(np.array([0]), 0)[0] == 0xE220A8397B1DCDAF
    assert pmid_hash(np.array([1234567]), 0)[0] == 6457827717110365317


def test_majors_count_qualifiers(made):
    chosen = pl.read_parquet(made[0] / "results/training/selections/abstracts.parquet")
    flat = pl.scan_parquet(made[0] / "results/pubmed/mesh_headings/*.parquet").filter("major").collect()
    expected = set(flat.select("pmid", "descriptor_ui").iter_rows())
    found = {
        (row["pmid"], ui)
        for row in chosen.iter_rows(named=True)
        for ui, major in zip(row["descriptor_uis"], row["majors"], strict=True)
        if major
    }
    assert found
    assert found <= expected


def test_no_citation_left_says_which_filter_left_what(made, tmp_path):
    with pytest.raises(BioHiCLError, match=r"0 citations are left.*[1-9][\d,]* in eng; 0 published 1700 to 1701"):
        select(made, tmp_path, years=[1700, 1701])
    assert not (tmp_path / "chosen.parquet").exists()


# --- labels and tokens -----------------------------------------------------------------------------------


def labels_without(made, tmp_path, name, max_unknown):
    """The labels of the selection under a hierarchy that lacks one descriptor."""
    folder, _ = made
    hierarchy = pl.read_parquet(folder / "results/mesh/hierarchy.parquet").filter(pl.col("name") != name)
    hierarchy.write_parquet(tmp_path / "hierarchy.parquet")
    selection = folder / "results/training/selections/abstracts.parquet"
    outputs = tmp_path / "labels.parquet", tmp_path / "unknown.parquet"
    write_labels(selection, tmp_path / "hierarchy.parquet", max_unknown, *outputs)
    return hierarchy, pl.read_parquet(selection), *map(pl.read_parquet, outputs)


def test_labels_are_closed_under_ancestors_and_keep_how_they_came_in(made, tmp_path, capsys):
    hierarchy, selection, labels, unknown = labels_without(made, tmp_path, "Mice", 1.0)
    said = capsys.readouterr().err
    lost = {"D051379", OUTDATED}
    assert "D051379" in said
    uis = hierarchy["descriptor_ui"].to_list()
    rows = {row["descriptor_ui"]: row for row in hierarchy.iter_rows(named=True)}
    letters = sorted({letter for row in rows.values() for letter in row["categories"]})
    names = [*uis, *letters, "root"]
    tags = check_tags()
    for row, given in zip(labels.iter_rows(named=True), selection.iter_rows(named=True), strict=True):
        flags = dict(zip(given["descriptor_uis"], given["majors"], strict=True))
        direct = dict(zip((names[number] for number in row["direct"]), row["direct_kinds"], strict=True))
        assert direct == {
            ui: (2 if major else 1) * (4 if ui in tags else 1) for ui, major in flags.items() if ui not in lost
        }
        closed = {}
        for ui, kind in direct.items():
            for above in {ui, "root", *rows[ui]["ancestors"], *rows[ui]["categories"]}:
                closed[above] = closed.get(above, 0) | kind
        assert dict(zip((names[number] for number in row["closed"]), row["closed_kinds"], strict=True)) == closed
        assert row["closed"] == sorted(row["closed"])
    every = selection["descriptor_uis"].explode()
    assert dict(unknown.iter_rows()) == {ui: every.to_list().count(ui) for ui in lost}
    assert unknown["headings"].is_sorted(descending=True)


def test_labels_of_a_slice_are_those_of_its_rows(made):
    """A slice of a frame shares the whole one's arrays."""
    folder, _ = made
    nodes = read_nodes(folder / "results/mesh/hierarchy.parquet")
    selection = pl.read_parquet(folder / "results/training/selections/abstracts.parquet")
    whole, _ = labels_of(selection, nodes)
    some, _ = labels_of(selection.slice(40, 25), nodes)
    expected = whole.take(np.arange(40, 65))
    np.testing.assert_array_equal(some.ids.values, expected.ids.values)
    np.testing.assert_array_equal(some.ids.offsets, expected.ids.offsets)
    np.testing.assert_array_equal(some.kinds, expected.kinds)


def test_too_many_unknown_headings_stop_with_the_list(made, tmp_path):
    with pytest.raises(
        BioHiCLError, match=r"headings \(\d\.\d+%\), of 2 descriptors.*D051379 \(\d+\), D990000001"
    ) as stop:
        labels_without(made, tmp_path, "Mice", 0.01)
    assert "max_unknown_headings" in str(stop.value)
    assert not list(tmp_path.glob("labels*"))


def test_label_counts_are_those_of_the_release(made, tmp_path, run_biohicl):
    folder, _ = made
    release = folder / "results/training/releases/tests"
    nodes = read_nodes(release / "hierarchy.parquet")
    count_labels(release, folder / "results/pubmed", 0.1, tmp_path / "counts.parquet")
    counts = dict(pl.read_parquet(tmp_path / "counts.parquet").iter_rows())
    asked = run_biohicl(
        "sql",
        "--csv",
        "select above.descriptor_ui, count(distinct pmid) as citations from hierarchy as above join hierarchy as h "
        "on h.descriptor_ui = above.descriptor_ui or list_contains(h.ancestors, above.descriptor_ui) "
        "join mesh_headings as m on m.descriptor_ui = h.descriptor_ui "
        "join current using (pmid, version, file, position) group by all",
        cwd=folder,
    )
    assert asked.returncode == 0, asked.stderr
    expected = {ui: int(count) for ui, count in (line.split(",") for line in asked.stdout.split()[1:])}
    assert {
        node: count for node, count in counts.items() if count and node.startswith("D") and len(node) > 1
    } == expected
    assert counts["root"] == max(counts.values())
    assert read_label_counts(tmp_path / "counts.parquet", nodes).citations == counts["root"]
    with pytest.raises(BioHiCLError, match="holds no label counts"):
        read_label_counts(release / "hierarchy.parquet", nodes)
    for spoilt, said in [
        (pl.col("node").reverse(), "of another hierarchy"),
        (pl.col("citations") - 1, "counts that cannot be"),
        (pl.when(pl.col("node") == "D001281").then(9999).otherwise("citations").alias("citations"), "that cannot be"),
    ]:
        pl.read_parquet(tmp_path / "counts.parquet").with_columns(spoilt).write_parquet(tmp_path / "spoilt.parquet")
        with pytest.raises(BioHiCLError, match=said):
            read_label_counts(tmp_path / "spoilt.parquet", nodes)


def test_training_weighs_by_the_corpus_where_asked(made, tmp_path):
    folder, config = made
    counts = tmp_path / "counts.parquet"
    count_labels(folder / "results/training/releases/tests", folder / "results/pubmed", 0.1, counts)
    weighed = {"losses": {"mse": {"weight": 1.0}}, "schedule__max_steps": 2}
    losses = {}
    for weight in ("corpus", "depth"):
        block = node(config, labels__weight=weight, **weighed)
        assert configuration.needs_label_counts(block) == (weight == "corpus")
        output = run(made, tmp_path / weight, block, label_counts=counts if weight == "corpus" else None)
        losses[weight] = pq.read_table(output / "training_log.parquet")["loss"][0].as_py()
        inputs = json.loads((output / "manifest.json").read_text())["inputs"]
        assert ("label_counts" in inputs) == (weight == "corpus")
    assert losses["corpus"] != pytest.approx(losses["depth"])
    with pytest.raises(BioHiCLError, match="needs the counts of a corpus"):
        run(made, tmp_path / "without", node(config, labels__weight="corpus", **weighed), label_counts=None)


def test_tokens_are_the_tokenizers_and_cut(made, tmp_path):
    from transformers import AutoTokenizer

    folder, _ = made
    selection, backbone = folder / "results/training/selections/abstracts.parquet", tmp_path / "backbone"
    shutil.copytree(folder / "resources/backbones/sample-bert", backbone)
    config = json.loads((backbone / "config_sentence_transformers.json").read_text())
    config["prompts"] = {"query": "find ", "document": "text "}
    (backbone / "config_sentence_transformers.json").write_text(json.dumps(config))
    write_tokens(selection, backbone, 24, tmp_path / "tokens.parquet")
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    first = pl.read_parquet(selection).row(0, named=True)
    row = pl.read_parquet(tmp_path / "tokens.parquet").row(0, named=True)
    expected = {
        "document": f"text {first['title']} {first['abstract']}",
        "query": f"find {first['title']}",
        "passage": f"text {first['abstract']}",
    }
    for view, text in expected.items():
        assert row[view] == tokenizer(text, truncation=True, max_length=24)["input_ids"]
    with pytest.raises(BioHiCLError, match="max_length is 400, but backbone reads at most 96"):
        write_tokens(selection, backbone, 400, tmp_path / "more.parquet")
    (backbone / "biohicl_encoder.json").write_text(json.dumps({"document_form": "pair"}))
    with pytest.raises(BioHiCLError, match="can be evaluated, not trained from; start the node from another backbone"):
        write_tokens(selection, backbone, 24, tmp_path / "more.parquet")


def test_tables_of_different_selections_do_not_mix(made, tmp_path):
    folder, config = made
    labels = pq.read_table(folder / "results/training/labels/abstracts.parquet")
    pq.write_table(labels.slice(1), tmp_path / "labels.parquet")
    with pytest.raises(BioHiCLError, match="not of the same selection"):
        read_training_data(inputs_of(made, labels=tmp_path / "labels.parquet"), config["nodes"]["biohicl-base"])


def test_labels_of_another_hierarchy_are_refused(made, tmp_path):
    """Even where every id is one that the hierarchy has."""
    labels_without(made, tmp_path, "Mice", 1.0)
    with pytest.raises(BioHiCLError, match="its ids are of another hierarchy"):
        read_training_data(inputs_of(made, labels=tmp_path / "labels.parquet"), made[1]["nodes"]["biohicl-base"])


def test_labels_outside_the_hierarchy_are_refused(made, tmp_path):
    """The fingerprint is right, and the ids are not: a table that was changed by hand."""
    folder, config = made
    table = pq.read_table(folder / "results/training/labels/abstracts.parquet")
    lists = table["closed"].to_pylist()
    lists[3][-1] = 1_000_000
    spoilt = table.set_column(
        table.column_names.index("closed"), table.schema.field("closed"), pa.array(lists, pa.list_(pa.int32()))
    )
    pq.write_table(spoilt, tmp_path / "labels.parquet")
    with pytest.raises(BioHiCLError, match=r"column closed has ids outside the hierarchy's [\d,]+ nodes"):
        read_training_data(inputs_of(made, labels=tmp_path / "labels.parquet"), config["nodes"]["biohicl-base"])


@pytest.mark.parametrize("spoil", ["record", "citations", "articles"])
def test_a_release_that_was_changed_by_hand_is_refused(made, tmp_path, spoil):
    folder, _ = made
    shutil.copytree(folder / "results/training/releases/tests", tmp_path / "release")
    shutil.copytree(folder / "results/pubmed/articles", tmp_path / "pubmed/articles")
    said = "is not the table that was frozen"
    if spoil == "record":
        record = json.loads((tmp_path / "release/release.json").read_text())
        (tmp_path / "release/release.json").write_text(json.dumps(record | {"files": record["files"][:1]}))
        said = "does not list pubmed99n0002"
    elif spoil == "citations":
        pl.read_parquet(tmp_path / "release/citations.parquet").head(100).write_parquet(
            tmp_path / "release/citations.parquet"
        )
    else:
        path = tmp_path / "pubmed/articles/pubmed99n0001.parquet"
        frame = pl.read_parquet(path)
        pl.concat([frame, frame]).write_parquet(path)
        said = "pubmed99n0001.parquet: has"
    with pytest.raises(BioHiCLError, match=said):
        count_labels(tmp_path / "release", tmp_path / "pubmed", 0.1, tmp_path / "counts.parquet")
    assert not (tmp_path / "counts.parquet").exists()
