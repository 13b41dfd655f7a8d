# What people do every day. `make` alone lists it. The first target that needs it builds .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS = 1
PYTHON ?= python3
READY := .venv/complete

.PHONY: help demo test test-slow bench bench-tracking bench-sweep check ui server lock hooks

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## take the embedded domain from raw text to a tested model at `staging`
	@dvc repro
	@vertiform report

test: $(READY)  ## run the tests: the fast ones first, then those that start processes
	@pytest -n 2 -m "not slow" && pytest -n 2 --dist loadfile -m slow

test-slow: $(READY)  ## kill, fill, cut and plant: an hour of faults; docs/reliability.md
	@VERTIFORM_KILL_LOG=reports/kills.txt pytest -m kill tests/training/test_kills.py
	@pytest -m fault tests/faults tests/sweeps

check: $(READY)  ## lint, format, types, walls between the rooms, contract tests: the pre-commit set
	@ruff check . && ruff format --check . && pyrefly check && lint-imports && pytest -n 2 tests/contracts -m "not slow"

bench: $(READY)  ## measure the CPU part beside transformers' Trainer: 15 minutes; docs/benchmarks.md
	@pip install --quiet --no-build-isolation -e ".[demo,bench]" && python -m benchmarks

bench-tracking: $(READY)  ## measure logging, shipping and queries beside MLflow's own: 15 minutes
	@python -m benchmarks.tracking

bench-sweep: $(READY)  ## measure what a sweep costs and spares: 20 minutes, after `make demo`
	@python -m benchmarks.sweep

ui: $(READY)  ## open MLflow's UI on 127.0.0.1:5000 with every run of this folder
	@vertiform ui

server: $(READY)  ## start a team's server (PostgreSQL, accounts): docs/team-server.md; OPTIONS=--help
	@python -m scripts.server $(OPTIONS)

lock: $(READY)  ## write requirements.lock anew from the environment in use
	@python scripts/lock.py

hooks: $(READY)  ## run `make check` before every commit
	@pre-commit install

$(READY): requirements.lock pyproject.toml scripts/bootstrap.py
	@$(PYTHON) scripts/bootstrap.py
