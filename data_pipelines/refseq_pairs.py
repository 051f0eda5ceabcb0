"""The pair corpus: one document for each gene, its DNA, its RNA and its protein, aligned.

The modalities stay apart in the document; how they are shown (which, in what order, which codons) is a row set's choice
(`row_sets.PairRowSet`).
"""

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import corpora
from data_pipelines.genes import CodingGene
from data_pipelines.report import Tally
from data_pipelines.splits import SPLITS, HeldOutIndex, ProteinSplits


class RefseqPairs(corpora.CorpusBuilder):
  """Protein-coding genes: genomic DNA on the coding strand, transcript and protein, as token ids."""

  FEATURES = tfds.features.FeaturesDict({
      "id": tfds.features.Text(),
      "taxon": np.int32,
      "transl_table": np.int32,
      "dna": corpora.token_ids(),
      "cds_blocks": tfds.features.Tensor(shape=(None, 2), dtype=np.int32),
      "genomic": np.bool_,
      "rna": corpora.token_ids(),
      "rna_cds": tfds.features.Tensor(shape=(2,), dtype=np.int32),
      "rna_source": tfds.features.Text(),
      "protein": corpora.token_ids(),
      "partial5": np.bool_,
      "partial3": np.bool_,
  })


def example(gene: CodingGene, source: str, **encoding) -> dict:
  """A gene as a record of `RefseqPairs`; (-1, -1) stands for an `rna_cds` of None.

  Args:
    gene: the gene.
    source: name of the source, the first part of the id.
    **encoding: `strict` and `counts`, as `tokenizer.encode`.

  Raises:
    TokenizerError: in strict mode, naming the letter and the gene.
  """
  name = "|".join(filter(None, (gene.gene_id, gene.transcript_id, gene.protein_id)))
  return {
      "id": f"{source}|{name}",
      "taxon": gene.taxon,
      "transl_table": gene.transl_table,
      "dna": tokenizer.encode(gene.dna, Modality.DNA, name=name, **encoding),
      "cds_blocks": np.array(gene.cds_blocks, np.int32).reshape(-1, 2),
      "genomic": gene.genomic,
      "rna": tokenizer.encode(gene.rna, Modality.RNA, name=name, **encoding),
      "rna_cds": np.array(gene.rna_cds or (-1, -1), np.int32),
      "rna_source": gene.rna_source,
      "protein": tokenizer.encode(gene.protein, Modality.PROTEIN, name=name, **encoding),
      "partial5": gene.partial5,
      "partial3": gene.partial3,
  }


class TranscriptChoice:
  """One transcript of each gene: MANE or RefSeq Select, else the longest CDS, else the first.

  Transcripts belong to one gene where source and gene id agree; coding sequences without a transcript are genes of
  their own unless their DNA is the same (copies of a transposon share a name).
  """

  def __init__(self):
    self._best: dict[tuple, tuple[tuple[bool, int], int]] = {}

  def offer(self, index: int, source: str, gene: CodingGene) -> int | None:
    """Returns the index of the transcript that loses: this one or the one before; None for a gene's first."""
    key = (source, gene.gene_id, "" if gene.transcript_id else gene.dna)
    rank = (gene.selected, sum(b - a for a, b in gene.cds_blocks))
    rank_before, before = self._best.get(key, (None, None))
    if before is None or rank > rank_before:
      self._best[key] = (rank, index)
      return before
    return index


def held_out_sequences(genes: corpora.Spool, splits: ProteinSplits) -> Iterator[tuple[np.ndarray, str]]:
  """(nucleotides, split) of the DNA and the RNA of every gene, of every transcript, whose protein is held out."""
  for gene in genes:
    if (split := splits.split(gene["protein"])) != "train":
      yield gene["dna"], split
      yield gene["rna"], split


def assign(
    genes: corpora.Spool, kept: list[int], splits: ProteinSplits, held_out: HeldOutIndex, rejects: Tally
) -> dict[str, list[int]]:
  """The genes of each split.

  A gene follows its protein. One whose nucleotides hold part of a gene of another held-out split (overlapping and
  nested genes) belongs nowhere and is rejected as `heldout_overlap`.
  """
  chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
  for index in kept:
    gene = genes[index]
    split = splits.split(gene["protein"])
    sequences = {gene["dna"].tobytes(), gene["rna"].tobytes()}  # the same one in prokaryotes
    intervals = [held_out.intervals(np.frombuffer(letters, np.uint8)) for letters in sequences]
    if any(runs for found in intervals for other, runs in found.items() if other != split):
      rejects.add("heldout_overlap", gene["id"])
    else:
      chosen[split].append(index)
  return chosen


def content(gene: Mapping) -> bytes:
  """What makes two genes the same document."""
  return b"|".join((gene["dna"].tobytes(), gene["rna"].tobytes(), gene["protein"].tobytes()))
