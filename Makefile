# Each target sets up .venv on first use (.ci/setup) and reuses it afterwards.
RANKS ?= 1
# Processes that `make test` runs tests in; the tests of a file stay together.
JOBS ?= 2
# More options for demo, test, test-all and bench, e.g. make test ARGS="-k manifest"
ARGS ?=

BIN := .venv/bin
READY := .venv/.installed
CLUSTERS := .venv/.clusters

.DEFAULT_GOAL := help
.PHONY: help setup lock audit demo test test-all docs-test fuzz chaos flips soak bench bench-check gpu docs lint format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make or repair .venv (PYTHON=python3.12: the interpreter of a new one; LOCKED=1: requirements.lock)
	@bash .ci/setup

$(READY): pyproject.toml .ci/setup
	@bash .ci/setup

$(CLUSTERS): $(READY)
	@CLUSTERS=1 bash .ci/setup

lock: ## Write requirements.lock with the newest versions that pyproject.toml allows (needs uv)
	@bash .ci/lock

audit: ## Compare requirements.lock with published weaknesses (needs pip-audit or uv)
	@python3 .ci/audit

demo: $(READY) ## Generated images -> shards -> training -> kNN, on RANKS=1 processes
	$(BIN)/python tools/demo.py --ranks $(RANKS) $(ARGS)

test: lint ## Lint, types, one case per law (GPU tests run where a GPU is)
	$(BIN)/pytest -m "not full" -n $(JOBS) --dist loadfile $(ARGS)

test-all: lint $(CLUSTERS) ## Lint, types and every test, the long ones too; sets up Ray, moto, nginx and ip for them
	$(BIN)/pytest $(ARGS)

docs-test: $(READY) ## Every command, snippet, link and option of README and docs
	$(BIN)/pytest tests/test_pages.py tests/test_links.py tests/test_docs.py $(ARGS)

fuzz: $(READY) ## Mutated files for every parser, by atheris: RUNS=1000000, SEED=, PARSER=
	$(BIN)/python -m tests.hostile.fuzz --runs $(or $(RUNS),1000000) --seed $(or $(SEED),0) --parser "$(PARSER)"

chaos: $(READY) ## Processes killed, disks that fail: PART=kills, hangs, failures or power, SEED=, RUNS=
	@code=0; for part in $(or $(PART),kills hangs failures power); do \
	  $(BIN)/python -m tests.chaos.$$part --seed $(or $(SEED),0) $(if $(RUNS),--runs $(RUNS)) $(ARGS) || code=1; \
	done; exit $$code

flips: $(READY) ## Flipped bits in every kind of file: RUNS= of each kind, SEED=, ONLY=KIND or KIND:NUMBER
	$(BIN)/python -m tests.chaos.flips --seed $(or $(SEED),0) --runs $(or $(RUNS),60) --only "$(ONLY)"

soak: $(READY) ## 200 epochs of each loader: memory, threads, files stay flat: RUNS=epochs, ONLY=LOADER
	$(BIN)/python -m tests.chaos.soak --runs $(or $(RUNS),200) --only "$(ONLY)"

bench: $(READY) ## Speed beside floors and other programs, in parts: PART=loader, ...; none: all in turn
	$(BIN)/python tools/bench/suite.py $(if $(PART),--part $(PART)) $(ARGS)

bench-check: $(READY) ## A quick run whose ratios must not be far below the saved ones
	$(BIN)/python tools/bench/suite.py --check $(ARGS)

gpu: $(READY) ## What wants a GPU, in parts: PART=parity, sync, train or bench; none: all in turn
	$(BIN)/python tools/bench/gpu.py $(if $(PART),--part $(PART)) $(ARGS)

docs: $(READY) ## The site of the documentation, in build/site (pip install -e ".[docs]")
	cd docs/site && NO_MKDOCS_2_WARNING=1 ../../$(BIN)/python -m mkdocs build --strict

lint: $(READY) ## Ruff and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(READY) ## Format and fix what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv, caches and build leftovers; data/ and runs/ stay
	rm -rf .venv build dist .pytest_cache .hypothesis .ruff_cache .cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
