"""SimL in all its forms against a reference by sets, and the properties that a similarity of label sets must have."""

import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import biohicl.mesh.similarity
from biohicl.errors import BioHiCLError
from biohicl.mesh.hierarchy import hierarchy_rows, position_forest
from biohicl.mesh.label_sets import LabelSets, closed_labels, direct_labels
from biohicl.mesh.nodes import Nodes, check_tags
from biohicl.mesh.schema import HIERARCHY
from biohicl.mesh.similarity import METHODS, OVERLAPS
from biohicl.mesh.weights import LabelCounts, Weighting, node_weights, weighting
from biohicl.ragged import Ragged
from biohicl.training.targets import Targets, dense_similarity
from label_reference import CHECK_TAGS, Reference

UIS = ["D000001", "D000002", "D000003", "D000004", "D000005", "D006801", "D008297"]
PLAIN = {"weight": "none", "depth": "min", "roots": "none", "smoothing": 1.0, "check_tags": 1.0, "minor_topics": 1.0}

numbers = st.lists(
    st.tuples(
        st.sampled_from(UIS[:-1]),  # D008297 (Male) has no position
        st.tuples(st.sampled_from("AB"), st.lists(st.sampled_from(["001", "002"]), max_size=3)).map(
            lambda parts: ".".join([f"{parts[0]}01", *parts[1]])
        ),
    ),
    max_size=14,
    unique=True,
)
citations = st.lists(st.dictionaries(st.sampled_from(UIS), st.booleans(), max_size=5), min_size=1, max_size=6)
ways = st.fixed_dictionaries(
    {
        "weight": st.sampled_from(["none", "depth", "seco", "sanchez", "corpus"]),
        "depth": st.sampled_from(["min", "mean", "max"]),
        "roots": st.sampled_from(["none", "category", "all"]),
        "smoothing": st.sampled_from([0.1, 1.0, 5.0]),
        "check_tags": st.sampled_from([1.0, 0.5, 0.0]),
        "minor_topics": st.sampled_from([1.0, 0.25, 0.0]),
    }
)


def nodes_of(pairs, uis=UIS):
    rows = hierarchy_rows(dict.fromkeys(uis, "x"), position_forest(pairs))
    return Nodes.of(pa.Table.from_pylist(rows, HIERARCHY))


def sets_of(headings, nodes):
    """Direct label sets of citations, each a dict from UI to whether it is a major topic."""
    places = [list(nodes.uis).index(ui) for one in headings for ui in one]
    offsets = np.cumsum([0, *map(len, headings)])
    majors = np.array([major for one in headings for major in one.values()], dtype=bool)
    uis = np.array(list(nodes.uis), dtype=object)
    direct, unknown = direct_labels(Ragged(np.array(places, dtype=np.int64), offsets), uis, majors, nodes)
    assert not unknown
    return {"direct": direct, "closed": closed_labels(direct, nodes)}


def counts_of(closed, nodes):
    return LabelCounts(len(closed), np.bincount(closed.ids.values, minlength=nodes.count))


