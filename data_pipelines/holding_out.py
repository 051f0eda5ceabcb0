"""What is held out, decided once for all corpora: a stage of a build, and the places that follow from it.

Proteins are clustered and whole clusters are sent to `valid` or `test` (`splits.py`); with them go their genes, in
every modality. Named evaluation sets are held out of everything. `decontaminate.HeldOut` finds what was held out in
any other sequence.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import evaluation_sets
from data_pipelines.decontaminate import DecontaminationConfig, HeldOut
from data_pipelines.splits import SPLITS, ProteinSplits, SplitConfig, digest
from data_pipelines.units import Unit

# Why a sequence belongs to no split.
REASONS = {
    "evaluation_set": "holds part of a sequence of a named evaluation set",
    "heldout_overlap": "holds part of what another split holds out",
    "valid_and_test": "holds parts of genes of both held-out splits",
}
_HELD_OUT = SPLITS[1:]
_EVALUATION = "eval/"


def decide(
    folder: pathlib.Path, *, units: Sequence[str], splits: Mapping, decontamination: Mapping, sets: Sequence[Mapping],
    sha256: Sequence[str],
) -> dict:
  """The task that chooses what is held out and writes its index.

  Args:
    folder: where to.
    units: folders of all units, in order.
    splits, decontamination: arguments of `SplitConfig` and `DecontaminationConfig`.
    sets: evaluation sets, see `evaluation_sets.read_evaluation_set`.
    sha256: of their files: with other content this is another task.

  Returns:
    Counts for the report.
  """
  del sha256
  config = SplitConfig(**splits)
  opened = [Unit(unit) for unit in units]
  pinned = np.unique(np.concatenate([unit.pinned for unit in opened]))
  proteins = _sample(opened, config.max_clustered)
  print(f"clustering {len(proteins):,} proteins", flush=True)
  assigned = ProteinSplits.assign(proteins.values(), config, pinned)
  assigned.save(folder / "splits.npz")
  held = {d: proteins[d] for d, s in zip(assigned.digests.tolist(), assigned.splits.tolist()) if s}
  del proteins
  labels = [*_HELD_OUT, *(f"{_EVALUATION}{entry['name']}" for entry in sets)]
  sequences = _Sequences(opened, assigned, held, config, sets)
  index = HeldOut.build(sequences.nucleotides(), sequences.proteins(), labels, DecontaminationConfig(**decontamination))
  index.save(folder / "held_out")
  for unit in opened:
    unit.close()
  return {
      "clustered_proteins": len(assigned.digests),
      "clusters": {s: len(set(assigned.clusters[assigned.splits == i].tolist())) for i, s in enumerate(SPLITS)},
      "pinned_proteins": len(pinned),
      "held_out_sequences": index.counts,
  }


def _sample(units: Sequence[Unit], most: int) -> dict[int, bytes]:
  """At most so many distinct proteins by digest: those with the least digests, a choice no order of units changes."""
  digests = np.zeros(0, np.uint64)
  for unit in units:
    digests = np.unique(np.concatenate([digests, unit.protein[unit.protein > 0]]))[:most]
  found: dict[int, bytes] = {}
  for unit in units:
    for index in np.flatnonzero(np.isin(unit.protein, digests)).tolist():
      if (key := int(unit.protein[index])) not in found:
        found[key] = unit.spool[index]["protein" if unit.is_gene(index) else "letters"].tobytes()
  return found


class _Sequences:
  """Everything that goes into the index."""

  def __init__(self, units, assigned: ProteinSplits, held: Mapping[int, bytes], config: SplitConfig, sets):
    self.units, self.assigned, self.held, self.config, self.sets = units, assigned, held, config, sets

  def proteins(self) -> Iterator[tuple[np.ndarray, str]]:
    for protein in self.held.values():
      ids = np.frombuffer(protein, np.uint8)
      yield ids, self.assigned.split(ids)
    yield from ((ids, label) for ids, modality, label in self._others() if modality == Modality.PROTEIN)

  def nucleotides(self) -> Iterator[tuple[np.ndarray, str] | tuple[np.ndarray, str, int]]:
    """DNA and RNA of every gene, of every transcript, whose protein is held out, with its cluster, by which the index
    tells repeats; and the other sequences."""
    digests = np.array(sorted(self.held), np.uint64)
    for unit in self.units:
      for index in np.flatnonzero(np.isin(unit.protein, digests)).tolist():
        if unit.is_gene(index):
          gene = unit.spool[index]
          split, cluster = self.assigned.split(gene["protein"]), self.assigned.cluster(gene["protein"])
          yield gene["dna"], split, cluster
          yield gene["rna"], split, cluster
    for ids, modality, label in self._others():
      if modality != Modality.PROTEIN:
        yield ids, label

  def _others(self) -> Iterator[tuple[np.ndarray, Modality, str]]:
    for unit in self.units:
      for index in np.flatnonzero(unit.of("web_interleaved")).tolist():
        item = unit.spool[index]
        if (split := web_split(item["id"], self.config)) != "train":
          for modality, ids in zip(item["modalities"].tolist(), np.split(item["letters"], item["ends"][:-1])):
            yield ids, Modality(modality), split
    for entry in self.sets:
      for name, modality, letters in evaluation_sets.read_evaluation_set(entry):
        yield tokenizer.encode(letters, modality, name=name, strict=False), modality, _EVALUATION + entry["name"]


def web_split(name: str, config: SplitConfig) -> str:
  """The split of a web document, by its id: it has no protein that it could follow."""
  u = digest(f"{config.seed}/web/{name}".encode()) / 2**64
  return "valid" if u < config.valid else "test" if u < config.valid + config.test else "train"


@dataclasses.dataclass(frozen=True)
class Places:
  """Where sequences belong.

  Attributes:
    splits: of every protein that was clustered.
    index: finds what is held out.
  """

  splits: ProteinSplits
  index: HeldOut

  @classmethod
  def load(cls, folder: str) -> "Places":
    """From the folder of `decide`."""
    return cls(ProteinSplits.load(pathlib.Path(folder) / "splits.npz"), HeldOut.load(pathlib.Path(folder) / "held_out"))

  def of_protein(self, protein: np.ndarray) -> str | None:
    """The split of a protein; None where it was not among those clustered."""
    return self.splits.split(protein)

  def split(self, mask: int, own: str | None = None) -> "Place":
    """Where a sequence belongs.

    Args:
      mask: what the index found in it, bits by `index.labels`.
      own: the split it has by itself, None where it has none: it then goes where it is found.
    """
    if mask >> len(_HELD_OUT):
      return Place("", "evaluation_set", ", ".join(self.index.names(mask >> len(_HELD_OUT) << len(_HELD_OUT))))
    found = [split for bit, split in enumerate(_HELD_OUT) if mask >> bit & 1 and split != own]
    if own is None:
      return Place("", "valid_and_test") if len(found) > 1 else Place(found[0] if found else "train")
    return Place("", "heldout_overlap", ", ".join(found)) if found else Place(own)


class Place(NamedTuple):
  """Where a sequence belongs: to a split, or to none for a reason.

  Attributes:
    split: "" where it belongs to none.
    reason: one of `REASONS`, "" where it belongs to a split.
    found: what it holds a part of.
  """

  split: str
  reason: str = ""
  found: str = ""
