"""What is counted in sequences and rows: arrays in, frozen dataclasses out. Nothing here touches a disk.

Every statistic carries weights, because large corpora are sampled: a weight says how many sequences (or rows) of the
corpus a sampled one stands for. Where everything was read, all weights are 1 and all counts are exact.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, FIRST_AMINO_ACID, FIRST_NUCLEOTIDE, FIRST_RESERVED, PAD, UNK, VOCAB_SIZE, Modality

MODALITIES = tuple(Modality)
NUCLEIC = (Modality.DNA, Modality.RNA)
CONTINUED = 0  # in an order: the row begins inside a document, whose first sequences stand elsewhere
_A, _C, _G, _T, _N = range(FIRST_NUCLEOTIDE, FIRST_NUCLEOTIDE + 5)
_X = tokenizer.VOCABULARY.index("X")

# By modality and token id: whether it is a letter of such a sequence; bool [VOCAB_SIZE, 256].
ALPHABET = np.zeros((VOCAB_SIZE, 256), bool)
ALPHABET[NUCLEIC, FIRST_NUCLEOTIDE:FIRST_AMINO_ACID] = True
ALPHABET[Modality.PROTEIN, FIRST_AMINO_ACID:FIRST_RESERVED] = True
ALPHABET[MODALITIES, UNK] = True

Order = tuple[int, ...]  # modality ids of a document's sequences, in order


@dataclasses.dataclass(frozen=True)
class Sequences:
  """Typed sequences, end to end.

  Attributes:
    letters: uint8 [letters] token ids.
    ends: int64 [n], where in `letters` each sequence ends; it begins where the one before ends.
    modality: uint8 [n], ids as in `Modality`.
    document: int64 [n], ascending: which document each belongs to.
    taxon: int32 [n], NCBI taxonomy ids, 0 where unknown.
  """

  letters: np.ndarray
  ends: np.ndarray
  modality: np.ndarray
  document: np.ndarray
  taxon: np.ndarray


@dataclasses.dataclass(frozen=True)
class SequenceStatistics:
  """What is known of n sequences without their letters.

  Attributes:
    modality: uint8 [n], ids as in `Modality`.
    length: int64 [n], in letters.
    gc: float32 [n], share of g and c among a c g t; NaN for proteins and where there is none of these.
    taxon: int32 [n], 0 where unknown.
    weight: float64 [n], how many sequences each stands for.
    letter_counts: float64 [3, VOCAB_SIZE], weighted, by modality in the order of `MODALITIES`.
    orders: weighted documents by the order of their sequences.
  """

  modality: np.ndarray
  length: np.ndarray
  gc: np.ndarray
  taxon: np.ndarray
  weight: np.ndarray
  letter_counts: np.ndarray
  orders: Mapping[Order, float]

  def only(self, modality: Modality) -> "SequenceStatistics":
    """The sequences of one modality; documents lose their orders."""
    chosen = self.modality == modality
    counts = np.where(np.array(MODALITIES)[:, None] == modality, self.letter_counts, 0)
    columns = (column[chosen] for column in (self.modality, self.length, self.gc, self.taxon, self.weight))
    return SequenceStatistics(*columns, counts, {})

  def scaled(self, factor: float) -> "SequenceStatistics":
    """The same sequences, each standing for `factor` times as many."""
    return dataclasses.replace(
        self, weight=self.weight * factor, letter_counts=self.letter_counts * factor,
        orders={order: n * factor for order, n in self.orders.items()},
    )

  def letters_by_modality(self) -> dict[str, float]:
    """Letters of each modality, weighted."""
    return {m.name.lower(): float(n) for m, n in zip(MODALITIES, self.letter_counts.sum(axis=1))}

  def sequences_by_modality(self) -> dict[str, float]:
    """Sequences of each modality, weighted."""
    counts = np.bincount(self.modality, self.weight, minlength=VOCAB_SIZE)
    return {m.name.lower(): float(counts[m]) for m in MODALITIES}

  def letters_by_taxon(self) -> dict[int, np.ndarray]:
    """Taxon to its letters by modality, float64 [3], weighted; the taxon with the most letters first."""
    taxa, index = np.unique(self.taxon, return_inverse=True)
    counts = np.zeros((len(taxa), len(MODALITIES)))
    np.add.at(counts, (index, self.modality.astype(np.int64) - MODALITIES[0]), self.weight * self.length)
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    return {int(taxa[i]): counts[i] for i in order}


@dataclasses.dataclass(frozen=True)
class RowStatistics:
  """What is known of r rows.

  Attributes:
    fill: float64 [r], share of tokens that are no padding.
    documents: int64 [r], documents that begin in the row, or that it begins inside of.
    weight: float64 [r], how many rows each stands for.
    sequences: the typed sequences in them, as they are cut there.
    untyped_letters: weighted letters before the first tag of a row that begins inside a sequence.
  """

  fill: np.ndarray
  documents: np.ndarray
  weight: np.ndarray
  sequences: SequenceStatistics
  untyped_letters: float

  def scaled(self, factor: float) -> "RowStatistics":
    """The same rows, each standing for `factor` times as many."""
    return dataclasses.replace(
        self, weight=self.weight * factor, sequences=self.sequences.scaled(factor),
        untyped_letters=self.untyped_letters * factor,
    )


class RowContentError(ValueError):
  """A row that holds what no row may hold.

  Attributes:
    row: its index in the array that was measured.
    problem: what it holds.
  """

  def __init__(self, row: int, problem: str):
    super().__init__(f"row {row}: {problem}")
    self.row = row
    self.problem = problem


def measure_sequences(sequences: Sequences) -> SequenceStatistics:
  """Counts in sequences, each with weight 1; see `SequenceStatistics`."""
  length = np.diff(sequences.ends, prepend=0)
  starts = sequences.ends - length
  letters = sequences.letters
  counts = np.zeros((len(MODALITIES), VOCAB_SIZE))
  by_letter = np.repeat(sequences.modality, length)
  for i, modality in enumerate(MODALITIES):
    counts[i] = np.bincount(letters[by_letter == modality], minlength=VOCAB_SIZE)[:VOCAB_SIZE]
  strong = _sums((letters == _C) | (letters == _G), starts, sequences.ends)
  known = _sums((letters >= _A) & (letters <= _T), starts, sequences.ends)
  is_measured = (sequences.modality != Modality.PROTEIN) & (known > 0)
  gc = np.where(is_measured, strong / np.maximum(known, 1), np.nan).astype(np.float32)
  return SequenceStatistics(
      sequences.modality, length, gc, sequences.taxon, np.ones(len(length)), counts,
      _orders(sequences.modality, sequences.document),
  )


def _sums(marks: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
  """How many `marks` are set in each [start, end)."""
  before = np.concatenate([[0], np.cumsum(marks, dtype=np.int32)])
  return before[ends] - before[starts]


def _orders(modality: np.ndarray, document: np.ndarray) -> dict[Order, float]:
  borders = np.flatnonzero(np.diff(document, prepend=-1)).tolist() + [len(document)]
  tags = modality.astype(np.uint8).tobytes()
  found = collections.Counter(tags[a:b] for a, b in zip(borders, borders[1:]))
  return {tuple(order): float(n) for order, n in found.items()}


def measure_rows(rows: np.ndarray) -> RowStatistics:
  """Counts in rows, each with weight 1.

  Args:
    rows: uint8 [r, context] token ids.

  Raises:
    RowContentError: a row is nothing but padding, or holds a token that means nothing where it stands.
  """
  count, context = rows.shape
  flat = rows.reshape(-1)
  if (outside := np.flatnonzero(flat >= FIRST_RESERVED)).size:
    raise RowContentError(int(outside[0]) // context, f"holds token id {flat[outside[0]]}, which means nothing")
  filled = (rows != PAD).sum(axis=1)
  if (empty := np.flatnonzero(filled == 0)).size:
    raise RowContentError(int(empty[0]), "is nothing but padding")

  is_letter = (flat >= FIRST_NUCLEOTIDE) | (flat == UNK)
  is_tag = (flat >= MODALITIES[0]) & (flat <= MODALITIES[-1])
  row_starts = np.arange(count) * context
  is_start = flat == BOS
  is_start[row_starts] = True  # without <bos>, the row begins inside a document
  starts = np.flatnonzero(is_start)
  documents = np.bincount(starts // context, minlength=count)

  tags = np.flatnonzero(is_tag)
  # A sequence ends before the next tag or the row's end; between it and its end stand specials only.
  next_tag = np.concatenate([tags[1:], [flat.size]]) if tags.size else tags
  ends = np.minimum(next_tag, (tags // context + 1) * context)
  length = _sums(is_letter, tags, ends)
  first_tag = np.minimum(np.append(tags, flat.size)[np.searchsorted(tags, row_starts)], row_starts + context)
  untyped = _sums(is_letter, row_starts, first_tag)
  is_typed = is_letter & ~_covered(row_starts, first_tag, flat.size)
  of_letter = np.repeat(flat[tags], length)
  if (wrong := np.flatnonzero(~ALPHABET[of_letter, flat[is_typed]])).size:
    row, modality = int(np.flatnonzero(is_typed)[wrong[0]]) // context, Modality(int(of_letter[wrong[0]]))
    raise RowContentError(row, f"holds {tokenizer.VOCABULARY[flat[is_typed][wrong[0]]]} in {modality.name.lower()}")
  document = np.searchsorted(starts, tags, side="right") - 1
  sequences = measure_sequences(
      Sequences(flat[is_typed], np.cumsum(length), flat[tags], document, np.zeros(len(tags), np.int32))
  )
  # A row that begins with neither <bos> nor a tag begins inside a sequence, whose tag stands in another row.
  begins = is_tag[row_starts] | (flat[row_starts] == BOS)
  inside = np.searchsorted(starts, row_starts[~begins])
  orders = _orders(*_inserted(flat[tags], document, np.full(len(inside), CONTINUED, np.uint8), inside))
  return RowStatistics(
      filled / context, documents, np.ones(count), dataclasses.replace(sequences, orders=orders), float(untyped.sum())
  )


def _covered(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
  """bool [size]: which positions lie in one of the intervals [start, end), which do not overlap."""
  change = np.zeros(size + 1, np.int8)
  np.add.at(change, starts, 1)
  np.add.at(change, ends, -1)
  return np.cumsum(change[:-1], dtype=np.int8) > 0


def _inserted(
    values: np.ndarray, groups: np.ndarray, more: np.ndarray, more_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Both sets of values ordered by group, `more` first within a group."""
  groups = np.concatenate([more_groups, groups])
  order = np.argsort(groups, kind="stable")
  return np.concatenate([more, values])[order], groups[order]


