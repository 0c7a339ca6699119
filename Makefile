# `make demo` and `make test` set up what they need, in .venv and tests/servers; the rest is in `make help`.

VENV := .venv
BIN := $(VENV)/bin
NODE_MODULES := tests/servers/node_modules

# The first Python that is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo serve test lint prose types check matrix matrix-other bounds list-pythons pythons coverage lock lock-check simulate hammer mutants fuzz bench bench-web bench-batch bench-contention bench-reads bench-notice bench-base64 peers conformance docs docs-serve docs-screenshots dist release-check release-rehearse workflows clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo              sets up, then shows the example app on a local DynamoDB, over the wire'
	@echo 'make serve             the example app on port 4000 (PORT=…), for curl; Ctrl-C ends it'
	@echo 'make test              sets up, then runs all that has to pass: lint, types, tests; six minutes'
	@echo 'make matrix            quick tests on each Python that is here; a minute and a half of one core for each; MIN=... must run, FULL=1 for all tests'
	@echo 'make bounds            the same, and each framework and the command line, with the lowest and the newest dependencies; five minutes of one core'
	@echo 'make pythons           brings Pythons for the matrix from Debian testing, into .pythons (PYTHONS="3.14 3.15"); seconds'
	@echo 'make coverage          the lines that no test reaches; ten minutes'
	@echo 'make lock              brings uv.lock up to date; UPGRADE=1 takes the newest releases'
	@echo 'make lock-check        whether uv.lock fits pyproject.toml'
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
	@echo 'make docs              builds the documentation site into build/docs, and checks its links; half a minute'
	@echo 'make docs-serve        builds the site, and shows it on port 8000 (PORT=...); Ctrl-C ends it'
	@echo 'make docs-screenshots  takes the pictures of the site for the README, in Chromium'
	@echo 'make dist              wheel and sdist, checked'
	@echo 'make release-check    everything that must be true before a release; two minutes. release-rehearse allows placeholders'
	@echo 'make workflows        checks the GitHub workflows and forms'
	@echo 'make clean             removes what the above made'

# From the lock, by uv: the same versions for everybody, in seconds. Where only a mirror can be reached, which pip is configured
# for and a lock cannot name, the newest that pyproject.toml allows, by pip: 25.1 is the first that knows --group.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV = UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 $(BIN)/uv

$(VENV)/.installed: pyproject.toml uv.lock
	@[ -n "$(PYTHON)" ] || { echo "dynamostore needs Python 3.11 or newer, and there is none; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dynamostore needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)"; exit 1; }
	@echo 'setting up .venv with $(PYTHON) (once; it takes a minute or two)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) 'pip>=25.1' 'uv>=0.8'
	@$(UV) sync --quiet --compile-bytecode --locked --inexact --python $(BIN)/python || { \
		echo 'the locked versions cannot be installed; taking what pip finds'; $(PIP) --editable . --group dev; }
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

test: lint lock-check types check

lint: prose workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Spelling and plain English, in what people read.
prose: $(VENV)/.installed
	$(BIN)/codespell *.md .github docs dynamostore session examples tools
	$(BIN)/python -m tools.prose

types: $(VENV)/.installed verifytypes
	$(BIN)/mypy

# Every public name has a type that all checkers agree on: what pyright has to infer, another checker infers differently.
.PHONY: verifytypes
verifytypes: $(VENV)/.installed
	$(BIN)/python -m tools.verifytypes

check: $(VENV)/.installed $(NODE_MODULES)/.installed
	$(BIN)/pytest -n 2 --dist loadfile

# `make matrix MIN=5` fails unless five Pythons ran, `make matrix FULL=1` runs the whole suite.
MIN ?= 3
FULL ?=

matrix: $(VENV)/.installed
	@$(BIN)/python -m tools.matrix --min $(MIN) $(if $(FULL),--full)

bounds: $(VENV)/.installed
	@$(BIN)/python -m tools.matrix --min 2 $(if $(FULL),--full) --bounds

# One Python, the newest that is here but the one of .venv.
matrix-other: $(VENV)/.installed
	@$(BIN)/python -m tools.matrix --other

# The versions that the classifiers name, for the workflow's matrix. It needs no environment.
list-pythons:
	@$(PYTHON) -m tools.pythons --json

PYTHONS ?= 3.14 3.15

pythons: $(VENV)/.installed
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tools.debian $(PYTHONS)

# sys.monitoring costs little, but needs Python 3.12.
coverage: $(VENV)/.installed
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest -q; status=$$?; \
		$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report && exit $$status

UPGRADE ?=

lock: $(VENV)/.installed
	@$(UV) lock --default-index https://pypi.org/simple $(if $(UPGRADE),--upgrade)

lock-check: $(VENV)/.installed
	@$(UV) lock --check --offline --default-index https://pypi.org/simple

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

# Warnings are errors, such as a link to a page that is not there, or a public name without a docstring. Nothing is fetched.
docs: $(VENV)/.installed
	@rm -rf build/docs
	$(BIN)/python -m sphinx -b html -n -W --keep-going -q -E -d build/doctrees docs build/docs
	$(BIN)/python -m tools.links build/docs

# PORT belongs to `make serve` as well, so its default holds there only.
docs-serve: DOCS_PORT := $(if $(filter file,$(origin PORT)),8000,$(PORT))
docs-serve: docs
	@echo 'the site is at http://127.0.0.1:$(DOCS_PORT)/'
	@$(BIN)/python -m http.server $(DOCS_PORT) --bind 127.0.0.1 --directory build/docs

docs-screenshots: docs
	$(BIN)/python -m tools.screenshots build/docs

dist: $(VENV)/.installed
	@rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*

# `make release-check TAG=v1.2.3` also compares the tag with the version. release-rehearse allows the placeholders of pyproject.toml.
TAG ?=

release-check: $(VENV)/.installed
	@$(BIN)/python -m tools.release $(if $(TAG),--tag "$(TAG)")

release-rehearse: $(VENV)/.installed
	@$(BIN)/python -m tools.release --rehearse

# The rules of GitHub's workflows and forms, and those of zizmor, which finds what an attacker could use. No network.
workflows: $(VENV)/.installed
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet .github

clean:
	rm -rf build $(VENV) .venv-bench .nox .peers .pythons .coverage .coverage.* $(NODE_MODULES) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
