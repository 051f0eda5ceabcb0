"""A unit: what one task of the reading stage found in one file, or a part of one, as the later stages see it."""

import array
import os
import pathlib

import numpy as np

from data_pipelines.spool import Spool, SpoolWriter

CORPORA = ("refseq_pairs", "gene_related", "single_modal", "web_interleaved")
GENES = ("refseq_pairs", "gene_related")  # corpora whose items are genes


class UnitWriter:
  """Writes the items of a unit."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._spool = SpoolWriter(folder)
    # Arrays and not lists: a unit may have tens of millions of items.
    self._columns = {name: array.array("Q") for name in ("corpus", "content", "protein", "letters")}
    self._near, self._near_item = array.array("Q"), array.array("Q")
    self._out: set[int] = set()
    self.pinned: list[int] = []

  def append(self, corpus: str, item: dict, *, content: int, protein: int = 0, letters: int, near=()) -> int:
    """Adds an item and returns its index.

    Args:
      corpus: one of `CORPORA`.
      item: what is spooled.
      content: digest of what makes two items the same document.
      protein: digest of the item's protein, 0 where it has none.
      letters: how many it has in all.
      near: keys that near-duplicates are likely to have in common.
    """
    number = CORPORA.index(corpus)
    salt = number * 0x9E3779B97F4A7C15 % 2**64  # a document of one corpus is no duplicate of one of another
    for name, value in zip(self._columns, (number, content ^ salt, protein, letters)):
      self._columns[name].append(value)
    index = self._spool.append(item)
    self._near.extend(key ^ salt for key in near)
    self._near_item.extend([index] * len(near))
    return index

  def leave_out(self, index: int) -> None:
    """The item becomes no document (but what it holds out is held out)."""
    self._out.add(index)

  def close(self) -> int:
    """Ends the unit; returns the number of its keys of duplicates."""
    self._spool.close()
    columns = {name: np.array(values, np.uint64) for name, values in self._columns.items()}
    count = len(columns["corpus"])
    kept = np.ones(count, bool)
    kept[sorted(self._out)] = False
    # Keys by which duplicates are found: sorted, so that a part of all keys is a slice in every unit.
    item = np.concatenate([np.arange(count), np.array(self._near_item, np.int64)])
    key = np.concatenate([columns["content"], np.array(self._near, np.uint64)])
    exact = np.arange(len(key)) < count
    order = np.lexsort((item, key))
    order = order[kept[item[order]]]
    arrays = {
        "corpus": columns["corpus"].astype(np.uint8), "protein": columns["protein"],
        "letters": columns["letters"].astype(np.int64),
        "kept": kept, "pinned": np.array(sorted(self.pinned), np.uint64),
        "key": key[order], "key_item": item[order], "key_exact": exact[order],
    }
    for name, values in arrays.items():
      np.save(self._folder / f"{name}.npy", values)
    return len(order)


class Unit:
  """Reads a unit.

  Attributes:
    spool: its items.
    corpus, protein, letters, kept: of each item; see `UnitWriter.append`.
    pinned: digests of proteins whose clusters must be train.
    key, key_item, key_exact: keys of the items that are kept, sorted.
  """

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)
    self.spool = Spool(folder)
    for name in ("corpus", "protein", "letters", "kept", "pinned", "key", "key_item", "key_exact"):
      setattr(self, name, np.load(self.folder / f"{name}.npy", mmap_mode="r"))

  def __len__(self) -> int:
    return len(self.spool)

  def is_gene(self, index: int) -> bool:
    return CORPORA[self.corpus[index]] in GENES

  def of(self, corpus: str) -> np.ndarray:
    """bool [n]: which items are of a corpus."""
    return self.corpus == CORPORA.index(corpus)

  def close(self) -> None:
    self.spool.close()
