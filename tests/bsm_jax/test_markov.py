import numpy as np
import pytest

from bsm_jax import tokenizer
from bsm_jax.evaluation import markov
from bsm_jax.tokenizer import Modality


def rows_of(*documents: list[tuple[Modality, str]]) -> np.ndarray:
  tokens = np.concatenate([tokenizer.encode_document(d) for d in documents])
  return np.pad(tokens, (0, 128 - len(tokens)))[None]


def test_contexts_stay_inside_their_sequence():
  tokens = rows_of([(Modality.PROTEIN, "MK"), (Modality.DNA, "acg")], [(Modality.DNA, "t")])
  letters, context, known = markov.contexts(tokens, Modality.DNA, 2)
  a, c, g, t = (tokenizer.FIRST_NUCLEOTIDE + i for i in range(4))
  assert letters.tolist() == [a, c, g, t]
  assert known.tolist() == [0, 1, 2, 0]
  assert context.tolist() == [0, a, c + 64 * a, 0]


def test_order_three_learns_what_order_two_cannot():
  # The fourth letter of each word equals the first; the two between are random.
  rng = np.random.default_rng(0)
  words = lambda n: "".join(w + w[0] for w in ("".join(rng.choice(list("acgt"), 3)) for _ in range(n)))
  train = np.concatenate([rows_of([(Modality.DNA, words(1))]) for _ in range(2000)])
  valid = np.concatenate([rows_of([(Modality.DNA, words(1))]) for _ in range(300)])
  bits = {}
  for order in (0, 2, 3):
    model = markov.MarkovModel(Modality.DNA, order)
    model.fit(train)
    total, letters = model.bits(valid)
    bits[order] = total / letters
    assert letters == 1200
  assert bits[0] == pytest.approx(2.0, abs=0.02) and bits[2] == pytest.approx(2.0, abs=0.05)
  assert bits[3] == pytest.approx(1.5, abs=0.1)


def test_only_the_wanted_modality_is_scored():
  model = markov.MarkovModel(Modality.PROTEIN, 0)
  model.fit(rows_of([(Modality.PROTEIN, "M" * 60), (Modality.DNA, "acgt")]))
  assert model.bits(rows_of([(Modality.DNA, "acgt"), (Modality.PROTEIN, "MM")])) == pytest.approx(
      (2 * np.log2(87 / 61), 2)
  )
