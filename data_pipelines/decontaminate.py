"""Which parts of a sequence belong to held-out sequences: those of validation and test, and of named evaluation sets.

`HeldOut` is built once, saved as a folder of .npy files, and read by workers that share its memory. It answers three
questions at once:

* nucleotides that equal held-out nucleotides, on either strand (`nucleotide_search`);
* nucleotides that code for a held-out protein or a close relative, in any of six frames, whatever the codons
  (`translated_search`);
* proteins that resemble a held-out protein, or hold a part of it (the same search).

Every answer is a bit mask of labels: `valid`, `test`, and one for each evaluation set.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bsm_jax.tokenizer import Modality
from data_pipelines import nucleotide_search, translated_search
from data_pipelines.errors import InputError
from data_pipelines.kmers import KMER, KmerTable
from data_pipelines.nucleotide_search import Marks, NucleotideIndex
from data_pipelines.splits import digest
from data_pipelines.translated_search import Hits, ProteinIndex

MAX_LABELS = 64
# Letters searched at a time: the arrays of one chunk stay in the processor's cache.
_CHUNK = 1 << 16
_PROTEIN_CHUNK = 1 << 17
_HALO = 3 * translated_search.WINDOW  # what a chunk shares with the next one, so that no stretch is cut in two
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class DecontaminationConfig:
  """What counts as held out. The figures are those of `tests/benchmarks/decontamination.py`.

  Nucleotides are held out for what they code for, or letter for letter:

  Attributes:
    min_score: of a stretch that codes for, or is, a part of a held-out protein: residues that agree less those that do
      not. 30 are thirty residues letter for letter, 38 at 90 % identity, 100 at 65 %. It finds 99.7 % of relatives at
      95 % identity in genomes, 97 % of those at 70 %, 60 % of those at 60 %, and 99 % of parts of sixty residues. Of
      the proteins of train 1.6 % resemble one of valid in part although they are of other clusters (24: 3.2 %, 40:
      0.3 %).
    score_share: of the letters of a held-out protein that is shorter than `min_score / score_share`.
    copies: places kept of one seed of seven residues for each label.
    min_marked: 24-mers, letter for letter, that a stretch of nucleotides must share with held-out ones; 30 are 53
      letters.
    marked_share: of the 24-mers of a held-out sequence that has fewer than `min_marked / marked_share`.
    min_density: of the 24-mers of such a stretch; 0.4 are left at 96 % identity.
    max_groups: 24-mers that more families of held-out genes have are repeats, and no evidence. Without this and the
      density 14 % of the human genome resemble a few genes, with both 0.4 %.
    max_gap: held-out stretches of nucleotides closer than this are one.
    chance_per_kilobase: how often unrelated sequence may be taken for held out. The scores and shares above never ask
      for less than the size of the index demands for it, which sets the shortest sequences that can be found: 15
      residues of an index of two million and 16 of 40 million; 32 bases of an index of four million.
  """

  min_score: int = 30
  score_share: float = 0.5
  copies: int = 8
  min_marked: int = 30
  marked_share: float = 0.15
  min_density: float = 0.4
  max_groups: int = 2
  max_gap: int = 100
  chance_per_kilobase: float = 1e-6

  def __post_init__(self):
    for name in ("min_marked", "max_groups", "min_score", "copies"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be 1 or more")
    for name in ("marked_share", "min_density", "score_share", "chance_per_kilobase"):
      if not 0 < getattr(self, name) <= 1:
        raise ValueError(f"{name}={getattr(self, name)} must be more than 0 and at most 1")
    if self.max_gap < 0:
      raise ValueError(f"max_gap={self.max_gap} must be 0 or more")


class Evidence(NamedTuple):
  """Why a stretch is held out.

  Attributes:
    label: of the held-out sequence.
    matched: letters of the stretch that agree with it (of nucleotides found by their translation: three a residue).
    start, end: the stretch, [start, end).
  """

  label: str
  matched: int
  start: int
  end: int


class HeldOut:
  """An index of held-out sequences. Immutable; build it with `build`, or read one with `load`.

  Attributes:
    labels: their names; label l has bit l of every mask.
    config: see `DecontaminationConfig`.
    counts: for each label `nucleotides` and `proteins`, how many distinct sequences were given, and `too_short`, how
      many of them are too short to be found.
  """

  def __init__(self, labels: Sequence[str], config: DecontaminationConfig, counts: dict[str, dict[str, int]],
               nucleotides: NucleotideIndex, proteins: ProteinIndex, protein_labels: np.ndarray):
    self.labels, self.config, self.counts = tuple(labels), config, counts
    self._nucleotides, self._proteins, self._protein_labels = nucleotides, proteins, protein_labels

  @classmethod
  def build(
      cls, nucleotides: Iterable[tuple[np.ndarray, str] | tuple[np.ndarray, str, int]],
      proteins: Iterable[tuple[np.ndarray, str]], labels: Sequence[str], config: DecontaminationConfig
  ) -> "HeldOut":
    """Args:
      nucleotides: (token ids, label) of every held-out DNA and RNA, on one strand each: genes, transcripts, primers.
        For genes also the number of their family, the cluster of their protein, so that what many families have in
        common is known for a repeat; all sequences without a number count as one family.
      proteins: (token ids, label) of every held-out protein.
      labels: all labels, in the order of their bits.
      config: see `DecontaminationConfig`.

    Raises:
      ValueError: more than 64 labels, a label twice, or a sequence whose label is not among them.
    """
    if len(labels) > MAX_LABELS or len(set(labels)) < len(labels):
      raise ValueError(f"labels must be distinct and at most {MAX_LABELS}, not {', '.join(labels)}")
    nucleotide_ids, nucleotide_labels, groups = _distinct(nucleotides, labels)
    protein_ids, protein_labels, _ = _distinct(proteins, labels)
    nucleotide_index, short_nucleotides = NucleotideIndex.build(
        nucleotide_ids, nucleotide_labels, groups, len(labels), min_marked=config.min_marked,
        share=config.marked_share, max_groups=config.max_groups, per_kilobase=config.chance_per_kilobase,
    )
    protein_index, short_proteins = ProteinIndex.build(
        protein_ids, protein_labels, min_score=config.min_score, share=config.score_share, copies=config.copies,
        per_kilobase=config.chance_per_kilobase,
    )
    counted = (
        np.bincount(a, minlength=len(labels))
        for a in (nucleotide_labels, protein_labels, np.r_[nucleotide_labels[short_nucleotides],
                                                           protein_labels[short_proteins]])
    )
    names = ("nucleotides", "proteins", "too_short")
    counts = {label: dict(zip(names, row)) for label, row in zip(labels, np.stack(list(counted), 1).tolist())}
    return cls(labels, config, counts, nucleotide_index, protein_index, protein_labels.astype(np.uint8))

  # --- questions ---

  def names(self, mask: int) -> list[str]:
    """The labels of a mask."""
    return [label for bit, label in enumerate(self.labels) if mask >> bit & 1]

  def nucleotide_intervals(self, ids: np.ndarray, *, transl_table: int = 1) -> list[tuple[int, int, int]]:
    """Held-out stretches of encoded nucleotides.

    Args:
      ids: uint8 [n] token ids.
      transl_table: NCBI genetic code of the sequence.

    Returns:
      [(start, end, mask)], sorted. Stretches of one label are at least `max_gap` apart; those of different labels may
      overlap.
    """
    found: dict[tuple[int, int], int] = {}
    for label, stretches in self._stretches(ids, transl_table).items():
      for start, end in stretches.tolist():
        found[start, end] = found.get((start, end), 0) | 1 << label
    return [(start, end, mask) for (start, end), mask in sorted(found.items())]

  def partition(self, ids: np.ndarray, *, transl_table: int = 1) -> list[tuple[int, int, int]]:
    """Cuts encoded nucleotides into stretches, in order and without a gap.

    Returns:
      [(start, end, mask)]; neighbours differ in their mask, which is 0 where nothing is held out.
    """
    intervals = self.nucleotide_intervals(ids, transl_table=transl_table)
    # Where a stretch begins its labels are added, where it ends they are taken away: none overlaps one of its label.
    changes = {0: 0, len(ids): 0}
    for start, end, mask in intervals:
      changes[start] = changes.get(start, 0) ^ mask
      changes[end] = changes.get(end, 0) ^ mask
    stretches: list[tuple[int, int, int]] = []
    claims, edges = 0, sorted(changes)
    for start, end in zip(edges, edges[1:]):
      claims ^= changes[start]
      if stretches and stretches[-1][2] == claims:
        start = stretches.pop()[0]
      stretches.append((start, end, claims))
    return stretches

  def protein_mask(self, ids: np.ndarray) -> int:
    """The labels of held-out proteins that an encoded protein resembles, or holds a part of."""
    return int(self.protein_masks([ids])[0])

  def protein_masks(self, proteins: Sequence[np.ndarray]) -> np.ndarray:
    """`protein_mask` of many proteins at once, uint64 [len(proteins)]: several times as fast."""
    masks = np.zeros(len(proteins), np.uint64)
    for first, starts, hits in self._protein_hits(proteins):
      which = np.searchsorted(starts, hits.start, side="right") - 1 + first
      np.bitwise_or.at(masks, which, np.uint64(1) << self._protein_labels[hits.protein].astype(np.uint64))
    return masks

  def whole(self, ids: np.ndarray, modality: Modality, *, transl_table: int = 1) -> int:
    """The labels of whatever is held out in a sequence that is not to be cut."""
    if modality == Modality.PROTEIN:
      return self.protein_mask(ids)
    stretches = self._stretches(ids, transl_table)
    return sum(1 << label for label, found in stretches.items() if len(found))

  def explain(self, ids: np.ndarray, modality: Modality, *, transl_table: int = 1) -> list[Evidence]:
    """Why `whole` answers as it does, by place; of stretches of one label that overlap, the one that agrees most."""
    found = []
    if modality == Modality.PROTEIN:
      for _, _, hits in self._protein_hits([ids]):
        found += self._evidence(hits)
    else:
      marks, hits = self._search(ids, transl_table)
      for label, name in enumerate(self.labels):
        runs = nucleotide_search.runs(marks, label, self.config.max_gap, self.config.min_density)
        covered = np.r_[0, np.cumsum(nucleotide_search.covered(marks, label, len(ids)))]
        for start, end in zip(runs.start.tolist(), runs.end.tolist()):
          found.append(Evidence(name, int(covered[end] - covered[start]), start, end))
      found += self._evidence(hits._replace(matched=3 * hits.matched))
    best: list[Evidence] = []
    for one in sorted(found, key=lambda e: (-e.matched, e.start)):
      if not any(e.label == one.label and e.start < one.end and one.start < e.end for e in best):
        best.append(one)
    return sorted(best, key=lambda e: (e.start, e.end, e.label))

  def _evidence(self, hits: Hits) -> list[Evidence]:
    labels = self._protein_labels[hits.protein].tolist()
    columns = zip(labels, hits.matched.tolist(), hits.start.tolist(), hits.end.tolist())
    return [Evidence(self.labels[label], matched, start, end) for label, matched, start, end in columns]

  # --- searching ---

  def _search(self, ids: np.ndarray, transl_table: int) -> tuple[Marks, Hits]:
    marks, hits = [], []
    for begin in range(0, max(len(ids), 1), _CHUNK):
      if len(self._nucleotides.table):
        found = self._nucleotides.marks(ids[begin : begin + _CHUNK + KMER - 1])
        marks.append(found._replace(position=found.position + begin))
      if len(self._proteins.table):
        part = ids[begin : begin + _CHUNK + _HALO]
        found = self._proteins.hits(translated_search.six_frames(part, transl_table).reshape(-1))
        start, end = translated_search.nucleotide_coordinates(found.start, found.end, len(part))
        hits.append(found._replace(start=start + begin, end=end + begin))
    empty = np.zeros(0, np.int64)
    marks = [Marks(empty, self._nucleotides.masks[:0], self._nucleotides.needs[:0]), *marks]
    hits = [Hits(*[empty] * len(Hits._fields)), *hits]
    return Marks(*map(np.concatenate, zip(*marks))), Hits(*map(np.concatenate, zip(*hits)))

  def _stretches(self, ids: np.ndarray, transl_table: int) -> dict[int, np.ndarray]:
    """Label to its merged stretches, int64 [n, 2]; labels of which nothing is found are left out."""
    marks, hits = self._search(ids, transl_table)
    hit_labels = self._protein_labels[hits.protein]
    in_marks, in_hits = int(np.bitwise_or.reduce(marks.mask)), set(hit_labels.tolist())
    found = {}
    for label in range(len(self.labels)):
      parts = []
      if label in in_hits:
        of_label = hit_labels == label
        parts.append(np.stack([hits.start[of_label], hits.end[of_label]], 1))
      if in_marks >> label & 1:
        runs = nucleotide_search.runs(marks, label, self.config.max_gap, self.config.min_density)
        parts.append(np.stack([runs.start, runs.end], 1))
      if parts and len(stretches := _merge(np.concatenate(parts), self.config.max_gap)):
        found[label] = stretches
    return found

  def _protein_hits(self, proteins: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray, Hits]]:
    """Batches: (index of the first protein, where each begins in the joined query, hits in the joined query)."""
    if not len(self._proteins.table):
      return
    first, letters = 0, 0
    for i, protein in enumerate(proteins):
      letters += len(protein)
      if letters >= _PROTEIN_CHUNK or i == len(proteins) - 1:
        codes, starts = translated_search.join([translated_search.residue_codes(p) for p in proteins[first : i + 1]])
        yield first, starts, self._proteins.hits(codes)
        first, letters = i + 1, 0

  # --- storage ---

  def _arrays(self) -> dict[str, np.ndarray]:
    n, p = self._nucleotides, self._proteins
    arrays = {f"nucleotides.table.{k}": a for k, a in n.table.arrays().items()}
    arrays |= {"nucleotides.masks": n.masks, "nucleotides.needs": n.needs}
    arrays |= {f"proteins.table.{k}": a for k, a in p.table.arrays().items()}
    arrays |= {"proteins.positions": p.positions, "proteins.letters": p.letters, "proteins.starts": p.starts,
               "proteins.needs": p.needs, "proteins.labels": self._protein_labels}
    return arrays

  def save(self, folder: str | os.PathLike) -> None:
    """Writes the index into a folder, which must not hold another one; the same index gives the same bytes."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in self._arrays().items():
      np.save(folder / f"{name}.npy", array)
    about = {"version": _VERSION, "labels": self.labels, "config": dataclasses.asdict(self.config),
             "counts": self.counts}
    (folder / "held_out.json").write_text(json.dumps(about, indent=2) + "\n")

  @classmethod
  def load(cls, folder: str | os.PathLike) -> "HeldOut":
    """Reads what `save` wrote, mapped into memory that all processes of a machine share.

    Raises:
      InputError: the folder holds no such index, or one of another version.
    """
    folder = pathlib.Path(folder)
    remedy = "Build it again: the build writes it after the splits."
    try:
      about = json.loads((folder / "held_out.json").read_text())
      if about["version"] != _VERSION:
        raise InputError(folder, f"a held-out index of version {about['version']}, not {_VERSION}", remedy)
      # As plain arrays: the subclass that `np.load` returns makes every small operation slower.
      arrays = {p.name.removesuffix(".npy"): np.asarray(np.load(p, mmap_mode="r")) for p in folder.glob("*.npy")}
      part = lambda name: {k.removeprefix(name): a for k, a in arrays.items() if k.startswith(name)}
      n, p = part("nucleotides."), part("proteins.")
      nucleotides = NucleotideIndex(KmerTable.of(part("nucleotides.table.")), n["masks"], n["needs"])
      seeds = KmerTable.of(part("proteins.table."))
      proteins = ProteinIndex(p["letters"], p["starts"], p["needs"], seeds, p["positions"])
      return cls(about["labels"], DecontaminationConfig(**about["config"]), about["counts"], nucleotides, proteins,
                 p["labels"])
    except (OSError, KeyError, json.JSONDecodeError) as error:
      raise InputError(folder, f"no held-out index ({error!r})", remedy) from error


