"""Gene Related Sequences, first step: the rows of NCBI Gene's tables that name related sequences.

The tables are streamed once: counting and choosing rows is Arrow's work, batch by batch; sorting and joining is
DuckDB's, which keeps to a limit of memory and spills to disk beyond it.
"""

import collections
import os
import pathlib
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
# Genes are spread over buckets by a hash, so that buckets are alike. Multiplicative hashing; 2654435761 is the prime
# next to 2^32 divided by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
_HASH = "(gene % 2147483648 * 2654435761) % 4294967296"
_HASHES = 1 << 32
_ROWS_PER_BATCH = 1 << 14


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
    folder: `rows.parquet` (the chosen rows) and `keys.parquet` (their accessions, sorted) are written there.
    tables: gene2accession and gene2refseq files; the latter's rows are a part of the former's.
    collab: gene_refseq_uniprotkb_collab: adds to each gene the UniProtKB entries of its RefSeq proteins that the tables
      do not name. The RefSeq rows of `tables` are what ties them to genes.
    taxa: only genes of these NCBI taxonomy ids; empty for all.
    statuses: which statuses are chosen: `-` (not RefSeq), REVIEWED, … Rows that are SUPPRESSED are never chosen.
    headerless: see `gene_tables.read_gene_table`.
    memory_limit: of DuckDB, for instance `1GB`; the process needs some 100 MB more.
    threads: of DuckDB.

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
  # Empty batches: the files exist although nothing may be chosen.
  chosen = pa.parquet.ParquetWriter(folder / "chosen.parquet", gene_tables.GENE_SCHEMA)
  refseq = pa.parquet.ParquetWriter(folder / "refseq.parquet", _REFSEQ_SCHEMA)
  not_selected: collections.Counter[str] = collections.Counter()
  lines = 0
  with chosen, refseq:
    for table in tables:
      for batch in gene_tables.read_gene_table(table, headerless=headerless):
        lines += batch.num_rows
        batch = _of_taxa(batch, taxa, not_selected)
        for count in batch["status"].value_counts().to_pylist():
          if count["values"] not in statuses:
            reason = "withdrawn" if count["values"] == WITHDRAWN else count["values"]
            not_selected[reason] += count["counts"]
        chosen.write_batch(batch.filter(pc.is_in(batch["status"], pa.array(statuses, pa.string()))))
        if collab:
          refseq.write_batch(_refseq_proteins(batch))
  collab_stats = _stream_collab(collab, folder, taxa) if collab else {}
  with database(folder, memory_limit, threads) as sql:
    stats = _sort_rows(sql, folder, collab_stats)
  for name in ("chosen", "refseq", "collab", "added"):
    (folder / f"{name}.parquet").unlink(missing_ok=True)
  duplicates = lines - sum(not_selected.values()) - stats["selected"]
  return {"lines": lines, "duplicates": duplicates, "not_selected": dict(sorted(not_selected.items()))} | stats


_REFSEQ_SCHEMA = pa.schema([("refseq", pa.string()), ("gene", pa.int64()), ("taxon", pa.int32())])


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


def _stream_collab(path: str, folder: pathlib.Path, taxa: Sequence[int]) -> dict:
  not_selected: collections.Counter[str] = collections.Counter()
  lines = 0
  with pa.parquet.ParquetWriter(folder / "collab.parquet", gene_tables.COLLAB_SCHEMA) as writer:
    for batch in gene_tables.read_collab(path):
      lines += batch.num_rows
      # Old releases do not say the taxon: there the gene tables' rows decide, which are of these taxa only.
      known = batch["taxon"].null_count == 0
      writer.write_batch(_of_taxa(batch, taxa, not_selected) if known else batch)
  return {"collab_lines": lines, "collab_not_selected": dict(not_selected)}


def _sort_rows(sql: duckdb.DuckDBPyConnection, folder: pathlib.Path, collab: dict) -> dict:
  """Writes `rows.parquet` and `keys.parquet` from the streamed parts, and counts."""
  sql.execute(f"CREATE VIEW chosen AS SELECT DISTINCT * FROM {parquet(folder / 'chosen.parquet')}")
  added, stats = "", {}
  if collab:
    sql.execute(f"CREATE VIEW refseq AS SELECT DISTINCT * FROM {parquet(folder / 'refseq.parquet')}")
    sql.execute(f"CREATE VIEW collab AS SELECT * FROM {parquet(folder / 'collab.parquet')}")
    # What a gene's rows in the tables name already, in any version, is no news.
    sql.execute(f"""
        COPY (
          SELECT DISTINCT refseq.taxon, gene, '{COLLAB}' AS status, NULL::VARCHAR AS rna, uniprot AS protein,
            NULL::VARCHAR AS genomic, NULL::BIGINT AS "start", NULL::BIGINT AS "end", '?' AS orientation
          FROM collab JOIN refseq USING (refseq)
          ANTI JOIN (SELECT gene, split_part(protein, '.', 1) AS uniprot FROM chosen) USING (gene, uniprot)
        ) TO {text(folder / "added.parquet")}
    """)
    added = f"UNION ALL SELECT * FROM {parquet(folder / 'added.parquet')}"
    matched = sql.execute("SELECT count(*) FROM collab SEMI JOIN refseq USING (refseq)").fetchall()[0][0]
    dropped = dict(collab["collab_not_selected"])
    if others := collab["collab_lines"] - matched - sum(dropped.values()):
      dropped["no_gene"] = others
    stats = {
        "collab_lines": collab["collab_lines"], "collab_matched": matched, "collab_not_selected": dropped,
        "collab_rows": pa.parquet.read_metadata(folder / "added.parquet").num_rows,
    }
  rows = folder / "rows.parquet"
  sql.execute(f"""
      COPY (SELECT {_HASH} AS hash, * FROM (SELECT * FROM chosen {added}) ORDER BY ALL) TO {text(rows)}
      (COMPRESSION zstd)
  """)
  # Without a protein nothing can be verified: such rows are rejected without looking for their records.
  keys = " UNION ALL ".join(
      f"SELECT split_part({role}, '.', 1) AS base, split_part({role}, '.', 2) AS version, '{role}' AS role, * FROM rows"
      f" WHERE {role} IS NOT NULL AND protein IS NOT NULL"
      for role in ("rna", "protein", "genomic")
  )
  sql.execute(f"""
      COPY (
        WITH rows AS NOT MATERIALIZED (
          SELECT file_row_number AS row, * FROM read_parquet({text(rows)}, file_row_number = true)
        )
        SELECT base, version, role, row, gene, protein, "start", "end", orientation FROM ({keys})
        ORDER BY base, row, role
      ) TO {text(folder / "keys.parquet")} (COMPRESSION zstd)
  """)
  count = pa.parquet.read_metadata(rows).num_rows
  return {"selected": count - stats.get("collab_rows", 0), "rows": count} | stats


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


def stream(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple]:
  """The rows of a query, as many at once as a batch holds."""
  for batch in relation.to_arrow_reader(_ROWS_PER_BATCH):
    yield from zip(*(column.to_pylist() for column in batch.columns))


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
