# Every command of the project; `make help` lists them.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TEST_STAMP := $(VENV)/installed-for-tests
SITE := _build/html/index.html
# Two processes of one thread each: more threads than cores make small matrices crawl.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: help book check format test test-all lab notebooks readme address bench stale clean
.DEFAULT_GOAL := help

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1: /' | column -t -s:

book: $(STAMP) ## build the static site and print the page to open
	$(BIN)/jupyter-book build . -W --keep-going
	@echo "Open $(abspath $(SITE))"

check: $(TEST_STAMP) ## lint, formatting (notebooks too) and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TEST_STAMP) ## bring code, notebooks too, into the form that check wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(TEST_STAMP) ## unit tests, every notebook against its stored outputs, the site in a browser
	$(PYTEST) --nbval tests/unit tests/site notebooks

test-all: $(TEST_STAMP) ## all of that, and killed runs and broken files
	$(PYTEST) --nbval tests notebooks

lab: $(STAMP) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(STAMP) ## run every notebook in place and store its outputs, or those in ONLY="01 08"
	$(BIN)/python -m scripts.notebooks $(ONLY)

readme: $(STAMP) ## write the stored results into the README's table
	$(BIN)/python -m scripts.results_table

address: $(STAMP) ## set the repository's public address everywhere, as in URL=…
	$(BIN)/python -m scripts.set_address $(URL)

bench: $(STAMP) ## measure the training loop beside the textbook loop
	$(BIN)/python -m experiments.bench

stale: $(STAMP) ## list stored results whose code has changed since
	$(BIN)/python -m experiments.stale

clean: ## remove the site, the runs and the caches, not the environment
	rm -rf _build runs notebooks/runs .pytest_cache .ruff_cache .mypy_cache

$(STAMP): requirements.txt constraints.txt pyproject.toml
	python3 -m venv $(VENV) || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $(STAMP)

$(TEST_STAMP): $(STAMP) tests/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement tests/requirements.txt --constraint constraints.txt
	touch $(TEST_STAMP)
