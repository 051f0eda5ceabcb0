"""The single-modal corpus: genomic DNA, transcripts and proteins, each a document of its own.

A nucleotide sequence longer than `WHOLE` is cut along the held-out genes in it: its pieces go to the split they belong
to, the rest is train. A shorter one, and a transcript, goes as a whole to the split of what it contains.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from bsm_jax.tokenizer import Modality
from data_pipelines import corpora
from data_pipelines.holding_out import Place, Places

WHOLE = 2000  # letters of DNA
MAX_LETTERS = 1 << 20  # longer stretches are several documents, so that none is too large for a record


class SingleModal(corpora.CorpusBuilder):
  """Single sequences of DNA, RNA and protein, as token ids."""

  FEATURES = tfds.features.FeaturesDict({
      "id": tfds.features.Text(),
      "taxon": np.int32,
      "modality": np.uint8,
      "letters": corpora.token_ids(),
      "at_start": np.bool_,
      "at_end": np.bool_,
  })

  @staticmethod
  def document(item: Mapping, start: int, end: int) -> Mapping:
    n = len(item["letters"])
    return {
        "id": item["id"] if (start, end) == (0, n) else f"{item['id']}:{start + 1}-{end}",
        "taxon": item["taxon"],
        "modality": item["modality"],
        "letters": item["letters"][start:end],
        "at_start": start == 0 and not item["circular"],
        "at_end": end == n and not item["circular"],
    }


def record(name: str, taxon: int, modality: Modality, letters: np.ndarray, circular: bool = False) -> dict:
  """A sequence record as it is spooled; `circular`: its ends meet, so that neither is a true end."""
  return {"id": name, "taxon": taxon, "modality": int(modality), "letters": letters, "circular": circular}


def stretches(
    item: Mapping, mask: int, places: Places, min_letters: int
) -> tuple[list[tuple[int, int, str]], list[tuple[int, int, Place]]]:
  """Where the stretches of a record belong.

  Args:
    item: the record.
    mask: what the index finds in it, where it is a protein.
    places: where sequences belong.
    min_letters: shorter stretches are dropped.

  Returns:
    ([(start, end, split)], no longer than `MAX_LETTERS` each;
    [(start, end, place)] of the stretches that belong nowhere, or are too short).
  """
  letters, modality = item["letters"], Modality(item["modality"])
  n = len(letters)
  if modality == Modality.PROTEIN:
    masks, own = [(0, n, mask)], places.of_protein(letters)
  elif modality == Modality.RNA or n < WHOLE:
    masks, own = [(0, n, places.index.whole(letters, modality))], None
  else:
    masks, own = places.index.partition(letters), None
  kept, dropped = [], []
  for start, end, found in masks:
    place = places.split(found, own)
    if not place.reason and end - start < min_letters:
      place = Place("", "too_short")
    if place.reason:
      dropped.append((start, end, place))
    else:
      kept.extend((a, min(a + MAX_LETTERS, end), place.split) for a in range(start, end, MAX_LETTERS))
  return kept, dropped
