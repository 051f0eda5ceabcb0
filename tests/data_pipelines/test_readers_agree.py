"""A gene over the origin of a circular genome, as each format may write it: every reader gives the same gene."""

import dataclasses

import pytest

from data_pipelines.formats.feature_table import read_feature_table
from data_pipelines.formats.genbank import read_genbank
from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import CodingGene, reverse_complement

CODING = "ATGAAAACCGCGTATTAA"
TRANSCRIPT = "GGCAC" + CODING + "TTGGC"
PLUS = TRANSCRIPT[15:] + "C" * 72 + TRANSCRIPT[:15]  # 100 bases; the gene lies at 86..100 and 1..13.
EXPECTED = CodingGene(
    gene_id="LT1", transcript_id="NM_1.1", protein_id="NP_1.1", taxon=562, dna=TRANSCRIPT, cds_blocks=((5, 23),),
    rna=TRANSCRIPT, rna_cds=(5, 23), rna_source="exons", protein="MKTAY", protein_source="record", transl_table=1,
)  # fmt: skip
# Strand to where the CDS and its transcript begin before the origin and end behind it.
ENDS = {"+": ((91, 8), (86, 13)), "-": ((93, 10), (88, 15))}


@pytest.fixture(params=["+", "-"])
def files(request, tmp_path):
  """Strand, folder; the folder holds genome and protein."""
  (tmp_path / "a.fna").write_text(f">NC_1.1\n{PLUS if request.param == '+' else reverse_complement(PLUS)}\n")
  (tmp_path / "a.faa").write_text(">NP_1.1\nMKTAY\n")
  return request.param, tmp_path


def location(ends, strand, form):
  text = form.format(*ends)
  return text if strand == "+" else f"complement({text})"


@pytest.mark.parametrize("form", ["join({0}..100,1..{1})", "{0}..{1}"])
def test_genbank_gives_a_gene_over_the_origin_as_one_block(files, form):
  strand, folder = files
  cds, mrna = (location(ends, strand, form) for ends in ENDS[strand])
  genome = (folder / "a.fna").read_text().split("\n")[1].lower()
  (folder / "a.gb").write_text(
      "LOCUS       NC_1  100 bp  DNA  circular  BCT 01-JAN-2000\nVERSION     NC_1.1\nFEATURES\n"
      '     source          1..100\n                     /db_xref="taxon:562"\n'
      f'     mRNA            {mrna}\n                     /locus_tag="LT1"\n                     '
      f'/transcript_id="NM_1.1"\n     CDS             {cds}\n                     /locus_tag="LT1"\n'
      '                     /protein_id="NP_1.1"\n                     /translation="MKTAY"\n'
      f"ORIGIN\n        1 {genome}\n//\n"
  )
  assert list(read_genbank(folder / "a.gb")) == [dataclasses.replace(EXPECTED, protein_source="qualifier")]


@pytest.mark.parametrize("lines", [1, 2])
def test_gff3_gives_a_gene_over_the_origin_as_one_block(files, lines):
  strand, folder = files
  rows = ["NC_1.1\tx\tregion\t1\t100\t.\t+\t.\tID=r;Is_circular=true;Dbxref=taxon:562"]
  cds, mrna = ENDS[strand]
  for kind, (start, end), text in [
      ("gene", mrna, "ID=gene-1;locus_tag=LT1"),
      ("mRNA", mrna, "ID=rna-1;Parent=gene-1;transcript_id=NM_1.1"),
      ("exon", mrna, "ID=exon-1;Parent=rna-1"),
      ("CDS", cds, "ID=cds-1;Parent=rna-1;protein_id=NP_1.1"),
  ]:
    for first, last in [(start, 100 + end)] if lines == 1 else [(start, 100), (1, end)]:
      rows.append(f"NC_1.1\tx\t{kind}\t{first}\t{last}\t.\t{strand}\t0\t{text}")
  (folder / "a.gff").write_text("\n".join(rows) + "\n")
  assert list(read_gff3(folder / "a.gff", folder / "a.fna", protein=folder / "a.faa")) == [EXPECTED]


@pytest.mark.parametrize("form", [None, "join({0}..100,1..{1})"])
def test_the_feature_table_gives_a_gene_over_the_origin_as_one_block(files, form):
  strand, folder = files
  header = (
      "feature class genomic_accession start end strand product_accession related_accession symbol GeneID locus_tag"
      " feature_interval_length attributes"
  )
  rows = [header.split()]
  for kind, own, other, ends, bases in zip(("CDS", "mRNA"), ("NP", "NM"), ("NM", "NP"), ENDS[strand], ("18", "28")):
    names = [f"{own}_1.1", f"{other}_1.1", "", "", "LT1"]
    rows.append([kind, "", "NC_1.1", *map(str, ends), strand, *names, bases, ""])
  (folder / "a.txt").write_text("# " + "".join("\t".join(row) + "\n" for row in rows))
  cds = None
  if form:
    cds = folder / "cds.fna"
    place = location(ENDS[strand][0], strand, form)
    cds.write_text(f">lcl|NC_1.1_cds_NP_1.1_1 [protein_id=NP_1.1] [location={place}]\n{CODING}\n")
  items = read_feature_table(
      folder / "a.txt", genome=folder / "a.fna", protein=folder / "a.faa", cds=cds, taxon=562
  )
  assert list(items) == [EXPECTED]
