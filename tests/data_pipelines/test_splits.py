"""Splits: related proteins stay together."""

import random

import numpy as np
import pytest

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import splits
from data_pipelines.formats import genbank
from data_pipelines.genes import CodingGene
from data_pipelines.splits import ProteinSplits, SplitConfig

RESIDUES = tokenizer.AMINO_ACIDS


def protein(rng, length=300):
  return "".join(rng.choices(RESIDUES, k=length))


def mutate(rng, sequence, rate, alphabet=RESIDUES):
  return "".join(rng.choice(alphabet) if rng.random() < rate else letter for letter in sequence)


def encoded(sequence):
  return tokenizer.encode(sequence, Modality.PROTEIN).tobytes()


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
    pinned = [splits.digest(encoded(founder))]
    found = ProteinSplits.assign(map(encoded, (founder, relative, stranger)), config, pinned)
    assert [found.split(encoded(p)) for p in (founder, relative, stranger)] == ["train", "train", "valid"]

  def test_a_protein_that_was_not_clustered_has_no_split(self, rng):
    found = ProteinSplits.assign([encoded(protein(rng))], SplitConfig())
    assert found.split(encoded(protein(rng))) is None and found.cluster(encoded(protein(rng))) is None

  def test_no_protein_at_all_gives_empty_splits(self):
    assert len(ProteinSplits.assign([], SplitConfig()).digests) == 0

  def test_saved_splits_are_read_back(self, rng, tmp_path):
    proteins = [encoded(protein(rng, 80)) for _ in range(50)]
    found = ProteinSplits.assign(proteins, SplitConfig(valid=0.3, test=0.3))
    found.save(tmp_path / "splits.npz")
    again = ProteinSplits.load(tmp_path / "splits.npz")
    assert [again.split(p) for p in proteins] == [found.split(p) for p in proteins]


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
