"""The search's JSON interface: what it answers, what it refuses and in which words, and that nothing gets past it."""

import json
import re
import signal
import socket
from argparse import Namespace
from collections import Counter
from contextlib import suppress
from unittest import SkipTest
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from biohicl import Retriever
from biohicl.cli import arguments
from biohicl.cli.search import index_of
from biohicl.errors import BioHiCLError
from biohicl.web.application import application
from biohicl.web.guard import HEADERS
from biohicl.web.limits import Limits, host_check, is_loopback, name_of
from biohicl.web.live import Live
from served import TITLES, answer_of, asked, serving
from test_citing import read_bibtex, read_ris, spaced


@pytest.fixture(scope="module")
def retriever(searched):
    return Retriever(searched)


@pytest.fixture(scope="module")
def app(searched):
    """The application in this process."""
    return application(Live(searched), Limits(at_a_time=2))


@pytest.fixture(scope="module")
def zebrafish(served):
    """The nasty citations, as the interface gives them, by title."""
    found = answer_of(served, "/api/search", q="zebrafish fins", mode="bm25", k=20)["citations"]
    return {citation["title"]: citation for citation in found}


def refused(answer, status, words):
    assert answer[0] == status, answer
    assert words in json.loads(answer[2])["error"]
    assert "Traceback" not in answer[2] and "/src/" not in answer[2]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_answers_are_the_retrievers(served, retriever, mode):
    filters = {"first_year": 1995, "last_year": 2015}
    given = answer_of(
        served, "/api/search", q="treatment in children", mode=mode, k=12, heading=["Neoplasms", "D006801"], **filters
    )
    hits = retriever.search("treatment in children", 12, mode=mode, headings=["Neoplasms", "Humans"], **filters)
    assert hits and [one["pmid"] for one in given["citations"]] == [hit.pmid for hit in hits]
    for one, hit in zip(given["citations"], hits, strict=True):
        assert one["score"] == pytest.approx(hit.score, abs=1e-4)
        assert {**hit.as_json(), "score": 0} == {
            **{name: value for name, value in one.items() if not name.endswith("_matches")},
            "score": 0,
        } | {name: tuple(one[name]) for name in ("publication_types",)}
    assert [one["name"] for one in given["headings"]] == ["Neoplasms", "Humans"]


def test_similar_and_one_citation(served, retriever):
    pmid = retriever.search("heart", 1)[0].pmid
    given = answer_of(served, f"/api/similar/{pmid}", k=5)["citations"]
    assert [one["pmid"] for one in given] == [hit.pmid for hit in retriever.similar(pmid, 5)]
    assert answer_of(served, f"/api/citation/{pmid}")["title"] == retriever.citation(pmid).title


def test_words_of_the_query_are_marked_by_their_stems(served):
    found = answer_of(served, "/api/search", q="Children and the treatments", mode="bm25", k=30)["citations"]
    words = set()
    for one in found:
        for name in ("title", "abstract"):
            words |= {one[name][start:end].lower() for start, end in one[f"{name}_matches"]}
    assert {"children", "treatment"} <= words <= {"children", "child", "treatment", "treatments", "treated", "treat"}


def test_marks_count_in_code_points(zebrafish):
    one = zebrafish[TITLES[2]]
    assert [one["title"][start:end] for start, end in one["title_matches"]] == ["zebrafish", "fins", "fins"]


def test_a_category_unfolds_to_what_filters_find(served, retriever):
    assert [branch["name"] for branch in answer_of(served, "/api/tree")["branches"]][:3] == [
        "Anatomy",
        "Organisms",
        "Diseases",
    ]
    below = answer_of(served, "/api/tree", under="C")["branches"]
    assert [branch["tree_number"] for branch in below] == sorted(branch["tree_number"] for branch in below)
    hierarchy = retriever.headings.hierarchy.explode("tree_numbers")
    children = hierarchy.filter(hierarchy["tree_numbers"].str.contains(r"^C\d\d$"))
    assert {branch["descriptor_ui"] for branch in below} == set(children["descriptor_ui"])
    for branch in below:
        hits = retriever.search("heart", 1_000, mode="dense", headings=[branch["descriptor_ui"]])
        assert branch["citations"] == len(hits)
    leaf = next(branch for branch in below if branch["has_children"])
    while leaf["has_children"]:
        leaf = answer_of(served, "/api/tree", under=leaf["tree_number"])["branches"][-1]
    assert answer_of(served, "/api/tree", under=leaf["tree_number"])["branches"] == []


