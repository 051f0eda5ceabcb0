"""Gathering the pieces of one sequence in running text: to the left, to the right, over line ends."""

import re
from collections.abc import Iterator

from data_pipelines.web import edges, joints
from data_pipelines.web.candidates import Candidate

_LEFT = re.compile(r"([A-Za-z]+)(?:[ \u00a0^(\[-]|\*\*|</?[a-z]{1,6}>|[\u00ad\u200b-\u200d]+)$")
_SEQ_ID = re.compile(r"[\s,;]*[(\[]?\s*SEQ\.? ?ID")
_NAME_GOES_ON = re.compile(r"-([A-Za-z]+)")
_TO_LINE_END = re.compile(r"[^\n<]*")
_BARE_LINE = re.compile(r"[\s\"'`>.#/*|]*")
_WRAPPED = 40  # Letters of the shortest line that counts as one of a wrapped sequence.
_TERMINALS = (72, 78, 79)  # Widths, besides whole tens, at which programs break lines.
_USUAL = (60, 70, 80)  # Widths at which lines are one sequence even if the last is full.
_COMPLEMENT = str.maketrans("ACGTUN", "TGCAAN")


class Chain:
  """Pieces of one candidate as they are gathered, and the joints between them."""

  def __init__(self, text: str, start: int, end: int, *, nucleotides: bool):
    """Begins with the word [start, end)."""
    self._text = text
    self._nucleotides = nucleotides
    self._pieces = [(start, end)]
    self._kinds: list[str] = []
    self._upper = text[start:end].isupper()
    self._longest = end - start
    self._tens = end - start == 10
    self._marked = False
    self._is_list = False

  @property
  def end(self) -> int:
    return self._pieces[-1][1]

  def gather(self, first: int, limit: int) -> None:
    """Adds the pieces on both sides, between `first` and `limit`."""
    self._extend_left(first)
    self._marked = edges.is_marked(self._text, self._pieces[0][0])
    self._extend_right(limit)
    self._trim()

  def candidates(self) -> Iterator[Candidate]:
    """One candidate of all pieces, or one of each where they are a list."""
    words = [self._word(i) for i in range(len(self._pieces))]
    if self._is_list:
      cuts = [i for i, kind in enumerate(self._kinds, 1) if kind == "line"]
      for first, last in zip([0, *cuts], [*cuts, len(words)]):
        yield self._candidate(first, last)
      return
    together = True
    only_spaces = self._kinds and set(self._kinds) == {"space"}
    if only_spaces and not self._marked and not _SEQ_ID.match(self._text, self.end):
      together = joints.keeps_spaces(words) if self._nucleotides else joints.keeps_spaces_protein(words)
    if together:
      yield self._candidate(0, len(words))
    else:
      yield from (self._candidate(i, i + 1) for i in range(len(words)))

  def _word(self, i: int) -> str:
    return self._text[slice(*self._pieces[i])]

  def _add(self, at: int, piece: tuple[int, int], kind: str) -> None:
    self._pieces.insert(at, piece)
    self._kinds.insert(min(at, len(self._kinds)), kind)
    self._upper = self._upper or self._text[slice(*piece)].isupper()
    self._longest = max(self._longest, piece[1] - piece[0])
    self._tens = self._tens and piece[1] - piece[0] == 10

  def _accepts(self, start: int, end: int, kind: str) -> bool:
    """Whether the word can be the next piece behind (or before) a joint of this kind."""
    word = self._text[start:end]
    if not self._nucleotides:
      last = self._pieces[-1][1] - self._pieces[-1][0]
      whole = kind != "hyphen" or min(len(word), last) >= 6 or max(len(word), last) >= 20
      return whole and joints.protein_piece(word, self._tens and len(self._pieces) > 2 and len(word) <= 10)
    if kind in ("markup", "soft", "cut", "paren"):
      return joints.only(word, joints.NUCLEOTIDES)
    if kind == "hyphen" and len(word) == 1:
      return False
    return joints.nucleotide_piece(word, upper=self._upper, longest=self._longest)

  def _extend_left(self, first: int) -> None:
    """Short pieces before the first seed (`GC ATGGCC…`); they stand on the same line."""
    text = self._text
    while True:
      start = self._pieces[0][0]
      begin = max(first, start - 40)
      match = _LEFT.search(text[begin:start])
      if not match or (match.start() == 0 and begin > first):
        return
      a, b = begin + match.start(1), begin + match.end(1)
      found = joints.joint(text, b)
      if not found or found[1] != start or not self._accepts(a, b, found[0]):
        return
      # `an RNA ACGU…`: codes of ambiguity are believed behind a sequence only.
      if self._nucleotides and not joints.only(text[a:b], joints.NUCLEOTIDES):
        return
      # `Nogo-A ATGG…`, `806R GGAC…`: a name's end.
      if a and (edges.grows(text[a - 1]) or (text[a - 1] == "-" and not edges.is_marked(text, a))):
        return
      self._add(0, (a, b), found[0])

  def _extend_right(self, limit: int) -> None:
    text = self._text
    letters = sum(b - a for a, b in self._pieces)
    wrap = _Wrap(text, self._pieces[0][0], letters, nucleotides=self._nucleotides)
    in_parentheses = self._kinds.count("paren") % 2 == 1
    while True:
      last = self.end
      found = joints.joint(text, last)
      if not found or found[1] >= limit:
        break
      kind, start = found
      end = min(joints.WORD.match(text, start).end(), limit)
      # The word goes on (`BC_0062`, `Q9T0Q8`), or it begins a name (`… R-primer`).
      grown = edges.grows(text[end : end + 1]) and not edges.is_marked_after(text, end)
      if grown or not self._accepts(start, end, kind) or (end - start <= 3 and self._is_name(end)):
        break
      if kind == "number" and (int(text[last:start]) not in (letters, letters + 1) or len(self._pieces) < 2):
        break
      if kind == "quote" and "+" not in text[last:start] and letters < 20:
        break
      if kind == "paren" and in_parentheses == (text[last] not in ")]"):
        break
      in_parentheses ^= kind == "paren"
      if kind == "line" and not wrap.continues(last, start, open_mark=self._is_open(last)):
        break
      self._add(len(self._pieces), (start, end), kind)
      letters += end - start
      wrap.letters += end - start
    self._is_list = wrap.is_list()

  def _is_open(self, end: int) -> bool:
    """Whether the sequence began with 5' and has not come to 3' at `end`."""
    return self._marked and not edges.is_marked_after(self._text, end)

  def _is_name(self, end: int) -> bool:
    name = _NAME_GOES_ON.match(self._text, end)
    return bool(name) and not joints.is_nucleotides(name.group(1))

  def _trim(self) -> None:
    """Takes words off the ends: `… AGTC AT 55 °C`, `CAT ATGGCC…`, `EGFP MVSKGEELFTGVV…`."""
    if not self._nucleotides:
      lengths = [b - a for a, b in self._pieces[:2]]
      if len(lengths) > 1 and self._kinds[0] == "space" and lengths[0] <= 8:
        if lengths[0] < min(self._longest / 2, lengths[1]):
          self._drop(0)
      return
    while len(self._pieces) > 1 and joints.is_short_word(self._word(-1)):
      if self._text[self.end : self.end + 1] not in (" ", "") or edges.is_marked_after(self._text, self.end):
        break
      self._drop(-1)
    while len(self._pieces) > 1 and joints.is_short_word(self._word(0)) and self._kinds[0] == "space":
      start = self._pieces[0][0]
      if not start or self._text[start - 1] in "\"'“‘(|:\n\t" or edges.is_marked(self._text, start):
        break
      self._drop(0)

  def _drop(self, at: int) -> None:
    self._pieces.pop(at)
    self._kinds.pop(at)

  def _candidate(self, first: int, last: int) -> Candidate:
    text = self._text
    pieces = tuple(self._pieces[first:last])
    words = [text[a:b] for a, b in pieces]
    kinds = self._kinds[first : last - 1]
    start, end = pieces[0][0], pieces[-1][1]
    code, how = "", "text"
    if edges.is_modified(text, start, end):
      code = "modified"
    elif not self._nucleotides and edges.is_among_codes(text, start, end):
      how = "among_codes"
    elif self._nucleotides and kinds and set(kinds) <= {"space", "hyphen"} and _are_short([len(w) for w in words]):
      code, how = edges.short_groups(text, words, kinds[0], start, end)
    code = code or edges.unclear(text, start, end)
    return Candidate(pieces, "".join(words), how, self._nucleotides, code=code)


