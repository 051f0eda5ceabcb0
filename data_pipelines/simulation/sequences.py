"""Simulated sequences: protein families on a species tree, their codons, background DNA, structural RNA.

What a model can learn from it is what it can learn from real genomes, only simpler: the genetic codes and codon usage,
splice sites and coding frames, protein families, and short-range order in proteins and in background DNA. Left out:
insertions and deletions within a family, domains, and selection on anything but amino acid exchange.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import genetic_code
from data_pipelines.simulation.assembly import reverse_complement

# Per cent of residues; source: the amino acid composition in the release statistics of UniProtKB/Swiss-Prot.
COMPOSITION = {
    "A": 8.25, "C": 1.38, "D": 5.46, "E": 6.71, "F": 3.86, "G": 7.07, "H": 2.27, "I": 5.90, "K": 5.79, "L": 9.64,
    "M": 2.41, "N": 4.06, "P": 4.74, "Q": 3.93, "R": 5.52, "S": 6.65, "T": 5.36, "V": 6.85, "W": 1.10, "Y": 2.92,
}
AMINO_ACIDS = "".join(COMPOSITION)
# Residues that replace each other readily: the groups of Dayhoff, Schwartz and Orcutt (1978).
_EXCHANGE_GROUPS = ("AGPST", "C", "DENQ", "FWY", "HKR", "ILMV")
_WITHIN_GROUP = 6.0  # how much likelier an exchange within a group is

CODONS = tuple(a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG")
# Codons per thousand, in the order of `CODONS`, counted over the protein-coding CDS of three public RefSeq assemblies:
# GCF_000005845.2 (4,295 CDS), GCF_000146045.2 (5,948 nuclear CDS), GCF_000023685.1 (849 CDS).
CODON_USAGE = {
    "Escherichia coli K-12": """
        22.3 16.6 13.8 13.7  8.4  8.6  7.0  8.9 16.0 12.2  2.1  0.2  5.1  6.5  0.9 15.2
        11.0 11.2  3.9 53.3  7.0  5.4  8.4 23.4 12.9  9.7 15.4 29.0 21.2 22.2  3.5  5.3
        30.5 25.3  4.1 27.9  8.8 23.5  6.9 14.4 17.4 21.5 33.7 10.2  8.6 16.0  1.9  1.1
        18.3 15.3 10.9 26.4 15.2 25.7 20.2 34.0 32.0 19.1 39.8 17.8 24.7 29.8  7.8 11.0""",
    "Saccharomyces cerevisiae": """
        26.5 18.1 26.3 26.9 23.3 14.1 18.8  8.7 18.9 14.5  1.0  0.5  8.0  4.8  0.6 10.4
        12.2  5.5 13.5 10.8 13.4  6.9 17.6  5.3 13.7  7.6 26.9 12.4  6.2  2.6  3.0  1.9
        30.2 16.9 18.1 20.8 20.1 12.4 17.9  8.2 36.4 24.6 42.5 30.7 14.6 10.1 21.1  9.6
        21.6 11.3 12.0 10.9 20.3 12.3 16.2  6.3 38.1 20.2 45.9 19.7 22.7  9.9 11.2  6.2""",
    "Mycoplasma mycoides": """
        47.5  3.0 74.9  3.6 16.6  0.3 24.7  0.5 36.9  4.0  2.0  0.6  5.4  0.5  9.7  0.5
         8.3  0.2 12.4  0.6  9.4  0.3 14.5  0.5 10.6  2.6 36.6  1.8  3.2  0.5  0.5  0.1
        70.5  5.9 22.5 16.4 33.6  1.2 19.0  0.4 70.2 13.7 99.6  8.4 22.5  2.4 20.5  0.5
        34.7  1.1 15.1  2.2 27.3  1.2 16.2  0.7 53.5  4.6 57.3  4.1 18.9  0.9 20.4  1.9""",
}

_BURN_IN = 16  # symbols dropped at the head of a chain, so that its first context does not show
MIN_LENGTH, MAX_LENGTH = 60, 400  # residues
_ENZYMES = ("hydrolase", "kinase, beta subunit", "5'-nucleotidase", "ABC transporter; permease", "ligase")


def pick(rng: np.random.Generator, cumulative: np.ndarray) -> np.ndarray:
  """One draw from each row of cumulative probabilities [n, k]: int [n]."""
  # The last cumulative value can round to just under 1.
  return np.minimum((rng.random(len(cumulative))[:, None] > cumulative).sum(1), cumulative.shape[1] - 1)


def markov_model(rng: np.random.Generator, frequencies: np.ndarray, order: int, strength: float) -> np.ndarray:
  """A random Markov chain of the given order whose symbols have exactly these frequencies.

  Any `order` neighbours are independent; only order + 1 of them together carry information: about strength² / 2 nats a
  symbol. Each slice of the joint distribution is balanced (Sinkhorn) until both its margins are `frequencies`.

  Returns:
    float [k ** order, k]: the distribution of the next symbol in each context.
  """
  k = len(frequencies)
  joint = np.exp(strength * rng.standard_normal((k, k ** (order - 1), k)))
  for _ in range(100):
    joint *= (frequencies[:, None] / joint.sum(2))[..., None]
    joint *= frequencies / joint.sum(0)
  return (joint / joint.sum(2, keepdims=True)).reshape(-1, k)


def markov_chains(rng: np.random.Generator, model: np.ndarray, chains: int, length: int) -> np.ndarray:
  """Independent chains side by side, int8 [chains, length]."""
  cumulative = model.cumsum(1)
  contexts, k = model.shape
  context = rng.integers(contexts, size=chains)
  symbols = np.empty((length + _BURN_IN, chains), np.int8)
  for step in range(length + _BURN_IN):
    symbols[step] = pick(rng, cumulative[context])
    context = (context * k + symbols[step]) % contexts
  return symbols[_BURN_IN:].T


def _letters(symbols: np.ndarray, alphabet: str) -> str:
  return np.frombuffer(alphabet.encode(), np.uint8)[symbols].tobytes().decode()


class BackgroundDna:
  """Non-coding DNA of one genome: a third-order Markov chain with a given share of G and C."""

  def __init__(self, rng: np.random.Generator, gc: float):
    self._rng = rng
    self._model = markov_model(rng, np.array([1 - gc, gc, 1 - gc, gc]) / 2, order=3, strength=0.5)
    self._buffer, self._used = "", 0

  def take(self, length: int) -> str:
    """The next `length` bases, upper case."""
    if self._used + length > len(self._buffer):
      fresh = markov_chains(self._rng, self._model, 256, 400 + length // 256)
      self._buffer, self._used = _letters(fresh.reshape(-1), "TCAG"), 0
    self._used += length
    return self._buffer[self._used - length : self._used]


def _substitution_rates(frequencies: np.ndarray) -> np.ndarray:
  """Rates [from, to] whose stationary distribution is `frequencies`, one substitution a site on average."""
  group = np.array([next(i for i, g in enumerate(_EXCHANGE_GROUPS) if a in g) for a in AMINO_ACIDS])
  rates = np.where(group[:, None] == group, _WITHIN_GROUP, 1.0) * frequencies
  np.fill_diagonal(rates, 0)
  return rates / (frequencies @ rates.sum(1))


def substitute(rng: np.random.Generator, residues: np.ndarray, site_rates: np.ndarray, branch: float) -> np.ndarray:
  """The residues after a branch of the tree.

  Args:
    residues: indices into `AMINO_ACIDS` [n].
    site_rates: how fast each site changes, relative to the mean [n].
    branch: expected substitutions a site.
  """
  rates = _substitution_rates(_frequencies())
  leave = np.minimum(branch * site_rates * rates.sum(1)[residues], 0.9)
  changed = np.flatnonzero(rng.random(len(residues)) < leave)
  cumulative = (rates / rates.sum(1, keepdims=True)).cumsum(1)
  result = residues.copy()
  result[changed] = pick(rng, cumulative[residues[changed]])
  return result


def _frequencies() -> np.ndarray:
  percent = np.array(list(COMPOSITION.values()))
  return percent / percent.sum()


@dataclasses.dataclass(frozen=True)
class Protein:
  """One protein of a genome: the same symbol in two genomes means orthologues; `L` or `B` at its end, a paralogue."""

  symbol: str
  product: str
  residues: str


def evolve_proteomes(
    rng: np.random.Generator, tree: Mapping[str, tuple[str, float]], births: Mapping[str, float], genes: int
) -> dict[str, list[Protein]]:
  """Protein families along a species tree.

  An ancestor is a stretch of a second-order Markov chain with Swiss-Prot's composition, 60-400 residues long (gamma
  distributed). Sites and families differ in rate. Every fifth family starts as an old duplicate (0.4 substitutions a
  site) of the one before it, and each genome has some young duplicates (0.08).

  Args:
    tree: node to (parent, branch length in expected substitutions a site), parents first; `root` is the root.
    births: node to the share of a genome's genes whose families arise there; along the way from the root to any leaf
      the shares add up to less than 1: the rest are young duplicates.
    genes: proteins in each genome.

  Returns:
    for each leaf its proteins, `genes` of them.
  """
  born = [node for node, share in births.items() for _ in range(round(share * genes))]
  lengths = np.clip(rng.gamma(3.0, 60.0, len(born)), MIN_LENGTH, MAX_LENGTH).astype(int)
  chains = markov_chains(rng, markov_model(rng, _frequencies(), order=2, strength=1.0), len(born), MAX_LENGTH)
  symbols, products, family = [], [], 0
  for i, node in enumerate(born):
    old_duplicate = i % 5 == 4 and born[i - 1] == node
    if old_duplicate:
      lengths[i] = lengths[i - 1]
      chains[i] = substitute(rng, chains[i - 1], np.ones(MAX_LENGTH), 0.4)
    else:
      family += 1
    symbols.append(f"mnf{family}{'B' if old_duplicate else ''}")
    products.append(f"{_ENZYMES[family % len(_ENZYMES)]} {symbols[-1].upper()}")
  chains[:, 0] = AMINO_ACIDS.index("M")

  ends = lengths.cumsum()
  family_rates = rng.gamma(4.0, 0.25, len(born))
  site_rates = rng.gamma(1.0, 1.0, ends[-1]) * np.repeat(family_rates, lengths)
  site_rates[ends - lengths] = 0  # the start stays
  at_node = {"root": np.concatenate([chain[:length] for chain, length in zip(chains, lengths)])}
  lineage = {"root": ("root",)}
  for node, (parent, branch) in tree.items():
    at_node[node] = substitute(rng, at_node[parent], site_rates, branch)
    lineage[node] = (*lineage[parent], node)

  proteomes = {}
  parents = {parent for parent, _ in tree.values()}
  for leaf in [node for node in tree if node not in parents]:
    own = proteomes[leaf] = [
        Protein(symbols[i], products[i], _letters(at_node[leaf][ends[i] - lengths[i] : ends[i]], AMINO_ACIDS))
        for i, node in enumerate(born)
        if node in lineage[leaf]
    ]
    for i in rng.choice(len(own), genes - len(own), replace=False):
      source = np.array([AMINO_ACIDS.index(a) for a in own[i].residues])
      copy = substitute(rng, source, np.r_[0, np.ones(len(source) - 1)], 0.08)
      own.append(Protein(own[i].symbol + "L", own[i].product + "-like", _letters(copy, AMINO_ACIDS)))
  return proteomes


def codon_probabilities(usage: str, transl_table: int, gc_tilt: float = 0.0) -> np.ndarray:
  """Probability of each codon given the residue: float [21, 64], rows as in `AMINO_ACIDS`, then stop.

  Args:
    usage: a key of `CODON_USAGE`.
    transl_table: NCBI genetic code.
    gc_tilt: each G or C in a codon multiplies its weight by exp(gc_tilt).
  """
  weights = np.array([float(x) for x in CODON_USAGE[usage].split()])
  weights *= np.exp(gc_tilt * np.array([codon.count("G") + codon.count("C") for codon in CODONS]))
  residues = np.array(list(genetic_code.translate("".join(CODONS), transl_table)))
  weights = weights * (residues == np.array(list(AMINO_ACIDS + "*"))[:, None])
  return weights / weights.sum(1, keepdims=True)


def reverse_translate(
    rng: np.random.Generator, proteins: Sequence[str], probabilities: np.ndarray, starts: Mapping[str, float]
) -> list[str]:
  """A coding sequence with start and stop codon for each protein; codons are drawn independently.

  Args:
    proteins: residues, M first.
    probabilities: what `codon_probabilities` gives.
    starts: start codon to its share.
  """
  with_stops = "".join(protein + "*" for protein in proteins)
  index = np.zeros(256, np.int8)
  index[np.frombuffer((AMINO_ACIDS + "*").encode(), np.uint8)] = np.arange(len(AMINO_ACIDS) + 1)
  drawn = pick(rng, probabilities.cumsum(1)[index[np.frombuffer(with_stops.encode(), np.uint8)]])
  dna = "".join([CODONS[i] for i in drawn])
  chosen = rng.choice(list(starts), p=list(starts.values()), size=len(proteins))
  sequences, begin = [], 0
  for protein, start in zip(proteins, chosen):
    end = begin + 3 * len(protein) + 3
    sequences.append(str(start) + dna[begin + 3 : end])
    begin = end
  return sequences


def transfer_rna(rng: np.random.Generator, anticodon: str) -> str:
  """A 76-base sequence that folds into the cloverleaf, with the conserved T loop and CCA."""
  acceptor, d_stem, stem, t_stem, variable = ("".join(rng.choice(list("ACGT"), n)) for n in (7, 4, 5, 5, 5))
  return (
      acceptor + "TA" + d_stem + "AGCTGGTT" + reverse_complement(d_stem) + "A"
      + stem + "CT" + anticodon + "AA" + reverse_complement(stem) + variable
      + t_stem + "TTCGAAT" + reverse_complement(t_stem) + reverse_complement(acceptor) + "ACCA"
  )


def diverge(rng: np.random.Generator, dna: str, share: float) -> str:
  """A copy in which about this share of the bases was drawn anew."""
  bases = np.array(list(dna))
  return "".join(np.where(rng.random(len(bases)) < share, rng.choice(list("ACGT"), len(bases)), bases))


def soft_mask(rng: np.random.Generator, dna: str) -> str:
  """The sequence with stretches in lower case, about a seventh of it, as repeats are masked in releases."""
  bases = np.frombuffer(dna.encode(), np.uint8).copy()
  for start in rng.integers(len(dna), size=len(dna) // 800):
    stretch = slice(start, start + 20 + int(rng.gamma(2.0, 50.0)))
    bases[stretch] |= 32
  return bases.tobytes().decode()
