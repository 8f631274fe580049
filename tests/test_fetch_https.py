"""Listings and downloads from a real https server on loopback that misbehaves in every way."""

import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
import zlib

import pytest
import trustme

from biohicl.errors import BioHiCLError
from biohicl.fetch.download import fetch_benchmark, fetch_mesh_file, fetch_pubmed_file
from biohicl.fetch.https import is_named
from biohicl.fetch.partial import Partial
from biohicl.fetch.places import list_directory
from biohicl.fetch.release import describe_news, mesh_release, pubmed_release
from biohicl.storage import write_json
from hostile_server import (
    HostileServer,
    announces,
    chunked,
    cut,
    endless,
    hang,
    hang_after,
    healthy,
    html,
    ignores_if_range,
    ignores_range,
    instead,
    paced,
    redirect,
    short_ranges,
    skips,
    status,
    trickle,
    trickle_headers,
    unframed,
    wrong_content_range,
)

BODY = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(2).randbytes(300_000), mtime=0)
FOLDER = "/pubmed/baseline"
PATH = f"{FOLDER}/pubmed26n0001.xml.gz"


def md5_line(body):
    return f"MD5({PATH.rsplit('/', 1)[1]})= {hashlib.md5(body).hexdigest()}\n".encode()


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def https(authority, tmp_path, monkeypatch):
    """The server, a client that trusts it as a person's would (SSL_CERT_FILE), and no long waits between tries."""
    certificate = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("biohicl.fetch.https.BACKOFF_SECONDS", 0.01)
    server = HostileServer(authority)
    server.put(PATH, BODY)
    server.put(f"{PATH}.md5", md5_line(BODY))
    yield server
    server.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("biohicl.fetch.https.STALL_SECONDS", 1.0)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out/pubmed26n0001.xml.gz"


def fetch(server, output, *more):
    fetch_pubmed_file([f"{server.url}/pubmed", *more], "baseline", "pubmed26n0001", output)


def is_whole(output, body=BODY):
    """The file is there and right, and nothing else is."""
    return output.read_bytes() == body and list(output.parent.iterdir()) == [output]


def leave_a_part(server, output, count=100_000):
    """What a run leaves whose connection broke off and that did not try again."""
    server.put(PATH, server.files[PATH].body, cut(count))
    with pytest.MonkeyPatch.context() as once:
        once.setattr("biohicl.fetch.https.TRIES", 1)
        with pytest.raises(BioHiCLError, match="broke off .*the next run goes on from there"):
            fetch(server, output)
    part = output.with_name(f".{output.name}.part")
    assert part.read_bytes() == server.files[PATH].body[:count]
    assert not output.exists()
    server.put(PATH, server.files[PATH].body)
    return part


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        pytest.param([], [None], id="none"),
        pytest.param([chunked], [None], id="no length but chunks"),
        pytest.param([cut(100_000)], [None, "bytes=100000-"], id="cut once"),
        pytest.param([cut(0)], [None, None], id="cut before the first byte"),
        pytest.param(
            [cut(100_000), cut(50_000), cut(60_000)],
            [None, "bytes=100000-", "bytes=150000-", "bytes=210000-"],
            id="cut again and again",
        ),
        pytest.param([cut(100_000), ignores_range], [None, "bytes=100000-"], id="cut, then ignores Range"),
        pytest.param([cut(100_000), wrong_content_range], [None, "bytes=100000-", None], id="cut, then a wrong range"),
        pytest.param([cut(100_000), status(416)], [None, "bytes=100000-", None], id="cut, then 416"),
        pytest.param([cut(100_000), html], [None, "bytes=100000-", "bytes=100000-"], id="cut, then HTML"),
        pytest.param(
            [short_ranges] * 4,
            [None, "bytes=50000-", "bytes=100000-", "bytes=150000-", "bytes=200000-"],
            id="cut, then gives short ranges",
        ),
        pytest.param([status(500), status(503), status(502), status(504)], [None] * 5, id="5xx"),
        pytest.param([status(429)], [None] * 2, id="429"),
        pytest.param([html], [None] * 2, id="HTML with status 200"),
        pytest.param([instead(b"")], [None] * 2, id="nothing with status 200"),
        pytest.param([announces(+1000)], [None, f"bytes={len(BODY)}-", None], id="announces too much"),
        pytest.param([announces(-1000)], [None] * 2, id="announces too little"),
        pytest.param([unframed(100_000)], [None] * 2, id="says nothing of the length, and is cut"),
        pytest.param([instead(OTHER)], [None] * 2, id="another file"),
    ],
)
def test_it_comes_over_whole_in_spite_of(https, output, faults, ranges):
    https.put(PATH, BODY, *faults)
    fetch(https, output)
    assert is_whole(output)
    assert https.ranges(PATH) == ranges


