"""FASTA files of any size: one record in memory at a time, and byte ranges of a file for tasks that share it.

A plain reader: unlike the indexing libraries it writes nothing beside the file, and it sees truncated gzip. It cuts
blocks of whole lines at `>` and leaves the letters to `bytes.translate`.
"""

import operator
import os
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from data_pipelines.errors import InputError
from data_pipelines.formats import ranges

_WHITE_SPACE = string.whitespace.encode()
_LETTERS = string.ascii_letters.encode() + b"*-."  # Stops of proteins, gaps of alignments.
# To upper case; what is no letter to zero, which is found faster than in an alphabet.
_UPPER = bytes(c if c in _LETTERS else 0 for c in range(256)).upper()
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINES = re.compile(rb"(?:[ \t\r\v\f]*(?:\n|\Z))*")
_ends_line = operator.methodcaller("endswith", b"\n")


class FastaRecord(NamedTuple):
  """One record.

  Attributes:
    name: the header's first word (`lcl|NC_000001.1_cds_NP_1.1_1` as it stands).
    description: the rest of the header line.
    sequence: upper case (soft masks are dropped); `*` and gaps are kept.
  """

  name: str
  description: str
  sequence: str


def read_fasta(path: str | os.PathLike, *, start: int = 0, stop: int | None = None) -> Iterator[FastaRecord]:
  """Yields the records of a FASTA file, plain or gzip, in order.

  Args:
    path: the file.
    start, stop: only the records whose header line belongs to this range of bytes on disk; `ranges.cuts` gives ranges
      that together hold every record once. None: to the file's end.

  Raises:
    InputError: the file is missing, empty, damaged or does not begin with `>`; a record has no name, no letters, or
      something other than letters, `*`, `-` and `.` in its sequence; a range of a gzip file that is not BGZF.
  """
  header: bytes | None = None
  pieces: list[str] = []
  block = b""
  for block, ours in ranges.read_lines(path, start, stop):
    if header is None:
      if start:
        block = block[_first_record(block) :]
      else:
        block = block.removeprefix(_BYTE_ORDER_MARK)
        block = block[_BLANK_LINES.match(block).end() :]
        if block and not block.startswith(b">"):
          problem = f"does not begin with '>' but with {block[:20]!r}"
          raise InputError(path, problem, "FASTA is expected: a line '>name description', then lines of letters.")
      if not ours and (start or block):
        return
      if not block:
        continue
    end = len(block) if ours else _first_record(block)
    head, *records = _cut(block if ours else block[:end])
    if header is not None:
      pieces.append(parse_letters(path, header, head))
    for record in records:
      if header is not None:
        yield _record(path, header, pieces)
      header, _, body = record.partition(b"\n")
      pieces = [parse_letters(path, header, body)]
    if end < len(block):
      break
  if header is not None:
    yield _record(path, header, pieces)
  elif not start and stop != 0:
    raise InputError(path, "holds blank lines only", "Download or export it again.")


def _first_record(block: bytes) -> int:
  """Where the first record of whole lines begins; their length where none does."""
  return 0 if block.startswith(b">") else block.find(b"\n>") + 1 or len(block)


def _cut(block: bytes) -> list[bytes]:
  """Whole lines cut at the `>` that begin a line: what is before the first, then each record without its `>`."""
  records = block.split(b">")  # One byte is found several times faster than two.
  if records[0][-1:] in b"\n" and all(map(_ends_line, records[1:-1])):
    return records
  return (b"\n" + block).split(b"\n>")


def parse_letters(path: str | os.PathLike, header: bytes, data: bytes) -> str:
  """Letters in upper case, without white space.

  Args:
    path: the file, for the message.
    header: the record's header, for the message.
    data: what the file holds.

  Raises:
    InputError: there is something other than letters, `*`, `-`, `.` and white space.
  """
  letters = data.translate(_UPPER, _WHITE_SPACE)
  if 0 in letters:
    problem = f"{data.translate(None, _LETTERS + _WHITE_SPACE)[:1]!r} in the sequence is no letter"
    remedy = "Sequences are letters, '*', '-' and '.': check that the file is not damaged."
    raise InputError(path, problem, remedy, record=split_header(header)[0][:200])
  return letters.decode("ascii")


def _record(path: str | os.PathLike, header: bytes, pieces: Sequence[str]) -> FastaRecord:
  name, description = split_header(header)
  sequence = "".join(pieces)
  if not name:
    raise InputError(path, "a header without a name", "Give every '>' line a name.", record=f">{description}")
  if not sequence:
    raise InputError(path, "a record without a sequence", "Remove the record or complete the file.", record=name)
  return FastaRecord(name, description, sequence)


def split_header(header: bytes) -> tuple[str, str]:
  """Name and description of a header without its `>`; both are "" for one of white space."""
  words = header.decode("utf-8", "replace").split(None, 1)
  return (words[0], words[1].rstrip()) if len(words) == 2 else (words[0] if words else "", "")


def read_fasta_dict(path: str | os.PathLike) -> dict[str, str]:
  """Name to sequence, for a file that fits in memory.

  Raises:
    InputError: as `read_fasta`, and where two records share a name.
  """
  sequences: dict[str, str] = {}
  for record in read_fasta(path):
    if record.name in sequences:
      raise InputError(path, "two records with this name", "Rename or remove one of them.", record=record.name)
    sequences[record.name] = record.sequence
  return sequences


def examples(names: Iterable[str]) -> str:
  """A few of the names and how many there are, for messages about files that do not fit together."""
  names = list(names)
  return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def read_records_of(
    annotation: str | os.PathLike, path: str | os.PathLike, kind: str, wanted: Iterable[list[str]]
) -> dict[str, str]:
  """Name to sequence of the file with an annotation's transcripts or proteins.

  Args:
    annotation: the file that names them.
    path: the FASTA file.
    kind: `transcript` or `protein`, for the message.
    wanted: for each one annotated, the names under which its record may stand.

  Raises:
    InputError: as `read_fasta_dict`, and where not one is found: the file belongs to another annotation.
  """
  records = read_fasta_dict(path)
  missing = []
  for names in wanted:
    if not records.keys().isdisjoint(names):
      return records
    missing += names[:1]
  problem = f"holds {examples(records)}, but no {kind} of {os.fspath(annotation)}"
  problem += f", which names {examples(missing) or 'none'}"
  raise InputError(path, problem, f"Give the {kind}s of the same annotation.")
