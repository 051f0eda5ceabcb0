"""Alphabets of sequences as people write them, and the three-letter names of residues."""

DNA_LETTERS = "ACGT"
NUCLEOTIDES = "ACGTUN"
IUPAC = "ACGTUNRYSWKMBDHV"
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
# What a residue may also be: selenocysteine, pyrrolysine, the ambiguity codes, and a stop.
PROTEIN_LETTERS = AMINO_ACIDS + "UOBZXJ*"
GAPS = "-.~"

_WITHOUT_GAPS = str.maketrans("", "", GAPS + " \t\r\n")
_ANY_CASE = {alphabet: alphabet + alphabet.lower() for alphabet in (DNA_LETTERS, NUCLEOTIDES, IUPAC, AMINO_ACIDS)}

RESIDUES = {
    "Ala": "A", "Arg": "R", "Asn": "N", "Asp": "D", "Cys": "C", "Gln": "Q", "Glu": "E", "Gly": "G", "His": "H",
    "Ile": "I", "Leu": "L", "Lys": "K", "Met": "M", "Phe": "F", "Pro": "P", "Ser": "S", "Thr": "T", "Trp": "W",
    "Tyr": "Y", "Val": "V", "Sec": "U", "Pyl": "O", "Asx": "B", "Glx": "Z", "Xaa": "X",
}
# SEQRES names of nucleotides: `DA` in DNA, `A` in RNA.
SEQRES_BASES = {"DA": "A", "DC": "C", "DG": "G", "DT": "T", "A": "A", "C": "C", "G": "G", "U": "U", "N": "N"}


def only(word: str, alphabet: str) -> bool:
  """Whether a word has letters of an alphabet only, in either case; linear in the word. One of the alphabets above."""
  return not word.strip(_ANY_CASE[alphabet])


def without_gaps(letters: str) -> str:
  """The letters of an alignment's row, without gaps and white space."""
  return letters.translate(_WITHOUT_GAPS)


def count(word: str, alphabet: str) -> int:
  """How many letters of an upper-case word are in the alphabet."""
  return sum(map(word.count, alphabet))


# Bits by which a letter speaks for nucleotides with codes of ambiguity (88% A, C, G, T; 5% N; 7% other codes) against a
# protein of Swiss-Prot's composition.
_NUCLEOTIDE_BITS = {
    "A": 1.4, "C": 4.0, "G": 1.6, "T": 2.0, "U": 6.0, "N": 0.3, "R": -3.1, "Y": -2.2, "S": -3.4, "W": -0.8, "K": -3.2,
    "M": -1.9, "D": -3.1, "H": -1.8, "V": -3.4, "B": 3.0,
}


def reads_as_nucleotides(letters: str) -> bool:
  """Whether letters that are all IUPAC codes of nucleotides are more likely nucleotides than residues.

  Two bases alone decide nothing where other letters stand between them: linkers and silk are G, S and A.
  """
  upper = letters.upper()
  if not only(upper, IUPAC):
    return False
  if only(upper, NUCLEOTIDES):
    return True
  if sum(base in upper for base in DNA_LETTERS + "U") < 3:
    return False
  return sum(bits * upper.count(letter) for letter, bits in _NUCLEOTIDE_BITS.items()) > 0
