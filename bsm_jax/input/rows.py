"""Row sets on disk: `corpus.json` beside ArrayRecord shards of raw token rows (data_pipelines writes them)."""

import dataclasses
import json

import grain
import numpy as np
from etils import epath

from bsm_jax import tokenizer


class RowsError(ValueError):
  """A row set that a run cannot use; the message names it and the remedy."""


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
  """Random access to a row set's tokens: `source[i]` is uint8 [context] (a Grain `RandomAccessDataSource`)."""

  def __init__(self, row_set: RowSet):
    self._row_set = row_set
    self._records = grain.sources.ArrayRecordDataSource(list(row_set.paths))
    if len(self._records) != row_set.rows:
      raise RowsError(
          f"{row_set.name}/{row_set.split}: corpus.json says {row_set.rows} rows, the shards beside it hold"
          f" {len(self._records)}. Build this row set again."
      )

  def __len__(self) -> int:
    return self._row_set.rows

  def __getitem__(self, index) -> np.ndarray:
    record = self._records[int(index)]
    if len(record) != self._row_set.context:
      raise RowsError(
          f"{self._row_set.name}/{self._row_set.split}: row {index} has {len(record)} tokens, not"
          f" {self._row_set.context}. Build this row set again."
      )
    return np.frombuffer(record, np.uint8)

  def __repr__(self) -> str:
    return f"ArrayRecordRows({self._row_set.name}/{self._row_set.split})"


def open_row_set(root: str, name: str, split: str, *, context: int | None = None) -> RowSet:
  """Reads `root/name/corpus.json` and finds the split's shards.

  Args:
    root: folder of row sets, local or `gs://`.
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
