"""Batches on devices: each host reads the rows that its own devices hold, and no others.

A batch is the same array, row for row, for any number of hosts: place `p` of the batch that begins at row `n` of the
run holds row `n + p`.
"""

import queue
import threading
from collections.abc import Callable, Iterator

import grain
import jax
import numpy as np

from bsm_jax import tokenizer
from bsm_jax.input import mixture as mixture_lib
from bsm_jax.input import rows as rows_lib


class DataStalledError(RuntimeError):
  """No batch has come for too long; the message names the rows being read. Threads may still hang in a read."""


def local_places(sharding: jax.sharding.Sharding, batch_size: int) -> np.ndarray:
  """int [local rows]: places in a global batch that this host's devices hold, in order.

  Raises:
    ValueError: the batch does not divide over the devices.
  """
  try:
    held = sharding.addressable_devices_indices_map((batch_size,))
  except ValueError as error:
    raise ValueError(f"a batch of {batch_size} rows does not divide over the devices of {sharding}: {error}") from None
  return np.unique(np.concatenate([np.arange(batch_size)[index] for index in held.values()]))


def to_devices(
    local: dict[str, np.ndarray], places: np.ndarray, batch_size: int, sharding: jax.sharding.Sharding
) -> dict[str, jax.Array]:
  """A global batch.

  Args:
    local: arrays [local rows, ...] of this host.
    places: what `local_places` says; those rows' places in the batch.
    batch_size: rows in the global batch.
    sharding: how its rows lie on the devices.
  """

  def put(rows: np.ndarray) -> jax.Array:
    at = lambda index: rows[np.searchsorted(places, np.arange(batch_size)[index[0]])]
    return jax.make_array_from_callback((batch_size, *rows.shape[1:]), sharding, at)

  return {name: put(rows) for name, rows in local.items()}


class Stop:
  """The `stop` flag of batches: set on one host, it reaches all of them with the same step.

  Attributes:
    wanted: whether this host wants the run to stop.
  """

  def __init__(self):
    self.wanted = False
    self._made = {}

  def flags(self, batch_size: int, sharding: jax.sharding.Sharding) -> jax.Array:
    """bool [batch_size] on devices, this host's part of it equal to `wanted`."""
    key = self.wanted, batch_size
    if key not in self._made:
      places = local_places(sharding, batch_size)
      self._made[key] = to_devices({"stop": np.full(len(places), self.wanted)}, places, batch_size, sharding)["stop"]
    return self._made[key]


class _LocalRows:
  """This host's rows of a run, in the order in which its batches need them (a Grain `RandomAccessDataSource`)."""

  def __init__(self, rows: grain.MapDataset, first: int, batch_size: int, places: np.ndarray):
    self._rows, self._first, self._batch_size, self._places = rows, first, batch_size, places

  def __len__(self) -> int:
    return (len(self._rows) - self._first) // self._batch_size * len(self._places)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    batch, within = divmod(index, len(self._places))
    row = self._first + batch * self._batch_size + int(self._places[within])
    return self._rows[row] | {"row": np.int32(row)}

  def __repr__(self) -> str:
    return f"_LocalRows({self._first} + {self._batch_size} * k + {self._places})"


class TrainBatches:
  """Iterator over the batches of a run, resumable at any row; a thread reads ahead and places batches on devices.

  Batches are `tokens` uint8 [batch, context], `row_set` int32 [batch], and `row` int32 [batch], indices in the run.

  Attributes:
    next_row: index in the run of the first row not yet handed out: the whole state, the same on every host.
  """

  def __init__(
      self,
      rows: mixture_lib.MixtureInput,
      batch_size: int,
      sharding: jax.sharding.Sharding,
      *,
      prefetch: int = 4,
      stall_seconds: float = 600.0,
  ):
    """Args: the run's rows; rows in a global batch; how batches lie on the devices; batches read ahead; seconds without
    a batch after which `next` raises DataStalledError."""
    self._rows = rows
    self._batch_size = batch_size
    self._sharding = sharding
    self._places = local_places(sharding, batch_size)
    self._prefetch = prefetch
    self._stall_seconds = stall_seconds
    self._stop_reading: Callable[[], None] = lambda: None
    self.seek(0)

  def seek(self, next_row: int) -> None:
    """Continues the run at row `next_row`."""
    self.close()
    self.next_row, self._end = next_row, None
    mine = grain.MapDataset.source(_LocalRows(self._rows.dataset, next_row, self._batch_size, self._places))
    options = grain.ReadOptions(num_threads=min(2, self._prefetch), prefetch_buffer_size=self._prefetch)
    local = mine.batch(len(self._places)).to_iter_dataset(read_options=options)
    self._ready: queue.Queue = queue.Queue(maxsize=max(1, self._prefetch))
    stopped = threading.Event()
    self._stop_reading = stopped.set
    threading.Thread(target=self._read, args=(local, self._ready, stopped), name="batches", daemon=True).start()

  def _read(self, local: grain.IterDataset, ready: queue.Queue, stopped: threading.Event) -> None:
    """Fills the queue with batches, at the end with StopIteration, or with the error that ended it."""

    def put(item) -> None:
      while not stopped.is_set():
        try:
          return ready.put(item, timeout=0.2)
        except queue.Full:
          continue

    try:
      for batch in local:
        put(to_devices(batch, self._places, self._batch_size, self._sharding))
        if stopped.is_set():
          return
      put(StopIteration())
    except BaseException as error:  # whatever it is, `next` raises it
      put(error)

  def close(self) -> None:
    """Lets the reading thread end."""
    self._stop_reading()

  def __iter__(self) -> Iterator[dict[str, jax.Array]]:
    return self

  def __next__(self) -> dict[str, jax.Array]:
    if self._end is not None:
      raise self._end
    try:
      item = self._ready.get(timeout=self._stall_seconds)
    except queue.Empty:
      first, last = (self._rows.row_id(self.next_row + int(self._places[k])) for k in (0, -1))
      raise DataStalledError(
          f"no batch for {self._stall_seconds:g} s: rows {self.next_row} to {self.next_row + self._batch_size - 1} of"
          f" the run do not come (this host reads {first} to {last} of them). Is the storage of data.root alive? Run"
          " the same command to continue, or raise data.stall_seconds."
      ) from None
    if isinstance(item, BaseException):
      self._end = item  # The reading thread has ended: there is nothing more to wait for.
      raise item
    self.next_row += self._batch_size
    return item


def validation_batches(
    row_set: rows_lib.RowSet, batch_size: int, max_rows: int, sharding: jax.sharding.Sharding
) -> Iterator[dict[str, jax.Array]]:
  """The first `max_rows` rows of a row set as batches; the last one is filled with padding, which counts nothing.

  Args:
    row_set: usually of the `valid` split.
    batch_size: rows in a global batch.
    max_rows: how many rows at the most.
    sharding: how batches lie on the devices.

  Yields:
    `tokens` uint8 [batch_size, context] on devices.
  """
  source, places = row_set.source(), local_places(sharding, batch_size)
  total = min(max_rows, len(source))
  for start in range(0, total, batch_size):
    tokens = np.full((len(places), row_set.context), tokenizer.PAD, np.uint8)
    for i, place in enumerate(places):
      if start + place < total:
        tokens[i] = source[start + int(place)]
    yield to_devices({"tokens": tokens}, places, batch_size, sharding)