def test_a_connection_cut_again_and_again_sends_no_byte_twice(https, output, monkeypatch):
    """More often than there are tries, as long as it gets on."""
    monkeypatch.setattr("biohicl.fetch.places.PROGRESS_BYTES", 10_000)
    https.put(PATH, BODY, always=cut(20_000))
    fetch(https, output)
    assert is_whole(output)
    assert len(https.sent(PATH)) == 16
    assert sum(https.sent(PATH)) == len(BODY)


@pytest.mark.parametrize(
    ("fault", "ranges"),
    [
        pytest.param(hang, [None, None], id="hangs before the headers"),
        pytest.param(trickle_headers, [None, None], id="headers that never end"),
        pytest.param(hang_after(100_000), [None, "bytes=100000-"], id="hangs in the body"),
        pytest.param(trickle, None, id="a byte now and then"),
    ],
)
def test_nothing_hangs(https, output, impatient, capsys, fault, ranges):
    https.put(PATH, BODY, fault)
    fetch(https, output)
    assert is_whole(output)
    assert "the server stalled: less than 1,024 bytes a second for 1 s" in capsys.readouterr().err
    if ranges:
        assert https.ranges(PATH) == ranges


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        pytest.param("1", 1.0, 30, id="seconds"),
        pytest.param("999999", 0.5, 30, id="more than is granted"),
        pytest.param("soon", 0.0, 30, id="nonsense"),
        pytest.param("Fri, 01 Jan 2100 00:00:00 GMT", 0.5, 30, id="a date"),
    ],
)
def test_retry_after(https, output, monkeypatch, asked, least, most):
    monkeypatch.setattr("biohicl.fetch.https.LONGEST_RETRY_AFTER_SECONDS", 1.0 if asked == "1" else 0.5)
    https.put(PATH, BODY, status(429, Retry_After=asked))
    fetch(https, output)
    first, second = https.seen[PATH]
    assert least <= second.at - first.at < most


def fails(server, output, said):
    with pytest.raises(BioHiCLError, match=said) as caught:
        fetch(server, output)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not output.exists()
    return server.ranges(PATH)


