"""Tables of the size of all of PubMed, for benchmarks: generated, and the commands that read them measured."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.pubmed.schema import ARTICLES, DELETED, METADATA, QUARANTINE

KEYS = 40_020_000
UPDATES, UPDATE_ROWS, UPDATE_DELETES = 300, 20_000, 200


def generate(folder, files, keys, rows=None, updates=UPDATES):
    """Baseline files of neighbouring PMIDs, then updates that revise, add versions, delete, and bring new PMIDs.

    ``rows``: an Arrow table whose columns stand in the articles tables, of each file a part; without it all columns but
    the key are null.
    """
    draw = np.random.default_rng(1)

    def write(number, pmid, version, deleted):
        given = {"pmid": pmid, "version": version, "position": np.arange(len(pmid))}
        given = {name: pa.array(values, ARTICLES.field(name).type) for name, values in given.items()}
        if rows is not None:
            # Another file begins elsewhere, so that not all of them are alike.
            start = number * 7919 % (rows.num_rows - len(pmid) + 1)
            given |= {name: rows[name].slice(start, len(pmid)) for name in rows.column_names}
        columns = [given.get(field.name, pa.nulls(len(pmid), field.type)) for field in ARTICLES]
        tables = {
            "articles": pa.Table.from_arrays(columns, schema=ARTICLES.with_metadata(METADATA)),
            "deleted": pa.table(
                {"pmid": np.sort(deleted), "version": np.ones(len(deleted))}, schema=DELETED.with_metadata(METADATA)
            ),
            "quarantine": QUARANTINE.with_metadata(METADATA).empty_table(),
        }
        for kind, table in tables.items():
            path = folder / kind / f"pubmed26n{number:04d}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path, compression="zstd", row_group_size=10_000)

    # As with NLM, one PMID in twenty does not exist.
    places = np.linspace(0, keys, files + 1).astype(int)
    for number, (first, last) in enumerate(itertools.pairwise(places), start=1):
        pmid = np.arange(first, last) * 20 // 19 + 1
        moved = draw.choice(len(pmid), 200, replace=False)
        pmid[moved] = pmid[np.roll(moved, 1)]
        write(number, pmid, np.ones(len(pmid)), [])
    for number in range(files + 1, files + 1 + updates):
        # Half are of the newest PMIDs, a tenth are not in the baseline; some stand there twice.
        pmid = draw.integers(keys, keys * 20 // 19 * 1.01, UPDATE_ROWS).astype(int)
        pmid[::2] = draw.integers(1, keys, UPDATE_ROWS // 2)
        version = np.where(draw.random(UPDATE_ROWS) < 0.01, draw.integers(2, 5, UPDATE_ROWS), 1)
        deleted = np.concatenate([draw.integers(1, keys, UPDATE_DELETES // 2), draw.choice(pmid, UPDATE_DELETES // 2)])
        write(number, pmid, version, deleted)
    record = [
        {"name": path.stem, "kind": "baseline" if place < files else "updatefiles", "year": 2026, "number": place + 1}
        for place, path in enumerate(sorted((folder / "articles").iterdir()))
    ]
    (folder / "release.json").write_text(json.dumps({"mirror": "generated", "year": 2026, "files": record}))


# A process's peak memory begins with that of what started it, so something small starts it.
STARTER = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(done.returncode)
"""


def measured(command, **options):
    """Wall seconds, CPU seconds and peak resident MB of a Python command; its error ends this process."""
    words = [sys.executable, "-S", "-c", STARTER, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return json.loads(done.stdout)
