"""Coding genes as every annotation format yields them, and the check that each one translates to its protein."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import genetic_code

# Why a coding feature was left out: code to meaning. Reports print both.
REASONS: dict[str, str] = {
    "pseudogene": "marked as a pseudogene (/pseudo, /pseudogene)",
    "bad_location": "order(), one-of(), a fuzzy end inside, a part outside the sequence, a codon_start that is not 1-3",
    "remote_location": "a part of the coding sequence lies in another record",
    "trans_splicing": "joined from separate transcripts: both strands, out of order, or /trans_splicing",
    "cds_outside_exons": "the coding sequence reaches outside the exons of its transcript",
    "empty_cds": "not one whole codon",
    "missing_contig": "the genomic sequence is not in the files",
    "missing_transcript": "the transcript has no record in the RNA file",
    "missing_protein": "the protein has no record in the protein file",
    "unknown_transl_table": "NCBI defines no such genetic code",
    "bad_transl_except": "/transl_except that cannot be read or names no codon of this coding sequence",
    "internal_stop": "the reading frame holds a stop codon",
    "length_mismatch": "the translation and the annotated protein differ in length, or the frame is cut inside a codon",
    "translation_mismatch": "the translation and the annotated protein differ in residues",
    "ribosomal_slippage": "does not translate to its protein; the annotation says ribosomal slippage",
    "rna_editing": "does not translate to its protein; the annotation says RNA editing",
    "rearrangement_required": "does not translate to its protein; the annotation says the gene must be rearranged",
    "other_exception": "does not translate to its protein; the annotation gives another exception",
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
      bases before `codon_start` are left out). Blocks may overlap or touch (ribosomal slippage). The last codon may be
      incomplete; it has a residue in `protein` only where its one or two bases fix it.
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
    genomic: False where the file holds the transcript but not the gene (mRNA records): `dna` then has its letters.
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


def _unwrap(parts: Sequence[Part], length: int, circular: bool) -> list[Block]:
  """Parts in transcription order to ascending coordinates on their strand; past the origin they exceed `length`."""
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
    cds_blocks, exon_blocks: where the parts lie in `dna`; exon_blocks is None without exons.

  Raises:
    LocationError: `empty_cds`, `bad_location` (outside the sequence), `trans_splicing` (parts on both strands or out of
      order), `cds_outside_exons`.
  """
  if not cds:
    raise LocationError("empty_cds", "no parts")
  length = len(sequence)
  coding = _unwrap(cds, length, circular)
  transcript = _unwrap(exons, length, circular) if exons else None
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


# `exception=` of GFF3 and GenBank to the reason for leaving out a gene that does not translate to its protein.
_EXCEPTIONS = {
    "ribosomal slippage": "ribosomal_slippage",
    "rna editing": "rna_editing",
    "rearrangement required for product": "rearrangement_required",
}
_ANY_RESIDUE = np.zeros(256, bool)
_ANY_RESIDUE[[ord(c) for c in "XBZJ"]] = True


