"""Linear models of features that stay as they are, by convex optimization: a probe's head, and the k-mer baseline.

Stochastic gradients would leave out what a trained decoder's features say in the directions in which they vary least;
L-BFGS finds the optimum, and nothing of it is random.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from bsm_jax.evaluation.finetune.objective import Objective

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclasses.dataclass(frozen=True)
class Linear:
  """A model of features.

  Attributes:
    weight: fp64 [columns, n_outputs].
    bias: fp64 [n_outputs]; zeros if it was to have none.
    tried: for each penalty `penalty`, `loss` on the training data without it, and `dev`, the metric.
    best: the entry of `tried` that was taken.
  """

  weight: np.ndarray
  bias: np.ndarray
  tried: list[dict]
  best: dict

  def outputs(self, features) -> np.ndarray:
    """fp64 [n, n_outputs] for features [n, columns]."""
    return features @ self.weight + self.bias


def fit(train, dev, labels: tuple[np.ndarray, np.ndarray], objective: Objective, metric: str, *, bias=True) -> Linear:
  """Minimizes mean loss + penalty / 2 * |weight|^2 for each of `PENALTIES`; the best on the development data is taken.

  Args:
    train, dev: features [n, columns], dense or sparse.
    labels: of both.
    objective: whose loss, with its class weights.
    metric: of `Objective.metrics`, the greater the better; nan counts as worse than any number.
    bias: whether a number is added to each output.
  """
  targets = objective.targets(labels[0])
  weights = objective.example_weights(labels[0]).astype(np.float64)
  tried, best = [], None
  for penalty in PENALTIES:
    weight, constant, loss = _minimize(train, targets, weights, objective, penalty, bias)
    value = objective.metric(metric, labels[1], objective.scores(dev @ weight + constant))
    tried.append({"penalty": penalty, "loss": loss, "dev": value})
    rank = -np.inf if np.isnan(value) else value
    if best is None or rank > best[0]:
      best = (rank, weight, constant, tried[-1])
  return Linear(best[1], best[2], tried, best[3])


def _minimize(features, targets, weights, objective: Objective, penalty: float, bias: bool):
  """Weight [columns, o], bias [o], and the loss without the penalty."""
  n, width = features.shape
  outputs = objective.n_outputs

  def parts(flat):
    constant = flat[-outputs:] if bias else np.zeros(outputs)
    return flat[: width * outputs].reshape(width, -1), constant

  def data_loss(flat):
    w, constant = parts(flat)
    losses, derivative = _gradient(objective.loss, features @ w + constant, targets)
    return (losses * weights).mean(), derivative * weights[:, None] / n

  def value(flat):
    loss, derivative = data_loss(flat)
    w, _ = parts(flat)
    gradient = [(features.T @ derivative + penalty * w).ravel(), derivative.sum(0)]
    return loss + penalty / 2 * np.sum(w**2), np.concatenate(gradient if bias else gradient[:1])

  start = np.zeros((width + bias) * outputs)
  found = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
  return *parts(found), float(data_loss(found)[0])


def _gradient(loss: str, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Loss of each example, [n], and its derivative by the outputs, [n, o]."""
  if loss == "bce":
    z, y = outputs[:, 0], targets
    return np.logaddexp(0, z) - y * z, (scipy.special.expit(z) - y)[:, None]
  if loss == "cce":
    hot = np.eye(outputs.shape[1])[targets]
    return scipy.special.logsumexp(outputs, axis=1) - (hot * outputs).sum(1), scipy.special.softmax(outputs, 1) - hot
  difference = outputs[:, 0] - targets
  return difference**2, 2 * difference[:, None]
