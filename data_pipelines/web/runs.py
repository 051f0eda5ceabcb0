"""Candidates in running text: words of nucleotides or residues, with the pieces that belong to them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from data_pipelines.web import edges, joints, language
from data_pipelines.web.candidates import Candidate
from data_pipelines.web.chains import Chain
from data_pipelines.web.config import WebConfig

# Any sequence in running text holds one of these. They are searched one by one, and each begins with a set of letters
# (the word's beginning is asked for after its first letter): so each is a fast scan.
_BEGINS = r"(?<![A-Za-z][A-Za-z])"
_SEEDS = (
    re.compile(r"[ACGTUNacgtun]{6,}"),
    re.compile(r"[ACDEFGHIKLMNPQRSTVWYX]{6,}"),
    re.compile(rf"[ACGTUN]{_BEGINS}[ACGTUN]{{1,4}}(?:[ \u00a0-][ACGTUN]{{2,5}}){{2,}}(?![A-Za-z])"),
    re.compile(rf"[acgtu]{_BEGINS}[acgtu]{{2}}(?:[ -][acgtu]{{3}}){{4,}}(?![A-Za-z])"),
    re.compile(rf"[ACDEFGHIKLMNPQRSTVWY]{_BEGINS}[ACDEFGHIKLMNPQRSTVWY]{{4}}(?: [ACDEFGHIKLMNPQRSTVWY]{{5}}){{2,}}"),
)
# Letters one by one: of nucleotides, of residues.
_SINGLES = (
    (re.compile(rf"[ACGTU]{_BEGINS}(?:[ \t]?[|, \t·-][ \t]?[ACGTU]){{7,}}(?![A-Za-z])"), True),
    (re.compile(rf"[ACDEFGHIKLMNPQRSTVWY]{_BEGINS}(?:(?: | \| ?|-)[ACDEFGHIKLMNPQRSTVWY]){{7,}}(?![A-Za-z])"), False),
)
_DEOXY_END = re.compile(r"([ACGU]{12,})(?:(d)T(d)T|(d)TT)")
_GLUED = re.compile(r"[ACGT]+")


class Seed(NamedTuple):
  """Where a candidate may be: its letters [start, end), and whether they stand one by one."""

  start: int
  end: int
  nucleotides: bool
  singles: bool


def seeds(text: str) -> list[Seed]:
  """All seeds of a text in order; most pages have few or none."""
  found = [Seed(*match.span(), True, False) for pattern in _SEEDS for match in pattern.finditer(text)]
  found += [Seed(*m.span(), nucleotides, True) for pattern, nucleotides in _SINGLES for m in pattern.finditer(text)]
  return sorted(found, key=lambda seed: seed.start)


def find(text: str, seeds: list[Seed], claimed: list[tuple[int, int]], config: WebConfig) -> Iterator[Candidate]:
  """Yields the candidates of running text in order; every letter is in one candidate at most.

  Args:
    text: the document.
    seeds: its seeds.
    claimed: spans that other finders took, sorted; nothing is looked for there.
    config: thresholds.
  """
  done, claim = 0, 0
  for seed in seeds:
    if seed.start < done:
      continue
    while claim < len(claimed) and claimed[claim][1] <= seed.start:
      done = max(done, claimed[claim][1])
      claim += 1
    limit = claimed[claim][0] if claim < len(claimed) else len(text)
    if seed.start < done or seed.start >= limit:
      continue
    if seed.singles:
      done = seed.end
      yield _single_letters(text, seed)
      continue
    for candidate, after in _at(text, seed.start, done, limit, config):
      done = max(done, after)
      if candidate:
        yield candidate


def _single_letters(text: str, seed: Seed) -> Candidate:
  pieces = tuple((i, i + 1) for i in range(seed.start, seed.end) if text[i].isalpha())
  return Candidate(pieces, "".join(text[a] for a, _ in pieces), "single_letters", seed.nucleotides)


def _at(text: str, position: int, first: int, limit: int, config: WebConfig) -> Iterator[tuple[Candidate | None, int]]:
  """Candidates of the word around a seed, each with the place up to which the text is dealt with."""
  start, end = joints.word_at(text, position, first)
  end = min(end, limit)
  # `\n` written out before a sequence in a string: the letter belongs to the escape.
  if start and text[start - 1] == "\\" and text[start] in "ntr" and end - start > 1:
    start += 1
  word = text[start:end]
  if joints.is_nucleotides(word):
    yield from _chain(text, start, end, first, limit, nucleotides=True)
  elif joints.is_protein(word):
    if len(word) >= config.min_glued and joints.dna_share(word) > 0.7:
      yield from _glued(text, start, end, config)
    elif language.is_word(word) or (len(word) < 10 and language.protein_score([word]) <= config.bits_declared):
      yield Candidate(((start, end),), word, "text", False, code="words"), end
    else:
      yield from _chain(text, start, end, first, limit, nucleotides=False)
  else:
    yield from _glued(text, start, end, config)


def _glued(text: str, start: int, end: int, config: WebConfig) -> Iterator[tuple[Candidate | None, int]]:
  """Nucleotides inside a longer word: cells of a table that ran together, an RNA with a deoxy end."""
  word = text[start:end]
  if match := _DEOXY_END.fullmatch(word):
    tail = [(start + match.end(i), start + match.end(i) + 1) for i in (2, 3) if match.group(i)]
    tail = tail or [(end - 2, end)]
    pieces = ((start, start + match.end(1)), *tail)
    yield Candidate(pieces, match.group(1) + "TT", "text", True), end
    return
  for match in _GLUED.finditer(word):
    a, b = start + match.start(), start + match.end()
    if b - a < config.min_glued:
      continue
    code = "modified" if edges.is_modified(text, a, b) else ""
    # A capital before it may belong to the name or to the sequence: nobody knows.
    if not code and a > start and text[a - 1].isupper():
      code = "attached"
    yield Candidate(((a, b),), match.group(), "text", True, code=code), end
  yield None, end


def _chain(
    text: str, start: int, end: int, first: int, limit: int, *, nucleotides: bool
) -> Iterator[tuple[Candidate | None, int]]:
  chain = Chain(text, start, end, nucleotides=nucleotides)
  chain.gather(first, limit)
  for candidate in chain.candidates():
    yield candidate, chain.end
