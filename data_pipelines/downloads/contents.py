"""What is known of the tables in a file before it is fetched, and whether it holds that.

A checksum says that a file came whole; this says that it is the one that a figure was published on.
"""

import csv
import dataclasses
import gzip
import io
import pathlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

_TABLES = (".csv", ".tsv")
_LONGEST_FIELD = 1 << 24
_DAMAGED = (
    OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, UnicodeDecodeError, csv.Error,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Contents:
  """The tables of a file: the file itself, or the .csv and .tsv in a .zip or .tar.gz.

  Attributes:
    source: who says so.
    tables: how many there are, None if unknown.
    rows: of all of them, headers left out; None if unknown.
    rows_of: by the table's file name, of those that are known.
    header: whether the first line of a table is one.
  """

  source: str
  tables: int | None = None
  rows: int | None = None
  rows_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
  header: bool = True

  def __str__(self) -> str:
    totals = {"tables": self.tables, "rows": self.rows}
    known = [f"{number:,} {what}" for what, number in totals.items() if number is not None]
    known += [f"{name} {rows:,} rows" for name, rows in self.rows_of.items()]
    return f"{', '.join(known)} ({self.source})"

  def differences(self, path: pathlib.Path) -> list[str]:
    """In words, where a file differs from what is known of it; empty if it does not."""
    try:
      found = {name: _count_rows(stream, self.header) for name, stream in _tables(path)}
    except _DAMAGED as error:
      return [f"cannot be read ({error or type(error).__name__})"]
    problems = []
    if self.tables not in (None, len(found)):
      problems.append(f"holds {len(found):,} tables, {self.tables:,} expected")
    if self.rows not in (None, sum(found.values())):
      problems.append(f"holds {sum(found.values()):,} rows, {self.rows:,} expected")
    for name, rows in self.rows_of.items():
      if name not in found:
        problems.append(f"holds no {name}")
      elif found[name] != rows:
        problems.append(f"{name} has {found[name]:,} rows, {rows:,} expected")
    return problems


def _tables(path: pathlib.Path) -> Iterator[tuple[str, BinaryIO]]:
  """Name without folders and stream of each table, one after the other. `._NAME` are macOS's notes, no tables."""
  is_table = lambda name: name.endswith(_TABLES) and not pathlib.PurePath(name).name.startswith("._")
  if path.suffix == ".zip":
    with zipfile.ZipFile(path) as archive:
      for name in filter(is_table, archive.namelist()):
        with archive.open(name) as stream:
          yield pathlib.PurePath(name).name, stream
  elif path.name.endswith((".tar.gz", ".tgz")):
    with tarfile.open(path, "r:gz") as archive:
      for member in archive:
        if member.isfile() and is_table(member.name):
          yield pathlib.PurePath(member.name).name, archive.extractfile(member)
  else:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
      yield path.name.removesuffix(".gz"), stream


def _count_rows(stream: BinaryIO, header: bool) -> int:
  csv.field_size_limit(_LONGEST_FIELD)
  lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
  return max(0, sum(1 for row in csv.reader(lines) if row) - header)
