"""The single-modal corpus: genomic DNA, transcripts and proteins, each a document of its own.

A nucleotide sequence longer than `WHOLE` is cut along the held-out genes in it: its pieces go to the split they belong
to, the rest is train. A shorter one, and a transcript, goes as a whole to the split of what it contains.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from bsm_jax.tokenizer import Modality
from data_pipelines import corpora
from data_pipelines.report import Tally
from data_pipelines.splits import SPLITS, HeldOutIndex, ProteinSplits

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


@dataclasses.dataclass(frozen=True)
class Record:
  """A sequence record as it was read.

  Attributes:
    letters: uint8 token ids.
    circular: its ends meet, so that neither is a true end.
  """

  id: str
  taxon: int
  modality: Modality
  letters: np.ndarray
  circular: bool = False


Piece = tuple[int, int, int]  # index in the spool, start, end


def assign(
    records: corpora.Spool, splits: ProteinSplits, held_out: HeldOutIndex, min_letters: int, dropped: Tally,
    rejects: Tally,
) -> dict[str, list[Piece]]:
  """The stretches of each split.

  Args:
    records: spool of `Record`.
    splits: where proteins belong.
    held_out: where nucleotides belong.
    min_letters: shorter stretches are dropped.
    dropped: counts stretches that were dropped from records of which others were kept.
    rejects: counts records of which nothing was kept, by the reason for their first stretch.
  """
  chosen: dict[str, list[Piece]] = {split: [] for split in SPLITS}
  for index, record in enumerate(records):
    kept, reasons = False, []
    for start, end, split in _stretches(record, splits, held_out):
      if split is None:
        reasons.append(("valid_and_test", f"{record.id}:{start + 1}-{end}"))
      elif end - start < min_letters:
        reasons.append(("too_short", f"{record.id}:{start + 1}-{end}"))
      else:
        pieces = range(start, end, MAX_LETTERS)
        chosen[split].extend((index, a, min(a + MAX_LETTERS, end)) for a in pieces)
        kept = True
    if kept:
      for reason, example in reasons:
        dropped.add(reason, example)
    else:
      rejects.add(reasons[0][0], record.id)
  return chosen


def _stretches(record: Record, splits: ProteinSplits, held_out: HeldOutIndex) -> list[tuple[int, int, str | None]]:
  n = len(record.letters)
  if record.modality == Modality.PROTEIN:
    return [(0, n, splits.split(record.letters))]
  if record.modality == Modality.RNA or n < WHOLE:
    return [(0, n, held_out.whole(record.letters))]
  return held_out.partition(record.letters)


def examples(records: corpora.Spool, pieces: list[Piece]) -> Iterator[dict]:
  """Records of `SingleModal` for the stretches of one split."""
  last, record = -1, None
  for index, start, end in pieces:
    if index != last:
      last, record = index, records[index]
    n = len(record.letters)
    yield {
        "id": record.id if (start, end) == (0, n) else f"{record.id}:{start + 1}-{end}",
        "taxon": record.taxon,
        "modality": int(record.modality),
        "letters": record.letters[start:end],
        "at_start": start == 0 and not record.circular,
        "at_end": end == n and not record.circular,
    }
