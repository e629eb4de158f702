# Each target makes .venv from the hashed lock first; nothing but Python 3.11+ (with venv), git and make is needed.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test docker-test bench check lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv from requirements/dev.txt

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Flywheel needs Python 3.11 or newer: say which with 'make PYTHON=/path/to/python3.11'."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python lacks venv: install it (on Debian and Ubuntu: apt install python3-venv), then run make again."; exit 1; }
	@echo "Installing the locked environment into .venv (about 260 packages, once) ..."
	@$(PYTHON) -m venv --clear .venv
	@PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --no-deps --require-hashes -r requirements/dev.txt 2>&1 | awk -v live="$$([ -t 1 ] && echo 1)" \
	  '/^ *(Collecting|Processing|Downloading|Using cached)/ { if (live) { printf "\r  fetching: %-60.60s", $$2; fflush() } next } \
	   /^Installing collected/ { printf "\r  all packages fetched; installing, about a minute ...%-20s", ""; fflush(); next } \
	   /ERROR|error:|Retrying|No space/ { print "\n" $$0 } END { print "" }'
	@$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --config-settings editable_mode=compat -e .
	@touch $@

demo: setup ## run the whole loop for ad_click on this machine, told as a story
	@$(BIN)/flywheel demo

test: setup ## all tests, with real Redis, MLflow, Prefect, BentoML and Evidently
	@$(BIN)/python -m pytest

docker-test: setup ## the stack in containers, brought up, tried and taken down; needs a Docker engine with Compose
	@$(BIN)/python -m pytest tests/docker/test_stores.py
	@$(BIN)/python -m pytest tests/docker -v --ignore tests/docker/test_stores.py

bench: setup ## measure everything anew: tables, plots and the README files' figures; more than an hour
	@$(BIN)/python -m benchmarks.serving
	@$(BIN)/python -m benchmarks.overload
	@$(BIN)/python -m benchmarks.paths
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.monitoring

check: setup ## formatting, lint, types and the import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: ## resolve the dependencies anew (needs uv on the PATH)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt

clean: ## remove the environment and the embedded stack's state
	@[ ! -x $(BIN)/flywheel ] || $(BIN)/flywheel down
	rm -rf .venv .flywheel
