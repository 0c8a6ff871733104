# Quickstep. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARCH ?= arm64
STACK ?= quickstep
REGION ?= eu-west-1
ACCOUNT ?= 111122223333
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help demo test lint build oracle events lock clean

help: ## What can be made.
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Quickstep needs Python 3.11 or newer, this is %d.%d; set PYTHON=python3.12 or similar" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned development environment into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/.ready ## The main job on generated traffic, on the emulated account; leaves out/report.html and out/result.json.
	@$(BIN)/quickstep simulate --trace generated:demo --scenario examples/scenarios/demo.yaml --json $(OUT)/result.json --html $(OUT)/report.html

test: lint ## Everything but the long tail, offline.
	@$(BIN)/python -m pytest -n 2

lint: $(VENV)/.ready ## Style, purity of the decision, and import order.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

build: ## sam validate and sam build for ARCH=arm64|x86_64 (needs python3.13 on PATH; no Docker).
	@tools/build.sh $(ARCH)

oracle: ## Compare our emulation with implementations that others wrote (own environments; says what was not run).
	@tests/oracle/run.sh
	@tests/oracle/asl_validator.sh

events: $(VENV)/.ready ## Render events/*.json for sam remote invoke: STACK= REGION= ACCOUNT= ENDPOINT= COMPONENT=.
	@$(BIN)/python -m simulator.cli.render_events --out $(OUT)/events --stack $(STACK) --region $(REGION) --account $(ACCOUNT) --endpoint "$(ENDPOINT)" --component "$(COMPONENT)"

lock: ## Resolve requirements-dev.lock again, for Python 3.11 and newer.
	@tools/lock.sh

clean: ## Remove what was made, but not the environment.
	@rm -rf $(OUT) .aws-sam build dist .pytest_cache .ruff_cache