def _distinct(
    sequences: Iterable[tuple], labels: Sequence[str]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
  """Every sequence once for each of its labels and families; the labels' and the families' numbers, int64 each."""
  numbers = {label: i for i, label in enumerate(labels)}
  kept: dict[tuple[int, int, int], np.ndarray] = {}
  for ids, label, *group in sequences:
    if label not in numbers:
      raise ValueError(f"no such label: {label}; there are {', '.join(labels)}")
    kept.setdefault((digest(ids), numbers[label], *(group or [-1])), ids)
  columns = np.array([key[1:] for key in kept], np.int64).reshape(-1, 2)
  return list(kept.values()), columns[:, 0], columns[:, 1]


def _merge(stretches: np.ndarray, max_gap: int) -> np.ndarray:
  """Stretches, int64 [n, 2], in any order, to sorted ones; what lies less than `max_gap` apart becomes one."""
  if not len(stretches):
    return stretches
  stretches = stretches[np.lexsort(stretches.T[::-1])]
  reached = np.maximum.accumulate(stretches[:, 1])
  opens = np.flatnonzero(np.r_[True, stretches[1:, 0] >= reached[:-1] + max(max_gap, 1)])
  return np.stack([stretches[opens, 0], reached[np.r_[opens[1:], len(stretches)] - 1]], 1)
