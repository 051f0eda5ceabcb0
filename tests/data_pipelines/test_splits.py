"""Splits: related proteins stay together, and what is held out is found in any nucleotides."""

import random

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import splits
from data_pipelines.formats import genbank
from data_pipelines.genes import CodingGene
from data_pipelines.splits import KMER, HeldOutIndex, ProteinSplits, SplitConfig

RESIDUES = tokenizer.AMINO_ACIDS


def protein(rng, length=300):
  return "".join(rng.choices(RESIDUES, k=length))


def mutate(rng, sequence, rate, alphabet=RESIDUES):
  return "".join(rng.choice(alphabet) if rng.random() < rate else letter for letter in sequence)


def encoded(sequence):
  return tokenizer.encode(sequence, Modality.PROTEIN).tobytes()


def dna(rng, length):
  return tokenizer.encode("".join(rng.choices("ACGT", k=length)), Modality.DNA)


@pytest.fixture
def rng():
  return random.Random(0)


class TestProteins:

  def test_relatives_at_80_per_cent_identity_share_a_cluster_and_strangers_do_not(self, rng):
    founders = [protein(rng, rng.randint(100, 500)) for _ in range(200)]
    proteins = founders + [mutate(rng, founder, 0.2) for founder in founders]
    clusters = splits.cluster_proteins([encoded(p) for p in proteins], SplitConfig())
    assert (clusters[:200] == clusters[200:]).mean() > 0.98
    assert len(set(clusters[:200])) == 200

  def test_a_fragment_joins_the_whole_protein(self, rng):
    whole = protein(rng, 400)
    clusters = splits.cluster_proteins([encoded(whole), encoded(whole[150:250])], SplitConfig())
    assert clusters[0] == clusters[1]

  def test_runs_of_one_residue_do_not_link_proteins(self, rng):
    proteins = [protein(rng, 150) + "Q" * 60 + protein(rng, 150) for _ in range(20)]
    assert len(set(splits.cluster_proteins([encoded(p) for p in proteins], SplitConfig()))) == 20

  def test_one_long_stranger_with_a_common_kmer_does_not_keep_relatives_apart(self, rng):
    family = protein(rng, 120)
    proteins = [family, mutate(rng, family, 0.1), protein(rng, 2000) + family[:12] + protein(rng, 2000)]
    clusters = splits.cluster_proteins([encoded(p) for p in proteins], SplitConfig())
    assert clusters[0] == clusters[1] != clusters[2]

  def test_proteins_shorter_than_a_kmer_are_clusters_of_their_own(self):
    clusters = splits.cluster_proteins([encoded(p) for p in ("M", "MK", "MKT")], SplitConfig())
    assert len(set(clusters)) == 3

  def test_the_splits_have_their_shares(self, rng):
    found = ProteinSplits.assign([encoded(protein(rng, 60)) for _ in range(3000)], SplitConfig(valid=0.1, test=0.05))
    shares = np.bincount(found.splits, minlength=3) / 3000
    np.testing.assert_allclose(shares, [0.85, 0.1, 0.05], atol=0.02)

  def test_a_whole_family_goes_to_one_split(self, rng):
    founders = [protein(rng) for _ in range(60)]
    families = [[encoded(f)] + [encoded(mutate(rng, f, 0.1)) for _ in range(3)] for f in founders]
    found = ProteinSplits.assign([p for family in families for p in family], SplitConfig(valid=0.3, test=0.3))
    assert all(len({found.split(p) for p in family}) == 1 for family in families)
    assert {found.split(family[0]) for family in families} == set(splits.SPLITS)

  def test_the_order_and_repeats_of_the_input_change_nothing(self, rng):
    proteins = [encoded(protein(rng, 80)) for _ in range(200)]
    config = SplitConfig(valid=0.3, test=0.3)
    one, other = ProteinSplits.assign(proteins, config), ProteinSplits.assign(proteins[::-1] + proteins[:50], config)
    assert [one.split(p) for p in proteins] == [other.split(p) for p in proteins]

  def test_another_seed_holds_out_other_proteins(self, rng):
    proteins = [encoded(protein(rng, 80)) for _ in range(200)]
    one, other = (ProteinSplits.assign(proteins, SplitConfig(valid=0.3, test=0.3, seed=s)) for s in (0, 1))
    assert [one.split(p) for p in proteins] != [other.split(p) for p in proteins]

  def test_a_family_that_would_fill_a_split_is_train(self, rng):
    founder = protein(rng)
    family = [encoded(mutate(rng, founder, 0.05)) for _ in range(40)]
    for seed in range(5):
      found = ProteinSplits.assign(family, SplitConfig(valid=0.5, test=0.5, seed=seed))
      assert {found.split(p) for p in family} == {"train"}

  def test_peptides_too_short_to_be_found_in_dna_are_train(self, rng):
    peptides = [encoded(protein(rng, 29)) for _ in range(20)]
    found = ProteinSplits.assign(peptides, SplitConfig(valid=0.5, test=0.5))
    assert {found.split(p) for p in peptides} == {"train"}

  def test_a_pinned_protein_keeps_its_relatives_in_train(self, rng):
    founder = protein(rng)
    relative, stranger = mutate(rng, founder, 0.1), protein(rng)
    config = SplitConfig(valid=1.0, test=0.0)
    found = ProteinSplits.assign(map(encoded, (founder, relative, stranger)), config, pinned=[encoded(founder)])
    assert [found.split(encoded(p)) for p in (founder, relative, stranger)] == ["train", "train", "valid"]

  def test_a_protein_that_was_not_clustered_is_an_error(self, rng):
    with pytest.raises(KeyError):
      ProteinSplits.assign([encoded(protein(rng))], SplitConfig()).split(encoded(protein(rng)))

  def test_no_protein_at_all_gives_empty_splits(self):
    assert len(ProteinSplits.assign([], SplitConfig()).digests) == 0

  def test_saved_splits_are_read_back(self, rng, tmp_path):
    proteins = [encoded(protein(rng, 80)) for _ in range(50)]
    found = ProteinSplits.assign(proteins, SplitConfig(valid=0.3, test=0.3))
    found.save(tmp_path / "splits.npz")
    again = ProteinSplits.load(tmp_path / "splits.npz")
    assert [again.split(p) for p in proteins] == [found.split(p) for p in proteins]


