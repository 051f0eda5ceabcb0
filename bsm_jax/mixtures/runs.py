"""The runs of a mixture search: those that count, by mixture, and what they say of which one is best."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from scipy import stats

from bsm_jax.comparison import groups
from bsm_jax.mixtures import seeds as seeds_lib
from bsm_jax.mixtures.corpora import corpus_of


class SearchError(ValueError):
  """Runs among which no mixture can be chosen; the message says why and the remedy."""


@dataclasses.dataclass(frozen=True)
class Mixture:
  """The runs of one mixture.

  Attributes:
    weights: row set -> share of the tokens.
    runs: folders, one a seed.
    seeds: of each run.
    losses: of each run and objective, without what its seed shifts all its runs by (`seeds`), [runs, objectives].
  """

  weights: Mapping[str, float]
  runs: tuple[str, ...]
  seeds: tuple[int, ...]
  losses: np.ndarray

  def share(self, corpus: str) -> float:
    return sum(weight for row_set, weight in self.weights.items() if corpus_of(row_set) == corpus)


@dataclasses.dataclass(frozen=True)
class Search:
  """What the runs of a sweep say.

  Attributes:
    mixtures: the best first.
    shifts: what was taken from the losses, runs in the order of the mixtures.
    objectives: metric -> its weight; they sum to one.
    left_out: a sentence for each run that does not count.
    round: name of the searched round.
    example: a run that counts.
  """

  mixtures: tuple[Mixture, ...]
  shifts: seeds_lib.Shifts
  objectives: Mapping[str, float]
  left_out: tuple[str, ...]
  round: str
  example: groups.Run

  @property
  def objective_weights(self) -> np.ndarray:
    return np.array(list(self.objectives.values()))

  @property
  def corpora(self) -> list[str]:
    """In the order in which the base config names them."""
    return list(dict.fromkeys(corpus_of(row_set) for mixture in self.mixtures for row_set in mixture.weights))

  def values(self, mixture: Mixture) -> np.ndarray:
    """Weighted loss of each of its runs."""
    return mixture.losses @ self.objective_weights

  @property
  def seed_shifts(self) -> dict[int, float]:
    """What each seed shifts the weighted loss of all its runs by."""
    seeds = (seed for mixture in self.mixtures for seed in mixture.seeds)
    return dict(sorted(zip(seeds, (self.shifts.of_run @ self.objective_weights).tolist())))

  @property
  def spread(self) -> tuple[float, int]:
    """Standard deviation of the weighted loss between runs, by mixture and seed, and its degrees of freedom."""
    if not self.shifts.freedom:
      return math.nan, 0
    deviations = np.concatenate([self.values(m) - self.values(m).mean() for m in self.mixtures])
    return math.sqrt(float(deviations @ deviations) / self.shifts.freedom), self.shifts.freedom

  def ties(self) -> list[Mixture]:
    """Mixtures whose mean is above the winner's by no more than the spread explains (two-sided t test, 5 %)."""
    spread, freedom = self.spread
    if not freedom:
      return []
    winner, least = self.mixtures[0], stats.t.ppf(0.975, freedom) * spread
    limit = lambda place: least * math.sqrt(self.shifts.variance_of_difference(0, place))
    return [m for place, m in enumerate(self.mixtures)
            if place and self.values(m).mean() - self.values(winner).mean() <= limit(place)]  # fmt: skip

  def runs(self) -> tuple[np.ndarray, np.ndarray]:
    """Shares [n, corpora] and losses [n, objectives] of every run, in the order of the mixtures."""
    shares = [[m.share(corpus) for corpus in self.corpora] for m in self.mixtures for _ in m.runs]
    return np.array(shares), np.concatenate([m.losses for m in self.mixtures])


def _mixed(run: groups.Run) -> dict[str, float]:
  (searched,) = run.schedule.rounds
  total = sum(searched.weights.values())
  return {row_set: weight / total for row_set, weight in searched.weights.items()}


def _comparable(run: groups.Run) -> dict[str, object]:
  return {key: value for key, value in run.settings.items() if not key.startswith("rounds.") or ".weights." not in key}


def _read_runs(workdirs: Sequence[str]) -> tuple[list[groups.Run], list[str]]:
  """Runs that differ in mixture and seed alone, and a sentence for each folder that cannot be read."""
  runs, left_out = [], []
  for workdir in map(epath.Path, workdirs):
    if not workdir.is_dir():
      raise SearchError(f"there is no folder {workdir}: give the --workdir of the sweep")
    for folder in sorted(f for f in workdir.iterdir() if (f / "config.json").exists()):
      try:
        run = groups.read_run(folder)
      except groups.CompareError as error:
        left_out.append(f"{folder.name}: {error}")
        continue
      if len(run.schedule.rounds) != 1:
        raise SearchError(f"{folder} is a run of {len(run.schedule.rounds)} rounds: a search compares runs of one, such"
                          " as `search_round2` of a config (configs/arms.py)")
      runs.append(run)
  beginnings: dict[int, groups.Run] = {}
  for run in runs:
    first, of_seed = _comparable(runs[0]), beginnings.setdefault(run.seed, run)
    now, absent = _comparable(run), object()
    keys = sorted(key for key in first.keys() | now.keys() if first.get(key, absent) != now.get(key, absent))
    if keys:
      raise SearchError(f"{runs[0].folder} and {run.folder} differ in more than mixture and seed: {', '.join(keys)}."
                        " Move one of them out of the sweep's folder")
    # Another seed may begin at another run's end; runs of one seed may not.
    if run.config.get("init_from") != of_seed.config.get("init_from"):
      raise SearchError(f"{of_seed.folder} and {run.folder} have one seed and begin at different runs (init_from). Move"
                        " one of them out of the sweep's folder")
  return runs, left_out


