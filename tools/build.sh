#!/usr/bin/env bash
# sam validate and sam build, without Docker, with a SAM CLI in an environment of its own (it pins boto3 and pydantic).
# ARCH: empty = a layer for both architectures; arm64 or x86_64 = for that one only.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${ARCH:-}" in
  "" | arm64 | x86_64) ;;
  *) echo "ARCH is '$ARCH'; it must be arm64 or x86_64, or empty for a layer that serves both" >&2; exit 2 ;;
esac

is_3_13() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; }
if ! is_3_13 python3.13; then
  for candidate in "$(pyenv root 2>/dev/null || true)"/versions/3.13*/bin; do
    if is_3_13 "$candidate/python3.13"; then export PATH="$candidate:$PATH"; break; fi
  done
fi
if ! is_3_13 python3.13; then
  echo "make build: not run: it needs python3.13 on PATH, the runtime of the functions; nothing else in Quickstep does" >&2
  exit 1
fi

export SAM_CLI_TELEMETRY=0
sam=.venv-sam/bin/sam
if ! "$sam" --version 2>/dev/null | grep -q ' 1\.170\.0$'; then
  echo "Installing the SAM CLI into .venv-sam: about a minute, once."
  "${PYTHON:-python3}" -m venv --clear .venv-sam
  .venv-sam/bin/python -m pip install --disable-pip-version-check --quiet aws-sam-cli==1.170.0
fi

export PIP="$PWD/.venv-sam/bin/python -m pip" # for layers/core/Makefile
export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-us-east-1}" # sam wants one; neither command calls AWS
"$sam" validate --lint
if [ -n "${ARCH:-}" ]; then
  export ARCH
  # SAM's cache does not know the variable, so it must not be asked.
  "$sam" build --no-cached --parameter-overrides "Architecture=$ARCH"
else
  unset ARCH
  "$sam" build
fi
du -sh .aws-sam/build/CoreLayer | awk '{print "layer: " $1 "B unzipped, in " $2}'