def combine_sequences(parts: Sequence[SequenceStatistics]) -> SequenceStatistics:
  """The statistics of all sequences of all parts."""
  orders: collections.Counter[Order] = collections.Counter()
  for part in parts:
    orders.update(part.orders)
  columns = ("modality", "length", "gc", "taxon", "weight")
  joined = {c: np.concatenate([getattr(p, c) for p in parts]) for c in columns}
  return SequenceStatistics(**joined, letter_counts=sum(p.letter_counts for p in parts), orders=dict(orders))


def combine_rows(parts: Sequence[RowStatistics]) -> RowStatistics:
  """The statistics of all rows of all parts."""
  joined = {c: np.concatenate([getattr(p, c) for p in parts]) for c in ("fill", "documents", "weight")}
  return RowStatistics(
      **joined, sequences=combine_sequences([p.sequences for p in parts]),
      untyped_letters=sum(p.untyped_letters for p in parts),
  )


# --- summaries ---


def quantiles(values: np.ndarray, weights: np.ndarray, shares: Sequence[float]) -> list[float]:
  """For each share, the least value that at least this share of the weight does not exceed; NaN without values."""
  if not len(values):
    return [float("nan")] * len(shares)
  order = np.argsort(values, kind="stable")
  reached = np.cumsum(weights[order])
  at = np.searchsorted(reached, np.array(shares) * reached[-1] * (1 - 1e-12))
  return values[order][np.minimum(at, len(values) - 1)].astype(float).tolist()


