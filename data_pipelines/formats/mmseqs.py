"""MMseqs2 sequence databases, and the tables that they are made of: the two forms in which ColabFoldDB is published.

A database NAME is a data file (or NAME.0, NAME.1, …, which count as one) of entries that end in a zero byte, each a
sequence and a line end; `NAME.index`, a line `key<tab>offset<tab>length` an entry; `NAME.dbtype`; and a database
`NAME_h` of headers under the same keys (https://github.com/soedinglab/MMseqs2/wiki, "MMseqs2 database format"). Where
the type's highest bit is set, an entry is four bytes of length, that many bytes of zstd data and a zero, or of letters
and 255; the index then holds the length of the letters and their zero.

Of ColabFoldDB (`colabfold_envdb_202108_db`, `uniref30_2302_db`) read NAME_seq: every member of every cluster, as
letters. NAME itself has one entry a cluster, the members' consensus, which no organism makes; in the prebuilt form its
letters are padded codes for GPUs. The older form are tables `key<tab>value`: NAME_seq.tsv likewise has the members,
NAME.tsv the consensus, NAME_h.tsv the headers of both, NAME_aln.tsv alignments.
"""

import bisect
import contextlib
import itertools
import os
import re
from collections.abc import Iterator

import pyarrow

from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.formats import compressed, fasta, ranges

_AMINO_ACIDS, _NUCLEOTIDES = 0, 1
_OTHER_TYPES = {
    2: "profiles", 5: "alignments", 6: "clusters", 7: "prefilter results", 9: "a precomputed index", 11: "alignments",
    12: "headers or other text",
}  # fmt: skip
_PADDED, _COMPRESSED = 1 << 19, 1 << 31
_INDEX_LINE = re.compile(rb"(\d{1,20})\t(\d{1,20})\t(\d{1,20})")
_DAMAGED = "The database is damaged or incomplete: download and unpack it again."
# Longer than any protein and any entry that MMseqs2 writes by default; a damaged length is not to fill the memory.
_LONGEST = 1 << 28


def modality(path: str | os.PathLike) -> Modality:
  """What a database holds: `Modality.PROTEIN`, or `Modality.DNA` for nucleotides.

  Raises:
    InputError: it is no database of sequences, or one whose letters are padded codes.
  """
  kind = _type(path)
  number, name = kind & 0xFFFF, os.fspath(path)
  if number not in (_AMINO_ACIDS, _NUCLEOTIDES):
    problem = f"a database of {_OTHER_TYPES.get(number, f'type {number}')}, not of sequences"
    raise InputError(path, problem, f"Give the database of the members' sequences, usually {name}_seq.")
  if kind & _PADDED:
    remedy = f"Give the database of the members' sequences, usually {name}_seq, or FASTA made by mmseqs convert2fasta."
    raise InputError(path, "the letters are padded codes for GPUs", remedy)
  return Modality.PROTEIN if number == _AMINO_ACIDS else Modality.DNA


def entries(path: str | os.PathLike) -> int:
  """How many sequences a database or a table (`*.tsv`) holds.

  Raises:
    InputError: a file is missing or empty.
  """
  return sum(block.count(b"\n") + (block[-1:] != b"\n") for block, _ in ranges.read_lines(_lines_file(path)))


