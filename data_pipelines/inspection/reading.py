"""Samples of documents and rows, read evenly from all shards, as arrays that `statistics` measures."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.inspection.layout import Dataset, RowSetFiles, Shards, open_shard
from data_pipelines.inspection.statistics import ALPHABET, Sequences

_BUILD_AGAIN = "Run the build that made it again with --overwrite"
_CHUNK_BYTES = 1 << 24  # read at a time
Typed = list[tuple[Modality, np.ndarray]]


def records(shards: Shards, indices: Sequence[int]) -> Iterator[tuple[pathlib.Path, int, bytes]]:
  """The records of one split by their index over all shards.

  Args:
    shards: the files.
    indices: ascending.

  Yields:
    The file, the record's number in it, and its bytes.

  Raises:
    InputError: a file does not hold what it should.
  """
  indices = np.asarray(indices)
  first = 0
  for path, count in zip(shards.paths, shards.counts):
    low, high = np.searchsorted(indices, [first, first + count])
    if low < high:
      yield from _read_shard(path, count, (indices[low:high] - first).tolist())
    first += count


def _read_shard(path: pathlib.Path, count: int, chosen: list[int]) -> Iterator[tuple[pathlib.Path, int, bytes]]:
  with open_shard(path) as reader:
    if (found := reader.num_records()) != count:
      raise InputError(path, f"holds {found:,} records where {count:,} were written", _BUILD_AGAIN)
    step = max(1, _CHUNK_BYTES * count // (path.stat().st_size + 1))
    for i in range(0, len(chosen), step):
      part = chosen[i : i + step]
      for index, record in zip(part, reader.read(part)):
        yield path, index, record


def rows(row_set: RowSetFiles, split: str, indices: Sequence[int], batch: int = 4096) -> Iterator[np.ndarray]:
  """Rows of a split by their index, as arrays uint8 [<= batch, context].

  Raises:
    InputError: a file is damaged, or a row has another length.
  """
  context = row_set.description["context"]
  held: list[bytes] = []
  for path, index, record in records(row_set.splits[split], indices):
    if len(record) != context:
      problem = f"a row of {len(record)} bytes in rows of {context} tokens"
      raise InputError(path, problem, _BUILD_AGAIN, record=f"record {index}")
    held.append(record)
    if len(held) == batch:
      yield np.frombuffer(b"".join(held), np.uint8).reshape(-1, context)
      held.clear()
  if held:
    yield np.frombuffer(b"".join(held), np.uint8).reshape(-1, context)


def kind(dataset: Dataset) -> str:
  """What the documents of a dataset are: `gene`, `single` or `interleaved`, by their features.

  Raises:
    InputError: they are none of these.
  """
  features = set(dataset.info.features)
  if {"dna", "rna", "protein", "cds_blocks"} <= features:
    return "gene"
  if {"letters", "modality"} <= features:
    return "single"
  if {"letters", "modalities", "ends"} <= features:
    return "interleaved"
  problem = f"has features that are unknown here: {', '.join(sorted(features))}"
  raise InputError(dataset.folder / "features.json", problem, "Inspect it with the version of the code that built it")


@dataclasses.dataclass(frozen=True)
class Document:
  """A document of any corpus.

  Attributes:
    id: its name.
    taxon: NCBI taxonomy id, 0 where unknown.
    parts: its typed sequences in order, token ids; those without a letter are left out.
    example: all its features, as TFDS decodes them.
  """

  id: str
  taxon: int
  parts: Typed
  example: Mapping


def documents(dataset: Dataset, split: str, indices: Sequence[int]) -> Iterator[Document]:
  """Documents of a split by their index.

  The shards are opened one after the other: TFDS's data source keeps all of them open.

  Raises:
    InputError: a file is damaged, or a record is no document.
  """
  what = kind(dataset)
  for path, index, record in records(dataset.splits[split], indices):
    try:
      example = dataset.info.features.deserialize_example_np(record)
      parts = _typed_sequences(what, example)
      document = Document(example["id"].decode("utf-8", "replace"), int(example["taxon"]), parts, example)
    except Exception as error:  # of protobuf, numpy or this file, whatever the bytes lead to
      problem = f"is no document of {dataset.name} ({str(error).splitlines()[0][:200]})"
      raise InputError(path, problem, _BUILD_AGAIN, record=f"record {index}") from error
    yield document


def _typed_sequences(what: str, example: Mapping) -> Typed:
  if what == "gene":
    found = [(m, example[m.name.lower()]) for m in Modality]
  elif what == "single":
    found = [(Modality(int(example["modality"])), example["letters"])]
  else:
    letters, ends, modalities = (np.asarray(example[k]) for k in ("letters", "ends", "modalities"))
    if len(ends) != len(modalities) or np.any(np.diff(ends) < 0) or ends[-1:].tolist() != [len(letters)]:
      raise ValueError(f"{len(modalities)} sequences end at {ends.tolist()[:8]} of {len(letters)} letters")
    found = [(Modality(int(m)), ids) for m, ids in zip(modalities, np.split(letters, ends[:-1]))]
  for modality, ids in found:
    if (bad := ids[~ALPHABET[modality][ids]]).size:
      raise ValueError(f"{modality.name.lower()} holds token id {bad[0]}")
  return [(m, ids) for m, ids in found if len(ids)]


def sequences(
    dataset: Dataset, split: str, indices: Sequence[int], batch_letters: int = 1 << 23
) -> Iterator[Sequences]:
  """As `documents`, in batches of some `batch_letters` letters (one document at least)."""
  held: Typed = []
  origin: list[tuple[int, int]] = []  # of each sequence: its document, its taxon
  size = 0
  for number, document in enumerate(documents(dataset, split, indices)):
    held += document.parts
    origin += [(number, document.taxon)] * len(document.parts)
    size += sum(len(ids) for _, ids in document.parts)
    if size >= batch_letters:
      yield _batch(held, origin)
      held, origin, size = [], [], 0
  if held:
    yield _batch(held, origin)


def _batch(held: Typed, origin: list[tuple[int, int]]) -> Sequences:
  document, taxon = zip(*origin)
  return Sequences(
      letters=np.concatenate([ids for _, ids in held]),
      ends=np.cumsum([len(ids) for _, ids in held]),
      modality=np.array([m for m, _ in held], np.uint8),
      document=np.array(document, np.int64),
      taxon=np.array(taxon, np.int32),
  )
