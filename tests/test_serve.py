"""The search's JSON interface: what it answers, what it refuses and in which words, and that nothing gets past it."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import socket
import threading
import time
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest import SkipTest
from urllib.parse import quote, urlsplit

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
from biohicl.search.contents import INDEX_FILE
from biohicl.web.application import application
from biohicl.web.desk import BusyError, Desk
from biohicl.web.guard import HEADERS
from biohicl.web.limits import Limits, host_check, is_loopback, name_of
from biohicl.web.live import Live
from biohicl.web.serving import _listening, _run
from search_index import MODEL, NAMES, Project
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


def raw(served, content, wait=5):
    """What the server sends for these bytes, until it closes."""
    parts = urlsplit(served)
    with socket.create_connection((parts.hostname, parts.port), timeout=wait) as connection:
        connection.sendall(content)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode()


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"GET /api/about\0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /api/export HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        b"POST /api/export HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=lambda content: ascii(content[:40]),
)
def test_what_is_no_http_is_refused(served, content):
    try:
        said = raw(served, content)
    except ConnectionError:
        # Closed while this was still being sent.
        said = "HTTP/1.1 400"
    assert said.startswith("HTTP/1.1 400")


@pytest.fixture
def impatient(app):
    """The address of a server that waits for half a second."""
    listening = _listening("127.0.0.1", 0)
    threading.Thread(target=_run, args=(app, listening, Limits(patience=0.5)), daemon=True).start()
    return listening.getsockname()


@pytest.mark.parametrize("sent", [[], [HEAD[:-2]], [HEAD, HEAD, HEAD, HEAD[:-2]]], ids=["nothing", "half", "then half"])
def test_a_connection_is_ended_where_no_request_comes(impatient, sent):
    with socket.create_connection(impatient) as connection:
        for place, part in enumerate(sent):
            if place:
                # The time begins anew with each answer.
                time.sleep(0.3)
                assert connection.recv(1_000_000).startswith(b"HTTP/1.1 200")
            connection.sendall(part)
        # Before uvicorn's own time, which is five seconds after an answer.
        connection.settimeout(4)
        with suppress(ConnectionError):
            while connection.recv(65_536):
                pass


def test_a_connection_is_ended_where_answers_are_not_taken(impatient):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(impatient)
        connection.sendall(HEAD * 5_000)
        time.sleep(1.5)
        connection.settimeout(10)
        answers = 0
        with suppress(ConnectionError):
            while part := connection.recv(1_000_000):
                answers += part.count(b"HTTP/1.1 200")
    assert 0 < answers < 4_000


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


def test_fifty_clients_at_a_time(served):
    words = ["heart", "children", "treatment", "risk", "women", "cells", "lowered", "predicts", "hospital", "response"]
    times, answers = [], []

    def client(number):
        parts = urlsplit(served)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        for place in range(10):
            started = time.perf_counter()
            connection.request("GET", f"/api/search?q={words[place]}+{quote(words[number % 10])}+{number}&k=10")
            answer = connection.getresponse()
            content = json.loads(answer.read())
            times.append(time.perf_counter() - started)
            answers.append((answer.status, len(content.get("citations", ()))))
        connection.close()

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(client, range(50)))
    assert answers == [(200, 10)] * 500
    # Far above what it takes: that no one is left to wait.
    assert sorted(times)[474] < 10


def in_process(app, *requests):
    """Answers of the application to requests at the same time: (method, path, body)."""
    import httpx

    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            return await asyncio.gather(*(client.request(method, path, json=body) for method, path, body in requests))

    return asyncio.run(ask())


class Standing:
    """An index that answers when it is let, or fails."""

    def __init__(self, live, error=None):
        self.opened, self.error, self.let = live.now(), error, threading.Event()

    def now(self):
        return self

    @property
    def tree(self):
        return self.opened.tree

    @property
    def retriever(self):
        if self.error:
            raise self.error
        assert self.let.wait(30)
        return self.opened.retriever


def test_too_much_work_is_refused_in_words(searched):
    standing = Standing(Live(searched))
    threading.Timer(1.5, standing.let.set).start()
    app = application(standing, Limits(at_a_time=1, queue=2, patience=0.5))
    answers = in_process(app, *[("GET", "/api/search?q=heart", None)] * 5, ("GET", "/static/page.js", None))
    assert answers[5].status_code == 200  # no search
    busy = [answer for answer in answers[:5] if answer.status_code == 503]
    assert {answer.json()["error"].split(";")[0] for answer in busy} == {
        "2 searches wait already",
        "this search has waited 0.5 seconds",
    }
    assert all(answer.headers["retry-after"] == "5" for answer in busy)


def test_the_desk_does_as_many_at_a_time_as_it_says():
    running, most = 0, 0
    lock = threading.Lock()

    def work():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return "done"

    def failing():
        raise KeyError("x")

    async def all_of_it():
        desk = Desk(3, 20, 10)
        # Whoever goes leaves the place free only when the thread is.
        gone = [asyncio.create_task(desk.do(work)) for _ in range(3)]
        await asyncio.sleep(0.005)
        for task in gone:
            task.cancel()
        done = await asyncio.gather(*(desk.do(work) for _ in range(15)))
        for _ in range(5):
            with pytest.raises(KeyError):
                await desk.do(failing)
        return done, await desk.do(work)

    assert asyncio.run(all_of_it()) == (["done"] * 15, "done")
    assert most == 3

    async def too_many():
        desk = Desk(1, 1, 10)
        return await asyncio.gather(*(desk.do(work) for _ in range(4)), return_exceptions=True)

    assert [isinstance(answer, BusyError) for answer in asyncio.run(too_many())] == [False, False, True, True]


def test_faults_of_the_index_do_not_tell_where_it_lies(searched, capsys):
    for error in (BioHiCLError("/secret/place is damaged"), ZeroDivisionError("/secret/place")):
        app = application(Standing(Live(searched), error))
        (answer,) = in_process(app, ("GET", "/api/search?q=heart", None))
        assert answer.status_code == 500 and "log says" in answer.json()["error"]
        assert "/secret" not in answer.text
        assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]
    assert "/secret/place is damaged" in capsys.readouterr().err


def until(condition, seconds=30):
    ending = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ending
        time.sleep(0.05)


def test_an_index_that_is_made_again_is_taken_up(searched, tmp_path, capsys):
    root = tmp_path / "project"
    shutil.copytree(searched.parents[2], root)
    folder = root / searched.relative_to(searched.parents[2])
    live = Live(folder, seconds=0)
    app = application(live)

    def citations():
        return in_process(app, ("GET", "/api/about", None))[0].json()["citations"]

    before = citations()
    project = Project(root)
    project.names = [NAMES[0]]
    project.index()
    until(lambda: citations() != before)
    after = citations()
    (found,) = in_process(app, ("GET", "/api/search?q=heart&k=100", None))
    assert len(found.json()["citations"]) == 100
    capsys.readouterr()
    # A damaged one, one of another model, and one whose parts are of another issue: the old one answers, and it is said.
    index = folder / INDEX_FILE
    whole = index.read_bytes()
    index.write_bytes(whole[:-20])
    until(lambda: "is damaged" in citations_said(citations, after, capsys))
    index.unlink()
    assert citations() == after
    weights = root / "results/models" / MODEL / "config.json"
    config = weights.read_text()
    weights.write_text(config.replace("0.1", "0.2"))
    index.write_bytes(whole)
    until(lambda: "another model" in citations_said(citations, after, capsys))
    weights.write_text(config)
    shard = project.shard(NAMES[0])
    kept = shard.read_bytes()
    shard.unlink()
    shutil.copy(project.shard(NAMES[1]), shard)
    index.touch()
    until(lambda: "was made anew after the index" in citations_said(citations, after, capsys))
    shard.unlink()
    shard.write_bytes(kept)
    project.names = [*NAMES]
    project.index()
    until(lambda: citations() == before)
    # Once: what has not changed since is not opened again.
    time.sleep(1)
    capsys.readouterr()
    for _ in range(10):
        assert citations() == before
        time.sleep(0.05)
    time.sleep(0.5)
    assert capsys.readouterr().err == ""


def test_an_index_whose_mesh_is_still_being_made_is_taken_up_later(searched, tmp_path, capsys):
    root = tmp_path / "project"
    shutil.copytree(searched.parents[2], root)
    live = Live(root / searched.relative_to(searched.parents[2]), seconds=0, again=0.1)
    before, terms = live.now(), root / "results/mesh/terms.parquet"
    terms.rename(tmp_path / "terms.parquet")
    (root / searched.relative_to(searched.parents[2]) / INDEX_FILE).touch()
    time.sleep(0.01)
    said = []

    def told(words):
        live.now()
        said.append(capsys.readouterr().err)
        return words in "".join(said)

    until(lambda: told("terms.parquet: no such file"))
    # Tried some more times, and told once.
    ending = time.monotonic() + 1
    while time.monotonic() < ending:
        told("")
        time.sleep(0.02)
    assert "".join(said).count("cannot be used") == 1
    (tmp_path / "terms.parquet").rename(terms)
    until(lambda: told("was made again; "))
    assert live.now() is not before


def citations_said(citations, expected, capsys):
    assert citations() == expected
    return capsys.readouterr().err


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
    with serving(searched, "--searches", "3") as (address, process):
        assert asked(address, "/api/about")[0] == 200
        assert "3 searches at a time, 200 waiting" in "".join(process.said)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
    assert process.said[-1] == "biohicl serve: interrupted\n"
    assert "Traceback" not in "".join(process.said)
