"""Row sets on disk: `corpus.json` beside ArrayRecord shards of raw token rows (data_pipelines writes them)."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import grain
import numpy as np
from etils import epath

from bsm_jax import tokenizer

_log = logging.getLogger("bsm_jax")
_T = TypeVar("_T")

# Seconds between the attempts to read from storage that fails.
RETRY_SECONDS = (0.5, 2.0, 8.0)


class RowsError(ValueError):
  """A row set that a run cannot use; the message names it and the remedy."""


class UnreadableRowsError(RowsError):
  """A shard or a row that storage does not give; it may at another time."""


@dataclasses.dataclass(frozen=True)
class RowSet:
  """Rows of one corpus and split.

  Attributes:
    name: as the config and the metrics call it.
    split: `train`, `valid` or `test`.
    context: tokens in a row.
    paths: its ArrayRecord shards, in order.
    rows: their number.
    info: the whole of `corpus.json`.
  """

  name: str
  split: str
  context: int
  paths: tuple[str, ...]
  rows: int
  info: dict

  def source(self) -> "ArrayRecordRows":
    return ArrayRecordRows(self)


class ArrayRecordRows:
  """Random access to a row set's tokens: `source[i]` is uint8 [context] (a Grain `RandomAccessDataSource`).

  Reads that fail are tried again after `RETRY_SECONDS`, from files opened anew; then they raise RowsError.
  """

  def __init__(self, row_set: RowSet):
    self._row_set = row_set
    self._records = self._retried(lambda: self._open(row_set.paths))
    if len(self._records) != row_set.rows:
      raise RowsError(
          f"{self._name}: corpus.json says {row_set.rows} rows, the shards beside it hold {len(self._records)}. Build"
          " this row set again."
      )

  @property
  def _name(self) -> str:
    return f"{self._row_set.name}/{self._row_set.split}"

  def _open(self, paths: tuple[str, ...]) -> grain.sources.ArrayRecordDataSource:
    """Opens shards together. Raises UnreadableRowsError naming the first one that cannot be opened."""
    try:
      return grain.sources.ArrayRecordDataSource(list(paths))
    except (RuntimeError, OSError, ValueError) as error:
      if len(paths) > 1:
        for path in paths:
          self._open((path,))
      raise UnreadableRowsError(
          f"{self._name}: cannot open {paths[0]} ({error or 'the file is cut short'}). Copy or build the row set again."
      ) from error

  def _retried(self, read: Callable[[], _T]) -> _T:
    for seconds in RETRY_SECONDS:
      try:
        return read()
      except UnreadableRowsError as error:
        _log.warning("%s Trying again in %g s.", error, seconds)
        time.sleep(seconds)
        self._records = None
    return read()

  def _record(self, index: int) -> bytes:
    """A record. Raises RowsError naming row and shard if it cannot be read or has another length."""
    records = self._records
    if records is None:
      records = self._records = self._open(self._row_set.paths)
    try:
      record = records[index]
    except (RuntimeError, OSError, ValueError) as error:
      raise UnreadableRowsError(
          f"{self._name}: row {index} in {self._shard_of(index)} cannot be read ({error}). Copy or build the row set"
          " again."
      ) from error
    if len(record) != self._row_set.context:
      raise RowsError(
          f"{self._name}: row {index} in {self._shard_of(index)} has {len(record)} tokens, not {self._row_set.context}."
          " Build this row set again."
      )
    return record

  def _shard_of(self, index: int) -> str:
    for path in self._row_set.paths:
      rows = len(self._open((path,)))
      if index < rows:
        return path
      index -= rows
    raise AssertionError(f"no row {index}")

  def __len__(self) -> int:
    return self._row_set.rows

  def __getitem__(self, index) -> np.ndarray:
    index = int(index)
    return np.frombuffer(self._retried(lambda: self._record(index)), np.uint8)

  def __repr__(self) -> str:
    return f"ArrayRecordRows({self._name})"


def open_row_set(root: str, name: str, split: str, *, context: int | None = None) -> RowSet:
  """Reads `root/name/corpus.json` and finds the split's shards.

  Args:
    root: folder of row sets, local or `gs://` (needs the extra `gcs`).
    name: the row set's folder.
    split: `train`, `valid` or `test`.
    context: what the run expects, checked when given.

  Raises:
    RowsError: the row set is absent or incomplete, of another vocabulary or context, or lacks the split.
  """
  folder = epath.Path(root) / name
  try:
    info = json.loads((folder / "corpus.json").read_text())
  except FileNotFoundError:
    there = sorted(p.name for p in epath.Path(root).iterdir()) if epath.Path(root).exists() else []
    raise RowsError(
        f"no row set {name!r} in {root} (found: {', '.join(there) or 'nothing'}). Build it with"
        " `python -m data_pipelines.build`, or correct data.root or the round's weights."
    ) from None
  except json.JSONDecodeError as error:
    raise RowsError(f"{folder / 'corpus.json'} is not JSON ({error}). Build this row set again.") from None
  if info["vocabulary_hash"] != tokenizer.vocabulary_hash():
    raise RowsError(
        f"{folder}: rows of another vocabulary ({info['vocabulary_hash'][:12]}, this code has"
        f" {tokenizer.vocabulary_hash()[:12]}). Build the rows with this version of the code."
    )
  if context is not None and info["context"] != context:
    raise RowsError(
        f"{folder}: rows of {info['context']} tokens, but the run's context is {context}. Build rows of that context,"
        f" or set data.context to {info['context']}."
    )
  rows = info["splits"].get(split, {}).get("rows", 0)
  if not rows:
    raise RowsError(f"{folder} has no {split} rows (splits: {', '.join(info['splits'])}).")
  paths = tuple(sorted(str(p) for p in (folder / split).glob("rows-*.array_record")))
  if not paths or len(paths) != int(paths[0].rsplit("-of-", 1)[1].split(".")[0]):
    raise RowsError(f"{folder / split}: {len(paths)} shards found, some are missing. Copy or build the row set again.")
  return RowSet(name, split, info["context"], paths, rows, info)
