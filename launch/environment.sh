# Sourced by launch/quickstart.sh, launch/test.sh and .ci/run: one virtual environment, with what the locks pin.
#
# Reads   PYTHON    interpreter that makes the environment (default: the first Python 3.11+ found)
#         BSM_VENV  the environment's folder (default: .venv in the checkout)
# Sets    ROOT      the checkout, absolute
#         VENV      the environment's folder, absolute
# Defines fail, run, ensure_environment and ensure_also

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${BSM_VENV:-$ROOT/.venv}"
[[ $VENV == /* ]] || VENV="$PWD/$VENV"
LOCK="$ROOT/launch/requirements.lock"
STAMP="$VENV/.bsm_jax_installed"

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Shows a command as it could be typed again, then runs it.
run() {
  printf '\n+' >&2
  printf ' %q' "$@" >&2
  printf '\n' >&2
  "$@"
}

is_suitable_python() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints the interpreter that can make the environment.
find_python() {
  if [[ -n ${PYTHON:-} ]]; then
    is_suitable_python "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11 or newer with the modules venv and" \
      "ensurepip. Give another one, or unset PYTHON to have it looked for."
    printf '%s\n' "$PYTHON"
    return
  fi
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3 python; do
    if is_suitable_python "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "found no Python 3.11 or newer with the modules venv and ensurepip." \
    "Install one (Debian, Ubuntu: apt-get install python3.11-venv), or name it: PYTHON=/path/to/python3.11 $0"
}

# What the environment was made from: the pins, the package's metadata and the checkout that it points to.
installation_key() {
  "$VENV/bin/python" - "$LOCK" "$ROOT/setup.py" <<'PYTHON'
import hashlib
import pathlib
import sys

print(*(hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() for path in sys.argv[1:]), sys.argv[1])
PYTHON
}

# Makes the environment and installs into it, unless the stamp says that this was done from the same lock. The stamp
# is written last, so an interrupted installation is taken up again; a finished one needs no network.
ensure_environment() {
  if [[ -f $STAMP && -x $VENV/bin/python && $(installation_key) == "$(<"$STAMP")" ]]; then
    return
  fi
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    local python
    python="$(find_python)"
    run "$python" -m venv "$VENV"
  fi
  run "$VENV/bin/python" -m pip install --disable-pip-version-check --requirement "$LOCK"
  # The lock holds setuptools, so that this step needs no build isolation, which would download it once more.
  run "$VENV/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable "$ROOT"
  installation_key >"$STAMP"
}

# Adds what only some use, and only the tests need all of: launch/requirements_NAME.lock for each name. Not part of every
# environment: where the TPU compiler is and no TPU, JAX says so on stderr at each start that does not set
# JAX_PLATFORMS=cpu; PyTorch is larger than all the rest.
ensure_also() {
  local name lock stamp
  for name in "$@"; do
    lock="$ROOT/launch/requirements_$name.lock" stamp="$VENV/.bsm_jax_$name"
    if [[ ! -f $stamp || $(<"$lock") != "$(<"$stamp")" ]]; then
      run "$VENV/bin/python" -m pip install --disable-pip-version-check --requirement "$lock" --constraint "$LOCK"
      cp "$lock" "$stamp"
    fi
  done
}