def verify(
    *,
    record: str,
    gene_id: str,
    transcript_id: str,
    protein_id: str,
    taxon: int,
    dna: str,
    cds_blocks: Sequence[Block],
    exon_blocks: Sequence[Block] | None,
    codon_start: int,
    rna: str | None = None,
    protein: str | None = None,
    protein_source: str,
    transl_table: int,
    transl_except: Mapping[int, str] = {},
    partial5: bool,
    partial3: bool,
    selected: bool,
    genomic: bool = True,
    exception: str | None = None,
) -> CodingGene | Reject:
  """Builds the gene if its coding sequence translates to its protein, and says why not otherwise.

  The first residue may be M where the table has that start codon and the CDS is complete there; the last stop is left
  out; `X B Z J` on either side match any residue; `U` and `O` stand only where `transl_except` says so.

  Args:
    record: what the file calls the feature, for a `Reject`.
    gene_id, transcript_id, protein_id, taxon, transl_table, partial5, partial3, selected, genomic: as in
      `CodingGene`.
    dna, cds_blocks, exon_blocks: from `coding_strand`.
    codon_start: 1, 2 or 3: the first base of the first whole codon.
    rna: the transcript's own record; None: spliced from the exons, else the CDS.
    protein: the annotated residues, with or without the stop; None: the translation is taken.
    protein_source: where `protein` comes from, as in `CodingGene`; `translated` where it is None.
    transl_except: offset of a codon in the spliced CDS (0-based, before `codon_start` is applied) to the residue that
      it codes for here, `*` for a stop (also one that the poly-A tail completes).
    exception: the annotation's free text (`ribosomal slippage`, …). It excuses nothing but a non-standard start codon:
      it only names the reason of a `Reject`. Trans-spliced genes have no stretch of DNA and are always left out.
  """

  def reject(code: str, detail: str) -> Reject:
    return Reject(code, record, detail)

  explained = (exception or "").lower().replace("-", " ")
  if explained == "trans splicing":
    return reject("trans_splicing", f"exception={exception}")
  if transl_table not in genetic_code.TABLE_IDS:
    return reject("unknown_transl_table", f"transl_table={transl_table}")
  if codon_start not in (1, 2, 3):
    return reject("bad_location", f"codon_start={codon_start}")
  cds_blocks = _drop_bases(cds_blocks, codon_start - 1)
  cds = "".join(dna[start:end] for start, end in cds_blocks)
  codons = len(cds) // 3
  if not codons:
    return reject("empty_cds", f"{len(cds)} bases")

  residues = {}
  for offset, residue in transl_except.items():
    codon, phase = divmod(offset - codon_start + 1, 3)
    if phase or not 0 <= 3 * codon < len(cds):
      return reject("bad_transl_except", f"offset {offset} of {len(cds)}, codon_start {codon_start}: {residue}")
    residues[codon] = residue
  starts = not partial5 and 0 not in residues and (
      genetic_code.is_start(cds[:3], transl_table) or explained == "alternative start codon"
  )
  translation = genetic_code.translate(cds, transl_table, residues)
  if len(cds) % 3 and codons not in residues:
    # GenBank's translations count an incomplete last codon where its bases fix the residue.
    last = genetic_code.translate((cds[3 * codons :] + "NN")[:3], transl_table)
    if last not in "X*" and (protein is not None and len(protein) == codons + 1 or protein is None and partial3):
      translation += last
  if translation.endswith("*"):
    translation = translation[:-1]
  elif (
      not partial3
      and len(cds) % 3 == 0
      and codons - 1 not in residues
      and genetic_code.is_stop(cds[-3:], transl_table)
      and (protein is None or len(protein) < codons)
  ):
    translation = translation[:-1]  # A codon that is a stop only at the end (tables 27, 28, 31).
  if starts and (protein is None or protein[:1] == "M"):
    translation = "M" + translation[1:]

  problem = _difference(translation, protein)
  if problem is None and protein is None and len(cds) % 3 and not partial3 and codons not in residues:
    problem = "length_mismatch", f"{len(cds)} bases, not marked partial"
  if problem:
    code, detail = problem
    if explained:
      code, detail = _EXCEPTIONS.get(explained, "other_exception"), f"exception={exception}; {detail}"
    return reject(code, detail)

  rna_source = "record"
  if rna is None:
    rna_source = "exons" if exon_blocks else "cds"
    rna = "".join(dna[start:end] for start, end in exon_blocks or _without_slips(cds_blocks))
  return CodingGene(
      gene_id=gene_id,
      transcript_id=transcript_id,
      protein_id=protein_id,
      taxon=taxon,
      dna=dna,
      cds_blocks=tuple(cds_blocks),
      rna=rna,
      rna_cds=_find_cds(rna, cds, cds_blocks[0][0], exon_blocks),
      rna_source=rna_source,
      protein=translation if protein is None else protein.rstrip("*"),
      protein_source="translated" if protein is None else protein_source,
      transl_table=transl_table,
      partial5=partial5,
      partial3=partial3,
      selected=selected,
      genomic=genomic,
  )


def _difference(translation: str, protein: str | None) -> tuple[str, str] | None:
  """Reason and detail where the translation (without its last stop) is not the protein, else None."""
  stop = translation.find("*")
  if stop >= 0:
    return "internal_stop", f"stop at codon {stop + 1} of {len(translation)}"
  if protein is None:
    return None
  protein = protein.rstrip("*")
  if len(protein) != len(translation):
    return "length_mismatch", f"{len(translation)} residues from the CDS, {len(protein)} in the protein"
  if translation == protein:
    return None
  ours = np.frombuffer(translation.encode("latin-1", "replace"), np.uint8)
  theirs = np.frombuffer(protein.encode("latin-1", "replace"), np.uint8)
  differ = np.flatnonzero((ours != theirs) & ~_ANY_RESIDUE[ours] & ~_ANY_RESIDUE[theirs])
  if not differ.size:
    return None
  at = int(differ[0])
  return "translation_mismatch", (
      f"{differ.size} of {len(protein)} residues, first at {at + 1}: {translation[at]} from the CDS, {protein[at]} in"
      " the protein"
  )


def _drop_bases(blocks: Sequence[Block], count: int) -> list[Block]:
  """Blocks without the first `count` bases."""
  kept = []
  for start, end in blocks:
    skipped = min(count, end - start)
    count -= skipped
    if start + skipped < end:
      kept.append((start + skipped, end))
  return kept


def _without_slips(blocks: Sequence[Block]) -> list[Block]:
  """Blocks joined where the ribosome slips: they overlap, touch, or leave out one or two bases (no intron)."""
  joined = [blocks[0]]
  for start, end in blocks[1:]:
    if start - joined[-1][1] <= 2:
      joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
    else:
      joined.append((start, end))
  return joined


def _find_cds(rna: str, cds: str, cds_start: int, exon_blocks: Sequence[Block] | None) -> Block | None:
  """Where the spliced CDS lies in the transcript, letter for letter; None where it does not."""
  if exon_blocks:
    # Its place by the exons comes first: a short coding sequence may occur twice.
    place = sum(min(end, cds_start) - start for start, end in exon_blocks if start < cds_start)
    if rna.startswith(cds, place):
      return place, place + len(cds)
  place = rna.find(cds)
  return (place, place + len(cds)) if place >= 0 else None
