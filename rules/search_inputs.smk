# What is indexed for the search, and functions from it to what the jobs of search.smk read.

INDEXED = CONFIG["index"]["model"] or CONFIG["models"][-1]
STORAGE = CONFIG["index"]["storage"]


def indexed(pattern):
    """An input function: a part of the index for each file of the release."""
    return lambda wildcards: [pattern.format(file=file["name"]) for file in release_files(wildcards)]


def task_of_index():
    """For instructions with a place for it; others read none, and are not encoded anew for another one."""
    block = encoder_block(configuration.chain_of(CONFIG, INDEXED)[-1])
    given = [block[f"{kind}_instruction"] for kind in ("query", "passage")]
    is_asked = any(instruction is None or "{task}" in instruction for instruction in given)
    return f"--task {shlex.quote(CONFIG['index']['task'])}" if is_asked else ""
