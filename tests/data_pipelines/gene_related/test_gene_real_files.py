"""Real tables and real records."""

import collections

from data_pipelines import gene_related
from data_pipelines.genes import CodingGene, Reject

REFSEQ = ("REVIEWED", "VALIDATED", "PROVISIONAL", "PREDICTED", "MODEL", "INFERRED", "NA")


def _real(tmp_path, tables, records, **config):
  counts, stats = {}, {}
  items = list(gene_related.read_gene_related(
      tmp_path, tables=tables, records=records, counts=counts, stats=stats,
      config=gene_related.GeneRelatedConfig(**config),
  ))
  rejects = collections.Counter(item.code for item in items if isinstance(item, Reject))
  assert stats["lines"] == stats["selected"] + stats["duplicates"] + sum(stats["not_selected"].values())
  assert counts["rows"] == stats["rows"] == counts["rows_used"] + rejects.total()
  return [item for item in items if isinstance(item, CodingGene)], rejects


def test_real_human_rows_become_documents(shared_data, tmp_path):
  records = shared_data / "genomes" / "human_records"
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "selected_gene2accession.gz"],
      [("genbank", str(records / name)) for name in ("gbpri1_part.seq.gz", "pten_test.gbk.gz")], headerless=True,
  )
  assert {(gene.gene_id, gene.protein_id, gene.genomic, gene.rna_source) for gene in documents} == {
      ("GeneID:23", "BAB63325.1", True, "cds"), ("GeneID:7919", "BAB63306.1", True, "cds"),
      ("GeneID:221547", "BAB63329.1", True, "cds"), ("GeneID:1938", "CAA35829.1", False, "record"),
      ("GeneID:2197", "CAA46716.1", True, "record"),  # FAU: its gene and its mRNA
  }
  assert set(rejects) == {"missing_accession", "no_protein"}


def test_all_real_genes_of_e_coli_become_documents(shared_data, tmp_path):
  genome = str(shared_data / "genomes" / "ecoli_mg1655" / "GCF_000005845.2_ASM584v2_genomic.gbff.gz")
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "derived_gene2refseq_ecoli511145.tsv.gz"], [("genbank", genome)],
      statuses=REFSEQ,
  )
  assert (len(documents), rejects.total()) == (4298, 0)


def test_real_genes_of_yeast_become_documents_from_fasta_alone(shared_data, tmp_path):
  yeast = str(shared_data / "genomes" / "scerevisiae_r64" / "derived_GCF_000146045.2_R64_")
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "derived_gene2refseq_yeast559292.tsv.gz"],
      [("nucleotide", yeast + "genomic.fna.gz"), ("nucleotide", yeast + "rna.fna.gz"),
       ("protein", yeast + "protein.faa.gz")], statuses=REFSEQ,
  )
  # The others are proteins of transposons that slip by one base.
  assert (len(documents), dict(rejects)) == (5948, {"no_orf": 47})
  # Of genes with introns there is no genomic DNA without an annotation of the genome.
  assert sum(gene.genomic for gene in documents) == 5677
