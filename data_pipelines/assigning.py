"""The assigning stage: each item of a unit to the splits that it, or its stretches, belong to."""

import array
import collections
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from bsm_jax.tokenizer import Modality
from data_pipelines import duplicates, holding_out, refseq_pairs, single_modal
from data_pipelines.report import Tally
from data_pipelines.splits import SPLITS, SplitConfig
from data_pipelines.units import CORPORA, Unit

_BATCH = 256  # items whose proteins are searched for at once: five times as fast as one by one
_NOTHING = np.zeros(0, np.uint8)
REASONS = {"too_short": "fewer letters than config.documents.min_letters"}


def assign_unit(
    folder: pathlib.Path, *, unit: str, number: int, held_out: str, duplicate_keys: Sequence[str], min_letters: int,
    splits: Mapping,
) -> dict:
  """The task that assigns one unit; writes `<corpus>-<split>.npy`, int64 [n, 4]: item, start, end, letters.

  Args:
    folder: where to.
    unit: the unit's folder.
    number: its place in the order of units.
    held_out: folder of `holding_out.decide`.
    duplicate_keys: folders of `duplicates.find`.
    min_letters: shorter stretches of single sequences are dropped.
    splits: arguments of `SplitConfig`.

  Returns:
    By corpus: `used` (items of which there is a document), `documents` and `letters` of each split, `rejects` (items),
    `dropped` (stretches of items of which others are used) and `dropped_letters`.
  """
  places = holding_out.Places.load(held_out)
  config = SplitConfig(**splits)
  dropped = duplicates.of_unit(duplicate_keys, number)
  opened = Unit(unit)
  made = {c: _Made() for c in CORPORA}
  kept = np.flatnonzero(opened.kept).tolist()
  for first in range(0, len(kept), _BATCH):
    batch = kept[first : first + _BATCH]
    items = [opened.spool[index] for index in batch]
    masks = places.index.protein_masks(list(map(_protein, items))).tolist()
    for index, item, mask in zip(batch, items, masks):
      corpus = CORPORA[opened.corpus[index]]
      if (reason := dropped.get(index)) is not None:
        made[corpus].rejects.add(reason, item["id"])
      elif corpus == "single_modal":
        made[corpus].stretches(index, item, *single_modal.stretches(item, mask, places, min_letters))
      else:
        is_gene = opened.is_gene(index)
        place = refseq_pairs.place(item, mask, places) if is_gene else _place_web(item, places, config)
        made[corpus].whole(index, item, int(opened.letters[index]), place)
  opened.close()
  for corpus, found in made.items():
    for split, pieces in found.pieces.items():
      np.save(folder / f"{corpus}-{split}.npy", np.array(pieces, np.int64).reshape(-1, 4))
  return {corpus: found.as_dict() for corpus, found in made.items() if opened.of(corpus).any()}


def _protein(item: Mapping) -> np.ndarray:
  """The protein of a gene, a protein that is a record of its own, else nothing."""
  if "protein" in item:
    return item["protein"]
  return item["letters"] if item.get("modality") == Modality.PROTEIN else _NOTHING


def _place_web(item: Mapping, places: holding_out.Places, config: SplitConfig) -> holding_out.Place:
  mask = 0
  for modality, ids in zip(item["modalities"].tolist(), np.split(item["letters"], item["ends"][:-1])):
    is_protein = modality == Modality.PROTEIN
    mask |= places.index.protein_mask(ids) if is_protein else places.index.whole(ids, Modality(modality))
  own = holding_out.web_split(item["id"], config)
  return places.split(mask, None if own == "train" else own)


class _Made:
  """The pieces of one corpus."""

  def __init__(self):
    # Item, first letter, end and letters of each piece, one after another.
    self.pieces = {split: array.array("q") for split in SPLITS}
    self.used = 0
    self.rejects, self.dropped = Tally(), Tally()
    self.dropped_letters: collections.Counter[str] = collections.Counter()

  def whole(self, index: int, item: Mapping, letters: int, place: holding_out.Place) -> None:
    if place.reason:
      self.rejects.add(place.reason, _example(item["id"], place))
    else:
      self.used += 1
      self.pieces[place.split].extend((index, 0, 0, letters))

  def stretches(self, index: int, item: Mapping, kept: list, dropped: list) -> None:
    for start, end, split in kept:
      self.pieces[split].extend((index, start, end, end - start))
    if kept:
      self.used += 1
      for start, end, place in dropped:
        self.dropped.add(place.reason, _example(f"{item['id']}:{start + 1}-{end}", place))
        self.dropped_letters[place.reason] += end - start
    else:
      self.rejects.add(dropped[0][2].reason, _example(item["id"], dropped[0][2]))

  def as_dict(self) -> dict:
    return {
        "used": self.used,
        "documents": {split: len(pieces) // 4 for split, pieces in self.pieces.items()},
        "letters": {split: sum(pieces[3::4]) for split, pieces in self.pieces.items()},
        "rejects": self.rejects.as_dict(),
        "dropped": self.dropped.as_dict(),
        "dropped_letters": dict(sorted(self.dropped_letters.items())),
    }


def _example(name: str, place: holding_out.Place) -> str:
  return f"{name} ({place.found})" if place.found else name
