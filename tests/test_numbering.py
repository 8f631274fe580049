"""Gaps and mixed years in a release's files: rows, one warning, or an error."""

import json

import polars as pl
import pytest

from biohicl.errors import BioHiCLError
from biohicl.pubmed.numbering import numbering_anomalies, refuse_anomalies, write_anomalies


def release(*files):
    """Files as the release record has them, from ("20b", 1, 2) for a baseline's and ("20u", 3) for updates."""
    kinds = {"b": "baseline", "u": "updatefiles"}
    return [
        {"name": f"pubmed{of[:2]}n{n:04d}", "kind": kinds[of[2]], "year": 2000 + int(of[:2]), "number": n}
        for of, *numbers in files
        for n in numbers
    ]


def found(*files, **chosen):
    return [(row["kind"], row["subject"]) for row in numbering_anomalies(release(*files), **chosen)]


CASES = {
    "whole": ([("26b", 1, 2, 3), ("26u", 4, 5)], {}, []),
    "a baseline alone": ([("26b", 1, 2)], {}, []),
    "out of order": ([("26u", 4, 3), ("26b", 2, 1)], {}, []),
    "one missing": ([("26b", 1, 3), ("26u", 4, 6)], {}, [("gap", "pubmed26n0002"), ("gap", "pubmed26n0005")]),
    "several": ([("26b", 1), ("26u", 5)], {}, [("gap", "pubmed26n0002 to pubmed26n0004")]),
    "begins late": ([("26b", 14, 15)], {}, [("gap", "pubmed26n0001 to pubmed26n0013")]),
    "five digits": ([("26b", *range(1, 10_000)), ("26u", 10_001)], {}, [("gap", "pubmed26n10000")]),
    "chosen baseline": (
        [("26b", 1, 7), ("26u", 8)],
        {"baseline": [1, 7]},
        [("chosen gap", "pubmed26n0002 to pubmed26n0006")],
    ),
    "chosen, and one of them not listed": (
        [("26b", 1, 4), ("26u", 5)],
        {"baseline": [1, "3-4"]},
        [("chosen gap", "pubmed26n0002"), ("gap", "pubmed26n0003")],
    ),
    "chosen updates": ([("26b", 1, 2), ("26u", 5)], {"updates": ["5-9"]}, [("chosen gap", "pubmed26n0003 to pubmed26n0004")]),
    "a list says more than all": ([("26b", 1), ("26u", 5)], {"baseline": [1]}, [("chosen gap", "pubmed26n0002 to pubmed26n0004")]),
    "between two lists": (
        [("26b", 1), ("26u", 5)],
        {"baseline": [1], "updates": ["4-5"]},
        [("chosen gap", "pubmed26n0002 to pubmed26n0003"), ("gap", "pubmed26n0004")],
    ),
    "no baseline": ([("26u", 5, 7)], {}, [("updates without baseline", "pubmed26n0005 to pubmed26n0007"), ("gap", "pubmed26n0006")]),
    "mixed years": (
        [("25b", 1, 2), ("25u", 3), ("26b", 1)],
        {},
        [("mixed years", "2025 and 2026")],
    ),
    "twice": ([("26b", 1, 2), ("26u", 2, 3)], {}, [("number twice", "pubmed26n0002")]),
    "the real files beside the project": (
        [("20b", 14, 9001), ("21u", 1298)],
        {},
        [
            ("mixed years", "2020 and 2021"),
            ("gap", "pubmed20n0001 to pubmed20n0013"),
            ("gap", "pubmed20n0015 to pubmed20n9000"),
            ("updates without baseline", "pubmed21n1298"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_an_anomaly(case):
    files, chosen, expected = CASES[case]
    assert found(*files, **chosen) == expected


def test_the_words_say_how_many_and_why():
    rows = numbering_anomalies(release(("26b", 1, 4), ("26u", 6)), baseline=[1, 4])
    assert [row["detail"] for row in rows] == [
        "2 files missing: not asked for in config.yaml",
        "1 file missing: not asked for in config.yaml",
    ]
    rows = numbering_anomalies(release(("26u", 6)), baseline="none")
    assert rows[0]["detail"] == (
        "1 file of updates, and no baseline file of 2026; pubmed.baseline in config.yaml asks for none"
    )


def run(run_biohicl, folder, files, *words):
    """`biohicl corpus` on empty tables."""
    import pyarrow as pa

    from biohicl.pubmed.schema import ARTICLES, DELETED, METADATA, QUARANTINE
    from biohicl.storage import write_parquet

    for file in files:
        for kind, schema in (("articles", ARTICLES), ("deleted", DELETED), ("quarantine", QUARANTINE)):
            write_parquet(pa.Table.from_pylist([], schema), folder / kind / f"{file['name']}.parquet", METADATA)
    (folder / "release.json").write_text(json.dumps({"year": 2026, "files": files}))
    places = ["--output", folder / "out/current.parquet", "--anomalies", folder / "out/anomalies.parquet"]
    return run_biohicl("corpus", "--release", folder / "release.json", "--pubmed", folder, *places, *words)


def test_one_line_of_warning_and_the_rows(tmp_path, run_biohicl):
    done = run(run_biohicl, tmp_path, release(("20b", 14, 9001), ("21u", 1298)))
    assert done.returncode == 0
    (said,) = [line for line in done.stderr.splitlines() if "warning" in line]
    assert "gap, pubmed20n0001 to pubmed20n0013: 13 files missing: not listed by the server; " in said
    assert "; and 1 more. All of it: " in said
    table = pl.read_parquet(tmp_path / "out/anomalies.parquet")
    assert table["kind"].to_list() == ["mixed years", "gap", "gap", "updates without baseline"]


def test_nothing_odd_is_an_empty_table_and_no_warning(tmp_path, run_biohicl):
    done = run(run_biohicl, tmp_path, release(("26b", 1), ("26u", 2)), "--strict-sequence")
    assert done.returncode == 0
    assert "warning" not in done.stderr
    assert pl.read_parquet(tmp_path / "out/anomalies.parquet").height == 0


def test_strict_is_an_error_that_says_what_is_missing_and_what_to_do(tmp_path, run_biohicl):
    words = ["--strict-sequence", "--baseline", "1,3"]
    done = run(run_biohicl, tmp_path, release(("26b", 1, 3), ("26u", 5)), *words)
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "chosen gap, pubmed26n0002: 1 file missing: not asked for in config.yaml" in said
    assert "ask for all files in pubmed.baseline and pubmed.updates" in said
    assert "set pubmed.strict_sequence: false in config.yaml" in said
    assert not (tmp_path / "out").exists()


def test_what_is_whole_is_not_refused(tmp_path):
    refuse_anomalies([])
    with pytest.raises(BioHiCLError, match="Complete the mirror and ask it again \\(snakemake refresh\\), or set"):
        refuse_anomalies(numbering_anomalies(release(("26b", 2))))
    write_anomalies([], tmp_path / "anomalies.parquet")
