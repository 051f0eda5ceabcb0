"""Corpora: genes and sequences to TFDS documents of the right split, and back."""

import dataclasses
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import corpora, refseq_pairs, single_modal, views
from data_pipelines.genes import CodingGene
from data_pipelines.report import Tally
from data_pipelines.splits import HeldOutIndex, ProteinSplits, SplitConfig, digest

ROOT = pathlib.Path(__file__).parents[2]
GENE = CodingGene(
    gene_id="GeneID:1", transcript_id="NM_1.1", protein_id="NP_1.1", taxon=9606, dna="CCATGAAAGTAAGTAGTTTTGACC",
    cds_blocks=((2, 8), (17, 23)), rna="CCATGAAATTTTGACC", rna_cds=(2, 14), rna_source="record", protein="MKF",
    protein_source="record", transl_table=1,
)


@pytest.fixture
def rng():
  return random.Random(0)


@pytest.fixture
def spool(tmp_path):
  made = corpora.Spool(tmp_path / "spool")
  yield made
  made.close()


def dna(rng, length):
  return "".join(rng.choices("ACGT", k=length))


def fixed_splits(**proteins):
  """Splits that say of encoded proteins what they are told: protein=split."""
  digests = np.array([digest(tokenizer.encode(p, Modality.PROTEIN)) for p in proteins], np.uint64)
  found = np.array([("train", "valid", "test").index(s) for s in proteins.values()], np.uint8)
  return ProteinSplits(digests, found, np.arange(len(digests)))


class TestSpool:

  def test_objects_are_read_back_by_index_while_others_are_written(self, spool):
    assert [spool.append({"n": i}) for i in range(5)] == list(range(5))
    assert spool[3] == {"n": 3}
    spool.append("last")
    assert (spool[5], spool[0], len(spool)) == ("last", {"n": 0}, 6)
    assert [item["n"] for item in list(spool)[:5]] == list(range(5))


