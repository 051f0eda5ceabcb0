"""Objects on disk in the order of writing, read back by index: what the stages of a build hand to each other."""

import array
import os
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np


class SpoolWriter:
  """Writes a spool into a folder; it can be read when it is closed."""

  def __init__(self, folder: str | os.PathLike):
    self._folder = pathlib.Path(folder)
    self._file = open(self._folder / "items.pickle", "wb")
    self._offsets = array.array("q")

  def append(self, item: Any) -> int:
    """Writes an object and returns its index."""
    self._offsets.append(self._file.tell())
    pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
    return len(self._offsets) - 1

  def __len__(self) -> int:
    return len(self._offsets)

  def close(self) -> None:
    self._file.close()
    np.save(self._folder / "offsets.npy", np.array(self._offsets, np.int64))


class Spool:
  """Reads a spool. Spools are written and read by one build: they are not for untrusted files."""

  def __init__(self, folder: str | os.PathLike):
    self._file = open(pathlib.Path(folder) / "items.pickle", "rb")
    self._offsets = np.load(pathlib.Path(folder) / "offsets.npy", mmap_mode="r")

  def __len__(self) -> int:
    return len(self._offsets)

  def __getitem__(self, index: int) -> Any:
    self._file.seek(self._offsets[index])
    return pickle.load(self._file)

  def __iter__(self) -> Iterator[Any]:
    return (self[i] for i in range(len(self)))

  def close(self) -> None:
    self._file.close()
