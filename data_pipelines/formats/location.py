"""INSDC locations, and the codons that `transl_except` names by location: GenBank, GFF3 and FASTA headers share them.

The grammar is that of https://www.insdc.org/submitting-standards/feature-table/ (sections 3.4 and 7.4.3).
"""

import dataclasses
import re
from collections.abc import Sequence

from data_pipelines.genes import LocationError, Part


@dataclasses.dataclass(frozen=True)
class Location:
  """A location in transcription order.

  Attributes:
    parts: 0-based, half-open (start, end, strand) on the plus strand.
    partial5, partial3: the feature continues beyond that end (`<`, `>`).
  """

  parts: list[Part]
  partial5: bool
  partial3: bool


_RANGE = re.compile(r"([<>]?)(\d{1,18})(?:\.\.([<>]?)(\d{1,18}))?")


def parse_location(text: str, circular_length: int | None = None) -> Location:
  """Reads a location of the feature table that names one spliced stretch of this record.

  Args:
    text: for instance `complement(join(<100..202,300..>400))`.
    circular_length: length of the record where it is circular: `990..10` then means the stretch over the origin.

  Raises:
    LocationError: `remote_location` where a part lies in another record; `bad_location` for `order`, `one-of`, `bond`,
      `gap`, `5^6`, `(5.9)`, fuzzy ends inside and anything that cannot be read.
  """
  spans = _spans("".join(text.split()), 0)
  inside = [fuzzy for span in spans for fuzzy in span[3:]][1:-1]
  if any(inside):
    raise LocationError("bad_location", "an inner end is fuzzy")
  parts = []
  for start, end, strand, _, _ in spans:
    parts.append((start, end + circular_length if circular_length and end <= start else end, strand))
  return Location(parts, spans[0][3], spans[-1][4])


def _spans(text: str, depth: int) -> list[tuple[int, int, int, bool, bool]]:
  """(start, end, strand, fuzzy 5' end, fuzzy 3' end) of each part, in transcription order."""
  if match := _RANGE.fullmatch(text):
    fuzzy_start, first, fuzzy_end, last = match.groups()
    return [(int(first) - 1, int(last or first), 1, bool(fuzzy_start), bool(fuzzy_end))]
  operator, _, arguments = text.partition("(")
  if arguments.endswith(")") and depth < 10:
    if operator == "complement" and "complement" not in arguments:
      inner = _spans(arguments[:-1], depth + 1)
      return [(start, end, -strand, fuzzy3, fuzzy5) for start, end, strand, fuzzy5, fuzzy3 in reversed(inner)]
    if operator == "join":
      return [span for part in _arguments(arguments[:-1]) for span in _spans(part, depth + 1)]
  if re.fullmatch(r"[\w.|-]+:[<>\w.(),]+", text):
    raise LocationError("remote_location", text[:80])
  raise LocationError("bad_location", f"{text[:80]!r} is not a range, join or complement")


def _arguments(text: str) -> list[str]:
  """What stands between the commas outside parentheses."""
  if "(" not in text:
    return text.split(",")
  arguments, begin, depth = [], 0, 0
  for match in re.finditer("[(),]", text):
    depth += {"(": 1, ")": -1, ",": 0}[match[0]]
    if match[0] == "," and depth == 0:
      arguments.append(text[begin : match.start()])
      begin = match.end()
  return [*arguments, text[begin:]]


_TRANSL_EXCEPT = re.compile(r"\(pos:(.+?),aa:(\w+)\)")
_RESIDUES = {
    "Ala": "A", "Arg": "R", "Asn": "N", "Asp": "D", "Cys": "C", "Gln": "Q", "Glu": "E", "Gly": "G", "His": "H",
    "Ile": "I", "Leu": "L", "Lys": "K", "Met": "M", "Phe": "F", "Pro": "P", "Ser": "S", "Thr": "T", "Trp": "W",
    "Tyr": "Y", "Val": "V", "Sec": "U", "Pyl": "O", "Asx": "B", "Glx": "Z", "Xle": "J", "Xaa": "X", "Other": "X",
    "Term": "*",
}  # fmt: skip


def exceptional_codons(text: str, cds: Sequence[Part], codon_start: int, length: int) -> dict[int, str]:
  """Codons that are not read by the genetic code.

  Args:
    text: `(pos:213..215,aa:Sec)`, or several between commas.
    cds: parts of the coding sequence in transcription order, all on one strand.
    codon_start: 1, 2 or 3: the first base of the first whole codon.
    length: of the sequence; beyond it the positions of a circular one count on.

  Returns:
    Offset of the codon's first base in the spliced CDS (0-based, before `codon_start` is applied) to the residue, `*`
    for a stop.

  Raises:
    LocationError: `bad_transl_except`.
  """
  spaceless = "".join(text.split())
  if _TRANSL_EXCEPT.sub("", spaceless).strip(","):
    raise LocationError("bad_transl_except", text)
  residues = {}
  for place, name in _TRANSL_EXCEPT.findall(spaceless):
    try:
      location = parse_location(place)
    except LocationError as error:
      raise LocationError("bad_transl_except", f"{text}: {error.detail}") from None
    offsets = _offsets(location.parts, cds, length)
    if not offsets or name.title() not in _RESIDUES:
      raise LocationError("bad_transl_except", text)
    # Where the ribosome slips back a base stands in two codons: the one that begins with it is meant.
    residues[min(offsets, key=lambda offset: (offset - codon_start + 1) % 3)] = _RESIDUES[name.title()]
  return residues


def _offsets(codon: Sequence[Part], cds: Sequence[Part], length: int) -> list[int]:
  """Where in the spliced CDS the codon's first base lies; where the ribosome slips back it may lie there twice."""
  strand = cds[0][2]
  # Many records leave out the complement(): read against its direction, the codon begins with its last part.
  start, end, _ = codon[0] if codon[0][2] == strand else codon[-1]
  first = start if strand > 0 else end - 1
  offsets, done = [], 0
  for start, end, _ in cds:
    for base in (first, first + length):  # A part over the origin may end beyond the length.
      if start <= base < end:
        offsets.append(done + (base - start if strand > 0 else end - 1 - base))
    done += end - start
  return offsets
