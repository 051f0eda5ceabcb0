"""Every chosen row of the tables becomes part of a document, or has a reason why not."""

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.data_pipelines.gene_related.gene_samples import (
  BAC,
  BAC_AT,
  BAC_END,
  BAC_RECORD,
  LOCATION,
  MRNA,
  MRNA_RECORD,
  MRNA_ROW,
  OTHER,
  PROTEIN,
  VARIANT,
  feature,
  genbank,
  row,
)


def test_row_without_a_protein_is_rejected(build):
  rows = [row("AK1.1"), row(genomic="AC1.3", start=5, end=90, strand="+")]
  assert build(rows, genbank=[MRNA_RECORD, BAC_RECORD]).codes == {"no_protein": 2}


def test_accession_that_no_file_holds_is_missing(build):
  rows = [row("AK9.1", "BAA1.1"), row(protein="AAA1.1", genomic="AC9.3"), row(protein="P1A234.2")]
  result = build(rows, genbank=[MRNA_RECORD])
  assert result.codes == {"missing_accession": 3}
  assert {reject.detail for reject in result.rejects} == {"AK9.1", "AC9.3", "P1A234.2"}


def test_protein_of_unannotated_nucleotides_may_be_missing_or_of_another_version(build):
  fasta = {"nucleotide": [f">AK1.1\n{MRNA}\n"]}
  assert build([MRNA_ROW], **fasta).codes == {"missing_accession": 1}
  assert build([MRNA_ROW], **fasta, protein=[f">BAA1.2\n{PROTEIN}\n"]).codes == {"other_version": 1}


@pytest.mark.parametrize("wanted, found", [
    (row("AK1.2", "BAA1.1"), "AK1.1 is there, AK1.2 is not"),
    (row("AK1.1", "BAA1.2"), "AK1.1 annotates BAA1.1"),
    (row(protein="AAA1.1", genomic="AC1.2"), "AC1.3 is there, AC1.2 is not"),
    (row(protein="P1A234.3"), "P1A234.2 is there, P1A234.3 is not"),
])
def test_another_version_is_not_taken_and_both_are_named(build, wanted, found):
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{PROTEIN}\n"]
  result = build([wanted], genbank=[MRNA_RECORD, BAC_RECORD], protein=fasta)
  assert result.codes == {"other_version": 1}
  assert result.rejects[0].detail == found


def test_version_of_the_row_is_taken_where_several_are_there(build):
  newer = MRNA_RECORD.replace("VERSION     AK1.1", "VERSION     AK1.2").replace("ggcacgag", "aaaaaaaa")
  [gene] = build([MRNA_ROW], genbank=[newer, MRNA_RECORD]).documents
  assert gene.rna == MRNA


def test_genomic_record_that_does_not_annotate_the_protein_is_not_guessed(build):
  result = build([row(protein="AAA2.1", genomic="AC1.3")], genbank=[BAC_RECORD])
  assert result.codes == {"no_feature": 1}


@pytest.mark.parametrize("start, end, strand", [
    (0, BAC_AT - 1, "+"), (BAC_AT, BAC_END - 1, "-"), (BAC_END, BAC_END + 50, "+"), (10**6, 10**6 + 100, "+")
])
def test_feature_outside_the_rows_coordinates_is_not_taken(build, start, end, strand):
  result = build([row("-", "AAA1.1", "AC1.3", start, end, strand)], genbank=[BAC_RECORD])
  assert result.codes == {"coordinates_off": 1}


@pytest.mark.parametrize("start, end", [(10**6, 10**6 + 10), (90, 10), (5, 10**6)])
def test_coordinates_outside_an_unannotated_record_are_rejected(build, start, end):
  fasta = {"nucleotide": [f">NC_1.1\n{BAC}\n"], "protein": [f">AAA1.1\n{PROTEIN}\n"]}
  assert build([row("-", "AAA1.1", "NC_1.1", start, end, "+")], **fasta).codes == {"coordinates_off": 1}


