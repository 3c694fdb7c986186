# The two commands of the README. Both make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: pretrain test clean

pretrain: $(VENV)/.core
	deepspeed launch/pretrain.py --config roberta_small.yaml

test: $(VENV)/.dev
	python -m pytest $(PYTEST_ARGS)

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
