"""Candidates in alignments: rows that go on in later blocks, gaps, lines of consensus.

A row is trusted where its coordinates count its letters (BLAST, Biopython, Infernal, Clustal with counts), where the
same names come again block by block (Clustal, Stockholm, PHYLIP), or where a PHYLIP head gives the counts.
"""

import dataclasses
import re
from collections.abc import Iterator

from data_pipelines.web.candidates import Candidate, Evidence
from data_pipelines.web.letters import without_gaps

# name, start, letters with gaps, end. The name may be followed by a dash (search reports).
_ROW = re.compile(
    r"^[ \t]*(\S{1,60})[ \t]+(?:-[ \t]+)?(?:(\d{1,12})[ \t]+)?"
    r"((?:[A-Za-z.~*-]{10} )*[A-Za-z.~*-]+)(?:[ \t]+(\d{1,12}))?[ \t]*\r?$",
    re.M,
)
_ANNOTATION = re.compile(r"^[ \t]*#=G[CRFS] [^\n]*", re.M)
_BETWEEN_ROWS = re.compile(r"\r?\n(?:[ \t]*#[^\n]*\n){0,4}")  # Stockholm's annotation of a row stands below it.
_PHYLIP = re.compile(r"^[ \t]*(\d{1,4})[ \t]+(\d{1,6})[ \t]*\r?\n(?=[ \t]*\S+[ \t]+[A-Za-z.~*?-]{5})", re.M)
_LINE = re.compile(r"[^\n]*\n?")
_SIGNS = re.compile(r"[A-Za-z.~*?-]+")
_LETTERS = re.compile(r"[A-Za-z]+")
_MOST_LINES_BETWEEN = 4  # Lines of consensus, structure and blank ones between two blocks of an alignment.


@dataclasses.dataclass
class _Open:
  """A sequence whose rows are being gathered."""

  spans: list[tuple[int, int]]
  rows: list[tuple[int, int]]
  step: int  # 1 where coordinates grow, -1 where they fall (the other strand).
  next: int  # The coordinate of the next row, 0 where only ends are written.
  count: int  # Letters so far.
  sure: bool  # Whether a pair of numbers has counted the letters.


