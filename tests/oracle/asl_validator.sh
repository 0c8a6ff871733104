#!/bin/sh
# The deployed state machine in asl-validator (npm), a linter that none of us wrote. Works in a directory of its own.
# Exit 0: nothing found, or not run (says so). Exit 1: it found something, or it did not find what is planted for it.
set -eu
version=4.0.0
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-"$here/../../.venv/bin/python"}

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
  echo "asl-validator: not run: node/npm missing"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/asl_render.py" >"$work/good.json"
"$python" "$here/asl_render.py" PlaceCopies=Nowhere >"$work/bad.json"
cd "$work"
if ! npm install --silent --no-audit --no-fund --no-save "asl-validator@$version" >npm.log 2>&1; then
  echo "asl-validator: not run: npm could not install asl-validator@$version ($(tail -n 1 npm.log))"
  exit 0
fi

node_modules/.bin/asl-validator --json-path good.json
if node_modules/.bin/asl-validator --json-path bad.json >bad.log 2>&1; then
  echo "asl-validator: a machine with a missing target passed; the linter does not check what we think it checks"
  exit 1
fi
echo "asl-validator $version: scaling_loop.asl.yaml is valid, and a machine with a missing target is refused"
