"""What the corpora share: the TFDS builder that is handed its documents, and the spool that keeps them until then.

TFDS wants every split to yield an example, and the splits are known only when all proteins have been seen. So the
sources are read once, into spools on disk; then the splits are assigned; then each corpus's builder reads its documents
back, split by split.
"""

import contextlib
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

tfds.disable_progress_bar()  # it draws three bars for each split; the build has its own

VERSION = "1.0.0"


def token_ids() -> tfds.features.Tensor:
  """The feature of one encoded sequence: stored as the bytes they are, where the default stores a list of int64."""
  return tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding="bytes")


class Spool:
  """Objects on disk in the order of writing, read back by index; temporary, written and read by one process."""

  def __init__(self, path: str | os.PathLike):
    self._file = open(path, "w+b")
    self._offsets: list[int] = []

  def append(self, item: Any) -> int:
    """Writes an object and returns its index."""
    self._offsets.append(self._file.seek(0, os.SEEK_END))
    pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
    return len(self._offsets) - 1

  def __len__(self) -> int:
    return len(self._offsets)

  def __getitem__(self, index: int) -> Any:
    self._file.seek(self._offsets[index])
    return pickle.load(self._file)

  def __iter__(self) -> Iterator[Any]:
    return (self[i] for i in range(len(self)))

  def close(self) -> None:
    self._file.close()


class _OrderedSerializer(example_serializer.ExampleSerializer):
  """Writes the features of an example in one order: by default it changes from process to process."""

  def serialize_example(self, example: Mapping) -> bytes:
    return self.get_tf_example(example).SerializeToString(deterministic=True)


@contextlib.contextmanager
def _ordered_serializer() -> Iterator[None]:
  """Lets TFDS use `_OrderedSerializer`; it has no setting for that."""
  original = example_serializer.ExampleSerializer
  example_serializer.ExampleSerializer = _OrderedSerializer
  try:
    yield
  finally:
    example_serializer.ExampleSerializer = original


class _LocalInfo(tfds.core.DatasetInfo):
  """Looks for no copy on the network: TFDS leaves an empty temporary folder behind each time it does."""

  def initialize_from_bucket(self) -> None:
    pass


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A TFDS builder of a corpus; a subclass says what its `FEATURES` are.

  It writes array_record and needs no TensorFlow; read it with `as_data_source`.

  Args:
    data_dir: the folder of all corpora.
    documents: split to a function that gives its examples; without it the dataset can only be read.
    counts: what was counted while the documents were made, kept as the dataset's metadata.
  """

  VERSION = tfds.core.Version(VERSION)
  FEATURES: tfds.features.FeaturesDict

  def __init__(
      self, *, data_dir: str | os.PathLike, documents: Mapping[str, Callable[[], Iterable[Mapping]]] | None = None,
      counts: Mapping[str, Any] | None = None, **kwargs: Any,
  ):
    self._documents = documents or {}
    self._counts = dict(counts or {})
    super().__init__(data_dir=os.fspath(data_dir), file_format="array_record", **kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return _LocalInfo(
        builder=self, description=self.__doc__, features=self.FEATURES, metadata=tfds.core.MetadataDict(self._counts)
    )

  def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
    with _ordered_serializer():
      super()._download_and_prepare(*args, **kwargs)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    del dl_manager  # nothing is downloaded
    return {split: self._generate_examples(split) for split in self._documents}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, Mapping]]:
    return enumerate(self._documents[split]())
