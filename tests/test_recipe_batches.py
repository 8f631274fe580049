"""What the recipes' batches hold beside texts and titles: own queries, hard negatives, a teacher's vectors."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged
from biohicl.training.data import with_titled
from biohicl.training.plan import snapshot_steps
from biohicl.training.rows import QUERY_KINDS as KINDS
from biohicl.training.teacher import keys_of
from biohicl.training.train import Options
from trainings import CPU, EVERY_LOSS, inputs_of, node, own_tables, run, training

ASKING = {
    "title_abstract": {"weight": 1.0, "temperature": 0.05, "share": 0.4, "mask_above": None},
    "heading_abstract": {"weight": 1.0, "temperature": 0.05, "share": 0.3, "headings": 2},
    "query_text": {"weight": 1.0, "temperature": 0.05, "share": 0.3, "mask_above": None, "kinds": None},
}
HARD = {"bm25": 2, "siblings": 1, "max_similarity": 0.4}


@pytest.fixture
def asking(made, tmp_path):
    block = node(made[1], losses=ASKING, negatives=HARD, schedule__batch_size=30)
    return training(made, block, tmp_path, **own_tables(made, tmp_path))


def items_of(batch):
    """The token lists of a batch, in the order of its items."""
    count = sum(len(dealt) for dealt in batch.dealt)
    lists = [None] * count
    for places, packed in batch.chunks:
        for place, item in zip(packed.places.tolist(), batch.dealt[0][places].tolist(), strict=True):
            lists[item] = packed.ids[0, packed.offsets[place] : packed.offsets[place + 1]].tolist()
    return lists


def test_a_text_with_a_query_of_its_own_is_read_without_the_query(asking):
    own, tokens = asking.data.queries, asking.data.tokens
    spans = names = 0
    for step in range(1, 6):
        batch = asking.preparer.prepare(step)
        lists = items_of(batch)
        asked = lists[len(batch.rows) + len(batch.titles) + len(batch.headings) :][: len(batch.queries)]
        assert len(batch.queries) == 9
        for place, query in zip(batch.queries, asked, strict=True):
            row = int(batch.rows[place])
            candidates = [int(number) for number in range(own.first[row], own.first[row + 1])]
            number = next(n for n in candidates if own.tokens.rows([n])[0].tolist() == query)
            document = tokens["document"].rows([row])[0].tolist()
            if KINDS[own.kinds[number]] == "synonym":
                names += 1
                assert lists[place] == tokens["passage"].rows([row])[0].tolist()
            else:
                start, end = own.spans[number]
                spans += end > start
                assert lists[place] == document[:start] + document[end:]
        for place in set(range(len(batch.rows))) - set(batch.queries.tolist()):
            view = "passage" if place in batch.titles else "document"
            assert lists[place] == tokens[view].rows([int(batch.rows[place])])[0].tolist()
    assert spans > 3
    assert names > 3


def readings(data, row, loss):
    """The ways in which a right answer of this loss may be read: without one of its own queries, where it has any."""
    document, passage = (data.tokens[view].rows([row])[0].tolist() for view in ("document", "passage"))
    if loss == "title_abstract":
        return [passage]
    own = data.queries
    numbers = range(own.first[row], own.first[row + 1])
    cut = [passage if KINDS[own.kinds[n]] in ("name", "synonym") else without(document, own.spans[n]) for n in numbers]
    return cut or [document]


def without(document, span):
    return document[: span[0]] + document[span[1] :]


def test_a_wrong_answer_is_read_as_a_right_one(asking):
    """A text cannot be told for wrong by words that right ones are read without."""
    own, draw = asking.data.queries, np.random.default_rng(0)
    document, passage = np.arange(90), np.arange(40)
    # Of concepts, whose queries are all names, those without a synonym too.
    names = replace(own, kinds=np.full(len(own.kinds), KINDS.index("synonym")))
    for row in range(12):
        assert names.as_answer(row, document, passage, draw).tolist() == passage.tolist()
        found = own.as_answer(row, document, passage, draw).tolist()
        numbers = [int(n) for n in range(own.first[row], own.first[row + 1])]
        cut = [
            passage.tolist() if KINDS[own.kinds[n]] == "synonym" else without(document.tolist(), own.spans[n])
            for n in numbers
        ]
        assert found in (cut or [document.tolist()])


def test_who_is_right_is_left_out_before_the_nearest_are_drawn(asking):
    data = asking.data
    wanted = data.targets.of(np.arange(len(data)), torch.device("cpu")).numpy()
    rows, nearest = np.array([4, 9, 4, 0]), data.negatives["bm25"]
    found = asking.preparer._wrong(rows, nearest, 8)
    for row, others in zip(rows, found, strict=True):
        near = nearest.rows([row])[0][:8].tolist()
        wrong = [n for n in near if n != row and wanted[row, n] <= HARD["max_similarity"]]
        assert others.tolist() == [n for n in wrong if not asking.is_held_out[n]]
    assert 0 < sum(map(len, found)) < 4 * 8


def test_held_out_texts_are_no_hard_negatives(asking):
    nearest, rows = asking.data.negatives["bm25"], np.arange(len(asking.data))
    some = set(np.flatnonzero(asking.is_held_out))
    assert some & set(nearest.values.tolist()), "they are near to some"
    found = asking.preparer._wrong(rows, nearest, 8)
    assert found
    assert not some & {int(other) for others in found for other in others}
    asking.preparer.is_held_out[:] = False
    assert sum(map(len, asking.preparer._wrong(rows, nearest, 8))) > sum(map(len, found))


def test_what_masks_texts_of_the_batch_masks_hard_negatives_too(asking):
    data = asking.data
    texts = np.arange(30)
    wanted = data.targets.of(texts, torch.device("cpu"))[:10]
    target = asking.preparer._masking(texts, 10, 0.2, ())
    hard = target[:, 10:]
    is_right = wanted[:, 10:] > HARD["max_similarity"]
    torch.testing.assert_close(hard, torch.where(is_right, 2.0, wanted[:, 10:]))
    assert ((hard > 0.2) & (hard < 1)).any(), "more SimL than is masked, and no right answer"
    assert (asking.preparer._masking(texts, 10, None, ())[:, 10:] > 0).equal(is_right)


def test_hard_negatives_are_the_nearest_of_the_batch_and_none_is_right(asking):
    data = asking.data
    wanted = data.targets.of(np.arange(len(data)), torch.device("cpu")).numpy()
    masked = similar_headed = told_apart = 0
    for step in range(1, 4):
        batch = asking.preparer.prepare(step)
        lists = items_of(batch)
        for loss, places in (("title_abstract", batch.titles), ("query_text", batch.queries)):
            extras = batch.orders.negatives[loss].tolist()
            own = batch.rows[places]
            near = {
                int(n) for row in own for source in ("bm25", "siblings") for n in data.negatives[source].rows([row])[0]
            }
            by_tokens = {tuple(read): n for n in near for read in readings(data, n, loss)}
            rows = np.array([by_tokens[tuple(lists[item])] for item in extras])
            assert len(extras) > len(own), "about three a query"
            target = batch.targets[loss].numpy()
            assert target.shape == (len(own), len(own) + len(rows))
            for i, row in enumerate(own):
                for j, other in enumerate(rows, start=len(own)):
                    is_right = row == other or wanted[row, other] > HARD["max_similarity"]
                    assert (target[i, j] > 1) == is_right
                    masked += is_right
            assert not (target[:, : len(own)] > 1).any(), "no two texts of one citation here"
        carried, headed = batch.targets["heading_abstract"].numpy(), batch.rows[batch.headings]
        extras = batch.orders.negatives["heading_abstract"].tolist()
        assert carried.shape == (len(headed), len(headed) + len(extras))
        by_tokens = {tuple(read): n for n in range(len(data)) for read in readings(data, n, "heading_abstract")}
        by_tokens |= {tuple(data.tokens["document"].rows([n])[0].tolist()): n for n in range(len(data))}
        rows = np.array([by_tokens[tuple(lists[item])] for item in extras])
        too_similar = wanted[np.ix_(headed, rows)] > HARD["max_similarity"]
        assert (carried[:, len(headed) :][too_similar] == 1).all()
        similar_headed += too_similar.sum()
        told_apart += (carried[:, len(headed) :] == 0).sum()
    assert masked > 0, "a negative of one query is right for another at times"
    assert similar_headed > 0
    assert told_apart > 0


def test_texts_that_share_a_labelled_query_are_no_wrong_answers(asking):
    shared = asking.data.queries.shared(np.array([7, 4, 5]), [int(asking.data.queries.first[5])])
    assert shared.tolist() == [[True, False, True]]
    target = asking.preparer._masking(
        np.array([5, 7, 4]), 3, None, [int(asking.data.queries.first[row]) for row in (5, 7, 4)]
    )
    assert (target > 1).tolist() == [[False, True, False], [True, False, False], [False] * 3]


def test_texts_of_one_number_are_no_wrong_answers(asking):
    """Two descriptions of one descriptor."""
    asking.data.numbers[11] = asking.data.numbers[12]
    target = asking.preparer._masking(np.array([11, 3, 12]), 3, None, ())
    assert (target > 1).tolist() == [[False, False, True], [False] * 3, [True, False, False]]


@pytest.mark.parametrize("losses", ["asking", "every"])
def test_the_gradients_of_chunks_are_those_of_the_whole(made, tmp_path, losses):
    chosen = (
        ASKING
        if losses == "asking"
        else {
            **EVERY_LOSS,
            "title_abstract": {**EVERY_LOSS["title_abstract"], "share": 0.4},
            "heading_abstract": {**EVERY_LOSS["heading_abstract"], "share": 0.3},
            "query_text": {**ASKING["query_text"], "mask_above": 0.5},
        }
    )
    block = node(made[1], losses=chosen, negatives=HARD, schedule__batch_size=24)
    one = training(made, block, tmp_path, **own_tables(made, tmp_path))
    found = []
    for chunk in (None, 300):
        one.optimizer.zero_grad()
        one.step.gradients(one.preparer.prepare(2, chunk), cached=chunk is not None)
        found.append({n: p.grad.clone() for n, p in one.model.model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_a_document_without_a_title_has_no_title_to_find_it(asking):
    data = asking.data
    blank, rows = asking._query_tokens([""], data.task)[0], np.arange(30)
    titled_of = partial(with_titled, inputs=asking.inputs, losses=ASKING, blank=blank)
    lists = [blank if row % 3 else ids for row, ids in enumerate(data.tokens["query"].rows(np.arange(len(data))))]
    tokens = {**data.tokens, "query": Ragged.of(pa.array([ids.tolist() for ids in lists], pa.list_(pa.int32())))}
    assert titled_of(replace(data, tokens=tokens)).titled is None, "citations have titles"
    labelled = replace(data, tokens=tokens, called="rows")
    found = titled_of(labelled)
    assert found.titled.tolist() == [row % 3 == 0 for row in range(len(data))]
    asking.preparer.data = found
    titled, headed, asked = asking.preparer.roles(rows, np.random.default_rng(0))
    assert set(titled) == set(range(0, 30, 3)) - {*headed, *asked}
    tokens["query"] = Ragged.of(pa.array([blank.tolist()] * len(data), pa.list_(pa.int32())))
    with pytest.raises(BioHiCLError, match="none of its texts has a title"):
        titled_of(labelled)


def test_fewer_queries_than_asked_for_are_said(made, tmp_path, capsys):
    tables = own_tables(made, tmp_path)
    losses = {**ASKING, "query_text": {**ASKING["query_text"], "kinds": ["labelled"]}}
    one = training(made, node(made[1], losses=losses), tmp_path, **tables)
    assert f"{2 / len(one.data):.1%} of the texts have a query of their own (kind labelled)" in capsys.readouterr().err
    alone = {"query_text": {**ASKING["query_text"], "share": 1.0, "kinds": ["section"]}}
    with pytest.raises(BioHiCLError, match="no text has a query of kind section, and this node learns from nothing"):
        training(made, node(made[1], losses=alone), tmp_path, **tables)


def test_only_texts_with_queries_are_planned_where_nothing_else_is_read(made, tmp_path):
    block = node(
        made[1],
        losses={"query_text": {**ASKING["query_text"], "share": 1.0, "kinds": ["labelled"]}},
        schedule__batch_size=2,
        development__citations=0,
        schedule__epochs=1,
    )
    one = training(made, block, tmp_path, **own_tables(made, tmp_path))
    assert sorted(one.plan.batch(1).tolist()) == [5, 7]
    assert len(one.plan) == 1


def test_tables_of_another_selection_or_reading_are_refused(made, tmp_path):
    block = node(made[1], losses=ASKING, negatives=HARD)
    tables = own_tables(made, tmp_path)
    with pytest.raises(BioHiCLError, match="name their table of tokens with --queries"):
        training(made, block, tmp_path)
    with pytest.raises(BioHiCLError, match="name it with --negatives"):
        training(made, block, tmp_path, queries=tables["queries"])
    table = pq.read_table(tables["queries"])
    pq.write_table(table.slice(1), tmp_path / "other.parquet")
    with pytest.raises(BioHiCLError, match="are not of the same selection: their pmid columns differ"):
        training(made, block, tmp_path, **{**tables, "queries": tmp_path / "other.parquet"})
    pq.write_table(table.replace_schema_metadata({"biohicl.reading": "x"}), tmp_path / "other.parquet")
    with pytest.raises(BioHiCLError, match="of different tokenizers or instructions"):
        training(made, block, tmp_path, **{**tables, "queries": tmp_path / "other.parquet"})


def test_snapshots_are_the_models_that_were(made, tmp_path):
    """A training that ends at the snapshot's step gives the same weights; and the plan is not disturbed by keeping them."""
    from safetensors.torch import load_file

    block = node(made[1], schedule__max_steps=8, schedule__snapshots=2, development__citations=0)
    whole = run(made, tmp_path / "whole", block)
    assert sorted(path.name for path in (whole / "snapshots").iterdir()) == ["4", "6"]
    plain = run(made, tmp_path / "plain", node(made[1], schedule__max_steps=8, development__citations=0))
    last, kept = load_file(plain / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(last[name], kept[name]) for name in last)
    four, six = (load_file(whole / f"snapshots/{step}/model.safetensors") for step in (4, 6))
    assert four.keys() == kept.keys()
    moved = [name for name in kept if not torch.equal(four[name], six[name])]
    assert moved
    name = max(moved, key=lambda n: (kept[n] - four[n]).abs().max().item())
    assert (kept[name] - six[name]).norm() < (kept[name] - four[name]).norm(), "on the way from one to the other"
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["settings"]["schedule"]["snapshots"] == 2
    assert manifest["dtype"]["forward"] == "float32"


