"""Prompts of few-shot evaluation: labelled pairs of a gene and a protein, the layout, and demonstrations for each.

A pair is right if its protein is its gene's. Demonstrations are right pairs of other genes of the same group
(organism), from the dev split; those for k + 1 are those for k and one more.
"""

import dataclasses
import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import yaml

from bsm_jax import table_files, tokenizer
from bsm_jax.evaluation.tasks.task import TaskError
from bsm_jax.tokenizer import Modality

SPLITS = ("dev", "test")
JOINS = ("trained", "document", "documents")
_DEV_SHARE = 0.3  # of the genes, where the file does not say
_COLUMNS = ("id", "dna", "protein", "label")
_MORE_COLUMNS = ("group", "split", "kind")


def _generator(*key: object) -> np.random.Generator:
  """Seeded by names and numbers: what a gene gets does not depend on what else is asked."""
  seed = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
  return np.random.default_rng(int.from_bytes(seed, "little"))


# --- Layouts ---


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a prompt is written; a file in `layouts/`, whose comments say what each key means.

  Attributes:
    name, version: also the file's name, `NAME_vVERSION.yaml`.
    gene: modality of the gene, `dna` or `rna`.
    skip_letters, skip_codons: what of a gene is passed over.
    codons: shown of each pair.
    join: of `JOINS`.
    most: demonstrations at most, or None.
    sha256: of the file.
  """

  name: str
  version: int
  gene: str
  skip_letters: int
  skip_codons: int
  codons: int
  join: str
  most: int | None
  sha256: str

  def show(self, gene: str, protein: str) -> tuple[str, str] | None:
    """The stretch of a pair that is shown: codons, and as many residues; None if the pair does not reach so far."""
    start = self.skip_letters + 3 * self.skip_codons
    codons = gene[start : start + 3 * self.codons]
    residues = protein[self.skip_codons : self.skip_codons + self.codons]
    return (codons, residues) if (len(codons), len(residues)) == (3 * self.codons, self.codons) else None

  def room(self, context: int, joined: str) -> int:
    """How many demonstrations fit a context before a test pair. Args: `joined` is `document` or `documents`."""
    # A pair has two tags and <sep>; in a document of its own <bos> and <eos>, else a <sep> behind it. Of the test pair
    # no <eos> is needed, and one document begins with <bos>.
    pair = 4 * self.codons + (5 if joined == "documents" else 4)
    fit = (context - (pair - 1)) // pair if joined == "documents" else (context - pair) // pair
    return fit if self.most is None else min(fit, self.most)


def read_layout(name: str) -> Layout:
  """The layout of this name and version, `central_dogma_v1`.

  Raises:
    TaskError: there is none, or it is not as `Layout` says.
  """
  folder = importlib.resources.files("bsm_jax.evaluation") / "layouts"
  path = folder / f"{name}.yaml"
  if not path.is_file():
    there = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    raise TaskError(f"no layout {name}; there are: {', '.join(there)}")
  return parse_layout(path.read_bytes(), f"{name}.yaml")


def parse_layout(content: bytes, file: str) -> Layout:
  """A layout from its YAML. Raises TaskError, which names the file and the key."""
  try:
    found = yaml.safe_load(content)
  except (yaml.YAMLError, UnicodeDecodeError) as error:
    raise TaskError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
  keys = [field.name for field in dataclasses.fields(Layout) if field.name != "sha256"]
  if not isinstance(found, dict) or sorted(map(str, found)) != sorted(keys):
    there = list(map(str, found)) if isinstance(found, dict) else []
    wrong = [f"no such key: {key}" for key in there if key not in keys] + [f"lacks {k}" for k in keys if k not in there]
    raise TaskError(f"{file}: {'; '.join(wrong)}. A layout has {', '.join(keys)}")
  whole = lambda least: lambda value: type(value) is int and value >= least
  allowed = {
      "name": ("text", lambda value: isinstance(value, str)), "version": ("a whole number from 1", whole(1)),
      "gene": ("dna or rna", lambda value: value in ("dna", "rna")), "skip_letters": ("a whole number", whole(0)),
      "skip_codons": ("a whole number", whole(0)), "codons": ("a whole number from 1", whole(1)),
      "join": (" or ".join(JOINS), lambda value: value in JOINS),
      "most": ("null or a whole number from 1", lambda value: value is None or whole(1)(value)),
  }  # fmt: skip
  for key, (what, is_so) in allowed.items():
    if not is_so(found[key]):
      raise TaskError(f"{file}: {key} must be {what}, not {found[key]!r}")
  if file != (expected := f"{found['name']}_v{found['version']}.yaml"):
    raise TaskError(f"{file} says that it is version {found['version']} of {found['name']}: it should be {expected}")
  return Layout(**found, sha256=hashlib.sha256(content).hexdigest())


# --- Pairs ---


@dataclasses.dataclass(frozen=True)
class Pair:
  """A labelled pair.

  Attributes:
    gene: its id; pairs of one gene share it.
    group: organism, "" where the file has none.
    split: dev or test.
    kind: of the protein, "" where the file has none.
    label: 1 if the protein is the gene's.
    shown: codons and residues that the model sees.
    is_asked: whether it is scored; else it may only be a demonstration.
  """

  gene: str
  group: str
  split: str
  kind: str
  label: int
  shown: tuple[str, str]
  is_asked: bool = True


def read_pairs(path: str, layout: Layout, columns: Mapping[str, str], seed: int) -> tuple[list[Pair], dict[str, int]]:
  """The pairs of a file, as the layout shows them.

  Args:
    path: CSV or TSV, by its name, plain or `.gz`.
    layout: what is shown.
    columns: `id`, `dna`, `protein`, `label`, and where the file has them `group`, `split`, `kind`, to their names in
      it; those not named are called so. Without `split` the genes are split by the seed.
    seed: of the split.

  Returns:
    Pairs in the order of the file, and counts: `too_short` for what is shown and `same_as_true`, wrong pairs
    whose shown part is that of the gene's right pair, both left out; `only_shown`, right pairs that have no wrong one
    then: they are not asked, but may be demonstrations.

  Raises:
    TaskError: the file cannot be read or lacks a column; a label is not 0 or 1, a split not dev or test, a letter
      outside the alphabet; a gene is in two groups or splits.
  """
  found: list[Pair] = []
  counts = {"too_short": 0, "same_as_true": 0, "only_shown": 0}
  place: dict[str, tuple[str, str]] = {}
  for line, cells in _lines(path, columns):
    where = f"{path}, line {line} ({cells['id']})"
    if cells["label"] not in ("0", "1"):
      raise TaskError(f"{where}: label must be 1 (the gene's protein) or 0, not {cells['label']!r}")
    split = cells["split"] or _drawn_split(cells["id"], seed)
    if split not in SPLITS:
      raise TaskError(f"{where}: split must be {' or '.join(SPLITS)}, not {split!r}: leave others out of the file")
    if place.setdefault(cells["id"], (cells["group"], split)) != (cells["group"], split):
      raise TaskError(f"{where}: this gene stands in another group or split before: give genes ids of their own")
    for column, modality in (("dna", Modality.DNA), ("protein", Modality.PROTEIN)):
      try:
        tokenizer.encode(cells[column], modality, name=where)
      except tokenizer.TokenizerError as error:
        name = columns.get(column, column)
        raise TaskError(f"{error} (column {name!r}): correct the record or leave it out") from None
    shown = layout.show(cells["dna"].lower(), cells["protein"].upper())
    if shown is None:
      counts["too_short"] += 1
      continue
    found.append(Pair(cells["id"], cells["group"], split, cells["kind"], int(cells["label"]), shown))
  if not found:
    raise TaskError(f"{path} holds no pair of {layout.codons} codons: is it the file that the layout is for?")
  true = {(pair.gene, pair.shown) for pair in found if pair.label}
  apart = [pair for pair in found if pair.label or (pair.gene, pair.shown) not in true]
  counts["same_as_true"] = len(found) - len(apart)
  opposed = {pair.gene for pair in apart if not pair.label}
  kept = [dataclasses.replace(pair, is_asked=pair.gene in opposed) for pair in apart]
  counts["only_shown"] = sum(not pair.is_asked for pair in kept)
  return kept, counts


def _drawn_split(gene: str, seed: int) -> str:
  return SPLITS[int(_generator(seed, gene, "split").random() >= _DEV_SHARE)]


def _lines(path: str, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
  """Line number and cells by what they are, of a table."""
  with table_files.open_table(path, TaskError) as table:
    wanted = {what: columns.get(what, what) for what in (*_COLUMNS, *_MORE_COLUMNS)}
    needed = [name for what, name in wanted.items() if what in _COLUMNS or what in columns]
    table.require(needed, "Rename the file's columns so.")
    for line, cells in table:
      yield line, {what: cells.get(name, "").strip() for what, name in wanted.items()}


def sample(pairs: Sequence[Pair], limit: int | None, seed: int) -> list[Pair]:
  """At most `limit` pairs, or a gene's more, drawn by whole genes; all for None. In the order given."""
  if limit is None or limit >= len(pairs):
    return list(pairs)
  genes = list(dict.fromkeys(pair.gene for pair in pairs))
  counts = {gene: sum(pair.gene == gene for pair in pairs) for gene in genes}
  kept: set[str] = set()
  total = 0
  for number in np.random.default_rng(seed).permutation(len(genes)):
    if total >= limit:
      break
    kept.add(genes[number])
    total += counts[genes[number]]
  return [pair for pair in pairs if pair.gene in kept]


# --- Demonstrations ---


@dataclasses.dataclass(frozen=True)
class Demonstrations:
  """For one gene.

  Attributes:
    true: shown parts of k_most + 1 true pairs of other genes; the last of them only lends its protein, to a single
      shuffled demonstration.
    seed: of the shuffles.
  """

  true: tuple[tuple[str, str], ...]
  seed: tuple

  def take(self, k: int) -> list[tuple[str, str]]:
    """The first k."""
    return list(self.true[:k])

  def shuffled(self, k: int) -> list[tuple[str, str]]:
    """The first k with their proteins exchanged, so that none keeps its own; one alone gets another gene's."""
    if k == 1:
      return [(self.true[0][0], self.true[-1][1])]
    order = np.arange(k)
    rng = _generator(*self.seed, "shuffle", k)
    for i in range(k - 1, 0, -1):  # Sattolo (1986): a random permutation that is a single cycle, hence a derangement
      j = int(rng.integers(i))
      order[[i, j]] = order[[j, i]]
    return [(self.true[i][0], self.true[j][1]) for i, j in enumerate(order)]


def draw(pairs: Sequence[Pair], genes: Sequence[Pair], most: int, seed: int) -> dict[str, Demonstrations]:
  """Demonstrations for the genes of some pairs.

  Args:
    pairs: what they are drawn from: the true ones of the dev split.
    genes: pairs whose genes get them.
    most: k at most.
    seed: of the draws.

  Returns:
    by gene.

  Raises:
    TaskError: a group has too few.
  """
  of_group: dict[str, dict[str, tuple[str, str]]] = {}
  for pair in pairs:
    if pair.label and pair.split == "dev":
      of_group.setdefault(pair.group, {}).setdefault(pair.gene, pair.shown)
  found: dict[str, Demonstrations] = {}
  for pair in genes:
    if pair.gene in found:
      continue
    # A copy of the gene would give its protein away.
    others = {
        gene: shown for gene, shown in of_group.get(pair.group, {}).items()
        if gene != pair.gene and shown[0] != pair.shown[0]
    }  # fmt: skip
    if most and len(others) < most + 1:
      raise TaskError(
          f"{most} demonstrations for {pair.gene} and one to exchange a protein with need {most + 1} other genes with a"
          f" true pair in the dev split of group {pair.group!r}, which has {len(others)}: give more genes, or a layout"
          " with a smaller `most`"
      )
    chosen = _generator(seed, pair.gene, "demonstrations").permutation(len(others))[: most + 1]
    names = sorted(others)
    found[pair.gene] = Demonstrations(tuple(others[names[i]] for i in chosen), (seed, pair.gene))
  return found