def test_headings_are_suggested_by_names_and_synonyms(served):
    given = answer_of(served, "/api/headings", q="NEOPL")["headings"]
    assert given[0]["name"] == "Neoplasms" and len(given) <= 10
    assert all("neopl" in heading["term"].lower() for heading in given)
    assert answer_of(served, "/api/headings", q="  ")["headings"] == []
    # What stands for more in regular expressions and in SQL stands for itself.
    for typed in (".*", "%", "'; --", "\\", "[", "\0"):
        assert answer_of(served, "/api/headings", q=typed)["headings"] == []


BAD = [
    ("/api/search", {}, 422, "the query is empty"),
    ("/api/search", {"q": ""}, 422, "the query is empty"),
    ("/api/search", {"q": " \t\n"}, 422, "the query is empty"),
    ("/api/search", {"q": "x" * 5001}, 422, "5,001 characters, and at most 5,000"),
    ("/api/search", {"q": "x" * 100_000}, 422, "100,000 characters, and at most 5,000"),
    ("/api/search", {"q": "😀" * 100_000}, 422, "100,000 characters, and at most 5,000"),
    ("/api/search", {"q": "x" * 1_400_000}, 414, "the address has more than"),
    ("/api/search", {"q": "heart", "heading": ["x"] * 100}, 414, "the address sets more than 100 things"),
    ("/api/about?" + "&" * 1_200_000, {}, 414, "the address sets more than 100 things"),
    ("/api/search", {"q": "heart", "k": 0}, 422, "k: input should be greater"),
    ("/api/search", {"q": "heart", "k": 101}, 422, "k: input should be less"),
    ("/api/search", {"q": "heart", "k": "9" * 5000}, 422, "k: "),
    ("/api/search", {"q": "heart", "mode": "magic"}, 422, "mode: input should be 'hybrid', 'dense' or 'bm25'"),
    ("/api/search", {"q": "heart", "headings": "Heart"}, 422, "there is no 'headings' to set"),
    ("/api/search", {"q": "heart", "heading": "Neoplasm Lung"}, 422, "did you mean"),
    ("/api/search", {"q": "heart", "heading": "Lung Neoplasmz"}, 422, "did you mean 'Lung Neoplasms'"),
    ("/api/search", {"q": "heart", "heading": ["Heart"] * 21}, 422, "heading is given 21 times, and at most 20"),
    ("/api/search", {"q": "heart", "heading": "'; DROP TABLE x; --"}, 422, "is no UI, tree number, name or synonym"),
    ("/api/search", {"q": "heart", "publication_type": "journal artikel"}, 422, "did you mean 'Journal Article'"),
    ("/api/search", {"q": "heart", "first_year": 2010, "last_year": 2001}, 422, "no year is from 2010 to 2001"),
    ("/api/search", {"q": "heart", "first_year": 40000}, 422, "first_year: "),
    ("/api/citation/1", {}, 404, "PMID 1 is not among"),
    ("/api/similar/1", {}, 404, "PMID 1 is not among"),
    ("/api/citation/99999999999999999999", {}, 422, "pmid: "),
    ("/api/citation/..%2f..%2fetc%2fpasswd", {}, 404, "no such page"),
    ("/api/tree", {"under": "Q99"}, 404, "no such place"),
    ("/api/tree", {"under": "../../etc/passwd"}, 404, "no such place"),
    ("/api/search?q=%ff%fe", {}, 400, "no UTF-8"),
    ("/api/search?q=%ed%a0%80", {}, 400, "no UTF-8"),
    ("/%ff", {}, 400, "no UTF-8"),
    ("/docs", {}, 404, "no such page"),
]


@pytest.mark.parametrize(("path", "parameters", "status", "words"), BAD)
def test_bad_input_is_answered_in_words(served, path, parameters, status, words):
    refused(asked(served, path, **parameters), status, words)


QUERIES = [
    "😀",
    "שלום עולם",
    "'; DROP TABLE citations; --",
    "<script>alert(1)</script>",
    "a\0b\x1b[31m",
    "٣",
    "a" * 5000,
]
QUERIES += ["\u202ereversed\u202c", "e\u0301" * 200, "[UNK] [SEP] [MASK]", "../../etc/passwd", "%s%n{0}${x}"]


