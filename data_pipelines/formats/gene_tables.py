"""NCBI Gene's tables that tie genes to sequence records: gene2accession, gene2refseq, gene_refseq_uniprotkb_collab.

Tab-separated, one header line that begins with `#`, `-` for what is missing; the columns are those of
https://ftp.ncbi.nlm.nih.gov/gene/DATA/README and are found by their names: older releases have fewer of them, and a
header that says `#Format: tax_id GeneID … (tab is used as a separator, …)`. The tables have hundreds of millions of
rows: they are read as a stream of Arrow batches, and never held.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed

_BLOCK = 1 << 22
_REMEDY = "The table is damaged or was edited: download it again."
# Today's columns of gene2accession and gene2refseq; releases before 2012 have the first 13.
_NCBI_COLUMNS = (
    "tax_id", "GeneID", "status", "RNA_nucleotide_accession.version", "RNA_nucleotide_gi", "protein_accession.version",
    "protein_gi", "genomic_nucleotide_accession.version", "genomic_nucleotide_gi",
    "start_position_on_the_genomic_accession", "end_position_on_the_genomic_accession", "orientation", "assembly",
    "mature_peptide_accession.version", "mature_peptide_gi", "Symbol",
)  # fmt: skip
_OLD_WIDTH = 13
# Their name, ours, its type.
_GENE_COLUMNS = {
    "tax_id": ("taxon", pa.int32()),
    "GeneID": ("gene", pa.int64()),
    "status": ("status", pa.string()),
    "RNA_nucleotide_accession.version": ("rna", pa.string()),
    "protein_accession.version": ("protein", pa.string()),
    "genomic_nucleotide_accession.version": ("genomic", pa.string()),
    "start_position_on_the_genomic_accession": ("start", pa.int64()),
    "end_position_on_the_genomic_accession": ("end", pa.int64()),
    "orientation": ("orientation", pa.string()),
}
_COLLAB_COLUMNS = {
    "NCBI_protein_accession": ("refseq", pa.string()),
    "UniProtKB_protein_accession": ("uniprot", pa.string()),
    "NCBI_tax_id": ("taxon", pa.int32()),
}
GENE_SCHEMA = pa.schema(list(_GENE_COLUMNS.values()))
COLLAB_SCHEMA = pa.schema(list(_COLLAB_COLUMNS.values()))


def read_gene_table(path: str | os.PathLike, *, headerless: bool = False) -> Iterator[pa.RecordBatch]:
  """Streams gene2accession or gene2refseq, plain or gzip.

  Args:
    path: the file.
    headerless: also read a table without its header line (cut out with `grep`), whose columns are then taken to be
      NCBI's 16, or the first 13 of them.

  Yields:
    Batches of `GENE_SCHEMA`. Accessions and coordinates are null where they are missing; `start` and `end` are 0-based
    and inclusive, as in the file; `status` is upper case, `-` for records that are not RefSeq's; `orientation` is
    `+`, `-` (the minus strand) or `?`.

  Raises:
    InputError: naming the line, where one has another number of columns than the header, a taxon or GeneID that is no
      number, or is no UTF-8; where the header or the rows are missing; or as `compressed.open_binary`.
  """
  for batch in _read(path, _GENE_COLUMNS, required=_GENE_COLUMNS, needed=("taxon", "gene"), headerless=headerless):
    columns = dict(zip(batch.schema.names, batch.columns))
    columns["status"] = pc.utf8_upper(columns["status"].fill_null("-"))
    columns["orientation"] = columns["orientation"].fill_null("-")
    yield pa.record_batch([columns[name] for name in GENE_SCHEMA.names], schema=GENE_SCHEMA)


def read_collab(path: str | os.PathLike) -> Iterator[pa.RecordBatch]:
  """Streams gene_refseq_uniprotkb_collab, plain or gzip: which UniProtKB entry stands for which RefSeq protein.

  Yields:
    Batches of `COLLAB_SCHEMA`. The accessions carry no version; `taxon` is null where the release has no such column.

  Raises:
    InputError: as `read_gene_table`, and where an accession is missing.
  """
  required = ("NCBI_protein_accession", "UniProtKB_protein_accession")
  for batch in _read(path, _COLLAB_COLUMNS, required=required, needed=("refseq", "uniprot")):
    columns = [
        batch[name] if name in batch.schema.names else pa.nulls(batch.num_rows, kind)
        for name, kind in zip(COLLAB_SCHEMA.names, COLLAB_SCHEMA.types)
    ]
    yield pa.record_batch(columns, schema=COLLAB_SCHEMA)


def _read(
    path: str | os.PathLike,
    wanted: Mapping[str, tuple[str, pa.DataType]],
    *,
    required: Sequence[str],
    needed: Sequence[str],
    headerless: bool = False,
) -> Iterator[pa.RecordBatch]:
  """The wanted columns under our names; those of `needed` are missing in no row."""
  with compressed.open_binary(path) as stream:
    first = stream.readline().decode("utf-8", "replace").rstrip("\r\n")
  has_header = first.startswith("#")
  names = _header(path, first) if has_header else _assumed(path, first, headerless)
  if missing := [name for name in required if name not in names]:
    problem = f"the header lacks {', '.join(missing)}"
    raise InputError(path, problem, "Check that this is NCBI's table and that columns are between tabs.")
  kept = {name: wanted[name] for name in names if name in wanted}
  line = 2 if has_header else 1
  with compressed.open_binary(path) as stream:
    if has_header:
      stream.readline()
      if not stream.peek(1):
        raise InputError(path, "the table has a header and no rows", "Download the file again.")
    try:
      reader = pyarrow.csv.open_csv(
          stream,
          read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=_BLOCK, use_threads=False),
          parse_options=pyarrow.csv.ParseOptions(
              delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False
          ),
          convert_options=pyarrow.csv.ConvertOptions(
              include_columns=list(kept), column_types={name: kind for name, (_, kind) in kept.items()},
              null_values=["-", ""], strings_can_be_null=True,
          ),
      )
      for batch in reader:
        batch = pa.RecordBatch.from_arrays(batch.columns, names=[kept[name][0] for name in batch.schema.names])
        for name in needed:
          if batch[name].null_count:
            at = line + pc.index(pc.is_null(batch[name]), True).as_py()
            raise InputError(path, f"no {name}", _REMEDY, record=f"line {at}")
        line += batch.num_rows
        yield batch
    except pa.ArrowInvalid as error:
      raise _line_error(path, str(error), names, 1 + has_header) from error


def _header(path: str | os.PathLike, line: str) -> list[str]:
  text = line.removeprefix("#")
  if text.startswith("Format:"):
    return text.removeprefix("Format:").partition("(")[0].split()
  return [name.strip() for name in text.split("\t")]


def _assumed(path: str | os.PathLike, line: str, headerless: bool) -> list[str]:
  width = line.count("\t") + 1
  if not headerless:
    remedy = "Put NCBI's header line (#tax_id, GeneID, …) first; of gene tables without one say `headerless`."
    raise InputError(path, "the first line is no header: it does not begin with '#'", remedy, record="line 1")
  if width not in (_OLD_WIDTH, len(_NCBI_COLUMNS)):
    problem = f"{width} columns and no header, where NCBI's tables have {len(_NCBI_COLUMNS)} or {_OLD_WIDTH}"
    raise InputError(path, problem, "Put NCBI's header line first.", record="line 1")
  return list(_NCBI_COLUMNS[:width])


def _line_error(path: str | os.PathLike, message: str, names: Sequence[str], first_line: int) -> InputError:
  """An error of Arrow's reader, which counts rows from 1."""
  message = " ".join(message.split())
  record = None
  if row := re.search(r"Row #(\d+): ", message):
    record = f"line {int(row[1]) + first_line - 1}"
    message = message.replace(row[0], "")
  if column := re.match(r"In CSV column #(\d+): ", message):
    message = f"{names[int(column[1])]}: {message.removeprefix(column[0])}"
  message = message.removeprefix("CSV parse error: ").rstrip(".")
  return InputError(path, message[:200], _REMEDY, record=record)
