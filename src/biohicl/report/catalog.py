"""``results/biohicl.duckdb``: a view for every table of the workflow.

Goes in: which PubMed files, selections, nodes and evaluations there are. Comes out: a DuckDB database that
holds no data, only views over explicit lists of Parquet files (a glob would let a stale year in), with paths
relative to the project's root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.storage import whole_files

CATALOG = Path("results/biohicl.duckdb")
# Any DuckDB from this one on opens the file.
STORAGE_VERSION = "v1.0.0"


@dataclass(frozen=True)
class View:
    """A table's files, and what their path says of each row. ``names`` are path parts from the end, as columns."""

    pattern: str
    over: str  # which list of names fills {name}: file, selection, release ...; "" for one file
    path_columns: Mapping[str, int]
    comment: str


VIEWS: dict[str, View] = {
    "articles": View(
        "results/pubmed/articles/{name}.parquet",
        "file",
        {"file": 1},
        "every record of every PubMed file, old versions too",
    ),
    "mesh_headings": View(
        "results/pubmed/mesh_headings/{name}.parquet", "file", {"file": 1}, "MeSH headings of every record, one a row"
    ),
    "deleted": View("results/pubmed/deleted/{name}.parquet", "file", {"file": 1}, "PMIDs that a file deletes"),
    "quarantine": View(
        "results/pubmed/quarantine/{name}.parquet", "file", {"file": 1}, "citations that were left out, and why"
    ),
    "current": View("results/corpus/current.parquet", "", {}, "which record of each PMID is the current one"),
    "corpus_anomalies": View(
        "results/corpus/anomalies.parquet", "", {}, "gaps and mixed years in the files' numbering"
    ),
    "descriptors": View("results/mesh/descriptors.parquet", "", {}, "MeSH descriptors with their scope notes"),
    "concepts": View("results/mesh/concepts.parquet", "", {}, "the concepts of each descriptor"),
    "scope_notes": View("results/mesh/scope_notes.parquet", "", {}, "what each concept means"),
    "terms": View("results/mesh/terms.parquet", "", {}, "names and synonyms of each concept"),
    "tree_numbers": View("results/mesh/tree_numbers.parquet", "", {}, "positions of each descriptor in the tree"),
    "allowed_qualifiers": View(
        "results/mesh/allowed_qualifiers.parquet", "", {}, "qualifiers that a descriptor may have"
    ),
    "hierarchy": View("results/mesh/hierarchy.parquet", "", {}, "parents, ancestors and depth of each descriptor"),
    "anomalies": View("results/mesh/anomalies.parquet", "", {}, "what is odd in the hierarchy"),
    "selections": View(
        "results/training/selections/{name}.parquet",
        "selection",
        {"selection": 1},
        "citations that models are trained on",
    ),
    "excluded": View(
        "results/training/excluded/{name}.parquet",
        "selection",
        {"selection": 1},
        "citations that would have been selected, and are left out for being a benchmark's document",
    ),
    "labels": View(
        "results/training/labels/{name}.parquet",
        "selection",
        {"selection": 1},
        "label ids (0-based rows of the training release's hierarchy) of each selected citation, direct and closed",
    ),
    "unknown_headings": View(
        "results/training/unknown_headings/{name}.parquet",
        "selection",
        {"selection": 1},
        "headings of selected citations that the training release's MeSH does not know",
    ),
    "training_hierarchy": View(
        "results/training/releases/{name}/hierarchy.parquet",
        "release",
        {"release": 2},
        "the hierarchy that label ids refer to: MeSH as it was when the training release was frozen",
    ),
    "label_counts": View(
        "results/training/label_counts/{name}.parquet",
        "counted",
        {"release": 1},
        "how many citations of the training release have each descriptor, or one below it",
    ),
    "training_log": View(
        "results/models/{name}/training_log.parquet", "node", {"node": 2}, "loss of every training step"
    ),
    "development": View(
        "results/models/{name}/development.parquet",
        "node",
        {"node": 2},
        "what was measured on held-out citations during training",
    ),
    "runs": View(
        "results/evaluation/{name}/run.parquet",
        "retrieval",
        {"system": 3, "benchmark": 2},
        "ranked documents of each query; condition headline is what tables show",
    ),
    "pairs": View(
        "results/evaluation/{name}/run.parquet",
        "similarity",
        {"system": 3, "benchmark": 2},
        "similarity of each sentence pair",
    ),
    "per_query": View(
        "results/evaluation/{name}/per_query.parquet",
        "retrieval",
        {"system": 3, "benchmark": 2},
        "each metric of each query",
    ),
    "benchmark_documents": View(
        "resources/benchmarks/{name}/documents.parquet",
        "collection",
        {"benchmark": 2},
        "documents of the retrieval benchmarks",
    ),
    "benchmark_queries": View(
        "resources/benchmarks/{name}/test/queries.parquet", "collection", {"benchmark": 3}, "queries that are scored"
    ),
    "qrels": View(
        "resources/benchmarks/{name}/test/qrels.parquet",
        "collection",
        {"benchmark": 3},
        "which documents are relevant to a query, and how much",
    ),
    "sentence_pairs": View(
        "resources/benchmarks/{name}/pairs.parquet",
        "pair_set",
        {"benchmark": 2},
        "sentence pairs, and how similar people found them",
    ),
    "overlap": View(
        "results/training/overlap/{name}.parquet",
        "overlap",
        {"selection": 2},
        "texts of benchmarks that a selection holds",
    ),
    "estimates": View(
        "results/comparisons/{name}/estimates.parquet",
        "benchmark",
        {},
        "scores with their 95 % intervals, under every condition",
    ),
    "differences": View(
        "results/comparisons/{name}/differences.parquet",
        "benchmark",
        {},
        "a system's score minus that of its reference or of BM25, with interval and p-value",
    ),
    "variants": View(
        "results/variants.parquet",
        "",
        {},
        "what smaller embeddings cost: bytes, score, changes in the first ten documents",
    ),
    "summary": View("results/summary.parquet", "", {}, "every system on every benchmark, and how sure the scores are"),
    "seeds": View("results/seeds.parquet", "", {}, "how far models lie apart that differ in their seed alone"),
    "left_out": View("results/left_out.parquet", "", {}, "benchmarks and systems that could not be had, and why"),
}