@pytest.mark.parametrize("q", QUERIES, ids=ascii)
@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
def test_odd_queries_are_queries(served, q, mode):
    assert len(answer_of(served, "/api/search", q=q, mode=mode, k=3)["citations"]) <= 3


PATHS = ["/static/..%2f..%2fpyproject.toml", "/static/../page.py", "/static/%2e%2e/application.py", "//etc/passwd"]
PATHS += [
    "/static//etc/passwd",
    "/static/page.js%00.css",
    "/static/",
    "/static",
    "/page/index.html",
    "/static/page.js/",
]
PATHS += ["/static/..\\..\\x", "/%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "/.git/config", "/static/page.js;x"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_reaches_the_file_system(served, path):
    refused(asked(served, path), 404, "no such page")


def test_every_answer_forbids_what_browsers_might_do(served):
    for path in ("/", "/static/page.js", "/api/about", "/openapi.json", "/nowhere", "/api/search", "/%ff"):
        _, headers, _ = asked(served, path)
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, path
        assert "access-control-allow-origin" not in headers and "server" not in headers
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_page_has_nothing_that_its_own_policy_forbids(served):
    status, headers, page = asked(served, "/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://", page)
    script = asked(served, "/static/results.js")[2]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    tag = headers["etag"]
    assert asked(served, "/", headers={"If-None-Match": tag})[0] == 304


def test_methods(served):
    refused(asked(served, "/api/search", "DELETE"), 405, "not by DELETE")
    refused(asked(served, "/api/export"), 405, "not by GET")
    for path in ("/", "/static/page.css", "/api/about"):
        status, headers, text = asked(served, path, "HEAD")
        assert (status, text) == (200, "") and int(headers["content-length"]) > 100


def test_who_the_server_is_asked_for(served):
    port = urlsplit(served).port
    for host in ("127.0.0.1", f"localhost:{port}", "[::1]:1", "127.8.9.1"):
        assert asked(served, "/api/about", headers={"Host": host})[0] == 200, host
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.1",
        "",
        "a b",
        "[::1",
        "::1",
    ):
        refused(asked(served, "/api/about", headers={"Host": host}), 400, "Host header")
    # Pages of other sites may not make this server work, but links may lead here.
    cross = {"Sec-Fetch-Site": "cross-site"}
    refused(asked(served, "/api/search", q="heart", headers=cross), 403, "another site")
    assert asked(served, "/", headers=cross)[0] == 200


def test_which_names_are_the_servers():
    own = host_check("127.0.0.1")
    assert own("LOCALHOST") and not own("example.org") and not own("10.0.0.7")
    network = host_check("0.0.0.0", frozenset({"Desk.example.org"}))
    assert network("10.0.0.7") and network("desk.example.org") and network("fe80::1") and not network("example.org")
    assert [name_of(text) for text in ("a:80", "[::1]:80", "a", "a:b", "[::1", "[::1]x", "", ":80", "a:²")] == (
        ["a", "::1", "a", None, None, None, None, None, None]
    )
    assert is_loopback("127.9.9.9") and not is_loopback("0.0.0.0") and not is_loopback("example.org")


def test_headers_cannot_be_injected(served):
    _, headers, text = asked(served, "/api/search?q=heart&heading=x%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a<html>")
    assert "set-cookie" not in headers and json.loads(text)["error"]
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "the request's body is missing"),
        (b"{", 422, "no JSON"),
        (b"[" * 60_000, 400, "the request's body is no JSON"),
        (b'{"format": "\xff"}', 400, "the request's body is no JSON"),
        (b" " * 70_000, 413, "more than 65,536 bytes"),
        (iter([b" " * 30_000] * 4), 413, "more than 65,536 bytes"),
        (b"[1]", 422, "the request's body is no JSON object"),
        ({"format": "docx", "pmids": [1]}, 422, "format: input should be 'bibtex', 'ris' or 'pmid'"),
        ({"format": "ris", "pmids": []}, 422, "pmids: "),
        ({"format": "ris", "pmids": [1]}, 404, "PMID 1 is not among"),
        ({"format": "ris", "pmids": list(range(1, 1002))}, 422, "pmids is given 1,001 times"),
        ({"format": "ris", "pmids": ["../x"]}, 422, "pmids: "),
        ({"format": "ris", "pmids": [2**40]}, 422, "pmids: "),
        ({"format": "ris", "pmids": [1], "file": "/etc/passwd"}, 422, "there is no 'file' to set"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_exports(served, body, status, words):
    refused(asked(served, "/api/export", "POST", body), status, words)


def test_a_body_that_does_not_say_what_it_is(served):
    body = json.dumps({"format": "ris", "pmids": [1]})
    answer = asked(served, "/api/export", "POST", body, headers={"content-type": "text/plain"})
    refused(answer, 422, "no JSON object, sent as application/json")


def test_exports_are_read_back(served, zebrafish):
    pmids = [one["pmid"] for one in zebrafish.values()]
    for kind, media_type in (("bibtex", "x-bibtex"), ("ris", "x-research-info-systems"), ("pmid", "plain")):
        body = {"format": kind, "pmids": [*pmids, pmids[0]]}
        status, headers, text = asked(served, "/api/export", "POST", body)
        assert status == 200 and media_type in headers["content-type"]
        assert headers["content-disposition"].startswith('attachment; filename="citations.')
        if kind == "bibtex":
            assert list(read_bibtex(text)) == [f"pmid{pmid}" for pmid in pmids]
        elif kind == "ris":
            assert [dict(record)["TI"] for record in read_ris(text)] == [spaced(title) for title in zebrafish]
        else:
            assert text.split() == [str(pmid) for pmid in pmids]


CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance, content_type_conformance]