@pytest.fixture(params=[0, 2, 400], ids=["sparse", "mixed", "dense"])
def product(request):
    """How products are taken: in sets as small as these, every id would be multiplied dense."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biohicl.mesh.similarity, "DENSE_ABOVE", request.param)
        yield


@pytest.mark.usefixtures("product")
@settings(max_examples=200, deadline=None)
@given(pairs=numbers, headings=citations, way=ways)
def test_every_similarity_equals_its_definition_by_sets(pairs, headings, way):
    nodes = nodes_of(pairs)
    corpus = [one for one in headings if one]
    sets = sets_of(headings, nodes)
    counts = LabelCounts(max(len(corpus), 1), np.bincount(sets["closed"].ids.values, minlength=nodes.count))
    reference = Reference(UIS, pairs, corpus or [{}])
    weighed = weighting(nodes, way, counts)
    for node, weight in zip(reference.nodes, weighed.nodes, strict=True):
        assert weight == pytest.approx(max(reference.weight(node, way), 0.0), abs=1e-6), node
    for name, method in METHODS.items():
        of_all = sets[method.labels]
        found = method.similarity(of_all, of_all, weighed)
        expected = [[getattr(reference, name)(p, q, way) for q in headings] for p in headings]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=name)


@pytest.mark.usefixtures("product")
@settings(max_examples=120, deadline=None)
@given(pairs=numbers, headings=citations, way=ways, order=st.randoms(use_true_random=False))
def test_properties(pairs, headings, way, order):
    """Symmetric, in [0, 1], 1 on identical sets, 0 only without a common weighted label, in any order of labels; and
    rows against columns are a part of all against all."""
    nodes = nodes_of(pairs)
    sets = sets_of(headings, nodes)
    weighed = weighting(nodes, way, counts_of(sets["closed"], nodes))
    shuffled = [dict(sorted(one.items(), key=lambda _: order.random())) for one in headings]
    again = sets_of(shuffled, nodes)
    for name, method in METHODS.items():
        of_all = sets[method.labels]
        found = method.similarity(of_all, of_all, weighed)
        np.testing.assert_array_equal(found, found.T, err_msg=name)
        assert ((found >= 0) & (found <= 1)).all()
        np.testing.assert_array_equal(method.similarity(again[method.labels], of_all, weighed), found)
        some = np.arange(len(headings))[::2]
        np.testing.assert_allclose(method.similarity(of_all.take(some), of_all, weighed), found[some], atol=1e-7)
        # What has weight of each set: of best_match all that stands above its weighted labels too.
        weighted = [
            {
                int(node)
                for label in one
                for node in (nodes.closure.rows(np.array([label]))[0] if name == "best_match" else [label])
                if weighed.nodes[node] > 0
            }
            for one in weighted_labels(of_all, weighed)
        ]
        for i, one in enumerate(weighted):
            for j, other in enumerate(weighted):
                assert (found[i, j] == 0) == (not one & other), name
                if one and headings[i] == headings[j]:
                    assert found[i, j] == 1, name


def weighted_labels(sets, weighed):
    factors = weighed.factors[sets.kinds]
    kept = (weighed.nodes[sets.ids.values] > 0) & (factors > 0)
    owner = np.repeat(np.arange(len(sets)), sets.ids.lengths())
    return [set(sets.ids.values[kept & (owner == number)].tolist()) for number in range(len(sets))]


label_sets = st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=7)
weight_vectors = st.lists(st.floats(2**-10, 4, width=32), min_size=12, max_size=12)


def plain_sets(sets):
    ids = Ragged(
        np.array([label for labels in sets for label in sorted(labels)], dtype=np.int32),
        np.cumsum([0, *map(len, sets)]).astype(np.int64),
    )
    return LabelSets(ids, np.ones(len(ids.values), dtype=np.uint8))


def plain_weighting(weights):
    closure = Ragged(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    return Weighting(np.array(weights, dtype=np.float32), np.ones(16, dtype=np.float32), closure)


@settings(max_examples=300, deadline=None)
@given(sets=label_sets, weights=weight_vectors)
def test_simgic_with_squared_weights_is_never_above_the_cosine(sets, weights):
    """And is c / (2 - c) where both vectors have the same length."""
    labels = plain_sets(sets)
    cosine = METHODS["cosine"].similarity(labels, labels, plain_weighting(weights)).astype(float)
    simgic = METHODS["simgic"].similarity(labels, labels, plain_weighting(np.square(weights))).astype(float)
    assert (simgic <= cosine + 1e-6).all()
    equal = METHODS["cosine"].similarity(labels, labels, plain_weighting(np.ones(12))).astype(float)
    jaccard = METHODS["simgic"].similarity(labels, labels, plain_weighting(np.ones(12))).astype(float)
    for i, one in enumerate(sets):
        for j, other in enumerate(sets):
            if len(one) == len(other):
                assert jaccard[i, j] == pytest.approx(equal[i, j] / (2 - equal[i, j]), abs=1e-6)


def test_dropped_check_tags_take_along_only_what_they_alone_brought():
    pairs = [("D000001", "B01"), ("D000002", "B01.001"), ("D006801", "B01.001.001"), ("D000003", "B01.001.002")]
    nodes = nodes_of(pairs)
    human, whale, both = {"D006801": False}, {"D000003": True}, {"D006801": False, "D000003": False}
    sets = sets_of([human, whale, both, {"D008297": False}], nodes)["closed"]
    found = METHODS["cosine"].similarity(sets, sets, weighting(nodes, PLAIN | {"check_tags": 0.0}))
    # Only humans: nothing is left, not even the mammals above them. A whale keeps its own.
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    kept = METHODS["cosine"].similarity(sets, sets, weighting(nodes, PLAIN))
    assert kept[0, 1] == pytest.approx(2 / 3)
    assert kept[3, 3] == 1


def test_the_list_of_check_tags_is_in_the_sample_under_the_names_it_gives(sample, tmp_path):
    from biohicl.sample.world import World

    known = World().descriptors
    assert set(known) & check_tags() >= {"D006801", "D008297", "D005260", "D000818", "D051379", "D000328"}
    assert len(check_tags()) >= 30
    assert not any(known[ui].name in ("Neoplasms", "Europe") for ui in set(known) & check_tags())


def test_real_check_tags_have_the_names_of_the_list(shared, real_nodes):
    import csv
    import importlib.resources

    text = importlib.resources.files("biohicl.mesh").joinpath("check_tags.tsv").read_text()
    rows = list(csv.DictReader((line for line in text.splitlines() if not line.startswith("#")), delimiter="\t"))
    names = dict(pl.read_parquet(real_nodes[1] / "descriptors.parquet").select("descriptor_ui", "name").iter_rows())
    assert {row["ui"]: row["name"] for row in rows} == {row["ui"]: names[row["ui"]] for row in rows}
    assert len({row["ui"] for row in rows}) == len(rows)


def test_the_fingerprint_tells_hierarchies_with_the_same_names_apart():
    pairs = [("D000001", "A01"), ("D000002", "A01.001"), ("D000003", "A01.002")]
    moved = [("D000001", "A01"), ("D000002", "A01.001"), ("D000003", "A01.001.002")]
    one, again, other = nodes_of(pairs), nodes_of(pairs), nodes_of(moved)
    assert one.names == other.names
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_corpus_counts_of_another_release_are_refused():
    nodes = nodes_of([("D000001", "A01")])
    with pytest.raises(BioHiCLError, match="of different releases"):
        node_weights(nodes, PLAIN | {"weight": "corpus"}, LabelCounts(3, np.zeros(2, dtype=np.int64)))
    with pytest.raises(BioHiCLError, match="needs the counts"):
        node_weights(nodes, PLAIN | {"weight": "corpus"})


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"check_tags": 2.0}, "labels.check_tags: found 2.0"),
        ({"minor_topics": float("nan")}, "labels.minor_topics: found nan"),
        ({"roots": "foo"}, "labels.roots: 'foo' is none of none, category, all"),
        ({"weight": "idf"}, "labels.weight: 'idf' is none of"),
        ({"weight": "corpus", "smoothing": -1.0}, "labels.smoothing: found -1.0"),
        ({"weight": "corpus", "smoothing": float("nan")}, "labels.smoothing: found nan"),
    ],
)
def test_settings_by_hand_that_mean_nothing_are_refused(over, said):
    nodes = nodes_of([("D000001", "A01")])
    with pytest.raises(BioHiCLError, match=said):
        weighting(nodes, PLAIN | over, LabelCounts(3, np.full(nodes.count, 3)))


def test_dense_products_are_exact_for_sets_of_small_values_too():
    pairs = [("D000001", "A01"), ("D000002", "A01.001"), ("D006801", "B01.001"), ("D000003", "B01")]
    nodes = nodes_of(pairs)
    headings = [{"D000001": True, "D000003": False}, {"D006801": False}, {"D006801": False, "D000002": False}]
    sets = sets_of(headings, nodes)["closed"]
    weighed = weighting(nodes, PLAIN | {"weight": "depth", "check_tags": 0.001, "minor_topics": 0.01})
    for overlap in ("cosine", "simgic"):
        expected = METHODS[overlap].similarity(sets, sets, weighed)
        found = dense_similarity(OVERLAPS[overlap], sets, weighed, torch.device("cpu")).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(found == 0, expected == 0)


def test_an_unknown_heading_is_counted_and_left_out():
    nodes = nodes_of([("D000001", "A01")])
    uis = np.array(["D000001", "D999999", None], dtype=object)
    headings = Ragged(np.array([0, 1, 1, 2, 1]), np.array([0, 2, 2, 5]))
    direct, unknown = direct_labels(headings, uis, np.zeros(5, dtype=bool), nodes)
    assert unknown == {"D999999": 3, None: 1}
    assert [row.tolist() for row in direct.ids.rows(np.arange(3))] == [[0], [], []]


# --- on real citations --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_nodes(shared, tmp_path_factory):
    """Nodes of MeSH 2024, and the folder of its tables."""
    from biohicl.mesh.hierarchy import write_hierarchy
    from biohicl.mesh.nodes import read_nodes
    from biohicl.mesh.parse import parse_mesh_file

    folder = tmp_path_factory.mktemp("mesh")
    parse_mesh_file(shared / "data/nlm/mesh/desc2024.gz", folder)
    write_hierarchy(folder, folder / "hierarchy.parquet", folder / "anomalies.parquet", folder / "graph.graphml")
    return read_nodes(folder / "hierarchy.parquet"), folder


@pytest.fixture(scope="module")
def real_sets(shared, real_nodes, tmp_path_factory):
    """Label sets of 20,788 records of an update file and of a screening file's first ones, with their headings."""
    from biohicl.pubmed.parse import parse_pubmed_file
    from biohicl.training.labels import labels_of
    from biohicl.training.release import headings_of

    folder = tmp_path_factory.mktemp("pubmed")
    tables = [folder / f"{name}.parquet" for name in ("articles", "headings", "deleted", "quarantine")]
    parse_pubmed_file(shared / "data/nlm/pubmed/baseline/pubmed20n9001.xml.gz", *tables)
    frame = headings_of(pl.read_parquet(tables[0], columns=["pmid", "mesh_headings"]))
    direct, unknown = labels_of(frame, real_nodes[0])
    assert not unknown
    return {"direct": direct, "closed": closed_labels(direct, real_nodes[0])}, frame


