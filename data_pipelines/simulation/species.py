"""The species of a release and how each genome is put together.

Three bacteria and a mycoplasma, then two yeasts; the first three bacteria differ in the share of G and C.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_pipelines.simulation import gene_models, sequences
from data_pipelines.simulation.assembly import Assembly, Contig, Gene, Part, Transcript, reverse_complement
from data_pipelines.simulation.gene_models import Locus
from data_pipelines.simulation.sequences import BackgroundDna, Protein

MIN_GENES = 30
_BACTERIAL_STARTS = {"ATG": 0.90, "GTG": 0.08, "TTG": 0.02}  # about E. coli's
_ANTICODONS = {"Ala": "TGC", "Gly": "GCC", "Lys": "TTT", "Leu": "CAG", "Met": "CAT", "Phe": "GAA"}


@dataclasses.dataclass(frozen=True)
class Species:
  """One genome to simulate.

  Attributes:
    number: 1, 2, …: goes into every accession.
    name, organism, lineage: invented names; `name` is also the leaf of `TREE`.
    transl_table: NCBI genetic code.
    codon_usage: a key of `sequences.CODON_USAGE`.
    gc_tilt: see `sequences.codon_probabilities`.
    gc: share of G and C between genes.
    starts: start codon to its share.
    pgap: annotated like NCBI's prokaryotic pipeline: WP_ accessions, shared by identical proteins, and no GeneID.
    slip: the shift of the one slipping gene, 0 for none.
    selenoprotein: whether there is one.
    over_origin: whether a gene lies over the origin.
    scaffold: whether there is a linear contig whose outer genes are incomplete.
    chromosomes: how many.
    tag: what marks the selected transcript of a gene that has two; "" for bacteria.
  """

  number: int
  name: str
  organism: str
  lineage: str
  transl_table: int
  codon_usage: str
  gc_tilt: float
  gc: float
  starts: Mapping[str, float]
  pgap: bool = False
  slip: int = 0
  selenoprotein: bool = False
  over_origin: bool = False
  scaffold: bool = False
  chromosomes: int = 1
  tag: str = ""

  @property
  def eukaryote(self) -> bool:
    return bool(self.tag)


_BACTERIA = "Bacteria; Miniaturota; Miniaturia; Miniaturales; Miniaturaceae"
_FUNGI = "Eukaryota; Fungi; Minimycota; Minimycetes; Minimycetales"
SPECIES = (
    Species(1, "MiniBact1", "Miniabacter primus", _BACTERIA, 11, "Escherichia coli K-12", 0.0, 0.50,
            _BACTERIAL_STARTS, slip=-1, selenoprotein=True, over_origin=True),
    Species(2, "MiniBact2", "Miniabacter secundus", _BACTERIA, 11, "Escherichia coli K-12", 0.8, 0.64,
            _BACTERIAL_STARTS, pgap=True, slip=1, selenoprotein=True, over_origin=True),
    Species(3, "MiniBact3", "Miniabacter tertius", _BACTERIA, 11, "Escherichia coli K-12", -0.6, 0.37,
            _BACTERIAL_STARTS, pgap=True, slip=-1, selenoprotein=True, over_origin=True, scaffold=True),
    Species(4, "MiniMyco", "Miniplasma quartum", _BACTERIA, 4, "Mycoplasma mycoides", 0.0, 0.22,
            {"ATG": 0.96, "GTG": 0.03, "TTG": 0.01}, pgap=True),
    Species(5, "MiniYeast1", "Minimyces quintus", _FUNGI, 1, "Saccharomyces cerevisiae", 0.0, 0.35, {"ATG": 1.0},
            chromosomes=3, tag="MANE Select"),
    Species(6, "MiniYeast2", "Minimyces sextus", _FUNGI, 1, "Saccharomyces cerevisiae", 0.3, 0.42, {"ATG": 1.0},
            chromosomes=2, tag="RefSeq Select"),
)
# Node to (parent, expected substitutions a site).
TREE = {
    "bacteria": ("root", 0.10), "eukaryotes": ("root", 0.15), "miniabacter": ("bacteria", 0.06),
    "MiniBact1": ("miniabacter", 0.08), "MiniBact2": ("miniabacter", 0.08), "MiniBact3": ("bacteria", 0.15),
    "MiniMyco": ("bacteria", 0.20), "MiniYeast1": ("eukaryotes", 0.12), "MiniYeast2": ("eukaryotes", 0.12),
}
# Where in the tree the families of a genome's genes arose; the rest are young duplicates.
BIRTHS = {"root": 0.45, "bacteria": 0.35, "eukaryotes": 0.35} | {species.name: 0.1 for species in SPECIES}


class Labels:
  """Numbers off a genome's genes, transcripts and proteins."""

  def __init__(self, species: Species):
    self._species = species
    self._genes = 0
    self._transcripts = 0
    self._proteins: dict[str, str] = {}

  def label(self, gene: Gene) -> Gene:
    """The gene with locus tag, GeneID and accessions."""
    species = self._species
    self._genes += 1
    gene_id = 0 if species.pgap else 900_000_000 + species.number * 1_000_000 + self._genes
    transcripts = tuple(self._label(transcript, gene.symbol) for transcript in gene.transcripts)
    locus_tag = f"MINI{species.number}_RS{5 * self._genes:05}"
    return dataclasses.replace(gene, locus_tag=locus_tag, gene_id=gene_id, transcripts=transcripts)

  def _label(self, transcript: Transcript, symbol: str) -> Transcript:
    accession = protein_id = ""
    number = self._species.number
    if transcript.rna:
      self._transcripts += 1
      accession = f"{'NM' if transcript.cds else 'NR'}_9{number:02}{self._transcripts:06}.1"
    if transcript.protein:
      prefix, key = ("WP", transcript.protein) if self._species.pgap else ("NP", f"{symbol} {accession}")
      protein_id = f"{prefix}_9{number:02}{len(self._proteins) + 1:06}.1"
      protein_id = self._proteins.setdefault(key, protein_id)
    return dataclasses.replace(transcript, accession=accession, protein_id=protein_id)


