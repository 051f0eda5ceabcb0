"""NCBI Gene's tables as they come: today's columns, old releases, cut out with grep, damaged."""

import gzip

import pyarrow as pa
import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats import gene_tables

COLUMNS = [
    "tax_id", "GeneID", "status", "RNA_nucleotide_accession.version", "RNA_nucleotide_gi", "protein_accession.version",
    "protein_gi", "genomic_nucleotide_accession.version", "genomic_nucleotide_gi",
    "start_position_on_the_genomic_accession", "end_position_on_the_genomic_accession", "orientation", "assembly",
    "mature_peptide_accession.version", "mature_peptide_gi", "Symbol",
]  # fmt: skip
HEADER = "#" + "\t".join(COLUMNS)
OLD_HEADER = f"#Format: {' '.join(COLUMNS[:13])} (tab is used as a separator, pound sign - start of a comment)"
MRNA = "9606\t42\t-\tAK000042.1\t11\tBAA00042.1\t22\t-\t-\t-\t-\t?\t-\t-\t-\tABC1"
REFSEQ = "9606\t42\tReviewed\tNM_000042.1\t1\tNP_000042.1\t2\tNC_000001.1\t3\t999\t8999\t-\tPrimary\t-\t-\tABC1"
PARSED = [
    {"taxon": 9606, "gene": 42, "status": "-", "rna": "AK000042.1", "protein": "BAA00042.1", "genomic": None,
     "start": None, "end": None, "orientation": "?"},
    {"taxon": 9606, "gene": 42, "status": "REVIEWED", "rna": "NM_000042.1", "protein": "NP_000042.1",
     "genomic": "NC_000001.1", "start": 999, "end": 8999, "orientation": "-"},
]  # fmt: skip


def _write(tmp_path, lines, name="table", end="\n"):
  path = tmp_path / name
  text = "".join(line + end for line in lines).encode("latin-1")
  path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
  return path


def _rows(batches):
  return [row for batch in batches for row in batch.to_pylist()]


def _read(tmp_path, lines, **options):
  return _rows(gene_tables.read_gene_table(_write(tmp_path, lines), **options))


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_read_with_what_is_missing_left_out(tmp_path, name, end):
  path = _write(tmp_path, [HEADER, MRNA, REFSEQ], name, end)
  assert _rows(gene_tables.read_gene_table(path)) == PARSED


def test_old_release_with_thirteen_columns_and_its_kind_of_header_is_read(tmp_path):
  lines = ["\t".join(line.split("\t")[:13]) for line in (MRNA, REFSEQ)]
  assert _read(tmp_path, [OLD_HEADER, *lines]) == PARSED


def test_columns_are_found_by_name_whatever_their_order(tmp_path):
  order = list(range(len(COLUMNS)))[::-1]
  lines = ["\t".join(line.split("\t")[i] for i in order) for line in (MRNA, REFSEQ)]
  rows = _read(tmp_path, ["#" + "\t".join(COLUMNS[i] for i in order), *lines])
  assert rows == PARSED


def test_quotes_are_letters(tmp_path):
  lines = [HEADER, MRNA.replace("ABC1", '"5\'-nuc'), MRNA]
  assert len(_read(tmp_path, lines)) == 2


def test_table_without_header_is_refused_unless_allowed(tmp_path):
  with pytest.raises(InputError, match="line 1: the first line is no header.*headerless"):
    _read(tmp_path, [MRNA, REFSEQ])
  assert _read(tmp_path, [MRNA, REFSEQ], headerless=True) == PARSED
  old = ["\t".join(line.split("\t")[:13]) for line in (MRNA, REFSEQ)]
  assert _read(tmp_path, old, headerless=True) == PARSED


def test_headerless_table_of_another_width_is_refused(tmp_path):
  with pytest.raises(InputError, match="7 columns and no header"):
    _read(tmp_path, ["9606\t1\tENSG1\t-\t-\t-\t-"], headerless=True)


@pytest.mark.parametrize("allowed", [False, True])
def test_headerless_option_changes_nothing_for_a_table_with_header(tmp_path, allowed):
  assert _read(tmp_path, [HEADER, MRNA, REFSEQ], headerless=allowed) == PARSED


