# The commands of the README. Each makes its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: pretrain check test test-slow clean

pretrain: $(VENV)/.core
	deepspeed launch/pretrain.py --config roberta_small.yaml

# Seconds when little has changed, a minute from nothing: before every commit.
check: $(VENV)/.dev
	ruff check
	ruff format --check
	mypy

# In the order of the folders: trainings come first, and the many small unit tests fill both workers
# to the end.
test: $(VENV)/.dev
	python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# What is long by nature: a real SLURM, kills of whole grids, races, 120 malformed inputs, and the
# unit tests on faulty sources.
test-slow: $(VENV)/.dev
	python -m pytest -m slow $(PYTEST_ARGS)
	python tests/fuzz/malformed.py --count 120
	python tests/mutants.py

# On a machine without an NVIDIA driver, PyTorch's index of CPU builds saves gigabytes of CUDA.
$(VENV)/.core: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet $$($(PYTHON) launch/torch_index.py) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	python -m pip install --quiet --editable .[dev]
	touch $@

clean:
	rm -rf $(VENV)
