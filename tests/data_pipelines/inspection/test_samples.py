"""How documents and rows are laid out for reading."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bsm_jax.tokenizer import UNK, Modality
from data_pipelines.inspection import layout, reading, samples
from tests.data_pipelines.inspection.sample_build import DNA, DOCUMENTS, GENES, gene, pair, row, web, write_documents


def plain(shown):
  return ["".join(piece for piece, _ in line).rstrip() for line in shown.lines]


def shown_gene(example):
  parts = [(m, example[m.name.lower()]) for m in Modality]
  encoded = {k: v.encode() if isinstance(v, str) else v for k, v in example.items()}
  return samples._gene(reading.Document(example["id"], example["taxon"], parts, encoded), "refseq_pairs, train")


class TestSamples:

  def test_residues_stand_under_their_codons_and_introns_are_marked(self):
    shown = shown_gene(GENES[0])
    assert plain(shown)[:2] == ["dna      atg aaa ¦ccc taa", "protein   M   K    P"]
    assert shown.blocks == ((0, 6), (16, 22)) and shown.length == 22
    assert "1 gap in the coding sequence: 10 letters" in shown.facts

  def test_an_intron_inside_a_codon_is_marked_inside_it(self):
    shown = shown_gene(gene("g", "ATGAAGTTTAGACCCTAA", [(0, 5), (11, 18)], "MKP"))
    assert plain(shown)[:2] == ["dna      atg aa¦a ccc taa", "protein   M   K    P"]

  def test_a_residue_that_the_codon_alone_does_not_say_is_marked(self):
    kinds = [(piece, kind) for line in shown_gene(GENES[1]).lines for piece, kind in line if piece in ("M", "K")]
    assert kinds == [("M", "hydrophobic odd"), ("K", "positive")]

  @given(st.integers(1, 400), st.integers(0, 399), st.integers(1, 60))
  def test_codons_shown_and_left_out_are_all_codons(self, codons, border, intron):
    border = min(border, codons) * 3
    cds = "ATG" * codons
    blocks = [(0, border), (border + intron, 3 * codons + intron)] if 0 < border < 3 * codons else [(0, 3 * codons)]
    dna = cds[:border] + "C" * intron + cds[border:] if len(blocks) == 2 else cds
    shown = shown_gene(gene("g", dna, blocks, "M" * codons))
    lines = [line for line in plain(shown) if not line.startswith("rna")]
    assert sum(line.count("¦") for line in lines) == len(blocks) - 1
    left_out = sum(int(n) for line in lines for n in re.findall(r"… (\d+) codons left out", line))
    assert sum(line.count("M") for line in lines) + left_out == codons
    assert sum(line.count("atg") for line in lines) + left_out == codons

  def test_a_gene_without_coding_blocks_is_shown_as_sequences(self):
    bare = gene("g", "ATGAAA", [(0, 6)], "MK") | {"cds_blocks": np.zeros((0, 2), np.int32)}
    assert plain(shown_gene(bare)) == ["dna      atgaaa", "rna      atgaaa", "protein  MK"]

  def test_letters_shown_and_left_out_are_all_letters(self, survey):
    (shown,) = [s for s in survey.shown_documents if s.title == "a|chromosome"]
    joined = " ".join(plain(shown))
    (left_out,) = re.findall(r"… (\d+) letters left out", joined)
    assert len(re.sub(r"….*…|dna|[^acgtn]", "", joined)) + int(left_out) == 500

  def test_long_web_documents_are_shortened_with_their_number_of_sequences(self, tmp_path):
    write_documents(tmp_path, "web_interleaved", {"train": [web("many", [(DNA, "ACGT")] * 9)]}, {})
    (shown,) = samples.choose_documents(layout.find(tmp_path).datasets, 3, 0)
    assert plain(shown).count("dna      acgt") == 6
    assert plain(shown)[-1].strip() == "… 3 more sequences of 12 letters left out …"

  def test_a_row_is_shown_with_its_tags_and_padding(self):
    shown = samples._row(row(pair("ACG", "M")), "row 0", "pairs, train")
    assert plain(shown) == ["<bos><dna>acg<sep><protein>M<eos><pad>×31"]
    assert shown.facts == ("1 document", "22% full")
    assert ("<dna>", "tag") in shown.lines[0] and ("M", "hydrophobic") in shown.lines[0]

  def test_an_unknown_letter_keeps_the_columns_in_line(self):
    example = gene("g", "ATGAAATAA", [(0, 9)], "MK")
    example["dna"][4] = UNK
    assert plain(shown_gene(example))[:2] == ["dna      atg a?a taa", "protein   M   K"]

  def test_all_corpora_and_kinds_are_shown_in_turn(self, survey):
    assert {s.where for s in survey.shown_documents} == {f"{name}, train" for name in DOCUMENTS}
    assert {s.where for s in survey.shown_rows} == {"pairs, train", "single, train"}
    assert len(survey.shown_documents) == 6 and len(survey.shown_rows) == 8
