# You need Python 3.11 or newer and make. Everything else is installed into .venv from the lock file.
# To use another Python: make run PYTHON=/path/to/python3.12

SHELL := /bin/sh
BIN := .venv/bin
RUN_PYTHON := $(BIN)/python
UV := UV_SYSTEM_CERTS=true UV_PYTHON_DOWNLOADS=never $(BIN)/uv --quiet
COMPILE := $(UV) pip compile --universal --generate-hashes --no-header --no-emit-index-url
PYTEST := $(RUN_PYTHON) -m pytest -n auto --dist worksteal
SDK_DIR := $(or $(RUDDERHUB_SDK_DIR),$(or $(RUDDERHUB_VAR_DIR),var)/sdk)
PYTHONS := python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3

.DEFAULT_GOAL := help
.PHONY: help run test check lint fmt sdk-scripts e2e screenshots bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/run.stamp ## set up and start everything; Ctrl-C stops it
	@exec $(RUN_PYTHON) manage.py up

test: lint ## format, lint, types and imports, then all tests
	@$(PYTEST)

check: lint ## like test, with coverage
	@$(PYTEST) --cov --cov-report=term

lint: .venv/dev.stamp
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(RUN_PYTHON) -m mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

fmt: .venv/dev.stamp ## format the code, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

sdk-scripts: ## fetch the browser SDKs that the server hosts
	@$(need_node)
	@umask 077; mkdir -p $(SDK_DIR)
	@cp sources/sdk/package.json sources/sdk/package-lock.json sources/sdk/.npmrc $(SDK_DIR)/
	@cd $(SDK_DIR) && npm ci --loglevel=error
	@echo "The browser SDKs are in $(SDK_DIR); a running server now serves them"

e2e: .venv/dev.stamp .venv-e2e/stamp ## test the server and a worker with real SDKs and a browser
	@$(need_node)
	@command -v chromium > /dev/null || { echo "make e2e needs Chromium (Debian: apt-get install chromium)" >&2; exit 1; }
	@$(MAKE) --no-print-directory sdk-scripts SDK_DIR=var/e2e/sdk
	@$(MAKE) --no-print-directory var/e2e/node/stamp
	@$(RUN_PYTHON) -m pytest -m e2e tests/e2e

screenshots: .venv/dev.stamp .venv-e2e/stamp ## save pictures of every screen in var/screenshots
	@$(need_node)
	@$(MAKE) --no-print-directory var/e2e/node/stamp
	@$(RUN_PYTHON) -m pytest -m e2e tests/e2e/test_admin*.py tests/e2e/test_second_factor.py tests/e2e/test_tutorial.py -p no:randomly

bench: .venv/dev.stamp ## run the benchmark
	@$(RUN_PYTHON) -m tests.bench

lock: .venv/uv.stamp ## update requirements*.txt from pyproject.toml
	@$(COMPILE) pyproject.toml --upgrade --output-file requirements.txt
	@$(COMPILE) pyproject.toml --upgrade --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(COMPILE) tests/e2e/requirements.in --upgrade --python-version 3.11 --output-file tests/e2e/requirements.txt

clean: ## remove .venv and caches, but keep the data in var/
	rm -rf .venv .venv-e2e .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

# The developer's set holds the operator's whole; syncing to the smaller one drops the rest.
.venv/run.stamp: requirements.txt .venv/uv.stamp
	@echo "Installing the packages of rudderhub into .venv"
	@rm -f .venv/dev.stamp
	@$(UV) pip sync --compile-bytecode --python $(RUN_PYTHON) --require-hashes requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt requirements.txt .venv/uv.stamp
	@echo "Installing the packages of rudderhub and its tests into .venv"
	@rm -f .venv/run.stamp
	@$(UV) pip sync --compile-bytecode --python $(RUN_PYTHON) --require-hashes requirements-dev.txt
	@touch .venv/run.stamp $@

.venv/uv.stamp: requirements-uv.txt
	@$(RUN_PYTHON) -c pass 2>/dev/null || { $(find_python); $$found -m venv --clear .venv; }
	@$(RUN_PYTHON) -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements-uv.txt
	@touch $@

# The end-to-end tests use the SDKs for Python and Node, and playwright for the browser.
.venv-e2e/stamp: tests/e2e/requirements.txt .venv/uv.stamp
	@echo "Installing the SDKs for Python into .venv-e2e"
	@$(RUN_PYTHON) -m venv --without-pip .venv-e2e
	@$(UV) pip sync --python .venv-e2e/bin/python --require-hashes tests/e2e/requirements.txt
	@touch $@

var/e2e/node/stamp: tests/e2e/node/package.json tests/e2e/node/package-lock.json
	@echo "Installing the SDKs for Node into var/e2e/node"
	@umask 077; mkdir -p $(@D)
	@cp tests/e2e/node/package.json tests/e2e/node/package-lock.json tests/e2e/node/.npmrc $(@D)/
	@cd $(@D) && npm ci --loglevel=error
	@touch $@

define need_node
node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' 2>/dev/null && command -v npm > /dev/null || { \
	echo "make $@ needs Node 18 or newer with npm (Debian: apt-get install nodejs npm)" >&2; exit 1; }
endef

# Sets $found to the first Python that is new enough and can create a venv, or prints what is missing.
define find_python
found=; old=; \
for candidate in $(or $(PYTHON),$(PYTHONS)); do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	old=$$candidate; \
	"$$candidate" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	found=$$candidate; break; \
done; \
if [ -z "$$found" ] && [ -n "$$old" ]; then \
	echo "rudderhub: $$old cannot create a venv; install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; \
elif [ -z "$$found" ]; then \
	echo "rudderhub: no Python 3.11 or newer was found (tried $(or $(PYTHON),$(PYTHONS))); install one, or set its path: make run PYTHON=..." >&2; exit 1; \
fi
endef
