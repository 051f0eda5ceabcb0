"""Metrics of predictions, and their intervals."""

from collections.abc import Callable

import numpy as np
from scipy import stats


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
  """Share of labels that are predicted. Args: class indices [n]."""
  return float(np.mean(np.asarray(labels) == np.asarray(predicted)))


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
  """Mean over the classes that occur among labels or predictions of F1 = 2 TP / (2 TP + FP + FN)."""
  labels, predicted = np.asarray(labels), np.asarray(predicted)
  found = []
  for number in np.union1d(labels, predicted):
    right = np.sum((labels == number) & (predicted == number))
    found.append(2 * right / (np.sum(labels == number) + np.sum(predicted == number)))
  return float(np.mean(found))


def mcc(labels: np.ndarray, predicted: np.ndarray) -> float:
  """Matthews' correlation for any number of classes (Gorodkin 2004); nan where labels or predictions are constant."""
  classes, codes = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
  one_hot = np.eye(len(classes))[codes]
  true, said = one_hot[: len(labels)], one_hot[len(labels) :]
  true, said = true - true.mean(0), said - said.mean(0)
  norm = np.sqrt(np.sum(true**2) * np.sum(said**2))
  return float(np.sum(true * said) / norm) if norm > 0 else float("nan")


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
  """Area under the ROC curve: how often a positive scores above a negative, ties counted half; nan if one is missing.

  Args:
    labels: 0 or 1 [n].
    scores: higher means 1 [n].
  """
  positive = np.asarray(labels) == 1
  n, m = int(positive.sum()), int((~positive).sum())
  if not n or not m:
    return float("nan")
  return float((stats.rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def pearson(labels: np.ndarray, predicted: np.ndarray) -> float:
  """Pearson's correlation; nan where one of them is constant."""
  x, y = (np.asarray(values, np.float64) - np.mean(values, dtype=np.float64) for values in (labels, predicted))
  norm = np.sqrt(np.sum(x**2) * np.sum(y**2))
  return float(np.sum(x * y) / norm) if norm > 0 else float("nan")


def spearman(labels: np.ndarray, predicted: np.ndarray) -> float:
  """Pearson's correlation of the ranks, ties sharing theirs; nan where one of them is constant."""
  return pearson(stats.rankdata(labels), stats.rankdata(predicted))


def bootstrap_interval(
    metric: Callable[..., float], *arrays: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
  """95% interval of a metric over examples drawn with replacement; draws in which it is nan do not count.

  Args:
    metric: of the arrays.
    *arrays: examples in their first axis.
    resamples: draws.
    seed: of the draws.
  """
  rng, n = np.random.default_rng(seed), len(arrays[0])
  drawn = (rng.integers(n, size=n) for _ in range(resamples))
  found = np.array([metric(*(values[rows] for values in arrays)) for rows in drawn])
  known = found[~np.isnan(found)]
  low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
  return float(low), float(high)
