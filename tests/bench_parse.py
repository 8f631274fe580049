"""The PubMed parser beside another one and beside the floor: `make bench-parse`.

In one interleaved run, each in a process of its own, from the .xml.gz file to Parquet:

1. biohicl: `biohicl parse-pubmed`, everything included;
2. pubmed_parser: `parse_medline_xml` as its README calls it (whole dates, no authors' list, no references), to Parquet;
3. floor: isal unpacks, libxml2 checks with no handler called, nothing is kept.

Prints the medians of the CPU seconds (user and system, the start of Python included) and the largest resident memory.

    python tests/bench_parse.py [--rounds 5] FILE.xml.gz [FILE.xml.gz ...]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared/data/nlm/pubmed"
FILES = [SHARED / "baseline/pubmed20n0014.xml.gz", SHARED / "updatefiles/pubmed21n1298.xml.gz"]

FLOOR = """
import sys
from isal import isal_zlib
from lxml import etree

class Nothing:
    def close(self):
        return None

unpack = isal_zlib.decompressobj(wbits=31)
parser = etree.XMLParser(target=Nothing(), load_dtd=False, no_network=True, resolve_entities=False)
with open(sys.argv[1], "rb") as stream:
    while piece := stream.read(1 << 18):
        parser.feed(unpack.decompress(piece))
parser.close()
"""

PUBMED_PARSER = """
import sys
import pubmed_parser, pyarrow, pyarrow.parquet
rows = list(
    pubmed_parser.parse_medline_xml(
        sys.argv[1], year_info_only=False, nlm_category=False, author_list=False, reference_list=False
    )
)
pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sys.argv[2])
"""


def commands(file, folder):
    tables = ("articles", "mesh-headings", "deleted", "quarantine")
    outputs = [word for table in tables for word in (f"--{table}", str(folder / f"{table}.parquet"))]
    return {
        "biohicl": [sys.executable, "-m", "biohicl", "--threads", "1", "parse-pubmed", str(file), *outputs],
        "pubmed_parser": [sys.executable, "-c", PUBMED_PARSER, str(file), str(folder / "other.parquet")],
        "floor": [sys.executable, "-c", FLOOR, str(file)],
    }


def measured(command):
    """CPU seconds and peak resident MB of one process."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[:3])[:80]} failed:\n{said.decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=FILES, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    missing = [str(file) for file in options.files if not file.is_file()]
    if missing:
        sys.exit(f"no such file: {', '.join(missing)}; name .xml.gz files of NLM's")
    for file in options.files:
        with tempfile.TemporaryDirectory() as folder:
            ways = commands(file, Path(folder))
            taken = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, command in ways.items():
                    taken[name].append(measured(command))
        seconds = {name: statistics.median(cpu for cpu, _ in runs) for name, runs in taken.items()}
        print(f"{file.name}, medians of {options.rounds} rounds")
        print(f"  {'':14} {'CPU s':>7} {'x floor':>8} {'of pubmed_parser':>17} {'peak MB':>8}")
        for name, runs in taken.items():
            share = f"1/{seconds['pubmed_parser'] / seconds[name]:.1f}"
            peak = max(memory for _, memory in runs)
            print(f"  {name:14} {seconds[name]:7.2f} {seconds[name] / seconds['floor']:8.2f} {share:>17} {peak:8.0f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