def cuts(path: str | os.PathLike, bytes_per_range: int) -> list[ranges.Range]:
  """Ranges for `read_mmseqs_db` or `read_colabfold_tsv` that together hold every entry once.

  Args:
    path: the database, or the table (`*.tsv`).
    bytes_per_range: of data (on disk); entries are not counted, and those at one end may be longer than at the other.

  Raises:
    InputError: a file is missing or empty.
  """
  lines = _lines_file(path)
  with compressed.open_binary(lines):
    size = os.path.getsize(lines)
  if lines != os.fspath(path):
    with contextlib.closing(_Data(path)) as data:
      bytes_per_range = max(1, bytes_per_range * size // max(1, data.size))
  return ranges.even_cuts(size, bytes_per_range)


def _lines_file(path: str | os.PathLike) -> str:
  """The file whose lines are the entries: a table itself, a database's index."""
  name = os.fspath(path)
  if name.endswith(".tsv"):
    return name
  if not os.path.exists(f"{name}.index"):
    remedy = "Give the database's name without suffix, unpacked: beside it lie NAME.index and NAME.dbtype."
    raise InputError(path, "no MMseqs2 database: there is no file of this name and .index", remedy)
  return f"{name}.index"


def read_mmseqs_db(
    path: str | os.PathLike, *, start: int = 0, stop: int | None = None, headers: bool = True
) -> Iterator[fasta.FastaRecord]:
  """Yields the sequences of an MMseqs2 database in the order of its index, whose size does not matter.

  Args:
    path: the database's name, without suffix.
    start, stop: only the entries of this range of bytes of the index, from `cuts`; None: to its end.
    headers: take names and descriptions from NAME_h, for which both indexes must be sorted by key (as MMseqs2 writes
      them); False: the name is the key.

  Raises:
    InputError: a file is missing or damaged, the index does not fit the data or the headers, or `modality` refuses it.
  """
  modality(path)
  with contextlib.ExitStack() as open_files:
    sequences = _Database(path)
    open_files.callback(sequences.close)
    names = None
    if headers:
      names = _Database(f"{os.fspath(path)}_h")
      open_files.callback(names.close)
      lines = _Ascending(names.index)
    for key, line in _keyed_lines(sequences.index, start, stop):
      header = names.entry(key, lines.find(key, path)) if names else b"%d" % key
      yield _record(path, key, header, sequences.entry(key, line))


def read_colabfold_tsv(
    path: str | os.PathLike, *, start: int = 0, stop: int | None = None, headers: bool = True
) -> Iterator[fasta.FastaRecord]:
  """Yields the sequences of one of ColabFoldDB's older tables, NAME_seq.tsv or NAME.tsv.

  Args:
    path: the table.
    start, stop: only the lines of this range of bytes, from `cuts`; None: to the end.
    headers: take names and descriptions from NAME_h.tsv, for which both must be sorted by key; False: the name is the
      key.

  Raises:
    InputError: a file is missing or damaged, the table is not one of sequences, or its keys are not in NAME_h.tsv.
  """
  name = os.fspath(path)
  if not name.endswith(".tsv") or name.endswith(("_h.tsv", "_aln.tsv")):
    raise InputError(path, "no table of sequences", "Give NAME_seq.tsv, the sequences of all members.")
  names = _Ascending(name.removesuffix(".tsv").removesuffix("_seq") + "_h.tsv") if headers else None
  for key, line in _keyed_lines(name, start, stop):
    header = names.find(key, path).partition(b"\t")[2] if names else b"%d" % key
    yield _record(path, key, header, line.partition(b"\t")[2])


def _record(path: str | os.PathLike, key: int, header: bytes, data: bytes) -> fasta.FastaRecord:
  name, description = fasta.split_header(header)
  sequence = fasta.parse_letters(path, header, data.removesuffix(b"\n"))
  if not name:
    raise InputError(path, "the header is empty", _DAMAGED, record=f"key {key}")
  if not sequence:
    raise InputError(path, "an entry without a sequence", _DAMAGED, record=f"key {key}, {name}")
  return fasta.FastaRecord(name, description, sequence)


def _type(path: str | os.PathLike) -> int:
  _lines_file(path)
  with compressed.open_at(f"{os.fspath(path)}.dbtype") as stream:
    data = stream.read(5)
  if len(data) != 4:
    raise InputError(f"{os.fspath(path)}.dbtype", "does not hold four bytes", _DAMAGED)
  return int.from_bytes(data, "little")


def _keyed_lines(path: str, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
  """The lines of a range, without their ends, and the numbers that they begin with."""
  for block, ours in ranges.read_lines(path, start, stop):
    if not ours:
      return
    for line in block.removesuffix(b"\n").split(b"\n"):
      key, tab, _ = line.partition(b"\t")
      if not (tab and key.isdigit() and len(key) <= 20):
        remedy = "The file is damaged, or no index or table of MMseqs2: download it again."
        raise InputError(path, "a line does not begin with a number and a tab", remedy, record=repr(line[:60]))
      yield int(key), line


class _Ascending:
  """The lines of a file that is sorted by key, found one after the other."""

  def __init__(self, path: str):
    self._path = path
    self._lines: Iterator[tuple[int, bytes]] | None = None
    self._last = -1

  def find(self, key: int, asked_by: str | os.PathLike) -> bytes:
    """The line of `key`, which must be greater than the key before.

    Raises:
      InputError: there is none, or one of the files is not sorted.
    """
    if key <= self._last:
      remedy = "Sort its lines by key (sort -n), or read without headers: then the names are keys."
      raise InputError(asked_by, f"key {key} stands behind key {self._last}", remedy)
    if self._lines is None:
      self._lines = _keyed_lines(self._path, self._place(key))
    self._last = key
    # The first line may be cut: none of it belongs to a range that begins within it.
    for found, line in self._lines:
      if found == key:
        return line
      if found > key:
        break
    remedy = f"Both must be of one database and sorted by key. {_DAMAGED}"
    raise InputError(self._path, f"has no line for a key of {os.fspath(asked_by)}", remedy, record=f"key {key}")

  def _place(self, key: int) -> int:
    """A byte shortly before the line of `key`."""
    with compressed.open_binary(self._path):
      low, high = 0, os.path.getsize(self._path)
    while high - low > 1 << 14:
      middle = (low + high) // 2
      found = next(_keyed_lines(self._path, middle, high), None)
      if found is not None and found[0] < key:
        low = middle
      else:
        high = middle
    return low


class _Database:
  """The entries of a database, by the lines of its index."""

  def __init__(self, path: str | os.PathLike):
    self.index = _lines_file(path)
    self._path = path
    self._is_compressed = bool(_type(path) & _COMPRESSED)
    self._data = _Data(path)

  def close(self) -> None:
    self._data.close()

  def entry(self, key: int, line: bytes) -> bytes:
    """The entry at a line of the index, without its zero byte.

    Raises:
      InputError: the line cannot be read or does not fit the data; the entry is damaged.
    """
    record = f"key {key}"
    match = _INDEX_LINE.fullmatch(line)
    if not match:
      raise InputError(self.index, "a line is not key, offset and length", _DAMAGED, record=record)
    offset, length = int(match[2]), int(match[3])
    if not 1 <= length <= _LONGEST:
      raise InputError(self.index, f"an entry of {length} bytes", _DAMAGED, record=record)
    if self._is_compressed:
      return self._decompress(offset, length, record)
    data = self._data.read(offset, length, record)
    if data.find(0) != length - 1:
      problem = f"the {length} bytes at {offset} do not end with their only zero byte"
      raise InputError(self._path, problem, _DAMAGED, record=record)
    return data[:-1]

  def _decompress(self, offset: int, length: int, record: str) -> bytes:
    size = int.from_bytes(self._data.read(offset, 4, record), "little")
    # zstd makes random data somewhat longer, never this much.
    if size > length + (length >> 7) + 128:
      raise InputError(self._path, f"{size} compressed bytes for {length} letters", _DAMAGED, record=record)
    data = self._data.read(offset + 4, size + 1, record)
    letters, mark = data[:-1], data[-1]
    try:
      if mark == 0:
        letters = pyarrow.decompress(letters, decompressed_size=length - 1, codec="zstd", asbytes=True)
    except (OSError, pyarrow.ArrowException) as error:
      raise InputError(self._path, f"the entry's zstd data are corrupt ({error})", _DAMAGED, record=record) from error
    if mark not in (0, 255) or len(letters) != length - 1 or 0 in letters:
      raise InputError(self._path, f"the entry at {offset} is not one of {length} bytes", _DAMAGED, record=record)
    return letters


class _Data:
  """The data files of a database as one stretch of bytes."""

  def __init__(self, path: str | os.PathLike):
    self._path = path
    name = os.fspath(path)
    names = [name]
    if os.path.exists(f"{name}.0"):
      names = [f"{name}.{i}" for i in itertools.takewhile(lambda i: os.path.exists(f"{name}.{i}"), itertools.count())]
    with contextlib.ExitStack() as files:
      self._files = [files.enter_context(compressed.open_at(file)) for file in names]
      self._close = files.pop_all().close
    self._ends = [0, *itertools.accumulate(map(os.path.getsize, names))]

  @property
  def size(self) -> int:
    return self._ends[-1]

  def close(self) -> None:
    self._close()

  def read(self, offset: int, length: int, record: str) -> bytes:
    """The bytes of an entry; it lies in one file.

    Raises:
      InputError: there are fewer.
    """
    number = min(bisect.bisect_right(self._ends, offset), len(self._files)) - 1
    file = self._files[number]
    data = b""
    if offset + length <= self._ends[number + 1]:
      file.seek(offset - self._ends[number])
      data = file.read(length)
    if len(data) < length:
      problem = f"the index asks for {length} bytes at {offset}, where the data (of {self.size} bytes) have fewer"
      raise InputError(self._path, problem, _DAMAGED, record=record)
    return data
