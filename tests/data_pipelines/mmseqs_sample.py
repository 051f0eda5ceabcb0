"""Writes small MMseqs2 databases, byte for byte as MMseqs2 does."""

import pathlib
from collections.abc import Mapping

import pyarrow

AMINO_ACIDS, NUCLEOTIDES, PROFILES, HEADERS = 0, 1, 2, 12
COMPRESSED, PADDED = 1 << 31, 1 << 19


def entry(value: bytes, compress: bool) -> tuple[bytes, int]:
  """An entry and the length that the index gives for it."""
  if not compress:
    return value + b"\0", len(value) + 1
  if len(value) < 60:  # MMseqs2 leaves short ones as they are.
    return len(value).to_bytes(4, "little") + value + b"\xff", len(value) + 1
  data = pyarrow.compress(value, codec="zstd", asbytes=True)
  return len(data).to_bytes(4, "little") + data + b"\0", len(value) + 1


def write_db(
    path: pathlib.Path, values: Mapping[int, bytes], kind: int = AMINO_ACIDS, *, compress: bool = False, files: int = 0
) -> pathlib.Path:
  """Writes the data file (or so many of them), index and type."""
  data, lines = [b""], []
  for number, (key, value) in enumerate(values.items()):
    written, length = entry(value, compress)
    lines.append(b"%d\t%d\t%d\n" % (key, sum(map(len, data)), length))
    if files and number % (len(values) // files + 1) == 0 and number:
      data.append(b"")
    data[-1] += written
  for number, content in enumerate(data):
    path.with_name(path.name + (f".{number}" if files else "")).write_bytes(content)
  path.with_name(path.name + ".index").write_bytes(b"".join(lines))
  kind |= COMPRESSED if compress else 0
  path.with_name(path.name + ".dbtype").write_bytes(kind.to_bytes(4, "little"))
  return path


def write_sequences(
    path: pathlib.Path, records: Mapping[int, tuple[str, str]], *, compress: bool = False, files: int = 0
) -> pathlib.Path:
  """Writes a database of key → (header, sequence), and the one of its headers."""
  sequences = {key: f"{letters}\n".encode() for key, (_, letters) in records.items()}
  headers = {key: f"{header}\n".encode() for key, (header, _) in records.items()}
  write_db(path.with_name(path.name + "_h"), headers, HEADERS, compress=compress, files=files)
  return write_db(path, sequences, compress=compress, files=files)
