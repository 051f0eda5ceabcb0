"""Settings that must stand before JAX is imported; the option and the fixtures that all tests share."""

import os
import pathlib
import tempfile

# Eight devices on the CPU: every test of sharding runs on any machine.
_XLA_FLAGS = ["--xla_force_host_platform_device_count=8"]

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
  # Workers share the machine: each gets its part of the cores, or their thread pools would fight over all of them.
  # XLA's CPU client reads NPROC for the size of its pool.
  _cores = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
  for _name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, str(_cores))
  if _cores == 1:
    _XLA_FLAGS.append("--xla_cpu_multi_thread_eigen=false")

# Flags of the environment come last, and XLA takes the last of two.
os.environ["XLA_FLAGS"] = " ".join([*_XLA_FLAGS, os.environ.get("XLA_FLAGS", "")]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Adding [d] to [b, d] by accident is a mistake that no shape error reports.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

if "PYTEST_XDIST_WORKER" not in os.environ:
  # Many tests start the same run again: what one process of this session has compiled, the others read. Workers, and
  # the processes that tests start, inherit the variables. An entry caught half written is a warning, and not used.
  _compiled = tempfile.TemporaryDirectory(prefix="bsm_jax_compiled_")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# The same examples on every run and machine: a red test can be looked at again. No deadline: the first call compiles.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("deterministic")


def pytest_addoption(parser: pytest.Parser) -> None:
  parser.addoption("--slow", action="store_true", help="run also the tests marked slow")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
  """Compressed bytes hold the time they were made: as a test's id, two workers would not agree on it."""
  return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
  if config.getoption("--slow"):
    return
  for item in items:
    if "slow" in item.keywords:
      item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
  """The folder of real public files, which is no part of the repository; without it the test is skipped."""
  beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
  folder = pathlib.Path(os.environ.get("BSM_SHARED_DATA", beside))
  if not folder.is_dir():
    pytest.skip(f"needs real files: BSM_SHARED_DATA names no folder, and {beside} does not exist")
  return folder
