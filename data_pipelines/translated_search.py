"""Finding held-out proteins in other proteins, and in the six reading frames of nucleotides.

As in BLAST: a seed, seven residues that agree in a pattern of eleven, names a diagonal of a held-out protein; then the
letters beside it are compared and the best stretch is kept where its score is beyond chance. A spaced seed meets
relatives more often than as many letters in a row (Ma, Tromp and Li 2002, doi:10.1093/bioinformatics/18.3.440): 92 %
against 82 % of stretches of 60 residues at 70 % identity; this pattern is the best of all of up to thirteen places.

The score of a stretch is how many of its residues agree less how many do not: it grows only where more than half of
them agree. Two unrelated residues agree with a probability p of some 0.06, so that by Karlin and Altschul (1990,
doi:10.1073/pnas.87.6.2264) fewer than `queries * letters * (p / (1 - p)) ** S` stretches reach a score S by chance.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bsm_jax import tokenizer
from data_pipelines import genetic_code
from data_pipelines.kmers import KmerTable

# Letters as the search sees them: 0 to 19 are residues. The others agree with nothing, not with themselves either.
_UNKNOWN = 20  # in a query: a stop, a residue of no standard letter, a codon that may be several
_MASKED = 21  # in a held-out protein
_END = 32  # after a sequence of a query: no stretch goes on
_EDGE = 64  # the same, after a held-out protein
_RADIX = 21  # residues and `_UNKNOWN`: a seed that holds an unknown letter is a number that no indexed seed has
SEED = tuple(place for place, c in enumerate("11010011101") if c == "1")
_SPAN = SEED[-1] + 1
_REACH = 48  # letters that are compared on either side of a seed
WINDOW = 2 * _REACH + _SPAN
_BLOCK = 16  # seeds of one diagonal that begin in the same block are one
_BATCH = 4096  # stretches compared at a time
_COMPLEXITY_WINDOW = 12
_MAX_EQUAL_PAIRS = 14

_RESIDUES = np.full(256, _UNKNOWN, np.uint8)
_RESIDUES[tokenizer.FIRST_AMINO_ACID : tokenizer.FIRST_AMINO_ACID + 20] = np.arange(20)


class Hits(NamedTuple):
  """Stretches of a query that resemble held-out proteins; arrays [n].

  Attributes:
    start, end: int64, in letters of the query.
    protein: int64, which held-out protein.
    score: int64.
    matched: int64, letters that agree.
  """

  start: np.ndarray
  end: np.ndarray
  protein: np.ndarray
  score: np.ndarray
  matched: np.ndarray


def chance_score(letters: int, per_kilobase: float, agreement: float = 0.08) -> int:
  """The score that unrelated stretches reach less than `per_kilobase` times in a thousand bases, in all six frames.

  Args:
    letters: residues in the index.
    per_kilobase: how often it may happen.
    agreement: probability that two unrelated residues agree. It is 0.06 for average proteins; more is on the safe side
      and covers genomes and proteins that share a bias of composition.
  """
  return math.ceil(math.log(max(2000 * letters / per_kilobase, 1)) / math.log((1 - agreement) / agreement))


def residue_codes(ids: np.ndarray) -> np.ndarray:
  """Token ids of a protein to the search's letters, uint8 [n]."""
  return _RESIDUES[ids]


