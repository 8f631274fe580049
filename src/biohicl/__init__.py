"""BioHiCL: dense biomedical retrieval trained from MeSH labels.

Rooms of the package, lower ones first; a room imports only from those before it::

    errors, storage, progress      what every stage needs
    damage                         files that were cut off
    machine                        memory and GPUs of this machine
    json_lines, ragged, described  files of JSON lines; lists of different lengths in one array; schemas with words
    lexical, figures               BM25; figures as SVG
    configuration, nlm_xml         config.yaml and its schema; NLM's XML, in blocks of whole records
    estimate                       what a full run will cost
    fetch                          listings and downloads, verified
    pubmed, mesh                   XML to tables; latest citations; the hierarchy, and what it says of label sets
    leakage                        which citations are a benchmark's documents
    encoder                        a text encoder folder: load, pool, embed, save
    training                       selection, tokens, labels, targets, losses, trainer
    evaluation                     benchmarks, vectors to runs, metrics, intervals, comparisons
    study                          which label weighting tells related citations from others
    report                         summary, report page, catalog
    publishing                     model cards, checksums, ONNX, and the way to a hub
    search                         an index of all current citations, and what answers queries
    web                            the search as a page and a JSON interface
    sample                         the generated copy of NLM's server
    cli                            one subcommand a stage
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biohicl.search.retriever import Retriever

__all__ = ["Retriever", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only who asks for the search loads what it needs.
    if name == "Retriever":
        from biohicl.search.retriever import Retriever

        return Retriever
    raise AttributeError(f"module 'biohicl' has no attribute '{name}'")
