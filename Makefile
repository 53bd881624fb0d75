# make demo | test | lint | docs | bench | clean
#
# Needs Python 3.10 to 3.13, git and make; all else goes into .venv. PYTHON=... names the Python.
# MPI=cluster leaves the MPI wheel out: mpiexec and the MPI library are then those of the machine.

.PHONY: demo test lint docs bench clean
.DELETE_ON_ERROR:

MPI ?= mpi
BIN = .venv/bin
RUN = $(BIN)/python -m
MPIEXEC = $(firstword $(wildcard $(BIN)/mpiexec) mpiexec)
USABLE = import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3 python; do \
	$$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)

demo: .venv/ready-demo
	mkdir -p demo
	$(RUN) drivers.generate cloud -o demo/fleet.h5 --sites 16 --seed 1
	$(MPIEXEC) -n 2 $(RUN) mpi4py -m drivers.solve demo/fleet.h5 -o demo/result.h5 \
		--rel-gap 0.02 --time-limit 120 || test $$? -eq 3
	$(RUN) drivers.check demo/fleet.h5 demo/result.h5
	$(RUN) drivers.report demo/fleet.h5 demo/result.h5 -o "$(CURDIR)/report.html"

test: .venv/ready-dev
	$(RUN) pytest -n 2 --dist worksteal

lint: .venv/ready-dev
	$(RUN) ruff check .
	$(RUN) mypy

docs: .venv/ready-dev
	$(RUN) sphinx -W --keep-going -q -b html docs docs/_build/html

bench: .venv/ready-bench
	$(RUN) drivers.bench

clean:
	rm -rf .venv demo bench build dist *.egg-info report.html docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready-demo: EXTRAS = $(MPI),ingest
.venv/ready-dev: EXTRAS = $(MPI),ingest,test,lint,docs
.venv/ready-bench: EXTRAS = $(MPI),bench

# Modules are compiled when first imported: compiling all of them ahead takes longer than the rest of the set-up.
unexport PYTHONDONTWRITEBYTECODE
.venv/ready-%: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 with its venv module found" \
		"(on Debian: apt install python3-venv); name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --disable-pip-version-check --no-compile --editable ".[$(EXTRAS)]"
	touch $@
