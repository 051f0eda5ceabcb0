"""Whole documents into rows of exactly `context` tokens, and rows into ArrayRecord shards with their `corpus.json`."""

import collections
import errno
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np
from array_record.python import array_record_module

from bsm_jax import tokenizer

FORMAT_VERSION = 1
ROWS_PER_SHARD = 1 << 17
# group_size:1 because training reads rows in random order: with 64 rows a group, a random read decompresses 64. On one
# core with rows of 1024 tokens: 20,000 against 150,000 rows a second. zstd:1 against uncompressed: 0.40 (DNA) and 0.64
# (protein) of the bytes against 1.06; batched random reads the same within the noise; 70,000 rows written a second
# against 250,000, both far more than packing gives.
WRITER_OPTIONS = "group_size:1,zstd:1"


class BuildError(RuntimeError):
  """A build that cannot go on for a reason outside its input: the disk, the output folder, another build."""


class Packer:
  """Best-fit packing with a bounded number of open rows.

  Each document goes to the open row whose remaining room is the least that holds it. A document without `<bos>`
  continues another one: it opens a row, so that it is a segment of its own. Deterministic: the rows depend on the
  documents and their order only.
  """

  def __init__(self, context: int, open_rows: int = 256):
    self.context = context
    self.open_rows = open_rows
    self._by_room: dict[int, list[list[bytes]]] = collections.defaultdict(list)
    # Bit r is set where a row with room r is open: the least room that fits is one shift and one isolation of a bit.
    self._rooms = 0
    self._open = 0

  def add(self, document: np.ndarray) -> bytes | None:
    """Places one document, uint8 [1 to context]; returns a row where one was completed or had to be closed."""
    size = len(document)
    if not 0 < size <= self.context:
      raise ValueError(f"a document of {size} tokens does not fit a row of {self.context}")
    fitting = self._rooms >> size
    if fitting and document[0] == tokenizer.BOS:
      room = size + (fitting & -fitting).bit_length() - 1
      row = self._take(room)
    else:
      room, row = self.context, []
    row.append(document.tobytes())
    if room == size:
      return self._close(row)
    self._by_room[room - size].append(row)
    self._rooms |= 1 << room - size
    self._open += 1
    if self._open > self.open_rows:
      return self._close(self._take((self._rooms & -self._rooms).bit_length() - 1))
    return None

  def flush(self) -> Iterator[bytes]:
    """Closes every open row, the fullest first."""
    while self._rooms:
      yield self._close(self._take((self._rooms & -self._rooms).bit_length() - 1))

  def _take(self, room: int) -> list[bytes]:
    rows = self._by_room[room]
    row = rows.pop(0)
    if not rows:
      self._rooms ^= 1 << room
    self._open -= 1
    return row

  def _close(self, row: list[bytes]) -> bytes:
    return b"".join(row).ljust(self.context, bytes([tokenizer.PAD]))


def pack(documents: Iterable[np.ndarray], context: int, open_rows: int = 256) -> Iterator[bytes]:
  """Documents (uint8 [<= context] each) to rows of exactly `context` bytes; see `Packer`."""
  packer = Packer(context, open_rows)
  for document in documents:
    if (row := packer.add(document)) is not None:
      yield row
  yield from packer.flush()


def shuffled(documents: Iterable[np.ndarray], rng: np.random.Generator, block: int = 1 << 15) -> Iterator[np.ndarray]:
  """Documents in random order within blocks of `block`: windows of one gene do not end up side by side in a row."""
  held: list[np.ndarray] = []
  for document in documents:
    held.append(document)
    if len(held) == block:
      yield from (held[i] for i in rng.permutation(block))
      held.clear()
  yield from (held[i] for i in rng.permutation(len(held)))


def disk_error(error: Exception, path: os.PathLike | str) -> BuildError | None:
  """The clear message for a full disk or quota, also where a library hides the errno in its text; else None."""
  full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
  if full or any(s in str(error) for s in ("No space left on device", "Disk quota exceeded")):
    return BuildError(
        f"{os.fspath(path)}: the disk is full. What was unfinished has been removed: free some space, or build with"
        " another --out, and run the same command again."
    )
  return None


def link(path: pathlib.Path, target: str | os.PathLike) -> None:
  """A second name for a file (were it moved, a build that is stopped now would make it again), or a copy where the
  file system has no such names."""
  try:
    os.link(path, target)
  except OSError:
    shutil.copyfile(path, target)


def write_rows(rows: Iterable[bytes], folder: str | os.PathLike) -> int:
  """Writes `rows-00000-of-0000N.array_record` shards into `folder`, which must exist, and reads their counts back.

  Returns:
    The number of rows.

  Raises:
    BuildError: the disk is full, or a shard does not hold what was written.
  """
  folder = pathlib.Path(folder)
  counts: list[int] = []
  writer = None
  try:
    for row in rows:
      if writer is None or counts[-1] == ROWS_PER_SHARD:
        if writer is not None:
          writer.close()
        writer = array_record_module.ArrayRecordWriter(str(folder / f"shard-{len(counts):05d}"), WRITER_OPTIONS)
        counts.append(0)
      writer.write(row)
      counts[-1] += 1
    if writer is not None:
      writer.close()
    for shard, count in enumerate(counts):
      _verify(folder / f"shard-{shard:05d}", count)
      os.rename(folder / f"shard-{shard:05d}", folder / f"rows-{shard:05d}-of-{len(counts):05d}.array_record")
  except Exception as error:
    if (full := disk_error(error, folder)) is not None:
      raise full from error
    raise
  return sum(counts)


def _verify(path: pathlib.Path, count: int) -> None:
  reader = array_record_module.ArrayRecordReader(str(path))
  found = reader.num_records()
  reader.close()
  if found != count:
    raise BuildError(f"{path}: holds {found} rows where {count} were written. Check the disk, then build again.")
