"""Search over all current citations: an index in shards, one for each PubMed file, and what asks it."""

from typing import Literal, get_args

# How vectors are stored (shards.py).
Storage = Literal["exact", "binary", "usearch"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
# By vectors, by words, or by both.
Mode = Literal["hybrid", "dense", "bm25"]
MODES: tuple[Mode, ...] = get_args(Mode)
# To be raised where the same tables come to give other records or postings (texts.py): all are made again then.
TEXTS_WAY = 1
