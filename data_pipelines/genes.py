"""Coding genes as every annotation format yields them, and how they are cut out of their genomic sequence."""

import dataclasses
from collections.abc import Sequence

_UNPROVEN = "no protein that the coding sequence translates to"
# Why a coding feature was left out: code to meaning. Reports print both.
REASONS: dict[str, str] = {
    "pseudogene": "marked as a pseudogene (/pseudo, /pseudogene)",
    "bad_location": "order(), one-of(), a fuzzy end inside, a part outside the sequence, a codon_start that is not 1-3",
    "remote_location": "a part of the coding sequence lies in another record",
    "trans_splicing": "joined from separate transcripts: both strands, out of order, or /trans_splicing",
    "cds_outside_exons": "the coding sequence reaches outside the exons of its transcript",
    "empty_cds": "not one whole codon, or nothing but a stop",
    "missing_contig": "the genomic sequence is not in the files",
    "missing_transcript": "the transcript has no record in the RNA file",
    "missing_protein": "the protein has no record in the protein file",
    "unknown_transl_table": "NCBI defines no such genetic code",
    "bad_transl_except": "/transl_except that cannot be read or names no codon of this coding sequence",
    "internal_stop": "the reading frame holds a stop codon",
    "length_mismatch": "the translation and the annotated protein differ in length, or the frame is cut inside a codon",
    "translation_mismatch": "the translation and the annotated protein differ in residues",
    "ribosomal_slippage": "ribosomal slippage, and " + _UNPROVEN,
    "rna_editing": "RNA editing, and " + _UNPROVEN,
    "rearrangement_required": "the gene has to be rearranged first, and " + _UNPROVEN,
    "other_exception": "another exception to the rules of translation, and " + _UNPROVEN,
}


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
      bases before `codon_start` are left out). Blocks may overlap or touch (ribosomal slippage); one that lies over the
      origin of a circular molecule is one block, however the file writes it. The last codon may be incomplete; it has a
      residue in `protein` only where its one or two bases fix it.
    rna: the transcript in DNA letters (as the files have it), UTRs included.
    rna_cds: where in `rna` the concatenated CDS lies, or None where the two do not match letter for letter
      (a transcript record that differs from the genome, ribosomal slippage).
    rna_source: `record` (its own FASTA record), `exons` (spliced from the genome) or `cds` (no transcript is
      annotated: the CDS itself, as in prokaryotes; slips of the ribosome are undone, as the RNA has none).
    protein: the residues, without the stop.
    protein_source: `record` (FASTA), `qualifier` (/translation) or `translated` (the file holds none).
    transl_table: NCBI genetic code.
    partial5, partial3: the CDS continues beyond the sequence or is annotated incomplete at that end.
    selected: MANE Select / RefSeq Select.
    genomic: False where the files hold the transcript but do not place the gene in the genome (mRNA records, feature
      tables without `cds_from_genomic`): `dna` then has letters of the transcript, without introns and perhaps edited,
      and is not to be shown as genomic DNA.
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
  genomic: bool = True

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


@dataclasses.dataclass(frozen=True)
class GenomeSequence:
  """A genomic sequence: chromosome, contig, plasmid, genome or segment of a virus.

  Attributes:
    name: accession and version, or the first word of its FASTA header.
    taxon: NCBI taxonomy id, 0 where unknown.
    sequence: upper case.
    circular: whether its ends meet.
    moltype: `rna` for transcripts and the genomes of RNA viruses, else `dna`.
  """

  name: str
  taxon: int
  sequence: str
  circular: bool = False
  moltype: str = "dna"


class LocationError(ValueError):
  """A location that names no stretch of the sequence.

  Attributes:
    code: one of `REASONS`.
    detail: what was found.
  """

  def __init__(self, code: str, detail: str):
    super().__init__(f"{code}: {detail}")
    self.code = code
    self.detail = detail


Part = tuple[int, int, int]  # start, end (0-based, half-open, on the plus strand), strand (1 or -1)
Block = tuple[int, int]

_COMPLEMENT = str.maketrans("ACGTUNRYSWKMBDHV", "TGCAANYRSWMKVHDB")


