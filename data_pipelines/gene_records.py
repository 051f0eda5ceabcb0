"""Gene Related Sequences, second step: what one file of sequence records holds for the chosen rows.

The file is streamed twice: first for its accessions, which DuckDB joins with the rows', and puts into the file's order;
then for what the records hold, each beside the rows that name it. No more than one record is in memory.
"""

import array
import collections
import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from data_pipelines import gene_rows
from data_pipelines.formats import fasta, genbank
from data_pipelines.gene_fragments import FastaRecord, Fragment, GenBankRecord, Hit
from data_pipelines.spool import Spool, SpoolWriter

KINDS = ("genbank", "nucleotide", "protein")
_NAME_SCHEMA = pa.schema([
    ("ordinal", pa.int64()), ("is_protein", pa.bool_()), ("base", pa.string()), ("version", pa.string()),
    ("name", pa.string()),
])
_NAMES_PER_BATCH = 1 << 16
# Joined at once: what DuckDB sorts is some 200 MB, far from its limit of memory.
_RECORDS_PER_JOIN = 1 << 20
_OPEN_SPOOLS = 200


def extract(
    folder: str | os.PathLike,
    *,
    path: str,
    kind: str,
    rows: str,
    start: int = 0,
    stop: int | None = None,
    memory_limit: str = "1GB",
    threads: int = 2,
) -> dict:
  """Writes what a file of records holds for the rows: a spool of `Fragment`s and their row numbers, sorted by these.

  Args:
    folder: where to.
    path: the file, plain or gzip.
    kind: `genbank`, or FASTA of `nucleotide` or `protein` records.
    rows: the folder that `gene_rows.select_rows` filled.
    start, stop: the range of bytes on disk that is read, see `formats.ranges`; of GenBank files always the whole.
    memory_limit, threads: as `gene_rows.select_rows`.

  Returns:
    `records` of the file, and `fragments`: how many by state.

  Raises:
    InputError: the file is missing or damaged, see `genbank.read_genbank` and `fasta.read_fasta`; a nucleotide record
      that a row names holds something else.
    ValueError: `kind` is none.
  """
  if kind not in KINDS:
    raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
  folder = pathlib.Path(folder)

  def records() -> Iterator[GenBankRecord | FastaRecord]:
    if kind == "genbank":
      return map(GenBankRecord, genbank.read_records(path))
    return (FastaRecord(path, entry, kind == "protein") for entry in fasta.read_fasta(path, start=start, stop=stop))

  names = folder / "names.parquet"
  count = _write_names(names, records())
  with gene_rows.database(folder, memory_limit, threads) as sql:
    states = _write_fragments(folder, _fragments(records(), _hits(sql, names, count, pathlib.Path(rows))))
  names.unlink()
  return {"records": count, "fragments": states}


def read_fragments(folders: Sequence[str | os.PathLike], first: int, end: int) -> Iterator[Fragment]:
  """The fragments of rows [first, end) that `extract` wrote into several folders, in the rows' order."""
  parts = []
  for number, folder in enumerate(folders):
    rows = np.load(pathlib.Path(folder) / "rows.npy", mmap_mode="r")
    low, high = np.searchsorted(rows, [first, end])
    parts.append((rows[low:high], np.full(high - low, number), np.arange(low, high)))
  rows, numbers, items = (np.concatenate(columns) for columns in zip(*parts)) if parts else ([], [], [])
  spools: dict[int, Spool] = {}
  with contextlib.ExitStack() as stack:
    for at in np.argsort(rows, kind="stable").tolist():
      if numbers[at] not in spools:
        if len(spools) == _OPEN_SPOOLS:
          stack.close()
          spools.clear()
        spools[numbers[at]] = stack.enter_context(contextlib.closing(Spool(folders[numbers[at]])))
      yield spools[numbers[at]][items[at]]


# --- The two passes ---


def _write_names(path: pathlib.Path, records: Iterator[GenBankRecord | FastaRecord]) -> int:
  """Writes the accessions of all records and returns how many records there are."""
  names = ((ordinal, *name) for ordinal, record in enumerate(records) for name in record.names())
  count = 0
  with pa.parquet.ParquetWriter(path, _NAME_SCHEMA) as writer:
    while batch := list(itertools.islice(names, _NAMES_PER_BATCH)):
      columns = [pa.array(column, kind) for column, kind in zip(zip(*batch), _NAME_SCHEMA.types)]
      writer.write_batch(pa.record_batch(columns, schema=_NAME_SCHEMA))
      count = batch[-1][0] + 1  # every record has a name
  return count


def _hits(sql: duckdb.DuckDBPyConnection, names: pathlib.Path, count: int, rows: pathlib.Path) -> Iterator[Hit]:
  """What the names have in common with the rows', in the order of the records."""
  for first in range(0, count, _RECORDS_PER_JOIN):
    hits = sql.sql(f"""
        SELECT ordinal, name, n.version AS found, k.version, role, row, protein, "start", "end", orientation
        FROM (
          SELECT DISTINCT * FROM {gene_rows.parquet(names)}
          WHERE ordinal >= {first} AND ordinal < {first + _RECORDS_PER_JOIN}
        ) n
        JOIN {gene_rows.parquet(rows / "keys.parquet")} k
        ON n.base = k.base AND is_protein = (role = 'protein')
        ORDER BY ordinal, row, role, name, found
    """)
    for batch in hits.to_arrow_reader(_NAMES_PER_BATCH):
      yield from map(Hit._make, zip(*(column.to_pylist() for column in batch.columns)))


def _fragments(records: Iterator[GenBankRecord | FastaRecord], hits: Iterator[Hit]) -> Iterator[Fragment]:
  numbered = enumerate(records)
  for ordinal, group in itertools.groupby(hits, key=lambda hit: hit.ordinal):
    record = next(record for number, record in numbered if number == ordinal)
    yield from record.fragments(list(group))


def _write_fragments(folder: pathlib.Path, fragments: Iterator[Fragment]) -> dict[str, int]:
  """Writes the fragments in the order of their rows; returns how many there are by state."""
  (found := folder / "found").mkdir()
  rows = array.array("q")
  states: collections.Counter[str] = collections.Counter()
  with contextlib.closing(SpoolWriter(found)) as writer:
    for fragment in fragments:
      writer.append(fragment)
      rows.append(fragment.row)
      states[fragment.state] += 1
  order = np.argsort(rows, kind="stable")
  with contextlib.closing(Spool(found)) as unsorted, contextlib.closing(SpoolWriter(folder)) as writer:
    for at in order.tolist():
      writer.append(unsorted[at])
  np.save(folder / "rows.npy", np.array(rows, np.int64)[order])
  shutil.rmtree(found)
  return dict(sorted(states.items()))