def test_a_training_says_what_it_computed_in(made, tmp_path):
    block = node(made[1], schedule__max_steps=2, development__citations=0)
    output = run(made, tmp_path / "node", block, Options(device="cpu", precision="bfloat16"))
    assert json.loads((output / "manifest.json").read_text())["dtype"]["forward"] == "bfloat16"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_only_the_last_layers_train_where_it_says_so(made, tmp_path, method):
    from safetensors.torch import load_file

    block = node(
        made[1],
        trainable__method=method,
        trainable__targets="all-linear",
        trainable__layers=1,
        schedule__max_steps=2,
        development__citations=0,
    )
    output = run(made, tmp_path / "node", block)
    before = load_file(made[0] / "resources/backbones/sample-bert/model.safetensors")
    after = load_file(output / "model.safetensors")
    layers = 1 + max(int(name.split("layer.")[1].split(".")[0]) for name in after if "layer." in name)
    moved = {name for name in after if name in before and not torch.equal(before[name], after[name])}
    assert moved
    assert all(f"layer.{layers - 1}." in name for name in moved)
    if method == "full":
        assert moved == {name for name in after if f"layer.{layers - 1}." in name and "key.bias" not in name} | {
            name for name in moved if "key.bias" in name
        }
    with pytest.raises(BioHiCLError, match=rf"trainable.layers is {layers + 1}, and the model has {layers} layers"):
        training(made, node(made[1], trainable__layers=layers + 1), tmp_path)


