"""The second stage of a build: the documents of a corpus to the rows of one row set, with their `corpus.json`."""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tqdm

from bsm_jax import tokenizer
from data_pipelines import pack, row_sets, views
from data_pipelines.documents import CORPORA
from data_pipelines.report import Tally


def build(
    name: str, row_set: row_sets.RowSet, context: int, documents: pathlib.Path, folder: pathlib.Path, made_from: dict,
    created_by: str,
) -> dict:
  """Writes the rows of one row set.

  Args:
    name: the row set's name, part of the seed of every random choice.
    row_set: what to make.
    context: tokens in a row.
    documents: the folder of all corpora.
    folder: where to write: `<split>/rows-*.array_record` and, last, `corpus.json`; the caller moves it into place.
    made_from: what identifies config and documents.
    created_by: program and version.

  Returns:
    The content of `corpus.json`.

  Raises:
    BuildError: there is no row at all, or the disk is full.
  """
  builder = CORPORA[row_set.corpus](data_dir=documents)
  metadata = builder.info.metadata
  dropped = Tally()
  splits = {}
  choices = row_set.like or name  # what seeds the random choices, beside the row set's own seed
  for split in row_set.splits:
    counter = _Counter()
    if split in builder.info.splits:
      examples = builder.as_data_source(split=split)
      found = _documents(choices, row_set, context, examples, dropped, split)
      rng = views.random_generator(row_set.seed, choices, split, "order")
      rows = pack.pack(pack.shuffled(counter.count(found), rng), context)
      first = next(rows, None)
      if first is not None:
        (folder / split).mkdir(parents=True)
        counter.rows = pack.write_rows(itertools.chain([first], rows), folder / split)
    splits[split] = counter.as_dict(context)
  if not any(s["rows"] for s in splits.values()):
    reasons = ", ".join(f"{r} {c:,}" for r, c in dropped.counts.items())
    raise pack.BuildError(
        f"row set {name}: not one row ({reasons or 'no document matches'}). Check its taxa, modalities and codons."
    )
  description = {
      "format_version": pack.FORMAT_VERSION,
      "name": name,
      "corpus": row_set.corpus,
      "vocabulary_hash": tokenizer.vocabulary_hash(),
      "context": context,
      "seed": row_set.seed,
      "row_set": dataclasses.asdict(row_set),
      "splits": splits,
      "dropped": dropped.as_dict(),
      "sources": metadata["made_from"]["sources"],
      "made_from": made_from,
      "created_by": created_by,
  }
  (folder / "corpus.json").write_text(json.dumps(description, indent=2) + "\n")
  return description


class _Counter:
  """Counts documents and letters as they pass."""

  def __init__(self):
    self.documents = self.tokens = self.rows = 0
    self._letters = dict.fromkeys((m.name.lower() for m in tokenizer.Modality), 0)
    self._held: list[np.ndarray] = []

  def count(self, documents: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for document in documents:
      # A piece that continues a document has no tag: it must be counted together with what it continues.
      if len(self._held) >= 1024 and document[0] == tokenizer.BOS:
        self._flush()
      self._held.append(document)
      self.documents += 1
      self.tokens += len(document)
      yield document
    self._flush()

  def _flush(self) -> None:
    if self._held:
      for modality, letters in tokenizer.count_by_modality(np.concatenate(self._held)).items():
        self._letters[modality] += letters
      self._held.clear()

  def as_dict(self, context: int) -> dict:
    fill = self.tokens / (self.rows * context) if self.rows else 0.0
    return {
        "documents": self.documents, "rows": self.rows, "tokens": self.tokens, "letters_by_modality": self._letters,
        "fill": round(fill, 4),
    }


def _documents(
    name: str, row_set: row_sets.RowSet, context: int, examples: Sequence, dropped: Tally, split: str
) -> Iterator[np.ndarray]:
  """The documents of a split in the row set's random order, as token sequences."""
  is_pair = isinstance(row_set, row_sets.PairRowSet)
  load = views.Gene.from_example if is_pair else views.Stretch.from_example
  order = views.random_generator(row_set.seed, name, split, "documents").permutation(len(examples)).tolist()
  if row_set.taxa:
    order = [i for i in order if int(examples[i]["taxon"]) in row_set.taxa]
  if row_set.max_documents:
    order = order[: row_set.max_documents]
  modalities = {tokenizer.Modality.parse(m) for m in row_set.modalities}
  progress = tqdm.tqdm(order, desc=f"{split} documents", leave=False, disable=None)
  for position, index in enumerate(progress):
    document = load(examples[index])
    if is_pair:
      partner = _partner(examples, order, position, document) if row_set.wrong_partner else None
      yield from views.gene_documents(document, row_set, name, context, dropped, partner)
    elif not modalities or document.modality in modalities:
      yield from views.stretch_documents(document, row_set, name, context, dropped)


def _partner(examples: Sequence, order: Sequence[int], position: int, gene: views.Gene) -> Callable[[int], views.Gene]:
  """For `wrong_partner`: the next gene in the order that is long enough and not of the same protein."""

  @functools.lru_cache
  def find(codons: int) -> views.Gene:
    for step in range(1, len(order)):
      other = views.Gene.from_example(examples[order[(position + step) % len(order)]])
      if other.codons >= codons and other.protein.tobytes() != gene.protein.tobytes():
        return other
    raise pack.BuildError(f"no other gene of {codons} codons to pair with {gene.id}: wrong_partner needs more genes")

  return find