def _are_short(lengths: list[int]) -> bool:
  return min(lengths) < 8 and max(lengths) < 10


class _Wrap:
  """Decides whether a sequence goes on in the next line: wrapped lines are equally long but for the last."""

  def __init__(self, text: str, start: int, letters: int, *, nucleotides: bool):
    self._text = text
    self._nucleotides = nucleotides
    self._prefix = start - text.rfind("\n", max(0, start - 200), start) - 1
    self._bare = self._prefix < 200 and bool(_BARE_LINE.fullmatch(text, start - self._prefix, start))
    self._line = start  # Where the letters of the current line begin.
    self._width = 0  # Letters of a full line, once known.
    self._open = False  # Whether a mark, not the width, joined two lines.
    self.letters = letters  # Of the current line.

  def continues(self, last: int, start: int, *, open_mark: bool) -> bool:
    """Whether the line that begins with the piece at `start` belongs to the sequence; counts it if so.

    Args:
      last: where the current line's last piece ends.
      start: where the next line's first piece begins.
      open_mark: the sequence began with 5' and has not come to 3' yet.
    """
    line = _TO_LINE_END.match(self._text, start, start + 2000).group().rstrip(" \t\r\\\"',;.)*`|-")
    words = line.split()
    bare = all(joints.is_nucleotides(w) if self._nucleotides else joints.is_protein(w) for w in words)
    letters = len(line) - line.count(" ")
    slack = 0 if self._nucleotides else 3
    if open_mark and self._nucleotides:
      goes_on = self._open = True
    elif not bare:
      # Prose that is wrapped at the margin, in the middle of a sequence.
      prose = self._nucleotides and not self._bare and "\t" not in line and len(words[0].rstrip(",.;:)")) >= 4
      goes_on = prose and 60 <= self._prefix + self.letters <= 200
    elif self._bare or self._width:
      full = self._width or self.letters
      goes_on = self._is_width(full) and abs(self.letters - full) <= slack and letters <= full + slack
      goes_on = goes_on and not self._is_other_strand(self._text[self._line : last], line)
    else:
      # The first line has other text before the sequence: lines are equally wide, not equally full.
      wide = 0.8 <= (self._prefix + self.letters) / letters <= 1.25 if letters else False
      goes_on = wide and letters >= _WRAPPED and self.letters >= 20
    if goes_on:
      self._width = self._width or (self.letters if self._bare else letters)
      self._line = start
      self.letters = 0
    return goes_on

  def is_list(self) -> bool:
    """Whether the lines are rather a list of equally long sequences: the last is full, and the width unusual."""
    bare = self._bare and self._width and not self._open
    return bool(bare) and self.letters == self._width and self._width not in _USUAL

  def _is_width(self, letters: int) -> bool:
    return letters >= _WRAPPED and (not self._nucleotides or letters % 10 == 0 or letters in _TERMINALS)

  def _is_other_strand(self, line: str, below: str) -> bool:
    return len(line) == len(below) and line.upper().translate(_COMPLEMENT) == below.upper()
