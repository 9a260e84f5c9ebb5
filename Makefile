# Everything a developer needs. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
READY := .venv/ready

# Images of Python often forbid it to keep what it compiled. Here every test process and every collector that a test
# starts would compile all our modules anew: an eighth of the time of the suite.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-pure fuzz fuzz-native soak check audit contract croissant strangers floors bench lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# What it takes to run
$(INSTALLED): requirements.lock pyproject.toml setup.py book/speedups.c
	@$(PYTHON) -m venv .venv
	@$(PYTHON) deploy/install.py $(BIN)/pip requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# And to develop
$(READY): $(INSTALLED) requirements-dev.lock
	@$(PYTHON) deploy/install.py $(BIN)/pip requirements-dev.lock
	@touch $@

demo: $(INSTALLED) ## Collect from a local exchange with faults for 20 s, show what was lost, repaired and withheld
	@$(BIN)/python -m sentinel.run.demo

test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -n 4 --dist worksteal

test-pure: $(READY) ## Run all tests without the C extension
	SENTINEL_PURE=1 $(BIN)/python -m pytest -n 4 --dist worksteal

SANITIZED := build/sanitized/speedups.abi3.so
FUZZ_S ?= 60

$(SANITIZED): book/speedups.c $(READY)
	mkdir -p $(@D)
	$(CC) -shared -fPIC -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
		-I$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['include'])") $< -o $@ -lm

fuzz-native: $(SANITIZED) ## Fuzz the C extension under address and undefined-behaviour sanitizers (FUZZ_S seconds)
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		$(BIN)/python -m tests.fuzz.native --seconds $(FUZZ_S) --module $(SANITIZED)

fuzz: $(READY) ## Odd input for every surface (FUZZ_S seconds), then troubles for the pipeline until stopped, or one fails
	$(BIN)/python -m tests.fuzz.everything --seconds $(FUZZ_S)
	$(BIN)/python -m pytest -n 2 -x tests/sentinel/pipeline/test_model.py tests/sentinel/pipeline/test_every_venue.py \
		-k TestTroubles --hypothesis-profile fuzz --timeout 0

SOAK_MINUTES ?= 120
SOAK_RATE ?= 1

soak: $(READY) ## Everything at once for SOAK_MINUTES, with faults and restarts: judged by the truth, and by what grows
	$(BIN)/python -m tests.soak --minutes $(SOAK_MINUTES) --rate $(SOAK_RATE)

check: $(READY) ## Lint, types, import contracts, and that venues stay in their folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_venues_stay_in_their_folders.py

contract: $(READY) ## Hold our InfluxDB requests against the official OpenAPI contract (needs npm)
	npm install --prefix .prism --silent --no-audit --no-fund @stoplight/prism-cli@5.14.2
	$(BIN)/python -m pytest tests/contract

croissant: $(READY) ## Hold the metadata of a data set against Croissant's own validator
	test -d .venv-croissant || $(PYTHON) -m venv .venv-croissant
	.venv-croissant/bin/pip install --quiet --disable-pip-version-check -r tests/croissant/requirements.txt
	$(BIN)/python -m tests.croissant.compare .venv-croissant/bin/python

strangers: $(READY) ## Read an archive in an object store with DuckDB, Polars, ClickHouse and Spark (needs Java)
	test -d .venv-strangers || $(PYTHON) -m venv .venv-strangers
	.venv-strangers/bin/pip install --quiet --disable-pip-version-check -r tests/strangers/requirements.txt
	$(BIN)/python -m tests.strangers.compare .venv-strangers/bin/python

# Without what needs a browser or tools that need newer libraries, and without S3: Arrow of old keeps its sockets open and
# says in other words what is wrong.
floors: ## Run the tests with the oldest of every library that it can use
	test -d .venv-floors || $(PYTHON) -m venv .venv-floors
	.venv-floors/bin/pip install --quiet --disable-pip-version-check -r tests/floors/requirements.txt
	.venv-floors/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-floors/bin/python -m pytest -n 4 --dist worksteal tests/book tests/feeds tests/sentinel \
		--ignore tests/sentinel/monitor/api --ignore tests/sentinel/test_object_store.py \
		--ignore tests/sentinel/archive/test_upload.py --ignore tests/sentinel/archive/test_uploading.py \
		--deselect tests/sentinel/plots/test_plots.py::test_the_example_notebook_runs

# --strict: without it, packages that the advisory service could not be asked about count as sound.
audit: ## Ask whether a known vulnerability is in what is pinned to run (needs pypi.org or OSV)
	test -d .venv-audit || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

bench: $(READY) ## Rerun every benchmark and write bench/RESULTS.md
	$(BIN)/python -m bench.results

# One resolution for every Python and platform of ours, with the hashes of all files, and without the name of an index.
RESOLVE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--no-annotate --no-emit-index-url --generate-hashes --custom-compile-command "make lock" pyproject.toml

lock: ## Resolve the dependencies anew and pin them: requirements.lock to run, requirements-dev.lock to develop
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	$(RESOLVE) --upgrade --extra cluster --output-file requirements.lock >/dev/null
	$(RESOLVE) --upgrade --all-extras --constraint requirements.lock --output-file requirements-dev.lock >/dev/null
	rm -rf .venv-lock

clean: ## Remove everything that was made here
	rm -rf book/*.so .venv .venv-audit .venv-bench .venv-croissant .venv-floors .venv-lock .venv-strangers .prism build *.egg-info demo-data .mypy_cache .ruff_cache .import_linter_cache .hypothesis