FINAL = [
    pytest.param(status(404), 1, r"404 \(Not Found\): no such file there. .*snakemake refresh", id="404"),
    pytest.param(status(403), 1, r"403 \(Forbidden\). Check the address in config.yaml, or use another", id="403"),
    pytest.param(status(204), 1, r"204 \(No Content\)", id="204"),
    pytest.param(status(206), 1, r"206 \(Partial Content\)", id="206 unasked"),
    pytest.param(status(503), 5, r"503 \(Service Unavailable\); it may be busy: run again later, or add", id="503"),
    pytest.param(html, 5, "is not a gzip file but an HTML page; .* run again later, or add a mirror", id="HTML"),
    pytest.param(instead(b"BZh9"), 1, "is not a gzip file; use another mirror", id="another format"),
    pytest.param(cut(0), 5, r"cannot be reached|broke off", id="cut every time"),
    pytest.param(
        announces(-1000), 2, "its MD5 is .* run again later, or use another mirror", id="announces too little"
    ),
    pytest.param(instead(OTHER), 2, "its MD5 is .* but the .md5 beside it says", id="another file"),
    pytest.param(instead(b"", Content_Encoding="gzip"), 5, "not a gzip file but empty", id="empty"),
    pytest.param(redirect("http://127.0.0.1/x"), 1, "redirects to http://127.0.0.1/x, and only https://", id="to http"),
    pytest.param(redirect("file:///etc/passwd"), 1, "redirects to file:///etc/passwd, and only", id="to a file"),
    pytest.param(redirect("ftp://127.0.0.1/x"), 1, "redirects to ftp://127.0.0.1/x, and only https://", id="to ftp"),
    pytest.param(redirect("https://x:y/"), 1, "redirects to what is no address .*Invalid port: 'y'", id="to nonsense"),
    pytest.param(redirect("https://localhost/x"), 1, "redirects to localhost, and only the host", id="to another host"),
    pytest.param(redirect(PATH), 1, "redirects in a circle", id="to itself"),
    pytest.param(status(302), 1, r"302 \(Found\)", id="to nowhere"),
]


@pytest.mark.parametrize(("fault", "tries", "said"), FINAL)
def test_what_does_not_pass_is_told_and_the_next_mirror_is_asked(https, output, fault, tries, said):
    https.put(PATH, BODY, always=fault)
    assert len(fails(https, output, said)) == tries
    https.put(f"/second{PATH}", BODY)
    https.put(f"/second{PATH}.md5", md5_line(BODY))
    fetch(https, output, f"{https.url}/second/pubmed")
    assert is_whole(output)


def test_redirects(https, output):
    """Followed to https, Range included; not without end, and not for the sake of what is written on the way."""
    https.put("/elsewhere", BODY, cut(100_000))
    https.put(PATH, b"", always=redirect("/elsewhere"))
    fetch(https, output)
    assert is_whole(output)
    assert https.ranges("/elsewhere") == [None, "bytes=100000-"]
    output.unlink()
    for number in range(9):
        https.put(f"/{number}", b"", always=redirect(f"/{number + 1}"))
    https.put(PATH, b"", always=redirect("/0"))
    fails(https, output, "redirects more than 5 times; use another mirror")
    https.put("/a", b"", always=redirect("/b"))
    https.put("/b", b"", always=redirect("/a"))
    https.put(PATH, b"", always=redirect("/a"))
    fails(https, output, "redirects in a circle, through .*/a; use another mirror")


@pytest.mark.parametrize(
    ("host", "followed"),
    [
        ("huggingface.co", True),
        ("cdn-lfs.huggingface.co", True),
        ("cas-bridge.xethub.hf.co", True),
        ("evilhuggingface.co", False),
        ("huggingface.co.evil.example", False),
        ("hf.co.evil.example", False),
        ("raw.githubusercontent.com", False),
        ("127.0.0.1", False),
        ("[::1]", False),
        ("169.254.169.254", False),
    ],
)
def test_only_the_named_host_and_where_it_keeps_its_files_are_asked(host, followed):
    assert is_named(host, "huggingface.co") is followed
    assert not is_named(host, "example.org")


