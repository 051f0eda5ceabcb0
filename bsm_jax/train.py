"""Trains a model through all its rounds: `python -m bsm_jax.train --config=configs/bsm_110m.py --workdir=DIR`.

Run the same command again to continue where it stopped; when the run is finished it says so. `--config.KEY=VALUE`
overrides a setting (an unknown key is an error).

The run directory holds `config.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import time

import jax
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from etils import epath
from ml_collections import ConfigDict, config_flags
from tqdm.auto import tqdm

import bsm_jax
from bsm_jax import model as model_lib
from bsm_jax import sharding, tokenizer
from bsm_jax.input import loader, mixture, rows
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import metrics as metrics_lib
from bsm_jax.training import program as program_lib
from bsm_jax.training import step as step_lib
from bsm_jax.training.program import ConfigError

_log = logging.getLogger("bsm_jax")


class Stop:
  """Turns SIGINT and SIGTERM into a wish to stop after the step in progress; a second one stops at once."""

  def __init__(self):
    self.wanted = False

  def _handle(self, number, frame):
    del frame
    if self.wanted:
      raise KeyboardInterrupt
    self.wanted = True
    name = signal.Signals(number).name
    _log.warning("%s: stopping after this step, with a checkpoint; once more stops at once", name)

  @contextlib.contextmanager
  def installed(self):
    before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
      yield self
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


class Throughput:
  """Tokens/s over the time spent training: evaluation, checkpoints and compilation stop the clock."""

  def __init__(self):
    self.restart()

  def restart(self) -> None:
    self._seconds, self._steps, self._since = 0.0, 0, time.perf_counter()

  @contextlib.contextmanager
  def paused(self):
    self._seconds += time.perf_counter() - self._since
    yield
    self._since = time.perf_counter()

  def count(self) -> None:
    self._steps += 1

  def steps_per_second(self) -> float:
    return self._steps / max(self._seconds + time.perf_counter() - self._since, 1e-9)


def _check_resume(meta: dict, current: dict) -> None:
  """Refuses to continue a run whose checkpoint means something else under the present config.

  Rounds that have not begun may be changed, added or left out.
  """
  begun = lambda config: config | {"rounds": {n: r for n, r in config["rounds"].items() if n <= meta["round"]}}
  saved, current = begun(meta["config"]), begun(current)
  differences = []
  for key in ("model", "data", "rounds", "optimizer", "seed"):
    before, now = (_flatten(c.get(key), key) for c in (saved, current))
    for name in sorted(before.keys() | now.keys()):
      if name in ("data.root", "data.prefetch", "model.attention", "model.blocks", "model.scan", "model.remat"):
        continue
      if before.get(name) != now.get(name):
        differences.append(f"  {name}: {before.get(name)!r} in the checkpoint, {now.get(name)!r} now")
  if differences:
    raise ConfigError(
        "the run directory holds a checkpoint of another config:\n" + "\n".join(differences) + "\nUse another"
        " --workdir, or the settings of the checkpoint."
    )


def _flatten(value, prefix: str) -> dict:
  if not isinstance(value, dict):
    return {prefix: value}
  return {name: leaf for key, part in value.items() for name, leaf in _flatten(part, f"{prefix}.{key}").items()}


def train(config: ConfigDict, workdir: str) -> dict:
  """Runs, or continues, all rounds of `config` in `workdir`.

  Returns:
    the train state at the end (at the stop, if a signal asked for one).

  Raises:
    ConfigError, RowsError, CheckpointError: see the message.
  """
  # --- The config becomes plain objects; from here on nobody sees the ConfigDict.
  if not config.data.root:
    raise ConfigError("data.root is not set: give --config.data.root=DIR, the `rows` folder of a build")
  root, context, batch_size = config.data.root, config.data.context, config.data.batch_size
  mesh = sharding.make_mesh((config.mesh.data, config.mesh.fsdp, config.mesh.model))
  program = program_lib.make_program(config, mesh)
  model, plan = program.model, program.plan
  settings = json.loads(config.to_json_best_effort())
  workdir = epath.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)

  # --- Data: the rows of the whole run, and the validation rows.
  rows_of_run = mixture.MixtureInput(root, plan.rows(), seed=config.seed, context=context)
  validation = {
      name: rows.open_row_set(root, name, "valid", context=context) for name in config.eval.row_sets
  }
  batches = loader.TrainBatches(rows_of_run, batch_size, program.batch_sharding, prefetch=config.data.prefetch)

  # --- Model and steps, which compile at their first call.
  n_params = model_lib.count_params(program.abstract_state["params"])
  _log.info("%s parameters (%.1fM)", f"{n_params:,}", n_params / 1e6)
  _log.info("%d device(s) of kind %s, mesh %s\n%s", jax.device_count(), jax.devices()[0].device_kind,
               dict(mesh.shape), plan.describe())

  # --- A fresh state, or the newest checkpoint.
  checkpointer = checkpoint_lib.Checkpointer(
      workdir / "checkpoints", every_steps=config.checkpoint.every_steps, keep=config.checkpoint.keep
  )
  interval = np.zeros((len(rows_of_run.mixture.row_sets), 2, len(step_lib.CLASSES)))
  if checkpointer.latest_step() is None:
    state = program.init()
    start_step = 0
  else:
    _check_resume(checkpointer.meta(), settings)
    restored = checkpointer.restore(program.abstract_state)
    state, start_step = restored.state, restored.step
    batches.seek(restored.data["next_row"])
    for number, name in enumerate(rows_of_run.mixture.row_sets):
      interval[number] = restored.data["interval"].get(name, 0.0)
    _log.info("continuing at step %d of %d", start_step, plan.total_steps)
  if start_step >= plan.total_steps:
    _log.info("this run is finished: %d steps, checkpoint in %s", start_step, checkpointer.folder)
    checkpointer.close()
    return state
  if jax.process_index() == 0:
    (workdir / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
  writer = metrics_lib.MetricsWriter(workdir, start_step=start_step)

  # --- What the figures are counted against.
  peak, peak_source = metrics_lib.peak_flops(jax.devices()[0], model.dtype)
  _log.info("MFU counts against %.3g FLOP/s a device (%s)", peak, peak_source)
  flops = {causal: metrics_lib.flops_per_token(model, context, causal=causal) for causal in (True, False)}

  def evaluate(step: int, params) -> None:
    values = {"kind": "valid", "round": plan.rounds[plan.round_number(max(step - 1, 0))].name}
    for name, row_set in validation.items():
      table = np.zeros((2, len(step_lib.CLASSES)))
      for tokens in loader.validation_batches(
          row_set, config.eval.batch_size, config.eval.row_sets[name], program.batch_sharding
      ):
        table += np.asarray(program.eval_step(params, tokens))
      values |= metrics_lib.table_metrics(f"valid/{name}", table)
    writer.write(step, values)
    shown = {k.removeprefix("valid/"): v for k, v in values.items() if k.endswith(tuple(step_lib.CLASSES[1:]))}
    _log.info("step %d, bits per residue: %s", step, "  ".join(f"{k} {v:.3f}" for k, v in shown.items()))

  def log(step: int, metrics) -> None:
    """Adds a finished step to the interval; ends the interval when it is due. Waits for the step's result."""
    interval[:] += np.asarray(metrics["table"])
    if step % config.log_every_steps and step != plan.total_steps:
      return
    rate = throughput.steps_per_second() * plan.tokens_per_step
    number = plan.round_number(step - 1)
    values = {
        "kind": "train",
        "round": plan.rounds[number].name,
        "loss": float(interval[:, 0].sum() / max(interval[:, 1].sum(), 1.0)),
        "grad_norm": float(metrics["grad_norm"]),
        "lr": float(plan.learning_rate(step - 1)),
        "tokens": step * plan.tokens_per_step,
        "tokens_per_second": rate,
        "mfu": rate * flops[True] / (peak * jax.device_count()),
        "mfu_full_attention": rate * flops[False] / (peak * jax.device_count()),
    }
    for name, table in zip(rows_of_run.mixture.row_sets, interval):
      values |= metrics_lib.table_metrics(f"train/{name}", table)
    writer.write(step, values)
    bar.set_postfix_str(f"{values['round']} loss {values['loss']:.3f} {rate:,.0f} tok/s MFU {values['mfu']:.1%}")
    interval[:] = 0.0
    throughput.restart()

  def snapshot(step: int) -> checkpoint_lib.Checkpoint:
    by_name = dict(zip(rows_of_run.mixture.row_sets, interval.tolist()))
    data = {"next_row": batches.next_row, "interval": by_name}
    meta = {
        "config": settings,
        "vocabulary_hash": tokenizer.vocabulary_hash(),
        "round": plan.rounds[plan.round_number(max(step - 1, 0))].name,
        "tokens": step * plan.tokens_per_step,
        "rows": rows_of_run.mixture.drawn(batches.next_row),
        "version": bsm_jax.__version__,
    }
    return checkpoint_lib.Checkpoint(step, state, data, meta)

  # --- The loop: step k is dispatched before step k - 1's metrics are read, so the device never waits for the host.
  stop, pending = Stop(), None
  throughput = Throughput()
  bar = tqdm(total=plan.total_steps, initial=start_step, unit="step", dynamic_ncols=True, mininterval=1.0,
             disable=jax.process_index() != 0)
  with stop.installed(), bar, contextlib.closing(checkpointer), contextlib.closing(writer):
    if start_step == 0 and config.eval.row_sets:
      evaluate(0, state["params"])
    throughput.restart()
    for step in range(start_step + 1, plan.total_steps + 1):
      state, metrics = program.train_step(state, next(batches))
      throughput.count()
      if pending is not None:
        log(*pending)
      pending = step, metrics
      bar.update()
      last = step == plan.total_steps or stop.wanted
      round_ends = step in plan.starts
      if config.eval.row_sets and (round_ends or step % config.eval.every_steps == 0):
        log(*pending)
        pending = None
        with throughput.paused():
          evaluate(step, state["params"])
      if last or round_ends or checkpointer.due(step):
        if pending is not None:
          log(*pending)
          pending = None
        with throughput.paused():
          checkpointer.save(snapshot(step), force=last or round_ends)
      if stop.wanted:
        break
  if stop.wanted and step < plan.total_steps:
    _log.warning("stopped at step %d of %d; run the same command to continue", step, plan.total_steps)
  return state


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  config, workdir = flags.FLAGS.config, flags.FLAGS.workdir
  # Our own lines; Orbax and others log a page a checkpoint at this level.
  absl_logging.set_verbosity(absl_logging.WARNING)
  _log.setLevel(logging.INFO)
  try:
    state = train(config, workdir)
  except (ConfigError, rows.RowsError, checkpoint_lib.CheckpointError) as error:
    sys.exit(f"error: {error}")
  total = program_lib.schedule(config).total_steps
  if int(state["step"]) < total:
    sys.exit(130)
  print(f"Trained {total} steps in {workdir}. Next, draw its curves:\n  python -m bsm_jax.report --workdir={workdir}")


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The run's config file.", lock_config=True)
  flags.DEFINE_string("workdir", None, "Run directory; made if absent, continued if not.")
  flags.mark_flags_as_required(["config", "workdir"])
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  app.run(main)
