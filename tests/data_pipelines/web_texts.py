"""Sequences and layouts that the tests of the web corpus plant in texts."""

import random

from data_pipelines.web_interleaved import Extraction, WebConfig, extract

CONFIG = WebConfig()


def dna(length: int, seed: int = 0) -> str:
  """Random DNA in which all four bases come early, so that no seed gives a poor sequence."""
  source = random.Random(f"dna {seed}")
  return ("ACGT" + "".join(source.choices("ACGT", k=length)))[:length]


def protein(length: int, seed: int = 0) -> str:
  """Random residues with the rough composition of proteins, from M."""
  source = random.Random(f"protein {seed}")
  return ("M" + "".join(source.choices("AARNDQEEGGHIILLLKKFPSSTTVVWYC", k=length)))[:length]


def rna(length: int, seed: int = 0) -> str:
  return dna(length, seed).replace("T", "U")


def wrap(letters: str, width: int, joint: str = "\n") -> str:
  return joint.join(letters[i : i + width] for i in range(0, len(letters), width))


def groups(letters: str, size: int = 10) -> str:
  return wrap(letters, size, " ")


def numbered(letters: str) -> str:
  """GenBank's ORIGIN lines: a count, then six groups of ten."""
  lines = [f"{i + 1:9d} {groups(letters[i : i + 60])}" for i in range(0, len(letters), 60)]
  return "\n".join(lines)


def counted(letters: str) -> str:
  """EMBL's SQ lines: six groups of ten, then a count."""
  lines = [(groups(letters[i : i + 60]), min(i + 60, len(letters))) for i in range(0, len(letters), 60)]
  return "\n".join(f"     {line:66s}{count:9d}" for line, count in lines)


def found(text: str) -> list[tuple[str, str]]:
  """Modality and letters of the sequences in a text, in order."""
  return [(s.modality.name.lower(), s.letters) for s in extract(text, CONFIG).sequences]


def reasons(text: str) -> dict[str, str]:
  """Letters of the rejected candidates, as written, to the reason."""
  return {rejected.text: rejected.code for rejected in extract(text, CONFIG).rejected}


def check_places(text: str, extraction: Extraction) -> None:
  """Asserts that the pieces of every sequence spell it, and that sequences stand in order of appearance."""
  assert [s.start for s in extraction.sequences] == sorted(s.start for s in extraction.sequences)
  for sequence in extraction.sequences:
    written = "".join(text[a:b] for a, b in sequence.pieces).upper()
    if sequence.how not in ("three_letter", "seqres"):
      assert written.rstrip("*") == sequence.letters
    assert all(0 <= a < b <= len(text) for a, b in sequence.pieces)
  for rejected in extraction.rejected:
    assert 0 <= rejected.start < rejected.end <= len(text)
