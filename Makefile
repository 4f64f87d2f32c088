# Everything that README promises. `make run` and `make test` create what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?=

.PHONY: run test check bench bench-cluster faults chaos cluster cluster-down cluster-status cluster-wipe lock clean help

help:            ## this list
	@sed -n 's/^\([a-z-]*\): *.*## /\1\t/p' $(MAKEFILE_LIST) | sort | column -t -s "$$(printf '\t')"

run: $(VENV)/.run            ## start Falcon on this machine (ARGS="--json" passes arguments on)
	@exec $(BIN)/falcon up $(ARGS)

test: $(VENV)/.dev           ## every test, real processes and faults included
	$(BIN)/python -m pytest tests

check: $(VENV)/.dev          ## format, lint, types, import rules, unit tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo >/dev/null
	$(BIN)/python -m pytest tests -m "not processes and not faults"

bench: $(VENV)/.dev          ## speed and memory beside two neighbours, written to docs/benchmarks.md (needs wrk and PostgreSQL)
	$(BIN)/python -m load_tests.bench $(ARGS)

bench-cluster: $(VENV)/.dev  ## the same for a cluster, beside bare clients of Kafka and HBase; written to docs/benchmarks-cluster.md
	$(BIN)/python -m load_tests.cluster_bench $(ARGS)

faults: $(VENV)/.dev         ## kill -9 of everything under load, SECONDS=600 SEED=1
	$(BIN)/python -m tests.faults --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

chaos: $(VENV)/.dev          ## faults on a cluster of real servers, under load, SECONDS=1800 SEED=1
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),1800) --seed $(or $(SEED),1) $(ARGS)

cluster: $(VENV)/.run        ## Kafka, HBase and two of each role on this machine (needs Java 17 and Maven); see build/cluster.json
	@$(BIN)/python -m deploy.local.cluster up

cluster-down:                ## end it, and leave nothing running; its data stay until make cluster-wipe
	@$(BIN)/python -m deploy.local.cluster down

cluster-status:              ## what of it runs
	@$(BIN)/python -m deploy.local.cluster status

cluster-wipe:                ## end it and delete its data
	@$(BIN)/python -m deploy.local.cluster wipe

lock: $(VENV)/.dev           ## resolve the dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/run.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group build -o requirements/build.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group dev -c requirements/run.lock pyproject.toml -o requirements/dev.lock

clean:           ## remove the virtual environment and caches; data stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Falcon needs Python 3.11 or later; try make PYTHON=python3.12")'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/run.lock requirements/build.lock pyproject.toml
	@echo "Installing Falcon and its dependencies ..."
	@$(PIP) install --require-hashes -r requirements/run.lock -r requirements/build.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Installing the tools for tests ..."
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@
