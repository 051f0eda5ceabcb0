"""Simulated genes: coding sequences become genes with and without introns, and the oddities that real genomes have."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.simulation.assembly import Gene, Part, Transcript, reverse_complement
from data_pipelines.simulation.sequences import AMINO_ACIDS, BackgroundDna, Protein


@dataclasses.dataclass(frozen=True)
class Locus:
  """A gene before it has a place: `gene`'s coordinates count from the first base of `dna`, on the coding strand."""

  dna: str
  gene: Gene


def bacterial_locus(protein: Protein, cds: str, **fields) -> Locus:
  """A gene that is its coding sequence. `fields` go to `Gene`."""
  whole = ((0, len(cds), "+"),)
  transcript = Transcript(exons=whole, cds=whole, protein=protein.residues)
  return Locus(cds, Gene("protein_coding", protein.symbol, protein.product, whole, (transcript,), **fields))


def slipping_locus(protein: Protein, cds: str, shift: int) -> Locus:
  """A gene read with one ribosomal slip: -1 reads a base twice (as in dnaX), +1 skips one (as in prfB).

  Raises:
    ValueError: the sequence has no place for it.
  """
  frame = range(len(cds) // 6 * 3, len(cds) - 30, 3)  # second half, but not the very end
  if shift < 0:
    at = next((p for p in frame if cds[p - 1] == cds[p]), None)
  else:
    at = next((p for p in frame if cds[p : p + 2] == "GA"), None)  # the skipped T makes TGA: a stop in the old frame
  if at is None:
    raise ValueError(f"{protein.symbol}: no place for a slip of {shift:+d}")
  dna = cds[:at] + cds[at + 1 :] if shift < 0 else cds[:at] + "T" + cds[at:]
  parts = ((0, at, "+"), (at + shift, len(dna), "+"))
  transcript = Transcript(exons=parts, cds=parts, protein=protein.residues)
  gene = Gene("protein_coding", protein.symbol, protein.product, ((0, len(dna), "+"),), (transcript,),
              exception="ribosomal slippage")
  return Locus(dna, gene)


def selenoprotein_locus(protein: Protein, cds: str) -> Locus:
  """A gene whose middle codon is a TGA that codes for selenocysteine."""
  i = len(protein.residues) // 2
  residues = protein.residues[:i] + "U" + protein.residues[i + 1 :]
  return bacterial_locus(
      dataclasses.replace(protein, residues=residues), cds[: 3 * i] + "TGA" + cds[3 * i + 3 :],
      transl_except=(((3 * i, 3 * i + 3, "+"), "Sec"),),
  )


def incomplete_locus(protein: Protein, cds: str, end: int) -> Locus:
  """A gene of which the contig holds only a part: its 5' (`end` 5) or 3' (3) end is missing, mid-codon."""
  if end == 5:
    kept = dataclasses.replace(protein, residues=protein.residues[20:])
    return bacterial_locus(kept, cds[58:], codon_start=3, partial5=True)
  kept = dataclasses.replace(protein, residues=protein.residues[:-20])
  return bacterial_locus(kept, cds[: 3 * len(kept.residues) + 1], partial3=True)


def pseudogene_locus(protein: Protein, cds: str, *, annotated_cds: bool = True) -> Locus:
  """A decayed copy: one base lost, and a stop inside. Eukaryotic annotation gives no CDS for such a gene."""
  third = len(cds) // 9 * 3
  dna = cds[:third] + "TAA" + cds[third + 3 : 2 * third] + cds[2 * third + 1 :]
  whole = ((0, len(dna), "+"),)
  transcripts = (Transcript(exons=whole, cds=whole),) if annotated_cds else ()
  gene = Gene("pseudogene", protein.symbol + "P", protein.product, whole, transcripts,
              note="frameshifted; internal stop")
  return Locus(dna, gene)


def trans_spliced_locus(protein: Protein, cds: str, background: BackgroundDna) -> Locus:
  """A gene whose second half lies on the other strand, to be joined to the first after transcription."""
  half = len(cds) // 2
  head = cds[:half] + background.take(200)
  dna = head + reverse_complement(cds[half:])
  parts = ((0, half, "+"), (len(head), len(dna), "-"))
  transcript = Transcript(exons=parts, cds=parts, protein=protein.residues)
  return Locus(dna, Gene("protein_coding", protein.symbol, protein.product, parts, (transcript,),
                         exception="trans-splicing"))


def _intron(rng: np.random.Generator, background: BackgroundDna) -> str:
  """GT…AG with yeast's donor, branch point and acceptor; 60 to some 300 bases."""
  donor = rng.choice(["GTATGT", "GTACGT", "GTAAGT"], p=[0.8, 0.1, 0.1])
  acceptor = background.take(int(rng.integers(8, 30))) + str(rng.choice(["TTTCAG", "TTTTAG"]))
  return str(donor) + background.take(34 + int(rng.gamma(2.0, 40.0))) + "TACTAAC" + acceptor


def _between(exons: Sequence[Part], begin: int, end: int) -> tuple[Part, ...]:
  """The exon parts that hold the bases [begin, end) of the spliced transcript."""
  parts, spliced = [], 0
  for start, stop, strand in exons:
    low, high = max(begin, spliced), min(end, spliced + stop - start)
    if low < high:
      parts.append((start + low - spliced, start + high - spliced, strand))
    spliced += stop - start
  return tuple(parts)


def spliced_locus(
    rng: np.random.Generator, background: BackgroundDna, protein: Protein, cds: str, *, alternative: str = "", **fields
) -> Locus:
  """A gene with untranslated regions, none to three introns, and perhaps a second transcript.

  Args:
    rng: source of chance.
    background: what untranslated regions and introns are made of.
    protein: the product.
    cds: its coding sequence.
    alternative: "skip" adds a transcript without an internal exon (whole codons, so the frame holds); "start" one that
      begins later in the 5' untranslated region and has the same protein; "" adds none.
    **fields: go to `Gene`.
  """
  utr5, utr3 = (background.take(int(rng.integers(low, high))) for low, high in ((40, 150), (60, 250)))
  mature = utr5 + cds + utr3
  codons = len(cds) // 3
  if alternative == "skip":
    first, count = codons // 4, int(rng.integers(8, codons // 3))
    cuts = [len(utr5) + 3 * first, len(utr5) + 3 * (first + count)]
  else:
    grid = np.arange(24, len(utr5) + len(cds) - 24, 24)  # no exon under 20 bases
    introns = min(int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])), len(grid))
    cuts = [int(c) for c in np.sort(rng.choice(grid, introns, replace=False)) + rng.integers(0, 4, introns)]
  dna, exons = "", []
  for begin, end in zip([0, *cuts], [*cuts, len(mature)]):
    exons.append((len(dna), len(dna) + end - begin, "+"))
    dna += mature[begin:end] + (_intron(rng, background) if end < len(mature) else "")

  def transcript(parts, utr, rna, residues):
    coding = _between(parts, len(utr), len(utr) + 3 * len(residues) + 3)
    return Transcript(exons=tuple(parts), cds=coding, rna=rna, protein=residues)

  transcripts = [transcript(exons, utr5, mature, protein.residues)]
  if alternative == "skip":
    residues = protein.residues[:first] + protein.residues[first + count :]
    transcripts.append(transcript([exons[0], exons[2]], utr5, mature[: cuts[0]] + mature[cuts[1] :], residues))
  elif alternative == "start":
    late = min(20, exons[0][1] // 2)
    shorter = [(late, exons[0][1], "+"), *exons[1:]]
    transcripts.append(transcript(shorter, utr5[late:], mature[late:], protein.residues))
  gene = Gene("protein_coding", protein.symbol, protein.product, ((0, len(dna), "+"),), tuple(transcripts), **fields)
  return Locus(dna, gene)


def edited_locus(rng: np.random.Generator, background: BackgroundDna, protein: Protein, cds: str) -> Locus:
  """A gene whose transcript's and protein's records show an edited codon: CAA or CAG (Q) to CGA or CGG (R).

  Raises:
    ValueError: there is no such codon.
  """
  at = next((i for i in range(3, len(cds), 3) if cds[i : i + 3] in ("CAA", "CAG")), None)
  if at is None:
    raise ValueError(f"{protein.symbol}: no codon to edit")
  locus = spliced_locus(rng, background, protein, cds, exception="RNA editing")
  transcript = locus.gene.transcripts[0]
  begin = transcript.rna.index(cds) + at
  rna = transcript.rna[: begin + 1] + "G" + transcript.rna[begin + 2 :]
  residues = protein.residues[: at // 3] + "R" + protein.residues[at // 3 + 1 :]
  transcripts = (dataclasses.replace(transcript, rna=rna, protein=residues),)
  return dataclasses.replace(locus, gene=dataclasses.replace(locus.gene, transcripts=transcripts))


def discrepant_locus(rng: np.random.Generator, background: BackgroundDna, protein: Protein, cds: str) -> Locus:
  """A gene whose protein's record differs from its genomic sequence in three residues, for no named reason."""
  locus = spliced_locus(rng, background, protein, cds, exception="unclassified translation discrepancy")
  others = AMINO_ACIDS[1:] + AMINO_ACIDS[0]
  changed = protein.residues[20:23].translate(str.maketrans(AMINO_ACIDS, others))
  residues = protein.residues[:20] + changed + protein.residues[23:]
  transcripts = (dataclasses.replace(locus.gene.transcripts[0], protein=residues),)
  return dataclasses.replace(locus, gene=dataclasses.replace(locus.gene, transcripts=transcripts))


def rna_locus(biotype: str, symbol: str, product: str, dna: str, *, anticodon: str = "") -> Locus:
  """A gene of a tRNA, rRNA or long non-coding RNA, without introns."""
  whole = ((0, len(dna), "+"),)
  rna = dna if biotype == "lncRNA" else ""  # only these have a record of their own
  return Locus(dna, Gene(biotype, symbol, product, whole, (Transcript(exons=whole, rna=rna),), anticodon=anticodon))
