"""Where a candidate of running text ends: marks, labels, modifications, and what it has grown together with."""

import re

from data_pipelines.web import joints, language
from data_pipelines.web.cues import MARK_AFTER, MARK_BEFORE

_MODIFIED_AFTER = re.compile(
    r"(?:[rmdlfip+][ACGTU])+|\*[ACGTUNacgtun]{1,3}(?![A-Za-z])|\+[ACGTU]|/i[\w-]+/[ACGTU]|\[[\w-]{1,12}\][ACGTU]"
    r"|\((?![ACGTUNacgtun]+\))[\w-]{1,8}\)[A-Z]{2}|[(\[][ACGTU](?:/?[ACGTU])+[)\]]"
)
_MODIFIED_BEFORE = re.compile(
    r"(?:(?<![a-zA-Z])(?:[rmdlfip+][ACGTU])+|(?<![A-Za-z])[ACGTUNacgtun]{1,3}\*|[ACGTU]/i[\w-]{1,15}/"
    r"|[ACGTU]\[[\w-]{1,12}\]|[A-Z]{2}\((?![ACGTUNacgtun]+\))[\w-]{1,8}\)|[(\[][ACGTU](?:/[ACGTU])+[)\]])$"
)
# `GGGGACGA: TCGTCGG`: halves of a duplex; not `looked at: ACGT…`, `TAG: ACGT…`.
_PAIRED_BEFORE = re.compile(r"(?<![A-Za-z])[ACGTUNacgtun]{5,}: ?$")
_PAIRED_AFTER = re.compile(r": ?[ACGTUNacgtun]{5,}(?![A-Za-z])")
_TOKEN_BEFORE = re.compile(r"[A-Za-z0-9+/=]*$")
_TOKEN_AFTER = re.compile(r"[A-Za-z0-9+/=]*")
_CAPITALS_BEFORE = re.compile(r"\b([A-Z]+)\s{1,2}$")
_CAPITALS_AFTER = re.compile(r"\s{1,2}([A-Z]+)\b")
_CLEAR = 15  # Letters of nucleotides that are clear whatever they have grown together with.


def is_marked(text: str, start: int) -> bool:
  """Whether 5' or 3' stands before the letters that begin at `start`."""
  return bool(MARK_BEFORE.search(text[max(0, start - 60) : start]))


def is_marked_after(text: str, end: int) -> bool:
  """Whether 5' or 3' stands behind the letters that end at `end`."""
  return bool(MARK_AFTER.match(text, end, end + 60))


def is_modified(text: str, start: int, end: int) -> bool:
  """Whether the sequence goes on at one of its ends with what has no plain reading.

  That is a modified base or residue, a choice of two bases, or a second half behind a colon.
  """
  before = text[max(0, start - 24) : start]
  if _MODIFIED_AFTER.match(text, end) or _MODIFIED_BEFORE.search(before):
    return True
  return bool(_PAIRED_AFTER.match(text, end, end + 24) or _PAIRED_BEFORE.search(before))


def grows(sign: str) -> bool:
  """Whether a letter, digit or underscore beside a word belongs to it."""
  # Chinese or Japanese script beside a sequence does not.
  return sign == "_" or (sign.isalnum() and ord(sign) < 0x2E80)


def unclear(text: str, start: int, end: int) -> str:
  """A reason where the letters [start, end) have no clean ends, else ""."""
  before, after = text[max(0, start - 2) : start], text[end : end + 1]
  escape = before in ("\\n", "\\t", "\\r")
  grown = (grows(before[-1:]) and not escape) or (grows(after) and not is_marked_after(text, end))
  if grown and (end - start < _CLEAR or not joints.only(text[start:end], joints.NUCLEOTIDES)):
    return "attached"
  # A quoted string that holds more than letters: `".VKVYAPAS"`.
  if before[-1:] in (".", "+", "~", "#", "@", "%", "&") and before[:-1] in ("'", '"', "`"):
    return "attached"
  return "encoded" if end - start < 2 * _CLEAR and _is_code(text, start, end) else ""


def _is_code(text: str, start: int, end: int) -> bool:
  left = _TOKEN_BEFORE.search(text[max(0, start - 60) : start]).group()
  right = _TOKEN_AFTER.match(text, end, end + 60).group()
  # `/56-FAM/…/3IABkFQ/` are labels of an oligonucleotide.
  if not left.endswith("/") and not (right.startswith("/") and right.endswith("/")):
    token = left + right
    mixed = any(c.isdigit() for c in token) and any(c.islower() for c in token) and any(c.isupper() for c in token)
    if len(token) >= 12 and mixed and not token.isalnum():
      return True
  before = text[max(0, start - 100) : start]
  return bool(before) and not before[-1].isspace() and "://" in before.split()[-1]


def is_among_codes(text: str, start: int, end: int) -> bool:
  """Whether a word of capitals without meaning, with letters of no residue, stands directly before or behind.

  In cipher text, keys and word puzzles a stretch of residues comes up by chance.
  """
  beside = (_CAPITALS_BEFORE.search(text[max(0, start - 40) : start]), _CAPITALS_AFTER.match(text, end, end + 40))
  words = [match.group(1) for match in beside if match]
  return any(
      len(word) >= 4 and not joints.is_protein(word) and not joints.is_nucleotides(word) and language.is_random(word)
      for word in words
  )


def short_groups(text: str, words: list[str], kind: str, start: int, end: int) -> tuple[str, str]:
  """For nucleotides in pieces of less than ten letters: a reason against them, and their layout.

  Genotypes, codons, words and serial numbers look so too: groups must be of one length, and the judge asks for a word
  that calls them a sequence.
  """
  if is_marked(text, start):
    return "", "text"
  if kind == "hyphen" and len(words) > 2 and text[end : end + 1] == "-" and grows(text[end + 1 : end + 2]):
    return "encoded", "text"
  longest, total = max(map(len, words)), sum(map(len, words))
  uneven = {len(word) for word in words[:-1]} != {longest}
  if longest <= 2 or total < 8 or (kind == "space" and (uneven or total < 10)):
    return "short_groups", "text"
  return "", "groups"