def reverse_complement(sequence: str) -> str:
  """The other strand 5' to 3', IUPAC codes included, in DNA letters; upper case in, upper case out."""
  return sequence.translate(_COMPLEMENT)[::-1]


def unwrap(parts: Sequence[Part], length: int, *, circular: bool) -> list[Block]:
  """Parts in transcription order to ascending coordinates on their strand; past the origin they exceed `length`.

  A part that a file writes as two, because the origin of the circular molecule cuts it, becomes one again.

  Raises:
    LocationError: `bad_location` or `trans_splicing`, as `coding_strand`.
  """
  strand = parts[0][2]
  if any(part[2] != strand for part in parts):
    raise LocationError("trans_splicing", "parts on both strands")
  blocks: list[Block] = []
  turn = 0
  for start, end, _ in parts:
    # Some annotations of circular molecules write a part over the origin with an end beyond the length.
    if not 0 <= start < end or start >= length or end > (2 * length if circular else length):
      raise LocationError("bad_location", f"{start + 1}..{end} in a sequence of {length}")
    if strand < 0:
      start, end = length - end, length - start
      if start < 0:
        start, end = start + length, end + length
    start, end = start + turn, end + turn
    if blocks and start <= blocks[-1][0]:
      if not circular or turn:
        raise LocationError("trans_splicing", "parts out of order")
      turn = length
      start, end = start + length, end + length
    if blocks and start == blocks[-1][1] == length:
      blocks[-1] = (blocks[-1][0], end)
    else:
      blocks.append((start, end))
  if max(end for _, end in blocks) - blocks[0][0] > length:
    raise LocationError("trans_splicing", "parts go around the circular sequence more than once")
  return blocks


def coding_strand(
    sequence: str, cds: Sequence[Part], exons: Sequence[Part] | None, *, circular: bool
) -> tuple[str, tuple[Block, ...], tuple[Block, ...] | None]:
  """Cuts a gene out of its genomic sequence.

  Args:
    sequence: the plus strand, upper case.
    cds: parts of the coding sequence in transcription order (a minus strand begins with its highest part).
    exons: the transcript's parts likewise, or None where no transcript is annotated.
    circular: joins over the origin are allowed, and unwrapped.

  Returns:
    dna: the stretch from the first to the last base of the exons (of the CDS without exons), on the coding strand.
    cds_blocks, exon_blocks: where the parts lie in `dna`, a part over the origin as one block; exon_blocks is None
      without exons.

  Raises:
    LocationError: `empty_cds`, `bad_location` (outside the sequence), `trans_splicing` (parts on both strands or out of
      order), `cds_outside_exons`.
  """
  if not cds:
    raise LocationError("empty_cds", "no parts")
  length = len(sequence)
  coding = unwrap(cds, length, circular=circular)
  transcript = unwrap(exons, length, circular=circular) if exons else None
  span = transcript or coding
  first, last = span[0][0], max(end for _, end in span)
  if transcript:
    if exons[0][2] != cds[0][2]:
      raise LocationError("cds_outside_exons", "the CDS lies on the other strand")
    if coding[0][0] < first and circular:
      coding = [(start + length, end + length) for start, end in coding]
    if not all(any(a <= start and end <= b for a, b in transcript) for start, end in coding):
      raise LocationError("cds_outside_exons", f"exons {_text(transcript)}, CDS {_text(coding)} on the coding strand")
  low, high = (first, last) if cds[0][2] > 0 else (length - last, length - first)
  if low < 0:
    dna = sequence[low:] + sequence[:high]
  elif high > length:
    dna = sequence[low:] + sequence[: high - length]
  else:
    dna = sequence[low:high]
  if cds[0][2] < 0:
    dna = reverse_complement(dna)
  return dna, _shift(coding, first), _shift(transcript, first) if transcript else None


def _shift(blocks: Sequence[Block], origin: int) -> tuple[Block, ...]:
  return tuple((start - origin, end - origin) for start, end in blocks)


def _text(blocks: Sequence[Block]) -> str:
  shown = ",".join(f"{start + 1}..{end}" for start, end in blocks[:5])
  return shown + (",…" if len(blocks) > 5 else "")
