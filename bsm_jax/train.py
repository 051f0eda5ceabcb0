"""Trains a model through all its rounds: `python -m bsm_jax.train --config=configs/bsm_110m.py --workdir=DIR`.

Run the same command again to continue where it stopped; when the run is finished it says so. `--config.KEY=VALUE`
overrides a setting (an unknown key is an error). On several hosts, start it on each with `--multihost` and a
`--workdir` that all of them share; the number of hosts and the mesh may change from one start to the next.

The run directory holds `config.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`. The process ends with 0 when the
run is finished, with 130 when a signal stopped it, and with 1 after an error.
"""

import contextlib
import dataclasses
import json
import logging
import operator
import os
import signal
import sys
import time
import traceback

import jax
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from etils import epath
from jax.experimental import multihost_utils
from ml_collections import ConfigDict, config_flags

import bsm_jax
from bsm_jax import model as model_lib
from bsm_jax import multihost, sharding, tokenizer
from bsm_jax.input import loader, mixture, rows
from bsm_jax.training import beginning, progress
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import metrics as metrics_lib
from bsm_jax.training import program as program_lib
from bsm_jax.training import step as step_lib
from bsm_jax.training.program import ConfigError

_log = logging.getLogger("bsm_jax")


class UnstableError(RuntimeError):
  """Too many steps in a row had to be thrown away; the message names the rows and the remedies."""


