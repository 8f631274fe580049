"""The search's server under load: connections that only take room, many clients, faults, and an index that changes."""

import asyncio
import http.client
import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest

from biohicl.errors import BioHiCLError
from biohicl.search.contents import INDEX_FILE
from biohicl.web.application import application
from biohicl.web.desk import BusyError, Desk
from biohicl.web.guard import HEADERS
from biohicl.web.limits import Limits
from biohicl.web.live import Live
from biohicl.web.serving import _listening, _run
from search_index import MODEL, NAMES, Project


@pytest.fixture(scope="module")
def app(searched):
    """The application in this process."""
    return application(Live(searched), Limits(at_a_time=2))


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
