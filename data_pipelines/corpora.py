"""The TFDS builder that all corpora share: shards of documents, each written by a task.

TFDS's own builders run in process or on Beam too, but begin anew when they were stopped. Here a shard is a task
(`tasks.py`): the builder runs those that are not finished, moves all into the dataset and describes them.
"""

import abc
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import dataset_builder, example_serializer

from data_pipelines import pack
from data_pipelines.spool import Spool
from data_pipelines.tasks import Task, Workers, result

tfds.disable_progress_bar()  # it draws three bars for each split; the build has its own

VERSION = "2.0.0"
_SHARD = "documents.array_record"


def token_ids() -> tfds.features.Tensor:
  """The feature of encoded sequences: stored as the bytes they are, where the default stores a list of int64."""
  return tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding="bytes")


@dataclasses.dataclass(frozen=True)
class Pieces:
  """Documents of one split in one unit, and the part of them that belongs to one shard.

  Attributes:
    unit: folder of the unit's spool.
    pieces: file of int64 [n, 4]: item in the spool, first letter, end, letters.
    first, last: the rows [first, last) of it.
  """

  unit: str
  pieces: str
  first: int
  last: int


def plan_shards(pieces: Iterable[tuple[str, str]], letters: int) -> list[list[Pieces]]:
  """Divides the documents of a split, unit after unit, into shards of at most `letters` letters where it can.

  Args:
    pieces: (folder of the unit, file of pieces) in the order of the units.
    letters: letters after which a shard is full.
  """
  shards: list[list[Pieces]] = []
  room = 0
  for unit, path in pieces:
    sizes = np.load(path, mmap_mode="r")[:, 3]
    first = 0
    while first < len(sizes):
      fitting = int(np.searchsorted(np.cumsum(sizes[first:]), room, side="right"))
      if not fitting and (not shards or shards[-1]):
        shards.append([])
        room = letters
        continue
      last = first + max(fitting, 1)  # one that is larger than a shard has a shard of its own
      shards[-1].append(Pieces(unit, path, first, last))
      room -= int(sizes[first:last].sum())
      first = last
  return shards


class _OrderedSerializer(example_serializer.ExampleSerializer):
  """Writes the features of an example in one order: by default it changes from process to process."""

  def serialize_example(self, example: Mapping) -> bytes:
    return self.get_tf_example(example).SerializeToString(deterministic=True)


class _LocalInfo(tfds.core.DatasetInfo):
  """Looks for no copy on the network: TFDS leaves an empty temporary folder behind each time it does."""

  def initialize_from_bucket(self) -> None:
    pass


class CorpusBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
  """A TFDS builder of a corpus; a subclass says what its `FEATURES` are and how a document is made.

  It writes array_record and needs no TensorFlow; read it with `as_data_source`.

  Args:
    data_dir: the folder of all corpora.
    shards: split to its shards; without it the dataset can only be read.
    workers: run the shards.
    counts: what was counted while the documents were made, kept as the dataset's metadata.
  """

  VERSION = tfds.core.Version(VERSION)
  FEATURES: tfds.features.FeaturesDict

  def __init__(
      self, *, data_dir: str | os.PathLike, shards: Mapping[str, Sequence[Sequence[Pieces]]] | None = None,
      workers: Workers | None = None, counts: Mapping[str, Any] | None = None, **kwargs: Any,
  ):
    self._shards = shards or {}
    self._workers = workers
    self._counts = dict(counts or {})
    super().__init__(data_dir=os.fspath(data_dir), file_format="array_record", **kwargs)

  @staticmethod
  @abc.abstractmethod
  def document(item: Mapping, start: int, end: int) -> Mapping:
    """An example of `FEATURES`: the letters [start, end) of an item of the spool (all of it, where it is not cut)."""

  def _info(self) -> tfds.core.DatasetInfo:
    return _LocalInfo(
        builder=self, description=self.__doc__, features=self.FEATURES, metadata=tfds.core.MetadataDict(self._counts)
    )

  def _download_and_prepare(self, dl_manager: tfds.download.DownloadManager, download_config: Any = None) -> None:
    del dl_manager, download_config
    corpus = f"{type(self).__module__}:{type(self).__qualname__}"
    tasks = [
        Task(write_shard, {"corpus": corpus, "pieces": [dataclasses.astuple(p) for p in shard]}, f"{self.name} {split}")
        for split, shards in self._shards.items() for shard in shards
    ]
    folders = iter(self._workers.run(f"shards of {self.name}", tasks))
    infos = []
    for split, shards in self._shards.items():
      template = self._get_filename_template(split_name=split)
      lengths, size = [], 0
      for index in range(len(shards)):
        folder = next(folders)
        target = template.sharded_filepath(shard_index=index, num_shards=len(shards))
        pack.link(folder / _SHARD, target)
        lengths.append(result(folder)["documents"])
        size += os.path.getsize(target)
      infos.append(tfds.core.SplitInfo(
          name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
      ))
    self.info.set_splits(tfds.core.SplitDict(infos))


def _documents(corpus: type[CorpusBuilder], shard: Sequence[Pieces]) -> Iterator[Mapping]:
  for part in shard:
    spool = Spool(part.unit)
    last, item = -1, None
    for index, start, end, _ in np.load(part.pieces, mmap_mode="r")[part.first : part.last].tolist():
      if index != last:
        last, item = index, spool[index]
      yield corpus.document(item, start, end)
    spool.close()


def write_shard(folder: pathlib.Path, *, corpus: str, pieces: Sequence[Sequence]) -> dict:
  """The task that writes one shard.

  Args:
    folder: where to.
    corpus: `module:class` of the builder.
    pieces: arguments of `Pieces`.
  """
  module, _, name = corpus.partition(":")
  kind = getattr(__import__(module, fromlist=[name]), name)
  serializer = _OrderedSerializer(kind.FEATURES.get_serialized_info())
  writer = array_record_module.ArrayRecordWriter(str(folder / _SHARD), "group_size:1")
  documents = 0
  for example in _documents(kind, [Pieces(*p) for p in pieces]):
    writer.write(serializer.serialize_example(kind.FEATURES.encode_example(example)))
    documents += 1
  writer.close()
  return {"documents": documents}
