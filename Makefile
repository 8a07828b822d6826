PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
# Test files that run side by side; each may take two cores and 4 GiB.
WORKERS ?= 2
# OpenMP threads that spin for long while they wait stall each other as soon as two programs share the cores.
export GOMP_SPINCOUNT ?= 10000
# Newer than what it was made from: the second call of a target starts at once.
INSTALLED := $(VENV)/.installed

.PHONY: demo test benchmark lint clean

demo: $(INSTALLED)
	$(BIN)/nucplan_demo

test: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m pytest -q --benchmark-disable --numprocesses $(WORKERS) --dist loadfile

benchmark: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/benchmarks --benchmark-only

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