@pytest.mark.parametrize("line, problem", [
    (MRNA.rpartition("\t")[0], "Expected 16 columns, got 15"),
    (MRNA + "\tmore", "Expected 16 columns, got 17"),
    ("", "no taxon"),
    (HEADER, "tax_id.*invalid value '#tax_id'"),
    (MRNA.replace("\t42\t", "\tABC1\t"), "GeneID.*invalid value 'ABC1'"),
    (MRNA.replace("\t42\t", "\t-\t"), "no gene"),
    (MRNA.replace("\t42\t", "\t\t"), "no gene"),
    (REFSEQ.replace("999\t8999", "about 1000\t8999"), "start_position.*invalid value 'about 1000'"),
    (MRNA.replace("AK000042", "AK\xe9"), "UTF8"),
])
@pytest.mark.parametrize("block", [300, 1 << 22])
def test_malformed_row_is_an_error_that_names_file_and_line(tmp_path, monkeypatch, line, problem, block):
  monkeypatch.setattr(gene_tables, "_BLOCK", block)
  with pytest.raises(InputError, match=problem) as raised:
    _read(tmp_path, [HEADER, MRNA, REFSEQ, *[MRNA] * 20, line, MRNA])
  assert raised.value.path == str(tmp_path / "table")
  assert raised.value.record == "line 24"


def test_line_is_counted_from_the_first_where_there_is_no_header(tmp_path):
  with pytest.raises(InputError) as raised:
    _read(tmp_path, [MRNA, "9606"], headerless=True)
  assert raised.value.record == "line 2"


def test_truncated_gzip_names_the_file(tmp_path):
  path = tmp_path / "table.gz"
  rows = "\n".join(MRNA.replace("11", str(i)) for i in range(5000))
  path.write_bytes(gzip.compress(f"{HEADER}\n{rows}\n".encode())[:-500])
  with pytest.raises(InputError, match="table.gz: the gzip data end too early"):
    list(gene_tables.read_gene_table(path))


def test_header_without_rows_is_refused(tmp_path):
  with pytest.raises(InputError, match="a header and no rows"):
    _read(tmp_path, [HEADER])


def test_table_that_lacks_a_column_is_refused(tmp_path):
  with pytest.raises(InputError, match="the header lacks status, protein_accession.version"):
    _read(tmp_path, [HEADER.replace("status", "x").replace("protein_accession.version", "y"), MRNA])


def test_batches_have_one_schema(tmp_path, monkeypatch):
  monkeypatch.setattr(gene_tables, "_BLOCK", 300)
  batches = list(gene_tables.read_gene_table(_write(tmp_path, [HEADER, *[MRNA, REFSEQ] * 20])))
  assert len(batches) > 3
  assert pa.Table.from_batches(batches, schema=gene_tables.GENE_SCHEMA).num_rows == 40


COLLAB_HEADER = "#NCBI_protein_accession\tUniProtKB_protein_accession\tNCBI_tax_id\tUniProtKB_tax_id\tmethod"


def test_collaboration_table_is_read(tmp_path):
  path = _write(tmp_path, [COLLAB_HEADER, "NP_000042\tP00042\t9606\t9606\tuniprot"])
  assert _rows(gene_tables.read_collab(path)) == [{"refseq": "NP_000042", "uniprot": "P00042", "taxon": 9606}]


def test_old_collaboration_table_of_two_columns_is_read(tmp_path):
  path = _write(tmp_path, ["#NCBI_protein_accession\tUniProtKB_protein_accession", "NP_000042\tP00042"], "t.gz")
  assert _rows(gene_tables.read_collab(path)) == [{"refseq": "NP_000042", "uniprot": "P00042", "taxon": None}]


def test_collaboration_table_without_an_accession_or_a_header_is_refused(tmp_path):
  with pytest.raises(InputError, match="line 2: no uniprot"):
    list(gene_tables.read_collab(_write(tmp_path, [COLLAB_HEADER, "NP_000042\t-\t9606\t9606\tuniprot"])))
  with pytest.raises(InputError, match="no header"):
    list(gene_tables.read_collab(_write(tmp_path, ["NP_000042\tP00042\t9606\t9606\tuniprot"])))


@pytest.mark.parametrize("name", [
    "EntrezGene_gene2accession.gz", "gene2accession.biggersample.gz", "gene2accession.human.changed.sample.gz",
    "gene2accession.human.sample.gz", "gene2accession.sample.gz", "selected_gene2accession.gz",
    "derived_gene2refseq_ecoli511145.tsv.gz", "derived_gene2refseq_yeast559292.tsv.gz",
])
def test_real_tables_are_read_row_by_row(shared_data, name):
  path = shared_data / "ncbi_gene" / name
  with gzip.open(path, "rt") as stream:
    lines = [line.rstrip("\n").split("\t") for line in stream if not line.startswith("#")]
  rows = _rows(gene_tables.read_gene_table(path, headerless=True))
  assert [(str(r["taxon"]), str(r["gene"]), r["status"]) for r in rows] == [
      (line[0], line[1], line[2].upper()) for line in lines
  ]
  assert [r["protein"] or "-" for r in rows] == [line[5] for line in lines]
  assert ["-" if r["end"] is None else str(r["end"]) for r in rows] == [line[10] for line in lines]
