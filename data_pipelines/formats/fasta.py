"""FASTA files of any size: one record in memory at a time.

A plain reader: unlike the indexing libraries it writes nothing beside the file, and it sees truncated gzip. It cuts
blocks of whole lines at `>` and leaves the letters to `bytes.translate`, so that decompression takes most of the time.
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed

_BLOCK = 1 << 20
_UPPER = bytes(range(256)).upper()
_WHITE_SPACE = b" \t\r\n\v\f"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ*-."  # Stops of proteins, gaps of alignments.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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


def read_fasta(path: str | os.PathLike) -> Iterator[FastaRecord]:
  """Yields the records of a FASTA file, plain or gzip, in order.

  Raises:
    InputError: the file is missing, empty, damaged or does not begin with `>`; a record has no name, no letters, or
      something other than letters, `*`, `-` and `.` in its sequence.
  """
  with compressed.open_binary(path) as stream:
    header: bytes | None = None
    pieces: list[bytes] = []
    # Blocks end where lines end, so that a header is never cut in two.
    while block := stream.read(_BLOCK) + stream.readline():
      if header is None:
        block = block.removeprefix(_BYTE_ORDER_MARK).lstrip(_WHITE_SPACE)
        if not block:
          continue
        if not block.startswith(b">"):
          problem = f"does not begin with '>' but with {block[:20]!r}"
          raise InputError(path, problem, "FASTA is expected: a line '>name description', then lines of letters.")
      head, *records = (b"\n" + block).split(b"\n>")
      pieces.append(head.translate(_UPPER, _WHITE_SPACE))
      for record in records:
        if header is not None:
          yield _record(path, header, b"".join(pieces))
        header, _, body = record.partition(b"\n")
        pieces = [body.translate(_UPPER, _WHITE_SPACE)]
    if header is None:
      raise InputError(path, "holds blank lines only", "Download or export it again.")
    yield _record(path, header, b"".join(pieces))


def _record(path: str | os.PathLike, header: bytes, letters: bytes) -> FastaRecord:
  name, description, *_ = *header.decode("utf-8", "replace").split(None, 1), "", ""
  description = description.rstrip()
  if not name:
    raise InputError(path, "a header without a name", "Give every '>' line a name.", record=f">{description}")
  if not letters:
    raise InputError(path, "a record without a sequence", "Remove the record or complete the file.", record=name)
  if not letters.isalpha() and (strange := letters.translate(None, _LETTERS)):
    problem = f"{strange[:1]!r} in the sequence is no letter"
    raise InputError(path, problem, "Check that the file is FASTA and not damaged.", record=name)
  return FastaRecord(name, description, letters.decode("ascii"))


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
