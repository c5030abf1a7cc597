# Every command of this repository; `make` alone lists them. A fresh machine needs Python 3.11 or newer, git and make.
#
#   PYTHON=/path/to/python3.12   the interpreter of the environment; the first that is new enough, unless named
#   ARGS="--port 9000"           handed on to `gateway up` by `make run`, to pytest by `make test`

IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(IS_NEW_ENOUGH) && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header
SCRATCH := .gateway/scratch.db

.DEFAULT_GOAL := help
.PHONY: help run test slow check bench chaos kills fuzz record format lock migration clean
.DELETE_ON_ERROR:

help: ## list these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## start everything on this machine and run the example once
	$(BIN)/gateway up --demo $(ARGS)

# Three on two cores: tests wait for servers, and for time to pass, nearly as long as they compute.
test: $(VENV)/.dev ## run every test, on real servers
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

slow: $(VENV)/.dev ## run the tests that take many minutes; CI runs a short form of each
	$(BIN)/python -m pytest -m slow -s $(ARGS)

check: $(VENV)/.dev ## check format, lint and types, as CI does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev ## measure the engine against hand-written Temporal workflows, jobs against raw Dramatiq, and jobs on both engines
	$(BIN)/python -m tests.benchmarks.engine
	$(BIN)/python -m tests.benchmarks.jobs
	$(BIN)/python -m tests.benchmarks.lanes

fuzz: $(VENV)/.dev ## compare 200,000 random expressions with Google's CEL; `make test` compares 4,000
	FUZZ_SEEDS=50 $(BIN)/python -m pytest tests/user_workflows/expressions/test_differential.py $(ARGS)

kills: $(VENV)/.dev ## kill workers under random definitions for ten minutes; ARGS="--minutes 60 --number 1"
	$(BIN)/python -m tests.user_workflows.reference.kills $(ARGS)

chaos: $(VENV)/.dev ## kill, suspend, empty, fill and restart what jobs run on, for five minutes; ARGS="--seed 7" repeats one
	$(BIN)/python -m tests.chaos.jobs $(ARGS)

record: $(VENV)/.dev ## record a history of every feature that has none yet, for tests/replay
	$(BIN)/python -m tests.replay.recording

format: $(VENV)/.dev ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## lock the dependencies anew, hashes included (needs uv); UPGRADE=--upgrade for newer versions
	$(LOCK) pyproject.toml --extra embedded --group build $(UPGRADE) --output-file requirements.txt
	$(LOCK) --group dev --constraint requirements.txt $(UPGRADE) --output-file requirements-dev.txt

migration: $(VENV)/.dev ## write a migration for the tables as they are now; NAME="add a column"
	$(if $(NAME),,$(error say what it does: make migration NAME="add a column"))
	mkdir -p $(dir $(SCRATCH)) && rm -f $(SCRATCH)*
	$(BIN)/alembic -x url=sqlite:///$(SCRATCH) upgrade head
	$(BIN)/alembic -x url=sqlite:///$(SCRATCH) revision --autogenerate -m "$(NAME)"

clean: ## remove the environment and every cache, but no data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: everything by hash, the build backend too; then the project itself, without the network.

$(BIN)/python:
	@$(or $(PYTHON),false) $(IS_NEW_ENOUGH) || { \
		echo "$(or $(PYTHON),python3) is missing or older than Python 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
