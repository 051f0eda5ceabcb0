"""The figures by which tasks are scored: plain functions of arrays, each what its field means by the name.

A value that is not finite is an error, which says how many there are: no figure is computed from what is left. A figure
that is not defined, such as a correlation with constant predictions, is nan: it says nothing, where 0 would claim that
there is no relation.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats


class MetricError(ValueError):
  """Arrays that cannot be scored; the message says what is wrong with them."""


def _paired(**arrays) -> list[np.ndarray]:
  """Arrays of one length as float64. Raises MetricError where they are empty, of several lengths, or not finite."""
  made = {name: np.asarray(values, np.float64) for name, values in arrays.items()}
  lengths = {name: values.shape for name, values in made.items()}
  if len(set(lengths.values())) != 1 or any(values.ndim != 1 for values in made.values()):
    raise MetricError("one value each is wanted, not arrays of " + ", ".join(f"{n} {s}" for n, s in lengths.items()))
  for name, values in made.items():
    if not len(values):
      raise MetricError(f"there are no {name}: nothing can be scored")
    if bad := int((~np.isfinite(values)).sum()):
      raise MetricError(f"{bad:,} of {len(values):,} {name} are nan or infinite: no figure is made of the rest. See"
                        " where they come from, or leave those items out before.")
  return list(made.values())


def _labels(labels, predictions) -> tuple[np.ndarray, np.ndarray]:
  labels, predictions = _paired(labels=labels, predictions=predictions)
  for name, values in (("labels", labels), ("predictions", predictions)):
    if (values != np.round(values)).any():
      raise MetricError(f"{name} must be classes, whole numbers: give scores to auc or spearman")
  return labels.astype(np.int64), predictions.astype(np.int64)


# --- Classes ---


def accuracy(labels, predictions) -> float:
  """Share of predictions that are the label. Args: classes [n]."""
  labels, predictions = _labels(labels, predictions)
  return float((labels == predictions).mean())


def _confusion(labels, predictions) -> np.ndarray:
  """Counts [classes, classes], labels down and predictions across, of the classes that occur in either."""
  labels, predictions = _labels(labels, predictions)
  classes, numbers = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
  first, second = np.split(numbers, 2)
  return np.bincount(first * len(classes) + second, minlength=len(classes) ** 2).reshape(len(classes), -1)


def macro_f1(labels, predictions) -> float:
  """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), every class that is a label or a prediction counting alike.

  Args: classes [n].
  """
  counts = _confusion(labels, predictions)
  return float(np.mean(2 * np.diag(counts) / (counts.sum(0) + counts.sum(1))))


def mcc(labels, predictions) -> float:
  """Matthews' correlation coefficient; of several classes Gorodkin's R_K (2004).

  Args: classes [n].

  Returns:
    -1 to 1; nan where all labels or all predictions are one class (scikit-learn says 0 there).
  """
  counts = _confusion(labels, predictions).astype(np.float64)
  n, of_label, predicted = counts.sum(), counts.sum(1), counts.sum(0)
  covariance = np.trace(counts) * n - of_label @ predicted
  spread = (n**2 - predicted @ predicted) * (n**2 - of_label @ of_label)
  return float(covariance / np.sqrt(spread)) if spread > 0 else float("nan")


def auc(labels, scores) -> float:
  """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

  Args:
    labels: 0 or 1 [n].
    scores: higher for a positive [n].

  Returns:
    0 to 1; nan where all labels are the same.
  """
  labels, scores = _paired(labels=labels, scores=scores)
  if not np.isin(labels, (0, 1)).all():
    raise MetricError(f"auc is of labels 0 and 1, not {', '.join(f'{x:g}' for x in np.unique(labels)[:5])}")
  positive = labels == 1
  p, n = positive.sum(), (~positive).sum()
  if not p or not n:
    return float("nan")
  return float((stats.rankdata(scores)[positive].sum() - p * (p + 1) / 2) / (p * n))


# --- Values ---


def pearson(targets, predictions) -> float:
  """Pearson's correlation; nan for fewer than two values, or where either array is constant. Args: values [n]."""
  targets, predictions = _paired(targets=targets, predictions=predictions)
  if len(targets) < 2 or np.ptp(targets) == 0 or np.ptp(predictions) == 0:
    return float("nan")
  return float(np.clip(np.corrcoef(targets, predictions)[0, 1], -1.0, 1.0))


