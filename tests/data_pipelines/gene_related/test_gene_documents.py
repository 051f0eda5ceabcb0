"""Nucleotides and proteins of one gene become documents."""

import pytest

from data_pipelines.genes import reverse_complement
from tests.data_pipelines.gene_related.gene_samples import (
  BAC,
  BAC_AT,
  BAC_END,
  BAC_RECORD,
  BAC_ROW,
  CDS,
  LOCATION,
  MRNA,
  MRNA_RECORD,
  MRNA_ROW,
  OTHER,
  PROTEIN,
  VARIANT,
  coding,
  feature,
  genbank,
  row,
)


def test_bac_is_cut_to_the_coding_sequence_of_the_rows_protein(build):
  elsewhere = feature("1..30", "AAA9.1", "TLHVARCTLQ", "codon_start=1")
  [gene] = build([BAC_ROW], genbank=[genbank("AC1.3", BAC, elsewhere, feature(LOCATION, "AAA1.1", PROTEIN))]).documents
  assert gene.dna == BAC[BAC_AT:BAC_END]
  assert gene.cds == CDS and gene.protein == PROTEIN
  assert gene.cds_blocks == ((0, 10), (23, 13 + len(CDS)))
  assert (gene.gene_id, gene.protein_id, gene.transcript_id, gene.taxon) == ("GeneID:1", "AAA1.1", "AC1.3", 9606)
  assert gene.genomic and gene.rna_source == "cds" and gene.protein_source == "qualifier"


def test_minus_strand_is_read_on_the_coding_strand(build):
  n = len(BAC)
  location = f"complement(join({n - BAC_END + 1}..{n - BAC_AT - 23},{n - BAC_AT - 9}..{n - BAC_AT}))"
  record = genbank("AC1.3", reverse_complement(BAC), feature(location, "AAA1.1", PROTEIN))
  for coordinates in (("-", "-", "?"), (n - BAC_END, n - BAC_AT - 1, "-")):
    result = build([row("-", "AAA1.1", "AC1.3", *coordinates)], genbank=[record])
    assert [gene.dna for gene in result.documents] == [BAC[BAC_AT:BAC_END]]


def test_mrna_record_gives_a_document_of_rna_and_protein(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD]).documents
  assert not gene.genomic and gene.rna_source == "record" and gene.transcript_id == "AK1.1"
  assert gene.rna == MRNA and gene.rna_cds == (8, 8 + len(CDS)) and gene.protein == PROTEIN


def test_transcript_that_its_record_calls_dna_is_a_transcript(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD.replace("mRNA  ", "DNA   ")]).documents
  assert not gene.genomic and gene.rna == MRNA


def test_genomic_and_mrna_rows_with_one_protein_become_one_document(build):
  result = build([MRNA_ROW, BAC_ROW], genbank=[MRNA_RECORD, BAC_RECORD])
  [gene] = result.documents
  assert gene.dna == BAC[BAC_AT:BAC_END] and gene.genomic
  assert gene.rna == MRNA and gene.rna_source == "record" and gene.rna[slice(*gene.rna_cds)] == CDS
  assert (gene.transcript_id, gene.protein_id) == ("AK1.1", "BAA1.1")
  assert result.counts == {
      "rows": 2, "rows_used": 2, "rows_rejected": 0, "documents": 1, "documents_dna_rna_protein": 1
  }


def test_alleles_with_synonymous_codons_are_joined_codon_by_codon(build):
  allele = coding(PROTEIN, 1)
  record = genbank("AK1.1", "GG" + allele, feature(f"3..{2 + len(allele)}", "BAA1.1", PROTEIN), moltype="mRNA")
  [gene] = build([MRNA_ROW, BAC_ROW], genbank=[record, BAC_RECORD]).documents
  assert gene.cds == CDS != allele == gene.rna[slice(*gene.rna_cds)]


def test_genomic_and_mrna_of_other_lengths_stay_apart(build):
  partial = genbank("AK1.1", CDS[:-3], feature(f"1..>{len(CDS) - 3}", "BAA1.1", PROTEIN), moltype="mRNA")
  result = build([MRNA_ROW, BAC_ROW], genbank=[partial, BAC_RECORD])
  assert sorted(gene.genomic for gene in result.documents) == [False, True]


