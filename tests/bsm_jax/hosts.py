"""Several hosts on one machine: real processes that `jax.distributed` joins, each with its own fake CPU devices.

  with Hosts(python_source(SOURCE, count=2), count=2, devices=4) as hosts:
    hosts.kill(1, signal.SIGKILL)
    results = hosts.wait(timeout=60)
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]

# Runs before a source of `python_source`. A dead host is noticed after seconds, not minutes.
_JOIN = """
import sys
import jax
port, count, host = (int(x) for x in sys.argv.pop(1).split(","))
jax.distributed.initialize(
    f"localhost:{port}", count, host, initialization_timeout=60, heartbeat_timeout_seconds=10,
    shutdown_timeout_seconds=20,
)
"""


class Result(NamedTuple):
  """How a host ended. `returncode` is negative where a signal ended it; `output` holds stdout and stderr."""

  returncode: int
  output: str


def free_port() -> int:
  with socket.socket() as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]


def python_source(source: str, *arguments: str, count: int) -> Callable[[int, int], list[str]]:
  """A command for `Hosts`: Python source that runs once the hosts are joined, with `arguments` in `sys.argv[1:]`."""
  return lambda port, host: [sys.executable, "-c", _JOIN + source, f"{port},{count},{host}", *arguments]


class Hosts:
  """Runs a command on every host, from the root of the repository; none of them outlives the `with`.

  Attributes:
    port: where host 0 coordinates.
    processes: by host.
  """

  def __init__(
      self,
      command: Callable[[int, int], Sequence[str]],
      count: int,
      devices: int,
      *,
      env: Mapping[str, str] | None = None,
  ):
    """Args: `command(port, host) -> argv`; how many hosts; fake devices of each; additions to the environment."""
    self.port = free_port()
    self.processes: list[subprocess.Popen] = []
    self._command, self._count = command, count
    # XLA takes the last of two flags: the environment of a test may already hold another number of devices.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    self._env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONUNBUFFERED": "1"} | dict(env or {})
    self._files = contextlib.ExitStack()

  def __enter__(self) -> "Hosts":
    try:
      # Files, not pipes: a host that nobody reads from would stop when its pipe is full.
      folder = self._files.enter_context(tempfile.TemporaryDirectory())
      self._outputs = [pathlib.Path(folder, f"host{host}") for host in range(self._count)]
      for host, path in enumerate(self._outputs):
        output = self._files.enter_context(path.open("wb"))
        self.processes.append(subprocess.Popen(
            self._command(self.port, host), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=self._env, cwd=ROOT, start_new_session=True,
        ))  # fmt: skip
    except BaseException:
      self.__exit__()
      raise
    return self

  def __exit__(self, *_) -> None:
    self._end()
    self._files.close()

  def _end(self) -> None:
    for process in self.processes:
      # A host's session: its workers end with it.
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      process.wait()

  def kill(self, host: int | None = None, number: int = signal.SIGKILL) -> None:
    """Sends a signal to a host, or to all; those that have ended get none."""
    for process in self.processes if host is None else [self.processes[host]]:
      process.send_signal(number)

  def output(self, host: int) -> str:
    """What a host has printed so far."""
    return self._outputs[host].read_text(errors="replace")

  def wait(self, timeout: float, *, grace: float = 20.0) -> list[Result]:
    """Waits until all hosts have ended.

    Args:
      timeout: seconds after which all are killed, and TimeoutError shows what they printed.
      grace: seconds that the others have to end after one has failed; then they are killed.
    """
    deadline, failed = time.monotonic() + timeout, False
    while None in (codes := [process.poll() for process in self.processes]):
      if not failed and any(codes):
        deadline, failed = min(deadline, time.monotonic() + grace), True
      if time.monotonic() > deadline:
        self._end()
        if not failed:
          said = [f"\n--- host {k} (ended with {code})\n{self.output(k)[-3000:]}" for k, code in enumerate(codes)]
          raise TimeoutError(f"not all hosts have ended after {timeout:g} s:{''.join(said)}")
      time.sleep(0.05)
    return [Result(process.returncode, self.output(host)) for host, process in enumerate(self.processes)]