@pytest.mark.parametrize(
    ("steps", "wanted", "expected"),
    [(100, 0, []), (100, 1, [50]), (100, 4, [50, 62, 75, 88]), (2, 3, [1]), (1, 2, []), (7, 50, [4, 5, 6])],
)
def test_snapshots_are_spread_over_the_second_half(steps, wanted, expected):
    assert snapshot_steps(steps, wanted) == expected


def test_the_measures_of_development_ask_with_titles(made, asking):
    assert asking.data.has_titles
    assert asking.data.called == "PMIDs"
    pmids = pl.read_parquet(made[0] / "results/training/selections/abstracts.parquet")["pmid"]
    assert asking.data.numbers.tolist() == pmids.to_list()
    assert CPU.precision is None


def test_a_teacher_of_another_width_is_refused_before_the_first_step(made, tmp_path):
    block = node(made[1], losses={"title_abstract": {"share": 1.0}, "teacher_vectors": {}})
    tokens = pq.read_table(inputs_of(made).tokens)
    folder = tmp_path / "teacher"
    folder.mkdir()
    np.save(folder / "query.npy", np.ones((tokens.num_rows, 48), np.float32))
    record = {"keys": keys_of(tokens), "encoder": "x", "rows": tokens.num_rows, "dimension": 48}
    (folder / "query.json").write_text(json.dumps(record))
    with pytest.raises(
        BioHiCLError, match=r"query vectors have 48 numbers, and those of .* 128; encode with a model of"
    ):
        training(made, block, tmp_path, teacher=folder)


