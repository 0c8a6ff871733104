#!/usr/bin/env bash
# Compare our alarm evaluation with LocalStack's, which none of us wrote. Body of `make oracle`.
#
# LocalStack's last community release needs Python 3.13 and the packages of its own day, so it gets its own environment.
# Prints "not run" and succeeds where no Python 3.13 is at hand: `make test` must not depend on it.
set -euo pipefail
cd "$(dirname "$0")/../.."

find_python() {
    local candidate
    for candidate in python3.13 "$(pyenv root 2>/dev/null || echo /nowhere)"/versions/3.13*/bin/python; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

python=$(find_python) || { echo "alarm oracle: not run (it needs Python 3.13, which is not installed here)"; exit 0; }
venv=.venv-oracle
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import localstack.services.cloudwatch.alarm_scheduler' 2>/dev/null; then
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet uv
    VIRTUAL_ENV="$PWD/$venv" "$venv/bin/uv" pip install --quiet --exclude-newer 2026-03-10 'localstack-core[base-runtime]==4.14.0'
fi
exec "$venv/bin/python" tests/oracle/alarm_oracle.py "$@"
