"""Unannotated nucleotides: the frame that translates to the row's protein, or none."""

import pytest

from data_pipelines.errors import InputError
from data_pipelines.genes import reverse_complement
from tests.data_pipelines.gene_related.gene_samples import (
  BAC,
  BAC_RECORD,
  BAC_ROW,
  CDS,
  MRNA,
  MRNA_RECORD,
  MRNA_ROW,
  OTHER,
  PROTEIN,
  row,
)


def test_proteins_own_record_is_taken_where_it_is_there(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD], protein=[f">BAA1.1 protein\n{PROTEIN}\n"]).documents
  assert (gene.protein, gene.protein_source) == (PROTEIN, "record")


def test_transcript_of_fasta_is_kept_where_a_frame_translates_to_the_protein(build):
  for lead in ("", "G", "GG", "ACTGATAA"):
    result = build([MRNA_ROW], nucleotide=[f">AK1.1 mRNA\n{lead + CDS}\nAATAAA\n"], protein=[f">BAA1.1\n{PROTEIN}\n"])
    [gene] = result.documents
    assert gene.rna == lead + CDS + "AATAAA" and gene.rna_cds == (len(lead), len(lead + CDS))
    assert not gene.genomic and not gene.partial5 and not gene.partial3


def test_rna_letters_of_fasta_are_read(build):
  letters = MRNA.replace("T", "u")
  [gene] = build([MRNA_ROW], nucleotide=[f">AK1.1\n{letters}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"]).documents
  assert gene.rna == MRNA


def test_genomic_fasta_is_cut_to_the_rows_coordinates(build):
  genome = "ACGT" * 10 + CDS + "ACGT"
  for sequence, start, strand in ((genome, 40, "+"), (reverse_complement(genome), 4, "-")):
    # The row's stretch may be longer than the coding sequence: a gene has untranslated ends.
    line = row("-", "AAA1.1", "NC_1.1", start - 3, start + len(CDS) + 2, strand)
    result = build([line], nucleotide=[f">NC_1.1\n{sequence}\n"], protein=[f">AAA1.1\n{PROTEIN}\n"])
    [gene] = result.documents
    assert gene.dna == gene.cds == CDS and gene.genomic and gene.rna_source == "cds"


def test_genetic_codes_are_tried_in_the_order_given(build):
  cds = "ATGTGATGGAAATAA"
  lines = {"nucleotide": [f">AK1.1\n{cds}\n"], "protein": [">BAA1.1\nMWWK\n"]}
  assert build([MRNA_ROW], **lines).codes == {"no_orf": 1}
  [gene] = build([MRNA_ROW], **lines, transl_tables=(1, 4)).documents
  assert (gene.protein, gene.transl_table) == ("MWWK", 4)


def test_alternative_start_codon_is_methionine(build):
  cds = "GTG" + CDS[3:]
  lines = {"nucleotide": [f">AK1.1\nCC{cds}\n"], "protein": [f">BAA1.1\n{PROTEIN}\n"]}
  assert build([MRNA_ROW], **lines).codes == {"no_orf": 1}
  [gene] = build([MRNA_ROW], **lines, transl_tables=(11,)).documents
  assert gene.cds == cds and gene.protein == PROTEIN


@pytest.mark.parametrize("letters, protein, partial", [
    (CDS[:-3], PROTEIN, (False, True)), (CDS[3:], PROTEIN[1:], (True, False)), (CDS[4:-4], PROTEIN[2:-1], (True, True)),
])
def test_frame_may_be_cut_by_the_ends_of_the_record(build, letters, protein, partial):
  [gene] = build([MRNA_ROW], nucleotide=[f">AK1.1\n{letters}\n"], protein=[f">BAA1.1\n{protein}\n"]).documents
  assert (gene.protein, gene.partial5, gene.partial3) == (protein, *partial)


@pytest.mark.parametrize("protein", [PROTEIN[1:], PROTEIN[:-1], PROTEIN[:5] + "X" + PROTEIN[6:], OTHER, "M", "K*K"])
def test_frame_of_another_protein_or_a_part_of_it_is_no_frame(build, protein):
  result = build([MRNA_ROW], nucleotide=[f">AK1.1\nG{CDS}AAG\n"], protein=[f">BAA1.1\n{protein}\n"])
  assert result.codes == {"no_orf": 1}


def test_later_frame_is_found_behind_a_shorter_one_of_the_same_protein(build):
  [gene] = build(
      [MRNA_ROW], nucleotide=[f">AK1.1\n{CDS[:-3]}AAA{CDS}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"]
  ).documents
  assert gene.rna_cds == (len(CDS), 2 * len(CDS))


def test_nucleotides_that_are_none_are_an_error_that_names_file_and_record(build):
  with pytest.raises(InputError, match="nucleotide.txt: AK1.1: 'E' in the sequence is no nucleotide"):
    build([MRNA_ROW], nucleotide=[f">AK1.1\n{PROTEIN}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"])


def test_annotated_record_is_taken_before_bare_letters_of_the_same_accession(build):
  result = build([BAC_ROW], genbank=[BAC_RECORD], nucleotide=[f">AC1.3\n{BAC}\n"])
  assert [gene.cds for gene in result.documents] == [CDS]
