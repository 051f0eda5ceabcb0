"""Finds what a folder holds: the datasets of documents and the row sets of a build, checked before anything is read."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

from bsm_jax import tokenizer
from data_pipelines.errors import InputError

_BUILD_AGAIN = "Run the build that made it again with --overwrite"
_SHARD = re.compile(r"rows-(\d{5})-of-(\d{5})\.array_record")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_UNFINISHED = re.compile(r"^\.building|\.incomplete")  # of a build, of TFDS
_FEATURES = "tensorflow_datasets.core.features."
_EXPECTED = (
    "Give the --out of data_pipelines.build (documents/ and rows/), one row set (it has a corpus.json) or one corpus of"
    " documents (it has a folder such as 1.0.0)"
)


@dataclasses.dataclass(frozen=True)
class Shards:
  """The files of one split, in order.

  Attributes:
    paths: ArrayRecord files.
    counts: records in each.
  """

  paths: tuple[pathlib.Path, ...]
  counts: tuple[int, ...]

  @property
  def total(self) -> int:
    return sum(self.counts)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The documents of one corpus.

  Attributes:
    name: the corpus.
    folder: of its version.
    info: TFDS's description; it reads records, too.
    metadata: what the build counted.
    splits: split to its shards.
  """

  name: str
  folder: pathlib.Path
  info: tfds.core.DatasetInfo
  metadata: Mapping[str, Any]
  splits: Mapping[str, Shards]


@dataclasses.dataclass(frozen=True)
class RowSetFiles:
  """A row set.

  Attributes:
    name: as in its description.
    folder: where it lies.
    description: `corpus.json`.
    splits: split to its shards; splits without a row are left out.
  """

  name: str
  folder: pathlib.Path
  description: Mapping[str, Any]
  splits: Mapping[str, Shards]


@dataclasses.dataclass(frozen=True)
class Found:
  """What a folder holds.

  Attributes:
    folder: the folder.
    datasets: of documents.
    row_sets: of rows.
    warnings: what is there and was left out.
  """

  folder: pathlib.Path
  datasets: tuple[Dataset, ...]
  row_sets: tuple[RowSetFiles, ...]
  warnings: tuple[str, ...]


