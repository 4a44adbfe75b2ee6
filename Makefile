# Everything a stranger needs: `make demo` and `make test` install what they use into .venv.
#
# torch: the CPU build is enough and ten times smaller. It is taken from TORCH_INDEX where that answers, else from the
# package index. For a GPU:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cu126  (or TORCH_INDEX= for PyPI's).
PYTHON ?= python3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
VENV ?= .venv
BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
# Work on two cores is measured with two threads; more only fight.
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-slow check install install-dev clean help
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: install  ## install, fetch the embedded models, build a model for examples/, offline, and show the report's path
	$(BIN)/p2m pull
	rm -rf runs/demo
	$(BIN)/p2m run $(DEMO_TASK) --out runs/demo --seed 0
	@echo
	$(BIN)/p2m log runs/demo | tail -n 40
	$(BIN)/p2m predict runs/demo $(DEMO_TEXT)
	@echo "report: runs/demo/report.html"

# Test processes at once; each trains with all cores, so more than two mostly wait for each other.
JOBS ?= 2

DEMO_TASK ?= examples/question-type.md
DEMO_TEXT ?= "Who was the first woman to fly across the Atlantic alone?"

test: install-dev  ## install and pass the tests (under 12 minutes on 2 cores)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/p2m pull all-minilm-l6-v2 smollm2-135m
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: install-dev  ## the checks that take minutes: the embedded planner, kill -9, the wheel
	$(BIN)/p2m pull
	$(BIN)/python -m pytest -m slow --timeout 3000

check:  ## lint, types, layers
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

install: $(VENV)/.installed  ## p2m alone

install-dev: $(VENV)/.installed-dev  ## p2m and what its tests need

$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "p2m needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(BIN)/python -c 'import torch' 2>/dev/null \
	  || { test -n "$(TORCH_INDEX)" && $(BIN)/python -m pip install -q --retries 0 --timeout 15 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null; } \
	  || $(BIN)/python -m pip install -q $(TORCH)
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## remove what this Makefile made
	rm -rf $(VENV) runs/demo build dist *.egg-info

# Every kind of student against transformers.Trainer: about half an hour on two quiet cores.
KINDS ?= classify few_shot multi_label extract read score generate lora seq2seq
bench-train-speed:  ## measure the training of every kind against transformers.Trainer (needs the extra bench)
	for kind in $(KINDS); do \
	  name=train_speed_$$kind; [ $$kind = classify ] && name=train_speed; \
	  $(BIN)/python benchmarks/train_speed.py --kind $$kind --fast --json benchmarks/results/$$name.json || exit 1; \
	done
	$(BIN)/python benchmarks/update_readme.py
.PHONY: bench-train-speed
