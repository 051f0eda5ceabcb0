"""Finding held-out nucleotides, letter for letter, on either strand of other nucleotides.

Interspersed repeats are what such a search has to be kept from: a tenth of the human genome are Alu elements, a million
copies of 300 letters that lie in the introns and untranslated ends of most genes. Three things keep it from them: a
24-mer that the genes of several protein families have is left out; what remains of a family of repeats is sparse (its
copies are some 85 % identical, which leaves 2 % of 24-mers); and a stretch must have many 24-mers, and close together.
Measured on 2.2 million letters of one human chromosome, of which 500,000 were held out as 25 genes: 14 % of the
letters of the other half were taken for them by counting 24-mers alone, 0.4 % with the values of
`decontaminate.DecontaminationConfig`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.kmers import KMER, KmerTable, canonical_kmers, distinct_triplets

# A 24-mer with fewer different triplets is a repeat of up to seven letters, or nearly one.
_MIN_TRIPLETS = 8
_LEAST_MARKS = 5  # 28 letters: the shortest sequences that are looked for


class Marks(NamedTuple):
  """Held-out 24-mers in a query; arrays [n].

  Attributes:
    position: int64, where each begins.
    mask: unsigned integers, bit l for label l.
    need: uint16, marks from which a stretch counts.
  """

  position: np.ndarray
  mask: np.ndarray
  need: np.ndarray


class Runs(NamedTuple):
  """Stretches with enough marks of one label; int64 [n] each: [start, end) and the marks in it."""

  start: np.ndarray
  end: np.ndarray
  marks: np.ndarray


def chance_marks(kmers: int, per_kilobase: float, agreement: float = 0.3) -> int:
  """Marks in a row that unrelated letters have less than `per_kilobase` times in a thousand bases.

  Args:
    kmers: in the index.
    per_kilobase: how often it may happen.
    agreement: probability that two unrelated bases agree: 0.25, and more where both sequences are rich in AT.
  """
  letters = math.ceil(math.log(max(2000 * kmers / per_kilobase, 1)) / -math.log(agreement))
  return max(letters - KMER + 1, 1)


class NucleotideIndex:
  """The 24-mers of held-out nucleotides.

  Attributes:
    table: distinct 24-mers.
    masks, needs: of each, see `Marks`.
  """

  def __init__(self, table: KmerTable, masks: np.ndarray, needs: np.ndarray):
    self.table, self.masks, self.needs = table, masks, needs

  @classmethod
  def build(
      cls, sequences: Sequence[np.ndarray], labels: Sequence[int], groups: Sequence[int], label_count: int, *,
      min_marked: int, share: float, max_groups: int, per_kilobase: float
  ) -> tuple["NucleotideIndex", np.ndarray]:
    """Args:
      sequences: token ids of each.
      labels: the label of each.
      groups: the family of each.
      label_count: how many labels there are, up to 64.
      min_marked: marks that a stretch needs, of sequences long enough.
      share: of the 24-mers of a shorter sequence that a stretch needs, but never fewer than chance gives.
      max_groups: a 24-mer that more families of one label have is a repeat, and left out.
      per_kilobase: see `chance_marks`.

    Returns:
      (the index, bool [sequences]: which are too short to be found).
    """
    dtype = next(d for d in (np.uint8, np.uint16, np.uint32, np.uint64) if label_count <= 8 * np.dtype(d).itemsize)
    labels, groups = np.asarray(labels), np.asarray(groups)
    found = [_usable_kmers(s) for s in sequences]
    sizes = np.array([len(f) for f in found], np.int64)
    floor = max(chance_marks(int(sizes.sum()), per_kilobase), _LEAST_MARKS)
    short = sizes < floor
    needs = np.clip(np.ceil(share * sizes), floor, max(min_marked, floor)).astype(np.uint16)
    kmers, flags, asked = [np.zeros(0, np.uint64)], [np.zeros(0, dtype)], [np.zeros(0, np.uint16)]
    for label in range(label_count):
      of_label = np.flatnonzero((labels == label) & ~short)
      each = np.concatenate([np.zeros(0, np.uint64), *(found[i] for i in of_label)])
      group, need = (np.repeat(a[of_label], sizes[of_label]) for a in (groups, needs))
      order = np.lexsort((group, each))
      each, group, need = each[order], group[order], need[order]
      opens = np.r_[True, each[1:] != each[:-1]][: len(each)]
      first = np.flatnonzero(opens)
      if not len(first):
        continue
      families = np.add.reduceat((opens | np.r_[True, group[1:] != group[:-1]]).astype(np.int64), first)
      kept = families <= max_groups
      kmers.append(each[first][kept])
      flags.append(np.full(len(kmers[-1]), dtype(1) << dtype(label)))
      asked.append(np.minimum.reduceat(need, first)[kept])
    return cls._of_labels(*map(np.concatenate, (kmers, flags, asked))), short

  @classmethod
  def _of_labels(cls, kmers: np.ndarray, flags: np.ndarray, needs: np.ndarray) -> "NucleotideIndex":
    """From 24-mers that are distinct for each label."""
    order = np.argsort(kmers, kind="stable")
    kmers, flags, needs = kmers[order], flags[order], needs[order]
    opens = np.flatnonzero(np.r_[True, kmers[1:] != kmers[:-1]][: len(kmers)])
    if len(opens):
      kmers = kmers[opens]
      flags, needs = np.bitwise_or.reduceat(flags, opens), np.minimum.reduceat(needs, opens)
    table, order = KmerTable.build(kmers)
    return cls(table, flags[order], needs[order])

  def marks(self, ids: np.ndarray) -> Marks:
    """Where held-out 24-mers begin in a query, token ids uint8 [n]; some 100,000 letters at a time are efficient."""
    kmers, valid = canonical_kmers(ids)
    query, entry = self.table.find(kmers)
    found = valid[query]
    query, entry = query[found], entry[found]
    return Marks(query, self.masks[entry], self.needs[entry])


def _usable_kmers(ids: np.ndarray) -> np.ndarray:
  """The distinct 24-mers that hold bases only and are no repeats."""
  kmers, valid = canonical_kmers(ids)
  return np.unique(kmers[valid & (distinct_triplets(ids) >= _MIN_TRIPLETS)])


def runs(marks: Marks, label: int, max_gap: int, min_density: float) -> Runs:
  """Stretches that hold enough marks of one label, and close enough together.

  Marks that lie further apart than `max_gap` letters are of different stretches. A mark of a short sequence asks for
  few marks, one of a long sequence for many: a stretch counts where, for some number n, n of its marks ask for no more
  than n; and where marks begin at `min_density` of its places.
  """
  of_label = marks.mask >> marks.mask.dtype.type(label) & 1 == 1
  position, need = marks.position[of_label], marks.need[of_label]
  if not len(position):
    return Runs(*(np.zeros(0, np.int64) for _ in Runs._fields))
  opens = np.r_[True, np.diff(position) > KMER + max_gap]
  first = np.flatnonzero(opens)
  run = np.cumsum(opens) - 1
  order = np.lexsort((need, run))
  rank = np.arange(len(run)) - first[run]
  last = np.r_[first[1:], len(position)] - 1
  start, end, count = position[first], position[last] + KMER, last - first + 1
  enough = (np.bincount(run, need[order] <= rank + 1) > 0) & (count >= min_density * (end - start - KMER + 1))
  return Runs(start[enough], end[enough], count[enough])


def covered(marks: Marks, label: int, letters: int) -> np.ndarray:
  """Which letters lie in a 24-mer of a label, bool [letters]."""
  depth = np.zeros(letters + 1, np.int64)
  begins = marks.position[marks.mask >> marks.mask.dtype.type(label) & 1 == 1]
  depth[begins] += 1
  np.add.at(depth, begins + KMER, -1)
  return np.cumsum(depth[:-1]) > 0
