"""What needs no model: logistic (or ridge) regression on k-mer counts, its penalty chosen on the development data."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from bsm_jax import tokenizer
from bsm_jax.evaluation.finetune import linear
from bsm_jax.evaluation.finetune.objective import Objective
from bsm_jax.tokenizer import Modality

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


def scores(train, dev, test, objective: Objective, metric: str, k: Mapping[Modality, int]) -> tuple[np.ndarray, dict]:
  """Predictions for the test examples (see `Objective.scores`).

  Args:
    train, dev, test: `data.Part`s.
    objective: the model's own.
    metric: that chooses the penalty on `dev`.
    k: see `kmer_counts`.

  Returns:
    fp64 [n], and what was chosen: `penalty`, `loss`, `dev`, `columns`.
  """
  found = kmer_counts([*train.tokens, *dev.tokens, *test.tokens], k)
  known = np.flatnonzero(found[: len(train)].getnnz(0))
  of_train, of_rest = found[: len(train), known], found[len(train) :, known]
  of_dev, of_test = of_rest[: len(dev)], of_rest[len(dev) :]
  found = linear.fit(of_train, of_dev, (train.labels, dev.labels), objective, metric)
  return objective.scores(found.outputs(of_test)), found.best | {"columns": len(known)}
