# Every step installs what it needs into .venv; nothing but Python >= 3.11 and make is expected.
PYTHON ?= python3
ROWS ?= 5000000
N ?= 200
SECONDS ?= 60
# So many tests side by side; most of the time of many of them is waiting.
WORKERS ?= 3
ENGINE ?=
BASE ?=
# Extras to install too: columnar (Parquet and Arrow files), otel (OpenTelemetry), or "columnar otel".
EXTRA ?=
BIN := .venv/bin
AXE := tests/browser/node_modules/axe-core/axe.min.js
# Waits for no mirror that does not answer.
APT := apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 -o Dpkg::Use-Pty=0
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps
# A lock file is complete, so --no-deps is right, and every file in it is checked against its hash.
LOCKED := $(PIP) --require-hashes

.DEFAULT_GOAL := help
.PHONY: help install dev demo test check format bench bench-memory bench-memory-store bench-queue bench-pacing bench-web bench-formats simulate kill-test service-kill-test step-test fail-test power-test fault-test network-test fuzz torture soak spark-test monitoring-test browser browser-test screenshots image sbom lock clean full-test

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

install: .venv/installed $(EXTRA:%=.venv/installed-extra-%) ## make .venv with the profile-pipeline command; EXTRA=columnar for Parquet too

dev: .venv/installed-dev ## make .venv with what tests and checks need too

demo: install ## run the whole product on the embedded sandbox
	@$(BIN)/profile-pipeline demo

test: dev ## run all tests
	@$(PYTEST)

full-test: dev ## run all tests with TIMES (10) as much of what they draw: of most of it all, and more examples
	@TIMES=$(or $(TIMES),10) $(PYTEST)

check: dev ## format, lint, spelling, types, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/mypy
	@$(PYTEST)

format: dev ## put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: dev ## measure speed and memory against what people use today, in one run
	@$(BIN)/python -m tests.tools.bench --rows $(ROWS)
	@$(BIN)/python -m tests.tools.bench.costs

bench-memory: dev ## peak memory and evenness of loads of 5 and of 20 million rows
	@$(BIN)/python -m tests.tools.bench.memory

bench-memory-store: dev ## what remembering IDS ids (5 million) costs and saves: loads with [memory] over those without
	@$(BIN)/python -m tests.tools.bench.memory_store --ids $(or $(IDS),5000000) --document docs/benchmarks.md

bench-queue: dev ## what a tiny job of the service costs with 10,000 drops waiting and 100,000 jobs ended
	@$(BIN)/python -m tests.tools.bench.queue

bench-pacing: dev ## time taken over the least possible under Target's limits, on a simulated clock
	@$(BIN)/python -m tests.tools.bench.pacing

bench-web: dev ## how long an answer of the web server takes with JOBS jobs (1,000) of 20 batches in the ledger
	@$(BIN)/python -m tests.tools.bench.web --jobs $(or $(JOBS),1000)

bench-formats: ROWS = 400000
bench-formats: dev ## speed and memory of every kind of export beside plain CSV, and many parts beside one file
	@$(BIN)/python -m tests.tools.bench.formats --rows $(ROWS) --rounds $(or $(ROUNDS),3) --parts --document docs/benchmarks.md

simulate: dev ## N seeded schedules of the real product under crashes, failures and a Target of the worst kind; all mutants
	@$(BIN)/python -m tests.simulation --schedules $(N)

kill-test: dev ## kill a load N times at random moments, and check that nothing is lost or out of order
	@$(BIN)/python -m tests.tools.faults.kills --kills $(N)

service-kill-test: dev ## kill the service N times at random moments, and check that every export is loaded once and in order
	@$(BIN)/python -m tests.tools.faults.service_kills --kills $(N)

step-test: dev ## kill a load at each write, fsync and rename in turn (needs strace)
	@$(BIN)/python -m tests.tools.faults.steps --every

fail-test: dev ## let N writes, flushes and renames of loads and of the service fail, on a full or broken disk (needs strace)
	@$(BIN)/python -m tests.tools.faults.failing --runs $(N)

power-test: dev ## cut the power N times at random moments of loads and of the service (needs strace)
	@$(BIN)/python -m tests.tools.faults.power --cuts $(N)

fault-test: dev ## N seeded loads under random faults
	@$(BIN)/python -m tests.tools.faults.plans --loads $(N)

network-test: dev ## N seeded loads through a network that breaks in every way, by real TCP
	@$(BIN)/python -m tests.tools.faults.network --loads $(N)

