# WaveNAS. `make run` searches, `make test` tests; each first makes the virtual environment it needs.
#   make run   [EXPERIMENT=digits] [CLUSTER=local] [SITE=FILE] [RUN=NAME] [DATA=FOLDER] [ARGS='--set section.key=value …']
#   make resume RUN=NAME [CLUSTER=…] [SITE=…]    make report RUN=NAME    make status RUN=NAME    make bench [PART=…]
#   make verify RUN=NAME    make repair RUN=NAME
#   make final RUN=NAME    make ablate RUN=NAME    make compare EXPERIMENT=digits [SEEDS=5]    make all-stages EXPERIMENT=digits
#   make transfer RUN=NAME [TO=characters] [DATA=FOLDER]    make transfer RUN=NAME TO=translation DATA=FOLDER

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXPERIMENT ?= digits
READY := $(VENV)/.ready
WHERE = $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(SITE),--site $(SITE))

.PHONY: help setup run doctor resume report status verify repair final ablate transfer compare all-stages test test-faults test-gpu test-slurm bench lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

setup: $(READY)

# torch and torchvision first: the others must not pull in another build of them.
$(READY): pyproject.toml
	@echo "Installing into $(VENV): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet $$(sed -n 's/^ *"\(torch[a-z]*==[0-9.]*\)".*/\1/p' pyproject.toml)
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

run: $(READY)
	@$(BIN)/python -m pipeline run --experiment $(EXPERIMENT) $(if $(RUN),--run runs/$(RUN)) \
	  $(WHERE) $(if $(DATA),--data $(DATA)) $(ARGS)

doctor: $(READY)
	@$(BIN)/python -m pipeline doctor --experiment $(EXPERIMENT) $(WHERE) $(if $(DATA),--data $(DATA)) $(ARGS)

resume final ablate: WHICH = $(WHERE) $(ARGS)
resume report status verify repair final ablate: $(READY)
	@$(if $(RUN),,echo "error: which run? $@ needs RUN=NAME, a folder in runs/" >&2; exit 2)
	@$(BIN)/python -m pipeline $@ runs/$(RUN) $(WHICH)

transfer: $(READY)
	@$(if $(RUN),,echo "error: which run? $@ needs RUN=NAME, a folder in runs/" >&2; exit 2)
	@$(BIN)/python -m pipeline transfer $(or $(TO),characters) runs/$(RUN) $(if $(DATA),--data $(DATA)) $(WHERE) $(ARGS)

compare: $(READY)
	@$(BIN)/python -m pipeline compare runs/$(or $(RUN),$(EXPERIMENT)-compared) --experiment $(EXPERIMENT) \
	  $(if $(SEEDS),--seeds $(SEEDS)) $(WHERE) $(if $(DATA),--data $(DATA)) $(ARGS)

# A search and all that comes after it. What ended before is not run again; a comparison where it takes minutes, or with SEEDS.
ALL = $(or $(RUN),$(EXPERIMENT)-all)
all-stages: $(READY)
	@if [ -e runs/$(ALL)/config.json ]; then $(BIN)/python -m pipeline resume runs/$(ALL) $(WHERE); \
	  else $(MAKE) --no-print-directory run RUN=$(ALL); fi
	@$(if $(filter table,$(EXPERIMENT)),,$(BIN)/python -m pipeline final runs/$(ALL) $(WHERE))
	@$(BIN)/python -m pipeline ablate runs/$(ALL) $(WHERE)
	@$(if $(or $(SEEDS),$(filter digits table,$(EXPERIMENT))),$(MAKE) --no-print-directory compare \
	  RUN=$(ALL)-compared SEEDS=$(or $(SEEDS),3))

docs/tables.md: pipeline/schemas.py $(READY)
	$(BIN)/python -m pipeline.table_reference > $@

# A process a core, four at most; the tests of a file, which share what they have made, stay together.
test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not gpu and not slow and not slurm and not faults"

# Drivers, workers, schedulers and networks that die at any moment, and a long run through it all (WAVENAS_SOAK children).
test-faults: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m faults

# A real Slurm of two small nodes on this machine, for as long as the tests take; needs root.
test-slurm: $(READY)
	$(BIN)/python -m pytest -m slurm -rs

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

bench: $(READY)
	$(BIN)/python -m bench $(PART)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