@pytest.mark.parametrize("weight", ["none", "depth", "seco", "sanchez", "corpus"])
def test_thousands_of_real_pairs_equal_the_definition(real_nodes, real_sets, weight):
    """Pairs of real citations, by sets: node by node from the closure, weights as the project computes them."""
    nodes, _ = real_nodes
    sets, frame = real_sets
    draw = np.random.default_rng(7)
    some = draw.choice(len(sets["direct"]), 64, replace=False)
    way = PLAIN | {"weight": weight, "roots": "category", "check_tags": 0.5}
    weighed = weighting(nodes, way, counts_of(sets["closed"], nodes))
    weights = weighed.nodes.astype(float)
    ids = {ui: number for number, ui in enumerate(nodes.uis)}
    tags = {ids[ui] for ui in check_tags() if ui in ids}
    above = {number: set(row.tolist()) for number, row in enumerate(nodes.closure.rows(np.arange(nodes.descriptors)))}
    vectors, flats = [], []
    for number in some:
        flat = {ids[ui]: 0.5 if ids[ui] in tags else 1.0 for ui in frame["descriptor_uis"][int(number)]}
        vector = {}
        for label, factor in flat.items():
            for node in above[label]:
                if weights[node] > 0:
                    vector[node] = max(vector.get(node, 0), factor)
        flats.append({label: factor for label, factor in flat.items() if weights[label] > 0})
        vectors.append(vector)

    def cosine(p, q):
        dot = sum(weights[n] ** 2 * p[n] * q[n] for n in p.keys() & q.keys())
        return dot / math.sqrt(math.prod(sum((weights[n] * m) ** 2 for n, m in v.items()) for v in (p, q)))

    def simgic(p, q):
        shared = sum(weights[n] * min(p[n], q[n]) for n in p.keys() & q.keys())
        return shared / sum(weights[n] * max(p.get(n, 0), q.get(n, 0)) for n in p.keys() | q.keys())

    def lin(a, b):
        common = max((weights[n] for n in above[a] & above[b]), default=0)
        return 1.0 if a == b else min(2 * common / (weights[a] + weights[b]), 1.0)

    def best_match(p, q):
        halves = [
            sum(m * max(lin(a, b) for b in those) for a, m in these.items()) / sum(these.values())
            for these, those in ((p, q), (q, p))
        ]
        return sum(halves) / 2

    definitions = {
        "cosine": (cosine, vectors),
        "simgic": (simgic, vectors),
        "flat_cosine": (cosine, flats),
        "best_match": (best_match, flats),
    }
    for name, (definition, values) in definitions.items():
        method = METHODS[name]
        taken = sets[method.labels].take(some)
        found = method.similarity(taken, taken, weighed)
        expected = [[definition(p, q) if p and q else 0.0 for q in values] for p in values]
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


