#!/usr/bin/env bash
# Deploy Quickstep with the real SAM CLI into MiniStack and drive it. Body of `make e2e`; arguments go to run.py.
# Exit 0: everything held, or not run (says so). 1: something did not. 2: an argument cannot be used.
set -euo pipefail
cd "$(dirname "$0")/../.."

is_3_13() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; }
if ! is_3_13 python3.13; then
  for candidate in "$(pyenv root 2>/dev/null || true)"/versions/3.13*/bin; do
    if is_3_13 "$candidate/python3.13"; then export PATH="$candidate:$PATH"; break; fi
  done
fi
if ! is_3_13 python3.13; then
  echo "e2e: not run: there is no python3.13 on PATH, and the functions run on no other version"
  exit 0
fi

began_s=$SECONDS
work=out/e2e
mkdir -p "$work"
lock=tests/e2e/requirements.lock
environment() {
  if ! cmp -s "$lock" .venv-e2e/installed.lock; then
    echo "Installing MiniStack into .venv-e2e: half a minute, once."
    python3.13 -m venv --clear .venv-e2e
    .venv-e2e/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes --requirement "$lock"
    cp "$lock" .venv-e2e/installed.lock
  fi
}
environment >"$work/install.log" 2>&1 &
installing=$!
stop_installing() { kill "$installing" 2>/dev/null || true; }
trap stop_installing EXIT
echo "e2e: environments and sam build (a minute and a half the first time)"
if ! tools/build.sh >"$work/build.log" 2>&1; then
  tail -n 15 "$work/build.log" >&2
  echo "e2e: failed: sam build; the whole log is $work/build.log" >&2
  exit 1
fi
if ! wait "$installing"; then
  tail -n 15 "$work/install.log" >&2
  echo "e2e: failed: the packages of $lock could not be installed; the whole log is $work/install.log" >&2
  exit 1
fi
trap - EXIT
exec .venv-e2e/bin/python tests/e2e/run.py --work "$work" --before-s "$((SECONDS - began_s))" "$@"
