"""The first half of a build: sources to documents, one TFDS dataset for each corpus, with one assignment of splits.

Stages, each of tasks that know nothing of each other: read the units, decide what is held out, find duplicates, assign
the items of each unit, write shards.
"""

import collections
import contextlib
import dataclasses
import io
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from bsm_jax import tokenizer
from data_pipelines import (
  assigning,
  duplicates,
  gene_related,
  holding_out,
  reading,
  refseq_pairs,
  single_modal,
  web_corpus,
)
from data_pipelines import sources as sources_lib
from data_pipelines.corpora import CorpusBuilder, plan_shards
from data_pipelines.decontaminate import DecontaminationConfig
from data_pipelines.errors import InputError
from data_pipelines.formats import fineweb
from data_pipelines.report import Tally
from data_pipelines.splits import SPLITS, SplitConfig
from data_pipelines.tasks import Task, Workers, result
from data_pipelines.units import CORPORA as NAMES
from data_pipelines.web.config import DOCUMENT_REASONS

CORPORA: dict[str, type[CorpusBuilder]] = {
    "refseq_pairs": refseq_pairs.RefseqPairs,
    "gene_related": refseq_pairs.GeneRelated,
    "single_modal": single_modal.SingleModal,
    "web_interleaved": web_corpus.WebInterleaved,
}
assert tuple(CORPORA) == NAMES
# Why a record that could be read is in no document, beside the readers' own reasons.
REASONS = {
    "not_selected_transcript": "another transcript of the gene was chosen",
    **assigning.REASONS, **duplicates.REASONS, **holding_out.REASONS, **gene_related.REASONS, **fineweb.REASONS,
    **DOCUMENT_REASONS,
}


@dataclasses.dataclass(frozen=True)
class DocumentsConfig:
  """What becomes a document.

  Attributes:
    transcripts: `one` a gene (MANE or RefSeq Select, else the longest CDS) or `all`.
    strict: a letter outside the alphabet is an error; otherwise it becomes `<unk>` and is counted.
    min_letters: shorter stretches of single sequences are dropped.
    splits: arguments of `SplitConfig`: how splits are assigned.
    decontamination: arguments of `DecontaminationConfig`: how what is held out is found elsewhere.
    evaluation_sets: sets whose sequences are removed everywhere, see `evaluation_sets.read_evaluation_set`.
    near_duplicates: arguments of `near_duplicates.NearDuplicateConfig`: of nearly equal genes, DNA, RNA or proteins the
      first is kept. Empty: only of equal ones.
    mmseqs: arguments of `duplicates.MmseqsConfig`: of the proteins of the single-modal corpus only the representatives
      of MMseqs2's clusters are kept. Empty: all.
    web: arguments of `web_interleaved.WebConfig`.
    unit_bytes: files that can be divided are read in parts of this size.
    shard_letters: letters after which a shard of documents is full; each becomes shards of rows by itself.
  """

  transcripts: str = "one"
  strict: bool = True
  min_letters: int = 20
  splits: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  decontamination: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  evaluation_sets: Sequence[Mapping[str, Any]] = ()
  near_duplicates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  mmseqs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  web: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  unit_bytes: int = 1 << 28
  shard_letters: int = 1 << 27

  def __post_init__(self):
    if self.transcripts not in ("one", "all"):
      raise ValueError(f"transcripts must be one or all, not {self.transcripts!r}")


