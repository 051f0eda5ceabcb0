"""What a head's outputs mean: losses, class weights, scores and metrics of two classes, several, or numbers."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bsm_jax.evaluation import metrics as metrics_lib

LOSSES = ("bce", "cce", "mse")
METRICS: dict[str, dict[str, Callable]] = {
    "bce": {"accuracy": metrics_lib.accuracy, "macro_f1": metrics_lib.macro_f1, "mcc": metrics_lib.mcc,
            "auc": metrics_lib.auc},
    "cce": {"accuracy": metrics_lib.accuracy, "macro_f1": metrics_lib.macro_f1, "mcc": metrics_lib.mcc},
    "mse": {"spearman": metrics_lib.spearman, "pearson": metrics_lib.pearson},
}  # fmt: skip


class ObjectiveError(ValueError):
  """Settings of the loss that do not go together; the message names the remedy."""


@dataclasses.dataclass(frozen=True)
class Objective:
  """A loss and what goes with it.

  Attributes:
    loss: "bce" (two classes, one output: the log-odds of class 1), "cce" (an output a class) or "mse".
    n_outputs: of the head.
    class_weights: by which the losses of a class's examples are multiplied; empty: by 1.
    mean, scale: of the training labels; the head learns numbers with mean 0 (or what it is) and deviation 1.
  """

  loss: str
  n_outputs: int
  class_weights: tuple[float, ...] = ()
  mean: float = 0.0
  scale: float = 1.0

  def targets(self, labels: np.ndarray) -> np.ndarray:
    """Labels as `losses` takes them: class indices, or standardized fp32."""
    return ((labels - self.mean) / self.scale).astype(np.float32) if self.loss == "mse" else labels.astype(np.int32)

  def example_weights(self, labels: np.ndarray) -> np.ndarray:
    """fp32 [n]: the weight of each example's class."""
    if not self.class_weights:
      return np.ones(len(labels), np.float32)
    return np.array(self.class_weights, np.float32)[labels]

  def losses(self, outputs_bo: jax.Array, targets_b: jax.Array) -> jax.Array:
    """fp32 [b], of each example."""
    if self.loss == "bce":
      return optax.sigmoid_binary_cross_entropy(outputs_bo[:, 0], targets_b.astype(jnp.float32))
    if self.loss == "cce":
      return optax.softmax_cross_entropy_with_integer_labels(outputs_bo, targets_b)
    return jnp.square(outputs_bo[:, 0] - targets_b)

  def scores(self, outputs: np.ndarray) -> np.ndarray:
    """What an example's prediction comes down to, fp64 [n]: log-odds of class 1; the class; or the number."""
    if self.loss == "cce":
      return outputs.argmax(1).astype(np.float64)
    return outputs[:, 0].astype(np.float64) * self.scale + self.mean

  def metric(self, name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """One metric of this loss (`METRICS`)."""
    predicted = (scores > 0).astype(np.int64) if self.loss == "bce" and name != "auc" else scores
    return METRICS[self.loss][name](labels, predicted)

  def metrics(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Every metric of this loss by its name."""
    return {name: self.metric(name, labels, scores) for name in METRICS[self.loss]}


def make_objective(
    loss: str, metric: str, class_weights: str, labels: np.ndarray, n_classes: int, *, centred: bool = True
) -> Objective:
  """Args: of `LOSSES`; the metric that chooses the best parameters; "none", "balanced" (each class has the same weight
  in all: examples / (classes * examples of the class)) or numbers separated by commas; the training labels; and how
  many classes there are (0 for regression); whether numbers are learned less their mean, which a head needs a bias for.

  Raises:
    ObjectiveError: they do not go together.
  """
  if loss not in LOSSES:
    raise ObjectiveError(f"loss {loss!r}: use one of {', '.join(LOSSES)}")
  if metric not in METRICS[loss]:
    raise ObjectiveError(f"metric {metric!r} is not of loss {loss}: use one of {', '.join(METRICS[loss])}")
  if loss == "mse":
    if class_weights != "none":
      raise ObjectiveError(f"class_weights {class_weights!r}: there are no classes with loss mse, write none")
    scale = float(labels.std())
    if scale == 0:
      raise ObjectiveError("all training labels are the same number: there is nothing to learn")
    return Objective(loss, 1, mean=float(labels.mean()) if centred else 0.0, scale=scale)
  counts = np.bincount(labels, minlength=n_classes)
  if class_weights == "none":
    weights = ()
  elif class_weights == "balanced":
    if not counts.all():
      raise ObjectiveError(f"class_weights balanced: class {int(counts.argmin())} has no training example; give a list")
    weights = tuple(float(len(labels) / (n_classes * count)) for count in counts)
  else:
    try:
      weights = tuple(float(item) for item in class_weights.split(","))
    except ValueError:
      raise ObjectiveError(f"class_weights {class_weights!r}: write none, balanced, or numbers with commas") from None
    if len(weights) != n_classes or min(weights) <= 0:
      raise ObjectiveError(f"class_weights {class_weights!r}: {n_classes} positive numbers are needed, one a class")
  return Objective(loss, 1 if loss == "bce" else n_classes, weights)
