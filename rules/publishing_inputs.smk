# Functions from the configuration to what the jobs of publishing.smk read, and to their options.


def about_model(node):
    """What a card has to know of the configuration."""
    backbone = configuration.chain_of(CONFIG, node)[-1]
    block = CONFIG["backbones"][backbone]
    ancestry = configuration.ancestry_of(CONFIG, node)
    chosen = configuration.is_chosen(CONFIG, node)
    sets = [*CONFIG["development"]["retrieval"], *CONFIG["development"]["similarity"]]
    return {
        "backbone": {"name": backbone, **{key: block[key] for key in ("hub", "revision", "licence")}},
        "licence": CONFIG["publishing"]["licence"],
        "selections": {
            name: {"kind": kind, "settings": CONFIG["training"][kind][name]}
            for name in configuration.selections_of(CONFIG, node)
            for kind in ("selections", "concepts", "pairs")
            if name in CONFIG["training"][kind]
        },
        "teachers": {name: CONFIG["nodes"][name]["encoder"] for name in ancestry if name in nodes_by("encode")},
        "seen": configuration.seen_by(CONFIG, node),
        "chosen_on": sets if chosen else [],
    }


def trained_on(node, kinds):
    """The selections of these kinds that a model was trained on."""
    return [name for name in configuration.selections_of(CONFIG, node) if name in kinds]


def overlaps_of_model(wildcards):
    """Only of models that are scored: what shares a benchmark's texts is counted for these."""
    if wildcards.node not in CONFIG["models"]:
        return []
    return expand(
        "results/training/overlap/{selection}/{benchmark}.parquet",
        selection=trained_on(wildcards.node, [*CITATIONS, *PAIRS]),
        benchmark=BENCHMARKS,
    )
