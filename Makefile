# minizero. `make` shows the targets. Nothing but Python >= 3.11 and make needs to be there; uv is used when it is.
SHELL := /bin/bash
MODEL ?= tiny
ARGS ?=
RUN ?= $(shell ls -td runs/*/ 2>/dev/null | head -n 1)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# A folder of wheels on this machine, when pip is set up with one; uv has to be told.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")

.PHONY: help install selfplay resume replay watch report test test-slow check bench tiny-model clean-runs

help:  ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  MODEL=Qwen2.5-Coder-3B chooses a model, ARGS="--set optim.lr=2e-5" passes arguments, RUN=runs/... a run.'

define install
	@test -x $(BIN)/python || $(if $(UV),$(UV) venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	@echo "installing minizero$(1) into $(VENV) (the first time: 1 to 10 minutes)"
	@$(if $(UV),$(UV) pip install -q --python $(BIN)/python $(FIND_LINKS),$(BIN)/python -m pip install -q --disable-pip-version-check) \
		-c constraints.txt -e '.$(1)'
endef

$(VENV)/installed: pyproject.toml constraints.txt
	$(call install)
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(call install,[dev,rewards])
	@touch $@ $(VENV)/installed

install: $(VENV)/installed  ## Make .venv with what a CPU needs

selfplay: $(VENV)/installed  ## Train MODEL by self-play (default: the built-in tiny model, on the CPU, minutes)
	@$(BIN)/minizero selfplay $(MODEL) $(ARGS)

resume: $(VENV)/installed  ## Continue RUN (default: the newest)
	@$(BIN)/minizero selfplay --resume $(RUN) $(ARGS)

replay: $(VENV)/installed  ## Read what the model wrote in RUN
	@$(BIN)/minizero replay $(RUN) $(ARGS)

watch: $(VENV)/installed  ## Follow RUN while it runs elsewhere
	@$(BIN)/minizero watch $(RUN)

report: $(VENV)/installed  ## Write report.html of RUN
	@$(BIN)/minizero report $(RUN)

test: $(VENV)/installed-dev  ## Run the tests (CPU, minutes)
	@$(BIN)/python -m pytest -m "not slow and not real" $(ARGS)

test-slow: $(VENV)/installed-dev  ## Run the long tests too
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-dev  ## Style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy minizero sandbox

bench: $(VENV)/installed-dev  ## Run the benchmarks that need minutes
	@for script in benchmarks/*_bench.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

tiny-model: $(VENV)/installed  ## Train the built-in tiny model anew (about an hour; writes tiny-model/)
	@$(BIN)/python -m minizero.tiny.train --out tiny-model $(ARGS)

clean-runs:  ## Delete runs/, after asking
	@read -r -p "Delete $$(ls runs 2>/dev/null | wc -l) runs? [y/N] " answer && [ "$$answer" = y ] && rm -rf runs
