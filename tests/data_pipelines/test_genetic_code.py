"""The genetic codes, against Biopython's tables."""

import itertools

import pytest
from Bio.Data import CodonTable

from data_pipelines import genetic_code

CODONS = ["".join(bases) for bases in itertools.product("TCAG", repeat=3)]


def test_the_tables_are_ncbis():
  assert set(genetic_code.TABLE_IDS) == set(CodonTable.unambiguous_dna_by_id)


@pytest.mark.parametrize("number", genetic_code.TABLE_IDS)
def test_every_codon_start_and_stop_agrees_with_biopython(number):
  table = CodonTable.unambiguous_dna_by_id[number]
  assert genetic_code.translate("".join(CODONS), number) == "".join(table.forward_table.get(c, "*") for c in CODONS)
  assert {c for c in CODONS if genetic_code.is_start(c, number)} == set(table.start_codons)
  assert {c for c in CODONS if genetic_code.is_stop(c, number)} == set(table.stop_codons)


@pytest.mark.parametrize("number", [1, 2, 6, 22])
def test_an_ambiguous_codon_is_a_residue_only_where_all_its_readings_agree(number):
  bases = {
      "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
      "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
  }
  forward = CodonTable.unambiguous_dna_by_id[number].forward_table
  for codon in itertools.product(bases, repeat=3):
    readings = {forward.get("".join(x), "*") for x in itertools.product(*(bases[letter] for letter in codon))}
    expected = readings.pop() if len(readings) == 1 else "X"
    assert genetic_code.translate("".join(codon), number) == expected, codon


def test_case_and_uracil_mean_nothing_and_trailing_bases_are_ignored():
  assert genetic_code.translate("AUGgcu") == genetic_code.translate("ATGGCTAA") == "MA"
  assert genetic_code.is_start("aug") and genetic_code.is_stop("uaa")


def test_a_letter_that_is_no_nucleotide_gives_x():
  assert genetic_code.translate("AT-ATGA é") == "XMX"


def test_exceptions_replace_their_codons_and_no_others():
  assert genetic_code.translate("ATGTGATGATA", 1, {1: "U", 3: "*"}) == "MU*"


def test_a_start_codon_is_read_literally():
  assert genetic_code.translate("GTGTTG", 11) == "VL"


@pytest.mark.parametrize("number", [0, 7, 8, 17, 34])
def test_an_unknown_table_is_refused_with_the_known_ones(number):
  for call in (genetic_code.translate, genetic_code.is_start, genetic_code.is_stop):
    with pytest.raises(ValueError, match=f"table {number}: NCBI defines 1, 2"):
      call("ATG", number)
