"""What needs no model: logistic (or ridge) regression on k-mer counts, its penalty chosen on the development data."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special

from bsm_jax import tokenizer
from bsm_jax.evaluation.finetune.objective import Objective
from bsm_jax.tokenizer import Modality

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
_ALPHABETS = {
    modality: (tokenizer.FIRST_AMINO_ACID, len(tokenizer.AMINO_ACID_CODES))
    if modality == Modality.PROTEIN
    else (tokenizer.FIRST_NUCLEOTIDE, len(tokenizer.NUCLEOTIDES))
    for modality in Modality
}


def kmer_counts(documents: Sequence[np.ndarray], k: Mapping[Modality, int]) -> scipy.sparse.csr_matrix:
  """Features fp64 [n, columns]: for each sequence of a document, by its place and kind, log(1 + count), to unit length.

  Args:
    documents: uint8 tokens, as the model sees them, truncated ones too.
    k: letters of a k-mer, by modality; those with `<unk>` are left out.
  """
  widths = {modality: _ALPHABETS[modality][1] ** k[modality] for modality in Modality}
  block = sum(widths.values())
  starts = dict(zip(Modality, np.cumsum([0, *list(widths.values())[:-1]]).tolist()))
  none = np.zeros(0, np.int64)
  rows, columns, values, places = [none], [none], [none], 1
  for number, document in enumerate(documents):
    for place, (modality, letters) in enumerate(tokenizer.split_document(document)):
      places = max(places, place + 1)
      first, size = _ALPHABETS[modality]
      if len(letters) < k[modality]:
        continue
      windows = np.lib.stride_tricks.sliding_window_view(letters, k[modality])
      windows = windows[(windows != tokenizer.UNK).all(1)].astype(np.int64)
      found, counts = np.unique((windows - first) @ size ** np.arange(k[modality]), return_counts=True)
      weights = np.log1p(counts)
      rows.append(np.full(len(found), number))
      columns.append(place * block + starts[modality] + found)
      values.append(weights / max(np.linalg.norm(weights), 1e-12))
  entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
  return scipy.sparse.csr_matrix(entries, (len(documents), places * block))


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


def _train(features, targets, weights, objective: Objective, penalty: float) -> tuple[np.ndarray, np.ndarray]:
  """Weights [columns, o] and bias [o] that minimize mean loss + penalty / 2 * |weights|^2 (L-BFGS)."""
  n, width = features.shape

  def value(flat):
    w, bias = flat[:-objective.n_outputs].reshape(width, -1), flat[-objective.n_outputs :]
    losses, derivative = _gradient(objective.loss, features @ w + bias, targets)
    derivative *= weights[:, None] / n
    total = (losses * weights).mean() + penalty / 2 * np.sum(w**2)
    return total, np.concatenate([(features.T @ derivative + penalty * w).ravel(), derivative.sum(0)])

  start = np.zeros((width + 1) * objective.n_outputs)
  found = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
  return found[:-objective.n_outputs].reshape(width, -1), found[-objective.n_outputs :]


def scores(train, dev, test, objective: Objective, metric: str, k: Mapping[Modality, int]) -> tuple[np.ndarray, dict]:
  """Predictions for the test examples (see `Objective.scores`).

  Args:
    train, dev, test: `data.Part`s.
    objective: the model's own.
    metric: that chooses the penalty on `dev`.
    k: see `kmer_counts`.

  Returns:
    fp64 [n], and what was chosen: `penalty`, `dev`, `columns`.
  """
  found = kmer_counts([*train.tokens, *dev.tokens, *test.tokens], k)
  known = np.flatnonzero(found[: len(train)].getnnz(0))
  of_train, of_rest = found[: len(train), known], found[len(train) :, known]
  of_dev, of_test = of_rest[: len(dev)], of_rest[len(dev) :]
  targets, weights = objective.targets(train.labels), objective.example_weights(train.labels)
  best = None
  for penalty in PENALTIES:
    w, bias = _train(of_train, targets, weights.astype(np.float64), objective, penalty)
    value = objective.metric(metric, dev.labels, objective.scores(of_dev @ w + bias))
    if best is None or value > best[0]:
      best = (value, penalty, w, bias)
  value, penalty, w, bias = best
  about = {"penalty": penalty, "dev": value, "columns": len(known)}
  return objective.scores(of_test @ w + bias), about
