"""The second half of a build: the documents of a corpus to the rows of each row set, with their `corpus.json`.

Each shard of documents becomes shards of rows by a task of its own.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tqdm

from bsm_jax import tokenizer
from data_pipelines import pack, row_sets, views
from data_pipelines.corpora import CorpusBuilder
from data_pipelines.documents import CORPORA
from data_pipelines.report import Tally
from data_pipelines.tasks import Task, Workers, result

_BATCH = 64  # documents read at a time; a stretch of a genome may have a million letters

@dataclasses.dataclass(frozen=True)
class Job:
  """One row set that is to be made.

  Attributes:
    name: the row set's name, part of the seed of every random choice.
    row_set: what to make.
    context: tokens in a row.
    documents: the folder of all corpora.
    folder: where to write: `<split>/rows-*.array_record` and, last, `corpus.json`; the caller moves it into place.
    made_from: what identifies config and documents.
    created_by: program and version.
  """

  name: str
  row_set: row_sets.RowSet
  context: int
  documents: pathlib.Path
  folder: pathlib.Path
  made_from: Mapping
  created_by: str

  @property
  def shared(self) -> dict:
    """Arguments of all its tasks."""
    return {
        "name": self.row_set.like or self.name,  # what seeds the random choices, beside the row set's own seed
        "row_set": dataclasses.asdict(self.row_set), "context": self.context,
        "documents": str(self.documents.absolute()), "made_from": self.made_from["documents"],
    }


def build(jobs: Sequence[Job], workers: Workers) -> Iterator[dict]:
  """Writes the rows of row sets; yields the content of each one's `corpus.json` when it is written.

  Raises:
    BuildError: a row set has no row at all, or the disk is full.
  """
  splits = [(job, split) for job in jobs for split in _splits(job)]
  choices = [(job, split) for job, split in splits if job.row_set.taxa or job.row_set.max_documents]
  chosen = workers.run("choose documents", [
      Task(choose, job.shared | {"split": split}, job.name) for job, split in choices
  ])
  folder_of = {(job.name, split): str(folder) for (job, split), folder in zip(choices, chosen)}
  tasks: list[Task] = []
  slots: dict[tuple[str, str], slice] = {}
  for job, split in splits:
    first_task = len(tasks)
    ends = np.cumsum(_builder(job).info.splits[split].shard_lengths).tolist()
    for first, last in zip([0, *ends], ends):
      arguments = {"split": split, "first": first, "last": last, "chosen": folder_of.get((job.name, split))}
      tasks.append(Task(write_part, job.shared | arguments, f"{job.name} {split}"))
    slots[job.name, split] = slice(first_task, len(tasks))
  folders = workers.run("rows", tasks)
  for job in jobs:
    yield _finish(job, {split: folders[slots.get((job.name, split), slice(0))] for split in job.row_set.splits})


def _builder(job: Job) -> CorpusBuilder:
  return CORPORA[job.row_set.corpus](data_dir=job.documents)


def _splits(job: Job) -> list[str]:
  """The splits that the row set wants and the corpus has."""
  there = _builder(job).info.splits
  return [split for split in job.row_set.splits if split in there]


def _finish(job: Job, parts_of_split: Mapping[str, Sequence[pathlib.Path]]) -> dict:
  dropped = Tally()
  splits = {}
  for split, parts in parts_of_split.items():
    counts = _Counts()
    for part in parts:
      counts.add(result(part)["counts"])
      dropped.merge(result(part)["dropped"])
    _gather(parts, job.folder / split)
    splits[split] = counts.as_dict(job.context)
  if not any(s["rows"] for s in splits.values()):
    reasons = ", ".join(f"{r} {c:,}" for r, c in dropped.counts.items())
    raise pack.BuildError(
        f"row set {job.name}: not one row ({reasons or 'no document matches'}). Check its taxa, modalities and codons."
    )
  description = {
      "format_version": pack.FORMAT_VERSION,
      "name": job.name,
      "corpus": job.row_set.corpus,
      "vocabulary_hash": tokenizer.vocabulary_hash(),
      "context": job.context,
      "seed": job.row_set.seed,
      "row_set": dataclasses.asdict(job.row_set),
      "splits": splits,
      "dropped": dropped.as_dict(),
      "sources": _builder(job).info.metadata["made_from"]["sources"],
      "made_from": job.made_from,
      "created_by": job.created_by,
  }
  job.folder.mkdir(parents=True, exist_ok=True)
  (job.folder / "corpus.json").write_text(json.dumps(description, indent=2) + "\n")
  return description


def _gather(parts: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
  """Moves the shards of all parts, in order, into the folder of a split, which is made where there are any."""
  found = [path for part in parts for path in sorted(part.glob("rows-*"))]
  if found:
    folder.mkdir(parents=True)
  for number, path in enumerate(found):
    pack.link(path, folder / f"rows-{number:05d}-of-{len(found):05d}.array_record")


class _Counts:
  """What the parts of a split have in all."""

  def __init__(self):
    self._total = {"documents": 0, "rows": 0, "tokens": 0}
    self._letters = dict.fromkeys((m.name.lower() for m in tokenizer.Modality), 0)

  def add(self, counts: Mapping) -> None:
    for key in self._total:
      self._total[key] += counts[key]
    for modality, letters in counts["letters_by_modality"].items():
      self._letters[modality] += letters

  def as_dict(self, context: int) -> dict:
    rows = self._total["rows"]
    fill = self._total["tokens"] / (rows * context) if rows else 0.0
    return self._total | {"letters_by_modality": self._letters, "fill": round(fill, 4)}


def choose(
    folder: pathlib.Path, *, name: str, row_set: Mapping, context: int, documents: str, made_from: str, split: str
) -> None:
  """The task that applies `taxa` and `max_documents` of a row set: writes `chosen.npy`, bool for each document."""
  del context, made_from
  chosen_set = row_sets.from_dict(row_set)
  examples = CORPORA[chosen_set.corpus](data_dir=documents).as_data_source(split=split)
  order = views.random_generator(chosen_set.seed, name, split, "documents").permutation(len(examples)).tolist()
  if chosen_set.taxa:
    order = [i for i in order if int(examples[i]["taxon"]) in chosen_set.taxa]
  chosen = np.zeros(len(examples), bool)
  chosen[order[: chosen_set.max_documents or None]] = True
  np.save(folder / "chosen.npy", chosen)


def write_part(
    folder: pathlib.Path, *, name: str, row_set: Mapping, context: int, documents: str, made_from: str, split: str,
    first: int, last: int, chosen: str | None,
) -> dict:
  """The task that makes rows of the documents [first, last) of a split.

  Args:
    folder: where to.
    name: seeds the random choices.
    row_set: fields of the row set.
    context: tokens in a row.
    documents: the folder of all corpora.
    made_from: identifies the documents: with others this is another task.
    split, first, last: which documents.
    chosen: folder of `choose`, None for all documents.
  """
  del made_from
  parsed = row_sets.from_dict(row_set)
  examples = CORPORA[parsed.corpus](data_dir=documents).as_data_source(split=split)
  rng = views.random_generator(parsed.seed, name, split, first, "documents")
  order = (first + rng.permutation(last - first)).tolist()
  if chosen:
    is_chosen = np.load(pathlib.Path(chosen) / "chosen.npy")
    order = [i for i in order if is_chosen[i]]
  counter, dropped = _Counter(), Tally()
  found = _documents(name, parsed, context, examples, order, dropped, split)
  shuffled = pack.shuffled(counter.count(found), views.random_generator(parsed.seed, name, split, first, "order"))
  rows = pack.pack(shuffled, context)
  if (first_row := next(rows, None)) is not None:
    counter.rows = pack.write_rows(itertools.chain([first_row], rows), folder)
  return {"counts": counter.as_dict(), "dropped": dropped.as_dict()}


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

  def as_dict(self) -> dict:
    return {
        "documents": self.documents, "rows": self.rows, "tokens": self.tokens, "letters_by_modality": self._letters
    }


def _documents(
    name: str, row_set: row_sets.RowSet, context: int, examples: Sequence, order: Sequence[int], dropped: Tally,
    split: str,
) -> Iterator[np.ndarray]:
  """The documents, as token sequences, in the order given."""
  found = _read(examples, tqdm.tqdm(order, desc=f"{split} documents", leave=False, disable=None))
  if isinstance(row_set, row_sets.WebRowSet):
    for example in found:
      yield from views.web_documents(views.WebDocument.from_example(example), context)
  elif isinstance(row_set, row_sets.PairRowSet):
    for position, example in enumerate(found):
      gene = views.Gene.from_example(example)
      partner = _partner(examples, order, position, gene) if row_set.wrong_partner else None
      yield from views.gene_documents(gene, row_set, name, context, dropped, partner)
  else:
    modalities = {tokenizer.Modality.parse(m) for m in row_set.modalities}
    for example in found:
      if not modalities or example["modality"] in modalities:
        yield from views.stretch_documents(views.Stretch.from_example(example), row_set, name, context, dropped)


def _read(examples: Sequence, order: Iterable[int]) -> Iterator[Mapping]:
  """The examples in this order. They are read some at a time: ArrayRecord then reads them in parallel."""
  indices = iter(order)
  while batch := list(itertools.islice(indices, _BATCH)):
    yield from examples.__getitems__(batch)


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
