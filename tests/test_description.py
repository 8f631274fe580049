"""What the corpus is: counted again by a plain loop."""

import random
from collections import Counter

import polars as pl
import pytest

from biohicl.errors import BioHiCLError
from biohicl.pubmed.description import write_description
from biohicl.pubmed.schema import DESCRIPTION

CATEGORIES = {"D1": ["C"], "D2": ["A", "C"], "D3": ["Z"], "D4": []}
ARTICLES = {
    "pmid": pl.Int32,
    "position": pl.Int32,
    "year": pl.Int16,
    "languages": pl.List(pl.String),
    "abstract": pl.String,
    "retracted": pl.Boolean,
    "is_book": pl.Boolean,
    "mesh_headings": pl.List(pl.Struct({"descriptor_ui": pl.String})),
}


def drawn(seed):
    """Records of three files by name, in which all that may be absent is so at times."""
    generator = random.Random(seed)
    # The table of current records is sorted by these, and so goes back and forth between the files.
    pmids = iter(generator.sample(range(1, 1000), 100))
    return {
        f"pubmed99n000{number}": [
            {
                "pmid": next(pmids),
                "position": place,
                "year": generator.choice([None, 999, 1979, 2021, -1]),
                "languages": generator.choice([[], ["eng"], ["eng", "fre"], ["ger", "ger"]]),
                "abstract": generator.choice([None, "words"]),
                "retracted": generator.random() < 0.1,
                "is_book": False,
                "mesh_headings": [
                    {"descriptor_ui": generator.choice(["D1", "D2", "D3", "D4", "D9", None])}
                    for _ in range(generator.choice([0, 0, 1, 3, 12]))
                ],
            }
            for place in range(generator.randint(0, 30))
        ]
        for number in (1, 2, 3)
    }


def counted(records):
    """The same by hand."""
    counts = {kind: Counter() for kind in ("citations", "year", "language", "headings", "category")}
    named = ("all", "with an abstract", "with MeSH headings", "retracted", "books")
    counts["citations"].update(dict.fromkeys(named, 0))
    for record in records:
        uis = [heading["descriptor_ui"] for heading in record["mesh_headings"]]
        is_of = [True, record["abstract"] is not None, bool(uis), record["retracted"], record["is_book"]]
        counts["citations"].update(dict(zip(named, map(int, is_of), strict=True)))
        counts["year"]["unknown" if record["year"] is None else str(record["year"])] += 1
        counts["language"].update(set(record["languages"]) or {"unknown"})
        counts["headings"][str(len(uis))] += 1
        counts["category"].update({category for ui in uis for category in CATEGORIES.get(ui, ["unknown"])})
    return {kind: dict(counter) for kind, counter in counts.items()}


def laid_out(folder, files, current):
    hierarchy = pl.DataFrame({"descriptor_ui": list(CATEGORIES), "categories": list(CATEGORIES.values())})
    hierarchy.write_parquet(folder / "hierarchy.parquet")
    (folder / "articles").mkdir()
    for name, records in files.items():
        pl.DataFrame(records, schema=ARTICLES).write_parquet(folder / f"articles/{name}.parquet")
    schema = {"pmid": pl.Int32, "file": pl.String, "position": pl.Int32}
    pl.DataFrame(current, schema=schema, orient="row").sort("pmid").write_parquet(folder / "current.parquet")
    return folder / "current.parquet", folder, folder / "hierarchy.parquet", folder / "description.parquet"


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_the_current_records(tmp_path, seed):
    files = drawn(seed)
    generator = random.Random(seed)
    kept = [(record, name) for name, records in files.items() for record in records if generator.random() < 0.6]
    paths = laid_out(tmp_path, files, [(record["pmid"], name, record["position"]) for record, name in kept])
    write_description(*paths)
    table = pl.read_parquet(paths[-1])
    assert table.to_arrow().schema.names == DESCRIPTION.names
    found = {}
    for kind, value, citations in table.rows():
        found.setdefault(kind, {})[value] = citations
    wanted = counted([record for record, _ in kept])
    assert found == {kind: counts for kind, counts in wanted.items() if counts}
    # Years and numbers of headings ascend, and what is not known stands last.
    for kind in ("year", "headings"):
        values = [value for value in found.get(kind, {}) if value != "unknown"]
        assert values == sorted(values, key=int)
        assert "unknown" not in list(found.get(kind, {}))[:-1]


def test_other_files_than_were_merged_are_an_error(tmp_path):
    files = {"pubmed99n0001": drawn(1)["pubmed99n0001"] + drawn(2)["pubmed99n0002"]}
    paths = laid_out(
        tmp_path, {"pubmed99n0001": files["pubmed99n0001"][:3]}, [(1, "pubmed99n0001", 2), (2, "pubmed99n0001", 9)]
    )
    with pytest.raises(
        BioHiCLError, match=r"pubmed99n0001.parquet: is not the file that .*current.parquet was made from"
    ):
        write_description(*paths)
    assert not paths[-1].exists()
    (tmp_path / "articles/pubmed99n0001.parquet").unlink()
    with pytest.raises(BioHiCLError, match="no such file; parse it first"):
        write_description(*paths)
