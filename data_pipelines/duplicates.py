"""Finds items that are there already, among all units: a stage of a build.

Every item has a key of its content, and near-duplicates, where they are looked for, have keys in common
(`near_duplicates.py`). Of all items with a key the first, by the order of units, stays. Each task looks at a range of
keys, so that the memory of one does not grow with the corpora.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from bsm_jax import tokenizer
from data_pipelines.near_duplicates import mmseqs_clusters
from data_pipelines.units import Unit

KEYS_PER_TASK = 1 << 25  # some 1 GB
REASONS = {
    "duplicate": "the same sequences are there already",
    "near_duplicate": "nearly the same sequences are there already (near_duplicates or mmseqs of config.documents)",
}


@dataclasses.dataclass(frozen=True)
class MmseqsConfig:
  """How MMseqs2 clusters proteins.

  Attributes:
    min_seq_id: least share of letters that agree with the representative's.
    coverage: least share of the letters of both that are aligned.
    binary: the program, by name or path.
  """

  min_seq_id: float = 0.9
  coverage: float = 0.8
  binary: str = "mmseqs"


def ranges(keys: int) -> list[tuple[str, str]]:
  """How so many keys are divided among tasks: [first, last] as hexadecimal text, which JSON can hold."""
  n = max(1, -(-keys // KEYS_PER_TASK))
  edges = [i * 2**64 // n for i in range(n + 1)]
  return [(f"{a:016x}", f"{b - 1:016x}") for a, b in zip(edges, edges[1:])]


def find(folder: pathlib.Path, *, units: Sequence[str], first: str, last: str) -> dict:
  """The task that finds the items whose key in [first, last] an earlier item has; writes `unit`, `item`, `exact`."""
  low, high = np.uint64(int(first, 16)), np.uint64(int(last, 16))
  columns: dict[str, list[np.ndarray]] = {"key": [], "unit": [], "item": [], "exact": []}
  for number, path in enumerate(units):
    unit = Unit(path)
    part = slice(np.searchsorted(unit.key, low), np.searchsorted(unit.key, high, side="right"))
    columns["key"].append(unit.key[part])
    columns["unit"].append(np.full(len(unit.key[part]), number, np.int32))
    columns["item"].append(unit.key_item[part])
    columns["exact"].append(unit.key_exact[part])
    unit.close()
  key, unit, item, exact = (np.concatenate(c) for c in columns.values())
  order = np.argsort(key, kind="stable")  # of equal keys the first item of the first unit comes first
  key, unit, item, exact = key[order], unit[order], item[order], exact[order]
  opens = np.r_[True, key[1:] != key[:-1]][: len(key)]
  holder = np.maximum.accumulate(np.where(opens, np.arange(len(key)), 0))
  drop = ~opens & ((unit != unit[holder]) | (item != item[holder]))
  for name, array in (("unit", unit), ("item", item), ("exact", exact)):
    np.save(folder / f"{name}.npy", array[drop])
  return {"dropped": int(drop.sum())}


def find_by_mmseqs(folder: pathlib.Path, *, units: Sequence[str], mmseqs: Mapping) -> dict:
  """The task that finds the proteins of the single-modal corpus which represent no cluster; writes as `find` does."""
  places: list[tuple[int, int]] = []
  with open(folder / "proteins.fasta", "w", encoding="ascii") as stream:
    for number, path in enumerate(units):
      unit = Unit(path)
      for item in np.flatnonzero(unit.of("single_modal") & (unit.protein > 0) & unit.kept).tolist():
        places.append((number, item))
        stream.write(f">{len(places)}\n{tokenizer.decode(unit.spool[item]['letters'])}\n")
      unit.close()
  config = MmseqsConfig(**mmseqs)
  drop = np.zeros(0, np.int64)
  if places:
    representative = mmseqs_clusters(
        folder / "proteins.fasta", folder / "mmseqs", config.min_seq_id, config.coverage, config.binary
    )
    drop = np.flatnonzero(representative != np.arange(len(places)))
  shutil.rmtree(folder / "mmseqs", ignore_errors=True)
  (folder / "proteins.fasta").unlink()
  unit, item = np.array(places, np.int64).reshape(-1, 2)[drop].T
  for name, array in (("unit", unit.astype(np.int32)), ("item", item), ("exact", np.zeros(len(drop), bool))):
    np.save(folder / f"{name}.npy", array)
  return {"dropped": len(drop)}


def of_unit(folders: Sequence[str], number: int) -> dict[int, str]:
  """item -> reason, of the items of a unit that are to be dropped."""
  found: dict[int, str] = {}
  for folder in map(pathlib.Path, folders):
    mine = np.flatnonzero(np.load(folder / "unit.npy", mmap_mode="r") == number)
    items, exact = (np.load(folder / f"{n}.npy", mmap_mode="r")[mine].tolist() for n in ("item", "exact"))
    for item, is_exact in zip(items, exact):
      if is_exact or item not in found:
        found[item] = "duplicate" if is_exact else "near_duplicate"
  return found