def _bacterial_loci(
    rng: np.random.Generator, species: Species, proteins: list[Protein]
) -> tuple[list[Locus], list[Locus]]:
  """Coding genes of the chromosome, in random order, and of the scaffold, the incomplete ones outside."""
  if species.pgap:
    # An identical copy; of the shortest, because the longest become something else below.
    short = min(proteins[:-1], key=lambda protein: len(protein.residues))
    proteins = [*proteins[:-1], dataclasses.replace(short, symbol=short.symbol + "C")]
  probabilities = sequences.codon_probabilities(species.codon_usage, species.transl_table, species.gc_tilt)
  coding = sequences.reverse_translate(rng, [p.residues for p in proteins], probabilities, species.starts)
  loci = [gene_models.bacterial_locus(protein, cds) for protein, cds in zip(proteins, coding)]
  slip, seleno, decayed, first, last = sorted(range(len(loci)), key=lambda i: len(coding[i]))[:-6:-1]
  if species.slip:
    loci[slip] = gene_models.slipping_locus(proteins[slip], coding[slip], species.slip)
  if species.selenoprotein:
    loci[seleno] = gene_models.selenoprotein_locus(proteins[seleno], coding[seleno])
  loci.append(gene_models.pseudogene_locus(proteins[decayed], coding[decayed]))
  scaffold = []
  if species.scaffold:
    outer = [gene_models.incomplete_locus(proteins[i], coding[i], end) for i, end in ((first, 5), (last, 3))]
    loci = [locus for i, locus in enumerate(loci) if i not in (first, last)]
    scaffold = [outer[0], *loci[-6:], outer[1]]
    loci = loci[:-6]
  return [loci[i] for i in rng.permutation(len(loci))], scaffold


