"""What a Markov model reaches on the same rows: the bar that a trained model has to clear.

  python -m bsm_jax.evaluation.markov --rows=ROWS --row_set=single_dna --modality=dna --order=3

fits on the train split and prints bits per residue of the valid split, to be compared with `valid/<row_set>/<modality>`
of a run. Order 0 is the unigram entropy (cross-entropy of the validation residues under the training frequencies).
"""

import json
import sys

import numpy as np
from absl import app, flags

from bsm_jax import tokenizer
from bsm_jax.input import rows as rows_lib


def contexts(tokens: np.ndarray, modality: tokenizer.Modality, order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The letters of one modality in packed rows, with what stands before each of them in the same sequence.

  Args:
    tokens: packed rows, uint8 [rows, context].
    modality: whose letters.
    order: letters of context.

  Returns:
    letters int64 [n], context int64 [n] (a number in base VOCAB_SIZE that says which letters precede), known int64 [n]
    (how many letters do, at most `order`).
  """
  tokens = tokens.astype(np.int64)
  at = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
  is_tag = (tokens >= min(tokenizer.Modality)) & (tokens <= max(tokenizer.Modality))
  tag_at = np.maximum.accumulate(np.where(is_tag, at, -1), axis=1)
  tag = np.where(tag_at >= 0, np.take_along_axis(tokens, np.maximum(tag_at, 0), 1), 0)
  is_letter = (tag == modality) & (tokens >= tokenizer.FIRST_NUCLEOTIDE)
  known = np.minimum(at - tag_at - 1, order)
  context = np.zeros_like(tokens)
  for back in range(1, order + 1):
    before = np.pad(tokens, ((0, 0), (back, 0)))[:, : tokens.shape[1]]
    context += np.where(known >= back, before, 0) * tokenizer.VOCAB_SIZE ** (back - 1)
  return tokens[is_letter], context[is_letter], known[is_letter]


class MarkovModel:
  """Counts of letters after every context, with add-one smoothing; shorter contexts serve where a sequence begins."""

  def __init__(self, modality: tokenizer.Modality, order: int):
    self.modality, self.order = modality, order
    is_protein = modality == tokenizer.Modality.PROTEIN
    self._alphabet = len(tokenizer.AMINO_ACID_CODES if is_protein else tokenizer.NUCLEOTIDES)
    self._pairs: list[dict[int, int]] = [{} for _ in range(order + 1)]
    self._totals: list[dict[int, int]] = [{} for _ in range(order + 1)]

  def fit(self, tokens: np.ndarray) -> None:
    """Adds the counts of packed rows, uint8 [rows, context]."""
    for order in range(self.order + 1):
      letters, context, known = contexts(tokens, self.modality, order)
      letters, context = letters[known == order], context[known == order]
      pairs = context * tokenizer.VOCAB_SIZE + letters
      for table, keys in ((self._pairs[order], pairs), (self._totals[order], context)):
        for key, count in zip(*(a.tolist() for a in np.unique(keys, return_counts=True))):
          table[key] = table.get(key, 0) + count

  def bits(self, tokens: np.ndarray) -> tuple[float, int]:
    """(summed bits, number) of the letters of packed rows."""
    letters, context, known = contexts(tokens, self.modality, self.order)
    total = 0.0
    for order in range(self.order + 1):
      chosen = known == order
      keys, counts = np.unique(context[chosen] * tokenizer.VOCAB_SIZE + letters[chosen], return_counts=True)
      for key, count in zip(keys.tolist(), counts.tolist()):
        seen = self._pairs[order].get(key, 0) + 1
        total -= count * np.log2(seen / (self._totals[order].get(key // tokenizer.VOCAB_SIZE, 0) + self._alphabet))
    return total, len(letters)


def bits_per_residue(
    root: str, row_set: str, modality: tokenizer.Modality, order: int, *, max_valid_rows: int | None = None
) -> dict:
  """Fits on all train rows of a row set and scores its valid rows.

  Args:
    root: folder of row sets.
    row_set: its name.
    modality: whose letters.
    order: letters of context.
    max_valid_rows: score the first rows only, as a run's `eval.row_sets` does.

  Returns:
    `bits_per_residue`, `residues` (scored), `train_rows`, `valid_rows`.
  """
  model = MarkovModel(modality, order)
  train, valid = (rows_lib.open_row_set(root, row_set, split) for split in ("train", "valid"))
  source = train.source()
  for start in range(0, len(source), 4096):
    model.fit(np.stack([source[i] for i in range(start, min(start + 4096, len(source)))]))
  source = valid.source()
  count = min(max_valid_rows or len(source), len(source))
  bits, letters = model.bits(np.stack([source[i] for i in range(count)]))
  if not letters:
    raise rows_lib.RowsError(f"{row_set} holds no {modality.name.lower()} letters in its valid rows")
  return {"bits_per_residue": bits / letters, "residues": letters, "train_rows": train.rows, "valid_rows": count}


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  values = flags.FLAGS
  try:
    modality = tokenizer.Modality.parse(values.modality)
    found = bits_per_residue(values.rows, values.row_set, modality, values.order, max_valid_rows=values.max_valid_rows)
  except rows_lib.RowsError as error:
    sys.exit(f"error: {error}")
  print(json.dumps({"row_set": values.row_set, "modality": values.modality, "order": values.order, **found}))


if __name__ == "__main__":
  flags.DEFINE_string("rows", None, "Folder of row sets.", required=True)
  flags.DEFINE_string("row_set", None, "Row set, fitted on its train rows, scored on its valid rows.", required=True)
  flags.DEFINE_enum("modality", "dna", [m.name.lower() for m in tokenizer.Modality], "Whose letters.")
  flags.DEFINE_integer("order", 3, "Letters of context.", lower_bound=0, upper_bound=8)
  flags.DEFINE_integer("max_valid_rows", None, "Score the first rows only, as a run's eval.row_sets does.")
  app.run(main)
