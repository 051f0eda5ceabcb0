"""Runs evaluations of a trained model, and writes their results and one table beside the paper's figures.

  python -m bsm_jax.evaluation.run --list [--suite=SUITE] [--data=DIR]
  python -m bsm_jax.evaluation.run --checkpoint=RUN --suite=paper --data=DIR --out=OUT
  python -m bsm_jax.evaluation.run --checkpoint=RUN --tasks=proteingym --assays=CCDB_ECOLI_Adkar_2012 --data=DIR …

Each task writes `OUT/MODEL/TASK.json` when it is done; a task whose data are not there or that fails is told at the end
and costs the others nothing. The same command again does only what is not yet done with the same parameters, data and
settings. `results.md` and `results.html` hold all results in OUT, those of other models and of fine-tuning too.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence

import jax
from absl import app, flags, logging
from etils import epath

from bsm_jax import inference
from bsm_jax import model as model_lib
from bsm_jax.evaluation import dms, results, suites
from bsm_jax.evaluation.tasks.task import Settings, Task, TaskError
from bsm_jax.inference.loaded import Model
from bsm_jax.training.checkpoint import CheckpointError
from bsm_jax.training.program import ConfigError


class RunError(ValueError):
  """What was asked for cannot be run; the message says why, and the remedy."""


def choose(suite: str | None, names: Sequence[str]) -> list[Task]:
  """Tasks by name, or those of a suite.

  Raises:
    RunError: a name is unknown, or nothing is asked for.
  """
  if not names and not suite:
    raise RunError(f"say what to run: --suite={'|'.join(suites.SUITES)}, or --tasks=NAME,… (--list shows them)")
  if unknown := sorted(set(names) - suites.TASKS.keys()):
    raise RunError(f"no task {', '.join(unknown)}; there are: {', '.join(suites.TASKS)}")
  return [suites.TASKS[name] for name in names or suites.SUITES[suite]]


def missing_files(task: Task, data_root: str, settings: Settings) -> list[str]:
  """Those of a task's data files that are not in the folder of data."""
  absent = []
  for name in task.files(data_root, settings):
    try:
      dms.locate(data_root, name)
    except FileNotFoundError:
      absent.append(name)
  return absent


def describe(tasks: Sequence[Task], data_root: str | None, settings: Settings) -> str:
  """Text: each task with its version, its files and whether they are there, and where they are published."""
  lines = []
  for task in tasks:
    lines.append(f"{task.name}  [{task.kind}: {task.version}]")
    absent = set(missing_files(task, data_root, settings)) if data_root else set()
    files = task.files(data_root or "", settings)
    for name in files[:10]:
      lines.append(f"  {'missing  ' if name in absent else 'there    ' if data_root else ''}{name}")
    if len(files) > 10:
      lines.append(f"  … and {len(files) - 10} more, {len(absent - set(files[:10]))} of them missing")
    lines.append(f"  from: {task.published}")
  lines.append("suites: " + "; ".join(f"{name} ({len(members)})" for name, members in suites.SUITES.items()))
  return "\n".join(lines)


def untrained(model: Model, seed: int) -> Model:
  """The same model with fresh random parameters: the bar that training has to clear."""
  fresh = model_lib.init_params(model.config, seed)
  params = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), fresh, model.params)
  return dataclasses.replace(model, params=params, name=f"untrained_{seed}", step=0)


def is_done(path: epath.Path, task: Task, model: Model, params_sha256: str, data_root: str, settings: Settings) -> bool:
  """Whether a result is there of the same version, parameters, settings and data."""
  if not path.exists():
    return False
  before = results.read(path)
  asked = json.loads(json.dumps(dataclasses.asdict(settings)))
  same = before.version == task.version and before.checkpoint.get("sha256") == params_sha256
  if not same or any(before.settings.get(name) != value for name, value in asked.items()):
    return False
  names = task.files(data_root, settings)
  return before.data == results.about_data({name: str(dms.locate(data_root, name)) for name in names})