# --- dense, as on a GPU --------------------------------------------------------------------------------

devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", devices)
@settings(max_examples=150, deadline=None)
@given(pairs=numbers, headings=citations, way=ways)
def test_dense_products_in_half_precision_give_the_same(device, pairs, headings, way):
    nodes = nodes_of(pairs)
    sets = sets_of(headings, nodes)
    weighed = weighting(nodes, way, counts_of(sets["closed"], nodes))
    for name, overlap in OVERLAPS.items():
        taken = sets[METHODS[name].labels]
        expected = METHODS[name].similarity(taken, taken, weighed)
        found = dense_similarity(overlap, taken, weighed, torch.device(device)).cpu().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(found == 0, expected == 0)


@pytest.mark.parametrize("device", devices)
@pytest.mark.parametrize("weight", ["depth", "corpus"])
def test_dense_products_of_real_batches_give_the_same(real_nodes, real_sets, weight, device):
    nodes, _ = real_nodes
    sets, _ = real_sets
    weighed = weighting(nodes, PLAIN | {"weight": weight, "check_tags": 0.5}, counts_of(sets["closed"], nodes))
    taken = sets["closed"].take(np.random.default_rng(3).choice(len(sets["closed"]), 512, replace=False))
    for name in ("cosine", "simgic"):
        expected = METHODS[name].similarity(taken, taken, weighed)
        found = dense_similarity(OVERLAPS[name], taken, weighed, torch.device(device)).cpu().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(found == 0, expected == 0)


def test_targets_of_a_batch_are_those_of_its_citations():
    nodes = nodes_of([("D000001", "A01"), ("D000002", "A01.001"), ("D000003", "B01")])
    headings = [{"D000001": True}, {"D000002": False}, {"D000003": True}, {"D000002": True}]
    for name, method in METHODS.items():
        sets = sets_of(headings, nodes)[method.labels]
        targets = Targets(sets, weighting(nodes, PLAIN), name)
        found = targets.of(np.array([3, 0, 1]), torch.device("cpu"))
        whole = method.similarity(sets, sets, weighting(nodes, PLAIN))
        np.testing.assert_array_equal(found.numpy(), whole[np.ix_([3, 0, 1], [3, 0, 1])])


def test_reference_and_project_have_the_same_check_tags():
    assert check_tags() & set(UIS) == CHECK_TAGS
