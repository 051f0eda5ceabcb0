"""Named evaluation sets, whose sequences are kept out of all training data.

An entry of `config.documents.evaluation_sets` is a dictionary:

  {"name": "stability", "path": "{tasks}/stability.csv", "format": "csv", "columns": {"primary": "protein"}}
  {"name": "central_dogma", "path": ..., "format": "tsv", "columns": {"dna": "dna", "protein": "protein"}}
  {"name": "ppi", "path": ..., "format": "tsv", "header": False, "columns": {"2": "protein"}}
  {"name": "ncrpi", "path": ..., "format": "fasta", "columns": {"sequence": "rna"}}

`path` may be a glob, and hold `{key}` for any text key of the config. The columns' modalities are said, never guessed.
"""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, tabular
from data_pipelines.report import Tally

FASTA_COLUMN = "sequence"
FORMATS = ("fasta", *tabular.DELIMITERS)
# What is counted of a set: records left out, and letters changed.
REASONS = {
    "empty": "a cell without letters",
    "gaps": "letters of an alignment that stand for nothing (- .) and the stop at the end of a protein: removed",
    "unknown_letters": "letters outside the alphabet: kept as unknown, which equal no letter",
}
_KEYS = ("name", "path", "format", "columns", "header")
_GAPS = str.maketrans("", "", "-. \t\r\n")
_BASES = frozenset("ACGTUNacgtun")
_ONLY_BASES = 100  # letters from which a protein of nothing but these must be a mistake
_MAX_UNKNOWN = 0.2  # a third of a protein's letters are no letters of nucleotides


class EvaluationSetError(ValueError):
  """An entry of `config.documents.evaluation_sets` that names no usable set."""


def parse_evaluation_sets(entries: Sequence[Mapping], variables: Mapping[str, str | None]) -> list[dict]:
  """Checks entries and fills in their paths.

  Args:
    entries: see the module's docstring.
    variables: text that `{name}` in a path stands for, None where it is not set.

  Returns:
    Entries for `read_evaluation_set`, of values that JSON can hold; `path` is a list of files.

  Raises:
    EvaluationSetError: an entry lacks a key, has one too many, or uses a variable that is not set.
    InputError: a path matches no file.
  """
  parsed = [_parse(dict(entry), variables) for entry in entries]
  names = [entry["name"] for entry in parsed]
  if repeated := sorted({n for n in names if names.count(n) > 1}):
    raise EvaluationSetError(f"two evaluation sets have the name {', '.join(repeated)}")
  return parsed


def _parse(entry: dict, variables: Mapping[str, str | None]) -> dict:
  where = f"evaluation set {entry}"
  if missing := [k for k in _KEYS[:4] if not entry.get(k)]:
    raise EvaluationSetError(f"{where}: lacks {', '.join(missing)}")
  if unknown := sorted(set(entry) - set(_KEYS)):
    raise EvaluationSetError(f"{where}: no such key: {', '.join(unknown)}; it may have {', '.join(_KEYS)}")
  if entry["format"] not in FORMATS:
    raise EvaluationSetError(f"{where}: format must be one of {', '.join(FORMATS)}")
  columns = dict(entry["columns"])
  if entry["format"] == "fasta" and list(columns) != [FASTA_COLUMN]:
    raise EvaluationSetError(f"{where}: columns of a FASTA file are {{{FASTA_COLUMN!r}: modality}}")
  for modality in columns.values():
    try:
      Modality.parse(modality)
    except tokenizer.TokenizerError as error:
      raise EvaluationSetError(f"{where}: {error}") from None
  try:
    pattern = os.path.expanduser(entry["path"].format_map({k: v for k, v in variables.items() if v is not None}))
  except KeyError as error:
    key = error.args[0]
    raise EvaluationSetError(f"{where}: needs the folder `{key}`: pass --config.{key}=DIR") from None
  paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
  if not paths or not os.path.exists(paths[0]):
    remedy = "Check the folder that was passed and the entry in config.documents.evaluation_sets."
    raise InputError(pattern, "no such file", remedy)
  return entry | {"path": paths, "columns": columns, "header": entry.get("header", True)}


def read_evaluation_set(entry: Mapping, tally: Tally | None = None) -> Iterator[tuple[str, Modality, str]]:
  """Yields (record, modality, letters) of every sequence of a set, in order.

  Gaps and a protein's last `*` are removed. Letters outside the alphabet stay, for `tokenizer.encode(strict=False)`.

  Args:
    entry: from `parse_evaluation_sets`, or one with a single path.
    tally: counts what `REASONS` names.

  Raises:
    InputError: a file is missing or damaged, a column does not exist, a fifth of a sequence's letters or more are
      outside the alphabet of its modality, or a long protein consists of the letters of nucleotides only.
  """
  tally = Tally() if tally is None else tally
  columns = {column: Modality.parse(name) for column, name in entry["columns"].items()}
  paths = [entry["path"]] if isinstance(entry["path"], str | os.PathLike) else entry["path"]
  for path in paths:
    for record, cells in _cells(path, entry, list(columns)):
      for (column, modality), cell in zip(columns.items(), cells):
        name = record if len(columns) == 1 else f"{record}, {column}"
        letters = cell.translate(_GAPS)
        letters = letters.removesuffix("*") if modality == Modality.PROTEIN else letters
        if not letters:
          tally.add("empty", name)
          continue
        if removed := len(cell) - len(letters):
          tally.add("gaps", name, removed)
        if unknown := _check(path, name, modality, letters):
          tally.add("unknown_letters", name, unknown)
        yield name, modality, letters


def _cells(path: str, entry: Mapping, columns: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
  if entry["format"] == "fasta":
    for record in fasta.read_fasta(path):
      yield record.name, (record.sequence,)
  else:
    rows = tabular.read_table(path, entry["format"], columns, header=entry.get("header", True))
    for line, cells in rows:
      yield f"line {line}", cells


def _check(path: str, record: str, modality: Modality, letters: str) -> int:
  """How many letters are outside the alphabet."""
  counts: dict[str, int] = {}
  tokenizer.encode(letters, modality, strict=False, counts=counts)
  unknown = counts.get("unknown", 0)
  problem = ""
  if unknown >= _MAX_UNKNOWN * len(letters):
    problem = f"{unknown} of {len(letters)} letters are none of {modality.name.lower()} ({letters[:30]!r})"
  elif modality == Modality.PROTEIN and len(letters) >= _ONLY_BASES and _BASES.issuperset(letters):
    problem = "given as protein, but its letters are those of nucleotides only"
  if problem:
    raise InputError(path, problem, "Check the column and its modality in the evaluation set's entry.", record=record)
  return unknown
