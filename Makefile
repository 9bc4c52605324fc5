# Everything a developer types. `make help` explains.
#
#   VENV=path       where the virtual environment lives (default .venv)
#   CONSTRAINTS=file the version of every package (default constraints.txt)
#   PYTHON=command  the Python it is made from (default python3.11, else python3; 3.11 or newer)
#   ARGS='...'      passed on to the command, for example: make train ARGS='model_config.training_config.max_epochs=2'

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONSTRAINTS ?= constraints.txt
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile -c $(CONSTRAINTS)
# All processors at once, where pip takes one. What fails are modules of packages that are for another Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
# Two test processes, one thread each: more threads than cores make PyTorch slower, not faster.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help train track test test-oldest soak mutants golden screenshots lint house keys format bench bench-gpu speedrun results notebooks docs docs-serve clean
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# One stamp for each extra: a second call installs nothing unless pyproject.toml or the constraints changed.
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-%: $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	@echo "Installing tabstar_lit[$*] into $(VENV) (minutes the first time)"
	$(INSTALL) -e '.[$*]'
	@$(COMPILE)
	@touch $@

train: $(VENV)/.installed-encoder ## install, then pretrain on built-in tables (ARGS='key=value ...')
	$(BIN)/train_tabstar $(ARGS)

track: $(VENV)/.installed-encoder ## open the MLflow UI over the runs (ARGS='-p 5001')
	$(BIN)/track $(ARGS)

test: $(VENV)/.installed-test ## install the test tools and run every test (ARGS='-k name')
	$(PYTEST) $(ARGS)

test-oldest: ## the same with the oldest packages that pyproject.toml allows, in .venv-oldest
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt ARGS='$(ARGS)'

soak: $(VENV)/.installed-test ## the proofs that take minutes each (ARGS='-k name')
	$(PYTEST) -m soak $(ARGS)

mutants: $(VENV)/.installed-mutants ## change the source in 300 small ways, one at a time: which do the tests notice?
	OMP_NUM_THREADS=1 $(BIN)/python tests/support/mutants.py $(ARGS)

golden: $(VENV)/.installed-test ## store the loss curves of the defaults anew, after a change that is meant to move them
	$(BIN)/python tests/golden/remake.py

screenshots: $(VENV)/.installed-test ## take the pictures of terminal and browser in the docs anew (needs Chromium)
	$(BIN)/python docs/images/remake.py

lint: $(VENV)/.installed-dev ## style, types, architecture, spelling, stale schemas and tables
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tabstar_lit.commands.schemas --check

house: $(VENV)/.installed-test ## count files, functions, imports of every room; name what breaks the budget
	$(BIN)/python tests/support/house.py

keys: $(VENV)/.installed-dev ## write the JSON Schemas and the tables of keys anew
	$(BIN)/python -m tabstar_lit.commands.schemas --write

format: $(VENV)/.installed-dev ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-test ## speed, one line per figure: BENCH name=value
	$(BIN)/python -m benchmarks.bench $(ARGS)

bench-gpu: $(VENV)/.installed-test ## speed on a graphics card (ARGS='--data FOLDER'; without one: ARGS='--tiny --device cpu')
	$(BIN)/python -m benchmarks.gpu $(ARGS)

speedrun: $(VENV)/.installed-test ## seconds to a fixed score; RECORDS.md has the best (ARGS='key=value ...')
	$(BIN)/python -m benchmarks.speedrun $(ARGS)

results: $(VENV)/.installed-test ## quality experiments: RESULT name=value, and docs/results.md
	$(BIN)/python -m benchmarks.results $(ARGS)

notebooks: $(VENV)/.installed-test ## write the notebooks of docs/tutorials anew from their scripts
	$(BIN)/jupytext --quiet --to ipynb docs/tutorials/*.py

docs: $(VENV)/.installed-docs ## build the documentation into site/, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.installed-docs ## read the documentation while writing it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

clean: ## remove the virtual environment, caches and built files; runs/ stays
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
