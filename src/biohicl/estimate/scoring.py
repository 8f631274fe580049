"""What evaluation takes: texts encoded once, and each run scored."""

from __future__ import annotations

from dataclasses import replace

from biohicl.configuration import LEXICAL, developed, systems_of
from biohicl.estimate.parts import Part
from biohicl.estimate.training import THOUSAND, Nodes
from biohicl.estimate.work import text_tokens


def scoring(nodes: Nodes, *indexed: str) -> list[Part]:
    """The jobs between models and the tables of scores, those that tune hybrids and choose models among them.

    ``indexed``: the system whose vectors an index has, which a search joins with BM25. Of queries and of sentence
    pairs, which are short, only the start of their jobs is counted.
    """
    config, rates = nodes.config, nodes.rates
    systems = systems_of(config)
    by_kind: dict[str, list[str]] = {"retrieval": [], "similarity": []}
    for name in config["evaluation"]["benchmarks"]:
        by_kind[config["benchmarks"][name]["kind"]].append(name)
    retrieval, pairs = by_kind["retrieval"], by_kind["similarity"]
    on_development = developed(config, *indexed)
    of_development = [(s, b) for s, b in on_development if config["benchmarks"][b]["kind"] == "retrieval"]
    pairs_of_development = [(s, b) for s, b in on_development if config["benchmarks"][b]["kind"] == "similarity"]
    dense = [name for name, system in systems.items() if system.is_dense]
    tested = [(system, benchmark) for system in dense for benchmark in retrieval]
    chosen = [(system, benchmark) for system, benchmark in of_development if system != LEXICAL]

    parts = []
    embedded = dict.fromkeys([*tested, *chosen])
    for system, benchmark in embedded:
        size, count = nodes.size(system), nodes.documents(benchmark)
        part = nodes.encoding("embed_documents", 1, count, text_tokens(rates, size.length), size)
        parts.append(replace(part, disk=4.0 * count * size.dimensions))
    short = {
        "embed_queries": len(tested) + len(chosen),
        "embed_sentences": len(dense) * len(pairs) + len(pairs_of_development),
        "similarities_of_node": len(nodes.labelled()),
    }
    parts += [nodes.with_start(rule, jobs, 0.0) for rule, jobs in short.items()]
    lexical = [*retrieval, *(benchmark for system, benchmark in of_development if system == LEXICAL)]
    for benchmark in lexical:
        seconds = rates["model_job"] + rates["bm25"] * nodes.documents(benchmark) / THOUSAND
        parts.append(Part("evaluate_lexical", 1, seconds))
    roles = [system.role for system in systems.values()]
    scored = {
        "evaluate_dense": len(tested) + sum(system in dense for system, _ in chosen),
        "evaluate_candidate": sum(system not in dense for system, _ in chosen),
        "evaluate_variant": roles.count("variant") * len(retrieval),
        "evaluate_hybrid": roles.count("hybrid") * len(retrieval),
        "compare_systems": len(retrieval) + len(pairs),
    }
    parts += [Part(rule, jobs, jobs * rates["score"]) for rule, jobs in scored.items()]
    # Of sentence pairs hybrids say nothing.
    bases = {system.of for system in systems.values() if system.role == "hybrid" and retrieval}
    small = {
        "evaluate_pairs": len(dense) * len(pairs),
        "evaluate_development_pairs": len(pairs_of_development),
        "tune_hybrids": len(bases | {*indexed}),
        "summarize": 1,
    }
    parts += [Part(rule, jobs, jobs * rates["table_job"]) for rule, jobs in small.items()]
    return parts
