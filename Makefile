# Each target is one command on a fresh machine; `make` alone shows them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RELEASER := $(BIN)/releaser
# Everything that the tests look at; a changed dependency makes the environment new.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml requirements-dev.lock 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: help
help:  ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: $(STAMP)  ## Start Minikube, deploy dev, print its URL and answer
	$(RELEASER) up
	$(RELEASER) deploy dev
	@url=$$($(RELEASER) open dev --no-browser); echo "$$url answers:"; curl -fsS --max-time 10 "$$url/"; echo

.PHONY: test
test: $(STAMP)  ## Start what the tests need, then run all of them
	$(RELEASER) up
	$(BIN)/python -m checks.build
	$(BIN)/python -m tests.all

.PHONY: test-fast
test-fast: checks  ## Only what needs no cluster: unit, contract (fakes) and chart tests
	$(BIN)/python -m pytest -m "not cluster" tests/unit tests/contract tests/chart

.PHONY: checks
checks: $(STAMP)  ## Build the programs that the chart is checked with (ct, kubeconform, kube-score, promtool, ...)
	$(BIN)/python -m checks.build

.PHONY: mutation
mutation: checks  ## Break the chart in one place at a time: do its tests notice? (an hour; report in docs/mutation.md)
	$(BIN)/python -m tests.chart.mutation --report docs/mutation.md

.PHONY: check
check: $(STAMP)  ## Format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy app/gunicorn.conf.py
	$(BIN)/lint-imports

.PHONY: lint
lint: $(STAMP)  ## Every check on chart and environments
	$(RELEASER) lint

.PHONY: build
build: $(STAMP)  ## Build the service's image
	$(RELEASER) build dev

.PHONY: deploy-dev
deploy-dev: $(STAMP)  ## Release to dev
	$(RELEASER) deploy dev

.PHONY: deploy-prod
deploy-prod: $(STAMP)  ## Release to prod (asks for its name)
	$(RELEASER) deploy prod

.PHONY: rollback-prod
rollback-prod: $(STAMP)  ## Bring back prod's last good revision (asks for its name)
	$(RELEASER) rollback prod

.PHONY: tree
tree:  ## Show where things are
	@git ls-files | awk -F/ '{ if (NF == 1) print $$1; else if (NF == 2) print $$1 "/" $$2; else if (!seen[$$1 "/" $$2]++) print $$1 "/" $$2 "/" }'

.PHONY: bench
bench: $(STAMP)  ## Measure everything that docs/ tells figures of, and write the tables there (some hours)
	$(BIN)/python bench/startup.py
	$(BIN)/python -m bench.verdict
	$(BIN)/python -m bench.recover
	$(BIN)/python -m bench.delivery
	$(BIN)/python -m bench.loop
	$(BIN)/python -m bench.lint --corpus
	$(BIN)/python -m bench.platforms
	$(BIN)/python -m bench.verify
	$(BIN)/python -m bench.tables

.PHONY: docs
docs: $(STAMP)  ## Make the documentation's site in build/site; a broken link is an error
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/site
	@echo "build/site/index.html"

.PHONY: pictures
pictures: $(STAMP)  ## Draw docs/pictures/*.d2 (needs Go)
	$(BIN)/python -m docs.pictures.draw

.PHONY: screen
screen: $(STAMP)  ## Draw a real deploy in the terminal (docs/deploy.svg)
	$(BIN)/python docs/picture.py docs/deploy.svg $(RELEASER) deploy dev

.PHONY: down
down: $(STAMP)  ## Stop Minikube
	$(RELEASER) down

.PHONY: clean
clean:  ## Remove what was made in this directory
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache incidents

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; name another: make PYTHON=python3.12 ..." >&2; exit 5; }
	@echo "== Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "error: python3 has no venv module; on Debian: apt-get install python3-venv" >&2; exit 5; }
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-* && touch $@
