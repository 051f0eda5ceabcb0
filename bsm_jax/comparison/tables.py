"""Tables of a comparison: values with their spread, differences with their uncertainty, runs and settings.

Intervals are those of Student's t: Welch's for independent groups (Welch 1947), and that of the differences by seed
where both groups have the same seeds.
"""

import csv
import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from bsm_jax.comparison.groups import Group, differing_settings

CONFIDENCE = 0.95
NO_DIFFERENCE = "no difference seen"
ABOUT_DIFFERENCES = (
    "Each interval covers the true difference in 95 of 100 such experiments; of twenty comparisons of equals, one is"
    " expected to exclude zero. The spread is that over seeds (first parameters and order of the rows) with these data"
    " and these validation rows: it says nothing of other data. Paired by seed is the interval of the differences"
    " between runs of the same seed."
)

Cell = str | int | float | None


class Table(NamedTuple):
  """Columns' names and rows of cells; None is an empty cell."""

  columns: list[str]
  rows: list[list[Cell]]

  def as_markdown(self) -> str:
    shown = [self.columns, ["---"] * len(self.columns), *([cell_text(c) for c in row] for row in self.rows)]
    return "".join("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in row) + " |\n" for row in shown)

  def as_tsv(self) -> str:
    """Numbers in full."""
    made = io.StringIO()
    writer = csv.writer(made, delimiter="\t", lineterminator="\n")
    writer.writerow(self.columns)
    writer.writerows(self.rows)
    return made.getvalue()


def cell_text(cell: Cell) -> str:
  """A cell as a reader sees it: four decimals, thousands apart."""
  if cell is None:
    return "–"
  if isinstance(cell, float):
    return f"{cell:.4f}"
  return f"{cell:,}" if isinstance(cell, int) else cell


def values_at(group: Group, metric: str, step: int) -> dict[int, float]:
  """Seed to value of the runs that have the metric at this step."""
  curves = {run.seed: run.curve(metric) for run in group.runs}
  return {seed: curve[step] for seed, curve in curves.items() if step in curve}


def values(groups: Sequence[Group], metrics: Sequence[str]) -> Table:
  """Mean and standard deviation over seeds at the end of each round and of training.

  A row counts the runs that have got there, out of all.
  """
  table = Table(["metric", "at the end of", "group", "tokens", "mean", "standard deviation", "runs", "of"], [])
  names = dict.fromkeys(name for group in groups for name, _ in group.stages() if name != "training")
  for metric, name, group in itertools.product(metrics, [*names, "training"], groups):
    step = dict(group.stages()).get(name)
    if step is None or metric not in group.metrics:
      continue
    found = list(values_at(group, metric, step).values())
    mean = float(np.mean(found)) if found else None
    deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
    tokens = step * group.schedule.tokens_per_step
    table.rows.append([metric, name, group.label, tokens, mean, deviation, len(found), len(group.runs)])
  return table


class Interval(NamedTuple):
  """Confidence interval of a mean difference."""

  method: str
  low: float
  high: float


def intervals(first: dict[int, float], second: dict[int, float]) -> list[Interval]:
  """Intervals of the mean of `first` minus that of `second`, both seed to value.

  Welch's, and the paired one where the seeds are the same; none where a group has less than two values.
  """
  if min(len(first), len(second)) < 2:
    return []
  a, b = list(first.values()), list(second.values())
  tests = {"Welch": ([a, b], lambda: stats.ttest_ind(a, b, equal_var=False))}
  if first.keys() == second.keys():
    b = [second[seed] for seed in first]
    tests["paired by seed"] = [np.subtract(a, b)], lambda: stats.ttest_rel(a, b)
  found = []
  for method, (samples, test) in tests.items():
    if all(np.ptp(sample) == 0 for sample in samples):
      low = high = float(np.mean(a) - np.mean(b))  # Without any spread Student's t is 0/0.
    else:
      low, high = map(float, test().confidence_interval(CONFIDENCE))
    found.append(Interval(method, low, high))
  return found


def _verdict(interval: Interval, first: str, second: str) -> str:
  if interval.low <= 0 <= interval.high:
    return NO_DIFFERENCE
  return f"{first} {'lower' if interval.high < 0 else 'higher'} than {second}"


def differences(groups: Sequence[Group], metrics: Sequence[str]) -> Table:
  """Differences of the values at the end of training, of every pair of groups, over the finished runs."""
  table = Table(["metric", "difference", "runs", "mean difference", "interval", "from", "to", "seen"], [])
  for metric, (first, second) in itertools.product(metrics, itertools.combinations(groups, 2)):
    if metric not in first.metrics or metric not in second.metrics:
      continue
    a, b = (values_at(group, metric, group.schedule.total_steps) for group in (first, second))
    row = [metric, f"{first.label} - {second.label}", f"{len(a)}, {len(b)}"]
    mean = float(np.mean(list(a.values())) - np.mean(list(b.values()))) if a and b else None
    found = intervals(a, b)
    for interval in found:
      seen = _verdict(interval, first.label, second.label)
      table.rows.append([*row, mean, f"{CONFIDENCE:.0%} {interval.method}", interval.low, interval.high, seen])
    if not found:
      table.rows.append([*row, mean, None, None, None, "too few finished runs: an interval needs two in each group"])
  return table


def runs(groups: Sequence[Group]) -> Table:
  """Where each run is and how far it got."""
  table = Table(["group", "seed", "run", "state", "step", "of", "code version", "config hash"], [])
  for group in groups:
    for run in group.runs:
      state = "finished" if run.finished else "unfinished"
      table.rows.append([group.label, run.seed, run.folder, state, run.last_step, run.schedule.total_steps,
                         run.version, run.config_hash])
  return table


def budgets(groups: Sequence[Group]) -> Table:
  """Of each group: size of the model, tokens, and rows by row set, as the config has them."""
  table = Table(["of a whole run", *(group.label for group in groups)], [])
  table.rows.append(["parameters", *(group.parameters for group in groups)])
  table.rows.append(["tokens", *(g.schedule.total_steps * g.schedule.tokens_per_step for g in groups)])
  table.rows.append(["tokens in a step", *(group.schedule.tokens_per_step for group in groups)])
  table.rows.append(["steps", *(group.schedule.total_steps for group in groups)])
  drawn = [group.rows() for group in groups]
  for name in dict.fromkeys(name for rows in drawn for name in rows):
    table.rows.append([f"rows of {name}", *(rows.get(name) for rows in drawn)])
  return table


def settings(groups: Sequence[Group]) -> tuple[Table, Table]:
  """The settings in which groups differ, value by group; and those that all have in common."""
  differing = differing_settings(groups)
  shown = lambda group, key: repr(group.settings[key]) if key in group.settings else None
  apart = Table(["setting", *(group.label for group in groups)],
                [[key, *(shown(group, key) for group in groups)] for key in differing])
  common = [key for key in sorted(groups[0].settings) if key not in differing]
  return apart, Table(["setting", "value"], [[key, shown(groups[0], key)] for key in common])
