"""Groups of runs that differ in the seed alone: reading them, and refusing what is no such group."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Sequence

import jax
from etils import epath

from bsm_jax import model as model_lib
from bsm_jax import report, tokenizer
from bsm_jax.training import metrics as metrics_lib
from bsm_jax.training.rounds import Round, Schedule

# What the runs of a group may differ in: the seed, and where files lie.
_MAY_DIFFER = re.compile(r"seed|init_from|data\.root|rounds\..+\.weights_file")


class CompareError(ValueError):
  """Runs that cannot be compared as asked; the message says which, why, and the remedy."""


def flatten(settings: dict, prefix: str = "") -> dict[str, object]:
  """Nested settings by dotted key; an empty dict is a value of its own."""
  found = {}
  for key, value in settings.items():
    if isinstance(value, dict) and value:
      found |= flatten(value, f"{prefix}{key}.")
    else:
      found[prefix + key] = value
  return found


@dataclasses.dataclass(frozen=True)
class Run:
  """One run directory.

  Attributes:
    folder: where it is.
    config: as in its `config.json`.
    lines: those of `metrics.jsonl` that hold metrics.
    version: of the code, as the run's starts recorded it.
    model: the shape of its decoder.
    schedule: its rounds on the axis of steps.
  """

  folder: str
  config: dict
  lines: list[dict]
  version: str
  model: model_lib.ModelConfig
  schedule: Schedule

  @property
  def seed(self) -> int:
    return self.config["seed"]

  @property
  def last_step(self) -> int:
    return max(line["step"] for line in self.lines)

  @property
  def finished(self) -> bool:
    return self.last_step >= self.schedule.total_steps

  @property
  def config_hash(self) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the config as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]

  @functools.cached_property
  def settings(self) -> dict[str, object]:
    """The config by dotted key, without what the runs of a group may differ in."""
    return {key: value for key, value in flatten(self.config).items() if not _MAY_DIFFER.fullmatch(key)}

  def curve(self, metric: str) -> dict[int, float]:
    """Values by step."""
    return dict(zip(*report.curve(self.lines, metric)))


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that differ in the seed alone, in the order of their seeds."""

  label: str
  runs: tuple[Run, ...]

  @property
  def settings(self) -> dict[str, object]:
    return self.runs[0].settings

  @property
  def schedule(self) -> Schedule:
    return self.runs[0].schedule

  @property
  def finished(self) -> list[Run]:
    return [run for run in self.runs if run.finished]

  @property
  def metrics(self) -> set[str]:
    """Names of every metric that a run wrote."""
    return {name for run in self.runs for line in run.lines for name in line} - {"step", "kind", "round"}

  @functools.cached_property
  def parameters(self) -> int:
    """Scalars in the model."""
    return model_lib.count_params(jax.eval_shape(lambda: model_lib.init_params(self.runs[0].model, 0)))

  def stages(self) -> list[tuple[str, int]]:
    """(name, last step) of each round; the last one is called "training", whose end it is."""
    names = [r.name for r in self.schedule.rounds[:-1]] + ["training"]
    return list(zip(names, self.schedule.starts[1:]))

  def rows(self) -> dict[str, int]:
    """Rows that a whole run draws of each row set, by the weights of its rounds."""
    drawn = dict.fromkeys(self.schedule.row_sets, 0.0)
    for steps, r in zip(self.schedule.steps, self.schedule.rounds):
      for name, weight in r.weights.items():
        drawn[name] += steps * self.schedule.batch_size * weight / sum(r.weights.values())
    return {name: round(rows) for name, rows in drawn.items()}


def _schedule(config: dict) -> Schedule:
  """The rounds of a `config.json`, in the order of their names."""
  rounds = []
  for name, fields in sorted(config["rounds"].items()):
    weights = {row_set: weight for row_set, weight in fields["weights"].items() if weight}
    rounds.append(Round(name, fields["tokens"], weights, fields["lr_start"], fields["lr_end"]))
  return Schedule(rounds, batch_size=config["data"]["batch_size"], context=config["data"]["context"])


def read_run(folder: epath.Path) -> Run:
  """A run directory.

  Raises:
    CompareError: it is none, has no metrics yet, or its files cannot be read.
  """
  if not (folder / "config.json").exists():
    raise CompareError(f"{folder} is no run directory (it has no config.json): leave it out of the --group")
  try:
    config = json.loads((folder / "config.json").read_text())
    model = model_lib.ModelConfig(vocab_size=tokenizer.VOCAB_SIZE, **config["model"])
    schedule, seed = _schedule(config), config["seed"]
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise CompareError(f"{folder / 'config.json'} is no config of bsm_jax.train ({error!r}): leave the run out of the"
                       " --group, or restore the file by starting the run again") from error
  if not isinstance(seed, int):
    raise CompareError(f"{folder / 'config.json'}: seed is {seed!r}, not a number: leave the run out of the --group")
  try:
    lines = metrics_lib.read_metrics(folder)
  except ValueError as error:
    raise CompareError(f"{folder / 'metrics.jsonl'} has a line that is no JSON ({error}): delete that line") from error
  versions = list(dict.fromkeys(line["version"] for line in lines if line["kind"] == "start"))
  lines = [line for line in lines if line["kind"] != "start"]
  if not lines:
    raise CompareError(f"{folder} has no metrics yet: let the run log a few steps first, or leave it out of the"
                       " --group")
  return Run(str(folder), config, lines, ", ".join(versions) or "not recorded", model, schedule)