def log_bins(least: int, most: int, bins: int = 60, width: int = 1) -> np.ndarray:
  """Edges of histogram bins of whole numbers, evenly spaced on a log scale where that is coarser than `width`.

  Args:
    least, most: smallest and largest number that a bin has to hold.
    bins: at most so many.
    width: 1; 3 for coding nucleotides, whose lengths are multiples of 3.

  Returns:
    float64, ascending, each half-way between multiples of `width`: a bin that held none would show as a gap.
  """
  least = max(1, least)
  edges = np.geomspace(least, max(most, least) + width, bins + 1)
  edges = np.unique(np.round(edges / width)) * width - width / 2
  return np.concatenate([[max(edges[0], 0.5)], edges[1:]])


def unresolved_share(statistics: SequenceStatistics) -> dict[str, dict[str, float]]:
  """Modality to the share of its letters that name no single base or residue: `n` or `X`, and `<unk>`."""
  shares = {}
  for modality, counts in zip(MODALITIES, statistics.letter_counts):
    if total := counts.sum():
      letter, token = ("X", _X) if modality == Modality.PROTEIN else ("n", _N)
      shares[modality.name.lower()] = {letter: counts[token] / total, "<unk>": counts[UNK] / total}
  return shares


def sample_indices(total: int, most: int, rng: np.random.Generator) -> np.ndarray:
  """At most `most` of `range(total)`, ascending: all of them, or one drawn from each of `most` equal stretches."""
  if total <= most:
    return np.arange(total)
  edges = np.arange(most + 1) * total // max(1, most)
  return edges[:-1] + (rng.random(most) * np.diff(edges)).astype(np.int64)