def test_surplus_sequences_become_documents_of_two_modalities(build):
  more = [
      genbank(f"AK{i}.1", "G" * i + MRNA, feature(f"{9 + i}..{8 + i + len(CDS)}", f"BAA{i}.1", PROTEIN), moltype="mRNA")
      for i in (2, 3)
  ]
  rows = [MRNA_ROW, BAC_ROW, row("AK2.1", "BAA2.1"), row("AK3.1", "BAA3.1")]
  result = build(rows, genbank=[MRNA_RECORD, BAC_RECORD, *more])
  assert result.counts["documents_dna_rna_protein"] == 1 and result.counts["documents_rna_protein"] == 2
  assert {gene.rna for gene in result.documents} == {MRNA, "GG" + MRNA, "GGG" + MRNA}
  assert len({(gene.transcript_id, gene.protein_id) for gene in result.documents}) == 3


def test_rna_of_the_same_letters_joins_the_dna_before_another_allele(build):
  allele = coding(PROTEIN, 1)
  other = genbank("AA1.1", allele, feature(f"1..{len(allele)}", "BAA0.1", PROTEIN), moltype="mRNA")
  result = build([row("AA1.1", "BAA0.1"), MRNA_ROW, BAC_ROW], genbank=[other, MRNA_RECORD, BAC_RECORD])
  assert [gene.transcript_id for gene in result.documents if gene.genomic] == ["AK1.1"]


def test_rna_and_dna_of_one_row_belong_together_before_all_others(build):
  allele = coding(PROTEIN, 1)
  refseq = genbank("NM_1.1", allele, feature(f"1..{len(allele)}", "NP_1.1", PROTEIN), moltype="mRNA")
  genomic = genbank("NC_1.1", BAC, feature(LOCATION, "NP_1.1", PROTEIN))
  rows = [row("NM_1.1", "NP_1.1", "NC_1.1", BAC_AT, BAC_END - 1, "+", status="REVIEWED"), MRNA_ROW]
  result = build(rows, genbank=[refseq, genomic, MRNA_RECORD], statuses=("-", "REVIEWED"))
  assert [gene.transcript_id for gene in result.documents if gene.genomic] == ["NM_1.1"]


def test_identical_records_become_one_document_that_uses_both_rows(build):
  copy = MRNA_RECORD.replace("AK1", "AK7").replace("BAA1", "BAA7")
  result = build([MRNA_ROW, row("AK7.1", "BAA7.1")], genbank=[MRNA_RECORD, copy])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 2


def test_genes_are_not_mixed(build):
  result = build([MRNA_ROW, row(protein="AAA1.1", genomic="AC1.3", gene=2)], genbank=[MRNA_RECORD, BAC_RECORD])
  assert {(gene.gene_id, gene.genomic) for gene in result.documents} == {("GeneID:1", False), ("GeneID:2", True)}


def test_gene_over_the_origin_of_a_circular_molecule_is_cut_out(build):
  plasmid = CDS[20:] + "ACGT" * 30 + CDS[:20]
  n = len(plasmid)
  record = genbank(
      "CP1.1", plasmid, feature(f"join({n - 19}..{n},1..{len(CDS) - 20})", "AAA1.1", PROTEIN), topology="circular"
  )
  for coordinates in (("-", "-", "?"), (n - 20, len(CDS) - 21, "+")):
    [gene] = build([row("-", "AAA1.1", "CP1.1", *coordinates)], genbank=[record]).documents
    assert gene.cds == CDS


def test_copies_of_a_gene_with_one_protein_are_told_apart_by_coordinates(build):
  allele = coding(PROTEIN, 1)
  genome = "ACGT" * 5 + CDS + "ACGT" * 5 + reverse_complement(allele) + "ACGT"
  second = 40 + len(CDS)
  record = genbank(
      "NC_1.1", genome, feature(f"21..{20 + len(CDS)}", "WP_1.1", PROTEIN),
      feature(f"complement({second + 1}..{second + len(CDS)})", "WP_1.1", PROTEIN),
  )
  rows = [
      row("-", "WP_1.1", "NC_1.1", 20, 19 + len(CDS), "+", gene=1),
      row("-", "WP_1.1", "NC_1.1", second, second + len(CDS) - 1, "-", gene=2),
  ]
  result = build(rows, genbank=[record])
  assert {(gene.gene_id, gene.dna) for gene in result.documents} == {("GeneID:1", CDS), ("GeneID:2", allele)}



