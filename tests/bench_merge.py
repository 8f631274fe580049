"""Time and memory of the merge at the size of all of PubMed: `make bench-merge`.

Generates articles and deleted tables (every column there, those that the merge does not read are null) of a
baseline and 300 update files in a temporary folder, merges them by `biohicl corpus` in a process of its own, and
prints seconds, CPU seconds and peak resident memory: the same 40 million PMIDs in 333, 667 and 1,334 baseline
files, then a quarter of them. The largest result is compared with what DuckDB computes from the same files.

    python tests/bench_merge.py [--quick] [--keep DIR]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from big_corpus import KEYS, UPDATE_ROWS, UPDATES, generate, measured

# (baseline files, PMIDs in all)
SIZES = [(333, KEYS), (667, KEYS), (1334, KEYS), (334, KEYS // 4)]


def verify(folder):
    """The same rule in SQL; stops where one row differs."""
    import duckdb

    with duckdb.connect(str(folder / "verify.duckdb")) as connection:
        connection.execute("set threads = 2; set memory_limit = '6GB'; set preserve_insertion_order = false")
        connection.execute(f"set temp_directory = '{folder / 'spill'}'")
        number = "string_split(filename, 'n')[-1].replace('.parquet', '')::bigint"
        connection.execute(f"""
            create table expected as
            with records as (
                select pmid, max({number} * 1_000_000_000_000 + version * 1_000_000 + position) as best
                from read_parquet('{folder}/articles/*.parquet', filename = true) group by pmid
            ), deletes as (
                select pmid, max({number}) as file
                from read_parquet('{folder}/deleted/*.parquet', filename = true) group by pmid
            )
            select pmid, best from records left join deletes using (pmid)
            where deletes.file is null or best // 1_000_000_000_000 > deletes.file
        """)
        different, expected, found = connection.execute(f"""
            select count(*) filter (expected.best is distinct from found.best), count(expected.best), count(found.best)
            from expected full join (
                select pmid, {number.replace("filename", "file")} * 1_000_000_000_000 + version * 1_000_000 + position as best
                from '{folder}/current.parquet'
            ) as found using (pmid)
        """).fetchone()
        sorts = connection.execute(
            f"select count(*) from (select pmid, lag(pmid) over () as before from '{folder}/current.parquet') where pmid <= before"
        ).fetchone()[0]
    print(
        f"compared with DuckDB: {expected:,} rows expected, {found:,} found, {different:,} differ, {sorts} out of order"
    )
    return 1 if different or sorts or not found else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the PMIDs, to try the script")
    parser.add_argument("--only", choices=("generate", "verify"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only == "generate":
        return generate(options.folder, *options.size)
    if options.only == "verify":
        return verify(options.folder)
    print(
        f"{os.cpu_count()} cores; each size with {UPDATES} update files of {UPDATE_ROWS:,} records beside the baseline"
    )
    print(f"{'files':>6} {'PMIDs':>12} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}", flush=True)
    status = 0
    for files, keys in SIZES:
        with tempfile.TemporaryDirectory(prefix="biohicl-bench-") as name:
            folder = Path(name)
            size = (files, keys // 100 if options.quick else keys)
            subprocess.run(
                [sys.executable, __file__, "--only", "generate", "--folder", folder, "--size", *map(str, size)],
                check=True,
            )
            corpus = ["-m", "biohicl", "--threads", "1", "corpus", "--release", folder / "release.json"]
            corpus += ["--pubmed", folder, "--anomalies", folder / "anomalies.parquet"]
            wall, cpu, peak = measured([*corpus, "--output", folder / "current.parquet"])
            print(f"{files:>6,} {size[1]:>12,} {wall:>8.1f} {cpu:>8.1f} {peak:>8,.0f}", flush=True)
            if files == max(SIZES)[0]:
                disk = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6
                print(f"its tables take {disk:,.0f} MB on disk", flush=True)
                status |= subprocess.run([sys.executable, __file__, "--only", "verify", "--folder", folder]).returncode
            shutil.rmtree(folder / "articles")
    return status


if __name__ == "__main__":
    sys.exit(main())
