"""Which rows are chosen, and that neither order nor parts change what becomes of them."""

import pytest

from data_pipelines import gene_records, gene_related, gene_rows
from data_pipelines.errors import InputError
from data_pipelines.formats import gene_tables
from tests.data_pipelines.gene_related.gene_samples import (
  BAC_RECORD,
  BAC_ROW,
  MRNA,
  MRNA_RECORD,
  MRNA_ROW,
  OTHER,
  PROTEIN,
  VARIANT,
  row,
  table,
  write,
)


def test_statuses_taxa_and_withdrawn_rows_are_counted(build):
  rows = [
      MRNA_ROW, row("NM_1.1", "NP_1.1", status="REVIEWED"), row("NM_2.1", "NP_2.1", status="Validated"),
      row("NM_3.1", "NP_3.1", status="SUPPRESSED"), row("AK5.1", "BAA5.1", taxon=10090),
      row("NM_5.1", "NP_5.1", taxon=10090, status="SUPPRESSED"),
  ]
  stats = build(rows, genbank=[MRNA_RECORD], taxa=(9606, 7955)).stats
  assert (stats["lines"], stats["selected"], stats["duplicates"]) == (6, 1, 0)
  assert stats["not_selected"] == {"REVIEWED": 1, "VALIDATED": 1, "taxon": 2, "withdrawn": 1}
  assert set(gene_related.NOT_SELECTED) == {"taxon", "withdrawn", "no_gene"}
  stats = build(rows, genbank=[MRNA_RECORD], statuses=("REVIEWED", "VALIDATED")).stats
  assert stats["selected"] == 2 and stats["not_selected"] == {"-": 2, "withdrawn": 2}


def test_withdrawn_records_cannot_be_chosen(build):
  with pytest.raises(ValueError, match="SUPPRESSED"):
    build([MRNA_ROW], statuses=("-", "SUPPRESSED"))


def test_row_of_several_tables_is_taken_once(build):
  renamed = MRNA_ROW.rpartition("\t")[0] + "\tSYNONYM"
  result = build([MRNA_ROW, MRNA_ROW, BAC_ROW], tables=[[renamed], [BAC_ROW]], genbank=[MRNA_RECORD])
  assert (result.stats["lines"], result.stats["duplicates"], result.stats["rows"]) == (5, 3, 2)


def test_nothing_chosen_gives_nothing(build):
  result = build([MRNA_ROW], genbank=[MRNA_RECORD], taxa=(1,))
  assert not result.documents and not result.rejects and result.stats["not_selected"] == {"taxon": 1}


def test_without_record_files_every_row_is_rejected(build):
  assert build([MRNA_ROW, BAC_ROW]).codes == {"missing_accession": 2}


COLLAB = "#NCBI_protein_accession\tUniProtKB_protein_accession\tNCBI_tax_id\tUniProtKB_tax_id\tmethod"


@pytest.mark.parametrize("columns", [5, 2])
def test_uniprot_entries_of_a_genes_refseq_proteins_are_joined(build, columns):
  lines = ["NP_1\tP1A234\t9606\t9606\tuniprot", "NP_1\tP5B678\t9606\t9606\tuniprot", "NP_7\tP9C999\t9606\t9606\tidmap"]
  lines += ["NP_8\tP8D888\t10090\t10090\tuniprot"]
  rows = [
      MRNA_ROW, row("NM_1.1", "NP_1.3", status="REVIEWED"), row("NM_9.1", "NP_9.3", status="SUPPRESSED"),
      row("NM_8.1", "NP_8.3", taxon=10090, gene=8, status="REVIEWED"), row(protein="P5B678.4"),
  ]
  # Versions: the collaboration table has none, so any is taken; the gene table names the second entry by itself.
  fasta = [f">sp|P1A234|A x SV=9\n{VARIANT}\n", f">sp|P5B678|B x SV=4\n{PROTEIN}\n"]
  collab = ["\t".join(line.split("\t")[:columns]) for line in (COLLAB, *lines)]
  result = build(rows, genbank=[MRNA_RECORD], protein=fasta, collab=collab, taxa=(9606,))
  assert {gene.protein for gene in result.documents} == {PROTEIN, VARIANT}
  stats = result.stats
  assert (stats["collab_lines"], stats["collab_matched"], stats["collab_rows"]) == (4, 2, 1)
  assert stats["collab_not_selected"] == ({"taxon": 1, "no_gene": 1} if columns == 5 else {"no_gene": 2})
  assert (stats["selected"], stats["rows"]) == (2, 3)


# --- Determinism, parts, damage ---

MANY_ROWS = [
    MRNA_ROW, BAC_ROW, row(protein="P1A234.2"), row("AK1.2", "BAA1.1"), row("AK9.1", "BAA9.1"),
    *(row("AK1.1", "BAA1.1", gene=gene) for gene in range(2, 30)),
]
MANY_RECORDS = [
    ("genbank", MRNA_RECORD), ("genbank", BAC_RECORD), ("protein", f">P1A234.2\n{VARIANT}\n"),
    ("nucleotide", f">AK1.1\n{MRNA}A\n"), ("protein", f">BAA1.1\n{PROTEIN}\n"),
]


def _steps(work, tables, records, buckets=1, order=1):
  """Runs the steps as separate tasks and returns the items of each bucket."""
  config = gene_related.GeneRelatedConfig()
  (rows := work / "rows").mkdir(parents=True)
  gene_rows.select_rows(rows, tables=tables)
  folders = []
  for i, (kind, path) in enumerate(records):
    (folder := work / f"{i}").mkdir()
    gene_records.extract(folder, path=path, kind=kind, rows=str(rows))
    folders.append(str(folder))
  return [
      list(gene_related.merge(
          rows, folders[::order], config=config, bucket=bucket, buckets=buckets
      ))
      for bucket in range(buckets)
  ]


