# Two commands for a new machine: `make demo` and `make test`. Both install first. PYTHON=python3.12 picks another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# snakefmt calls shfmt, which lies in the environment too.
SNAKEFMT := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakefmt
# What is listed here is what `make` offers; each target's comment says what it does.
.PHONY: help install demo test test-faults test-real bench-parse bench-mesh bench-merge bench-similarity bench-train bench-evaluate bench-search bench-serve bench-corpus bench-workflow audit lint format clean-demo

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

# An environment works where it was made: in a folder that was moved or copied it is made anew.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(realpath $(VENV)))
$(STAMP): moved
endif
.PHONY: moved
moved:

install: $(STAMP)  ## make .venv with the package and every pinned dependency

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) \
	  || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@echo $(CURDIR)/$(VENV) > $@

demo: $(STAMP)  ## run the whole workflow on the built-in sample, and show the scores
	$(BIN)/biohicl make-sample resources/sample
	$(BIN)/snakemake --cores 2 --quiet rules host --configfile workflow/configs/demo.yaml -- all index
	@echo
	@$(BIN)/biohicl scores
	@echo
	@echo "The sample is invented: these scores show that the workflow works, not how good a model is."
	@echo "Look at:   results/report.html      scores, training curves, corpus and hierarchy"
	@echo "           results/models/default/  a model that SentenceTransformer(...) loads; its README.md is its card"
	@echo "Search:    $(BIN)/biohicl search \"besase and larium\" (its words are invented), or in a browser: $(BIN)/biohicl serve"
	@echo "Ask:       $(BIN)/biohicl sql \"select title, year from citations limit 5\""
	@echo "Then:      README.md, 'Your own data'"

test: $(STAMP)  ## run the tests (some 20 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not real and not long and not faults" $(PYTEST)

test-faults: $(STAMP)  ## the workflow killed, starved and damaged, the parser on thousands of broken files (an hour; PYTEST="--tries 5 --seeds 0:40")
	$(BIN)/python -m pytest -m faults $(PYTEST)

test-real: $(STAMP)  ## run the tests that need all of the real data beside the project, and the longest of the others
	$(BIN)/python -m pytest -m "real or long" $(PYTEST)

bench-parse: $(STAMP)  ## the PubMed parser beside pubmed_parser and the floor (4 minutes; needs ../shared or BENCH="FILE ...")
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python tests/bench_parse.py $(BENCH)

bench-mesh: $(STAMP)  ## time and memory of the MeSH parser at the size of NLM's file
	$(BIN)/python tests/bench_mesh.py $(BENCH)

bench-merge: $(STAMP)  ## time and memory of the merge at the size of all of PubMed (5 minutes, 1.5 GB of disk)
	$(BIN)/python tests/bench_merge.py $(BENCH)

bench-similarity: $(STAMP)  ## label similarity of a batch: 512 citations on one core, 4,096 on a GPU
	$(BIN)/python tests/bench_similarity.py $(BENCH)

bench-train: $(STAMP)  ## the trainer beside sentence-transformers' and a plain loop (5 minutes; BENCH="--shape base --length 256")
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python tests/bench_train.py $(BENCH)

bench-evaluate: $(STAMP)  ## a benchmark by this workflow and by sentence-transformers with mteb (10 minutes; BENCH="--documents 600")
	$(BIN)/python tests/bench_evaluate.py $(BENCH)

bench-search: $(STAMP)  ## bytes, recall and time of the ways to store a search index, for 100,000 and 1,000,000 vectors (15 minutes)
	$(BIN)/python tests/bench_search.py $(BENCH)

bench-serve: $(STAMP)  ## 50 clients at a time on a server of this project's index (3 minutes; BENCH="--index DIR --seconds 20")
	$(BIN)/python tests/bench_serve.py $(BENCH)

bench-corpus: $(STAMP)  ## what reads all of PubMed's tables, at their size: 46 million records (half an hour, 16 GB of disk; BENCH=--quick)
	$(BIN)/python tests/bench_corpus.py $(BENCH)

bench-workflow: $(STAMP)  ## plan, run, no-op and update of a workflow of 1,334 files (12 minutes)
	$(BIN)/python tests/bench_workflow.py $(BENCH)

audit: $(STAMP)  ## ask PyPI or OSV for known holes in the pinned versions (needs the network; error 3: could not ask)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/python tests/audit.py

lint: $(STAMP)  ## run the linters and the type checker
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(SNAKEFMT) --check Snakefile rules
	@# Elsewhere: what was made here, of NLM's files perhaps, is none of its business.
	folder=$$(mktemp -d); $(BIN)/snakemake --directory $$folder --lint --configfile workflow/configs/demo.yaml; \
	  status=$$?; rm -rf $$folder; exit $$status
	$(BIN)/mypy

format: $(STAMP)  ## format the code
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests
	$(SNAKEFMT) Snakefile rules

clean-demo:  ## remove what the demonstration made, its results too
	@# Results without a listing may be of NLM's files as well, and of many hours.
	@if test -e results || test -e resources/pubmed/release.json; then grep -qs '"pubmed99n' resources/pubmed/release.json \
	  || { echo "resources/pubmed/release.json does not say that results/ is of the sample: nothing is removed."; exit 1; }; fi
	rm -rf resources/sample resources/backbones/sample-bert resources/benchmarks/sample-* resources/pubmed resources/mesh
	rm -rf results logs benchmarks
