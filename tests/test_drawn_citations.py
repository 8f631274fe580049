"""Citations drawn from the DTD: the tables hold what the model says, however the XML is written."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citation_rows import rows_of
from citation_trees import tree_of
from drawn_citations import sets
from pubmed_reference import assert_equal_to_reference, assert_same_rows, difference, read
from pubmed_tables import in_pieces, parsed
from xml_writing import Style, serialised, styles

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
)
MANY = settings(FEW, max_examples=1500, derandomize=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


def written(model, style, folder):
    path = folder / ("drawn.xml" if style.packing == "plain" else "drawn.xml.gz")
    path.write_bytes(serialised(tree_of(model), style))
    return path


def ordered(articles, flat, deletes):
    """The reference's rows in the tables' order."""
    flat = sorted(flat, key=lambda h: (h["descriptor_ui"] is None, h["descriptor_ui"] or "", h["position"]))
    return articles, flat, sorted(deletes, key=lambda d: (d["pmid"], d["version"]))


def assert_model_and_reference_agree(folder, model, style):
    right = rows_of(model)
    for found, expected in zip(ordered(*read(written(model, style, folder))), right, strict=True):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one == other, difference(one, other)


def assert_parser_agrees(folder, model, style):
    path = written(model, style, folder)
    tables = parsed(path, folder)
    assert_equal_to_reference(tables, path)
    for table, expected, name in zip(tables, rows_of(model), ("articles", "mesh_headings", "deleted"), strict=True):
        assert_same_rows(table, expected, name)


def assert_two_writings_agree(folder, model, style, other):
    one = parsed(written(model, style, folder), folder)
    another = parsed(written(model, other, folder), folder)
    for table, again in zip(one, another, strict=True):
        assert table.equals(again)


@given(model=sets, style=styles)
@FEW
def test_the_reference_reads_what_the_model_says(folder, model, style):
    assert_model_and_reference_agree(folder, model, style)


@given(model=sets, style=styles)
@FEW
def test_the_tables_hold_what_the_model_says_and_the_reference_reads(folder, model, style):
    assert_parser_agrees(folder, model, style)


@given(model=sets, style=styles, other=styles)
@settings(FEW, max_examples=30)
def test_how_the_xml_is_written_does_not_matter(folder, model, style, other):
    assert_two_writings_agree(folder, model, style, other)


def assert_pieces_do_not_matter(folder, model, style, size):
    # The filler is for pieces of the usual size; small ones end anywhere without it.
    with in_pieces(size):
        assert_parser_agrees(folder, model, replace(style, filler=0))


@given(model=sets, style=styles, size=st.integers(40, 3000))
@FEW
def test_pieces_may_end_anywhere(folder, model, style, size):
    assert_pieces_do_not_matter(folder, model, style, size)


@given(model=sets, seed=st.integers(0, 2**32))
@settings(FEW, max_examples=20)
@pytest.mark.parametrize(
    "way", ["comments", "instructions", "cdata", "character_references", "space_in_tags", "padded"]
)
def test_no_single_way_of_writing_matters(folder, model, way, seed):
    assert_parser_agrees(folder, model, replace(Style(seed=seed), **{way: True}))


@pytest.mark.faults
@given(model=sets, style=styles)
@MANY
def test_many_models_in_the_reference(folder, model, style):
    assert_model_and_reference_agree(folder, model, style)


@pytest.mark.faults
@given(model=sets, style=styles)
@MANY
def test_many_models_in_the_tables(folder, model, style):
    assert_parser_agrees(folder, model, style)


@pytest.mark.faults
@given(model=sets, style=styles, other=styles)
@MANY
def test_many_pairs_of_writings(folder, model, style, other):
    assert_two_writings_agree(folder, model, style, other)


@pytest.mark.faults
@given(model=sets, style=styles, size=st.integers(40, 3000))
@MANY
def test_many_pieces(folder, model, style, size):
    assert_pieces_do_not_matter(folder, model, style, size)