CITATIONS = """
CREATE VIEW citations AS
SELECT a.* FROM articles AS a
JOIN current AS c ON a.pmid = c.pmid AND a.version = c.version AND a.file = c.file AND a.position = c.position
"""
CITATIONS_COMMENT = "the current record of each citation, with its text"


def write_catalog(names: Mapping[str, Sequence[str]], output: Path) -> None:
    """Writes the catalog. ``names``: for each ``over`` of :data:`VIEWS`, what there is.

    Has to run in the project's root, where the views' relative paths lead to the files.
    """
    import duckdb

    with whole_files(output) as (temporary,):
        connection = duckdb.connect()
        try:
            connection.execute(
                f"ATTACH {_quoted(str(temporary))} AS catalog (STORAGE_VERSION {_quoted(STORAGE_VERSION)})"
            )
            connection.execute("USE catalog")
            made = 0
            for view, what in VIEWS.items():
                files = [what.pattern.format(name=name) for name in names[what.over]] if what.over else [what.pattern]
                if not files:
                    continue
                missing = [file for file in files if not Path(file).is_file()]
                if missing:
                    others = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
                    raise BioHiCLError(f"{missing[0]}: no such file{others}; run the workflow first")
                connection.execute(_view_sql(view, what, files))
                connection.execute(f"COMMENT ON VIEW {view} IS {_quoted(what.comment)}")
                made += 1
                if view == "current":
                    connection.execute(CITATIONS)
                    connection.execute(f"COMMENT ON VIEW citations IS {_quoted(CITATIONS_COMMENT)}")
                    made += 1
            connection.execute("USE memory")
            connection.execute("DETACH catalog")
            _check_written(temporary, made)
        except duckdb.Error as error:
            raise BioHiCLError(f"{output}: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()
            temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
    say(f"{output}: {made} views")


def _check_written(file: Path, views: int) -> None:
    """On a full disk DuckDB leaves the views in its log beside the file, and says nothing: count them."""
    import duckdb

    if file.with_name(file.name + ".wal").exists():
        raise BioHiCLError(f"{file.parent}: the catalog could not be written whole; is the disk full?")
    with duckdb.connect(str(file), read_only=True) as connection:
        row = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()
    if row is None or row[0] != views:
        raise BioHiCLError(f"{file.parent}: the catalog could not be written whole; is the disk full?")


def query(sql: str, catalog: Path) -> Any:
    """Runs ``sql`` on the catalog; returns DuckDB's relation, or None for a statement without rows.

    Relative paths in the views are looked up in the project's root, so that it works from any folder.
    """
    import duckdb

    path = catalog.resolve()
    if not path.is_file():
        raise BioHiCLError(f"{path}: no such catalog; make it with: snakemake --cores 2 catalog")
    try:
        connection = duckdb.connect(str(path), read_only=True)
        connection.execute(f"SET file_search_path = {_quoted(str(path.parent.parent))}")
        return connection.sql(sql)
    except duckdb.Error as error:
        raise BioHiCLError(f"DuckDB: {str(error).strip()}") from None


def _view_sql(view: str, what: View, files: Sequence[str]) -> str:
    listed = ", ".join(_quoted(file) for file in files)
    if not what.path_columns:
        return f"CREATE VIEW {view} AS SELECT * FROM read_parquet([{listed}])"
    columns = []
    for column, part in what.path_columns.items():
        value = f"string_split(filename, '/')[-{part}]"
        columns.append(f"replace({value}, '.parquet', '') AS {column}" if part == 1 else f"{value} AS {column}")
    return (
        f"CREATE VIEW {view} AS SELECT * EXCLUDE (filename), {', '.join(columns)} "
        f"FROM read_parquet([{listed}], filename = true, union_by_name = true)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
