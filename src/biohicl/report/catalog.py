"""``results/biohicl.duckdb``: a view for every table of the workflow.

Goes in: which PubMed files, selections, nodes and evaluations there are. Comes out: a DuckDB database that
holds no data, only views over explicit lists of Parquet files (a glob would let a stale year in), with paths
relative to the project's root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.report.views import CITATIONS, CITATIONS_COMMENT, View, missing, views
from biohicl.storage import whole_files

CATALOG = Path("results/biohicl.duckdb")
# What the views' paths start with.
OF_PROJECT = ("results", "resources")
# Any DuckDB from this one on opens the file.
STORAGE_VERSION = "v1.0.0"


CITATIONS_SQL = """
CREATE VIEW citations AS
SELECT a.* FROM articles AS a
JOIN current AS c ON a.pmid = c.pmid AND a.version = c.version AND a.file = c.file AND a.position = c.position
"""


def write_catalog(names: Mapping[str, Sequence[str]], output: Path) -> None:
    """Writes the catalog. ``names``: for each ``over`` of the views, what there is; views of nothing are left out.

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
            made = [name for name, view in views().items() if _make(connection, name, view, names)]
            connection.execute("USE memory")
            connection.execute("DETACH catalog")
            _check_written(temporary, len(made) + ("current" in made))
        except duckdb.Error as error:
            raise BioHiCLError(f"{output}: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()
            temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
    say(f"{output}: {len(made) + ('current' in made)} views")


def _make(connection: Any, name: str, view: View, names: Mapping[str, Sequence[str]]) -> bool:
    """Makes one view, with its comments; whether there was anything to make it of."""
    files = view.files(names)
    if not files:
        return False
    lacking = missing(files)
    if lacking:
        others = f" (nor {len(lacking) - 1} others)" if len(lacking) > 1 else ""
        raise BioHiCLError(f"{lacking[0]}: no such file{others}; run the workflow first")
    connection.execute(_view_sql(name, view, files))
    _comment(connection, name, view.comment, view)
    if name == "current":
        connection.execute(CITATIONS_SQL)
        _comment(connection, CITATIONS, CITATIONS_COMMENT, views()["articles"])
    return True


def _comment(connection: Any, name: str, comment: str, view: View) -> None:
    connection.execute(f"COMMENT ON VIEW {name} IS {_quoted(comment)}")
    for column, *_ in connection.execute(f"DESCRIBE {name}").fetchall():
        words = view.words(column)
        if words:
            quoted = column.replace('"', '""')
            connection.execute(f'COMMENT ON COLUMN {name}."{quoted}" IS {_quoted(words)}')


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

    Relative paths in the views are looked up in the project's root, so that it works from any folder. The relation's
    rows are computed when they are asked for: do that within :func:`in_words`, too.
    """
    import duckdb

    path = catalog.absolute()
    if not path.is_file():
        raise BioHiCLError(f"{path}: no such catalog; make it with: snakemake --cores 2 catalog")
    root = _root(path)
    with in_words():
        connection = duckdb.connect(str(path.resolve()), read_only=True)
        connection.execute(f"SET file_search_path = {_quoted(_looked_up_in(root))}")
        return connection.sql(sql)


@contextmanager
def in_words() -> Iterator[None]:
    """What DuckDB raises, as an error for people; Ctrl-C as what it is."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise BioHiCLError(f"DuckDB: {str(error).strip()}{_way_out(str(error))}") from None
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from None
        raise


def _way_out(said: str) -> str:
    """What to do where a file is at fault, not the question."""
    if "No files found that match" in said:
        found = re.search(r'"((?:results|resources)/[^"]+)"', said)
        # What is only on the way to a model is made where it is asked for by name, and not by `all`.
        target = re.sub(r"^(results/models/[^/]+)/.*", r"\1", found[1]) if found else "all"
        return f"\nThe stage that writes it has not run, or it was removed: snakemake --cores 2 {target}"
    if "not a valid DuckDB database file" in said or "Corrupt" in said:
        return "\nRemove that file, and make it again: snakemake --cores 2 catalog"
    return ""


def _root(path: Path) -> Path:
    """The project's folder, though results/ may be a link to another disk, or ``path`` a link to the catalog."""
    while path.is_symlink():
        path = path.parent / path.readlink()
    return path.parent.parent if (path.parent.parent / CATALOG).exists() else path.resolve().parent.parent


def _looked_up_in(root: Path) -> str:
    """A value of ``file_search_path`` with which the views find the files of ``root``, and no others.

    DuckDB looks in the working folder first: in another project's folder it would take that one's tables. And it parts
    several places by commas. Where either matters, the process goes to ``root``, and the place it comes from is the one
    that is looked in afterwards, for a file that a query names.
    """
    here = Path.cwd()
    if "," not in str(root) and not any((here / name).exists() for name in OF_PROJECT):
        return str(root)
    os.chdir(root)
    return str(here)


def listed(catalog: Path) -> list[tuple[str, str]]:
    """The catalog's views: name and what each holds, by name."""
    found = query("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_name", catalog)
    return [(name, comment or "") for name, comment in found.fetchall()]


def columns_of(view: str, catalog: Path) -> list[tuple[str, str, str]]:
    """The columns of a view: name, type and what each holds, in order; an error, with those there are, for another."""
    # The first question may move the process to the project's root.
    catalog = catalog.absolute()
    known = [name for name, _ in listed(catalog)]
    if view not in known:
        near = get_close_matches(view, known, n=3)
        others = f"did you mean {' or '.join(near)}?" if near else "biohicl sql lists them"
        raise BioHiCLError(f"the catalog has no view {view}; {others}")
    found = query(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
        f"AND table_name = {_quoted(view)} ORDER BY column_index",
        catalog,
    )
    return [(name, kind, comment or "") for name, kind, comment in found.fetchall()]


def _view_sql(name: str, view: View, files: Sequence[str]) -> str:
    of_files = ", ".join(_quoted(file) for file in files)
    if not view.path:
        return f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{of_files}], union_by_name = true)"
    columns = []
    for column, part in view.path.items():
        value = f"string_split(filename, '/')[-{part}]"
        columns.append(f"replace({value}, '.parquet', '') AS {column}" if part == 1 else f"{value} AS {column}")
    return (
        f"CREATE VIEW {name} AS SELECT * EXCLUDE (filename), {', '.join(columns)} "
        f"FROM read_parquet([{of_files}], filename = true, union_by_name = true)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