def slow_canonical_kmers(ids):
  """Each 24-mer or its other strand, whichever is smaller, by strings."""
  letters = tokenizer.decode(ids)
  strands = [letters, letters.translate(str.maketrans("acgt", "tgca"))[::-1]]
  n = len(letters) - KMER + 1
  return [min(strands[0][i : i + KMER], strands[1][n - 1 - i : n - 1 - i + KMER]) for i in range(n)]


class TestNucleotides:

  @hypothesis.given(st.text("ACGTN", min_size=0, max_size=120))
  def test_kmers_agree_with_those_of_strings(self, letters):
    ids = tokenizer.encode(letters, Modality.DNA)
    kmers, usable = splits.canonical_kmers(ids)
    expected = slow_canonical_kmers(ids)
    assert len(kmers) == len(expected)
    for kmer, ok, text in zip(kmers.tolist(), usable, expected):
      if ok:
        assert kmer == int("".join(str("acgt".index(letter)) for letter in text), 4)
      repeats = any(text[p:] == text[:-p] for p in (1, 2, 3))
      assert ok == ("n" not in text and not repeats)

  def index(self, *genes, **config):
    return HeldOutIndex(genes, SplitConfig(**config))

  def test_a_gene_is_cut_out_of_its_genome_on_either_strand(self, rng):
    gene, before, after = dna(rng, 900), dna(rng, 3000), dna(rng, 2000)
    held_out = self.index((gene, "valid"))
    for letters in (gene, tokenizer.reverse_complement(gene)):
      genome = np.concatenate([before, letters, after])
      assert held_out.partition(genome) == [(0, 3000, "train"), (3000, 3900, "valid"), (3900, 5900, "train")]

  def test_single_letter_differences_leave_one_stretch(self, rng):
    gene = dna(rng, 2000)
    other = gene.copy()
    for at in range(60, 1950, 60):
      other[at] = tokenizer.FIRST_NUCLEOTIDE + (other[at] - tokenizer.FIRST_NUCLEOTIDE + 1) % 4
    found = self.index((gene, "test")).partition(np.concatenate([dna(rng, 500), other, dna(rng, 500)]))
    assert [(s, b - a) for a, b, s in found] == [("train", 500), ("test", 2000), ("train", 500)]

  def test_neighbours_of_two_splits_are_cut_apart(self, rng):
    one, other = dna(rng, 600), dna(rng, 600)
    found = self.index((one, "valid"), (other, "test")).partition(np.concatenate([one, other]))
    assert found == [(0, 600, "valid"), (600, 1200, "test")]

  def test_letters_that_both_splits_claim_belong_to_neither(self, rng):
    genome = dna(rng, 1000)
    held_out = self.index((genome[:600], "valid"), (genome[400:], "test"))
    assert held_out.partition(genome) == [(0, 400, "valid"), (400, 600, None), (600, 1000, "test")]
    assert held_out.whole(genome) is None

  def test_a_few_common_kmers_are_chance(self, rng):
    gene = dna(rng, 600)
    held_out = self.index((gene, "valid"))
    few, enough = gene[: KMER + 28], gene[: KMER + 29]
    assert held_out.whole(np.concatenate([dna(rng, 300), few])) == "train"
    assert held_out.whole(np.concatenate([dna(rng, 300), enough])) == "valid"

  def test_low_complexity_marks_nothing(self, rng):
    repeat = tokenizer.encode("A" * 200 + "CAG" * 60 + "AT" * 90, Modality.DNA)
    held_out = self.index((np.concatenate([dna(rng, 300), repeat]), "valid"))
    assert held_out.whole(np.concatenate([dna(rng, 300), repeat])) == "train"

  def test_ambiguous_letters_match_nothing(self, rng):
    gene = dna(rng, 600)
    masked = gene.copy()
    masked[::20] = tokenizer.encode("N", Modality.DNA)[0]
    assert self.index((gene, "valid")).whole(masked) == "train"

  @pytest.mark.parametrize("length", [0, 1, KMER - 1])
  def test_sequences_shorter_than_a_kmer_are_train(self, rng, length):
    held_out = self.index((dna(rng, 600), "valid"))
    assert held_out.whole(dna(rng, length)) == "train"
    assert held_out.partition(dna(rng, length)) == ([(0, length, "train")] if length else [])

  def test_with_nothing_held_out_everything_is_train(self, rng):
    assert self.index().partition(dna(rng, 500)) == [(0, 500, "train")]

  def test_long_sequences_are_cut_the_same_in_any_chunks(self, rng, monkeypatch):
    genes = [dna(rng, rng.randint(60, 400)) for _ in range(20)]
    held_out = self.index(*((gene, rng.choice(["valid", "test"])) for gene in genes))
    genome = np.concatenate([part for gene in genes for part in (dna(rng, rng.randint(0, 300)), gene)])
    expected = held_out.partition(genome)
    monkeypatch.setattr(splits, "_CHUNK", 97)
    assert held_out.partition(genome) == expected

  @hypothesis.given(st.integers(0, 2**32))
  def test_a_partition_leaves_no_gap(self, seed):
    rng = random.Random(seed)
    genes = [dna(rng, rng.randint(30, 300)) for _ in range(rng.randint(0, 5))]
    held_out = self.index(*((gene, rng.choice(["valid", "test"])) for gene in genes))
    genome = np.concatenate([dna(rng, 40)] + [p for gene in genes for p in (gene[rng.randint(0, 50) :], dna(rng, 50))])
    found = held_out.partition(genome)
    assert [a for a, _, _ in found] == [0] + [b for _, b, _ in found[:-1]]
    assert found[-1][1] == len(genome)
    assert all(a[2] != b[2] for a, b in zip(found, found[1:]))


