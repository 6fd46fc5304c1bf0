# Every target makes .venv itself; nothing needs to be installed or started by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help demo dev test check bench bench-flood bench-growth bench-parts bench-scale chaos fuzz messages format constraints clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY)  ## Export 166,158 real flights from request to download, then stop
	$(BIN)/celery bgtasks demo

dev: $(READY)  ## The same stack, a site to try it in, and Flower, until Ctrl-C
	$(BIN)/celery bgtasks dev

test: $(READY)  ## The whole test suite, on SQLite and PostgreSQL; ARGS="tests/items -x" for some of it, in one process
	$(BIN)/pytest $(or $(ARGS),--numprocesses=logical --maxprocesses=4 --dist=loadfile)

check: $(READY)  ## Formatting, lint, types, import layers, file lengths
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tests/check_length.py

bench: $(READY)  ## Speed and memory beside other packages and bare pipelines (QUICK=1: in two minutes); ARGS="--help" has more
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(ARGS)

bench-flood: $(READY)  ## Does a flood of 1,000 requests of one type delay another type's? ARGS="--help" has more
	$(BIN)/python -m tests.bench.flood $(ARGS)

bench-growth: $(READY)  ## Time and memory of files of 1, 3 and 10 million rows; QUICK=1
	$(BIN)/python -m tests.bench.growth $(if $(QUICK),--quick)

bench-parts: $(READY)  ## A file of 10 million rows in 8 parts: two workers beside one, and beside one writer; QUICK=1
	$(BIN)/python -m tests.bench.parts $(if $(QUICK),--quick) $(ARGS)

bench-scale: $(READY)  ## Each query with 50,000 and with 5 million requests in PostgreSQL, and how clean keeps nobody waiting; QUICK=1
	$(BIN)/python -m tests.bench.scale $(if $(QUICK),--quick) $(ARGS)

chaos: $(READY)  ## 200 requests, while workers are killed and the broker forgets; ARGS="--help" has more
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(READY)  ## 20,000 requests of any kind against the files application
	$(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz $(ARGS)

messages: $(READY)  ## Gather the texts for the catalogues of bgtasks/locale; ARGS=it begins another language
	$(BIN)/python -m tests.locale.messages $(ARGS)

format: $(READY)  ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(READY)  ## Compile constraints.txt anew from pyproject.toml
	$(BIN)/python -m pip install --quiet 'uv>=0.8'
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras \
	    --group test --group check --group build --generate-hashes --upgrade \
	    --no-header --no-annotate --no-emit-index-url --quiet --output-file constraints.txt

clean:  ## Remove what the targets above have made
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist

$(READY): constraints.txt pyproject.toml .ci/venv
	PYTHON=$(PYTHON) .ci/venv $(VENV)
	touch $@
