# Two commands on a fresh machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
SECONDS ?= 60
export PROCEZO_HOME ?= $(CURDIR)
export DAGSTER_HOME ?= $(PROCEZO_HOME)

.PHONY: help setup demo test check bench fuzz hostile stress ui lock
help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(VENV)/.installed  ## make .venv with the pinned packages

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "setup: making $(VENV) with the pinned packages (first time: about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "setup: Python 3.11 to 3.13 is needed; name one with make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep -E "^uv==" requirements.lock)
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
	@echo "setup: done"

demo: setup  ## make sample data, run its flow, load the databases, show where the results are
	@$(BIN)/procezo demo

test: setup  ## run the test suite
	@echo "test: running the suite"
	@env -u PROCEZO_HOME -u DAGSTER_HOME -u PYTHONDONTWRITEBYTECODE \
	  $(BIN)/python -m pytest -n 3 --dist worksteal

check: setup  ## format, lint and types
	@echo "check: ruff format, ruff check, mypy --strict"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

ui: setup  ## open the Dagster web UI on this folder as home (PORT=3000)
	@echo "ui: http://127.0.0.1:$(PORT) (Ctrl-C stops it)"
	@$(BIN)/dagster dev -h 127.0.0.1 -p $(PORT)

stress: setup  ## kill 200 runs at random moments, and see that nothing is torn or lost (half an hour)
	@env -u PROCEZO_HOME -u DAGSTER_HOME $(BIN)/python tests/stress_kills.py

hostile: setup  ## read the largest hostile files, each beside a good one (a few minutes, 15 GB of disk)
	@$(BIN)/python benchmarks/hostile.py

bench: setup  ## measure the project beside a bare Polars script and plain pandas (ten minutes)
	@$(BIN)/python benchmarks/bench.py

fuzz: setup  ## fuzz readers, flow loader and import for SECONDS=60 in all (Linux; installs atheris)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python "$$(sed -n 's/^fuzz = \["\(.*\)"\]/\1/p' pyproject.toml)"
	@$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS)

lock: setup  ## resolve the pinned packages anew
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock
