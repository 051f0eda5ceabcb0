"""Labelled sequences: LucaOne's folders, or CSV and TSV files, as token documents of a stated greatest length.

LucaOne's layout (LucaOneTasks): `NAME/DATASET_TYPE/TASK_TYPE/{train/train.csv,dev/dev.csv,test/test.csv,label.txt}`.
Columns `seq_id,seq_type,seq,label`, or for pairs `seq_id_a,seq_id_b,seq_type_a,seq_type_b,seq_a,seq_b,label`; a label
is a class's index or a number; a type is `gene` or `prot`, and the task says whether its genes are DNA or RNA.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from bsm_jax import table_files, tokenizer
from bsm_jax.inference import documents, records
from bsm_jax.tokenizer import Modality

PARTS = ("train", "dev", "test")
_LAYOUTS = ("lucaone", "csv")


class DataError(ValueError):
  """Labelled data that cannot be used; the message names file, line and remedy."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where a task's data is, and how it is read.

  Attributes:
    layout: "lucaone" or "csv" (CSV or TSV by each file's suffix, also .gz).
    root: folder that the paths below are relative to; for "lucaone" its `dataset`.
    folder: "lucaone": `NAME/DATASET_TYPE/TASK_TYPE`.
    gene: "lucaone": what its `gene` sequences are, "dna" or "rna".
    train, dev, test: "csv": files, several separated by commas. Without `dev` a part of the training data serves.
    dev_share: that part.
    columns: "csv": `COLUMN=dna|rna|protein,…`, in the order in which the model shall see the sequences.
    label, id_column: "csv": names of these columns; without the second examples are named by their line.
    classes: "csv": the labels of classes 0, 1, …, separated by commas. Empty: 0,1 for two classes, else the sorted
      labels of the training data.
    lenient: write `<unk>` for letters outside the alphabet, instead of stopping.
    max_length: tokens of an example, the special ones counted.
    truncate: cut what is longer, at the right end, the longest sequence of an example first; False: stop.
    train_limit, dev_limit, test_limit: so many examples drawn at random; 0 for all.
    seed: of these draws and of the development part.
  """

  layout: str = "csv"
  root: str | None = None
  folder: str = ""
  gene: str = "dna"
  train: str | None = None
  dev: str | None = None
  test: str | None = None
  dev_share: float = 0.1
  columns: str = ""
  label: str = "label"
  id_column: str = "id"
  classes: str = ""
  lenient: bool = False
  max_length: int = 1024
  truncate: bool = True
  train_limit: int = 0
  dev_limit: int = 0
  test_limit: int = 0
  seed: int = 0

  def __post_init__(self):
    if self.layout not in _LAYOUTS:
      raise DataError(f"data.layout {self.layout!r}: use one of {', '.join(_LAYOUTS)}")
    if not 0 < self.dev_share < 1:
      raise DataError(f"data.dev_share {self.dev_share}: give a number between 0 and 1")
    for name in ("train", "dev", "test"):
      if getattr(self, f"{name}_limit") < 0:
        raise DataError(f"data.{name}_limit must be 0 (all) or a number of examples")


class _Line(NamedTuple):
  """One example as it stands in a file; `where` names the file and the line."""

  where: str
  name: str
  document: tuple[tuple[Modality, str], ...]
  label: str


@dataclasses.dataclass(frozen=True)
class Part:
  """Examples for training, development or test.

  Attributes:
    names: of the examples.
    tokens: uint8 documents, `<bos><tag>…<sep><tag>…<eos>`.
    labels: int64 class indices, or float64 for regression.
    truncated: how many examples were cut.
    letters, letters_cut: of all examples, before cutting, and how many were lost.
    unknown: letters written as `<unk>`.
  """

  names: list[str]
  tokens: list[np.ndarray]
  labels: np.ndarray
  truncated: int
  letters: int
  letters_cut: int
  unknown: int

  def __len__(self) -> int:
    return len(self.tokens)


@dataclasses.dataclass(frozen=True)
class Labelled:
  """A task's data.

  Attributes:
    train, dev, test: its parts.
    classes: labels of the classes in order; empty for regression.
    digests: sha256 of each file, by its name.
    notes: what a reader of the results should know.
  """

  train: Part
  dev: Part
  test: Part
  classes: tuple[str, ...]
  digests: dict[str, str]
  notes: tuple[str, ...]

  def truncation(self, max_length: int) -> dict:
    """What was cut, for the result: `share` is that of the test examples."""
    parts = {name: getattr(self, name) for name in PARTS}
    shares = {name: part.truncated / len(part) for name, part in parts.items()}
    lost = sum(part.letters_cut for part in parts.values()) / sum(part.letters for part in parts.values())
    policy = f"at most {max_length} tokens an example; right ends cut, the longest sequence first"
    return {"policy": policy, "share": shares["test"], "share_by_part": shares, "letters_share": lost}

  def counts(self) -> dict:
    """Examples by part and by class, and how many test documents, as cut, stand in the training data as well."""
    seen = {tokens.tobytes() for tokens in self.train.tokens}
    found = {name: len(getattr(self, name)) for name in PARTS}
    found["test_documents_in_training"] = sum(tokens.tobytes() in seen for tokens in self.test.tokens)
    found["unknown_letters"] = sum(getattr(self, name).unknown for name in PARTS)
    for number, name in enumerate(self.classes):
      found[f"train_class_{name}"] = int((self.train.labels == number).sum())
    return found


def cut_lengths(sizes: Sequence[int], room: int) -> list[int]:
  """Letters that each sequence keeps so that all fit: the longest are cut first, down to the length of the others."""
  kept, left = list(sizes), room
  if sum(sizes) > room:
    for rank, number in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
      kept[number] = min(sizes[number], left // (len(sizes) - rank))
      left -= kept[number]
  return kept


def read(config: DataConfig, *, regression: bool, binary: bool = False) -> Labelled:
  """The labelled data that a config names.

  Args:
    config: see `DataConfig`.
    regression: labels are numbers.
    binary: two classes are asked for.

  Raises:
    DataError: a file, column, label or sequence that cannot be used; a part without examples.
  """
  paths = {part: _paths(config, part) for part in PARTS}
  for part in ("train", "test"):
    if not paths[part]:
      raise DataError(f"no {part} file: give --config.data.{part}=FILE (or data.layout=lucaone with data.root)")
  lines = {part: [line for path in paths[part] for line in _lines(path, config)] for part in PARTS}
  classes = () if regression else _classes(config, lines["train"], binary)
  labels = {part: [_label(line, classes, config.layout) for line in lines[part]] for part in PARTS}
  kept = {part: np.arange(len(lines[part])) for part in PARTS}
  notes, rng = [], np.random.default_rng(config.seed)
  if not paths["dev"]:
    mixed = rng.permutation(len(lines["train"]))
    size = max(1, round(config.dev_share * len(mixed)))
    lines["dev"], labels["dev"] = lines["train"], labels["train"]
    kept["dev"], kept["train"] = np.sort(mixed[:size]), np.sort(mixed[size:])
    notes.append(f"no dev file: {size} examples drawn from the training data (seed {config.seed}) serve")
  found = {}
  for part in PARTS:
    limit = getattr(config, f"{part}_limit")
    if 0 < limit < len(kept[part]):
      notes.append(f"{part}: {limit} of {len(kept[part])} examples, drawn at random (seed {config.seed})")
      kept[part] = np.sort(rng.choice(kept[part], limit, replace=False))
    if not len(kept[part]):
      raise DataError(f"there is no {part} example in {', '.join(map(str, paths[part] or paths['train']))}")
    found[part] = _encode([lines[part][row] for row in kept[part]], [labels[part][row] for row in kept[part]], config)
  digests = {}
  for path in dict.fromkeys(path for part in PARTS for path in paths[part]):
    name = path.name if path.name not in digests else str(path)
    digests[name] = records.digest(str(path))
  return Labelled(**found, classes=classes, digests=digests, notes=tuple(notes))


def _paths(config: DataConfig, part: str) -> list[epath.Path]:
  root = epath.Path(config.root or ".")
  if config.layout == "lucaone":
    if not config.root:
      raise DataError("data.layout=lucaone: give --config.data.root=FOLDER, LucaOne's `dataset`")
    return [root / config.folder / part / f"{part}.csv"]
  return [root / name.strip() for name in (getattr(config, part) or "").split(",") if name.strip()]


def _columns(config: DataConfig) -> dict[str, Modality]:
  found = {}
  for item in filter(None, config.columns.split(",")):
    column, separator, modality = item.rpartition("=")
    if not separator:
      raise DataError(f"data.columns={config.columns}: write COLUMN=dna|rna|protein,… for the columns with sequences")
    found[column.strip()] = Modality.parse(modality.strip())
  if not found:
    raise DataError("data.columns is empty: write COLUMN=dna|rna|protein,… for the columns with sequences")
  return found


def _lines(path: epath.Path, config: DataConfig) -> Iterator[_Line]:
  """The examples of a file. Raises DataError where it cannot be read."""
  with table_files.open_table(str(path), DataError) as table:
    read_row = _lucaone_reader(path, table.header, config) if config.layout == "lucaone" else _csv_reader(config)
    table.require(read_row.columns, read_row.remedy)
    for number, row in table:
      yield read_row(row, f"{path}, line {number}", number)


class _Reader:
  """Rows of a table as `_Line`s: which columns hold sequences, and what each is."""

  def __init__(self, modalities: Mapping[str, Modality | None], names: Sequence[str], label: str, gene: Modality | None,
               remedy: str):  # fmt: skip
    """Args: column to modality, None where `seq_type…` says it; columns of names; of the label; what a gene is."""
    self.modalities, self.names, self.label, self.gene, self.remedy = modalities, names, label, gene, remedy
    types = [column.replace("seq", "seq_type", 1) for column, what in modalities.items() if what is None]
    self.columns = [*modalities, *types, label]

  def __call__(self, row: Mapping[str, str], where: str, number: int) -> _Line:
    document = []
    for column, modality in self.modalities.items():
      if modality is None:
        of_type = row[column.replace("seq", "seq_type", 1)]
        if of_type not in ("gene", "prot"):
          raise DataError(f"{where}: sequence type {of_type!r}: write gene or prot")
        modality = Modality.PROTEIN if of_type == "prot" else self.gene
      letters = "".join(row[column].split())
      if not letters:
        raise DataError(f"{where}: no {modality.name.lower()} in column {column!r}: remove the line or fill it in")
      document.append((modality, letters))
    names = [row[column] for column in self.names if row.get(column)]
    return _Line(where, "|".join(names) or f"line_{number}", tuple(document), row[self.label].strip())


def _lucaone_reader(path: epath.Path, header: Sequence[str], config: DataConfig) -> _Reader:
  ends = ("_a", "_b") if "seq_a" in header else ("",)
  gene = Modality.parse(config.gene)
  remedy = (f"{path.name} of LucaOne has seq_id,seq_type,seq,label, or these with _a and _b; for other columns set"
            " data.layout=csv and data.columns")  # fmt: skip
  return _Reader({f"seq{e}": None for e in ends}, [f"seq_id{e}" for e in ends], "label", gene, remedy)


def _csv_reader(config: DataConfig) -> _Reader:
  remedy = "Name the columns: --config.data.columns=COLUMN=dna|rna|protein,… and --config.data.label=COLUMN"
  return _Reader(_columns(config), [config.id_column], config.label, None, remedy)


def _classes(config: DataConfig, train: Sequence[_Line], binary: bool) -> tuple[str, ...]:
  if config.layout == "lucaone":
    path = epath.Path(config.root) / config.folder / "label.txt"
    try:
      found = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
      raise DataError(f"{path} cannot be read: {error}; it holds a class a line, below a header `label`") from None
    found = found[1:] if found[:1] == ["label"] else found
  elif config.classes:
    found = [name.strip() for name in config.classes.split(",")]
  else:
    found = ["0", "1"] if binary else sorted({line.label for line in train})
  if len(set(found)) != len(found) or len(found) < 2 or (binary and len(found) != 2):
    raise DataError(f"the classes are {found}: {'two' if binary else 'two or more'} different ones are needed, see"
                    " data.classes (or label.txt)")  # fmt: skip
  return tuple(found)


def _label(line: _Line, classes: tuple[str, ...], layout: str) -> float:
  """The class's index, or the number where there are no classes."""
  if not classes:
    try:
      value = float(line.label)
    except ValueError:
      value = math.nan
    if not math.isfinite(value):
      raise DataError(f"{line.where}: the label {line.label!r} is no finite number: mend or remove the line")
    return value
  if layout == "csv" and line.label in classes:
    return classes.index(line.label)
  if layout == "lucaone" and line.label.isascii() and line.label.isdigit() and int(line.label) < len(classes):
    return int(line.label)
  what = f"an index below {len(classes)} (label.txt)" if layout == "lucaone" else f"one of {', '.join(classes)}"
  raise DataError(f"{line.where}: the label {line.label!r} is not {what}: mend it, or the list of classes")


def _encode(lines: Sequence[_Line], labels: Sequence[float], config: DataConfig) -> Part:
  tokens, truncated, letters, letters_cut, counts = [], 0, 0, 0, {}
  for line in lines:
    try:
      ids = [tokenizer.encode(text, modality, strict=not config.lenient, counts=counts, name=line.where)
             for modality, text in line.document]  # fmt: skip
    except tokenizer.TokenizerError as error:
      raise DataError(f"{error} (here: --config.data.lenient=True)") from None
    sizes = [len(x) for x in ids]
    room = config.max_length - 2 * len(ids) - 1  # <bos>, tags, <sep>s, <eos>
    if room < len(ids):
      raise DataError(f"data.max_length {config.max_length} leaves no room for {len(ids)} sequences")
    kept = cut_lengths(sizes, room)
    if kept != sizes and not config.truncate:
      raise DataError(f"{line.where}: {sum(sizes) + 2 * len(ids) + 1} tokens exceed data.max_length"
                      f" {config.max_length}: raise it, or set data.truncate")  # fmt: skip
    truncated, letters = truncated + (kept != sizes), letters + sum(sizes)
    letters_cut += sum(sizes) - sum(kept)
    parts: documents.Encoded = [(m, x[:n]) for (m, _), x, n in zip(line.document, ids, kept)]
    tokens.append(tokenizer.join_document(parts))
  kind = np.int64 if all(isinstance(label, int) for label in labels) else np.float64
  return Part([line.name for line in lines], tokens, np.array(labels, kind), truncated, letters, letters_cut,
              counts.get("unknown", 0))  # fmt: skip
