"""Many runs of one config with different settings, and one table of what came out.

  python -m launch.sweep --config=configs/sweeps/learning_rate.py --list
  python -m launch.sweep --config=... --workdir=DIR --local   [-- --config.data.root=ROWS ...]   # one after another
  python -m launch.sweep --config=... --workdir=DIR --index=2 [-- --config.data.root=ROWS ...]   # one; see below
  python -m launch.sweep --config=... --workdir=DIR --collect

A sweep's config file has a `get_config` that returns a ConfigDict of the following; it is given what follows a colon,
as in --config=configs/sweeps/round2_mixture.py:configs/miniature.py.
  base       path of a run's config, such as "configs/miniature.py"
  overrides  a list of dicts, one a run: dotted key -> value, such as {"optimizer.b2": 0.95, "accumulation": 2}
  metrics    names that `--collect` shows (optional; by default every `valid/...` metric that a run wrote)

A run lives in DIR/ID and is `python -m bsm_jax.train --config=BASE --workdir=DIR/ID --config.KEY=VALUE ...`; what
follows `--` is given to each. Its ID tells the settings and ends in a hash of them: points may be added, left out or
reordered, and what has been computed keeps its place. `--local` leaves out what is finished, and continues a run that
was stopped. On a cluster each run is one task of an array job:

  sbatch --array=0-3 --gpus=1 --wrap='python -m launch.sweep ... --index=$SLURM_ARRAY_TASK_ID'

where `--list` shows the indices. `--dry_run` prints the commands.
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import json
import math
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from absl import app, flags
from etils import epath
from ml_collections import ConfigDict, config_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
_TRAIN = (sys.executable, "-m", "bsm_jax.train")
# Exit status of bsm_jax.train after a signal, with a checkpoint.
_STOPPED = 130


class SweepError(ValueError):
  """A sweep that cannot be run as it is written; the message says where and why."""


@dataclasses.dataclass(frozen=True)
class Run:
  """One point of a sweep.

  Attributes:
    index: its place in the list.
    overrides: its settings, dotted key -> value.
    arguments: those of train that say what it is, the base config and the settings.
    extra: those that every run gets.
  """

  index: int
  id: str
  overrides: Mapping[str, object]
  arguments: tuple[str, ...]
  extra: tuple[str, ...] = ()

  def command(self, workdir: str) -> list[str]:
    return [*_TRAIN, *self.arguments, *self.extra, f"--workdir={self.folder(workdir)}"]

  def folder(self, workdir: str) -> epath.Path:
    return epath.Path(workdir) / self.id


def load_sweep(path: str) -> ConfigDict:
  """What a sweep's config file says; FILE:ARGUMENT gives its `get_config` an argument.

  Raises:
    SweepError: there is no such file, it refuses the argument, or it lacks `base` or `overrides`.
  """
  path, colon, argument = path.partition(":")
  if not pathlib.Path(path).is_file():
    raise SweepError(f"there is no sweep config {path}; those of this checkout are in configs/sweeps/")
  spec = importlib.util.spec_from_file_location("sweep_config", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if colon and not inspect.signature(module.get_config).parameters:
    raise SweepError(f"{path} takes nothing behind a colon: leave out {argument!r}")
  try:
    config = module.get_config(argument) if colon else module.get_config()
  except (ValueError, OSError) as error:
    raise SweepError(f"{path}{colon}{argument}: {error}") from error
  if not config.get("base") or not config.get("overrides"):
    raise SweepError(f"{path}: get_config() has to give `base`, a config's path, and `overrides`, a list of dicts")
  return config


def make_runs(path: str, extra: Sequence[str] = ()) -> list[Run]:
  """The runs of a sweep, each tried on the base config with the parser that train uses.

  Args:
    path: the sweep's config file.
    extra: arguments that every run gets; they do not enter the ids.

  Raises:
    SweepError: a key that the base config lacks, a value of another type, or the same point twice.
  """
  sweep = load_sweep(path)
  runs, seen = [], {}
  for index, overrides in enumerate(sweep.overrides):
    where = f"{path}: overrides[{index}]"
    arguments = [f"--config={sweep.base}"]
    arguments += [f"--config.{key}={_as_flag(value, f'{where}, {key}')}" for key, value in overrides.items()]
    config = _parse([*arguments, *(a for a in extra if a.startswith("--config."))], where)
    # The config's own values: 1 and 1.0 for a float, or a list and a tuple, are one point.
    values = {key: _lookup(config, key) for key in overrides}
    for key, value in overrides.items():
      if values[key] != (tuple(value) if isinstance(value, list) else value):
        raise SweepError(f"{where}: {key}={value!r} is read back as {values[key]!r}, or set again after --")
    name = run_id(values)
    if name in seen:
      raise SweepError(f"{where} is the same point as overrides[{seen[name]}]")
    seen[name] = index
    runs.append(Run(index, name, values, tuple(arguments), tuple(extra)))
  return runs


def _as_flag(value: object, where: str) -> str:
  """A value as train's command line takes it; `repr` of a float gives the same float back."""
  if isinstance(value, str):
    return value
  if isinstance(value, (list, tuple)):
    return repr(tuple(value))
  if isinstance(value, (bool, int, float)):
    return repr(value)
  raise SweepError(f"{where}: {value!r} cannot be given on a command line; use numbers, text, booleans and tuples")


