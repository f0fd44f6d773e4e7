# Needs only Python 3.12 (or 3.11) and make. Every target makes .venv and installs into it first.
PYTHON ?= $(shell sh .ci/python 3.12 3.11)
VENV ?= .venv
# Extra words for pip, e.g. PIP_ARGS="--no-index --find-links wheels".
PIP_ARGS ?=
# What `make campaign` runs: a campaign in flows/configs, or the path of a YAML file.
CONFIG ?= agd-bandgap

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: campaign serve test test-fast test-3.11 test-3.12 test-dft test-slurm check docs bench install clean

campaign: $(INSTALLED)
	$(BIN)/agd run $(CONFIG) $(ARGS)

serve: $(INSTALLED)
	$(BIN)/agd serve $(ARGS)

# Three processes on two cores: many tests wait for servers and jobs.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadscope -m "not dft and not slurm" $(ARGS)

test-fast: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadscope -m "not slow and not flow and not dft and not slurm" $(ARGS)

# The fast tests with one version of Python, in an environment beside .venv.
test-3.11 test-3.12: test-%:
	@$(MAKE) --no-print-directory test-fast VENV=.venv-$* PYTHON="$$(sh .ci/python $*)"

test-dft: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "dft and not slurm" $(ARGS)

# Needs root or any user, and Debian's packages slurmctld, slurmd, munge and slurm-client.
test-slurm: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/dft_inputs/test_slurm.py $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The API reference, one page a module, into build/api.
docs: $(INSTALLED)
	$(BIN)/python -m pdoc --docformat numpy -o build/api structure models dft_inputs tasks flows
	@echo "build/api/index.html"

# One benchmark, e.g. `make bench BENCH=kills`; each writes docs/results/<name>.md.
bench: $(INSTALLED)
	@test -n "$(BENCH)" || { echo "name one with BENCH=...:"; ls benchmarks | sed -n 's/\.py$$//p'; exit 2; }
	$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

install: $(INSTALLED)

# The torch wheel comes first and alone: it is the largest, and pip resolves the rest against it.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "no Python 3.12 or 3.11 with venv was found: install one, or name it, make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing (about two minutes and 2 GB the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

# Leaves campaigns alone: they hold results.
clean:
	rm -rf .venv .venv-3.* .prefect .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build
