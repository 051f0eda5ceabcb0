"""What may stand between two pieces of one sequence in running text: spaces, line ends, quotes, tags, gaps, numbers."""

import re

from data_pipelines.web import language
from data_pipelines.web.letters import (
    AMINO_ACIDS,
    DNA_LETTERS,
    IUPAC,
    NUCLEOTIDES,
    PROTEIN_LETTERS,
    count,
    only,
    reads_as_nucleotides,
)

_JOINT = re.compile(
    r"""(?x)
    (?P<soft> [\u00ad\u200b-\u200d\u2060\ufeff]+ )
    | (?P<markup> (?: \*\* | __ | </?(?:b|i|u|em|strong|span|font|mark|ins|small|code|tt|wbr)\b[^<>\n]{0,80}> ){1,6} )
    | (?P<quote> \\?["'”’] [ \t\u00a0]*
        (?: [+\\&][ \t\u00a0]* | \r?\n[ \t\u00a0]*(?:\.{3}|//|\#)? [ \t\u00a0]* ){1,3} [rbuf]?\\?["'“‘] )
    | (?P<gap> [-–—~]{2,}(?!\d) )
    | (?P<hyphen> [-‐‑–—] (?: [ \t]*\r?\n[ \t]* )? )
    | (?P<cut> \^ )
    | (?P<quencher> /(?:ZEN|TAO)/ )
    | (?P<number> \s{1,3}\d{1,9}\s{1,3} )
    | (?P<paren> [(\[] (?= [ACGTUNacgtun]{1,60} [)\]] [ACGTUNacgtun] ) | [)\]] (?= [ACGTUNacgtun] ) )
    | (?P<line> [ \t\u00a0]*(?: \\?\r?\n (?:[ \t]*\d[\d\ \t]*\r?\n)? | \\n | <br\ ?/?>\s? ) [ \t\u00a0>\#*|]* )
    | (?P<space> (?: [ \u00a0\u2002-\u200a\u202f] | &nbsp; ) )
    """
)
WORD = re.compile(r"[A-Za-z]++")
# Nucleotide letters that are words too: at the end of a chain of pieces they are not taken for a piece.
_WORDS_OF_NUCLEOTIDES = frozenset(
    "a an at act acts ant can cat cut gag gnat gut nut tag tan tang tat taunt tuna tug tun aunt gun nun unna".split()
)


def joint(text: str, end: int) -> tuple[str, int] | None:
  """The joint that begins at `end`: its kind and where the next piece begins; None where another sign stands."""
  match = _JOINT.match(text, end)
  if not match or not WORD.match(text, match.end()):
    return None
  return match.lastgroup, match.end()


def word_at(text: str, position: int, first: int = 0) -> tuple[int, int]:
  """The whole run of ASCII letters around a position, not before `first`."""
  start = position
  while start > first and text[start - 1].isascii() and text[start - 1].isalpha():
    start -= 1
  return start, WORD.match(text, position).end()


def is_nucleotides(word: str) -> bool:
  """Whether a whole word reads as nucleotides: A C G T U N in any case, or capitals with some codes of ambiguity."""
  return only(word, NUCLEOTIDES) or (len(word) >= 7 and word.isupper() and reads_as_nucleotides(word))


def is_protein(word: str) -> bool:
  """Whether a whole word is capitals that can all be residues: the standard ones and X, in long words some others."""
  if not word.isupper():
    return False
  if not word.strip(AMINO_ACIDS + "X"):
    return True
  return len(word) >= 20 and not word.strip(PROTEIN_LETTERS) and count(word, AMINO_ACIDS) >= 0.9 * len(word)


def nucleotide_piece(word: str, *, upper: bool, longest: int) -> bool:
  """Whether a word can be one more piece of a chain of nucleotides.

  Args:
    word: the letters.
    upper: whether the chain has a piece in capitals.
    longest: letters of the chain's longest piece.
  """
  if word.isupper():
    if only(word, NUCLEOTIDES):
      return True
    # Codes of ambiguity: `VN` behind a long piece, or many letters. DNA, KB and ACTB are of such letters too.
    few = len(word) <= 3 and longest >= 10 and ("N" in word or word == "V") and not language.is_word(word)
    return only(word, IUPAC) and (few or (len(word) > 5 and count(word, NUCLEOTIDES) >= 0.7 * len(word)))
  if not only(word, NUCLEOTIDES):
    return False
  # Small letters beside capitals are prose ("… at 55 °C") unless they are many.
  return len(word) >= 6 if upper else word not in _WORDS_OF_NUCLEOTIDES


def protein_piece(word: str, in_groups: bool) -> bool:
  """Whether a word can be one more piece of a chain of residues; in groups of ten a word may be one by chance."""
  return is_protein(word) and (in_groups or not language.is_word(word))


def is_short_word(word: str) -> bool:
  """Whether a short piece of nucleotides is a word as well."""
  return word.lower() in _WORDS_OF_NUCLEOTIDES


def keeps_spaces(words: list[str]) -> bool:
  """Whether pieces of nucleotides with single spaces between them are one sequence, and not a list of sequences.

  Groups of equal length, wrapped lines that became one, and pieces with short ones between them are one sequence.
  Pieces that all have about the length of a primer, and k-mers that overlap, are a list; small letters must be in
  groups.
  """
  if any(len(a) == len(b) >= 4 and a[1:] == b[:-1] for a, b in zip(words, words[1:])):
    return False
  lengths = [len(word) for word in words]
  if all(word.islower() for word in words):
    return len(set(lengths[:-1])) == 1 and lengths[-1] <= lengths[0]
  if len(lengths) > 2 and lengths[0] <= 5:  # The gene of a pair of primers: `ACTA ACGT… TGCA…`.
    lengths = lengths[1:]
  return not (14 <= min(lengths) and max(lengths) <= min(35, min(lengths) + 7))


def keeps_spaces_protein(words: list[str]) -> bool:
  """The same for residues: groups of 10 or 5, or pieces so long that they are wrapped lines, or many of them."""
  lengths = [len(word) for word in words]
  if set(lengths[:-1]) in ({5}, {10}, {20}) and lengths[-1] <= lengths[0]:
    return True
  return max(lengths) >= 20 or (len(lengths) >= 4 and sum(lengths) >= 7 * len(lengths) and max(lengths) >= 12)


def dna_share(word: str) -> float:
  """Share of A, C, G, T in an upper-case word."""
  return count(word, DNA_LETTERS) / len(word)
