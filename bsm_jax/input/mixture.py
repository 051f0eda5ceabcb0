"""Which row of which row set stands at each place of the run: a pure function of the rounds and the seed.

The whole run is one sequence of rows. Row `i` belongs to one round; inside it, row sets alternate by their weights;
a row set goes through its own shuffled epochs and continues, at a round's border, where it stood. So the state of
the input is one integer, whatever the number of hosts, and any row of the run can be found again by its index.
"""

import bisect
import dataclasses
import itertools
import zlib
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from bsm_jax.input import rows as rows_lib

# Weights become integers that sum to this: exact arithmetic, so that every host and every restart agrees.
_UNITS = 1 << 30


@dataclasses.dataclass(frozen=True)
class RoundRows:
  """A round as the input sees it.

  Attributes:
    rows: number of rows the round draws, over all row sets.
    weights: row set name to weight, by rows; they need not sum to one.
  """

  rows: int
  weights: Mapping[str, float]


def _integer_weights(weights: Sequence[float]) -> list[int]:
  """Scales weights to integers that sum to `_UNITS` exactly."""
  edges = [round(_UNITS * c / sum(weights)) for c in itertools.accumulate(weights)]
  return [b - a for a, b in zip([0, *edges], edges)]


def _counts(n: int, units: Sequence[int]) -> list[int]:
  """How many of the first `n` draws fall to each part.

  The draws are split part after part: of the `n` that are left, the later parts together get the floor of their
  share and this part gets the rest. Every count grows by 0 or 1 from n to n + 1 and stays within a few draws
  of its share, so the mixture is even at every length.
  """
  counts, left = [], sum(units)
  for unit in units:
    later = n * (left - unit) // left if left else 0
    counts.append(n - later)
    n, left = later, left - unit
  return counts


class RoundMixture(grain.transforms.DatasetSelectionMap):
  """Index in the run to (row set, index in that row set's endless stream)."""

  def __init__(self, rounds: Sequence[RoundRows], drawn_before: Mapping[str, int] | None = None):
    """Args: rounds, in order; rows that earlier runs have drawn from each row set.

    Raises:
      ValueError: for a round without rows, or with weights that are not positive (leave a row set out instead).
    """
    for number, r in enumerate(rounds, 1):
      if r.rows <= 0 or not r.weights or min(r.weights.values()) <= 0:
        raise ValueError(
            f"round {number}: rows ({r.rows}) and every weight ({dict(r.weights)}) must be positive; leave a row set"
            " out of the round instead of giving it weight 0"
        )
    self.row_sets = tuple(dict.fromkeys(name for r in rounds for name in r.weights))
    self._starts = [0, *itertools.accumulate(r.rows for r in rounds)]
    self._parts = [[self.row_sets.index(name) for name in r.weights] for r in rounds]
    self._units = [_integer_weights(list(r.weights.values())) for r in rounds]
    # Where each row set stands when a round begins.
    self._offsets = [[(drawn_before or {}).get(name, 0) for name in self.row_sets]]
    for r, parts, units in zip(rounds, self._parts, self._units):
      offsets = list(self._offsets[-1])
      for part, count in zip(parts, _counts(r.rows, units)):
        offsets[part] += count
      self._offsets.append(offsets)

  def __len__(self) -> int:
    return self._starts[-1]

  def __getitem__(self, index: int) -> tuple[int, int]:
    if not 0 <= index < len(self):
      raise IndexError(f"row {index} of a run of {len(self)} rows")
    number = bisect.bisect_right(self._starts, index) - 1
    units, n = self._units[number], index - self._starts[number]
    # The part whose count rises with this draw; the same walk as `_counts`, for n and n + 1 at once.
    low, high, left = n, n + 1, _UNITS
    for part, unit in zip(self._parts[number], units):
      later_low, later_high = (low * (left - unit) // left, high * (left - unit) // left) if left else (0, 0)
      if high - later_high > low - later_low:
        return part, self._offsets[number][part] + low - later_low
      low, high, left = later_low, later_high, left - unit
    raise AssertionError(f"no row set for row {index}: the weights of round {number + 1} do not add up")

  def drawn(self, index: int) -> dict[str, int]:
    """Rows drawn from each row set by the first `index` rows of the run, and by earlier ones."""
    number = min(bisect.bisect_right(self._starts, index), len(self._parts)) - 1
    counts = list(self._offsets[number])
    for part, count in zip(self._parts[number], _counts(index - self._starts[number], self._units[number])):
      counts[part] += count
    return dict(zip(self.row_sets, counts))


def row_set_seed(seed: int, name: str) -> int:
  """The shuffle seed of a row set: far from its neighbours', because each epoch adds one."""
  return zlib.crc32(f"{seed}/{name}".encode())


class MixtureInput:
  """The rows of a run, by index.

  Attributes:
    mixture: the `RoundMixture`.
    dataset: Grain MapDataset of `{"tokens": uint8 [context], "row_set": int32 []}`, one element a row of the run.
  """

  def __init__(
      self,
      root: str,
      rounds: Sequence[RoundRows],
      *,
      seed: int,
      context: int,
      drawn_before: Mapping[str, int] | None = None,
  ):
    """Opens the train split of every row set that a round names.

    Args:
      root: folder of row sets.
      rounds, drawn_before: see `RoundMixture`.
      seed: of the order in which each row set is gone through.
      context: tokens in a row.

    Raises:
      RowsError: see `rows.open_row_set`.
    """
    self.mixture = RoundMixture(rounds, drawn_before)
    self._seed = seed
    self._row_sets = [rows_lib.open_row_set(root, n, "train", context=context) for n in self.mixture.row_sets]
    streams = []
    for number, row_set in enumerate(self._row_sets):
      stream = grain.MapDataset.source(row_set.source()).shuffle(seed=row_set_seed(seed, row_set.name)).repeat()
      tagged = stream.map(lambda tokens, number=number: {"tokens": tokens, "row_set": np.int32(number)})
      streams.append(tagged)
    self.dataset = grain.MapDataset.select_from_datasets(streams, self.mixture)

  def row_id(self, index: int) -> str:
    """Names row `index` of the run as `row_set:row@epoch`, for messages and tests."""
    part, at = self.mixture[index]
    row_set = self._row_sets[part]
    epoch, within = divmod(at, row_set.rows)
    seed = (row_set_seed(self._seed, row_set.name) + epoch) % 2**32
    row = grain.experimental.index_shuffle(within, max_index=row_set.rows - 1, seed=seed, rounds=4)
    return f"{row_set.name}:{row}@{epoch}"
