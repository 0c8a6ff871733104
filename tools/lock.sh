#!/usr/bin/env bash
# Resolve the lock files again: the development environment for every supported Python, and for one Python the layer and
# the environments of `make e2e` and `make coldstart`.
# Pins stay where they still fit; UPGRADE=1 takes the newest versions that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "$0")/.."
resolver=$(mktemp -d)
trap 'rm -rf "$resolver"' EXIT
"${PYTHON:-python3}" -m venv "$resolver"
"$resolver/bin/python" -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'

resolve() { # source, lock, arguments of uv
  local source=$1 lock=$2
  shift 2
  "$resolver/bin/uv" pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
    ${UPGRADE:+--upgrade} "$@" "$source" --output-file "$lock"
  printf '%s\n%s\n' "# Made by \`make lock\` from $(basename "$source"); do not edit." "$(cat "$lock")" >"$lock"
}

resolve pyproject.toml requirements-dev.lock --universal --python-version 3.11 --extra client --extra simulator --extra bench --extra dev
resolve layers/core/requirements.txt layers/core/requirements.lock --universal --python-version 3.13
resolve tests/e2e/requirements.txt tests/e2e/requirements.lock --universal --python-version 3.13
resolve benchmarks/coldstart.txt benchmarks/coldstart.lock --universal --python-version 3.13