def test_the_interface_is_as_its_document_says(app):
    """Requests drawn from the OpenAPI document, as it has them and broken on purpose."""
    document = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})
    seen = Counter()
    for operation in (found.ok() for found in document.get_all_operations()):
        for mode in GenerationMode:
            drawn = operation.as_strategy(generation_mode=mode)

            @given(case=drawn)
            @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            def answered(case):
                answer = case.call_and_validate(checks=CHECKS, headers={"Host": "localhost"})
                seen[case.path, answer.status_code] += 1

            # Of what takes nothing, nothing can be broken.
            with suppress(Unsatisfiable, SkipTest):
                answered()
    for path in ("/api/search", "/api/tree", "/api/headings", "/api/about"):
        assert seen[path, 200], seen
    assert seen["/api/search", 422] and seen["/api/citation/{pmid}", 404] and seen["/api/export", 404], seen


def test_the_document_is_whole(served):
    document = answer_of(served, "/openapi.json")
    assert set(document["paths"]) == {
        *(f"/api/{name}" for name in ("search", "tree", "headings", "about", "export")),
        "/api/similar/{pmid}",
        "/api/citation/{pmid}",
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"] and operation["description"], path
            assert {"200", "400", "404", "413", "422", "503"} <= set(operation["responses"])
            for status, response in operation["responses"].items():
                if status != "200":
                    assert response["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")


def test_the_command_refuses_in_words(run_biohicl, searched, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            (["--index", searched, "--port", port], f"cannot listen at 127.0.0.1, port {port}: Address already in use"),
            (["--index", searched, "--host", "0.0.0.0"], "say --open-to-network"),
            (["--index", searched, "--host", "a" * 70, "--open-to-network"], "is no address"),
            (["--index", searched, "--host", "a..b", "--open-to-network"], "is no address"),
            (["--index", searched, "--host", "no.such.host.invalid", "--open-to-network"], "is no address"),
            (["--port", "70000"], "is not a port"),
            (["--index", tmp_path, "--port", "0"], "index.safetensors: no such file; make it with"),
            (["--index", searched, "--model", tmp_path, "--port", "0"], "is not in"),
        ]
        for words, said in cases:
            done = run_biohicl("serve", *words, cwd=tmp_path)
            assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_no_index_far_and_wide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The project that the package lies in may well have one, and would be served.
    monkeypatch.setattr(arguments, "__file__", str(tmp_path / "src/biohicl/cli/arguments.py"))
    with pytest.raises(BioHiCLError, match="no results/index in this folder or above"):
        index_of(Namespace(index=None))


def test_it_says_where_it_listens_and_ends_quietly(searched):
    with serving(searched, "--searches", "3", "--name", "Search.example.org") as (address, process):
        assert asked(address, "/api/about")[0] == 200
        assert asked(address, "/api/about", headers={"Host": "search.example.org:443"})[0] == 200
        assert asked(address, "/api/about", headers={"Host": "other.example.org"})[0] == 400
        assert "3 searches at a time, 200 waiting" in "".join(process.said)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
    assert process.said[-1] == "biohicl serve: interrupted\n"
    assert "Traceback" not in "".join(process.said)