def find(folder: str | os.PathLike) -> Found:
  """Tells a build's output, a row set and a corpus of documents apart, and opens what is there.

  Raises:
    InputError: there is none of these, or one is incomplete, damaged or of another vocabulary.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise InputError(folder, "is no folder", _EXPECTED)
  if any(_UNFINISHED.search(part) for part in folder.resolve().parts):
    raise InputError(folder, "is the half-written part of a build", _BUILD_AGAIN)
  documents = folder / "documents" if (folder / "documents").is_dir() else folder
  rows = folder / "rows" if (folder / "rows").is_dir() else folder
  own = _newest(folder)
  versions = [own] if own else [_newest(f) for f in _folders(documents)]
  datasets = [_open_dataset(f) for f in versions if f]
  is_row_set = _is_row_set(folder)
  row_sets = [_open_row_set(f) for f in ([folder] if is_row_set else _folders(rows)) if is_row_set or _is_row_set(f)]
  left = sorted(p.name for p in folder.iterdir() if _UNFINISHED.search(p.name))
  if not datasets and not row_sets:
    if left:
      raise InputError(folder, f"holds only the half-written parts of a build ({', '.join(left)})", _BUILD_AGAIN)
    raise InputError(folder, "holds neither documents nor rows", _EXPECTED)
  warnings = [f"{name} is the half-written part of a build that runs or was stopped: left out" for name in left]
  return Found(folder, tuple(datasets), tuple(row_sets), tuple(warnings))


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_json(path: pathlib.Path) -> dict:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise InputError(path, "is missing: what stands beside it is half-written or damaged", _BUILD_AGAIN) from None
  except (ValueError, OSError) as error:
    raise InputError(path, f"cannot be read ({error})", _BUILD_AGAIN) from None
  if not isinstance(content, dict):
    raise InputError(path, "holds no JSON object", _BUILD_AGAIN)
  return content


def _check_vocabulary(path: pathlib.Path, found: str) -> None:
  if found != (ours := tokenizer.vocabulary_hash()):
    hashes = f"({str(found)[:12]}; this code has {ours[:12]})"
    remedy = "Inspect it with the version of the code that built it, or build it again"
    raise InputError(path, f"is of another vocabulary {hashes}: its letters would be read wrongly", remedy)


# --- documents ---


def _newest(folder: pathlib.Path) -> pathlib.Path | None:
  """The folder of the newest version of a dataset: `folder` itself, one in it, or None."""
  if (folder / "dataset_info.json").exists():
    return folder
  versions = [f for f in _folders(folder) if _VERSION.fullmatch(f.name) and any(f.iterdir())]
  return max(versions, key=lambda f: tuple(map(int, f.name.split("."))), default=None)


def _open_dataset(folder: pathlib.Path) -> Dataset:
  metadata = _read_json(folder / "metadata.json")
  _read_json(folder / "dataset_info.json")
  for name in _class_names(_read_json(folder / "features.json")):
    if not name.startswith(_FEATURES):  # TFDS imports the module that the file names, whatever it is
      raise InputError(folder / "features.json", f"names the class {name}, no feature of TFDS", _BUILD_AGAIN)
  try:
    info = tfds.builder_from_directory(folder).info
    paths = {name: tuple(pathlib.Path(os.fspath(p)) for p in split.filepaths) for name, split in info.splits.items()}
  except Exception as error:  # TFDS has no narrower one
    raise InputError(folder, f"is no dataset ({str(error).splitlines()[0][:200]})", _BUILD_AGAIN) from error
  made_from = metadata.get("made_from", {})
  for description in (metadata, made_from):
    if "vocabulary_hash" in description:
      _check_vocabulary(folder / "metadata.json", description["vocabulary_hash"])
  splits = {}
  for name, split in info.splits.items():
    for path in paths[name]:
      if not path.is_file():
        raise InputError(path, f"is missing, but {folder.name}/dataset_info.json names it", _BUILD_AGAIN)
    splits[name] = Shards(paths[name], tuple(split.shard_lengths))
  return Dataset(info.name, folder, info, metadata, splits)


def _class_names(features: Any) -> Iterator[str]:
  """Every `pythonClassName` in a `features.json`."""
  if isinstance(features, dict):
    for key, value in features.items():
      yield from [str(value)] if key == "pythonClassName" else _class_names(value)


# --- rows ---


def _is_row_set(folder: pathlib.Path) -> bool:
  """Whether a row set is meant to be here: it has a description, or shards without one."""
  return (folder / "corpus.json").exists() or any(folder.glob("*/rows-*.array_record"))


def _open_row_set(folder: pathlib.Path) -> RowSetFiles:
  path = folder / "corpus.json"
  description = _read_json(path)
  _check_keys(path, "", description, ("name", "corpus", "vocabulary_hash", "context", "splits"))
  _check_vocabulary(path, description["vocabulary_hash"])
  for split, counts in description["splits"].items():
    _check_keys(path, f"splits.{split}.", counts, ("documents", "rows", "tokens", "letters_by_modality", "fill"))
  splits = {}
  for split, counts in description["splits"].items():
    shards = _row_shards(folder / split)
    if shards.total != counts["rows"]:
      problem = f"holds {shards.total:,} rows, but corpus.json says {counts['rows']:,}"
      raise InputError(folder / split, problem, _BUILD_AGAIN)
    if shards.total:
      splits[split] = shards
  return RowSetFiles(description["name"], folder, description, splits)


def _check_keys(path: pathlib.Path, where: str, found: Mapping, keys: Sequence[str]) -> None:
  if missing := [where + key for key in keys if key not in found]:
    raise InputError(path, f"lacks {', '.join(missing)}", _BUILD_AGAIN)


def _row_shards(folder: pathlib.Path) -> Shards:
  paths = sorted(p for p in folder.glob("rows-*.array_record"))
  for index, path in enumerate(paths):
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match[1]) != index or int(match[2]) != len(paths):
      problem = f"is not shard {index} of {len(paths)}, but stands in its place: a shard is missing or too many"
      raise InputError(path, problem, _BUILD_AGAIN)
  return Shards(tuple(paths), tuple(map(_count_records, paths)))


def _count_records(path: pathlib.Path) -> int:
  with open_shard(path) as reader:
    count = reader.num_records()
  return count


@contextlib.contextmanager
def open_shard(path: pathlib.Path) -> Iterator[array_record_module.ArrayRecordReader]:
  """Opens an ArrayRecord file for reading.

  Raises:
    InputError: the file is damaged. A truncated one can be opened, and has no records, until it is closed.
  """
  reader = array_record_module.ArrayRecordReader(os.fspath(path))
  try:
    yield reader
    reader.close()
  except InputError:
    raise
  except Exception as error:  # the C++ code raises nothing narrower
    problem = f"is damaged: {str(error).splitlines()[0][:200] if str(error) else 'its end is missing'}"
    raise InputError(path, problem, _BUILD_AGAIN) from error
