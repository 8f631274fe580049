"""The model card: what a model is, how it was made, what it scores and what it is not for.

Goes in: the files that :class:`~biohicl.publishing.facts.Sources` names. Comes out: Markdown with the head that model
hubs read. Every number is one that was measured; a difference that chance explains is not claimed.

The head has no ``model-index``: it has a place for a score, and none for its interval, nor for how a benchmark's texts
were prepared.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from biohicl.progress import say
from biohicl.publishing.checksums import CARD, write_checksums
from biohicl.publishing.facts import Sources, facts_of
from biohicl.publishing.scores import listed
from biohicl.storage import whole_files

TAGS = ["sentence-transformers", "feature-extraction", "sentence-similarity", "biomedical", "pubmed", "mesh", "biohicl"]


def describe(sources: Sources, output: Path | None = None) -> None:
    """Writes the card into the model's folder, and to ``output``; then the folder's checksums."""
    text = card_text(sources)
    files = [sources.folder / CARD, *([output] if output else [])]
    with whole_files(*files) as temporaries:
        for temporary in temporaries:
            temporary.write_text(text, encoding="utf-8")
    write_checksums(sources.folder)
    say(f"{sources.folder}: described in {CARD}, checksums written")


def card_text(sources: Sources) -> str:
    """The card."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("biohicl.publishing"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "score": lambda value: "-" if value is None else f"{value:.4f}",
        "gain": lambda value: f"{value:+.4f}",
        "duration": _duration,
        "energy": _energy,
        "listed": lambda names: listed(list(names)),
        # As Python and YAML read it, too. jinja's own tojson writes an emoji as two halves, which Python takes for two.
        "quoted": lambda value: json.dumps(value, ensure_ascii=False),
        "cell": lambda text: str(text).replace("|", "\\|").replace("\n", " "),
        "code": _code,
    }
    facts = facts_of(sources)
    return environment.get_template("card.md.j2").render(head=_head(facts), **facts)


def _head(facts: dict[str, Any]) -> str:
    """The YAML that a hub reads."""
    hub = facts["backbone"]["hub"]
    languages = [selection["settings"].get("languages") for selection in facts["selections"]]
    # NLM's codes are those of ISO 639-2, hubs want the short ones; only English is told, and only where it is all.
    is_english = any(languages) and all(given in (None, ["eng"]) for given in languages)
    head = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        **({"language": ["en"]} if is_english else {}),
        **({"license": facts["licence"]} if facts["licence"] else {}),
        **({"base_model": hub, "base_model_relation": "finetune"} if hub and "/" in hub else {}),
        "tags": TAGS,
    }
    return yaml.safe_dump(head, sort_keys=False).strip()


def _code(text: str) -> str:
    """As code within a line, of whatever it is: prompts and licences may be a stranger's words."""
    line = text.replace("\r", " ").replace("\n", " ")
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    # A space that Markdown takes away again.
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _energy(joules: float) -> str:
    if joules < 1000:
        return f"{joules:.3g} J"
    return f"{joules / 1000:.3g} kJ" if joules < 3.6e5 else f"{joules / 3.6e6:.3g} kWh"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
