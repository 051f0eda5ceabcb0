"""Batches on devices: the run's rows read by every host for itself, and the validation rows."""

from collections.abc import Iterator

import grain
import jax
import numpy as np

from bsm_jax import tokenizer
from bsm_jax.input import mixture as mixture_lib
from bsm_jax.input import rows as rows_lib


def to_devices(batch: dict[str, np.ndarray], sharding: jax.sharding.Sharding) -> dict[str, jax.Array]:
  """This host's share of a batch as global arrays, split over the leading axis."""
  return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


class TrainBatches:
  """Endless-until-done iterator over the batches of a run, resumable at any row.

  Attributes:
    next_row: index in the run of the first row not yet handed out: the whole state, the same on every host.
  """

  def __init__(
      self, rows: mixture_lib.MixtureInput, batch_size: int, sharding: jax.sharding.Sharding, *, prefetch: int = 4
  ):
    """Args: the run's rows; rows in a global batch; how batches lie on the devices; batches read ahead."""
    if batch_size % jax.process_count():
      raise ValueError(f"batch_size {batch_size} does not divide over {jax.process_count()} hosts")
    self._rows = rows
    self._batch_size = batch_size
    self._sharding = sharding
    self._prefetch = prefetch
    self.seek(0)

  def seek(self, next_row: int) -> None:
    """Continues the run at row `next_row`."""
    self.next_row = next_row
    elastic = grain.experimental.ElasticIterator(
        self._rows.dataset,
        self._batch_size,
        grain.sharding.ShardOptions(jax.process_index(), jax.process_count()),
        read_options=grain.ReadOptions(num_threads=min(2, self._prefetch), prefetch_buffer_size=self._prefetch),
    )
    elastic.set_state({"global_next_index": next_row})
    self._iterator = iter(elastic)

  def __iter__(self) -> Iterator[dict[str, jax.Array]]:
    return self

  def __next__(self) -> dict[str, jax.Array]:
    batch = next(self._iterator)
    self.next_row += self._batch_size
    return to_devices(batch, self._sharding)


def validation_batches(
    row_set: rows_lib.RowSet, batch_size: int, max_rows: int, sharding: jax.sharding.Sharding
) -> Iterator[jax.Array]:
  """The first `max_rows` rows of a row set as token batches; the last one is filled with padding, which counts nothing.

  Args:
    row_set: usually of the `valid` split.
    batch_size: rows in a global batch.
    max_rows: how many rows at the most.
    sharding: how batches lie on the devices.

  Yields:
    uint8 [batch_size, context] on devices.
  """
  source = row_set.source()
  total = min(max_rows, len(source))
  for start in range(0, total, batch_size):
    mine = range(start + jax.process_index(), start + batch_size, jax.process_count())
    tokens = np.full((len(mine), row_set.context), tokenizer.PAD, np.uint8)
    for i, row in enumerate(mine):
      if row < total:
        tokens[i] = source[row]
    yield jax.make_array_from_process_local_data(sharding, tokens)