def test_no_file_is_endless(https, output, monkeypatch):
    monkeypatch.setattr("biohicl.fetch.download.LARGEST_FILE_BYTES", 1_000_000)
    monkeypatch.setattr("biohicl.fetch.https.TRIES", 2)
    https.put(PATH, BODY, always=endless)
    fails(https, output, "more came than 1,000,000 bytes")
    assert list(output.parent.iterdir()) == []
    https.put(PATH, BODY, always=announces(1_000_000))
    fails(https, output, "longer than 1,000,000 bytes, which no such file is")
    assert https.sent(PATH)[0] <= len(BODY)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "fault", "tries", "said"),
    [
        pytest.param(b"", html, 5, r"\.md5: came back as an HTML page; run again later", id="HTML"),
        pytest.param(b"?", None, 1, r"\.md5: holds no MD5 checksum of pubmed26n0001.xml.gz", id="nonsense"),
        pytest.param(md5_line(BODY).replace(b"0001", b"0002"), None, 1, "holds no MD5 checksum of", id="of another"),
        pytest.param(b"", endless, 1, "longer than 65,536 bytes", id="endless"),
        pytest.param(b"", status(404), 1, r"\.md5: the server answered 404", id="missing"),
    ],
)
def test_without_a_checksum_nothing_is_fetched(https, output, content, fault, tries, said):
    https.put(f"{PATH}.md5", content or BODY, always=fault)
    assert fails(https, output, said) == []
    assert len(https.ranges(f"{PATH}.md5")) == tries


@pytest.mark.parametrize(
    "line",
    [md5_line(BODY), md5_line(BODY).split()[1], md5_line(BODY).split()[1] + b"  " + PATH[len(FOLDER) + 1 :].encode()],
)
def test_ways_to_write_a_checksum(https, output, line):
    https.put(f"{PATH}.md5", line)
    fetch(https, output)
    assert is_whole(output)


# --- parts ----------------------------------------------------------------------------------------------------


def test_the_next_run_goes_on_with_a_part(https, output):
    leave_a_part(https, output)
    fetch(https, output)
    assert is_whole(output)
    (seen,) = https.seen[PATH]
    # The last byte that is here is asked for again; the server sends nothing else twice.
    assert (seen.range, seen.headers["if-range"], seen.sent) == ("bytes=99999-", '"one"', len(BODY) - 99_999)


def test_a_part_that_is_complete_is_verified_and_kept(https, output):
    part = leave_a_part(https, output)
    part.write_bytes(BODY)
    fetch(https, output)
    assert is_whole(output)
    assert https.sent(PATH) == [1]


@pytest.mark.parametrize("fault", [ignores_range, wrong_content_range, skips, status(416), cut(0), html, status(503)])
def test_a_part_and_a_server_that_does_not_go_on(https, output, capsys, fault):
    leave_a_part(https, output)
    https.put(PATH, BODY, fault)
    fetch(https, output)
    assert is_whole(output)
    assert "MD5" not in capsys.readouterr().err, "seen at once, and not only in the end"
    assert https.ranges(PATH)[0] == "bytes=99999-"


@pytest.mark.parametrize("server_checks", [healthy, ignores_if_range])
def test_a_file_replaced_meanwhile_is_fetched_whole(https, output, capsys, server_checks):
    """The same checksum beside it still: only the server's ETag tells that the part is of another file."""
    https.put(PATH, OTHER)
    https.put(f"{PATH}.md5", md5_line(BODY))
    leave_a_part(https, output)
    https.put(PATH, BODY, always=server_checks, etag='"two"')
    fetch(https, output)
    assert is_whole(output)
    assert https.sent(PATH)[-1] == len(BODY)
    assert "MD5" not in capsys.readouterr().err, "seen at once, and not only in the end"


def test_a_checksum_that_changed_drops_the_part(https, output):
    leave_a_part(https, output)
    https.put(PATH, OTHER)
    https.put(f"{PATH}.md5", md5_line(OTHER))
    fetch(https, output)
    assert is_whole(output, OTHER)
    assert https.ranges(PATH) == [None]


def test_a_damaged_part_costs_one_more_transfer(https, output):
    part = leave_a_part(https, output)
    part.write_bytes(b"\x00" + part.read_bytes()[1:])
    fetch(https, output)
    assert is_whole(output)
    assert https.ranges(PATH) == ["bytes=99999-", None]


