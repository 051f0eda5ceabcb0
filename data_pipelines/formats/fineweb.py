"""Web documents in the layout of FineWeb and FineWeb-Edu: Parquet, or JSON lines of the same fields.

Parquet is read row group by row group and only in the columns that are used; several tasks share a file of some GB,
each with a range of row groups (`units`). JSON lines (plain, gzip, zstd) are read line by line.

A record that cannot be used (no JSON, no text, not UTF-8) is yielded as a `Reject`: among billions of crawled pages
some are damaged, and one must not stop the build that has to report it. A file that ends too early or has other columns
is an `InputError`: there something is wrong with the whole of it.
"""

import dataclasses
import io
import json
import os
from collections.abc import Iterator

import pyarrow
import pyarrow.parquet

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed
from data_pipelines.genes import Reject

# Why a record is no document: code to meaning.
REASONS: dict[str, str] = {
    "bad_json": "the line is no JSON object",
    "no_text": "the text or the id is missing, empty or no string",
    "not_utf8": "the bytes are not UTF-8",
}

_COLUMNS = ("id", "text", "url", "language")
_NEEDED = ("id", "text")
_PARQUET = b"PAR1"
_ZSTD = b"\x28\xb5\x2f\xfd"
_DOWNLOAD = "Download the file again."
_SCHEMA = "FineWeb's layout is expected: string columns id and text, and where it is known url and language."


@dataclasses.dataclass(frozen=True)
class WebDocument:
  """A page.

  Attributes:
    id: the crawl's identifier, `<urn:uuid:…>`.
    text: its text, any length.
    url: where it was found, "" where unknown.
    language: ISO code of the detected language, "" where unknown.
  """

  id: str
  text: str
  url: str = ""
  language: str = ""


def read_documents(
    path: str | os.PathLike, *, start: int = 0, stop: int | None = None, strict: bool = False
) -> Iterator[WebDocument | Reject]:
  """Yields the documents of a file in order, and a `Reject` for every record that is none.

  Args:
    path: Parquet (told by its first bytes), or JSON lines, plain, gzip or zstd.
    start, stop: range of row groups of a Parquet file, as `units` cuts it. A file of JSON lines is one piece, 0 to 1.
    strict: raises at the first record that is none.

  Raises:
    InputError: the file is missing, empty, truncated, damaged or has other columns; a range outside the file; with
      `strict`, a record that is none, named by its line or by its row in its row group.
  """
  records = _parquet(path, start, stop) if _magic(path).startswith(_PARQUET) else _json_lines(path, start, stop)
  for record in records:
    if strict and isinstance(record, Reject):
      problem = REASONS[record.code] + (f" ({record.detail})" if record.detail else "")
      raise InputError(path, problem, "Repair the record, or read without strict.", record=record.record)
    yield record


def units(path: str | os.PathLike, size: int = 256 << 20) -> list[tuple[int, int]]:
  """Cuts a file into ranges (start, stop) for `read_documents`, each at least one row group.

  Args:
    path: a file as `read_documents` takes it.
    size: uncompressed bytes that a range should hold; it holds more only where one row group does.

  Raises:
    InputError: as `read_documents`.
  """
  if not _magic(path).startswith(_PARQUET):
    return [(0, 1)]
  with _open_parquet(path) as file:
    sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
  ranges: list[tuple[int, int]] = []
  first, held = 0, 0
  for i, group in enumerate(sizes):
    if i > first and held + group > size:
      ranges.append((first, i))
      first, held = i, 0
    held += group
  return [*ranges, (first, len(sizes))] if sizes else []


def _magic(path: str | os.PathLike) -> bytes:
  try:
    with open(path, "rb") as file:
      return file.read(4)
  except OSError as error:
    raise InputError(path, f"cannot be opened ({error.strerror})", "Check the path and its permissions.") from error


def _open_parquet(path: str | os.PathLike) -> pyarrow.parquet.ParquetFile:
  try:
    return pyarrow.parquet.ParquetFile(path)
  except (pyarrow.ArrowInvalid, OSError) as error:
    raise InputError(path, f"truncated or damaged Parquet ({error})", _DOWNLOAD) from error


