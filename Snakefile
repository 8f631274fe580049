# BioHiCL: from NLM's files to a trained and measured retriever. The stages are in rules/, one file a room;
# config.yaml says what, profiles/default how. `snakemake --list` names the targets.

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


include: "rules/common.smk"
include: "rules/training_inputs.smk"
include: "rules/evaluation_inputs.smk"
include: "rules/search_inputs.smk"
include: "rules/publishing_inputs.smk"
include: "rules/fetch.smk"
include: "rules/pubmed.smk"
include: "rules/mesh.smk"
include: "rules/training.smk"
include: "rules/study.smk"
include: "rules/evaluation.smk"
include: "rules/efficiency.smk"
include: "rules/report.smk"
include: "rules/publishing.smk"
include: "rules/search.smk"


# One line for each target: what `snakemake --list` shows.


rule all:
    """Everything: corpus, MeSH, models, scores, model cards, report, catalog."""
    default_target: True
    input:
        rules.corpus.input,
        rules.mesh.input,
        rules.train.input,
        rules.evaluate.input,
        rules.model_cards.input,
        rules.report.input,
        rules.catalog.input,


onstart:
    announce_cost()
