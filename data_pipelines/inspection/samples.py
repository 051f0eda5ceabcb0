"""A few documents and rows laid out for reading: lines of spans, each with the kind of what it shows.

The kinds are the bases `a c g t n`, the classes of residues in `RESIDUE_CLASSES`, `tag`, `special`, `label`, `note` and
`intron`; a second word `odd` marks a residue that is not what its codon alone says. `text` and `page` colour them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, PAD, SEP, Modality
from data_pipelines import genetic_code
from data_pipelines.inspection import reading, statistics
from data_pipelines.inspection.layout import Dataset, RowSetFiles
from data_pipelines.views import Gene, random_generator

# The classes of Lesk, Introduction to Bioinformatics.
RESIDUE_CLASSES = {
    "small": "GAST", "hydrophobic": "CVILPFYMW", "polar": "NQH", "negative": "DE", "positive": "KR", "other": "UOBZXJ*",
}
LETTERS = 64  # in a line
CODONS = 16  # in a line
_LABEL = 9
_HEAD = 3  # lines of a long sequence, before its last one
_ROW_LINES = 6
_SEQUENCES = 6  # of a document of many
_CANDIDATES = 8  # for each document that is shown

Span = tuple[str, str]  # text, kind
Line = tuple[Span, ...]


def _kinds() -> list[str]:
  kinds = ["special"] * tokenizer.VOCAB_SIZE
  classes = {letter: name for name, letters in RESIDUE_CLASSES.items() for letter in letters}
  for token, text in enumerate(tokenizer.VOCABULARY):
    if len(text) == 1:
      kinds[token] = classes.get(text, text)
  for token in (*Modality, SEP):
    kinds[token] = "tag"
  return kinds


_KINDS = _kinds()


@dataclasses.dataclass(frozen=True)
class Shown:
  """A document or a row, laid out.

  Attributes:
    title: its id, as the file has it: not to be trusted.
    where: its corpus or row set, and its split.
    taxon: NCBI taxonomy id; 0 where unknown.
    facts: what else is known of it.
    lines: its letters; a long one is shortened, with the number of letters that are left out.
    length, blocks: of a gene: letters of its DNA, and (start, end) of the coding blocks in it.
  """

  title: str
  where: str
  taxon: int
  facts: tuple[str, ...]
  lines: tuple[Line, ...]
  length: int = 0
  blocks: tuple[tuple[int, int], ...] = ()


def choose_documents(datasets: Sequence[Dataset], count: int, seed: int) -> tuple[Shown, ...]:
  """Documents of all corpora, `count` in all: of many kinds before more of one kind."""
  return tuple(itertools.islice(_in_turns([_documents(d, count, seed) for d in datasets]), count))


def choose_rows(row_sets: Sequence[RowSetFiles], count: int, seed: int) -> tuple[Shown, ...]:
  """Rows of all row sets, `count` in all."""
  return tuple(itertools.islice(_in_turns([_rows(r, count, seed) for r in row_sets]), count))


def _in_turns(groups: Iterable[Iterable]) -> Iterator:
  """One of each group, then a second of each, and so on."""
  absent = object()
  turns = itertools.zip_longest(*groups, fillvalue=absent)
  return (item for turn in turns for item in turn if item is not absent)


def _documents(dataset: Dataset, count: int, seed: int) -> list[Shown]:
  split = "train" if "train" in dataset.splits else next(iter(dataset.splits))
  rng = random_generator(seed, dataset.name, split, "shown")
  indices = statistics.sample_indices(dataset.splits[split].total, count * _CANDIDATES, rng)
  by_kind: dict[tuple, list[reading.Document]] = {}
  candidates = list(reading.documents(dataset, split, indices))
  for i in rng.permutation(len(candidates)).tolist():
    document = candidates[i]
    has_introns = len(document.example.get("cds_blocks", ())) > 1
    by_kind.setdefault((tuple(m for m, _ in document.parts)[:_SEQUENCES], has_introns), []).append(document)
  kind = reading.kind(dataset)
  lay_out = _gene if kind == "gene" else _sequences
  where = f"{dataset.name}, {split}"
  return [lay_out(document, where) for document in itertools.islice(_in_turns(by_kind.values()), count)]


def _rows(row_set: RowSetFiles, count: int, seed: int) -> list[Shown]:
  split = "train" if "train" in row_set.splits else next(iter(row_set.splits))
  rng = random_generator(seed, row_set.name, split, "shown")
  indices = statistics.sample_indices(row_set.splits[split].total, count, rng)
  rows = [row for batch in reading.rows(row_set, split, indices) for row in batch]
  return [_row(rows[i], f"row {indices[i]:,}", f"{row_set.name}, {split}") for i in rng.permutation(len(rows))]


# --- laying out ---


def _spans(ids: np.ndarray) -> Line:
  """Letters as spans, neighbours of one kind together; an unknown letter is one `?`, so that columns stay in line."""
  letters = ((tokenizer.VOCABULARY[i], _KINDS[i]) for i in ids.tolist())
  return _merged((letter if kind != "special" else "?", kind) for letter, kind in letters)


def _shortened(
    pieces: Sequence, keep: Iterable[int], left_out: Callable[[Sequence], str], lay_out: Callable[[Any], list[Line]]
) -> list[Line]:
  """The lines of some pieces; between them, notes on what is left out.

  Args:
    pieces: all of them, in order.
    keep: indices of those that are shown; those outside are ignored.
    left_out: names the content of some pieces.
    lay_out: a piece to its lines.
  """
  lines: list[Line] = []
  shown = sorted({i for i in keep if 0 <= i < len(pieces)} | {len(pieces) - 1})
  for before, index in zip([-1, *shown], shown):
    if before + 1 < index:
      note = f"… {left_out(pieces[before + 1 : index])} left out …"
      lines.append(((" " * _LABEL, "label"), (note, "note")))
    lines += lay_out(pieces[index])
  return lines


def _sequence_lines(modality: Modality, ids: np.ndarray, head: int = _HEAD) -> list[Line]:
  pieces = [(i, ids[i : i + LETTERS]) for i in range(0, len(ids), LETTERS)]
  label = modality.name.lower()
  return _shortened(
      pieces, range(head), lambda left: f"{sum(len(p) for _, p in left):,} letters",
      lambda piece: [(((label if piece[0] == 0 else "").ljust(_LABEL), "label"), *_spans(piece[1]))],
  )


def _sequences(document: reading.Document, where: str) -> Shown:
  facts = [f"{m.name.lower()} {len(ids):,}" for m, ids in document.parts[:_SEQUENCES]]
  lines = [line for m, ids in document.parts[:_SEQUENCES] for line in _sequence_lines(m, ids)]
  if len(left := document.parts[_SEQUENCES:]):
    note = f"… {len(left):,} more sequences of {sum(len(ids) for _, ids in left):,} letters left out …"
    lines.append(((" " * _LABEL, "label"), (note, "note")))
  if url := document.example.get("url"):
    facts.append(url.decode("utf-8", "replace"))
  return Shown(document.id, where, document.taxon, tuple(facts), tuple(lines))


def _gene(document: reading.Document, where: str) -> Shown:
  gene = Gene.from_example(document.example)
  if not len(gene.cds_blocks) or not len(gene.protein):
    return _sequences(document, where)  # nothing to align
  blocks = [(int(a), int(b)) for a, b in gene.cds_blocks]
  gaps = [b[0] - a[1] for a, b in zip(blocks, blocks[1:])]
  facts = [f"dna {len(gene.dna):,}" + ("" if gene.genomic else " (of the transcript)")]
  if gaps:
    sizes = ", ".join(f"{g:,}" for g in gaps[:6]) + (", …" if len(gaps) > 6 else "")
    facts.append(f"{len(gaps)} gap{'s' * (len(gaps) != 1)} in the coding sequence: {sizes} letters")
  sources = {"cds": "the coding sequence", "exons": "spliced from the genome", "record": "its own record"}
  facts.append(f"rna {len(gene.rna):,} ({sources.get(gene.rna_source, gene.rna_source)})")
  facts.append(f"protein {len(gene.protein):,}")
  facts.append(f"genetic code {int(document.example['transl_table'])}")
  facts += [f"incomplete at the {end} end" for end, key in (("5'", "partial5"), ("3'", "partial3"))
            if document.example[key]]
  lines = _codon_lines(gene, int(document.example["transl_table"]), gaps)
  if gene.rna_source != "cds":
    lines += _sequence_lines(Modality.RNA, gene.rna, head=1)
  return Shown(document.id, where, gene.taxon, tuple(facts), tuple(lines), len(gene.dna), tuple(blocks))


def _codon_lines(gene: Gene, transl_table: int, gaps: list[int]) -> list[Line]:
  """The codons with their residues beneath; `¦` stands where coding blocks meet."""
  cds = gene.cds
  literal = tokenizer.encode(genetic_code.translate(tokenizer.decode(cds), transl_table), Modality.PROTEIN)
  borders = set(np.cumsum([b - a for a, b in gene.cds_blocks])[:-1].tolist())
  codons = range(-(-len(cds) // 3))

  def lay_out(numbers: Sequence[int]) -> list[Line]:
    bases: list[Span] = [(("dna" if numbers[0] == 0 else "").ljust(_LABEL), "label")]
    residues: list[Span] = [(("protein" if numbers[0] == 0 else "").ljust(_LABEL), "label")]
    for number in numbers:
      for position in range(3 * number, min(3 * number + 3, len(cds))):
        if position in borders:
          bases.append(("¦", "intron"))
          residues.append((" ", "label"))
        bases += _spans(cds[position : position + 1])
        if position % 3 == 1 and number < len(gene.protein):
          odd = " odd" if number >= len(literal) or literal[number] != gene.protein[number] else ""
          residues += [(text, kind + odd) for text, kind in _spans(gene.protein[number : number + 1])]
        else:
          residues.append((" ", "label"))
      bases.append((" ", "label"))
      residues.append((" ", "label"))
    return [_merged(bases), _merged(residues)]

  pieces = [codons[i : i + CODONS] for i in range(0, len(codons), CODONS)]
  junctions = [border // (3 * CODONS) for border in sorted(borders)]
  keep = [0, 1, *junctions[:2]]
  return _shortened(pieces, keep, lambda left: f"{sum(map(len, left)):,} codons", lay_out)


def _merged(spans: Iterable[Span]) -> Line:
  """Neighbours of one kind as one span."""
  groups = itertools.groupby(spans, key=lambda span: span[1])
  return tuple(("".join(text for text, _ in group), kind) for kind, group in groups)


def _row(row: np.ndarray, title: str, where: str) -> Shown:
  used = int((row != PAD).sum())
  tokens = row[:used]
  units: list[Span] = [(tokenizer.VOCABULARY[i], _KINDS[i]) for i in tokens.tolist()]
  if used < len(row):
    units.append((f"<pad>×{len(row) - used}", "special"))
  lines, width = [[]], 0
  for text, kind in units:
    if width + len(text) > LETTERS + _LABEL:
      lines.append([])
      width = 0
    lines[-1].append((text, kind))
    width += len(text)
  documents = int((tokens == BOS).sum()) + int(tokens[0] != BOS)
  facts = (f"{documents} document{'s' * (documents != 1)}", f"{used / len(row):.0%} full")
  laid_out = _shortened(
      lines, range(_ROW_LINES), lambda left: f"{sum(len(line) for line in left):,} tokens",
      lambda line: [_merged(line)],
  )
  return Shown(title, where, 0, facts, tuple(laid_out))
