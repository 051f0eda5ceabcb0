"""A run on real hosts that are killed, and one whose number of hosts changes: the same rows, losses and parameters."""

import signal

import jax
import numpy as np
import pytest

from tests.bsm_jax import chaos
from tests.bsm_jax.chaos import Run

STEPS = 36


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
  """The run in one go, on two hosts with four devices each."""
  run = Run(tmp_path_factory.mktemp("whole") / "run", STEPS)
  chaos.undisturbed(run)
  chaos.check_rows(run)
  return run


def test_a_run_killed_three_times_ends_as_if_nothing_had_happened(whole, tmp_path):
  disturbed = Run(tmp_path / "run", STEPS)
  chaos.disturb(disturbed, chaos.random_kills(3, seed=1))
  chaos.check_rows(disturbed, whole)
  chaos.compare(disturbed, whole)


def test_the_number_of_hosts_may_change_from_start_to_start(whole, tmp_path):
  elastic = Run(tmp_path / "run", STEPS)
  for hosts, until in ((2, 8), (1, 8), (4, None)):
    with elastic.start(hosts, 8 // hosts) as started:
      if until is not None:
        chaos.wait_for(chaos.Kill("steps", until, 0, signal.SIGTERM), elastic, started)
        started.kill(hosts - 1, signal.SIGTERM)
      codes = [result.returncode for result in started.wait(300)]
    assert codes == [0 if until is None else 130] * hosts
  assert elastic.starts == 3
  # A stop by a signal loses nothing: no batch was computed twice.
  assert chaos.check_rows(elastic, whole) == 0
  for name in ("params", "opt_state"):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, elastic.final_state()[name], whole.final_state()[name])
  losses = lambda run: [line["loss"] for line in run.metrics() if line["kind"] == "train"]
  np.testing.assert_allclose(losses(elastic), losses(whole), rtol=1e-5)


def test_a_signal_to_one_host_stops_them_all_at_the_same_step(tmp_path):
  run = Run(tmp_path / "run", 1000)
  with run.start(2, 2) as hosts:
    chaos.wait_for(chaos.Kill("steps", 5, 1, signal.SIGTERM), run, hosts)
    hosts.kill(1, signal.SIGTERM)
    results = hosts.wait(120)
  assert [result.returncode for result in results] == [130, 130]
  assert "stopped at step" in results[0].output


def test_hosts_that_cannot_find_each_other_are_told_what_to_give(tmp_path):
  run = Run(tmp_path / "run", 4)
  command = run.start(1, 1)._command
  alone = [part for part in command(1, 0) if not part.startswith(("--coordinator", "--num_hosts", "--host"))]
  with chaos.Hosts(lambda port, host: [*alone, "--multihost"], 1, 1) as hosts:
    (result,) = hosts.wait(60)
  assert result.returncode == 1 and "--coordinator=HOST:PORT and --num_hosts=N" in result.output