@pytest.fixture(scope="module")
def strains(shared_data):
  """The coding genes of E. coli K-12 MG1655 and of O157:H7 Sakai."""
  files = ("ecoli_mg1655/GCF_000005845.2_ASM584v2_genomic.gbff.gz", "ecoli_o157_sakai/NC_002695.gbk.gz")
  readers = (genbank.read_genbank(shared_data / "genomes" / f) for f in files)
  return [[item for item in items if isinstance(item, CodingGene)] for items in readers]


class TestRealGenomes:

  def test_orthologues_of_two_strains_fall_into_one_split(self, strains):
    by_strain = [{g.protein: encoded(g.protein) for g in genes} for genes in strains]
    found = ProteinSplits.assign([p for s in by_strain for p in s.values()], SplitConfig())
    cluster = dict(zip(found.digests.tolist(), found.clusters.tolist()))
    clusters = [{cluster[splits.digest(p)] for p in s.values()} for s in by_strain]
    # Most genes of a strain have an orthologue in the other one: far more common clusters than strangers could give.
    assert len(clusters[0] & clusters[1]) > 3000
    shares = np.bincount(found.splits) / len(found.splits)
    np.testing.assert_allclose(shares, [0.9, 0.05, 0.05], atol=0.015)

  def test_held_out_genes_of_one_strain_are_found_in_the_other_without_its_annotation(self, strains):
    found = ProteinSplits.assign([encoded(g.protein) for genes in strains for g in genes], SplitConfig())
    ids = [[tokenizer.encode(g.dna, Modality.DNA) for g in genes] for genes in strains]
    labels = [[found.split(encoded(g.protein)) for g in genes] for genes in strains]
    held_out = HeldOutIndex(((i, s) for i, s in zip(ids[0], labels[0]) if s != "train"), SplitConfig())
    # Same protein, letter for letter, in both strains: the DNA differs by a few per cent at most.
    same = {g.protein for g in strains[0]}
    other = zip(ids[1], labels[1], strains[1])
    hits = [held_out.whole(i) == s for i, s, g in other if s != "train" and g.protein in same]
    assert len(hits) > 100
    assert np.mean(hits) > 0.97
