"""Cutting genes out of genomic sequences, and the check that each translates to its protein."""

import random

from Bio.Seq import Seq
import pytest

from data_pipelines import genes

GENOME = "".join(random.Random(0).choices("ACGT", k=100))


def _spliced(sequence, parts):
  """The parts' letters one base at a time: slow and plain."""
  bases = []
  for start, end, strand in parts:
    piece = [sequence[i % len(sequence)] for i in range(start, end)]
    bases += piece if strand > 0 else [str(Seq(base).complement()) for base in reversed(piece)]
  return "".join(bases)


@pytest.mark.parametrize(
    "cds, exons, circular",
    [
        ([(10, 40, 1)], None, False),
        ([(10, 40, -1)], None, False),
        ([(10, 20, 1), (30, 40, 1)], None, False),
        ([(30, 40, -1), (10, 20, -1)], None, False),
        ([(0, 50, 1), (49, 100, 1)], None, False),
        ([(50, 100, -1), (0, 51, -1)], None, False),
        ([(90, 100, 1), (0, 20, 1)], None, True),
        ([(0, 20, -1), (90, 100, -1)], None, True),
        ([(90, 120, 1)], None, True),
        ([(90, 120, -1)], None, True),
        ([(95, 100, 1), (0, 5, 1), (10, 20, 1)], None, True),
        ([(25, 35, 1), (50, 60, 1)], [(5, 10, 1), (20, 35, 1), (50, 70, 1)], False),
        ([(50, 60, -1), (25, 35, -1)], [(50, 70, -1), (20, 35, -1), (5, 10, -1)], False),
        ([(0, 20, 1)], [(90, 100, 1), (0, 40, 1)], True),
        ([(90, 95, -1)], [(0, 20, -1), (80, 100, -1)], True),
    ],
)
def test_blocks_cut_out_the_letters_that_the_location_names(cds, exons, circular):
  dna, cds_blocks, exon_blocks = genes.coding_strand(GENOME, cds, exons, circular=circular)
  assert "".join(dna[a:b] for a, b in cds_blocks) == _spliced(GENOME, cds)
  span = exon_blocks or cds_blocks
  assert span[0][0] == 0 and max(end for _, end in span) == len(dna)
  if exons:
    assert "".join(dna[a:b] for a, b in exon_blocks) == _spliced(GENOME, exons)
  else:
    assert exon_blocks is None


@pytest.mark.parametrize(
    "cds, exons, circular, code",
    [
        ([], None, False, "empty_cds"),
        ([(90, 101, 1)], None, False, "bad_location"),
        ([(-1, 9, 1)], None, False, "bad_location"),
        ([(9, 9, 1)], None, False, "bad_location"),
        ([(90, 201, 1)], None, True, "bad_location"),
        ([(10, 20, 1), (30, 40, -1)], None, True, "trans_splicing"),
        ([(30, 40, 1), (10, 20, 1)], None, False, "trans_splicing"),
        ([(10, 20, -1), (30, 40, -1)], None, False, "trans_splicing"),
        ([(30, 40, 1), (10, 35, 1)], None, True, "trans_splicing"),
        ([(30, 40, 1), (10, 15, 1), (5, 8, 1)], None, True, "trans_splicing"),
        ([(10, 40, 1)], [(20, 60, 1)], False, "cds_outside_exons"),
        ([(20, 50, 1)], [(20, 30, 1), (40, 60, 1)], False, "cds_outside_exons"),
        ([(20, 30, 1)], [(20, 30, -1)], False, "cds_outside_exons"),
    ],
)
def test_locations_that_name_no_stretch_have_a_code(cds, exons, circular, code):
  with pytest.raises(genes.LocationError) as error:
    genes.coding_strand(GENOME, cds, exons, circular=circular)
  assert error.value.code == code
  assert code in genes.REASONS


def test_the_reverse_complement_knows_the_ambiguity_codes():
  letters = "ACGTNRYSWKMBDHV"
  assert genes.reverse_complement(letters) == str(Seq(letters).reverse_complement())
  assert genes.reverse_complement("UA") == "TA"


def _verify(dna, protein=None, **changes):
  arguments = {
      "record": "r", "gene_id": "g", "transcript_id": "t", "protein_id": "p", "taxon": 9, "dna": dna,
      "cds_blocks": [(0, len(dna))], "exon_blocks": None, "codon_start": 1, "protein": protein,
      "protein_source": "record", "transl_table": 1, "partial5": False, "partial3": False, "selected": False,
  }
  return genes.verify(**(arguments | changes))


