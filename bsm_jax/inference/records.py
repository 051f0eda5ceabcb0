"""Files of sequences for the command lines: FASTA, and CSV or TSV with a column for each sequence; plain or gzip."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from etils import epath

from bsm_jax import table_files
from bsm_jax.inference.documents import Document, InputError
from bsm_jax.tokenizer import Modality

_FASTA = (".fasta", ".fa", ".fna", ".ffn", ".frn", ".faa")


class Record(NamedTuple):
  """A named document."""

  name: str
  document: Document


def kind_of(path: str) -> str:
  """The suffix that says what a file is, without `.gz`.

  Raises:
    InputError: it is none that is known.
  """
  suffix = table_files.suffix(path)
  if suffix not in _FASTA and suffix not in table_files.DELIMITERS:
    known = ", ".join([*_FASTA, *table_files.DELIMITERS])
    raise InputError(f"{path}: the name must end in one of {known} (and .gz), which say what the file is")
  return suffix


def digest(path: str) -> str:
  """sha256 of a file. Raises InputError if it cannot be read."""
  try:
    with epath.Path(path).open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error}") from None


def read(
    path: str, *, modality: Modality | None = None, columns: Mapping[str, Modality] | None = None, id_column: str = "id"
) -> Iterator[Record]:
  """The records of a file, one in memory at a time.

  Args:
    path: the file, local or gs://; its name says what it is.
    modality: of all sequences of a FASTA file, or of the column `sequence` of a table.
    columns: of a table: the columns that hold sequences, in the order in which the model shall see them.
    id_column: of a table: the column with names; where there is none, records are named by their line.

  Raises:
    InputError: the file cannot be read or is damaged; it holds no record, a record without a sequence, or lacks a
      column; a modality is missing.
  """
  suffix = kind_of(path)
  if columns and suffix in _FASTA:
    raise InputError(f"{path}: a FASTA file has no columns: give --modality, or a CSV or TSV file")
  if not columns:
    if modality is None:
      raise InputError(f"{path}: say what its sequences are: --modality=dna|rna|protein")
    columns = {"sequence": modality}
  is_empty = True
  with table_files.open_lines(path, InputError) as lines:
    if suffix in _FASTA:
      records = _read_fasta(path, lines, modality)
    else:
      records = _read_table(table_files.Table(path, lines, InputError), columns, id_column)
    for record in records:
      is_empty = False
      yield record
  if is_empty:
    raise InputError(f"{path} holds no record")


def _read_fasta(path: str, text: table_files.Lines, modality: Modality) -> Iterator[Record]:
  name, pieces = None, []

  def record() -> Record:
    if not pieces:
      raise InputError(f"{path}: record {name!r} has no sequence: leave it out")
    return Record(name, ((modality, "".join(pieces)),))

  for number, line in enumerate(text, 1):
    line = line.strip()
    if line.startswith(">"):
      if name is not None:
        yield record()
      words = line[1:].split(maxsplit=1)
      if not words:
        raise InputError(f"{path}: the header in line {number} has no name")
      name, pieces = words[0], []
    elif line:
      if name is None:
        raise InputError(f"{path}: line {number} should be a header, which begins with '>': is this a FASTA file?")
      pieces.append("".join(line.split()))
  if name is not None:
    yield record()


def _read_table(table: table_files.Table, columns: Mapping[str, Modality], id_column: str) -> Iterator[Record]:
  table.require(list(columns), "Name those that hold sequences: --columns=COLUMN=dna|rna|protein,…")
  for number, row in table:
    name = row.get(id_column) or f"line_{number}"
    document = tuple((modality, "".join(row[column].split())) for column, modality in columns.items())
    for (modality, letters), column in zip(document, columns):
      if not letters:
        raise InputError(
            f"{table.path}, line {number} ({name}): no {modality.name.lower()} in column {column!r}: leave it out"
        )
    yield Record(name, document)