def join(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Sequences in the search's letters as one query, each ended; and int64 [n + 1] where each begins."""
  starts = np.cumsum([0, *(len(s) + 1 for s in sequences)])
  joined = np.full(starts[-1], _END, np.uint8)
  for start, sequence in zip(starts.tolist(), sequences):
    joined[start : start + len(sequence)] = sequence
  return joined, starts


# --- translation ---


@functools.cache
def _codon_tables(transl_table: int) -> tuple[np.ndarray, np.ndarray]:
  """Residue of a codon, and of the codon that lies opposite, by three letters of three bits each: uint8 [512] each."""
  tables = np.full((2, 8, 8, 8), _UNKNOWN, np.uint8)
  opposite = (3, 2, 1, 0, 4)
  for a, first in enumerate("ACGTN"):
    for b, second in enumerate("ACGTN"):
      for c, third in enumerate("ACGTN"):
        residue = genetic_code.translate(first + second + third, transl_table)
        if residue == "*" and first + second + third == "TGA":
          residue = "W"  # a stop agrees with nothing anyway, so nothing is lost by reading Mycoplasma's code too
        at = tokenizer.AMINO_ACIDS.find(residue)
        tables[0, a, b, c] = tables[1, opposite[c], opposite[b], opposite[a]] = at if at >= 0 else _UNKNOWN
  return tables[0].reshape(-1), tables[1].reshape(-1)


def six_frames(ids: np.ndarray, transl_table: int) -> np.ndarray:
  """Encoded nucleotides in all six reading frames, in the search's letters.

  Args:
    ids: uint8 [n] token ids.
    transl_table: NCBI genetic code; TGA is always read as W unless it codes for another residue.

  Returns:
    uint8 [6, n // 3 + 1]: frame f of the first three reads the codons that begin at f, f + 3, …; frame f of the others
    reads the same codons on the other strand, from the last to the first. Every frame ends with at least one `_END`.
  """
  codons = max(len(ids) - 2, 0)
  frames = np.full((6, len(ids) // 3 + 1), _END, np.uint8)
  letters = np.minimum(ids - np.uint8(tokenizer.FIRST_NUCLEOTIDE), 7).astype(np.uint16)
  packed = letters[:codons] << 6 | letters[1 : codons + 1] << 3 | letters[2:]
  forward, reverse = _codon_tables(transl_table)
  for frame in range(3):
    in_frame = packed[frame::3]
    frames[frame, : len(in_frame)] = forward[in_frame]
    frames[3 + frame, : len(in_frame)] = reverse[in_frame[::-1]]
  return frames


def nucleotide_coordinates(start: np.ndarray, end: np.ndarray, letters: int) -> tuple[np.ndarray, np.ndarray]:
  """Stretches of the six frames, laid end to end, to where they lie in the `letters` nucleotides: [start, end)."""
  width = letters // 3 + 1
  frame, offset = start // width, start // width % 3
  first, last = start - frame * width, end - frame * width
  codons = (letters - offset) // 3
  first, last = np.where(frame < 3, first, codons - last), np.where(frame < 3, last, codons - first)
  return offset + 3 * first, offset + 3 * last


# --- the index ---


def _low_complexity(codes: np.ndarray, protein: np.ndarray) -> np.ndarray:
  """Letters in a window of twelve of which more than fourteen pairs, of 66, are equal: bool [n].

  Four pairs are equal in random proteins. Runs of one or two residues, coiled coils and linkers are found, much as by
  SEG (Wootton and Federhen 1993, doi:10.1016/0097-8485(93)85006-X), whose entropy is another measure of the same.

  Args:
    codes: [n] letters of all proteins.
    protein: [n] which protein each belongs to.
  """
  windows = len(codes) - _COMPLEXITY_WINDOW + 1
  low = np.zeros(len(codes), bool)
  if windows < 1:
    return low
  pairs = np.zeros(windows, np.int16)
  for distance in range(1, _COMPLEXITY_WINDOW):
    equal = (codes[:-distance] == codes[distance:]) & (protein[:-distance] == protein[distance:])
    equal &= codes[distance:] < 20
    total = np.r_[0, np.cumsum(equal)]
    pairs += (total[_COMPLEXITY_WINDOW - distance :][:windows] - total[:windows]).astype(np.int16)
  begins = np.flatnonzero(pairs > _MAX_EQUAL_PAIRS)
  depth = np.zeros(len(codes) + 1, np.int32)
  np.add.at(depth, begins, 1)
  np.add.at(depth, begins + _COMPLEXITY_WINDOW, -1)
  return np.cumsum(depth[:-1]) > 0


def _seeds(codes: np.ndarray) -> np.ndarray:
  """The seed that begins at each letter, uint32 [n] to [n - 10]; 21 ** 7 is less than 2 ** 32."""
  places = max(len(codes) - _SPAN + 1, 0)
  digits = np.minimum(codes, _UNKNOWN).astype(np.uint32)
  seeds = digits[:places].copy()
  for place in SEED[1:]:
    seeds *= np.uint32(_RADIX)
    seeds += digits[place : place + places]
  return seeds


class ProteinIndex:
  """Held-out proteins, found by their seeds.

  Attributes:
    letters: uint8, the proteins in the search's letters, each followed by `_EDGE`.
    starts: int64 [proteins + 1], where each begins.
    needs: uint16 [proteins], the score from which a stretch resembles it.
    table, positions: the seeds, and where in `letters` each begins (uint32).
  """

  def __init__(self, letters: np.ndarray, starts: np.ndarray, needs: np.ndarray, table: KmerTable,
               positions: np.ndarray):
    self.letters, self.starts, self.needs, self.table, self.positions = letters, starts, needs, table, positions
    self._least = int(needs.min(initial=np.iinfo(np.uint16).max))
    self._windows = np.lib.stride_tricks.sliding_window_view(letters, WINDOW)

  @classmethod
  def build(
      cls, proteins: Sequence[np.ndarray], labels: np.ndarray, *, min_score: int, share: float, copies: int,
      per_kilobase: float
  ) -> tuple["ProteinIndex", np.ndarray]:
    """Args:
      proteins: token ids of each.
      labels: integer [proteins], less than 256; bounds how often a seed is kept.
      min_score: that a stretch needs, of proteins long enough.
      share: of the score of the whole protein, that a stretch of a shorter one needs, but never less than chance gives.
      copies: seeds kept of those that are equal and of one label: thousands of variants of one protein (deep
        mutational scans) are found by those of a few.
      per_kilobase: see `chance_score`.

    Returns:
      (the index, bool [proteins]: which are too short to be found).
    """
    lengths = np.array([len(p) for p in proteins], np.int64)
    starts = _REACH + np.r_[0, np.cumsum(lengths + 1)]
    letters = np.full(starts[-1] + WINDOW, _EDGE, np.uint8)
    owner = np.full(len(letters), -1, np.int32)
    for i, protein in enumerate(proteins):
      letters[starts[i] : starts[i] + len(protein)] = _RESIDUES[protein]
      owner[starts[i] : starts[i] + len(protein)] = i
    is_letter = owner >= 0
    letters[is_letter & ((letters >= _UNKNOWN) | _low_complexity(letters, owner))] = _MASKED
    known = np.bincount(owner[is_letter & (letters < _UNKNOWN)], minlength=len(proteins))
    floor = chance_score(int(known.sum()), per_kilobase)
    needs = np.clip((share * known).astype(np.int64), floor, max(min_score, floor)).astype(np.uint16)

    usable = letters < _UNKNOWN
    places = len(letters) - _SPAN + 1
    whole = functools.reduce(np.logical_and, (usable[p : p + places] for p in SEED))
    whole &= owner[:places] == owner[_SPAN - 1 :]
    positions = np.flatnonzero(whole)
    seeds = _seeds(letters)[positions]
    groups = seeds.astype(np.uint64) << np.uint64(8) | np.asarray(labels, np.uint64)[owner[positions]]
    order = np.argsort(groups, kind="stable")
    seeds, groups, positions = seeds[order], groups[order], positions[order]
    opens = np.r_[True, groups[1:] != groups[:-1]][: len(seeds)]
    rank = np.arange(len(seeds)) - np.maximum.accumulate(np.where(opens, np.arange(len(seeds)), 0))
    kept = rank < copies
    table, order = KmerTable.build(seeds[kept])
    return cls(letters, starts, needs, table, positions[kept][order].astype(np.uint32)), known < needs

  def hits(self, codes: np.ndarray) -> Hits:
    """Stretches of a query that reach the score their protein needs. A long one comes as several that overlap.

    Args:
      codes: the query in the search's letters, see `join` and `six_frames`; at most some 100,000 letters are efficient.
    """
    query, entry = self.table.find(_seeds(codes))
    if not len(query):
      return Hits(*(np.zeros(0, np.int64) for _ in Hits._fields))
    target = self.positions[entry].astype(np.int64)
    blocks = len(codes) // _BLOCK + 1
    _, first = np.unique((target - query + len(codes)) * blocks + query // _BLOCK, return_index=True)
    query, target = query[first], target[first]
    edge = np.full(_REACH, _END, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([edge, codes, edge]), WINDOW)
    found = [
        self._extend(windows[query[i : i + _BATCH]], target[i : i + _BATCH] - _REACH)
        for i in range(0, len(query), _BATCH)
    ]
    row = np.concatenate([f[0] + i * _BATCH for i, f in enumerate(found)])
    start, end, score, matched = (np.concatenate(column) for column in list(zip(*found))[1:])
    protein = np.searchsorted(self.starts, target[row], side="right") - 1
    enough = score >= self.needs[protein]
    begin = query[row] - _REACH
    return Hits(*(a[enough] for a in (begin + start, begin + end, protein, score, matched)))

  def _extend(self, query: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
    """The best stretch around the seed of each window [n, WINDOW] beside `letters` from `at` on.

    Returns:
      (which window, start in it, end, score, matched), int64 each, of those that are good enough for any protein.
    """
    target = self._windows[at]
    equal = query == target
    rows = np.flatnonzero(np.count_nonzero(equal, axis=1) >= self._least)
    query, target, equal = query[rows], target[rows], equal[rows]
    scores = np.where(equal, np.int16(1), np.int16(-1))
    scores[target == _MASKED] = 0
    scores[(query | target) >= _END] = -WINDOW
    total = np.zeros((len(rows), WINDOW + 1), np.int16)
    np.cumsum(scores, axis=1, out=total[:, 1:])
    # From where the total is lowest, the last such place before the seed, to where it is highest behind it.
    start = _REACH - total[:, _REACH::-1].argmin(axis=1)
    end = _REACH + total[:, _REACH:].argmax(axis=1)
    index = np.arange(len(rows))
    score = total[index, end].astype(np.int64) - total[index, start]
    good = score >= self._least
    columns = np.arange(WINDOW)
    inside = (columns >= start[good, None]) & (columns < end[good, None])
    return rows[good], start[good], end[good], score[good], (equal[good] & inside).sum(axis=1)