def test_vectors_that_an_earlier_run_left_teach_nothing(made, tmp_path):
    """Of the teacher's folder the views that are named are read, and only these decide whether to train again."""
    block = node(made[1], losses={"title_abstract": {"share": 1.0}, "teacher_vectors": {}})
    tokens = pq.read_table(inputs_of(made).tokens)
    folder = tmp_path / "teacher"
    folder.mkdir()
    for view, encoder in (("query", "new"), ("passage", "new"), ("document", "old")):
        np.save(folder / f"{view}.npy", np.ones((tokens.num_rows, 128), np.float32))
        record = {"keys": keys_of(tokens), "encoder": encoder, "rows": tokens.num_rows, "dimension": 128}
        (folder / f"{view}.json").write_text(json.dumps(record))
    with pytest.raises(BioHiCLError, match="are of different encoders"):
        training(made, block, tmp_path, teacher=folder)
    one = training(made, block, tmp_path, teacher=folder, teacher_views=["query", "passage"])
    assert one.data.teacher.keys() == {"query", "passage"}
    before = one.inputs.hashes()["teacher"]
    np.save(folder / "document.npy", np.zeros((1, 1), np.float32))
    assert one.inputs.hashes()["teacher"] == before
    np.save(folder / "query.npy", np.zeros((tokens.num_rows, 128), np.float32))
    assert one.inputs.hashes()["teacher"] != before
