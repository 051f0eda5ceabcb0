#!/usr/bin/env bash
# One host of a Cloud TPU slice: launch/tpu_pod.py sends the checkout and runs this on every host.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: launch/tpu_host.sh install | start ARGUMENTS... | state | idle | follow | stop

  install  Python 3.11 or newer where the host has none, then the locked environment with the TPU library
  start    python -m bsm_jax.train ARGUMENTS in the background: it goes on when the ssh session ends
  state    one line, "host state: " and absent, running, finished, stopped, lost or failed STATUS
  idle     fails if training is running
  follow   the log, from its last 100 lines on, until interrupted
  stop     asks training for a checkpoint, waits two minutes at most, then kills what is left

Reads: BSM_RUN (folder of log, process id and exit status; default ~/bsm_jax_run), BSM_VENV (default ~/bsm_jax_venv),
       BSM_STOP_SECONDS (how long stop waits; default 120).
USAGE
}

RUN="${BSM_RUN:-$HOME/bsm_jax_run}"
export BSM_VENV="${BSM_VENV:-$HOME/bsm_jax_venv}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

install() {
  if ! (find_python) >/dev/null 2>&1; then
    # The images of TPU hosts come with Ubuntu's Python 3.10.
    run python3 -m pip install --quiet --user uv
    run "$HOME/.local/bin/uv" python install 3.11
    PYTHON="$("$HOME/.local/bin/uv" python find 3.11)"
    export PYTHON
  fi
  ensure_environment
  ensure_also tpu
}

# The process may be gone and its number another's by now: the command line tells.
is_running() {
  [[ -f $RUN/pid ]] && [[ "$(ps -o args= -p "$(<"$RUN/pid")" 2>/dev/null)" == *"tpu_host.sh supervise"* ]]
}

start() {
  if is_running; then
    printf 'training is already running on %s\n' "$(hostname)"
    return
  fi
  mkdir -p "$RUN"
  rm -f "$RUN/status"
  cd "$ROOT"
  nohup setsid bash launch/tpu_host.sh supervise "$@" >>"$RUN/train.log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$RUN/pid"
  printf 'training started on %s\n' "$(hostname)"
}

# Leader of the group that `stop` signals: outlives training to write down its exit status.
supervise() {
  trap : TERM INT HUP
  local status=0
  printf '\n== %s: python -m bsm_jax.train %s\n' "$(date --utc +%FT%TZ)" "$*"
  "$VENV/bin/python" -m bsm_jax.train "$@" || status=$?
  printf '%s\n' "$status" >"$RUN/status.partial"
  mv "$RUN/status.partial" "$RUN/status"
}

state() {
  local word=absent
  if is_running; then
    word=running
  elif [[ -f $RUN/status ]]; then
    case "$(<"$RUN/status")" in
      0) word=finished ;;
      130) word=stopped ;;
      *) word="failed $(<"$RUN/status")" ;;
    esac
  elif [[ -f $RUN/pid ]]; then
    word=lost
  fi
  printf 'host state: %s\n' "$word"
}

stop() {
  is_running || return 0
  local group waited=0
  group="$(<"$RUN/pid")"
  kill -TERM -- "-$group"
  while is_running && ((waited < ${BSM_STOP_SECONDS:-120})); do
    sleep 1
    waited=$((waited + 1))
  done
  if is_running; then
    kill -KILL -- "-$group"
  fi
}

command="${1:-}"
case "$command" in
  -h | --help) usage ;;
  install | state | stop)
    "$command"
    ;;
  start | supervise)
    shift
    "$command" "$@"
    ;;
  idle)
    ! is_running || fail "training is running on $(hostname); stop it first (python -m launch.tpu_pod stop)"
    ;;
  follow) exec tail -n 100 -F "$RUN/train.log" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
