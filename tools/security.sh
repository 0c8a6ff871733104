#!/usr/bin/env bash
# make security: the tools' environments in .venv-security (every package by its hash), then the thirty-two controls.
# `tools/security.sh lock` resolves the tools' lock files again; any other argument is one of python -m tests.security.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=tests/security/requirements

# cfn-guard's bindings have wheels for CPython 3.11 only; with any other Python that one tool is left out, and says so.
find_python() {
  local candidate
  for candidate in python3.11 "$(pyenv root 2>/dev/null || echo /nowhere)"/versions/3.11*/bin/python3.11 "${PYTHON:-python3}"; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "make security needs Python 3.11 or newer: make security PYTHON=/path/to/python3.11" >&2
  return 2
}

# uv resolves and installs both environments; it is pinned by its hash like everything else.
uv=.venv-security/uv/bin/uv
if ! cmp -s "$requirements/uv.lock" .venv-security/uv/installed.lock; then
  "$(find_python)" -m venv --clear .venv-security/uv
  .venv-security/uv/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes --requirement "$requirements/uv.lock"
  cp "$requirements/uv.lock" .venv-security/uv/installed.lock
fi

if [ "${1:-}" = lock ]; then
  for name in checkov tools uv; do
    lock=$requirements/$name.lock
    "$uv" pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
      --universal --python-version 3.11 ${UPGRADE:+--upgrade} "$requirements/$name.in" --output-file "$lock"
    printf '%s\n%s\n' "# Made by \`tools/security.sh lock\` from $name.in; do not edit." "$(sed '/^# Made by/d' "$lock")" >"$lock"
  done
  exit
fi

# Two environments: checkov wants older versions of what the others need.
for name in checkov tools; do
  environment=.venv-security/$name
  if ! cmp -s "$requirements/$name.lock" "$environment/installed.lock"; then
    echo "Installing $name into $environment: half a minute, once." >&2
    "$uv" venv --quiet --clear --python .venv-security/uv/bin/python "$environment"
    "$uv" pip install --quiet --python "$environment/bin/python" --require-hashes --requirement "$requirements/$name.lock"
    cp "$requirements/$name.lock" "$environment/installed.lock"
  fi
done

# What is verified is this folder, whichever one the environment was made for.
PYTHONPATH="$PWD:$PWD/layers/core" exec .venv/bin/python -m tests.security "$@"
