"""Small trainings that differ from a base in one thing each, written out as nodes.

Goes in: a configuration as it was merged, before defaults. Comes out: the same with a node for each training, and for a
checked configuration which nodes belong to which cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from biohicl.configuration.copies import Overlay
from biohicl.configuration.derived import chain_of, trained_on
from biohicl.configuration.schema import ConfigKeyError, nearest

BASE = "base"
PREFIX = "ablation"
SEEDS = (1, 2, 3)


def cells_of(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """By the name of each cell, the levels of the factors in which it differs from the base, which comes first."""
    return dict(_named_cells(_block_of(config)))


def _block_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The block of ablations; nothing where there are none, or where it is not of the form that it should have: the
    schema says what is wrong with that."""
    block = config.get("ablations")
    if not isinstance(block, Mapping) or not isinstance(block.get("of"), str):
        return {}
    seeds, changes = block.get("seeds", SEEDS), block.get("with") or {}
    if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not all(type(seed) is int for seed in seeds):
        return {}
    return block if isinstance(changes, Mapping) and isinstance(block.get("factors") or {}, Mapping) else {}


def _named_cells(block: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    if not block:
        return []
    # null takes a factor, or one of its levels, out.
    factors = {
        factor: [level for level, change in levels.items() if change is not None]
        for factor, levels in (block.get("factors") or {}).items()
        if isinstance(levels, Mapping)
    }
    changes: list[dict[str, str]] = [{}]
    if block.get("grid", "one") == "one":
        changes += [{factor: level} for factor, levels in factors.items() for level in levels]
    else:
        choices = ([None, *levels] for levels in factors.values())
        combined = (dict(zip(factors, chosen, strict=True)) for chosen in product(*choices))
        changes = [{factor: level for factor, level in each.items() if level is not None} for each in combined]
    return [(".".join(f"{factor}.{level}" for factor, level in each.items()) or BASE, each) for each in changes]


def nodes_of_cell(config: Mapping[str, Any], cell: str) -> dict[int, str]:
    """By seed, the nodes of a cell."""
    seeds = config["ablations"].get("seeds", SEEDS)
    return {seed: f"{PREFIX}.{cell}.{seed}" for seed in seeds}


def unfair(config: Mapping[str, Any]) -> str | None:
    """Why the cells of a checked configuration cannot be compared; None where they can.

    All trainings have to start from one backbone, or backbones would be compared; and none may have been trained on
    what it is scored on.
    """
    first = None
    for cell, levels in cells_of(config).items():
        where = "ablations.factors." + cell if len(levels) == 1 else f"ablations: {cell}"
        for node in nodes_of_cell(config, cell).values():
            *_, start, backbone = chain_of(config, node)
            first = first or backbone
            if backbone != first:
                return (
                    f"{where}: starts from {backbone}, and the base from {first}: that would compare backbones. Give "
                    f"{'it' if start == node else start} the start {first}, or take the level out (null)"
                )
            for benchmark in trained_on(config, node):
                if benchmark in config["development"]["retrieval"]:
                    return (
                        f"{where}: is trained on the split of {benchmark} that development.retrieval compares by; take "
                        "one of the two out"
                    )
    return None


def with_ablations(config: dict[str, Any], copy: Callable[[Any], Any], overlay: Overlay) -> dict[str, Any]:
    """``config``, not completed yet, with the nodes of its cells."""
    block, nodes = _block_of(config), config.get("nodes")
    if not block or not isinstance(nodes, dict):
        return config
    base = nodes.get(block["of"])
    if not isinstance(base, dict) or base.get("step", "train") != "train":
        trained = [
            name for name, node in nodes.items() if isinstance(node, dict) and node.get("step", "train") == "train"
        ]
        raise ConfigKeyError(
            ("ablations", "of"), f"'{block['of']}' is not a training of `nodes`{nearest(str(block['of']), trained)}"
        )
    changes = block.get("with") or {}
    _check_changes(block)
    made = dict(nodes)
    for cell, levels in cells_of(config).items():
        for seed, name in nodes_of_cell(config, cell).items():
            if name in nodes:
                raise ConfigKeyError(("nodes", name), "is the name of a training of `ablations`; rename it")
            node = copy(base)
            for loss, terms in (changes.get("losses") or {}).items():
                if terms is not None and loss not in (base.get("losses") or {}):
                    raise ConfigKeyError(
                        ("ablations", "of"),
                        f"'{block['of']}' has no loss {loss}, and ablations.with would add it to every training; write "
                        f"with: {{losses: {{{loss}: null}}}}, or name it in a level of a factor",
                    )
            overlay(node, changes)
            for factor, level in levels.items():
                overlay(node, block["factors"][factor][level])
            made[name] = {**node, "seed": seed}
    return {**config, "nodes": made}


def _check_changes(block: Mapping[str, Any]) -> None:
    """Each level changes something of a node, but not its seed, and no two cells have one name."""
    changes = block.get("with") or {}
    if not isinstance(changes.get("losses") or {}, Mapping):
        raise ConfigKeyError(("ablations", "with", "losses"), "a mapping of losses to their keys is needed")
    if "seed" in changes:
        raise ConfigKeyError(("ablations", "with", "seed"), "is what ablations.seeds gives each training; take it out")
    for factor, levels in (block.get("factors") or {}).items():
        for level, change in levels.items() if isinstance(levels, Mapping) else ():
            if change is None:
                continue
            key = ("ablations", "factors", factor, level)
            if not isinstance(change, Mapping):
                raise ConfigKeyError(key, "a mapping of a node's keys is needed")
            if not change:
                raise ConfigKeyError(key, "changes nothing, and would be the base again; name what it changes, or null")
            if "seed" in change:
                raise ConfigKeyError((*key, "seed"), "is what ablations.seeds gives each training; take it out")
    seen: set[str] = set()
    for cell, levels in _named_cells(block):
        if cell in seen:
            factor, level = next(iter(levels.items()))
            raise ConfigKeyError(
                ("ablations", "factors", factor, level),
                f"is named {cell} with its factor, and so is another level; rename one",
            )
        seen.add(cell)
