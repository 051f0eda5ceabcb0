"""Codons as arrays: genetic codes, and how many bits of a coding sequence its protein leaves open.

A codon is a number from 0 to 63, 16 * first + 4 * second + third base with a c g t as 0 1 2 3, or `UNKNOWN` where it
holds an `n`. It is read literally: a start codon stands for the residue that it gives elsewhere.
"""

import functools

import numpy as np

from bsm_jax import tokenizer

UNKNOWN = -1

# Residues of NCBI's genetic codes, TTT, TTC, TTA, TTG, TCT, … GGG (https://www.ncbi.nlm.nih.gov/Taxonomy/Utils/
# wprintgc.cgi): those that diagnostic row sets are of. 11 differs from 1 in its start codons only.
_STANDARD = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
GENETIC_CODES = {1: _STANDARD, 4: _STANDARD.replace("CC*W", "CCWW"), 11: _STANDARD}
_NCBI_ORDER = "tcag"


@functools.cache
def residues(code: int) -> np.ndarray:
  """Token ids of the residues of the 64 codons, uint8 [64]; a stop is the residue `*`.

  Args:
    code: number of the genetic code, as NCBI counts.

  Raises:
    ValueError: it is none of `GENETIC_CODES`.
  """
  if code not in GENETIC_CODES:
    raise ValueError(f"genetic code {code} is not among {', '.join(map(str, GENETIC_CODES))}: add it to GENETIC_CODES")
  letters = tokenizer.encode(GENETIC_CODES[code], tokenizer.Modality.PROTEIN).reshape(4, 4, 4)
  places = [_NCBI_ORDER.index(base) for base in tokenizer.NUCLEOTIDES[:4]]
  return letters[np.ix_(places, places, places)].reshape(64)


def is_stop(code: int) -> np.ndarray:
  """Which of the 64 codons end a protein, bool [64]. Raises ValueError as `residues` does."""
  return residues(code) == tokenizer.encode("*", tokenizer.Modality.PROTEIN)


def numbers(nucleotides: np.ndarray) -> np.ndarray:
  """Token ids of nucleotides in frame [n] to codons, int64 [n // 3]."""
  bases = nucleotides[: len(nucleotides) // 3 * 3].astype(np.int64).reshape(-1, 3) - tokenizer.FIRST_NUCLEOTIDE
  known = ((bases >= 0) & (bases < 4)).all(1)
  return np.where(known, bases @ np.array([16, 4, 1]), UNKNOWN)


def number(codon: str) -> int:
  """The number of a codon in letters (any case, T or U)."""
  return int(numbers(tokenizer.encode(codon, tokenizer.Modality.DNA))[0])


def degeneracy_bits(code: int) -> np.ndarray:
  """What perfect knowledge of the residue leaves of each codon: log2 of how many codons the residue has.

  Returns:
    bits a codon, float64 [64].
  """
  return np.log2(np.bincount(residues(code))[residues(code)])


def usage_bits(counted: np.ndarray, code: int) -> np.ndarray:
  """-log2 p(codon | residue) from counts, one added to each.

  Its mean over genes that were not counted is what a predictor pays that knows the protein and the organism's codon
  usage: less than the degeneracy where codons are used unevenly. It is no bound: a model may know more than the usage.

  Args:
    counted: codons of the organism [n].
    code: its genetic code.

  Returns:
    bits a codon, float64 [64].
  """
  counts = np.bincount(counted[counted != UNKNOWN], minlength=64) + 1.0
  of_residue = np.bincount(residues(code), weights=counts)
  return np.log2(of_residue[residues(code)] / counts)