def _eukaryotic_loci(
    rng: np.random.Generator, species: Species, proteins: list[Protein], background: BackgroundDna
) -> list[Locus]:
  """Coding genes in random order, the traps among them."""
  probabilities = sequences.codon_probabilities(species.codon_usage, species.transl_table, species.gc_tilt)
  coding = sequences.reverse_translate(rng, [p.residues for p in proteins], probabilities, species.starts)
  loci = []
  for i, (protein, cds) in enumerate(zip(proteins, coding)):
    alternative = {3: "skip", 9: "start"}.get(i % 12, "")
    locus = gene_models.spliced_locus(rng, background, protein, cds, alternative=alternative)
    if alternative:
      # The selected transcript is not always the first, nor the longest.
      selected = int(i % 36 == 3)
      transcripts = [
          dataclasses.replace(transcript, tag=species.tag if j == selected else "")
          for j, transcript in enumerate(locus.gene.transcripts)
      ]
      locus = dataclasses.replace(locus, gene=dataclasses.replace(locus.gene, transcripts=tuple(transcripts)))
    loci.append(locus)
  copies = [dataclasses.replace(protein, symbol=protein.symbol + "T") for protein in proteins]
  edited, unlike, spliced, decayed = sorted(range(len(coding)), key=lambda i: len(coding[i]))[:-5:-1]
  loci += [
      gene_models.edited_locus(rng, background, copies[edited], coding[edited]),
      gene_models.discrepant_locus(rng, background, copies[unlike], coding[unlike]),
      gene_models.trans_spliced_locus(copies[spliced], coding[spliced], background),
      gene_models.pseudogene_locus(proteins[decayed], coding[decayed], annotated_cds=False),
  ]
  return [loci[i] for i in rng.permutation(len(loci))]


def _rna_loci(rng: np.random.Generator, species: Species, background: BackgroundDna, ribosomal: str) -> list[Locus]:
  loci = [
      gene_models.rna_locus(
          "tRNA", f"trn{amino_acid}", f"tRNA-{amino_acid}", sequences.transfer_rna(rng, anticodon), anticodon=anticodon
      )
      for amino_acid, anticodon in _ANTICODONS.items()
  ]
  own = sequences.diverge(rng, ribosomal, 0.05)
  loci.append(gene_models.rna_locus("rRNA", "rrs", "small subunit ribosomal RNA", own))
  if species.eukaryote:
    loci += [
        gene_models.rna_locus("lncRNA", f"lnc{i}", f"uncharacterized RNA {i}", background.take(300 + 50 * i))
        for i in (1, 2, 3)
    ]
  return loci


def lay_out(
    rng: np.random.Generator, loci: Sequence[Locus], background: BackgroundDna, *, gap: int, rotate: bool = False,
    flush: bool = False,
) -> tuple[str, list[Gene]]:
  """Puts genes one after the other on random strands, background DNA between them.

  Args:
    rng, loci, background: source of chance, genes in their order, what lies between them.
    gap: mean bases between two genes.
    rotate: a circular sequence is written from the middle of the first gene.
    flush: the outer genes touch the ends, on the forward strand.

  Returns:
    the sequence, and the genes by their start.
  """
  pieces, placements, length = [], [], 0
  for i, locus in enumerate(loci):
    outer = flush and i in (0, len(loci) - 1)
    spacer = "" if i == 0 and (flush or rotate) else background.take(10 + int(rng.gamma(2.0, gap / 2)))
    reverse = bool(rng.integers(2)) and not outer
    placements.append((length + len(spacer), reverse))
    pieces += [spacer, reverse_complement(locus.dna) if reverse else locus.dna]
    length += len(spacer) + len(locus.dna)
  if not flush:
    pieces.append(background.take(10 + gap))
    length += 10 + gap
  sequence = "".join(pieces)
  turn = len(loci[0].dna) // 2 + 1 if rotate else 0
  genes = []
  for locus, (offset, reverse) in zip(loci, placements):
    size = len(locus.dna)

    def place(part: Part, offset=offset, reverse=reverse, size=size) -> Part:
      start, end, strand = part
      if reverse:
        start, end, strand = size - end, size - start, "-" if strand == "+" else "+"
      begin = (offset + start - turn) % length
      return begin, begin + end - start, strand

    genes.append(_moved(locus.gene, place))
  return sequence[turn:] + sequence[:turn], sorted(genes, key=lambda gene: min(gene.parts))