@pytest.mark.parametrize("record", [None, "", "[]", '{"url": "x"}'])
def test_a_part_of_nobody_knows_what_is_dropped(https, output, record):
    part = leave_a_part(https, output)
    part.with_name(f"{part.name}.json").unlink()
    if record is not None:
        part.with_name(f"{part.name}.json").write_text(record)
    fetch(https, output)
    assert is_whole(output)
    assert https.ranges(PATH) == [None]


def test_another_mirror_goes_on_with_the_part(https, output, monkeypatch):
    """The checksum is the same, so the bytes are."""
    monkeypatch.setattr("biohicl.fetch.https.TRIES", 1)
    https.put(PATH, BODY, always=cut(100_000))
    https.put(f"/second{PATH}", BODY, etag='"of the second"')
    https.put(f"/second{PATH}.md5", md5_line(BODY))
    fetch(https, output, f"{https.url}/second/pubmed")
    assert is_whole(output)
    (seen,) = https.seen[f"/second{PATH}"]
    assert (seen.range, seen.headers.get("if-range")) == ("bytes=99999-", None)


def test_two_processes_do_not_write_one_part(https, output):
    leave_a_part(https, output)
    with Partial(output, hashlib.md5(BODY).hexdigest()) as held:
        assert held.size == 99_999
        fetch(https, output)
        assert output.read_bytes() == BODY
        assert https.ranges(PATH) == [None]
        assert held.path.read_bytes() == BODY[:99_999]
    fetch(https, output)
    assert is_whole(output)
    assert https.ranges(PATH) == [None, "bytes=99998-"]


