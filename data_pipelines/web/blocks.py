"""Candidates in the layouts of file formats: FASTA, GenBank, EMBL, UniProt, FASTQ, SAM, PDB, three-letter residues."""

import re
from collections.abc import Iterator

from data_pipelines.web.candidates import Candidate, Evidence
from data_pipelines.web.letters import RESIDUES, SEQRES_BASES, without_gaps

_HEADER = re.compile(r"^[ \t]*(?:>|&gt;)(?![>&])[ \t]?(\S[^\n]*)$", re.M)
# A line of a FASTA record: letters, perhaps in groups, perhaps with a count at its end, or the bars of a table's cells.
_FASTA_LINE = re.compile(r"[ \t|]*([A-Za-z*.~-]+(?:[ \t][A-Za-z*.~-]+)*)(?:[ \t]*\d+)?[ \t|]*\r?(?:\n|\Z)")
_NUMBERED = re.compile(
    r"^[ \t]*(\d{1,9})[ \t]+([A-Za-z*-]+(?:[ \t]+[A-Za-z*-]+)*)[ \t]*(\d{1,9})?[ \t]*\r?(?:\n|\Z)"
    r"|^[ \t]*([A-Za-z*-]{10}(?:[ \t]+[A-Za-z*-]{1,10})*)[ \t]+(\d{1,9})[ \t]*\r?(?:\n|\Z)",
    re.M,
)
_UNIPROT = re.compile(r"^SQ +SEQUENCE[^\n]*\n((?:[ \t]+[A-Z]{1,10}(?: [A-Z]{1,10})*[ \t]*\r?(?:\n|\Z))+)", re.M)
_TRANSLATION = re.compile(r"/translation=\\?[\"“]([A-Za-z*\s]+)\\?[\"”]?")
_FASTQ = re.compile(r"^[ \t]*@[^\n]+\n[ \t]*([A-Za-z.]+)[ \t]*\r?\n[ \t]*\+[^\n]*\n[ \t]*(\S+)", re.M)
_SAM = re.compile(
    r"^[^\s@]\S*\t\d+\t\S+\t\d+\t\d+\t(?:\*|(?:\d+[MIDNSHP=X])+)\t\S+\t\d+\t-?\d+\t([A-Za-z=.]+)\t(\S+)", re.M
)
_SEQRES = re.compile(r"^[ \t]*SEQRES +\d+ +(\S) +\d+((?: +[A-Z]{1,3})+)[ \t]*$", re.M)
_DOTS = re.compile(r"\.+")
_LETTERS = re.compile(r"[A-Za-z*]+")
_NAME = "|".join(RESIDUES)
# Residues by their three-letter names; between them hyphens, spaces, line ends and the numbers of a sequence listing.
_THREE_LETTER = re.compile(rf"(?<![A-Za-z])(?:{_NAME})(?:[-‐–·\s\d]{{0,120}}(?:{_NAME})){{3,}}(?![a-z])")
_RESIDUE = re.compile(_NAME)
_TWO_RESIDUES = re.compile(rf"(?:{_NAME})[-‐–·\s\d]{{0,120}}(?:[AGTCHILMPSVX][a-z]{{2}})(?![a-z])")
# What the patterns above need, as fast scans of pages that hold no seed of `runs.py`: a header, small letters in tens,
# two residues, SEQRES.
_SIGNS = (
    re.compile(r"^[ \t]*(?:>|&gt;)[ \t]?\w", re.M),
    re.compile(r"[a-z]{10} [a-z]{10} [a-z]{10}"),
    _TWO_RESIDUES,
    re.compile(r"^[ \t]*SEQRES ", re.M),
)


def has_layout(text: str) -> bool:
  """Whether any of the layouts can be in a text that holds no seed of running text."""
  return any(sign.search(text) for sign in _SIGNS)


def find(text: str, *, three_letter: bool) -> Iterator[tuple[Candidate | None, int, int]]:
  """Yields candidates, each with the span of text that is taken with it; a span without candidate is only taken.

  Spans may overlap: the caller keeps the first of two. Nothing here looks at what the letters are.
  """
  yield from _fastq(text)
  yield from _sam(text)
  yield from _fasta(text)
  yield from _translations(text)
  yield from _uniprot(text)
  yield from _numbered(text)
  yield from _seqres(text)
  if three_letter and _TWO_RESIDUES.search(text):
    yield from _three_letter(text)


