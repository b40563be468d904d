# relidar: `make demo` shows the whole product, `make test` runs the tests. Both set up everything they need in .venv.
PYTHON ?= python3.11
PY := .venv/bin/python
EXTRAS := train,export,vehicle,rtx,ros-wheels,dev

.PHONY: setup demo test check bench soak

setup: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade "pip>=24"
	$(PY) -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

demo: setup
	$(PY) -m distill.demo

test: setup
	$(PY) -m pytest

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Side by side with spconv and others in one run -> results/bench.json; RELIDAR_DATA adds real scans, a bundle the labels of int8.
bench: setup
	$(PY) -m pip install --quiet --editable ".[$(EXTRAS),bench]"
	RELIDAR_BUNDLE="$(or $(RELIDAR_BUNDLE),$(wildcard runs/demo/bundle))" $(PY) -m pytest tests/benchmarks -m bench -s

# The real node under clouds of every kind, changes of words and bundles, and publishers that come and go.
soak: setup
	$(PY) -m tests.soak --minutes $(or $(SOAK_MINUTES),30) --out runs/soak/verdict.json
