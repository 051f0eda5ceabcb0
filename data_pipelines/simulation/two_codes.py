"""Organisms of two genetic codes, and labelled pairs that only the code can tell apart.

All read TGA as W; AAA is K or N, ATA is I or M, AGA and AGG are R or S (NCBI's tables 4 and 21). Which of the two holds
cannot be seen in a gene: the usage of codons is drawn for each organism anew, alike for both codes. It can be learned
from genes beside their proteins, as a model does that is shown demonstrations. The residues alone tell little, since
their shares too differ from one organism to the next: what tells is which residue stands for which codon.

The labelled pairs are of organisms that have no genome in the release.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines import genetic_code
from data_pipelines.simulation import gene_models, sequences
from data_pipelines.simulation.assembly import Assembly, Contig
from data_pipelines.simulation.sequences import BackgroundDna, Protein
from data_pipelines.simulation.species import Labels, Species, lay_out

CODES = (4, 21)
GENOMES, HELD_OUT = 24, 8  # organisms, the codes in turn
FIRST_NUMBER = 7  # of an organism; those before are the six species
LABELLED = {"dev": 50, "test": 60}  # genes of each organism that is held out
_LINEAGE = "Bacteria; Miniaturota; Miniaplasmia; Miniaplasmales; Miniaplasmaceae"
_USAGE = "Saccharomyces cerevisiae"  # of all other codons, relative to each other
# Shares of codons: those that are read as one of two residues, and the other codons of these two residues. The larger
# the latter, the less a residue's share tells of the code.
_AMBIGUOUS, _OTHERS = 0.06, 0.22

SPECIES = tuple(
    Species(number, f"MiniCode{number:02}", f"Miniplasma sp. {number:02}", _LINEAGE, CODES[number % 2], _USAGE, 0.0,
            0.35, {"ATG": 1.0}, pgap=True)
    for number in range(FIRST_NUMBER, FIRST_NUMBER + GENOMES + HELD_OUT)
)  # fmt: skip


class Pair(NamedTuple):
  """A labelled pair: a line of `central_dogma.tsv`.

  Attributes:
    id: of the gene; the same in all its pairs.
    group: the organism.
    split: dev or test.
    label: 1 if the protein is the gene's.
    kind: `true`, or `other_code`: the gene read by the other code.
    dna: CDS with its stop codon, lower case.
    protein: residues.
  """

  id: str
  group: str
  split: str
  label: int
  kind: str
  dna: str
  protein: str


def codon_frequencies(rng: np.random.Generator) -> np.ndarray:
  """How often each codon stands inside the genes of an organism, whose code plays no part: float [64], stops 0."""
  readings = [np.array(list(genetic_code.translate("".join(sequences.CODONS), code))) for code in CODES]
  weights = np.array([float(x) for x in sequences.CODON_USAGE[_USAGE].split()])
  weights[readings[0] == "*"] = 0
  differs = readings[0] != readings[1]
  rest = weights > 0
  for first, second in sorted(set(zip(readings[0][differs], readings[1][differs]))):
    share = rng.random()
    for codons, total in (
        (differs & (readings[0] == first), _AMBIGUOUS),
        (~differs & (readings[0] == first), _OTHERS * share),
        (~differs & (readings[0] == second), _OTHERS * (1 - share)),
    ):
      weights[codons] *= total / weights[codons].sum()
      rest &= ~codons
  weights[rest] *= (1 - weights[~rest].sum()) / weights[rest].sum()
  return weights


def _coding_sequences(rng: np.random.Generator, genes: int) -> Iterator[str]:
  """An organism's genes, codons drawn independently, upper case, from ATG to a stop codon."""
  lengths = np.clip(rng.gamma(3.0, 60.0, genes), sequences.MIN_LENGTH, sequences.MAX_LENGTH).astype(int)
  drawn = iter(rng.choice(64, lengths.sum(), p=codon_frequencies(rng)).tolist())
  for length, stop in zip(lengths, rng.choice(["TAA", "TAG"], genes, p=[0.8, 0.2])):
    yield "ATG" + "".join(sequences.CODONS[next(drawn)] for _ in range(length - 1)) + str(stop)


def _read(cds: str, code: int) -> str:
  return genetic_code.translate(cds[:-3], code)


def _assembly(rng: np.random.Generator, species: Species, genes: int) -> Assembly:
  background = BackgroundDna(rng, species.gc)
  loci = []
  for number, cds in enumerate(_coding_sequences(rng, genes), 1):
    protein = Protein(f"mnc{number}", f"hypothetical protein MNC{number}", _read(cds, species.transl_table))
    loci.append(gene_models.bacterial_locus(protein, cds))
  sequence, placed = lay_out(rng, loci, background, gap=110)
  contig = Contig(f"NZ_CP9{species.number:02}001.1", sequence, tuple(map(Labels(species).label, placed)), circular=True)
  return Assembly(
      f"GCF_9{species.number:08}.1", species.name, species.organism, 90_000_000 + species.number, species.lineage,
      species.transl_table, species.eukaryote, (contig,),
  )


def _labelled(rng: np.random.Generator, species: Species) -> Iterator[Pair]:
  (other,) = set(CODES) - {species.transl_table}
  splits = [split for split, count in LABELLED.items() for _ in range(count)]
  for number, (split, cds) in enumerate(zip(splits, _coding_sequences(rng, len(splits))), 1):
    for label, kind, code in ((1, "true", species.transl_table), (0, "other_code", other)):
      yield Pair(f"{species.name}_{number:04}", species.name, split, label, kind, cds.lower(), _read(cds, code))


def simulate(seed: int, genes: int) -> tuple[list[Assembly], list[Pair]]:
  """Genomes, and labelled pairs of other organisms.

  Args:
    seed: for every random draw.
    genes: coding genes in each genome.
  """
  drawn = list(zip(np.random.default_rng(seed).spawn(len(SPECIES)), SPECIES))
  assemblies = [_assembly(rng, species, genes) for rng, species in drawn[:GENOMES]]
  return assemblies, [pair for rng, species in drawn[GENOMES:] for pair in _labelled(rng, species)]
