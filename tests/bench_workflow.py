"""The workflow at the number of files that PubMed has: `make bench-workflow`.

Generates a server of 1,334 baseline files with the sample's citations (30 each), numbered as NLM's, and then: plans a
run of everything, runs it, plans and runs again when there is nothing to do, and once more with one new update file.
Prints seconds and peak resident memory of Snakemake itself and of its largest job, and the jobs that ran with the
seconds of each. In a folder that was kept it goes on with one more update.

    python tests/bench_workflow.py [--files 1334] [--citations 30] [--cores 2] [--keep DIR]
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml

from biohicl.sample.citations import FIRST_PMID, Citation, citation_set_xml
from biohicl.sample.files import write_gzip, write_md5
from biohicl.sample.make import make_sample
from biohicl.sample.world import World

ROOT = Path(__file__).resolve().parents[1]
# Enough to train something on, however many citations there are.
OVERLAY = {
    "training": {"release": "many", "selections": {"abstracts": {"citations": 600}}},
    "nodes": {"default": {"schedule": {"epochs": 1}}},
    "models": ["default"],
}


def publish(folder, world, kind, number, citations, deleted=()):
    path = folder / "sample/pubmed" / kind / f"pubmed99n{number:04d}.xml.gz"
    write_gzip(path, citation_set_xml(world, citations, deleted))
    write_md5(path)


def generate(folder, files, citations):
    make_sample(folder / "sample")
    for path in (folder / "sample/pubmed").rglob("*.gz*"):
        path.unlink()
    world = World()
    for number in range(files):
        first = FIRST_PMID + number * citations
        publish(folder, world, "baseline", number + 1, [Citation(first + place) for place in range(citations)])
    (folder / "resources").mkdir()
    (folder / "resources/sample").symlink_to(folder / "sample")
    (folder / "many.yaml").write_text(yaml.safe_dump(OVERLAY))


class Peak(threading.Thread):
    """The most memory that a process has had while it ran; its children are not counted."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.megabytes = Path(f"/proc/{pid}/status"), 0

    def run(self):
        try:
            while found := re.search(r"VmHWM:\s+(\d+)", self.status.read_text()):
                self.megabytes = int(found[1]) / 1024
                time.sleep(0.05)
        except OSError:
            pass


def measured(what, folder, cores, *targets, plan=False):
    """Runs Snakemake; prints what it took."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", cores]
    command += ["--profile", ROOT / "profiles/default", *(["--dry-run", "--quiet", "rules"] if plan else [])]
    command += ["--configfile", ROOT / "workflow/configs/tests.yaml", folder / "many.yaml", "--", *targets]
    started = time.monotonic()
    with (folder / "said.log").open("w") as log:
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=log, stderr=log)
        peak = Peak(process.pid)
        peak.start()
        status = process.wait()
    seconds = time.monotonic() - started
    said = (folder / "said.log").read_text()
    if status:
        sys.exit(f"{what}: failed\n{said[-3000:]}")
    jobs = re.findall(r"\d+ of (\d+) steps", said)
    done = "nothing" if "Nothing to be done" in said else f"{jobs[-1]} jobs" if jobs else "a plan"
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{what:<34} {seconds:>8.1f} {peak.megabytes:>8,.0f} {largest:>9,.0f}  {done}", flush=True)
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1334)
    parser.add_argument("--citations", type=int, default=30)
    parser.add_argument("--cores", default="2")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="biohicl-bench-"))
    try:
        folder.mkdir(exist_ok=True, parents=True)
        if not (folder / "sample").exists():
            generate(folder, options.files, options.citations)
        print(f"{options.files:,} files of {options.citations} citations, {options.cores} of {os.cpu_count()} cores")
        print(f"{'':<34} {'seconds':>8} {'its MB':>8} {'jobs MB':>9}")
        run = [folder, options.cores]
        measured("the listing", *run, "list_pubmed", "list_mesh")
        measured("plan of everything", *run, "all", plan=True)
        measured("everything", *run, "all")
        measured("plan, with nothing to do", *run, "all", plan=True)
        measured("nothing to do", *run, "all")
        publish_update(folder, options.citations)
        measured("refresh", *run, "refresh")
        measured("plan of one update", *run, "all", plan=True)
        before = time.time()
        measured("one update", *run, "all")
        took = seconds_of_jobs(folder, before)
        print(f"{'  its jobs':<34} {sum(took.values()):>8.1f}")
        for rule, seconds in took.items():
            print(f"{'    ' + rule:<34} {seconds:>8.1f}")
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def seconds_of_jobs(folder, since):
    """The jobs that ran since then, as Snakemake measured them, by rule."""
    tables = [path for path in (folder / "benchmarks").rglob("*.tsv") if path.stat().st_mtime >= since]
    tables.sort(key=lambda path: path.stat().st_mtime)
    return {
        path.relative_to(folder / "benchmarks").parts[0].removesuffix(".tsv"): float(
            path.read_text().splitlines()[1].split()[0]
        )
        for path in tables
    }


def publish_update(folder, citations):
    """New citations, revised ones and deletes, in the next number."""
    number = len(list((folder / "sample/pubmed").rglob("*.gz"))) + 1
    new = [Citation(FIRST_PMID + number * citations + place) for place in range(20)]
    revised = [Citation(FIRST_PMID + place, rewrite=1) for place in range(10)]
    publish(folder, World(), "updatefiles", number, revised + new, deleted=[FIRST_PMID + 25])


if __name__ == "__main__":
    main()
