"""Tables whose columns say what they hold: an Arrow schema, and words for each column.

The words are what the catalog shows beside a column, and what a reader of the schema's module sees.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

Words = Mapping[str, str]


def described(*columns: tuple[str, pa.DataType, str]) -> tuple[pa.Schema, Words]:
    """The schema of ``columns`` (name, type, words), and the words by name."""
    return pa.schema([(name, kind) for name, kind, _ in columns]), {name: words for name, _, words in columns}