def _is_ordinary(gene: Gene) -> bool:
  return gene.biotype == "protein_coding" and not gene.exception and not gene.transl_except


def _moved(gene: Gene, place: Callable[[Part], Part]) -> Gene:
  transcripts = tuple(
      dataclasses.replace(t, exons=tuple(map(place, t.exons)), cds=tuple(map(place, t.cds))) for t in gene.transcripts
  )
  transl_except = tuple((place(part), residue) for part, residue in gene.transl_except)
  return dataclasses.replace(
      gene, parts=tuple(map(place, gene.parts)), transcripts=transcripts, transl_except=transl_except
  )


def _assembly(rng: np.random.Generator, species: Species, proteins: list[Protein], ribosomal: str) -> Assembly:
  background = BackgroundDna(rng, species.gc)
  contigs, labels = [], Labels(species)

  def add(accession: str, loci: Sequence[Locus], gap: int, *, circular=False, chromosome="", seq_type="chromosome"):
    sequence, genes = lay_out(
        rng, loci, background, gap=gap, rotate=circular and species.over_origin, flush=seq_type != "chromosome"
    )
    if species.eukaryote:
      sequence = sequences.soft_mask(rng, sequence)
    contigs.append(Contig(accession, sequence, tuple(map(labels.label, genes)), circular, chromosome, seq_type))

  if species.eukaryote:
    loci = _eukaryotic_loci(rng, species, proteins, background) + _rna_loci(rng, species, background, ribosomal)
    order = rng.permutation(len(loci))
    for i, some in enumerate(np.array_split(order, species.chromosomes)):
      number = f"NC_9{species.number:02}{i + 1:03}.1"
      add(number, [loci[j] for j in some], 350, chromosome=("I", "II", "III", "IV")[i])
  else:
    loci, scaffold = _bacterial_loci(rng, species, proteins)
    # The first locus may come to lie over the origin: an ordinary gene.
    first = next(i for i, locus in enumerate(loci) if _is_ordinary(locus.gene))
    rest = loci[:first] + loci[first + 1 :] + _rna_loci(rng, species, background, ribosomal)
    order = rng.permutation(len(rest))
    prefix = "NZ_CP" if species.pgap else "NC_"
    add(f"{prefix}9{species.number:02}001.1", [loci[first], *(rest[i] for i in order)], 110, circular=True)
    if scaffold:
      add(f"NZ_MINI0{species.number}000001.1", scaffold, 110, seq_type="unplaced scaffold")
  return Assembly(
      f"GCF_9{species.number:08}.1", species.name, species.organism, 90_000_000 + species.number, species.lineage,
      species.transl_table, species.eukaryote, tuple(contigs),
  )


def simulate_assemblies(seed: int, genes: int) -> list[Assembly]:
  """The genomes of a release, nothing written.

  Args:
    seed: for every random draw.
    genes: coding genes in each genome, traps not counted.

  Raises:
    ValueError: too few genes for everything that a genome must show.
  """
  if genes < MIN_GENES:
    raise ValueError(f"genes={genes}: at least {MIN_GENES} are needed to hold every kind of gene")
  rng = np.random.default_rng(seed)
  proteomes = sequences.evolve_proteomes(rng, TREE, BIRTHS, genes)
  ribosomal = "".join(rng.choice(list("ACGT"), 600))
  # A generator for each genome: a change in one leaves the others as they are.
  return [
      _assembly(child, species, proteomes[species.name], ribosomal)
      for child, species in zip(rng.spawn(len(SPECIES)), SPECIES)
  ]