def test_coordinates_without_a_strand_cut_nothing(build):
  fasta = {"nucleotide": [f">NC_1.1\n{BAC}\n"], "protein": [f">AAA1.1\n{PROTEIN}\n"]}
  assert build([row("-", "AAA1.1", "NC_1.1", 10, 90, "?")], **fasta).codes == {"no_feature": 1}


def test_protein_record_that_differs_from_the_translation_is_rejected(build):
  fasta = [f">BAA1.1\n{VARIANT}\n"]
  assert build([MRNA_ROW], genbank=[MRNA_RECORD], protein=fasta).codes == {"protein_differs": 1}
  open_residue = [f">BAA1.1\n{PROTEIN[:7]}X{PROTEIN[8:]}\n"]
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD], protein=open_residue).documents
  assert (gene.protein, gene.protein_source) == (PROTEIN, "qualifier")


@pytest.mark.parametrize("record, code", [
    (genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", OTHER)), "translation_mismatch"),
    (genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", PROTEIN, "pseudo")), "pseudogene"),
    (genbank("AC1.3", BAC, feature("order(1..9,20..30)", "AAA1.1", PROTEIN)), "bad_location"),
    (genbank("AC1.3", BAC, feature("join(Z1.1:1..9,20..30)", "AAA1.1", PROTEIN)), "remote_location"),
    (genbank("AC1.3", "", feature(LOCATION, "AAA1.1", PROTEIN)).replace("ORIGIN", "CONTIG"), "missing_contig"),
    (genbank("AC1.3", "").replace("ORIGIN", "CONTIG"), "missing_contig"),
])
@pytest.mark.parametrize("coordinates", [("-", "-", "?"), (BAC_AT, BAC_END - 1, "+")])
def test_coding_sequence_that_is_none_has_the_readers_reason(build, record, code, coordinates):
  assert build([row("-", "AAA1.1", "AC1.3", *coordinates)], genbank=[record]).codes == {code: 1}


def test_row_is_used_though_one_of_its_nucleotides_is_not(build):
  rows = [row("AK1.1", "BAA1.1", "NC_9.1", 5, 90, "+")]
  result = build(rows, genbank=[MRNA_RECORD])
  assert len(result.documents) == 1
  assert result.counts["incomplete_genomic_missing_accession"] == 1


ACCESSIONS = {
    "rna": ["-", "AK1.1", "AK1.2", "AK2.1", "AC1.3"], "protein": ["-", "BAA1.1", "BAA1.2", "AAA1.1", "P1A234.2", "Q"],
    "genomic": ["-", "AC1.3", "AC1.9", "NC_1.1", "AK1.1"],
}


@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.lists(st.builds(
    row, *(st.sampled_from(ACCESSIONS[role]) for role in ("rna", "protein", "genomic")),
    st.sampled_from(["-", 0, BAC_AT, 10**7]), st.sampled_from(["-", 5, BAC_END - 1, 10**7]), st.sampled_from("+-?"),
    gene=st.integers(1, 3), taxon=st.sampled_from([9606, 10090]), status=st.sampled_from(["-", "NA", "SUPPRESSED"]),
), min_size=1, max_size=25))
def test_every_line_of_a_table_is_used_rejected_a_duplicate_or_not_selected(build, lines):
  fasta = [f">NC_1.1\n{BAC}\n", f">AK2.1\n{MRNA}\n"]
  result = build(
      lines, genbank=[MRNA_RECORD, BAC_RECORD], nucleotide=fasta, protein=[f">P1A234.2\n{VARIANT}\n"], taxa=(9606,)
  )
  stats = result.stats
  assert len(lines) == stats["lines"] == stats["selected"] + stats["duplicates"] + sum(stats["not_selected"].values())
  # `build` asserts that the rows are used or rejected.
  assert all(len(gene.cds) // 3 >= len(gene.protein) for gene in result.documents)