def test_after_a_kill_the_next_call_goes_on(https, output):
    https.put(PATH, BODY, paced)
    command = [sys.executable, "-m", "biohicl", "fetch-pubmed", "--mirrors", f"{https.url}/pubmed"]
    command += ["--kind", "baseline", "--name", "pubmed26n0001", "--output", str(output)]
    part = output.with_name(f".{output.name}.part")
    deadline = time.monotonic() + 60
    with subprocess.Popen(command, env=os.environ) as process:
        while not (part.exists() and part.stat().st_size > 60_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    size = part.stat().st_size
    assert not output.exists()
    assert 60_000 < size < len(BODY)
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_whole(output)
    assert https.ranges(PATH) == [None, f"bytes={size - 1}-"]
    assert https.sent(PATH)[1] == len(BODY) - size + 1


def test_an_untrusted_certificate_is_not_tried_again(https, output, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert fails(https, output, r"\.md5: its certificate is not trusted .*SSL_CERT_FILE") == []


# --- directory pages ------------------------------------------------------------------------------------------

INDEX = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /pubmed/baseline</title></head><body><h1>Index of /pubmed/baseline</h1>
<pre><a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <hr>
<a href="/pubmed/">Parent Directory</a>
<a href="README.txt">README.txt</a>
<!-- <a href="pubmed26n9999.xml.gz">commented out</a> -->
<a href="pubmed26n0001.xml.gz">pubmed26n0001.xml.gz</a>  2026-01-05 10:00   19M
<a href="pubmed26n0001.xml.gz.md5">pubmed26n0001.xml.gz.md5</a>
<A HREF='/pubmed/baseline/pubmed26n0002.xml.gz'>absolute path</A>
<a class=x href="{url}/pubmed/baseline/pubmed26n0003.xml.gz">absolute address</a>
<a href="./pubmed26n%30%3004.xml.gz">escaped</a>
<a href="sub/">sub/</a> <a href="sub/pubmed26n0005.xml.gz">below</a> <a href="../updatefiles/pubmed26n0006.xml.gz">beside</a>
<a href="../../evil">x</a> <a href="%2e%2e/">x</a> <a href="..%2f..%2fevil">x</a> <a href="a%00b">x</a> <a href="%2e%2e">x</a>
<a href="https://elsewhere.invalid/pubmed/baseline/pubmed26n0007.xml.gz">elsewhere</a>
<a href="pubmed26n0008.xml.gz?download">with a query</a> <a href="mailto:x@y">x</a> <a href="https://[bad">x</a> <a>x</a>
</pre></body></html>"""


def test_a_servers_directory_page(https):
    https.put(f"{FOLDER}/", INDEX.replace("{url}", https.url).encode())
    https.put("/pubmed/updatefiles/", b"<html><title>Index of /pubmed/updatefiles</title>empty so far</html>")
    names_there = list_directory(f"{https.url}{FOLDER}")
    files = [f"pubmed26n000{n}.xml.gz" for n in (1, 2, 3, 4)]
    assert sorted(names_there) == sorted(["README.txt", *files, "pubmed26n0001.xml.gz.md5"])
    release = pubmed_release([f"{https.url}/pubmed"], "current", "all", "all")
    assert [file["name"] for file in release["files"]] == [name.removesuffix(".xml.gz") for name in files]
    assert release["mirror"] == f"{https.url}/pubmed"


PAGE = """<html><title>Index of /pubmed</title><pre>
<a href="pubmed26n0001.xml.gz">pubmed26n0001.xml.gz</a>  {date}   19M
<a href="pubmed26n0001.xml.gz.md5">pubmed26n0001.xml.gz.md5</a>  2026-01-05 10:00   60
</pre></html>"""
TABLE = """<html><title>Index of /pubmed</title><table><tr><td><a href="pubmed26n0001.xml.gz">pubmed26n0001.xml.gz</a>
</td><td align="right">{date}</td><td align="right">19M</td></tr></table></html>"""
BARE = """<html><title>Index of /pubmed</title><li><a href="pubmed26n0001.xml.gz">{date}</a> 19M</html>"""


@pytest.mark.parametrize("page", [PAGE, TABLE, BARE])
def test_checksums_are_read_where_the_page_says_that_a_file_is_new(https, page):
    """A page without times cannot say it: then they are read each time."""
    mirrors, wanted = [f"{https.url}/pubmed"], ("current", "all", "none")
    https.put(f"{FOLDER}/", page.format(date="2026-01-05 10:00").encode())
    first = pubmed_release(mirrors, *wanted)
    assert [file["md5"] for file in first["files"]] == [hashlib.md5(BODY).hexdigest()]
    again = pubmed_release(mirrors, *wanted, first)
    assert again == first
    assert len(https.seen[f"{PATH}.md5"]) == (2 if page is BARE else 1)
    https.put(f"{FOLDER}/", page.format(date="2026-02-01 10:00").encode())
    https.put(f"{PATH}.md5", md5_line(OTHER))
    later = pubmed_release(mirrors, *wanted, again)
    assert [file["md5"] for file in later["files"]] == [hashlib.md5(OTHER).hexdigest()]


def test_a_row_of_very_many_links_is_read_soon(https):
    links = "".join(f'<td><a href="pubmed26n{number}.xml.gz">x</a></td>' for number in range(30_000))
    https.put(f"{FOLDER}/", f"<html>Index of x<table><tr>{links}<td>10:00</td></tr></table></html>".encode())
    started = time.monotonic()
    found = list_directory(f"{https.url}{FOLDER}")
    assert time.monotonic() - started < 10
    assert set(found.values()) == {None}
    assert len(found) == 30_000


def test_a_busy_server_is_not_one_without_checksums(https):
    https.put(f"{FOLDER}/", PAGE.format(date="2026-01-05 10:00").encode())
    https.put(f"{PATH}.md5", b"", always=status(503))
    with pytest.raises(BioHiCLError, match=r"\.md5: .*503.* busy"):
        pubmed_release([f"{https.url}/pubmed"], "current", "all", "none")
    https.put(f"{PATH}.md5", b"", always=status(404))
    release = pubmed_release([f"{https.url}/pubmed"], "current", "all", "none")
    assert [file["md5"] for file in release["files"]] == [None]


@pytest.mark.parametrize(
    ("faults", "tries"),
    [
        ([status(503), status(429)], 3),
        ([html], 2),
        ([cut(500)], 2),
        ([unframed(1000)], 2),
    ],
)
def test_a_directory_page_comes_over_whole_too(https, faults, tries):
    """Above all, no error page and no part of a page passes for a listing with fewer files."""
    https.put(f"{FOLDER}/", INDEX.encode(), *faults)
    assert len(list_directory(f"{https.url}{FOLDER}")) == 5
    assert len(https.ranges(f"{FOLDER}/")) == tries


def test_an_endless_directory_page(https, monkeypatch):
    monkeypatch.setattr("biohicl.fetch.places.LARGEST_PAGE_BYTES", 1_000_000)
    https.put(f"{FOLDER}/", INDEX.encode(), always=endless)
    with pytest.raises(BioHiCLError, match="baseline/: longer than 1,000,000 bytes, which no such page is"):
        list_directory(f"{https.url}{FOLDER}")


def test_a_page_may_come_packed_and_is_no_bomb(https, monkeypatch):
    page = INDEX.encode()
    https.put(f"{FOLDER}/", page, always=instead(gzip.compress(page), Content_Encoding="gzip"))
    assert len(list_directory(f"{https.url}{FOLDER}")) == 5
    bomb = gzip.compress(bytes(200_000_000))
    https.put(f"{FOLDER}/", page, always=instead(bomb, Content_Encoding="gzip"))
    monkeypatch.setattr("biohicl.fetch.places.LARGEST_PAGE_BYTES", 1_000_000)
    unpacked = []
    unpack = zlib.decompressobj
    monkeypatch.setattr("zlib.decompressobj", lambda wbits: Counted(unpack(wbits=wbits), unpacked))
    with pytest.raises(BioHiCLError, match="longer than 1,000,000 bytes, which no such page is"):
        list_directory(f"{https.url}{FOLDER}")
    assert sum(unpacked) < 2_000_000
    https.put(f"{FOLDER}/", page, always=instead(gzip.compress(bomb), Content_Encoding="gzip, gzip"))
    with pytest.raises(BioHiCLError, match="comes as 'gzip, gzip', which was not asked for"):
        list_directory(f"{https.url}{FOLDER}")
    https.put(f"{FOLDER}/", page, always=instead(b"no gzip", Content_Encoding="gzip"))
    monkeypatch.setattr("biohicl.fetch.https.TRIES", 1)
    with pytest.raises(BioHiCLError, match="what came is no whole page"):
        list_directory(f"{https.url}{FOLDER}")


class Counted:
    """A decompressor, and how much each of its calls gave."""

    def __init__(self, inner, counts):
        self.inner, self.counts = inner, counts

    def decompress(self, *words):
        piece = self.inner.decompress(*words)
        self.counts.append(len(piece))
        return piece


def test_a_listing_asks_the_next_mirror(https, sample, capsys):
    https.put(f"{FOLDER}/", b"", always=html)
    release = pubmed_release([f"{https.url}/pubmed", str(sample / "pubmed")], "current", "all", "all")
    assert release["mirror"] == (sample / "pubmed").as_uri()
    assert (
        "what came is no directory page; run again later, or check `mirrors`; asking the next"
        in capsys.readouterr().err
    )


# --- new years and new issues -----------------------------------------------------------------------------------


def mesh_record(server, record):
    release = mesh_release([f"{server.url}/mesh"], "current")
    news = describe_news(release, record)
    write_json(release, record)
    return release, news


def test_mesh_issued_again_is_told(https, tmp_path, capsys):
    record, output = tmp_path / "release.json", tmp_path / "mesh/desc2026.gz"
    https.put("/mesh/", b'<html><title>Index of /mesh</title><a href="desc2026.gz">x</a></html>')
    https.put("/mesh/desc2026.gz", BODY)
    release, news = mesh_record(https, record)
    assert news == ["first listing"]
    assert release["issue"] == {"last_modified": "Mon, 05 Jan 2026 10:00:00 GMT", "bytes": str(len(BODY))}
    assert [seen.method for seen in https.seen["/mesh/desc2026.gz"]] == ["HEAD"]
    https.put("/mesh/desc2026.gz", BODY, etag='"of another machine"')
    assert mesh_record(https, record) == (release, ["nothing new since the last listing"])
    fetch_mesh_file([f"{https.url}/mesh"], "desc2026", output)
    digest = hashlib.sha256(BODY).hexdigest()
    assert output.with_name("desc2026.gz.sha256").read_text() == f"{digest}  desc2026.gz\n"

    https.put("/mesh/desc2026.gz", OTHER, last_modified="Tue, 03 Feb 2026 10:00:00 GMT")
    issued, news = mesh_record(https, record)
    assert issued != release
    assert news[0].startswith("desc2026.gz was re-issued (Last-Modified Mon, 05 Jan 2026 10:00:00 GMT -> Tue, 03 Feb")
    capsys.readouterr()
    fetch_mesh_file([f"{https.url}/mesh"], "desc2026", output)
    other = hashlib.sha256(OTHER).hexdigest()
    assert f"desc2026.gz changed: sha256 {digest} -> {other}" in capsys.readouterr().err
    assert sorted(path.name for path in output.parent.iterdir()) == ["desc2026.gz", "desc2026.gz.sha256"]


def test_what_a_server_says_of_an_issue(https, tmp_path):
    https.put("/mesh/", b'<html><title>Index of /mesh</title><a href="desc2026.gz">x</a></html>')
    https.put("/mesh/desc2026.gz", BODY, last_modified=None)
    assert mesh_release([f"{https.url}/mesh"], "current")["issue"] == {"etag": '"one"', "bytes": str(len(BODY))}
    https.put("/mesh/desc2026.gz", BODY, always=status(405))
    assert mesh_release([f"{https.url}/mesh"], "current")["issue"] == {}
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("fault", [cut(100_000), announces(-1000), unframed(100_000)])
def test_mesh_without_a_checksum_is_whole_all_the_same(https, tmp_path, fault):
    output = tmp_path / "mesh/desc2026.gz"
    https.put("/mesh/desc2026.gz", BODY, fault)
    fetch_mesh_file([f"{https.url}/mesh"], "desc2026", output)
    assert output.read_bytes() == BODY
    https.put("/mesh/desc2026.gz", BODY, always=unframed(100_000))
    output.unlink()
    with pytest.raises(BioHiCLError, match=r"desc2026.gz: not a whole gzip file \(.*use another mirror"):
        fetch_mesh_file([f"{https.url}/mesh"], "desc2026", output)
    assert [path.name for path in output.parent.iterdir()] == ["desc2026.gz.sha256"]


def test_an_archive_goes_on_too(https, tmp_path):
    path = tmp_path / "x.zip"
    files = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in zip(files, ("a", "b" * 50_000, "c"), strict=True):
            bundle.writestr(f"x/{name}", content)
    https.put("/x.zip", path.read_bytes(), html, cut(10_000))
    fetch_benchmark(f"{https.url}/x.zip", None, None, files, tmp_path / "out/x")
    assert https.ranges("/x.zip") == [None, None, "bytes=10000-"]
    assert (tmp_path / "out/x/queries.jsonl").read_text() == "b" * 50_000
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["x"]
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    https.put("/x.zip", bytes(damaged))
    with pytest.raises(BioHiCLError, match="queries.jsonl in the archive is damaged; run again"):
        fetch_benchmark(f"{https.url}/x.zip", None, None, files, tmp_path / "none/x")
    assert list((tmp_path / "none").rglob("*.*")) == []
