"""Asks whether the versions in constraints.txt have known holes: `make audit`.

Ends with 0 where none is known of any, 1 where some are, which are listed, and 3 where it could not be asked of all:
pip-audit itself takes a version that it finds nothing about for one without holes.
"""

import json
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).resolve().parents[1] / "constraints.txt"
# Asked in turn, until one knows every package.
SERVICES = ("pypi", "osv")
NONE_KNOWN, HOLES, NOT_ASKED = 0, 1, 3


def verdict(said, wanted):
    """Exit code and lines for what pip-audit said, of which ``wanted`` packages are to be known."""
    try:
        rows = json.loads(said)["dependencies"]
        known = [row for row in rows if "vulns" in row]
        holes = [
            f"{row['name']} {row['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
            for row in known
            for hole in row["vulns"]
        ]
    except (ValueError, KeyError, TypeError):
        return NOT_ASKED, ["could not ask: pip-audit gave no report"]
    if holes:
        return HOLES, [*holes, f"{len(known):,} of {wanted:,} packages are known there"]
    if len(known) < wanted:
        return NOT_ASKED, [f"could not ask: of {wanted:,} packages {len(known):,} are known there"]
    return NONE_KNOWN, [f"no known holes in {wanted:,} packages"]


def ask(service, pinned):
    """What pip-audit says, as JSON; nothing is installed, and nothing but the service is asked."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off", "--desc", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout, (done.stderr.strip().splitlines() or [""])[-1]


def main():
    wanted = sum("==" in line for line in PINNED.read_text().splitlines() if not line.startswith("#"))
    for service in SERVICES:
        said, last = ask(service, PINNED)
        code, lines = verdict(said, wanted)
        for line in lines:
            print(f"{service}: {line}" + (f" ({last[:200]})" if code == NOT_ASKED and last else ""))
        if code != NOT_ASKED:
            break
    return code


if __name__ == "__main__":
    sys.exit(main())
