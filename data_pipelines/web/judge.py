"""Whether a candidate is a sequence, and of which modality."""

import re

from bsm_jax.tokenizer import Modality
from data_pipelines.web import language
from data_pipelines.web.candidates import Candidate, Evidence
from data_pipelines.web.config import WebConfig
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

_SECONDARY = frozenset("HECTSGBL")
_REPEATED = re.compile(r"(.)(?=\1)")


# Verdicts that more evidence can change.
OPEN = frozenset(
    "alphabet encoded low_complexity lower_case no_context secondary_structure short_groups single_letters"
    " undetermined".split()
)


def judge(candidate: Candidate, evidence: Evidence, config: WebConfig) -> Modality | str:
  """The modality of a candidate, or the reason why it is no sequence.

  Args:
    candidate: as a finder made it.
    evidence: what its layout or its surroundings say.
    config: thresholds.

  Returns:
    A `Modality`, or one of `CANDIDATE_REASONS`. Nucleotides with U are RNA, all others DNA: the rule goes by the
    letters that are written, because prose speaks of RNA beside DNA primers of it.
  """
  if candidate.code:
    return candidate.code
  letters = candidate.letters
  if not letters:
    return "too_short"
  nucleotides = candidate.nucleotides if candidate.nucleotides is not None else reads_as_nucleotides(letters)
  if candidate.how == "single_letters" and evidence < Evidence.FRAMED:
    return "single_letters"
  if candidate.how == "groups" and evidence < Evidence.NEAR:
    return "short_groups"
  if candidate.how == "among_codes" and evidence < Evidence.FRAMED:
    return "encoded"
  return _nucleotides(letters, evidence, config) if nucleotides else _protein(candidate, evidence, config)


def _nucleotides(letters: str, evidence: Evidence, config: WebConfig) -> Modality | str:
  if len(letters) < config.min_nucleotides:
    return "too_short"
  upper = letters.upper()
  if not only(upper, IUPAC):
    return "attached"
  bases = count(upper, DNA_LETTERS + "U")
  few = bases < config.determined * len(upper) and bases < 4 * config.min_nucleotides
  if bases < config.min_determined or (few and evidence < Evidence.DECLARED):
    return "undetermined"
  if count(upper, NUCLEOTIDES) < len(upper) < config.min_mixed:  # CATARACT
    if language.is_word(upper):
      return "words"
    if evidence < Evidence.NEAR:
      return "no_context"
  if len(set(upper)) == len(upper):
    return "alphabet"
  kinds = sum(base in upper for base in DNA_LETTERS + "U")
  if (kinds == 1 and evidence < Evidence.DECLARED) or (
      kinds == 2 and len(upper) < config.min_mixed and evidence < Evidence.NEAR
  ):
    return "low_complexity"
  if letters.islower() and evidence < Evidence.FRAMED:
    shortest = config.min_lower_case if evidence < Evidence.NEAR else config.min_nucleotides
    if len(letters) < shortest or "n" in letters or kinds < 3:
      return "lower_case"
  if "U" not in upper:
    return Modality.DNA
  # Synthetic RNA often ends in two deoxythymidines; written 3' to 5' it begins with them.
  return "mixed_t_and_u" if "T" in upper[2:-2] else Modality.RNA


def _protein(candidate: Candidate, evidence: Evidence, config: WebConfig) -> Modality | str:
  shortest, bits = {
      Evidence.DECLARED: (config.min_residues, config.bits_declared),
      Evidence.FRAMED: (config.min_residues, config.bits_framed),
      Evidence.NEAR: (config.min_residues_near, config.bits_near),
      Evidence.BARE: (config.min_residues_bare, config.bits_bare),
  }[evidence]
  upper = candidate.letters.upper().rstrip("*")
  if len(upper) < config.min_residues:
    return "too_short"
  if upper.strip(PROTEIN_LETTERS):
    return "attached"
  known = {Evidence.DECLARED: 0.5, Evidence.BARE: 0.95 if len(upper) >= 40 else 1}.get(evidence, 0.85)
  if count(upper, AMINO_ACIDS) < known * len(upper):
    return "undetermined"
  distinct = len(set(upper))
  ordered = upper == "".join(sorted(set(upper)))
  if distinct == len(upper) and (len(upper) >= 20 or (evidence < Evidence.DECLARED and (len(upper) >= 10 or ordered))):
    return "alphabet"
  score = 0.0 if language.is_word(upper) else language.protein_score(_words(candidate))
  if score <= config.bits_declared:
    return "words"
  if score <= bits:
    return "no_context"
  repeats = len(_REPEATED.findall(upper[:400])) / min(len(upper), 400)
  coil = repeats > 0.25 and _SECONDARY.issuperset(upper) and 2 * count(upper, "HEC") >= len(upper)
  if distinct > 2 and coil and evidence < Evidence.DECLARED:
    return "secondary_structure"
  poor = distinct < 4 and evidence < Evidence.FRAMED and (evidence < Evidence.NEAR or len(upper) < config.min_mixed)
  if distinct < 2 or repeats > 0.6 or poor or set(upper) == {"H", "P"}:
    return "low_complexity"
  return "no_context" if len(upper) < shortest else Modality.PROTEIN


def _words(candidate: Candidate) -> list[str]:
  """The letters piece by piece, because capitals in prose are words with spaces between them."""
  if candidate.how == "three_letter" or candidate.how == "seqres":
    return [candidate.letters]
  words, at = [], 0
  for start, end in candidate.pieces:
    words.append(candidate.letters[at : at + end - start])
    at += end - start
  return words
