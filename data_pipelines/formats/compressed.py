"""Opening input files, plain or gzip, so that a damaged one is named and never read as a shorter one."""

import gzip
import io
import os
import zlib

from data_pipelines.errors import InputError

_GZIP = b"\x1f\x8b"
_OTHER_COMPRESSION = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_BUFFER = 1 << 18


class _CheckedReader(io.RawIOBase):
  """A binary stream whose read errors become `InputError`s with the file's name."""

  def __init__(self, stream: io.BufferedIOBase, path: str | os.PathLike):
    self._stream = stream
    self._path = path

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return self._stream.seekable()

  def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
    return self._stream.seek(offset, whence)

  def readinto(self, buffer) -> int:
    try:
      return self._stream.readinto(buffer)
    except EOFError:
      raise InputError(self._path, "the gzip data end too early", "The file is truncated: download it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
      problem = f"the gzip data are corrupt ({error})"
      raise InputError(self._path, problem, "Download the file again.") from error
    except OSError as error:
      raise InputError(self._path, f"cannot be read ({error})", "Check the disk or the network mount.") from error

  def close(self) -> None:
    self._stream.close()
    super().close()


def _open(path: str | os.PathLike) -> io.BufferedReader:
  try:
    return open(path, "rb")
  except OSError as error:
    raise InputError(path, f"cannot be opened ({error.strerror})", "Check the path and its permissions.") from error


def open_at(path: str | os.PathLike, offset: int = 0) -> io.BufferedReader:
  """Opens a file for reading its bytes as they lie on the disk, from `offset` on.

  Raises:
    InputError: the file is missing; while reading, also where the disk fails.
  """
  stream = _open(path)
  stream.seek(offset)
  return io.BufferedReader(_CheckedReader(stream, path), _BUFFER)


def open_binary(path: str | os.PathLike) -> io.BufferedReader:
  """Opens a file for reading bytes; gzip (also of several members, such as BGZF) is told by its first bytes.

  Raises:
    InputError: the file is missing or empty, or compressed in another way; while reading, also where gzip data are
      truncated or corrupt.
  """
  stream = _open(path)
  start = stream.peek(8)[:8]
  for magic, name in _OTHER_COMPRESSION.items():
    if start.startswith(magic):
      stream.close()
      raise InputError(path, f"{name} data", "Decompress the file, or compress it with gzip.")
  # GzipFile does not close a stream it was handed; one that it opens itself it does.
  if start.startswith(_GZIP):
    stream.close()
    stream = gzip.open(path, "rb")
  reader = io.BufferedReader(_CheckedReader(stream, path), _BUFFER)
  try:
    empty = not reader.peek(1)
  except InputError:
    reader.close()
    raise
  if empty:
    reader.close()
    raise InputError(path, "the file is empty", "Download or export it again.")
  return reader


def open_text(path: str | os.PathLike) -> io.TextIOWrapper:
  """Opens a text file, plain or gzip; lines end in LF whatever they end in on disk.

  Bytes that are no UTF-8 (Latin-1 names of authors in old files) become U+FFFD, which no sequence alphabet has.

  Raises:
    InputError: as `open_binary`, and where the file begins like a binary one.
  """
  reader = open_binary(path)
  if b"\0" in reader.peek():
    reader.close()
    raise InputError(path, "binary data where text was expected", "Check that this is the file you meant.")
  return io.TextIOWrapper(reader, encoding="utf-8", errors="replace")
