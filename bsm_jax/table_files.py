"""Text files and tables of sequences as they come: plain or gzip, commas or tabs by the name.

Every error names file, line and remedy, and is of the class that the caller gives.
"""

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence

from etils import epath

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LONGEST_FIELD = 1 << 24  # Python's csv stops at 131,072 letters, which some RNAs and genes exceed.


def suffix(path: str) -> str:
  """The suffix that says what a file is, in lower case and without `.gz`."""
  return epath.Path(path.removesuffix(".gz")).suffix.lower()


class Lines:
  """The lines of a text. `number`: of the last line that was read, from 1; 0 before the first."""

  def __init__(self, text: io.TextIOBase):
    self._text, self.number = text, 0

  def __iter__(self) -> Iterator[str]:
    return self

  def __next__(self) -> str:
    line = next(self._text)
    self.number += 1
    return line


@contextlib.contextmanager
def open_lines(path: str, error: type[ValueError]) -> Iterator[Lines]:
  """Opens a text file, local or gs://, plain or gzip (by its name).

  Args:
    path: the file.
    error: raised where it cannot be read, also later, inside the `with`.
  """
  lines = None
  try:
    with epath.Path(path).open("rb") as raw:
      stream = gzip.open(raw) if path.endswith(".gz") else raw
      lines = Lines(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
      yield lines
  except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as reason:
    reason_text = str(reason) or type(reason).__name__
    if lines is None:
      raise error(f"{path} cannot be read: {reason_text}") from reason
    place = f" beyond line {lines.number}" if lines.number else ""
    raise error(f"{path} cannot be read{place}: {reason_text}. It is damaged or cut off: get it again") from reason


class Table:
  """A table whose first line is its header. Attributes: `path`; `header`, the names of its columns."""

  def __init__(self, path: str, lines: Lines, error: type[ValueError]):
    """Args: the file, whose name ends in one of `DELIMITERS` (and .gz); its lines; raised for what is wrong."""
    csv.field_size_limit(_LONGEST_FIELD)
    self._reader = csv.DictReader(lines, delimiter=DELIMITERS[suffix(path)], strict=True)
    self.path, self._error = path, error
    self.header = list(self._reader.fieldnames or ())

  def require(self, columns: Sequence[str], remedy: str) -> None:
    """Raises the table's error, which ends with `remedy`, if a column is missing or is there twice."""
    missing = [name for name in columns if name not in self.header]
    twice = [name for name in columns if self.header.count(name) > 1]
    if missing or twice:
      what = "no column" if missing else "more than one column"
      raise self._error(
          f"{self.path}, line 1: {what} {', '.join(map(repr, missing or twice))}; there are:"
          f" {', '.join(self.header) or 'none'}. {remedy} (Fields of a .csv are separated by commas, of a"
          " .tsv by tabs.)"
      )

  def __iter__(self) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Number of its last line and fields by column, for each row."""
    for row in self._reader:
      if None in row or None in row.values():
        raise self._error(
            f"{self.path}, line {self._reader.line_num}: not as many fields as the header's {len(self.header)}: mend or"
            " remove the line, or get the file again"
        )
      yield self._reader.line_num, row


@contextlib.contextmanager
def open_table(path: str, error: type[ValueError]) -> Iterator[Table]:
  """Opens a file as a `Table`; see `open_lines`."""
  if suffix(path) not in DELIMITERS:
    raise error(f"{path}: the name must end in {' or '.join(DELIMITERS)} (and .gz), which say what the file is")
  with open_lines(path, error) as lines:
    yield Table(path, lines, error)
