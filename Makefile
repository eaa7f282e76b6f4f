# make run     the experiment, from nothing: an environment, then python launch.py sweep=isoflop_small
# make env     the environment alone
# make test    the environment, then the tests
# make lint    the environment, then format, lint, types and import contracts
# make cluster the environment and what clusters need, then the tests on Slurm (as root on Debian), Ray and an S3 server
# make browser the environment, playwright and (as root on Debian) chromium, then the tests of the report and the live page
# make docs    the environment and what the site needs, then its generated pages, the site in site/, and the tests of both
# make smoke   the environment, then python launch.py sweep=isoflop_tiny
# make lock    requirements.lock and requirements-*.lock anew, from the ranges in pyproject.toml

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.made-from-lock
CLUSTER_READY := .venv/.made-for-clusters
DOCS_READY := .venv/.made-for-docs
BROWSER_READY := .venv/.made-for-browser

.PHONY: run env test cluster browser docs lint smoke lock

run: $(READY)
	$(BIN)/python launch.py sweep=isoflop_small

env: $(READY)

test: $(READY)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/models tests/fit tests/scaling_runs
	$(BIN)/python -m pytest tests/test_*.py tests/docs

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

cluster: $(CLUSTER_READY)
	$(BIN)/python -m pytest tests/cluster tests/scaling_runs/test_places.py tests/fit/sources/test_urls.py

browser: $(BROWSER_READY)
	tests/browser/chromium.sh
	$(BIN)/python -m pytest tests/browser

docs: $(DOCS_READY)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m pytest tests/docs/test_site.py tests/docs/test_notebook.py

smoke: $(READY)
	$(BIN)/python launch.py sweep=isoflop_tiny

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"error: {sys.executable} is Python {v[0]}.{v[1]}; 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@

$(CLUSTER_READY): $(READY) requirements-cluster.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-cluster.lock
	@touch $@

$(DOCS_READY): $(READY) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-docs.lock
	@touch $@

$(BROWSER_READY): $(READY) requirements-browser.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-browser.lock
	@touch $@

lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade pip
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0 . --group dev
	.venv-lock/bin/python -m pip freeze --exclude isoflop | sed 's/+cpu$$//' > .venv-lock/pins
	(sed -n '/^#/p' requirements.lock && cat .venv-lock/pins) > .venv-lock/requirements.lock
	for group in browser docs cluster; do \
	    .venv-lock/bin/python -m pip install --quiet --group $$group && \
	    .venv-lock/bin/python -m pip freeze --exclude isoflop | sed 's/+cpu$$//' | grep -vxFf .venv-lock/pins > .venv-lock/more && \
	    (sed -n '/^#/p' requirements-$$group.lock && cat .venv-lock/more) > .venv-lock/requirements-$$group.lock && \
	    .venv-lock/bin/python -m pip uninstall --quiet --yes --requirement .venv-lock/more && \
	    .venv-lock/bin/python -m pip install --quiet --requirement .venv-lock/pins || exit 1; \
	done
	mv .venv-lock/requirements.lock .venv-lock/requirements-*.lock .
	rm -rf .venv-lock