class TestDatasets:

  def build(self, folder, genes, counts=None):
    made = {"train": lambda: (refseq_pairs.example(g, "source") for g in genes)}
    refseq_pairs.RefseqPairs(data_dir=folder, documents=made, counts=counts).download_and_prepare()
    return refseq_pairs.RefseqPairs(data_dir=folder)

  def test_a_gene_is_read_back_as_it_was_written(self, tmp_path):
    (example,) = self.build(tmp_path, [GENE]).as_data_source(split="train")
    gene = views.Gene.from_example(example)
    assert gene.id == "source|GeneID:1|NM_1.1|NP_1.1"
    assert tokenizer.decode(gene.dna).upper() == GENE.dna and tokenizer.decode(gene.rna).upper() == GENE.rna
    assert tokenizer.decode(gene.cds).upper() == GENE.cds
    assert (gene.rna_cds, gene.rna_source, gene.taxon, gene.codons, gene.genomic) == ((2, 14), "record", 9606, 3, True)
    assert (example["transl_table"], example["partial5"], example["partial3"]) == (1, False, False)
    assert gene.dna.dtype == np.uint8

  def test_a_transcript_without_its_cds_has_no_place(self, tmp_path):
    gene = dataclasses.replace(GENE, rna_cds=None)
    (example,) = self.build(tmp_path, [gene]).as_data_source(split="train")
    assert views.Gene.from_example(example).rna_cds == (-1, -1)

  def test_what_was_counted_is_kept_with_the_dataset(self, tmp_path):
    self.build(tmp_path, [GENE], {"records": 7, "rejects": {"pseudogene": {"count": 6, "examples": ["x"]}}})
    metadata = refseq_pairs.RefseqPairs(data_dir=tmp_path).info.metadata
    assert (metadata["records"], metadata["rejects"]["pseudogene"]["examples"]) == (7, ["x"])

  def test_features_are_bytes_and_numbers_and_never_sequences(self):
    for builder in (refseq_pairs.RefseqPairs, single_modal.SingleModal):
      kinds = {type(feature).__name__ for feature in builder.FEATURES.values()}
      assert kinds <= {"Tensor", "Text"}

  def test_a_letter_outside_the_alphabet_is_an_error_or_counted(self):
    gene = dataclasses.replace(GENE, dna=GENE.dna.replace("GTAAG", "GTE!G"))
    with pytest.raises(tokenizer.TokenizerError, match="GeneID:1"):
      refseq_pairs.example(gene, "source")
    counts = {}
    refseq_pairs.example(gene, "source", strict=False, counts=counts)
    assert counts == {"unknown": 2}

  def test_tensorflow_is_not_needed(self, tmp_path):
    self.build(tmp_path, [GENE])
    script = (
        "import sys; from data_pipelines import refseq_pairs;"
        f"n = len(refseq_pairs.RefseqPairs(data_dir={str(tmp_path)!r}).as_data_source(split='train'));"
        "print(n, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["1", "False"]


class TestTranscriptChoice:

  def losers(self, *genes):
    choice = refseq_pairs.TranscriptChoice()
    offered = [choice.offer(i, "source", gene) for i, gene in enumerate(genes)]
    return sorted(loser for loser in offered if loser is not None)

  def transcript(self, name, length, selected=False, gene_id="G"):
    return dataclasses.replace(
        GENE, gene_id=gene_id, transcript_id=name, cds_blocks=((0, length),), selected=selected
    )

  def test_the_selected_transcript_wins_over_a_longer_one(self):
    assert self.losers(self.transcript("a", 9), self.transcript("b", 3, True), self.transcript("c", 12)) == [0, 2]

  def test_else_the_longest_and_of_equals_the_first(self):
    assert self.losers(self.transcript("a", 3), self.transcript("b", 9), self.transcript("c", 9)) == [0, 2]

  def test_genes_do_not_compete(self):
    assert self.losers(self.transcript("a", 3), self.transcript("b", 9, gene_id="H")) == []

  def test_copies_that_share_a_name_and_have_no_transcript_are_genes_of_their_own(self):
    assert self.losers(self.transcript("", 3), dataclasses.replace(self.transcript("", 3), dna="CC" + GENE.dna)) == []


class TestPairSplits:

  def assign(self, spool, splits, *genes):
    kept = [spool.append(refseq_pairs.example(g, "s")) for g in genes]
    held_out = HeldOutIndex(refseq_pairs.held_out_sequences(spool, splits), SplitConfig())
    rejects = Tally()
    return refseq_pairs.assign(spool, kept, splits, held_out, rejects), rejects

  def gene(self, protein, sequence, gene_id="G"):
    return dataclasses.replace(
        GENE, gene_id=gene_id, protein=protein, dna=sequence, rna=sequence, cds_blocks=((0, len(sequence)),)
    )

  def test_genes_follow_their_proteins(self, spool, rng):
    splits = fixed_splits(MA="train", MC="valid", MD="test")
    genes = [self.gene(p, dna(rng, 600)) for p in ("MD", "MA", "MC", "MA")]
    chosen, rejects = self.assign(spool, splits, *genes)
    assert (chosen, rejects.total()) == ({"train": [1, 3], "valid": [2], "test": [0]}, 0)

  @pytest.mark.parametrize("strand", [1, -1])
  @pytest.mark.parametrize("split", ["train", "test"])
  def test_a_gene_that_overlaps_a_held_out_one_is_rejected(self, spool, rng, strand, split):
    genome = dna(rng, 1000)
    other = genome[400:]
    if strand < 0:
      other = other.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    splits = fixed_splits(MA=split, MC="valid")
    genes = [self.gene("MC", genome[:600], "held"), self.gene("MA", other, "overlapping")]
    chosen, rejects = self.assign(spool, splits, *genes)
    if split == "test":  # each holds a part of the other
      assert rejects.counts == {"heldout_overlap": 2}
    else:
      assert (chosen["valid"], chosen["train"]) == ([0], [])
      assert rejects.examples == {"heldout_overlap": ["s|overlapping|NM_1.1|NP_1.1"]}

  def test_genes_that_share_a_few_bases_stay(self, spool, rng):
    genome = dna(rng, 1000)
    genes = [self.gene("MC", genome[:510]), self.gene("MA", genome[490:])]
    chosen, rejects = self.assign(spool, fixed_splits(MA="train", MC="valid"), *genes)
    assert (chosen["train"], rejects.total()) == ([1], 0)


class TestSingleSplits:

  def assign(self, spool, held_out, *records, splits=None, min_letters=20):
    for record in records:
      spool.append(record)
    dropped, rejects = Tally(), Tally()
    chosen = single_modal.assign(spool, splits or fixed_splits(), held_out, min_letters, dropped, rejects)
    return chosen, dropped, rejects

  def record(self, sequence, modality=Modality.DNA, name="r", circular=False):
    return single_modal.Record(name, 1, modality, tokenizer.encode(sequence, modality), circular)

  def index(self, *genes):
    return HeldOutIndex([(tokenizer.encode(g, Modality.DNA), s) for g, s in genes], SplitConfig())

  def test_a_genome_is_cut_along_held_out_genes(self, spool, rng):
    genome = dna(rng, 5000)
    held_out = self.index((genome[1000:1600], "valid"), (genome[3000:3900], "test"))
    chosen, dropped, rejects = self.assign(spool, held_out, self.record(genome))
    assert chosen == {
        "train": [(0, 0, 1000), (0, 1600, 3000), (0, 3900, 5000)], "valid": [(0, 1000, 1600)], "test": [(0, 3000, 3900)]
    }
    assert (dropped.total(), rejects.total()) == (0, 0)

  def test_only_the_ends_of_a_linear_molecule_are_ends(self, spool, rng):
    for circular in (False, True):
      spool.append(self.record(dna(rng, 300), circular=circular))
    pieces = [(0, 0, 100), (0, 100, 300), (0, 0, 300), (1, 0, 300)]
    made = list(single_modal.examples(spool, pieces))
    assert [(e["at_start"], e["at_end"]) for e in made] == [(True, False), (False, True), (True, True), (False, False)]
    assert [e["id"] for e in made] == ["r:1-100", "r:101-300", "r", "r"]

  def test_transcripts_and_short_dna_go_whole_where_their_genes_go(self, spool, rng):
    gene, other = dna(rng, 600), dna(rng, 600)
    held_out = self.index((gene, "valid"), (other, "test"))
    records = [
        self.record(dna(rng, 3000) + gene, Modality.RNA), self.record(dna(rng, 500) + other),
        self.record(dna(rng, 900)), self.record(gene + other, Modality.RNA, "both"),
    ]
    chosen, _, rejects = self.assign(spool, held_out, *records)
    assert chosen == {"train": [(2, 0, 900)], "valid": [(0, 0, 3600)], "test": [(1, 0, 1100)]}
    assert rejects.examples == {"valid_and_test": ["both"]}

  def test_proteins_follow_their_clusters(self, spool):
    splits = fixed_splits(MAAAA="test", MCCCC="train")
    records = [self.record(p, Modality.PROTEIN) for p in ("MAAAA", "MCCCC")]
    chosen, _, _ = self.assign(spool, self.index(), *records, splits=splits, min_letters=2)
    assert (chosen["test"], chosen["train"]) == ([(0, 0, 5)], [(1, 0, 5)])

  def test_short_stretches_and_short_records_are_counted_apart(self, spool, rng):
    genome = dna(rng, 3000)
    held_out = self.index((genome[10:600], "valid"))
    chosen, dropped, rejects = self.assign(spool, held_out, self.record(genome), self.record("ACGT", name="tiny"))
    assert (chosen["valid"], chosen["train"]) == ([(0, 10, 600)], [(0, 600, 3000)])
    assert (dropped.examples, rejects.examples) == ({"too_short": ["r:1-10"]}, {"too_short": ["tiny"]})

  def test_long_stretches_are_several_documents(self, spool, rng, monkeypatch):
    monkeypatch.setattr(single_modal, "MAX_LETTERS", 1000)
    chosen, _, _ = self.assign(spool, self.index(), self.record(dna(rng, 2500)))
    assert chosen["train"] == [(0, 0, 1000), (0, 1000, 2000), (0, 2000, 2500)]
