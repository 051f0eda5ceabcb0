#!/usr/bin/env bash
# Runs the tests on the CPU in the checkout's own environment; arguments go to pytest.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: launch/test.sh [pytest's arguments]

Installs the locked environment (.venv), with the TPU compiler, PyTorch and transformers, if that is not done yet, then
runs the tests in two processes.

  launch/test.sh                              the whole suite, without the slow tests
  launch/test.sh --slow                       with them
  launch/test.sh tests/test_tokenizer.py -n0  one file, in this process

Reads: PYTHON, BSM_VENV (see launch/environment.sh), JAX_PLATFORMS (default cpu),
       BSM_SHARED_DATA (a folder of real files; tests that need it are skipped without).
USAGE
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  usage
  exit 0
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_environment
ensure_also tpu export
cd "$ROOT"
run "$VENV/bin/python" -m pytest -n 2 --dist worksteal --durations=15 "$@"
