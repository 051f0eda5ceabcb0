"""Cutting genes out of genomic sequences."""

import random

import pytest
from Bio.Seq import Seq

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


@pytest.mark.parametrize(
    "parts",
    [
        [(90, 100, 1), (0, 20, 1), (25, 30, 1)],
        [(90, 120, 1), (25, 30, 1)],
        [(25, 30, -1), (0, 20, -1), (90, 100, -1)],
        [(25, 30, -1), (90, 120, -1)],
    ],
)
def test_a_part_over_the_origin_is_one_block_however_it_is_written(parts):
  expected = ((0, 30), (35, 40)) if parts[0][2] > 0 else ((0, 5), (10, 40))
  assert genes.coding_strand(GENOME, parts, None, circular=True)[1] == expected
  assert genes.coding_strand(GENOME, parts, parts, circular=True)[1:] == (expected, expected)


def test_touching_and_overlapping_parts_elsewhere_stay_apart():
  for parts in ([(10, 20, 1), (20, 30, 1)], [(10, 20, 1), (19, 30, 1)]):
    blocks = tuple((start - 10, end - 10) for start, end, _ in parts)
    for circular in (False, True):
      assert genes.coding_strand(GENOME, parts, None, circular=circular)[1] == blocks


def test_the_reverse_complement_knows_the_ambiguity_codes():
  letters = "ACGTNRYSWKMBDHV"
  assert genes.reverse_complement(letters) == str(Seq(letters).reverse_complement())
  assert genes.reverse_complement("UA") == "TA"
