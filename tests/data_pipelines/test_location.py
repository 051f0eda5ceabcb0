"""INSDC locations, and the codons that `transl_except` names by location."""

import pytest

from data_pipelines.formats.location import exceptional_codons, parse_location
from data_pipelines.genes import LocationError


@pytest.mark.parametrize(
    "text, parts, partial",
    [
        ("5", [(4, 5, 1)], (False, False)),
        ("join(<1..5,8..9)", [(0, 5, 1), (7, 9, 1)], (True, False)),
        ("complement(join(1..5,8..>9))", [(7, 9, -1), (0, 5, -1)], (True, False)),
        ("join(complement(8..9),complement(<1..5))", [(7, 9, -1), (0, 5, -1)], (False, True)),
        ("join(complement(join(1..2,4..5)),8..9)", [(3, 5, -1), (0, 2, -1), (7, 9, 1)], (False, False)),
        ("99..3", [(98, 103, 1)], (False, False)),
    ],
)
def test_parts_stand_in_transcription_order(text, parts, partial):
  location = parse_location(text, 100)
  assert (location.parts, (location.partial5, location.partial3)) == (parts, partial)


def test_nested_complements_are_refused():
  with pytest.raises(LocationError, match="bad_location"):
    parse_location("join(complement(join(1..2,complement(4..5))),8..9)")


PLUS = [(90, 100, 1), (0, 20, 1)]
MINUS = [(0, 20, -1), (90, 100, -1)]


@pytest.mark.parametrize(
    "codon, cds, offset",
    [
        ("97..99", PLUS, 6),
        ("join(100,1..2)", PLUS, 9),
        ("100..2", PLUS, 9),
        ("100..2", [(90, 120, 1)], 9),
        ("3..5", [(90, 120, 1)], 12),
        ("103..105", [(90, 120, 1)], 12),
        ("complement(18..20)", MINUS, 0),
        ("18..20", MINUS, 0),
        ("complement(join(100,1..2))", MINUS, 18),
        ("join(100,1..2)", MINUS, 18),
        ("30", [(0, 31, 1)], 29),
    ],
)
def test_a_codon_is_found_on_both_strands_and_over_the_origin(codon, cds, offset):
  assert exceptional_codons(f"(pos:{codon},aa:Sec)", cds, 1, 100) == {offset: "U"}


def test_several_codons_stand_between_commas():
  text = "(pos:1..3,aa:Met), (pos:join(4,7..8),\n aa:Pyl),(pos:9,aa:TERM)"
  assert exceptional_codons(text, [(0, 4, 1), (6, 9, 1)], 1, 100) == {0: "M", 3: "O", 6: "*"}
  assert exceptional_codons("", PLUS, 1, 100) == {}


def test_the_codon_of_a_base_that_is_read_twice_begins_with_it():
  cds = [(0, 6, 1), (5, 14, 1)]
  assert exceptional_codons("(pos:6..8,aa:Sec)", cds, 1, 100) == {6: "U"}
  assert exceptional_codons("(pos:6..8,aa:Sec)", cds, 3, 100) == {5: "U"}


@pytest.mark.parametrize(
    "text",
    [
        "(pos:31..33,aa:Sec)",
        "(pos:1..3,aa:Foo)",
        "(pos:J00194.1:1..3,aa:Sec)",
        "(pos:order(1,2),aa:Sec)",
        "(position 4,aa:Sec)",
        "(pos:1..3,aa:Sec),pos:4..6",
        "(pos:4..6),(pos:1..3,aa:Sec)",
    ],
)
def test_what_names_no_codon_is_refused(text):
  with pytest.raises(LocationError) as error:
    exceptional_codons(text, [(0, 30, 1)], 1, 100)
  assert error.value.code == "bad_transl_except" and text in error.value.detail
