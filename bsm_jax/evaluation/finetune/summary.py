"""Results of fine-tuning: a file for each finished seed, and one that sums them up."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from bsm_jax.evaluation import metrics as metrics_lib
from bsm_jax.evaluation import results as results_lib
from bsm_jax.evaluation.finetune.objective import Objective


class SummaryError(ValueError):
  """An output folder that holds something else; the message names the remedy."""


def _write(path: epath.Path, found: dict) -> None:
  """Writes JSON so that a file that is there is whole. nan becomes null, which JSON can say."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.parent / f"{path.name}.partial"
  partial.write_text(json.dumps(results_lib.without_nan(found), indent=1, allow_nan=False) + "\n")
  partial.replace(path)


class Finished:
  """The seeds that are done, each in a file of its own: an interrupted command goes on behind them."""

  def __init__(self, folder: str, about: dict, code: dict):
    """Args: the output folder; everything that results must agree in; `code` of a result, which may change.

    Raises:
      SummaryError: it holds results of something else.
    """
    self.folder = epath.Path(folder)
    about = json.loads(json.dumps(results_lib.without_nan(about)))
    path = self.folder / "about.json"
    if path.exists():
      before = json.loads(path.read_text())
      before.pop("code", None)
      if changed := [key for key in sorted({*before, *about}) if before.get(key) != about.get(key)]:
        raise SummaryError(f"{folder} holds results that were made with another {', '.join(changed)}: give another"
                           " --out, or remove it")  # fmt: skip
    _write(path, about | {"code": code})

  def read(self, arm: str, seed: int) -> dict | None:
    """What `write` kept; None if there is nothing yet."""
    path = self.folder / arm / f"seed_{seed}.json"
    return json.loads(path.read_text()) if path.exists() else None

  def write(self, arm: str, seed: int, found: dict) -> None:
    """Keeps `scores` (a list), and whatever else is known of a seed."""
    _write(self.folder / arm / f"seed_{seed}.json", found)

  def write_result(self, result: dict) -> str:
    """Writes `result.json` and says where it is."""
    _write(self.folder / "result.json", result)
    return str(self.folder / "result.json")


def summarize(objective: Objective, labels: np.ndarray, seeds: Sequence[dict], resamples: int) -> dict:
  """Metrics of one arm over its seeds.

  Args:
    objective: what scores mean.
    labels: of the test examples.
    seeds: for each `seed` and `scores`; what else they hold is passed on, `scores` are not.
    resamples: of the bootstrap.

  Returns:
    `metrics`, the mean over seeds; `intervals`, 95%, over test examples drawn with replacement, of that mean; `spread`,
    the standard deviation over seeds (0 for one seed); `seeds`, each with `metrics` and `intervals` of its own.
  """
  scores_ne = np.array([found["scores"] for found in seeds], np.float64).T
  names = list(objective.metrics(labels, scores_ne[:, 0]))
  of_seeds, intervals = [], {}
  for found, scores in zip(seeds, scores_ne.T):
    kept = {key: value for key, value in found.items() if key != "scores"}
    kept["metrics"] = objective.metrics(labels, scores)
    kept["intervals"] = {
        name: metrics_lib.bootstrap_interval(
            lambda y, s, name=name: objective.metric(name, y, s), labels, scores, resamples=resamples
        )
        for name in names
    }
    of_seeds.append(kept)
  for name in names:
    mean = lambda y, s, name=name: float(np.mean([objective.metric(name, y, of_seed) for of_seed in s.T]))
    intervals[name] = metrics_lib.bootstrap_interval(mean, labels, scores_ne, resamples=resamples)
  values = {name: [found["metrics"][name] for found in of_seeds] for name in names}
  return {
      "metrics": {name: float(np.mean(of_name)) for name, of_name in values.items()},
      "intervals": intervals,
      "spread": {name: float(np.std(of_name, ddof=1)) if len(of_name) > 1 else 0.0 for name, of_name in values.items()},
      "seeds": of_seeds,
  }


def make_result(
    *, task: str, version: str, found: dict, baselines: dict, counts: dict, seeds: Sequence[int], data: dict,
    truncation: dict, checkpoint: dict, parameters: int, code: dict, settings: dict, notes: Sequence[str],
) -> dict:  # fmt: skip
  """The result of a task with everything that it depends on.

  Args:
    task, version: of the task.
    found: of the checkpoint; see `summarize`.
    baselines: likewise, by name.
    counts: examples of each part.
    seeds: which.
    data: sha256 by file.
    truncation: `policy` and `share`.
    checkpoint: `run`, `step`, `sha256`.
    parameters: of the decoder.
    code: `version` and `commit`.
    settings: the config.
    notes: what a reader should know.
  """
  return {
      "task": task, "version": version, **found, "seed": list(seeds), "counts": counts, "data": data,
      "truncation": truncation, "checkpoint": checkpoint, "parameters": parameters, "code": code,
      "baselines": baselines, "settings": settings, "notes": list(notes),
  }  # fmt: skip


def table(result: dict, metric: str, paper: Mapping[str, float]) -> str:
  """The task's metric of the checkpoint and the baselines, and beside them what the paper reports, as text."""
  arms = {"checkpoint": result} | result["baselines"]
  lines = [f"{result['task']}: {metric} on {result['counts']['test']:,} test examples (95% interval; seeds)"]
  for name, found in arms.items():
    low, high = found["intervals"][metric]
    of_seeds = " ".join(f"{of_seed['metrics'][metric]:.4f}" for of_seed in found["seeds"])
    lines.append(f"  {name:<12}{found['metrics'][metric]:.4f}  ({low:.4f} to {high:.4f}; {of_seeds})")
  lines += [f"  {name:<24}{value:.4f}  as published, on its own data" for name, value in paper.items()]
  return "\n".join(lines)