def _code(item):
  return item.code if isinstance(item, genes.Reject) else "kept"


def test_a_gene_is_kept_with_its_protein_without_the_stop():
  gene = _verify("ATGGCTTAA", "MA")
  assert (gene.protein, gene.protein_source, gene.cds, gene.rna, gene.rna_source, gene.rna_cds) == (
      "MA", "record", "ATGGCTTAA", "ATGGCTTAA", "cds", (0, 9),
  )
  assert _verify("ATGGCTTAA", "MA*").protein == "MA"


def test_without_a_protein_the_translation_is_taken():
  gene = _verify("ATGGCTTAA")
  assert (gene.protein, gene.protein_source) == ("MA", "translated")


@pytest.mark.parametrize(
    "dna, protein, changes, code",
    [
        ("GTGGCTTAA", "MA", {"transl_table": 11}, "kept"),
        ("GTGGCTTAA", "VA", {"transl_table": 11}, "kept"),
        ("GTGGCTTAA", "MA", {}, "translation_mismatch"),
        ("GTGGCTTAA", "MA", {"transl_table": 11, "partial5": True}, "translation_mismatch"),
        ("ACGGCTTAA", "MA", {"exception": "alternative start codon"}, "kept"),
        ("ATGTGATAA", "MW", {"transl_table": 4}, "kept"),
        ("ATGTGATAA", "MW", {}, "internal_stop"),
        ("ATGTGATAA", None, {}, "internal_stop"),
        ("ATGTGATAA", "MU", {}, "internal_stop"),
        ("ATGTGATAA", "MU", {"transl_except": {3: "U"}}, "kept"),
        ("ATGTGATAA", None, {"transl_except": {3: "U"}}, "kept"),
        ("ATGTGATAA", "MW", {"transl_except": {3: "U"}}, "translation_mismatch"),
        ("ATGTGATAA", "MU", {"transl_except": {4: "U"}}, "bad_transl_except"),
        ("ATGTGATAA", "MU", {"transl_except": {9: "U"}}, "bad_transl_except"),
        ("CATGTGATAA", "MU", {"transl_except": {4: "U"}, "codon_start": 2}, "kept"),
        ("ATGGCTTA", "MA", {"transl_except": {6: "*"}}, "kept"),
        ("ATGGCTT", None, {"transl_except": {6: "*"}}, "kept"),
        ("ATGGCTTA", None, {}, "length_mismatch"),
        ("ATGGCTTA", None, {"partial3": True}, "kept"),
        ("ATGGCTTAA", "MAA", {}, "length_mismatch"),
        ("ATGGCTTAA", "MG", {}, "translation_mismatch"),
        ("ATGGCTTAA", "", {}, "length_mismatch"),
        ("ATGGCNTAA", "MA", {}, "kept"),
        ("ATGNCTTAA", "MG", {}, "kept"),
        ("ATGGCTTAA", "MX", {}, "kept"),
        ("ATGAATTAA", "MB", {}, "kept"),
        ("ATGTGATAA", "MX", {}, "internal_stop"),
        ("AT", None, {}, "empty_cds"),
        ("ATGA", "M", {"codon_start": 3}, "empty_cds"),
        ("ATGGCTTAA", "MA", {"codon_start": 0}, "bad_location"),
        ("ATGGCTTAA", "MA", {"transl_table": 7}, "unknown_transl_table"),
        ("ATGGCTTAA", "MG", {"exception": "RNA editing"}, "rna_editing"),
        ("ATGGCTTAA", "MA", {"exception": "RNA editing"}, "kept"),
        ("ATGGCTTAA", "MG", {"exception": "ribosomal slippage"}, "ribosomal_slippage"),
        ("ATGGCTTAA", "MG", {"exception": "rearrangement required for product"}, "rearrangement_required"),
        ("ATGGCTTAA", "MG", {"exception": "unclassified translation discrepancy"}, "other_exception"),
        ("ATGGCTTAA", "MA", {"exception": "trans-splicing"}, "trans_splicing"),
    ],
)
def test_the_verdict_on_a_coding_sequence_and_its_protein(dna, protein, changes, code):
  item = _verify(dna, protein, **changes)
  assert _code(item) == code
  if code == "kept":
    assert item.protein == protein or protein is None
  else:
    assert code in genes.REASONS and item.detail


