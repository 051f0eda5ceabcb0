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
from data_pipelines import documents, refseq_pairs, single_modal, views
from data_pipelines.corpora import plan_shards
from data_pipelines.decontaminate import DecontaminationConfig, HeldOut
from data_pipelines.genes import CodingGene, reverse_complement
from data_pipelines.holding_out import Places
from data_pipelines.splits import ProteinSplits, digest
from data_pipelines.spool import Spool, SpoolWriter
from data_pipelines.tasks import Workers

ROOT = pathlib.Path(__file__).parents[2]
GENE = CodingGene(
    gene_id="GeneID:1", transcript_id="NM_1.1", protein_id="NP_1.1", taxon=9606, dna="CCATGAAAGTAAGTAGTTTTGACC",
    cds_blocks=((2, 8), (17, 23)), rna="CCATGAAATTTTGACC", rna_cds=(2, 14), rna_source="record", protein="MKF",
    protein_source="record", transl_table=1,
)


@pytest.fixture
def rng():
  return random.Random(0)


def encoded(sequence, modality=Modality.DNA):
  return tokenizer.encode(sequence, modality)


def dna(rng, length):
  return "".join(rng.choices("ACGT", k=length))


def fixed_splits(**proteins):
  """Splits that say of encoded proteins what they are told: protein=split."""
  digests = np.array([digest(tokenizer.encode(p, Modality.PROTEIN)) for p in proteins], np.uint64)
  found = np.array([("train", "valid", "test").index(s) for s in proteins.values()], np.uint8)
  order = np.argsort(digests)
  return ProteinSplits(digests[order], found[order], np.arange(len(digests)))


def places(*held_out, proteins=None, labels=("valid", "test", "eval/x")):
  """Places with the nucleotides (sequence, label) held out, and the splits of these clustered proteins."""
  index = HeldOut.build(
      [(encoded(s), label) for s, label in held_out],
      [(encoded(p, Modality.PROTEIN), s) for p, s in (proteins or {}).items() if s != "train"],
      list(labels), DecontaminationConfig(),
  )
  return Places(fixed_splits(**(proteins or {})), index)


class TestSpool:

  def test_objects_are_read_back_by_index(self, tmp_path):
    writer = SpoolWriter(tmp_path)
    assert [writer.append({"n": i}) for i in range(5)] == list(range(5))
    writer.close()
    spool = Spool(tmp_path)
    assert (spool[3], spool[0], len(spool)) == ({"n": 3}, {"n": 0}, 5)
    assert [item["n"] for item in spool] == list(range(5))


class TestShards:

  def plan(self, folder, room, *units):
    paths = []
    for number, sizes in enumerate(units):
      pieces = np.zeros((len(sizes), 4), np.int64)
      pieces[:, 3] = sizes
      np.save(folder / f"{number}.npy", pieces)
      paths.append((f"u{number}", str(folder / f"{number}.npy")))
    shards = plan_shards(paths, room)
    return [[(part.unit, part.first, part.last) for part in shard] for shard in shards]

  def test_small_units_share_a_shard_and_large_ones_are_divided(self, tmp_path):
    assert self.plan(tmp_path, 10, [3, 3], [4], [], [6, 6, 1]) == [
        [("u0", 0, 2), ("u1", 0, 1)], [("u3", 0, 1)], [("u3", 1, 3)],
    ]

  def test_a_document_larger_than_a_shard_has_one_of_its_own(self, tmp_path):
    assert self.plan(tmp_path, 10, [2, 50, 2]) == [[("u0", 0, 1)], [("u0", 1, 2)], [("u0", 2, 3)]]

  def test_no_documents_are_no_shards(self, tmp_path):
    assert self.plan(tmp_path, 10, [], []) == []


class TestDatasets:

  def build(self, folder, genes, counts=None, letters=1 << 20):
    unit = folder / "unit"
    unit.mkdir()
    writer = SpoolWriter(unit)
    pieces = [(writer.append(refseq_pairs.example(g, "source")), 0, 0, len(g.dna)) for g in genes]
    writer.close()
    np.save(unit / "train.npy", np.array(pieces))
    shards = {"train": plan_shards([(str(unit), str(unit / "train.npy"))], letters)}
    workers = Workers(folder / "work")
    refseq_pairs.RefseqPairs(data_dir=folder, shards=shards, workers=workers, counts=counts).download_and_prepare()
    return refseq_pairs.RefseqPairs(data_dir=folder)

  def test_shards_hold_the_documents_in_order(self, tmp_path):
    genes = [dataclasses.replace(GENE, gene_id=f"G{i}") for i in range(5)]
    builder = self.build(tmp_path, genes, letters=2 * len(GENE.dna))
    assert builder.info.splits["train"].shard_lengths == [2, 2, 1]
    names = [e["id"].decode().split("|")[1] for e in builder.as_data_source(split="train")]
    assert names == ["G0", "G1", "G2", "G3", "G4"]

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
    for builder in documents.CORPORA.values():
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