def letters_of(text: str, spans: list[tuple[int, int]]) -> tuple[tuple[tuple[int, int], ...], str]:
  """Pieces and letters of the runs of letters (gaps left out) in the spans."""
  pieces = tuple((m.start(), m.end()) for a, b in spans for m in _LETTERS.finditer(text, a, b))
  return pieces, "".join(text[a:b] for a, b in pieces)


def _declared(text: str, spans: list[tuple[int, int]], how: str) -> Candidate | None:
  pieces, letters = letters_of(text, spans)
  if not pieces:
    return None
  return Candidate(pieces, letters, how, evidence=Evidence.DECLARED)


def _fasta(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for header in _HEADER.finditer(text):
    position = header.end() + 1
    spans = []
    while line := _FASTA_LINE.match(text, position):
      words = line.group(1).split()
      # Groups of a record are equally long but for the last; words of prose are not.
      if len({len(word) for word in words[:-1]}) > 1 or (len(words) == 2 and len(words[0]) < 10):
        break
      spans.append(line.span(1))
      position = line.end()
      if position == len(text):
        break
    if not spans:
      continue
    spans = _before_ellipsis(text, spans)
    yield _declared(text, spans, "fasta"), header.start(), position


def _before_ellipsis(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
  """The spans up to an ellipsis; dots that come more than once, or in other numbers, are gaps."""
  dots = [match for a, b in spans for match in _DOTS.finditer(text, a, b)]
  if len(dots) != 1 or len(dots[0].group()) != 3:
    return spans
  cut = dots[0].start()
  return [(a, min(b, cut)) for a, b in spans if a < cut]


def _translations(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for match in _TRANSLATION.finditer(text):
    yield _declared(text, [match.span(1)], "translation"), *match.span()


def _uniprot(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for match in _UNIPROT.finditer(text):
    yield _declared(text, [match.span(1)], "numbered"), *match.span()


def _numbered(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  """GenBank's ORIGIN, EMBL's SQ and their like: the numbers must count the letters.

  Lines without letters may stand between (secondary structure, rulers).
  """
  spans: list[tuple[int, int]] = []
  after, expected, begin, both = -1, 0, 0, False

  def flush():
    groups = spans and len(text[slice(*spans[0])].split()[0]) == 10
    if spans and (len(spans) > 1 or both or groups):
      yield _declared(text, spans, "numbered"), begin, after

  for match in _NUMBERED.finditer(text):
    group = 2 if match.group(2) is not None else 4
    count = len(without_gaps(match.group(group)))
    start = int(match.group(1)) if group == 2 else int(match.group(5)) - count + 1
    ends = match.group(3) if group == 2 else match.group(5)
    if ends is not None and int(ends) != start + count - 1:
      continue
    if spans and start == expected and match.start() - after < 400 and not _LETTERS.search(text, after, match.start()):
      spans.append(match.span(group))
    else:
      yield from flush()
      spans, begin, both = [match.span(group)], match.start(), group == 2 and ends is not None
    after, expected = match.end(), start + count
  yield from flush()


def _fastq(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for match in _FASTQ.finditer(text):
    if len(match.group(1)) == len(match.group(2)):
      yield _declared(text, [match.span(1)], "fastq"), *match.span()


def _sam(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for match in _SAM.finditer(text):
    yield _declared(text, [match.span(1)], "sam"), *match.span()


def _seqres(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  """SEQRES lines of a PDB file, one candidate a chain."""
  chains: dict[str, list[re.Match]] = {}
  for match in _SEQRES.finditer(text):
    chains.setdefault(match.group(1), []).append(match)
  names = {name.upper(): letter for name, letter in RESIDUES.items()}
  for lines in chains.values():
    words = [word for line in lines for word in _LETTERS.finditer(text, *line.span(2))]
    is_protein = any(word.group() in names for word in words)
    table = names if is_protein else SEQRES_BASES
    letters = "".join(table.get(word.group(), "X" if is_protein else "N") for word in words)
    pieces = tuple(word.span() for word in words)
    candidate = Candidate(pieces, letters, "seqres", not is_protein, Evidence.DECLARED)
    yield candidate, lines[0].start(), lines[0].end()
    yield from ((None, *line.span()) for line in lines[1:])


def _three_letter(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  for match in _THREE_LETTER.finditer(text):
    residues = list(_RESIDUE.finditer(text, *match.span()))
    letters = "".join(RESIDUES[m.group()] for m in residues)
    pieces = tuple(m.span() for m in residues)
    yield Candidate(pieces, letters, "three_letter", False, Evidence.DECLARED), *match.span()