def spearman(targets, predictions) -> float:
  """Spearman's rank correlation, ties getting the mean of their ranks; nan as `pearson`. Args: values [n]."""
  targets, predictions = _paired(targets=targets, predictions=predictions)
  return pearson(stats.rankdata(targets), stats.rankdata(predictions))


def correlation_p_value(rho: float, n: int) -> float:
  """Two-sided P of a correlation of n pairs, by Student's t with n - 2 degrees of freedom; nan for n < 3 or no rho."""
  if n < 3 or np.isnan(rho):
    return float("nan")
  if abs(rho) >= 1:
    return 0.0
  return float(2 * stats.t.sf(abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2))


def median_mcc(labels, scores) -> float:
  """ProteinGym's MCC: a variant is called fit if its score is at least the median of the scores.

  Args:
    labels: 0 or 1 [n] (`DMS_score_bin`).
    scores: higher is fitter [n].
  """
  _, scores = _paired(labels=labels, scores=scores)
  return mcc(labels, (scores >= np.median(scores)).astype(np.int64))


def ndcg(targets, scores, top: float = 0.1) -> float:
  """Normalized discounted cumulative gain of the best-scored part, as ProteinGym computes it.

  The gain of an item is its target, scaled to 0..1 over all items; discounts are log2(rank + 1); floor(top * n) items
  count. Items of equal score keep the order in which they are given.

  Args:
    targets: values [n].
    scores: higher is better [n].
    top: share of the items that counts.

  Returns:
    0 to 1; nan where the targets are constant or no item counts.
  """
  targets, scores = _paired(targets=targets, scores=scores)
  # floor(n * (percent / 100)) as ProteinGym writes it, with the same rounding.
  k = int(np.floor(len(targets) * top))
  if not k or np.ptp(targets) == 0:
    return float("nan")
  gains = (targets - targets.min()) / np.ptp(targets)
  discounts = np.log2(np.arange(k) + 2)
  best = np.argsort(-scores, kind="stable")[:k]
  return float((gains[best] / discounts).sum() / (np.sort(gains)[::-1][:k] / discounts).sum())


def top_recall(targets, scores, top: float = 0.1) -> float:
  """Share of the items with the highest targets that are also among those with the highest scores (ProteinGym).

  Both are what lies at or above the (1 - top) quantile, interpolated linearly: ties may make them larger.

  Args:
    targets, scores: higher is better [n].
    top: share of the items.
  """
  targets, scores = _paired(targets=targets, scores=scores)
  best = targets >= np.percentile(targets, 100 - 100 * top)
  chosen = scores >= np.percentile(scores, 100 - 100 * top)
  return float((best & chosen).sum() / best.sum())


# --- Uncertainty ---


def bootstrap(metric: Callable[..., float], *arrays, resamples: int = 1000, seed: int = 0) -> np.ndarray:
  """A figure of items drawn again with replacement, the same in all arrays (Efron 1979): float64 [resamples].

  Args:
    metric: of the arrays, `spearman` or `np.mean` for example.
    *arrays: items in their first axis.
    resamples: how often.
    seed: of the draws.
  """
  arrays = [np.asarray(values) for values in arrays]
  n = len(arrays[0])
  rng = np.random.default_rng(seed)
  drawn = (rng.integers(n, size=n) for _ in range(resamples))
  return np.array([metric(*(values[rows] for values in arrays)) for rows in drawn], np.float64)


def interval(draws: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
  """Lower and upper end of what lies in the middle of a bootstrap's draws (the percentile interval).

  Draws that are nan are left out; nan both if half of them or more are.
  """
  known = draws[~np.isnan(draws)]
  if 2 * len(known) <= len(draws):
    return float("nan"), float("nan")
  low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
  return float(low), float(high)


def bootstrap_interval(
    metric: Callable[..., float], *arrays, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
  """`interval` of `bootstrap`; nan both for fewer than two items."""
  if len(arrays[0]) < 2:
    return float("nan"), float("nan")
  return interval(bootstrap(metric, *arrays, resamples=resamples, seed=seed), confidence)
