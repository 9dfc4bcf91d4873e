# make demo and make test need Python 3.9 or later with venv and pip, and make a .venv of their own for everything else.
# Another Python: make demo PYTHON=python3.13

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
NATIVE_SOURCES := $(wildcard native/Cargo.* native/pyproject.toml native/*.pyi native/src/*.rs)
# Tests at a time: many of them wait for processes most of the time.
JOBS ?= 3
FUZZ_SECONDS ?= 3600

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.9 --generate-hashes --no-header $(LOCK_ARGS)
EXTRAS := research plot test polars duckdb cluster top lint

.PHONY: help dev demo test coverage soak fuzz bench tools test-tools test-page test-notebooks notebooks cluster-demo deploy-check lint lock audit sbom dist dist-test container-test docs picture clean

help:
	@echo 'make demo          record from an exchange on this machine and show the result (no key, 10 seconds)'
	@echo 'make dev           all that development needs, in .venv, with the commit hook'
	@echo 'make test          all tests but the long ones; make soak: those, and make fuzz'
	@echo 'make fuzz          damaged archives through every command, for an hour (FUZZ_SECONDS)'
	@echo 'make coverage      make test with its coverage, by package; fails below the gate'
	@echo 'make lint          ruff, mypy, import-linter'
	@echo 'make tools         the tools of others that exports are tested with; make test-tools: those tests'
	@echo 'make test-clients  clients of others (NautilusTrader, ccxt, python-kraken-sdk) against the embedded exchange'
	@echo 'make test-bridges  the bridges of docs/recipes.md to Redis, Kafka, QuestDB and ClickHouse'
	@echo 'make test-page     the page in a real browser (Chromium)'
	@echo 'make notebooks     run docs/notebooks and keep what they show; make test-notebooks: run them as tests'
	@echo 'make bench         the benchmarks'
	@echo 'make cluster-demo  a week of days exported on a local Dask cluster, a worker killed on the way'
	@echo 'make deploy-check  Prometheus rules and every query of the Grafana dashboard, by promtool (Debian: prometheus)'
	@echo 'make lock          renew requirements/*.txt from pyproject.toml; LOCK_ARGS=--upgrade for newer versions'
	@echo 'make container-test  the image (Containerfile), built and tried with podman; CONTAINER_ENGINE=docker for another'
	@echo 'make docs          the site of the documents, in site/; every link is checked'
	@echo 'make dist          sdist and wheels in dist/; with cargo, one with the native engine; make dist-test: tried alone'
	@echo 'make sbom          what is installed, as sbom.json (CycloneDX); make audit: known vulnerabilities (needs network)'
	@echo 'make picture       the pictures in the README and docs/'

dev: $(VENV)/.test $(VENV)/.native
	@$(BIN)/pre-commit install
	@echo 'Ready: make test, make lint; CONTRIBUTING.md has the rest'

demo: $(VENV)/.base $(VENV)/.native
	@$(BIN)/kraken-l3 demo

test: $(VENV)/.test $(VENV)/.native
	$(BIN)/python -m pytest -m 'not soak' -n $(JOBS) $(ARGS)

# Children write data files of their own; combined they are one. A second run of the suite is not needed for it.
coverage: $(VENV)/.test $(VENV)/.native
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest -m 'not soak' -n $(JOBS) $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage json --quiet -o coverage.json
	@$(BIN)/python .ci/coverage_by_package.py coverage.json

soak: $(VENV)/.test $(VENV)/.native
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

fuzz: $(VENV)/.test $(VENV)/.native
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

bench: $(VENV)/.test $(VENV)/.native
	@set -e; for each in bench/*/__main__.py; do \
	  name=$$(basename $$(dirname $$each)); echo "== bench.$$name"; $(BIN)/python -m bench.$$name; \
	done

cluster-demo: $(VENV)/.test $(VENV)/.native
	@$(BIN)/python examples/cluster_demo.py

# The tools that read our exports in the tests, each in an environment of its own, since their versions of numpy clash.
# hftbacktest needs Python 3.11, nautilus_trader 3.12: make tools PYTHON=python3.12
tools: $(VENV)/.made
	@for each in 'hftbacktest hftbacktest -e .[research]' 'nautilus nautilus_trader<2 -e .[research]' 'lobster ob-analytics'; do \
	  set -- $$each; tool=$$1; shift; echo "Installing $$tool"; \
	  { $(PYTHON) -m venv .venv-$$tool && .venv-$$tool/bin/python -m pip install --quiet --upgrade pip && \
	    .venv-$$tool/bin/python -m pip install --quiet "$$@"; } || \
	  { rm -rf .venv-$$tool; echo "$$tool cannot be installed here; its tests will be skipped"; }; \
	done

# Object storage is tested against moto, which shares the environment of the tests; the others have their own.
test-tools: tools $(VENV)/.test
	$(PIP) -e '.[storage]' 'moto[server]>=5' boto3 pyzstd
	$(BIN)/python -m pytest -m 'not soak' tests/export/test_other_tools.py tests/export/test_bulk.py tests/archive/test_remote.py $(ARGS)

# Clients of others, to which the embedded exchange must look like Kraken. nautilus_trader needs Python 3.12:
# make test-clients PYTHON=python3.12
test-clients: $(VENV)/.test
	@for each in 'nautilus nautilus_trader>=1.231,<2' 'kraken-sdk python-kraken-sdk>=3.5' 'ccxt ccxt>=4.5'; do \
	  set -- $$each; echo "Installing $$1"; \
	  { $(PYTHON) -m venv .venv-client-$$1 && .venv-client-$$1/bin/python -m pip install --quiet --upgrade pip && \
	    .venv-client-$$1/bin/python -m pip install --quiet "$$2"; } || \
	  { rm -rf .venv-client-$$1; echo "$$1 cannot be installed here; its tests will be skipped"; }; \
	done
	$(BIN)/python -m pytest tests/clients $(ARGS)

# Redis and ClickHouse are tried with the servers of the system (Debian: apt install redis-server clickhouse-server).
test-bridges: $(VENV)/.test
	@$(PYTHON) -m venv .venv-bridges
	@.venv-bridges/bin/python -m pip install --quiet --upgrade pip
	@.venv-bridges/bin/python -m pip install --quiet -e . redis confluent-kafka 'questdb>=6' numpy
	$(BIN)/python -m pytest tests/bridges $(ARGS)

# lifelines needs an older pandas than the tests have. The native engine is tried too: notebooks run faster with it.
.venv-notebooks/.made: pyproject.toml
	@$(PYTHON) -m venv .venv-notebooks
	@.venv-notebooks/bin/python -m pip install --quiet --upgrade pip
	@.venv-notebooks/bin/python -m pip install --quiet -e '.[notebooks]'
	@! command -v cargo >/dev/null 2>&1 || .venv-notebooks/bin/python -m pip install --quiet ./native || true
	@touch $@

# The page in a real browser: Chromium, as Debian packages it (apt install chromium).
test-page: $(VENV)/.test $(VENV)/.native
	TEST_PAGE=1 $(BIN)/python -m pytest -n 0 tests/web/test_page_in_browser.py $(ARGS)

test-notebooks: .venv-notebooks/.made $(VENV)/.test
	$(BIN)/python -m pytest tests/notebooks $(ARGS)

notebooks: .venv-notebooks/.made
	.venv-notebooks/bin/python docs/run_notebooks.py docs/notebooks/*.ipynb

.venv-docs/.made: pyproject.toml
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --upgrade pip
	@.venv-docs/bin/python -m pip install --quiet -e '.[docs]'
	@touch $@

docs: .venv-docs/.made
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict
	@echo 'Open site/index.html'

# hatchling and maturin come from the lock too, so an installation fetches nothing that has no hash in it.
lock: $(VENV)/.test
	$(LOCK) $(addprefix --extra ,$(EXTRAS)) pyproject.toml requirements/build.in -o requirements/dev.txt
	$(LOCK) --extra research -c requirements/dev.txt pyproject.toml requirements/build.in -o requirements/base.txt

# The databases of vulnerabilities (PyPI's, RustSec's) are asked over the network: not a part of .ci/run.
audit: $(VENV)/.test
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --require-hashes -r requirements/dev.txt
	@command -v cargo-audit >/dev/null 2>&1 || cargo install --quiet --locked cargo-audit
	cd native && cargo audit

sbom: $(VENV)/.base
	$(BIN)/python -m pip install --quiet cyclonedx-bom
	$(BIN)/cyclonedx-py requirements requirements/base.txt -o sbom.json

# A wheel for every platform, which needs no cargo, and with cargo one for this platform with the native engine in it.
dist: $(VENV)/.base
	@rm -rf dist
	@$(BIN)/hatchling build -t sdist -t wheel
	@! command -v cargo >/dev/null 2>&1 || { \
	  $(BIN)/maturin build --quiet --release --locked --manifest-path native/Cargo.toml --out dist/native && \
	  KRAKEN_L3_NATIVE_WHEEL=$$(ls dist/native/*.whl) $(BIN)/hatchling build -t wheel && rm -r dist/native; }

# In an environment with nothing of the checkout: install what dist/ has, record from the embedded exchange, verify.
dist-test:
	@[ -d dist ] || $(MAKE) dist
	@$(PYTHON) .ci/dist_test.py dist

deploy-check: $(VENV)/.test
	@command -v promtool >/dev/null 2>&1 || { echo 'This needs promtool. On Debian and Ubuntu: sudo apt install prometheus'; exit 1; }
	$(BIN)/python -m pytest tests/deploy $(ARGS)

container-test: $(VENV)/.base
	@$(BIN)/python .ci/container_test.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's picture, drawn from a demo that runs now, and the page's (with Chromium).
picture: $(VENV)/.test
	$(BIN)/python docs/picture.py
	$(BIN)/python docs/top_picture.py
	$(BIN)/python docs/page_pictures.py
	$(BIN)/python docs/report_picture.py

clean:
	rm -rf $(VENV) demo dist site .cache .coverage* coverage.json sbom.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

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

$(VENV)/.base: $(VENV)/.made pyproject.toml requirements/base.txt
	@echo 'Installing the recorder'
	@if $(PIP) --require-hashes -r requirements/base.txt; then \
	  $(PIP) --no-deps --no-build-isolation -e .; \
	else echo 'numpy or pyarrow cannot be installed here: there will be no export'; $(PIP) -r requirements.txt; fi
	@touch $@

$(VENV)/.test: $(VENV)/.base requirements/dev.txt
	@echo 'Installing what tests and linters need'
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# The Python engine does the same work without it, slower: a missing cargo or a failed build stops nothing.
$(VENV)/.native: $(NATIVE_SOURCES) | $(VENV)/.base
	@if ! command -v cargo >/dev/null 2>&1; then \
	  echo 'No cargo here: the Python engine is used (https://rustup.rs brings cargo, and with it the native engine)'; \
	elif echo 'Building the native engine'; $(PIP) ./native >$(VENV)/native.log 2>&1; then :; \
	else echo 'The native engine could not be built (why: $(VENV)/native.log): the Python engine is used'; fi
	@touch $@