def _folders(pattern: str) -> list[epath.Path]:
  """Folders that a glob names, in order; local or `gs://`."""
  path = epath.Path(pattern).expanduser()
  fixed = next((number for number, part in enumerate(path.parts) if re.search(r"[*?\[]", part)), len(path.parts))
  if fixed == len(path.parts):
    return [path] if path.is_dir() else []
  above = path
  for _ in path.parts[fixed:]:
    above = above.parent
  return sorted(found for found in above.glob("/".join(path.parts[fixed:])) if found.is_dir())


def read_group(text: str) -> Group:
  """A group from `LABEL=GLOB[,GLOB...]`, whose globs name run directories.

  Raises:
    CompareError: nothing matches, a run cannot be read, or the runs differ in more than the seed, or not in that.
  """
  label, _, patterns = (part.strip() for part in text.partition("="))
  if not label or not patterns:
    raise CompareError(f"--group={text}: give a label and a glob of run directories, as --group=mixed='runs/mixed_*'")
  folders = dict.fromkeys(folder for pattern in patterns.split(",") for folder in _folders(pattern))
  if not folders:
    raise CompareError(f"--group={text}: no folder matches; give the --workdir of one or more training runs, and quote"
                       " the glob")
  runs = sorted(map(read_run, folders), key=lambda run: run.seed)
  first, *others = runs
  for run in others:
    differing = _differing([first.settings, run.settings])
    if differing:
      raise CompareError(
          f"--group={label}: {first.folder} and {run.folder} differ in more than the seed:\n"
          + "".join(f"  {key}: {_shown(first, key)} and {_shown(run, key)}\n" for key in differing)
          + "Runs of one group must be the same but for the seed: make them two groups."
      )
  for run, following in zip(runs, others):
    if run.seed == following.seed:
      raise CompareError(f"--group={label}: {run.folder} and {following.folder} have the same seed, {run.seed}: they"
                         " are no independent runs; leave one out, or train it with another --config.seed")
  return Group(label, tuple(runs))


def read_groups(texts: Sequence[str]) -> list[Group]:
  """Every group of a comparison (`read_group`).

  Raises:
    CompareError: none is given, or two have the same label.
  """
  if not texts:
    raise CompareError("no runs are given: --group=LABEL=GLOB, as --group=mixed='runs/mixed_*'")
  groups = [read_group(text) for text in texts]
  for number, group in enumerate(groups):
    if group.label in (other.label for other in groups[:number]):
      raise CompareError(f"two groups are called {group.label!r}: give each --group a label of its own")
  return groups


def _shown(run: Run, key: str) -> str:
  return repr(run.settings[key]) if key in run.settings else "absent"


def _differing(settings: Sequence[dict[str, object]]) -> list[str]:
  """Keys that are not the same in all of them."""
  absent = object()
  keys = sorted({key for one in settings for key in one})
  return [key for key in keys if any(one.get(key, absent) != settings[0].get(key, absent) for one in settings)]


def differing_settings(groups: Sequence[Group]) -> list[str]:
  """Dotted keys in which groups differ, in order."""
  return _differing([group.settings for group in groups])


def caveats(groups: Sequence[Group], metrics: Sequence[str]) -> list[str]:
  """What a reader must know before believing a comparison of these metrics; one sentence or two each."""
  found = []
  for group in groups:
    unfinished = [run for run in group.runs if not run.finished]
    if unfinished:
      where = ", ".join(f"seed {r.seed} at step {r.last_step:,} of {r.schedule.total_steps:,}" for r in unfinished)
      found.append(f"{group.label}: {len(unfinished)} of {len(group.runs)} runs are unfinished ({where}). The figures"
                   " show them; the values at the end of training leave them out.")
    for metric in metrics:
      lost = [r.seed for r in group.finished if r.schedule.total_steps not in r.curve(metric)]
      if lost:
        found.append(f"{group.label}: no {metric} at the end of training with seed {', '.join(map(str, lost))}, though"
                     " finished: it was not evaluated there or is not finite.")
  first, *others = groups
  for other in others:
    tokens = [group.schedule.total_steps * group.schedule.tokens_per_step for group in (first, other)]
    if tokens[0] != tokens[1]:
      found.append(f"{first.label} trains on {tokens[0]:,} tokens and {other.label} on {tokens[1]:,}: the values at the"
                   " end are not of equal budgets.")
    differing = _differing([first.settings, other.settings])
    row_sets = {metric.split("/")[1] for metric in metrics if metric.startswith("valid/")}
    rows = [key for key in differing if key.removeprefix("eval.row_sets.") in row_sets or key == "data.context"]
    if rows:
      found.append(f"{first.label} and {other.label} differ in {', '.join(rows)}: they are not validated on the same"
                   " rows.")
  versions = sorted({run.version for group in groups for run in group.runs})
  if len(versions) > 1:
    found.append(f"The runs are of different versions of the code: {'; '.join(versions)}.")
  roots = sorted({run.config["data"].get("root", "") for group in groups for run in group.runs})
  if len(roots) > 1:
    found.append(f"The runs read rows from different folders ({', '.join(roots)}): the comparison holds only if these"
                 " are copies of one build.")
  return found
