"""How much a string of capitals looks like protein, and how much like words.

Two models of letters are compared, in bits: residues drawn from the composition of Swiss-Prot, and words drawn from a
trigram model with word ends, counted in the list of `words.py`. A word outside the list is known by its trigrams.
"""

import functools
import math

from data_pipelines.web.words import WORDS

# Residues in percent of Swiss-Prot (its release statistics, https://web.expasy.org/docs/relnotes/relstat.html).
_PERCENT = {
    "A": 8.25, "R": 5.53, "N": 4.06, "D": 5.46, "C": 1.38, "Q": 3.93, "E": 6.71, "G": 7.07, "H": 2.27, "I": 5.91,
    "L": 9.65, "K": 5.80, "M": 2.41, "F": 3.86, "P": 4.74, "S": 6.65, "T": 5.36, "W": 1.10, "Y": 2.92, "V": 6.86,
}
_RARE = 0.02  # Percent of a letter that is no standard residue (X, B, Z, U, O, J, *).


_ALPHABET = 27  # Letters and the end of a word.
_END = 26


def _ids(word: str) -> list[int]:
  return [ord(c) - 97 for c in word if "a" <= c <= "z"]


@functools.cache
def _trigrams() -> list[float]:
  """Bits of a letter after two others, [27³] flat; a word's first letters follow two word ends.

  Trigrams are smoothed with bigrams, these with single letters, those with the uniform distribution (Witten and Bell
  1991: the weight of the longer context is its count over its count plus the number of letters seen after it).
  """
  counts: list[dict[int, dict[int, int]]] = [{}, {}, {}]
  for word in sorted(set(WORDS.split())):
    ids = [_END, _END, *_ids(word), _END]
    for a, b, c in zip(ids, ids[1:], ids[2:]):
      for order, context in enumerate((0, b, a * _ALPHABET + b)):
        after = counts[order].setdefault(context, {})
        after[c] = after.get(c, 0) + 1
  bits = []
  for a in range(_ALPHABET):
    for b in range(_ALPHABET):
      for c in range(_ALPHABET):
        p = 1 / _ALPHABET
        for order, context in enumerate((0, b, a * _ALPHABET + b)):
          after = counts[order].get(context)
          if after:
            total = sum(after.values())
            p = (after.get(c, 0) + len(after) * p) / (total + len(after))
        bits.append(-math.log2(p))
  return bits


_RESIDUE_BITS = {c: -math.log2(p / 100) for c, p in _PERCENT.items()}
_RARE_BITS = -math.log2(_RARE / 100)
_LONGEST = 400  # Letters that are looked at: more change no verdict.


def word_bits(word: str) -> float:
  """Bits of a word, its end included, under the model of words; letters of any case, others are ignored."""
  bits = _trigrams()
  total, context = 0.0, _END * _ALPHABET + _END
  for i in [*_ids(word[:_LONGEST].lower()), _END]:
    total += bits[context * _ALPHABET + i]
    context = context % _ALPHABET * _ALPHABET + i
  return total


def residue_bits(word: str) -> float:
  """Bits of the letters under the composition of proteins."""
  return sum(_RESIDUE_BITS.get(c, _RARE_BITS) for c in word[:_LONGEST].upper())


def is_random(word: str) -> bool:
  """Whether a word of capitals is no more like words than letters drawn evenly are: cipher text, codes."""
  return word_bits(word) > math.log2(26) * (len(word) + 1)


def protein_score(words: list[str]) -> float:
  """Bits by which the words (pieces of one sequence) look more like protein than like words; above 0: protein."""
  return sum(word_bits(word) - residue_bits(word) for word in words)


@functools.cache
def _known() -> frozenset[str]:
  return frozenset(WORDS.upper().split())


def is_word(word: str) -> bool:
  """Whether the list has the word, also as a plural."""
  word = word.upper()
  return word in _known() or (word.endswith("S") and word[:-1] in _known())
