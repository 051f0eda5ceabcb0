"""The web corpus: documents of several sequences, in the order in which a web page holds them."""

from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from bsm_jax import tokenizer
from data_pipelines import corpora
from data_pipelines.web_interleaved import WebSequences


class WebInterleaved(corpora.CorpusBuilder):
  """Web documents that hold three or more biological sequences: the sequences alone, in order, as token ids."""

  FEATURES = tfds.features.FeaturesDict({
      "id": tfds.features.Text(),
      "url": tfds.features.Text(),
      "taxon": np.int32,
      "modalities": tfds.features.Tensor(shape=(None,), dtype=np.uint8),
      "ends": tfds.features.Tensor(shape=(None,), dtype=np.int32),
      "letters": corpora.token_ids(),
  })

  @staticmethod
  def document(item: Mapping, start: int, end: int) -> Mapping:
    return item


def example(document: WebSequences, counts: dict[str, int] | None = None) -> dict:
  """A document as a record of `WebInterleaved`.

  `modalities` has one value a sequence, `ends` where each ends in `letters`; the taxon is unknown.

  Args:
    document: what was found.
    counts: of replaced letters, see `tokenizer.encode`; letters outside the alphabet become `<unk>`.
  """
  encoded = [
      tokenizer.encode(s.letters, s.modality, strict=False, counts=counts, name=document.id) for s in document.sequences
  ]
  return {
      "id": document.id,
      "url": document.url,
      "taxon": 0,
      "modalities": np.array([s.modality for s in document.sequences], np.uint8),
      "ends": np.cumsum([len(ids) for ids in encoded], dtype=np.int32),
      "letters": np.concatenate(encoded),
  }
