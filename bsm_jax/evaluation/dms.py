"""Assays of deep mutational scanning: variants of a sequence and how fit each was measured to be, from their files.

Three published layouts are read, plain or gzip:

* `read_evo`: tab-separated, `wt_seq_nt`, `mt_seq_nt`, `fitness` (Evo's panel, Nguyen et al. 2024).
* `read_proteingym`: comma-separated, `mutant` (A1P:D2N, from 1), `mutated_sequence`, `DMS_score`, `DMS_score_bin`
  (ProteinGym v1.3), with the wild type in a reference file (`proteingym_reference`).
* `read_rnagym`: `mutant` (C10A,U56C, from 1), `DMS_score`, `sequence` (RNAGym v0.1.1, NABench).

Nothing is guessed and nothing is silently left out: every reader checks that mutants are mutants of the wild type.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from bsm_jax import codons, table_files, tokenizer
from bsm_jax.tokenizer import Modality

_SUBSTITUTION = re.compile(r"([A-Za-z*])(\d+)([A-Za-z*])")
# Less than this share of letters in common with its wild type, and a sequence of its length is no mutant of it.
_LEAST_IN_COMMON = 0.5


class AssayError(ValueError):
  """A file that is no assay as it should be; the message names file, line and remedy."""


def _at(path: str, line: int, message: str) -> AssayError:
  return AssayError(f"{path}, line {line}: {message}")


@dataclasses.dataclass(frozen=True)
class Variant:
  """Attributes: `letters` of its sequence, `score` (higher is fitter), `fit` (ProteinGym's 0 or 1, or None), `line`."""

  letters: str
  score: float
  fit: int | None
  line: int


@dataclasses.dataclass(frozen=True)
class Assay:
  """One study.

  Attributes:
    name: of the study.
    path: its file.
    modality: of the letters. For `dna` they are a gene's coding sequence.
    wild_types: their letters; more than one where a study holds several domains.
    variants: in the order of the file.
    counts: of what was left out or is notable, by reason.
  """

  name: str
  path: str
  modality: Modality
  wild_types: tuple[str, ...]
  variants: tuple[Variant, ...]
  counts: dict[str, int]

  @property
  def scores(self) -> np.ndarray:
    """float64 [variants]."""
    return np.array([variant.score for variant in self.variants])


@dataclasses.dataclass(frozen=True)
class Rules:
  """What to do with rows that a clean file does not have.

  Attributes:
    missing: a row without a score: "error", or "drop" and count it.
    duplicates: a variant that is there twice: "error", "drop" all but the first, or "keep" all; counted.
  """

  missing: str = "error"
  duplicates: str = "error"


def locate(root: str | epath.Path, name: str) -> epath.Path:
  """A data file in a folder, plain or as `.gz`; FileNotFoundError names both."""
  for path in (epath.Path(root) / name, epath.Path(root) / f"{name}.gz"):
    if path.exists():
      return path
  raise FileNotFoundError(f"neither {name} nor {name}.gz is in {root}")


# --- Tables ---


def _rows(path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
  """Line number and fields by column, for each row of a table that must have these columns."""
  with table_files.open_table(path, AssayError) as table:
    table.require(columns, f"Is it this layout? It needs {', '.join(columns)}.")
    yield from table


def _number(path: str, line: int, column: str, text: str) -> float:
  """A finite number, or nan where there is none (empty, `nan`, `NA`). Raises AssayError for anything else."""
  text = text.strip()
  if text.lower() in ("", "nan", "na"):
    return math.nan
  try:
    value = float(text)
  except ValueError:
    value = math.inf
  if math.isinf(value):
    raise _at(path, line, f"{column} is {text!r}, which is no finite number: correct the row, or leave it"
                     " out")  # fmt: skip
  return value


def _letters(path: str, line: int, column: str, text: str, modality: Modality) -> str:
  """Letters as they are written here: upper case, T in DNA and U in RNA. Raises AssayError for what is no letter."""
  text = text.strip()
  if not text:
    raise _at(path, line, f"no sequence in column {column!r}: leave the row out")
  try:
    tokenizer.encode(text, modality)
  except tokenizer.TokenizerError as error:
    raise AssayError(f"{path}, line {line}, column {column!r}: {error}") from None
  return _spelled(text, modality)


def _spelled(letters: str, modality: Modality) -> str:
  """Upper case; nucleotides with T in DNA and U in RNA."""
  of = {Modality.DNA: ("U", "T"), Modality.RNA: ("T", "U")}
  return letters.upper().replace(*of[modality]) if modality in of else letters.upper()


class _Collector:
  """Variants as they are read, by the rules for missing scores and duplicates."""

  def __init__(self, path: str, rules: Rules):
    self.path, self.rules = path, rules
    self.variants: list[Variant] = []
    self.counts: dict[str, int] = {}
    self._lines: dict[object, int] = {}

  def count(self, what: str) -> None:
    self.counts[what] = self.counts.get(what, 0) + 1

  def add(self, key: object, column: str, score_text: str, letters: str, line: int, fit: int | None = None) -> None:
    """A row. Args: `key`, what makes two rows the same variant; the others as they stand in the file."""
    score = _number(self.path, line, column, score_text)
    if math.isnan(score):
      if self.rules.missing == "error":
        raise _at(self.path, line, f"no score in column {column!r} ({score_text.strip() or 'empty'}). A variant without"
                  " a score cannot be ranked: leave the row out, or say --missing=drop.")
      return self.count("rows without a score, left out")
    first = self._lines.setdefault(key, line)
    if first != line:
      if self.rules.duplicates == "error":
        raise _at(self.path, line, f"the variant of line {first} again, which would count twice: leave one"
                         " out, or say --duplicates=drop (the first counts) or --duplicates=keep")  # fmt: skip
      self.count(f"duplicates, {'left out' if self.rules.duplicates == 'drop' else 'kept'}")
      if self.rules.duplicates == "drop":
        return
    self.variants.append(Variant(letters, score, fit, line))

  def assay(self, name: str, modality: Modality, wild_types: tuple[str, ...]) -> Assay:
    if not self.variants:
      raise AssayError(f"{self.path}: no variant with a score ({self.counts or 'an empty table'}). Get the file again.")
    return Assay(name, self.path, modality, wild_types, tuple(self.variants), self.counts)


# --- Mutations ---


def substitute(
    path: str, line: int, letters: str, mutant: str, modality: Modality = Modality.PROTEIN, *, undo: bool = False
) -> str:
  """Applies substitutions such as `A1P:D2N` (or `C10A,U56C`) to a sequence, or takes them back.

  Args:
    path, line: for error messages.
    letters: of the wild type; of the mutant to `undo`.
    mutant: the substitutions; positions from 1; T and U are the same.
    modality: of the letters.
    undo: from the mutant to the wild type.

  Raises:
    AssayError: a substitution cannot be read, lies outside, or names a letter that is not there.
  """
  made = list(letters)
  for text in re.split("[:,]", mutant.strip()):
    said = _SUBSTITUTION.fullmatch(text.strip())
    if not said:
      raise _at(path, line, f"{text!r} is no substitution such as A1P: insertions and deletions are not"
                       " read by this layout; leave the row out")  # fmt: skip
    at = int(said[2]) - 1
    old, new = (_spelled(letter, modality) for letter in ((said[3], said[1]) if undo else (said[1], said[3])))
    of = "mutant" if undo else "wild type"
    if not 0 <= at < len(letters):
      raise _at(path, line, f"{text} lies outside the {of}'s {len(letters)} letters: positions count from"
                       " 1 in the whole sequence; is it the right wild type?")  # fmt: skip
    if letters[at] != old:
      raise _at(path, line, f"{text} wants {old} at {at + 1}, but the {of} has {letters[at]} there: the wild"
                       " type does not match its mutants. Look for another reference, or an offset.")  # fmt: skip
    made[at] = new
  return "".join(made)


# --- Layouts ---


def read_evo(path: str, name: str, modality: Modality, rules: Rules = Rules()) -> Assay:
  """Evo's layout: `wt_seq_nt`, `mt_seq_nt`, `fitness`, separated by tabs.

  A mutant of its wild type's length must have half of its letters or more in common with it. Others, with insertions
  or deletions, are counted.

  Args:
    path: the file.
    name: of the study.
    modality: `rna` for ncRNA, `dna` for coding sequences; the letters may be T or U.
    rules: for rows that are not clean.

  Raises:
    AssayError: see there.
  """
  found = _Collector(path, rules)
  wild_types: dict[str, None] = {}
  for line, row in _rows(path, ("wt_seq_nt", "mt_seq_nt", "fitness")):
    wild, letters = (_letters(path, line, column, row[column], modality) for column in ("wt_seq_nt", "mt_seq_nt"))
    if len(wild) != len(letters):
      found.count("variants of another length than the wild type")
    elif sum(a == b for a, b in zip(wild, letters)) < _LEAST_IN_COMMON * len(wild):
      raise _at(path, line, "mt_seq_nt has less than half of its letters in common with wt_seq_nt: the wild"
                       " type does not match its mutants. Correct the row, or leave it out.")  # fmt: skip
    wild_types[wild] = None
    found.add((wild, letters), "fitness", row["fitness"], letters, line)
  return found.assay(name, modality, tuple(wild_types))


def read_proteingym(path: str, name: str, wild_type: str, rules: Rules = Rules()) -> Assay:
  """ProteinGym's layout of substitution assays: `mutant`, `mutated_sequence`, `DMS_score`, `DMS_score_bin`.

  Args:
    path: the file.
    name: `DMS_id`.
    wild_type: `target_seq` of the reference file.
    rules: for rows that are not clean; every mutant counts in ProteinGym.

  Raises:
    AssayError: see there; also where `mutant`, applied to the wild type, does not give `mutated_sequence`.
  """
  found = _Collector(path, rules)
  wild_type = wild_type.upper()
  for line, row in _rows(path, ("mutant", "mutated_sequence", "DMS_score", "DMS_score_bin")):
    letters = _letters(path, line, "mutated_sequence", row["mutated_sequence"], Modality.PROTEIN)
    expected = substitute(path, line, wild_type, row["mutant"])
    if letters != expected:
      raise _at(path, line, f"mutated_sequence is not the reference's target_seq of {name} with"
                       f" {row['mutant']} ({_difference(letters, expected)}): the wild type does not match its mutants."
                       " Take assays and reference file of one version.")  # fmt: skip
    if row["DMS_score_bin"].strip() not in ("0", "1", "0.0", "1.0"):
      raise _at(path, line, f"DMS_score_bin is {row['DMS_score_bin']!r}, and must be 0 or 1: correct it")
    found.add(letters, "DMS_score", row["DMS_score"], letters, line, fit=int(float(row["DMS_score_bin"])))
  return found.assay(name, Modality.PROTEIN, (wild_type,))


def _difference(letters: str, expected: str) -> str:
  if len(letters) != len(expected):
    return f"{len(letters)} letters, {len(expected)} expected"
  at = next(i for i, (a, b) in enumerate(zip(letters, expected)) if a != b)
  return f"{letters[at]} at {at + 1}, {expected[at]} expected"


def read_rnagym(
    path: str, name: str, modality: Modality = Modality.RNA, rules: Rules = Rules(), *, score_column: str = "DMS_score"
) -> Assay:
  """RNAGym's and NABench's layout: `mutant`, `DMS_score`, `sequence`; commas, or tabs in a `.tsv`.

  A row whose `mutant` is empty is the wild type: it is left out and counted, as RNAGym's own code does. The reference
  sheet's construct may have other flanks than the assay, so the wild type is what the mutants say it is: all must give
  the same sequence when their mutations are taken back.

  Args:
    path: the file.
    name: `DMS_ID`.
    modality: `dna` for coding assays.
    rules: for rows that are not clean.
    score_column: of tables made from elsewhere.

  Raises:
    AssayError: see there.
  """
  found = _Collector(path, rules)
  wild, wild_line = "", 0
  for line, row in _rows(path, ("mutant", score_column, "sequence")):
    letters = _letters(path, line, "sequence", row["sequence"], modality)
    mutant = row["mutant"].strip()
    if mutant.upper() in ("", "WT", "NAN"):
      found.count("the wild type's rows, left out")
      before = letters
    else:
      before = substitute(path, line, letters, mutant, modality, undo=True)
    wild, wild_line = wild or before, wild_line or line
    if before != wild:
      raise _at(path, line, f"without {mutant or 'any mutation'} it is another wild type than that of line"
                       f" {wild_line} ({_difference(before, wild)}): the wild type does not match its mutants."
                       " Correct the row, or leave it out.")  # fmt: skip
    if mutant.upper() not in ("", "WT", "NAN"):
      found.add(letters, score_column, row[score_column], letters, line)
  return found.assay(name, modality, (wild,))


# --- Reference files ---


def proteingym_reference(path: str) -> dict[str, Mapping[str, str]]:
  """ProteinGym's reference file of substitution assays: by `DMS_id` its row. Raises AssayError, see there."""
  columns = ("DMS_id", "DMS_filename", "UniProt_ID", "target_seq", "coarse_selection_type")
  return _reference(path, columns, "DMS_id")


def rnagym_reference(path: str) -> dict[str, Mapping[str, str]]:
  """RNAGym's reference sheet: by `DMS_ID` its row. Raises AssayError, see there."""
  return _reference(path, ("DMS_ID", "RNA_TYPE"), "DMS_ID")


def _reference(path: str, columns: tuple[str, ...], key: str) -> dict[str, Mapping[str, str]]:
  found: dict[str, Mapping[str, str]] = {}
  for line, row in _rows(path, columns):
    if row[key] in found:
      raise _at(path, line, f"{key} {row[key]!r} is there twice: take the published file")
    found[row[key]] = row
  if not found:
    raise AssayError(f"{path} lists no assay: take the published file")
  return found


# --- Translation ---


def translate(coding: str, code: int = 11) -> str:
  """The protein of a coding sequence, codon by codon; a stop at its end is left out, one before is the letter `*`.

  A start codon is read literally; a codon with an `N` is `X`.

  Args:
    coding: nucleotides in frame.
    code: number of the genetic code.

  Raises:
    ValueError: it does not consist of whole codons.
  """
  if len(coding) % 3:
    raise ValueError(f"a coding sequence consists of whole codons, and this has {len(coding)} letters")
  numbers = codons.numbers(tokenizer.encode(coding, Modality.DNA))
  unknown = tokenizer.encode("X", Modality.PROTEIN)[0]
  letters = tokenizer.decode(np.where(numbers == codons.UNKNOWN, unknown, codons.residues(code)[numbers]))
  return letters.removesuffix("*")