def test_a_mismatch_says_where_and_what():
  assert _verify("ATGGCTGCTTAA", "MAG").detail == "1 of 3 residues, first at 3: A from the CDS, G in the protein"


@pytest.mark.parametrize("table, last", [(27, "TGA"), (28, "TAG"), (31, "TAA")])
def test_a_codon_with_two_meanings_is_a_residue_inside_and_a_stop_at_the_end(table, last):
  gene = _verify("ATG" + last + "GCT" + last, transl_table=table)
  assert len(gene.protein) == 3 and "*" not in gene.protein
  assert _verify("ATG" + last + "GCT" + last, gene.protein, transl_table=table) == genes.dataclasses.replace(
      gene, protein_source="record"
  )


def test_the_last_incomplete_codon_counts_where_its_bases_fix_the_residue():
  assert _verify("ATGGCTCT", "MAL", partial3=True).protein == "MAL"
  assert _verify("ATGGCTCT", "MA", partial3=True).protein == "MA"
  assert _code(_verify("ATGGCTAA", "MAK", partial3=True)) == "length_mismatch"


def test_codon_start_takes_its_bases_off_the_first_blocks():
  within_two_blocks = _verify("ATTGCCGCTTAA", "PL", cds_blocks=[(0, 1), (3, 12)], codon_start=3, partial3=True)
  assert (within_two_blocks.cds, within_two_blocks.cds_blocks) == ("CCGCTTAA", ((4, 12),))
  whole_block = _verify("ATTGCCGCTTAA", "CRL", cds_blocks=[(0, 1), (2, 12)], codon_start=2, partial3=True)
  assert (whole_block.cds, whole_block.cds_blocks) == ("TGCCGCTTAA", ((2, 12),))


def test_the_transcript_is_spliced_from_the_exons():
  dna = "GGATGGTAGCTTAACC"
  gene = _verify(dna, "MA", cds_blocks=[(2, 5), (8, 14)], exon_blocks=[(0, 5), (8, 16)])
  assert (gene.rna, gene.rna_source, gene.rna_cds) == ("GGATGGCTTAACC", "exons", (2, 11))
  assert gene.rna[2:11] == gene.cds


def test_a_transcript_record_is_taken_as_it_is():
  dna = "GGATGGTAGCTTAACC"
  places = {"cds_blocks": [(2, 5), (8, 14)], "exon_blocks": [(0, 5), (8, 16)]}
  polyadenylated = _verify(dna, "MA", rna="GGATGGCTTAACCAAAA", **places)
  assert (polyadenylated.rna_source, polyadenylated.rna_cds) == ("record", (2, 11))
  longer_leader = _verify(dna, "MA", rna="TTTGGATGGCTTAACC", **places)
  assert longer_leader.rna_cds == (5, 14)
  polymorphic = _verify(dna, "MA", rna="GGATGGCATAACC", **places)
  assert polymorphic.rna_cds is None and polymorphic.rna == "GGATGGCATAACC"


def test_a_coding_sequence_that_occurs_twice_in_its_transcript_has_its_annotated_place():
  gene = _verify("ATGTAAGATGTAAG", "M", cds_blocks=[(7, 13)], exon_blocks=[(0, 14)])
  assert gene.rna_cds == (7, 13)


def test_a_slip_of_the_ribosome_is_in_the_coding_sequence_but_not_in_the_transcript():
  back = _verify("ATGAAAAAATAA", cds_blocks=[(0, 5), (4, 9), (9, 11)], partial3=True)
  assert (back.cds, back.rna, back.rna_cds) == ("ATGAAAAAAATA", "ATGAAAAAATA", None)
  forward = _verify("ATGGCTCGCATAA", "MAA", cds_blocks=[(0, 6), (7, 13)])
  assert (forward.cds, forward.rna, forward.rna_cds) == ("ATGGCTGCATAA", "ATGGCTCGCATAA", None)


def test_an_intron_is_not_mistaken_for_a_slip():
  gene = _verify("ATGGTAGCTTAA", "MA", cds_blocks=[(0, 3), (6, 12)])
  assert (gene.rna, gene.rna_cds) == ("ATGGCTTAA", (0, 9))
