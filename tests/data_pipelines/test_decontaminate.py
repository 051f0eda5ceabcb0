"""What is held out is found in any other sequence: in every modality, on either strand, in every frame."""

import dataclasses
import functools
import random

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import decontaminate, genetic_code
from data_pipelines.decontaminate import DecontaminationConfig, Evidence, HeldOut
from data_pipelines.errors import InputError
from data_pipelines.formats import genbank
from data_pipelines.genes import CodingGene
from data_pipelines.kmers import KMER
from data_pipelines.splits import ProteinSplits, SplitConfig

RESIDUES = tokenizer.AMINO_ACIDS
CONFIG = DecontaminationConfig()
VALID, TEST, EVAL = 1, 2, 4
LABELS = ("valid", "test", "eval/set")


def protein(rng, length=200):
  """Residues by chance, but every twenty in a row are all of them: no stretch is of low complexity."""
  blocks = ["".join(rng.sample(RESIDUES, 20)) for _ in range(-(-length // 20))]
  return "".join(blocks)[:length]


def dna(rng, length):
  return "".join(rng.choices("ACGT", k=length))


@functools.cache
def codons_of(table):
  found = {}
  for codon in (a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"):
    found.setdefault(genetic_code.translate(codon, table), []).append(codon)
  return found


def back_translate(rng, residues, table=1):
  return "".join(rng.choice(codons_of(table)[r]) for r in residues)


def mutate(rng, sequence, rate, alphabet=RESIDUES):
  return "".join(rng.choice(alphabet.replace(c, "")) if rng.random() < rate else c for c in sequence)


def nucleotides(letters):
  return tokenizer.encode(letters, Modality.DNA)


def residues(letters):
  return tokenizer.encode(letters, Modality.PROTEIN)


def held_out(genes=(), proteins=(), **config):
  """An index of (letters, label) of nucleotides and of proteins."""
  return HeldOut.build(
      [(nucleotides(s), label) for s, label in genes], [(residues(s), label) for s, label in proteins], LABELS,
      DecontaminationConfig(**config),
  )


@pytest.fixture
def rng():
  return random.Random(0)


class TestTranslated:

  @hypothesis.given(st.integers(0, 2**32), st.integers(30, 120), st.integers(0, 2), st.booleans())
  def test_any_thirty_residues_are_found_in_any_frame_of_either_strand_whatever_the_codons(
      self, seed, length, frame, reverse
  ):
    rng = random.Random(seed)
    whole = protein(rng, 200)
    start = rng.randint(0, 200 - length)
    plant = back_translate(rng, whole[start : start + length])
    before, after = dna(rng, 300 + frame), dna(rng, 300)
    genome = nucleotides(before + plant + after)
    if reverse:
      genome = tokenizer.reverse_complement(genome)
    first = len(after) if reverse else len(before)
    (found,) = held_out(proteins=[(whole, "valid")]).nucleotide_intervals(genome)
    assert found[0] <= first and found[1] >= first + 3 * length and found[2] == VALID
    assert found[1] - found[0] < 3 * length + 60  # chance adds a codon or two at either end

  def test_fewer_residues_than_the_score_asks_for_are_not_held_out(self, rng):
    whole = protein(rng)
    index = held_out(proteins=[(whole, "valid")])
    short = back_translate(rng, whole[50:78])
    assert index.nucleotide_intervals(nucleotides("TAA" * 20 + short + "TAA" * 20)) == []

  @pytest.mark.parametrize("identity, least", [(0.95, 0.99), (0.9, 0.98), (0.8, 0.95)])
  def test_relatives_are_found_back_translated(self, rng, identity, least):
    proteins = [protein(rng, 150) for _ in range(60)]
    index = held_out(proteins=[(p, "test") for p in proteins])
    genomes = [dna(rng, 200) + back_translate(rng, mutate(rng, p, 1 - identity)) + dna(rng, 200) for p in proteins]
    assert np.mean([index.whole(nucleotides(g), Modality.DNA) == TEST for g in genomes]) >= least

  def test_the_exons_of_a_gene_are_found_one_by_one(self, rng):
    whole = protein(rng, 160)
    exons = [back_translate(rng, whole[i : i + 40]) for i in range(0, 160, 40)]
    introns = ["GT" + dna(rng, 400) + "AG" for _ in range(3)]
    gene = "".join(a + b for a, b in zip(exons, [*introns, ""]))
    found = held_out(proteins=[(whole, "valid")]).nucleotide_intervals(nucleotides(gene))
    assert len(found) == 4
    assert sum(end - start for start, end, _ in found) == pytest.approx(480, abs=40)

  @pytest.mark.parametrize("transl_table", [1, 4])
  def test_the_code_of_mycoplasma_is_read_whether_it_is_known_or_not(self, rng, transl_table):
    whole = protein(rng, 60)
    plant = back_translate(rng, whole, 4).replace("TGG", "TGA")
    assert held_out(proteins=[(whole, "valid")]).whole(nucleotides(plant), Modality.RNA, transl_table=transl_table)

  def test_other_codes_are_read_where_they_are_named(self, rng):
    whole = "".join("CTGA"[i % 4] if i % 3 == 0 else r for i, r in enumerate(protein(rng, 90)))
    plant = "".join("AGA" if r == "S" else back_translate(rng, r, 5) for r in whole.replace("A", "S"))
    index = held_out(proteins=[(whole.replace("A", "S"), "valid")])
    assert index.whole(nucleotides(plant), Modality.DNA, transl_table=5) == VALID

  def test_ambiguous_bases_code_for_nothing(self, rng):
    whole = protein(rng, 60)
    plant = nucleotides(back_translate(rng, whole))
    index = held_out(proteins=[(whole, "valid")])
    assert index.whole(plant, Modality.DNA)
    plant[1::9] = nucleotides("N")  # the middle of every third codon
    assert not index.whole(plant, Modality.DNA)

  def test_low_complexity_is_no_evidence(self, rng):
    tail = "Q" * 60 + "EK" * 30 + "G" * 30
    index = held_out(proteins=[(protein(rng, 100) + tail, "valid")])
    assert index.protein_mask(residues(protein(rng, 100) + tail)) == 0
    assert index.whole(nucleotides("CAG" * 200), Modality.DNA) == 0


class TestProteins:

  @hypothesis.given(st.integers(0, 2**32), st.integers(30, 200))
  def test_any_thirty_residues_of_a_held_out_protein_are_found(self, seed, length):
    rng = random.Random(seed)
    whole = protein(rng, 200)
    start = rng.randint(0, 200 - length)
    query = protein(rng, rng.randint(0, 50)) + whole[start : start + length] + protein(rng, rng.randint(0, 50))
    assert held_out(proteins=[(whole, "test")]).protein_mask(residues(query)) == TEST

  @pytest.mark.parametrize("length", [16, 20, 40, 59])
  def test_of_a_shorter_protein_half_is_enough_down_to_what_chance_allows(self, rng, length):
    whole = protein(rng, length)
    index = held_out(proteins=[(whole, "eval/set")])
    half = max(16, length // 2)
    assert index.protein_mask(residues("W" * 20 + whole[:half])) == EVAL
    assert index.protein_mask(residues("W" * 20 + whole[: half - 6])) == 0

  def test_proteins_too_short_to_be_found_are_counted(self, rng):
    index = held_out([(dna(rng, 20), "valid")], [(protein(rng, 8), "valid"), (protein(rng, 90), "valid")])
    assert index.counts["valid"] == {"nucleotides": 1, "proteins": 2, "too_short": 2}
    assert index.counts["test"] == {"nucleotides": 0, "proteins": 0, "too_short": 0}

  def test_many_at_once_are_answered_as_one_by_one(self, rng, monkeypatch):
    monkeypatch.setattr(decontaminate, "_PROTEIN_CHUNK", 500)
    proteins = [(protein(rng, rng.randint(40, 300)), rng.choice(LABELS)) for _ in range(40)]
    index = held_out(proteins=proteins)
    queries = [residues(p) for p, _ in proteins] + [residues(protein(rng, n)) for n in (0, 1, 5, 200, 900)]
    rng.shuffle(queries)
    masks = index.protein_masks(queries)
    assert masks.tolist() == [index.protein_mask(q) for q in queries]
    assert np.count_nonzero(masks) == 40
    assert len(index.protein_masks([])) == 0

  def test_each_protein_of_a_batch_in_the_order_of_the_index_is_found(self, rng):
    proteins = [protein(rng, rng.choice([20, 45])) for _ in range(100)]
    index = held_out(proteins=[(p, "eval/set") for p in proteins])
    assert (index.protein_masks([residues(p) for p in proteins]) == EVAL).all()

  def test_neighbours_in_a_batch_do_not_make_one_stretch(self, rng):
    whole = protein(rng, 100)
    index = held_out(proteins=[(whole, "valid")])
    assert index.protein_masks([residues(whole[:20]), residues(whole[20:45])]).tolist() == [0, 0]

  def test_thousands_of_variants_are_found_by_the_seeds_of_a_few(self, rng):
    wild = protein(rng, 120)
    variants = [wild[:i] + r + wild[i + 1 :] for i in range(0, 120, 2) for r in RESIDUES]
    index = held_out(proteins=[(v, "eval/set") for v in variants])
    assert index.protein_mask(residues(wild)) == index.protein_mask(residues(variants[700])) == EVAL
    assert len(index._proteins.positions) < 120 * 8 * 20
    assert index.protein_mask(residues(protein(rng, 120))) == 0

  def test_letters_of_no_standard_residue_agree_with_nothing(self, rng):
    whole = protein(rng, 60)
    masked = "".join("X" if i % 3 == 0 else r for i, r in enumerate(whole))
    assert held_out(proteins=[(masked, "valid")]).protein_mask(residues("X" * 60)) == 0
    assert held_out(proteins=[(whole, "valid")]).protein_mask(residues(masked)) == 0


class TestNucleotides:

  def test_a_gene_is_cut_out_of_its_genome_on_either_strand(self, rng):
    gene, before, after = dna(rng, 900), dna(rng, 3000), dna(rng, 2000)
    index = held_out([(gene, "valid")])
    for letters in (nucleotides(gene), tokenizer.reverse_complement(nucleotides(gene))):
      genome = np.concatenate([nucleotides(before), letters, nucleotides(after)])
      assert index.partition(genome) == [(0, 3000, 0), (3000, 3900, VALID), (3900, 5900, 0)]

  def test_single_letter_differences_leave_one_stretch(self, rng):
    gene = dna(rng, 2000)
    other = "".join("ACGT"["ACGT".index(c) - 1] if i % 60 == 30 else c for i, c in enumerate(gene))
    found = held_out([(gene, "test")]).partition(nucleotides(dna(rng, 500) + other + dna(rng, 500)))
    assert [(mask, end - start) for start, end, mask in found] == [(0, 500), (TEST, 2000), (0, 500)]

  def test_a_few_common_kmers_of_a_long_gene_are_chance(self, rng):
    gene = dna(rng, 600)
    index = held_out([(gene, "valid")])
    few, enough = gene[: KMER + 28], gene[: KMER + 29]
    assert index.whole(nucleotides(dna(rng, 300) + few), Modality.DNA) == 0
    assert index.whole(nucleotides(dna(rng, 300) + enough), Modality.DNA) == VALID

  @pytest.mark.parametrize("length", [28, 30, 54, 120])
  def test_a_short_sequence_is_found_whole_on_either_strand(self, rng, length):
    primer = dna(rng, length)
    index = held_out([(primer, "eval/set")])
    query = nucleotides(dna(rng, 400) + primer + dna(rng, 400))
    for strand in (query, tokenizer.reverse_complement(query)):
      assert index.nucleotide_intervals(strand) == [(400, 400 + length, EVAL)]

  def test_kmers_of_a_short_sequence_do_not_lower_what_a_long_one_asks_for(self, rng):
    short, long = dna(rng, 40), dna(rng, 600)
    index = held_out([(short, "valid"), (long, "valid")])
    assert index.whole(nucleotides(short[:26] + dna(rng, 10) + long[: KMER + 15]), Modality.DNA) == 0

  def test_variants_of_a_short_rna_are_found(self, rng):
    rna = dna(rng, 120)
    index = held_out([(rna, "eval/set")])
    found = [index.whole(nucleotides(mutate(rng, rna, 0.03, "ACGT")), Modality.RNA) == EVAL for _ in range(50)]
    assert np.mean(found) > 0.8

  def test_what_many_families_have_in_common_is_a_repeat(self, rng):
    repeat = dna(rng, 300)
    genes = [dna(rng, 300) + repeat + dna(rng, 300) for _ in range(3)]
    query = nucleotides(dna(rng, 300) + repeat + dna(rng, 300))
    for families, expected in (((1, 1, 1), VALID), ((1, 2, 1), VALID), ((1, 2, 3), 0)):
      index = HeldOut.build([(nucleotides(g), "valid", f) for g, f in zip(genes, families)], [], LABELS, CONFIG)
      assert index.whole(query, Modality.DNA) == expected
      assert all(index.whole(nucleotides(g), Modality.DNA) == VALID for g in genes)

  def test_sparse_marks_are_no_stretch(self, rng):
    genes = [dna(rng, 300) for _ in range(40)]
    index = held_out([(g, "valid") for g in genes])
    sparse = "".join(dna(rng, 80) + g[100:130] for g in genes)
    assert index.nucleotide_intervals(nucleotides(sparse)) == []

  def test_low_complexity_marks_nothing(self, rng):
    repeat = "A" * 200 + "CAG" * 60 + "TTAGGG" * 50
    index = held_out([(dna(rng, 300) + repeat, "valid")])
    assert index.whole(nucleotides(dna(rng, 300) + repeat), Modality.DNA) == 0

  def test_ambiguous_letters_match_nothing(self, rng):
    gene = dna(rng, 600)
    masked = "".join("N" if i % 20 == 0 else c for i, c in enumerate(gene))
    assert held_out([(gene, "valid")]).whole(nucleotides(masked), Modality.DNA) == 0


class TestStretches:

  def test_neighbours_of_two_splits_are_cut_apart(self, rng):
    one, other = dna(rng, 600), dna(rng, 600)
    index = held_out([(one, "valid"), (other, "test")])
    assert index.partition(nucleotides(one + other)) == [(0, 600, VALID), (600, 1200, TEST)]

  def test_letters_that_two_labels_claim_have_both(self, rng):
    genome = dna(rng, 1000)
    index = held_out([(genome[:600], "valid"), (genome[400:], "eval/set")])
    assert index.partition(nucleotides(genome)) == [(0, 400, VALID), (400, 600, VALID | EVAL), (600, 1000, EVAL)]
    assert index.whole(nucleotides(genome), Modality.DNA) == VALID | EVAL
    assert index.names(VALID | EVAL) == ["valid", "eval/set"]

  @pytest.mark.parametrize("gap, stretches", [(99, 1), (100, 2)])
  def test_stretches_of_one_label_are_merged_within_the_gap(self, rng, gap, stretches):
    gene, whole = dna(rng, 200), protein(rng, 80)
    index = held_out([(gene, "valid")], [(whole, "valid")])
    # Residues that no codon of the gap or of the gene begins with, so that the second stretch begins where it is put.
    genome = gene + "T" * gap + back_translate(rng, whole).lstrip("T")
    start = 200 + gap
    assert index.nucleotide_intervals(nucleotides(genome[start:]))[0][0] == 0
    assert len(index.nucleotide_intervals(nucleotides(genome))) == stretches

  @hypothesis.given(st.integers(0, 2**32))
  def test_a_partition_covers_the_sequence_once(self, seed):
    rng = random.Random(seed)
    genes = [(dna(rng, rng.randint(30, 300)), rng.choice(LABELS)) for _ in range(rng.randint(0, 4))]
    proteins = [(protein(rng, rng.randint(20, 90)), rng.choice(LABELS)) for _ in range(rng.randint(0, 4))]
    plants = [g[rng.randint(0, 20) :] for g, _ in genes] + [back_translate(rng, p) for p, _ in proteins]
    rng.shuffle(plants)
    genome = nucleotides("".join(dna(rng, rng.randint(0, 60)) + plant for plant in plants))
    index = held_out(genes, proteins)
    found = index.partition(genome)
    assert [a for a, _, _ in found] == [0] * bool(found) + [b for _, b, _ in found[:-1]]
    assert (found[-1][1] if found else 0) == len(genome)
    assert all(a < b for a, b, _ in found)
    assert all(one[2] != other[2] for one, other in zip(found, found[1:]))
    claimed = np.zeros(len(genome), np.uint8)
    for start, end, mask in index.nucleotide_intervals(genome):
      claimed[start:end] |= mask
    assert claimed.tolist() == [mask for start, end, mask in found for _ in range(end - start)]

  def test_long_sequences_are_cut_the_same_in_any_chunks(self, rng, monkeypatch):
    genes = [(dna(rng, rng.randint(60, 400)), rng.choice(LABELS)) for _ in range(20)]
    proteins = [(protein(rng, rng.randint(40, 60)), rng.choice(LABELS)) for _ in range(20)]
    plants = [g for g, _ in genes] + [back_translate(rng, p) for p, _ in proteins]
    genome = nucleotides("".join(dna(rng, rng.randint(0, 300)) + plant for plant in plants))
    index = held_out(genes, proteins)
    expected = index.partition(genome)
    assert len(expected) > 40
    monkeypatch.setattr(decontaminate, "_CHUNK", 397)
    assert index.partition(genome) == expected

  @pytest.mark.parametrize("length", range(6))
  def test_sequences_shorter_than_a_kmer_are_nothing(self, rng, length):
    index = held_out([(dna(rng, 600), "valid")], [(protein(rng), "valid")])
    assert index.partition(nucleotides(dna(rng, length))) == ([(0, length, 0)] if length else [])
    assert index.protein_mask(residues(protein(rng, length))) == 0

  def test_unrelated_sequence_is_untouched(self, rng):
    index = held_out([(dna(rng, 1000), "valid") for _ in range(200)], [(protein(rng, 300), "test") for _ in range(500)])
    assert index.partition(nucleotides(dna(rng, 500_000))) == [(0, 500_000, 0)]
    assert not index.protein_masks([residues(protein(rng, 400)) for _ in range(500)]).any()

  def test_with_nothing_held_out_nothing_is_found(self, rng):
    index = held_out()
    assert index.partition(nucleotides(dna(rng, 500))) == [(0, 500, 0)]
    assert index.protein_mask(residues(protein(rng))) == 0

  def test_the_evidence_names_label_letters_and_place(self, rng):
    gene, whole = dna(rng, 500), protein(rng, 60)
    index = held_out([(gene, "valid")], [(whole, "eval/set")])
    query = "C" * 300 + gene[:200] + "C" * 300 + back_translate(rng, whole[:50])
    first, second = index.explain(nucleotides(query), Modality.DNA)
    assert first == Evidence("valid", 200 + first.end - 500, 300, first.end) and 500 <= first.end < 503
    assert second.label == "eval/set" and abs(second.start - 800) < 6
    assert 150 <= second.matched <= second.end - second.start
    assert index.explain(residues(whole[:50] + "W" * 30), Modality.PROTEIN) == [Evidence("eval/set", 50, 0, 50)]


class TestBuilding:

  def test_a_saved_index_answers_as_the_one_that_was_built(self, rng, tmp_path):
    genes = [(dna(rng, 300), rng.choice(LABELS)) for _ in range(20)]
    proteins = [(protein(rng, rng.randint(20, 400)), rng.choice(LABELS)) for _ in range(300)]
    index = held_out(genes, proteins, min_score=25)
    index.save(tmp_path / "index")
    again = HeldOut.load(tmp_path / "index")
    assert (again.labels, again.config, again.counts) == (index.labels, index.config, index.counts)
    plants = [g for g, _ in genes] + [back_translate(rng, p) for p, _ in proteins]
    genome = nucleotides("".join(plant + dna(rng, 50) for plant in plants))
    assert again.partition(genome) == index.partition(genome)
    queries = [residues(p) for p, _ in proteins]
    masks = index.protein_masks(queries)
    assert masks.all() and again.protein_masks(queries).tolist() == masks.tolist()

  def test_an_empty_index_is_saved_and_read(self, rng, tmp_path):
    held_out().save(tmp_path)
    assert HeldOut.load(tmp_path).partition(nucleotides(dna(rng, 90))) == [(0, 90, 0)]

  def test_the_same_sequences_give_the_same_bytes(self, rng, tmp_path):
    genes = [(dna(rng, 300), "valid") for _ in range(5)]
    proteins = [(protein(rng, 100), "test") for _ in range(5)]
    for name in ("one", "other"):
      held_out(genes, proteins).save(tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert len(files) == 14
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "other" / f).read_bytes() for f in files)

  def test_a_folder_without_an_index_is_named(self, tmp_path):
    with pytest.raises(InputError, match="no held-out index"):
      HeldOut.load(tmp_path / "nowhere")

  def test_an_index_of_another_version_is_refused(self, tmp_path):
    held_out().save(tmp_path)
    about = (tmp_path / "held_out.json").read_text()
    (tmp_path / "held_out.json").write_text(about.replace('"version": 1', '"version": 99'))
    with pytest.raises(InputError, match="version 99, not 1"):
      HeldOut.load(tmp_path)

  def test_sixty_four_labels_are_told_apart_and_no_more(self, rng):
    labels = [f"eval/{i}" for i in range(64)]
    proteins = [protein(rng, 60) for _ in labels]
    genes = [dna(rng, 100) for _ in labels]
    index = HeldOut.build(
        zip(map(nucleotides, genes), labels), zip(map(residues, proteins), labels), labels, CONFIG
    )
    assert [index.protein_mask(residues(p)) for p in proteins] == [1 << i for i in range(64)]
    assert [index.whole(nucleotides(g), Modality.DNA) for g in genes] == [1 << i for i in range(64)]
    with pytest.raises(ValueError, match="at most 64"):
      HeldOut.build([], [], [*labels, "one more"], CONFIG)

  def test_a_label_that_is_not_among_them_is_an_error(self, rng):
    with pytest.raises(ValueError, match="no such label: train; there are valid, test, eval/set"):
      held_out([(dna(rng, 100), "train")])

  @pytest.mark.parametrize("bad", [{"min_score": 0}, {"marked_share": 0}, {"score_share": 1.5}, {"max_gap": -1}])
  def test_thresholds_that_mean_nothing_are_refused(self, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
      dataclasses.replace(CONFIG, **bad)


@pytest.fixture(scope="module")
def strains(shared_data):
  """The coding genes of E. coli K-12 MG1655 and of O157:H7 Sakai."""
  files = ("ecoli_mg1655/GCF_000005845.2_ASM584v2_genomic.gbff.gz", "ecoli_o157_sakai/NC_002695.gbk.gz")
  readers = (genbank.read_genbank(shared_data / "genomes" / f) for f in files)
  return [[item for item in items if isinstance(item, CodingGene)] for items in readers]


def test_held_out_genes_of_one_strain_are_found_in_the_other_without_its_annotation(strains):
  proteins = [[residues(g.protein) for g in genes] for genes in strains]
  splits = ProteinSplits.assign([p.tobytes() for ps in proteins for p in ps], SplitConfig())
  labels = [[splits.split(p) for p in ps] for ps in proteins]
  held = [(g, p, s) for g, p, s in zip(strains[0], proteins[0], labels[0]) if s != "train"]
  index = HeldOut.build(
      ((nucleotides(g.dna), s) for g, _, s in held), ((p, s) for _, p, s in held), ("valid", "test"), CONFIG
  )
  same = {g.protein for g in strains[0]}
  other = [(g, s) for g, s in zip(strains[1], labels[1]) if s != "train" and g.protein in same]
  assert len(other) > 100
  assert np.mean([index.names(index.whole(nucleotides(g.dna), Modality.DNA)) == [s] for g, s in other]) > 0.98