def _parse(arguments: Sequence[str], where: str) -> ConfigDict:
  """The config that train would see under these arguments."""
  parsed = flags.FlagValues()
  argv = ["train", *arguments]
  config_flags.DEFINE_config_file("config", None, "", lock_config=True, flag_values=parsed, sys_argv=argv)
  try:
    parsed(argv)
  except (flags.Error, AttributeError, KeyError, OSError) as error:  # What ml_collections raises for a wrong name.
    raise SweepError(f"{where}: train would refuse {' '.join(arguments)}: {error}") from error
  return parsed.config


def _lookup(config: ConfigDict, key: str) -> object:
  for part in key.split("."):
    config = config[part]
  return config


def labels(values: Mapping[str, object]) -> list[str]:
  """Settings as short text, "lr_start=0.001": under a key's last part, its last two where that has several values."""
  by_leaf: dict[str, dict[str, object]] = {}
  for key in sorted(values):
    by_leaf.setdefault(key.split(".")[-1], {})[".".join(key.split(".")[-2:])] = values[key]
  found = []
  for leaf, settings in by_leaf.items():
    if len(set(map(repr, settings.values()))) == 1:
      settings = {leaf: next(iter(settings.values()))}
    found += [f"{key}={value}" for key, value in settings.items()]
  return found


def run_id(values: Mapping[str, object]) -> str:
  """A folder's name for a point: its settings as far as they fit, and a hash of all of them, in whatever order."""
  name = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", label).strip("_") for label in labels(values))
  digest = hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()
  return f"{name[:60].rstrip('-_.')}-{digest[:8]}"


def _note(run: Run, workdir: str) -> dict:
  """How a run ended when it was last started from here with its present settings; {} if it never did."""
  path = run.folder(workdir) / "sweep.json"
  said = json.loads(path.read_text()) if path.exists() else {}
  return said if said.get("arguments") == list(run.arguments) else {}


def status(run: Run, workdir: str) -> str:
  """`finished`, `stopped`, `failed STATUS`, or `-` for a run that has not ended yet, or was not started from here."""
  exit_status = _note(run, workdir).get("exit_status")
  return {None: "-", 0: "finished", _STOPPED: "stopped"}.get(exit_status, f"failed {exit_status}")


class Runner:
  """Starts runs one after the other; SIGINT and SIGTERM go to the run in progress, and end the sweep after it."""

  def __init__(self):
    self._process, self._signalled = None, False
    for number in (signal.SIGINT, signal.SIGTERM):
      signal.signal(number, self._forward)

  def _forward(self, number, frame):
    del frame
    self._signalled = True
    if self._process is not None:
      self._process.send_signal(number)

  def run(self, run: Run, workdir: str) -> int:
    """Trains one point and notes how it ended; gives the exit status of train, or 130 if stopped before its start."""
    if self._signalled:
      return _STOPPED
    folder = run.folder(workdir)
    print(f"\n== {run.index}: {folder}\n+ {shlex.join(run.command(workdir))}", file=sys.stderr, flush=True)
    # A session of its own, so that Ctrl-C reaches it once, from here.
    self._process = subprocess.Popen(run.command(workdir), cwd=ROOT, start_new_session=True)
    exit_status = self._process.wait()
    self._process = None
    folder.mkdir(parents=True, exist_ok=True)
    note = {"arguments": list(run.arguments), "extra": list(run.extra), "exit_status": exit_status}
    (folder / "sweep.json").write_text(json.dumps(note, indent=2) + "\n")
    return exit_status


def run_all(runs: Sequence[Run], workdir: str) -> int:
  """Runs what is not finished; a run that fails does not keep the others from running.

  Returns:
    130 if a signal stopped it, 1 if a run failed, else 0.
  """
  runner, failed = Runner(), []
  for run in runs:
    if status(run, workdir) == "finished" and _note(run, workdir)["extra"] == list(run.extra):
      print(f"{run.index}: {run.id} is finished", file=sys.stderr)
      continue
    exit_status = runner.run(run, workdir)
    if exit_status == _STOPPED:
      print("Stopped; the same command goes on from here.", file=sys.stderr)
      return _STOPPED
    if exit_status:
      failed.append(run)
  for run in failed:
    print(f"failed: {run.index}: {run.folder(workdir)}", file=sys.stderr)
  return 1 if failed else 0


