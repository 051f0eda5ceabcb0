"""NCBI's genetic codes and the translation of coding sequences.

The tables are those of https://www.ncbi.nlm.nih.gov/Taxonomy/Utils/wprintgc.cgi, by the number that the qualifier
`/transl_table` carries. Numbers that NCBI left out or withdrew (7, 8, 17-20) are unknown here too.
"""

import functools
from collections.abc import Mapping

import numpy as np

# Residues of the 64 codons in the order TTT, TTC, TTA, TTG, TCT, … GGG; then the start codons; then the codons that end
# a protein although they also code for a residue (the table's letter) elsewhere.
_TABLES: dict[int, tuple[str, str, str]] = {
    1: ("FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "TTG CTG ATG", ""),
    2: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSS**VVVVAAAADDEEGGGG", "ATT ATC ATA ATG GTG", ""),
    3: ("FFLLSSSSYY**CCWWTTTTPPPPHHQQRRRRIIMMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATA ATG GTG", ""),
    4: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        "TTA TTG CTG ATT ATC ATA ATG GTG", ""),
    5: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSSSSVVVVAAAADDEEGGGG", "TTG ATT ATC ATA ATG GTG", ""),
    6: ("FFLLSSSSYYQQCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    9: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNNKSSSSVVVVAAAADDEEGGGG", "ATG GTG", ""),
    10: ("FFLLSSSSYY**CCCWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    11: ("FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "TTG CTG ATT ATC ATA ATG GTG", ""),
    12: ("FFLLSSSSYY**CC*WLLLSPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "CTG ATG", ""),
    13: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSSGGVVVVAAAADDEEGGGG", "TTG ATA ATG GTG", ""),
    14: ("FFLLSSSSYYY*CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNNKSSSSVVVVAAAADDEEGGGG", "ATG", ""),
    15: ("FFLLSSSSYY*QCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    16: ("FFLLSSSSYY*LCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    21: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNNKSSSSVVVVAAAADDEEGGGG", "ATG GTG", ""),
    22: ("FFLLSS*SYY*LCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    23: ("FF*LSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATT ATG GTG", ""),
    24: ("FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSSKVVVVAAAADDEEGGGG", "TTG CTG ATG GTG", ""),
    25: ("FFLLSSSSYY**CCGWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "TTG ATG GTG", ""),
    26: ("FFLLSSSSYY**CC*WLLLAPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "CTG ATG", ""),
    27: ("FFLLSSSSYYQQCCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", "TGA"),
    28: ("FFLLSSSSYYQQCCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", "TAA TAG TGA"),
    29: ("FFLLSSSSYYYYCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    30: ("FFLLSSSSYYEECC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", ""),
    31: ("FFLLSSSSYYEECCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG", "ATG", "TAA TAG"),
    32: ("FFLLSSSSYY*WCC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
         "TTG CTG ATT ATC ATA ATG GTG", ""),
    33: ("FFLLSSSSYYY*CCWWLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSSKVVVVAAAADDEEGGGG", "TTG CTG ATG GTG", ""),
}
TABLE_IDS = tuple(_TABLES)

# A letter as the set of bases it stands for, one bit a base in the tables' order T C A G. Zero: no nucleotide.
_IUPAC = {
    "T": 1, "U": 1, "C": 2, "A": 4, "G": 8, "Y": 3, "W": 5, "M": 6, "H": 7, "K": 9, "S": 10, "B": 11, "R": 12,
    "D": 13, "V": 14, "N": 15,
}
_BASES = np.zeros(256, np.uint16)
for _letter, _mask in _IUPAC.items():
  _BASES[[ord(_letter), ord(_letter.lower())]] = _mask


def _table(number: int) -> tuple[str, str, str]:
  if number not in _TABLES:
    raise ValueError(f"unknown translation table {number}: NCBI defines {', '.join(map(str, TABLE_IDS))}")
  return _TABLES[number]


@functools.cache
def _residues(table: int) -> np.ndarray:
  """ASCII residues of all 16³ codons of IUPAC letters, indexed by their base sets, uint8 [4096]."""
  amino_acids = np.frombuffer(_table(table)[0].encode(), np.uint8).reshape(4, 4, 4)
  members = [[base for base in range(4) if mask >> base & 1] for mask in range(16)]
  residues = np.full((16, 16, 16), ord("X"), np.uint8)
  for first in range(1, 16):
    for second in range(1, 16):
      for third in range(1, 16):
        readings = amino_acids[np.ix_(members[first], members[second], members[third])]
        if (readings == readings.flat[0]).all():
          residues[first, second, third] = readings.flat[0]
  return residues.reshape(-1)


def translate(cds: str, table: int = 1, exceptions: Mapping[int, str] = {}) -> str:
  """Codons to residues, read literally: a start codon gives its own residue here, not M.

  Args:
    cds: nucleotides in frame, T or U, either case, IUPAC codes allowed; 1-2 bases after the last codon are ignored.
    table: NCBI translation table.
    exceptions: codon index (0-based) to the residue that stands there instead (`/transl_except`); indices beyond the
      last whole codon are ignored.

  Returns:
    One letter a codon: `*` is a stop; `X` a codon whose readings differ, or that holds a letter of no nucleotide. A
    codon that is both a residue and a stop (tables 27, 28, 31) gives the residue; `is_stop` tells.

  Raises:
    ValueError: the table is unknown.
  """
  residues = _residues(table)
  codons = len(cds) // 3
  bases = _BASES[np.frombuffer(cds.encode("latin-1", "replace"), np.uint8)[: 3 * codons]].reshape(codons, 3)
  protein = residues[bases[:, 0] << 8 | bases[:, 1] << 4 | bases[:, 2]].tobytes().decode("ascii")
  if exceptions:
    letters = list(protein)
    for codon, residue in exceptions.items():
      if codon < codons:
        letters[codon] = residue
    protein = "".join(letters)
  return protein


@functools.cache
def _starts_and_stops(table: int) -> tuple[frozenset[str], frozenset[str]]:
  amino_acids, starts, also_stops = _table(table)
  codons = [a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"]
  stops = {codon for codon, residue in zip(codons, amino_acids) if residue == "*"} | set(also_stops.split())
  return frozenset(starts.split()), frozenset(stops)


def is_start(codon: str, table: int = 1) -> bool:
  """Whether the table lets a protein begin (with M) at this codon; False for ambiguous codons."""
  return codon.upper().replace("U", "T") in _starts_and_stops(table)[0]


def is_stop(codon: str, table: int = 1) -> bool:
  """Whether a protein can end at this codon; False for ambiguous codons."""
  return codon.upper().replace("U", "T") in _starts_and_stops(table)[1]
