# Everything that README promises. `make run` and `make test` create what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?=
LOAD = $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(SHAPE),--shape "$(SHAPE)") $(if $(USERS),--users "$(USERS)") \
	$(if $(WORKERS),--workers "$(WORKERS)")
# Workers for tests. Tests of real processes wait for most of their time, so there are more workers than cores.
ABREAST ?= 4
# Tests are compiled once, and not each time.
export PYTHONDONTWRITEBYTECODE :=
# The client comes from the checkout, so no lock names it.
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-package falcon-chat-client
# Where a test that misses a program fails instead of being skipped: checkov and kubernetes-validate, and locust.
CHECKERS := $(if $(filter true,$(CI)),build/checkers/.done $(VENV)/.load)

.PHONY: run test test-again check check-rules check-tests bench load faults chaos simulate attack fuzz cluster \
	cluster-down cluster-status cluster-wipe image k8s-up k8s-test k8s-trial k8s-down checkers lock clean help

help:            ## this list
	@sed -n 's/^\([a-z0-9-]*\): *.*## /\1\t/p' $(MAKEFILE_LIST) | sort | column -t -s "$$(printf '\t')"

run: $(VENV)/.run            ## start Falcon on this machine (ARGS="--json" passes arguments on)
	@exec $(BIN)/falcon up $(ARGS)

test: $(VENV)/.dev $(CHECKERS) ## every test, real processes and faults included
	$(BIN)/python -m pytest tests --numprocesses $(ABREAST) --durations 40 --durations-min 5

test-again: $(VENV)/.dev     ## the tests that failed in the last run, alone, up to the first that fails again
	$(BIN)/python -m pytest tests --last-failed --last-failed-no-failures none --exitfirst --verbose

check: $(VENV)/.dev $(CHECKERS) ## format, lint, types, import rules, unit tests
	@$(MAKE) --no-print-directory -j2 --output-sync check-rules check-tests

check-rules: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo >/dev/null

check-tests:
	$(BIN)/python -m pytest -m "not processes and not faults and not slow" --numprocesses 2

bench: $(VENV)/.load         ## speed and memory, written to build/bench/ (needs wrk; some sections more)
	$(BIN)/python -m tools.bench $(if $(SECONDS),--seconds "$(SECONDS)") $(ARGS)

load: $(VENV)/.load          ## users by locust, SECONDS=30 SHAPE=step|spike|soak|limit USERS=60 WORKERS=1, at FALCON_URL= or a Falcon of its own
	@$(BIN)/python -m load_tests.load $(LOAD) $(ARGS)

faults: $(VENV)/.dev         ## kill -9 of everything under load, SECONDS=600 SEED=1
	$(BIN)/python -m tools.faults --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

chaos: $(VENV)/.dev          ## faults on a cluster of real servers, under load, SECONDS=1800 SEED=1
	$(BIN)/python -m tools.chaos --seconds $(or $(SECONDS),1800) --seed $(or $(SEED),1) $(ARGS)

simulate: $(VENV)/.dev       ## short and long schedules of faults on a cluster of simulated servers, SECONDS=60; SEED=1 SCHEDULES=1 repeats one, MUTANTS=1 proves the search
	$(BIN)/python -m tools.simulation --seconds $(or $(SECONDS),60) $(if $(SEED),--seed "$(SEED)") \
		$(if $(SCHEDULES),--schedules "$(SCHEDULES)") $(if $(MUTANTS),--mutants) $(ARGS)

attack: $(VENV)/.dev         ## hostile clients beside well-behaved ones, on loopback, SECONDS=600
	$(BIN)/python -m tools.attack --seconds $(or $(SECONDS),600) $(ARGS)

fuzz: $(VENV)/.dev           ## parsers of tokens, tickets, cursors, queries and records, COUNT=5000000 inputs; many examples of each property; requests made from the document
	FALCON_FUZZ=$(or $(COUNT),5000000) FALCON_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
		$(BIN)/python -m pytest --timeout=36000 tests/tools/test_fuzz.py
	$(BIN)/python -m pytest -m "not processes and not faults" --hypothesis-profile=volume --timeout=3600 \
		$$(grep -rlE "^from hypothesis|import .*tried" tests --include="test_*.py")
	FALCON_EXAMPLES=$(or $(EXAMPLES),100) FALCON_EXAMPLES_SECONDS=3600 $(BIN)/python -m pytest tests/http/test_roles.py tests/http/test_openapi.py

cluster: $(VENV)/.run        ## Kafka, HBase, OpenSearch and two of each role on this machine (needs Java 17 and Maven); see build/cluster.json
	@$(BIN)/python -m tools.servers.cluster up

cluster-down:                ## end it, and leave nothing running; its data stay until make cluster-wipe
	@$(BIN)/python -m tools.servers.cluster down

cluster-status:              ## what of it runs
	@$(BIN)/python -m tools.servers.cluster status

cluster-wipe:                ## end it and delete its data
	@$(BIN)/python -m tools.servers.cluster wipe

image:           ## the container image localhost/falcon:dev, with buildah or docker
	@$(PYTHON) -m tools.node image

k8s-up:          ## a real Kubernetes node on this machine and Falcon on it, OVERLAY=local|single (needs root and Go; tools/node/README.md)
	@$(PYTHON) -m tools.node deploy $(or $(OVERLAY),local)

k8s-test: $(VENV)/.dev       ## proofs on that node, under load
	$(BIN)/python -m tools.k8s_proof $(ARGS)

k8s-trial:       ## all images, k8s-up, a smoke test, k8s-down: if their files have changed since that last passed
	@$(PYTHON) -m tools.node trial

k8s-down:        ## end the node and delete it, with all its data
	@$(PYTHON) -m tools.node down

checkers: build/checkers/.done  ## programs that judge manifests and Dockerfiles, for their tests

lock: $(VENV)/.dev           ## resolve the dependencies again (needs uv)
	$(COMPILE) pyproject.toml -o requirements/run.lock
	$(COMPILE) --group build -o requirements/build.lock
	$(COMPILE) --group dev -c requirements/run.lock pyproject.toml -o requirements/dev.lock
	$(COMPILE) --group checkers -o requirements/checkers.lock
	$(COMPILE) --group load -c requirements/dev.lock -o requirements/load.lock

clean:           ## remove the virtual environment and caches; data stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Falcon needs Python 3.11 or later; try make PYTHON=python3.12")'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/run.lock requirements/build.lock pyproject.toml clients/python/pyproject.toml
	@echo "Installing Falcon and its dependencies ..."
	@$(PIP) install --require-hashes -r requirements/run.lock -r requirements/build.lock
	@$(PIP) install --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

# Apart from Falcon's own: each of these has many dependencies, in versions of its own.
build/checkers/.done: requirements/checkers.lock
	@echo "Installing the checkers of manifests ..."
	@$(PYTHON) -m venv --clear build/checkers
	@build/checkers/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Installing the tools for tests ..."
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.load: $(VENV)/.dev requirements/load.lock
	@echo "Installing the tools for load ..."
	@$(PIP) install --require-hashes -r requirements/load.lock
	@touch $@
