"""Whether a release is the built-in sample, and that neither it nor NLM's is made over the other by mistake.

Goes in: the record that list-pubmed made, and the places that a run asks. Comes out: nothing, or an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from biohicl.errors import BioHiCLError

# NLM's files of that year do not exist: the generated sample carries it.
INVENTED = "pubmed99n"


def is_invented(names: Iterable[str]) -> bool:
    """Whether a release's files, by their names, are those of the built-in sample."""
    return all(name.startswith(INVENTED) for name in names)


def refuse_mixture(record: Path, mirrors: Sequence[str]) -> None:
    """An error where the results that ``record`` is of are the sample's and ``mirrors`` are NLM's, or the other way
    round: both lie in the same places, and the run would make one over the other."""
    try:
        is_sample = is_invented(file["name"] for file in json.loads(record.read_text("utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or damaged: whoever reads it says so.
        return
    if is_sample and all("nih.gov/" in mirror for mirror in mirrors):
        raise BioHiCLError(
            "what lies in results/ was made of the built-in sample, and this run asks for NLM's files. To go on with "
            "the sample, name its configuration: --configfile workflow/configs/demo.yaml; to begin with NLM's files, "
            "remove the sample's results first: make clean-demo"
        )
    if not is_sample and any("resources/sample/" in mirror for mirror in mirrors):
        raise BioHiCLError(
            f"what lies in results/ was made of NLM's files ({record}), and this run asks for the built-in sample's. "
            "Run the sample in another clone, or with --directory FOLDER"
        )
