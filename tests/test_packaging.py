"""What is installed, what may import what, and the scripts that start everything."""

import ast
import functools
import importlib.metadata
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import bsm_jax

ROOT = pathlib.Path(__file__).parents[1]
FIRST_PARTY = ("bsm_jax", "data_pipelines", "configs", "launch", "tests")
INSTALLED = ("bsm_jax", "data_pipelines")


@pytest.fixture
def metadata(monkeypatch) -> dict:
  """The arguments that setup.py gives to `setuptools.setup`."""
  found = {}
  monkeypatch.setattr(setuptools, "setup", found.update)
  runpy.run_path(str(ROOT / "setup.py"))
  return found


@pytest.fixture(scope="module")
def lock_lines() -> list[str]:
  lines = (ROOT / "launch" / "requirements.lock").read_text().splitlines()
  return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def pinned(lock_lines) -> dict[str, Version]:
  return {name: Version(version) for name, version in (line.split("==") for line in lock_lines)}


def source_files(package: str) -> list[pathlib.Path]:
  """The Python files of a package or a single module (`bsm_jax.kernels`, `bsm_jax.tokenizer`)."""
  place = ROOT.joinpath(*package.split("."))
  return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def imported_modules(path: pathlib.Path) -> Iterator[str]:
  """Absolute dotted names of everything that a file imports, also inside functions."""
  package = path.relative_to(ROOT).parent.parts
  for node in ast.walk(ast.parse(path.read_text(), str(path))):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = package[: len(package) - node.level + 1] if node.level else ()
      module = ".".join([*base, *([node.module] if node.module else [])])
      # `from bsm_jax import model` names the module only in the second part.
      yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
  return name == package or name.startswith(package + ".")


# Borders


def test_bsm_jax_imports_no_data_pipelines_configs_or_launch():
  for path in source_files("bsm_jax"):
    beyond = [n for n in imported_modules(path) if n.split(".")[0] in ("data_pipelines", "configs", "launch", "tests")]
    assert not beyond, f"{path.relative_to(ROOT)} imports {beyond}"


@pytest.mark.parametrize(
  ("package", "known"),
  [
    ("data_pipelines", ["bsm_jax.tokenizer"]),
    ("bsm_jax.tokenizer", []),
    ("bsm_jax.kernels", []),
    ("bsm_jax.model", ["bsm_jax.kernels"]),
    ("bsm_jax.sharding", []),
    ("bsm_jax.table_files", []),
    ("bsm_jax.inference", [
      "bsm_jax.model", "bsm_jax.kernels", "bsm_jax.tokenizer", "bsm_jax.codons", "bsm_jax.sharding", "bsm_jax.input",
      "bsm_jax.training", "bsm_jax.table_files",
    ]),
  ],  # fmt: skip
)
def test_package_imports_no_more_of_bsm_jax_than_it_may_know(package, known):
  files = source_files(package)
  assert files
  for path in files:
    beyond = [
      name
      for name in imported_modules(path)
      if is_within(name, "bsm_jax") and not any(is_within(name, allowed) for allowed in [package, *known])
    ]
    assert not beyond, f"{path.relative_to(ROOT)} imports {beyond}: {package} may know only {known or 'itself'}"


# Metadata and the lock


def test_version_is_read_without_importing_the_package(metadata):
  assert metadata["version"] == bsm_jax.__version__
  assert not [name for name in imported_modules(ROOT / "setup.py") if name.split(".")[0] in FIRST_PARTY]


def test_every_folder_with_code_is_an_installed_package(metadata):
  folders = {path.parent for package in INSTALLED for path in source_files(package)}
  assert set(metadata["packages"]) == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_every_other_file_of_a_package_is_installed_with_it(metadata):
  given = {
    path for package, patterns in metadata["package_data"].items()
    for pattern in patterns for path in ROOT.joinpath(*package.split(".")).glob(pattern)
  }  # fmt: skip
  there = {path for package in INSTALLED for path in (ROOT / package).rglob("*") if path.is_file()}
  assert {path for path in there if path.suffix not in (".py", ".pyc")} == given


def test_every_imported_library_is_declared(metadata):
  requirements = [*metadata["install_requires"], *(r for extra in metadata["extras_require"].values() for r in extra)]
  declared = {canonicalize_name(Requirement(r).name) for r in requirements}
  distributions = importlib.metadata.packages_distributions()
  for package in FIRST_PARTY:
    for path in source_files(package):
      for name in {name.split(".")[0] for name in imported_modules(path)}:
        if name in sys.stdlib_module_names or name in FIRST_PARTY:
          continue
        # A library of an extra that is not installed here is looked for under its own name.
        owners = {canonicalize_name(owner) for owner in distributions.get(name, [name])}
        assert owners & declared, f"{path.relative_to(ROOT)} imports {name}, which setup.py does not declare"