class TestPairPlaces:

  def place(self, gene, known):
    example = refseq_pairs.example(gene, "s")
    return refseq_pairs.place(example, known.index.protein_mask(example["protein"]), known)[:2]

  def gene(self, protein, sequence):
    return dataclasses.replace(GENE, protein=protein, dna=sequence, rna=sequence, cds_blocks=((0, len(sequence)),))

  def test_genes_follow_their_proteins(self, rng):
    held = {"valid": dna(rng, 600), "test": dna(rng, 600)}
    known = places(*((s, split) for split, s in held.items()), proteins={"MA": "train", "MC": "valid", "MD": "test"})
    assert self.place(self.gene("MA", dna(rng, 600)), known) == ("train", "")
    assert self.place(self.gene("MC", held["valid"]), known) == ("valid", "")
    assert self.place(self.gene("MD", held["test"]), known) == ("test", "")

  @pytest.mark.parametrize("strand", [1, -1])
  @pytest.mark.parametrize("split", ["train", "test"])
  def test_a_gene_that_overlaps_a_held_out_one_is_rejected(self, rng, strand, split):
    genome = dna(rng, 1000)
    other = genome[400:]
    if strand < 0:
      other = reverse_complement(other)
    known = places((genome[:600], "valid"), proteins={"MA": split, "MC": "valid"})
    assert self.place(self.gene("MA", other), known) == ("", "heldout_overlap")
    assert self.place(self.gene("MC", genome[:600]), known) == ("valid", "")

  def test_genes_that_share_a_few_bases_stay(self, rng):
    genome = dna(rng, 1000)
    known = places((genome[:510], "valid"), proteins={"MA": "train", "MC": "valid"})
    assert self.place(self.gene("MA", genome[490:]), known) == ("train", "")

  def test_a_gene_whose_protein_was_not_clustered_goes_where_it_is_found(self, rng):
    held = dna(rng, 600)
    known = places((held, "valid"))
    assert self.place(self.gene("MA", held), known) == ("valid", "")
    assert self.place(self.gene("MA", dna(rng, 600)), known) == ("train", "")

  def test_a_gene_of_an_evaluation_set_is_rejected_whatever_its_split(self, rng):
    held = dna(rng, 600)
    known = places((held, "eval/x"), proteins={"MA": "train", "MC": "valid"})
    for protein in ("MA", "MC", "MD"):
      assert self.place(self.gene(protein, dna(rng, 300) + held), known) == ("", "evaluation_set")


class TestSingleStretches:

  def stretches(self, known, sequence, modality=Modality.DNA, min_letters=20):
    record = single_modal.record("r", 1, modality, encoded(sequence, modality))
    mask = known.index.protein_mask(record["letters"]) if modality == Modality.PROTEIN else 0
    kept, dropped = single_modal.stretches(record, mask, known, min_letters)
    return kept, [(place.reason, (start, end)) for start, end, place in dropped]

  def test_a_genome_is_cut_along_held_out_genes(self, rng):
    genome = dna(rng, 7000)
    known = places((genome[1000:1600], "valid"), (genome[3000:3900], "test"), (genome[5000:5500], "eval/x"))
    kept, dropped = self.stretches(known, genome)
    assert kept == [
        (0, 1000, "train"), (1000, 1600, "valid"), (1600, 3000, "train"), (3000, 3900, "test"), (3900, 5000, "train"),
        (5500, 7000, "train"),
    ]
    assert dropped == [("evaluation_set", (5000, 5500))]

  def test_only_the_ends_of_a_linear_molecule_are_ends(self, rng):
    linear, circular = (
        single_modal.record("r", 1, Modality.DNA, encoded(dna(rng, 300)), circular=c) for c in (False, True)
    )
    pieces = [(linear, 0, 100), (linear, 100, 300), (linear, 0, 300), (circular, 0, 300)]
    made = [single_modal.SingleModal.document(*piece) for piece in pieces]
    assert [(e["at_start"], e["at_end"]) for e in made] == [(True, False), (False, True), (True, True), (False, False)]
    assert [e["id"] for e in made] == ["r:1-100", "r:101-300", "r", "r"]

  def test_transcripts_and_short_dna_go_whole_where_their_genes_go(self, rng):
    gene, other = dna(rng, 600), dna(rng, 600)
    known = places((gene, "valid"), (other, "test"))
    assert self.stretches(known, dna(rng, 3000) + gene, Modality.RNA) == ([(0, 3600, "valid")], [])
    assert self.stretches(known, dna(rng, 500) + other) == ([(0, 1100, "test")], [])
    assert self.stretches(known, dna(rng, 900)) == ([(0, 900, "train")], [])
    assert self.stretches(known, gene + other, Modality.RNA) == ([], [("valid_and_test", (0, 1200))])

  def test_proteins_follow_their_clusters(self):
    known = places(proteins={"MAAAA": "test", "MCCCC": "train"})
    assert self.stretches(known, "MAAAA", Modality.PROTEIN, 2) == ([(0, 5, "test")], [])
    assert self.stretches(known, "MCCCC", Modality.PROTEIN, 2) == ([(0, 5, "train")], [])

  def test_a_protein_that_was_not_clustered_follows_the_one_that_it_resembles(self, rng):
    held = "M" + "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=200))
    known = places(proteins={held: "valid"})
    assert self.stretches(known, held[:150], Modality.PROTEIN) == ([(0, 150, "valid")], [])

  def test_short_stretches_are_dropped(self, rng):
    genome = dna(rng, 3000)
    known = places((genome[10:600], "valid"))
    assert self.stretches(known, genome) == ([(10, 600, "valid"), (600, 3000, "train")], [("too_short", (0, 10))])
    assert self.stretches(known, "ACGT") == ([], [("too_short", (0, 4))])

  def test_long_stretches_are_several_documents(self, rng, monkeypatch):
    monkeypatch.setattr(single_modal, "MAX_LETTERS", 1000)
    kept, _ = self.stretches(places(), dna(rng, 2500))
    assert kept == [(0, 1000, "train"), (1000, 2000, "train"), (2000, 2500, "train")]
