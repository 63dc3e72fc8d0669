# Needs python3 (3.11 or newer) and make; everything else is installed below $(VENV) from hashed locks.
VENV ?= .venv
ECP_HOME ?= .ecp
BIN := $(VENV)/bin
PY := $(BIN)/python
WITH_SERVERS := $(PY) -m ecp_project.embedded exec
FRESH_SERVERS := $(WITH_SERVERS) --ephemeral
RUN_READY := $(VENV)/.installed-run
DEV_READY := $(VENV)/.installed-dev
LOCKS := requirements.txt requirements/bootstrap.txt requirements/install.sh
CODE := ecp_project ledger advisory tests manage.py clients/python/copy_core.py clients/python/src examples
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
WORKERS ?= 2
PYTEST_ARGS ?=
export ECP_HOME
# Many images tell Python to write no bytecode. Each of our processes would then compile a thousand modules anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test faults bench lint check fix lock demo verify tamper-demo schema client-core docs-check interop \
        console-sweep screenshots lint-ops reset clean install install-dev

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(RUN_READY) ## Install, start everything, print address and sign-in; Ctrl-C stops it
	@exec $(PY) -m ecp_project.launcher

test: $(DEV_READY) ## All tests that fit a fresh machine, with coverage floors
	@rm -f .coverage .coverage.*
	$(FRESH_SERVERS) -- $(PY) -m pytest -n $(WORKERS) --cov --cov-report= $(PYTEST_ARGS)
	@$(PY) tests/coverage_floors.py

faults: $(DEV_READY) ## Kill processes and servers under load, then compare journal and ledger
	$(FRESH_SERVERS) --fsync -- $(PY) -m pytest -m fault -p no:randomly tests $(PYTEST_ARGS)

bench: $(DEV_READY) ## Ratios against baselines on durable servers, about 25 minutes; writes docs/BENCHMARKS.md
	$(FRESH_SERVERS) --fsync -- env PYTHONPATH=clients/python/src $(PY) -m tests.perf.bench
	$(FRESH_SERVERS) --fsync -- $(PY) -m pytest -m perf -p no:randomly -q $(PYTEST_ARGS)

lint: $(DEV_READY) ## Ruff, format, types, import contracts, templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	@if [ -d templates ]; then find templates -name '*.html' -exec $(BIN)/djhtml --check {} +; fi

check: lint ## Lint, plus missing migrations, system checks (production too), static files, meta-tests
	$(FRESH_SERVERS) -- sh -c '$(PY) manage.py makemigrations --check --dry-run && \
	    $(PY) manage.py check --fail-level ERROR && $(PY) -m pytest -q -n $(WORKERS) tests/meta'
	@sh deploy/check-production.sh $(PY)

fix: $(DEV_READY) ## Formatters and safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if [ -d templates ]; then find templates -name '*.html' -exec $(BIN)/djhtml {} +; fi

lock: $(VENV)/.installed-uv ## Rebuild the hashed locks from requirements/*.in
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) requirements/base.in requirements/embedded.in -o requirements.txt
	$(COMPILE) requirements/dev.in -o requirements/dev.txt
	$(COMPILE) requirements/ops.in -o requirements/ops.txt

demo: $(RUN_READY) ## Load the sample data into an empty ledger
	$(WITH_SERVERS) -- sh -c '$(PY) manage.py migrate --database=migrator -v 0 && $(PY) manage.py demo_load'

verify: $(RUN_READY) ## Read the whole ledger again and verify it
	$(WITH_SERVERS) -- $(PY) manage.py ledger_verify --full

tamper-demo: $(RUN_READY) ## Tamper with a scratch copy of the ledger in 25 ways and show each being found
	$(WITH_SERVERS) -- sh -c '$(PY) manage.py migrate --database=migrator -v 0 && $(PY) manage.py ledger_tamper_demo'

schema: $(DEV_READY) ## Write schema/openapi.json and the JSON Schemas
	$(PY) -m ledger.core.schema
	$(PY) -m advisory.friction.core.schema
	$(PY) manage.py spectacular --format openapi-json --file schema/openapi.json --validate --fail-on-warn

client-core: ## Copy the core that the Python client carries anew
	@python3 clients/python/copy_core.py

docs-check: $(DEV_READY) ## Documents against the code, their examples against a served ledger
	$(FRESH_SERVERS) -- $(PY) -m pytest -q -n $(WORKERS) tests/docs $(PYTEST_ARGS)

interop: $(DEV_READY) ## Foreign verifiers over our bytes (opt-in, needs Python 3.12 and Node.js)
	$(FRESH_SERVERS) -- $(PY) -m pytest -m interop -p no:randomly $(PYTEST_ARGS)

console-sweep: $(DEV_READY) ## Every console page in Chromium: two themes, two widths, four states of data
	$(FRESH_SERVERS) -- $(PY) -m pytest -m sweep -p no:randomly -q $(PYTEST_ARGS)

screenshots: $(DEV_READY) ## Write the pictures of docs/img with the sample data at a fixed time
	$(FRESH_SERVERS) -- $(PY) -m pytest -m pictures -p no:randomly -q $(PYTEST_ARGS)

lint-ops: ## Workflow, shell and YAML linters and the secret scanner; what cannot be had is a named SKIP
	@PYTHON=$${PYTHON:-python3} sh deploy/lint-ops.sh

reset: $(RUN_READY) ## Remove the embedded data, after asking
	@$(PY) -m ecp_project.embedded reset

clean: ## Remove caches; data and the virtual environment stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage .coverage.* \
	    coverage.xml staticfiles build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

install: $(RUN_READY)

install-dev: $(DEV_READY)

$(RUN_READY): $(LOCKS)
	@sh requirements/install.sh $(VENV) requirements.txt
	@touch $@

$(DEV_READY): $(LOCKS) requirements/dev.txt
	@sh requirements/install.sh $(VENV) requirements.txt requirements/dev.txt
	@touch $@ $(RUN_READY)

$(VENV)/.installed-uv: requirements/bootstrap.txt requirements/install.sh
	@sh requirements/install.sh $(VENV) requirements/bootstrap.txt
	@touch $@
