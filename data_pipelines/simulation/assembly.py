"""An annotated genome in memory: what `species` makes and `ncbi_writer` writes."""

import dataclasses
from collections.abc import Iterable

Part = tuple[int, int, str]
"""Start, end (0-based, half-open) and strand, "+" or "-". Past the origin of a circular contig the end (and in later
parts the start too) runs on beyond its length."""


@dataclasses.dataclass(frozen=True)
class Transcript:
  """One transcript and what it codes for; parts in the order of transcription.

  Attributes:
    exons: parts of the transcript.
    cds: parts of the coding sequence with its stop codon, () where nothing is coded.
    rna: what the transcript's own record holds, "" where it has none.
    protein: what the protein's record holds, "" where nothing is translated.
    accession: of the transcript's record.
    protein_id: accession of the protein.
    tag: "RefSeq Select", "MANE Select" or "".
  """

  exons: tuple[Part, ...]
  cds: tuple[Part, ...] = ()
  rna: str = ""
  protein: str = ""
  accession: str = ""
  protein_id: str = ""
  tag: str = ""


@dataclasses.dataclass(frozen=True)
class Gene:
  """A gene with its transcripts.

  Attributes:
    biotype: protein_coding, pseudogene, tRNA, rRNA or lncRNA.
    symbol, product: names.
    parts: the gene's extent; one part unless it is trans-spliced.
    transcripts: at least one.
    locus_tag, gene_id: identifiers; gene_id 0 where the annotation gives none.
    exception: why the product is not what the location says, e.g. "ribosomal slippage".
    transl_except: (codon, residue's three letters) where the genetic code does not hold.
    codon_start: 1, 2 or 3, the first base of the first whole codon.
    partial5, partial3: the gene runs on beyond the end of the contig there.
    note: remark on the CDS.
    anticodon: of a tRNA.
  """

  biotype: str
  symbol: str
  product: str
  parts: tuple[Part, ...]
  transcripts: tuple[Transcript, ...]
  locus_tag: str = ""
  gene_id: int = 0
  exception: str = ""
  transl_except: tuple[tuple[Part, str], ...] = ()
  codon_start: int = 1
  partial5: bool = False
  partial3: bool = False
  note: str = ""
  anticodon: str = ""

  @property
  def pseudo(self) -> bool:
    return self.biotype == "pseudogene"

  def product_of(self, transcript: Transcript) -> str:
    if len(self.transcripts) == 1:
      return self.product
    return f"{self.product} isoform {self.transcripts.index(transcript) + 1}"


@dataclasses.dataclass(frozen=True)
class Contig:
  """A sequence of an assembly. `seq_type` is the feature table's, e.g. "chromosome", "unplaced scaffold"."""

  accession: str
  sequence: str
  genes: tuple[Gene, ...]
  circular: bool = False
  chromosome: str = ""
  seq_type: str = "chromosome"


@dataclasses.dataclass(frozen=True)
class Assembly:
  """An annotated genome. `lineage` is the GenBank ORGANISM block's, without the final full stop."""

  accession: str
  name: str
  organism: str
  taxid: int
  lineage: str
  transl_table: int
  eukaryote: bool
  contigs: tuple[Contig, ...]

  @property
  def directory(self) -> str:
    return f"{self.accession}_{self.name}"


def extract(contig: Contig, parts: Iterable[Part]) -> str:
  """The parts' bases, upper case, each on its strand, joined."""
  sequence, pieces = contig.sequence, []
  for start, end, strand in parts:
    end -= start // len(sequence) * len(sequence)
    start %= len(sequence)
    piece = sequence[start:end] + sequence[: max(end - len(sequence), 0)]
    pieces.append(piece if strand == "+" else reverse_complement(piece))
  return "".join(pieces).upper()


def reverse_complement(dna: str) -> str:
  return dna.translate(str.maketrans("ACGTacgt", "TGCAtgca"))[::-1]
