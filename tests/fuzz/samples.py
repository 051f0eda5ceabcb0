"""Small valid inputs for every parser, to be mutated: two tiny annotated genomes in all of NCBI's formats."""

import random
from collections.abc import Sequence

from data_pipelines.simulation import ncbi_writer
from data_pipelines.simulation.assembly import Assembly, Contig, Gene, Part, Transcript

SEPARATOR = b"\n=====\n"  # Between the files of an input that is several files.

_CODING = "ATGAAAACCGCGTATATTGCGAAACAGCGTTAA"
_PROTEIN = "MKTAYIAKQR"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


class _Chromosome:
  """Letters that genes are written into."""

  def __init__(self, length: int):
    self.letters = random.Random(length).choices("ACGT", k=length)

  def write(self, parts: Sequence[Part], bases: str) -> None:
    """Writes the bases where the parts lie, in the order of transcription; behind the end it goes on at the start."""
    places = [
        (at % len(self.letters), strand)
        for start, end, strand in parts
        for at in (range(start, end) if strand == "+" else reversed(range(start, end)))
    ]
    for (at, strand), base in zip(places, bases, strict=True):
      self.letters[at] = base if strand == "+" else base.translate(_COMPLEMENT)


def _gene(number: int, transcript: Transcript, **fields) -> Gene:
  parts = transcript.exons or transcript.cds
  span = (min(start for start, _, _ in parts), max(end for _, end, _ in parts), parts[0][2])
  defaults = {"biotype": "protein_coding", "locus_tag": f"LT_{number}", "gene_id": number}
  return Gene(symbol=f"abc{number}", product=f"protein {number}", parts=(span,), transcripts=(transcript,),
              **defaults | fields)  # fmt: skip


def bacterium() -> Assembly:
  """A circular chromosome: both strands, a gene over the origin, a selenoprotein, a slip, a pseudogene, a cut one."""
  chromosome = _Chromosome(400)
  genes = []

  def add(parts, bases, protein=_PROTEIN, *, read_twice=0, **fields):
    # Where the ribosome slips back a base is read twice but written once.
    written = ((parts[0][0], parts[-1][1], parts[0][2]),) if read_twice else parts
    chromosome.write(written, bases)
    number = len(genes) + 1
    genes.append(_gene(number, Transcript(exons=parts, cds=parts, protein=protein, protein_id=f"NP_{number}.1"),
                       **fields))  # fmt: skip

  add(((30, 63, "+"),), _CODING)
  add(((80, 113, "-"),), "GTG" + _CODING[3:])
  add(((380, 413, "+"),), _CODING)
  selenocysteine = _CODING[:6] + "TGA" + _CODING[9:]
  add(((130, 163, "-"),), selenocysteine, "MKUAYIAKQR", transl_except=(((154, 157, "-"), "Sec"),))
  slip = _CODING[:6] + _CODING[7:]  # The A's of AAAACC: one of them is read twice.
  add(((180, 186, "+"), (185, 212, "+")), slip, read_twice=1, exception="ribosomal slippage")
  add(((230, 263, "+"),), _CODING[:12] + "TAA" + _CODING[15:], "", biotype="pseudogene")
  add(((280, 312, "+"),), _CODING[1:], _PROTEIN[1:], codon_start=3, partial5=True)
  contig = Contig("NC_000001.1", "".join(chromosome.letters), tuple(genes), circular=True)
  return Assembly("GCF_000000001.1", "ASM1", "Escherichia coli", 562, "Bacteria", 11, False, (contig,))


def eukaryote() -> Assembly:
  """Two linear contigs, each with a spliced gene with untranslated ends, on either strand."""
  exons, cds = ((40, 59, "+"), (72, 96, "+")), ((45, 59, "+"), (72, 91, "+"))
  rna = "GGCAC" + _CODING + "TTGGC"
  contigs = []
  for number, strand in enumerate("+-", 11):
    chromosome = _Chromosome(200)
    if strand == "-":
      exons, cds = (tuple((200 - end, 200 - start, "-") for start, end, _ in parts) for parts in (exons, cds))
    chromosome.write(exons, rna)
    transcript = Transcript(exons, cds, rna, _PROTEIN, f"NM_{number}.1", f"NP_{number}.1", "RefSeq Select")
    contigs.append(Contig(f"NC_0000{number}.1", "".join(chromosome.letters), (_gene(number, transcript),)))
  return Assembly("GCF_000000002.1", "ASM2", "Saccharomyces", 4932, "Eukaryota", 1, True, tuple(contigs))


def text(assembly: Assembly, content: str) -> bytes:
  """A file of the assembly: `genomic_gbff`, `genomic_gff`, `genomic_fna`, `rna_fna`, `protein_faa`,
  `cds_from_genomic_fna` or `feature_table`."""
  return "".join(getattr(ncbi_writer, content)(assembly)).encode()


def joined(assembly: Assembly, *contents: str) -> bytes:
  """Several of them as one input."""
  return SEPARATOR.join(text(assembly, content) for content in contents)


def coding_features(assembly: Assembly) -> int:
  """How many coding sequences the assembly annotates."""
  transcripts = (t for contig in assembly.contigs for gene in contig.genes for t in gene.transcripts)
  return sum(bool(transcript.cds) for transcript in transcripts)
