# Every command of the project; `make help` lists them.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SITE := build/_build/html/index.html
# Two notebooks at a time, one thread each: more threads than cores make small matrices crawl.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --nbval -n 2 --dist loadfile

.PHONY: help book test lab notebooks address bench clean
.DEFAULT_GOAL := help

help: ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1: /' | column -t -s:

book: $(STAMP) ## build the static site into build/ and print the page to open
	$(BIN)/jupyter-book build . --toc book/_toc.yml --path-output build -W -n --keep-going
	@echo "Open $(abspath $(SITE))"

test: $(STAMP) ## run the unit tests and every notebook, stored outputs against fresh ones
	$(PYTEST)

lab: $(STAMP) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(STAMP) ## run every notebook in place and store its outputs
	$(BIN)/python tools/notebooks.py $(ONLY)

address: $(STAMP) ## set the repository's public address everywhere, as in URL=…
	$(BIN)/python tools/address.py $(URL)

bench: $(STAMP) ## measure the training loop beside the textbook loop
	$(BIN)/python benchmarks/bench.py

clean: ## remove the site, the runs and the caches, not the environment
	rm -rf build runs notebooks/runs .pytest_cache .ruff_cache

$(STAMP): requirements.txt constraints.txt pyproject.toml
	python3 -m venv $(VENV) || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $(STAMP)