# Errors whose message says all that a user needs.
_EXPLAINED = (
    ConfigError, rows.RowsError, loader.DataStalledError, checkpoint_lib.CheckpointError, UnstableError, OSError,
    multihost.JoinError, metrics_lib.MetricsError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Where a run stands: its train state, and whether nothing is left to do."""

  state: dict
  finished: bool


@contextlib.contextmanager
def answering_signals(stop: loader.Stop):
  """SIGINT and SIGTERM set `stop.wanted`; a second one stops at once."""

  def answer(number, frame):
    del frame
    if stop.wanted:
      raise KeyboardInterrupt
    stop.wanted = True
    _log.warning("%s: stopping after a step, with a checkpoint; once more stops at once", signal.Signals(number).name)

  before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def train(
    config: ConfigDict, workdir: str, *, profile: tuple[int, int] | None = None, wandb_project: str | None = None
) -> Outcome:
  """Runs, or continues, all rounds of `config` in `workdir`.

  Args:
    config: see `configs/bsm_110m.py`.
    workdir: the run directory, shared by all hosts.
    profile: first and last step of which a profile is written to `workdir/profile`.
    wandb_project: of Weights & Biases.

  Raises:
    ConfigError, RowsError, DataStalledError, CheckpointError, UnstableError, MetricsError: see the message.
  """
  # --- The config becomes plain objects; from here on nobody sees the ConfigDict.
  config = program_lib.with_mixtures(config)
  if not config.data.root:
    raise ConfigError("data.root is not set: give --config.data.root=DIR, the `rows` folder of a build")
  root, context, batch_size = config.data.root, config.data.context, config.data.batch_size
  mesh = program_lib.make_mesh(config)
  if config.eval.batch_size % sharding.row_places(mesh):
    raise ConfigError(f"eval.batch_size {config.eval.batch_size} does not divide over mesh.data x mesh.fsdp devices")
  for name in ("log_every_steps", "eval.every_steps", "checkpoint.every_steps"):
    if (steps := operator.attrgetter(name)(config)) < 1:
      raise ConfigError(f"{name} {steps} is no interval: give a number of steps, 1 or more")
  program = program_lib.make_program(config, mesh)
  model, plan, first_host = program.model, program.plan, jax.process_index() == 0
  settings = json.loads(config.to_json_best_effort())
  workdir = epath.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)

  # --- What there is already: checkpoints of this run, else of the one that it starts from.
  checkpointer = checkpoint_lib.Checkpointer(
      workdir / "checkpoints", every_steps=config.checkpoint.every_steps, keep=config.checkpoint.keep,
      keep_steps=plan.starts,
  )  # fmt: skip
  resumes = checkpointer.latest_step() is not None
  if resumes:
    meta = checkpointer.meta()
    beginning.check_resume(meta, settings)
    drawn_before = meta["drawn_before"]
  elif config.init_from:
    first, drawn_before = beginning.start_from(config.init_from, settings, program)
  else:
    first, drawn_before = program.init, {}

  # --- Data: the rows of the whole run, and the validation rows.
  rows_of_run = mixture.MixtureInput(
      root, plan.rows(), seed=config.seed, context=context, drawn_before=drawn_before
  )
  validation = {
      name: rows.open_row_set(root, name, "valid", context=context) for name in config.eval.row_sets
  }
  batches = loader.TrainBatches(
      rows_of_run, batch_size, program.batch_sharding, prefetch=config.data.prefetch,
      stall_seconds=config.data.stall_seconds,
  )  # fmt: skip
  stop = loader.Stop()

  # --- Model and steps, which compile at their first call.
  n_params = model_lib.count_params(program.abstract_state["params"])
  _log.info("%s parameters (%.1fM)\n%s", f"{n_params:,}", n_params / 1e6,
            sharding.describe(program.abstract_state, mesh))
  _log.info("%d device(s) of kind %s on %d host(s), mesh %s\n%s", jax.device_count(), jax.devices()[0].device_kind,
            jax.process_count(), sharding.shape_text(mesh), plan.describe())

  # --- The state to begin with, or that of the newest checkpoint.
  interval = np.zeros((len(rows_of_run.mixture.row_sets), 2, len(step_lib.CLASSES)))
  if not resumes:
    state, start_step = first(), 0
  else:
    restored = checkpointer.restore(program.abstract_state)
    state, start_step = restored.state, restored.step
    batches.seek(restored.data["next_row"])
    for number, name in enumerate(rows_of_run.mixture.row_sets):
      interval[number] = restored.data["interval"].get(name, 0.0)
    _log.info("continuing at step %d of %d", start_step, plan.total_steps)
  lines = [line for line in metrics_lib.read_metrics(workdir) if line["step"] <= start_step] if first_host else []
  # A stop in the middle of an evaluation left it to this start. What host 0 read is what counts.
  evaluated = bool(multihost_utils.broadcast_one_to_all(
      np.array(any(line["kind"] == "valid" and line["step"] == start_step for line in lines))
  ))  # fmt: skip
  if start_step >= plan.total_steps and (evaluated or not validation):
    _log.info("this run is finished: %d steps, checkpoint in %s", start_step, checkpointer.folder)
    checkpointer.close()
    batches.close()
    return Outcome(state, finished=True)
  if first_host:
    (workdir / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
  writer = metrics_lib.MetricsWriter(workdir, lines, settings=settings, wandb_project=wandb_project)
  goodput, clock = progress.Goodput(lines), progress.Clock()
  writer.write(start_step, {"kind": "start", "time": time.time(), "hosts": jax.process_count(),
                            "devices": jax.device_count(), "version": bsm_jax.__version__})

  # --- What the figures are counted against.
  peak, peak_source = metrics_lib.peak_flops(jax.devices()[0], model.dtype)
  _log.info("MFU counts against %.3g FLOP/s a device (%s)", peak, peak_source)
  flops = {causal: metrics_lib.flops_per_token(model, context, causal=causal) for causal in (True, False)}

  def eval_is_due(step: int) -> bool:
    return bool(validation) and (step in plan.starts or step % config.eval.every_steps == 0)

  def evaluate(step: int, params) -> bool:
    """Writes the validation losses; False if a host wanted to stop before they were complete."""
    values = {"kind": "valid", "round": plan.rounds[plan.round_number(max(step - 1, 0))].name}
    for name, row_set in validation.items():
      table = np.zeros((2, len(step_lib.CLASSES)))
      for batch in loader.validation_batches(
          row_set, config.eval.batch_size, config.eval.row_sets[name], program.batch_sharding
      ):
        flags_b = stop.flags(config.eval.batch_size, program.batch_sharding)
        of_batch = program.eval_step(params, batch | {"stop": flags_b})
        if of_batch["stop"]:
          _log.warning("stopping in the middle of the evaluation of step %d, which the next start repeats", step)
          return False
        table += np.asarray(of_batch["table"])
      values |= metrics_lib.table_metrics(f"valid/{name}", table)
    writer.write(step, values)
    shown = {k.removeprefix("valid/"): v for k, v in values.items() if k.endswith(tuple(step_lib.CLASSES[1:]))}
    _log.info("step %d, bits per residue: %s", step, "  ".join(f"{k} {v:.3f}" for k, v in shown.items()))
    return True

  def finish(step: int, metrics) -> bool:
    """Waits for a step's result, adds it to the interval, ends that when it is due; True if a host wants to stop."""
    metrics = jax.device_get(metrics)
    interval[:] += metrics["table"]
    if metrics["skipped"]:
      worst = ", ".join(rows_of_run.row_id(int(row)) for row in metrics["worst_rows"])
      what = f"loss {metrics['loss']:.4g}, gradient norm {metrics['grad_norm']:.4g}; greatest losses in rows {worst}"
      _log.warning("step %d skipped: %s", step, what)
      if metrics["in_a_row"] >= config.guard.max_in_a_row:
        raise UnstableError(
            f"steps {step - int(metrics['in_a_row']) + 1} to {step} had to be skipped, the last one with {what}.\nLook"
            " at these rows (python -m data_pipelines.inspect); lower the round's learning rate; or, if the data are as"
            " they should be, raise guard.spike_factor. No skipped step has touched the parameters in the checkpoint."
        )
    if step % config.log_every_steps == 0 or step == plan.total_steps:
      rate = clock.steps / clock.seconds() * plan.tokens_per_step
      values = {
          "kind": "train",
          "round": plan.rounds[plan.round_number(step - 1)].name,
          "loss": progress.interval_loss(interval),
          "grad_norm": float(metrics["grad_norm"]),
          "lr": float(metrics["lr"]),
          "skipped": int(metrics["skipped_in_all"]),
          "tokens": step * plan.tokens_per_step,
          "seconds": clock.seconds(),
          "tokens_per_second": rate,
          "tokens_per_second_per_device": rate / jax.device_count(),
          "mfu": rate * flops[True] / (peak * jax.device_count()),
          "mfu_full_attention": rate * flops[False] / (peak * jax.device_count()),
          "data_wait_share": clock.waited_share(),
          "goodput": goodput.add(clock.seconds()),
      }
      for name, table in zip(rows_of_run.mixture.row_sets, interval):
        values |= metrics_lib.table_metrics(f"train/{name}", table)
      writer.write(step, values)
      if first_host:
        seconds_left = (plan.total_steps - step) * plan.tokens_per_step / rate
        _log.info("%s", progress.line(step, plan.total_steps, values, seconds_left))
      interval[:] = 0.0
      clock.restart()
    return bool(metrics["stop"])

  def snapshot(step: int) -> checkpoint_lib.Checkpoint:
    by_name = dict(zip(rows_of_run.mixture.row_sets, interval.tolist()))
    data = {"next_row": batches.next_row, "interval": by_name}
    meta = {
        "config": settings,
        "vocabulary_hash": tokenizer.vocabulary_hash(),
        "round": plan.rounds[plan.round_number(max(step - 1, 0))].name,
        "tokens": step * plan.tokens_per_step,
        "rows": drawn_before | rows_of_run.mixture.drawn(batches.next_row),
        "drawn_before": drawn_before,
        "version": bsm_jax.__version__,
    }
    return checkpoint_lib.Checkpoint(step, state, data, meta)

  # --- The loop: step k is dispatched before step k - 1's metrics are read, so the device never waits for the host.
  pending, stopping, step = None, False, start_step
  with (
      answering_signals(stop), contextlib.closing(checkpointer), contextlib.closing(writer),
      contextlib.closing(batches), _profiling(workdir, profile) as profile_step,
  ):  # fmt: skip
    if not evaluated and eval_is_due(start_step):
      stopping = not evaluate(start_step, state["params"])
    while step < plan.total_steps and not stopping:
      step += 1
      profile_step(step)
      with clock.waiting():
        batch = next(batches)
      state, metrics = program.train_step(state, batch | {"stop": stop.flags(batch_size, program.batch_sharding)})
      if step == start_step + 1:
        clock.restart()  # It compiled until now.
      clock.count()
      stopping = pending is not None and finish(*pending)
      pending = step, metrics
      round_ends = step in plan.starts
      if stopping or eval_is_due(step) or round_ends or checkpointer.due(step):
        stopping |= finish(*pending)
        pending = None
        with clock.paused():
          if eval_is_due(step) and not stopping:
            stopping = not evaluate(step, state["params"])
          checkpointer.save(snapshot(step), force=stopping or round_ends)
  if stopping:
    _log.warning("stopped at step %d of %d; run the same command to continue", step, plan.total_steps)
  return Outcome(state, finished=not stopping)


@contextlib.contextmanager
def _profiling(workdir: epath.Path, steps: tuple[int, int] | None):
  """Gives a function to call before each step, which begins and ends the profile."""
  running = False

  def before(step: int) -> None:
    nonlocal running
    if steps is not None and step == steps[0]:
      jax.profiler.start_trace(str(workdir / "profile"))
      running = True
    elif running and step == steps[1] + 1:
      end()

  def end() -> None:
    nonlocal running
    running = False
    jax.profiler.stop_trace()
    _log.info("profile of steps %d to %d in %s", *steps, workdir / "profile")

  try:
    yield before
  finally:
    if running:
      end()


def _parse_profile(text: str | None) -> tuple[int, int] | None:
  if text is None:
    return None
  first, _, last = text.partition(":")
  if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last)):
    raise app.UsageError(f"--profile={text}: give the first and the last step, as 20:25")
  return int(first), int(last)


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  args = flags.FLAGS
  profile = _parse_profile(args.profile)
  # Our own lines; Orbax and others log a page a checkpoint at this level.
  absl_logging.set_verbosity(absl_logging.WARNING)
  try:
    if args.multihost or args.coordinator:
      multihost.join(args.coordinator, args.num_hosts, args.host, args.heartbeat_seconds)
    _log.setLevel(logging.INFO if jax.process_index() == 0 else logging.WARNING)
    outcome = train(args.config, args.workdir, profile=profile, wandb_project=args.wandb_project)
  except Exception as error:
    if not isinstance(error, _EXPLAINED):
      traceback.print_exc()
    print(f"error: {error}", file=sys.stderr, flush=True)
    # At once: a thread that hangs in a read, or hosts that wait for this one, would keep the process alive.
    os._exit(1)
  if not outcome.finished:
    sys.exit(130)
  if jax.process_index() == 0:
    total = program_lib.schedule(args.config).total_steps
    print(f"Trained {total} steps in {args.workdir}. Next, draw its curves:\n"
          f"  python -m bsm_jax.report --workdir={args.workdir}")


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The run's config file.", lock_config=True)
  flags.DEFINE_string("workdir", None, "Run directory, local or gs://; made if absent, continued if not.")
  flags.DEFINE_bool("multihost", False, "Join the other hosts; Cloud TPU, GKE, Slurm and Open MPI say who they are.")
  flags.DEFINE_string("coordinator", None, "HOST:PORT of host 0, where the cluster does not say.")
  flags.DEFINE_integer("num_hosts", None, "Number of hosts, likewise.", lower_bound=1)
  flags.DEFINE_integer("host", None, "Number of this host, from 0, likewise.", lower_bound=0)
  flags.DEFINE_integer("heartbeat_seconds", 100, "A host silent for so long is taken for dead; all others end.",
                       lower_bound=1)
  flags.DEFINE_string("profile", None, "First and last step of a profile, as 20:25.")
  flags.DEFINE_string("wandb_project", None, "Show the run in this project of Weights & Biases as well.")
  flags.mark_flags_as_required(["config", "workdir"])
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  app.run(main)
