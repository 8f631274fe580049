"""`make bench-serve`: 50 clients at a time ask `biohicl serve` one search after the other; how long they wait.

Starts a server of its own over --index (default: the only one of this folder's project). Each query is new: words drawn
from the titles of the citations that others found, so that nothing answers from memory. The clients are threads of
this process, which shares the cores with the server; CPU is the server's, a request.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from served import answer_of, serving


def words_of(address):
    """Words of the index's own titles, longer ones."""
    found = set()
    for query in ("treatment of disease", "cells", "risk factors", "children", "surgery", "rats", "protein", "review"):
        for one in answer_of(address, "/api/search", q=query, k=100, mode="bm25")["citations"]:
            found |= {word for word in one["title"].split() if len(word) > 4 and word.isalpha()}
    return sorted(found)


def measured(address, clients, seconds, mode, k):
    """Seconds of each answered request, and the errors: a status, or what was raised."""
    words = words_of(address)
    times, errors = [], []
    ending = time.monotonic() + seconds

    def client(number):
        draw = random.Random(number)
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        while time.monotonic() < ending:
            query = urlencode({"q": " ".join(draw.sample(words, 5)), "mode": mode, "k": k})
            started = time.perf_counter()
            try:
                connection.request("GET", f"/api/search?{query}")
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                errors.append(repr(error))
                connection.close()
                continue
            times.append(time.perf_counter() - started)
            if answer.status != 200 or not content["citations"]:
                errors.append(f"{answer.status} {content.get('error')}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, errors


def cpu_seconds(process):
    """Of a running process, all its threads together."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, help="results/index/<model>")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--modes", nargs="+", default=["hybrid", "dense", "bm25"])
    parser.add_argument("--k", type=int, default=10)
    options = parser.parse_args()
    index = options.index or next(iter(sorted(Path("results/index").glob("*"))))
    with serving(index) as (address, process):
        about = answer_of(address, "/api/about")
        print(f"{about['citations']:,} citations, model {about['model']}, {about['storage']}; {os.cpu_count()} cores")
        print(
            f"{'mode':8} {'clients':>7} {'requests/s':>10} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'CPU ms':>7} {'errors':>6}"
        )
        for mode in options.modes:
            for clients in sorted({1, options.clients}):
                started, used = time.perf_counter(), cpu_seconds(process)
                times, errors = measured(address, clients, options.seconds, mode, options.k)
                rate = len(times) / (time.perf_counter() - started)
                used = 1000 * (cpu_seconds(process) - used) / len(times)
                cuts = [1000 * cut for cut in statistics.quantiles(times, n=100)]
                shown = " ".join(f"{cuts[place - 1]:8.0f}" for place in (50, 95, 99))
                print(f"{mode:8} {clients:7} {rate:10.1f} {shown} {used:7.1f} {len(errors):6}", flush=True)
                for error in errors[:3]:
                    print(f"  {error}")


if __name__ == "__main__":
    main()