def _parquet(path: str | os.PathLike, start: int, stop: int | None) -> Iterator[WebDocument | Reject]:
  with _open_parquet(path) as file:
    groups = file.metadata.num_row_groups
    stop = groups if stop is None else stop
    if not 0 <= start <= stop <= groups:
      raise InputError(path, f"row groups {start} to {stop} of {groups}", "Take the ranges from units().")
    schema = file.schema_arrow
    columns = [name for name in _COLUMNS if name in schema.names]
    wrong = [name for name in _NEEDED if name not in columns]
    wrong += [name for name in columns if not _is_string(schema.field(name).type)]
    if wrong:
      raise InputError(path, f"no string column {', '.join(wrong)}; it has {', '.join(schema.names)}", _SCHEMA)
    for group in range(start, stop):
      row = 0
      try:
        for batch in file.iter_batches(batch_size=512, row_groups=[group], columns=columns):
          # As bytes: one damaged text then is one reject, and not an error of the batch.
          fields = [batch.column(name).cast(pyarrow.large_binary()).to_pylist() for name in columns]
          for values in zip(*fields):
            yield _document(dict(zip(columns, values)), f"row group {group}, row {row}")
            row += 1
      except (pyarrow.ArrowInvalid, OSError) as error:
        where = f"row group {group}"
        raise InputError(path, f"cannot be read ({error})", _DOWNLOAD, record=where) from error


def _is_string(kind: pyarrow.DataType) -> bool:
  return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _json_lines(path: str | os.PathLike, start: int, stop: int | None) -> Iterator[WebDocument | Reject]:
  if start not in (0, 1) or stop not in (None, 0, 1):
    raise InputError(path, f"range {start} to {stop} of a file of JSON lines", "It is one piece: take it from units().")
  if start == 1 or stop == 0:
    return
  with _open_lines(path) as stream:
    for number, line in enumerate(_lines(path, stream), 1):
      if not line.strip():
        continue
      record = _json_object(line, f"line {number}")
      if number == 1:
        _check_first(path, record)
      elif isinstance(record, Reject) and not line.endswith(b"\n"):
        problem = f"the last line is cut off ({record.detail})"
        raise InputError(path, problem, _DOWNLOAD, record=record.record)
      yield record if isinstance(record, Reject) else _document(record, f"line {number}")


def _json_object(line: bytes, where: str) -> dict | Reject:
  try:
    fields = json.loads(line)
  except UnicodeDecodeError as error:
    return Reject("not_utf8", where, str(error))
  except (ValueError, RecursionError) as error:
    return Reject("bad_json", where, str(error))
  return fields if isinstance(fields, dict) else Reject("bad_json", where, type(fields).__name__)


def _check_first(path: str | os.PathLike, record: dict | Reject) -> None:
  """The first line says whether this is a file of web documents at all."""
  if isinstance(record, Reject):
    problem = f"neither Parquet nor JSON lines ({record.detail})"
    raise InputError(path, problem, _SCHEMA, record=record.record)
  if missing := [name for name in _NEEDED if name not in record]:
    problem = f"no field {', '.join(missing)}; it has {', '.join(sorted(record))}"
    raise InputError(path, problem, _SCHEMA, record="line 1")


def _open_lines(path: str | os.PathLike) -> io.BufferedReader:
  if _magic(path) != _ZSTD:
    return compressed.open_binary(path)
  return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(os.fspath(path)), "zstd"), 1 << 18)


def _lines(path: str | os.PathLike, stream: io.BufferedReader) -> Iterator[bytes]:
  try:
    yield from stream
  except OSError as error:
    raise InputError(path, f"truncated or damaged zstd data ({error})", _DOWNLOAD) from error


def _document(fields: dict, record: str) -> WebDocument | Reject:
  values = {}
  for name in _COLUMNS:
    value = fields.get(name)
    if isinstance(value, bytes):
      try:
        value = value.decode("utf-8")
      except UnicodeDecodeError as error:
        return Reject("not_utf8", record, f"{name}: {error}")
    if value is None and name not in _NEEDED:
      value = ""
    if not isinstance(value, str) or (name in _NEEDED and not value):
      return Reject("no_text", record, f"{name}: {type(value).__name__}")
    # A lone surrogate (`\ud800` in JSON) is no character and cannot be written again.
    values[name] = value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
  return WebDocument(**values)
