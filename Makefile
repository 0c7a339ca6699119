# `make demo` and `make test` set up what they need, in .venv and tests/servers; the rest is in `make help`.

VENV := .venv
BIN := $(VENV)/bin
NODE_MODULES := tests/servers/node_modules

# The first Python that is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo serve test lint prose types check simulate hammer mutants fuzz bench bench-web bench-batch bench-contention bench-reads bench-notice bench-base64 peers conformance dist clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo              sets up, then shows the example app on a local DynamoDB, over the wire'
	@echo 'make serve             the example app on port 4000 (PORT=…), for curl; Ctrl-C ends it'
	@echo 'make test              sets up, then runs all that has to pass: lint, types, tests; five minutes'
	@echo 'make verifytypes       how many public names have complete types, and which have not; ten seconds'
	@echo 'make simulate          a million steps of concurrent requests with faults, on a model of DynamoDB; a minute'
	@echo 'make hammer            processes that are killed, replies that are cut and corrupted, on a real server; a minute'
	@echo 'make mutants           each guard turned off in turn, and what notices it; a quarter of an hour'
	@echo 'make fuzz              random bytes for the parser of replies, guided by what they reach; a minute (SECONDS=...)'
	@echo 'make bench             speed beside boto3, PynamoDB, pydynox, aiobotocore and aiodynamo; six minutes, once set up'
	@echo 'make bench-web         what a session costs a request, beside Flask-Session, Django and starsessions; three minutes'
	@echo 'make bench-batch       jobs over tables of 1,000 to 100,000 records, beside boto3, PynamoDB and pydynox; five minutes'
	@echo 'make bench-contention  what requests at once on one session cost, stored in three ways; a minute'
	@echo 'make bench-reads       what recording reads costs a getter and a request; with AGAINST=another checkout beside it'
	@echo 'make bench-base64      what base64 costs, by msgspec and by pybase64; half a minute'
	@echo 'make bench-notice      what users notice of requests that meet: a browser-like load in virtual time; half an hour'
	@echo 'make peers             the tests of Django, Flask, Starlette and others, on these sessions; a quarter of an hour'
	@echo 'make conformance       where ministack, moto, dynalite and DYNAMOSTORE_TEST_ENDPOINT answer unlike DynamoDB; half a minute'
	@echo 'make dist              wheel and sdist, checked'
	@echo 'make clean             removes what the above made'

$(VENV)/.installed: pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "dynamostore needs Python 3.11 or newer, and there is none; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dynamostore needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)"; exit 1; }
	@echo 'setting up .venv with $(PYTHON) (once; it takes a minute or two)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# dynalite, the third server that the tests run against. Without Node they run on the other two.
$(NODE_MODULES)/.installed: tests/servers/package.json
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		npm install --prefix tests/servers --no-audit --no-fund --no-package-lock --silent >/dev/null 2>&1 \
		&& touch $@ || echo 'dynalite could not be installed: its tests are skipped'; \
	else echo 'Node is not installed: the tests against dynalite are skipped'; fi

demo: $(VENV)/.installed
	@$(BIN)/python examples/demo.py

PORT ?= 4000

serve: $(VENV)/.installed
	@$(BIN)/python examples/demo.py --serve --port $(PORT)

test: lint types check

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Spelling and plain English, in what people read.
prose: $(VENV)/.installed
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs dynamostore session examples tools
	$(BIN)/python -m tools.prose

types: $(VENV)/.installed verifytypes
	$(BIN)/mypy

# Every public name has a type that all checkers agree on: what pyright has to infer, another checker infers differently.
.PHONY: verifytypes
verifytypes: $(VENV)/.installed
	$(BIN)/python -m tools.verifytypes

check: $(VENV)/.installed $(NODE_MODULES)/.installed
	$(BIN)/pytest -n 2 --dist loadfile

# `make simulate STEPS=20000000 SEED=1` looks longer, and elsewhere; DRIVER=sync or DRIVER=async, down to the client.
STEPS ?= 1000000
SEED ?= 0
DRIVER ?= plans

simulate: $(VENV)/.installed
	@$(BIN)/python -m tests.simulation --steps $(STEPS) --seed $(SEED) --driver $(DRIVER)

hammer: $(VENV)/.installed
	@$(BIN)/python -m tests.hammer

mutants: $(VENV)/.installed
	@$(BIN)/python -m tests.mutants

SECONDS ?= 60

fuzz: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# The clients it is measured beside, in an environment of their own: they pin other versions.
.venv-bench/.installed: benchmarks/requirements.txt pyproject.toml
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt --editable .
	@touch $@

# The servers are on this machine, and not every client knows that a proxy cannot reach them.
DIRECTLY := NO_PROXY='*' no_proxy='*'

bench: $(VENV)/.installed .venv-bench/.installed
	@$(DIRECTLY) $(BIN)/python -m benchmarks.speed

bench-web: $(VENV)/.installed .venv-bench/.installed
	@$(DIRECTLY) $(BIN)/python -m benchmarks.web

bench-batch: $(VENV)/.installed .venv-bench/.installed
	@$(DIRECTLY) $(BIN)/python -m benchmarks.batch

bench-contention: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.contention

AGAINST ?=

bench-reads: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.reads $(if $(AGAINST),--against $(AGAINST))

bench-base64: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.base64

# `make bench-notice REQUESTS=10000` is a quick look.
REQUESTS ?= 300000

bench-notice: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.notice --requests $(REQUESTS)

# `make peers SUITE=flask` runs one. NEWEST=1 takes the newest releases, and only reports. UPDATE=1 brings the record of what
# fails, and docs/background/peers.md, up to date.
SUITE ?=
NEWEST ?=
UPDATE ?=

peers: $(VENV)/.installed
	@$(BIN)/python -m tests.peers $(if $(SUITE),--suite $(SUITE)) $(if $(NEWEST),--newest) $(if $(UPDATE),--update)

# `make conformance UPDATE=1` brings docs/reference/conformance.md up to date.
conformance: $(VENV)/.installed $(NODE_MODULES)/.installed
	@$(BIN)/python -m tests.conformance $(if $(UPDATE),--update)

dist: $(VENV)/.installed
	@rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) .venv-bench .peers $(NODE_MODULES) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
