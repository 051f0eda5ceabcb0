"""Programs that the launchers call, replaced by ones that write down how they were called."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]


class Stand:
  """A folder at the front of PATH, with programs that write down their arguments and then do as they are told."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.log = folder, folder / "calls.log"
    (folder / "bin").mkdir(parents=True)

  def add(self, name: str, body: str = "") -> None:
    """A program of this name; `body` is bash, in which $STAND is a folder of its own."""
    program = self.folder / "bin" / name
    noted = f'printf "%s\\n" "{name} $*" >>"$STAND/calls.log"'
    program.write_text(f"#!/usr/bin/env bash\nSTAND={self.folder}\n{noted}\n{body}")
    program.chmod(0o755)

  def calls(self, name: str) -> list[str]:
    """The arguments of each call of a program, in order."""
    lines = self.log.read_text().splitlines() if self.log.exists() else []
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]

  def python(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
    """`python -m MODULE ARGUMENTS` in the checkout."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

  def bash(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A script of the checkout."""
    command = ["bash", str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def stand(tmp_path, monkeypatch) -> Stand:
  """None of the programs that reach out of this machine can be called: each is there, fails, and says that it was."""
  made = Stand(tmp_path / "stand")
  for name in ("gcloud", "kubectl", "sbatch", "srun", "scontrol", "docker"):
    made.add(name, "exit 99\n")
  monkeypatch.setenv("PATH", f"{made.folder / 'bin'}:{os.environ['PATH']}")
  return made


@pytest.fixture
def nothing_was_called(stand) -> Callable[[], bool]:
  return lambda: not stand.log.exists()
