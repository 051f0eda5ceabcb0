"""From a document to the token sequences that a row set holds: views of genes, windows of single sequences.

Pure functions of (document, row set, seed): a rebuild gives the same tokens.

A gene longer than the context is never cut blindly. A window is k codons; every modality of the view shows the same k
codons, so that the relation between the modalities is inside the row. How long the windows are matters: a model trained
on one fixed length learns a positional shortcut in place of counting, so lengths are drawn from a range.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines.report import Tally
from data_pipelines.row_sets import PairRowSet, SingleRowSet, max_codons

# Why something that a row set asks for is not shown.
REASONS = {
    "dna_is_transcript": "the file holds the transcript only: there is no genomic DNA",
    "intron_exceeds_context": "a window with its introns does not fit the context",
    "rna_is_synthetic": "no transcript is annotated, and synthetic_rna is off",
    "rna_not_aligned": "the CDS is not found in the transcript letter for letter",
    "too_short": "fewer letters than min_letters",
}


def random_generator(*key: object) -> np.random.Generator:
  """A generator seeded by names and numbers, the same on every machine."""
  seed = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
  return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


# --- genes ---


@dataclasses.dataclass(frozen=True)
class Gene:
  """A document of the pair corpus; sequences are uint8 token ids, coordinates as in `genes.CodingGene`.

  Attributes:
    cds_blocks: int32 [n, 2].
    rna_cds: (start, end) of the CDS in `rna`, or (-1, -1).
  """

  id: str
  taxon: int
  dna: np.ndarray
  cds_blocks: np.ndarray
  genomic: bool
  rna: np.ndarray
  rna_cds: tuple[int, int]
  rna_source: str
  protein: np.ndarray

  @classmethod
  def from_example(cls, example: Mapping) -> "Gene":
    """From a record of the TFDS dataset `refseq_pairs`."""
    return cls(
        id=example["id"].decode(), taxon=int(example["taxon"]), dna=example["dna"], cds_blocks=example["cds_blocks"],
        genomic=bool(example["genomic"]), rna=example["rna"], rna_cds=tuple(example["rna_cds"].tolist()),
        rna_source=example["rna_source"].decode(), protein=example["protein"],
    )

  @functools.cached_property
  def cds(self) -> np.ndarray:
    return np.concatenate([self.dna[a:b] for a, b in self.cds_blocks])

  @property
  def codons(self) -> int:
    """Codons that have a residue."""
    return len(self.protein)

  def genomic_position(self, offset: int) -> int:
    """Where in `dna` base `offset` of the CDS lies."""
    ends = np.cumsum(self.cds_blocks[:, 1] - self.cds_blocks[:, 0])
    block = int(np.searchsorted(ends, offset, side="right"))
    return int(self.cds_blocks[block, 1] - (ends[block] - offset))

  def window(self, modality: Modality, start: int, end: int, dna: str = "spliced") -> np.ndarray:
    """Codons [start, end) in one modality; at the gene's 3' end the nucleotides include the stop codon."""
    if modality == Modality.PROTEIN:
      return self.protein[start:end]
    last = 3 * end if end < self.codons else len(self.cds)
    if modality == Modality.RNA:
      return self.rna[self.rna_cds[0] + 3 * start : self.rna_cds[0] + last]
    if dna == "spliced":
      return self.cds[3 * start : last]
    return self.dna[self.genomic_position(3 * start) : self.genomic_position(last - 1) + 1]

  def whole(self, modality: Modality, dna: str = "spliced") -> np.ndarray:
    """The gene in one modality: the protein, the transcript with its UTRs, the CDS or the genomic stretch."""
    if modality == Modality.DNA:
      return self.cds if dna == "spliced" else self.dna
    return self.rna if modality == Modality.RNA else self.protein


@functools.lru_cache
def _arrangements(available: tuple[Modality, ...]) -> list[list[tuple[Modality, ...]]]:
  """By size from 2 (1 where there is only one): every choice of so many modalities, in every order."""
  sizes = range(min(2, len(available)), len(available) + 1)
  return [list(itertools.permutations(available, size)) for size in sizes]


def _draw_modalities(
    row_set: PairRowSet, available: tuple[Modality, ...], u: float, v: float
) -> tuple[Modality, ...]:
  """What a document shows, in its order; `available` is what the row set names, or all that the gene has."""
  if row_set.modalities and row_set.order == "given":
    return available
  by_size = _arrangements(available)
  choices = by_size[-1 if row_set.modalities else int(u * len(by_size))]
  return choices[int(v * len(choices))]


def _draw_codons(row_set: PairRowSet, most: int, u: float) -> int:
  low, high = min(row_set.codons[0], most), min(row_set.codons[1], most)
  if row_set.length_distribution == "uniform":
    return low + int(u * (high - low + 1))
  return min(int(low * ((high + 1) / low) ** u), high)


def gene_documents(
    gene: Gene, row_set: PairRowSet, name: str, context: int, tally: Tally, partner: Callable[[int], Gene] | None = None
) -> Iterator[np.ndarray]:
  """The documents that a row set makes of one gene.

  Args:
    gene: the gene.
    row_set: what to make.
    name: the row set's name; the random choices are seeded by it, the row set's seed, the gene's id and the view.
    context: tokens in a row; no document is longer.
    tally: what could not be shown is added to it, by reason.
    partner: for `wrong_partner`: another gene with at least this many codons.

  Yields:
    Tokens, uint8 [<= context]. A document without `<bos>` continues the one before (`long="concatenate"` only).
  """
  wanted = tuple(Modality.parse(m) for m in row_set.modalities) or tuple(Modality)
  for modality, reason in _lacking(gene, row_set):
    if modality in wanted:
      tally.add(reason, gene.id)
      if row_set.modalities:
        return
      wanted = tuple(m for m in wanted if m != modality)
  for view in range(row_set.views):
    rng = random_generator(row_set.seed, name, gene.id, view)
    if row_set.codons:
      yield from _windows(gene, row_set, wanted, context, rng, tally, partner)
    else:
      yield from _whole(gene, row_set, wanted, context, rng, tally)


def _lacking(gene: Gene, row_set: PairRowSet) -> Iterator[tuple[Modality, str]]:
  """The modalities that cannot be shown, and why."""
  if row_set.dna == "genomic" and not gene.genomic:
    yield Modality.DNA, "dna_is_transcript"
  if gene.rna_source == "cds" and not row_set.synthetic_rna:
    yield Modality.RNA, "rna_is_synthetic"
  elif gene.rna_cds[0] < 0 and row_set.codons:
    yield Modality.RNA, "rna_not_aligned"


def _windows(gene, row_set, wanted, context, rng, tally, partner) -> Iterator[np.ndarray]:
  mean = min(sum(row_set.codons) / 2, gene.codons)
  count = row_set.windows_per_gene or max(1, round(row_set.coverage * gene.codons / mean))
  for u in rng.random((count, 5)).tolist():
    modalities = _draw_modalities(row_set, wanted, u[0], u[1])
    k = _draw_codons(row_set, min(gene.codons, max_codons(modalities, context)), u[2])
    start = int(u[3] * (gene.codons - k + 1))
    end = start + k
    if row_set.dna == "genomic" and Modality.DNA in modalities:
      end = _shrink(gene, modalities, start, end, context)
      if end - start < min(row_set.codons[0], gene.codons):
        tally.add("intron_exceeds_context", f"{gene.id}: codons {start + 1} to {start + k}")
        continue
    parts = [(m, gene.window(m, start, end, row_set.dna)) for m in modalities]
    if row_set.wrong_partner:
      other = partner(k)
      begin = int(u[4] * (other.codons - k + 1))
      parts = [(m, ids if m == Modality.PROTEIN else other.window(m, begin, begin + k)) for m, ids in parts]
    yield tokenizer.join_document(parts)


def _shrink(gene: Gene, modalities: tuple[Modality, ...], start: int, end: int, context: int) -> int:
  """The largest end, at most `end`, for which a window with genomic DNA fits the context."""
  def size(end: int) -> int:
    return 2 * len(modalities) + 1 + sum(len(gene.window(m, start, end, "genomic")) for m in modalities)

  low, high = start, end  # size(low) fits, in the end size(high + 1) does not
  while low < high:
    middle = (low + high + 1) // 2
    low, high = (middle, high) if size(middle) <= context else (low, middle - 1)
  return low


def _whole(gene, row_set, wanted, context, rng, tally) -> Iterator[np.ndarray]:
  u = rng.random(3).tolist()
  modalities = _draw_modalities(row_set, wanted, u[0], u[1])
  tokens = tokenizer.join_document([(m, gene.whole(m, row_set.dna)) for m in modalities])
  if len(tokens) <= context:
    yield tokens
  elif row_set.long == "concatenate":
    yield from (tokens[i : i + context] for i in range(0, len(tokens), context))
  elif Modality.RNA in modalities and gene.rna_cds[0] < 0:
    tally.add("rna_not_aligned", gene.id)
  else:
    k = min(gene.codons, max_codons(modalities, context))
    start = int(u[2] * (gene.codons - k + 1))
    end = start + k
    if row_set.dna == "genomic" and Modality.DNA in modalities:
      end = _shrink(gene, modalities, start, end, context)
      if end == start:
        tally.add("intron_exceeds_context", f"{gene.id}: codon {start + 1}")
        return
    yield tokenizer.join_document([(m, gene.window(m, start, end, row_set.dna)) for m in modalities])


# --- single sequences ---


@dataclasses.dataclass(frozen=True)
class Stretch:
  """A document of the single-modal corpus.

  Attributes:
    letters: uint8 token ids.
    at_start, at_end: whether the molecule truly begins or ends there (a chromosome cut along held-out genes, or a
      circular one, does not).
  """

  id: str
  taxon: int
  modality: Modality
  letters: np.ndarray
  at_start: bool
  at_end: bool

  @classmethod
  def from_example(cls, example: Mapping) -> "Stretch":
    """From a record of the TFDS dataset `single_modal`."""
    return cls(
        id=example["id"].decode(), taxon=int(example["taxon"]), modality=Modality(int(example["modality"])),
        letters=example["letters"], at_start=bool(example["at_start"]), at_end=bool(example["at_end"]),
    )


def stretch_documents(
    stretch: Stretch, row_set: SingleRowSet, name: str, context: int, tally: Tally
) -> Iterator[np.ndarray]:
  """The windows of one sequence, each its tag and up to `context - 1` letters.

  `<bos>` and `<eos>` stand only at true ends of the molecule, on whichever strand is read, in the place of a letter.
  The last window begins earlier where it would be shorter than half a window.

  Args and yields: as `gene_documents`.
  """
  n = len(stretch.letters)
  if n < row_set.min_letters:
    tally.add("too_short", stretch.id)
    return
  room = context - 1
  begin, end = -int(stretch.at_start), n + int(stretch.at_end)  # <bos> stands at -1, <eos> at n
  starts = list(range(begin, max(end - room, begin) + 1, row_set.stride or room))
  if starts[-1] + room < end:
    starts.append(min(starts[-1] + (row_set.stride or room), end - room // 2))
  is_stranded = stretch.modality == Modality.DNA
  flips = [[False]] * len(starts)
  if is_stranded and row_set.strand == "both":
    flips = [[False, True]] * len(starts)
  elif is_stranded and row_set.strand == "random":
    flips = [[bool(f)] for f in random_generator(row_set.seed, name, stretch.id).integers(2, size=len(starts))]
  for start, both in zip(starts, flips):
    ids = stretch.letters[max(start, 0) : start + room]
    first, last = start < 0, start + room > n and stretch.at_end
    for flip in both:
      if flip:
        yield tokenizer.join_document([(stretch.modality, tokenizer.reverse_complement(ids))], bos=last, eos=first)
      else:
        yield tokenizer.join_document([(stretch.modality, ids)], bos=first, eos=last)


# --- web documents ---


@dataclasses.dataclass(frozen=True)
class WebDocument:
  """A document of the web corpus: its sequences, (modality, uint8 token ids), in their order."""

  id: str
  taxon: int
  sequences: tuple[tuple[Modality, np.ndarray], ...]

  @classmethod
  def from_example(cls, example: Mapping) -> "WebDocument":
    """From a record of the TFDS dataset `web_interleaved`."""
    parts = np.split(example["letters"], example["ends"][:-1])
    return cls(
        id=example["id"].decode(), taxon=int(example["taxon"]),
        sequences=tuple((Modality(m), ids) for m, ids in zip(example["modalities"].tolist(), parts)),
    )


def web_documents(document: WebDocument, context: int) -> Iterator[np.ndarray]:
  """The documents that rows show of one web document, in order.

  Args and yields: as `gene_documents`.
  """
  held: list[tuple[Modality, np.ndarray]] = []
  room = context - 1  # <bos>, and behind each sequence a <sep> or the <eos>
  for modality, ids in document.sequences:
    size = len(ids) + 2
    if held and size > room:
      yield tokenizer.join_document(held)
      held, room = [], context - 1
    if size > room:
      whole = Stretch(document.id, document.taxon, modality, ids, at_start=True, at_end=True)
      yield from stretch_documents(whole, _WINDOWS, document.id, context, Tally())
      continue
    held.append((modality, ids))
    room -= size
  if held:
    yield tokenizer.join_document(held)


_WINDOWS = SingleRowSet("web_interleaved", strand="forward", min_letters=1)
