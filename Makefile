# Needs only Python 3.11 (or 3.12) and make. Every target makes .venv and installs into it first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Extra words for pip, e.g. PIP_ARGS="--no-index --find-links wheels".
PIP_ARGS ?=
# What `make campaign` runs: a campaign in flows/configs, or the path of a YAML file.
CONFIG ?= agd-bandgap

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: campaign serve test test-dft test-slurm check bench install clean

campaign: $(INSTALLED)
	$(BIN)/agd run $(CONFIG) $(ARGS)

serve: $(INSTALLED)
	$(BIN)/agd serve $(ARGS)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m "not dft and not slurm" $(ARGS)

test-dft: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "dft and not slurm" $(ARGS)

# Needs root or any user, and Debian's packages slurmctld, slurmd, munge and slurm-client.
test-slurm: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/dft_inputs/test_slurm.py $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One benchmark, e.g. `make bench BENCH=kills`; each writes docs/results/<name>.md.
bench: $(INSTALLED)
	@test -n "$(BENCH)" || { echo "name one with BENCH=...:"; ls benchmarks | sed -n 's/\.py$$//p'; exit 2; }
	$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

install: $(INSTALLED)

# The torch wheel comes first and alone: it is the largest, and pip resolves the rest against it.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "installing (about two minutes and 2 GB the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

# Leaves campaigns alone: they hold results.
clean:
	rm -rf .venv .prefect .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build