def build(
    sources: Sequence[sources_lib.Source], config: DocumentsConfig, workers: Workers, out: pathlib.Path,
    wanted: Sequence[str], made_from: dict,
) -> None:
  """Makes the TFDS datasets of the corpora `wanted`, and `splits.npz`, under `out`.

  Args:
    sources: what to read.
    config: see `DocumentsConfig`.
    workers: run the tasks.
    out: a temporary folder; the caller moves its content into place.
    wanted: names in `CORPORA`.
    made_from: what identifies config and sources, stored in each dataset's metadata.
  """
  options = {
      "transcripts": config.transcripts, "strict": config.strict, "near_duplicates": dict(config.near_duplicates),
      "web": dict(config.web),
  }
  sha256 = collections.defaultdict(list)
  for file in made_from["sources"]:
    sha256[file["source"]].append(file["sha256"])
  units = workers.run("read", [
      Task(reading.read_unit, {
          "source": source.as_dict(), "part": part, "options": options, "sha256": sha256[source.name],
      }, source.name)
      for source in sources for part in source.parts(config.unit_bytes, workers)
  ])
  names = [str(unit) for unit in units]
  splits = dataclasses.asdict(SplitConfig(**config.splits))
  decontamination = dataclasses.asdict(DecontaminationConfig(**config.decontamination))
  (held_out,) = workers.run("hold out", [Task(holding_out.decide, {
      "units": names, "splits": splits, "decontamination": decontamination, "sets": list(config.evaluation_sets),
      "sha256": [file["sha256"] for entry in made_from["config"]["evaluation_sets"] for file in entry["path"]],
  })])
  keys = sum(result(unit)["keys"] for unit in units)
  duplicate_keys = workers.run("duplicates", [
      Task(duplicates.find, {"units": names, "first": first, "last": last}) for first, last in duplicates.ranges(keys)
  ])
  if config.mmseqs:
    task = Task(duplicates.find_by_mmseqs, {"units": names, "mmseqs": dict(config.mmseqs)})
    duplicate_keys += workers.run("clusters of MMseqs2", [task])
  assigned = workers.run("assign", [
      Task(assigning.assign_unit, {
          "unit": unit, "number": number, "held_out": str(held_out), "duplicate_keys": list(map(str, duplicate_keys)),
          "min_letters": config.min_letters, "splits": splits,
      }) for number, unit in enumerate(names)
  ])
  shared = {
      "made_from": made_from, "vocabulary_hash": tokenizer.vocabulary_hash(), "decontamination": decontamination,
  } | result(held_out)
  for corpus in wanted:
    _write(corpus, units, assigned, out, workers, shared, config.shard_letters)
  shutil.copyfile(held_out / "splits.npz", out / "splits.npz")


def _write(
    corpus: str, units: Sequence[pathlib.Path], assigned: Sequence[pathlib.Path], out: pathlib.Path, workers: Workers,
    shared: dict, shard_letters: int,
) -> None:
  counts = _counts(corpus, units, assigned)
  total = sum(counts["documents"].values())
  if not total:
    reasons = ", ".join(f"{r} {c['count']:,}" for r, c in counts["rejects"].items()) or "the sources have none"
    raise InputError("config.sources", f"not one document for {corpus} ({reasons})", "Check the sources, or leave the"
                     f" row sets of {corpus} out of config.row_sets.")
  print(f"writing {total:,} documents of {corpus}", flush=True)
  shards = {
      split: plan_shards(
          ((str(unit), str(folder / f"{corpus}-{split}.npy")) for unit, folder in zip(units, assigned)), shard_letters
      )
      for split in SPLITS if counts["documents"][split]  # TFDS refuses a split without an example
  }
  builder = CORPORA[corpus](data_dir=out, shards=shards, workers=workers, counts=shared | counts)
  with contextlib.redirect_stdout(io.StringIO()):  # it announces downloads, of which there are none
    builder.download_and_prepare()


def _counts(corpus: str, units: Sequence[pathlib.Path], assigned: Sequence[pathlib.Path]) -> dict:
  """What became of every record of a corpus."""
  records = used = 0
  replaced: collections.Counter[str] = collections.Counter()
  documents, letters, dropped_letters = collections.Counter(), collections.Counter(), collections.Counter()
  rejects, dropped = Tally(), Tally()
  for read, placed in ((result(u), result(a).get(corpus)) for u, a in zip(units, assigned)):
    records += read["records"][corpus]
    replaced.update(read["replaced"])
    rejects.merge(read["rejects"].get(corpus, {}))
    if placed:
      used += placed["used"]
      documents.update(placed["documents"])
      letters.update(placed["letters"])
      dropped_letters.update(placed["dropped_letters"])
      rejects.merge(placed["rejects"])
      dropped.merge(placed["dropped"])
  if records != used + rejects.total():
    raise AssertionError(f"{corpus}: {records} records were read, but {used} used and {rejects.total()} rejected")
  return {
      "records": records, "records_used": used, "documents": {s: documents[s] for s in SPLITS},
      "letters": {s: letters[s] for s in SPLITS}, "rejects": rejects.as_dict(),
      "dropped_stretches": dropped.as_dict(), "dropped_letters": dict(dropped_letters),
      "replaced_letters": dict(sorted(replaced.items())),
  }
