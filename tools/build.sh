#!/usr/bin/env bash
# sam validate and sam build for one architecture, in an environment of their own. No Docker.
set -euo pipefail
cd "$(dirname "$0")/.."
arch="${1:-arm64}"
case "$arch" in arm64 | x86_64) ;; *) echo "ARCH is '$arch'; it must be arm64 or x86_64" >&2; exit 2 ;; esac
if ! command -v python3.13 >/dev/null; then
  echo "not run: python3.13 is not on PATH (sam build checks the template's runtime)" >&2
  exit 1
fi
export SAM_CLI_TELEMETRY=0
if [ ! -x .venv-sam/bin/sam ]; then
  echo "Installing the SAM CLI into .venv-sam (once) ..."
  "${PYTHON:-python3}" -m venv .venv-sam
  .venv-sam/bin/python -m pip install --quiet --disable-pip-version-check 'aws-sam-cli==1.170.0'
fi
region="${REGION:-eu-west-1}"
.venv-sam/bin/sam validate --lint --region "$region"
ARCH="$arch" PIP="$PWD/.venv-sam/bin/python -m pip" .venv-sam/bin/sam build --build-dir ".aws-sam/build-$arch" \
  --parameter-overrides "Architecture=$arch" --region "$region"
du -sh ".aws-sam/build-$arch/CoreLayer"