def run(model: Model, tasks: Sequence[Task], data_root: str, out: str, settings: Settings, say=print) -> dict[str, str]:
  """Runs tasks one after the other and writes what they find.

  Args:
    model: what `inference.load` gives.
    tasks: in their order.
    data_root: folder of data.
    out: folder for results.
    settings: for all tasks.
    say: called with lines of progress.

  Returns:
    by the name of each task that gave no result, why.
  """
  sha256 = model.params_sha256
  label = f"{epath.Path(model.name).name or 'model'}_step_{model.step}_{sha256[:8]}"
  failed = {}
  for task in tasks:
    try:
      if absent := missing_files(task, data_root, settings):
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise RunError(f"not in {data_root}: {', '.join(absent[:3])}{more}. To be had: {task.published}")
      if is_done(epath.Path(out) / label / f"{task.name}.json", task, model, sha256, data_root, settings):
        say(f"{task.name}: done before")
        continue
      found = task.run(model, data_root, settings)
    except (ValueError, OSError) as error:
      failed[task.name] = str(error)
      say(f"{task.name}: {'no data' if isinstance(error, RunError) else 'FAILED'}: {error}")
      continue
    path = results.write(found, epath.Path(out) / label)
    if draw := getattr(task, "draw", None):
      draw(found, path.parent)
    shown = [f"{name} {value:.4f}" for name, value in found.metrics.items() if "/" not in name]
    say(f"{task.name}: {', '.join(shown)}  ({found.truncation['share']:.1%} truncated)  {path}")
  return failed


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  values = flags.FLAGS
  logging.set_verbosity(logging.ERROR)
  settings = Settings(
      reduce=values.reduce, limit=values.limit, seed=values.seed, assays=tuple(values.assays),
      rules=dms.Rules(missing=values.missing, duplicates=values.duplicates), resamples=values.resamples,
  )  # fmt: skip
  try:
    if values.list:
      print(describe(choose(values.suite or "all", values.tasks), values.data, settings))
      return
    tasks = choose(values.suite, values.tasks)
    if lacking := [name for name in ("checkpoint", "data", "out") if not values[name].value]:
      raise RunError(f"--{' and --'.join(lacking)} must be given")
    model = inference.load(values.checkpoint, step=values.step, dtype=values.dtype)
    model = untrained(model, values.seed) if values.untrained else model
    failed = run(model, tasks, values.data, values.out, settings)
    found = results.read_all(values.out)
    written = results.write_tables(found, suites.PAPER, values.out) if found else []
  except (
      RunError, TaskError, dms.AssayError, inference.InputError, results.ResultError, CheckpointError, ConfigError
  ) as error:  # fmt: skip
    sys.exit(f"error: {error}")
  except KeyboardInterrupt:
    sys.exit("\nstopped; the same command goes on with the task that it was at")
  if written:
    print(f"\n{len(found)} results, all that are in {values.out}:\n  " + "\n  ".join(written))
  if failed:
    sys.exit(f"error: {len(failed)} of {len(tasks)} tasks gave no result: {', '.join(failed)} (see above)")


if __name__ == "__main__":
  flags.DEFINE_bool("list", False, "Show tasks with their files, and which of them --data has, and do nothing.")
  flags.DEFINE_string("checkpoint", None, "Run directory of `bsm_jax.train`, local or gs://.")
  flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
  flags.DEFINE_enum("suite", None, list(suites.SUITES), "Tasks that belong together.")
  flags.DEFINE_list("tasks", [], "Only these tasks.")
  flags.DEFINE_string("data", None, "Folder of the data files, as --list shows them.")
  flags.DEFINE_string("out", None, "Folder for results.")
  flags.DEFINE_list("assays", [], "Only these assays of a benchmark; its own figure needs all of them.")
  flags.DEFINE_integer("limit", None, "At most so many variants of an assay or sequences of a file.", lower_bound=2)
  flags.DEFINE_enum("reduce", "mean", ["mean", "sum"], "Log-likelihood of a variant: over its letters.")
  flags.DEFINE_integer("seed", 0, "Of what is drawn, and of --untrained.")
  flags.DEFINE_integer("resamples", 1000, "Of the bootstrap.", lower_bound=10)
  flags.DEFINE_enum("missing", "error", ["error", "drop"], "Rows of assays without a score.")
  flags.DEFINE_enum("duplicates", "error", ["error", "drop", "keep"], "Variants that are in an assay twice.")
  flags.DEFINE_bool("untrained", False, "The model with random parameters instead of its own, for comparison.")
  flags.DEFINE_string("dtype", None, "Of activations: float32 or bfloat16.")
  app.run(main)
