"""What follows from a checked configuration: chains of nodes, what a node's training reads, numbers of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# The losses that ask what labels say of two citations; title_abstract does where it masks.
LABEL_LOSSES = (
    *("mse", "affine_mse", "contrastive", "soft_targets", "cosent", "soft_siglip", "mul_sup_con"),
    "heading_abstract",
)


# The ways in which a text is read: columns of a table of tokens, and what an encode node makes vectors of.
VIEWS = ("document", "query", "passage")
# Where hard negatives come from: a table's columns, and a node's settings.
NEGATIVES_BY = ("bm25", "siblings", "given")
# The queries that texts have of their own, by the kind of their selection.
OWN_QUERIES = {"selections": ("conclusion", "section"), "concepts": ("name", "synonym"), "pairs": ("labelled",)}
# The losses of queries; a text of a batch has one query at most.
QUERY_LOSSES = {"title_abstract", "heading_abstract", "query_text"}
# The keys of a node that name what it is made from, by its step; a list of names, a name, or null.
PARENTS = {
    "train": ("start", "teacher"),
    "average": ("of", "with"),
    "encode": ("encoder",),
    "select": ("of", "against"),
}


def parents_of(node: Mapping[str, Any]) -> list[str]:
    """The nodes and backbones that a node is made from, each once; the first is what its architecture comes from."""
    named = (node.get(key) for key in PARENTS[node["step"]])
    return list(
        dict.fromkeys(name for value in named if value for name in ([value] if isinstance(value, str) else value))
    )


def chain_of(config: Mapping[str, Any], system: str) -> list[str]:
    """The names from ``system`` (a node or a backbone) down to the backbone it starts from, both included.

    Of several parents (an average, a choice) the first is followed: all have one backbone.
    """
    chain = [system]
    while chain[-1] in config["nodes"]:
        chain.append(parents_of(config["nodes"][chain[-1]])[0])
    return chain


def ancestry_of(config: Mapping[str, Any], *names: str) -> list[str]:
    """The nodes among ``names`` and all nodes that they are made from, each after those that it is made from."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in config["nodes"] and name not in found:
            for parent in parents_of(config["nodes"][name]):
                visit(parent)
            found[name] = None

    for name in names:
        visit(name)
    return list(found)


def selections_of(config: Mapping[str, Any], system: str) -> list[str]:
    """The selections that a model, and all that it is made from, was trained on; none for others."""
    nodes = (config["nodes"][name] for name in ancestry_of(config, system))
    return list(dict.fromkeys(node["selection"] for node in nodes if node["step"] == "train"))


def trained_on(config: Mapping[str, Any], system: str) -> list[str]:
    """The benchmarks whose development split a model, or what it is made from, was trained on."""
    blocks = {name: config["benchmarks"][name] for name in seen_by(config, system)}
    return [name for name, block in blocks.items() if block["training"] == block["development"]]


def seen_by(config: Mapping[str, Any], system: str) -> list[str]:
    """The benchmarks of whose queries a model, or what it is made from, was trained on a split: never the one that
    scores, but queries of the same kind over the same documents."""
    pairs = config["training"]["pairs"]
    named = [
        name for selection in selections_of(config, system) for name in pairs.get(selection, {}).get("benchmarks", ())
    ]
    return list(dict.fromkeys(named))


def is_chosen(config: Mapping[str, Any], system: str) -> bool:
    """Whether a model, or something that it is made from, was chosen by development scores."""
    return any(config["nodes"][name]["step"] == "select" for name in ancestry_of(config, system))


def tuned_on(config: Mapping[str, Any], system: str) -> list[str]:
    """The benchmarks on whose development split a system's hybrids are tuned: none that it was trained on."""
    trained = trained_on(config, system)
    return [name for name in config["evaluation"]["tuned_on"] if name not in trained]