def _files(folder):
  return [(kind, write(folder / f"{i}.txt", text)) for i, (kind, text) in enumerate(MANY_RECORDS)]


def test_order_of_rows_tables_and_record_files_changes_nothing(tmp_path):
  files = _files(tmp_path)
  one = table(tmp_path / "one", MANY_ROWS)
  two = [table(tmp_path / "two", MANY_ROWS[::-2]), table(tmp_path / "three", MANY_ROWS[::-1])]
  [expected] = _steps(tmp_path / "a", [one], files)
  assert _steps(tmp_path / "b", two, files[::-1], order=-1) == [expected]
  assert [(tmp_path / "a/rows" / name).read_bytes() for name in ("rows.parquet", "keys.parquet")] == [
      (tmp_path / "b/rows" / name).read_bytes() for name in ("rows.parquet", "keys.parquet")
  ]


def test_buckets_hold_every_gene_once(tmp_path):
  files = _files(tmp_path)
  tables = [table(tmp_path / "one", MANY_ROWS)]
  [whole] = _steps(tmp_path / "a", tables, files)
  parts = _steps(tmp_path / "b", tables, files, buckets=7)
  assert sum(map(bool, parts)) > 4
  assert [item for part in parts for item in part] == whole


def test_steps_leave_nothing_behind_but_what_the_next_one_reads(tmp_path):
  _steps(tmp_path / "a", [table(tmp_path / "one", MANY_ROWS)], _files(tmp_path))
  assert {path.name for path in (tmp_path / "a" / "rows").iterdir()} == {"rows.parquet", "keys.parquet"}
  assert {path.name for path in (tmp_path / "a" / "0").iterdir()} == {"items.pickle", "offsets.npy", "rows.npy"}


def test_rows_are_sorted_in_parts_and_records_joined_in_parts(tmp_path, monkeypatch):
  files, tables = _files(tmp_path), [table(tmp_path / "one", MANY_ROWS)]
  whole = _steps(tmp_path / "a", tables, files)
  monkeypatch.setattr(gene_rows, "_ROWS_IN_MEMORY", 5)
  monkeypatch.setattr(gene_tables, "_BLOCK", 500)
  monkeypatch.setattr(gene_records, "_RECORDS_PER_JOIN", 1)
  monkeypatch.setattr(gene_records, "_NAMES_PER_BATCH", 1)
  both = [("genbank", write(tmp_path / "both.txt", MRNA_RECORD + BAC_RECORD)), *files[2:]]
  assert _steps(tmp_path / "b", tables, both) == whole


def test_more_record_files_than_may_be_open_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(gene_records, "_OPEN_SPOOLS", 2)
  files, tables = _files(tmp_path), [table(tmp_path / "one", MANY_ROWS)]
  limited = _steps(tmp_path / "a", tables, files)
  monkeypatch.undo()
  assert limited == _steps(tmp_path / "b", tables, files)


def test_parts_of_a_fasta_file_hold_each_record_once(tmp_path):
  tables = [table(tmp_path / "t", [row("AK1.1", "BAA1.1"), row("AK2.1", "BAA2.1")])]
  path = write(tmp_path / "x.fasta", f">BAA1.1\n{PROTEIN}\n>BAA2.1\n{OTHER}\n>BAA3.1\n{OTHER}\n")
  (tmp_path / "rows").mkdir()
  gene_rows.select_rows(tmp_path / "rows", tables=tables)
  found = []
  for i, (start, stop) in enumerate([(0, 10), (10, 40), (40, None)]):
    (folder := tmp_path / str(i)).mkdir()
    found.append(gene_records.extract(
        folder, path=path, kind="protein", rows=str(tmp_path / "rows"), start=start, stop=stop
    ))
  assert sum(part["records"] for part in found) == 3
  assert sum(part["fragments"].get("letters", 0) for part in found) == 2


@pytest.mark.parametrize("text, problem", [
    (MRNA_RECORD.removesuffix("//\n"), "AK1: the record has no end"),
    (MRNA_RECORD.replace("//\n", "") + BAC_RECORD, "AK1: the record has no end"),
    (f">AK1.1\n{MRNA}\n", "no line begins with LOCUS"),
    (MRNA_RECORD.replace("ggcacgag", "ggc"), "AK1: LOCUS promises"),
])
def test_damaged_flat_file_is_an_error_that_names_it(build, text, problem):
  with pytest.raises(InputError, match=f"genbank.txt: {problem}"):
    build([MRNA_ROW], genbank=[text])


def test_flat_file_with_dos_line_ends_and_a_preamble_is_read(build):
  text = "GBPRI1.SEQ   Genetic Sequence Data Bank\n\n" + MRNA_RECORD
  assert len(build([MRNA_ROW], genbank=[text.replace("\n", "\r\n")]).documents) == 1


def test_unknown_kind_of_record_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match="kind must be one of genbank, nucleotide, protein"):
    gene_records.extract(tmp_path, path="x", kind="embl", rows=str(tmp_path))


def test_identity_out_of_range_is_refused():
  with pytest.raises(ValueError, match="min_identity"):
    gene_related.GeneRelatedConfig(min_identity=90)


def test_every_reason_has_a_meaning():
  assert all(gene_related.REASONS.values()) and all(gene_related.NOT_SELECTED.values())