def test_lock_pins_what_setup_requires_within_its_ranges(metadata, pinned):
  extras = metadata["extras_require"]
  for line in metadata["install_requires"] + extras["dev"] + extras["data"] + extras["gcs"]:
    requirement = Requirement(line)
    version = pinned[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"the lock pins {version}, setup.py asks for {requirement}"


def test_lock_holds_exact_sorted_pins_and_no_address(lock_lines):
  names = []
  for line in lock_lines:
    requirement = Requirement(line)
    assert [s.operator for s in requirement.specifier] == ["=="] and "*" not in line, line
    assert requirement.url is None and "://" not in line, line
    names.append(requirement.name)
  assert names == sorted(set(names))


def test_lock_is_for_the_cpu(pinned):
  assert not [name for name in pinned if name in ("torch", "libtpu") or name.startswith(("nvidia", "cuda", "jax-cuda"))]


def test_the_tpu_compilers_lock_is_what_jax_asks_for(pinned):
  (line,) = [x for x in (ROOT / "launch" / "requirements_tpu.lock").read_text().splitlines() if not x.startswith("#")]
  name, version = line.split("==")
  asked = [Requirement(r) for r in importlib.metadata.requires("jax") if r.startswith("libtpu")]
  assert asked, "jax no longer names libtpu in its extras"
  assert all(name == r.name and r.specifier.contains(version) for r in asked)
  assert Version(importlib.metadata.version("jax")) == pinned["jax"]


def test_the_exports_lock_is_what_the_extra_asks_for(metadata):
  lines = (ROOT / "launch" / "requirements_export.lock").read_text().splitlines()
  locked = dict(line.split("==") for line in lines if not line.startswith("#"))
  asked = [Requirement(r.split(";")[0]) for r in metadata["extras_require"]["export"]]
  assert {r.name for r in asked} == locked.keys()
  assert all(r.specifier.contains(locked[r.name]) for r in asked)


def test_lock_says_how_it_was_made():
  header = (ROOT / "launch" / "requirements.lock").read_text().split("\nabsl-py==")[0]
  assert "uv pip compile setup.py --extra dev --extra data --extra gcs --python-version 3.11" in header


# Launch scripts


def run_script(script: pathlib.Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    ["bash", script, *arguments], env=os.environ | environment, cwd=script.parents[1], capture_output=True, text=True
  )


@pytest.fixture
def checkout(tmp_path) -> pathlib.Path:
  """A copy of the launch scripts beside an environment that says it is installed and whose Python only writes down
  how it was called; it fails in the module that $FAIL names."""
  root = tmp_path / "a checkout"
  shutil.copytree(ROOT / "launch", root / "launch")
  shutil.copy(ROOT / "setup.py", root)
  python = root / ".venv" / "bin" / "python"
  python.parent.mkdir(parents=True)
  python.write_text(
    f"""#!/usr/bin/env bash
    if [[ $1 == - ]]; then exec {sys.executable!r} "$@"; fi
    printf '%s\\n' "$*" >>calls
    [[ $2 != "${{FAIL:-}}" ]] || exit 7
    """
  )
  python.chmod(0o755)
  stamp = 'source launch/environment.sh && installation_key >"$STAMP"'
  environment = {name: value for name, value in os.environ.items() if name != "BSM_VENV"}
  subprocess.run(["bash", "-c", stamp], cwd=root, env=environment, check=True)
  return root


def calls(checkout: pathlib.Path) -> list[str]:
  return [line.removeprefix("-m ") for line in (checkout / "calls").read_text().splitlines()]


def test_quickstart_runs_its_stages_in_order_and_shows_each(checkout):
  done = run_script(checkout / "launch" / "quickstart.sh", BSM_VENV=".venv")
  assert done.returncode == 0, done.stderr
  assert calls(checkout) == [
    "data_pipelines.miniature --out=runs/miniature/release",
    "data_pipelines.build --config=configs/data/miniature.py --config.release=runs/miniature/release"
    " --out=runs/miniature/corpora",
    "bsm_jax.train --config=configs/miniature.py --config.data.root=runs/miniature/corpora/rows"
    " --workdir=runs/miniature/train",
    "bsm_jax.report --workdir=runs/miniature/train",
  ]
  for call in calls(checkout):
    assert call in done.stderr
  assert "configs/bsm_110m.py" in done.stdout


def test_quickstart_writes_where_it_is_told(checkout):
  assert run_script(checkout / "launch" / "quickstart.sh", "--out", "/data/a run", BSM_VENV=".venv").returncode == 0
  assert calls(checkout)[0] == "data_pipelines.miniature --out=/data/a run/release"
  assert calls(checkout)[-1] == "bsm_jax.report --workdir=/data/a run/train"


def test_quickstart_stops_at_the_stage_that_fails(checkout):
  done = run_script(checkout / "launch" / "quickstart.sh", BSM_VENV=".venv", FAIL="data_pipelines.build")
  assert done.returncode == 7
  assert len(calls(checkout)) == 2


def test_tests_are_run_with_the_arguments_given(checkout):
  run = functools.partial(run_script, checkout / "launch" / "test.sh", BSM_VENV=".venv")
  done = run("--slow", "-k", "one or two")
  assert done.returncode == 0, done.stderr
  *installed, tested = calls(checkout)
  assert [re.findall(r"launch/(requirements[a-z_]*.lock)", call) for call in installed] == [
    ["requirements_tpu.lock", "requirements.lock"], ["requirements_export.lock", "requirements.lock"],
  ]  # fmt: skip
  assert all(call.startswith("pip install") and "--constraint" in call for call in installed)
  assert tested == "pytest -n 2 --dist worksteal --durations=15 --slow -k one or two"
  # All of it is there now: the second run needs no network.
  assert run().returncode == 0
  assert calls(checkout)[3:] == ["pytest -n 2 --dist worksteal --durations=15"]


@pytest.mark.parametrize("wrong", [["--ouput=x"], ["x"], ["--out"]])
def test_quickstart_refuses_what_it_does_not_know_with_its_usage(checkout, wrong):
  done = run_script(checkout / "launch" / "quickstart.sh", *wrong, BSM_VENV=".venv")
  assert done.returncode == 2
  assert "Usage: launch/quickstart.sh" in done.stderr
  assert not (checkout / "calls").exists()


def test_python_that_is_too_old_or_missing_is_refused_before_anything_is_made(checkout):
  done = run_script(checkout / "launch" / "test.sh", BSM_VENV="elsewhere", PYTHON="/nowhere/python3.8")
  assert done.returncode == 1
  assert "PYTHON=/nowhere/python3.8 is no Python 3.11 or newer" in done.stderr
  assert not (checkout / "elsewhere").exists()
