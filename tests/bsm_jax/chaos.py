"""Kills a two-host training run at random moments, restarts it, and compares what is left with the undisturbed run.

  python -m tests.bsm_jax.chaos --kills=30 --seed=0

Hosts are real processes that run the train command. Each writes down which rows it handed to which step, so that every
start can be held against the one sequence of rows that the run should see.
"""

import collections
import json
import pathlib
import random
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from bsm_jax import sharding
from bsm_jax.training import checkpoint, metrics, program
from configs import bsm_110m
from tests.bsm_jax.hosts import Hosts, Result
from tests.bsm_jax.sample_rows import CONTEXT, write_row_set
from tests.bsm_jax.sample_runs import write_config

BATCH = 16

# The train command, which writes a line for each batch: its first row, this host's rows, a checksum of their tokens.
RECORDED = """
import json, runpy, sys, zlib
import numpy as np
from bsm_jax.input import loader

log = open(sys.argv.pop(1), "a", buffering=1)
original = loader.TrainBatches.__next__

def recorded(self):
  first = self.next_row
  batch = original(self)
  rows = {}
  for shard in sorted(batch["row"].addressable_shards, key=lambda shard: shard.index[0].start or 0):
    start = shard.index[0].start or 0
    for place, row in enumerate(np.asarray(shard.data).tolist(), start):
      rows[place] = row
  sums = {}
  for shard in batch["tokens"].addressable_shards:
    for place, tokens in enumerate(np.asarray(shard.data), shard.index[0].start or 0):
      sums[place] = zlib.crc32(tokens.tobytes())
  log.write(json.dumps({"first": first, "rows": [[p, rows[p], sums[p]] for p in sorted(rows)]}) + "\\n")
  return batch

loader.TrainBatches.__next__ = recorded
sys.argv[0] = "train"
runpy.run_module("bsm_jax.train", run_name="__main__")
"""


