#!/usr/bin/env bash
# Measure cold start and size of the built functions under AWS's own runtime client, in an environment of its own.
# STARTS: cold starts of each function (5). Arguments go to benchmarks/coldstart.py.
set -euo pipefail
cd "$(dirname "$0")/.."

is_3_13() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; }
python=""
for candidate in python3.13 "$(pyenv root 2>/dev/null || true)"/versions/3.13*/bin/python3.13; do
  if is_3_13 "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "make coldstart: not run: it needs python3.13, the runtime of the functions" >&2
  exit 1
fi
if ! cmp -s benchmarks/coldstart.lock .venv-coldstart/.lock 2>/dev/null; then
  echo "Installing AWS's runtime client into .venv-coldstart, once."
  "$python" -m venv --clear .venv-coldstart
  .venv-coldstart/bin/python -m pip install --disable-pip-version-check --quiet --only-binary=:all: --require-hashes \
    --requirement benchmarks/coldstart.lock
  cp benchmarks/coldstart.lock .venv-coldstart/.lock
fi
PYTHONPATH="$PWD:$PWD/layers/core" .venv/bin/python -m benchmarks.coldstart --starts "${STARTS:-5}" "$@"
