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
	@$(BIN)/python -m compileall -q proxy embeddings  # pip does not for an editable one; without, each start may compile 400 files
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

# The first two are quick and need no network; the tests run the scan for keys, too. Strict: a package that could not be looked up is no
# package without holes.
audit: $(VENV)/.dev  ## keys in the repository, packages that do not fit together, known holes in them (this asks the network)
	@$(BIN)/python -m pytest -q tests/test_secrets.py
	@$(PIP) check
	@test -x .audit/bin/pip-audit || { $(BIN)/python -m venv .audit && .audit/bin/pip install --quiet pip-audit; } || \
	  { echo "deja: pip-audit cannot be installed here, so known holes were not looked for"; exit 1; }
	@.audit/bin/pip-audit --strict --progress-spinner off --require-hashes --disable-pip -r requirements/runtime.txt >.audit/report 2>&1 || \
	  { grep -qE "could not be audited|ConnectionError|Failed to resolve|Max retries" .audit/report && \
	    echo "deja: the database of known holes could not be asked, so nothing is known of the packages; try again with the internet (.audit/report)" || \
	    cat .audit/report; exit 1; }
	@cat .audit/report

lock: $(VENV)/.dev  ## resolve the dependencies anew, with hashes and without index addresses
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --output-file requirements/runtime.txt pyproject.toml requirements/build.in
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --output-file requirements/dev.txt requirements/dev.in

clean:  ## remove what the verbs made (the cache too)
	rm -rf $(VENV) .audit .deja .mypy_cache .ruff_cache .pytest_cache .hypothesis
