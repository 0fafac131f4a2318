# WaveNAS. `make run` searches, `make test` tests; each first makes the virtual environment it needs.
#   make run   [EXPERIMENT=digits] [CLUSTER=local] [SITE=FILE] [RUN=NAME] [DATA=FOLDER] [ARGS='--set section.key=value …']
#   make resume RUN=NAME [CLUSTER=…] [SITE=…]    make report RUN=NAME    make status RUN=NAME    make bench [PART=…] [DATA=FOLDER]
#   make verify RUN=NAME    make repair RUN=NAME    make trust RUN=NAME
#   make final RUN=NAME    make ablate RUN=NAME    make compare EXPERIMENT=digits [SEEDS=5]
#   make all-stages EXPERIMENT=digits [RUN=NAME] [SEEDS=5] [PAIRS=FOLDER]
#   make transfer RUN=NAME [TO=characters] [DATA=FOLDER]    make transfer RUN=NAME TO=translation DATA=FOLDER

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXPERIMENT ?= digits
READY := $(VENV)/.ready
WHERE = $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(SITE),--site $(SITE))

.PHONY: help setup run doctor resume report status verify repair trust final ablate transfer compare all-stages test test-slow test-faults test-gpu test-slurm test-browser test-docs bench lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

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
resume report status verify repair trust final ablate: $(READY)
	@$(if $(RUN),,echo "error: which run? $@ needs RUN=NAME, a folder in runs/" >&2; exit 2)
	@$(BIN)/python -m pipeline $@ runs/$(RUN) $(WHICH)

transfer: $(READY)
	@$(if $(RUN),,echo "error: which run? $@ needs RUN=NAME, a folder in runs/" >&2; exit 2)
	@$(BIN)/python -m pipeline transfer $(or $(TO),characters) runs/$(RUN) $(if $(DATA),--data $(DATA)) $(WHERE) $(ARGS)

compare: $(READY)
	@$(BIN)/python -m pipeline compare runs/$(or $(RUN),$(EXPERIMENT)-compared) --experiment $(EXPERIMENT) \
	  $(if $(SEEDS),--seeds $(SEEDS)) $(WHERE) $(if $(DATA),--data $(DATA)) $(ARGS)

# A search and all that comes after it, each on the run's own settings; what ended before is not run again. Long stages are for
# who asks: SEEDS=5 for the comparison, which takes minutes for digits and tables alone, PAIRS=FOLDER for translation.
ALL = runs/$(or $(RUN),$(EXPERIMENT)-all)
WAVENAS = @$(BIN)/python -m pipeline
SKIPPED = @echo "$(1): skipped; $(2)"
OWN_TASK = $(findstring --task,$(ARGS))
TABLE = $(filter table,$(EXPERIMENT))
TEXT = $(filter ptb%,$(EXPERIMENT))
# Models that suit the small experiments; without these, those of the paper.
LETTERS ?= $(if $(filter %_small,$(EXPERIMENT)),--set language.parameters=300000 --set language.epochs=2 --set data.num_train=200000)
SENTENCES ?= $(if $(filter %_small,$(EXPERIMENT)),$(addprefix --set translation.,encoder_layers=1 decoder_layers=1 \
  hidden_units=96 embedding_size=64 vocabulary=3000 num_train=6000 epochs=4 batch_size=32 learning_rate=0.003 init_range=0.1))

all-stages: $(READY)
	$(WAVENAS) $(if $(wildcard $(ALL)/config.json),resume $(ALL) $(WHERE), \
	  run --experiment $(EXPERIMENT) --run $(ALL) $(WHERE) $(if $(DATA),--data $(DATA)) $(ARGS))
	$(if $(TABLE)$(OWN_TASK),$(call SKIPPED,final,it is for networks of our own that have a test split),$(WAVENAS) final $(ALL) $(WHERE))
	$(WAVENAS) ablate $(ALL) $(WHERE)
	$(if $(or $(SEEDS),$(TABLE),$(filter digits,$(EXPERIMENT))), \
	  $(WAVENAS) compare $(ALL)/compared --like $(ALL) --seeds $(or $(SEEDS),3) $(WHERE), \
	  $(call SKIPPED,compare,it takes three searches a seed and is asked for by SEEDS=5))
	$(if $(TEXT),$(WAVENAS) transfer characters $(ALL) $(WHERE) $(LETTERS),$(call SKIPPED,transfer characters,it is for cells found on text))
	$(if $(and $(TEXT),$(PAIRS)),$(WAVENAS) transfer translation $(ALL) --data $(PAIRS) $(WHERE) $(SENTENCES), \
	  $(call SKIPPED,transfer translation,$(if $(TEXT),it needs PAIRS=FOLDER,it is for cells found on text)))
	$(if $(TABLE)$(OWN_TASK),$(call SKIPPED,export,it is for networks of our own), \
	  $(if $(wildcard $(ALL)/exported/README.md),$(call SKIPPED,export,$(ALL)/exported is there),$(WAVENAS) export $(ALL) --final --to $(ALL)/exported))
	$(WAVENAS) report $(ALL)

docs/tables.md: pipeline/schemas.py $(READY)
	$(BIN)/python -m pipeline.table_reference > $@

docs/commands.md: $(wildcard pipeline/commands/*.py) pipeline/command_line.py $(READY)
	$(BIN)/python -m pipeline.command_reference > $@

# A process a core, four at most; the tests of a file, which share what they have made, stay together.
test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not gpu and not slow and not slurm and not faults and not browser and not docs"

# Drivers, workers, schedulers and networks that die at any moment, and a long run through it all (WAVENAS_SOAK children).
test-faults: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m faults

# A real Slurm of two small nodes on this machine, for as long as the tests take; needs root.
test-slurm: $(READY)
	$(BIN)/python -m pytest -m slurm -rs

# What takes longer than the quick tier bears: a run looked at while it goes on, pages of the paper's size, measurements.
test-slow: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m slow

# Every command of the documentation, in its order, on tiny settings.
test-docs: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m docs

# Reports in a real Chromium, which apt-get installs where it is missing and the user is root.
test-browser: $(READY)
	$(BIN)/python -m pytest -m browser -rs

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# Half of it needs real data, which DATA or WAVENAS_DATA names: FOLDER/cifar10, FOLDER/ptb, FOLDER/nasbench-macro.
bench: $(READY)
	$(if $(DATA),WAVENAS_DATA=$(DATA)) $(BIN)/python -m bench $(PART)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