# --- Proteins alone ---

@pytest.mark.parametrize("header", ["sp|P1A234|ABC_HUMAN A protein OS=Homo sapiens OX=9606 SV=2", "P1A234.2 protein"])
def test_equal_protein_alone_is_joined_to_the_document(build, header):
  result = build([MRNA_ROW, row(protein="P1A234.2")], genbank=[MRNA_RECORD], protein=[f">{header}\n{PROTEIN}\n"])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 2


def test_natural_variant_stands_beside_the_nucleotides_of_its_gene(build):
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{VARIANT}\n", f">tr|A0A0A0|ABC_HUMAN x SV=1\n{VARIANT}\n"]
  rows = [MRNA_ROW, BAC_ROW, row(protein="P1A234.2"), row(protein="A0A0A0.1")]
  result = build(rows, genbank=[MRNA_RECORD, BAC_RECORD], protein=fasta)
  assert sorted(gene.protein for gene in result.documents) == sorted([PROTEIN, VARIANT])
  variant = next(gene for gene in result.documents if gene.protein == VARIANT)
  assert variant.cds == CDS and variant.rna == MRNA and variant.genomic
  assert variant.protein_id in ("P1A234.2", "A0A0A0.1") and variant.protein_source == "record"
  assert result.counts["rows_used"] == 4


def test_variant_joins_the_most_similar_translation(build):
  near = PROTEIN[:-1] + "K"
  second = genbank("AK2.1", coding(near), feature(f"1..{3 * len(near) + 3}", "BAA2.1", near), moltype="mRNA")
  rows = [MRNA_ROW, row("AK2.1", "BAA2.1"), row(protein="P1A234.2")]
  fasta = [f">P1A234.2\n{near[:7]}V{near[8:]}\n"]
  result = build(rows, genbank=[MRNA_RECORD, second], protein=fasta)
  assert next(gene for gene in result.documents if gene.protein_id == "P1A234.2").cds == coding(near)


@pytest.mark.parametrize("protein, min_identity", [
    (OTHER, 0.9), (VARIANT, 0.95), (PROTEIN[1:], 0.9), (PROTEIN + "K", 0.9), ("X" * len(PROTEIN), 0.9)
])
def test_protein_that_nothing_translates_to_is_rejected(build, protein, min_identity):
  rows = [MRNA_ROW, row(protein="P1A234.2")]
  result = build(rows, genbank=[MRNA_RECORD], protein=[f">P1A234.2\n{protein}\n"], min_identity=min_identity)
  assert result.codes == {"unmatched_protein": 1}
  assert result.rejects[0].record == "GeneID:1 P1A234.2"


def test_protein_of_a_gene_without_usable_nucleotides_is_rejected(build):
  rows = [row(protein="P1A234.2"), row("AK9.1", "BAA9.1")]
  assert build(rows, protein=[f">P1A234.2\n{PROTEIN}\n"]).codes == {"no_nucleotides": 1, "missing_accession": 1}


def test_protein_alone_is_found_as_a_translation_in_a_genbank_record(build):
  elsewhere = genbank("X1.1", CDS, feature(f"1..{len(CDS)}", "CAA1.1", PROTEIN), moltype="mRNA")
  untranslated = genbank("X2.1", CDS, feature(f"1..{len(CDS)}", "CAA2.1"), moltype="mRNA")
  rows = [MRNA_ROW, row(protein="CAA1.1"), row(protein="CAA2.1")]
  result = build(rows, genbank=[MRNA_RECORD, elsewhere, untranslated])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 3


def test_isoform_of_a_uniprot_entry_is_joined_to_its_own_transcript(build):
  short = PROTEIN[:10]
  transcript = genbank("AK2.1", coding(short), feature("1..33", "BAA2.1", short), moltype="mRNA")
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{OTHER}\n", f">sp|P1A234-2|ABC_HUMAN Isoform 2 of x\n{short}\n"]
  rows = [row("AK2.1", "BAA2.1"), row(protein="P1A234.2")]
  assert build(rows, genbank=[transcript], protein=fasta).counts["rows_used"] == 2
  assert build(rows, genbank=[transcript], protein=fasta[:1]).codes == {"unmatched_protein": 1}
