"""Gene Related Sequences, first step: the rows of NCBI Gene's tables that name related sequences.

The tables are streamed once, and the chosen rows sorted in two passes: into parts by their gene, each of which then
fits into memory: 457 MB in all for 20M rows. (Sorting at once is less certain: with the 20M accessions of these rows
DuckDB 2.0 stopped with an out-of-memory error at a limit of 2 GB, and Polars 2.1 took 4 GB for the rows.)
"""

import collections
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from data_pipelines.formats import gene_tables

NOT_REFSEQ = "-"
WITHDRAWN = "SUPPRESSED"
# Of rows that come from the table of UniProtKB's entries, which has no status.
COLLAB = "COLLAB"
ROLES = ("rna", "protein", "genomic")
# Genes are spread over parts and buckets by a hash, so that these are alike. Multiplicative hashing; the factor is the
# prime next to 2^32 divided by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
_HASH_FACTOR, _HASHES = 2654435761, 1 << 32
_PARTS = 256
_ROWS_IN_MEMORY = 1 << 19
_ROW_SCHEMA = gene_tables.GENE_SCHEMA.insert(0, pa.field("hash", pa.uint64()))
_KEY_SCHEMA = pa.schema([
    ("base", pa.string()), ("version", pa.string()), ("role", pa.string()), ("row", pa.int64()),
    ("protein", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("orientation", pa.string()),
])
_REFSEQ_SCHEMA = pa.schema([("refseq", pa.string()), ("gene", pa.int64()), ("taxon", pa.int32())])


def select_rows(
    folder: str | os.PathLike,
    *,
    tables: Sequence[str],
    collab: str | None = None,
    taxa: Sequence[int] = (),
    statuses: Sequence[str] = (NOT_REFSEQ,),
    headerless: bool = False,
    memory_limit: str = "1GB",
    threads: int = 2,
) -> dict:
  """Chooses rows of gene2accession and gene2refseq, each once however many tables hold it.

  Rows are numbered from 0 by their content alone: the order of tables and lines changes nothing.

  Args:
    folder: `rows.parquet` (the chosen rows) and `keys.parquet` (their accessions) are written there.
    tables: gene2accession and gene2refseq files; the latter's rows are a part of the former's.
    collab: gene_refseq_uniprotkb_collab: adds to each gene the UniProtKB entries of its RefSeq proteins that the tables
      do not name. The RefSeq rows of `tables` are what ties them to genes.
    taxa: only genes of these NCBI taxonomy ids; empty for all.
    statuses: which statuses are chosen: `-` (not RefSeq), REVIEWED, … Rows that are SUPPRESSED are never chosen.
    headerless: see `gene_tables.read_gene_table`.
    memory_limit, threads: of DuckDB, which joins `collab`; the limit for instance as `1GB`.

  Returns:
    `lines` of the tables = `selected` + `duplicates` + the sum of `not_selected`, which counts by reason: `taxon`,
    `withdrawn`, or the row's status. `rows` = `selected` + `collab_rows`; with `collab`, its own `collab_lines` =
    `collab_matched` + the sum of `collab_not_selected` (`taxon`, or `no_gene`: its RefSeq protein is in no table).

  Raises:
    InputError: a table that cannot be read, see `gene_tables`.
    ValueError: `statuses` holds SUPPRESSED.
  """
  if WITHDRAWN in statuses:
    raise ValueError(f"statuses={tuple(statuses)}: {WITHDRAWN} records are withdrawn; they can not be chosen")
  folder = pathlib.Path(folder)
  (work := folder / "work").mkdir()
  not_selected: collections.Counter[str] = collections.Counter()
  lines = 0
  with _Parts(work / "chosen") as chosen, pa.parquet.ParquetWriter(work / "refseq.parquet", _REFSEQ_SCHEMA) as refseq:
    for table in tables:
      for batch in gene_tables.read_gene_table(table, headerless=headerless):
        lines += batch.num_rows
        batch = _of_taxa(batch, taxa, not_selected)
        for count in batch["status"].value_counts().to_pylist():
          if count["values"] not in statuses:
            reason = "withdrawn" if count["values"] == WITHDRAWN else count["values"]
            not_selected[reason] += count["counts"]
        chosen.add(batch.filter(pc.is_in(batch["status"], pa.array(statuses, pa.string()))))
        if collab:
          refseq.write_batch(_refseq_proteins(batch))
  stats = _add_collab(work, collab, taxa, memory_limit, threads) if collab else {}
  rows = _write_sorted(folder, [work / "chosen", work / "added"])
  shutil.rmtree(work)
  selected = rows - stats.get("collab_rows", 0)
  return {
      "lines": lines, "duplicates": lines - not_selected.total() - selected, "selected": selected, "rows": rows,
      "not_selected": dict(sorted(not_selected.items())), **stats,
  }


def _of_taxa(batch: pa.RecordBatch, taxa: Sequence[int], not_selected: collections.Counter) -> pa.RecordBatch:
  if not taxa:
    return batch
  kept = batch.filter(pc.is_in(batch["taxon"], pa.array(taxa, pa.int32())))
  if others := batch.num_rows - kept.num_rows:
    not_selected["taxon"] += others
  return kept


def _refseq_proteins(batch: pa.RecordBatch) -> pa.RecordBatch:
  """RefSeq's proteins in a batch, without their versions."""
  of_refseq = pc.invert(pc.is_in(batch["status"], pa.array([NOT_REFSEQ, WITHDRAWN])))
  batch = batch.filter(pc.and_(of_refseq, pc.is_valid(batch["protein"])))
  base = pc.replace_substring_regex(batch["protein"], r"\.[0-9]*$", "")
  return pa.record_batch([base, batch["gene"], batch["taxon"]], schema=_REFSEQ_SCHEMA)


def _add_collab(work: pathlib.Path, path: str, taxa: Sequence[int], memory_limit: str, threads: int) -> dict:
  """Writes the rows that the collaboration table adds to `work / "added"`, and counts."""
  not_selected: collections.Counter[str] = collections.Counter()
  lines = 0
  with pa.parquet.ParquetWriter(work / "collab.parquet", gene_tables.COLLAB_SCHEMA) as writer:
    for batch in gene_tables.read_collab(path):
      lines += batch.num_rows
      # Old releases do not say the taxon: there the gene tables' rows decide, which are of these taxa only.
      known = batch["taxon"].null_count == 0
      writer.write_batch(_of_taxa(batch, taxa, not_selected) if known else batch)
  with database(work, memory_limit, threads) as sql, _Parts(work / "added") as added:
    sql.execute(f"CREATE VIEW refseq AS SELECT DISTINCT * FROM {parquet(work / 'refseq.parquet')}")
    sql.execute(f"CREATE VIEW collab AS SELECT * FROM {parquet(work / 'collab.parquet')}")
    matched = sql.execute("SELECT count(*) FROM collab SEMI JOIN refseq USING (refseq)").fetchall()[0][0]
    # What a gene's rows in the tables name already, in any version, is no news.
    chosen = sorted((work / "chosen").iterdir())
    known = f"SELECT gene, split_part(protein, '.', 1) AS uniprot FROM {parquet(*chosen)}" if chosen else ""
    new = sql.sql(f"""
        SELECT DISTINCT refseq.taxon, gene, '{COLLAB}' AS status, NULL::VARCHAR AS rna, uniprot AS protein,
          NULL::VARCHAR AS genomic, NULL::BIGINT AS "start", NULL::BIGINT AS "end", '?' AS orientation
        FROM collab JOIN refseq USING (refseq) {f"ANTI JOIN ({known}) USING (gene, uniprot)" if known else ""}
    """)
    rows = 0
    for batch in new.to_arrow_reader(_ROWS_IN_MEMORY):
      rows += batch.num_rows
      added.add(batch.cast(gene_tables.GENE_SCHEMA))
  if others := lines - matched - not_selected.total():
    not_selected["no_gene"] = others
  return {
      "collab_lines": lines, "collab_matched": matched, "collab_not_selected": dict(not_selected), "collab_rows": rows
  }


# --- Sorting ---


def _hashes(genes: pa.ChunkedArray) -> np.ndarray:
  """uint64 [n], below `_HASHES`."""
  return genes.to_numpy().astype(np.uint64) * np.uint64(_HASH_FACTOR) % np.uint64(_HASHES)


class _Parts:
  """Writes rows (`GENE_SCHEMA`) into a folder, by the hash of their gene; files of parts without rows are not there."""

  def __init__(self, folder: pathlib.Path):
    folder.mkdir()
    self._folder = folder
    self._writers: dict[int, pa.parquet.ParquetWriter] = {}
    self._waiting: list[pa.RecordBatch] = []
    self._rows = 0

  def add(self, batch: pa.RecordBatch) -> None:
    self._waiting.append(batch)
    self._rows += batch.num_rows
    if self._rows >= _ROWS_IN_MEMORY:
      self._flush()

  def _flush(self) -> None:
    table = pa.Table.from_batches(self._waiting, gene_tables.GENE_SCHEMA)
    self._waiting, self._rows = [], 0
    parts = (_hashes(table["gene"]) * np.uint64(_PARTS) // np.uint64(_HASHES)).astype(np.int64)
    table = table.take(np.argsort(parts, kind="stable"))
    start = 0
    for part, count in enumerate(np.bincount(parts, minlength=_PARTS).tolist()):
      if count:
        if part not in self._writers:
          path = self._folder / _part_name(part)
          self._writers[part] = pa.parquet.ParquetWriter(path, gene_tables.GENE_SCHEMA)
        self._writers[part].write_table(table.slice(start, count))
      start += count

  def __enter__(self) -> "_Parts":
    return self

  def __exit__(self, *_) -> None:
    self._flush()
    for writer in self._writers.values():
      writer.close()


def _part_name(part: int) -> str:
  return f"{part:03d}.parquet"


def _write_sorted(folder: pathlib.Path, parted: Sequence[pathlib.Path]) -> int:
  """Writes `rows.parquet` and `keys.parquet` from folders of parts; returns the number of rows."""
  count = 0
  writer = pa.parquet.ParquetWriter
  with writer(folder / "rows.parquet", _ROW_SCHEMA) as rows, writer(folder / "keys.parquet", _KEY_SCHEMA) as keys:
    for part in range(_PARTS):
      paths = [path for path in (each / _part_name(part) for each in parted) if path.exists()]
      if not paths:
        continue
      table = pa.concat_tables([pa.parquet.read_table(path) for path in paths])
      table = table.group_by(table.schema.names, use_threads=False).aggregate([])
      table = table.add_column(0, "hash", pa.array(_hashes(table["gene"])))
      table = table.sort_by([(name, "ascending") for name in _ROW_SCHEMA.names])
      rows.write_table(table)
      table = table.append_column("row", pa.array(np.arange(count, count + table.num_rows)))
      for role in ROLES:
        keys.write_table(_keys(table, role))
      count += table.num_rows
  return count


def _keys(table: pa.Table, role: str) -> pa.Table:
  """The accessions of a role, by which records are found."""
  # Without a protein nothing can be verified: such rows are rejected without looking for their records.
  table = table.filter(pc.and_(pc.is_valid(table[role]), pc.is_valid(table["protein"])))
  table = table.append_column("base", pc.replace_substring_regex(table[role], r"\..*", ""))
  table = table.append_column("version", pc.replace_substring_regex(table[role], r"^[^.]*\.?", ""))
  table = table.append_column("role", pa.array([role] * table.num_rows, pa.string()))
  return table.select(_KEY_SCHEMA.names)


# --- DuckDB ---


def database(folder: str | os.PathLike, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
  """A database in memory that spills into `folder` beyond the limit; close it to remove what was spilled."""
  sql = duckdb.connect(config={
      "memory_limit": memory_limit, "threads": threads, "temp_directory": str(pathlib.Path(folder) / "spill"),
      "preserve_insertion_order": False,  # every query that needs an order says ORDER BY
  })
  sql.execute("SET enable_progress_bar = false")
  return sql


def parquet(*paths: str | os.PathLike) -> str:
  """Files as a table of DuckDB's SQL."""
  return f"read_parquet([{', '.join(map(text, paths))}])"


def text(path: str | os.PathLike) -> str:
  """A path as a string of DuckDB's SQL."""
  return "'" + str(path).replace("'", "''") + "'"


# --- Buckets ---


def read_bucket(folder: str | os.PathLike, bucket: int, buckets: int) -> tuple[int, int, Iterator[tuple]]:
  """The rows of the genes in bucket number `bucket` (from 0) of `buckets`: a range of all rows.

  Returns:
    first, end: numbers of the rows.
    rows: (row, gene, taxon, rna, protein, genomic) of each, in order; None for an accession that it does not have.
  """
  file = pa.parquet.ParquetFile(pathlib.Path(folder) / "rows.parquet")
  first, end = (_rows_below(file, -(-number * _HASHES // buckets)) for number in (bucket, bucket + 1))
  return first, end, _read_range(file, first, end)


def _rows_below(file: pa.parquet.ParquetFile, limit: int) -> int:
  """How many rows have a smaller hash; the rows are sorted by it."""
  count = 0
  for number in range(file.num_row_groups):
    group = file.metadata.row_group(number)
    if group.column(0).statistics.max < limit:
      count += group.num_rows
      continue
    hashes = file.read_row_group(number, ["hash"])["hash"].to_numpy()
    return count + int(np.searchsorted(hashes, limit))
  return count


def _read_range(file: pa.parquet.ParquetFile, first: int, end: int) -> Iterator[tuple]:
  with file:
    row = 0
    for number in range(file.num_row_groups):
      size = file.metadata.row_group(number).num_rows
      if row < end and row + size > first:
        table = file.read_row_group(number, ["gene", "taxon", "rna", "protein", "genomic"])
        skipped = max(first - row, 0)
        columns = [column.to_pylist() for column in table.slice(skipped, end - row - skipped).columns]
        yield from zip(range(row + skipped, end), *columns)
      row += size
