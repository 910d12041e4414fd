# Every target does its own set-up; `make` alone lists them. Only Python 3.11 and make are needed.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCK   ?= requirements/cpu.txt
ARGS   ?=

# Set-up is done once, and again when a lock file or the project's own metadata changed: these files remember.
RUNTIME := $(VENV)/.runtime-installed
DEV     := $(VENV)/.dev-installed

PACKAGES := ranker training serving feature_store
# Without those that take hours, or half of one, or a GPU.
BENCHMARKS = $(patsubst benchmarks/%.py,%,$(filter-out %/__init__.py %/comparison.py %/soak.py %/gpu.py,$(wildcard benchmarks/*.py)))

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What pip would do, but on every core. `|| true`: some packages carry files that only a newer Python compiles.
COMPILE_BYTECODE = $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true

.PHONY: help install demo test test-slow lint format lock bench bench-weighting bench-train bench-features bench-catalogue bench-serve bench-comparison bench-engine bench-faults soak fuzz serve docs containers clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(DEV) ## Create .venv from the lock files; the other targets call this (LOCK=requirements/gpu.txt for CUDA)

$(RUNTIME): $(LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --no-compile -r $(LOCK)
	$(COMPILE_BYTECODE)
	@$(BIN)/python -c "import torch" || { echo "torch does not load. $(LOCK) wants PyTorch's CPU wheels: point" \
	  "PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS at them (CONTRIBUTING.md, Set-up), remove $(VENV), repeat." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile -r requirements/dev.txt
	$(COMPILE_BYTECODE)
	@touch $@

demo: $(RUNTIME) ## The whole path on simulated data: train, publish, serve, rank, change the weights live
	$(BIN)/python -m scripts.demo $(ARGS)

test: $(DEV) ## Quick tests and doctests, warnings as errors, coverage printed (ARGS="-k fusion" narrows)
	$(BIN)/python -m pytest $(PACKAGES:%=--cov=%) --cov-report=term $(ARGS)

test-slow: $(DEV) ## The tests that take minutes each
	$(BIN)/python -m pytest -m slow --timeout=3600 $(ARGS)

lint: $(DEV) ## ruff, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## Apply formatting and the fixes that ruff is sure of
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One resolution for everything: gpu.txt. The others are cut from it, so that versions cannot differ between them:
# cpu.txt is gpu.txt without the accelerator's packages, serving.txt what the server needs of it, dev.txt the rest.
COMPILE     = $(abspath $(BIN))/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate $(UPGRADE)
ACCELERATOR = ^(nvidia|cuda|triton)
lock: $(DEV) ## Renew the lock files from requirements/*.in (UPGRADE=--upgrade for the newest versions)
	cd requirements && $(COMPILE) serving.in training.in gpu.in -o gpu.txt
	cd requirements && sed -E 's/^fbgemm-gpu==/fbgemm-gpu-cpu==/; /$(ACCELERATOR)/d' gpu.txt > cpu.txt
	cd requirements && $(COMPILE) serving.in -c gpu.txt | sed -E '/$(ACCELERATOR)/d' > serving.txt
	cd requirements && $(COMPILE) dev.in -c gpu.txt -o dev.txt
	cd requirements && grep -vxFf gpu.txt dev.txt > dev.tmp && mv dev.tmp dev.txt

bench: $(DEV) ## Every benchmark; figures go to benchmarks/results/
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; done

bench-weighting: $(DEV) ## Step time and memory of every balancing method
	$(BIN)/python -m benchmarks.weighting $(ARGS)

bench-features: $(DEV) ## Reading features of 500 items: LMDB and Redis against Feast
	$(BIN)/python -m benchmarks.feature_store $(ARGS)

bench-catalogue: $(DEV) ## What a thousand to a million items cost, with ten million users: table, start-up, latency
	$(BIN)/python -m benchmarks.catalogue $(ARGS)

bench-train: $(DEV) ## Training speed against torch-rechub and DeepCTR-Torch, and against matrix products alone
	$(BIN)/python -m benchmarks.train $(ARGS)

bench-serve: $(DEV) ## Speed of /rank against LitServe, BentoML, Ray Serve, TorchServe, and Starlette with onnxruntime
	$(BIN)/python -m benchmarks.serve $(ARGS)

bench-engine: $(DEV) ## Forward time of one request: naive TorchScript, ours, AOTInductor, onnxruntime, and the floor
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.engine $(ARGS)

bench-faults: $(DEV) ## Hurt running servers in every way that we know, and print what their callers saw
	$(BIN)/python -m benchmarks.faults $(ARGS)

soak: $(DEV) ## Half an hour at 70 % of the peak, with new models and features meanwhile: percentiles, errors, memory
	$(BIN)/python -m benchmarks.soak $(ARGS)

fuzz: $(DEV) ## 50,000 requests, right and wrong, to a running server: no 5xx, no hang
	$(BIN)/python -m scripts.fuzz $(ARGS)

bench-comparison: $(DEV) ## Every architecture and balance on the real data sets, into docs/comparison.md; hours, resumes
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.comparison --workers 2 $(ARGS)

serve: $(RUNTIME) ## Serve the registry that RANKER_REGISTRY names (ARGS="--help" lists the options)
	$(BIN)/ranker-serve run $(ARGS)

docs: $(DEV) ## Check the documentation: links between files, and the examples in docstrings
	$(BIN)/python -m pytest --no-cov -q tests/test_readme.py $(PACKAGES) $(ARGS)

containers: $(DEV) ## Build the images for real, without an engine or a registry, and ask the server to rank
	docker/build.sh $(ARGS)

clean: ## Remove what the targets made: .venv, caches, demo, runs
	rm -rf $(VENV) build demo runs *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
