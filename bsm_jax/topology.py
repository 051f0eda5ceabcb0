"""TPU topologies without TPUs: libtpu's compiler for devices that are not there.

libtpu reads its flags once, when it is loaded. So everything that compiles for a topology gets its devices here, where
libtpu is loaded with the flags that `bsm_jax.static_profile` needs: it then writes the scheduled code of every op it
compiles into a temporary folder of this process. `captured` gives what one compilation wrote; nothing is kept.
"""

import atexit
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator

import jax
from jax.experimental import topologies

EXAMPLES = "v5e:2x2, v5e:16x16, v5p:2x2x1, v5p:4x4x4, v6e:16x16, tpu7x:2x2x1"

# Passes whose text is written: the scheduled bundles with every delay in them, which issue slots each of them uses, and
# which ops share the code of another.
_DUMPED_PASSES = "packed-bundles-post-ra|pre-delay_hlo-static-per-bundle-utilization|deduplication-map"

# Without these libtpu asks a cloud machine's metadata server for minutes, complains on stderr about its worker's name,
# and refuses to be loaded by a second process.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

_capture_lock = threading.Lock()
_captures = itertools.count()


class TopologyError(ValueError):
  """A topology that cannot be had here; the message says why and what to do."""


@functools.cache
def _dump_folder() -> pathlib.Path:
  folder = pathlib.Path(tempfile.mkdtemp(prefix="bsm_jax_libtpu_"))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  flags = [
      os.environ.get("LIBTPU_INIT_ARGS", ""),
      f"--xla_jf_dump_to={folder}",
      "--xla_jf_dump_llo_text=true",
      f"--xla_jf_dump_llo_pass_label_regex=.*({_DUMPED_PASSES}).*",
  ]
  os.environ["LIBTPU_INIT_ARGS"] = " ".join(flags).strip()
  return folder


@functools.cache
def devices(name: str, num_slices: int = 1) -> tuple[jax.Device, ...]:
  """The devices of a topology, none of which exists here.

  Args:
    name: generation and shape in chips, such as "v5e:16x16" or "v5p:4x4x4".
    num_slices: slices of this shape, joined by the data centre's network.

  Raises:
    TopologyError: libtpu is not installed, or knows no such topology.
  """
  if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
    raise TopologyError("the TPU compiler is not installed: pip install 'bsm_jax[tpu]' (no TPU is needed)")
  _dump_folder()
  try:
    return tuple(topologies.get_topology_desc(name, platform="tpu", num_slices=num_slices).devices)
  except jax.errors.JaxRuntimeError as error:
    slices = f" in {num_slices} slices" if num_slices > 1 else ""
    raise TopologyError(f"libtpu knows no topology {name!r}{slices} ({error}); examples: {EXAMPLES}") from error


@dataclasses.dataclass(frozen=True)
class Capture:
  """A compilation: its result, the folder with what libtpu wrote about it, and the seconds that it took."""

  compiled: jax.stages.Compiled
  folder: pathlib.Path
  seconds: float


@contextlib.contextmanager
def captured(lowered: jax.stages.Lowered) -> Iterator[Capture]:
  """Compiles what was lowered for devices of `devices`; what libtpu wrote is gone after the `with`.

  None of JAX's caches is used: what is not compiled is not written about.
  """
  folder = _dump_folder()
  with _capture_lock:
    persistent = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    # The cache in memory goes by the options too; this one has no effect of its own.
    unique = {"xla_dump_hlo_module_re": f"{os.getpid()}-{next(_captures)}"}
    try:
      _clear(folder)
      start = time.perf_counter()
      compiled = lowered.compile(compiler_options=unique)
      yield Capture(compiled, folder, time.perf_counter() - start)
    finally:
      jax.config.update("jax_enable_compilation_cache", persistent)
      _clear(folder)


def _clear(folder: pathlib.Path) -> None:
  for file in folder.iterdir():
    file.unlink()
