"""Coding genes as every annotation format yields them, and the check that each one translates to its protein."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CodingGene:
  """One transcript of a protein-coding gene, its modalities aligned.

  Coordinates are 0-based, half-open, on the coding strand (5' to 3'); sequences are upper case.

  Attributes:
    gene_id: stable name: `GeneID:851229`, else the locus tag, else the gene's name or ID in the file.
    transcript_id: accession or ID of the transcript, "" where the file has none (prokaryotes).
    protein_id: accession or ID of the protein.
    taxon: NCBI taxonomy id, 0 where unknown.
    dna: the gene's genomic stretch on its coding strand, from the first to the last base of the transcript (of the CDS
      where there is no transcript), introns included.
    cds_blocks: where in `dna` the coding bases lie, in order; their concatenation is in frame from its first base (the
      bases before `codon_start` are left out). Blocks may overlap or touch (ribosomal slippage).
    rna: the transcript in DNA letters (as the files have it), UTRs included.
    rna_cds: where in `rna` the concatenated CDS lies, or None where the two do not match letter for letter
      (a transcript record that differs from the genome, ribosomal slippage).
    rna_source: `record` (its own FASTA record), `exons` (spliced from the genome) or `cds` (no transcript is
      annotated: the CDS itself, as in prokaryotes).
    protein: the residues, without the stop.
    protein_source: `record` (FASTA), `qualifier` (/translation) or `translated` (the file holds none).
    transl_table: NCBI genetic code.
    partial5, partial3: the CDS continues beyond the sequence or is annotated incomplete at that end.
    selected: MANE Select / RefSeq Select.
  """

  gene_id: str
  transcript_id: str
  protein_id: str
  taxon: int
  dna: str
  cds_blocks: tuple[tuple[int, int], ...]
  rna: str
  rna_cds: tuple[int, int] | None
  rna_source: str
  protein: str
  protein_source: str
  transl_table: int
  partial5: bool = False
  partial3: bool = False
  selected: bool = False

  @property
  def cds(self) -> str:
    """The spliced coding sequence, in frame, with its stop codon where the annotation has one."""
    return "".join(self.dna[a:b] for a, b in self.cds_blocks)


@dataclasses.dataclass(frozen=True)
class Reject:
  """A coding feature that cannot become a `CodingGene`.

  Attributes:
    code: reason, one of `REASONS`.
    record: what the file calls it (protein id, locus tag or location).
    detail: what was found, for the report's examples.
  """

  code: str
  record: str
  detail: str = ""
