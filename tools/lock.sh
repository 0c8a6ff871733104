#!/usr/bin/env bash
# Resolve the development environment for every supported Python into requirements-dev.lock.
set -euo pipefail
cd "$(dirname "$0")/.."
tools_venv="$(mktemp -d)"
trap 'rm -rf "$tools_venv"' EXIT
"${PYTHON:-python3}" -m venv "$tools_venv"
"$tools_venv/bin/python" -m pip install --quiet 'uv>=0.9,<1'
"$tools_venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
  --extra simulator --extra dev pyproject.toml --output-file requirements-dev.lock
sed -i '1i # Made by `make lock` from pyproject.toml; do not edit.' requirements-dev.lock
"$tools_venv/bin/uv" pip compile --quiet --python-version 3.13 --no-header --no-annotate --no-emit-index-url \
  --python-platform aarch64-manylinux2014 layers/core/requirements.txt --output-file layers/core/requirements.lock
sed -i '1i # Made by `make lock` from requirements.txt; do not edit.' layers/core/requirements.lock
