"""BioHiCL: dense biomedical retrieval trained from MeSH labels.

Rooms of the package, lower ones first; a room imports only from those before it::

    errors, storage, progress      what every stage needs
    json_lines, ragged             files of a JSON object a line; lists of different lengths in one array
    lexical, figures               BM25; figures as SVG
    configuration, nlm_xml         config.yaml and its schema; NLM's XML, in blocks of whole records
    fetch                          listings and downloads, verified
    pubmed, mesh                   XML to tables; latest citations; the hierarchy, and what it says of label sets
    leakage                        which citations are a benchmark's documents
    encoder                        a text encoder folder: load, pool, embed, save
    training                       selection, tokens, labels, targets, losses, trainer
    evaluation                     benchmarks, vectors to runs, metrics, intervals, comparisons
    study                          which label weighting tells related citations from others
    report                         summary, report page, catalog
    publishing                     model cards, checksums, ONNX, and the way to a hub
    sample                         the generated copy of NLM's server
    cli                            one subcommand a stage
"""

__version__ = "0.1.0"
