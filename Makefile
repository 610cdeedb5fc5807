.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "expected Python 3.11 or later; found $$($(PYTHON) --version); set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

SPARK := $(VENV)/.spark
$(SPARK): requirements-spark.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	@touch $(SPARK)

.PHONY: setup spark demo test lint types docs bench bench-accuracy bench-proofs reliability lock help
setup: $(READY)  ## make the virtual environment from requirements.lock

spark: $(SPARK)  ## add PySpark (large; needs Java 17 or later), so that its tests run too

demo: $(READY)  ## simulate a world, train, compare, score, explain, tune; prints where the report is
	$(BIN)/leadscore demo configs/demo.yaml --out models/demo

test: $(READY)  ## run all tests and doctests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(READY)  ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy, strict on src/
	$(BIN)/mypy

docs: $(READY)  ## rebuild the picture and the figures that README and docs/ show
	$(BIN)/python docs/build.py

bench: $(READY)  ## speed beside peers in the same run, printed and written to docs/benchmarks.md
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/explain.py
	$(BIN)/python benchmarks/timeline.py --write
	$(BIN)/python benchmarks/changes.py
	$(BIN)/python benchmarks/causes.py
	$(BIN)/python benchmarks/cards.py
	$(BIN)/python benchmarks/thresholds.py --write

bench-accuracy: $(READY)  ## models beside what others do on unseen leads, printed and written to docs/accuracy.md
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/accuracy

bench-proofs: $(READY)  ## slow proofs on simulated worlds and the real sets, printed and written to docs/accuracy.md
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/accuracy/proofs.py

reliability: $(READY)  ## kills, writers at once and tamperings of published policies, printed and written to docs/reliability.md
	$(BIN)/python benchmarks/reliability.py --write

lock:  ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --generate-hashes --no-emit-index-url --output-file requirements.lock
	echo 'pyspark>=4.0' | uv pip compile - --no-annotate --universal --python-version 3.11 --no-header --generate-hashes --no-emit-index-url --output-file requirements-spark.lock

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16
