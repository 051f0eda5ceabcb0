"""The pair corpora: one document for each gene, its DNA, its RNA and its protein, aligned.

The modalities stay apart in the document; how they are shown (which, in what order, which codons) is a row set's choice
(`row_sets.PairRowSet`).
"""

from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import corpora
from data_pipelines.genes import CodingGene
from data_pipelines.holding_out import Place, Places


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

  @staticmethod
  def document(item: Mapping, start: int, end: int) -> Mapping:
    return item


class GeneRelated(RefseqPairs):
  """Gene Related Sequences: coding genes from NCBI Gene's related records, with the same features as RefSeq's pairs."""


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


def place(gene: Mapping, mask: int, places: Places) -> Place:
  """Where a gene belongs; `mask` is what the index finds in its protein.

  A gene follows its protein. One whose nucleotides or protein hold part of a gene of another held-out split
  (overlapping and nested genes, domains in common) belongs nowhere.
  """
  nucleotides = {gene["dna"].tobytes(), gene["rna"].tobytes()}  # the same ones in prokaryotes
  for letters in nucleotides:
    ids = np.frombuffer(letters, np.uint8)
    mask |= places.index.whole(ids, Modality.DNA, transl_table=int(gene["transl_table"]))
  return places.split(mask, places.of_protein(gene["protein"]))


def content(gene: Mapping) -> bytes:
  """What makes two genes the same document."""
  return b"|".join((gene["dna"].tobytes(), gene["rna"].tobytes(), gene["protein"].tobytes()))
