"""Real processes joined by `jax.distributed` compute what one process with all their devices does."""

import contextlib
import fcntl
import json
import re
import signal
import sys
import time

import numpy as np
import pytest

from bsm_jax import sharding
from tests.bsm_jax.hosts import Hosts, python_source
from tests.bsm_jax.sample_runs import Trace, assert_same_steps, first_steps, small_config

# Trains on the meshes of argv[2:]. Host 0 writes what it found into the folder argv[1]; both print a digest of it.
TRAIN = """
import hashlib, json, sys
import numpy as np
from bsm_jax import sharding
from tests.bsm_jax.sample_runs import first_steps, small_config

for name in sys.argv[2:]:
  trace = first_steps(small_config(), sharding.make_mesh([int(size) for size in name.split("x")]))
  digest = hashlib.sha256(b"".join(x.tobytes() for x in (*trace.gradient.values(), *trace.params.values())))
  if host == 0:
    for part in ("gradient", "params"):
      np.savez(f"{sys.argv[1]}/{name}.{part}.npz", **getattr(trace, part))
  print("FOUND", json.dumps([name, trace.losses, digest.hexdigest()]))
"""


def train_on_two_hosts(folder, meshes: list[str]) -> dict[str, Trace]:
  """What two hosts with four devices each find, by mesh; both have to find the same."""
  with Hosts(python_source(TRAIN, str(folder), *meshes, count=2), 2, 4) as hosts:
    results = hosts.wait(timeout=300)
  assert [result.returncode for result in results] == [0, 0], "\n---\n".join(r.output[-3000:] for r in results)
  found = [[json.loads(line) for line in re.findall("FOUND (.*)", result.output)] for result in results]
  assert found[0] == found[1] and [name for name, _, _ in found[0]] == meshes
  load = lambda name, part: dict(np.load(folder / f"{name}.{part}.npz"))
  return {name: Trace(losses, load(name, "gradient"), load(name, "params")) for name, losses, _ in found[0]}


def assert_equal_to_one_host(traces: dict[str, Trace]) -> None:
  for name, trace in traces.items():
    mesh = sharding.make_mesh([int(size) for size in name.split("x")])
    assert_same_steps(trace, first_steps(small_config(), mesh))


def test_two_hosts_train_as_one_does(tmp_path):
  # No rows in common; `fsdp` and `model` inside each host.
  assert_equal_to_one_host(train_on_two_hosts(tmp_path, ["8x1x1", "2x2x2"]))


@pytest.mark.slow
def test_two_hosts_that_share_weights_or_rows_train_as_one_does(tmp_path):
  # Weights gathered from the other host; parts of the same rows' heads, for which both hosts make the same rows.
  assert_equal_to_one_host(train_on_two_hosts(tmp_path, ["1x8x1", "1x1x8"]))


# --- The harness itself


def test_hosts_print_into_results_and_see_each_other():
  source = "print('host', host, 'of', jax.process_count(), 'with', len(jax.local_devices()), sys.argv[1])"
  with Hosts(python_source(source, "argument", count=2), 2, 3) as hosts:
    results = hosts.wait(timeout=60)
  assert [(r.returncode, r.output.splitlines()[-1]) for r in results] == [
      (0, "host 0 of 2 with 3 argument"), (0, "host 1 of 2 with 3 argument"),
  ]


def plain(source: str):
  """A command whose hosts do not join: fast."""
  return lambda port, host: [sys.executable, "-c", f"import os, signal, sys, time; host = {host}; {source}"]


def test_when_one_host_fails_the_others_are_killed():
  with Hosts(plain("sys.exit('no disk') if host else time.sleep(600)"), 2, 1) as hosts:
    results = hosts.wait(timeout=60, grace=0.2)
  assert [r.returncode for r in results] == [-signal.SIGKILL, 1]
  assert "no disk" in results[1].output


def test_hosts_that_do_not_end_are_killed_and_show_what_they_printed():
  with Hosts(plain("print('waiting'); time.sleep(600)"), 2, 1) as hosts:
    while not all(hosts.output(host) for host in (0, 1)):
      time.sleep(0.02)
    with pytest.raises(TimeoutError, match="after 0.1 s(.|\n)*host 1 .ended with None.\nwaiting"):
      hosts.wait(timeout=0.1)
    assert [process.poll() for process in hosts.processes] == [-signal.SIGKILL] * 2


def test_a_signal_reaches_the_hosts_it_is_sent_to():
  source = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(host + 3)); print('ready'); time.sleep(600)"
  with Hosts(plain(source), 2, 1) as hosts:
    while not all("ready" in hosts.output(host) for host in (0, 1)):
      time.sleep(0.02)
    hosts.kill(1, signal.SIGTERM)
    assert hosts.processes[1].wait(timeout=60) == 4
    assert hosts.processes[0].poll() is None
    hosts.kill(number=signal.SIGTERM)
    assert [r.returncode for r in hosts.wait(timeout=60)] == [3, 4]


def test_no_process_outlives_its_hosts(tmp_path):
  held = tmp_path / "held"
  worker = f"import fcntl, time; f = open({str(held)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write('!'); f.flush()"
  source = f"import subprocess; subprocess.Popen([sys.executable, '-c', {worker + '; time.sleep(600)'!r}]).wait()"
  with Hosts(plain(source), 1, 1) as hosts:
    while not (held.exists() and held.read_text()):
      assert hosts.processes[0].poll() is None, hosts.output(0)
      time.sleep(0.02)
  # Its lock goes with a worker; a killed one may take a moment.
  with held.open() as file:
    for _ in range(3000):
      with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      time.sleep(0.02)
    else:
      raise AssertionError("the worker is alive after its host was ended")