def judged_for(config: Mapping[str, Any], node: str) -> list[str]:
    """What a choice (a node with step select) is between, and last whose average precision it may not lose."""
    block = config["nodes"][node]
    return [*block["of"], block["against"] or chain_of(config, node)[-1]]


def with_mixtures(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with each average of several shares written out: an average a share, and the choice among them."""
    nodes: dict[str, Any] = {}
    for name, node in config["nodes"].items():
        if mixtures := mixtures_of(name, node):
            nodes |= {mixture: {**node, "share": share} for mixture, share in mixtures.items()}
            nodes[name] = {"step": "select", "of": list(mixtures), "against": None}
        else:
            nodes[name] = node
    return {**config, "nodes": nodes}


def mixtures_of(name: str, node: Mapping[str, Any]) -> dict[str, float]:
    """The nodes that an average of several shares stands for, and their shares; none for any other node."""
    if node["step"] != "average" or not isinstance(node["share"], list):
        return {}
    return {f"{name}.{share:g}": share for share in node["share"]}


def reads_labels(node: Mapping[str, Any]) -> bool:
    """Whether a node's training asks what labels say: a loss, hard negatives or the drawing of related ones."""
    if node["step"] != "train":
        return False
    losses = node["losses"]
    masks = any(block.get("mask_above") is not None for block in losses.values())
    sorts_out = has_negatives(node) and (node["negatives"]["siblings"] > 0 or node["negatives"]["max_similarity"] < 1)
    return masks or sorts_out or node["schedule"]["related"] > 0 or any(loss in losses for loss in LABEL_LOSSES)


def has_negatives(node: Mapping[str, Any]) -> bool:
    """Whether the queries of a node's training get hard negatives."""
    negatives = node.get("negatives", {})
    return any(negatives.get(source) for source in NEGATIVES_BY)


def node_settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's block without what cannot change what it makes: keys that nothing reads, as they stand.

    Of labels those that no loss, or no weight, reads; and what earlier versions did not have and is not used. Of what
    it gives it is that again.
    """
    unused = {"labels"}
    if node["step"] == "train":
        unused |= {"negatives"} if not has_negatives(node) else set()
        unused |= {"teacher"} if node.get("teacher") is None else set()
    settings = {key: value for key, value in node.items() if key not in unused}
    if node["step"] == "train" and not node["schedule"].get("snapshots"):
        settings["schedule"] = {key: value for key, value in node["schedule"].items() if key != "snapshots"}
    if node["step"] == "train" and node["trainable"].get("layers") is None:
        settings["trainable"] = {key: value for key, value in node["trainable"].items() if key != "layers"}
    if node["step"] == "train":
        settings["losses"] = {name: _used_of_loss(block) for name, block in node["losses"].items()}
    if reads_labels(node):
        labels = node["labels"]
        of_weight = {"depth": "depth", "smoothing": "corpus"}
        read = {key: value for key, value in labels.items() if of_weight.get(key, labels["weight"]) == labels["weight"]}
        settings["labels"] = read
    return settings


def _used_of_loss(block: Mapping[str, Any]) -> dict[str, Any]:
    by_perplexity = block.get("target_perplexity") is not None
    unread = "target_temperature" if by_perplexity else "target_perplexity"
    return {key: value for key, value in block.items() if key != unread}


def needs_label_counts(node: Mapping[str, Any]) -> bool:
    """Whether a node's training weighs labels by how often a corpus has them."""
    return node_settings(node).get("labels", {}).get("weight") == "corpus"


def file_numbers(spec: str | Sequence[int | str]) -> list[range] | None:
    """The numbers that a config value like ``[1, "5-9"]`` names, as ranges; None for ``all``, [] for ``none``."""
    if spec == "all":
        return None
    if spec == "none":
        return []
    ranges = []
    for part in spec:
        if isinstance(part, int):
            ranges.append(range(part, part + 1))
        else:
            first, last = (int(number) for number in part.split("-"))
            ranges.append(range(first, last + 1))
    return ranges
