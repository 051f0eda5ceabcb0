#!/usr/bin/env bash
# From a bare Python to a trained miniature model and its figures, on a CPU.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: launch/quickstart.sh [--out DIR]

Makes the environment (.venv), simulates a small release in the public file formats, builds documents and rows from
it, trains a miniature model through all rounds and draws its figures. Every command is shown before it runs.
Run it again after an interruption: finished stages say so, and training goes on from its last checkpoint.

  --out DIR   where everything is written (default: runs/miniature in the checkout)
  -h, --help  this text

Reads: PYTHON (interpreter for the environment), BSM_VENV (the environment's folder, default .venv).
USAGE
}

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

out=""
while (($#)); do
  case "$1" in
    --out) [[ -n ${2:-} ]] || { usage >&2; exit 2; }; out="$2"; shift 2 ;;
    --out=?*) out="${1#--out=}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) printf 'quickstart.sh: unknown argument: %s\n\n' "$1" >&2; usage >&2; exit 2 ;;
  esac
done
[[ -z $out || $out == /* ]] || out="$PWD/$out"
RUN="${out:-runs/miniature}"

again() {
  printf '\nStopped. What is done is kept: run the same command again to go on from here.\n' >&2
  exit "$1"
}
trap 'again 130' INT
trap 'again 143' TERM

ensure_environment
cd "$ROOT"
python="$VENV/bin/python"
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

run "$python" -m data_pipelines.miniature --out="$RUN/release"
run "$python" -m data_pipelines.build --config=configs/data/miniature.py --config.release="$RUN/release" \
  --out="$RUN/corpora"
# One single-threaded device a core shares a small model's work better than one device with two threads.
export JAX_NUM_CPU_DEVICES=2 XLA_FLAGS="--xla_cpu_multi_thread_eigen=false ${XLA_FLAGS:-}"
run "$python" -m bsm_jax.train --config=configs/miniature.py --config.data.root="$RUN/corpora/rows" \
  --workdir="$RUN/train"
run "$python" -m bsm_jax.report --workdir="$RUN/train"

cat <<NEXT

Done: everything is under $RUN. Look at the figures:
$(find "$RUN/train" -name '*.png' 2>/dev/null | sort | sed 's/^/  /')
Next: build your own corpora (python -m data_pipelines.build --help), then train the 110M model on their rows:
  $(printf '%q' "$python") -m bsm_jax.train --config=configs/bsm_110m.py --config.data.root=ROWS --workdir=runs/bsm_110m
NEXT
