"""Tables in text, comma- or tab-separated, plain or gzip: one row in memory at a time."""

import csv
import os
from collections.abc import Iterator, Sequence

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed

DELIMITERS = {"csv": ",", "tsv": "\t"}
_BYTE_ORDER_MARK = "\ufeff"
csv.field_size_limit(1 << 30)  # the module's limit, 128 KiB, is less than many genes; it has none but a global one


def read_table(
    path: str | os.PathLike, format: str, columns: Sequence[str], *, header: bool = True
) -> Iterator[tuple[int, tuple[str, ...]]]:
  """Yields (line number, the cells of the columns asked for) of every row; blank lines are left out.

  Args:
    path: the file.
    format: `csv` (cells may be quoted) or `tsv` (quotes are letters like any other).
    columns: names in the first line.
    header: False where the first line is a row like the others; columns are then called `1`, `2`, ….

  Raises:
    InputError: the file is missing or damaged; lacks a column or has it twice; a row has more or fewer cells than the
      first line.
  """
  with compressed.open_text(path) as stream:
    quoting = csv.QUOTE_MINIMAL if format == "csv" else csv.QUOTE_NONE
    reader = csv.reader(stream, delimiter=DELIMITERS[format], quoting=quoting, strict=True)
    names: list[str] | None = None
    try:
      for row in reader:
        if not row:
          continue
        if names is None:
          row[0] = row[0].removeprefix(_BYTE_ORDER_MARK)
          names = row if header else [str(i) for i in range(1, len(row) + 1)]
          places = [_place(path, names, column) for column in columns]
          if header:
            continue
        if len(row) != len(names):
          problem = f"{len(row)} cells where the first line has {len(names)}"
          remedy = "Check the format (csv or tsv), and that the file is complete."
          raise InputError(path, problem, remedy, record=f"line {reader.line_num}")
        yield reader.line_num, tuple(row[place] for place in places)
    except csv.Error as error:
      problem, remedy = f"no {format} ({error})", "Check the format (csv or tsv), and that the file is complete."
      raise InputError(path, problem, remedy, record=f"line {reader.line_num}") from error
    if names is None:
      raise InputError(path, "holds blank lines only", "Download or export it again.")


def _place(path: str | os.PathLike, names: list[str], column: str) -> int:
  if (found := names.count(column)) == 1:
    return names.index(column)
  problem = f"has no column {column!r}" if not found else f"has {found} columns {column!r}"
  raise InputError(path, f"{problem}; its columns are {', '.join(map(repr, names))}", "Name a column of the file.")