def _without_shifts(
    groups_of_runs: Sequence[Sequence[tuple[groups.Run, Sequence[float]]]],
) -> tuple[tuple[Mixture, ...], seeds_lib.Shifts]:
  """The mixtures in the order given, each from its runs and their losses, and what was taken from these."""
  losses = np.array([values for of_mixture in groups_of_runs for _, values in of_mixture])
  seeds = np.array([run.seed for of_mixture in groups_of_runs for run, _ in of_mixture])
  sizes = [len(of_mixture) for of_mixture in groups_of_runs]
  try:
    shifts = seeds_lib.shifts(np.repeat(np.arange(len(sizes)), sizes), seeds, losses)
  except seeds_lib.SeedError as error:
    raise SearchError(str(error)) from error
  left = np.split(losses - shifts.of_run, np.cumsum(sizes)[:-1])
  mixtures = (
      Mixture(_mixed(of_mixture[0][0]), tuple(run.folder for run, _ in of_mixture),
              tuple(run.seed for run, _ in of_mixture), values)
      for of_mixture, values in zip(groups_of_runs, left)
  )  # fmt: skip
  return tuple(mixtures), shifts


def read_search(
    workdirs: Sequence[str], objectives: Sequence[str] = (), weights: Sequence[float] = ()
) -> Search:
  """The finished runs in the folders of a sweep.

  Args:
    workdirs: folders that hold run directories.
    objectives: metrics; by default the loss of every `single_...` row set of the validation.
    weights: of the objectives, by default equal.

  Raises:
    SearchError: no run counts, runs differ in more than mixture and seed, no mixture links some seeds to the others, or
      the objectives are no such metrics.
  """
  runs, left_out = _read_runs(workdirs)
  if not objectives and runs:
    evaluated = runs[0].config["eval"]["row_sets"]
    objectives = [f"valid/{row_set}/loss" for row_set in evaluated if row_set.startswith("single_")]
    if not objectives:
      raise SearchError("these runs are validated on no single_... row set: name the metrics by --objective")
  if weights and (len(weights) != len(objectives) or min(weights) < 0 or sum(weights) <= 0):
    raise SearchError(f"--weights has {len(weights)} numbers for {len(objectives)} objectives: give one, zero or more,"
                      " for each")
  weights = np.array(weights or [1.0] * len(objectives)) / (sum(weights) or len(objectives))

  by_mixture: dict[tuple, list[tuple[groups.Run, list[float]]]] = {}
  for run in runs:
    if not run.finished:
      left_out.append(f"{epath.Path(run.folder).name}: at step {run.last_step} of {run.schedule.total_steps},"
                      " unfinished or failed; the sweep's command with --local goes on with it")
      continue
    values = [run.curve(metric).get(run.schedule.total_steps, math.nan) for metric in objectives]
    absent = [metric for metric, value in zip(objectives, values) if not math.isfinite(value)]
    if absent:
      left_out.append(f"{epath.Path(run.folder).name}: no finite {', '.join(absent)} at its end: diverged, or not"
                      " evaluated there")
      continue
    key = tuple(sorted((row_set, round(weight, 5)) for row_set, weight in _mixed(run).items()))
    by_mixture.setdefault(key, []).append((run, values))
  if not by_mixture:
    raise SearchError(f"no run in {', '.join(map(str, workdirs))} is finished with these objectives"
                      f" ({', '.join(objectives)})" + "".join(f"\n  {line}" for line in left_out))
  for of_mixture in by_mixture.values():
    seeds = [run.seed for run, _ in of_mixture]
    if len(set(seeds)) < len(seeds):
      raise SearchError(f"{', '.join(run.folder for run, _ in of_mixture)} have the same mixture and the same seed:"
                        " they are no independent runs; leave one out")
  mixtures, _ = _without_shifts(list(by_mixture.values()))
  best_first = np.argsort([float((m.losses @ weights).mean()) for m in mixtures], kind="stable")
  mixtures, shifts = _without_shifts([list(by_mixture.values())[place] for place in best_first])
  example = next(run for run in runs if run.folder in mixtures[0].runs)
  (searched,) = example.schedule.rounds
  return Search(mixtures, shifts, dict(zip(objectives, weights.tolist())), tuple(left_out), searched.name, example)
