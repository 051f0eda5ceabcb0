"""Two organisms that differ in nothing but their genetic code, and labelled pairs that only the code can tell apart.

Both read TGA as W; AAA is K or N, ATA is I or M, AGA and AGG are R or S (NCBI's tables 4 and 21). Which of the two
holds cannot be seen in a gene: coding sequences are drawn alike. It can be learned from a gene beside its protein, as a
model does that is shown demonstrations.

How often residues and codons occur says as little as it can. An organism's proteins have more of the residues that it
reads these codons as; its genes make up for half of that with fewer of those residues' other codons.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines import genetic_code
from data_pipelines.simulation import gene_models, sequences
from data_pipelines.simulation.assembly import Assembly, Contig
from data_pipelines.simulation.sequences import BackgroundDna, Protein
from data_pipelines.simulation.species import Labels, Species, lay_out

_LINEAGE = "Bacteria; Miniaturota; Miniaplasmia; Miniaplasmales; Miniaplasmaceae"
_USAGE = "Saccharomyces cerevisiae"  # of all other codons, relative to each other
SPECIES = tuple(
    Species(number, name, organism, _LINEAGE, table, _USAGE, 0.0, 0.35, {"ATG": 1.0}, pgap=True)
    for number, name, organism, table in (
        (7, "MiniCode4", "Miniplasma lysinum", 4), (8, "MiniCode21", "Miniplasma asparaginum", 21),
    )
)  # fmt: skip
# Share of codons: those that are read as one of two residues, and those that are always read as one of the two.
_AMBIGUOUS, _OTHERS = 0.08, 0.08
LABELLED = {"dev": 100, "test": 250}  # genes of each organism that are in no genome


class Pair(NamedTuple):
  """A labelled pair: a line of `central_dogma.tsv`.

  Attributes:
    id: of the gene; the same in all its pairs.
    group: the organism.
    split: dev or test.
    label: 1 if the protein is the gene's.
    kind: `true`, or `other_code`: the gene read as the other organism would.
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


def codon_frequencies(transl_table: int) -> np.ndarray:
  """How often each codon stands inside a gene of the organism of table 4 or 21: float [64], stops 0."""
  codons = "".join(sequences.CODONS)
  residues = {s.transl_table: np.array(list(genetic_code.translate(codons, s.transl_table))) for s in SPECIES}
  weights = np.array([float(x) for x in sequences.CODON_USAGE[_USAGE].split()])
  weights[residues[4] == "*"] = 0
  differs = residues[4] != residues[21]
  one_of_two = np.zeros(64, bool)
  for first, second in sorted(set(zip(residues[4][differs], residues[21][differs]))):
    ambiguous = differs & (residues[4] == first)
    weights[ambiguous] *= _AMBIGUOUS / weights[ambiguous].sum()
    one_of_two |= ambiguous
    for residue in (first, second):
      others = ~differs & (residues[4] == residue)
      is_read_so = residues[transl_table][ambiguous][0] == residue
      weights[others] *= (_OTHERS if is_read_so else _OTHERS + _AMBIGUOUS / 2) / weights[others].sum()
      one_of_two |= others
  weights[~one_of_two] *= (1 - weights[one_of_two].sum()) / weights[~one_of_two].sum()
  return weights


def _coding_sequences(rng: np.random.Generator, transl_table: int, genes: int) -> Iterator[str]:
  """Genes of codons drawn independently, upper case, from ATG to a stop codon."""
  lengths = np.clip(rng.gamma(3.0, 60.0, genes), sequences.MIN_LENGTH, sequences.MAX_LENGTH).astype(int)
  drawn = iter(rng.choice(64, lengths.sum(), p=codon_frequencies(transl_table)).tolist())
  for length, stop in zip(lengths, rng.choice(["TAA", "TAG"], genes, p=[0.8, 0.2])):
    yield "ATG" + "".join(sequences.CODONS[next(drawn)] for _ in range(length - 1)) + str(stop)


def _read(cds: str, transl_table: int) -> str:
  return genetic_code.translate(cds[:-3], transl_table)


def _assembly(rng: np.random.Generator, species: Species, genes: int) -> Assembly:
  background = BackgroundDna(rng, species.gc)
  loci = []
  for number, cds in enumerate(_coding_sequences(rng, species.transl_table, genes), 1):
    protein = Protein(f"mnc{number}", f"hypothetical protein MNC{number}", _read(cds, species.transl_table))
    loci.append(gene_models.bacterial_locus(protein, cds))
  sequence, placed = lay_out(rng, loci, background, gap=110)
  contig = Contig(f"NZ_CP9{species.number:02}001.1", sequence, tuple(map(Labels(species).label, placed)), circular=True)
  return Assembly(
      f"GCF_9{species.number:08}.1", species.name, species.organism, 90_000_000 + species.number, species.lineage,
      species.transl_table, species.eukaryote, (contig,),
  )


def _labelled(rng: np.random.Generator, species: Species) -> Iterator[Pair]:
  (other,) = {s.transl_table for s in SPECIES} - {species.transl_table}
  splits = [split for split, count in LABELLED.items() for _ in range(count)]
  for number, (split, cds) in enumerate(zip(splits, _coding_sequences(rng, species.transl_table, len(splits))), 1):
    for label, kind, table in ((1, "true", species.transl_table), (0, "other_code", other)):
      yield Pair(f"{species.name}_{number:04}", species.name, split, label, kind, cds.lower(), _read(cds, table))


def simulate(seed: int, genes: int) -> tuple[list[Assembly], list[Pair]]:
  """The two genomes, and labelled pairs of genes that are in neither.

  Args:
    seed: for every random draw.
    genes: coding genes in each genome.
  """
  spawned = np.random.default_rng(seed).spawn(2 * len(SPECIES))
  assemblies = [_assembly(rng, species, genes) for rng, species in zip(spawned, SPECIES)]
  pairs = [pair for rng, species in zip(spawned[len(SPECIES) :], SPECIES) for pair in _labelled(rng, species)]
  return assemblies, pairs
