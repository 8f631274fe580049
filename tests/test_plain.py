"""The guard of the shortcut: tags found from "<" and ">" alone, beside expat."""

from xml.parsers import expat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from biohicl.nlm_xml.plain import in_plain_form, outermost, tag_positions

MANY = settings(max_examples=600, deadline=None, derandomize=True, database=None)

MARKS = ["<", ">", " > < ", "/>", "?>", "?", "-", "x", "<b>", "</b>", "</a>", "'", '"', "]]>", "&", " ", "\n"]
signs = st.lists(st.sampled_from(MARKS), max_size=4).map("".join)


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


texts = signs.map(lambda text: escaped(text).replace("]]>", "]]&gt;"))
comments = signs.filter(lambda text: "--" not in text and not text.endswith("-")).map(lambda text: f"<!--{text}-->")
instructions = signs.filter(lambda text: "?>" not in text).map(lambda text: f"<?x {text}?>")
sections = signs.filter(lambda text: "]]>" not in text).map(lambda text: f"<![CDATA[{text}]]>")
attributes = st.one_of(
    st.just(""),
    signs.map(lambda text: ' n="{}"'.format(escaped(text).replace('"', "&quot;"))),
    signs.map(lambda text: " n = '{}' ".format(escaped(text).replace("'", "&apos;"))),
)
plain_parts = st.one_of(texts.map(lambda text: text.replace(">", "")), attributes.map(lambda given: f"<c{given}/>"))
parts = st.one_of(texts, comments, instructions, sections, attributes.map(lambda given: f"<c{given}/>"))


def elements(parts):
    return st.recursive(
        st.lists(parts, max_size=3).map("".join),
        lambda inner: st.lists(
            st.one_of(parts, st.tuples(attributes, inner).map(lambda pair: f"<b{pair[0]}>{pair[1]}</b >")), max_size=3
        ).map("".join),
        max_leaves=5,
    )


contents = st.tuples(elements(parts), attributes, elements(st.one_of(parts, plain_parts))).map(
    lambda drawn: f"{drawn[0]}<a{drawn[1]}>{drawn[2]}</a>"
)


def tags_by_expat(data):
    """Where each tag, comment and instruction inside a root around ``data`` begins."""
    found = set()
    parser = expat.ParserCreate("utf-8")

    def seen(*_):
        found.add(parser.CurrentByteIndex - len(b"<_>"))

    parser.StartElementHandler = parser.EndElementHandler = seen
    parser.CommentHandler = parser.ProcessingInstructionHandler = seen
    parser.Parse(b"<_>" + data + b"</_>", True)
    return sorted(place for place in found if 0 <= place < len(data))


def canonical(data):
    return etree.tostring(etree.fromstring(b"<_>" + data + b"</_>"), method="c14n", with_comments=False)


def without_instructions(data):
    root = etree.fromstring(b"<_>" + data + b"</_>")
    etree.strip_tags(root, etree.PI, etree.Comment)
    return etree.tostring(root, method="c14n")


@given(content=contents)
@MANY
def test_tags_are_those_of_expat_or_are_not_told(content):
    data = content.encode()
    found = tag_positions(data)
    if found is not None:
        assert found.opened.tolist() == tags_by_expat(data)
        assert all(data[place] == ord(">") for place in found.closed)


@given(content=elements(plain_parts).map(lambda inner: f"<a>{inner}</a>"))
@MANY
def test_what_has_no_other_mark_in_it_is_told(content):
    if content.count("<") == content.count(">"):
        assert tag_positions(content.encode()) is not None


@given(content=contents)
@MANY
def test_the_plain_form_says_the_same_and_is_told(content):
    data = content.encode()
    plain, length = in_plain_form(data)
    assert length == len(data)
    assert tag_positions(plain) is not None
    assert canonical(plain) == without_instructions(data)


@given(content=contents)
@MANY
def test_outermost_elements_are_the_roots_children(content):
    data = content.encode()
    found = [etree.fromstring(data[begin:end]).tag for begin, end in outermost(data)]
    assert found == [child.tag for child in etree.fromstring(b"<_>" + data + b"</_>").iterchildren("*")]


@pytest.mark.parametrize(
    "rest", ["", "<", "<b", "<b n='>'", "<b>x", "<b>x<", "<b>x</", "<b>x</b", "<b>x<!-- > < ", "<?x "]
)
def test_what_is_cut_off_is_left_out(rest):
    found = tag_positions(f"<a>text</a>{rest}".encode())
    assert found.opened.tolist() == [0, 7]
    assert found.closed.tolist() == [2, 10]