def collect(runs: Sequence[Run], workdir: str, metrics: Sequence[str]) -> list[list[str]]:
  """The table of a sweep, its first row the names of the columns.

  Columns: index, id, status, settings, the last step, and of each metric the last value and the best, which is the
  lowest finite one. A metric that a run never wrote is "-".

  Args:
    metrics: names as in `metrics.jsonl`; none for every `valid/...` metric of any run.
  """
  from bsm_jax.training.metrics import read_metrics  # Imports jax, which no other command here needs.

  lines = {run.id: read_metrics(run.folder(workdir)) for run in runs}
  if not metrics:
    metrics = sorted({name for run in lines.values() for line in run for name in line if name.startswith("valid/")})
  columns = [f"{metric} {which}" for metric in metrics for which in ("last", "best")]
  table = [["index", "id", "status", "overrides", "step", *columns]]
  for run in runs:
    row = [str(run.index), run.id, status(run, workdir), " ".join(labels(run.overrides))]
    row.append(str(max((line["step"] for line in lines[run.id]), default="-")))
    for metric in metrics:
      values = [line[metric] for line in lines[run.id] if metric in line]
      finite = [value for value in values if math.isfinite(value)]
      row += [f"{values[-1]:.4f}" if values else "-", f"{min(finite):.4f}" if finite else "-"]
    table.append(row)
  return table


def as_markdown(table: Sequence[Sequence[str]]) -> str:
  rows = ["| " + " | ".join(row) + " |\n" for row in table]
  return "".join([rows[0], "|" + "---|" * len(table[0]) + "\n", *rows[1:]])


def main(argv: Sequence[str]) -> None:
  options, extra = flags.FLAGS, argv[1:]
  wanted = [options.list, options.local, options.index is not None, options.collect]
  if sum(wanted) != 1:
    raise app.UsageError("give one of --list, --local, --index=N, --collect")
  if not options.list and not options.workdir:
    raise app.UsageError("--workdir is missing: the folder that holds the runs")
  if wrong := [a for a in extra if not a.startswith("--") or a.split("=")[0] in ("--config", "--workdir")]:
    raise app.UsageError(f"not an argument for every run: {' '.join(wrong)}")
  try:
    runs = make_runs(options.config, extra)
    if options.index is not None and not 0 <= options.index < len(runs):
      raise SweepError(f"--index={options.index}: {options.config} has the runs 0 to {len(runs) - 1}")
  except SweepError as error:
    sys.exit(f"error: {error}")
  if options.list:
    for run in runs:
      print(run.index, run.id, json.dumps(dict(run.overrides)), sep="\t")
  elif options.collect:
    table = collect(runs, options.workdir, options.metrics or load_sweep(options.config).get("metrics", ()))
    epath.Path(options.workdir).mkdir(parents=True, exist_ok=True)
    path = epath.Path(options.workdir) / "sweep.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in table))
    print(as_markdown(table), end="")
    print(f"Also in {path}", file=sys.stderr)
  else:
    chosen = runs if options.local else [runs[options.index]]
    if options.dry_run:
      for run in chosen:
        print(shlex.join(run.command(options.workdir)))
      return
    exit_status = run_all(chosen, options.workdir)
    if exit_status == 0 and options.local:
      print(f"Next: python -m launch.sweep --config={options.config} --workdir={options.workdir} --collect")
    sys.exit(exit_status)


if __name__ == "__main__":
  flags.DEFINE_string("config", None, "The sweep's config file, FILE or FILE:ARGUMENT.")
  flags.DEFINE_string("workdir", None, "Folder that holds a folder for each run; local or gs://.")
  flags.DEFINE_bool("list", False, "Print index, id and settings of each run.")
  flags.DEFINE_bool("local", False, "Run what is not finished, one after another.")
  flags.DEFINE_integer("index", None, "Run this one.")
  flags.DEFINE_bool("collect", False, "Print the table of results as Markdown, and write it to WORKDIR/sweep.tsv.")
  flags.DEFINE_list("metrics", None, "Metrics of the table, such as valid/single_dna/dna; default: the sweep's own.")
  flags.DEFINE_bool("dry_run", False, "With --local or --index: print the commands, run none.")
  flags.mark_flag_as_required("config")
  app.run(main)