fuzz: dev ## SECONDS of bytes of all kinds into whatever reads bytes of others; with atheris where it installs
	@$(LOCKED) -r requirements-fuzz.lock || echo "atheris does not install here (see above): hypothesis makes the inputs"
	@$(BIN)/python -m tests.tools.fuzz --seconds $(SECONDS)

torture: dev ## all faults and attacks, for MINUTES (10) or from SEED on, in one table
	@$(BIN)/python -m tests.tools.torture --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

soak: dev ## serve for MINUTES under faults and restarts: nothing may grow, and every row is accounted for
	@$(BIN)/python -m tests.tools.faults.soak --minutes $(or $(MINUTES),30)

spark-test: dev ## directories as the real Spark writes them are loaded (needs Java)
	@if java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java && "$$java" -version >/dev/null 2>&1; then $(MAKE) --silent --no-print-directory .venv-spark/installed; fi
	@SPARK_PYTHON=$(CURDIR)/.venv-spark/bin/python $(BIN)/pytest tests/e2e/test_spark.py

monitoring-test: dev ## alerts and the dashboard's queries by the real Prometheus, unpacked from Debian's package if it is not there
	@command -v promtool >/dev/null || $(MAKE) --silent --no-print-directory .venv/prometheus/usr/bin/promtool || echo "promtool is not there: install Debian's package prometheus"
	@$(BIN)/pytest tests/test_monitoring.py

browser-test: dev browser ## the pages in a real Chromium, with axe-core; both are installed if they are not there
	@$(PYTEST) tests/browser

browser: ## install Chromium (as root, by apt) and axe-core (by npm) for the tests of the pages, where that can be
	@command -v chromium >/dev/null || $(MAKE) --silent --no-print-directory chromium || echo "chromium is not there: install Debian's package chromium"
	@$(MAKE) --silent --no-print-directory $(AXE) || echo "axe-core is not there: it takes npm and its registry"

screenshots: dev browser ## take the pictures of the pages for README and documents
	@$(BIN)/python -m tests.tools.screenshots --into docs/images

image: dev ## build the container's image and try it: read-only, without shell and network (needs podman or docker)
	@$(BIN)/python -m tests.tools.image $(if $(ENGINE),--engine $(ENGINE)) $(if $(BASE),--base $(BASE)) $(BUILD_OPTIONS)

sbom: dev ## write sbom.cdx.json: packages, versions and licences of what runs (CycloneDX)
	@$(BIN)/python -m tests.tools.sbom

lock: dev ## resolve the lock files anew
	@$(BIN)/python -m tests.tools.lock

clean: ## remove what the other targets made
	rm -rf .venv .venv-spark .mypy_cache .pytest_cache .ruff_cache .hypothesis bench-results tests/browser/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("profile-pipeline needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

.venv/installed: .venv/bin/python requirements.lock pyproject.toml
	@echo "installing into .venv ..."
	@$(LOCKED) -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/installed-extra-%: .venv/installed requirements-%.lock
	@echo "installing the extra $* into .venv ..."
	@$(LOCKED) -r requirements-$*.lock
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@echo "installing what tests and checks need into .venv ..."
	@$(LOCKED) -r requirements-dev.lock
	@touch $@

# Unpacked, not installed: installing it would start a server.
.venv/prometheus/usr/bin/promtool:
	@echo "unpacking Debian's package prometheus into .venv/prometheus ..."
	@mkdir -p .venv/prometheus
	@cd .venv/prometheus && apt-get download prometheus && dpkg-deb --extract prometheus_*.deb .
	@touch $@

# Fetched within a limit of time, and installed without one: what is cut off there is half there.
.PHONY: chromium
chromium:
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null
	@echo "installing chromium ..."
	@{ timeout 30 $(APT) update || true; } 2>/dev/null
	@timeout 60 $(APT) --yes --no-install-recommends --download-only install chromium fonts-dejavu-core
	@DEBIAN_FRONTEND=noninteractive $(APT) --yes --no-install-recommends install chromium fonts-dejavu-core >/dev/null

$(AXE): tests/browser/package-lock.json
	@command -v npm >/dev/null
	@echo "fetching axe-core for the tests of the pages ..."
	@cd tests/browser && timeout 60 npm ci --ignore-scripts --no-audit --no-fund --silent --fetch-retries=0
	@touch $@

# Spark comes as source only, and is built with what was installed first.
.venv-spark/installed: requirements-spark-build.lock requirements-spark.lock
	@echo "installing Spark into .venv-spark ..."
	@$(PYTHON) -m venv .venv-spark
	@$(LOCKED:.venv/%=.venv-spark/%) -r requirements-spark-build.lock
	@$(LOCKED:.venv/%=.venv-spark/%) --no-build-isolation -r requirements-spark.lock
	@touch $@
