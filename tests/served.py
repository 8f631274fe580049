"""`biohicl serve` for tests: a server in a process of its own, and citations that would break a careless page."""

import http.client
import json
import queue
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from urllib.parse import urlencode, urlsplit

import polars as pl

import conftest

SECONDS = 90
TITLES = [
    "Zebrafish <script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\"> & <b>fins</b>",
    "زعنفة السمك zebrafish وتجدد الأنسجة",
    "😀😀 zebrafish fins 😀 regenerate fins",
    r"Zebrafish {unbalanced \input{/etc/passwd} 100% & #1 $x_1$ ~ ^",
    "Zebrafish fins\nER  - \nTY  - BOOK",
    "Zebrafish" + "fins" * 60,
]


def nasty(name, articles):
    """The first articles of the baseline's file with the titles above."""
    if name != "pubmed99n0001":
        return articles
    title = pl.Series("title", [*TITLES, *articles["title"][len(TITLES) :]])
    # What later files bring again or delete would not be found.
    abstract = pl.Series("abstract", [f"{text} In fins.\n<script>x</script>" for text in TITLES])
    return articles.with_columns(title, abstract=abstract.append(articles["abstract"][len(TITLES) :]))


@contextmanager
def serving(index, *words):
    """Yields the address and the process of a server over an index's folder, ended at the end."""
    command = [sys.executable, "-m", "biohicl", "serve", "--index", str(index), "--port", "0", *words]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=conftest.clean_environment(),
    )
    said, lines = [], queue.Queue()

    def read():
        for line in process.stderr:
            said.append(line)
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    process.said = said
    try:
        yield address_in(lines, said), process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def address_in(lines, said):
    ending = time.monotonic() + SECONDS
    while (line := lines.get(timeout=max(ending - time.monotonic(), 0.1))) is not None:
        if found := re.match(r"(http://\S+)/ ", line):
            return found[1]
    raise AssertionError("".join(said))


def asked(address, path, method="GET", body=None, headers=None, **parameters):
    """(status, headers, text) of one request; ``path`` goes as it is, whatever stands in it."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
    content = json.dumps(body) if isinstance(body, dict) else body
    given = {"content-type": "application/json"} if body is not None else {}
    try:
        with suppress(BrokenPipeError):  # answered before all of it was sent
            connection.request(method, path + query, content, {**given, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def answer_of(address, path, **parameters):
    """What a search answers; an assertion where it is refused."""
    status, _, text = asked(address, path, **parameters)
    assert status == 200, text
    return json.loads(text)
