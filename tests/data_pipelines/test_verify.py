"""The check that a coding sequence translates to its protein."""

import dataclasses

import pytest

from data_pipelines.genes import REASONS, Reject
from data_pipelines.verify import verify


def _verify(dna, protein=None, **changes):
  arguments = {
      "record": "r", "gene_id": "g", "transcript_id": "t", "protein_id": "p", "taxon": 9, "dna": dna,
      "cds_blocks": [(0, len(dna))], "exon_blocks": None, "codon_start": 1, "protein": protein,
      "protein_source": "record", "transl_table": 1, "partial5": False, "partial3": False, "selected": False,
  }
  return verify(**(arguments | changes))


def _code(item):
  return item.code if isinstance(item, Reject) else "kept"


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
        ("ATGNNNTAA", "MG", {}, "kept"),
        ("ATGNNNTAA", "M\ufffd", {}, "translation_mismatch"),
        ("ATGNNNTAA", "M-", {}, "translation_mismatch"),
        ("ATGNNNTAA", "Mg", {}, "translation_mismatch"),
        ("ATGGCTTAA", "MX", {}, "kept"),
        ("ATGAATTAA", "MB", {}, "kept"),
        ("ATGTGATAA", "MX", {}, "internal_stop"),
        ("AT", None, {}, "empty_cds"),
        ("ATGA", "M", {"codon_start": 3}, "empty_cds"),
        ("TAA", "", {}, "empty_cds"),
        ("TAA", None, {"exception": "alternative start codon"}, "empty_cds"),
        ("ATGGCTTAA", "MA", {"codon_start": 0}, "bad_location"),
        ("ATGGCTTAA", "MA", {"transl_table": 7}, "unknown_transl_table"),
        ("ATGGCTTAA", "MG", {"exception": "RNA editing"}, "rna_editing"),
        ("ATGGCTTAA", "MA", {"exception": "RNA editing"}, "kept"),
        ("ATGGCTTAA", "MG", {"exception": "ribosomal slippage"}, "ribosomal_slippage"),
        ("ATGGCTTAA", "MG", {"exception": "rearrangement required for product"}, "rearrangement_required"),
        ("ATGGCTTAA", "MG", {"exception": "unclassified translation discrepancy"}, "other_exception"),
        ("ATGGCTTAA", "MA", {"exception": "trans-splicing"}, "trans_splicing"),
        ("ATGGCTTAA", "MG", {"exception": "low-quality sequence region,RNA editing"}, "rna_editing"),
        ("ATGGCTTAA", "MA", {"exception": "RNA editing, trans-splicing"}, "trans_splicing"),
    ],
)
def test_the_verdict_on_a_coding_sequence_and_its_protein(dna, protein, changes, code):
  item = _verify(dna, protein, **changes)
  assert _code(item) == code
  if code == "kept":
    assert item.protein == protein or protein is None
  else:
    assert code in REASONS and item.detail


def test_a_mismatch_says_where_and_what():
  assert _verify("ATGGCTGCTTAA", "MAG").detail == "1 of 3 residues, first at 3: A from the CDS, G in the protein"


@pytest.mark.parametrize("table, last", [(27, "TGA"), (28, "TAG"), (31, "TAA")])
def test_a_codon_with_two_meanings_is_a_residue_inside_and_a_stop_at_the_end(table, last):
  gene = _verify("ATG" + last + "GCT" + last, transl_table=table)
  assert len(gene.protein) == 3 and "*" not in gene.protein
  for protein in (gene.protein, gene.protein + "*"):
    item = _verify("ATG" + last + "GCT" + last, protein, transl_table=table)
    assert item == dataclasses.replace(gene, protein_source="record")


def test_the_last_incomplete_codon_counts_where_its_bases_fix_the_residue():
  assert _verify("ATGGCTCT", "MAL", partial3=True).protein == "MAL"
  assert _verify("ATGGCTCT", "MA", partial3=True).protein == "MA"
  assert _verify("ATGGCTCT", "MA*", partial3=True).protein == "MA"
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


@pytest.mark.parametrize(
    "exception, code",
    [
        ("RNA editing", "rna_editing"),
        ("rearrangement required for product", "rearrangement_required"),
        ("reasons given in citation", "other_exception"),
        ("annotated by transcript or proteomic data", "other_exception"),
        ("unclassified translation discrepancy", "other_exception"),
        ("mismatches in translation", "other_exception"),
        ("artificial frameshift", "other_exception"),
        ("low-quality sequence region", "other_exception"),
        ("nonconsensus splice site, RNA editing", "rna_editing"),
        ("a value that nobody knows", "other_exception"),
    ],
)
def test_without_a_protein_an_exception_makes_the_translation_doubtful(exception, code):
  item = _verify("ATGGCTTAA", exception=exception)
  assert (_code(item), item.detail) == (code, f"exception={exception}; no protein to test the translation against")
  assert _verify("ATGGCTTAA", "MA", exception=exception).protein == "MA"


@pytest.mark.parametrize(
    "exception",
    [
        "",
        "nonconsensus splice site",
        "Dicistronic gene",
        "unextendable partial coding region",
        "alternative start codon,nonconsensus splice site",
    ],
)
def test_without_a_protein_a_harmless_exception_does_not_matter(exception):
  assert _verify("ATGGCTTAA", exception=exception).protein == "MA"


def test_without_a_protein_a_slip_is_trusted_only_where_the_parts_show_it():
  slipping = {"exception": "ribosomal slippage"}
  assert _verify("ATGCGCTTAA", cds_blocks=[(0, 3), (4, 10)], **slipping).protein == "MA"
  assert _code(_verify("ATGGCTTAA", **slipping)) == "ribosomal_slippage"
  assert _verify("ATGGCTTAA", "MA", **slipping).protein == "MA"
