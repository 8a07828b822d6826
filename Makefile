PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Threads that wait by spinning stall each other as soon as two programs share the cores.
export OMP_WAIT_POLICY ?= PASSIVE
# The extra checks of a first install must not run again when nothing changed.
INSTALLED := $(VENV)/.installed

.PHONY: demo test benchmark lint clean

demo: $(INSTALLED)
	$(BIN)/nucplan_demo

test: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m pytest -q --benchmark-disable

benchmark: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/benchmarks --benchmark-only

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
