# make demo and make test need Python 3.9 or later with venv and pip, and make a .venv of their own for everything else.
# Another Python: make demo PYTHON=python3.13

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
NATIVE_SOURCES := $(wildcard native/Cargo.* native/pyproject.toml native/*.pyi native/src/*.rs)
JOBS ?= 2

.PHONY: help demo test soak bench tools cluster-demo lint picture clean

help:
	@echo 'make demo    record from an exchange on this machine and show the result (no key, 10 seconds)'
	@echo 'make test    all tests but the long ones; make soak: those'
	@echo 'make bench   the benchmarks; make lint: ruff, mypy, import-linter'
	@echo 'make cluster-demo  a week of days exported on a local Dask cluster, a worker killed on the way'
	@echo 'make tools   the tools of others that exports are tested with'

demo: $(VENV)/.base $(VENV)/.native
	@$(BIN)/kraken-l3 demo

test: $(VENV)/.test $(VENV)/.native
	$(BIN)/python -m pytest -m 'not soak' -n $(JOBS) $(ARGS)

soak: $(VENV)/.test $(VENV)/.native
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: $(VENV)/.test $(VENV)/.native
	@set -e; for each in bench/*/__main__.py; do \
	  name=$$(basename $$(dirname $$each)); echo "== bench.$$name"; $(BIN)/python -m bench.$$name; \
	done

cluster-demo: $(VENV)/.test $(VENV)/.native
	@$(BIN)/python examples/cluster_demo.py

# The tools that read our exports in the tests, each in an environment of its own, since their versions of numpy clash.
# nautilus_trader needs a recent Python: make tools PYTHON=python3.12
tools: $(VENV)/.made
	@for each in 'hftbacktest hftbacktest' 'nautilus nautilus_trader -e .[research]' 'lobster ob-analytics'; do \
	  set -- $$each; tool=$$1; shift; echo "Installing $$tool"; \
	  { $(PYTHON) -m venv .venv-$$tool && .venv-$$tool/bin/python -m pip install --quiet --upgrade pip && \
	    .venv-$$tool/bin/python -m pip install --quiet "$$@"; } || \
	  { rm -rf .venv-$$tool; echo "$$tool cannot be installed here; its tests will be skipped"; }; \
	done

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's picture, drawn from a demo that runs now.
picture: $(VENV)/.base
	$(BIN)/python docs/picture.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Each stamp is renewed when what it was made from is newer.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
	  { echo 'This needs Python 3.9 or later as $(PYTHON). Another: make PYTHON=python3.13'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) lacks venv. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@touch $@

$(VENV)/.base: $(VENV)/.made pyproject.toml requirements.txt
	@echo 'Installing the recorder'
	@$(PIP) -r requirements.txt
	@$(PIP) -e '.[research]' || echo 'numpy and pyarrow cannot be installed here: there will be no export'
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo 'Installing what the tests need'
	@$(PIP) -e '.[test,research,polars,duckdb,cluster]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@echo 'Installing the linters'
	@$(PIP) -e '.[test,research,polars,duckdb,cluster,lint]'
	@touch $@

# The Python engine does the same work without it, slower: a missing cargo or a failed build stops nothing.
$(VENV)/.native: $(NATIVE_SOURCES) | $(VENV)/.base
	@if ! command -v cargo >/dev/null 2>&1; then \
	  echo 'No cargo here: the Python engine is used (https://rustup.rs brings cargo, and with it the native engine)'; \
	elif echo 'Building the native engine'; $(PIP) ./native >$(VENV)/native.log 2>&1; then :; \
	else echo 'The native engine could not be built (why: $(VENV)/native.log): the Python engine is used'; fi
	@touch $@
