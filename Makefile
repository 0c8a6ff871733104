# Quickstep. `make` alone lists the targets. Needs Python 3.11 or newer with pip; the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench bench-tables bench-sensitivity build oracle events lock clean

help: ## List what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## Scale a simulated endpoint under generated traffic, with no AWS account. Leaves out/report.html and out/result.json.
	@$(BIN)/quickstep simulate --scenario examples/scenarios/demo.yaml --json out/result.json --html out/report.html

test: lint ## Lint, then run all tests but the long tail; offline once .venv is there.
	@$(BIN)/python -m pytest -n 2

lint: $(VENV)/.ready ## Check style, import order and the purity of the decision.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

docs: $(VENV)/.ready ## Write the generated part of README.md again, from template.yaml.
	@$(BIN)/python -m simulator.reference

bench: $(VENV)/.ready ## The short benchmark: ours and three peers on two generated days. Leaves out/bench.html and out/bench.json.
	@$(BIN)/quickstep bench --slices G1,G4 --policies quickstep,quickstep-managed,aas-tt-10s,k8s-hpa,aibrix-apa-documented,clairvoyant-plan \
	  --json out/bench.json --html out/bench.html

bench-tables: $(VENV)/.ready ## Write the tables of docs/benchmark.md again; RESULT=out/bench.json takes a result in first (NAME=main).
	@$(BIN)/python benchmarks/tables.py $(if $(RESULT),--result $(RESULT)) $(if $(NAME),--name $(NAME))

bench-sensitivity: $(VENV)/.ready ## Run the benchmark with one constant changed at a time: TRACES=DIR SLICES=P2,P3,P5
	@$(BIN)/python benchmarks/sensitivity.py $(if $(TRACES),--traces $(TRACES)) $(if $(SLICES),--slices $(SLICES))

build: ## Run sam validate and sam build, without Docker. ARCH=x86_64 or ARCH=arm64 leaves the other out of the layer.
	@ARCH="$(ARCH)" PYTHON="$(PYTHON)" tools/build.sh

oracle: $(VENV)/.ready ## Compare our emulation with what others wrote (own environments; says what was not run).
	@tests/oracle/run.sh
	@tests/oracle/asl_validator.sh

events: $(VENV)/.ready ## Render events/ into out/events for sam remote invoke: STACK= REGION= ACCOUNT= ENDPOINT= COMPONENT= or VARIANT=
	@$(BIN)/python -m simulator.cli.render_events --out out/events --stack "$(or $(STACK),quickstep)" --region "$(REGION)" \
	  --account "$(ACCOUNT)" --endpoint "$(ENDPOINT)" --component "$(COMPONENT)" --variant "$(VARIANT)"

lock: ## Resolve both lock files again; UPGRADE=1 takes the newest versions that are allowed.
	@PYTHON="$(PYTHON)" tools/lock.sh

clean: ## Remove everything that was made but the environments.
	@rm -rf out .aws-sam build dist .pytest_cache .ruff_cache .hypothesis

$(VENV)/.ready: pyproject.toml requirements-dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Quickstep needs Python 3.11 or newer: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Quickstep needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the pinned environment into $(VENV): about a minute, once."
	@$(PIP) install --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
