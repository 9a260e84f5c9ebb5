# Everything a developer needs. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: help demo test fuzz check contract bench lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY) ## Collect from the local exchange for 20 s, then show what is stored and what is missing
	$(BIN)/python -m sentinel.run.demo

test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -n 4 --dist worksteal

fuzz: $(READY) ## Play sequences of troubles against the pipeline until stopped, or one fails
	$(BIN)/python -m pytest tests/sentinel/pipeline/test_model.py --hypothesis-profile fuzz --timeout 0

check: $(READY) ## Lint, types, import contracts, and that venues stay in their folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_venues_stay_in_their_folders.py

contract: $(READY) ## Hold our InfluxDB requests against the official OpenAPI contract (needs npm)
	npm install --prefix .prism --silent --no-audit --no-fund @stoplight/prism-cli@5.14.2
	$(BIN)/python -m pytest tests/contract

bench: $(READY) ## Rerun every benchmark and write bench/RESULTS.md
	$(BIN)/python -m bench.results

lock: ## Resolve the dependencies anew and pin them
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check '.[dev]'
	.venv-lock/bin/pip freeze --exclude sentinel-ws | LC_ALL=C sort -f > requirements.lock
	rm -rf .venv-lock build *.egg-info

clean: ## Remove everything that was made here
	rm -rf .venv .venv-bench .venv-lock .prism build *.egg-info demo-data .mypy_cache .ruff_cache .import_linter_cache .hypothesis