def find(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  """Yields candidates with the spans they take, as `blocks.find`; a span without candidate is only taken."""
  yield from _phylip(text)
  yield from ((None, *match.span()) for match in _ANNOTATION.finditer(text))
  rows = list(_ROW.finditer(text))
  yield from _counted(text, [row for row in rows if row.group(2) or row.group(4)])
  yield from _interleaved(text, [row for row in rows if not row.group(2) and not row.group(4)])


def _counted(text: str, rows: list[re.Match]) -> Iterator[tuple[Candidate | None, int, int]]:
  open_rows: dict[str, _Open] = {}
  closed: list[_Open] = []
  for row in rows:
    name = row.group(1)
    count = len(without_gaps(row.group(3)))
    if not count:
      continue
    start = int(row.group(2)) if row.group(2) else None
    end = int(row.group(4)) if row.group(4) else None
    found = open_rows.get(name)
    if found and _continue(found, row, start, end, count):
      continue
    if found:
      closed.append(open_rows.pop(name))
    if opened := _begin(row, start, end, count):
      open_rows[name] = opened
  sure = [found for found in (*closed, *open_rows.values()) if found.sure]
  for found in sure:
    yield from _row_candidate(text, found.spans, found.rows)
  # The line between two rows repeats the letters that are equal.
  spans = sorted(row for found in sure for row in found.rows)
  for (_, above), (below, _) in zip(spans, spans[1:]):
    if text.count("\n", above, below) == 2:
      yield None, above, below


def _begin(row: re.Match, start: int | None, end: int | None, count: int) -> _Open | None:
  spans, whole = [row.span(3)], [row.span()]
  if start is None:
    return _Open(spans, whole, 1, 0, count, True) if end == count else None
  if end is None:
    return _Open(spans, whole, 1, start + count, count, False)
  if end - start == count:  # From 0, half-open.
    return _Open(spans, whole, 1, end, count, True)
  if end - start == count - 1:
    return _Open(spans, whole, 1, end + 1, count, True)
  if start - end == count - 1:
    return _Open(spans, whole, -1, end - 1, count, True)
  return _Open(spans, whole, -1, end, count, True) if start - end == count else None


def _continue(found: _Open, row: re.Match, start: int | None, end: int | None, count: int) -> bool:
  """Adds a row to the sequence if its coordinates go on where the last row ended."""
  if row.start() - found.rows[-1][1] > 2000:
    return False
  if start is None:
    if found.next or end != found.count + count:
      return False
  elif start != found.next or not found.next:
    return False
  elif end is not None and abs(end - start) not in (count, count - 1):
    return False
  found.spans.append(row.span(3))
  found.rows.append(row.span())
  found.count += count
  found.sure = True
  if start is not None:
    found.next = start + count if end is None else end + found.step * (abs(end - start) == count - 1)
  return True


def _row_candidate(
    text: str, spans: list[tuple[int, int]], rows: list[tuple[int, int]]
) -> Iterator[tuple[Candidate | None, int, int]]:
  pieces = tuple(m.span() for a, b in spans for m in _LETTERS.finditer(text, a, b))
  if not pieces:
    return
  letters = "".join(text[a:b] for a, b in pieces)
  yield Candidate(pieces, letters, "alignment", evidence=Evidence.DECLARED), *rows[0]
  yield from ((None, *row) for row in rows[1:])


def _interleaved(text: str, rows: list[re.Match]) -> Iterator[tuple[Candidate | None, int, int]]:
  """Blocks of rows of equal width, one below the other, the same names in each block."""
  blocks: list[list[re.Match]] = []
  for row in rows:
    last = blocks[-1][-1] if blocks else None
    if last and _BETWEEN_ROWS.fullmatch(text, last.end(), row.start()) and _same_shape(text, last, row):
      blocks[-1].append(row)
    else:
      blocks.append([row])
  blocks = [block for block in blocks if len(block) > 1]
  i = 0
  while i < len(blocks):
    group = [blocks[i]]
    names = [row.group(1) for row in blocks[i]]
    width = len(blocks[i][0].group(3))
    while i + 1 < len(blocks) and width >= 20 and _goes_on(text, group[-1], blocks[i + 1], names, width):
      i += 1
      group.append(blocks[i])
    i += 1
    gapped = any(not row.group(3).replace(" ", "").isalpha() for block in group for row in block)
    # `MKRISTTITT...ITITTGNGAG` in every row, at one place: letters are left out there.
    dots = {row.group(3).find("...") for row in group[0]}
    shortened = len(dots) == 1 and dots != {-1}
    if len(set(names)) == len(names) and (len(group) > 1 or gapped) and not shortened:
      for column in zip(*group):
        yield from _row_candidate(text, [row.span(3) for row in column], [row.span() for row in column])


def _same_shape(text: str, above: re.Match, row: re.Match) -> bool:
  def place(match: re.Match) -> int:
    return match.start(3) - text.rfind("\n", 0, match.start() + 1) - 1 if match.start() else match.start(3)

  return len(above.group(3)) == len(row.group(3)) >= 6 and place(above) == place(row)


def _goes_on(text: str, block: list[re.Match], after: list[re.Match], names: list[str], width: int) -> bool:
  between = text[block[-1].end() : after[0].start()]
  return (
      len(between) < 2000
      and 2 <= between.count("\n") <= _MOST_LINES_BETWEEN + 1
      and [row.group(1) for row in after] == names
      and len(block[0].group(3)) == width >= len(after[0].group(3))
  )


def _phylip(text: str) -> Iterator[tuple[Candidate | None, int, int]]:
  """Sequential and interleaved PHYLIP: the head says how many rows of how many letters follow."""
  for head in _PHYLIP.finditer(text):
    taxa, width = int(head.group(1)), int(head.group(2))
    if not 2 <= taxa <= 2000 or width < 6:
      continue
    rows: list[list[tuple[int, int]]] = []
    lengths: list[int] = []
    position = head.end()
    turn = 0
    while min(lengths, default=0) < width or len(rows) < taxa:
      line = _LINE.match(text, position)
      blank = not line.group().strip()
      if not line.group() or (blank and len(rows) < taxa) or not (blank or _SIGNS.search(line.group())):
        break
      position = line.end()
      if blank:
        continue
      begin = line.start()
      if len(rows) < taxa:
        name = re.match(r"[ \t]*\S{1,10}[ \t]*|[ \t]*\S+[ \t]+", line.group())
        begin += _name_end(line.group(), name)
        rows.append([])
        lengths.append(0)
        turn = len(rows) - 1
      else:
        turn = (turn + 1) % taxa
      for signs in _SIGNS.finditer(text, begin, line.end()):
        rows[turn].append(signs.span())
        lengths[turn] += signs.end() - signs.start()
    if len(rows) == taxa and all(length == width for length in lengths):
      for i, row in enumerate(rows):
        whole = (head.start(), position) if not i else (position, position)
        yield from _row_candidate(text, row, [whole])


def _name_end(line: str, name: re.Match) -> int:
  """Where a row's letters begin: behind the first word, or after ten characters (strict PHYLIP)."""
  word = re.match(r"[ \t]*\S+[ \t]+(?=\S)", line)
  return word.end() if word else name.end()