def small_config(root: pathlib.Path, steps: int) -> ConfigDict:
  """Two rounds of a model of one layer, with evaluations and checkpoints every few steps."""
  config = bsm_110m.get_config()
  config.model.update({
      "n_layers": 1, "n_heads": 2, "d_model": 32, "head_dim": 16, "d_ff": 64, "dtype": "float32", "remat": "none",
  })
  config.data.update({"root": str(root), "context": CONTEXT, "batch_size": BATCH})
  tokens = CONTEXT * BATCH
  config.rounds = ConfigDict({
      "a": {"tokens": steps // 2 * tokens, "weights": {"single": 1.0}, "lr_start": 1e-2, "lr_end": 1e-3,
            "warmup_tokens": 2.0 * tokens},
      "b": {"tokens": (steps - steps // 2) * tokens, "weights": {"single": 1.0, "pairs": 2.0}, "lr_start": 1e-3,
            "lr_end": 0.0, "warmup_tokens": 0.0},
  })
  config.eval.row_sets = ConfigDict({"pairs": 16})
  config.eval.update({"batch_size": 8, "every_steps": 7})
  config.log_every_steps = 2
  config.checkpoint.every_steps = 3
  return config


class Run:
  """One run directory, started again and again on any number of hosts."""

  def __init__(self, folder: pathlib.Path, steps: int):
    self.folder, self.steps, self.starts = folder, steps, 0
    folder.mkdir()
    for name in ("single", "pairs"):
      write_row_set(folder / "rows", name)
    self.config = small_config(folder / "rows", steps)
    self._config_file = write_config(self.config, folder)

  @property
  def workdir(self) -> pathlib.Path:
    return self.folder / "run"

  def start(self, hosts: int, devices: int) -> Hosts:
    """The hosts of the next start, to be entered by `with`."""
    self.starts += 1
    log = lambda host: str(self.folder / f"rows-{self.starts:03d}-{host}.jsonl")

    def command(port: int, host: int) -> list[str]:
      return [
          sys.executable, "-c", RECORDED, log(host), f"--config={self._config_file}",
          f"--workdir={self.workdir}", f"--coordinator=localhost:{port}", f"--num_hosts={hosts}", f"--host={host}",
          "--heartbeat_seconds=10",
      ]  # fmt: skip

    # Every start compiles for itself, also among tests, which share what they compile.
    return Hosts(command, hosts, devices, env={"JAX_ENABLE_COMPILATION_CACHE": "false"})

  def steps_begun(self) -> int:
    """Steps that host 0 has begun since the present start."""
    path = self.folder / f"rows-{self.starts:03d}-0.jsonl"
    return path.read_text().count("\n") if path.exists() else 0

  def rows_by_start(self) -> list[dict[int, list[tuple[int, int]]]]:
    """For each start: the batches that all its hosts have seen, (row, checksum) by place, by their first row."""
    found = []
    for number in range(1, self.starts + 1):
      batches = collections.defaultdict(dict)
      for path in sorted(self.folder.glob(f"rows-{number:03d}-*.jsonl")):
        for line in path.read_text().split("\n")[:-1]:
          record = json.loads(line)
          batches[record["first"]] |= {place: (row, checksum) for place, row, checksum in record["rows"]}
      found.append({
          first: [rows[place] for place in range(BATCH)] for first, rows in batches.items() if len(rows) == BATCH
      })
    return found

  def final_state(self) -> dict:
    """The train state of the newest checkpoint, on the host."""
    devices = jax.devices()
    abstract = program.make_program(self.config, sharding.make_mesh((1, 1, 1), devices[:1])).abstract_state
    kept = checkpoint.Checkpointer(self.workdir / "checkpoints")
    try:
      return jax.device_get(kept.restore(abstract).state)
    finally:
      kept.close()

  def metrics(self) -> list[dict]:
    """What `metrics.jsonl` holds, but for starts and times."""
    timed = ("second", "mfu", "data_wait", "goodput")
    lines = [line for line in metrics.read_metrics(self.workdir) if line["kind"] != "start"]
    return [{k: v for k, v in line.items() if not any(t in k for t in timed)} for line in lines]


class Kill(NamedTuple):
  """When to kill which host (None: all), and how.

  Attributes:
    moment: "steps": after so many steps of this start; "seconds": after so many seconds, at any stage of it;
      "checkpoint": when the folder of an unfinished checkpoint is seen, the `amount`-th time.
  """

  moment: str
  amount: float
  host: int | None
  number: int

  def __str__(self) -> str:
    who = "both hosts" if self.host is None else f"host {self.host}"
    return f"{signal.Signals(self.number).name} to {who}, {self.moment} {self.amount:.3g}"


def random_kills(count: int, seed: int) -> list[Kill]:
  """Every kind of kill in turn, in random order, at random moments."""
  rng = random.Random(seed)
  kinds = [(host, number) for host in (None, 0, 1) for number in (signal.SIGKILL, signal.SIGTERM)]
  moments = ["steps", "steps", "checkpoint", "seconds"]
  found = []
  for k in range(count):
    moment = moments[k % len(moments)]
    amount = {"steps": rng.uniform(1, 14), "checkpoint": rng.randint(1, 3), "seconds": rng.uniform(0, 20)}[moment]
    found.append(Kill(moment, amount, *kinds[k % len(kinds)] if k < len(kinds) else rng.choice(kinds)))
  rng.shuffle(found)
  return found


def wait_for(kill: Kill, run: Run, hosts: Hosts) -> None:
  """Returns at the kill's moment, or when a host has ended before it."""
  start, seen, unfinished = time.monotonic(), 0, set()
  while all(process.poll() is None for process in hosts.processes):
    if kill.moment == "seconds" and time.monotonic() - start >= kill.amount:
      return
    if kill.moment == "steps" and run.steps_begun() >= kill.amount:
      time.sleep(kill.amount % 1 * 0.2)  # Anywhere inside a step.
      return
    if kill.moment == "checkpoint":
      now = {path.name for path in (run.workdir / "checkpoints").glob("*tmp*")}
      seen += bool(now - unfinished)
      unfinished = now
      if seen >= kill.amount:
        return
    time.sleep(0.001)


def check_ends(kill: Kill, results: Sequence[Result]) -> None:
  """Raises AssertionError unless the hosts ended as such a kill should make them."""
  codes = [result.returncode for result in results]
  if kill.number == signal.SIGKILL:
    ended_before = all(code == 0 for code in codes)
    assert ended_before or 0 not in codes, f"{kill}: {codes}"
  else:
    # Before the handler is in place SIGTERM ends the process as usual.
    early = any(code == -signal.SIGTERM for code in codes)
    assert early or set(codes) in ({130}, {0}), f"{kill}: {codes}\n{results[0].output[-3000:]}"


def disturb(run: Run, kills: Sequence[Kill]) -> None:
  """Starts the run on two hosts, kills it at each of the moments, and lets the last start finish."""
  for number, kill in enumerate(kills, 1):
    with run.start(2, 4) as hosts:
      wait_for(kill, run, hosts)
      hosts.kill(kill.host, kill.number)
      results = hosts.wait(120, grace=40)
    check_ends(kill, results)
    codes = [result.returncode for result in results]
    print(f"kill {number}: {kill}; {run.steps_begun()} steps begun, hosts ended with {codes}", flush=True)
  with run.start(2, 4) as hosts:
    results = hosts.wait(600)
  assert [r.returncode for r in results] == [0, 0], results[0].output[-3000:]


def undisturbed(run: Run) -> None:
  with run.start(2, 4) as hosts:
    results = hosts.wait(600)
  assert [r.returncode for r in results] == [0, 0], results[0].output[-3000:]


def check_rows(run: Run, like: Run | None = None) -> int:
  """Raises AssertionError unless each batch was rows `first, first + 1, ...`, each start went on where an earlier one
  had been, and all of the run's rows were seen; returns how many batches were seen more than once."""
  found, seen = run.rows_by_start(), {}
  expected = like.rows_by_start()[0] if like else None
  times = collections.Counter()
  for batches in found:
    firsts = sorted(batches)
    if firsts:
      assert firsts == list(range(firsts[0], firsts[-1] + BATCH, BATCH)), f"rows were left out: {firsts}"
      assert firsts[0] <= max(seen, default=-BATCH) + BATCH, "rows were left out between two starts"
    for first, rows in batches.items():
      assert [row for row, _ in rows] == list(range(first, first + BATCH)), (first, rows)
      assert seen.setdefault(first, rows) == rows, f"rows {first}... had other tokens in another start"
      assert expected is None or expected[first] == rows, f"rows {first}... have other tokens than undisturbed"
      times[first] += 1
  assert sorted(seen) == list(range(0, run.steps * BATCH, BATCH)), "not all rows were seen"
  return sum(n > 1 for n in times.values())


def compare(disturbed: Run, whole: Run) -> None:
  """Raises AssertionError unless both runs ended with the same state, bit for bit, and the same metrics."""
  jax.tree.map(np.testing.assert_array_equal, disturbed.final_state(), whole.final_state())
  assert disturbed.metrics() == whole.metrics()


def main(argv: Sequence[str]) -> None:
  del argv
  absl_logging.set_verbosity(absl_logging.WARNING)
  kills = random_kills(flags.FLAGS.kills, flags.FLAGS.seed)
  steps = 40 + 5 * len(kills)
  with tempfile.TemporaryDirectory() as folder:
    whole, disturbed = (Run(pathlib.Path(folder, name), steps) for name in ("whole", "disturbed"))
    undisturbed(whole)
    check_rows(whole)
    disturb(disturbed, kills)
    twice = check_rows(disturbed, whole)
    compare(disturbed, whole)
    digest = zlib.crc32(b"".join(x.tobytes() for x in jax.tree.leaves(disturbed.final_state())))
    print(
        f"seed {flags.FLAGS.seed}: {len(kills)} kills, {disturbed.starts} starts, {steps} steps of {BATCH} rows; every"
        f" row is in the final parameters once ({twice} batches were computed again after a kill); state and metrics"
        f" equal the undisturbed run's bit for bit (crc32 {digest:08x})"
    )


if __name__ == "__main__":
  flags.DEFINE_integer("kills", 30, "How often to kill.", lower_bound=0)
  flags.DEFINE_integer("seed", 0, "Of kinds and moments.")
  app.run(main)
