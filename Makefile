# The verbs of the project, the same locally and in CI. `make` alone lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export DEJA_DATA_DIR ?= $(CURDIR)/.deja
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install run test check fix bench audit lock clean

help:  ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

# Each stamp is made once and again only when what it was made from changes.
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "deja: installing the runtime packages (about a minute, once)"
	@$(PIP) install --quiet --progress-bar on --require-hashes -r requirements/runtime.txt
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "deja: installing the development packages (about a minute, once)"
	@$(PIP) install --quiet --progress-bar on --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.dev  ## set everything up: packages, embedded Redis, embedding model
	@$(BIN)/deja prepare

run: $(VENV)/.runtime  ## serve on 127.0.0.1:8080 (sets itself up first)
	@exec $(BIN)/deja serve

test: install  ## run the tests against a real Redis
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.dev  ## format, lint, strict types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fix: $(VENV)/.dev  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install  ## what hits, misses and streams cost on this machine, in half a minute
	@$(BIN)/python -m loadtest.bench

audit: $(VENV)/.dev  ## known holes in the dependencies; asks the network, and so is no part of the tests
	@test -x .audit/bin/pip-audit || ($(BIN)/python -m venv .audit && .audit/bin/pip install --quiet pip-audit)
	@.audit/bin/pip-audit --require-hashes --disable-pip -r requirements/runtime.txt

lock: $(VENV)/.dev  ## resolve the dependencies anew, with hashes and without index addresses
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --output-file requirements/runtime.txt pyproject.toml requirements/build.in
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --output-file requirements/dev.txt requirements/dev.in

clean:  ## remove what the verbs made (the cache too)
	rm -rf $(VENV) .audit .deja .mypy_cache .ruff_cache .pytest_cache .hypothesis
