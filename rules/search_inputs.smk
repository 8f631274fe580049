# What is indexed for the search, and functions from it to what the jobs of search.smk read.

INDEXED = CONFIG["index"]["model"] or CONFIG["models"][-1]
STORAGE = CONFIG["index"]["storage"]


def indexed(pattern):
    """An input function: a part of the index for each file of the release."""
    return lambda wildcards: [pattern.format(file=name) for name in release_files()]
